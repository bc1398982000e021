//! Walking a range of encoded keys, route after route, until a page is full.
//!
//! Every part is a linearizable read of its group. Together they are not of one moment, as in AWS.
//!
//! Of a local index more can be asked than its entries hold ([`walk_items`]). Then the items are fetched by the keys of
//! the entries, some at a time, and filter and projection are applied here.

use bytes::Bytes;
use commands::Order;
use commands::dynamo::record::encode_item;
use commands::dynamo::value::item_size;
use commands::dynamo::{Index, MAX_PAGE_BYTES, Operation, Outcome, Page, PageRead, Selection, Source, Table, behind};
use keyspace::KeyRange;

use super::capacity::read_units;
use super::fault::Fault;
use super::items::{found, item_of};
use super::key::key_of_key;
use super::store::{Call, Store, StoreError};

/// Items that are fetched together.
const FETCHED: usize = 64;

/// Reads a page from whatever routes cover the range, in order.
pub(super) async fn walk<S: Store>(
    store: &S,
    range: KeyRange,
    order: Order,
    max_items: usize,
    selection: &Selection,
) -> Result<Page, Fault> {
    let mut found = Page::default();
    // Taken from the back: the next part stands last.
    let mut waiting = parts(store, &range, order).await?;
    while let Some(part) = waiting.pop() {
        let read = PageRead {
            range: part.clone(),
            order,
            max_items: max_items - found.scanned,
            max_bytes: MAX_PAGE_BYTES.saturating_sub(found.bytes),
            selection: selection.clone(),
        };
        let page = match store.call(Call::on_interval(Operation::ReadPage(Box::new(read)), part.clone())).await {
            Ok(Outcome::Page(page)) => page,
            Ok(Outcome::Fault { name, message }) => return Err(Fault::from_leader(&name, message)),
            Ok(other) => return Err(Fault::internal(&format_args!("a page was asked for, answered was {other:?}"))),
            // The range was divided over groups in the meantime.
            Err(StoreError::CrossGroup) => {
                waiting.extend(parts(store, &part, order).await?);
                tokio::task::yield_now().await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        found.items.extend(page.items);
        found.count += page.count;
        found.scanned += page.scanned;
        found.bytes += page.bytes;
        found.last = page.last.or(found.last);
        if let Some(passed) = &page.passed {
            waiting.extend(behind(&part, passed, order));
        }
        let more = page.more && page.passed.is_none();
        let full = found.scanned > 0 && (found.scanned >= max_items || found.bytes >= MAX_PAGE_BYTES);
        found.more = more || full && !waiting.is_empty();
        if more || full {
            return Ok(found);
        }
    }
    Ok(found)
}

async fn parts<S: Store>(store: &S, range: &KeyRange, order: Order) -> Result<Vec<KeyRange>, Fault> {
    let mut parts = store.parts_of(range).await?;
    if order == Order::Ascending {
        parts.reverse();
    }
    Ok(parts)
}

/// A page of items that were found by their entries, and what fetching them costs.
pub(super) struct Fetched {
    /// Its bytes are those of the entries.
    pub(super) page: Page,
    /// Units of reading the table.
    pub(super) units: f64,
}

/// Reads entries of a local index, and of each its item.
pub(super) async fn walk_items<S: Store>(
    store: &S,
    (table, index): (&Table, &Index),
    range: KeyRange,
    order: Order,
    (max_items, consistent): (usize, bool),
    selection: &Selection,
) -> Result<Fetched, Fault> {
    let mut fetched = Fetched { page: Page::default(), units: 0.0 };
    let page = &mut fetched.page;
    let entries_only = Selection { lane: Source::entries(table, index).lane(), ..Selection::default() };
    let mut item_bytes = 0;
    let mut rest = Some(range);
    while let Some(range) = rest.take() {
        let together = FETCHED.min(max_items - page.scanned);
        let entries = walk(store, range.clone(), order, together, &entries_only).await?;
        let mut keys = Vec::with_capacity(entries.items.len());
        for record in &entries.items {
            let entry = item_of(record)?;
            let of_item = table.keys().filter_map(|key| Some((key.name.clone(), entry.get(&key.name)?.clone())));
            let entry_key = index.entry_key(table, &entry);
            let entry_key = entry_key.ok_or_else(|| Fault::internal(&"an entry has no place in its index"))?;
            keys.push((entry_key, key_of_key(table, &of_item.collect())?, item_size(&entry)));
        }
        let get =
            |key: &Bytes| Call::on_units(Operation::GetItem { key: key.clone(), projection: None }, [key.clone()]);
        let answers = store.call_all(keys.iter().map(|(_, key, _)| get(key)).collect()).await;
        for ((entry_key, _, entry_bytes), answer) in keys.into_iter().zip(answers) {
            let item = found(answer?)?;
            let bytes = item.as_ref().map_or(0, |(_, bytes)| *bytes);
            if page.scanned > 0 && item_bytes + bytes > MAX_PAGE_BYTES {
                page.more = true;
                return Ok(fetched);
            }
            item_bytes += bytes;
            page.scanned += 1;
            page.bytes += entry_bytes;
            fetched.units += read_units(bytes, consistent);
            // It may have changed since its entry was read.
            let item = item.map(|(item, _)| item).filter(|it| index.entry_key(table, it).as_ref() == Some(&entry_key));
            page.last = Some(entry_key);
            let Some(item) = item else { continue };
            if selection.filter.as_ref().is_none_or(|filter| filter.holds(&item)) {
                page.count += 1;
                if !selection.count_only {
                    let part = selection.projection.as_ref().map_or(item.clone(), |part| part.apply(&item));
                    page.items.push(encode_item(&part));
                }
            }
        }
        if !entries.more {
            return Ok(fetched);
        }
        if page.scanned >= max_items {
            page.more = true;
            return Ok(fetched);
        }
        rest = entries.last.as_ref().and_then(|last| behind(&range, last, order));
    }
    Ok(fetched)
}
