//! Why a group did not answer a request: the closed set of reasons that cross the wire.
//!
//! Which of them are repeated is decided here and nowhere else ([`Refusal::is_retryable`]); who repeats, how often and
//! until when is the router's affair. A repetition keeps the request id, and it is the same request, byte for byte.

use bytes::Bytes;
use keyspace::{GroupId, NodeId, Route};
use thiserror::Error;

use crate::WireError;
use crate::identity::{group_id, known_node};
use crate::route::{range_report, reported_route};
use crate::transaction::{SeenLock, TransactionStatus};
use crate::wire;

/// Why a request has no results.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum Refusal {
    /// The group does not serve a target of the request at the epoch named.
    #[error("group {group} does not serve the keys at that epoch")]
    StaleRoute {
        /// The group that refused.
        group: GroupId,
        /// What it knows of the ranges around the request's targets; empty when it knows none.
        routes: Vec<Route>,
    },
    /// Another replica of the group leads it, or none does.
    #[error("not the leader of the group")]
    NotLeader {
        /// Node of the leader, when known.
        leader: Option<NodeId>,
        /// `host:port` of that node, when known.
        address: Option<String>,
        /// Raft term of what was said; hints of older terms are outdated.
        term: u64,
    },
    /// Had no effect, and never will.
    #[error("not executed: {0}")]
    NotExecuted(NotExecutedReason),
    /// May have taken effect or may do so yet.
    #[error("the outcome is unknown")]
    OutcomeUnknown,
    /// A unit is not as the request has observed it.
    #[error("a key changed meanwhile")]
    Conflict {
        /// The first such unit, encoded.
        unit: Bytes,
    },
    /// The group no longer knows whether the request was executed.
    #[error("the request is too old for its outcome to be known")]
    TooOld,
    /// The request breaks a limit or the contract.
    #[error("{message}")]
    Rejected {
        /// A sentence for the client.
        message: String,
    },
    /// Locks of other transactions stand in the way, and the request does not wait or has waited long enough.
    #[error("locked by another transaction")]
    Locked {
        /// The locks, as far as they were seen.
        locks: Vec<SeenLock>,
    },
    /// A step came too late.
    #[error("its transaction is ended")]
    Ended(Box<TransactionStatus>),
    /// Another transaction of the same request is under way.
    #[error("another attempt of the request is under way")]
    Busy,
    /// It stood by and found nothing, or another request has taken its turn.
    #[error("nothing has come that the request waits for")]
    StillWaits,
    /// A command wants keys that the request does not name, or more time than a leader gives it.
    #[error("a command reaches beyond what its request names")]
    Beyond,
}

/// What kept a request from being executed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq, Hash)]
pub enum NotExecutedReason {
    /// Bounds of memory or of requests in flight.
    #[error("too much is in flight")]
    Overloaded,
    /// The executor has just started again.
    #[error("the group's executor started again")]
    Restarted,
    /// The node is going away.
    #[error("the node is going away")]
    Draining,
    /// An earlier request of the same connection was refused.
    #[error("an earlier request of the connection was refused")]
    Predecessor,
    /// The disk is full.
    #[error("the disk is full")]
    DiskFull,
}

impl Refusal {
    /// Whether the router should send the request again, under the same request id.
    pub fn is_retryable(&self) -> bool {
        match self {
            // The routes inside tell where the request belongs now.
            Refusal::StaleRoute { .. } => true,
            // There is a leader elsewhere, or there will be one within an election.
            Refusal::NotLeader { .. } => true,
            Refusal::NotExecuted(reason) => reason.is_retryable(),
            // The request id makes it safe: executed once, the repetition gets the stored answer.
            Refusal::OutcomeUnknown => true,
            // The same observations would conflict again: whoever observed must look and compute anew.
            Refusal::Conflict { .. } => false,
            // The record that would make a repetition safe may be gone.
            Refusal::TooOld => false,
            // The request stays as wrong as it is.
            Refusal::Rejected { .. } => false,
            // Locks go away, or are taken away.
            Refusal::Locked { .. } => true,
            // An end is an end.
            Refusal::Ended(_) => false,
            // The other one comes to an end.
            Refusal::Busy => true,
            // Whoever waits on says so with another request.
            Refusal::StillWaits => false,
            // It wants to be evaluated elsewhere.
            Refusal::Beyond => false,
        }
    }

    /// Whether the request may have taken effect in spite of the refusal.
    pub fn may_have_executed(&self) -> bool {
        match self {
            Refusal::OutcomeUnknown | Refusal::TooOld => true,
            // These say that this sending had no effect. After an earlier sending with unknown outcome they prove
            // nothing about that one.
            Refusal::StaleRoute { .. }
            | Refusal::NotLeader { .. }
            | Refusal::NotExecuted(_)
            | Refusal::Conflict { .. }
            | Refusal::Rejected { .. }
            | Refusal::Locked { .. }
            | Refusal::Ended(_)
            | Refusal::Busy
            | Refusal::StillWaits
            | Refusal::Beyond => false,
        }
    }
}

impl NotExecutedReason {
    /// Whether the router should send the request again.
    pub fn is_retryable(self) -> bool {
        match self {
            // Passes as soon as what is in flight is done.
            NotExecutedReason::Overloaded => true,
            // The next executor takes it.
            NotExecutedReason::Restarted => true,
            // The leadership moves on; the answer of the same node will then be another one.
            NotExecutedReason::Draining => true,
            // Nothing was wrong with this request itself.
            NotExecutedReason::Predecessor => true,
            // Stays so until somebody makes room, which no deadline outlasts.
            NotExecutedReason::DiskFull => false,
        }
    }
}

impl From<NotExecutedReason> for wire::NotExecutedReason {
    fn from(reason: NotExecutedReason) -> Self {
        match reason {
            NotExecutedReason::Overloaded => wire::NotExecutedReason::Overloaded,
            NotExecutedReason::Restarted => wire::NotExecutedReason::Restarted,
            NotExecutedReason::Draining => wire::NotExecutedReason::Draining,
            NotExecutedReason::Predecessor => wire::NotExecutedReason::Predecessor,
            NotExecutedReason::DiskFull => wire::NotExecutedReason::DiskFull,
        }
    }
}

impl TryFrom<wire::NotExecuted> for NotExecutedReason {
    type Error = WireError;

    fn try_from(refusal: wire::NotExecuted) -> Result<Self, WireError> {
        const MESSAGE: &str = "NotExecuted";
        let unknown = WireError::UnknownEnum { message: MESSAGE, field: "reason", found: refusal.reason };
        Ok(match wire::NotExecutedReason::try_from(refusal.reason).map_err(|_| unknown)? {
            wire::NotExecutedReason::Unspecified => {
                return Err(WireError::Missing { message: MESSAGE, field: "reason" });
            }
            wire::NotExecutedReason::Overloaded => NotExecutedReason::Overloaded,
            wire::NotExecutedReason::Restarted => NotExecutedReason::Restarted,
            wire::NotExecutedReason::Draining => NotExecutedReason::Draining,
            wire::NotExecutedReason::Predecessor => NotExecutedReason::Predecessor,
            wire::NotExecutedReason::DiskFull => NotExecutedReason::DiskFull,
        })
    }
}

impl From<Refusal> for wire::Refusal {
    fn from(refusal: Refusal) -> Self {
        use wire::refusal::Reason;
        let reason = match refusal {
            Refusal::StaleRoute { group, routes } => Reason::StaleRoute(wire::StaleRoute {
                ranges: routes.iter().map(range_report).collect(),
                group_id: group.0,
            }),
            Refusal::NotLeader { leader, address, term } => Reason::NotLeader(wire::NotLeader {
                leader_node_id: leader.map_or(0, u64::from),
                leader_address: address.unwrap_or_default(),
                term,
            }),
            Refusal::NotExecuted(reason) => {
                Reason::NotExecuted(wire::NotExecuted { reason: wire::NotExecutedReason::from(reason).into() })
            }
            Refusal::OutcomeUnknown => Reason::OutcomeUnknown(wire::OutcomeUnknown {}),
            Refusal::Conflict { unit } => Reason::Conflict(wire::Conflict { unit }),
            Refusal::TooOld => Reason::TooOld(wire::TooOld {}),
            Refusal::Rejected { message } => Reason::Rejected(wire::Rejected { message }),
            Refusal::Locked { locks } => {
                Reason::Locked(wire::Locked { locks: locks.into_iter().map(Into::into).collect() })
            }
            Refusal::Ended(status) => Reason::Ended((*status).into()),
            Refusal::Busy => Reason::Busy(wire::Busy {}),
            Refusal::StillWaits => Reason::StillWaits(wire::StillWaits {}),
            Refusal::Beyond => Reason::Beyond(wire::Beyond {}),
        };
        wire::Refusal { reason: Some(reason) }
    }
}

impl TryFrom<wire::Refusal> for Refusal {
    type Error = WireError;

    fn try_from(refusal: wire::Refusal) -> Result<Self, WireError> {
        use wire::refusal::Reason;
        Ok(match refusal.reason.ok_or(WireError::Missing { message: "Refusal", field: "reason" })? {
            Reason::StaleRoute(stale) => {
                let group = group_id("StaleRoute", stale.group_id)?;
                let routes = stale.ranges.into_iter().map(|report| reported_route(report, group));
                Refusal::StaleRoute { group, routes: routes.collect::<Result<_, _>>()? }
            }
            Reason::NotLeader(other) => Refusal::NotLeader {
                leader: known_node(other.leader_node_id),
                address: Some(other.leader_address).filter(|address| !address.is_empty()),
                term: other.term,
            },
            Reason::NotExecuted(refusal) => Refusal::NotExecuted(refusal.try_into()?),
            Reason::OutcomeUnknown(wire::OutcomeUnknown {}) => Refusal::OutcomeUnknown,
            Reason::Conflict(conflict) => Refusal::Conflict { unit: conflict.unit },
            Reason::TooOld(wire::TooOld {}) => Refusal::TooOld,
            Reason::Rejected(rejected) => Refusal::Rejected { message: rejected.message },
            Reason::Locked(locked) => {
                let locks = locked.locks.into_iter().map(SeenLock::try_from);
                Refusal::Locked { locks: locks.collect::<Result<_, _>>()? }
            }
            Reason::Ended(status) => Refusal::Ended(Box::new(status.try_into()?)),
            Reason::Busy(wire::Busy {}) => Refusal::Busy,
            Reason::StillWaits(wire::StillWaits {}) => Refusal::StillWaits,
            Reason::Beyond(wire::Beyond {}) => Refusal::Beyond,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::route::tests::routes;
    use crate::transaction::tests::{locks, statuses};

    fn refusals() -> impl Strategy<Value = Refusal> {
        let reason = prop_oneof![
            Just(NotExecutedReason::Overloaded),
            Just(NotExecutedReason::Restarted),
            Just(NotExecutedReason::Draining),
            Just(NotExecutedReason::Predecessor),
            Just(NotExecutedReason::DiskFull),
        ];
        let leader = (prop::option::of(1u64..9), prop::option::of("[a-z]{1,4}:[0-9]{2}"), any::<u64>());
        prop_oneof![
            prop::collection::vec(routes(GroupId(7)), 0..4)
                .prop_map(|routes| Refusal::StaleRoute { group: GroupId(7), routes }),
            leader.prop_map(|(leader, address, term)| Refusal::NotLeader { leader: leader.map(NodeId), address, term }),
            reason.prop_map(Refusal::NotExecuted),
            Just(Refusal::OutcomeUnknown),
            any::<Vec<u8>>().prop_map(|unit| Refusal::Conflict { unit: unit.into() }),
            Just(Refusal::TooOld),
            "\\PC{0,8}".prop_map(|message| Refusal::Rejected { message }),
            prop::collection::vec(locks(), 0..3).prop_map(|locks| Refusal::Locked { locks }),
            statuses().prop_map(|status| Refusal::Ended(Box::new(status))),
            Just(Refusal::Busy),
            Just(Refusal::StillWaits),
            Just(Refusal::Beyond),
        ]
    }

    #[test]
    fn a_refusal_without_reason_is_refused() {
        let missing = |message, field| Err(WireError::Missing { message, field });
        assert_eq!(Refusal::try_from(wire::Refusal::default()), missing("Refusal", "reason"));
        let refusal = |reason| wire::Refusal { reason: Some(reason) };
        let nobody = refusal(wire::refusal::Reason::StaleRoute(wire::StaleRoute::default()));
        assert_eq!(Refusal::try_from(nobody), missing("StaleRoute", "group_id"));
        let why = refusal(wire::refusal::Reason::NotExecuted(wire::NotExecuted::default()));
        assert_eq!(Refusal::try_from(why), missing("NotExecuted", "reason"));
        let what = refusal(wire::refusal::Reason::NotExecuted(wire::NotExecuted { reason: 99 }));
        assert!(matches!(Refusal::try_from(what), Err(WireError::UnknownEnum { found: 99, .. })));
    }

    #[test]
    fn only_what_can_turn_out_otherwise_is_repeated() {
        let repeated = [
            Refusal::StaleRoute { group: GroupId(1), routes: vec![] },
            Refusal::NotLeader { leader: None, address: None, term: 0 },
            Refusal::NotExecuted(NotExecutedReason::Overloaded),
            Refusal::OutcomeUnknown,
        ];
        assert!(repeated.iter().all(Refusal::is_retryable));
        let final_ones = [
            Refusal::NotExecuted(NotExecutedReason::DiskFull),
            Refusal::Conflict { unit: Bytes::new() },
            Refusal::TooOld,
            Refusal::Rejected { message: String::new() },
        ];
        assert!(!final_ones.iter().any(Refusal::is_retryable));
        assert!(Refusal::TooOld.may_have_executed() && !repeated[0].may_have_executed());
    }

    proptest! {
        #[test]
        fn refusals_round_trip(refusal in refusals()) {
            let bytes = wire::Refusal::from(refusal.clone()).encode_to_vec();
            prop_assert_eq!(Refusal::try_from(wire::Refusal::decode(&bytes[..]).unwrap()), Ok(refusal));
        }

        #[test]
        fn damaged_refusals_never_panic(refusal in refusals(), at: prop::sample::Index, byte: u8) {
            let mut bytes = wire::Refusal::from(refusal).encode_to_vec();
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if let Ok(message) = wire::Refusal::decode(&bytes[..]) {
                let _ = Refusal::try_from(message);
            }
        }
    }
}
