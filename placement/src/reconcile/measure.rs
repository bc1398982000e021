//! The placement's gauges, brought up to date once a second.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::gauge;

use super::Reconciler;
use crate::catalog::Snapshot;

const PERIOD: Duration = Duration::from_secs(1);
const JOB_KINDS: [&str; 4] = ["bootstrap", "split", "change-members", "remove-replica"];

impl Reconciler {
    /// Measures until the placement stops.
    pub(super) async fn measure(self: Arc<Self>) {
        let mut tick = tokio::time::interval(PERIOD);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                () = self.stopping().cancelled() => return,
                _ = tick.tick() => {}
            }
            match self.catalog().snapshot().await {
                Ok(snapshot) => self.record(&snapshot),
                Err(error) => tracing::warn!(%error, "the gauges stand still"),
            }
        }
    }

    // Gauges are floating point: exact up to 2^53, far beyond any count here.
    fn record(&self, snapshot: &Snapshot) {
        let now = Instant::now();
        let alive = snapshot.nodes().filter(|node| self.presence().node(node.node, now).alive).count();
        let dead = snapshot.nodes().count() - alive;
        let leaderless = snapshot.groups().filter(|group| !self.has_live_leader(group.group, now)).count();
        let mut jobs: BTreeMap<&str, u32> = JOB_KINDS.map(|kind| (kind, 0)).into();
        for job in snapshot.jobs() {
            *jobs.entry(job.kind.name()).or_default() += 1;
        }
        gauge!("placement_catalog_version").set(snapshot.route_version() as f64);
        gauge!("placement_routes").set(snapshot.routes().count() as f64);
        gauge!("placement_groups").set(snapshot.groups().count() as f64);
        gauge!("placement_groups_without_leader").set(leaderless as f64);
        gauge!("placement_nodes", "state" => "alive").set(alive as f64);
        gauge!("placement_nodes", "state" => "dead").set(dead as f64);
        gauge!("placement_oracle_window_left_ms").set(self.oracle().window_left_ms() as f64);
        for (kind, count) in jobs {
            gauge!("placement_jobs", "kind" => kind).set(f64::from(count));
        }
    }

    fn has_live_leader(&self, group: keyspace::GroupId, now: Instant) -> bool {
        self.presence().leader(group).node.is_some_and(|node| self.presence().node(node, now).alive)
    }
}
