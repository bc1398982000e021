//! What this node knows of the other nodes' wall clocks.
//!
//! Clocks ride on the heartbeat streams (see [`super::pulse`]), both ways. The node that sends heartbeats learns the
//! peer's clock from the answers, corrected by half the round trip; the node that receives them learns it uncorrected,
//! too low by the time on the wire. The better observation wins while it is young.
//!
//! An observation is kept as "at this moment of our monotonic clock, their wall clock read that", so a jump of our own
//! wall clock shows at once in every comparison. Nothing here is adjusted: the table only answers whether a majority
//! of a group's voters agree with this node within [`AGREEMENT_MS`] (a leader moves its group's time only then).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use keyspace::NodeId;
use parking_lot::Mutex;

/// Two clocks agree if they are at most this far apart, in milliseconds.
pub const AGREEMENT_MS: u64 = 500;

/// An older observation says nothing.
const MAX_AGE: Duration = Duration::from_secs(5);

/// How long an uncorrected observation does not replace a corrected one.
const CORRECTED_WINS: Duration = Duration::from_secs(2);

/// A corrected observation over a slower round trip is too vague to be worth more than an uncorrected one.
const MAX_ROUND_TRIP: Duration = Duration::from_millis(200);

/// The wall clocks of the peers. Cheap to clone; clones share.
#[derive(Clone, Debug, Default)]
pub struct ClockTable {
    seen: Arc<Mutex<HashMap<NodeId, Observation>>>,
}

#[derive(Clone, Copy, Debug)]
struct Observation {
    /// Their wall clock at `at`, milliseconds since 1970.
    clock_ms: u64,
    at: Instant,
    corrected: bool,
}

/// This node's wall clock, milliseconds since 1970.
#[must_use]
pub fn wall_clock_ms() -> u64 {
    // A clock before 1970 reads as 1970: it agrees with nobody, which is the right answer.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

impl ClockTable {
    /// How far the clock of `node` is ahead of ours (negative: behind), in milliseconds, and how old that knowledge is.
    #[must_use]
    pub fn offset_ms(&self, node: NodeId) -> Option<(i64, Duration)> {
        let now = Instant::now();
        let seen = *self.seen.lock().get(&node)?;
        Some((offset(seen, now, wall_clock_ms()), now.saturating_duration_since(seen.at)))
    }

    /// Whether more than half of `voters` have a clock within [`AGREEMENT_MS`] of ours. `this` always agrees; a node
    /// that has not been heard for 5 s does not. Of a joint configuration ask for each half.
    #[must_use]
    pub fn majority_agrees(&self, voters: &[NodeId], this: NodeId) -> bool {
        self.majority_agrees_at(voters, this, Instant::now(), wall_clock_ms())
    }

    fn majority_agrees_at(&self, voters: &[NodeId], this: NodeId, now: Instant, wall_ms: u64) -> bool {
        let seen = self.seen.lock();
        let agrees = |voter: &&NodeId| {
            **voter == this
                || seen.get(*voter).is_some_and(|seen| {
                    now.saturating_duration_since(seen.at) <= MAX_AGE
                        && offset(*seen, now, wall_ms).unsigned_abs() <= AGREEMENT_MS
                })
        };
        voters.iter().filter(agrees).count() * 2 > voters.len()
    }

    /// `node` answered with its clock, `round_trip` after we asked.
    pub(super) fn observe_answer(&self, node: NodeId, clock_ms: u64, round_trip: Duration, now: Instant) {
        let half_ms = u64::try_from(round_trip.as_millis() / 2).unwrap_or(u64::MAX);
        let corrected = round_trip <= MAX_ROUND_TRIP;
        self.observe(node, Observation { clock_ms: clock_ms.saturating_add(half_ms), at: now, corrected });
    }

    /// `node` sent us its clock.
    pub(super) fn observe_sent(&self, node: NodeId, clock_ms: u64, now: Instant) {
        self.observe(node, Observation { clock_ms, at: now, corrected: false });
    }

    fn observe(&self, node: NodeId, new: Observation) {
        let mut seen = self.seen.lock();
        let keep = seen.get(&node).is_some_and(|old| {
            old.corrected && !new.corrected && new.at.saturating_duration_since(old.at) < CORRECTED_WINS
        });
        if !keep {
            seen.insert(node, new);
        }
    }
}

/// Theirs minus ours, in milliseconds, at `now`.
fn offset(seen: Observation, now: Instant, wall_ms: u64) -> i64 {
    let since = now.saturating_duration_since(seen.at).as_millis();
    let theirs = i128::from(seen.clock_ms) + i128::try_from(since).unwrap_or(i128::MAX / 2);
    let apart = theirs - i128::from(wall_ms);
    i64::try_from(apart).unwrap_or(if apart < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const WALL: u64 = 1_700_000_000_000;
    const THREE: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn offset_of(table: &ClockTable, node: u64, now: Instant, wall_ms: u64) -> i64 {
        offset(*table.seen.lock().get(&NodeId(node)).unwrap(), now, wall_ms)
    }

    #[test]
    fn alone_a_node_agrees_with_itself_and_no_further() {
        let table = ClockTable::default();
        assert!(table.majority_agrees(&[NodeId(1)], NodeId(1)));
        assert!(!table.majority_agrees(&THREE, NodeId(1)), "nothing heard from the others");
        assert!(!table.majority_agrees(&[], NodeId(1)), "no voters, no majority");
    }

    #[test]
    fn half_the_round_trip_is_added() {
        let (table, now) = (ClockTable::default(), Instant::now());
        table.observe_answer(NodeId(2), WALL, ms(100), now);
        assert_eq!(offset_of(&table, 2, now, WALL + 50), 0);
        assert_eq!(offset_of(&table, 2, now + ms(1000), WALL + 1050), 0, "both clocks went on");
        assert_eq!(offset_of(&table, 2, now, WALL), 50);
    }

    #[test]
    fn majority_within_half_a_second() {
        let (table, now) = (ClockTable::default(), Instant::now());
        table.observe_answer(NodeId(2), WALL + 500, ms(0), now);
        table.observe_answer(NodeId(3), WALL + 501, ms(0), now);
        assert!(table.majority_agrees_at(&THREE, NodeId(1), now, WALL), "two of three agree");
        table.observe_answer(NodeId(2), WALL - 501, ms(0), now);
        assert!(!table.majority_agrees_at(&THREE, NodeId(1), now, WALL), "only this node agrees");
    }

    #[test]
    fn a_jump_of_our_own_clock_shows_at_once() {
        let (table, now) = (ClockTable::default(), Instant::now());
        table.observe_answer(NodeId(2), WALL, ms(2), now);
        table.observe_answer(NodeId(3), WALL, ms(2), now);
        assert!(table.majority_agrees_at(&THREE, NodeId(1), now + ms(10), WALL + 10));
        assert!(!table.majority_agrees_at(&THREE, NodeId(1), now + ms(20), WALL + 60_000));
    }

    #[test]
    fn old_knowledge_does_not_count() {
        let (table, now) = (ClockTable::default(), Instant::now());
        table.observe_answer(NodeId(2), WALL, ms(0), now);
        assert!(table.majority_agrees_at(&THREE, NodeId(1), now + ms(5_000), WALL + 5_000));
        assert!(!table.majority_agrees_at(&THREE, NodeId(1), now + ms(5_001), WALL + 5_001));
    }

    #[test]
    fn a_corrected_observation_beats_an_uncorrected_one_while_young() {
        let (table, now) = (ClockTable::default(), Instant::now());
        table.observe_answer(NodeId(2), WALL, ms(20), now);
        table.observe_sent(NodeId(2), WALL + 900, now + ms(1_000));
        assert_eq!(offset_of(&table, 2, now + ms(1_000), WALL + 1_010), 0);
        table.observe_sent(NodeId(2), WALL + 1_900, now + ms(2_000));
        assert_eq!(offset_of(&table, 2, now + ms(2_000), WALL + 2_000), -100);
        table.observe_answer(NodeId(3), WALL, ms(400), now);
        table.observe_sent(NodeId(3), WALL + 7, now);
        assert_eq!(offset_of(&table, 3, now, WALL), 7, "too slow a round trip to be trusted");
    }

    #[test]
    fn absurd_clocks_do_not_overflow() {
        let (table, now) = (ClockTable::default(), Instant::now());
        table.observe_answer(NodeId(2), u64::MAX, ms(100), now);
        assert_eq!(offset_of(&table, 2, now, 0), i64::MAX);
        table.observe_sent(NodeId(3), 0, now);
        assert_eq!(offset_of(&table, 3, now, u64::MAX), i64::MIN);
    }
}
