//! The Prometheus recorder: where the `metrics` macros of all crates end up.
//!
//! The `metrics` crate knows one recorder a process. Whoever comes first installs it; everybody gets a [`Metrics`]
//! handle to the same one, so that three tiers in one process share a page.
//!
//! Names end in their unit. What ends in `_seconds` is a histogram with buckets from 50 µs to 10 s, which covers an
//! in-memory answer as well as an election. What ends in `_requests` or `_groups` counts what a batch holds, in powers
//! of two; what ends in `_bytes` is a size, in powers of four. Counters end in `_total`.

use std::sync::OnceLock;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

const SECONDS_BUCKETS: [f64; 17] =
    [0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 3.0, 10.0];
const COUNT_BUCKETS: [f64; 13] = [1., 2., 4., 8., 16., 32., 64., 128., 256., 512., 1024., 2048., 4096.];
const BYTES_BUCKETS: [f64; 10] =
    [64., 256., 1024., 4096., 16384., 65536., 262_144., 1_048_576., 4_194_304., 16_777_216.];

static INSTALLED: OnceLock<Result<Metrics, String>> = OnceLock::new();

/// Handle to the metrics of this process; clones share them.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

impl Metrics {
    /// All metrics in the Prometheus text format.
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Folds recorded samples into their buckets. Without it, samples pile up between two scrapes.
    pub fn fold_samples(&self) {
        self.handle.run_upkeep();
    }
}

/// The metrics of this process cannot be recorded.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the metrics recorder cannot be installed: {0}")]
pub struct RecorderError(String);

/// Installs the recorder of this process, or returns the one that is installed.
pub fn install_metrics() -> Result<Metrics, RecorderError> {
    INSTALLED.get_or_init(|| install().map_err(|error| error.to_string())).clone().map_err(RecorderError)
}

fn install() -> Result<Metrics, BuildError> {
    let suffix = |suffix: &str| Matcher::Suffix(suffix.to_owned());
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(suffix("_seconds"), &SECONDS_BUCKETS)?
        .set_buckets_for_metric(suffix("_requests"), &COUNT_BUCKETS)?
        .set_buckets_for_metric(suffix("_groups"), &COUNT_BUCKETS)?
        .set_buckets_for_metric(suffix("_bytes"), &BYTES_BUCKETS)?
        .install_recorder()?;
    Ok(Metrics { handle })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_second_install_gives_the_same_recorder() {
        let first = install_metrics().unwrap();
        metrics::counter!("elastickv_test_shared_total").increment(3);
        metrics::histogram!("elastickv_test_wait_seconds").record(0.0007);
        metrics::histogram!("elastickv_test_batch_requests").record(5.0);
        metrics::histogram!("elastickv_test_batch_bytes").record(5000.0);
        let page = install_metrics().unwrap().render();
        assert!(page.contains("elastickv_test_shared_total 3"), "{page}");
        assert!(page.contains(r#"elastickv_test_wait_seconds_bucket{le="0.001"} 1"#), "{page}");
        assert!(page.contains(r#"elastickv_test_batch_requests_bucket{le="8"} 1"#), "{page}");
        assert!(page.contains(r#"elastickv_test_batch_bytes_bucket{le="16384"} 1"#), "{page}");
        assert_eq!(first.render(), page);
    }
}
