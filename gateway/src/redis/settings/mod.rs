//! Settings as CONFIG GET and CONFIG SET know them.
//!
//! Every parameter name of Redis 7.0.15 is known ([`table`]), checked as Redis checks it ([`kind`]), kept and shown. A few
//! change what this gateway does ([`Effects`]); most cannot mean anything here, because there is no file, no eviction and no
//! encoding to tune: they are kept for those who read back what they have set. docs/redis.md has the list.
//!
//! Settings live as long as the process and belong to one gateway. What all gateways must agree on is not set here.

mod kind;
mod table;

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicUsize, Ordering};

use bytes::Bytes;
use commands::redis::glob::Pattern;
use commands::redis::{Classes, RedisError, Value};
use parking_lot::{Mutex, RwLock};

use self::table::{Change, ROWS, Row};

/// All parameters of a gateway.
#[derive(Debug)]
pub(super) struct Parameters {
    /// As the table has them.
    values: RwLock<Vec<String>>,
    effects: Effects,
    /// More connections than this the process is not made for.
    most_connections: usize,
}

/// Parameters that are looked at with every command.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// slowlog-log-slower-than, microseconds; negative: nothing is slow.
    pub(super) slow_us: AtomicI64,
    /// slowlog-max-len
    pub(super) slowlog_entries: AtomicUsize,
    /// latency-monitor-threshold, milliseconds; 0: off.
    pub(super) latency_ms: AtomicI64,
    /// latency-tracking
    pub(super) tracks_latency: AtomicBool,
    /// latency-tracking-info-percentiles
    pub(super) percentiles: Mutex<Vec<f64>>,
    /// maxclients
    pub(super) connections: AtomicUsize,
    /// notify-keyspace-events, as bits.
    pub(super) telling: AtomicU32,
    /// tracking-table-max-keys; 0: no bound.
    pub(super) tracked_keys: AtomicUsize,
}

impl Effects {
    /// Of which events something is told.
    pub(super) fn telling(&self) -> Classes {
        Classes::from_bits(self.telling.load(Ordering::Relaxed))
    }
}

impl Parameters {
    /// Of a gateway that listens on `port` and takes at most `connections`.
    pub(super) fn new(port: u16, connections: usize) -> Self {
        let own = |row: &Row| match row.name {
            "port" => port.to_string(),
            "maxclients" => connections.to_string(),
            _ => row.default.to_owned(),
        };
        let parameters = Self {
            values: RwLock::new(ROWS.iter().map(own).collect()),
            effects: Effects::default(),
            most_connections: connections,
        };
        parameters.take_effect();
        parameters
    }

    pub(super) fn effects(&self) -> &Effects {
        &self.effects
    }

    /// requirepass is this, though nobody has set it by CONFIG SET.
    pub(super) fn note_password(&self, password: String) {
        if let Some(at) = ROWS.iter().position(|row| row.name == "requirepass") {
            self.values.write()[at] = password;
        }
    }

    /// The value of a parameter of the table.
    pub(super) fn text(&self, name: &str) -> String {
        let at = ROWS.iter().position(|row| row.name == name);
        debug_assert!(at.is_some(), "{name} is in the table");
        at.map_or_else(String::new, |at| self.values.read()[at].clone())
    }

    /// CONFIG GET: names without a pattern in them also find what is hidden.
    pub(super) fn get(&self, wanted: &[Bytes]) -> Value {
        let values = self.values.read();
        let mut found: Vec<(Bytes, usize)> = Vec::new();
        for name in wanted {
            if !name.iter().any(|byte| b"[*?".contains(byte)) {
                // It is called as the client calls it.
                found.extend(ROWS.iter().position(|row| row.is_called(name)).map(|at| (name.clone(), at)));
                continue;
            }
            let pattern = Pattern::new(&name.to_ascii_lowercase());
            for (at, row) in ROWS.iter().enumerate().filter(|(_, row)| !row.is_hidden) {
                let matching = row.names().filter(|name| pattern.matches(name.as_bytes()));
                found.extend(matching.map(|name| (Bytes::from_static(name.as_bytes()), at)));
            }
        }
        found.sort_unstable_by_key(|(name, _)| name.to_ascii_lowercase());
        found.dedup_by_key(|(name, _)| name.to_ascii_lowercase());
        let entry = |(name, at): (Bytes, usize)| (Value::Bulk(name), Value::Bulk(values[at].clone().into()));
        Value::Map(found.into_iter().map(entry).collect())
    }

    /// CONFIG SET: all pairs, or none.
    pub(super) fn set(&self, pairs: &[Bytes]) -> Value {
        if !pairs.len().is_multiple_of(2) {
            return RedisError::Syntax.into();
        }
        let mut values = self.values.write();
        let mut wanted: Vec<(usize, &Bytes, &Bytes)> = Vec::new();
        for pair in pairs.chunks(2) {
            let [name, value] = pair else { return RedisError::Syntax.into() };
            let Some(at) = ROWS.iter().position(|row| row.is_called(name)) else {
                return Value::Error(format!(
                    "ERR Unknown option or number of arguments for CONFIG SET - '{}'",
                    String::from_utf8_lossy(name)
                ));
            };
            match ROWS[at].change {
                Change::Nobody => return failed(name, "can't set immutable config"),
                Change::Protected => return failed(name, "can't set protected config"),
                Change::Anybody if wanted.iter().any(|(other, ..)| *other == at) => {
                    return failed(name, "duplicate parameter");
                }
                Change::Anybody => wanted.push((at, name, value)),
            }
        }
        let mut checked = Vec::new();
        for (at, name, value) in wanted {
            match self.check(&ROWS[at], &String::from_utf8_lossy(value), &values[at]) {
                Ok(value) => checked.push((at, value)),
                Err(sentence) => return failed(name, &sentence),
            }
        }
        for (at, value) in checked {
            values[at] = value;
        }
        drop(values);
        self.take_effect();
        Value::OK
    }

    fn check(&self, row: &Row, text: &str, before: &str) -> Result<String, String> {
        let value = row.kind.check(text, before)?;
        match value.parse::<usize>() {
            Ok(connections) if row.name == "maxclients" && connections > self.most_connections => Err(format!(
                "The operating system is not able to handle the specified number of clients, try with {}",
                self.most_connections
            )),
            _ => Ok(value),
        }
    }

    fn take_effect(&self) {
        // The table has checked that they are numbers within bounds.
        let number = |name| self.text(name).parse::<i64>().unwrap_or_default();
        let count = |name| usize::try_from(number(name)).unwrap_or_default();
        let effects = &self.effects;
        effects.slow_us.store(number("slowlog-log-slower-than"), Ordering::Relaxed);
        effects.slowlog_entries.store(count("slowlog-max-len"), Ordering::Relaxed);
        effects.latency_ms.store(number("latency-monitor-threshold"), Ordering::Relaxed);
        effects.tracks_latency.store(self.text("latency-tracking") == "yes", Ordering::Relaxed);
        effects.telling.store(Classes::parse(&self.text("notify-keyspace-events")).bits(), Ordering::Relaxed);
        effects.connections.store(count("maxclients"), Ordering::Relaxed);
        effects.tracked_keys.store(count("tracking-table-max-keys"), Ordering::Relaxed);
        *effects.percentiles.lock() = kind::percentile_numbers(&self.text("latency-tracking-info-percentiles"));
    }
}

fn failed(name: &[u8], sentence: &str) -> Value {
    let name = String::from_utf8_lossy(name);
    Value::Error(format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {sentence}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn words(line: &[&str]) -> Vec<Bytes> {
        line.iter().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
    }

    fn get(parameters: &Parameters, wanted: &[&str]) -> Vec<(String, String)> {
        let Value::Map(entries) = parameters.get(&words(wanted)) else { panic!("not a map") };
        let text = |value: Value| match value {
            Value::Bulk(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            other => panic!("{other:?}"),
        };
        entries.into_iter().map(|(name, value)| (text(name), text(value))).collect()
    }

    #[test]
    fn the_table_is_in_order_and_agrees_with_its_own_checks() {
        assert!(ROWS.is_sorted_by(|left, right| left.name < right.name));
        let parameters = Parameters::new(6379, 100);
        for row in ROWS.iter().filter(|row| row.change == Change::Anybody) {
            let value = parameters.text(row.name);
            assert_eq!(parameters.set(&words(&[row.name, &value])), Value::OK, "{} {value}", row.name);
            assert_eq!(parameters.text(row.name), value, "{}", row.name);
        }
    }

    #[test]
    fn all_pairs_are_set_or_none() {
        let parameters = Parameters::new(6379, 100);
        let line = ["maxmemory", "1mb", "maxmemory-clients", "200%"];
        let Value::Error(refused) = parameters.set(&words(&line)) else { panic!("not refused") };
        assert_eq!(
            refused,
            "ERR CONFIG SET failed (possibly related to argument 'maxmemory-clients') - percentage argument must be \
             less or equal to 100"
        );
        assert_eq!(parameters.text("maxmemory"), "0");
        for line in [["hz", "1", "hz", "2"], ["hz", "1", "daemonize", "yes"], ["hz", "1", "nosuch", "2"]] {
            assert!(parameters.set(&words(&line)).is_error(), "{line:?}");
        }
        assert_eq!(parameters.set(&words(&["SLOWLOG-log-slower-than", "7", "maxclients", "50"])), Value::OK);
        assert_eq!(parameters.effects().slow_us.load(Ordering::Relaxed), 7);
        assert!(parameters.set(&words(&["maxclients", "101"])).is_error());
    }

    #[test]
    fn a_parameter_is_found_by_pattern_and_by_both_names() {
        let parameters = Parameters::new(6379, 100);
        parameters.set(&words(&["hash-max-ziplist-entries", "7"]));
        let both = [("hash-max-listpack-entries", "7"), ("hash-max-ziplist-entries", "7")];
        assert_eq!(
            get(&parameters, &["hash-max-*entries", "hash-max-ziplist-entries"]),
            both.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
        assert_eq!(get(&parameters, &["PORT"]), [("PORT".to_owned(), "6379".to_owned())]);
        assert!(get(&parameters, &["*"]).iter().all(|(name, _)| name != "key-load-delay"));
        assert_eq!(get(&parameters, &["key-load-delay"]).len(), 1);
    }
}
