//! Closed loops: a number of clients, each sending its next request when it has the answer to the last.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

/// What one workload reached.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure {
    /// Operations answered in a second.
    pub rate: f64,
    /// Median latency at the client, milliseconds.
    pub p50_ms: f64,
    /// 99th percentile, milliseconds.
    pub p99_ms: f64,
}

/// Runs `clients` loops for `duration`. `make` gives each client the function that does its n-th operation; the first
/// error ends the whole measurement, because a figure with errors in it means nothing.
pub async fn drive<Operation, Answer>(
    clients: usize,
    duration: Duration,
    make: impl Fn(usize) -> Operation,
) -> Result<Figure, String>
where
    Operation: FnMut(u64) -> Answer + Send + 'static,
    Answer: Future<Output = Result<(), String>> + Send,
{
    let begin = Instant::now();
    let mut tasks = JoinSet::new();
    for client in 0..clients {
        let mut operation = make(client);
        tasks.spawn(async move {
            let mut latencies_us = Vec::new();
            while begin.elapsed() < duration {
                let sent = Instant::now();
                operation(latencies_us.len() as u64).await?;
                latencies_us.push(u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX));
            }
            Ok::<_, String>(latencies_us)
        });
    }
    let mut latencies_us = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        latencies_us.extend(ended.map_err(|error| error.to_string())??);
    }
    figure(latencies_us, begin.elapsed())
}

/// What these latencies, in microseconds, come to.
pub fn figure(mut latencies_us: Vec<u32>, elapsed: Duration) -> Result<Figure, String> {
    if latencies_us.is_empty() {
        return Err("nothing was answered".to_owned());
    }
    latencies_us.sort_unstable();
    let at = |part: f64| f64::from(latencies_us[((latencies_us.len() - 1) as f64 * part) as usize]) / 1000.0;
    Ok(Figure { rate: latencies_us.len() as f64 / elapsed.as_secs_f64(), p50_ms: at(0.5), p99_ms: at(0.99) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_latencies() {
        let latencies = (1..=1000).rev().collect();
        let figure = figure(latencies, Duration::from_secs(2));
        assert_eq!(figure, Ok(Figure { rate: 500.0, p50_ms: 0.5, p99_ms: 0.99 }));
    }

    #[tokio::test]
    async fn an_error_spoils_the_measurement() {
        let outcome = drive(2, Duration::from_secs(5), |client| {
            move |_| async move {
                tokio::task::yield_now().await;
                if client == 1 { Err("refused".to_owned()) } else { Ok(()) }
            }
        });
        assert_eq!(tokio::time::timeout(Duration::from_secs(4), outcome).await.ok(), Some(Err("refused".to_owned())));
    }
}
