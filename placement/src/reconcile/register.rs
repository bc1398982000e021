//! A storage node says who it is and gets, or keeps, its identity.
//!
//! The identity belongs to the disk. A fresh disk gets the next one; a disk that has registered before gets the same
//! again, also when the node had not yet noted it down; a claim to an identity with another disk is refused, because
//! the data that this identity stands for is elsewhere or lost. The address may change at every start.

use std::time::Instant;

use keyspace::NodeId;
use thiserror::Error;

use super::{Reconciler, settings};
use crate::catalog::{self, CatalogError, NodeRecord, Record, Transaction};

/// Why a node is not let in.
#[derive(Clone, Debug, Error)]
pub enum RegisterError {
    /// The node named no disk.
    #[error("a node registers with the identity of its disk")]
    NoDisk,
    /// Nobody could reach the node there.
    #[error("{address:?} is no address that others can reach: advertise host:port")]
    BadAddress {
        /// What the node said.
        address: String,
    },
    /// The identity was never given out here.
    #[error(
        "this cluster has no node {node}: the disk belongs to another cluster, or the placement's catalog was lost. \
         Point the node at its own placement, or give it an empty data directory to join as a new node"
    )]
    UnknownNode {
        /// The claimed identity.
        node: NodeId,
    },
    /// The identity belongs to another disk.
    #[error(
        "node {node} has another disk: this one is a copy or a leftover. Give the node an empty data directory to join \
         as a new node"
    )]
    OtherDisk {
        /// The claimed identity.
        node: NodeId,
    },
    /// The catalog cannot be read or written.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

/// A node that was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Its identity.
    pub node: NodeId,
    /// The cluster that it belongs to.
    pub cluster_id: String,
}

impl Reconciler {
    /// Gives a disk its identity, or confirms the one that it `claims`.
    pub async fn register(
        &self,
        claims: Option<NodeId>,
        disk_id: &str,
        address: &str,
    ) -> Result<Registered, RegisterError> {
        if disk_id.is_empty() {
            return Err(RegisterError::NoDisk);
        }
        check_address(address)?;
        let registered = catalog::update(self.catalog(), |snapshot| {
            let mut settings = settings(snapshot)?;
            let known = match claims {
                Some(node) => Some(snapshot.node(node).ok_or(RegisterError::UnknownNode { node })?),
                None => snapshot.nodes().find(|node| node.disk_id == disk_id),
            };
            let mut transaction = Transaction::over(snapshot);
            let node = match known {
                Some(known) if known.disk_id != disk_id => return Err(RegisterError::OtherDisk { node: known.node }),
                Some(known) => known.node,
                None => {
                    let node = settings.take_node();
                    transaction = transaction.put(Record::Settings(settings.clone()));
                    node
                }
            };
            if known.is_none_or(|known| known.address != address) {
                let record = NodeRecord { node, disk_id: disk_id.to_owned(), address: address.to_owned() };
                transaction = transaction.put(Record::Node(record));
            }
            Ok((transaction, Registered { node, cluster_id: settings.cluster_id }))
        })
        .await?;
        tracing::info!(node = %registered.node, address, "a storage node has registered");
        self.presence().hear_registration(registered.node, Instant::now());
        Ok(registered)
    }
}

/// Refuses what is not host:port, and hosts that mean "any interface".
pub(super) fn check_address(address: &str) -> Result<(), RegisterError> {
    let reachable = address.rsplit_once(':').is_some_and(|(host, port)| {
        let anywhere = matches!(host, "" | "0.0.0.0" | "[::]" | "::");
        !anywhere && port.parse::<u16>().is_ok_and(|port| port > 0) && !host.contains(['/', ' '])
    });
    if reachable { Ok(()) } else { Err(RegisterError::BadAddress { address: address.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_nobody_can_reach_are_refused() {
        for address in ["storage-1:7000", "127.0.0.1:7000", "[::1]:7000"] {
            assert!(check_address(address).is_ok(), "{address}");
        }
        for address in ["", "storage-1", ":7000", "0.0.0.0:7000", "[::]:7000", "a:0", "a:70000", "http://a:1"] {
            assert!(check_address(address).is_err(), "{address}");
        }
    }
}
