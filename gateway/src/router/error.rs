//! What can become of a request, other than results.
//!
//! [`RouterError`] is what callers see; each language maps it to its own sentence. [`Reason`] is why the router sends
//! a request again, and never leaves it except in metrics, traces and inside [`RouterError::Unavailable`].

use std::fmt;

use thiserror::Error;

/// Why a request has no results.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RouterError {
    /// Not executed: this gateway has as many requests or bytes under way as it may. Trying again later helps.
    #[error("too many requests are under way in this gateway")]
    Overloaded,
    /// Not executed: the keys of the request lie in several groups.
    #[error("the keys lie in several groups")]
    CrossGroup,
    /// Not executed: nobody could serve it before the deadline. Trying again later helps.
    #[error("the cluster could not serve the request in time ({0})")]
    Unavailable(Reason),
    /// May or may not have taken effect, and the time in which the router asks again is over.
    #[error("the outcome of the request is unknown")]
    OutcomeUnknown,
    /// Not executed: a unit that the request had observed has changed.
    #[error("a key has changed since it was read")]
    Conflict,
    /// Not executed: a prewrite that does not wait met the lock of another transaction.
    #[error("another transaction has locked a key")]
    Locked,
    /// Not executed: the transaction of the step is decided; its anchor says how.
    #[error("the transaction has ended")]
    Ended,
    /// Not executed: it stood by, and nothing came; or another request has its turn.
    #[error("nothing has come that the request waits for")]
    StillWaits,
    /// Not executed: a command reaches beyond the keys that the request names, or takes more time than a leader gives it.
    #[error("a command reaches beyond what its request names")]
    Beyond,
    /// Not executed: versions as old as the asked timestamp are not kept any more.
    #[error("the snapshot is too old")]
    SnapshotTooOld,
    /// Not executed: the disk of the storage node is full.
    #[error("the storage node's disk is full")]
    DiskFull,
    /// Not executed: the request breaks a limit; the sentence says which. Trying again does not help.
    #[error("{0}")]
    Rejected(String),
    /// A peer sent what the protocol does not allow. Whether the request took effect is not known.
    #[error("protocol error between the tiers: {0}")]
    Protocol(String),
}

impl RouterError {
    /// Whether the same request may succeed later without any change to it, and certainly had no effect so far.
    pub fn is_retryable(&self) -> bool {
        match self {
            // Bounds of the moment.
            RouterError::Overloaded | RouterError::Unavailable(_) | RouterError::Conflict | RouterError::Locked => true,
            // Somebody must make room first, but nothing took effect.
            RouterError::DiskFull => true,
            // The request itself must change, or be another attempt.
            RouterError::Ended
            | RouterError::StillWaits
            | RouterError::Beyond
            | RouterError::CrossGroup
            | RouterError::SnapshotTooOld
            | RouterError::Rejected(_) => false,
            // It may have taken effect: only the caller knows whether twice is harmless.
            RouterError::OutcomeUnknown | RouterError::Protocol(_) => false,
        }
    }
}

/// Why the router sends a request again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No route or no replica of the group is known yet.
    NoRoute,
    /// The group does not serve a target at the epoch that was sent.
    StaleRoute,
    /// The node does not lead the group.
    NotLeader,
    /// The node is at its bounds.
    NodeOverloaded,
    /// The group's executor has just started again.
    Restarted,
    /// The node is leaving.
    Draining,
    /// An earlier request of the same connection in the same batch was refused.
    Predecessor,
    /// The leader cannot say whether the request took effect.
    OutcomeUnknown,
    /// The stream ended while the request was under way.
    StreamBroken,
    /// The node cannot be reached; the request was never sent.
    Unreachable,
    /// The node took the request and says nothing.
    NoAnswer,
    /// Locks of transactions are in the way.
    Locked,
    /// Another attempt of the same request is under way.
    Busy,
}

impl Reason {
    /// Every reason, for counters that exist before the first event.
    pub const ALL: [Reason; 13] = [
        Reason::NoRoute,
        Reason::StaleRoute,
        Reason::NotLeader,
        Reason::NodeOverloaded,
        Reason::Restarted,
        Reason::Draining,
        Reason::Predecessor,
        Reason::OutcomeUnknown,
        Reason::StreamBroken,
        Reason::Unreachable,
        Reason::NoAnswer,
        Reason::Locked,
        Reason::Busy,
    ];

    /// Value of the `reason` label.
    pub const fn label(self) -> &'static str {
        match self {
            Reason::NoRoute => "no_route",
            Reason::StaleRoute => "stale_route",
            Reason::NotLeader => "not_leader",
            Reason::NodeOverloaded => "node_overloaded",
            Reason::Restarted => "restarted",
            Reason::Draining => "draining",
            Reason::Predecessor => "predecessor",
            Reason::OutcomeUnknown => "outcome_unknown",
            Reason::StreamBroken => "stream_broken",
            Reason::Unreachable => "unreachable",
            Reason::NoAnswer => "no_answer",
            Reason::Locked => "locked",
            Reason::Busy => "busy",
        }
    }

    /// Whether the attempt that ended so may have taken effect.
    pub const fn leaves_outcome_unknown(self) -> bool {
        match self {
            Reason::OutcomeUnknown | Reason::StreamBroken | Reason::NoAnswer => true,
            Reason::NoRoute
            | Reason::StaleRoute
            | Reason::NotLeader
            | Reason::NodeOverloaded
            | Reason::Restarted
            | Reason::Draining
            | Reason::Predecessor
            | Reason::Unreachable
            | Reason::Locked
            | Reason::Busy => false,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::NoRoute => "no route is known",
            Reason::StaleRoute => "the range is moving",
            Reason::NotLeader => "the group has no leader",
            Reason::NodeOverloaded => "the storage node is overloaded",
            Reason::Restarted => "the group is restarting",
            Reason::Draining => "the storage node is leaving",
            Reason::Predecessor => "an earlier command of the connection waits",
            Reason::OutcomeUnknown => "the leader changed",
            Reason::StreamBroken => "the connection to the storage node broke",
            Reason::Unreachable => "the storage node cannot be reached",
            Reason::NoAnswer => "the storage node does not answer",
            Reason::Locked => "other transactions hold the keys",
            Reason::Busy => "another attempt of the request is under way",
        })
    }
}
