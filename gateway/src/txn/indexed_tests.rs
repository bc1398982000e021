//! Writes on items of tables with indexes: an item in one group, its entries in another, or all in one.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use commands::dynamo::expression::{Placeholders, Purpose, parse_condition, parse_update};
use commands::dynamo::index::{Projected, Scope, Stage};
use commands::dynamo::key::{KeyType, encode_key_part, item_key};
use commands::dynamo::record::encode_item;
use commands::dynamo::table::{Billing, KeyAttribute};
use commands::dynamo::{self, AttributeValue, Change, Index, Item, ItemWrite, Operation, Table};
use keyspace::{TableId, layout};

use super::tests::{Cluster, cluster_divided_at};
use super::*;

const TABLE: TableId = TableId(1);
const INDEX: TableId = TableId(2);

/// Partition key `p`, and an index on `a`.
fn table() -> Arc<Table> {
    let attribute = |name: &str| KeyAttribute { name: name.into(), kind: KeyType::Text };
    let scope = Scope::Global { id: INDEX, stage: Stage::Active, billing: Billing::PayPerRequest };
    let index = Index {
        name: "by-a".into(),
        scope,
        partition_key: attribute("a"),
        sort_key: None,
        projection: Projected::KeysOnly,
    };
    Arc::new(Table {
        id: TABLE,
        uuid: [0; 16],
        created_ms: 0,
        name: "table".into(),
        arn: "arn".into(),
        partition_key: attribute("p"),
        sort_key: None,
        billing: Billing::PayPerRequest,
        deletion_protection: false,
        tags: BTreeMap::new(),
        time_to_live: None,
        indexes: vec![index],
    })
}

fn item(p: &str, a: Option<&str>) -> Item {
    let text = |text: &str| AttributeValue::S(text.into());
    let p = Item::from([("p".to_owned(), text(p))]);
    p.into_iter().chain(a.map(|a| ("a".to_owned(), text(a)))).collect()
}

fn key(p: &str) -> Bytes {
    item_key(TABLE, &encode_key_part(&AttributeValue::S(p.into())).unwrap(), b"")
}

fn entry(p: &str, a: &str) -> Bytes {
    let table = table();
    table.indexes[0].entry_key(&table, &item(p, Some(a))).unwrap()
}

fn plain(p: &str, change: Change) -> ItemWrite {
    ItemWrite::plain(key(p), change).on(&table())
}

fn put(p: &str, a: Option<&str>) -> ItemWrite {
    plain(p, Change::Put(encode_item(&item(p, a))))
}

fn update(p: &str, text: &str) -> ItemWrite {
    let values = [(":a", "a"), (":b", "b")].map(|(name, value)| (name.to_owned(), AttributeValue::S(value.into())));
    let used = values.into_iter().filter(|(name, _)| text.contains(name.as_str())).collect();
    let update = parse_update(text, &mut Placeholders::new(BTreeMap::new(), used)).unwrap();
    plain(p, Change::Update { key_attributes: item(p, None), update })
}

fn mend(p: &str, stale: Option<&str>) -> ItemWrite {
    plain(p, Change::Mend { index: INDEX, stale: stale.map(|a| entry(p, a)) })
}

fn part(write: ItemWrite) -> Part {
    Part { units: vec![write.key.clone()], command: Command::Dynamo(Operation::WriteItem(Box::new(write))) }
}

async fn write(cluster: &Cluster, writes: Vec<ItemWrite>) -> Vec<Outcome> {
    let work = Work::new(writes.into_iter().map(part).collect(), Vec::new());
    cluster.transactions.run(0, work.all_or_none()).await.unwrap()
}

/// Which of these keys are there.
async fn present(cluster: &Cluster, keys: impl IntoIterator<Item = Bytes>) -> BTreeSet<Bytes> {
    let keys: Vec<Bytes> = keys.into_iter().collect();
    let get = |key: &Bytes| Part {
        command: Command::Dynamo(Operation::GetItem { key: key.clone(), projection: None }),
        units: vec![key.clone()],
    };
    let found = cluster.transactions.run(0, Work::new(keys.iter().map(get).collect(), Vec::new())).await.unwrap();
    let is_there = |outcome: &Outcome| matches!(outcome, Outcome::Dynamo(dynamo::Outcome::Item(_)));
    keys.into_iter().zip(found).filter(|(_, outcome)| is_there(outcome)).map(|(key, _)| key).collect()
}

/// Items are of group 1, entries of group 2.
async fn apart() -> Cluster {
    cluster_divided_at(layout::dynamo_table(INDEX)).await
}

fn any_step(_: &proto::wire::transact::Step) -> bool {
    true
}

#[tokio::test]
async fn an_item_and_its_entries_change_together_wherever_they_lie() {
    for (cluster, one_group) in [(apart().await, false), (cluster_divided_at(b"z".to_vec()).await, true)] {
        let all = || [key("1"), key("2"), entry("1", "a"), entry("1", "b"), entry("2", "a"), entry("2", "b")];
        let done = [Outcome::Dynamo(dynamo::Outcome::None)];
        for (writes, expected) in [
            (vec![put("1", Some("a"))], vec![key("1"), entry("1", "a")]),
            (vec![update("1", "SET a = :b")], vec![key("1"), entry("1", "b")]),
            (vec![update("1", "REMOVE a")], vec![key("1")]),
            (
                vec![put("1", Some("b")), put("2", Some("b"))],
                vec![key("1"), key("2"), entry("1", "b"), entry("2", "b")],
            ),
            (vec![plain("1", Change::Delete), update("2", "SET a = :a")], vec![key("2"), entry("2", "a")]),
        ] {
            let outcomes = write(&cluster, writes).await;
            assert!(outcomes.iter().all(|outcome| *outcome == done[0]), "{outcomes:?}");
            cluster.unlocked().await;
            assert_eq!(present(&cluster, all()).await, expected.into_iter().collect());
        }
        // One refusal, and neither item nor entry of the other changes.
        let mut placeholders = Placeholders::new(BTreeMap::new(), Item::new());
        let absent = parse_condition(Purpose::Condition, "attribute_not_exists(p)", &mut placeholders).unwrap();
        let refused = ItemWrite { condition: Some(absent), ..put("2", Some("b")) };
        let outcomes = write(&cluster, vec![put("1", Some("a")), refused]).await;
        assert_eq!(outcomes[1], Outcome::Dynamo(dynamo::Outcome::ConditionFailed { item: None }));
        cluster.unlocked().await;
        assert_eq!(present(&cluster, all()).await, [key("2"), entry("2", "a")].into());
        assert_eq!(cluster.steps(any_step) == 0, one_group, "in one group there is nothing to prewrite");
    }
}

#[tokio::test]
async fn writers_of_the_same_items_and_a_filler_leave_what_the_items_imply() {
    let cluster = Arc::new(apart().await);
    let writer = |seed: u64| {
        let cluster = cluster.clone();
        async move {
            let mut state = seed;
            for _ in 0..30 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let p = ["1", "2", "3"][(state >> 33) as usize % 3];
                let other = ["1", "2", "3"][((state >> 33) as usize + 1) % 3];
                let writes = match (state >> 40) % 8 {
                    0 => vec![put(p, Some("a"))],
                    1 => vec![put(p, Some("b")), put(other, Some("a"))],
                    2 => vec![put(p, None)],
                    3 => vec![plain(p, Change::Delete)],
                    4 => vec![update(p, "SET a = :a"), plain(other, Change::Delete)],
                    5 => vec![update(p, "SET a = :b")],
                    6 => vec![mend(p, Some("a"))],
                    _ => vec![mend(p, Some("b"))],
                };
                let work = Work::new(writes.into_iter().map(part).collect(), Vec::new());
                cluster.transactions.run(0, work.all_or_none()).await.unwrap();
            }
        }
    };
    let tasks: Vec<_> = (0..6).map(|seed| tokio::spawn(writer(seed))).collect();
    for task in tasks {
        task.await.unwrap();
    }
    cluster.unlocked().await;
    let names = || ["1", "2", "3"].into_iter();
    let gets = names().map(|p| Part {
        command: Command::Dynamo(Operation::GetItem { key: key(p), projection: None }),
        units: vec![key(p)],
    });
    let items = cluster.transactions.run(0, Work::new(gets.collect(), Vec::new())).await.unwrap();
    let mut implied = BTreeSet::new();
    for (p, outcome) in names().zip(items) {
        for a in ["a", "b"] {
            if outcome == Outcome::Dynamo(dynamo::Outcome::Item(encode_item(&item(p, Some(a))))) {
                implied.insert(entry(p, a));
            }
        }
    }
    let all = names().flat_map(|p| [entry(p, "a"), entry(p, "b")]);
    assert_eq!(present(&cluster, all).await, implied);
}

#[tokio::test]
async fn an_unknown_outcome_in_one_group_is_not_tried_again() {
    let cluster = cluster_divided_at(b"z".to_vec()).await;
    cluster.lose_answers_of_writes();
    let work = Work::new(vec![part(put("1", Some("a")))], Vec::new());
    let lost = cluster.transactions.run(0, work.all_or_none()).await;
    assert_eq!(lost, Err(RouterError::OutcomeUnknown.into()));
}
