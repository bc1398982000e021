//! Whole clusters under test: real processes, real clients, real faults.
//!
//! A test starts a [`cluster::Cluster`], puts [`load::Load`] on its gateways, hurts it (kill -9, pause, stop, full
//! disk), stops the load and looks at the record: was every acknowledged write kept ([`load::Record::lost_writes`]),
//! did every register behave as if it were one cell in one memory ([`checkers`]), and how long was the longest silence?
//!
//! For everything at once, from one seed, there is [`robustness`]: [`workload`]s whose histories go to the [`checkers`], and
//! [`nemesis`], who kills, pauses, splits, and hurts the [`network`] between the processes.
//!
//! Around it: a blocking RESP client ([`resp`]) that a test can follow step by step, and a gRPC client that knows no
//! `.proto` file and learns everything by reflection ([`reflect`]), as grpcurl does.
//!
//! The processes are the workspace's own binaries. Cargo does not build the binaries of other packages for a test, so
//! `make test` builds them first; [`cluster::binaries`] says what to type when they are missing.

pub mod cluster;
pub mod http;
pub mod load;
pub mod nemesis;
pub mod network;
pub mod reflect;
pub mod resp;
pub mod robustness;
pub mod workload;
