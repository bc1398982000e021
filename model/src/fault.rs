//! Deliberate mistakes in the protocol. A model that finds nothing wrong proves little until it has found these.

use clap::ValueEnum;

use crate::laws::{
    ANSWERS_TRUE, ATOMIC, COLLECTED_LAST, EXACTLY_ONCE, ONE_END, RESOLVABLE, SERIALIZABLE, SNAPSHOTS_WHOLE,
    VERSIONS_FOLLOW, VERSIONS_GROW,
};

/// One rule of the protocol, broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Fault {
    /// Resolve turns any lock of the transaction into data, whatever its p.
    ResolveIgnoresPrepared,
    /// Resolve does not raise the participant's clock to c.
    ResolveKeepsClock,
    /// Resolve raises the clock where it turns a lock into data, not where it only ends a read.
    ResolveOfReadKeepsClock,
    /// A resolver that finds no record leaves the lock alone.
    AbsentIsLeftAlone,
    /// A resolver that finds no record takes the transaction for aborted, and writes no tombstone.
    AbsentLeavesNoTombstone,
    /// The record goes when it is Forgotten, before the floor has passed.
    CollectAtForget,
    /// The record is Forgotten before the participants have acknowledged.
    ForgetUnacknowledged,
    /// A Forgotten record keeps c and the response, but not the participants' p.
    ForgottenLosesPrepared,
    /// A commit writes no dedup record.
    CommitLeavesNoDedup,
    /// After an unknown outcome the gateway reads again and computes again, as a new request.
    RecomputeAfterUnknown,
    /// After an unknown outcome the gateway begins another attempt of the same request.
    RetryAfterUnknown,
    /// Commit without a record creates one.
    CommitOnAbsent,
    /// c is the anchor's next own version, whatever the votes say.
    CommitBelowVotes,
    /// Abort overwrites a committed record.
    AbortOverwrites,
    /// The anchor's prewrite is granted although the record says Aborted.
    PrewriteAfterAborted,
    /// A prewrite is granted though the floor has passed it.
    PrewriteBelowFloor,
    /// A second transaction of a request is admitted while the first is Pending.
    SecondWhilePending,
    /// The coordinator is told "aborted" when the record is gone and the floor has passed.
    GoneMeansAborted,
    /// The client is told when all votes are in, before the commit point.
    AnswerBeforeCommit,
    /// A single-group write is executed although its key is locked.
    ExecThroughLock,
    /// What is only read gets no S lock.
    ReadsUnlocked,
    /// What was read is not compared again when it is locked.
    ReadsNotValidated,
    /// A point read returns the value below any lock, committed or not.
    ReadBelowCommitted,
    /// A point read that learns of no record returns the value below without looking again.
    ReadTrustsAbsent,
    /// A read of both keys believes its first round.
    PairReadOnce,
    /// A read under S locks returns its values although it was aborted by somebody else.
    LockedReadTrustsAbort,
    /// A scan that meets a lock without a record does not raise the anchor's clock.
    ScanPushesOnlyRecords,
    /// A scan that meets a lock with a record does not raise the anchor's clock.
    ScanNeverPushes,
}

impl Fault {
    /// A scene that shows the mistake, and the law that it breaks there.
    pub fn shown(self) -> (&'static str, &'static str) {
        match self {
            Self::ResolveIgnoresPrepared => ("transfers", EXACTLY_ONCE),
            Self::ResolveKeepsClock => ("transfers", VERSIONS_GROW),
            Self::ResolveOfReadKeepsClock => ("derived", VERSIONS_FOLLOW),
            Self::AbsentIsLeftAlone => ("transfers", RESOLVABLE),
            Self::AbsentLeavesNoTombstone => ("transfers", ATOMIC),
            Self::CollectAtForget => ("transfers", ONE_END),
            Self::ForgetUnacknowledged => ("transfers", COLLECTED_LAST),
            Self::ForgottenLosesPrepared => ("readers", SERIALIZABLE),
            Self::CommitLeavesNoDedup => ("repeats", EXACTLY_ONCE),
            Self::RecomputeAfterUnknown => ("retries", EXACTLY_ONCE),
            Self::RetryAfterUnknown => ("retries", ANSWERS_TRUE),
            Self::CommitOnAbsent => ("transfers", ATOMIC),
            Self::CommitBelowVotes => ("transfers", VERSIONS_GROW),
            Self::AbortOverwrites => ("transfers", ONE_END),
            Self::PrewriteAfterAborted => ("transfers", ONE_END),
            Self::PrewriteBelowFloor => ("transfers", ONE_END),
            Self::SecondWhilePending => ("twins", EXACTLY_ONCE),
            Self::GoneMeansAborted => ("transfers", ANSWERS_TRUE),
            Self::AnswerBeforeCommit => ("transfers", ANSWERS_TRUE),
            Self::ExecThroughLock => ("transfers", SERIALIZABLE),
            Self::ReadsUnlocked => ("skew", SERIALIZABLE),
            Self::ReadsNotValidated => ("transfers", SERIALIZABLE),
            Self::ReadBelowCommitted => ("readers", SERIALIZABLE),
            Self::ReadTrustsAbsent => ("readers", SERIALIZABLE),
            Self::PairReadOnce => ("skew", SERIALIZABLE),
            Self::LockedReadTrustsAbort => ("locked-reads", SERIALIZABLE),
            Self::ScanPushesOnlyRecords => ("scans", SNAPSHOTS_WHOLE),
            Self::ScanNeverPushes => ("scans", SNAPSHOTS_WHOLE),
        }
    }
}
