//! `placement routes`: which group serves which keys.

use clap::Subcommand;
use proto::wire::{self, RouteDescriptor, RouteState};
use serde_json::{Value, json};

use super::Failure;
use super::client::Client;
use super::table::Answer;

/// What to do with routes.
#[derive(Debug, Subcommand)]
pub enum Routes {
    /// All routes, in key order.
    List,
    /// The route that serves a key.
    Get {
        /// The key, in human form.
        key: String,
    },
    /// Cut a range in two, inside its group.
    Split {
        /// The route to cut.
        route_id: u64,
        /// First key of the upper half, in human form; strictly inside the range.
        key: String,
        /// Refuse if the routes have another version by now. Without it, the version that they have now.
        #[arg(long)]
        expected_version: Option<u64>,
    },
}

impl Routes {
    /// Does it.
    pub async fn run(&self, client: Client) -> Result<Answer, Failure> {
        match self {
            Routes::List => list(&client).await,
            Routes::Get { key } => get(&client, key).await,
            Routes::Split { route_id, key, expected_version } => {
                split(&client, *route_id, key, *expected_version).await
            }
        }
    }
}

async fn list(client: &Client) -> Result<Answer, Failure> {
    let listed = list_routes(client).await?;
    let json = json!({
        "catalog_version": listed.catalog_version,
        "routes": listed.routes.iter().map(route_json).collect::<Vec<_>>(),
    });
    let answer = route_table(json, &listed.routes);
    Ok(answer.with_line(format!("catalog version {}", listed.catalog_version)))
}

async fn get(client: &Client, key: &str) -> Result<Answer, Failure> {
    let request = wire::GetRouteRequest { key: key.to_owned().into() };
    let found = client.distribution().get_route(request).await.map_err(|status| client.failure(&status))?;
    let route = found.into_inner().route.unwrap_or_default();
    Ok(route_table(route_json(&route), &[route]))
}

async fn split(client: &Client, route_id: u64, key: &str, expected: Option<u64>) -> Result<Answer, Failure> {
    let expected_catalog_version = match expected {
        Some(version) => version,
        None => list_routes(client).await?.catalog_version,
    };
    let split_key = key.to_owned().into();
    let request = wire::SplitRangeRequest { expected_catalog_version, route_id, split_key };
    let done = client.distribution().split_range(request).await.map_err(|status| client.failure(&status))?;
    let done = done.into_inner();
    let (left, right) = (done.left.unwrap_or_default(), done.right.unwrap_or_default());
    let json = json!({
        "catalog_version": done.catalog_version,
        "left": route_json(&left),
        "right": route_json(&right),
    });
    Ok(route_table(json, &[left, right]).with_line(format!("catalog version {}", done.catalog_version)))
}

async fn list_routes(client: &Client) -> Result<wire::ListRoutesResponse, Failure> {
    let listed = client.distribution().list_routes(wire::ListRoutesRequest {}).await;
    Ok(listed.map_err(|status| client.failure(&status))?.into_inner())
}

fn route_table(json: Value, routes: &[RouteDescriptor]) -> Answer {
    let rows = routes.iter().map(|route| {
        [
            route.route_id.to_string(),
            bound(&route.start, "(first key)"),
            bound(&route.end, "(end)"),
            route.raft_group_id.to_string(),
            state(route).to_owned(),
            route.epoch.to_string(),
            if route.parent_route_id == 0 { "-".to_owned() } else { route.parent_route_id.to_string() },
        ]
    });
    Answer::table(json, ["ROUTE", "FROM", "TO (EXCLUSIVE)", "GROUP", "STATE", "EPOCH", "PARENT"], rows)
}

fn route_json(route: &RouteDescriptor) -> Value {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    json!({
        "route_id": route.route_id,
        "start": String::from_utf8_lossy(&route.start),
        "end": String::from_utf8_lossy(&route.end),
        "encoded_start": hex(&route.encoded_start),
        "encoded_end": hex(&route.encoded_end),
        "raft_group_id": route.raft_group_id,
        "state": state(route),
        "epoch": route.epoch,
        "parent_route_id": route.parent_route_id,
    })
}

fn bound(human: &[u8], open: &str) -> String {
    if human.is_empty() { open.to_owned() } else { String::from_utf8_lossy(human).into_owned() }
}

fn state(route: &RouteDescriptor) -> &'static str {
    match RouteState::try_from(route.state) {
        Ok(RouteState::Active) => "active",
        Ok(RouteState::WriteFenced) => "write-fenced",
        Ok(RouteState::MigratingSource) => "migrating-source",
        Ok(RouteState::MigratingTarget) => "migrating-target",
        Ok(RouteState::Unspecified) | Err(_) => "unknown",
    }
}
