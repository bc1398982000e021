//! A demo in this process: it serves, stops, and has its data when it starts again.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::path::Path;

use demo::{Demo, DemoConfig, Ports};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

async fn ask(redis: SocketAddr, command: &str) -> String {
    let mut stream = BufReader::new(TcpStream::connect(redis).await.unwrap());
    stream.write_all(format!("{command}\r\n").as_bytes()).await.unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    line.trim_end().to_owned()
}

fn config(directory: &Path, nodes: usize) -> DemoConfig {
    DemoConfig { data_dir: directory.to_owned(), nodes: Some(nodes), groups: Some(2), ports: Ports::any() }
}

#[tokio::test(flavor = "multi_thread")]
async fn data_survives_a_clean_stop() {
    let directory = TempDir::new().unwrap();
    let demo = Demo::start(config(directory.path(), 3)).await.unwrap();
    assert_eq!(ask(demo.redis[0], "INCRBY visits 7").await, ":7");
    assert_eq!(ask(demo.redis[2], "INCR visits").await, ":8");
    demo.shutdown().await.unwrap();

    let demo = Demo::start(config(directory.path(), 3)).await.unwrap();
    assert_eq!(ask(demo.redis[1], "INCR visits").await, ":9");
    demo.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_is_a_cluster_too() {
    let directory = TempDir::new().unwrap();
    let demo = Demo::start(config(directory.path(), 1)).await.unwrap();
    assert_eq!(ask(demo.redis[0], "SET a 1").await, "+OK");
    demo.shutdown().await.unwrap();
    let refused = Demo::start(config(directory.path(), 3)).await.err().unwrap();
    assert!(refused.to_string().contains("1 nodes"), "{refused}");
}
