//! Items and their entries: what writes do to indexes, what Query and Scan read of them, how they are filled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use commands::dynamo::record::decode_item;
use commands::dynamo::{AttributeValue, Change, Item, ItemWrite, Source, Table};
use keyspace::layout;

use super::super::expire::sweep;
use super::super::fill::Filler;
use super::api::script;
use super::*;

/// Keys `p` and `s`; a local index on `a`, a global one on `a` (all), one on `a` and `n` (including `x`), one on `n`.
const THINGS: &str = r#"{"TableName":"things","BillingMode":"PAY_PER_REQUEST",
    "KeySchema":[{"AttributeName":"p","KeyType":"HASH"},{"AttributeName":"s","KeyType":"RANGE"}],
    "AttributeDefinitions":[{"AttributeName":"p","AttributeType":"S"},{"AttributeName":"s","AttributeType":"S"},
        {"AttributeName":"a","AttributeType":"S"},{"AttributeName":"n","AttributeType":"N"}],
    "LocalSecondaryIndexes":[{"IndexName":"local","Projection":{"ProjectionType":"KEYS_ONLY"},
        "KeySchema":[{"AttributeName":"p","KeyType":"HASH"},{"AttributeName":"a","KeyType":"RANGE"}]}],
    "GlobalSecondaryIndexes":[
        {"IndexName":"by-a","Projection":{"ProjectionType":"ALL"},
            "KeySchema":[{"AttributeName":"a","KeyType":"HASH"}]},
        {"IndexName":"by-a-n","Projection":{"ProjectionType":"INCLUDE","NonKeyAttributes":["x"]},
            "KeySchema":[{"AttributeName":"a","KeyType":"HASH"},{"AttributeName":"n","KeyType":"RANGE"}]},
        {"IndexName":"by-n","Projection":{"ProjectionType":"KEYS_ONLY"},
            "KeySchema":[{"AttributeName":"n","KeyType":"HASH"},{"AttributeName":"p","KeyType":"RANGE"}]}]}"#;

async fn things() -> Server {
    let server = Server::start().await;
    assert_eq!(server.call("CreateTable", THINGS).await.status, 200);
    server
}

fn of_things(members: &str) -> String {
    format!(r#"{{"TableName":"things",{members}}}"#)
}

fn item(p: &str, s: &str, more: &str) -> String {
    format!(r#"{{"p":{{"S":"{p}"}},"s":{{"S":"{s}"}}{more}}}"#)
}

fn put(p: &str, s: &str, more: &str) -> String {
    of_things(&format!(r#""Item":{}"#, item(p, s, more)))
}

fn a(a: &str) -> String {
    format!(r#","a":{{"S":"{a}"}}"#)
}

fn a_n(value: &str, n: i64) -> String {
    format!(r#"{},"n":{{"N":"{n}"}}"#, a(value))
}

impl Server {
    async fn ok(&self, operation: &str, body: &str) -> String {
        let reply = self.call(operation, body).await;
        assert_eq!(reply.status, 200, "{operation} {body}: {}", reply.body);
        reply.body
    }

    /// A table by its name, as the store has it.
    fn table(&self, name: &str) -> Table {
        let view = self.store.view.lock().unwrap();
        Table::decode(&view.records()[&layout::table_descriptor(name)[..]].value).unwrap()
    }

    /// Asserts that every index holds what the items imply.
    fn assert_indexed(&self, name: &str) {
        let table = self.table(name);
        let view = self.store.view.lock().unwrap();
        let held = |source: Source| -> BTreeMap<Vec<u8>, Item> {
            let inside = view.records().iter().filter(|(key, _)| source.all().contains(key));
            let own =
                inside.filter(|(key, _)| source.lane().is_none_or(|lane| commands::dynamo::lane_of(key) == Some(lane)));
            own.map(|(key, record)| (key.to_vec(), decode_item(&record.value).unwrap())).collect()
        };
        let items = held(Source::items(&table));
        for index in &table.indexes {
            let entry = |item: &Item| {
                let kept = item.iter().filter(|(name, _)| index.projects(&table, name));
                let kept = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
                Some((index.entry_key(&table, item)?.to_vec(), kept))
            };
            let implied: BTreeMap<Vec<u8>, Item> = items.values().filter_map(entry).collect();
            assert_eq!(held(Source::entries(&table, index)), implied, "{}", index.name);
        }
    }
}

/// The sort keys of items, in order.
fn found(body: &str) -> Vec<String> {
    body.split(r#""s":{"S":""#).skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect()
}

/// A Query of an index.
fn query(index: &str, condition: &str, values: &str, more: &str) -> String {
    of_things(&format!(
        r#""IndexName":"{index}","KeyConditionExpression":"{condition}","ExpressionAttributeValues":{{{values}}}{more}"#
    ))
}

const A: &str = r#"":a":{"S":"a"}"#;
const P: &str = r#"":p":{"S":"p"}"#;

#[tokio::test]
async fn every_kind_of_write_keeps_the_indexes() {
    let server = things().await;
    let key = |p: &str, s: &str| format!(r#""Key":{}"#, item(p, s, ""));
    let values = r#","ExpressionAttributeValues":{":a":{"S":"b"}}"#;
    let expired = r#","at":{"N":"1699999000"}"#;
    let batch = format!(
        r#"{{"RequestItems":{{"things":[{{"PutRequest":{{"Item":{}}}}},{{"DeleteRequest":{{{}}}}}]}}}}"#,
        item("p", "4", &a_n("a", 4)),
        key("p", "2")
    );
    let transaction = format!(
        r#"{{"ClientRequestToken":"one","TransactItems":[{{"Put":{}}},{{"Update":{}}},{{"Delete":{}}}]}}"#,
        put("q", "1", &a_n("a", 9)),
        of_things(&format!(
            r#"{},"UpdateExpression":"SET n = :n","ExpressionAttributeValues":{{":n":{{"N":"7"}}}}"#,
            key("p", "1")
        )),
        of_things(&key("p", "3")),
    );
    let enable = of_things(r#""TimeToLiveSpecification":{"AttributeName":"at","Enabled":true}"#);
    let steps: Vec<(&str, String, Vec<&str>)> = vec![
        ("PutItem", put("p", "1", &a_n("a", 1)), vec!["1"]),
        ("PutItem", put("p", "2", &a("a")), vec!["1", "2"]),
        ("PutItem", put("p", "3", &a("b")), vec!["1", "2"]),
        ("UpdateItem", of_things(&format!(r#"{},"UpdateExpression":"SET a = :a"{values}"#, key("p", "1"))), vec!["2"]),
        (
            "UpdateItem",
            of_things(&format!(r#"{},"AttributeUpdates":{{"a":{{"Action":"DELETE"}}}}"#, key("p", "1"))),
            vec!["2"],
        ),
        ("PutItem", put("p", "1", &a("a")), vec!["1", "2"]),
        ("BatchWriteItem", batch, vec!["1", "4"]),
        ("TransactWriteItems", transaction.clone(), vec!["1", "1", "4"]),
        ("TransactWriteItems", transaction, vec!["1", "1", "4"]),
        ("DeleteItem", of_things(&key("p", "4")), vec!["1", "1"]),
        ("PutItem", put("p", "5", &format!("{}{expired}", a("a"))), vec!["1", "1", "5"]),
        ("UpdateTimeToLive", enable, vec!["1", "1", "5"]),
    ];
    for (operation, body, expected) in steps {
        server.ok(operation, &body).await;
        server.assert_indexed("things");
        let mut by_a = found(&server.ok("Query", &query("by-a", "a = :a", A, "")).await);
        by_a.sort_unstable();
        assert_eq!(by_a, expected, "{operation} {body}");
    }
    assert_eq!(sweep(&server.store, 1_700_000_000, Duration::ZERO).await, Ok(1));
    server.assert_indexed("things");
    assert_eq!(found(&server.ok("Query", &query("by-a", "a = :a", A, "")).await), ["1", "1"]);
    server.stop().await;
}

#[tokio::test]
async fn what_an_index_cannot_hold_is_not_written() {
    let server = things().await;
    let update = |value: &str| {
        of_things(&format!(
            r#""Key":{},"UpdateExpression":"SET a = :a","ExpressionAttributeValues":{{":a":{value}}}"#,
            item("p", "1", "")
        ))
    };
    let put_odd = put("p", "1", r#","a":{"N":"1"}"#);
    let mismatch = "~One or more parameter values were invalid: Type mismatch for Index Key a Expected: S Actual: N IndexName: local";
    let empty = "~A value specified for a secondary index key is not supported. The AttributeValue for a key attribute \
                 cannot contain an empty string value. IndexName: local, IndexKey: a";
    let empty_update =
        "~The update expression attempted to update a secondary index key to a value that is not supported.";
    let batch = format!(
        r#"{{"RequestItems":{{"things":[{{"PutRequest":{{{}}}}}]}}}}"#,
        &put_odd[r#"{"TableName":"things","#.len()..put_odd.len() - 1]
    );
    let transaction = format!(r#"{{"TransactItems":[{{"Put":{put_odd}}}]}}"#);
    script(
        &server,
        &[
            ("PutItem", &put_odd, 400, mismatch),
            ("PutItem", &put("p", "1", &a("")), 400, empty),
            ("UpdateItem", &update(r#"{"N":"1"}"#), 400, mismatch),
            ("UpdateItem", &update(r#"{"S":""}"#), 400, empty_update),
            ("BatchWriteItem", &batch, 400, mismatch),
            ("TransactWriteItems", &transaction, 400, "~Type mismatch for Index Key a"),
            ("Scan", &of_things(r#""Select":"COUNT""#), 200, r#"{"Count":0,"ScannedCount":0}"#),
        ],
    )
    .await;
    server.stop().await;
}

/// Twelve items in two partitions, all with `a`, of which the even ones have `n`.
async fn twelve() -> Server {
    let server = things().await;
    for n in 0..12 {
        let more = if n % 2 == 0 { a_n("a", n) } else { a("a") };
        let more = format!(r#"{more},"x":{{"S":"x{n}"}},"y":{{"S":"y{n}"}}"#);
        server.ok("PutItem", &put(if n < 6 { "p" } else { "q" }, &format!("{n:02}"), &more)).await;
    }
    server.assert_indexed("things");
    server
}

#[tokio::test]
async fn pages_of_an_index_go_through_all_of_it_in_order() {
    let server = twelve().await;
    let evens = ["00", "02", "04", "06", "08", "10"];
    for (forward, limit) in [(true, 1), (true, 4), (false, 3), (true, 100)] {
        for (index, condition, values) in [("by-a-n", "a = :a", A), ("by-a", "a = :a", A), ("local", "p = :p", P)] {
            let mut all = Vec::new();
            let mut start = String::new();
            loop {
                let more = format!(r#","Limit":{limit},"ScanIndexForward":{forward}{start}"#);
                let page = server.ok("Query", &query(index, condition, values, &more)).await;
                let (items, last) =
                    page.split_once(r#""LastEvaluatedKey":"#).map_or((&*page, None), |(a, b)| (a, Some(b)));
                all.extend(found(items));
                let Some(last) = last else { break };
                let (last, _) = last.split_once(r#","ScannedCount""#).unwrap();
                start = format!(r#","ExclusiveStartKey":{last}"#);
            }
            let mut expected: Vec<String> = match index {
                "by-a-n" => evens.map(str::to_owned).into(),
                "by-a" => (0..12).map(|n| format!("{n:02}")).collect(),
                _ => (0..6).map(|n| format!("{n:02}")).collect(),
            };
            if !forward {
                expected.reverse();
            }
            assert_eq!(all, expected, "{index} {limit} {forward}");
        }
    }
    // Scans, whole and in segments, of the table and of its indexes, each record once.
    for (index, expected) in [("", 12), ("local", 12), ("by-a", 12), ("by-a-n", 6), ("by-n", 6)] {
        let name = if index.is_empty() { String::new() } else { format!(r#","IndexName":"{index}""#) };
        for (limit, segments) in [(5, 1), (2, 3), (1000, 1)] {
            let mut all = Vec::new();
            for segment in 0..segments {
                let mut start = String::new();
                loop {
                    let body = of_things(&format!(
                        r#""Limit":{limit},"Segment":{segment},"TotalSegments":{segments}{name}{start}"#
                    ));
                    let page = server.ok("Scan", &body).await;
                    let (items, last) =
                        page.split_once(r#""LastEvaluatedKey":"#).map_or((&*page, None), |(a, b)| (a, Some(b)));
                    all.extend(found(items));
                    let Some(last) = last else { break };
                    let (last, _) = last.split_once(r#","ScannedCount""#).unwrap();
                    start = format!(r#","ExclusiveStartKey":{last}"#);
                }
            }
            assert_eq!(all.len(), expected, "{index} {limit}");
            assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), expected, "{index} {limit}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn an_index_answers_what_it_holds_and_no_more() {
    let server = twelve().await;
    let n4 = r#"":a":{"S":"a"},":n":{"N":"4"}"#;
    let one = |index: &str, more: &str| query(index, "a = :a AND n = :n", n4, more);
    let included = r#"~"Items":[{"a":{"S":"a"},"n":{"N":"4"},"p":{"S":"p"},"s":{"S":"04"},"x":{"S":"x4"}}]"#;
    let p_a = r#"":p":{"S":"p"},":a":{"S":"a"}"#;
    let local = |more: &str| query("local", "p = :p AND a = :a", p_a, &format!(r#","Limit":1{more}"#));
    let filter_y = r#","FilterExpression":"y = :y""#;
    let with_y = |index: &str, condition: &str, values: &str, more: &str| {
        query(index, condition, &format!(r#"{values},":y":{{"S":"y4"}}"#), &format!("{filter_y}{more}"))
    };
    let capacity = |kind: &str| format!(r#","ReturnConsumedCapacity":"{kind}""#);
    script(
        &server,
        &[
            ("Query", &one("by-a-n", ""), 200, included),
            ("Query", &one("by-a-n", r#","Select":"ALL_PROJECTED_ATTRIBUTES""#), 200, included),
            ("Query", &one("by-a-n", r#","Select":"COUNT""#), 200, r#"{"Count":1,"ScannedCount":1}"#),
            ("Query", &one("by-a-n", r#","ProjectionExpression":"x""#), 200, r#"~"Items":[{"x":{"S":"x4"}}]"#),
            ("Query", &one("by-a-n", r#","ProjectionExpression":"x, y""#), 400, "~Global secondary index by-a-n does not project [y]"),
            ("Query", &one("by-a-n", r#","Select":"ALL_ATTRIBUTES""#), 400, "~Select type ALL_ATTRIBUTES is not supported for global secondary index by-a-n because its projection type is not ALL"),
            ("Query", &query("by-a", "a = :a", A, r#","Select":"ALL_ATTRIBUTES","Limit":1"#), 200, r#"~"y":{"S":"y"#),
            ("Query", &one("by-a-n", r#","ConsistentRead":true"#), 400, "~Consistent reads are not supported on global secondary indexes"),
            ("Scan", &of_things(r#""IndexName":"by-a","ConsistentRead":true"#), 400, "~Consistent reads are not supported on global secondary indexes"),
            ("Query", &query("none", "a = :a", A, ""), 400, "~The table does not have the specified index: none"),
            ("Query", &query("by-a", "p = :p", P, ""), 400, "~Query condition missed key schema element: a"),
            ("Query", &with_y("by-a-n", "a = :a", A, ""), 400, "~Secondary index by-a-n does not project one or more filter attributes: [y]"),
            ("Query", &query("by-a", "a = :a", A, r#","FilterExpression":"a = :a""#), 400, "~Primary key attribute: a"),
            ("Query", &query("by-a", "a = :a", &format!("{A},{P}"), r#","FilterExpression":"p = :p","Select":"COUNT""#), 200, r#"{"Count":6,"ScannedCount":12}"#),
            ("Query", &local(r#","ConsistentRead":true"#), 200, r#"~"Items":[{"a":{"S":"a"},"p":{"S":"p"},"s":{"S":"00"}}]"#),
            ("Query", &local(r#","Select":"ALL_ATTRIBUTES""#), 200, r#"~"s":{"S":"00"},"x":{"S":"x0"},"y":{"S":"y0"}}]"#),
            ("Query", &local(r#","ProjectionExpression":"y""#), 200, r#"~"Items":[{"y":{"S":"y0"}}]"#),
            ("Query", &with_y("local", "p = :p AND a = :a", p_a, ""), 200, r#"{"Count":1,"Items":[{"a":{"S":"a"},"p":{"S":"p"},"s":{"S":"04"}}],"ScannedCount":6}"#),
            ("Scan", &of_things(r#""IndexName":"local","Select":"ALL_ATTRIBUTES""#), 200, r#"~"y":{"S":"y11"}"#),
            ("Scan", &of_things(r#""Select":"ALL_PROJECTED_ATTRIBUTES""#), 400, "~can be used only when Querying using an IndexName"),
            ("Query", &one("by-a-n", r#","ExclusiveStartKey":{"a":{"S":"a"},"n":{"N":"4"},"p":{"S":"p"}}"#), 400, "~The provided starting key is invalid: The provided key element does not match the schema"),
            ("Query", &one("by-a-n", r#","ExclusiveStartKey":{"a":{"S":"a"},"n":{"N":"4"},"p":{"S":"p"},"s":{"S":"04"},"x":{"S":"x"}}"#), 400, "~The provided starting key is invalid"),
            ("Query", &one("by-a-n", r#","ExclusiveStartKey":{"a":{"S":"b"},"n":{"N":"4"},"p":{"S":"p"},"s":{"S":"04"}}"#), 400, "~outside query boundaries"),
            ("Query", &one("by-a-n", r#","ExclusiveStartKey":{"a":{"S":"a"},"n":{"N":"4"},"p":{"S":"p"},"s":{"S":"03"}}"#), 200, r#"~"Count":1"#),
            ("Query", &one("by-a-n", &capacity("TOTAL")), 200, r#"~"ConsumedCapacity":{"TableName":"things","CapacityUnits":0.5}"#),
            ("Query", &one("by-a-n", &capacity("INDEXES")), 200, r#"~"CapacityUnits":0.5,"Table":{"CapacityUnits":0.0},"GlobalSecondaryIndexes":{"by-a-n":{"CapacityUnits":0.5}}}"#),
            ("Query", &local(&capacity("INDEXES")), 200, r#"~"Table":{"CapacityUnits":0.0},"LocalSecondaryIndexes":{"local":{"CapacityUnits":0.5}}}"#),
            ("Query", &local(&format!(r#","Select":"ALL_ATTRIBUTES"{}"#, capacity("INDEXES"))), 200, r#"~"CapacityUnits":1.0,"Table":{"CapacityUnits":0.5},"LocalSecondaryIndexes":{"local":{"CapacityUnits":0.5}}}"#),
        ],
    )
    .await;
    let put_new =
        of_things(&format!(r#""ReturnConsumedCapacity":"INDEXES","Item":{}"#, item("p", "new", &a_n("a", 1))));
    let costs = server.ok("PutItem", &put_new).await;
    let expected = r#"{"ConsumedCapacity":{"TableName":"things","CapacityUnits":5.0,"Table":{"CapacityUnits":1.0},"LocalSecondaryIndexes":{"local":{"CapacityUnits":1.0}},"GlobalSecondaryIndexes":{"by-a":{"CapacityUnits":1.0},"by-a-n":{"CapacityUnits":1.0},"by-n":{"CapacityUnits":1.0}}}}"#;
    assert_eq!(costs, expected);
    server.stop().await;
}

const NEW: &str = r#"{"TableName":"orders","AttributeDefinitions":[{"AttributeName":"a","AttributeType":"S"}],
    "GlobalSecondaryIndexUpdates":[{"Create":{"IndexName":"by-a","Projection":{"ProjectionType":"ALL"},
        "KeySchema":[{"AttributeName":"a","KeyType":"HASH"}]}}]}"#;

fn order(p: &str, a: &str) -> String {
    format!(r#"{{"TableName":"orders","Item":{{"p":{{"S":"{p}"}},"a":{a}}}}}"#)
}

impl Server {
    /// A write of a gateway that knows the table as it was.
    fn write_as(&self, table: &Arc<Table>, p: &str, a: Option<&str>) {
        let text = |text: &str| AttributeValue::S(text.into());
        let part = commands::dynamo::key::encode_key_part(&text(p)).unwrap();
        let key = commands::dynamo::key::item_key(table.id, &part, b"");
        let item: Item = [("p", Some(p)), ("a", a)]
            .into_iter()
            .filter_map(|(name, value)| Some((name.into(), text(value?))))
            .collect();
        let change =
            if a.is_some() { Change::Put(commands::dynamo::record::encode_item(&item)) } else { Change::Delete };
        let write = ItemWrite::plain(key, change).on(table);
        let command = commands::Command::Dynamo(Operation::WriteItem(Box::new(write)));
        self.store.view.lock().unwrap().run(&command).unwrap();
    }
}

#[tokio::test]
async fn an_index_on_a_table_that_exists_is_filled_whoever_wrote_meanwhile() {
    let server = Server::start().await;
    server.ok("CreateTable", ORDERS).await;
    for n in 0..150 {
        server.ok("PutItem", &order(&format!("old-{n}"), r#"{"S":"a"}"#)).await;
    }
    // Of a type that the index will not hold.
    server.ok("PutItem", &order("odd", r#"{"N":"1"}"#)).await;
    let before = Arc::new(server.table("orders"));
    server.ok("UpdateTable", NEW).await;
    let known = Arc::new(server.table("orders"));
    let filler = Filler { store: server.store.clone(), announced_for: Duration::from_secs(60) };
    let status = async |expected: &str| {
        let described = server.ok("DescribeTable", r#"{"TableName":"orders"}"#).await;
        assert!(described.contains(expected), "{described}");
    };
    let query = r#"{"TableName":"orders","IndexName":"by-a","Select":"COUNT","KeyConditionExpression":"a = :a",
                    "ExpressionAttributeValues":{":a":{"S":"a"}}}"#;
    // One knows the index and the other does not, in both orders.
    server.write_as(&known, "old-1", Some("b"));
    server.write_as(&before, "old-1", Some("c"));
    server.write_as(&before, "old-2", Some("b"));
    server.write_as(&known, "old-2", Some("c"));
    server.write_as(&known, "new", Some("a"));
    server.write_as(&before, "new", None);
    filler.turn(1).await.unwrap();
    status(r#""IndexStatus":"CREATING","Backfilling":false"#).await;
    let reply = server.call("Query", query).await;
    assert!(reply.body.contains("Cannot read from backfilling global secondary index: by-a"), "{}", reply.body);
    let mismatch = server.call("PutItem", &order("x", r#"{"N":"1"}"#)).await;
    assert!(mismatch.body.contains("Type mismatch for Index Key a"), "{}", mismatch.body);

    server.store.view.lock().unwrap().advance_ms(60_000);
    filler.turn(1).await.unwrap();
    status(r#""IndexStatus":"CREATING","Backfilling":false"#).await;
    // The first turn is taken; in the next one it is filled.
    filler.turn(2).await.unwrap();
    status(r#""IndexStatus":"ACTIVE""#).await;
    server.assert_indexed("orders");
    assert_eq!(server.ok("Query", query).await, r#"{"Count":148,"ScannedCount":148}"#);
    // The item that the index does not hold may change otherwise.
    let update = r#"{"TableName":"orders","Key":{"p":{"S":"odd"}},"UpdateExpression":"SET z = :z",
                     "ExpressionAttributeValues":{":z":{"N":"1"}}}"#;
    server.ok("UpdateItem", update).await;
    server.assert_indexed("orders");
    server.stop().await;
}

#[tokio::test]
async fn another_gateway_goes_on_where_one_died() {
    let server = Server::start().await;
    server.ok("CreateTable", ORDERS).await;
    for n in 0..40 {
        server.ok("PutItem", &order(&format!("old-{n}"), r#"{"S":"a"}"#)).await;
    }
    server.ok("UpdateTable", NEW).await;
    server.store.view.lock().unwrap().advance_ms(60_000);
    let filler = Filler { store: server.store.clone(), announced_for: Duration::from_secs(60) };
    // Each one comes a few steps further, and dies.
    let mut died = 0;
    for turn in 0..40 {
        *server.store.left.lock().unwrap() = Some(turn);
        died += usize::from(filler.turn(turn as u64).await.is_err());
    }
    *server.store.left.lock().unwrap() = None;
    assert!(died > 10, "{died}");
    filler.turn(100).await.unwrap();
    server.assert_indexed("orders");
    assert!(server.table("orders").indexes[0].is_active());
    // Gone is gone, and a new one of the name begins anew.
    server
        .ok("UpdateTable", r#"{"TableName":"orders","GlobalSecondaryIndexUpdates":[{"Delete":{"IndexName":"by-a"}}]}"#)
        .await;
    server.ok("PutItem", &order("old-1", r#"{"S":"z"}"#)).await;
    server.ok("UpdateTable", NEW).await;
    server.store.view.lock().unwrap().advance_ms(60_000);
    filler.turn(101).await.unwrap();
    server.assert_indexed("orders");
    assert!(server.table("orders").indexes[0].is_active());
    server.stop().await;
}
