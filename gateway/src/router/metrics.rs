//! Counters of the router. Handles are made once: recording is an atomic addition.

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use super::error::Reason;

pub(super) struct RouterMetrics {
    /// Requests handed in.
    pub(super) requests: Counter,
    /// Requests refused because of the gateway's own bounds.
    pub(super) overloaded: Counter,
    /// Requests given up without a known outcome.
    pub(super) outcome_unknown: Counter,
    /// Requests given up, certainly not executed.
    pub(super) unavailable: Counter,
    /// Requests in one message to a storage node.
    pub(super) batch_requests: Histogram,
    /// Streams to storage nodes that broke.
    pub(super) streams_broken: Counter,
    /// Replies that made no sense.
    pub(super) protocol_errors: Counter,
    /// Subscriptions to the routes, the first included.
    pub(super) route_subscriptions: Counter,
    /// Locks of ended transactions that were in the way of somebody else and were resolved.
    pub(super) locks_resolved: Counter,
    /// Reads that met locks.
    pub(super) contested_reads: Counter,
    /// Requests under way.
    pub(super) in_flight: Gauge,
    retries: [Counter; Reason::ALL.len()],
}

impl RouterMetrics {
    pub(super) fn new() -> Self {
        Self {
            requests: counter!("gateway_router_requests_total"),
            overloaded: counter!("gateway_router_overloaded_total"),
            outcome_unknown: counter!("gateway_router_outcome_unknown_total"),
            unavailable: counter!("gateway_router_unavailable_total"),
            batch_requests: histogram!("gateway_router_batch_requests"),
            streams_broken: counter!("gateway_router_streams_broken_total"),
            protocol_errors: counter!("gateway_router_protocol_errors_total"),
            route_subscriptions: counter!("gateway_router_route_subscriptions_total"),
            locks_resolved: counter!("gateway_router_locks_resolved_total"),
            contested_reads: counter!("gateway_router_contested_reads_total"),
            in_flight: gauge!("gateway_router_in_flight_requests"),
            retries: Reason::ALL.map(|reason| counter!("gateway_router_retries_total", "reason" => reason.label())),
        }
    }

    pub(super) fn retried(&self, reason: Reason) {
        self.retries[reason as usize].increment(1);
    }
}
