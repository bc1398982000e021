//! CLUSTER, for clients that speak the cluster protocol.
//!
//! They ask which node has which slot, and send each command to the node of its slot. Here every gateway serves every slot,
//! so a gateway shows itself as a cluster of one node: the address is the one by which the client has reached it, which is
//! right behind a load balancer, too. No client is ever sent elsewhere: there is no MOVED and no ASK.

use bytes::Bytes;
use commands::redis::Value;
use commands::redis::table::ClusterCommand;
use keyspace::slot::{SLOTS, slot_of};

use super::Shared;
use super::clients::Client;

/// Answers one of them.
pub(super) fn answer(command: ClusterCommand, args: &[Bytes], client: &Client, shared: &Shared) -> Value {
    let id = &shared.run_id;
    let (ip, port) = (client.local_address.ip().to_canonical().to_string(), client.local_address.port());
    let last_slot = SLOTS - 1;
    match command {
        ClusterCommand::Asking | ClusterCommand::ReadOnly | ClusterCommand::ReadWrite => Value::OK,
        ClusterCommand::Info => text(format!(
            "cluster_state:ok\r\ncluster_slots_assigned:{SLOTS}\r\ncluster_slots_ok:{SLOTS}\r\ncluster_slots_pfail:0\r\n\
             cluster_slots_fail:0\r\ncluster_known_nodes:1\r\ncluster_size:1\r\ncluster_current_epoch:1\r\n\
             cluster_my_epoch:1\r\ncluster_stats_messages_sent:0\r\ncluster_stats_messages_received:0\r\n\
             total_cluster_links_buffer_limit_exceeded:0\r\n"
        )),
        ClusterCommand::KeySlot => Value::Integer(i64::from(slot_of(&args[2]))),
        ClusterCommand::Links => Value::Array(Vec::new()),
        ClusterCommand::MyId => Value::Bulk(id.clone().into()),
        // Gateways do not talk to each other, hence no port for that.
        ClusterCommand::Nodes => text(format!("{id} {ip}:{port}@0 myself,master - 0 0 1 connected 0-{last_slot}\n")),
        ClusterCommand::Replicas if args[2].eq_ignore_ascii_case(id.as_bytes()) => Value::Array(Vec::new()),
        ClusterCommand::Replicas => Value::Error(format!("ERR Unknown node {}", String::from_utf8_lossy(&args[2]))),
        ClusterCommand::Shards => {
            let node = vec![
                entry("id", Value::Bulk(id.clone().into())),
                entry("port", Value::Integer(i64::from(port))),
                entry("ip", Value::Bulk(ip.clone().into())),
                entry("endpoint", Value::Bulk(ip.into())),
                entry("role", Value::bulk("master")),
                entry("replication-offset", Value::Integer(0)),
                entry("health", Value::bulk("online")),
            ];
            let slots = Value::Array(vec![Value::Integer(0), Value::Integer(i64::from(last_slot))]);
            Value::Array(vec![Value::Map(vec![
                entry("slots", slots),
                entry("nodes", Value::Array(vec![Value::Map(node)])),
            ])])
        }
        ClusterCommand::Slots => {
            let port = Value::Integer(i64::from(port));
            let node = vec![Value::Bulk(ip.into()), port, Value::Bulk(id.clone().into()), Value::Array(Vec::new())];
            let range = vec![Value::Integer(0), Value::Integer(i64::from(last_slot)), Value::Array(node)];
            Value::Array(vec![Value::Array(range)])
        }
    }
}

fn entry(name: &'static str, value: Value) -> (Value, Value) {
    (Value::bulk(name), value)
}

fn text(text: String) -> Value {
    Value::Verbatim { format: "txt".into(), text: text.into() }
}
