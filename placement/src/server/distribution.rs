//! `Distribution`: routes and timestamps.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use keyspace::human::{self, NoTables};
use keyspace::{RangeId, RouteMap};
use proto::route::descriptor;
use proto::wire::distribution_server::Distribution;
use proto::{Fault, FaultCode, wire};
use tonic::{Request, Response, Status};

use super::{Services, faults, watch};
use crate::catalog::Snapshot;

#[tonic::async_trait]
impl Distribution for Services {
    async fn get_route(
        &self,
        request: Request<wire::GetRouteRequest>,
    ) -> Result<Response<wire::GetRouteResponse>, Status> {
        let key = encoded_key(&request.into_inner().key)?;
        let map = routes(&*self.snapshot().await?)?;
        let route = descriptor(map.lookup(&key), &NoTables);
        Ok(Response::new(wire::GetRouteResponse {
            start: route.start.clone(),
            end: route.end.clone(),
            raft_group_id: route.raft_group_id,
            route: Some(route),
        }))
    }

    async fn get_timestamp(
        &self,
        _request: Request<wire::GetTimestampRequest>,
    ) -> Result<Response<wire::GetTimestampResponse>, Status> {
        let timestamp = self.leading()?.oracle().next().await.map_err(|error| faults::of_oracle(&error))?;
        metrics::counter!("placement_oracle_timestamps_total").increment(1);
        Ok(Response::new(wire::GetTimestampResponse { timestamp }))
    }

    async fn list_routes(
        &self,
        _request: Request<wire::ListRoutesRequest>,
    ) -> Result<Response<wire::ListRoutesResponse>, Status> {
        let snapshot = self.snapshot().await?;
        let mut routes: Vec<_> = snapshot.routes().collect();
        routes.sort_by(|a, b| a.range.cmp(&b.range));
        let routes = routes.into_iter().map(|route| descriptor(route, &NoTables)).collect();
        Ok(Response::new(wire::ListRoutesResponse { catalog_version: snapshot.route_version(), routes }))
    }

    async fn split_range(
        &self,
        request: Request<wire::SplitRangeRequest>,
    ) -> Result<Response<wire::SplitRangeResponse>, Status> {
        let wire::SplitRangeRequest { expected_catalog_version, route_id, split_key } = request.into_inner();
        let reconciler = self.leading()?;
        let split_key = encoded_key(&split_key)?;
        let split = reconciler.split_range(expected_catalog_version, RangeId(route_id), split_key).await;
        let split = split.map_err(|error| faults::of_split(&error))?;
        Ok(Response::new(wire::SplitRangeResponse {
            catalog_version: split.version,
            left: Some(descriptor(&split.left, &NoTables)),
            right: Some(descriptor(&split.right, &NoTables)),
        }))
    }

    type WatchRoutesStream = BoxStream<'static, Result<wire::RouteEvent, Status>>;

    async fn watch_routes(
        &self,
        _request: Request<wire::WatchRoutesRequest>,
    ) -> Result<Response<Self::WatchRoutesStream>, Status> {
        Ok(Response::new(watch::route_events(self.leading()?.clone())))
    }
}

impl Services {
    pub(super) async fn snapshot(&self) -> Result<Arc<Snapshot>, Fault> {
        let reconciler = self.leading().map_err(|status| Fault::new(FaultCode::NotLeading, status.message()))?;
        reconciler.catalog().snapshot().await.map_err(|error| faults::of_catalog(&error))
    }
}

/// A key as people and programs write it: in human form, else the RawKV user key. Table names are not known here; a
/// table is written with its id.
fn encoded_key(text: &[u8]) -> Result<Bytes, Fault> {
    let key = human::parse_or_raw(text, &NoTables);
    key.map(Bytes::from).map_err(|error| Fault::new(FaultCode::InvalidArgument, error.to_string()))
}

fn routes(snapshot: &Snapshot) -> Result<RouteMap, Fault> {
    if snapshot.route_version() == 0 {
        let nodes = snapshot.nodes().count();
        let message = format!("the cluster is not bootstrapped yet; {nodes} storage nodes have registered");
        return Err(Fault::new(FaultCode::Unavailable, message));
    }
    snapshot.route_map().map_err(|error| Fault::new(FaultCode::Internal, format!("the catalog is damaged: {error}")))
}
