//! Transactions that are sent more than once, with and without a token.

use super::api::script;
use super::*;

fn add(token: &str, amount: u32, more: &str) -> String {
    let token = if token.is_empty() { String::new() } else { format!(r#","ClientRequestToken":"{token}""#) };
    format!(
        r#"{{"TransactItems":[
            {{"Update":{{"TableName":"orders","Key":{{"p":{{"S":"a"}}}},"UpdateExpression":"ADD n :n",
                "ExpressionAttributeValues":{{":n":{{"N":"{amount}"}}}}}}}},
            {{"Put":{{"TableName":"orders","Item":{{"p":{{"S":"once-{amount}"}}}},
                "ConditionExpression":"attribute_not_exists(p)"}}}}]{token}{more}}}"#
    )
}

const READ: &str = r#"{"TableName":"orders","Key":{"p":{"S":"a"}},"ProjectionExpression":"n"}"#;

#[tokio::test]
async fn a_transaction_that_is_sent_again_takes_effect_once() {
    let server = Server::start().await;
    let capacity = r#","ReturnConsumedCapacity":"TOTAL""#;
    let mismatch = r#"{"__type":"com.amazonaws.dynamodb.v20120810#IdempotentParameterMismatchException","Message":"The ClientRequestToken was used with other parameters in the last ten minutes"}"#;
    script(
        &server,
        &[
            ("CreateTable", ORDERS, 200, "~ACTIVE"),
            ("TransactWriteItems", &add("one", 1, ""), 200, "{}"),
            // The condition would not hold any more; it is not asked again.
            ("TransactWriteItems", &add("one", 1, ""), 200, "{}"),
            // White space and the order of members are no content.
            ("TransactWriteItems", &add("one", 1, "   ").replace("\n", ""), 200, "{}"),
            ("TransactWriteItems", &add("one", 2, ""), 400, mismatch),
            ("TransactWriteItems", &add("one", 1, capacity), 400, "~IdempotentParameterMismatchException"),
            ("GetItem", READ, 200, r#"{"Item":{"n":{"N":"1"}}}"#),
            // What was refused has not claimed its token.
            ("TransactWriteItems", &add("two", 1, ""), 400, "~[None, ConditionalCheckFailed]"),
            ("TransactWriteItems", &add("two", 2, capacity), 200, r#"~"CapacityUnits":4.0"#),
            ("DeleteItem", r#"{"TableName":"orders","Key":{"p":{"S":"once-2"}}}"#, 200, "{}"),
            ("TransactWriteItems", &add("two", 2, capacity), 200, r#"~"CapacityUnits":4.0"#),
            ("GetItem", READ, 200, r#"{"Item":{"n":{"N":"3"}}}"#),
            ("GetItem", r#"{"TableName":"orders","Key":{"p":{"S":"once-2"}}}"#, 200, "{}"),
            ("TransactWriteItems", &add("", 2, ""), 200, "{}"),
            ("TransactWriteItems", &add("", 2, ""), 400, "~[None, ConditionalCheckFailed]"),
            ("TransactWriteItems", &add(&"x".repeat(37), 4, ""), 400, "~at 'clientRequestToken'"),
            ("Scan", r#"{"TableName":"orders","Select":"COUNT"}"#, 200, r#"{"Count":3,"ScannedCount":3}"#),
        ],
    )
    .await;
    server.stop().await;
}

#[tokio::test]
async fn ten_minutes_later_a_token_is_free() {
    let server = Server::start().await;
    let delete = r#"{"TableName":"orders","Key":{"p":{"S":"once-1"}}}"#;
    script(
        &server,
        &[
            ("CreateTable", ORDERS, 200, "~ACTIVE"),
            ("TransactWriteItems", &add("one", 1, ""), 200, "{}"),
            ("DeleteItem", delete, 200, "{}"),
        ],
    )
    .await;
    server.store.view.lock().unwrap().advance_ms(10 * 60 * 1000 - 1);
    script(&server, &[("TransactWriteItems", &add("one", 1, ""), 200, "{}"), ("GetItem", delete, 200, "{}")]).await;
    server.store.view.lock().unwrap().advance_ms(1);
    script(
        &server,
        &[("TransactWriteItems", &add("one", 1, ""), 200, "{}"), ("GetItem", READ, 200, r#"{"Item":{"n":{"N":"2"}}}"#)],
    )
    .await;
    server.stop().await;
}
