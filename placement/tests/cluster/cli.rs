//! The `placement` command as people and scripts use it.

use std::process::{Command, Output};

use serde_json::Value;

use super::fake::Running;

async fn placement(endpoint: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_placement"));
    command.env("PLACEMENT_ENDPOINT", endpoint).args(arguments);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn tables_for_people_and_json_for_scripts() {
    let (running, _nodes) = Running::bootstrapped(3).await;
    let endpoint = format!("http://{}", running.placement.address());
    let run = async |arguments: &[&str]| {
        let output = placement(&endpoint, arguments).await;
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    let json = async |arguments: &[&str]| serde_json::from_str::<Value>(&run(arguments).await).unwrap();

    let listed = run(&["routes", "list"]).await;
    assert!(listed.contains("redis:slot:5461") && listed.contains("catalog version 1"), "{listed}");
    let listed = json(&["--json", "routes", "list"]).await;
    assert_eq!((&listed["catalog_version"], listed["routes"].as_array().unwrap().len()), (&Value::from(1), 8));
    let route = json(&["routes", "get", "raw:apple", "--json"]).await;
    assert_eq!((&route["route_id"], &route["encoded_start"]), (&Value::from(1), &Value::from("6b")));

    let split = json(&["--json", "routes", "split", "1", "raw:g"]).await;
    assert_eq!((&split["catalog_version"], &split["right"]["start"]), (&Value::from(2), &Value::from("raw:g")));
    let refused = placement(&endpoint, &["routes", "split", "1", "raw:g"]).await;
    assert_eq!((refused.status.code(), &*text(&refused.stderr)), (Some(1), "placement: there is no route 1\n"));
    let stale = placement(&endpoint, &["routes", "split", "--expected-version", "1", "1", "raw:g"]).await;
    assert_eq!(stale.status.code(), Some(1));
    assert!(text(&stale.stderr).contains("`placement routes list`"), "{}", text(&stale.stderr));

    assert_eq!(json(&["--json", "nodes", "list"]).await["nodes"].as_array().unwrap().len(), 3);
    assert!(run(&["nodes", "list"]).await.contains("alive"));
    assert_eq!(json(&["--json", "groups", "list"]).await["groups"][0]["members"].as_array().unwrap().len(), 3);
    assert!(run(&["groups", "list"]).await.contains("LEADER"));
    assert_eq!(json(&["--json", "jobs", "list"]).await["jobs"], Value::Array(Vec::new()));
    let first: u64 = run(&["timestamp"]).await.trim().parse().unwrap();
    assert!(json(&["--json", "timestamp"]).await["timestamp"].as_u64().unwrap() > first);
    running.stop().await;
}

#[tokio::test]
async fn errors_say_what_to_do_and_exit_codes_what_kind() {
    let unreachable = placement("http://127.0.0.1:1", &["routes", "list"]).await;
    assert_eq!(unreachable.status.code(), Some(3));
    assert!(text(&unreachable.stderr).contains("Start it with `placement serve`"), "{}", text(&unreachable.stderr));
    assert_eq!(placement("http://127.0.0.1:1", &["routes", "frobnicate"]).await.status.code(), Some(2));
    let bad_config = placement("http://127.0.0.1:1", &["serve", "--config", "/nonexistent.toml"]).await;
    assert_eq!(bad_config.status.code(), Some(1));
    assert!(text(&bad_config.stderr).contains("/nonexistent.toml"));
}
