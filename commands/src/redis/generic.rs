//! Commands on keys of any type.

use bytes::Bytes;

use super::access::{Database, Fault};
use super::elements::Elements;
use super::error::RedisError;
use super::number::parse_database;
use super::options::CopyOptions;
use super::record::Meta;
use super::value::Value;
use crate::view::View;

impl<V: View> Database<'_, V> {
    /// DEL and UNLINK key…: removing a key is one record, so there is nothing to leave to the background
    pub async fn del(&mut self, keys: &[Bytes]) -> Result<Value, Fault> {
        let mut removed = 0;
        for key in keys {
            if self.exists(key).await? {
                self.remove(key);
                removed += 1;
            }
        }
        Ok(Value::Integer(removed))
    }

    /// EXISTS and TOUCH key…: a key named twice counts twice. There is no eviction that touching would delay
    pub async fn count_existing(&mut self, keys: &[Bytes]) -> Result<Value, Fault> {
        let mut existing = 0;
        for key in keys {
            existing += i64::from(self.exists(key).await?);
        }
        Ok(Value::Integer(existing))
    }

    /// RENAME key newkey: onto itself it changes nothing
    pub async fn rename(&mut self, key: &Bytes, new_key: &Bytes) -> Result<Value, Fault> {
        let meta = self.load(key).await?.ok_or(RedisError::NoSuchKey)?;
        if key != new_key {
            self.carry_over(key, meta, self.db, new_key).await?;
            self.remove(key);
        }
        Ok(Value::OK)
    }

    /// RENAMENX key newkey
    pub async fn renamenx(&mut self, key: &Bytes, new_key: &Bytes) -> Result<Value, Fault> {
        let meta = self.load(key).await?.ok_or(RedisError::NoSuchKey)?;
        if self.exists(new_key).await? {
            return Ok(Value::Integer(0));
        }
        self.carry_over(key, meta, self.db, new_key).await?;
        self.remove(key);
        Ok(Value::Integer(1))
    }

    /// COPY source destination [DB database] [REPLACE]
    pub async fn copy(&mut self, source: &Bytes, destination: &Bytes, options: &[Bytes]) -> Result<Value, Fault> {
        let CopyOptions { db, replace } = CopyOptions::parse(options, self.db)?;
        if source == destination && db == self.db {
            return Err(RedisError::SameObject.into());
        }
        let Some(meta) = self.load(source).await? else {
            return Ok(Value::Integer(0));
        };
        let taken = Database { db, view: &mut *self.view }.exists(destination).await?;
        if taken && !replace {
            return Ok(Value::Integer(0));
        }
        self.carry_over(source, meta, db, destination).await?;
        Ok(Value::Integer(1))
    }

    /// MOVE key database
    pub async fn move_to(&mut self, key: &Bytes, database: &[u8]) -> Result<Value, Fault> {
        let db = parse_database(database)?;
        if db == self.db {
            return Err(RedisError::SameObject.into());
        }
        let Some(meta) = self.load(key).await? else {
            return Ok(Value::Integer(0));
        };
        if (Database { db, view: &mut *self.view }).exists(key).await? {
            return Ok(Value::Integer(0));
        }
        self.carry_over(key, meta, db, key).await?;
        self.remove(key);
        Ok(Value::Integer(1))
    }

    /// Writes what `source` holds, its expiry included, under another key in place of whatever is there.
    ///
    /// Of a collection every element is copied: the elements of a key lie with the key, and the other one may lie
    /// anywhere.
    async fn carry_over(&mut self, source: &[u8], meta: Meta, db: u8, destination: &[u8]) -> Result<(), Fault> {
        let Meta { expire_at_ms, mut content } = meta;
        if let Some(generation) = content.generation() {
            let copied = self.view.random();
            let (from, to) = (Elements::new(self.db, source, generation), Elements::new(db, destination, copied));
            from.copy_to(self.view, &to).await?;
            content = content.with_generation(copied);
        }
        Database { db, view: &mut *self.view }.store(destination, &Meta { expire_at_ms, content });
        Ok(())
    }

    /// TYPE key
    pub async fn type_of(&mut self, key: &Bytes) -> Result<Value, Fault> {
        Ok(Value::simple(self.load(key).await?.map_or("none", |meta| meta.content.type_name())))
    }
}
