//! A number for everything that happened: two runs of one seed must have the same.
//!
//! Every byte that anybody writes to a connection goes in, with the moment and who wrote it, and so does every step of a
//! client. What differs between two runs shows in one of these sooner or later.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use parking_lot::Mutex;

/// The sum over what happened so far. Clones share it.
#[derive(Clone, Default)]
pub struct Trace {
    sum: Arc<Mutex<Sum>>,
}

#[derive(Default)]
struct Sum {
    hasher: DefaultHasher,
    events: u64,
}

impl Trace {
    /// Something happened now.
    pub fn note(&self, event: impl Hash) {
        let mut sum = self.sum.lock();
        turmoil::sim_elapsed().hash(&mut sum.hasher);
        event.hash(&mut sum.hasher);
        sum.events += 1;
    }

    /// How much happened, and its sum.
    pub fn digest(&self) -> (u64, u64) {
        let sum = self.sum.lock();
        (sum.events, sum.hasher.finish())
    }
}
