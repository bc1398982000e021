//! Indexes as requests define them and as tables describe them.

use super::api::script;
use super::*;

/// CreateTable of keys `p` and `s` with these attribute definitions, `name:type`, and further members.
fn create(definitions: &str, more: &str) -> String {
    let definition = |pair: &str| {
        let (name, kind) = pair.split_once(':').unwrap();
        format!(r#"{{"AttributeName":"{name}","AttributeType":"{kind}"}}"#)
    };
    let definitions: Vec<String> = definitions.split(',').map(definition).collect();
    format!(
        r#"{{"TableName":"things","KeySchema":{},"AttributeDefinitions":[{}]{more}}}"#,
        keys("p:HASH,s:RANGE"),
        definitions.join(",")
    )
}

fn keys(keys: &str) -> String {
    let key = |pair: &str| {
        let (name, role) = pair.split_once(':').unwrap();
        format!(r#"{{"AttributeName":"{name}","KeyType":"{role}"}}"#)
    };
    format!("[{}]", keys.split(',').map(key).collect::<Vec<_>>().join(","))
}

fn index(name: &str, schema: &str, projection: &str, more: &str) -> String {
    format!(r#"{{"IndexName":"{name}","KeySchema":{},"Projection":{{{projection}}}{more}}}"#, keys(schema))
}

const ALL: &str = r#""ProjectionType":"ALL""#;
const ON_DEMAND: &str = r#","BillingMode":"PAY_PER_REQUEST""#;
const UNITS: &str = r#","ProvisionedThroughput":{"ReadCapacityUnits":1,"WriteCapacityUnits":2}"#;

fn local(indexes: &[String]) -> String {
    format!(r#"{ON_DEMAND},"LocalSecondaryIndexes":[{}]"#, indexes.join(","))
}

fn global(indexes: &[String]) -> String {
    format!(r#"{ON_DEMAND},"GlobalSecondaryIndexes":[{}]"#, indexes.join(","))
}

#[tokio::test]
async fn indexes_that_make_no_table_are_refused_in_words() {
    let server = Server::start().await;
    let one = |schema: &str| vec![index("one", schema, ALL, "")];
    let projected = |projection: &str| global(&[index("one", "a:HASH", projection, "")]);
    let names = |count: usize| (0..count).map(|n| format!(r#""x{n}""#)).collect::<Vec<_>>().join(",");
    let include = |count: usize| format!(r#""ProjectionType":"INCLUDE","NonKeyAttributes":[{}]"#, names(count));
    let many = |count: usize| (0..count).map(|n| index(&format!("i-{n}"), "a:HASH", ALL, "")).collect::<Vec<_>>();
    let many_local =
        |count: usize| (0..count).map(|n| index(&format!("i-{n}"), "p:HASH,a:RANGE", ALL, "")).collect::<Vec<_>>();
    let wide: Vec<String> = (0..6).map(|n| index(&format!("i-{n}"), "a:HASH", &include(20), "")).collect();
    let provisioned =
        |more: &str| format!(r#"{UNITS},"GlobalSecondaryIndexes":[{}]"#, index("one", "a:HASH", ALL, more));
    let cases = [
        (
            "p:S,s:S",
            global(&one("a:HASH")),
            "Some index key attributes are not defined in AttributeDefinitions. Keys: [a], AttributeDefinitions: [p, s]",
        ),
        (
            "p:S,s:S,a:S,b:S",
            global(&one("a:HASH")),
            "Some AttributeDefinitions are not used. AttributeDefinitions: [p, s, a, b], keys used: [p, s, a]",
        ),
        ("p:S,s:S,a:S", global(&one("a:RANGE")), "The first KeySchemaElement is not a HASH key type"),
        ("p:S,s:S,a:S", global(&one("a:HASH,p:HASH")), "The second KeySchemaElement is not a RANGE key type"),
        ("p:S,s:S,a:S", global(&one("a:HASH,a:RANGE")), "have the same name"),
        ("p:S,s:S,a:S", global(&[]), "List of GlobalSecondaryIndexes is empty"),
        ("p:S,s:S,a:S", local(&[]), "List of LocalSecondaryIndexes is empty"),
        ("p:S,s:S,a:S", local(&one("p:HASH")), "Index KeySchema does not have a range key for index: one"),
        (
            "p:S,s:S,a:S",
            local(&one("s:HASH,a:RANGE")),
            "Index KeySchema does not have the same leading hash key as table KeySchema for index: one. index hash key: s, table hash key: p",
        ),
        (
            "p:S,s:S,a:S",
            global(&[index("one", "a:HASH", ALL, ""), index("one", "s:HASH", ALL, "")]),
            "Duplicate index name: one",
        ),
        ("p:S,s:S,a:S", global(&many(21)), "GlobalSecondaryIndex count exceeds the per-table limit of 20"),
        ("p:S,s:S,a:S", local(&many_local(6)), "Number of LocalSecondaryIndexes exceeds per-table limit of 5"),
        ("p:S,s:S,a:S", projected(""), "Unknown ProjectionType: null"),
        (
            "p:S,s:S,a:S",
            projected(r#""ProjectionType":"SOME""#),
            "at 'globalSecondaryIndexes.1.member.projection.projectionType' failed to satisfy constraint",
        ),
        (
            "p:S,s:S,a:S",
            projected(r#""ProjectionType":"INCLUDE""#),
            "ProjectionType is INCLUDE, but NonKeyAttributes is not specified",
        ),
        (
            "p:S,s:S,a:S",
            projected(r#""ProjectionType":"ALL","NonKeyAttributes":["x"]"#),
            "ProjectionType is ALL, but NonKeyAttributes is specified",
        ),
        (
            "p:S,s:S,a:S",
            projected(&include(21)),
            "at 'globalSecondaryIndexes.1.member.projection.nonKeyAttributes' failed to satisfy",
        ),
        (
            "p:S,s:S,a:S",
            projected(&include(0)),
            "at 'globalSecondaryIndexes.1.member.projection.nonKeyAttributes' failed to satisfy",
        ),
        ("p:S,s:S,a:S", global(&wide), "exceeds the per-table limit of 100"),
        (
            "p:S,s:S,a:S",
            global(&[index("no", "a:HASH", ALL, "")]),
            "at 'globalSecondaryIndexes.1.member.indexName' failed to satisfy constraint",
        ),
        ("p:S,s:S,a:S", global(&[index("a b c", "a:HASH", ALL, "")]), "[a-zA-Z0-9_.-]+"),
        (
            "p:S,s:S,a:S",
            global(&[r#"{"IndexName":"one"}"#.into()]),
            "Value null at 'globalSecondaryIndexes.1.member.projection'",
        ),
        (
            "p:S,s:S,a:S",
            global(&[index("one", "a:HASH", ALL, UNITS)]),
            "ProvisionedThroughput should not be specified for index: one when BillingMode is PAY_PER_REQUEST",
        ),
        ("p:S,s:S,a:S", provisioned(""), "ProvisionedThroughput must be specified for index: one"),
    ];
    for (definitions, more, message) in cases {
        let reply = server.call("CreateTable", &create(definitions, &more)).await;
        assert_eq!(reply.status, 400, "{more}");
        assert!(reply.body.contains(message), "{} is not {message}", reply.body);
        assert!(reply.body.contains("ValidationException"), "{}", reply.body);
    }
    let hash_only = format!(
        r#"{{"TableName":"things","KeySchema":{},"AttributeDefinitions":[{{"AttributeName":"p","AttributeType":"S"}}]{}}}"#,
        keys("p:HASH"),
        local(&one("p:HASH,p:RANGE"))
    );
    let reply = server.call("CreateTable", &hash_only).await;
    assert!(reply.body.contains("Table KeySchema does not have a range key, which is required"), "{}", reply.body);
    // The largest that there may be.
    let most = format!(r#"{},"LocalSecondaryIndexes":[{}]"#, global(&many(20)), {
        let named = many_local(5).into_iter().map(|index| index.replacen("i-", "local-", 1));
        named.collect::<Vec<_>>().join(",")
    });
    assert_eq!(server.call("CreateTable", &create("p:S,s:S,a:S", &most)).await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn a_table_describes_its_indexes() {
    let server = Server::start().await;
    let include = r#""ProjectionType":"INCLUDE","NonKeyAttributes":["y","x"]"#;
    let indexes = format!(
        r#"{UNITS},"LocalSecondaryIndexes":[{}],"GlobalSecondaryIndexes":[{}]"#,
        index("by-a", "p:HASH,a:RANGE", r#""ProjectionType":"KEYS_ONLY""#, ""),
        index("by-n", "n:HASH,p:RANGE", include, UNITS),
    );
    let things = r#"{"TableName":"things"}"#;
    let arn = "arn:aws:dynamodb:elastickv:000000000000:table/things/index";
    let local = format!(
        r#"~"LocalSecondaryIndexes":[{{"IndexName":"by-a","IndexArn":"{arn}/by-a","KeySchema":{},"Projection":{{"ProjectionType":"KEYS_ONLY"}}}}]"#,
        keys("p:HASH,a:RANGE")
    );
    let global = format!(
        r#"~"GlobalSecondaryIndexes":[{{"IndexName":"by-n","IndexArn":"{arn}/by-n","KeySchema":{},"Projection":{{"ProjectionType":"INCLUDE","NonKeyAttributes":["y","x"]}},"IndexStatus":"ACTIVE","ProvisionedThroughput":{{"NumberOfDecreasesToday":0,"ReadCapacityUnits":1,"WriteCapacityUnits":2}}}}]"#,
        keys("n:HASH,p:RANGE")
    );
    let defined = r#"~{"AttributeName":"a","AttributeType":"B"},{"AttributeName":"n","AttributeType":"N"}]"#;
    script(
        &server,
        &[
            ("CreateTable", &create("p:S,s:S,a:B,n:N", &indexes), 200, &local),
            ("DescribeTable", things, 200, &local),
            ("DescribeTable", things, 200, &global),
            ("DescribeTable", things, 200, defined),
            ("DeleteTable", things, 200, "~DELETING"),
            ("CreateTable", &create("p:S,s:S", ON_DEMAND), 200, "~ACTIVE"),
        ],
    )
    .await;
    let plain = server.call("DescribeTable", things).await.body;
    assert!(!plain.contains("SecondaryIndexes"), "{plain}");
    server.stop().await;
}

/// UpdateTable with these updates and attribute definitions.
fn update(updates: &str, definitions: &str, more: &str) -> String {
    let given = create(definitions, "");
    let (_, given) = given.split_once(r#""AttributeDefinitions":"#).unwrap();
    let given = given.strip_suffix('}').unwrap();
    format!(
        r#"{{"TableName":"things","AttributeDefinitions":{given},"GlobalSecondaryIndexUpdates":[{updates}]{more}}}"#
    )
}

fn make(name: &str, schema: &str) -> String {
    format!(r#"{{"Create":{}}}"#, index(name, schema, ALL, ""))
}

fn remove(name: &str) -> String {
    format!(r#"{{"Delete":{{"IndexName":"{name}"}}}}"#)
}

#[tokio::test]
async fn indexes_of_a_table_are_made_and_removed_one_at_a_time() {
    let server = Server::start().await;
    let protect = r#","DeletionProtectionEnabled":true"#;
    let charge = format!(r#"{{"Update":{{"IndexName":"one"{UNITS}}}}}"#);
    let limit = "~LimitExceededException\",\"message\":\"Subscriber limit exceeded: Only 1 online index";
    script(
        &server,
        &[
            ("UpdateTable", &update(&make("one", "a:HASH"), "a:S", ""), 400, "~ResourceNotFoundException"),
            ("CreateTable", &create("p:S,s:S,n:N", &global(&[index("by-n", "n:HASH", ALL, "")])), 200, "~ACTIVE"),
            (
                "UpdateTable",
                &update(&make("one", "a:HASH"), "p:S", ""),
                400,
                "~are not defined in AttributeDefinitions",
            ),
            (
                "UpdateTable",
                &update(&make("one", "a:HASH"), "a:S,b:S", ""),
                400,
                "~Some AttributeDefinitions are not used",
            ),
            ("UpdateTable", &update(&make("one", "n:HASH"), "n:S", ""), 400, "~as another type than the table has: N"),
            ("UpdateTable", &update(&make("by-n", "a:HASH"), "a:S", ""), 400, "~index which already exists"),
            (
                "UpdateTable",
                &update(&make("one", "a:HASH"), "a:S", protect),
                400,
                "~DeletionProtection modification must",
            ),
            ("UpdateTable", &update("{}", "p:S", ""), 400, "~GlobalSecondaryIndexUpdate.Delete must not be null"),
            ("UpdateTable", &update(&remove("none"), "p:S", ""), 400, "~ResourceNotFoundException"),
            ("UpdateTable", &update(&charge, "p:S", ""), 400, "~should not be specified for index: one"),
            (
                "UpdateTable",
                &update(r#"{"Update":{"IndexName":"one"}}"#, "p:S", ""),
                400,
                "~Value null at 'globalSecondaryIndexUpdates.1.member.update.provisionedThroughput'",
            ),
            ("UpdateTable", &update(&[make("one", "a:HASH"), make("two", "a:HASH")].join(","), "a:S", ""), 400, limit),
            (
                "UpdateTable",
                &update(&[remove("one"), make("one", "a:HASH")].join(","), "a:S", ""),
                400,
                "~Only one global secondary index update per index is allowed simultaneously. Index: one",
            ),
            (
                "UpdateTable",
                &update(&make("one", "a:HASH,n:RANGE"), "a:S,n:N", ""),
                200,
                r#"~"IndexStatus":"CREATING","Backfilling":false"#,
            ),
            ("UpdateTable", &update(&make("two", "a:HASH"), "a:S", ""), 400, limit),
            ("UpdateTable", &update(&remove("by-n"), "p:S", ""), 400, limit),
            ("UpdateTable", &update(&remove("one"), "p:S", ""), 200, r#"~"TableStatus":"ACTIVE""#),
            ("UpdateTable", &update(&remove("by-n"), "p:S", ""), 200, r#"~"TableStatus":"ACTIVE""#),
        ],
    )
    .await;
    let plain = server.call("DescribeTable", r#"{"TableName":"things"}"#).await.body;
    assert!(!plain.contains("SecondaryIndexes") && !plain.contains(r#""AttributeName":"n""#), "{plain}");
    server.stop().await;
}
