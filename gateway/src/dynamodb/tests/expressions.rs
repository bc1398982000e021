//! Writes with conditions, updates and projections, as requests.

use super::api::script;
use super::*;

const KEY: &str = r#""TableName":"orders","Key":{"p":{"S":"a"}}"#;

/// An UpdateItem of item `a` with these further members.
fn update(more: &str) -> String {
    format!("{{{KEY},{more}}}")
}

/// An UpdateItem with an expression and values.
fn set(expression: &str, values: &str) -> String {
    update(&format!(
        r#""UpdateExpression":"{expression}","ExpressionAttributeValues":{{{values}}},"ReturnValues":"ALL_NEW""#
    ))
}

#[tokio::test]
async fn an_item_is_put_once() {
    let server = Server::start().await;
    let put = |value: &str, more: &str| {
        format!(
            r#"{{"TableName":"orders","Item":{{"p":{{"S":"a"}},"n":{{"N":"{value}"}}}},
                "ConditionExpression":"attribute_not_exists(p)"{more}}}"#
        )
    };
    let failed = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException","message":"The conditional request failed"}"#;
    let with_item = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException","message":"The conditional request failed","Item":{"n":{"N":"1"},"p":{"S":"a"}}}"#;
    let delete = |value: &str| {
        format!(
            r#"{{{KEY},"ConditionExpression":"n = :v","ExpressionAttributeValues":{{":v":{{"N":"{value}"}}}},"ReturnValues":"ALL_OLD"}}"#
        )
    };
    script(
        &server,
        &[
            ("CreateTable", ORDERS, 200, "~ACTIVE"),
            ("PutItem", &put("1", ""), 200, "{}"),
            ("PutItem", &put("2", ""), 400, failed),
            ("PutItem", &put("2", r#","ReturnValuesOnConditionCheckFailure":"ALL_OLD""#), 400, with_item),
            (
                "PutItem",
                &put("2", r#","ReturnValuesOnConditionCheckFailure":"ALL_NEW""#),
                400,
                "~at 'returnValuesOnConditionCheckFailure'",
            ),
            ("DeleteItem", &delete("2"), 400, failed),
            ("DeleteItem", &delete("1"), 200, r#"{"Attributes":{"n":{"N":"1"},"p":{"S":"a"}}}"#),
            ("DeleteItem", &delete("1"), 400, failed),
        ],
    )
    .await;
    server.stop().await;
}

#[tokio::test]
async fn an_item_is_updated() {
    let server = Server::start().await;
    let returning = |returns: &str| {
        update(&format!(
            r##""UpdateExpression":"SET #n = #n + :one, m.k = :one REMOVE gone",
               "ExpressionAttributeNames":{{"#n":"n"}},"ExpressionAttributeValues":{{":one":{{"N":"1"}}}},
               "ReturnValues":"{returns}""##
        ))
    };
    let get = |more: &str| format!("{{{KEY}{more}}}");
    script(
        &server,
        &[
            ("CreateTable", ORDERS, 200, "~ACTIVE"),
            ("UpdateItem", &update(r#""ReturnValues":"ALL_NEW""#), 200, r#"{"Attributes":{"p":{"S":"a"}}}"#),
            ("UpdateItem", &set("SET n = :n, m = :m", r#"":n":{"N":"1"},":m":{"M":{}}"#), 200, r#"~"n":{"N":"1"}"#),
            ("UpdateItem", &returning("UPDATED_OLD"), 200, r#"{"Attributes":{"n":{"N":"1"}}}"#),
            (
                "UpdateItem",
                &returning("UPDATED_NEW"),
                200,
                r#"{"Attributes":{"m":{"M":{"k":{"N":"1"}}},"n":{"N":"3"}}}"#,
            ),
            (
                "UpdateItem",
                &returning("ALL_OLD"),
                200,
                r#"{"Attributes":{"m":{"M":{"k":{"N":"1"}}},"n":{"N":"3"},"p":{"S":"a"}}}"#,
            ),
            ("UpdateItem", &returning("NONE"), 200, "{}"),
            ("GetItem", &get(""), 200, r#"{"Item":{"m":{"M":{"k":{"N":"1"}}},"n":{"N":"5"},"p":{"S":"a"}}}"#),
            (
                "GetItem",
                &get(r#","ProjectionExpression":"m.k, n""#),
                200,
                r#"{"Item":{"m":{"M":{"k":{"N":"1"}}},"n":{"N":"5"}}}"#,
            ),
            (
                "GetItem",
                &get(r##","ProjectionExpression":"#x","ExpressionAttributeNames":{"#x":"gone"}"##),
                200,
                r#"{"Item":{}}"#,
            ),
            (
                "UpdateItem",
                &set("SET p = :n", r#"":n":{"S":"b"}"#),
                400,
                "~Cannot update attribute p. This attribute is part of the key",
            ),
            (
                "UpdateItem",
                &set("SET n = q", r#"":n":{"S":"b"}"#),
                400,
                "~ExpressionAttributeValues unused in expressions: keys: {:n}",
            ),
            (
                "UpdateItem",
                &set("SET n = q + :n", r#"":n":{"N":"1"}"#),
                400,
                "~The provided expression refers to an attribute that does not exist in the item",
            ),
            (
                "UpdateItem",
                &set("SET x.y = :n", r#"":n":{"N":"1"}"#),
                400,
                "~The document path provided in the update expression is invalid for update",
            ),
            ("UpdateItem", &set("SET n = n + :n", r#"":n":{"N":"9.9e125"}"#), 400, "~38 significant digits"),
            (
                "UpdateItem",
                &set("SET", r#"":n":{"N":"1"}"#),
                400,
                r#"~Invalid UpdateExpression: Syntax error; token: \"<EOF>\""#,
            ),
        ],
    )
    .await;
    server.stop().await;
}

#[tokio::test]
async fn placeholders_are_checked_in_aws_words() {
    let server = Server::start().await;
    let get = |more: &str| format!("{{{KEY},{more}}}");
    script(
        &server,
        &[
            ("CreateTable", ORDERS, 200, "~ACTIVE"),
            ("GetItem", &get(r##""ExpressionAttributeNames":{"#a":"a"}"##), 400, "~ExpressionAttributeNames can only be specified when using expressions"),
            ("GetItem", &get(r#""ProjectionExpression":"a","ExpressionAttributeNames":{}"#), 400, "~ExpressionAttributeNames must not be empty"),
            ("GetItem", &get(r#""ProjectionExpression":"a","ExpressionAttributeNames":{"a":"b"}"#), 400, r#"~ExpressionAttributeNames contains invalid key: Syntax error; key: \"a\""#),
            ("GetItem", &get(r##""ProjectionExpression":"#a","ExpressionAttributeNames":{"#a":"a","#b":"b"}"##), 400, "~Value provided in ExpressionAttributeNames unused in expressions: keys: {#b}"),
            ("GetItem", &get(r##""ProjectionExpression":"#a""##), 400, "~Invalid ProjectionExpression: An expression attribute name used in the document path is not defined; attribute name: #a"),
            ("GetItem", &get(r#""ProjectionExpression":"a","AttributesToGet":["a"]"#), 400, "~Can not use both expression and non-expression parameters in the same request: Non-expression parameters: {AttributesToGet} Expression parameters: {ProjectionExpression}"),
            ("GetItem", &get(r#""ConditionExpression":"nonsense of another operation""#), 200, "{}"),
            ("UpdateItem", &get(r#""UpdateExpression":"REMOVE b","ConditionExpression":"size = :x""#), 400, "~Invalid ConditionExpression: Attribute name is a reserved keyword; reserved keyword: size"),
            ("DeleteItem", &get(r#""ConditionExpression":"""#), 400, "~Invalid ConditionExpression: The expression can not be empty;"),
        ],
    )
    .await;
    server.stop().await;
}

#[tokio::test]
async fn updates_cost_what_the_larger_item_does() {
    let server = Server::start().await;
    let value = "x".repeat(2000);
    let grow = update(&format!(
        r#""UpdateExpression":"SET v = :v","ExpressionAttributeValues":{{":v":{{"S":"{value}"}}}},"ReturnConsumedCapacity":"TOTAL""#
    ));
    let shrink = update(r#""UpdateExpression":"REMOVE v","ReturnConsumedCapacity":"TOTAL""#);
    script(
        &server,
        &[
            ("CreateTable", ORDERS, 200, "~ACTIVE"),
            ("UpdateItem", &grow, 200, r#"~"CapacityUnits":2.0"#),
            ("UpdateItem", &shrink, 200, r#"~"CapacityUnits":2.0"#),
            ("UpdateItem", &shrink, 200, r#"~"CapacityUnits":1.0"#),
        ],
    )
    .await;
    server.stop().await;
}
