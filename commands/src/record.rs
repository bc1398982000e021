//! Plain records, for a coordinator that evaluates a command itself because its keys lie in several groups: it reads
//! records and the versions of lock units, computes, and hands what it wrote to the groups as intents. And the records
//! that gateways share: scripts, libraries, users.

use bytes::Bytes;
use keyspace::layout::{REDIS, version_key};
use keyspace::{KeyRange, Version};

use crate::redis;
use crate::view::{Order, Record, View, ViewError};

/// What is read or registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// The newest record of a key, as it is stored: whether it has expired is for the command to say.
    Get {
        /// Encoded key.
        key: Bytes,
    },
    /// Records of an interval.
    Scan {
        /// Encoded keys.
        range: KeyRange,
        /// Direction.
        order: Order,
        /// At most so many.
        limit: usize,
    },
    /// Version and liveness of a lock unit.
    Observe {
        /// Encoded unit.
        unit: Bytes,
    },
    /// Writes or removes a record of a registry; what it answers is the old record.
    Register {
        /// Encoded key of the entry ([`keyspace::Registry::entry`]).
        key: Bytes,
        /// `None` removes it.
        value: Option<Bytes>,
    },
    /// Writes and removes records that were computed elsewhere, from what the request holds to its version.
    Write {
        /// Encoded keys, each once; `None`: removed.
        writes: Vec<(Bytes, Option<Bytes>)>,
    },
    /// Writes or removes a record of a registry if it still is what somebody has seen. Answers the old record, by which
    /// one sees whether it was.
    Replace {
        /// Encoded key of the entry.
        key: Bytes,
        /// What was seen; `None`: there was none.
        seen: Option<Bytes>,
        /// `None` removes it.
        value: Option<Bytes>,
    },
}

impl Operation {
    /// Whether it may write.
    pub fn writes(&self) -> bool {
        matches!(self, Operation::Register { .. } | Operation::Replace { .. } | Operation::Write { .. })
    }
}

/// What was found, and the time by which it was judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The group's time.
    pub now_ms: u64,
    /// What was found.
    pub found: Found,
}

/// See [`Operation`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The record of a [`Operation::Get`]; of a [`Operation::Register`] or [`Operation::Replace`] the one before it.
    Record(Option<Record>),
    /// Keys and records of a [`Operation::Scan`], in its order.
    Records(Vec<(Bytes, Record)>),
    /// The version of the live unit of a [`Operation::Observe`]; `None`: there is none, and nothing is known of an
    /// earlier one.
    Observed(Option<Version>),
    /// The unit of a [`Operation::Observe`] is absent or expired; the version of its last change. So who looks twice
    /// sees whether it was there in between.
    Gone(Version),
}

/// Reads.
pub async fn run<V: View>(view: &mut V, operation: &Operation) -> Result<Outcome, ViewError> {
    let found = match operation {
        Operation::Get { key } => Found::Record(view.get(key).await?),
        Operation::Scan { range, order, limit } => Found::Records(view.scan(range, *order, *limit).await?),
        Operation::Observe { unit } => match observe(view, unit).await? {
            Some(version) => Found::Observed(Some(version)),
            None => view.last_change(&version_key(unit)).await?.map_or(Found::Observed(None), Found::Gone),
        },
        Operation::Write { writes } => {
            for (key, value) in writes {
                put_or_delete(view, key, value.as_ref(), true);
            }
            Found::Record(None)
        }
        Operation::Register { key, value } => {
            let before = view.get(key).await?;
            put_or_delete(view, key, value.as_ref(), before.is_some());
            Found::Record(before)
        }
        Operation::Replace { key, seen, value } => {
            let before = view.get(key).await?;
            if before.as_ref().map(|record| &record.value) == seen.as_ref() {
                put_or_delete(view, key, value.as_ref(), before.is_some());
            }
            Found::Record(before)
        }
    };
    Ok(Outcome { now_ms: view.now_ms(), found })
}

fn put_or_delete<V: View>(view: &mut V, key: &Bytes, value: Option<&Bytes>, exists: bool) {
    match value {
        Some(value) => view.put(key.to_vec(), value.clone()),
        None if exists => view.delete(key.to_vec()),
        None => {}
    }
}

/// The version of a live unit.
pub async fn observe<V: View>(view: &mut V, unit: &[u8]) -> Result<Option<Version>, ViewError> {
    let Some(record) = view.get(&version_key(unit)).await? else { return Ok(None) };
    if unit.first() == Some(&REDIS)
        && let Some(expire_at_ms) = redis::expires_at(unit, &record.value)?
        && view.expired(expire_at_ms)
    {
        return Ok(None);
    }
    Ok(Some(record.version))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use keyspace::layout;

    use super::*;
    use crate::testing::MemoryView;
    use crate::{Command, redis::Invocation};

    fn observed(view: &mut MemoryView, unit: &[u8]) -> Option<Version> {
        let operation = Operation::Observe { unit: unit.to_vec().into() };
        match view.run(&Command::Record(operation)) {
            Ok(crate::Outcome::Record(Outcome { found: Found::Observed(version), .. })) => version,
            Ok(crate::Outcome::Record(Outcome { found: Found::Gone(_), .. })) => None,
            other => panic!("another outcome than was asked for: {other:?}"),
        }
    }

    #[test]
    fn only_what_was_seen_is_replaced() {
        let mut view = MemoryView::default();
        let key = Bytes::from(keyspace::Registry::Users.entry(b"ada"));
        let mut replace = |seen: Option<&'static str>, value: Option<&'static str>| {
            let [seen, value] = [seen, value].map(|text| text.map(Bytes::from));
            let operation = Operation::Replace { key: key.clone(), seen, value };
            assert!(operation.writes());
            match view.run(&Command::Record(operation)) {
                Ok(crate::Outcome::Record(Outcome { found: Found::Record(before), .. })) => {
                    before.map(|record| String::from_utf8(record.value.to_vec()).unwrap())
                }
                other => panic!("another outcome than was asked for: {other:?}"),
            }
        };
        assert_eq!(replace(Some("x"), Some("y")), None);
        assert_eq!(replace(None, Some("a")), None);
        assert_eq!(replace(None, Some("b")).as_deref(), Some("a"));
        assert_eq!(replace(Some("a"), Some("b")).as_deref(), Some("a"));
        assert_eq!(replace(Some("a"), None).as_deref(), Some("b"));
        assert_eq!(replace(Some("b"), None).as_deref(), Some("b"));
        assert_eq!(replace(None, None), None);
    }

    #[test]
    fn an_expired_unit_is_observed_as_absent() {
        let mut view = MemoryView::default();
        let unit = layout::redis_unit(0, b"key");
        assert_eq!(observed(&mut view, &unit), None);
        let set = ["SET", "key", "value", "PX", "100"].map(Bytes::from).to_vec();
        view.run(&Command::Redis(Invocation::new(0, set))).unwrap();
        assert!(observed(&mut view, &unit).is_some());
        view.advance_ms(100);
        assert_eq!(observed(&mut view, &unit), None);
    }
}
