//! Query and Scan, batches and transactions, as requests.

use super::api::script;
use super::*;

/// A table with a partition key `p` of text and a sort key `s` that is a number.
const EVENTS: &str = r#"{"TableName":"events","BillingMode":"PAY_PER_REQUEST",
    "KeySchema":[{"AttributeName":"p","KeyType":"HASH"},{"AttributeName":"s","KeyType":"RANGE"}],
    "AttributeDefinitions":[{"AttributeName":"p","AttributeType":"S"},{"AttributeName":"s","AttributeType":"N"}]}"#;

/// Partition `a` with sort keys 1 to `items`, each with its number also as `n`, and one item in partition `b`.
async fn events(items: u32) -> Server {
    let server = Server::start().await;
    assert_eq!(server.call("CreateTable", EVENTS).await.status, 200);
    let put = |partition: &str, n: u32| {
        format!(r#"{{"TableName":"events","Item":{{"p":{{"S":"{partition}"}},"s":{{"N":"{n}"}},"n":{{"N":"{n}"}}}}}}"#)
    };
    for n in 1..=items {
        assert_eq!(server.call("PutItem", &put("a", n)).await.status, 200);
    }
    assert_eq!(server.call("PutItem", &put("b", 1)).await.status, 200);
    server
}

/// A Query of the table with these values `:a`, `:x1` and `:x3` and further members.
fn query(condition: &str, more: &str) -> String {
    let values =
        [(":a", r#"{"S":"a"}"#), (":x1", r#"{"N":"1"}"#), (":x3", r#"{"N":"3"}"#), (":true", r#"{"BOOL":true}"#)];
    let text = format!("{condition} {more}");
    let is_part = |c: char| c.is_ascii_alphanumeric();
    let used = |name: &str| text.match_indices(name).any(|(at, _)| !text[at + name.len()..].starts_with(is_part));
    let values: Vec<String> =
        values.iter().filter(|(name, _)| used(name)).map(|(name, value)| format!(r#""{name}":{value}"#)).collect();
    format!(
        r#"{{"TableName":"events","KeyConditionExpression":"{condition}",
            "ExpressionAttributeValues":{{{}}}{more}}}"#,
        values.join(",")
    )
}

fn keys(found: &str) -> Vec<u32> {
    let sort = |part: &str| part.split('"').next().and_then(|number| number.parse().ok());
    found.split(r#""s":{"N":""#).skip(1).filter_map(sort).collect()
}

#[tokio::test]
async fn a_query_reads_what_its_key_condition_names() {
    let server = events(20).await;
    let cases = [
        ("p = :a", "", (1..=20).collect::<Vec<u32>>()),
        ("p = :a AND s < :x3", "", vec![1, 2]),
        ("p = :a AND s <= :x3", "", vec![1, 2, 3]),
        ("s > :x3 AND :a = p", "", (4..=20).collect()),
        ("p = :a AND s = :x3", "", vec![3]),
        ("p = :a AND s BETWEEN :x1 AND :x3", "", vec![1, 2, 3]),
        ("p = :a", r#","ScanIndexForward":false"#, (1..=20).rev().collect()),
        ("p = :a", r#","FilterExpression":"n <= :x3""#, vec![1, 2, 3]),
        ("p = :a AND s < :x1", "", vec![]),
    ];
    for (condition, more, expected) in cases {
        let reply = server.call("Query", &query(condition, more)).await;
        assert_eq!((reply.status, keys(&reply.body)), (200, expected), "{condition} {more}: {}", reply.body);
    }
    server.stop().await;
}

#[tokio::test]
async fn pages_of_a_query_say_where_to_go_on() {
    let server = events(5).await;
    let last = |n: u32| format!(r#""LastEvaluatedKey":{{"p":{{"S":"a"}},"s":{{"N":"{n}"}}}}"#);
    let start = |n: u32| format!(r#","ExclusiveStartKey":{{"p":{{"S":"a"}},"s":{{"N":"{n}"}}}}"#);
    let page = |more: &str| query("p = :a", more);
    let first = format!(
        r#"{{"Count":1,"Items":[{{"n":{{"N":"1"}},"p":{{"S":"a"}},"s":{{"N":"1"}}}}],{},"ScannedCount":2}}"#,
        last(2)
    );
    let counted = format!(r#"{{"Count":3,{},"ScannedCount":3}}"#, last(5));
    script(
        &server,
        &[
            ("Query", &page(r#","Limit":2,"FilterExpression":"n = :x1""#), 200, &first),
            // The limit is reached with the last item: whether there are more, the next page says.
            ("Query", &page(&format!(r#","Limit":3,"Select":"COUNT"{}"#, start(2))), 200, &counted),
            ("Query", &page(&start(5)), 200, r#"{"Count":0,"Items":[],"ScannedCount":0}"#),
            (
                "Query",
                &page(&format!(r#","ScanIndexForward":false{}"#, start(2))),
                200,
                r#"~"s":{"N":"1"}}],"ScannedCount":1}"#,
            ),
            (
                "Query",
                &page(r#","ProjectionExpression":"n","Limit":1"#),
                200,
                r#"~"Items":[{"n":{"N":"1"}}],"LastEvaluatedKey""#,
            ),
            ("Query", &page(r#","Limit":0"#), 400, "~at 'limit' failed to satisfy constraint"),
            (
                "Query",
                &page(r#","ExclusiveStartKey":{"p":{"S":"a"}}"#),
                400,
                "~The provided starting key is invalid: The provided key element does not match the schema",
            ),
            (
                "Query",
                &page(r#","ExclusiveStartKey":{"p":{"S":"b"},"s":{"N":"1"}}"#),
                400,
                "~The provided starting key is outside query boundaries based on provided conditions",
            ),
            (
                "Query",
                &query("p = :a AND s = :x3", &start(3)),
                400,
                "~The query can return at most one row and cannot be restarted",
            ),
            (
                "Query",
                &page(r#","ReturnConsumedCapacity":"TOTAL","ConsistentRead": true"#),
                200,
                r#"~"ConsumedCapacity":{"TableName":"events","CapacityUnits":1.0}"#,
            ),
        ],
    )
    .await;
    server.stop().await;
}

#[tokio::test]
async fn queries_that_make_no_sense_are_refused() {
    let server = events(1).await;
    let cases = [
        (query("s = :x1", ""), "Query condition missed key schema element: p"),
        (query("p = :a AND n = :x1", ""), "Query condition missed key schema element: s"),
        (query("p > :a", ""), "Query key condition not supported"),
        (query("p = :a AND s <> :x1", ""), "Invalid operator used in KeyConditionExpression: <>"),
        (query("p = :a OR s = :x1", ""), "Invalid operator used in KeyConditionExpression: OR"),
        (query("p = :x1", ""), "Condition parameter type does not match schema type"),
        (query("p = :a AND begins_with(s, :a)", ""), "Condition parameter type does not match schema type"),
        (
            query("p = :a", r#","FilterExpression":"s = :x1""#),
            "Filter Expression can only contain non-primary key attributes: Primary key attribute: s",
        ),
        (query("p = :a", r#","IndexName":"by-n""#), "The table does not have the specified index: by-n"),
        (query("p = :a", r#","Select":"SPECIFIC_ATTRIBUTES""#), "when choosing to get SPECIFIC_ATTRIBUTES"),
        (query("p = :a", r#","Select":"COUNT","ProjectionExpression":"n""#), "when choosing to get only the Count"),
        (query("p = :a", r#","Select":"SOME""#), "at 'select' failed to satisfy constraint"),
        (
            r#"{"TableName":"events"}"#.to_owned(),
            "Either the KeyConditions or KeyConditionExpression parameter must be specified",
        ),
    ];
    for (body, expected) in cases {
        let reply = server.call("Query", &body).await;
        assert!(
            reply.status == 400 && reply.body.contains(expected),
            "{body}\nexpected {expected}\n     got {reply:?}"
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn segments_of_a_scan_are_the_table_once() {
    let server = Server::start().await;
    server.call("CreateTable", ORDERS).await;
    for n in 0..60 {
        let put = format!(r#"{{"TableName":"orders","Item":{{"p":{{"S":"k{n}"}},"s":{{"N":"{n}"}}}}}}"#);
        assert_eq!(server.call("PutItem", &put).await.status, 200);
    }
    for (total, limit) in [(1, 100), (4, 100), (7, 3), (100_000, 5)] {
        let mut found = Vec::new();
        // Segments beyond the number of hashes have nothing; looking at some of them is enough.
        let segments: Vec<u32> = if total > 100 { vec![0, 1, 99_999] } else { (0..total).collect() };
        for segment in segments {
            let mut start = String::new();
            loop {
                let body = format!(
                    r#"{{"TableName":"orders","Segment":{segment},"TotalSegments":{total},"Limit":{limit}{start}}}"#
                );
                let reply = server.call("Scan", &body).await;
                assert_eq!(reply.status, 200, "{reply:?}");
                found.extend(keys(&reply.body));
                let Some((_, last)) = reply.body.split_once(r#""LastEvaluatedKey":"#) else { break };
                let (last, _) = last.split_once(r#","ScannedCount""#).unwrap();
                start = format!(r#","ExclusiveStartKey":{last}"#);
            }
        }
        found.sort_unstable();
        assert!(total > 100 || found == (0..60).collect::<Vec<u32>>(), "{total} {limit}: {found:?}");
    }
    script(
        &server,
        &[
            ("Scan", r#"{"TableName":"orders","Select":"COUNT"}"#, 200, r#"{"Count":60,"ScannedCount":60}"#),
            ("Scan", r#"{"TableName":"orders","Segment":1}"#, 400, "~The TotalSegments parameter is required"),
            ("Scan", r#"{"TableName":"orders","TotalSegments":1}"#, 400, "~The Segment parameter is required"),
            (
                "Scan",
                r#"{"TableName":"orders","Segment":2,"TotalSegments":2}"#,
                400,
                "~must be less than parameter TotalSegments",
            ),
            ("Scan", r#"{"TableName":"nothing"}"#, 400, "~Requested resource not found"),
            (
                "Scan",
                r#"{"TableName":"orders","FilterExpression":"p = :p","ExpressionAttributeValues":{":p":{"S":"k7"}}}"#,
                200,
                r#"~{"Count":1,"Items":[{"p":{"S":"k7"},"s":{"N":"7"}}],"ScannedCount":60}"#,
            ),
        ],
    )
    .await;
    server.stop().await;
}

#[tokio::test]
async fn a_page_is_full_at_a_megabyte() {
    let server = Server::start().await;
    server.call("CreateTable", ORDERS).await;
    let value = "x".repeat(300 * 1024);
    for n in 0..5 {
        let put = format!(r#"{{"TableName":"orders","Item":{{"p":{{"S":"k{n}"}},"v":{{"S":"{value}"}}}}}}"#);
        assert_eq!(server.call("PutItem", &put).await.status, 200);
    }
    let reply = server.call("Scan", r#"{"TableName":"orders","Select":"COUNT"}"#).await;
    assert!(reply.body.contains(r#"{"Count":3,"LastEvaluatedKey":"#), "{}", reply.body);
    server.stop().await;
}

#[tokio::test]
async fn batches_write_and_read_many_items() {
    let server = events(3).await;
    let key = |n: u32| format!(r#"{{"p":{{"S":"a"}},"s":{{"N":"{n}"}}}}"#);
    let get = |keys: &str, more: &str| format!(r#"{{"RequestItems":{{"events":{{"Keys":[{keys}]{more}}}}}}}"#);
    let write = |requests: &str| format!(r#"{{"RequestItems":{{"events":[{requests}]}}}}"#);
    let put = |n: u32| format!(r#"{{"PutRequest":{{"Item":{}}}}}"#, key(n));
    let delete = |n: u32| format!(r#"{{"DeleteRequest":{{"Key":{}}}}}"#, key(n));
    let all = |count: u32, one: &dyn Fn(u32) -> String| (0..count).map(one).collect::<Vec<_>>().join(",");
    let projected = r#"{"Responses":{"events":[{"n":{"N":"1"}},{"n":{"N":"3"}}]},"UnprocessedKeys":{}}"#;
    script(
        &server,
        &[
            (
                "BatchGetItem",
                &get(&all(4, &key), r#","ProjectionExpression":"n""#),
                200,
                r#"~{"n":{"N":"3"}}]},"UnprocessedKeys":{}}"#,
            ),
            ("BatchWriteItem", &write(&format!("{},{}", delete(2), put(9))), 200, r#"{"UnprocessedItems":{}}"#),
            ("BatchGetItem", &get(&all(4, &key), r#","ProjectionExpression":"n""#), 200, projected),
            ("BatchGetItem", &get(&key(9), ""), 200, r#"~[{"p":{"S":"a"},"s":{"N":"9"}}]"#),
            (
                "BatchGetItem",
                &get(&format!("{},{}", key(1), key(1)), ""),
                400,
                "~Provided list of item keys contains duplicates",
            ),
            (
                "BatchWriteItem",
                &write(&format!("{},{}", put(1), delete(1))),
                400,
                "~Provided list of item keys contains duplicates",
            ),
            ("BatchGetItem", &get(&all(101, &key), ""), 400, "~less than or equal to 100"),
            ("BatchWriteItem", &write(&all(26, &put)), 400, "~less than or equal to 25"),
            ("BatchWriteItem", &write(""), 400, "~length greater than or equal to 1"),
            ("BatchWriteItem", r#"{"RequestItems":{}}"#, 400, "~length greater than or equal to 1"),
            ("BatchWriteItem", &write("{}"), 400, "~must contain exactly one"),
            ("BatchGetItem", "{}", 400, "~Value null at 'requestItems'"),
            ("BatchGetItem", &get(&key(1), r#","ProjectionExpression":"name""#), 400, "~reserved keyword: name"),
        ],
    )
    .await;
    server.stop().await;
}

#[tokio::test]
async fn what_a_batch_could_not_do_is_answered_to_be_asked_again() {
    let server = events(1).await;
    let get = r##"{"RequestItems":{"events":{"Keys":[{"p":{"S":"a"},"s":{"N":"1"}}],"ProjectionExpression":"#n","ExpressionAttributeNames":{"#n":"n"}}}}"##;
    assert_eq!(server.call("BatchGetItem", get).await.status, 200);
    server.store.fail_with(Some(StoreError::Overloaded));
    let reply = server.call("BatchGetItem", get).await;
    assert!(reply.status == 400 && reply.body.contains("#ThrottlingException"), "{reply:?}");
    server.store.fail_with(None);
    // Sixteen megabytes and a little: the rest is left for another request.
    let value = "x".repeat(399 * 1024);
    for n in 100..145 {
        let put =
            format!(r#"{{"TableName":"events","Item":{{"p":{{"S":"big"}},"s":{{"N":"{n}"}},"v":{{"S":"{value}"}}}}}}"#);
        assert_eq!(server.call("PutItem", &put).await.status, 200);
    }
    let keys: Vec<String> = (100..145).map(|n| format!(r#"{{"p":{{"S":"big"}},"s":{{"N":"{n}"}}}}"#)).collect();
    let body = format!(
        r##"{{"RequestItems":{{"events":{{"Keys":[{}],"ProjectionExpression":"#s","ExpressionAttributeNames":{{"#s":"s"}}}}}}}}"##,
        keys.join(",")
    );
    let reply = server.call("BatchGetItem", &body).await;
    assert_eq!(reply.status, 200);
    let (answered, left) = reply.body.split_once("UnprocessedKeys").unwrap();
    assert_eq!((keys_in(answered), keys_in(left)), (42, 3));
    assert!(left.contains(r##""ProjectionExpression":"#s","ExpressionAttributeNames":{"#s":"s"}"##), "{left}");
    server.stop().await;
}

fn keys_in(text: &str) -> usize {
    text.matches(r#""s":{"N":""#).count()
}

#[tokio::test]
async fn a_transaction_writes_all_or_nothing() {
    let server = events(2).await;
    let action = |kind: &str, n: u32, more: &str| {
        format!(r#"{{"{kind}":{{"TableName":"events","Key":{{"p":{{"S":"a"}},"s":{{"N":"{n}"}}}}{more}}}}}"#)
    };
    let put = |n: u32, more: &str| {
        format!(r#"{{"Put":{{"TableName":"events","Item":{{"p":{{"S":"a"}},"s":{{"N":"{n}"}}}}{more}}}}}"#)
    };
    let values = r#","ExpressionAttributeValues":{":one":{"N":"1"}}"#;
    let add = format!(r#","UpdateExpression":"ADD n :one"{values}"#);
    let is_one = format!(r#","ConditionExpression":"n = :one"{values}"#);
    let told = format!(r#"{is_one},"ReturnValuesOnConditionCheckFailure":"ALL_OLD""#);
    let transact = |actions: &[&str]| format!(r#"{{"TransactItems":[{}]}}"#, actions.join(","));
    let (exists, more) = (r#","ConditionExpression":"attribute_exists(p)""#, r#","ReturnConsumedCapacity":"TOTAL""#);
    let read = |n: u32| format!(r#"{{"TableName":"events","Key":{{"p":{{"S":"a"}},"s":{{"N":"{n}"}}}}}}"#);
    let many: Vec<String> = (0..101).map(|n| put(n, "")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let failed = r#"{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException","Message":"Transaction cancelled, please refer cancellation reasons for specific reasons [None, ConditionalCheckFailed, ConditionalCheckFailed]","CancellationReasons":[{"Code":"None"},{"Code":"ConditionalCheckFailed","Message":"The conditional request failed","Item":{"n":{"N":"2"},"p":{"S":"a"},"s":{"N":"2"}}},{"Code":"ConditionalCheckFailed","Message":"The conditional request failed"}]}"#;
    let wrong_path = r#","UpdateExpression":"REMOVE n.m""#;
    let wrong_type = r#"{"Delete":{"TableName":"events","Key":{"p":{"S":"a"},"s":{"S":"1"}}}}"#;
    let steps = [
        (transact(&[&put(7, ""), &action("Update", 1, &add), &action("ConditionCheck", 2, exists)]), 200, "{}".to_owned()),
        (transact(&[&put(8, ""), &action("Delete", 2, &told), &action("ConditionCheck", 9, &is_one)]), 400, failed.to_owned()),
        (transact(&[&put(8, ""), &action("Update", 1, wrong_path)]), 400, r#"~{"Code":"ValidationError","Message":"The document path provided"#.to_owned()),
        (transact(&[&put(8, ""), wrong_type]), 400, r#"~[{"Code":"None"},{"Code":"ValidationError","Message":"The provided key element does not match the schema"}]"#.to_owned()),
        (transact(&[&put(8, ""), &action("Delete", 8, "")]), 400, "~Transaction request cannot include multiple operations on one item".to_owned()),
        (transact(&many), 400, "~at 'transactItems' failed to satisfy constraint: Member must have length less than or equal to 100".to_owned()),
        (transact(&[]), 400, "~at 'transactItems' failed to satisfy constraint".to_owned()),
        (transact(&["{}"]), 400, "~TransactItems can only contain one of Check, Put, Update or Delete".to_owned()),
        (transact(&[&action("ConditionCheck", 1, "")]), 400, "~conditionExpression' failed to satisfy constraint".to_owned()),
        (transact(&[&action("Update", 1, r#","UpdateExpression":"SET p = q""#)]), 400, "~Cannot update attribute p".to_owned()),
        (transact(&[&action("Delete", 1, r#","ConditionExpression":"a ==""#)]), 400, "~#ValidationException".to_owned()),
        (transact(&[&put(10, "")]).replacen("{\"TransactItems\"", "{\"ClientRequestToken\":\"\",\"TransactItems\"", 1), 400, "~at 'clientRequestToken'".to_owned()),
        (format!(r#"{{"TransactItems":[{}]{more}}}"#, put(11, "")), 200, r#"{"ConsumedCapacity":[{"TableName":"events","CapacityUnits":2.0}]}"#.to_owned()),
    ];
    let mut client = server.connect().await;
    for (body, status, expected) in &steps {
        client.send("TransactWriteItems", body).await;
        let reply = client.receive().await.unwrap();
        let matches = expected.strip_prefix('~').map_or(reply.body == *expected, |part| reply.body.contains(part));
        assert!(matches && reply.status == *status, "{body}\nexpected {status} {expected}\n     got {reply:?}");
    }
    script(
        &server,
        &[
            ("GetItem", &read(1), 200, r#"{"Item":{"n":{"N":"2"},"p":{"S":"a"},"s":{"N":"1"}}}"#),
            ("GetItem", &read(7), 200, r#"{"Item":{"p":{"S":"a"},"s":{"N":"7"}}}"#),
            ("GetItem", &read(8), 200, "{}"),
        ],
    )
    .await;
    server.stop().await;
}

#[tokio::test]
async fn a_transaction_reads_items_in_their_order() {
    let server = events(2).await;
    let get = |n: u32, more: &str| {
        format!(r#"{{"Get":{{"TableName":"events","Key":{{"p":{{"S":"a"}},"s":{{"N":"{n}"}}}}{more}}}}}"#)
    };
    let all = |actions: &[String], more: &str| format!(r#"{{"TransactItems":[{}]{more}}}"#, actions.join(","));
    let found = r#"{"Responses":[{"Item":{"n":{"N":"2"}}},{},{"Item":{"n":{"N":"1"},"p":{"S":"a"},"s":{"N":"1"}}}]}"#;
    let capacity = r#"~{"ConsumedCapacity":[{"TableName":"events","CapacityUnits":2.0}],"Responses""#;
    script(
        &server,
        &[
            (
                "TransactGetItems",
                &all(&[get(2, r#","ProjectionExpression":"n""#), get(3, ""), get(1, "")], ""),
                200,
                found,
            ),
            ("TransactGetItems", &all(&[get(2, "")], r#","ReturnConsumedCapacity":"TOTAL""#), 200, capacity),
            ("TransactGetItems", &all(&[get(2, ""), get(2, "")], ""), 400, "~multiple operations on one item"),
            ("TransactGetItems", &all(&[], ""), 400, "~at 'transactItems' failed to satisfy constraint"),
            (
                "TransactGetItems",
                r#"{"TransactItems":[{"Get":{"TableName":"events"}}]}"#,
                400,
                "~Value null at 'transactItems.1.member.get.key'",
            ),
        ],
    )
    .await;
    server.stop().await;
}
