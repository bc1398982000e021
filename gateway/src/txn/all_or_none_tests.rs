//! Writes on DynamoDB items that take effect all or not at all, in one group and in two.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use commands::dynamo::expression::{Placeholders, Purpose, parse_condition};
use commands::dynamo::key::{encode_key_part, item_key};
use commands::dynamo::record::encode_item;
use commands::dynamo::token::{self, Claim};
use commands::dynamo::{self, AttributeValue, Change, Item, ItemWrite, Operation};
use keyspace::{TableId, layout};

use super::tests::{Cluster, cluster_divided_at};
use super::*;

/// Hashes below this are of group 1.
const MIDDLE: u16 = 0x8000;

/// Item keys of one of the groups.
fn keys(upper: bool) -> impl Iterator<Item = Bytes> {
    let part = |n: u32| encode_key_part(&AttributeValue::S(n.to_string())).unwrap();
    let parts = (0..).map(part).filter(move |part| (layout::partition_hash(part) >= MIDDLE) == upper);
    parts.map(|part| item_key(TableId(1), &part, b""))
}

fn item() -> Bytes {
    encode_item(&Item::from([("p".into(), AttributeValue::Null)]))
}

/// Puts an item that may not be there yet.
fn create(key: &Bytes) -> Part {
    let mut placeholders = Placeholders::new(BTreeMap::new(), Item::new());
    let absent = parse_condition(Purpose::Condition, "attribute_not_exists(p)", &mut placeholders).unwrap();
    let write = ItemWrite { condition: Some(absent), ..ItemWrite::plain(key.clone(), Change::Put(item())) };
    Part { command: Command::Dynamo(Operation::WriteItem(Box::new(write))), units: vec![key.clone()] }
}

fn get(key: &Bytes) -> Part {
    let operation = Operation::GetItem { key: key.clone(), projection: None };
    Part { command: Command::Dynamo(operation), units: vec![key.clone()] }
}

async fn run(cluster: &Cluster, parts: Vec<Part>) -> Vec<Outcome> {
    cluster.transactions.run(0, Work::new(parts, Vec::new()).all_or_none()).await.unwrap()
}

async fn exists(cluster: &Cluster, key: &Bytes) -> bool {
    let found = cluster.transactions.run(0, Work::new(vec![get(key)], Vec::new())).await.unwrap();
    found == [Outcome::Dynamo(dynamo::Outcome::Item(item()))]
}

#[tokio::test]
async fn one_refusal_undoes_all_wherever_the_items_lie() {
    let cluster = cluster_divided_at(layout::dynamo_hash(TableId(1), MIDDLE)).await;
    let (low, high): (Vec<Bytes>, Vec<Bytes>) = (keys(false).take(4).collect(), keys(true).take(4).collect());
    let refused = Outcome::Dynamo(dynamo::Outcome::ConditionFailed { item: None });
    for (there, new, late) in [(&low[0], &low[1], &low[2]), (&low[3], &high[0], &high[1])] {
        assert!(!run(&cluster, vec![create(there), create(late)]).await.iter().any(Outcome::is_refusal));
        cluster.unlocked().await;
        assert!(exists(&cluster, there).await && exists(&cluster, late).await);
        for parts in [vec![create(there), create(new)], vec![create(new), create(there)]] {
            let outcomes = run(&cluster, parts).await;
            assert_eq!(outcomes.len(), 2);
            assert_eq!(outcomes.iter().filter(|outcome| **outcome == refused).count(), 1);
            cluster.unlocked().await;
            assert!(!exists(&cluster, new).await, "nothing of a refused transaction takes effect");
        }
        assert!(!run(&cluster, vec![create(new)]).await.iter().any(Outcome::is_refusal));
    }
}

#[tokio::test]
async fn a_token_is_claimed_with_the_writes_of_another_group_or_not_at_all() {
    let cluster = cluster_divided_at(layout::dynamo_hash(TableId(1), MIDDLE)).await;
    let low: Vec<Bytes> = keys(false).take(2).collect();
    let claim = |token: &str, content: u8| {
        let place = token::place(token);
        let claim = Claim { token: token.into(), fingerprint: [content; 32] };
        let write = ItemWrite::plain(place.clone(), Change::Claim(claim));
        Part { command: Command::Dynamo(Operation::WriteItem(Box::new(write))), units: vec![place] }
    };
    let refused = Outcome::Dynamo(dynamo::Outcome::ConditionFailed { item: None });
    assert!(!run(&cluster, vec![create(&low[0]), claim("one", 1)]).await.iter().any(Outcome::is_refusal));
    cluster.unlocked().await;
    // Sent again: the item is there, and what tells that it was this very transaction is the claim.
    let again = run(&cluster, vec![create(&low[0]), claim("one", 1)]).await;
    assert_eq!(again, [refused.clone(), refused.clone()]);
    cluster.unlocked().await;
    let other = run(&cluster, vec![create(&low[1]), claim("one", 2)]).await.pop();
    let mismatch = |name: &str| name == "IdempotentParameterMismatchException";
    assert!(matches!(other, Some(Outcome::Dynamo(dynamo::Outcome::Fault { name, .. })) if mismatch(&name)));
    cluster.unlocked().await;
    assert!(!exists(&cluster, &low[1]).await);
    // A transaction that is refused has claimed nothing.
    let failed = run(&cluster, vec![create(&low[0]), claim("two", 1)]).await;
    assert_eq!(failed[0], refused);
    cluster.unlocked().await;
    assert!(!run(&cluster, vec![create(&low[1]), claim("two", 2)]).await.iter().any(Outcome::is_refusal));
}
