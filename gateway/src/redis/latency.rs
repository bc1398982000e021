//! What was slow when: LATENCY LATEST, HISTORY, RESET, GRAPH and DOCTOR.
//!
//! There are two events, `command` and `fast-command` (of commands whose time does not grow with the data). An event is a
//! sample if it took at least latency-monitor-threshold milliseconds; 0, which is the default, takes none.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use commands::redis::Value;
use parking_lot::Mutex;

/// Samples that are kept of an event.
const SAMPLES: usize = 160;
/// Rows of a graph.
const GRAPH_ROWS: usize = 4;
/// Columns of a graph.
const GRAPH_COLUMNS: usize = 80;

/// Samples of all events.
#[derive(Debug, Default)]
pub(super) struct Latencies {
    events: Mutex<BTreeMap<&'static str, Event>>,
}

#[derive(Debug, Default)]
struct Event {
    /// Second and milliseconds, oldest first; of one second only the longest.
    samples: VecDeque<(i64, i64)>,
    longest_ms: i64,
}

impl Latencies {
    pub(super) fn add(&self, is_fast: bool, took: Duration) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as i64;
        let ms = i64::try_from(took.as_millis()).unwrap_or(i64::MAX);
        let mut events = self.events.lock();
        let event = events.entry(if is_fast { "fast-command" } else { "command" }).or_default();
        event.longest_ms = event.longest_ms.max(ms);
        match event.samples.back_mut() {
            Some((second, longest)) if *second == now => *longest = ms.max(*longest),
            _ => event.samples.push_back((now, ms)),
        }
        if event.samples.len() > SAMPLES {
            event.samples.pop_front();
        }
    }

    pub(super) fn latest(&self) -> Value {
        let row = |(name, event): (&&'static str, &Event)| {
            let (second, ms) = event.samples.back()?;
            let numbers = [*second, *ms, event.longest_ms].map(Value::Integer);
            Some(Value::Array(std::iter::once(Value::bulk(*name)).chain(numbers).collect()))
        };
        Value::Array(self.events.lock().iter().filter_map(row).collect())
    }

    pub(super) fn history(&self, event: &[u8]) -> Value {
        let sample = |(second, ms): &(i64, i64)| Value::Array(vec![Value::Integer(*second), Value::Integer(*ms)]);
        Value::Array(self.samples(event).iter().map(sample).collect())
    }

    /// Forgets these events, all if none is named; how many there were.
    pub(super) fn reset(&self, wanted: &[Bytes]) -> Value {
        let mut events = self.events.lock();
        let before = events.len();
        events.retain(|name, _| !wanted.is_empty() && !wanted.iter().any(|wanted| is(wanted, name)));
        Value::Integer((before - events.len()) as i64)
    }

    pub(super) fn graph(&self, event: &[u8]) -> Value {
        let samples = self.samples(event);
        if samples.is_empty() {
            let event = String::from_utf8_lossy(event);
            return Value::Error(format!("ERR No samples available for event '{event}'"));
        }
        let shown = &samples[samples.len().saturating_sub(GRAPH_COLUMNS)..];
        let (least, most) = shown.iter().fold((i64::MAX, 0), |(least, most), (_, ms)| (least.min(*ms), most.max(*ms)));
        let mut text = format!("{} - high {most} ms, low {least} ms\n", String::from_utf8_lossy(event));
        for row in (0..GRAPH_ROWS).rev() {
            let from = least + (most - least) * row as i64 / GRAPH_ROWS as i64;
            text.extend(shown.iter().map(|(_, ms)| if *ms >= from { '#' } else { ' ' }));
            text.push('\n');
        }
        Value::Verbatim { format: "txt".into(), text: text.into() }
    }

    /// What the samples say, in words.
    pub(super) fn doctor(&self, threshold_ms: i64) -> Value {
        let events = self.events.lock();
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = match () {
            () if threshold_ms <= 0 => write!(
                text,
                "Latencies are not watched. CONFIG SET latency-monitor-threshold <milliseconds> begins to watch them."
            ),
            () if events.is_empty() => write!(text, "No command took {threshold_ms} ms or longer."),
            () => events.iter().try_for_each(|(name, event)| {
                let count = event.samples.len() as i64;
                let mean = event.samples.iter().map(|(_, ms)| ms).sum::<i64>() / count.max(1);
                writeln!(
                    text,
                    "{name}: {count} seconds with latency, {mean} ms on average, {} ms at most.",
                    event.longest_ms
                )
            }),
        };
        if !events.is_empty() {
            text.push_str(
                "Where the time goes is seen at the storage nodes: their metrics have the times of evaluation, of \
                 replication and of the disk. SLOWLOG GET has the commands.",
            );
        }
        Value::Verbatim { format: "txt".into(), text: text.into() }
    }

    fn samples(&self, event: &[u8]) -> Vec<(i64, i64)> {
        let events = self.events.lock();
        let found = events.iter().find(|(name, _)| is(event, name));
        found.map(|(_, event)| event.samples.iter().copied().collect()).unwrap_or_default()
    }
}

fn is(wanted: &[u8], name: &str) -> bool {
    wanted.eq_ignore_ascii_case(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_kept_shown_and_forgotten() {
        let latencies = Latencies::default();
        assert_eq!(latencies.latest(), Value::Array(Vec::new()));
        assert!(latencies.graph(b"command").is_error());
        for ms in [300, 200] {
            latencies.add(false, Duration::from_millis(ms));
        }
        let Value::Array(latest) = latencies.latest() else { panic!("not an array") };
        let Some(Value::Array(row)) = latest.first() else { panic!("no event") };
        assert_eq!((&row[0], &row[3]), (&Value::bulk("command"), &Value::Integer(300)));
        assert!(matches!(latencies.history(b"COMMAND"), Value::Array(samples) if !samples.is_empty()));
        assert!(matches!(latencies.graph(b"command"), Value::Verbatim { .. }));
        assert_eq!(latencies.reset(&["nosuch".into()]), Value::Integer(0));
        assert_eq!(latencies.reset(&[]), Value::Integer(1));
    }

    #[test]
    fn the_doctor_speaks_of_what_there_is() {
        let latencies = Latencies::default();
        let text = |threshold| match latencies.doctor(threshold) {
            Value::Verbatim { text, .. } => String::from_utf8_lossy(&text).into_owned(),
            other => panic!("{other:?}"),
        };
        assert!(text(0).contains("not watched") && text(9).contains("No command took 9 ms"));
        latencies.add(true, Duration::from_millis(50));
        assert!(text(9).starts_with("fast-command: 1 seconds with latency, 50 ms"));
    }
}
