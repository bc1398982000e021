//! Items that expire: removed in the background, after the time that their attribute names.
//!
//! An expired item is found and read like every other until it is removed, as in AWS. Every minute ([`EVERY`]) a
//! gateway looks for tables with a time to live. For each it claims the minute, as a transaction claims its token: one
//! gateway sweeps, the others leave it alone; when that one dies, the next minute is another's. A sweep reads the table
//! page by page, with the expiry as a filter at the leaders, and removes each item that it finds **if it has still
//! expired** then: who prolongs an item's life in between keeps it. Pages follow each other at a bounded rate
//! ([`BETWEEN_PAGES`]).
//!
//! By the time of the gateway: an attribute of type N, in seconds since 1970, that is past and not more than five years
//! ago. What is anything else never expires.
//!
//! Source: AWS Developer Guide, "Using time to live (TTL) in DynamoDB".

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use commands::Order;
use commands::dynamo::expression::{Comparator, Condition, Operand, Path};
use commands::dynamo::token::{self, Claim};
use commands::dynamo::{
    AttributeValue, Change, ItemWrite, Operation, Outcome, Projection, Selection, Table, names_above,
};
use keyspace::{KeyRange, layout};
use tokio_util::sync::CancellationToken;

use super::catalog::{describe, descriptor};
use super::fault::{Exception, Fault};
use super::items::item_of;
use super::key::key_of_key;
use super::query::walk;
use super::store::{Call, Store};

/// How often tables are swept.
const EVERY: Duration = Duration::from_secs(60);
/// Rest between two pages, so that a sweep never takes more than a small part of what the store can do.
const BETWEEN_PAGES: Duration = Duration::from_millis(100);
/// Items that are removed together.
const REMOVED_TOGETHER: usize = 25;
/// Tables whose names are read with one request.
const NAMES: usize = 100;
/// What expired longer ago than this was not meant to: five years, in seconds.
const LATEST_S: u64 = 5 * 365 * 24 * 60 * 60;

/// Sweeps until it is told to stop.
pub async fn run<S: Store>(store: S, stop: CancellationToken) {
    loop {
        // Not all gateways at the same moment.
        let wait = EVERY.mul_f64(0.5 + rand::random::<f64>() / 2.0);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        tokio::select! {
            () = stop.cancelled() => return,
            swept = sweep(&store, now.as_secs(), BETWEEN_PAGES) => match swept {
                Ok(0) => {}
                Ok(removed) => tracing::debug!(removed, "items have expired"),
                // What was not swept now is swept next time.
                Err(fault) => tracing::warn!(reason = %fault.message, "expired items could not be removed"),
            },
        }
    }
}

/// Sweeps all tables once; answers how many items were removed.
pub(super) async fn sweep<S: Store>(store: &S, now_s: u64, rest: Duration) -> Result<usize, Fault> {
    let mut removed = 0;
    let mut start_after = String::new();
    loop {
        let interval = names_above(&start_after);
        let list = Operation::ListTables { start_after, limit: NAMES };
        let (names, more) = match store.call(Call::on_interval(list, interval)).await? {
            Outcome::Tables { names, more } => (names, more),
            other => return Err(Fault::internal(&format_args!("table names were asked for, answered was {other:?}"))),
        };
        for name in &names {
            let table = match descriptor(store.call(describe(name)).await?) {
                Ok(table) => table,
                Err(fault) if fault.exception == Exception::ResourceNotFound => continue,
                Err(fault) => return Err(fault),
            };
            if let Some(attribute) = &table.time_to_live
                && claim(store, &table, now_s).await?
            {
                removed += sweep_table(store, &table, attribute, now_s, rest).await?;
            }
        }
        match names.into_iter().next_back().filter(|_| more) {
            Some(last) => start_after = last,
            None => return Ok(removed),
        }
    }
}

/// Whether this minute of the table is ours.
async fn claim<S: Store>(store: &S, table: &Table, now_s: u64) -> Result<bool, Fault> {
    // Longer than any token of a client.
    let token = format!("expiry of {} in minute {}", uuid::Uuid::from_bytes(table.uuid), now_s / EVERY.as_secs());
    let place = token::place(&token);
    let claim = Change::Claim(Claim { token, fingerprint: [0; 32] });
    let write = Operation::WriteItem(Box::new(ItemWrite::plain(place.clone(), claim)));
    match store.call(Call::on_units(write, [place])).await? {
        Outcome::None => Ok(true),
        Outcome::ConditionFailed { .. } | Outcome::Fault { .. } => Ok(false),
        other => Err(Fault::internal(&format_args!("a minute was claimed, answered was {other:?}"))),
    }
}

/// What is true of an item that has expired.
fn expired(attribute: &str, now_s: u64) -> Result<Condition, Fault> {
    let seconds = |seconds: u64| {
        let number = seconds.to_string().parse().map_err(|error| Fault::internal(&error))?;
        Ok::<_, Fault>(Operand::Value(AttributeValue::N(number)))
    };
    let is = |comparator, operand| {
        Box::new(Condition::Compare(comparator, Operand::Path(Path::attribute(attribute)), operand))
    };
    let latest = seconds(now_s.saturating_sub(LATEST_S))?;
    // Only numbers are less than a number.
    Ok(Condition::And(is(Comparator::Less, seconds(now_s)?), is(Comparator::GreaterOrEqual, latest)))
}

async fn sweep_table<S: Store>(
    store: &S,
    table: &Table,
    attribute: &str,
    now_s: u64,
    rest: Duration,
) -> Result<usize, Fault> {
    let condition = expired(attribute, now_s)?;
    let keys = [Some(&table.partition_key), table.sort_key.as_ref()];
    let names = keys.into_iter().flatten().map(|key| key.name.as_str());
    let selection = Selection {
        filter: Some(condition.clone()),
        projection: Some(Projection::of_attributes(names)),
        count_only: false,
    };
    let mut removed = 0;
    let mut range = Some(KeyRange::prefix(layout::dynamo_table(table.id)));
    while let Some(part) = range.take() {
        let page = walk(store, part.clone(), Order::Ascending, usize::MAX, &selection).await?;
        let found: Vec<Bytes> =
            page.items.iter().map(|item| key_of_key(table, &item_of(item)?)).collect::<Result<_, Fault>>()?;
        for keys in found.chunks(REMOVED_TOGETHER) {
            let remove = |key: &Bytes| {
                let write =
                    ItemWrite { condition: Some(condition.clone()), ..ItemWrite::plain(key.clone(), Change::Delete) };
                Call::on_units(Operation::WriteItem(Box::new(write)), [key.clone()])
            };
            for answer in store.call_all(keys.iter().map(remove).collect()).await {
                removed += usize::from(answer? == Outcome::None);
            }
        }
        if let Some(last) = page.last.filter(|_| page.more) {
            range = commands::dynamo::behind(&part, &last, Order::Ascending);
            tokio::time::sleep(rest).await;
        }
    }
    Ok(removed)
}
