//! The placement: it remembers which group serves which keys, gives out timestamps, and changes the cluster step by step.
//!
//! It is never on the path of a read or a commit. With the placement down every read and write goes on; only changes,
//! new snapshots and the registration of nodes wait.
//!
//! ```text
//! server → reconcile → { plan, catalog, oracle }        cli: a client of the server
//! ```
//!
//! # One split, from the call to the gateways
//!
//! An operator types `placement routes split 1 raw:g`, or a program calls `Distribution.SplitRange`.
//!
//! 1. [`server::distribution`] makes sure that this placement leads ([`leadership`]) and turns the human form of the key
//!    into an encoded one.
//! 2. [`reconcile::Reconciler::split_range`] takes a [`catalog::Snapshot`] and asks [`plan::split::check_split`]: has the
//!    catalog the version that the caller decided on, does the route exist, does the key lie strictly inside and between
//!    lock units. Each refusal has its gRPC code in [`server::faults`].
//! 3. It takes identities for the two children and writes a [`catalog::JobKind::Split`], in one
//!    [`catalog::Transaction`] that requires the route and the version unchanged. From here on a crash does not lose the
//!    split: a placement that starts resumes every job it finds.
//! 4. The job's task ([`reconcile::jobs`]) calls `Replicas.SplitRange` on the node that leads the group by the last
//!    heartbeats, and on the other members if that one does not lead any more ([`reconcile::presence`]).
//! 5. The leader puts one entry into the group's log. When it is applied, the group serves the children at the parent's
//!    epoch + 1 and answers `StaleRoute` with them to whoever still names the parent. No data has moved.
//! 6. One commit deletes the parent's route and the job, and writes the children's routes and the next version of the routes
//!    ([`catalog::Catalog::commit`]). If the leader's heartbeat has brought the children before
//!    ([`reconcile::heartbeat`] by [`plan::correct`]), only the job is left to delete.
//! 7. Every `WatchRoutes` stream ([`server::watch`]) sees the commit and sends it as one delta, from the previous version
//!    to this one. Gateways apply it to their map; one that was faster or slower was served all the while, by
//!    `StaleRoute` and a retry.
//! 8. The caller gets the new version and both children.
//!
//! # What is absent
//!
//! Ranges do not move between groups and are not merged; nothing is decided without an operator except the bootstrap; a
//! dead node is not repaired by itself. A job is never taken back: a bootstrap or a change of members whose node never
//! comes back waits for it for ever, and `placement jobs list` says so. There is one placement process: the catalog in etcd, and the lease by which one of three leads, have
//! their seams ([`catalog::Catalog`], [`leadership::Leadership`]) and nothing else yet. The placement keeps nothing
//! outside the catalog that it would miss after a restart.

pub mod catalog;
pub mod config;
pub mod leadership;
pub mod oracle;
pub mod plan;
pub mod reconcile;
pub mod server;
mod start;

pub use config::{CatalogChoice, ConfigError, PlacementConfig};
pub use start::{Placement, StartError, Surroundings};
