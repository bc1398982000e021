//! `placement nodes`: the storage nodes.

use clap::Subcommand;
use proto::wire;
use serde_json::json;

use super::Failure;
use super::client::Client;
use super::table::Answer;

/// What to do with nodes.
#[derive(Debug, Subcommand)]
pub enum Nodes {
    /// Every node that has ever registered.
    List,
}

impl Nodes {
    /// Does it.
    pub async fn run(&self, client: Client) -> Result<Answer, Failure> {
        match self {
            Nodes::List => list(&client).await,
        }
    }
}

async fn list(client: &Client) -> Result<Answer, Failure> {
    let listed = client.cluster().nodes(wire::NodesRequest {}).await.map_err(|status| client.failure(&status))?;
    let nodes = listed.into_inner().nodes;
    let json = nodes.iter().map(|node| {
        json!({
            "node_id": node.node_id,
            "address": node.address,
            "alive": node.alive,
            "silent_ms": node.silent_ms,
            "replicas": node.replicas,
            "leaders": node.leaders,
        })
    });
    let json = json!({ "nodes": json.collect::<Vec<_>>() });
    let rows = nodes.iter().map(|node| {
        [
            node.node_id.to_string(),
            node.address.clone(),
            if node.alive { "alive" } else { "dead" }.to_owned(),
            format!("{:.1} s ago", node.silent_ms as f64 / 1000.0),
            node.replicas.to_string(),
            node.leaders.to_string(),
        ]
    });
    Ok(Answer::table(json, ["NODE", "ADDRESS", "STATE", "HEARD", "REPLICAS", "LEADERS"], rows))
}
