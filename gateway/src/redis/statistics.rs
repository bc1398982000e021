//! How often each command was called, how long that took, and what was refused: `cmdstat`, `errorstat` and
//! `latency_percentiles_usec` of INFO, and LATENCY HISTOGRAM.
//!
//! A command is counted when its reply is there. Counting takes no lock but for errors.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use commands::redis::{Spec, Value, table};
use parking_lot::Mutex;

use super::histogram::Histogram;

/// Most kinds of errors that are told apart.
const MAX_ERROR_KINDS: usize = 128;

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It ran.
    Ran,
    /// It ran and answered an error.
    Failed,
    /// It did not run.
    Rejected,
}

/// Counts of all commands.
#[derive(Debug)]
pub(super) struct Statistics {
    commands: Vec<Counts>,
    by_name: HashMap<&'static str, usize>,
    errors: Mutex<BTreeMap<String, u64>>,
    total_errors: AtomicU64,
}

#[derive(Debug)]
struct Counts {
    name: &'static str,
    calls: AtomicU64,
    ns: AtomicU64,
    rejected: AtomicU64,
    failed: AtomicU64,
    /// Most commands are never called.
    histogram: OnceLock<Histogram>,
}

impl Default for Statistics {
    fn default() -> Self {
        let everything = table::all().flat_map(|spec| std::iter::once(spec).chain(spec.subcommands));
        let counts = |spec: &'static Spec| Counts {
            name: spec.name,
            calls: AtomicU64::new(0),
            ns: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            histogram: OnceLock::new(),
        };
        let commands: Vec<Counts> = everything.map(counts).collect();
        let by_name = commands.iter().enumerate().map(|(at, counts)| (counts.name, at)).collect();
        Self { commands, by_name, errors: Mutex::default(), total_errors: AtomicU64::new(0) }
    }
}

impl Statistics {
    /// Counts a command; `into_histogram` as latency-tracking says.
    pub(super) fn count(&self, command: &str, fate: Fate, took: Duration, into_histogram: bool) {
        let Some(counts) = self.by_name.get(command).map(|at| &self.commands[*at]) else { return };
        if fate == Fate::Rejected {
            counts.rejected.fetch_add(1, Ordering::Relaxed);
            return;
        }
        counts.calls.fetch_add(1, Ordering::Relaxed);
        counts.ns.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        if fate == Fate::Failed {
            counts.failed.fetch_add(1, Ordering::Relaxed);
        }
        if into_histogram {
            counts.histogram.get_or_init(Histogram::default).count(took);
        }
    }

    /// Counts an error reply by its first word.
    pub(super) fn count_error(&self, line: &str) {
        self.total_errors.fetch_add(1, Ordering::Relaxed);
        let code = line.split(' ').next().unwrap_or_default();
        let mut errors = self.errors.lock();
        if let Some(count) = errors.get_mut(code) {
            *count += 1;
        } else if errors.len() < MAX_ERROR_KINDS {
            errors.insert(code.to_owned(), 1);
        }
    }

    pub(super) fn total_errors(&self) -> u64 {
        self.total_errors.load(Ordering::Relaxed)
    }

    /// CONFIG RESETSTAT
    pub(super) fn reset(&self) {
        for counts in &self.commands {
            for count in [&counts.calls, &counts.ns, &counts.rejected, &counts.failed] {
                count.store(0, Ordering::Relaxed);
            }
            if let Some(histogram) = counts.histogram.get() {
                histogram.reset();
            }
        }
        self.errors.lock().clear();
        self.total_errors.store(0, Ordering::Relaxed);
    }

    /// INFO commandstats
    pub(super) fn write_commands(&self, out: &mut String) -> std::fmt::Result {
        for counts in &self.commands {
            let [calls, ns, rejected, failed] = [&counts.calls, &counts.ns, &counts.rejected, &counts.failed]
                .map(|count| count.load(Ordering::Relaxed));
            if calls + rejected == 0 {
                continue;
            }
            let us = ns as f64 / 1000.0;
            let per_call = if calls == 0 { 0.0 } else { us / calls as f64 };
            write!(
                out,
                "cmdstat_{}:calls={calls},usec={us:.0},usec_per_call={per_call:.2},rejected_calls={rejected},\
                 failed_calls={failed}\r\n",
                counts.name
            )?;
        }
        Ok(())
    }

    /// INFO errorstats
    pub(super) fn write_errors(&self, out: &mut String) -> std::fmt::Result {
        self.errors.lock().iter().try_for_each(|(code, count)| write!(out, "errorstat_{code}:count={count}\r\n"))
    }

    /// INFO latencystats
    pub(super) fn write_percentiles(&self, percentiles: &[f64], out: &mut String) -> std::fmt::Result {
        for counts in &self.commands {
            let Some(histogram) = counts.histogram.get().filter(|_| counts.calls.load(Ordering::Relaxed) > 0) else {
                continue;
            };
            let values: Vec<String> = percentiles
                .iter()
                .map(|percent| format!("p{percent}={:.3}", histogram.percentile_us(*percent)))
                .collect();
            write!(out, "latency_percentiles_usec_{}:{}\r\n", counts.name, values.join(","))?;
        }
        Ok(())
    }

    /// LATENCY HISTOGRAM of these commands, with their subcommands; of all if none is named.
    pub(super) fn histograms(&self, wanted: &[&[u8]]) -> Value {
        let is_wanted = |counts: &&Counts| {
            let container = counts.name.split('|').next().unwrap_or_default();
            let is = |name: &&[u8]| {
                name.eq_ignore_ascii_case(counts.name.as_bytes()) || name.eq_ignore_ascii_case(container.as_bytes())
            };
            wanted.is_empty() || wanted.iter().any(is)
        };
        let entry = |counts: &Counts| {
            let bounds = counts.histogram.get()?.doubling();
            let calls = bounds.last()?.1;
            let bounds = bounds.into_iter().map(|(us, below)| (Value::Integer(us), Value::Integer(below)));
            let entries = vec![
                (Value::bulk("calls"), Value::Integer(calls)),
                (Value::bulk("histogram_usec"), Value::Map(bounds.collect())),
            ];
            Some((Value::bulk(counts.name), Value::Map(entries)))
        };
        Value::Map(self.commands.iter().filter(is_wanted).filter_map(entry).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_counted_by_what_became_of_them() {
        let statistics = Statistics::default();
        let us = Duration::from_micros;
        statistics.count("get", Fate::Ran, us(3), true);
        statistics.count("get", Fate::Failed, us(5), true);
        statistics.count("get", Fate::Rejected, us(0), true);
        statistics.count("client|id", Fate::Ran, us(1), false);
        statistics.count("no such command", Fate::Ran, us(1), true);
        statistics.count_error("WRONGTYPE Operation against");
        let mut out = String::new();
        assert!(statistics.write_commands(&mut out).is_ok());
        assert_eq!(
            out,
            "cmdstat_get:calls=2,usec=8,usec_per_call=4.00,rejected_calls=1,failed_calls=1\r\n\
             cmdstat_client|id:calls=1,usec=1,usec_per_call=1.00,rejected_calls=0,failed_calls=0\r\n"
        );
        let mut out = String::new();
        assert!(
            statistics.write_errors(&mut out).is_ok() && statistics.write_percentiles(&[0.0, 99.9], &mut out).is_ok()
        );
        assert!(out.starts_with("errorstat_WRONGTYPE:count=1\r\nlatency_percentiles_usec_get:p0="), "{out}");
        let Value::Map(histograms) = statistics.histograms(&[b"GET", b"client"]) else { panic!("not a map") };
        assert_eq!(histograms.len(), 1, "client|id was not tracked");
        statistics.reset();
        assert_eq!(statistics.histograms(&[]), Value::Map(Vec::new()));
        assert_eq!(statistics.total_errors(), 0);
    }

    #[test]
    fn kinds_of_errors_are_bounded() {
        let statistics = Statistics::default();
        (0..1000).for_each(|n| statistics.count_error(&format!("E{n} what")));
        assert_eq!((statistics.errors.lock().len(), statistics.total_errors()), (MAX_ERROR_KINDS, 1000));
    }
}
