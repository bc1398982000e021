//! All three tiers in one process, on one thread, on simulated time, hurt from one seed.
//!
//! What runs is the product: the router and the coordinator of the gateway, storage nodes with openraft, the placement with
//! its jobs. What is not real is what they stand on: the network is turmoil's ([`network`]), disks are in memory and forget
//! what was not synced when the power fails ([`machines`]), clocks and random numbers come from the seed ([`run`]).
//!
//! 1. [`faults`] draws from the seed what goes wrong and when; [`links`] keeps the state of the network where faults
//!    overlap.
//! 2. [`run`] lets it happen while [`clients`] work and an [`operator`] splits ranges; clients write into [`ledger`]s what
//!    they were told.
//! 3. [`watch`] looks at the groups' state from outside all the while, for what must hold at every moment.
//! 4. When everything has been healed, all must serve again in time; then [`verdict`] has the histories judged.
//! 5. [`trace`] sums up everything that was said: two runs of a seed must have the same sum.
//!
//! A process runs one seed, because clocks and random numbers are a process's; [`many`] starts as many as are wanted and
//! adds up their [`report`]s.
//!
//! Left out: the Redis, DynamoDB and gRPC front ends, RocksDB, etcd, clocks that differ between machines, processes that
//! stand still while the world goes on (a frozen machine here is one whose messages all come late).

pub mod clients;
pub mod faults;
pub mod ledger;
pub mod links;
pub mod machines;
pub mod many;
pub mod network;
pub mod operator;
pub mod report;
pub mod run;
pub mod trace;
pub mod verdict;
pub mod watch;
