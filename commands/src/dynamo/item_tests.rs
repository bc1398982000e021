//! Items at their leader: writes with conditions, writes together, pages.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use bytes::Bytes;
use keyspace::{KeyRange, TableId, layout};
use proptest::prelude::*;

use super::expression::{Placeholders, Purpose, parse_condition, parse_projection, parse_update};
use super::key::{encode_key_part, item_key};
use super::record::{decode_item, encode_item};
use super::*;
use crate::testing::{MemoryView, ready};
use crate::view::Order;

fn go(view: &mut MemoryView, operation: Operation) -> Outcome {
    ready(run(view, &operation)).unwrap()
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.into())
}

fn number(number: u32) -> AttributeValue {
    AttributeValue::N(number.to_string().parse().unwrap())
}

fn item(members: &[(&str, AttributeValue)]) -> Item {
    members.iter().map(|(name, value)| (name.to_string(), value.clone())).collect()
}

fn key_of(partition: &str, sort: u32) -> Bytes {
    let part = |value| encode_key_part(&value).unwrap();
    item_key(TableId(1), &part(text(partition)), &part(number(sort)))
}

fn key() -> Bytes {
    key_of("p", 1)
}

fn values() -> Placeholders {
    Placeholders::new(BTreeMap::new(), item(&[(":0", number(0)), (":1", number(1)), (":2", number(2))]))
}

fn condition(text: &str) -> Option<expression::Condition> {
    Some(parse_condition(Purpose::Condition, text, &mut values()).unwrap())
}

fn put(item: &Item) -> ItemWrite {
    ItemWrite::plain(key(), Change::Put(encode_item(item)))
}

fn update(text: &str) -> ItemWrite {
    let update = parse_update(text, &mut values()).unwrap();
    ItemWrite::plain(key(), Change::Update { key_attributes: item(&[("p", number(7))]), update })
}

fn write(view: &mut MemoryView, write: ItemWrite) -> Outcome {
    go(view, Operation::WriteItem(Box::new(write)))
}

fn stored(view: &mut MemoryView) -> Option<Item> {
    match go(view, Operation::GetItem { key: key(), projection: None }) {
        Outcome::Item(record) => Some(decode_item(&record).unwrap()),
        Outcome::None => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn items_are_put_read_and_removed() {
    let mut view = MemoryView::default();
    let [first, second] = [1, 2].map(|n| item(&[("n", number(n))]));
    let old = |write: ItemWrite| ItemWrite { returns: Returns::AllOld, ..write };
    let delete = || ItemWrite::plain(key(), Change::Delete);
    assert_eq!(stored(&mut view), None);
    assert_eq!(write(&mut view, old(put(&first))), Outcome::None);
    assert_eq!(write(&mut view, old(put(&second))), Outcome::Item(encode_item(&first)));
    assert_eq!(stored(&mut view), Some(second.clone()));
    view.take_accesses();
    assert_eq!(write(&mut view, put(&first)), Outcome::None);
    assert_eq!(view.take_accesses().gets, 0, "a plain put looks at nothing");
    assert_eq!(write(&mut view, old(delete())), Outcome::Item(encode_item(&first)));
    view.take_accesses();
    assert_eq!(write(&mut view, old(delete())), Outcome::None);
    assert!(!view.take_accesses().wrote(), "nothing to remove leaves no tombstone");
    let sized = ItemWrite { sizes: true, ..put(&first) };
    let sizes = |old_bytes| Outcome::Written { attributes: None, old_bytes, new_bytes: 3, entries: Vec::new() };
    assert_eq!(write(&mut view, sized.clone()), sizes(0));
    assert_eq!(write(&mut view, sized), sizes(3));
}

#[test]
fn a_condition_decides_before_anything_is_written() {
    let mut view = MemoryView::default();
    let new = item(&[("n", number(1))]);
    let once = ItemWrite { condition: condition("attribute_not_exists(n)"), ..put(&new) };
    assert_eq!(write(&mut view, once.clone()), Outcome::None);
    assert_eq!(write(&mut view, once.clone()), Outcome::ConditionFailed { item: None });
    let told = ItemWrite { item_on_failure: true, ..once };
    assert_eq!(write(&mut view, told.clone()), Outcome::ConditionFailed { item: Some(encode_item(&new)) });
    let delete = ItemWrite { condition: condition("n = :2"), ..ItemWrite::plain(key(), Change::Delete) };
    assert_eq!(write(&mut view, delete.clone()), Outcome::ConditionFailed { item: None });
    let check = ItemWrite { condition: condition("n = :1"), ..ItemWrite::plain(key(), Change::Check) };
    assert_eq!(write(&mut view, check), Outcome::None);
    assert_eq!(stored(&mut view), Some(new));
    let absent = ItemWrite { condition: condition("n <> :2"), ..ItemWrite::plain(key(), Change::Delete) };
    assert_eq!(write(&mut view, absent.clone()), Outcome::None);
    // Of no item, a condition is judged as of an empty one.
    assert_eq!(write(&mut view, absent), Outcome::None);
    assert_eq!(write(&mut view, delete), Outcome::ConditionFailed { item: None });
    assert_eq!(write(&mut view, told), Outcome::None);
}

#[test]
fn updates_answer_what_they_are_asked_for() {
    let mut view = MemoryView::default();
    let returning = |text: &str, returns| ItemWrite { returns, ..update(text) };
    let record = |members: &[(&str, AttributeValue)]| Outcome::Item(encode_item(&item(members)));
    // An item that was not there is made of its key.
    assert_eq!(write(&mut view, returning("SET n = :1", Returns::UpdatedOld)), Outcome::None);
    let all = record(&[("n", number(1)), ("p", number(7))]);
    assert_eq!(write(&mut view, returning("SET n = :1", Returns::AllOld)), all);
    let both = returning("SET n = n + :1, m = n", Returns::AllNew);
    assert_eq!(write(&mut view, both), record(&[("m", number(1)), ("n", number(2)), ("p", number(7))]));
    assert_eq!(
        write(&mut view, returning("SET n = :0 REMOVE m", Returns::UpdatedOld)),
        record(&[("m", number(1)), ("n", number(2))])
    );
    assert_eq!(write(&mut view, returning("SET n = :2 REMOVE m", Returns::UpdatedNew)), record(&[("n", number(2))]));
    let failed = write(&mut view, returning("SET n = m", Returns::AllNew));
    let message = "The provided expression refers to an attribute that does not exist in the item";
    assert_eq!(failed, Outcome::Fault { name: "ValidationException".into(), message: message.into() });
    assert_eq!(stored(&mut view), Some(item(&[("n", number(2)), ("p", number(7))])));
}

#[test]
fn taking_away_from_no_item_makes_none() {
    let mut view = MemoryView::default();
    assert_eq!(write(&mut view, update("REMOVE n")), Outcome::None);
    assert_eq!(stored(&mut view), None);
    write(&mut view, update("REMOVE n SET m = :1"));
    assert!(stored(&mut view).is_some());
    // An update without actions makes the item.
    let mut view = MemoryView::default();
    let update = ItemWrite::plain(
        key(),
        Change::Update { key_attributes: item(&[("p", number(7))]), update: expression::Update::default() },
    );
    write(&mut view, update);
    assert_eq!(stored(&mut view), Some(item(&[("p", number(7))])));
}

#[test]
fn an_item_does_not_grow_beyond_its_bound() {
    let mut view = MemoryView::default();
    let half = item(&[("v", text(&"x".repeat(250 * 1024)))]);
    write(&mut view, put(&half));
    let Outcome::Fault { message, .. } = write(&mut view, update("SET w = v")) else { panic!("it is too large") };
    assert_eq!(message, "Item size to update has exceeded the maximum allowed size");
    assert_eq!(stored(&mut view), Some(half));
}

#[test]
fn writes_together_are_all_or_none() {
    let mut view = MemoryView::default();
    let other = |text: &str| ItemWrite { key: key_of("q", 1), ..update(text) };
    let check = ItemWrite {
        condition: condition("attribute_exists(n)"),
        item_on_failure: true,
        ..ItemWrite::plain(key(), Change::Check)
    };
    let together = |writes: &[&ItemWrite]| Operation::Together(writes.iter().copied().cloned().collect());
    let outcome = go(&mut view, together(&[&other("SET n = :1"), &check]));
    assert_eq!(outcome, Outcome::Together(vec![Outcome::None, Outcome::ConditionFailed { item: None }]));
    assert!(outcome.is_refusal() && view.records().is_empty());
    let outcome = go(&mut view, together(&[&other("SET n = :1"), &update("SET n = m")]));
    assert!(outcome.is_refusal() && view.records().is_empty());
    let outcome = go(&mut view, together(&[&other("SET n = :1"), &update("SET n = :2")]));
    assert!(!outcome.is_refusal() && view.records().len() == 2);
    assert!(!go(&mut view, together(&[&check, &other("SET n = n + :1")])).is_refusal());
}

fn page_read(range: KeyRange) -> PageRead {
    PageRead {
        range,
        order: Order::Ascending,
        max_items: usize::MAX,
        max_bytes: MAX_PAGE_BYTES,
        selection: Selection::default(),
    }
}

fn page(view: &mut MemoryView, read: &PageRead) -> Page {
    match go(view, Operation::ReadPage(Box::new(read.clone()))) {
        Outcome::Page(page) => page,
        other => panic!("{other:?}"),
    }
}

fn table() -> KeyRange {
    KeyRange::prefix(layout::dynamo_table(TableId(1)))
}

fn filled(items: u32, value: &str) -> MemoryView {
    let mut view = MemoryView::default();
    for n in 0..items {
        let record = encode_item(&item(&[("n", number(n)), ("v", text(value))]));
        write(&mut view, ItemWrite::plain(key_of("p", n), Change::Put(record)));
    }
    view
}

#[test]
fn a_page_filters_projects_and_counts() {
    let mut view = filled(100, "x");
    let whole = page(&mut view, &page_read(table()));
    assert_eq!((whole.items.len(), whole.count, whole.scanned, whole.more), (100, 100, 100, false));
    let filter = parse_condition(Purpose::Filter, "n <= :2", &mut values()).unwrap();
    let projection = parse_projection("n", &mut values()).unwrap();
    let selection = Selection { filter: Some(filter), projection: Some(projection), ..Selection::default() };
    let chosen = page(&mut view, &PageRead { selection: selection.clone(), ..page_read(table()) });
    assert_eq!((chosen.count, chosen.scanned, chosen.bytes), (3, 100, whole.bytes));
    let items: Vec<Item> = chosen.items.iter().map(|record| decode_item(record).unwrap()).collect();
    assert_eq!(items, [0, 1, 2].map(|n| item(&[("n", number(n))])));
    let counted = Selection { count_only: true, ..selection };
    let counted = page(&mut view, &PageRead { selection: counted, order: Order::Descending, ..page_read(table()) });
    assert_eq!((counted.items.len(), counted.count, counted.scanned), (0, 3, 100));
}

#[test]
fn a_page_ends_before_a_megabyte_is_exceeded() {
    let value = "x".repeat(100 * 1024);
    let mut view = filled(25, &value);
    let first = page(&mut view, &page_read(table()));
    assert!(first.scanned == 10 && first.more);
    assert!(first.bytes <= MAX_PAGE_BYTES);
    assert_eq!(first.last, Some(key_of("p", 9)));
    // One item is always looked at.
    let tight = page(&mut view, &PageRead { max_bytes: 1, ..page_read(table()) });
    assert_eq!(tight.scanned, 1);
}

proptest! {
    #[test]
    fn pages_behind_one_another_are_the_whole(items in 0u32..200, max_items in 1usize..90, down: bool) {
        let mut view = filled(items, "x");
        let order = if down { Order::Descending } else { Order::Ascending };
        let mut found = Vec::new();
        let mut rest = Some(table());
        while let Some(range) = rest {
            let read = PageRead { order, max_items, ..page_read(range.clone()) };
            let page = page(&mut view, &read);
            prop_assert!(page.scanned <= max_items);
            found.extend(page.items.iter().map(|record| decode_item(record).unwrap()["n"].clone()));
            rest = page.last.filter(|_| page.more).and_then(|last| behind(&range, &last, order));
        }
        let mut expected: Vec<_> = (0..items).map(number).collect();
        if down {
            expected.reverse();
        }
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn writes_survive_the_wire(
        text in prop::sample::select(vec!["SET n = :1", "REMOVE a, b[1] ADD n :1", "SET a.b = if_not_exists(a, :1) + n"]),
        kind in 0usize..4,
        returns in prop::sample::select(vec![Returns::None, Returns::AllOld, Returns::UpdatedNew]),
        flags: (bool, bool, bool),
        cut: prop::sample::Index,
    ) {
        let change = match kind {
            0 => Change::Put(encode_item(&item(&[("n", number(1))]))),
            1 => Change::Delete,
            2 => Change::Check,
            _ => update(text).change,
        };
        let condition = condition("n = :1 AND NOT size(a) > :2").filter(|_| flags.2);
        let plain = ItemWrite::plain(key(), change);
        let write = ItemWrite { condition, returns, item_on_failure: flags.0, sizes: flags.1, ..plain };
        let item = if let Change::Put(item) = &write.change { item.clone() } else { Bytes::new() };
        let record = write.encode();
        prop_assert_eq!(ItemWrite::decode(key(), &record, item.clone()), Ok(write));
        prop_assert!(ItemWrite::decode(key(), &record[..cut.index(record.len())], item.clone()).is_err());
        let other = if item.is_empty() { Bytes::from_static(b"x") } else { Bytes::new() };
        prop_assert!(ItemWrite::decode(key(), &record, other).is_err());
    }
}

#[test]
fn reads_need_no_log_entry() {
    assert!(!Operation::GetItem { key: Bytes::new(), projection: None }.writes());
    assert!(!Operation::DescribeTable { name: "t".into() }.writes());
    assert!(!Operation::ListTables { start_after: String::new(), limit: 1 }.writes());
    assert!(!Operation::ReadPage(Box::new(page_read(table()))).writes());
    assert!(Operation::WriteItem(Box::new(ItemWrite::plain(key(), Change::Delete))).writes());
}
