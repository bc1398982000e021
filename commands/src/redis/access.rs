//! How commands reach the keys of a database: live meta records in, meta records out.

use bytes::Bytes;
use keyspace::layout;

use super::error::RedisError;
use super::record::{Content, Meta};
use super::value::Value;
use crate::view::{View, ViewError};

/// Why a command has no reply of its own.
#[derive(Debug)]
pub(super) enum Fault {
    /// Redis' rules refuse it: an error reply. Nothing was written.
    Refused(RedisError),
    /// The view failed: no reply at all.
    View(ViewError),
}

/// What a command answers, or why it does not.
pub(super) type Reply = Result<Value, Fault>;

impl From<RedisError> for Fault {
    fn from(error: RedisError) -> Self {
        Fault::Refused(error)
    }
}

impl From<ViewError> for Fault {
    fn from(error: ViewError) -> Self {
        Fault::View(error)
    }
}

/// A string and when it expires.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct StoredString {
    /// The value.
    pub value: Bytes,
    /// As in [`Meta::expire_at_ms`].
    pub expire_at_ms: Option<u64>,
}

/// One database during one evaluation.
pub(super) struct Database<'a, V> {
    /// Selected database.
    pub db: u8,
    /// The keyspace.
    pub view: &'a mut V,
}

impl<V: View> Database<'_, V> {
    /// The meta record of a key that exists and has not expired.
    pub async fn load(&mut self, key: &[u8]) -> Result<Option<Meta>, ViewError> {
        let encoded = layout::redis_meta(self.db, key);
        let Some(record) = self.view.get(&encoded).await? else {
            return Ok(None);
        };
        let meta = Meta::decode(&encoded, &record.value)?;
        let gone = meta.expire_at_ms.is_some_and(|at| self.view.expired(at));
        Ok((!gone).then_some(meta))
    }

    /// The same for a command on strings.
    pub async fn load_string(&mut self, key: &[u8]) -> Result<Option<StoredString>, Fault> {
        let Some(Meta { expire_at_ms, content }) = self.load(key).await? else {
            return Ok(None);
        };
        Ok(Some(StoredString { value: content.into_string()?, expire_at_ms }))
    }

    /// Whether a key exists and has not expired.
    pub async fn exists(&mut self, key: &[u8]) -> Result<bool, ViewError> {
        Ok(self.load(key).await?.is_some())
    }

    /// Writes a string, or removes the key when its expiry has already passed.
    pub fn store_string(&mut self, key: &[u8], value: Bytes, expire_at_ms: Option<u64>) {
        self.store(key, &Meta { expire_at_ms, content: Content::String(value) });
    }

    /// Writes a meta record, or removes the key when its expiry has already passed.
    pub fn store(&mut self, key: &[u8], meta: &Meta) {
        if meta.expire_at_ms.is_some_and(|at| self.view.expired(at)) {
            self.remove(key);
        } else {
            self.view.put(layout::redis_meta(self.db, key), meta.encode());
        }
    }

    /// Removes a key.
    pub fn remove(&mut self, key: &[u8]) {
        self.view.delete(layout::redis_meta(self.db, key));
    }

    /// Now, as expiry arithmetic needs it.
    pub fn now_ms(&self) -> i64 {
        i64::try_from(self.view.now_ms()).unwrap_or(i64::MAX)
    }
}
