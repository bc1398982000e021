//! Operation by operation: what is sent, what comes back.

use super::*;

/// Sends each request and compares status and body. An expected body that begins with `~` must be contained.
pub(super) async fn script(server: &Server, steps: &[(&str, &str, u16, &str)]) {
    let mut client = server.connect().await;
    for (operation, body, status, expected) in steps {
        client.send(operation, body).await;
        let reply = client.receive().await.unwrap();
        let matches = match expected.strip_prefix('~') {
            Some(part) => reply.body.contains(part),
            None => reply.body == *expected,
        };
        assert!(
            matches && reply.status == *status,
            "{operation} {body}\nexpected {status} {expected}\n     got {reply:?}"
        );
        assert_eq!(header(&reply.headers, "content-type"), Some("application/x-amz-json-1.0"));
        let checksum = crc32fast::hash(reply.body.as_bytes()).to_string();
        assert_eq!(header(&reply.headers, "x-amz-crc32"), Some(checksum.as_str()));
        assert_eq!(header(&reply.headers, "x-amzn-requestid").map(str::len), Some(32));
    }
}

#[tokio::test]
async fn items_without_sort_key() {
    let server = Server::start().await;
    let item = r#"{"n":{"N":"1000"},"p":{"S":"a"},"x":{"L":[{"NULL":true},{"M":{"k":{"BS":["AA=="]}}}]}}"#;
    let found = format!(r#"{{"Item":{item}}}"#);
    let old = format!(r#"{{"Attributes":{item}}}"#);
    let key = r#"{"TableName":"orders","Key":{"p":{"S":"a"}}}"#;
    let key_old = r#"{"TableName":"orders","Key":{"p":{"S":"a"}},"ReturnValues":"ALL_OLD"}"#;
    let put = format!(r#"{{"TableName":"orders","Item":{}}}"#, item.replace("1000", "+1e3"));
    let replace = r#"{"TableName":"orders","Item":{"p":{"S":"a"}},"ReturnValues":"ALL_OLD"}"#;
    let missing = "~#ResourceNotFoundException\",\"message\":\"Requested resource not found\"}";
    script(
        &server,
        &[
            ("PutItem", &put, 400, missing),
            ("GetItem", key, 400, missing),
            ("CreateTable", ORDERS, 200, r#"~"TableStatus":"ACTIVE""#),
            ("GetItem", key, 200, "{}"),
            ("PutItem", &put, 200, "{}"),
            ("GetItem", key, 200, &found),
            ("PutItem", replace, 200, &old),
            ("GetItem", key, 200, r#"{"Item":{"p":{"S":"a"}}}"#),
            ("DeleteItem", key_old, 200, r#"{"Attributes":{"p":{"S":"a"}}}"#),
            ("DeleteItem", key_old, 200, "{}"),
            ("PutItem", &put, 200, "{}"),
            ("DeleteItem", key, 200, "{}"),
            ("GetItem", key, 200, "{}"),
            ("DeleteTable", r#"{"TableName":"orders"}"#, 200, r#"~"TableStatus":"DELETING""#),
            ("GetItem", key, 400, missing),
        ],
    )
    .await;
    server.stop().await;
}

#[tokio::test]
async fn a_table_that_is_created_again_is_empty() {
    let server = Server::start().await;
    let put = r#"{"TableName":"orders","Item":{"p":{"S":"a"}}}"#;
    let get = r#"{"TableName":"orders","Key":{"p":{"S":"a"}}}"#;
    script(
        &server,
        &[
            ("CreateTable", ORDERS, 200, "~ACTIVE"),
            ("PutItem", put, 200, "{}"),
            ("DeleteTable", r#"{"TableName":"orders"}"#, 200, "~DELETING"),
            ("CreateTable", ORDERS, 200, "~ACTIVE"),
            ("GetItem", get, 200, "{}"),
        ],
    )
    .await;
    server.stop().await;
}

#[tokio::test]
async fn items_with_sort_key_of_every_type() {
    let server = Server::start().await;
    for (kind, low, same, high) in [("S", "a", "a", "b"), ("N", "1e1", "10.0", "11"), ("B", "AA==", "AA==", "AQ==")] {
        let table = format!("table-{kind}");
        let create = format!(
            r#"{{"TableName":"{table}","ProvisionedThroughput":{{"ReadCapacityUnits":1,"WriteCapacityUnits":2}},
                "KeySchema":[{{"AttributeName":"p","KeyType":"HASH"}},{{"AttributeName":"s","KeyType":"RANGE"}}],
                "AttributeDefinitions":[{{"AttributeName":"s","AttributeType":"{kind}"}},
                                        {{"AttributeName":"p","AttributeType":"{kind}"}}]}}"#
        );
        let request = |field: &str, sort: &str, more: &str| {
            format!(
                r#"{{"TableName":"{table}","{field}":{{"p":{{"{kind}":"{low}"}},"s":{{"{kind}":"{sort}"}}{more}}}}}"#
            )
        };
        script(
            &server,
            &[
                ("CreateTable", &create, 200, r#"~"ReadCapacityUnits":1,"WriteCapacityUnits":2"#),
                ("PutItem", &request("Item", low, r#","v":{"S":"low"}"#), 200, "{}"),
                ("PutItem", &request("Item", high, r#","v":{"S":"high"}"#), 200, "{}"),
                ("GetItem", &request("Key", same, ""), 200, r#"~"v":{"S":"low"}"#),
                ("DeleteItem", &request("Key", same, ""), 200, "{}"),
                ("GetItem", &request("Key", low, ""), 200, "{}"),
                ("GetItem", &request("Key", high, ""), 200, r#"~"v":{"S":"high"}"#),
            ],
        )
        .await;
    }
    server.stop().await;
}

#[tokio::test]
async fn invalid_items_are_refused_in_aws_words() {
    let server = Server::start().await;
    let item = |members: &str| format!(r#"{{"TableName":"orders","Item":{{{members}}}}}"#);
    let key = |members: &str| format!(r#"{{"TableName":"orders","Key":{{{members}}}}}"#);
    let long = format!(r#""p":{{"S":"{}"}}"#, "x".repeat(2049));
    let big = format!(r#""p":{{"S":"a"}},"v":{{"S":"{}"}}"#, "x".repeat(400 * 1024 - 3 + 1));
    let exact = format!(r#""p":{{"S":"a"}},"v":{{"S":"{}"}}"#, "x".repeat(400 * 1024 - 3));
    script(
        &server,
        &[
            ("CreateTable", ORDERS, 200, "~ACTIVE"),
            ("PutItem", &item(""), 400, "~Missing the key p in the item"),
            ("PutItem", &item(r#""p":{"N":"1"}"#), 400, "~Type mismatch for key p expected: S actual: N"),
            ("PutItem", &item(r#""p":{"S":""}"#), 400, "~cannot contain an empty string value. Key: p"),
            ("PutItem", &item(&long), 400, "~Size of hashkey has exceeded the maximum size limit of2048 bytes"),
            ("PutItem", &item(&big), 400, "~Item size has exceeded the maximum allowed size"),
            ("PutItem", &item(&exact), 200, "{}"),
            ("PutItem", &item(r#""p":{"S":"a"},"n":{"N":"b"}"#), 400, "~cannot be converted to a numeric value: b"),
            ("PutItem", &item(r#""p":{"S":"a"},"b":{"B":"?"}"#), 400, "~#SerializationException\",\"Message\":"),
            ("PutItem", r#"{"Item":{"n":{"N":"b"}}}"#, 400, "~Value null at 'tableName'"),
            ("PutItem", r#"{"TableName":"orders"}"#, 400, "~Value null at 'item' failed to satisfy constraint"),
            ("GetItem", r#"{"TableName":"orders"}"#, 400, "~Value null at 'key' failed to satisfy constraint"),
            ("GetItem", &key(r#""q":{"S":"a"}"#), 400, "~The provided key element does not match the schema"),
            ("GetItem", &key(&long), 400, "~Size of hashkey"),
            ("DeleteItem", &key(r#""p":{"S":"a"},"q":{"S":"a"}"#), 400, "~does not match the schema"),
        ],
    )
    .await;
    server.stop().await;
}

#[tokio::test]
async fn what_is_not_there_yet_is_refused_not_ignored() {
    let server = Server::start().await;
    let put = |more: &str| format!(r#"{{"TableName":"orders","Item":{{"p":{{"S":"a"}}}},{more}}}"#);
    script(
        &server,
        &[
            ("CreateTable", ORDERS, 200, "~ACTIVE"),
            ("PutItem", &put(r#""ReturnValues":"ALL_NEW""#), 400, "~ReturnValues can only be ALL_OLD or NONE"),
            ("PutItem", &put(r#""ReturnValues":"SOME""#), 400, "~at 'returnValues' failed to satisfy constraint"),
            ("PutItem", &put(r#""ConditionExpression":null,"Unheard":{"of":[1]}"#), 200, "{}"),
            (
                "CreateBackup",
                "{}",
                400,
                "~#UnknownOperationException\",\"message\":\"The operation CreateBackup is not supported yet",
            ),
            ("Nonsense", "{}", 400, "~There is no operation DynamoDB_20120810.Nonsense"),
        ],
    )
    .await;
    server.stop().await;
}

#[tokio::test]
async fn capacity_is_reported_by_aws_rules() {
    let server = Server::start().await;
    let units = |units: &str| format!(r#"~"ConsumedCapacity":{{"TableName":"orders","CapacityUnits":{units}}}"#);
    let value = "x".repeat(4096);
    let put = format!(
        r#"{{"TableName":"orders","ReturnConsumedCapacity":"TOTAL","Item":{{"p":{{"S":"a"}},"v":{{"S":"{value}"}}}}}}"#
    );
    let smaller = r#"{"TableName":"orders","ReturnConsumedCapacity":"TOTAL","Item":{"p":{"S":"a"}}}"#;
    let get = |more: &str| {
        format!(r#"{{"TableName":"orders","ReturnConsumedCapacity":"TOTAL","Key":{{"p":{{"S":"a"}}}}{more}}}"#)
    };
    let delete = r#"{"TableName":"orders","ReturnConsumedCapacity":"INDEXES","Key":{"p":{"S":"a"}}}"#;
    let by_index = r#"{"ConsumedCapacity":{"TableName":"orders","CapacityUnits":1.0,"Table":{"CapacityUnits":1.0}}}"#;
    script(
        &server,
        &[
            ("CreateTable", ORDERS, 200, "~ACTIVE"),
            ("PutItem", &put, 200, &units("5.0")),
            ("GetItem", &get(""), 200, &units("1.0")),
            ("GetItem", &get(r#","ConsistentRead":true"#), 200, &units("2.0")),
            ("PutItem", smaller, 200, &units("5.0")),
            ("GetItem", &get(""), 200, &units("0.5")),
            ("DeleteItem", delete, 200, by_index),
        ],
    )
    .await;
    server.stop().await;
}

#[tokio::test]
async fn tables_are_described_listed_and_protected() {
    let server = Server::start().await;
    let create = |name: &str, more: &str| {
        ORDERS.replace("orders", name).replace("\"BillingMode\"", &format!("{more}\"BillingMode\""))
    };
    let name = |name: &str| format!(r#"{{"TableName":"{name}"}}"#);
    let absent = "~#ResourceNotFoundException\",\"message\":\"Requested resource not found: Table: none not found\"}";
    script(
        &server,
        &[
            ("ListTables", "{}", 200, r#"{"TableNames":[]}"#),
            (
                "CreateTable",
                &create("bbb", ""),
                200,
                r#"~{"TableDescription":{"TableName":"bbb","TableStatus":"ACTIVE""#,
            ),
            ("CreateTable", &create("aaa", ""), 200, "~ACTIVE"),
            ("CreateTable", &create("ccc", r#""DeletionProtectionEnabled":true,"#), 200, "~ACTIVE"),
            (
                "CreateTable",
                &create("bbb", ""),
                400,
                "~#ResourceInUseException\",\"message\":\"Table already exists: bbb",
            ),
            ("CreateTable", &create("b", ""), 400, "~at 'tableName' failed to satisfy constraint"),
            ("ListTables", "{}", 200, r#"{"TableNames":["aaa","bbb","ccc"]}"#),
            ("ListTables", r#"{"Limit":2}"#, 200, r#"{"TableNames":["aaa","bbb"],"LastEvaluatedTableName":"bbb"}"#),
            ("ListTables", r#"{"Limit":2,"ExclusiveStartTableName":"bbb"}"#, 200, r#"{"TableNames":["ccc"]}"#),
            ("ListTables", r#"{"Limit":0}"#, 400, "~at 'limit' failed to satisfy constraint"),
            ("DescribeTable", &name("none"), 400, absent),
            ("DeleteTable", &name("none"), 400, absent),
            ("DeleteTable", &name("ccc"), 400, "~protected against deletion"),
            ("DescribeTable", &name("ccc"), 200, r#"~"DeletionProtectionEnabled":true"#),
            ("DeleteTable", &name("aaa"), 200, r#"~"TableStatus":"DELETING""#),
            ("DescribeTable", "{}", 400, "~Value null at 'tableName'"),
            ("DescribeEndpoints", "{}", 200, r#"{"Endpoints":[{"Address":"test","CachePeriodInMinutes":1440}]}"#),
        ],
    )
    .await;
    server.stop().await;
}

#[tokio::test]
async fn a_description_has_the_fields_that_tools_read() {
    let server = Server::start().await;
    server.call("CreateTable", ORDERS).await;
    let described = server.call("DescribeTable", r#"{"TableName":"orders"}"#).await.body;
    for part in [
        r#""TableArn":"arn:aws:dynamodb:elastickv:000000000000:table/orders""#,
        r#""CreationDateTime":1700000000"#,
        r#""KeySchema":[{"AttributeName":"p","KeyType":"HASH"}]"#,
        r#""AttributeDefinitions":[{"AttributeName":"p","AttributeType":"S"}]"#,
        r#""BillingModeSummary":{"BillingMode":"PAY_PER_REQUEST"}"#,
        r#""NumberOfDecreasesToday":0,"ReadCapacityUnits":0,"WriteCapacityUnits":0"#,
    ] {
        assert!(described.contains(part), "{part} in {described}");
    }
    let deleted = server.call("DeleteTable", r#"{"TableName":"orders"}"#).await.body;
    for part in ["KeySchema", "AttributeDefinitions", "CreationDateTime"] {
        assert!(!deleted.contains(part), "{deleted}");
    }
    server.stop().await;
}

#[tokio::test]
async fn descriptors_are_asked_for_once_a_second_not_once_a_request() {
    let server = Server::start().await;
    server.call("CreateTable", ORDERS).await;
    server.store.take_calls();
    let get = r#"{"TableName":"orders","Key":{"p":{"S":"a"}}}"#;
    let begun = std::time::Instant::now();
    for _ in 0..20 {
        assert_eq!(server.call("GetItem", get).await.status, 200);
    }
    let calls = server.store.take_calls();
    let descriptors = calls.iter().filter(|call| matches!(call, Operation::DescribeTable { .. })).count();
    assert!(descriptors as u64 <= 1 + begun.elapsed().as_secs() + 1, "{descriptors}");
    assert_eq!(calls.len() - descriptors, 20);
    server.stop().await;
}

#[tokio::test]
async fn store_errors_are_dynamodb_errors() {
    let server = Server::start().await;
    server.call("CreateTable", ORDERS).await;
    let put = r#"{"TableName":"orders","Item":{"p":{"S":"a"}}}"#;
    let cases = [
        (StoreError::Unavailable, 500, "#InternalServerError\""),
        (StoreError::OutcomeUnknown, 500, "The outcome of the request is not known"),
        (StoreError::Overloaded, 400, "#ThrottlingException\""),
        (StoreError::CrossGroup, 400, "#ValidationException\""),
        (StoreError::DiskFull, 500, "The store has no room left"),
        (StoreError::Rejected("Too long.".into()), 400, "#ValidationException\",\"message\":\"Too long.\""),
        (StoreError::Internal("disk /dev/sda1".into()), 500, "The request failed inside the store."),
    ];
    for (error, status, part) in cases {
        server.store.fail_with(Some(error));
        let reply = server.call("PutItem", put).await;
        assert!(reply.status == status && reply.body.contains(part), "{reply:?}");
    }
    server.store.fail_with(None);
    assert_eq!(server.call("PutItem", put).await.status, 200);
    server.stop().await;
}
