//! What one command costs while the collection that it works on grows: a hash, a sorted set and a list, each filled up to
//! one size after the other. Redis-benchmark works on small collections only.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::Rng;
use tests::resp::{Connection, Reply};

use crate::drive::{self, Figure};

/// Elements at which the commands are measured.
const SIZES: [u32; 4] = [100, 10_000, 100_000, 1_000_000];
/// Elements that one command adds.
const CHUNK: u32 = 1_000;
const TIMEOUT: Duration = Duration::from_secs(60);

/// Name, and the words of the command for a random element of so many.
type Probe = (&'static str, fn(u32) -> String);

const PROBES: [Probe; 11] = [
    ("HGET", |at| format!("HGET bench:hash field:{at}")),
    ("HSET, a field that is there", |at| format!("HSET bench:hash field:{at} {at}")),
    ("ZSCORE", |at| format!("ZSCORE bench:zset member:{at}")),
    ("ZADD, another score", |at| format!("ZADD bench:zset {at}.5 member:{at}")),
    ("ZRANK", |at| format!("ZRANK bench:zset member:{at}")),
    ("ZRANGE, ten members", |at| format!("ZRANGE bench:zset {at} {}", at.saturating_add(9))),
    ("ZCOUNT, half of them", |at| format!("ZCOUNT bench:zset {} {at}", at / 2)),
    ("LINDEX", |at| format!("LINDEX bench:list {at}")),
    ("LPUSH", |_| "LPUSH bench:list pushed".to_owned()),
    ("LPOP", |_| "LPOP bench:list".to_owned()),
    ("SET, for comparison", |at| format!("SET bench:string:{at} value")),
];

/// Median latencies of one client, a row a command, in Markdown.
pub fn run(address: SocketAddr, duration: Duration) -> Result<String, String> {
    let mut connection = Connection::open(address, TIMEOUT).map_err(|error| format!("collections: {error}"))?;
    let mut columns = Vec::new();
    let mut filled = 0;
    for size in SIZES {
        while filled < size {
            fill(&mut connection, filled, CHUNK.min(size - filled))?;
            filled += CHUNK.min(size - filled);
        }
        println!("collections of {size} elements");
        let mut figures = Vec::new();
        for (name, words) in PROBES {
            let figure = measure(&mut connection, size, words, duration)?;
            println!("  {name:34} p50 {:6.2} ms  p99 {:7.2} ms", figure.p50_ms, figure.p99_ms);
            figures.push(figure);
        }
        columns.push(figures);
    }
    let mut text = String::from("| command |");
    SIZES.iter().for_each(|size| _ = write!(text, " {size} |"));
    let _ = write!(text, "\n| --- |{}\n", " ---: |".repeat(SIZES.len()));
    for (row, (name, _)) in PROBES.iter().enumerate() {
        let _ = write!(text, "| {name} |");
        columns.iter().for_each(|figures| _ = write!(text, " {:.2} |", figures[row].p50_ms));
        text.push('\n');
    }
    Ok(text)
}

/// Adds elements to each of the collections.
fn fill(connection: &mut Connection, from: u32, count: u32) -> Result<(), String> {
    let numbers = from..from + count;
    let all = |prefix: &[&str], element: fn(u32) -> Vec<String>| {
        prefix.iter().map(|word| (*word).to_owned()).chain(numbers.clone().flat_map(element)).collect::<Vec<_>>()
    };
    for words in [
        all(&["HSET", "bench:hash"], |at| vec![format!("field:{at}"), at.to_string()]),
        all(&["ZADD", "bench:zset"], |at| vec![at.to_string(), format!("member:{at}")]),
        all(&["RPUSH", "bench:list"], |at| vec![format!("element:{at}")]),
    ] {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match connection.call(&words) {
            Ok(Reply::Integer(_)) => {}
            other => return Err(format!("{} was answered {other:?}", words[0])),
        }
    }
    Ok(())
}

fn measure(
    connection: &mut Connection,
    size: u32,
    words: fn(u32) -> String,
    duration: Duration,
) -> Result<Figure, String> {
    let begin = Instant::now();
    let mut latencies_us = Vec::new();
    while begin.elapsed() < duration {
        let line = words(rand::rng().random_range(0..size));
        let sent = Instant::now();
        match connection.line(&line) {
            Ok(Reply::Error(sentence)) => return Err(format!("{line}: {sentence}")),
            Ok(_) => latencies_us.push(u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX)),
            Err(error) => return Err(format!("{line}: {error}")),
        }
    }
    drive::figure(latencies_us, begin.elapsed())
}
