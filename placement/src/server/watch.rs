//! `WatchRoutes`: a snapshot of the routes, then every change, gapless and in order; and where the groups are, in between.
//!
//! The first event is a snapshot; before the bootstrap there is none, and the stream waits. A commit of the catalog that
//! changes the version of the routes becomes one delta. A watcher that falls too far behind gets a new snapshot.
//! The topology follows each snapshot and comes again whenever it changes.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use keyspace::RangeId;
use keyspace::human::NoTables;
use proto::route;
use proto::wire::{self, route_event::Event};
use tokio::sync::watch;
use tonic::Status;

use super::faults;
use crate::catalog::{CatalogError, Committed, Record, RecordId, Watch};
use crate::reconcile::Reconciler;
use crate::reconcile::topology::Topology;

/// The events for one watcher. Ends when the placement stops.
pub fn route_events(reconciler: Arc<Reconciler>) -> BoxStream<'static, Result<wire::RouteEvent, Status>> {
    let topology = reconciler.topology();
    let stopping = reconciler.stopping().clone().cancelled_owned();
    let watcher = Watcher { reconciler, topology, version: 0, commits: None, waiting: VecDeque::new() };
    let events = stream::try_unfold(watcher, |mut watcher| async move {
        let event = watcher.next().await.map_err(|error| Status::from(faults::of_catalog(&error)))?;
        Ok(event.map(|event| (wire::RouteEvent { event: Some(event) }, watcher)))
    });
    events.take_until(stopping).boxed()
}

/// One end of the stream.
///
/// Invariant: every change of the routes up to `version` has been sent or waits; `commits` goes on right behind it.
struct Watcher {
    reconciler: Arc<Reconciler>,
    topology: watch::Receiver<Arc<Topology>>,
    version: u64,
    commits: Option<Watch>,
    waiting: VecDeque<Event>,
}

impl Watcher {
    async fn next(&mut self) -> Result<Option<Event>, CatalogError> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Ok(Some(event));
            }
            let Some(commits) = &mut self.commits else {
                self.begin().await?;
                continue;
            };
            tokio::select! {
                // Routes before topology: a group is no use without the ranges that it serves.
                biased;
                committed = commits.next() => match committed {
                    None => return Ok(None),
                    Some(Err(CatalogError::Compacted { .. })) => self.commits = None,
                    Some(Err(error)) => return Err(error),
                    Some(Ok(committed)) => self.take_in(&committed).await?,
                },
                changed = self.topology.changed(), if self.version > 0 => {
                    if changed.is_err() {
                        return Ok(None);
                    }
                    self.send_topology();
                }
            }
        }
    }

    /// A snapshot, if there is one by now, and the commits behind it.
    async fn begin(&mut self) -> Result<(), CatalogError> {
        let snapshot = self.reconciler.catalog().snapshot().await?;
        match self.reconciler.catalog().watch(snapshot.revision()).await {
            Ok(commits) => self.commits = Some(commits),
            Err(CatalogError::Compacted { .. }) => return Ok(()),
            Err(error) => return Err(error),
        }
        self.version = snapshot.route_version();
        if self.version > 0 {
            let damaged = |error: keyspace::RouteError| CatalogError::Damaged {
                key: "route/".to_owned(),
                reason: error.to_string(),
            };
            let map = snapshot.route_map().map_err(damaged)?;
            self.waiting.push_back(Event::Snapshot(route::snapshot(&map, &NoTables)));
            self.send_topology();
        }
        Ok(())
    }

    async fn take_in(&mut self, committed: &Committed) -> Result<(), CatalogError> {
        let new_version = committed.changes.iter().find_map(|(_, record)| match record.as_deref() {
            Some(Record::RouteVersion(version)) => Some(*version),
            _ => None,
        });
        let Some(version) = new_version else { return Ok(()) };
        if self.version == 0 {
            // The bootstrap: begin with a snapshot of its result.
            return self.begin().await;
        }
        let mut removed: Vec<RangeId> = Vec::new();
        let mut upserted = Vec::new();
        for (id, record) in &committed.changes {
            match (id, record.as_deref()) {
                (RecordId::Route(range), None) => removed.push(*range),
                (RecordId::Route(_), Some(Record::Route(route))) => upserted.push(route.clone()),
                _ => {}
            }
        }
        let delta = route::delta(self.version, version, &removed, &upserted, &NoTables);
        self.version = version;
        self.waiting.push_back(Event::Delta(delta));
        Ok(())
    }

    fn send_topology(&mut self) {
        let topology = self.topology.borrow_and_update().clone();
        self.waiting.push_back(Event::Topology(on_wire(&topology)));
    }
}

fn on_wire(topology: &Topology) -> wire::Topology {
    let nodes = topology.nodes.iter();
    let nodes = nodes.map(|(node, address)| wire::NodeAddress { node_id: node.0, address: address.clone() });
    let groups = topology.groups.iter().map(|group| wire::GroupLocation {
        group_id: group.group.0,
        voter_node_ids: group.voters.iter().map(|node| node.0).collect(),
        leader_node_id: group.leader.unwrap_or_default().0,
        term: group.term,
    });
    wire::Topology { nodes: nodes.collect(), groups: groups.collect() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use keyspace::NodeId;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::catalog::memory::MemoryCatalog;
    use crate::catalog::{Catalog, Transaction};
    use crate::oracle::{Oracle, system_clock};
    use crate::plan::bootstrap::plan_bootstrap;
    use crate::reconcile::Policy;

    #[tokio::test]
    async fn a_watcher_that_falls_behind_begins_again_with_a_snapshot() {
        let catalog: Arc<dyn Catalog> = Arc::new(MemoryCatalog::new());
        let mut routes = Transaction::over(&catalog.snapshot().await.unwrap()).put(Record::RouteVersion(1));
        for route in plan_bootstrap(&[NodeId(1)], 2).into_iter().flat_map(|group| group.routes) {
            routes = routes.put(Record::Route(route));
        }
        catalog.commit(routes).await.unwrap();
        let policy = Policy {
            bootstrap_nodes: 1,
            groups: 2,
            node_timeout: Duration::from_secs(1),
            split_patience: Duration::from_secs(1),
            snapshot_age: Duration::from_secs(600),
        };
        let oracle = Arc::new(Oracle::open(catalog.clone(), system_clock()).await.unwrap());
        let stop = CancellationToken::new();
        let reconciler =
            Reconciler::start(catalog.clone(), oracle, policy, proto::Dialer::default(), stop.clone()).await.unwrap();
        let mut events = route_events(reconciler.clone());
        let mut next_routes = async || loop {
            match events.next().await.unwrap().unwrap().event.unwrap() {
                Event::Topology(_) => {}
                routes => return routes,
            }
        };
        assert!(matches!(next_routes().await, Event::Snapshot(snapshot) if snapshot.version == 1));

        for version in 2..2_000 {
            let snapshot = catalog.snapshot().await.unwrap();
            catalog.commit(Transaction::over(&snapshot).put(Record::RouteVersion(version))).await.unwrap();
        }
        assert!(matches!(next_routes().await, Event::Snapshot(snapshot) if snapshot.version == 1_999));
        let snapshot = catalog.snapshot().await.unwrap();
        catalog.commit(Transaction::over(&snapshot).put(Record::RouteVersion(2_000))).await.unwrap();
        let expected = wire::RouteDelta { previous_version: 1_999, version: 2_000, ..Default::default() };
        assert_eq!(next_routes().await, Event::Delta(expected));
        stop.cancel();
        reconciler.stopped().await;
    }
}
