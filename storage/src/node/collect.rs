//! Removing garbage in the background: passes over the data of the groups that this node leads, at a bounded rate.
//!
//! A pass begins a while after the last one, if the safe point that the placement gives out has risen and there may be
//! something new: the group has written since that pass began, or it saw what would become garbage later. So an idle
//! cluster does nothing. What [`collect::step`] finds goes to the group's executor, which alone proposes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use keyspace::{GroupId, Version};
use metrics::counter;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Node;
use super::replica::Replica;
use crate::group::collect::{self, StepLimits};
use crate::group::execute::{Internal, InternalDone};
use crate::group::state::StateError;

/// Steps of a node in a second.
const STEPS_PER_SECOND: u32 = 20;
/// Versions that one entry removes at most.
const REMOVED_AT_ONCE: usize = 1024;

/// How far a group's data was looked through.
struct Pass {
    /// Term in which this node began it.
    term: u64,
    began_at: Instant,
    safe_point_e: u64,
    /// The group's clock at its begin.
    began: Version,
    /// Where it goes on; `None`: it is over.
    next: Option<Bytes>,
    ripens: bool,
}

/// Until cancelled.
pub async fn collect(node: Arc<Node>, stop: CancellationToken) {
    let looks = (node.config.collect.versions_per_second / STEPS_PER_SECOND as usize).max(1);
    let limits = StepLimits { looks, found: REMOVED_AT_ONCE };
    let mut passes: HashMap<GroupId, Pass> = HashMap::new();
    let mut rounds = tokio::time::interval(Duration::from_secs(1) / STEPS_PER_SECOND);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // The groups take turns, so that the rate holds for the node.
    let mut turn = 0;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = rounds.tick() => {}
        }
        let led: Vec<_> = node.all().into_iter().filter(|replica| replica.leads()).collect();
        turn += 1;
        let Some(replica) = led.get(turn % led.len().max(1)) else { continue };
        passes.retain(|group, _| led.iter().any(|replica| replica.group == *group));
        if let Err(error) = step(&node, replica, &mut passes, limits).await {
            tracing::error!(group = replica.group.0, %error, "cannot look for garbage");
        }
    }
}

async fn step(
    node: &Node,
    replica: &Replica,
    passes: &mut HashMap<GroupId, Pass>,
    limits: StepLimits,
) -> Result<(), StateError> {
    let safe_point_e = node.safe_point_e.load(Ordering::Relaxed);
    let pause = Duration::from_millis(node.config.collect.every_ms);
    let term = replica.term();
    let last = passes.get(&replica.group).filter(|pass| pass.term == term);
    let due = match last {
        None => safe_point_e > 0,
        Some(Pass { next: Some(_), .. }) => false,
        Some(last) => safe_point_e > last.safe_point_e && last.began_at.elapsed() >= pause,
    };
    if !due && last.is_none_or(|last| last.next.is_none()) {
        return Ok(());
    }
    let view = replica.views.open()?;
    if due {
        let began = view.head.clock;
        let news = last.is_none_or(|last| last.ripens || last.began != began);
        let next = news.then(collect::beginning);
        // Without news the last pass holds for this safe point, too.
        let pass = Pass { term, began_at: Instant::now(), safe_point_e, began, next, ripens: false };
        passes.insert(replica.group, pass);
    }
    let Some(pass) = passes.get_mut(&replica.group) else { return Ok(()) };
    let Some(start) = pass.next.clone() else { return Ok(()) };
    let found = collect::step(replica.group, &view, &start, pass.safe_point_e, limits)?;
    drop(view);
    counter!("storage_garbage_looks_total").increment(found.looked_at as u64);
    if !found.garbage.is_empty() {
        let versions = found.versions;
        let collect = Internal::Collect { safe_point_e: pass.safe_point_e, garbage: found.garbage };
        match replica.internal(collect).await {
            Ok(InternalDone::Done) => counter!("storage_garbage_versions_total").increment(versions as u64),
            // Found again from the same place.
            Ok(_) | Err(_) => return Ok(()),
        }
    }
    pass.next = found.next;
    pass.ripens |= found.ripens;
    Ok(())
}
