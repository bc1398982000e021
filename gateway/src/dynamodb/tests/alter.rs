//! Tables that change: billing, protection, tags, time to live; and items that expire.

use super::super::expire::sweep;
use super::api::script;
use super::*;

/// Seconds since 1970 at which these tests take place.
const NOW_S: u64 = 1_700_000_000;

fn table(more: &str) -> String {
    format!(r#"{{"TableName":"orders"{more}}}"#)
}

#[tokio::test]
async fn a_table_changes_what_it_costs_and_its_protection() {
    let server = Server::start().await;
    let units = |read: u32, write: u32| {
        format!(r#","ProvisionedThroughput":{{"ReadCapacityUnits":{read},"WriteCapacityUnits":{write}}}"#)
    };
    let provisioned = format!(r#","BillingMode":"PROVISIONED"{}"#, units(3, 4));
    let missing = "~Requested resource not found: Table: orders not found";
    script(
        &server,
        &[
            ("UpdateTable", &table(r#","DeletionProtectionEnabled":true"#), 400, missing),
            ("CreateTable", ORDERS, 200, "~ACTIVE"),
            ("UpdateTable", &table(""), 400, "~At least one of ProvisionedThroughput, BillingMode,"),
            ("UpdateTable", &table(&units(3, 4)), 400, "~can be specified when BillingMode is PAY_PER_REQUEST"),
            ("UpdateTable", &table(r#","BillingMode":"PROVISIONED""#), 400, "~must both be specified when BillingMode"),
            ("UpdateTable", &table(&provisioned), 200, r#"~"ReadCapacityUnits":3,"WriteCapacityUnits":4"#),
            ("UpdateTable", &table(&units(3, 4)), 400, "~The provisioned throughput for the table will not change."),
            ("UpdateTable", &table(&units(5, 4)), 200, r#"~"TableStatus":"ACTIVE""#),
            ("DescribeTable", &table(""), 200, r#"~"ReadCapacityUnits":5,"WriteCapacityUnits":4"#),
            ("UpdateTable", &table(&units(0, 4)), 400, "~at 'provisionedThroughput.readCapacityUnits'"),
            ("UpdateTable", &table(r#","BillingMode":"PAY_PER_REQUEST""#), 200, r#"~"BillingMode":"PAY_PER_REQUEST""#),
            (
                "UpdateTable",
                &table(r#","DeletionProtectionEnabled":true"#),
                200,
                r#"~"DeletionProtectionEnabled":true"#,
            ),
            ("DeleteTable", &table(""), 400, "~currently protected against deletion"),
            (
                "UpdateTable",
                &table(r#","GlobalSecondaryIndexUpdates":[{"Delete":{"IndexName":"i"}}]"#),
                400,
                "~at 'globalSecondaryIndexUpdates.1.member.delete.indexName' failed to satisfy constraint",
            ),
            ("UpdateTable", &table(r#","DeletionProtectionEnabled":false"#), 200, "~ACTIVE"),
            ("DeleteTable", &table(""), 200, "~DELETING"),
            ("DescribeLimits", "{}", 200, r#"~"TableMaxReadCapacityUnits":40000"#),
            ("DescribeContinuousBackups", &table(""), 400, "~#TableNotFoundException"),
            ("CreateTable", ORDERS, 200, "~ACTIVE"),
            ("DescribeContinuousBackups", &table(""), 200, r#"~"ContinuousBackupsStatus":"DISABLED""#),
        ],
    )
    .await;
    server.stop().await;
}

#[tokio::test]
async fn tables_have_tags() {
    let server = Server::start().await;
    const ARN: &str = "arn:aws:dynamodb:elastickv:000000000000:table/orders";
    let of = |arn: &str, more: &str| format!(r#"{{"ResourceArn":"{arn}"{more}}}"#);
    let tags = |tags: &str| of(ARN, &format!(r#","Tags":[{tags}]"#));
    let long = format!(r#"{{"Key":"{}","Value":""}}"#, "ü".repeat(128));
    let create = ORDERS.replacen('{', r#"{"Tags":[{"Key":"team","Value":"a b"}],"#, 1);
    let bad = ORDERS.replacen('{', r#"{"Tags":[{"Key":"50%","Value":""}],"#, 1);
    script(
        &server,
        &[
            ("CreateTable", &bad, 400, "~A tag may not contain the character '%'"),
            ("DescribeTable", &table(""), 400, "~not found"),
            ("ListTagsOfResource", &of(ARN, ""), 400, "~Requested resource not found: ResourcArn: arn:aws"),
            ("CreateTable", &create, 200, "~ACTIVE"),
            ("ListTagsOfResource", &of(ARN, ""), 200, r#"{"Tags":[{"Key":"team","Value":"a b"}]}"#),
            ("TagResource", &tags(r#"{"Key":"team","Value":"c"},{"Key":"x","Value":""}"#), 200, ""),
            ("TagResource", &tags(&long), 200, ""),
            ("UntagResource", &of(ARN, r#","TagKeys":["x","none"]"#), 200, ""),
            ("ListTagsOfResource", &of(ARN, ""), 200, r#"~{"Tags":[{"Key":"team","Value":"c"},{"Key":"üü"#),
            ("TagResource", &tags(&long.replacen('ü', "üü", 1)), 400, "~at 'tags.1.member.key' failed to satisfy"),
            ("TagResource", &tags(r#"{"Key":"","Value":""}"#), 400, "~at 'tags.1.member.key' failed to satisfy"),
            ("TagResource", &tags(r#"{"Key":"a"}"#), 400, "~Value null at 'tags.1.member.value'"),
            ("TagResource", &tags(r#"{"Key":"a","Value":"!"}"#), 400, "~A tag may not contain the character '!'"),
            ("TagResource", &tags(""), 400, "~Atleast one Tag Key should be provided"),
            ("TagResource", &of(&format!("{ARN}/index/i"), r#","Tags":[]"#), 400, "~Invalid ResourceArn"),
            ("UntagResource", "{}", 400, "~Value null at 'resourceArn'"),
        ],
    )
    .await;
    server.stop().await;
}

#[tokio::test]
async fn time_to_live_is_switched() {
    let server = Server::start().await;
    let ttl = |attribute: &str, enabled: bool| {
        table(&format!(r#","TimeToLiveSpecification":{{"AttributeName":"{attribute}","Enabled":{enabled}}}"#))
    };
    let off = r#"{"TimeToLiveDescription":{"TimeToLiveStatus":"DISABLED"}}"#;
    let on = r#"{"TimeToLiveDescription":{"AttributeName":"at","TimeToLiveStatus":"ENABLED"}}"#;
    script(
        &server,
        &[
            ("CreateTable", ORDERS, 200, "~ACTIVE"),
            ("DescribeTimeToLive", &table(""), 200, off),
            ("UpdateTimeToLive", &ttl("at", false), 400, "~TimeToLive is already disabled"),
            (
                "UpdateTimeToLive",
                &ttl("at", true),
                200,
                r#"{"TimeToLiveSpecification":{"AttributeName":"at","Enabled":true}}"#,
            ),
            ("DescribeTimeToLive", &table(""), 200, on),
            ("UpdateTimeToLive", &ttl("at", true), 400, "~TimeToLive is already enabled"),
            ("UpdateTimeToLive", &ttl("other", true), 400, "~TimeToLive is active on a different AttributeName"),
            ("UpdateTimeToLive", &ttl("", true), 400, "~at 'timeToLiveSpecification.attributeName'"),
            ("UpdateTimeToLive", &ttl(&"a".repeat(256), true), 400, "~length less than or equal to 255"),
            ("UpdateTimeToLive", &table(""), 400, "~Value null at 'timeToLiveSpecification'"),
            ("UpdateTimeToLive", &ttl("at", false), 200, "~"),
            ("DescribeTimeToLive", &table(""), 200, off),
        ],
    )
    .await;
    server.stop().await;
}

#[tokio::test]
async fn items_that_have_expired_are_removed_and_no_others() {
    let server = Server::start().await;
    assert_eq!(server.call("CreateTable", ORDERS).await.status, 200);
    let put = |p: &str, at: &str| format!(r#"{{"TableName":"orders","Item":{{"p":{{"S":"{p}"}},"at":{at}}}}}"#);
    let stays = [
        ("now", format!(r#"{{"N":"{NOW_S}"}}"#)),
        ("later", format!(r#"{{"N":"{}"}}"#, NOW_S + 1)),
        ("text", r#"{"S":"1699999999"}"#.to_owned()),
        ("long-ago", format!(r#"{{"N":"{}"}}"#, NOW_S - 5 * 365 * 86_400 - 1)),
        ("list", r#"{"L":[{"N":"1699999999"}]}"#.to_owned()),
    ];
    let goes = [
        ("a-second-ago", format!(r#"{{"N":"{}"}}"#, NOW_S - 1)),
        ("a-moment-ago", format!(r#"{{"N":"{}.5"}}"#, NOW_S - 1)),
        ("exponent", r#"{"N":"1.699999999e9"}"#.to_owned()),
    ];
    for (p, at) in stays.iter().chain(&goes) {
        assert_eq!(server.call("PutItem", &put(p, at)).await.status, 200);
    }
    for n in 0..60 {
        assert_eq!(server.call("PutItem", &put(&format!("many-{n}"), r#"{"N":"1699999000"}"#)).await.status, 200);
    }
    assert_eq!(sweep(&server.store, NOW_S, Duration::ZERO).await, Ok(0), "the table has no time to live");
    let enable = r#"{"TableName":"orders","TimeToLiveSpecification":{"AttributeName":"at","Enabled":true}}"#;
    assert_eq!(server.call("UpdateTimeToLive", enable).await.status, 200);
    // Until they are removed, they are read like all others.
    let count = r#"{"TableName":"orders","Select":"COUNT"}"#;
    assert_eq!(server.call("Scan", count).await.body, r#"{"Count":68,"ScannedCount":68}"#);
    assert_eq!(sweep(&server.store, NOW_S, Duration::ZERO).await, Ok(63));
    for (p, _) in &stays {
        let get = format!(r#"{{"TableName":"orders","Key":{{"p":{{"S":"{p}"}}}}}}"#);
        assert!(server.call("GetItem", &get).await.body.contains(p), "{p}");
    }
    assert_eq!(server.call("Scan", count).await.body, r#"{"Count":5,"ScannedCount":5}"#);

    // The minute has been swept; the next one is free.
    assert_eq!(server.call("PutItem", &put("again", r#"{"N":"1699999000"}"#)).await.status, 200);
    assert_eq!(sweep(&server.store, NOW_S, Duration::ZERO).await, Ok(0));
    assert_eq!(sweep(&server.store, NOW_S + 60, Duration::ZERO).await, Ok(3), "again, now and later");
    server.stop().await;
}
