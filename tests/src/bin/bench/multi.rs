//! `MULTI`, two `INCR`s, `EXEC` over Redis: all clients on the same two keys, so that each transaction contends with all
//! others. redis-benchmark has no such workload.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use crate::drive::{Figure, drive};

/// Two keys that lie in one slot, and two that three groups keep apart.
pub const PAIRS: [(&str, [&str; 2]); 2] = [
    ("MULTI of two INCRs, one group, 100 connections", ["{hot}:a", "{hot}:b"]),
    ("MULTI of two INCRs, two groups, 100 connections", ["hot:a", "hot:b"]),
];
pub const CLIENTS: usize = 100;

/// Runs transactions on two keys.
pub async fn run(address: SocketAddr, keys: [&'static str; 2], duration: Duration) -> Result<Figure, String> {
    let mut connections = Vec::new();
    for _ in 0..CLIENTS {
        let stream = TcpStream::connect(address).await.map_err(|error| format!("MULTI: {error}"))?;
        stream.set_nodelay(true).map_err(|error| format!("MULTI: {error}"))?;
        connections.push(Arc::new(Mutex::new(BufReader::new(stream))));
    }
    let request: Arc<str> = format!("MULTI\r\nINCR {}\r\nINCR {}\r\nEXEC\r\n", keys[0], keys[1]).into();
    drive(CLIENTS, duration, |client| {
        let (connection, request) = (connections[client].clone(), request.clone());
        move |_| {
            let (connection, request) = (connection.clone(), request.clone());
            async move { transact(&mut *connection.lock().await, &request).await }
        }
    })
    .await
}

async fn transact(connection: &mut BufReader<TcpStream>, request: &str) -> Result<(), String> {
    let broken = |error: std::io::Error| format!("MULTI: {error}");
    connection.write_all(request.as_bytes()).await.map_err(broken)?;
    // +OK, +QUEUED twice, *2, and two integers.
    for kind in ["+OK", "+QUEUED", "+QUEUED", "*2", ":", ":"] {
        let mut line = String::new();
        connection.read_line(&mut line).await.map_err(broken)?;
        if !line.starts_with(kind) {
            return Err(format!("MULTI: {:?} instead of {kind}", line.trim_end()));
        }
    }
    Ok(())
}
