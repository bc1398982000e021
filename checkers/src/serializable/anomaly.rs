//! What can be wrong with a history of transactions, and how it is told.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};

use super::cycle::FoundCircle;
use super::observe::Observed;
use super::{Step, Transaction};

/// Anomalies that an explanation shows.
const SHOWN: usize = 4;
/// Values of a list that an explanation shows, from its end.
const SHOWN_VALUES: usize = 8;

/// One thing that no serial order could have brought about. Numbers name transactions by their place in the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anomaly {
    /// What it is.
    pub kind: AnomalyKind,
    /// The transactions that show it.
    pub transactions: Vec<usize>,
    /// For a circle: each from one transaction to the next, the last to the first.
    pub links: Vec<Link>,
    /// In a sentence; for a circle the links say it.
    pub text: String,
}

/// Kinds of anomalies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AnomalyKind {
    /// Two appends of one value: the recording cannot be judged. Give each append a value of its own.
    ReusedValue,
    /// A transaction that did not see its own appends, or saw two states of one key.
    Internal,
    /// A list with a value twice.
    Duplicate,
    /// A list with a value that nobody appended.
    Invented,
    /// G1a: a read of what an aborted transaction appended.
    AbortedRead,
    /// G1b: a read of a list as it was in the middle of a transaction.
    IntermediateRead,
    /// Two reads of which neither is the beginning of the other.
    IncompatibleOrder,
    /// Appends of one transaction to one key that are seen in another order, or with one missing.
    TornAppends,
    /// An acknowledged append that nobody ever saw, though the key was read afterwards.
    LostAppend,
    /// Transactions each of which must come before the next, in a circle, without a look at the clock.
    Circle(Phenomenon),
    /// A circle that needs real time: strict serializability is violated, and maybe nothing else.
    RealTimeCircle(Phenomenon),
}

/// Kinds of circles by their edges, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phenomenon {
    /// Only ww: dirty writes.
    G0,
    /// ww and wr: information went round in a circle.
    G1c,
    /// One rw: lost updates, read skew, stale reads.
    GSingle,
    /// Two or more rw: write skew.
    G2,
}

/// Why one transaction must come before another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Who comes before.
    pub from: usize,
    /// Who comes after.
    pub to: usize,
    /// Why.
    pub reason: Reason,
    /// The key and the value, if the reason is not time.
    pub about: Option<(String, String)>,
}

/// Kinds of edges between transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The second appended behind the first.
    Ww,
    /// The second read what the first appended.
    Wr,
    /// The first read the list before the second appended.
    Rw,
    /// The first was over before the second began.
    RealTime,
}

/// A history that is not strictly serializable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Violation {
    /// All that was found; of the circles one for each knot.
    pub anomalies: Vec<Anomaly>,
    /// The transactions in those that are shown.
    described: BTreeMap<usize, String>,
}

impl AnomalyKind {
    /// The name by which the literature knows it, if it does.
    pub fn name(self) -> &'static str {
        match self {
            AnomalyKind::ReusedValue => "reused value",
            AnomalyKind::Internal => "internal",
            AnomalyKind::Duplicate => "duplicate",
            AnomalyKind::Invented => "invented",
            AnomalyKind::AbortedRead => "G1a",
            AnomalyKind::IntermediateRead => "G1b",
            AnomalyKind::IncompatibleOrder => "incompatible order",
            AnomalyKind::TornAppends => "torn appends",
            AnomalyKind::LostAppend => "lost append",
            AnomalyKind::Circle(Phenomenon::G0) => "G0",
            AnomalyKind::Circle(Phenomenon::G1c) => "G1c",
            AnomalyKind::Circle(Phenomenon::GSingle) => "G-single",
            AnomalyKind::Circle(Phenomenon::G2) => "G2",
            AnomalyKind::RealTimeCircle(Phenomenon::G0) => "G0-realtime",
            AnomalyKind::RealTimeCircle(Phenomenon::G1c) => "G1c-realtime",
            AnomalyKind::RealTimeCircle(Phenomenon::GSingle) => "G-single-realtime",
            AnomalyKind::RealTimeCircle(Phenomenon::G2) => "G2-realtime",
        }
    }
}

impl Anomaly {
    pub(super) fn new(kind: AnomalyKind, transactions: impl Into<Vec<usize>>, text: String) -> Self {
        Self { kind, transactions: transactions.into(), links: Vec::new(), text }
    }
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.name(), self.text)?;
        self.links.iter().try_for_each(|link| write!(f, "\n    {link}"))
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, reason, about } = self;
        let (key, value) = about.as_ref().map_or(("", ""), |(key, value)| (key, value));
        match reason {
            Reason::Ww => write!(f, "T{from} before T{to} (ww): T{to} appended {value} to {key} behind it"),
            Reason::Wr => write!(f, "T{from} before T{to} (wr): T{to} read its {value} at {key}"),
            Reason::Rw => write!(f, "T{from} before T{to} (rw): T{from} read {key} without the {value} of T{to}"),
            Reason::RealTime => write!(f, "T{from} before T{to} (real time): it was over when T{to} began"),
        }
    }
}

impl Violation {
    pub(super) fn new<K: Debug, V: Debug>(history: &[Transaction<K, V>], anomalies: Vec<Anomaly>) -> Self {
        let shown = anomalies.iter().take(SHOWN).flat_map(|anomaly| &anomaly.transactions);
        let described = shown.map(|number| (*number, describe(&history[*number]))).collect();
        Self { anomalies, described }
    }

    /// Whether an anomaly of this kind was found.
    pub fn has(&self, kind: AnomalyKind) -> bool {
        self.anomalies.iter().any(|anomaly| anomaly.kind == kind)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not strictly serializable")?;
        self.anomalies.iter().take(SHOWN).try_for_each(|anomaly| write!(f, "\n  {anomaly}"))?;
        if self.anomalies.len() > SHOWN {
            write!(f, "\n  and {} further anomalies", self.anomalies.len() - SHOWN)?;
        }
        self.described.iter().try_for_each(|(number, text)| write!(f, "\n  T{number}: {text}"))
    }
}

fn describe<K: Debug, V: Debug>(transaction: &Transaction<K, V>) -> String {
    let steps = transaction.action().iter().map(|step| match step {
        Step::Append(key, value) => format!("append {value:?} to {key:?}"),
        Step::Read(key, Some(list)) => format!("read {key:?}: {}", list_text(list)),
        Step::Read(key, None) => format!("read {key:?}"),
    });
    let steps: Vec<String> = steps.collect();
    let end = transaction.completed().map_or(String::new(), |end| format!("={end}"));
    let outcome = match transaction.outcome() {
        crate::history::Outcome::Ok(()) => "ok",
        crate::history::Outcome::Failed => "failed",
        crate::history::Outcome::Unknown => "unknown",
    };
    let (process, invoked) = (transaction.process(), transaction.invoked());
    format!("process {process}, {invoked}..{end}: {} -> {outcome}", steps.join(", "))
}

/// The end of a list: where reads differ.
pub(super) fn list_text<V: Debug>(list: &[V]) -> String {
    let left_out = list.len().saturating_sub(SHOWN_VALUES);
    let mut parts: Vec<String> = list[left_out..].iter().map(|value| format!("{value:?}")).collect();
    if left_out > 0 {
        parts.insert(0, format!("({left_out} more)"));
    }
    format!("[{}]", parts.join(", "))
}

/// Names a circle, and the keys and values in it.
pub(super) fn explain<K: Debug, V: Debug>(observed: &Observed<'_, K, V>, found: &FoundCircle) -> Anomaly {
    let links: Vec<Link> = found
        .iter()
        .map(|link| {
            let about = link.about.map(|(key, append)| {
                let key = &observed.keys[key];
                (format!("{:?}", key.key), format!("{:?}", key.appends[append].value))
            });
            Link { from: link.from, to: link.to, reason: link.reason, about }
        })
        .collect();
    let count = |reason| links.iter().filter(|link| link.reason == reason).count();
    let phenomenon = match (count(Reason::Rw), count(Reason::Wr)) {
        (0, 0) => Phenomenon::G0,
        (0, _) => Phenomenon::G1c,
        (1, _) => Phenomenon::GSingle,
        _ => Phenomenon::G2,
    };
    let in_time = count(Reason::RealTime) > 0;
    let kind = if in_time { AnomalyKind::RealTimeCircle(phenomenon) } else { AnomalyKind::Circle(phenomenon) };
    let transactions = links.iter().map(|link| link.from).collect();
    Anomaly { kind, transactions, links, text: "each of these must come before the next".to_owned() }
}
