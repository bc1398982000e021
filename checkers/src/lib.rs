//! Judges of recorded histories: did a store keep what it promises?
//!
//! A test lets clients work on a store while it is being hurt, keeps what each was told as a [`history`], and hands it to
//! the judge of what the clients did:
//!
//! * [`linearizable`]: registers, counters, and any other single object,
//! * [`serializable`]: transactions over several keys that append to lists and read them,
//! * [`bank`]: transfers between accounts, whose total nobody may see changed,
//! * [`set`] and [`queue`]: elements that are put in, of which none may be lost, doubled or invented.
//!
//! Every judge reads the same three outcomes: answered, failed, unknown. What is unknown may have happened, may happen
//! late, or never; a judge refuses only what no such guess can explain. So a refusal is a proof that the store, or the
//! recording, is wrong, and it comes with the few operations that show it. An acceptance is worth as much as the history
//! has overlaps and faults.
//!
//! The crate is pure: it makes no calls and knows no store.

pub mod bank;
pub mod history;
pub mod linearizable;
pub mod queue;
pub mod serializable;
pub mod set;
