//! `placement groups`: the Raft groups and their members.

use clap::Subcommand;
use proto::wire::{self, Member};
use serde_json::{Value, json};

use super::Failure;
use super::client::Client;
use super::table::Answer;

/// What to do with groups.
#[derive(Debug, Subcommand)]
pub enum Groups {
    /// All groups.
    List,
    /// Give a group a replica on another node, take one away, or both at once.
    Members {
        /// The group.
        group_id: u64,
        /// The node that gets a replica; it becomes a voter once it has caught up.
        #[arg(long, value_name = "NODE", required_unless_present = "remove")]
        add: Option<u64>,
        /// The node that loses its replica, and its data of the group.
        #[arg(long, value_name = "NODE")]
        remove: Option<u64>,
    },
}

impl Groups {
    /// Does it.
    pub async fn run(&self, client: Client) -> Result<Answer, Failure> {
        match self {
            Groups::List => list(&client).await,
            Groups::Members { group_id, add, remove } => change(&client, *group_id, *add, *remove).await,
        }
    }
}

async fn list(client: &Client) -> Result<Answer, Failure> {
    let listed = client.cluster().groups(wire::GroupsRequest {}).await.map_err(|status| client.failure(&status))?;
    let groups = listed.into_inner().groups;
    let json = groups.iter().map(|group| {
        json!({
            "group_id": group.group_id,
            "leader_node_id": group.leader_node_id,
            "term": group.term,
            "applied_index": group.applied_index,
            "ranges": group.ranges,
            "members": members_json(&group.members),
        })
    });
    let json = json!({ "groups": json.collect::<Vec<_>>() });
    let rows = groups.iter().map(|group| {
        [
            group.group_id.to_string(),
            if group.leader_node_id == 0 { "none".to_owned() } else { group.leader_node_id.to_string() },
            members_text(&group.members),
            group.ranges.to_string(),
            group.term.to_string(),
            group.applied_index.to_string(),
        ]
    });
    Ok(Answer::table(json, ["GROUP", "LEADER", "ON NODES", "RANGES", "TERM", "APPLIED"], rows))
}

async fn change(client: &Client, group_id: u64, add: Option<u64>, remove: Option<u64>) -> Result<Answer, Failure> {
    let (add_node_id, remove_node_id) = (add.unwrap_or(0), remove.unwrap_or(0));
    let request = wire::ChangeGroupMembersRequest { group_id, add_node_id, remove_node_id };
    let changed = client.cluster().change_members(request).await.map_err(|status| client.failure(&status))?;
    let members = changed.into_inner().members;
    let line = format!("group {group_id} is on nodes {}", members_text(&members));
    Ok(Answer::line(json!({ "group_id": group_id, "members": members_json(&members) }), line))
}

fn members_text(members: &[Member]) -> String {
    let member = |member: &Member| {
        let role = if member.voter { "" } else { " (learner)" };
        format!("{}{role}", member.node_id)
    };
    members.iter().map(member).collect::<Vec<_>>().join(", ")
}

fn members_json(members: &[Member]) -> Vec<Value> {
    let member = |member: &Member| {
        json!({
            "replica_id": member.replica_id,
            "node_id": member.node_id,
            "voter": member.voter,
            "matched_index": member.matched_index,
        })
    };
    members.iter().map(member).collect()
}
