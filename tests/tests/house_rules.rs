//! The house rules, as tests over manifests, sources and documents.
//!
//! What the design promises about the shape of the code is checked here, so that it stays true without anybody
//! watching: which crate may know which, which library belongs to which tier, which module may import which, the one
//! place that proposes to Raft, a story at the head of each file, no file that has outgrown its name, nothing left for
//! later, and no path in the documents that leads nowhere.
//!
//! Sources are not parsed: comments and literals are blanked ([`code_of`]) and the rest is searched for words and paths.
//! Macros that build such names would go unseen; nobody writes them here.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

/// Workspace crate → the workspace crates that it may depend on.
const CRATE_EDGES: [(&str, &[&str]); 9] = [
    ("keyspace", &[]),
    ("proto", &["keyspace"]),
    ("commands", &["keyspace"]),
    ("monitoring", &[]),
    ("storage", &["keyspace", "proto", "commands", "monitoring"]),
    ("gateway", &["keyspace", "proto", "commands", "monitoring"]),
    ("placement", &["keyspace", "proto", "monitoring"]),
    ("demo", &["keyspace", "proto", "monitoring", "storage", "gateway", "placement"]),
    ("tests", &["keyspace", "proto", "commands", "monitoring", "storage", "gateway", "placement", "demo"]),
];

/// Library → the crates that may name it, in their manifest or their code.
const LIBRARY_OWNERS: [(&str, &[&str]); 6] = [
    ("openraft", &["storage"]),
    ("rocksdb", &["storage", "placement"]),
    ("etcd-client", &["placement"]),
    ("redis-protocol", &["gateway"]),
    ("aws-smithy-json", &["gateway"]),
    ("moka", &["gateway"]),
];

/// Crates that take values and return values; time, randomness and I/O are handed in.
const PURE_CRATES: [&str; 2] = ["keyspace", "commands"];
/// Libraries that do I/O or draw randomness, by the beginning of their name.
const IMPURE_LIBRARIES: [&str; 9] =
    ["tokio", "tonic", "hyper", "axum", "tower", "rocksdb", "openraft", "rand", "socket2"];
/// Parts of the standard library that pure code does not use.
const IMPURE_PATHS: [&str; 7] =
    ["std::net", "std::fs", "std::process", "std::thread", "std::env", "SystemTime::now", "Instant::now"];

/// Module (a folder or a file beside it) → modules of the same crate that it must not import.
const MODULE_EDGES: [(&str, &[&str]); 12] = [
    ("gateway/src/redis", &["dynamodb", "grpc"]),
    ("gateway/src/dynamodb", &["redis", "grpc"]),
    ("gateway/src/grpc", &["redis", "dynamodb"]),
    ("gateway/src/txn", &["redis", "dynamodb", "grpc"]),
    ("gateway/src/router", &["redis", "dynamodb", "grpc", "txn"]),
    ("placement/src/plan", &["catalog", "oracle", "reconcile", "server"]),
    ("placement/src/catalog", &["oracle", "reconcile", "server"]),
    ("placement/src/oracle", &["reconcile", "server"]),
    ("placement/src/reconcile", &["server"]),
    ("storage/src/engine", &["raft", "group", "server"]),
    ("storage/src/raft", &["group", "server"]),
    ("storage/src/group", &["server"]),
];

/// Module → crates that its code must not name.
const MODULE_STRANGERS: [(&str, &[&str]); 2] =
    [("storage/src/engine", &["openraft", "commands", "proto"]), ("placement/src/plan", &["proto", "tonic", "tokio"])];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 6] = ["common", "util", "utils", "helper", "helpers", "misc"];

const MAX_LINES: usize = 900;

/// One Rust file of the workspace.
struct Source {
    /// From the root, with `/` between the parts.
    path: String,
    text: String,
    /// The text with comments and literals blanked.
    code: String,
}

impl Source {
    fn crate_name(&self) -> &str {
        self.path.split('/').next().unwrap()
    }

    /// Whether the file is the module, or lies inside it.
    fn is_in(&self, module: &str) -> bool {
        self.path.strip_prefix(module).is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

fn members() -> Vec<String> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap().parse::<Table>().unwrap();
    let members = manifest["workspace"]["members"].as_array().unwrap();
    members.iter().map(|member| member.as_str().unwrap().to_owned()).collect()
}

fn manifest(member: &str) -> Table {
    fs::read_to_string(root().join(member).join("Cargo.toml")).unwrap().parse().unwrap()
}

/// Every dependency of a manifest: its table, the library's own name, and what stands behind it.
fn dependencies(manifest: &Table) -> Vec<(String, String, Value)> {
    let mut tables: Vec<(String, &Table)> = Vec::new();
    let mut collect = |place: &Table, at: &str| {
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            if let Some(table) = place.get(kind).and_then(Value::as_table) {
                // A reference into the manifest, which outlives the closure.
                tables.push((format!("{at}{kind}"), table.clone().into_leaked()));
            }
        }
    };
    collect(manifest, "");
    if let Some(targets) = manifest.get("target").and_then(Value::as_table) {
        for (target, place) in targets {
            collect(place.as_table().unwrap(), &format!("{target}: "));
        }
    }
    Vec::new()
}
