//! Distribution, answered by placement: whoever leads there.
//!
//! The gateway adds nothing and takes nothing away, so that a program with one gateway's address can list and split
//! routes. What placement refuses is handed on as it is.

use std::sync::Arc;

use proto::wire::distribution_client::DistributionClient;
use proto::wire::distribution_server::Distribution;
use proto::wire::{
    GetRouteRequest, GetRouteResponse, GetTimestampRequest, GetTimestampResponse, ListRoutesRequest,
    ListRoutesResponse, RouteEvent, SplitRangeRequest, SplitRangeResponse, WatchRoutesRequest,
};
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

use super::oracle::Oracle;
use crate::router::Router;

pub(super) struct Forward {
    router: Router,
    oracle: Arc<Oracle>,
}

impl Forward {
    pub(super) fn new(router: Router, oracle: Arc<Oracle>) -> Self {
        Self { router, oracle }
    }
}

type Client = DistributionClient<Channel>;

#[tonic::async_trait]
impl Distribution for Forward {
    type WatchRoutesStream = Streaming<RouteEvent>;

    async fn get_route(&self, request: Request<GetRouteRequest>) -> Result<Response<GetRouteResponse>, Status> {
        let request = request.into_inner();
        let ask = |mut client: Client| {
            let request = request.clone();
            async move { client.get_route(request).await }
        };
        self.router.placement().ask(true, ask).await.map(Response::new)
    }

    async fn get_timestamp(&self, _: Request<GetTimestampRequest>) -> Result<Response<GetTimestampResponse>, Status> {
        let timestamp = self.oracle.now().await?;
        Ok(Response::new(GetTimestampResponse { timestamp }))
    }

    async fn list_routes(&self, _: Request<ListRoutesRequest>) -> Result<Response<ListRoutesResponse>, Status> {
        let ask = |mut client: Client| async move { client.list_routes(ListRoutesRequest {}).await };
        self.router.placement().ask(true, ask).await.map(Response::new)
    }

    async fn split_range(&self, request: Request<SplitRangeRequest>) -> Result<Response<SplitRangeResponse>, Status> {
        let request = request.into_inner();
        let ask = |mut client: Client| {
            let request = request.clone();
            async move { client.split_range(request).await }
        };
        // A second attempt would be refused for its stale version although the first one has split the range.
        self.router.placement().ask(false, ask).await.map(Response::new)
    }

    async fn watch_routes(&self, _: Request<WatchRoutesRequest>) -> Result<Response<Self::WatchRoutesStream>, Status> {
        let ask = |mut client: Client| async move { client.watch_routes(WatchRoutesRequest {}).await };
        self.router.placement().ask(true, ask).await.map(Response::new)
    }
}
