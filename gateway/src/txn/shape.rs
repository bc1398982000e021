//! How the parts of a transaction fall over the groups, as the routes say now. Pure.
//!
//! Routes change while a transaction is under way. A shape is only a plan: what lies elsewhere by now is refused, and
//! the next attempt is planned from the routes of then.

use std::collections::BTreeMap;

use bytes::Bytes;
use commands::Command;
use keyspace::{GroupId, RouteMap, Version};

use super::{TxnError, Work};
use crate::router::serving_group;

/// Most keys of a transaction over several groups.
pub const MAX_KEYS: usize = 4096;
/// Most keys that are read together, without locks.
pub const MAX_READ_KEYS: usize = 65_536;
/// Most bytes of a transaction over several groups: its arguments, and what it writes.
pub const MAX_BYTES: usize = 4 << 20;

/// How the work lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// All of it in one group, which executes it as one request.
    OneGroup,
    /// In several groups, but every part in one of them: each group evaluates its own.
    Shipped(Vec<Share>),
    /// Some part lies in several groups, or may read anywhere, so data flows between groups: the gateway evaluates.
    Computed,
}

/// What one group has to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    /// Sorted, without repetition; those that were only observed included.
    pub(super) units: Vec<Bytes>,
    /// Which parts of the work, in order.
    pub(super) parts: Vec<usize>,
    /// Versions that must still hold.
    pub(super) observed: Vec<(Bytes, Option<Version>)>,
}

/// The group of a unit.
pub(super) fn group_of(routes: &RouteMap, unit: &[u8]) -> GroupId {
    serving_group(routes.lookup(unit))
}

/// Every unit that the work names or has observed, sorted.
pub(super) fn units_of(work: &Work) -> Vec<Bytes> {
    let named = work.parts.iter().flat_map(|part| &part.units);
    let mut units: Vec<Bytes> = named.chain(work.observed.iter().map(|(unit, _)| unit)).cloned().collect();
    units.sort_unstable();
    units.dedup();
    units
}

/// Plans.
pub(super) fn shape(routes: &RouteMap, work: &Work) -> Shape {
    let groups: BTreeMap<Bytes, GroupId> =
        units_of(work).into_iter().map(|unit| (unit.clone(), group_of(routes, &unit))).collect();
    let Some(first) = groups.values().next().copied() else { return Shape::OneGroup };
    if work.reads_beyond() {
        return Shape::Computed;
    }
    if groups.values().all(|group| *group == first) {
        return Shape::OneGroup;
    }
    let mut shares: BTreeMap<GroupId, Share> = BTreeMap::new();
    for (unit, group) in &groups {
        shares.entry(*group).or_default().units.push(unit.clone());
    }
    for (index, part) in work.parts.iter().enumerate() {
        // A part without keys can be evaluated anywhere.
        let group = part.units.first().map_or(first, |unit| groups[unit]);
        if part.units.iter().any(|unit| groups[unit] != group) {
            return Shape::Computed;
        }
        shares.entry(group).or_default().parts.push(index);
    }
    for (unit, version) in &work.observed {
        shares.entry(groups[unit]).or_default().observed.push((unit.clone(), *version));
    }
    Shape::Shipped(shares.into_values().collect())
}

/// Sorted units, cut wherever the next one lies in another group: what is locked with one request in ordered mode.
pub(super) fn runs(routes: &RouteMap, units: &[Bytes]) -> Vec<Vec<Bytes>> {
    debug_assert!(units.is_sorted(), "locks are taken in key order");
    let same = |a: &Bytes, b: &Bytes| group_of(routes, a) == group_of(routes, b);
    units.chunk_by(same).map(<[Bytes]>::to_vec).collect()
}

/// The units of each group together, in no particular order of groups.
pub(super) fn by_group(routes: &RouteMap, units: &[Bytes]) -> Vec<Vec<Bytes>> {
    let mut groups: BTreeMap<GroupId, Vec<Bytes>> = BTreeMap::new();
    for unit in units {
        groups.entry(group_of(routes, unit)).or_default().push(unit.clone());
    }
    groups.into_values().collect()
}

/// The units of each group in requests that are not too large.
pub(super) fn in_requests(groups: Vec<Vec<Bytes>>) -> Vec<Vec<Bytes>> {
    groups.iter().flat_map(|units| units.chunks(MAX_KEYS)).map(<[Bytes]>::to_vec).collect()
}

/// The work run by run, if each part lies in one run; else its parts must be evaluated under all locks.
pub(super) fn ship_in_runs(runs: Vec<Vec<Bytes>>, work: &Work) -> Option<Vec<Share>> {
    if runs.is_empty() {
        return None;
    }
    let holder = |unit: &Bytes| runs.iter().position(|run| run.binary_search(unit).is_ok());
    let mut parts: Vec<Vec<usize>> = vec![Vec::new(); runs.len()];
    for (index, part) in work.parts.iter().enumerate() {
        let run = part.units.first().map_or(Some(0), &holder)?;
        if part.units.iter().any(|unit| holder(unit) != Some(run)) {
            return None;
        }
        parts[run].push(index);
    }
    let mut observed: Vec<Vec<(Bytes, Option<Version>)>> = vec![Vec::new(); runs.len()];
    for seen in &work.observed {
        observed[holder(&seen.0)?].push(seen.clone());
    }
    let share = |((units, parts), observed)| Share { units, parts, observed };
    Some(runs.into_iter().zip(parts).zip(observed).map(share).collect())
}

/// The results of all parts, from those of each share.
///
/// # Panics
///
/// When the shares are not all parts, each once.
pub(super) fn merge<T>(shares: impl IntoIterator<Item = (Vec<usize>, Vec<T>)>, parts: usize) -> Vec<T> {
    let mut merged: Vec<Option<T>> = std::iter::repeat_with(|| None).take(parts).collect();
    for (indexes, results) in shares {
        assert_eq!(indexes.len(), results.len(), "a result for each part");
        for (index, result) in indexes.into_iter().zip(results) {
            merged[index] = Some(result);
        }
    }
    merged.into_iter().map(|result| result.expect("every part is in one share")).collect()
}

/// Refuses what is too large to be held together.
pub(super) fn check_size(work: &Work, units: usize) -> Result<(), TxnError> {
    if units > MAX_KEYS {
        return Err(TxnError::TooManyKeys { keys: units, most: MAX_KEYS });
    }
    check_bytes(work.parts.iter().map(|part| command_bytes(&part.command)).sum())
}

/// Refuses to write as much.
pub(super) fn check_bytes(bytes: usize) -> Result<(), TxnError> {
    if bytes > MAX_BYTES { Err(TxnError::TooLarge { bytes }) } else { Ok(()) }
}

fn command_bytes(command: &Command) -> usize {
    match command {
        Command::Redis(invocation) => invocation.args.iter().map(Bytes::len).sum(),
        Command::Raw(commands::raw::Operation::Put { value, .. }) => value.len(),
        Command::Dynamo(commands::dynamo::Operation::WriteItem(write)) => write.payload_bytes(),
        Command::Dynamo(commands::dynamo::Operation::Together(writes)) => {
            writes.iter().map(commands::dynamo::ItemWrite::payload_bytes).sum()
        }
        Command::Raw(_) | Command::Dynamo(_) | Command::RedisSpan(_) | Command::Record(_) => 0,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use commands::redis::Invocation;
    use proptest::prelude::*;

    use super::super::Part;
    use super::*;
    use crate::router::fake::some_route;

    /// Every letter of the alphabet is a unit; group 1 has those below h and from p on, group 2 the others.
    fn routes() -> RouteMap {
        let routes =
            vec![some_route(1, b"", b"h", 1, 1), some_route(2, b"h", b"p", 2, 1), some_route(3, b"p", b"", 1, 1)];
        RouteMap::new(1, routes).unwrap()
    }

    fn part(units: &str) -> Part {
        let command = Command::Redis(Invocation::new(0, vec![Bytes::from_static(b"GET")]));
        let mut units: Vec<Bytes> = units.chars().map(|unit| unit.to_string().into()).collect();
        units.sort_unstable();
        units.dedup();
        Part { command, units }
    }

    fn work(parts: &[&str], observed: &str) -> Work {
        let observed = observed.chars().map(|unit| (Bytes::from(unit.to_string()), None)).collect();
        Work::new(parts.iter().map(|units| part(units)).collect(), observed)
    }

    #[test]
    fn a_part_over_two_groups_is_computed() {
        assert_eq!(shape(&routes(), &work(&["ab", "z"], "c")), Shape::OneGroup);
        assert_eq!(shape(&routes(), &work(&["ab", "az"], "i")).parts(), Some(vec![vec![0, 1], vec![]]));
        assert_eq!(shape(&routes(), &work(&["ab", "i", "z"], "")).parts(), Some(vec![vec![0, 2], vec![1]]));
        assert_eq!(shape(&routes(), &work(&["a", "bi"], "")), Shape::Computed);
        assert_eq!(shape(&routes(), &work(&[""], "")), Shape::OneGroup);
    }

    #[test]
    fn runs_follow_the_keys_and_not_the_groups() {
        let letters = |text: &str| text.chars().map(|unit| Bytes::from(unit.to_string())).collect::<Vec<_>>();
        let cut = runs(&routes(), &letters("abikz"));
        assert_eq!(cut, [letters("ab"), letters("ik"), letters("z")]);
        assert!(ship_in_runs(cut.clone(), &work(&["ab", "ik", "z"], "a")).is_some());
        assert!(ship_in_runs(cut, &work(&["az", "i"], "")).is_none(), "its second key is locked after another group's");
    }

    #[test]
    fn what_is_too_large_is_refused() {
        assert!(check_size(&work(&["a"], ""), MAX_KEYS).is_ok());
        assert!(check_size(&work(&["a"], ""), MAX_KEYS + 1).is_err());
        assert!(check_bytes(MAX_BYTES + 1).is_err());
    }

    impl Shape {
        fn parts(self) -> Option<Vec<Vec<usize>>> {
            match self {
                Shape::Shipped(shares) => Some(shares.into_iter().map(|share| share.parts).collect()),
                Shape::OneGroup | Shape::Computed => None,
            }
        }
    }

    proptest! {
        #[test]
        fn every_unit_part_and_observation_lies_in_one_share(
            parts in prop::collection::vec("[a-z]{0,3}", 0..6), observed in "[a-z]{0,3}",
        ) {
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            let work = work(&parts, &observed);
            let routes = routes();
            let units = units_of(&work);
            let group = |unit: &Bytes| group_of(&routes, unit);
            match shape(&routes, &work) {
                Shape::OneGroup => prop_assert!(units.windows(2).all(|pair| group(&pair[0]) == group(&pair[1]))),
                Shape::Computed => {
                    let apart = |part: &Part| part.units.windows(2).any(|pair| group(&pair[0]) != group(&pair[1]));
                    prop_assert!(work.parts.iter().any(apart));
                }
                Shape::Shipped(shares) => {
                    let mut shared: Vec<Bytes> = shares.iter().flat_map(|share| share.units.clone()).collect();
                    shared.sort_unstable();
                    prop_assert_eq!(&shared, &units);
                    for share in &shares {
                        prop_assert!(share.parts.is_sorted() && share.units.is_sorted());
                        let held = |unit: &Bytes| share.units.contains(unit);
                        prop_assert!(share.parts.iter().all(|&part| work.parts[part].units.iter().all(held)));
                        prop_assert!(share.observed.iter().all(|(unit, _)| held(unit)));
                    }
                    let results = shares.iter().map(|share| (share.parts.clone(), share.parts.clone()));
                    let all: Vec<usize> = (0..work.parts.len()).collect();
                    prop_assert_eq!(merge(results, all.len()), all);
                }
            }
            let cut = runs(&routes, &units);
            prop_assert_eq!(cut.concat(), units.clone());
            if let Some(shares) = ship_in_runs(cut, &work) {
                let parts: usize = shares.iter().map(|share| share.parts.len()).sum();
                prop_assert!(parts == work.parts.len() || shares.is_empty());
            }
        }
    }
}
