//! ACL LOG: what was refused to whom, at this gateway. No arguments but the key or channel that was asked for.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use commands::redis::Value;
use parking_lot::Mutex;

use super::super::Parameters;
use super::super::clients::Client;

/// Refusals alike within so much time are one entry.
const TOGETHER: Duration = Duration::from_secs(60);
/// So many entries are looked at for one that is alike.
const LOOKED_AT: usize = 10;

/// Where something was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::redis) enum Context {
    TopLevel,
    /// Between MULTI and EXEC.
    Multi,
    /// When EXEC ran it.
    Exec,
}

impl Context {
    fn name(self) -> &'static str {
        match self {
            Context::TopLevel => "toplevel",
            Context::Multi | Context::Exec => "multi",
        }
    }
}

/// The last refusals, newest first.
#[derive(Debug, Default)]
pub(super) struct AclLog {
    entries: Mutex<VecDeque<Entry>>,
}

#[derive(Debug)]
struct Entry {
    count: i64,
    reason: &'static str,
    context: &'static str,
    object: Bytes,
    user: Bytes,
    at: Instant,
    client: String,
}

impl AclLog {
    pub(super) fn add(
        &self,
        reason: &'static str,
        context: Context,
        object: Bytes,
        user: Bytes,
        client: &Client,
        parameters: &Parameters,
    ) {
        let now = Instant::now();
        let most = parameters.text("acllog-max-len").parse().unwrap_or(usize::MAX);
        let described = client.describe(now);
        let mut entry = Entry {
            count: 1,
            reason,
            context: context.name(),
            object,
            user,
            at: now,
            client: described.trim_end().to_owned(),
        };
        let mut entries = self.entries.lock();
        let alike = |other: &Entry| {
            (other.reason, other.context, &other.object, &other.user)
                == (entry.reason, entry.context, &entry.object, &entry.user)
                && now.saturating_duration_since(other.at) <= TOGETHER
        };
        if let Some(at) = entries.iter().take(LOOKED_AT).position(alike)
            && let Some(other) = entries.remove(at)
        {
            entry.count += other.count;
        }
        entries.push_front(entry);
        entries.truncate(most);
    }

    pub(super) fn reset(&self) {
        self.entries.lock().clear();
    }

    /// The newest `count`.
    pub(super) fn show(&self, count: usize) -> Value {
        let now = Instant::now();
        let show = |entry: &Entry| {
            let pair = |name: &'static str, value| (Value::bulk(name), value);
            let ms = now.saturating_duration_since(entry.at).as_millis() as f64;
            Value::Map(vec![
                pair("count", Value::Integer(entry.count)),
                pair("reason", Value::bulk(entry.reason)),
                pair("context", Value::bulk(entry.context)),
                pair("object", Value::Bulk(entry.object.clone())),
                pair("username", Value::Bulk(entry.user.clone())),
                pair("age-seconds", Value::Double(ms / 1000.0)),
                pair("client-info", Value::bulk(entry.client.clone())),
            ])
        };
        Value::Array(self.entries.lock().iter().take(count).map(show).collect())
    }
}
