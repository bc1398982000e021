//! The placement against fake storage nodes that speak the real protocol: everything but Raft and data.

#![allow(clippy::unwrap_used)]

mod bootstrap;
mod cli;
mod fake;
mod members;
mod registration;
mod services;
mod split;
mod watch;
