//! Filling a global index that is made for a table which exists: in the background, by any gateway.
//!
//! UpdateTable only announces the index. From then on every gateway that hears of it keeps its entries with each write,
//! and the index goes through its stages ([`Stage`]), one step of the descriptor after the other:
//!
//! 1. **Announced.** A gateway may not have heard of it yet and still write items without it: for as long as it believes
//!    its descriptor, and as long as a write takes that it began then. An index stays announced for [`ANNOUNCED_FOR`],
//!    by the time of the group that holds the descriptor. After that every write keeps the index.
//! 2. **Cleaning.** What was written meanwhile by those who knew, and then by others who did not, left entries behind
//!    that no item implies any more. The index, which is small yet, is read, and each entry is compared with its item.
//! 3. **Filling.** The table is read page by page, and each item that the index wants gets its entry. Now and then the
//!    descriptor takes note of how far that is.
//! 4. **Active.**
//!
//! Each comparison is a transaction over the item and its entries ([`Change::Mend`]), held to the version of the item:
//! it takes nothing back that a client writes at the same time. Repeating any of it does no harm, so gateways need no
//! lock to take turns: one claims the next few seconds of an index, as in [`super::expire`], and if it dies, the next turn
//! is another's, from where the descriptor says.
//!
//! What is absent: an index is filled by one gateway at a time, not by all together.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use commands::Order;
use commands::dynamo::alter::Alteration;
use commands::dynamo::expression::{Condition, Path};
use commands::dynamo::index::{Index, Scope, Stage};
use commands::dynamo::{Change, ItemWrite, Operation, Outcome, Projection, Selection, Source, Table, behind};
use keyspace::{TableId, layout};
use tokio_util::sync::CancellationToken;

use super::catalog::{Tables, descriptor};
use super::expire::claim_turn;
use super::fault::{Exception, Fault};
use super::items::item_of;
use super::key::key_of_key;
use super::store::{Call, Store};
use super::walk::walk;

/// How long an index is announced before it is filled: far longer than a gateway believes a descriptor (1 s) and repeats
/// a request (30 s), together.
const ANNOUNCED_FOR: Duration = Duration::from_secs(60);
/// How often gateways look for indexes that are not active, and how long a turn lasts.
const EVERY: Duration = Duration::from_secs(10);
/// Items that are compared together.
const TOGETHER: usize = 64;
/// Pages after which the descriptor takes note of how far it is.
const NOTED_PAGES: usize = 4;

/// Fills until it is told to stop.
pub async fn run<S: Store>(store: S, stop: CancellationToken) {
    let filler = Filler { store, announced_for: ANNOUNCED_FOR };
    loop {
        // Not all gateways at the same moment.
        let wait = EVERY.mul_f64(0.5 + rand::random::<f64>() / 2.0);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        let turn = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / EVERY.as_secs();
        tokio::select! {
            () = stop.cancelled() => return,
            // What was not filled now is filled in the next turn.
            filled = filler.turn(turn) => if let Err(fault) = filled {
                tracing::warn!(reason = %fault.message, "indexes could not be filled");
            },
        }
    }
}

/// Fills indexes.
pub(super) struct Filler<S> {
    pub(super) store: S,
    pub(super) announced_for: Duration,
}

impl<S: Store> Filler<S> {
    /// Looks through all tables once, and works on indexes of which this turn is ours.
    pub(super) async fn turn(&self, turn: u64) -> Result<(), Fault> {
        let mut tables = Tables::default();
        while let Some(table) = tables.next(&self.store).await? {
            for index in table.indexes.iter().filter(|index| !index.is_active()) {
                let Some(id) = index.global_id() else { continue };
                let uuid = uuid::Uuid::from_bytes(table.uuid);
                let name = format!("index {} of {uuid} in turn {turn}", id.0);
                if claim_turn(&self.store, name).await? {
                    self.work_on(&table, id).await?;
                }
            }
        }
        Ok(())
    }

    /// Leads an index through its stages, until it is active or gone, or it is too early, or the turn is over.
    async fn work_on(&self, table: &Table, id: TableId) -> Result<(), Fault> {
        let until = tokio::time::Instant::now() + EVERY;
        let mut table = table.clone();
        while tokio::time::Instant::now() < until {
            let Some((index, stage)) = index_of(&table, id) else { return Ok(()) };
            let next = match stage {
                Stage::Active => return Ok(()),
                Stage::Announced { .. } => Stage::Cleaning,
                Stage::Cleaning => {
                    self.clean(&table, index).await?;
                    Stage::Filling { up_to: Bytes::new() }
                }
                Stage::Filling { up_to } => match self.fill(&table, index, up_to).await? {
                    Some(up_to) => Stage::Filling { up_to },
                    None => Stage::Active,
                },
            };
            let Some(altered) = self.lead(&table.name, id, next).await? else { return Ok(()) };
            match index_of(&altered, id) {
                Some((index, Stage::Active)) => {
                    tracing::info!(table = %altered.name, index = %index.name, "an index is filled");
                }
                // Too early.
                Some((_, reached)) if reached == stage => return Ok(()),
                _ => {}
            }
            table = altered;
        }
        Ok(())
    }

    /// Takes note of a stage; `None`: the index or its table is gone.
    async fn lead(&self, name: &str, index: TableId, stage: Stage) -> Result<Option<Table>, Fault> {
        let wait_ms = u64::try_from(self.announced_for.as_millis()).unwrap_or(u64::MAX);
        let alteration = Alteration::Stage { index, stage, wait_ms };
        let unit = Bytes::from(layout::table_descriptor(name));
        let operation = Operation::AlterTable { name: name.to_owned(), alteration };
        match descriptor(self.store.call(Call::on_units(operation, [unit])).await?) {
            Ok(table) => Ok(Some(table)),
            Err(fault) if fault.exception == Exception::ResourceNotFound => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Compares all entries of an index with their items.
    async fn clean(&self, table: &Table, index: &Index) -> Result<(), Fault> {
        let mut range = Some(Source::entries(table, index).all());
        let keys = Projection::of_attributes(table.keys().chain(index.keys()).map(|key| key.name.as_str()));
        let selection = Selection { projection: Some(keys), ..Selection::default() };
        while let Some(part) = range.take() {
            let page = walk(&self.store, part.clone(), Order::Ascending, usize::MAX, &selection).await?;
            let mut found = Vec::with_capacity(page.items.len());
            for record in &page.items {
                let entry = item_of(record)?;
                let of_table = table.keys().filter_map(|key| Some((key.name.clone(), entry.get(&key.name)?.clone())));
                found.push((key_of_key(table, &of_table.collect())?, index.entry_key(table, &entry)));
            }
            self.mend(table, index, found).await?;
            range = page.last.filter(|_| page.more).and_then(|last| behind(&part, &last, Order::Ascending));
        }
        Ok(())
    }

    /// Gives some pages of items their entries. Up to which item; `None`: to the last one.
    async fn fill(&self, table: &Table, index: &Index, up_to: &Bytes) -> Result<Option<Bytes>, Fault> {
        let source = Source::items(table);
        let all = source.all();
        let wanted = index.keys().map(|key| Condition::AttributeExists(Path::attribute(&key.name)));
        let selection = Selection {
            filter: wanted.reduce(|a, b| Condition::And(Box::new(a), Box::new(b))),
            projection: Some(Projection::of_attributes(table.keys().map(|key| key.name.as_str()))),
            count_only: false,
            lane: source.lane(),
        };
        let mut range = if up_to.is_empty() { Some(all) } else { behind(&all, up_to, Order::Ascending) };
        let mut last = None;
        for _ in 0..NOTED_PAGES {
            let Some(part) = range.take() else { return Ok(None) };
            let page = walk(&self.store, part.clone(), Order::Ascending, usize::MAX, &selection).await?;
            let mut found = Vec::with_capacity(page.items.len());
            for record in &page.items {
                found.push((key_of_key(table, &item_of(record)?)?, None));
            }
            self.mend(table, index, found).await?;
            match page.last.filter(|_| page.more) {
                Some(key) => {
                    range = behind(&part, &key, Order::Ascending);
                    last = Some(key);
                }
                None => return Ok(None),
            }
        }
        Ok(last)
    }

    /// Makes the index say what these items imply; besides each, the entry of it that was found.
    async fn mend(&self, table: &Table, index: &Index, found: Vec<(Bytes, Option<Bytes>)>) -> Result<(), Fault> {
        let Some(id) = index.global_id() else { return Ok(()) };
        let table = Arc::new(table.clone());
        for together in found.chunks(TOGETHER) {
            let mend = |(key, stale): &(Bytes, Option<Bytes>)| {
                let change = Change::Mend { index: id, stale: stale.clone() };
                let write = ItemWrite::plain(key.clone(), change).on(&table);
                Call::on_units(Operation::WriteItem(Box::new(write)), [key.clone()])
            };
            for answer in self.store.call_all(together.iter().map(mend).collect()).await {
                match answer? {
                    Outcome::None => {}
                    other => return Err(Fault::internal(&format_args!("an index was mended, answered was {other:?}"))),
                }
            }
        }
        Ok(())
    }
}

/// A global index, and how far it is.
fn index_of(table: &Table, id: TableId) -> Option<(&Index, &Stage)> {
    table.indexes.iter().find_map(|index| match &index.scope {
        Scope::Global { id: known, stage, .. } if *known == id => Some((index, stage)),
        _ => None,
    })
}
