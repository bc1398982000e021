//! Everything that exists at one moment: two groups, the transactions, and who asked for them.
//!
//! Small on purpose. A checker keeps a fingerprint of every state that it has seen, so a field that nobody asks about
//! costs twice: in bytes, and in states that differ by it alone. What the state therefore does *not* hold:
//!
//! - **the network.** A message that was sent once can arrive at any later moment, any number of times, or never. So
//!   it is enough to know that it was sent, which the sender's progress tells ([`Txn::sent`], [`Txn::commit_sent`], a
//!   final state that was once written). A reply arrives at once or never: a late reply is a sender that is slow.
//! - **wall time.** "The heartbeat is old", "the lock is old", "the floor has passed" are guesses that anybody may
//!   make at any moment.
//! - **values.** A key's data is the list of effects on it, so a lost or doubled one shows.

use std::fmt;
use std::hash::{Hash, Hasher};

/// How many requests a scene may have.
pub const REQUESTS: usize = 4;
/// How often a request is tried: once as it comes, once in ordered mode.
pub const ATTEMPTS: usize = 2;
/// How many transactions that makes.
pub const TXNS: usize = REQUESTS * ATTEMPTS;
/// How many effects a key's history has room for; a healthy scene needs fewer.
const EFFECTS: usize = 6;

/// One of the two groups, and the one key that lives there: 0 is x in A, 1 is y in B.
pub type Place = usize;
/// Both, in key order.
pub const PLACES: [Place; 2] = [0, 1];

/// A version: one number that only grows. Its oracle part has two values, before and from [`SNAPSHOT`] on.
pub type Version = u8;

/// The version of scans. Groups count from 0 and never get here by counting alone, as no counter reaches the next value
/// of the oracle.
pub const SNAPSHOT: Version = 64;

/// A transaction: an attempt of a request.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TxnId(u8);

impl TxnId {
    /// The transaction that is this attempt of this request.
    pub fn new(request: usize, attempt: usize) -> Self {
        Self((request * ATTEMPTS + attempt) as u8)
    }

    /// All there can be.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..TXNS as u8).map(Self)
    }

    /// Its place in [`State::txns`].
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// Whose attempt it is.
    pub fn request(self) -> usize {
        self.index() / ATTEMPTS
    }

    /// Which attempt it is.
    pub fn attempt(self) -> usize {
        self.index() % ATTEMPTS
    }
}

impl fmt::Debug for TxnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "T{}.{}", self.request() + 1, self.attempt() + 1)
    }
}

/// A set of transactions.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct TxnSet(u8);

impl TxnSet {
    /// Whether it is in.
    pub fn contains(self, txn: TxnId) -> bool {
        self.0 & (1 << txn.0) != 0
    }

    /// Puts it in.
    pub fn insert(&mut self, txn: TxnId) {
        self.0 |= 1 << txn.0;
    }

    /// Takes it out.
    pub fn remove(&mut self, txn: TxnId) {
        self.0 &= !(1 << txn.0);
    }

    /// Whether somebody else is in.
    pub fn has_other_than(self, txn: TxnId) -> bool {
        self.0 & !(1 << txn.0) != 0
    }

    /// Those in it.
    pub fn iter(self) -> impl Iterator<Item = TxnId> {
        TxnId::all().filter(move |txn| self.contains(*txn))
    }
}

impl fmt::Debug for TxnSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// One effect on a key: whose, and at which version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Effect {
    /// Who made it; none for what was there at the start.
    pub txn: Option<TxnId>,
    /// The version it got.
    pub version: Version,
}

/// What a key held at the start.
pub const INITIAL: Effect = Effect { txn: None, version: 0 };

/// The data of a key: its effects, oldest first.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct History {
    effects: [Effect; EFFECTS],
    len: u8,
}

impl Default for History {
    fn default() -> Self {
        Self { effects: [INITIAL; EFFECTS], len: 0 }
    }
}

impl History {
    /// The effects, oldest first, without the initial one.
    pub fn effects(&self) -> &[Effect] {
        &self.effects[..usize::from(self.len)]
    }

    /// What a reader finds.
    pub fn newest(&self) -> Effect {
        self.effects().last().copied().unwrap_or(INITIAL)
    }

    /// What a scan finds.
    pub fn newest_below(&self, version: Version) -> Effect {
        self.effects().iter().rev().find(|effect| effect.version < version).copied().unwrap_or(INITIAL)
    }

    /// How often this transaction had its effect.
    pub fn count(&self, txn: TxnId) -> usize {
        self.effects().iter().filter(|effect| effect.txn == Some(txn)).count()
    }

    /// Adds an effect; false when there is no room, which only a protocol out of hand reaches.
    pub fn push(&mut self, txn: TxnId, version: Version) -> bool {
        let Some(slot) = self.effects.get_mut(usize::from(self.len)) else { return false };
        *slot = Effect { txn: Some(txn), version };
        self.len += 1;
        true
    }
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.effects().iter().map(|effect| format!("{:?}@{}", effect.txn, effect.version)))
            .finish()
    }
}

/// An X lock. Its intents need no field: they are the effect of `txn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lock {
    /// Who holds it.
    pub txn: TxnId,
    /// The prepared version, p.
    pub p: Version,
    /// Whether intents are in it; ordered transactions with data flow lock first and fill later.
    pub filled: bool,
}

/// One group, and its one key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Group {
    /// The largest version given out or taken over.
    pub clock: Version,
    /// The X lock on the key.
    pub exclusive: Option<Lock>,
    /// The S locks on the key.
    pub shared: TxnSet,
    /// The key's data.
    pub history: History,
}

impl Group {
    /// The next version.
    pub fn tick(&mut self) -> Version {
        self.clock += 1;
        self.clock
    }

    /// Raises the clock to this version.
    pub fn reach(&mut self, version: Version) {
        self.clock = self.clock.max(version);
    }

    /// The X lock of this transaction.
    pub fn exclusive_of(&self, txn: TxnId) -> Option<Lock> {
        self.exclusive.filter(|lock| lock.txn == txn)
    }

    /// Whether this transaction holds any lock here.
    pub fn is_locked_by(&self, txn: TxnId) -> bool {
        self.exclusive_of(txn).is_some() || self.shared.contains(txn)
    }

    /// Takes away what this transaction holds.
    pub fn unlock(&mut self, txn: TxnId) {
        self.shared.remove(txn);
        self.exclusive = self.exclusive.filter(|lock| lock.txn != txn);
    }

    /// Everybody who holds a lock here.
    pub fn holders(&self) -> impl Iterator<Item = TxnId> {
        self.exclusive.map(|lock| lock.txn).into_iter().chain(self.shared.iter())
    }
}

/// A transaction's record, as its anchor holds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Record {
    /// None: not yet, or collected.
    #[default]
    Absent,
    /// Neither committed nor aborted.
    Pending,
    /// The commit point has been passed.
    Committed,
    /// Committed, and every participant has acknowledged.
    Forgotten,
    /// Ended without effect, or a tombstone that keeps it from beginning.
    Aborted,
}

/// One transaction: its record, what its coordinator sent, and what was ever decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Txn {
    /// At the anchor.
    pub record: Record,
    /// Which prewrites were sent. They stay in the network for ever.
    pub sent: [bool; 2],
    /// Where a lock was granted at least once; another grant is a late prewrite.
    pub granted: [bool; 2],
    /// The p of each vote that the coordinator has; 0 is no vote. A Commit carries them, and the record stores them.
    pub votes: [Version; 2],
    /// What the transaction read, by key.
    pub seen: [Option<Effect>; 2],
    /// Whether a Fill was sent.
    pub fill_sent: bool,
    /// Whether a Commit was sent.
    pub commit_sent: bool,
    /// Whether its coordinator has given it up: its Abort is under way.
    pub abort_sent: bool,
    /// Whether the record was ever Committed. Resolves that say so may arrive at any later time.
    pub committed: bool,
    /// The commit version.
    pub c: Version,
    /// Whether the record was ever Aborted. Answers that say so may arrive at any later time.
    pub aborted: bool,
    /// Which participants have acknowledged a Resolve.
    pub resolved: [bool; 2],
}

/// What a client was told. One that heard nothing, or "unknown", has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// It happened (a read: these are the values).
    Done,
    /// It did not happen and never will.
    NotDone,
}

/// How far a request is, where it is handled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Nothing has been done for it yet.
    #[default]
    Idle,
    /// Ordered mode: the record is being created.
    Beginning,
    /// Reading this key.
    Reading(Place),
    /// Prewriting: votes are coming in.
    Locking,
    /// Ordered mode with data flow: intents are put into the locks; true for those confirmed.
    Filling([bool; 2]),
    /// Only the anchor's record ends it now.
    Ending,
    /// A read of several keys is at its second round, at this key.
    Comparing(Place),
    /// A read of this key has met this lock and asks the anchor.
    Met(Place, Lock),
    /// A read of this key was told that the lock has no record, and looks again.
    LooksAgain(Place, Lock),
    /// The gateway has died.
    Silent,
    /// The client has its answer.
    Told(Answer),
}

/// A request and whoever handles it: a gateway, which may fall silent at any moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Client {
    /// How far it is.
    pub phase: Phase,
    /// The current attempt.
    pub attempt: u8,
    /// Requests that were answered before this one began, one bit each.
    pub after: u8,
    /// Whether the floor at its anchor has passed it.
    pub below_floor: bool,
}

/// Everything at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The groups.
    pub groups: [Group; 2],
    /// The transactions, by [`TxnId::index`].
    pub txns: [Txn; TXNS],
    /// The requests.
    pub clients: [Client; REQUESTS],
    /// The dedup records, each at its request's anchor.
    pub dedup: TxnSet,
    /// How many late prewrites were granted.
    pub late: u8,
    /// A version that did not grow was given to a key.
    pub version_fell: bool,
    /// A lock without intents was turned into data, or a history overflowed.
    pub nonsense: bool,
}

/// Most of a state is transactions that have not begun; a fingerprint passes them over.
impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        for (index, txn) in self.txns.iter().enumerate().filter(|(_, txn)| **txn != Txn::default()) {
            (index as u8, txn).hash(hasher);
        }
        let flags = u8::from(self.version_fell) | u8::from(self.nonsense) << 1;
        (self.groups, self.clients, self.dedup, self.late, flags).hash(hasher);
    }
}

impl State {
    /// The transaction.
    pub fn txn(&self, txn: TxnId) -> &Txn {
        &self.txns[txn.index()]
    }

    /// The transaction, to be changed.
    pub fn txn_mut(&mut self, txn: TxnId) -> &mut Txn {
        &mut self.txns[txn.index()]
    }

    /// The current transaction of a request.
    pub fn current(&self, request: usize) -> TxnId {
        TxnId::new(request, usize::from(self.clients[request].attempt))
    }

    /// How far the coordinator of this transaction is with it; none when it has gone on to another attempt.
    pub fn phase_of(&self, txn: TxnId) -> Option<Phase> {
        (self.current(txn.request()) == txn).then(|| self.clients[txn.request()].phase)
    }

    /// Whether this lock, as it stands, is part of a committed transaction, so that it counts as data.
    pub fn is_committed(&self, place: Place, lock: Lock) -> bool {
        let txn = self.txn(lock.txn);
        txn.committed && txn.votes[place] == lock.p
    }
}
