//! Indexes at their leader: entries, what writes make of them, how tables come to have them.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use keyspace::{Key, TableId};
use proptest::prelude::*;

use super::alter::{Alteration, IndexUpdate};
use super::expression::{Comparator, KeyTest, Placeholders, compare, parse_update};
use super::index::{Projected, Scope, Source, Stage, changes, check_keys};
use super::key::{KeyType, encode_key_part, item_key, key_attributes};
use super::record::{decode_item, encode_item};
use super::table::{Billing, KeyAttribute};
use super::*;
use crate::testing::{MemoryView, ready};
use crate::view::Order;

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.into())
}

fn number(number: i64) -> AttributeValue {
    AttributeValue::N(number.to_string().parse().unwrap())
}

fn attribute(name: &str, kind: KeyType) -> KeyAttribute {
    KeyAttribute { name: name.into(), kind }
}

fn index(name: &str, keys: &[&str], scope: Scope, projection: Projected) -> Index {
    let kind = |name: &str| if name == "n" { KeyType::Number } else { KeyType::Text };
    let mut keys = keys.iter().map(|name| attribute(name, kind(name)));
    Index { name: name.into(), scope, partition_key: keys.next().unwrap(), sort_key: keys.next(), projection }
}

fn global(id: u32) -> Scope {
    Scope::Global { id: TableId(id), stage: Stage::Active, billing: Billing::PayPerRequest }
}

/// Keys `p` and `s`; a local index on `a`, global ones on `a`, on `a` and `n`, and on `n`.
fn table() -> Table {
    Table {
        id: TableId(1),
        uuid: [0; 16],
        created_ms: 0,
        name: "table".into(),
        arn: "arn".into(),
        partition_key: attribute("p", KeyType::Text),
        sort_key: Some(attribute("s", KeyType::Text)),
        billing: Billing::PayPerRequest,
        deletion_protection: false,
        tags: BTreeMap::new(),
        time_to_live: None,
        indexes: vec![
            index("local", &["p", "a"], Scope::Local { lane: 1 }, Projected::KeysOnly),
            index("by-a", &["a"], global(2), Projected::All),
            index("by-a-n", &["a", "n"], global(3), Projected::Include(vec!["x".into()])),
            index("by-s", &["s", "p"], global(4), Projected::KeysOnly),
        ],
    }
}

fn item(members: &[(&str, AttributeValue)]) -> Item {
    members.iter().map(|(name, value)| (name.to_string(), value.clone())).collect()
}

fn item_of(p: &str, s: &str, a: Option<&str>, n: Option<i64>, x: Option<&str>) -> Item {
    let mut item = item(&[("p", text(p)), ("s", text(s))]);
    item.extend(a.map(|a| ("a".to_owned(), text(a))));
    item.extend(n.map(|n| ("n".to_owned(), number(n))));
    item.extend(x.map(|x| ("x".to_owned(), text(x))));
    item
}

fn key(p: &str, s: &str) -> Bytes {
    let part = |value: &str| encode_key_part(&text(value)).unwrap();
    item_key(TableId(1), &part(p), &part(s))
}

/// Every record of the store that some table would have of these items.
fn implied<'a>(table: &Table, items: impl IntoIterator<Item = &'a Item>) -> BTreeMap<Bytes, Bytes> {
    let mut records = BTreeMap::new();
    for item in items {
        let part = |name: &str| encode_key_part(&item[name]).unwrap();
        records.insert(item_key(table.id, &part("p"), &part("s")), encode_item(item));
        for index in &table.indexes {
            let Some(key) = index.entry_key(table, item) else { continue };
            let kept = item.iter().filter(|(name, _)| index.projects(table, name));
            let entry = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
            assert!(records.insert(key, encode_item(&entry)).is_none(), "each entry has a key of its own");
        }
    }
    records
}

fn stored(view: &MemoryView) -> BTreeMap<Bytes, Bytes> {
    view.records().iter().map(|(key, record)| (key.clone(), record.value.clone())).collect()
}

fn write(view: &mut MemoryView, write: ItemWrite) -> Outcome {
    let outcome = ready(run(view, &Operation::WriteItem(Box::new(write)))).unwrap();
    view.step();
    outcome
}

#[test]
fn an_entry_tells_the_keys_of_its_item() {
    let table = table();
    let item = item_of("p", "s\0", Some("a\0\x01"), Some(7), Some("x"));
    for index in &table.indexes {
        let key = index.entry_key(&table, &item).unwrap();
        let mut expected: BTreeSet<&str> = index.keys().map(|key| key.name.as_str()).collect();
        expected.extend(["p", "s"]);
        let found = index.key_attributes(&table, &key).unwrap();
        assert_eq!(found.keys().map(String::as_str).collect::<BTreeSet<_>>(), expected, "{}", index.name);
        assert!(found.iter().all(|(name, value)| item[name] == *value));
        assert_eq!(index.entry_key(&table, &found).unwrap(), key);
        assert!(key_attributes(&table, &key).is_none(), "an entry is no item");
    }
    assert!(Key::decode(&table.indexes[0].entry_key(&table, &item).unwrap()).is_ok());
}

#[test]
fn an_item_without_the_keys_of_an_index_is_not_in_it() {
    let table = table();
    let names = |item: &Item| {
        let found = table.indexes.iter().filter(|index| index.entry_key(&table, item).is_some());
        found.map(|index| index.name.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(names(&item_of("p", "s", None, None, None)), ["by-s"]);
    assert_eq!(names(&item_of("p", "s", None, Some(1), None)), ["by-s"]);
    assert_eq!(names(&item_of("p", "s", Some("a"), None, None)), ["local", "by-a", "by-s"]);
    assert_eq!(names(&item_of("p", "s", Some("a"), Some(1), None)), ["local", "by-a", "by-a-n", "by-s"]);
    // Older than the index, which could not hold it.
    let odd = item(&[("p", text("p")), ("s", text("s")), ("a", number(1)), ("n", number(1))]);
    assert_eq!(names(&odd), ["by-s"]);
    let empty = item_of("p", "s", Some(""), None, None);
    assert_eq!(names(&empty), ["by-s"]);
    let long = "a".repeat(1025);
    assert_eq!(names(&item_of("p", "s", Some(&long), None, None)), ["by-a", "by-s"], "sort keys are shorter");
}

#[test]
fn what_an_index_cannot_hold_is_refused_in_words() {
    let table = table();
    let refused = |item: Item, before: Option<Item>| check_keys(&table, &item, before.as_ref()).unwrap_err();
    let odd = item(&[("p", text("p")), ("s", text("s")), ("n", text("1"))]);
    let message = "One or more parameter values were invalid: Type mismatch for Index Key n Expected: N Actual: S \
                   IndexName: by-a-n";
    assert_eq!(refused(odd.clone(), None), message);
    assert_eq!(refused(odd.clone(), Some(item_of("p", "s", None, Some(1), None))), message);
    assert_eq!(check_keys(&table, &odd, Some(&odd)), Ok(()), "an update may leave what is older than the index");
    let empty = item_of("p", "s", Some(""), None, None);
    assert_eq!(
        refused(empty.clone(), None),
        "One or more parameter values are not valid. A value specified for a secondary index key is not supported. The \
         AttributeValue for a key attribute cannot contain an empty string value. IndexName: local, IndexKey: a"
    );
    assert_eq!(
        refused(empty, Some(item_of("p", "s", None, None, None))),
        "One or more parameter values are not valid. The update expression attempted to update a secondary index key \
         to a value that is not supported. The AttributeValue for a key attribute cannot contain an empty string value."
    );
    let long = |length: usize| item_of("p", "s", Some(&"a".repeat(length)), None, None);
    assert!(refused(long(1025), None).contains("size limit of 1024 bytes"));
    let mut only_global = table.clone();
    only_global.indexes.remove(0);
    assert_eq!(check_keys(&only_global, &long(2048), None), Ok(()));
    assert!(check_keys(&only_global, &long(2049), None).unwrap_err().contains("size limit of2048 bytes"));
}

#[test]
fn a_write_changes_only_entries_that_change() {
    let table = table();
    let names = |old: Option<&Item>, new: Option<&Item>| {
        let sign = |change: &index::EntryChange| if change.record.is_some() { '+' } else { '-' };
        changes(&table, old, new).iter().map(|change| format!("{}{}", sign(change), change.index)).collect::<Vec<_>>()
    };
    let old = item_of("p", "s", Some("a"), Some(1), Some("x"));
    assert_eq!(names(None, Some(&old)), ["+local", "+by-a", "+by-a-n", "+by-s"]);
    assert_eq!(names(Some(&old), Some(&old)), [""; 0]);
    assert_eq!(names(Some(&old), Some(&item_of("p", "s", Some("a"), Some(1), Some("y")))), ["+by-a", "+by-a-n"]);
    let moved = item_of("p", "s", Some("b"), Some(1), Some("x"));
    assert_eq!(names(Some(&old), Some(&moved)), ["-local", "+local", "-by-a", "+by-a", "-by-a-n", "+by-a-n"]);
    assert_eq!(names(Some(&old), Some(&item_of("p", "s", Some("a"), None, Some("x")))), ["+by-a", "-by-a-n"]);
    assert_eq!(names(Some(&old), None), ["-local", "-by-a", "-by-a-n", "-by-s"]);
}

#[test]
fn a_write_of_an_indexed_table_reaches_beyond_and_says_what_it_costs() {
    let table = Arc::new(table());
    let put = |item: &Item| ItemWrite::plain(key("p", "s"), Change::Put(encode_item(item)));
    let first = item_of("p", "s", Some("a"), None, None);
    let sized = ItemWrite { sizes: true, ..put(&first).on(&table) };
    let command = |write: &ItemWrite| crate::Command::Dynamo(Operation::WriteItem(Box::new(write.clone())));
    assert!(command(&sized).reads_beyond() && !command(&put(&first)).reads_beyond());
    let bare = Arc::new(Table { indexes: Vec::new(), ..Table::clone(&table) });
    assert!(!command(&put(&first).on(&bare)).reads_beyond(), "a table without indexes keeps its short way");
    let together = Operation::Together(vec![put(&first), sized.clone()]);
    assert!(crate::Command::Dynamo(together).reads_beyond());
    assert_eq!(ItemWrite::decode(sized.key.clone(), &sized.encode(), encode_item(&first)).unwrap(), sized);
    let mut view = MemoryView::default();
    let entries = |names: &[(&str, usize)]| names.iter().map(|(name, bytes)| (name.to_string(), *bytes)).collect();
    let all = [("local", 6), ("by-a", 6), ("by-s", 4)];
    let written = Outcome::Written { attributes: None, old_bytes: 0, new_bytes: 6, entries: entries(&all) };
    assert_eq!(write(&mut view, sized.clone()), written);
    let update = parse_update("SET x = :x", &mut Placeholders::new(BTreeMap::new(), item(&[(":x", text("yy"))])));
    let change = Change::Update { key_attributes: item_of("p", "s", None, None, None), update: update.unwrap() };
    let update = ItemWrite { sizes: true, ..ItemWrite::plain(key("p", "s"), change).on(&table) };
    let written = Outcome::Written { attributes: None, old_bytes: 6, new_bytes: 9, entries: entries(&[("by-a", 9)]) };
    assert_eq!(write(&mut view, update), written);
}

#[test]
fn an_index_is_mended_by_what_its_item_implies() {
    let table = Arc::new(table());
    let index = &table.indexes[1];
    let mut view = MemoryView::default();
    let item = item_of("p", "s", Some("a"), None, None);
    // Written by somebody who knows of no index.
    write(&mut view, ItemWrite::plain(key("p", "s"), Change::Put(encode_item(&item))));
    let mend = |stale: Option<&Item>| {
        let stale = stale.and_then(|item| index.entry_key(&table, item));
        ItemWrite::plain(key("p", "s"), Change::Mend { index: TableId(2), stale }).on(&table)
    };
    let decoded = ItemWrite::decode(key("p", "s"), &mend(Some(&item)).encode(), Bytes::new()).unwrap();
    assert_eq!(decoded, mend(Some(&item)));
    assert_eq!(write(&mut view, mend(None)), Outcome::None);
    let entry = index.entry_key(&table, &item).unwrap();
    assert_eq!(stored(&view).keys().collect::<Vec<_>>(), [&key("p", "s"), &entry]);
    // The item moves behind the back of the index: its old entry goes, its new one comes.
    let moved = item_of("p", "s", Some("b"), None, None);
    write(&mut view, ItemWrite::plain(key("p", "s"), Change::Put(encode_item(&moved))));
    write(&mut view, mend(Some(&item)));
    let entry = index.entry_key(&table, &moved).unwrap();
    assert_eq!(stored(&view).keys().collect::<Vec<_>>(), [&key("p", "s"), &entry]);
    write(&mut view, mend(Some(&moved)));
    assert_eq!(stored(&view).len(), 2, "what is right stays");
    write(&mut view, ItemWrite::plain(key("p", "s"), Change::Delete));
    write(&mut view, mend(Some(&moved)));
    assert!(stored(&view).is_empty());
}

#[test]
fn a_scan_keeps_to_its_lane_and_does_not_pass_over_for_ever() {
    let table = Arc::new(table());
    let mut view = MemoryView::default();
    let items: Vec<Item> = (0..30)
        .map(|n| item_of(&format!("p{}", n / 3), &n.to_string(), (n % 2 == 0).then_some("a"), None, None))
        .collect();
    for item in &items {
        let part = |name: &str| encode_key_part(&item[name]).unwrap();
        let key = item_key(table.id, &part("p"), &part("s"));
        write(&mut view, ItemWrite::plain(key, Change::Put(encode_item(item))).on(&table));
    }
    let mut scan = |source: Source, order, max_items| {
        let (mut found, mut range) = (Vec::new(), Some(source.all()));
        while let Some(part) = range.take() {
            let selection = Selection { lane: source.lane(), ..Selection::default() };
            assert_eq!(Selection::decode(&selection.encode()).unwrap(), selection);
            let read = PageRead { range: part.clone(), order, max_items, max_bytes: 1 << 20, selection };
            let Outcome::Page(page) = ready(run(&mut view, &Operation::ReadPage(Box::new(read)))).unwrap() else {
                panic!("not a page");
            };
            assert!(page.scanned <= max_items && page.items.len() == page.scanned);
            found.extend(page.items.iter().map(|record| decode_item(record).unwrap()));
            range = page.last.filter(|_| page.more).and_then(|last| behind(&part, &last, order));
        }
        found
    };
    for (order, max_items) in [(Order::Ascending, 4), (Order::Descending, 7), (Order::Ascending, 1000)] {
        assert_eq!(scan(Source::items(&table), order, max_items).len(), 30);
        let entries = scan(Source::entries(&table, &table.indexes[0]), order, max_items);
        assert!(entries.len() == 15 && entries.iter().all(|entry| entry.contains_key("a")));
    }
    // Many entries of another lane, and not one of this.
    let mut view = MemoryView::default();
    for n in 0..5000 {
        let key = keyspace::layout::dynamo(table.id, &n.to_string().into_bytes(), 2, b"");
        crate::View::put(&mut view, key, encode_item(&Item::new()));
    }
    let selection = Selection { lane: Some(1), ..Selection::default() };
    let range = Source::items(&table).all();
    let read = PageRead { range, order: Order::Ascending, max_items: 10, max_bytes: 1 << 20, selection };
    let Outcome::Page(page) = ready(run(&mut view, &Operation::ReadPage(Box::new(read)))).unwrap() else {
        panic!("not a page");
    };
    assert!(page.more && page.scanned == 0 && page.last.is_none() && page.passed.is_some());
}

fn with_table() -> (MemoryView, Table) {
    let mut view = MemoryView::new(1_000_000);
    let created = Operation::CreateTable { name: "table".into(), descriptor: table().encode() };
    let Outcome::Table(record) = ready(run(&mut view, &created)).unwrap() else { panic!("not created") };
    (view, Table::decode(&record).unwrap())
}

fn alter(view: &mut MemoryView, alteration: Alteration) -> Result<Table, (String, String)> {
    let alteration = Alteration::decode(&alteration.encode()).unwrap();
    match ready(run(view, &Operation::AlterTable { name: "table".into(), alteration })).unwrap() {
        Outcome::Table(record) => Ok(Table::decode(&record).unwrap()),
        Outcome::Fault { name, message } => Err((name, message)),
        other => panic!("{other:?}"),
    }
}

fn update(view: &mut MemoryView, indexes: Vec<IndexUpdate>) -> Result<Table, (String, String)> {
    alter(view, Alteration::Settings { billing: None, names_mode: false, deletion_protection: None, indexes })
}

fn create(name: &str) -> IndexUpdate {
    IndexUpdate::Create(index(name, &["n"], global(0), Projected::All))
}

fn delete(name: &str) -> IndexUpdate {
    IndexUpdate::Delete { name: name.into() }
}

#[test]
fn every_global_index_gets_an_id_of_its_own() {
    let mut unnumbered = table();
    for index in &mut unnumbered.indexes {
        if !index.is_local() {
            index.scope = global(0);
        }
    }
    let mut view = MemoryView::default();
    let create_table = Operation::CreateTable { name: "table".into(), descriptor: unnumbered.encode() };
    let Outcome::Table(record) = ready(run(&mut view, &create_table)).unwrap() else { panic!("not created") };
    let made = Table::decode(&record).unwrap();
    let ids: BTreeSet<TableId> = made.indexes.iter().filter_map(Index::global_id).chain([made.id]).collect();
    assert!(ids.len() == 4 && !ids.contains(&TableId(0)));
    let later = update(&mut view, vec![create("later")]).unwrap();
    assert!(!ids.contains(&later.indexes[4].global_id().unwrap()));
}

#[test]
fn one_index_is_made_or_removed_at_a_time() {
    let (mut view, _) = with_table();
    let limit = |refused: Result<Table, (String, String)>| {
        let (name, message) = refused.unwrap_err();
        assert_eq!(name, "LimitExceededException");
        assert!(message.contains("Only 1 online index can be created or deleted simultaneously per table"));
    };
    limit(update(&mut view, vec![create("one"), create("two")]));
    limit(update(&mut view, vec![create("one"), delete("by-a")]));
    let exists = update(&mut view, vec![create("by-a")]).unwrap_err();
    assert!(exists.0 == "ValidationException" && exists.1.contains("already exists"));
    let odd = IndexUpdate::Create(index("odd", &["n", "p"], global(0), Projected::All));
    assert!(update(&mut view, vec![odd]).is_ok(), "types agree");
    limit(update(&mut view, vec![create("two")]));
    limit(update(&mut view, vec![delete("by-a")]));
    assert_eq!(update(&mut view, vec![delete("none")]).unwrap_err().0, "ResourceNotFoundException");
    assert_eq!(update(&mut view, vec![delete("local")]).unwrap_err().0, "ResourceNotFoundException");
    // What is being made can be given up.
    update(&mut view, vec![delete("odd")]).unwrap();
    assert!(update(&mut view, vec![delete("by-a")]).unwrap().index("by-a").is_none());
    let kinds =
        Index { partition_key: attribute("p", KeyType::Number), ..index("x", &["p"], global(0), Projected::All) };
    assert!(update(&mut view, vec![IndexUpdate::Create(kinds)]).unwrap_err().1.contains("AttributeDefinitions"));
    for n in 0..20 {
        let Ok(made) = update(&mut view, vec![create(&format!("more-{n}"))]) else {
            assert_eq!(n, 18, "two are left of those that the table was made with");
            return;
        };
        let id = made.indexes.last().unwrap().global_id().unwrap();
        for stage in [Stage::Cleaning, Stage::Filling { up_to: Bytes::new() }, Stage::Active] {
            alter(&mut view, Alteration::Stage { index: id, stage, wait_ms: 0 }).unwrap();
        }
    }
    panic!("a table has at most 20 global indexes");
}

#[test]
fn an_index_goes_through_its_stages_in_order_and_not_too_early() {
    let (mut view, _) = with_table();
    let id = update(&mut view, vec![create("new")]).unwrap().indexes[4].global_id().unwrap();
    let lead = |view: &mut MemoryView, stage: Stage| {
        let led = alter(view, Alteration::Stage { index: id, stage, wait_ms: 500 }).unwrap();
        match led.indexes[4].scope.clone() {
            Scope::Global { stage, .. } => stage,
            Scope::Local { .. } => panic!("it is a global one"),
        }
    };
    let up_to = |key: &'static str| Stage::Filling { up_to: Bytes::from(key) };
    let announced = Stage::Announced { since_ms: 1_000_000 };
    for early in [Stage::Cleaning, Stage::Active, up_to("a")] {
        assert_eq!(lead(&mut view, early), announced);
    }
    view.advance_ms(499);
    assert_eq!(lead(&mut view, Stage::Cleaning), announced);
    view.advance_ms(1);
    assert_eq!(lead(&mut view, up_to("a")), announced, "nothing was compared yet");
    assert_eq!(lead(&mut view, Stage::Cleaning), Stage::Cleaning);
    assert_eq!(lead(&mut view, Stage::Active), Stage::Cleaning);
    assert_eq!(lead(&mut view, up_to("")), up_to(""));
    assert_eq!(lead(&mut view, up_to("b")), up_to("b"));
    assert_eq!(lead(&mut view, up_to("a")), up_to("b"), "it never goes back");
    assert_eq!(lead(&mut view, Stage::Active), Stage::Active);
    assert_eq!(lead(&mut view, Stage::Cleaning), Stage::Active);
    let gone = Alteration::Stage { index: TableId(77), stage: Stage::Active, wait_ms: 0 };
    assert_eq!(alter(&mut view, gone).unwrap_err().0, "ResourceNotFoundException");
}

#[test]
fn indexes_are_paid_for_as_their_table_is() {
    let (mut view, _) = with_table();
    let provisioned = Billing::Provisioned { read: 1, write: 2 };
    let settings = |billing, indexes| Alteration::Settings {
        billing: Some(billing),
        names_mode: true,
        deletion_protection: None,
        indexes,
    };
    let refused = alter(&mut view, settings(provisioned, Vec::new())).unwrap_err().1;
    assert!(refused.contains("ProvisionedThroughput must be specified for index: by-a"));
    let named = ["by-a", "by-a-n", "by-s"];
    let paid = |name: &&str| IndexUpdate::Billing { name: name.to_string(), billing: provisioned };
    let paid = alter(&mut view, settings(provisioned, named.iter().map(paid).collect())).unwrap();
    let billings = |table: &Table| -> Vec<Billing> {
        let billing = |index: &Index| match index.scope {
            Scope::Global { billing, .. } => Some(billing),
            Scope::Local { .. } => None,
        };
        table.indexes.iter().filter_map(billing).collect()
    };
    assert_eq!(billings(&paid), [provisioned; 3]);
    let same = IndexUpdate::Billing { name: "by-a".into(), billing: provisioned };
    assert!(update(&mut view, vec![same]).unwrap_err().1.contains("will not change"));
    let free = alter(&mut view, settings(Billing::PayPerRequest, Vec::new())).unwrap();
    assert_eq!(billings(&free), [Billing::PayPerRequest; 3]);
}

/// What a condition on sort keys says of a value.
fn holds(test: &KeyTest, value: &AttributeValue) -> bool {
    let at = |other: &AttributeValue| compare(value, other).unwrap();
    match test {
        KeyTest::Compare(Comparator::Equal, other) => at(other).is_eq(),
        KeyTest::Compare(Comparator::NotEqual, other) => at(other).is_ne(),
        KeyTest::Compare(Comparator::Less, other) => at(other).is_lt(),
        KeyTest::Compare(Comparator::LessOrEqual, other) => at(other).is_le(),
        KeyTest::Compare(Comparator::Greater, other) => at(other).is_gt(),
        KeyTest::Compare(Comparator::GreaterOrEqual, other) => at(other).is_ge(),
        KeyTest::Between(lower, upper) => at(lower).is_ge() && at(upper).is_le(),
        KeyTest::BeginsWith(prefix) => match (value, prefix) {
            (AttributeValue::S(text), AttributeValue::S(prefix)) => text.starts_with(prefix.as_str()),
            _ => false,
        },
    }
}

fn key_tests() -> impl Strategy<Value = KeyTest> {
    let value = "[ab\0é]{0,3}".prop_map(|value| text(&value));
    let comparator = prop::sample::select(
        Comparator::ALL.into_iter().filter(|known| *known != Comparator::NotEqual).collect::<Vec<_>>(),
    );
    prop_oneof![
        (comparator, value.clone()).prop_map(|(comparator, value)| KeyTest::Compare(comparator, value)),
        (value.clone(), value.clone()).prop_map(|(lower, upper)| KeyTest::Between(lower, upper)),
        value.prop_map(KeyTest::BeginsWith),
    ]
}

/// A write of one of a few items.
#[derive(Clone, Debug)]
enum Deed {
    Put(Option<u8>, Option<i64>, Option<u8>),
    Delete,
    Update(&'static str),
}

fn deeds() -> impl Strategy<Value = Deed> {
    let put = (prop::option::of(0..3_u8), prop::option::of(0..3_i64), prop::option::of(0..3_u8));
    const UPDATES: [&str; 6] =
        ["SET a = :a", "SET a = :b, n = :1", "REMOVE a", "REMOVE n, x", "ADD n :1", "SET x = :a"];
    prop_oneof![
        put.prop_map(|(a, n, x)| Deed::Put(a, n, x)),
        Just(Deed::Delete),
        prop::sample::select(&UPDATES[..]).prop_map(Deed::Update),
    ]
}

proptest! {
    #[test]
    fn a_range_of_sort_keys_holds_those_of_which_the_test_is_true(
        test in key_tests(), value in "[ab\0é]{1,4}", behind in "[ab\0é]{1,3}",
    ) {
        let table = table();
        let item = item_of("p", &value, Some(&value), None, None);
        let partition = encode_key_part(&text("p")).unwrap();
        let items = Source::items(&Table { indexes: Vec::new(), ..table.clone() });
        let local = Source::entries(&table, &table.indexes[0]);
        // Behind the value stands the item's own sort key.
        let behind = item_of("p", &behind, Some(&value), None, None);
        let entry = table.indexes[0].entry_key(&table, &behind).unwrap();
        for (source, key) in [(items, key("p", &value)), (local, entry)] {
            let range = source.sorted(&partition, &test);
            prop_assert_eq!(range.is_some_and(|range| range.contains(&key)), holds(&test, &item["a"]));
            prop_assert!(source.partition(&partition).contains(&key) && source.all().contains(&key));
            prop_assert!(!source.partition(&encode_key_part(&text("pp")).unwrap()).contains(&key));
        }
    }

    #[test]
    fn entries_lie_in_the_order_of_their_sort_attribute(
        values in prop::collection::vec((-3..3_i64, "[ab\0]{1,2}"), 2..8),
    ) {
        let table = table();
        let index = &table.indexes[2];
        let mut items: Vec<Item> = values.iter().map(|(n, s)| item_of("p", s, Some("a"), Some(*n), None)).collect();
        items.sort_by_key(|item| index.entry_key(&table, item));
        let numbers: Vec<_> = items.iter().map(|item| match &item["n"] {
            AttributeValue::N(number) => *number,
            other => panic!("{other:?}"),
        }).collect();
        prop_assert!(numbers.is_sorted());
    }

    /// After any writes the store holds what its items imply, and nothing else.
    #[test]
    fn indexes_hold_what_the_items_imply(deeds in prop::collection::vec((0..3_u8, 0..2_u8, deeds()), 1..40)) {
        let table = Arc::new(table());
        let mut view = MemoryView::default();
        for (p, s, deed) in deeds {
            let (p, s) = (p.to_string(), s.to_string());
            let letter = |n: Option<u8>| n.map(|n| ["a", "b", "a\0"][usize::from(n)]);
            let change = match deed {
                Deed::Put(a, n, x) => Change::Put(encode_item(&item_of(&p, &s, letter(a), n, letter(x)))),
                Deed::Delete => Change::Delete,
                Deed::Update(update) => {
                    let values = item(&[(":a", text("a")), (":b", text("b")), (":1", number(1))]);
                    let values: Item = values.into_iter().filter(|(name, _)| update.contains(name.as_str())).collect();
                    let update = parse_update(update, &mut Placeholders::new(BTreeMap::new(), values)).unwrap();
                    Change::Update { key_attributes: item_of(&p, &s, None, None, None), update }
                }
            };
            write(&mut view, ItemWrite::plain(key(&p, &s), change).on(&table));
            let records = stored(&view);
            let is_item = |key: &&Bytes| key_attributes(&table, key).is_some();
            let items: Vec<Item> = records.keys().filter(is_item).map(|key| decode_item(&records[key]).unwrap()).collect();
            prop_assert_eq!(&implied(&table, &items), &records);
        }
    }
}
