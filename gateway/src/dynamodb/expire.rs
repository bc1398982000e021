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

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use commands::Order;
use commands::dynamo::expression::{Comparator, Condition, Operand, Path};
use commands::dynamo::token::{self, Claim};
use commands::dynamo::{AttributeValue, Change, ItemWrite, Operation, Outcome, Projection, Selection, Source, Table};
use tokio_util::sync::CancellationToken;

use super::catalog::{Tables, as_it_is};
use super::fault::Fault;
use super::items::item_of;
use super::key::key_of_key;
use super::store::{Call, Store};
use super::walk::walk;

/// How often tables are swept.
const EVERY: Duration = Duration::from_secs(60);
/// Rest between two pages, so that a sweep never takes more than a small part of what the store can do.
const BETWEEN_PAGES: Duration = Duration::from_millis(100);
/// Items that are removed together.
const REMOVED_TOGETHER: usize = 25;
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
    let mut tables = Tables::default();
    while let Some(table) = tables.next(store).await? {
        if table.time_to_live.is_some() && claim(store, &table, now_s).await? {
            removed += sweep_table(store, table, now_s, rest).await?;
        }
    }
    Ok(removed)
}

/// Whether this minute of the table is ours.
async fn claim<S: Store>(store: &S, table: &Table, now_s: u64) -> Result<bool, Fault> {
    let uuid = uuid::Uuid::from_bytes(table.uuid);
    claim_turn(store, format!("expiry of {uuid} in minute {}", now_s / EVERY.as_secs())).await
}

/// Whether this turn of some work in the background is ours: of all gateways one gets it. Its name is longer than any
/// token of a client.
pub(super) async fn claim_turn<S: Store>(store: &S, turn: String) -> Result<bool, Fault> {
    let place = token::place(&turn);
    let claim = Change::Claim(Claim { token: turn, fingerprint: [0; 32] });
    let write = Operation::WriteItem(Box::new(ItemWrite::plain(place.clone(), claim)));
    match store.call(Call::on_units(write, [place])).await? {
        Outcome::None => Ok(true),
        Outcome::ConditionFailed { .. } | Outcome::Fault { .. } => Ok(false),
        other => Err(Fault::internal(&format_args!("a turn was claimed, answered was {other:?}"))),
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

async fn sweep_table<S: Store>(store: &S, table: Table, now_s: u64, rest: Duration) -> Result<usize, Fault> {
    let mut removed = 0;
    let mut range = Some(Source::items(&table).all());
    while let Some(part) = range.take() {
        let Some((_, condition)) = still(store, &table, now_s).await? else { return Ok(removed) };
        let selection = Selection {
            filter: Some(condition),
            projection: Some(Projection::of_attributes(table.keys().map(|key| key.name.as_str()))),
            count_only: false,
            lane: Source::items(&table).lane(),
        };
        let page = walk(store, part.clone(), Order::Ascending, usize::MAX, &selection).await?;
        let found: Vec<Bytes> =
            page.items.iter().map(|item| key_of_key(&table, &item_of(item)?)).collect::<Result<_, Fault>>()?;
        for keys in found.chunks(REMOVED_TOGETHER) {
            // A sweep takes long, and what it removes has to leave the indexes that there are by then.
            let Some((table, condition)) = still(store, &table, now_s).await? else { return Ok(removed) };
            let remove = |key: &Bytes| {
                let write = ItemWrite {
                    condition: Some(condition.clone()),
                    ..ItemWrite::plain(key.clone(), Change::Delete).on(&table)
                };
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

/// The table as it is now, if its items still expire, and what is true of those that have.
async fn still<S: Store>(store: &S, table: &Table, now_s: u64) -> Result<Option<(Arc<Table>, Condition)>, Fault> {
    let Some(table) = as_it_is(store, table).await? else { return Ok(None) };
    match &table.time_to_live {
        Some(attribute) => Ok(Some((table.clone(), expired(attribute, now_s)?))),
        None => Ok(None),
    }
}
