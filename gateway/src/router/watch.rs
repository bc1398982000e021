//! Keeping the directory current from placement's route stream.
//!
//! A subscription begins with a full snapshot and goes on with deltas. A delta that does not follow what is held, a
//! snapshot older than what was applied before, or a message that makes no sense ends the subscription; the next one,
//! at the next placement process, begins with a snapshot again. While placement is away the gateway goes on with what
//! it knows: `StaleRoute` and `NotLeader` answers keep that usable.

use std::sync::Arc;
use std::time::Duration;

use keyspace::{GroupId, NodeId, RouteMap};
use proto::{WireError, identity, route, wire};
use thiserror::Error;
use tonic::Status;

use super::Core;
use super::directory::Group;
use super::link::LinkHandle;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Why a subscription is over.
#[derive(Debug, Error)]
enum Ended {
    #[error("no placement process is configured")]
    Nobody,
    #[error("placement closed the stream")]
    Closed,
    #[error("{0}")]
    Refused(#[from] Status),
    #[error("{0}")]
    Junk(#[from] WireError),
    #[error("a snapshot of version {offered} is older than version {held}, which is known")]
    Older { held: u64, offered: u64 },
    #[error("a delta before any snapshot")]
    NoSnapshot,
    #[error("an empty event")]
    Empty,
}

/// Subscribes, and again whenever the subscription ends, until the router stops.
pub(super) async fn follow_routes(core: Arc<Core>) {
    let mut newest = 0;
    let mut pause = FIRST_PAUSE;
    loop {
        let before = newest;
        core.metrics.route_subscriptions.increment(1);
        let Some(ended) = core.stopping.run_until_cancelled(subscribe(&core, &mut newest)).await else { return };
        tracing::info!(reason = %ended, "the route stream ended");
        core.placement.turn();
        pause = if newest > before { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
        let jittered = pause.mul_f64(0.5 + rand::random::<f64>() / 2.0);
        if core.stopping.run_until_cancelled(tokio::time::sleep(jittered)).await.is_none() {
            return;
        }
    }
}

/// One subscription. `newest` is the newest version ever applied.
async fn subscribe(core: &Arc<Core>, newest: &mut u64) -> Ended {
    match events(core, newest).await {
        Ok(()) => Ended::Closed,
        Err(ended) => ended,
    }
}

async fn events(core: &Arc<Core>, newest: &mut u64) -> Result<(), Ended> {
    let mut client = core.placement.client().ok_or(Ended::Nobody)?;
    let mut events = client.watch_routes(wire::WatchRoutesRequest {}).await?.into_inner();
    let mut held: Option<RouteMap> = None;
    while let Some(event) = events.message().await? {
        match event.event.ok_or(Ended::Empty)? {
            wire::route_event::Event::Snapshot(snapshot) => {
                let map = RouteMap::try_from(snapshot)?;
                if map.version() < *newest {
                    return Err(Ended::Older { held: *newest, offered: map.version() });
                }
                apply(core, &mut held, map, newest);
            }
            wire::route_event::Event::Delta(delta) => {
                let map = route::apply_delta(held.as_ref().ok_or(Ended::NoSnapshot)?, delta)?;
                apply(core, &mut held, map, newest);
            }
            wire::route_event::Event::Topology(topology) => place(core, topology)?,
        }
    }
    Ok(())
}

fn apply(core: &Core, held: &mut Option<RouteMap>, map: RouteMap, newest: &mut u64) {
    *newest = map.version();
    core.directory.replace_routes(&map);
    core.note_readiness();
    *held = Some(map);
}

fn place(core: &Arc<Core>, topology: wire::Topology) -> Result<(), WireError> {
    let node = |node: wire::NodeAddress| Ok((identity::node_id("NodeAddress", node.node_id)?, node.address));
    let nodes: Vec<(NodeId, String)> = topology.nodes.into_iter().map(node).collect::<Result<_, WireError>>()?;
    let group = |location: wire::GroupLocation| {
        let voters = location.voter_node_ids.into_iter().map(NodeId).collect();
        let leader = identity::known_node(location.leader_node_id);
        let id = identity::group_id("GroupLocation", location.group_id)?;
        Ok((id, Group { voters, leader, term: location.term }))
    };
    let groups: Vec<(GroupId, Group)> = topology.groups.into_iter().map(group).collect::<Result<_, WireError>>()?;
    core.directory.replace_topology(&nodes, groups, |node, address| LinkHandle::open(core.clone(), node, address));
    core.note_readiness();
    Ok(())
}
