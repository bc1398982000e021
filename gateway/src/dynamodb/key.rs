//! Finding an item's key: which attributes make it, and what DynamoDB demands of them.

use bytes::Bytes;
use commands::dynamo::index::{MAX_PARTITION_KEY_BYTES, MAX_SORT_KEY_BYTES, check_keys};
use commands::dynamo::key::{encode_key_part, item_key};
use commands::dynamo::table::KeyAttribute;
use commands::dynamo::{AttributeValue, Item, Table};

use super::fault::Fault;

/// The encoded key of a whole item, which fits into the table's indexes.
pub(super) fn key_of_item(table: &Table, item: &Item) -> Result<Bytes, Fault> {
    let key = encode(table, |schema| {
        let name = &schema.name;
        let value = item.get(name).ok_or_else(|| Fault::parameter(format!("Missing the key {name} in the item")))?;
        let (expected, actual) = (schema.kind.name(), value.type_name());
        if expected != actual {
            let message = format!("Type mismatch for key {name} expected: {expected} actual: {actual}");
            return Err(Fault::parameter(message));
        }
        Ok(value)
    })?;
    check_keys(table, item, None).map_err(Fault::validation)?;
    Ok(key)
}

/// The encoded key that a request's Key names: all key attributes and no others.
pub(super) fn key_of_key(table: &Table, key: &Item) -> Result<Bytes, Fault> {
    let mismatch = || Fault::validation("The provided key element does not match the schema");
    if key.len() != 1 + usize::from(table.sort_key.is_some()) {
        return Err(mismatch());
    }
    encode(table, |schema| {
        key.get(&schema.name).filter(|value| value.type_name() == schema.kind.name()).ok_or_else(mismatch)
    })
}

/// A partition key's value is neither empty nor too long.
pub(super) fn check_partition_key(name: &str, value: &AttributeValue) -> Result<(), Fault> {
    // The missing space is AWS'.
    let too_long = "Size of hashkey has exceeded the maximum size limit of2048 bytes";
    check_content(name, value, MAX_PARTITION_KEY_BYTES, too_long)
}

/// A sort key's value is neither empty nor too long.
pub(super) fn check_sort_key(name: &str, value: &AttributeValue) -> Result<(), Fault> {
    let too_long = "Aggregated size of all range keys has exceeded the size limit of 1024 bytes";
    check_content(name, value, MAX_SORT_KEY_BYTES, too_long)
}

fn encode<'a>(
    table: &Table,
    find: impl Fn(&KeyAttribute) -> Result<&'a AttributeValue, Fault>,
) -> Result<Bytes, Fault> {
    let part =
        |schema: &KeyAttribute, check: fn(&str, &AttributeValue) -> Result<(), Fault>| -> Result<Vec<u8>, Fault> {
            let value = find(schema)?;
            check(&schema.name, value)?;
            Ok(encode_key_part(value).expect("the value has the type of a key attribute"))
        };
    let partition_key = part(&table.partition_key, check_partition_key)?;
    let sort_key = table.sort_key.as_ref().map(|schema| part(schema, check_sort_key)).transpose()?;
    Ok(item_key(table.id, &partition_key, &sort_key.unwrap_or_default()))
}

/// Text and bytes in keys are neither empty nor too long. Numbers always fit.
fn check_content(name: &str, value: &AttributeValue, limit: usize, too_long: &str) -> Result<(), Fault> {
    let (kind, length) = match value {
        AttributeValue::S(text) => ("string", text.len()),
        AttributeValue::B(bytes) => ("binary", bytes.len()),
        _ => return Ok(()),
    };
    if length == 0 {
        return Err(Fault::validation(format!(
            "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an \
             empty {kind} value. Key: {name}"
        )));
    }
    if length > limit { Err(Fault::parameter(too_long)) } else { Ok(()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use commands::dynamo::key::KeyType;
    use commands::dynamo::table::Billing;
    use keyspace::TableId;

    use super::*;

    fn table() -> Table {
        let attribute = |name: &str, kind| KeyAttribute { name: name.into(), kind };
        Table {
            id: TableId(1),
            uuid: [0; 16],
            created_ms: 0,
            name: "table".into(),
            arn: "arn".into(),
            partition_key: attribute("p", KeyType::Text),
            sort_key: Some(attribute("s", KeyType::Bytes)),
            billing: Billing::PayPerRequest,
            deletion_protection: false,
            tags: std::collections::BTreeMap::new(),
            time_to_live: None,
            indexes: Vec::new(),
        }
    }

    fn text(length: usize) -> AttributeValue {
        AttributeValue::S("x".repeat(length))
    }

    fn bytes(length: usize) -> AttributeValue {
        AttributeValue::B(vec![0; length].into())
    }

    fn item(members: &[(&str, AttributeValue)]) -> Item {
        members.iter().map(|(name, value)| (name.to_string(), value.clone())).collect()
    }

    #[test]
    fn an_item_and_its_key_have_one_encoding() {
        let key = item(&[("p", text(1)), ("s", bytes(2))]);
        let whole = item(&[("p", text(1)), ("s", bytes(2)), ("more", AttributeValue::Null)]);
        assert_eq!(key_of_item(&table(), &whole).unwrap(), key_of_key(&table(), &key).unwrap());
        assert!(key_of_key(&table(), &item(&[("p", text(2048)), ("s", bytes(1024))])).is_ok());
    }

    #[test]
    fn keys_have_limits() {
        let cases = [
            (text(0), bytes(1), "cannot contain an empty string value. Key: p"),
            (text(1), bytes(0), "cannot contain an empty binary value. Key: s"),
            (text(2049), bytes(1), "Size of hashkey has exceeded the maximum size limit of2048 bytes"),
            (text(1), bytes(1025), "Aggregated size of all range keys has exceeded the size limit of 1024 bytes"),
        ];
        for (partition, sort, message) in cases {
            let key = item(&[("p", partition), ("s", sort)]);
            for fault in [key_of_key(&table(), &key).unwrap_err(), key_of_item(&table(), &key).unwrap_err()] {
                assert!(fault.message.contains(message), "{}", fault.message);
            }
        }
    }

    #[test]
    fn items_must_have_their_key() {
        let message = |item: &Item| key_of_item(&table(), item).unwrap_err().message;
        let missing = "One or more parameter values were invalid: Missing the key s in the item";
        assert_eq!(message(&item(&[("p", text(1))])), missing);
        let mismatch = "One or more parameter values were invalid: Type mismatch for key s expected: B actual: S";
        assert_eq!(message(&item(&[("p", text(1)), ("s", text(1))])), mismatch);
    }

    #[test]
    fn a_key_names_exactly_the_schema() {
        let more = [("p", text(1)), ("s", bytes(1)), ("x", text(1))];
        let other = [("p", text(1)), ("x", bytes(1))];
        let wrong_type = [("p", text(1)), ("s", text(1))];
        for key in [&more[..], &more[..1], &other, &wrong_type, &[]] {
            let fault = key_of_key(&table(), &item(key)).unwrap_err();
            assert_eq!(fault.message, "The provided key element does not match the schema");
        }
    }
}
