//! What should be done, as pure functions: values in, decisions out. No clock, no network, no catalog.
//!
//! - [`bootstrap`]: which groups a new cluster gets, on which nodes, and what each owns;
//! - [`split`]: whether and how a range may be cut;
//! - [`members`]: whether a group may get or lose a replica;
//! - [`correct`]: what a leader's report says about routes that the catalog does not know yet.
//!
//! Left out until there is something to carry them out: moves between groups, merges, balance, repair of dead nodes.

pub mod bootstrap;
pub mod correct;
pub mod members;
pub mod split;
