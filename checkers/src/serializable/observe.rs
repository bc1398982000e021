//! Who appended what, what every read proves, and the anomalies that show without drawing any order.
//!
//! If all is well then a key's list only grows, so every read of it is the beginning of any longer one, and the longest read
//! is the order of the appends as far as it is known. Values appended but never read come behind it, in an order that
//! nobody knows. A key whose reads contradict each other has no order, and no edges are drawn from it: whatever they said
//! would only repeat that.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::hash::Hash;

use super::anomaly::{Anomaly, AnomalyKind, list_text};
use super::{Step, Transaction};
use crate::history::Outcome;

/// One append of a transaction that did not fail.
pub(super) struct Append<'a, V> {
    pub(super) transaction: usize,
    pub(super) value: &'a V,
    /// The transaction appended nothing to the key after it.
    last: bool,
}

/// One read of an answered transaction.
pub(super) struct Read<'a, V> {
    pub(super) transaction: usize,
    pub(super) list: &'a [V],
    /// How much of the list was there before the transaction's own appends.
    pub(super) before_own: usize,
    /// The transaction had not read the key before.
    pub(super) first: bool,
}

/// All that is known of a key.
pub(super) struct Key<'a, K, V> {
    pub(super) key: &'a K,
    /// In the order of the history, so those of a transaction as it made them.
    pub(super) appends: Vec<Append<'a, V>>,
    /// Values to their appends.
    pub(super) append_of: HashMap<&'a V, usize>,
    /// Values to failed transactions.
    failed: HashMap<&'a V, usize>,
    pub(super) reads: Vec<Read<'a, V>>,
    /// The longest list, if all reads agree with it.
    pub(super) order: Option<&'a [V]>,
    /// Every value that anybody read.
    seen: HashSet<&'a V>,
}

/// All that is known.
pub(super) struct Observed<'a, K, V> {
    pub(super) keys: Vec<Key<'a, K, V>>,
    /// Per transaction: it was answered, or somebody saw what it did.
    pub(super) happened: Vec<bool>,
}

/// Reads the history once for the appends, once for the reads, and then each key by itself.
pub(super) fn observe<'a, K: Eq + Hash + Debug, V: Eq + Hash + Debug>(
    history: &'a [Transaction<K, V>],
    anomalies: &mut Vec<Anomaly>,
) -> Observed<'a, K, V> {
    let mut keys: Vec<Key<'a, K, V>> = Vec::new();
    let mut key_of: HashMap<&'a K, usize> = HashMap::new();
    for (number, transaction) in history.iter().enumerate() {
        for step in transaction.action() {
            let (Step::Append(key, _) | Step::Read(key, _)) = step;
            let index = *key_of.entry(key).or_insert(keys.len());
            if index == keys.len() {
                keys.push(Key::new(key));
            }
            if let Step::Append(_, value) = step {
                let failed = matches!(transaction.outcome(), Outcome::Failed);
                anomalies.extend(keys[index].note_append(number, value, failed));
            }
        }
    }
    let mut happened: Vec<bool> = history.iter().map(|transaction| transaction.answer().is_some()).collect();
    for number in (0..history.len()).filter(|number| happened[*number]) {
        note_reads(number, history[number].action(), &key_of, &mut keys, anomalies);
    }
    for key in &mut keys {
        key.put_in_order(anomalies);
        for append in &key.appends {
            happened[append.transaction] |= key.seen.contains(append.value);
        }
    }
    for key in &keys {
        key.find_torn(anomalies);
        key.find_lost(history, anomalies);
    }
    Observed { keys, happened }
}

/// Compares the reads of one transaction with each other and with its own appends, and keeps those that fit.
fn note_reads<'a, K: Eq + Hash + Debug, V: Eq + Hash + Debug>(
    number: usize,
    steps: &'a [Step<K, V>],
    key_of: &HashMap<&'a K, usize>,
    keys: &mut [Key<'a, K, V>],
    anomalies: &mut Vec<Anomaly>,
) {
    // Per key: what was there before the transaction, if it has read it, and what it has appended since.
    let mut view: HashMap<usize, (Option<&'a [V]>, Vec<&'a V>)> = HashMap::new();
    for step in steps {
        match step {
            Step::Append(key, value) => view.entry(key_of[key]).or_default().1.push(value),
            Step::Read(_, None) => {}
            Step::Read(name, Some(list)) => {
                let index = key_of[name];
                let key = &mut keys[index];
                let (before, own) = view.entry(index).or_default();
                let before_own = list.len().saturating_sub(own.len());
                let is_own =
                    |value: &V| key.append_of.get(value).is_some_and(|i| key.appends[*i].transaction == number);
                let fits = list[before_own..].iter().eq(own.iter().copied())
                    && before.is_none_or(|before| before == &list[..before_own])
                    && !list[..before_own].iter().any(is_own);
                if fits {
                    key.reads.push(Read { transaction: number, list, before_own, first: before.is_none() });
                    *before = Some(&list[..before_own]);
                } else {
                    let expected = before.map_or("what was there".to_owned(), list_text);
                    let found = list_text(list);
                    let text = format!("T{number} read {found} at {name:?}, not {expected} and its own {own:?}");
                    anomalies.push(Anomaly::new(AnomalyKind::Internal, [number], text));
                }
            }
        }
    }
}

impl<'a, K: Debug, V: Eq + Hash + Debug> Key<'a, K, V> {
    fn new(key: &'a K) -> Self {
        Self {
            key,
            appends: Vec::new(),
            append_of: HashMap::new(),
            failed: HashMap::new(),
            reads: Vec::new(),
            order: None,
            seen: HashSet::new(),
        }
    }

    fn note_append(&mut self, transaction: usize, value: &'a V, failed: bool) -> Option<Anomaly> {
        let other = self.append_of.get(value).map(|append| self.appends[*append].transaction);
        if let Some(first) = other.or(self.failed.get(value).copied()) {
            let text = format!("T{first} and T{transaction} both appended {value:?} to {:?}", self.key);
            return Some(Anomaly::new(AnomalyKind::ReusedValue, [first, transaction], text));
        }
        if failed {
            self.failed.insert(value, transaction);
            return None;
        }
        if let Some(before) = self.appends.last_mut().filter(|before| before.transaction == transaction) {
            before.last = false;
        }
        self.append_of.insert(value, self.appends.len());
        self.appends.push(Append { transaction, value, last: true });
        None
    }

    /// Finds the order, and what is wrong with single values and reads.
    fn put_in_order(&mut self, anomalies: &mut Vec<Anomaly>) {
        let Some(longest) = self.reads.iter().max_by_key(|read| read.list.len()) else { return };
        let (order, longest_reader) = (longest.list, longest.transaction);
        let name = self.key;
        // Lists that are beginnings of the longest show nothing that it does not show.
        let odd: Vec<_> = self.reads.iter().filter(|read| !order.starts_with(read.list)).collect();
        let mut in_order = odd.is_empty();
        if let Some(read) = odd.first() {
            let (one, other) = (longest_reader, read.transaction);
            let text = format!("what T{one} and T{other} read at {name:?} was never one list");
            anomalies.push(Anomaly::new(AnomalyKind::IncompatibleOrder, [one, other], text));
        }
        let lists = [(longest_reader, order)].into_iter().chain(odd.iter().map(|read| (read.transaction, read.list)));
        // Each value is complained of once, however many have read it.
        let mut twice = HashSet::new();
        for (reader, list) in lists {
            let mut in_list = HashSet::new();
            for value in list {
                if !in_list.insert(value) && twice.insert(value) {
                    in_order = false;
                    let text = format!("T{reader} read {value:?} twice at {name:?}");
                    anomalies.push(Anomaly::new(AnomalyKind::Duplicate, [reader], text));
                }
                if !self.seen.insert(value) || self.append_of.contains_key(value) {
                    continue;
                }
                anomalies.push(match self.failed.get(value) {
                    Some(writer) => {
                        let text = format!("T{reader} read {value:?} at {name:?} from T{writer}, which failed");
                        Anomaly::new(AnomalyKind::AbortedRead, [*writer, reader], text)
                    }
                    None => {
                        let text = format!("T{reader} read {value:?} at {name:?}, which nobody appended");
                        Anomaly::new(AnomalyKind::Invented, [reader], text)
                    }
                });
            }
        }
        let mut between = HashSet::new();
        for Read { transaction, list, before_own, .. } in &self.reads {
            let Some(value) = list[..*before_own].last() else { continue };
            let append = self.append_of.get(value).map(|append| &self.appends[*append]);
            if let Some(append) = append.filter(|append| !append.last && between.insert(append.value)) {
                let (writer, reader) = (append.transaction, *transaction);
                let text = format!("T{reader} read {name:?} up to {value:?}, behind which T{writer} appended more");
                anomalies.push(Anomaly::new(AnomalyKind::IntermediateRead, [writer, reader], text));
            }
        }
        self.order = in_order.then_some(order);
    }

    /// Appends of one transaction must be seen as they were made. (What stands between them shows as a circle.)
    fn find_torn(&self, anomalies: &mut Vec<Anomaly>) {
        let place: HashMap<&V, usize> =
            self.order.into_iter().flatten().enumerate().map(|(place, value)| (value, place)).collect();
        for pair in self.appends.windows(2).filter(|pair| pair[0].transaction == pair[1].transaction) {
            let Some(second) = place.get(pair[1].value) else { continue };
            if place.get(pair[0].value).is_none_or(|first| first > second) {
                let (writer, [first, second]) = (pair[0].transaction, [pair[0].value, pair[1].value]);
                let text =
                    format!("T{writer} appended {first:?} and then {second:?} to {:?}, seen otherwise", self.key);
                anomalies.push(Anomaly::new(AnomalyKind::TornAppends, [writer], text));
            }
        }
    }

    /// An append that some read should have seen and none saw. (One that only a few did not see shows as a circle.)
    fn find_lost(&self, history: &[Transaction<K, V>], anomalies: &mut Vec<Anomaly>) {
        let latest = self.reads.iter().max_by_key(|read| history[read.transaction].invoked());
        let Some(reader) = latest.map(|read| read.transaction) else { return };
        for Append { transaction: writer, value, .. } in &self.appends {
            if !self.seen.contains(value) && history[*writer].precedes(&history[reader]) {
                let text =
                    format!("T{reader} read {:?}, and neither it nor anybody saw {value:?} of T{writer}", self.key);
                anomalies.push(Anomaly::new(AnomalyKind::LostAppend, [*writer, reader], text));
            }
        }
    }
}
