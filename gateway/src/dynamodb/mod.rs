//! The DynamoDB listener: JSON over HTTP/1.1 and HTTP/2, as AWS SDKs speak it.
//!
//! The life of one PutItem:
//!
//! 1. [`serve`] accepts the connection, within the bound on connections, and gives it to hyper.
//! 2. [`exchange`] reads the body, within the bounds on its size and on all bodies together, takes a slot among the
//!    requests in flight, and finds the operation that `X-Amz-Target` names.
//! 3. [`items`] reads the request token by token ([`json`], [`attribute`]) and checks it: first what the API declares
//!    of single fields ([`constraints`]), then the values, then what must hold between them and the table.
//! 4. [`catalog`] answers the table's descriptor, from memory or from the store.
//! 5. [`expressions`] become trees; with them the item, now a key and a record (`commands::dynamo`), goes through
//!    [`Store`] to the leader of its key.
//! 6. The outcome becomes JSON, or a [`fault::Fault`] the error that the SDK knows; `exchange` adds request id and
//!    checksum.
//!
//! A write on a table with indexes is a transaction over the item and its entries; [`mod@fill`] fills indexes of tables
//! that exist.
//!
//! What is absent: there is no authentication yet (any signature or none is accepted, so listen on loopback); no
//! streams: asking for one is refused in a sentence, never ignored.
//! `docs/dynamodb.md` lists every operation.

mod alter_table;
mod attribute;
mod batch;
mod capacity;
mod catalog;
mod constraints;
mod create_table;
mod exchange;
mod expire;
mod expressions;
mod fault;
mod fill;
mod indexes;
mod items;
mod json;
mod key;
mod legacy;
mod operations;
mod query;
mod serve;
mod store;
mod tables;
mod transact;
mod walk;

#[cfg(test)]
mod tests;

pub use expire::run as expire;
pub use fill::run as fill;
pub use serve::{Limits, serve};
pub use store::{Backend, Call, Store, StoreError};
