//! Commands on keys of any type.

use bytes::Bytes;

use super::access::{Database, Fault};
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

    /// TYPE key
    pub async fn type_of(&mut self, key: &Bytes) -> Result<Value, Fault> {
        Ok(Value::simple(self.load(key).await?.map_or("none", |meta| meta.content.type_name())))
    }
}
