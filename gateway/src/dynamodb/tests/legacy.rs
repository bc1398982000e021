//! The parameters from before there were expressions, as requests. Rules: AWS Developer Guide, "Legacy conditional
//! parameters", one line each.

use super::api::script;
use super::*;

/// A table with `p` and `s`, both texts, and items of partition `a` with sort keys `1` to `4` and their number as `n`.
async fn letters() -> Server {
    let server = Server::start().await;
    let create = r#"{"TableName":"letters","BillingMode":"PAY_PER_REQUEST",
        "KeySchema":[{"AttributeName":"p","KeyType":"HASH"},{"AttributeName":"s","KeyType":"RANGE"}],
        "AttributeDefinitions":[{"AttributeName":"p","AttributeType":"S"},{"AttributeName":"s","AttributeType":"S"}]}"#;
    assert_eq!(server.call("CreateTable", create).await.status, 200);
    for n in 1..=4 {
        let put = format!(
            r#"{{"TableName":"letters","Item":{{"p":{{"S":"a"}},"s":{{"S":"{n}"}},"n":{{"N":"{n}"}},"t":{{"S":"text"}},
                "l":{{"L":[{{"N":"{n}"}}]}},"set":{{"SS":["x","y{n}"]}}}}}}"#
        );
        assert_eq!(server.call("PutItem", &put).await.status, 200);
    }
    server
}

fn condition(operator: &str, values: &str) -> String {
    format!(r#"{{"ComparisonOperator":"{operator}","AttributeValueList":[{values}]}}"#)
}

const KEY: &str = r#""TableName":"letters","Key":{"p":{"S":"a"},"s":{"S":"1"}}"#;

/// An UpdateItem that does nothing to item 1, if this is so.
fn expecting(expected: &str) -> String {
    format!(r#"{{{KEY},"Expected":{{{expected}}}}}"#)
}

#[tokio::test]
async fn every_operator_says_what_its_expression_does() {
    let server = letters().await;
    let cases = [
        ("n", "EQ", r#"{"N":"1.0"}"#, true),
        ("n", "EQ", r#"{"S":"1"}"#, false),
        ("set", "EQ", r#"{"SS":["y1","x"]}"#, true),
        ("l", "EQ", r#"{"L":[{"N":"1"}]}"#, true),
        ("gone", "EQ", r#"{"N":"1"}"#, false),
        ("n", "NE", r#"{"N":"1"}"#, false),
        ("n", "NE", r#"{"S":"1"}"#, true),
        ("gone", "NE", r#"{"S":"1"}"#, true),
        ("n", "LT", r#"{"N":"2"}"#, true),
        ("n", "LT", r#"{"N":"1"}"#, false),
        ("n", "LT", r#"{"S":"2"}"#, false),
        ("n", "LE", r#"{"N":"1"}"#, true),
        ("n", "GT", r#"{"N":"1"}"#, false),
        ("n", "GE", r#"{"N":"1"}"#, true),
        ("gone", "GE", r#"{"N":"1"}"#, false),
        ("n", "NOT_NULL", "", true),
        ("gone", "NOT_NULL", "", false),
        ("n", "NULL", "", false),
        ("gone", "NULL", "", true),
        ("t", "BEGINS_WITH", r#"{"S":"te"}"#, true),
        ("t", "BEGINS_WITH", r#"{"S":"xt"}"#, false),
        ("t", "CONTAINS", r#"{"S":"ex"}"#, true),
        ("set", "CONTAINS", r#"{"S":"x"}"#, true),
        ("l", "CONTAINS", r#"{"N":"1"}"#, true),
        ("l", "CONTAINS", r#"{"N":"2"}"#, false),
        ("t", "NOT_CONTAINS", r#"{"S":"ex"}"#, false),
        ("t", "NOT_CONTAINS", r#"{"S":"abc"}"#, true),
        ("gone", "NOT_CONTAINS", r#"{"S":"abc"}"#, false),
        ("n", "BETWEEN", r#"{"N":"1"},{"N":"1"}"#, true),
        ("n", "BETWEEN", r#"{"N":"2"},{"N":"3"}"#, false),
        ("n", "IN", r#"{"N":"7"},{"N":"1"}"#, true),
        ("n", "IN", r#"{"N":"7"}"#, false),
    ];
    for (attribute, operator, values, holds) in cases {
        let body = expecting(&format!(r#""{attribute}":{}"#, condition(operator, values)));
        let reply = server.call("UpdateItem", &body).await;
        let failed = reply.status == 400 && reply.body.contains("ConditionalCheckFailedException");
        assert!(if holds { reply.status == 200 } else { failed }, "{body} {reply:?}");
        let filter = format!(
            r#"{{"TableName":"letters","ScanFilter":{{"s":{},"{attribute}":{}}},"Select":"COUNT"}}"#,
            condition("EQ", r#"{"S":"1"}"#),
            condition(operator, values)
        );
        let reply = server.call("Scan", &filter).await;
        let expected = format!(r#"{{"Count":{},"ScannedCount":4}}"#, u8::from(holds));
        assert_eq!(reply.body, expected, "{filter}");
    }
    server.stop().await;
}

#[tokio::test]
async fn conditions_that_make_no_sense_are_refused() {
    let server = letters().await;
    let cases = [
        (
            r#""n":{"ComparisonOperator":"EQ"}"#.to_owned(),
            "Value or AttributeValueList must be used with ComparisonOperator: EQ for Attribute: n",
        ),
        (
            r#""n":{"AttributeValueList":[{"N":"1"}]}"#.to_owned(),
            "AttributeValueList can only be used with a ComparisonOperator for Attribute: n",
        ),
        (
            r#""n":{"Value":{"N":"1"},"AttributeValueList":[{"N":"1"}]}"#.to_owned(),
            "Value and AttributeValueList cannot be used together for Attribute: n",
        ),
        (
            r#""n":{"Exists":true,"ComparisonOperator":"NULL"}"#.to_owned(),
            "Exists and ComparisonOperator cannot be used together for Attribute: n",
        ),
        (r#""n":{"Exists":true}"#.to_owned(), "Value must be provided when Exists is true for Attribute: n"),
        (r#""n":{}"#.to_owned(), "Value must be provided when Exists is null for Attribute: n"),
        (
            r#""n":{"Exists":false,"Value":{"N":"1"}}"#.to_owned(),
            "Value cannot be used when Exists is false for Attribute: n",
        ),
        (format!(r#""n":{}"#, condition("EQ", "")), "Invalid number of argument(s) for the EQ ComparisonOperator"),
        (
            format!(r#""n":{}"#, condition("NULL", r#"{"N":"1"}"#)),
            "Invalid number of argument(s) for the NULL ComparisonOperator",
        ),
        (
            format!(r#""n":{}"#, condition("BETWEEN", r#"{"N":"1"}"#)),
            "Invalid number of argument(s) for the BETWEEN ComparisonOperator",
        ),
        (format!(r#""n":{}"#, condition("IN", "")), "Invalid number of argument(s) for the IN ComparisonOperator"),
        (
            format!(r#""n":{}"#, condition("LT", r#"{"SS":["a"]}"#)),
            "ComparisonOperator LT is not valid for SS AttributeValue type",
        ),
        (
            format!(r#""n":{}"#, condition("BEGINS_WITH", r#"{"N":"1"}"#)),
            "ComparisonOperator BEGINS_WITH is not valid for N AttributeValue type",
        ),
        (
            format!(r#""n":{}"#, condition("IN", r#"{"N":"1"},{"S":"1"}"#)),
            "AttributeValues inside AttributeValueList must be of same type",
        ),
        (
            format!(r#""n":{}"#, condition("BETWEEN", r#"{"N":"2"},{"N":"1"}"#)),
            "lower bound is greater than the upper bound",
        ),
        (
            format!(r#""n":{}"#, condition("LIKE", r#"{"N":"2"}"#)),
            "Value 'LIKE' at 'expected.n.member.comparisonOperator' failed to satisfy constraint: Member must satisfy enum value set: [IN, NULL, BETWEEN,",
        ),
        (r#""n":{"Value":{"N":"x"}}"#.to_owned(), "cannot be converted to a numeric value: x"),
        (r#""n":{"Value":{}}"#.to_owned(), "Supplied AttributeValue is empty"),
        (r#""":{"Exists":false}"#.to_owned(), "Empty attribute name"),
    ];
    for (expected, message) in cases {
        let reply = server.call("UpdateItem", &expecting(&expected)).await;
        let refused =
            reply.status == 400 && reply.body.contains("#ValidationException") && reply.body.contains(message);
        assert!(refused, "{expected}\nexpected {message}\n     got {reply:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn expectations_are_joined_and_cannot_stand_beside_expressions() {
    let server = letters().await;
    let two = r#""n":{"Value":{"N":"1"}},"gone":{"Value":{"N":"1"}}"#;
    let both = |operator: &str| format!(r#"{{{KEY},"Expected":{{{two}}},"ConditionalOperator":"{operator}"}}"#);
    let failed = "~The conditional request failed";
    script(
        &server,
        &[
            ("UpdateItem", &expecting(two), 400, failed),
            ("UpdateItem", &both("AND"), 400, failed),
            ("UpdateItem", &both("OR"), 200, "{}"),
            ("UpdateItem", &both("XOR"), 400, "~at 'conditionalOperator' failed to satisfy constraint"),
            ("UpdateItem", &expecting(r#""n":{"Exists":true,"Value":{"N":"1"}},"gone":{"Exists":false}"#), 200, "{}"),
            ("UpdateItem", &expecting(""), 200, "{}"),
            (
                "DeleteItem",
                &format!(r#"{{{KEY},"ConditionalOperator":"OR"}}"#),
                400,
                "~ConditionalOperator cannot be used without Filter or Expected",
            ),
            (
                "DeleteItem",
                &format!(r#"{{{KEY},"Expected":{{"n":{{"Exists":false}}}},"ConditionalOperator":"OR"}}"#),
                400,
                "~ConditionalOperator can only be used when Filter or Expected has two or more elements",
            ),
            (
                "DeleteItem",
                &format!(r#"{{{KEY},"Expected":{{}},"ConditionExpression":"attribute_exists(n)"}}"#),
                400,
                "~Can not use both expression and non-expression parameters in the same request: Non-expression parameters: {Expected} Expression parameters: {ConditionExpression}",
            ),
            (
                "UpdateItem",
                &format!(r#"{{{KEY},"AttributeUpdates":{{}},"ConditionExpression":"attribute_exists(n)"}}"#),
                400,
                "~{AttributeUpdates} Expression parameters: {ConditionExpression}",
            ),
            (
                "UpdateItem",
                &format!(r#"{{{KEY},"Expected":{{}},"ExpressionAttributeValues":{{":a":{{"N":"1"}}}}}}"#),
                400,
                "~ExpressionAttributeValues can only be specified when using expressions",
            ),
            (
                "PutItem",
                r#"{"TableName":"letters","Item":{"p":{"S":"a"},"s":{"S":"1"}},"Expected":{"p":{"Exists":false}},"ReturnValuesOnConditionCheckFailure":"ALL_OLD"}"#,
                400,
                r#"~"Item":{"l":{"L":[{"N":"1"}]}"#,
            ),
            ("DeleteItem", &format!(r#"{{{KEY},"Expected":null,"ConditionalOperator":null}}"#), 200, "{}"),
        ],
    )
    .await;
    // However many there are, the tree of them stays flat.
    let many: Vec<String> = (0..3000).map(|n| format!(r#""a{n}":{{"Exists":false}}"#)).collect();
    assert_eq!(server.call("UpdateItem", &expecting(&many.join(","))).await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn attribute_updates_put_add_and_delete() {
    let server = letters().await;
    let update = |updates: &str| format!(r#"{{{KEY},"AttributeUpdates":{{{updates}}},"ReturnValues":"UPDATED_NEW"}}"#);
    let fresh = |updates: &str| {
        format!(
            r#"{{"TableName":"letters","Key":{{"p":{{"S":"b"}},"s":{{"S":"1"}}}},"AttributeUpdates":{{{updates}}},"ReturnValues":"ALL_NEW"}}"#
        )
    };
    let gone = r#"{"TableName":"letters","Key":{"p":{"S":"b"},"s":{"S":"1"}}}"#;
    script(
        &server,
        &[
            (
                "UpdateItem",
                &update(r#""t":{"Value":{"S":"u"}},"n":{"Action":"ADD","Value":{"N":"2"}}"#),
                200,
                r#"{"Attributes":{"n":{"N":"3"},"t":{"S":"u"}}}"#,
            ),
            (
                "UpdateItem",
                &update(r#""set":{"Action":"ADD","Value":{"SS":["z"]}}"#),
                200,
                r#"{"Attributes":{"set":{"SS":["x","y1","z"]}}}"#,
            ),
            (
                "UpdateItem",
                &update(r#""set":{"Action":"DELETE","Value":{"SS":["x","q"]}}"#),
                200,
                r#"{"Attributes":{"set":{"SS":["y1","z"]}}}"#,
            ),
            (
                "UpdateItem",
                &update(r#""l":{"Action":"ADD","Value":{"L":[{"S":"two"}]}}"#),
                200,
                r#"{"Attributes":{"l":{"L":[{"N":"1"},{"S":"two"}]}}}"#,
            ),
            (
                "UpdateItem",
                &update(r#""set":{"Action":"DELETE"},"new":{"Action":"ADD","Value":{"N":"7"}}"#),
                200,
                r#"{"Attributes":{"new":{"N":"7"}}}"#,
            ),
            ("UpdateItem", &update(r#""n":{"Action":"ADD","Value":{"SS":["z"]}}"#), 400, "~incorrect data type"),
            (
                "UpdateItem",
                &update(r#""n":{"Action":"PUT"}"#),
                400,
                "~Only DELETE action is allowed when no attribute value is specified",
            ),
            (
                "UpdateItem",
                &update(r#""n":{"Action":"DELETE","Value":{"N":"7"}}"#),
                400,
                "~DELETE action with value is not supported for the type N",
            ),
            (
                "UpdateItem",
                &update(r#""n":{"Action":"ADD","Value":{"S":"7"}}"#),
                400,
                "~ADD action is not supported for the type S",
            ),
            (
                "UpdateItem",
                &update(r#""n":{"Action":"MOVE","Value":{"S":"7"}}"#),
                400,
                "~at 'attributeUpdates.n.member.action' failed to satisfy constraint",
            ),
            (
                "UpdateItem",
                &update(r#""s":{"Value":{"S":"7"}}"#),
                400,
                "~Cannot update attribute s. This attribute is part of the key",
            ),
            // Taking away makes no item; naming nothing, or putting something, does.
            ("UpdateItem", &fresh(r#""x":{"Action":"DELETE"}"#), 200, "{}"),
            ("GetItem", gone, 200, "{}"),
            ("UpdateItem", &fresh(""), 200, r#"{"Attributes":{"p":{"S":"b"},"s":{"S":"1"}}}"#),
        ],
    )
    .await;
    server.stop().await;
}

#[tokio::test]
async fn key_conditions_and_query_filters_choose_items() {
    let server = letters().await;
    let is_a = condition("EQ", r#"{"S":"a"}"#);
    let query = |keys: &str, more: &str| {
        format!(r#"{{"TableName":"letters","KeyConditions":{{{keys}}},"AttributesToGet":["n"]{more}}}"#)
    };
    let p = |rest: &str| format!(r#""p":{is_a}{rest}"#);
    let sort = |operator: &str, values: &str| p(&format!(r#","s":{}"#, condition(operator, values)));
    let found = |numbers: &[u32]| {
        let items: Vec<String> = numbers.iter().map(|n| format!(r#"{{"n":{{"N":"{n}"}}}}"#)).collect();
        format!(r#"{{"Count":{},"Items":[{}],"#, numbers.len(), items.join(","))
    };
    let filter = |operator: &str, n: u32| {
        format!(r#","QueryFilter":{{"n":{}}}"#, condition(operator, &format!(r#"{{"N":"{n}"}}"#)))
    };
    let cases = [
        (query(&p(""), ""), vec![1, 2, 3, 4]),
        (query(&sort("GT", r#"{"S":"2"}"#), ""), vec![3, 4]),
        (query(&sort("LE", r#"{"S":"2"}"#), r#","ScanIndexForward":false"#), vec![2, 1]),
        (query(&sort("BETWEEN", r#"{"S":"2"},{"S":"3"}"#), ""), vec![2, 3]),
        (query(&sort("BEGINS_WITH", r#"{"S":"4"}"#), ""), vec![4]),
        (query(&p(""), &filter("GE", 3)), vec![3, 4]),
    ];
    for (body, numbers) in cases {
        let reply = server.call("Query", &body).await;
        assert!(reply.status == 200 && reply.body.starts_with(&found(&numbers)), "{body} {reply:?}");
    }
    let refused = [
        (query("", ""), "Conditions can be of length 1 or 2 only"),
        (query(&sort("NE", r#"{"S":"2"}"#), ""), "Attempted conditional constraint is not an indexable operation"),
        (query(&sort("EQ", r#"{"N":"2"}"#), ""), "Condition parameter type does not match schema type"),
        (query(&format!(r#""s":{is_a}"#), ""), "Query condition missed key schema element: p"),
        (query(&format!(r#""p":{}"#, condition("GT", r#"{"S":"a"}"#)), ""), "Query key condition not supported"),
        (query(&p(r#","s":{}"#), ""), "Value null at 'keyConditions.s.member.comparisonOperator'"),
        (
            query(&p(""), &format!(r#","QueryFilter":{{"s":{is_a}}}"#)),
            "QueryFilter can only contain non-primary key attributes: Primary key attribute: s",
        ),
        (
            query(&p(""), r#","FilterExpression":"n = n""#),
            "{KeyConditions, AttributesToGet} Expression parameters: {FilterExpression}",
        ),
        (
            query(&p(""), r#","Select":"COUNT""#),
            "Cannot specify the AttributesToGet when choosing to get only the Count",
        ),
        (
            query(&p(""), r#","ConditionalOperator":"OR""#),
            "ConditionalOperator cannot be used without Filter or Expected",
        ),
    ];
    for (body, message) in refused {
        let reply = server.call("Query", &body).await;
        assert!(reply.status == 400 && reply.body.contains(message), "{body}\nexpected {message}\n     got {reply:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn attributes_to_get_are_a_projection() {
    let server = letters().await;
    let get = |names: &str| format!(r#"{{{KEY},"AttributesToGet":[{names}]}}"#);
    let batch =
        r#"{"RequestItems":{"letters":{"Keys":[{"p":{"S":"a"},"s":{"S":"2"}}],"AttributesToGet":["n","gone"]}}}"#;
    script(
        &server,
        &[
            ("GetItem", &get(r#""n","t""#), 200, r#"{"Item":{"n":{"N":"1"},"t":{"S":"text"}}}"#),
            ("GetItem", &get(r#""l[0]""#), 200, r#"{"Item":{}}"#),
            ("GetItem", &get(""), 400, "~at 'attributesToGet' failed to satisfy constraint: Member must have length greater than or equal to 1"),
            ("GetItem", &get(r#""n","n""#), 400, "~Duplicate value in attribute name: n"),
            ("BatchGetItem", batch, 200, r#"{"Responses":{"letters":[{"n":{"N":"2"}}]},"UnprocessedKeys":{}}"#),
            ("Scan", r#"{"TableName":"letters","AttributesToGet":["n"],"Limit":1}"#, 200, r#"~"Items":[{"n":{"N":"1"}}]"#),
        ],
    )
    .await;
    server.stop().await;
}
