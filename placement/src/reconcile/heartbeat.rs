//! What a heartbeat changes: the presence of its node, the oracle, and whatever its leaders know better than the catalog.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use keyspace::{GroupId, NodeId, ReplicaId};
use thiserror::Error;

use super::Reconciler;
use super::presence::{LeaderReport, ReplicaReport};
use super::register::{RegisterError, check_address};
use crate::catalog::{self, CatalogError, GroupRecord, NodeRecord, Record, RecordId, Snapshot, Transaction};
use crate::oracle::OracleError;
use crate::plan::correct::{Correction, correct};

/// What a node reports about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Who.
    pub node: NodeId,
    /// Where it is reached.
    pub address: String,
    /// Its replicas.
    pub replicas: Vec<ReplicaReport>,
    /// The largest timestamp that it has seen.
    pub seen_e: u64,
}

/// Why a heartbeat is not taken in.
#[derive(Clone, Debug, Error)]
pub enum HeartbeatError {
    /// The node has to register first.
    #[error("there is no node {0}; register it first")]
    UnknownNode(NodeId),
    /// It gives an address that nobody can reach.
    #[error(transparent)]
    Address(RegisterError),
    /// It claims to have seen an impossible timestamp, or the oracle cannot be used.
    #[error(transparent)]
    Oracle(#[from] OracleError),
    /// The catalog cannot be read or written.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl Reconciler {
    /// Takes in a heartbeat. Whatever it corrected in the catalog is durable when this returns.
    pub async fn heartbeat(&self, beat: Heartbeat) -> Result<(), HeartbeatError> {
        let snapshot = self.catalog().snapshot().await?;
        let known = snapshot.node(beat.node).ok_or(HeartbeatError::UnknownNode(beat.node))?;
        if known.address != beat.address {
            self.move_node(&beat).await?;
        }
        self.oracle().observe(beat.seen_e)?;
        let leads = self.presence().hear(beat.node, &beat.replicas, Instant::now());
        for report in &beat.replicas {
            if let Some(leading) = report.leading.as_ref().filter(|_| leads.contains(&report.group)) {
                self.correct_group(&snapshot, report.group, leading).await?;
            }
        }
        Ok(())
    }

    async fn move_node(&self, beat: &Heartbeat) -> Result<(), HeartbeatError> {
        check_address(&beat.address).map_err(HeartbeatError::Address)?;
        tracing::info!(node = %beat.node, address = beat.address, "a storage node has another address");
        catalog::update(self.catalog(), |snapshot| {
            let known = snapshot.node(beat.node).ok_or(HeartbeatError::UnknownNode(beat.node))?;
            let record = NodeRecord { address: beat.address.clone(), ..known.clone() };
            Ok((Transaction::over(snapshot).put(Record::Node(record)), ()))
        })
        .await
    }

    /// Looks first at a snapshot: nearly always there is nothing to write.
    async fn correct_group(
        &self,
        snapshot: &Arc<Snapshot>,
        group: GroupId,
        leading: &LeaderReport,
    ) -> Result<(), CatalogError> {
        let corrected = |snapshot: &Arc<Snapshot>| {
            let transaction = correct_members(snapshot, group, leading, Transaction::over(snapshot));
            correct_routes(snapshot, leading, transaction)
        };
        if corrected(snapshot).is_empty() {
            return Ok(());
        }
        tracing::info!(%group, "a leader's report corrects the catalog");
        catalog::update(self.catalog(), |snapshot| Ok((corrected(snapshot), ()))).await
    }
}

/// The members as the group has them. A group that the catalog does not know is still being founded.
fn correct_members(
    snapshot: &Snapshot,
    group: GroupId,
    leading: &LeaderReport,
    transaction: Transaction,
) -> Transaction {
    let Some(known) = snapshot.group(group) else { return transaction };
    let members: Vec<_> = leading.members.iter().map(|(member, _)| *member).collect();
    if members.is_empty() || same_members(&members, &known.members) {
        return transaction;
    }
    let used = members.iter().map(|member| ReplicaId(member.replica.0 + 1)).max().unwrap_or_default();
    let next_replica = known.next_replica.max(used);
    transaction.put(Record::Group(GroupRecord { group, members, next_replica }))
}

fn same_members(left: &[catalog::MemberRecord], right: &[catalog::MemberRecord]) -> bool {
    left.iter().collect::<BTreeSet<_>>() == right.iter().collect()
}

/// The routes as the group has them, and the next version of the catalog.
fn correct_routes(snapshot: &Snapshot, leading: &LeaderReport, transaction: Transaction) -> Transaction {
    if leading.routes.iter().all(|route| snapshot.route(route.range_id) == Some(route)) {
        return transaction;
    }
    // Before the bootstrap there is no map, and the bootstrap's own plan is what the groups report.
    let Some(correction) = snapshot.route_map().ok().and_then(|known| correct(&known, &leading.routes)) else {
        return transaction;
    };
    put_routes(snapshot, correction, transaction)
}

/// Writes a change of routes as one step of the catalog's version.
pub(super) fn put_routes(snapshot: &Snapshot, change: Correction, mut transaction: Transaction) -> Transaction {
    for range in change.removed {
        transaction = transaction.delete(RecordId::Route(range));
    }
    for route in change.upserted {
        transaction = transaction.put(Record::Route(route));
    }
    transaction.put(Record::RouteVersion(snapshot.route_version() + 1))
}
