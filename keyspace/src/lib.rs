//! The keyspace: what every tier must agree on, and nothing that does I/O.
//!
//! All data of Elastickv lives in one ordered space of byte strings. This crate says how identities, user keys and
//! system records become such byte strings ([`layout`], over the order-preserving [`codec`]), how intervals of them are
//! named ([`range`]), who serves which interval ([`routes`]) and how people write them down ([`human`]).
//!
//! Everything here is pure: no clock, no randomness, no network, no disk.

pub mod codec;
pub mod decimal;
pub mod human;
pub mod ids;
pub mod layout;
pub mod range;
pub mod routes;
pub mod slot;

pub use codec::CodecError;
pub use decimal::{Decimal, DecimalError};
pub use ids::{Epoch, GroupId, NodeId, RangeId, ReplicaId, RequestId, TableId, TransactionId, Version};
pub use layout::{Key, RedisRecord, Registry, SystemKey};
pub use range::KeyRange;
pub use routes::{RangeState, Route, RouteError, RouteMap};
