//! Cutting a range in two: one entry of the group, no data moves. Children get the next epoch.

use bytes::Bytes;
use keyspace::{Epoch, RangeId, RangeState, Route, layout};
use thiserror::Error;

use super::ranges::{OwnedRange, RangeTable};

/// Which range, where, and what the halves are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitRequest {
    /// The range to cut.
    pub range_id: RangeId,
    /// Its epoch, as the caller knows it.
    pub epoch: Epoch,
    /// First key of the upper half: a lock unit boundary strictly inside.
    pub key: Bytes,
    /// Name of the lower half.
    pub left: RangeId,
    /// Name of the upper half.
    pub right: RangeId,
}

/// Why a range is not cut.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SplitError {
    /// The group has no such range (any more).
    #[error("range {0} is not served by this group")]
    UnknownRange(RangeId),
    /// The range has changed.
    #[error("range {range_id} is at epoch {found}")]
    OtherEpoch {
        /// The range.
        range_id: RangeId,
        /// Its epoch.
        found: Epoch,
    },
    /// The range is being moved.
    #[error("range {0} is being moved")]
    Busy(RangeId),
    /// The key lies at or outside the boundary, or inside a lock unit.
    #[error("the split key is not a boundary inside range {0}")]
    BadKey(RangeId),
}

/// What to do about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// It has been done before.
    Already(Route, Route),
    /// Replace the range by its halves.
    Cut {
        /// The range and its epoch.
        removed: (RangeId, Epoch),
        /// Lower and upper half.
        halves: Box<[OwnedRange; 2]>,
    },
}

/// Checks a request against the ranges.
pub fn plan(ranges: &RangeTable, request: &SplitRequest) -> Result<Plan, SplitError> {
    if let (Some(left), Some(right)) = (ranges.find(request.left), ranges.find(request.right)) {
        return Ok(Plan::Already(left.route.clone(), right.route.clone()));
    }
    let owned = ranges.find(request.range_id).ok_or(SplitError::UnknownRange(request.range_id))?;
    let route = &owned.route;
    if route.epoch != request.epoch {
        return Err(SplitError::OtherEpoch { range_id: route.range_id, found: route.epoch });
    }
    if route.state != RangeState::Active {
        return Err(SplitError::Busy(route.range_id));
    }
    let bad_key = SplitError::BadKey(route.range_id);
    if !layout::is_unit_boundary(&request.key) {
        return Err(bad_key);
    }
    let halves = ranges.halves(route.range_id, &request.key, request.left, request.right).ok_or(bad_key)?;
    Ok(Plan::Cut { removed: (route.range_id, route.epoch), halves: Box::new(halves) })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use keyspace::{GroupId, KeyRange};

    use super::*;

    fn table() -> RangeTable {
        RangeTable::new(vec![OwnedRange::new(Route {
            range_id: RangeId(1),
            range: KeyRange::prefix(vec![layout::RAW]),
            group: GroupId(1),
            epoch: Epoch(4),
            state: RangeState::Active,
            parent: RangeId(0),
        })])
    }

    fn at(key: impl Into<Bytes>) -> SplitRequest {
        SplitRequest { range_id: RangeId(1), epoch: Epoch(4), key: key.into(), left: RangeId(8), right: RangeId(9) }
    }

    #[test]
    fn halves_take_over_at_the_next_epoch_and_a_repetition_finds_them() {
        let request = at(layout::raw(b"g"));
        let Plan::Cut { removed, halves } = plan(&table(), &request).unwrap() else { panic!("not cut") };
        assert_eq!(removed, (RangeId(1), Epoch(4)));
        assert!(halves.iter().all(|half| half.route.epoch == Epoch(5) && half.route.parent == RangeId(1)));
        let after = table().change(&[removed], halves.to_vec());
        assert!(matches!(plan(&after, &request), Ok(Plan::Already(left, _)) if left.range_id == RangeId(8)));
    }

    #[test]
    fn refusals() {
        let refused = |request| plan(&table(), &request).unwrap_err();
        assert_eq!(refused(at(vec![layout::RAW])), SplitError::BadKey(RangeId(1)), "the boundary itself");
        assert_eq!(refused(at("z")), SplitError::BadKey(RangeId(1)), "outside");
        assert_eq!(refused(at("kg")), SplitError::BadKey(RangeId(1)), "no whole unit");
        let stale = SplitRequest { epoch: Epoch(3), ..at(layout::raw(b"g")) };
        assert_eq!(refused(stale), SplitError::OtherEpoch { range_id: RangeId(1), found: Epoch(4) });
        let unknown = SplitRequest { range_id: RangeId(2), ..at(layout::raw(b"g")) };
        assert_eq!(refused(unknown), SplitError::UnknownRange(RangeId(2)));
    }
}
