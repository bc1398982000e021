//! redis-benchmark, as everybody knows it, against a Redis server or a gateway.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use crate::drive::Figure;

/// Distinct keys of the random workloads.
const KEYS: u32 = 100_000;
/// Bytes of a value.
const VALUE_BYTES: u32 = 100;
/// Requests of the short run that finds out how many fit into the wanted time.
const CALIBRATION: u64 = 4_000;

/// One run of redis-benchmark.
#[derive(Debug, Clone, Copy)]
pub struct Workload {
    /// Its `-t`: set, get, incr.
    pub test: &'static str,
    /// Its `-c`.
    pub connections: u32,
    /// Its `-P`.
    pub pipeline: u32,
    /// Random keys out of a hundred thousand; otherwise the one key that redis-benchmark uses by default.
    pub random_keys: bool,
}

impl Workload {
    /// Runs for about `duration`.
    pub fn run(&self, address: SocketAddr, duration: Duration) -> Result<Figure, String> {
        let few = CALIBRATION.min(u64::from(self.connections) * 200).max(200);
        let rate = self.run_requests(address, few)?.rate;
        self.run_requests(address, ((rate * duration.as_secs_f64()) as u64).max(few))
    }

    fn run_requests(&self, address: SocketAddr, requests: u64) -> Result<Figure, String> {
        let mut command = Command::new("redis-benchmark");
        command.args(["-h", &address.ip().to_string(), "-p", &address.port().to_string(), "--csv", "-e"]);
        command.args(["-t", self.test, "-n", &requests.to_string(), "-d", &VALUE_BYTES.to_string()]);
        command.args(["-c", &self.connections.to_string(), "-P", &self.pipeline.to_string()]);
        if self.random_keys {
            command.args(["-r", &KEYS.to_string()]);
        }
        let output = command.output().map_err(|error| format!("redis-benchmark does not start: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let complaints = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() || text.contains("Error from server") || complaints.contains("Error from server") {
            return Err(format!("redis-benchmark {}: {text}{complaints}", self.test));
        }
        parse(&text).ok_or_else(|| format!("redis-benchmark printed no figures: {text}{complaints}"))
    }
}

/// The line behind the header of `--csv`: name, requests a second, average, least, p50, p95, p99, most (ms).
fn parse(text: &str) -> Option<Figure> {
    let mut lines = text.lines().skip_while(|line| !line.starts_with("\"test\""));
    let columns = |line: &str| line.split(',').map(|cell| cell.trim_matches('"').to_owned()).collect::<Vec<_>>();
    let header = columns(lines.next()?);
    let values = columns(lines.next()?);
    let value = |name: &str| values.get(header.iter().position(|column| column == name)?)?.parse::<f64>().ok();
    Some(Figure { rate: value("rps")?, p50_ms: value("p50_latency_ms")?, p99_ms: value("p99_latency_ms")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_by_the_name_of_their_column() {
        let text = "\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\"p95_latency_ms\",\
                    \"p99_latency_ms\",\"max_latency_ms\"\n\"SET\",\"1000.5\",\"1.1\",\"0.1\",\"0.9\",\"2.0\",\"3.5\",\"9.9\"\n";
        assert_eq!(parse(text), Some(Figure { rate: 1000.5, p50_ms: 0.9, p99_ms: 3.5 }));
        assert_eq!(parse("Could not connect\n"), None);
    }
}
