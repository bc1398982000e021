//! The protocol for transactions over several groups, as a state space that a model checker walks through.
//!
//! Prose can be right in every sentence and wrong as a whole. Here the protocol is written a second time, small enough
//! that a machine can try *everything*: every order of messages, every one of them lost, late or doubled, every gateway
//! dead at every point, any number of resolvers in between. What it finds is a list of steps.
//!
//! One transaction, from the start:
//!
//! 1. A gateway sends a prewrite to each group ([`prewrite`]). The group checks, locks, and votes with a version p; the
//!    anchor's also creates the record, Pending.
//! 2. With all votes it sends Commit ([`coordinate`]). The anchor's record becomes Committed at c ([`commit`]): that is
//!    the commit point. Anything else, from anybody, can make it only Aborted, and only before.
//! 3. Whoever likes tells the participants ([`resolve`]): the lock with the p that was voted becomes data at c, any
//!    other lock of that transaction goes. When all have been told, the record is Forgotten; it is collected when the
//!    floor has passed.
//! 4. Meanwhile others read ([`read`]), and must see all of it or nothing.
//!
//! [`state`] is what exists at one moment, [`protocol`] the steps that a moment offers. After each, [`laws`] must hold:
//! atomicity, one final state, growing versions, one effect a request, honest answers, one order ([`serial`]), and that
//! resolvers alone could clean up. [`sights`] are what must be seen at all. A [`scene`] says who plays and how much goes
//! wrong; a [`fault`] breaks one rule, and must be found out. [`check`] runs it, [`tell`] makes the traces readable.
//!
//! # What is left out
//!
//! - **Raft, the executor, the chain.** A group is one machine that does one thing after another and forgets nothing.
//! - **Ranges.** They do not split or move, so no request becomes an `Exec` halfway and none is sent elsewhere.
//! - **Waiting.** Ordered mode is here (Begin, one prewrite after the other, Fill), its queues are not: a prewrite
//!   that waits is a step that is not taken yet. So nothing is said about deadlock or fairness.
//! - **Locks on intervals**, derived index entries (but an anchor that is not the smallest key), expiry.
//! - **The floors of participants.** They only refuse late prewrites; without them more of these get through.
//! - **The oracle's part of a version.** One law says what scans by version rest on; the scans themselves are not here.

pub mod check;
mod commit;
mod coordinate;
mod execute;
pub mod fault;
pub mod laws;
mod prewrite;
pub mod protocol;
mod read;
mod resolve;
pub mod scene;
mod serial;
pub mod sights;
pub mod state;
mod tell;
