//! What is played: a few requests on two groups, and how much may go wrong.
//!
//! One scene with everything in it would never end, so there are several, each of two or three requests that can hurt
//! each other in one particular way, and each small enough to be walked through completely. The protocol is the same in
//! all of them. [`Scene::all`] is what is checked all the time; [`Scene::larger`] is for a person with patience.

use crate::sights::Sight;
use crate::state::Place;

/// What a transaction does with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    Nothing,
    /// Writes what the group computes when it prewrites (an increment, an append): X lock, no read version.
    Append,
    /// Writes what the coordinator computed from its reads: X lock, and the version read must still stand.
    Update,
    /// Only reads, as an input to what is written elsewhere: S lock, and the version read must still stand.
    Look,
}

impl Access {
    /// Whether the coordinator reads the key before it computes.
    pub fn reads(self) -> bool {
        matches!(self, Self::Update | Self::Look)
    }

    /// Whether the key gets an effect.
    pub fn writes(self) -> bool {
        matches!(self, Self::Append | Self::Update)
    }
}

/// What a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Prewrite, Commit, Resolve, with this access to x and y.
    Transaction([Access; 2]),
    /// An append to one key by one `Exec` of its group.
    Exec(Place),
    /// A read of one key: one check, and the anchor is asked about a lock that is met.
    PointRead(Place),
    /// A read of both keys in two rounds that must agree.
    PairRead,
    /// A read of both keys under S locks, ended by an Abort that must find the record Pending.
    LockedRead,
    /// A read of x and later y at one version.
    Scan,
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// What it does.
    pub work: Work,
    /// The group of its anchor. It is the smallest unit *named*: a write that names y and derives an index entry x
    /// has it in B, though x is smaller.
    pub anchor: Place,
    /// How many attempts its gateway makes; those after the first are in ordered mode.
    pub attempts: usize,
    /// An earlier request that this one repeats through another gateway, by a client's token.
    pub repeats: Option<usize>,
    /// A request of the same client that must be answered before this one begins.
    pub follows: Option<usize>,
}

impl Request {
    fn new(work: Work, anchor: Place) -> Self {
        Self { work, anchor, attempts: 1, repeats: None, follows: None }
    }

    fn transaction(x: Access, y: Access, anchor: Place) -> Self {
        Self::new(Work::Transaction([x, y]), anchor)
    }

    fn attempts(self, attempts: usize) -> Self {
        Self { attempts, ..self }
    }

    /// What it does with this key as a transaction; nothing when it is none.
    pub fn access(&self, place: Place) -> Access {
        match self.work {
            Work::Transaction(access) => access[place],
            Work::LockedRead => Access::Look,
            Work::Exec(_) | Work::PointRead(_) | Work::PairRead | Work::Scan => Access::Nothing,
        }
    }

    /// Whether the coordinator computes from what it read.
    pub fn has_data_flow(&self) -> bool {
        matches!(self.work, Work::Transaction(access) if access.iter().any(|access| access.reads()))
    }
}

/// Requests, bounds, and what must be seen to happen.
#[derive(Clone, Debug)]
pub struct Scene {
    /// What to type.
    pub name: &'static str,
    /// What can go wrong in it.
    pub story: &'static str,
    /// Who plays.
    pub requests: Vec<Request>,
    /// How many prewrites may be granted that were granted before: duplicates that arrive after their lock is gone.
    pub late_prewrites: u8,
    /// Whether a vote may get lost although its lock was granted, to be heard later or never. Nobody else can tell (a
    /// coordinator that gives up forgets its votes), so most scenes do without.
    pub lost_votes: bool,
    /// Whether gateways die explicitly, forgetting what they know. A live one that does nothing more is as good as
    /// dead, so most scenes do without.
    pub crashes: bool,
    /// Sights that the scene must offer, else it shows nothing.
    pub sights: Vec<Sight>,
}

const A: Place = 0;
const B: Place = 1;

impl Scene {
    fn new(name: &'static str, story: &'static str, requests: &[Request], sights: &[Sight]) -> Self {
        Self {
            name,
            story,
            requests: requests.to_vec(),
            late_prewrites: 0,
            lost_votes: false,
            crashes: false,
            sights: sights.to_vec(),
        }
    }

    fn late_prewrites(self, late_prewrites: u8) -> Self {
        Self { late_prewrites, ..self }
    }

    /// The scenes that are checked all the time.
    pub fn all() -> Vec<Self> {
        use Access::{Append, Look, Update};
        use Sight::*;
        let append = Request::transaction(Append, Append, A);
        let append_at_b = Request { anchor: B, ..append };
        let update = Request::transaction(Update, Update, B);
        let derive = Request::transaction(Look, Append, A);
        let with =
            |more: &[Sight]| [&[Committed, Aborted, ResolvedUnawares, AbortedUnawares, MetTombstone], more].concat();
        let transfers = Self::new(
            "transfers",
            "an append to both keys, a read-modify-write of both, a single-group append, on the same keys; gateways die",
            &[append, update, Request::new(Work::Exec(B), B)],
            &with(&[AllCommitted, Collected, Conflict, OrphanOfCommitted, CommittedAfterDeath]),
        );
        let retries = Self::new(
            "retries",
            "the same two transactions, trying again in ordered mode after the anchor answered Aborted",
            &[append.attempts(2), update.attempts(2)],
            &with(&[AllCommitted, Collected, Conflict, SecondAttemptCommitted]),
        );
        let repeats = Self::new(
            "repeats",
            "one request through two gateways by a client's token, and a read-modify-write of the same keys",
            &[append, Request { repeats: Some(0), ..append }, update],
            &with(&[AllCommitted, Collected, AnsweredByDedup]),
        );
        let twins = Self::new(
            "twins",
            "the same, where the anchor's unit is only read, so that both sendings can lock it at once",
            &[derive.attempts(2), Request { repeats: Some(0), ..derive }],
            &with(&[AllCommitted, Collected, AnsweredByDedup, SecondAttemptCommitted]),
        );
        let three = Self::new(
            "three",
            "an append to both keys, a read-modify-write of both, and one that reads x and writes y",
            &[append, update, derive],
            &with(&[AllCommitted, Collected, Conflict]),
        );
        let readers = Self::new(
            "readers",
            "two transactions, and a client that reads x and then y",
            &[
                append,
                append_at_b,
                Request::new(Work::PointRead(A), A),
                Request { follows: Some(2), ..Request::new(Work::PointRead(B), B) },
            ],
            &with(&[AllCommitted, Collected, OrphanOfCommitted, ReadIntent, ReadBelowLock, LookedAgain]),
        );
        let skew = Self::new(
            "skew",
            "two transactions that each read what the other writes, and a read of both keys in two rounds",
            &[derive, Request::transaction(Append, Look, B), Request::new(Work::PairRead, A)],
            &with(&[AllCommitted, Collected, OrphanOfCommitted, PairRead]),
        );
        let locked_reads = Self::new(
            "locked-reads",
            "two transactions, and a read of both keys under S locks",
            &[append, append_at_b, Request::new(Work::LockedRead, A)],
            &with(&[AllCommitted, Collected, LockedRead]),
        );
        let scans = Self::new(
            "scans",
            "two transactions, and a scan of both keys at one version",
            &[append, append_at_b, Request::new(Work::Scan, A)],
            &with(&[AllCommitted, Collected, ScannedBetween]),
        );
        let derived = Self::new(
            "derived",
            "a transaction that reads x and writes y, a single-group append to each, and a scan of both keys",
            &[
                Request { anchor: B, ..derive },
                Request::new(Work::Exec(A), A),
                Request::new(Work::Exec(B), B),
                Request::new(Work::Scan, A),
            ],
            &with(&[AllCommitted, Collected, Conflict, OrphanOfCommitted, ScannedBetween]),
        );
        vec![
            Self { crashes: true, ..transfers.late_prewrites(1) },
            three,
            retries,
            repeats,
            twins,
            readers.late_prewrites(1),
            skew.late_prewrites(1),
            locked_reads,
            scans.late_prewrites(1),
            derived.late_prewrites(1),
        ]
    }

    /// The same scenes with more going wrong.
    pub fn larger() -> Vec<Self> {
        let worse =
            |scene: Self| Self { late_prewrites: scene.late_prewrites + 1, lost_votes: true, crashes: true, ..scene };
        Self::all().into_iter().map(worse).collect()
    }
}
