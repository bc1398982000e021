//! RawKV: single keys and ordered scans, without types or expiry.

use bytes::Bytes;
use keyspace::{KeyRange, Version, codec, layout};

use crate::view::{Order, View, ViewError};

/// What a program asks for. `key` is the user key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Writes a value.
    Put {
        /// User key.
        key: Bytes,
        /// New value.
        value: Bytes,
    },
    /// Removes a key, whether or not it exists.
    Delete {
        /// User key.
        key: Bytes,
    },
    /// Reads a value and its version.
    Get {
        /// User key.
        key: Bytes,
    },
    /// Reads neighbouring keys.
    Scan {
        /// Encoded keys, inside one route.
        range: KeyRange,
        /// Upwards or downwards.
        order: Order,
        /// At most this many pairs.
        limit: usize,
    },
}

impl Operation {
    /// Whether it may write.
    pub fn writes(&self) -> bool {
        matches!(self, Operation::Put { .. } | Operation::Delete { .. })
    }
}

/// What came of an [`Operation`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Put and Delete: the version of the write.
    Written(Version),
    /// Get: value and version.
    Found {
        /// The value.
        value: Bytes,
        /// The version that wrote it.
        version: Version,
    },
    /// Get: no such key.
    Missing,
    /// Scan: user keys and values.
    Pairs {
        /// In scan order.
        pairs: Vec<(Bytes, Bytes)>,
        /// The answer stopped at its size bound: go on behind the last pair.
        truncated: bool,
    },
}

/// A scan stops behind this many bytes of keys and values.
const SCAN_BYTES: usize = 1 << 20;
/// Records that a scan fetches at a time.
const SCAN_STEP: usize = 256;

/// Runs one operation.
pub async fn run<V: View>(view: &mut V, operation: &Operation) -> Result<Outcome, ViewError> {
    match operation {
        Operation::Put { key, value } => {
            view.put(layout::raw(key), value.clone());
            Ok(Outcome::Written(view.version()))
        }
        Operation::Delete { key } => {
            view.delete(layout::raw(key));
            Ok(Outcome::Written(view.version()))
        }
        Operation::Get { key } => Ok(match view.get(&layout::raw(key)).await? {
            Some(record) => Outcome::Found { value: record.value, version: record.version },
            None => Outcome::Missing,
        }),
        Operation::Scan { range, order, limit } => scan(view, range.clone(), *order, *limit).await,
    }
}

async fn scan<V: View>(view: &mut V, range: KeyRange, order: Order, limit: usize) -> Result<Outcome, ViewError> {
    let mut pairs = Vec::new();
    let mut bytes = 0;
    let mut rest = Some(range);
    while let Some(range) = rest.take() {
        let step = SCAN_STEP.min(limit - pairs.len());
        let found = view.scan(&range, order, step).await?;
        let full = found.len() == step;
        let last = found.last().map(|(key, _)| key.clone());
        for (key, record) in found {
            let user_key = user_key(&key)?;
            bytes += user_key.len() + record.value.len();
            pairs.push((user_key, record.value));
            if bytes >= SCAN_BYTES {
                return Ok(Outcome::Pairs { pairs, truncated: true });
            }
        }
        if let (true, Some(last)) = (full && pairs.len() < limit, last) {
            rest = match order {
                Order::Ascending => KeyRange::new(after(&last), range.end().cloned()),
                Order::Descending => KeyRange::new(range.start().clone(), Some(last)),
            };
        }
    }
    Ok(Outcome::Pairs { pairs, truncated: false })
}

/// The smallest key above `key`.
fn after(key: &[u8]) -> Bytes {
    let mut next = key.to_vec();
    next.push(0);
    next.into()
}

fn user_key(key: &[u8]) -> Result<Bytes, ViewError> {
    let mut reader = codec::Reader::new(key);
    let parsed = reader.u8("tag").and_then(|_| reader.bytes("user key"));
    parsed.map(Bytes::from).map_err(|error| ViewError::Corrupt { key: key.to_vec(), reason: error.to_string() })
}
