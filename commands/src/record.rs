//! Plain records, for a coordinator that evaluates a command itself because its keys lie in several groups: it reads
//! records and the versions of lock units, computes, and hands what it wrote to the groups as intents.

use bytes::Bytes;
use keyspace::layout::{REDIS, version_key};
use keyspace::{KeyRange, Version};

use crate::redis;
use crate::view::{Order, Record, View, ViewError};

/// What is read. Nothing here writes.
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
    /// The record of a [`Operation::Get`].
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
    };
    Ok(Outcome { now_ms: view.now_ms(), found })
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
    fn an_expired_unit_is_observed_as_absent() {
        let mut view = MemoryView::default();
        let unit = layout::redis_unit(0, b"key");
        assert_eq!(observed(&mut view, &unit), None);
        let set = ["SET", "key", "value", "PX", "100"].map(Bytes::from).to_vec();
        view.run(&Command::Redis(Invocation { db: 0, args: set })).unwrap();
        assert!(observed(&mut view, &unit).is_some());
        view.advance_ms(100);
        assert_eq!(observed(&mut view, &unit), None);
    }
}
