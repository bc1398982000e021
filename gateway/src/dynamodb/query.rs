//! Query and Scan: neighbouring items, page by page.
//!
//! A request becomes one range of encoded keys: part of a partition for a Query, the table or a slice of its hashes for
//! a Scan. The range is walked route after route, each part read by its leader ([`commands::dynamo::PageRead`]), until
//! the page is full; the key of the last item looked at is where the next request goes on.
//!
//! Every part is a linearizable read of its group. Together they are not of one moment, as in AWS.

use aws_smithy_types::Number;
use bytes::Bytes;
use commands::Order;
use commands::dynamo::expression::{Comparator, Condition, KeyTest, key_tests};
use commands::dynamo::key::{encode_key_part, key_attributes, partition_range, sort_range};
use commands::dynamo::table::KeyAttribute;
use commands::dynamo::{Item, MAX_PAGE_BYTES, Operation, Outcome, Page, PageRead, Selection, Table, behind};
use keyspace::{KeyRange, layout};

use super::attribute::{read_item, write_item};
use super::capacity::{CapacityReport, read_units};
use super::catalog::Catalog;
use super::constraints::Constraints;
use super::expressions::{ExpressionFields, Expressions, Known};
use super::fault::Fault;
use super::items::{item_of, reply, table_missing};
use super::json::Reader;
use super::key::{check_partition_key, check_sort_key, key_of_key};
use super::store::{Call, Store, StoreError};

const QUERY: Known = Known {
    expressions: &["FilterExpression", "KeyConditionExpression", "ProjectionExpression"],
    legacy: &["AttributesToGet", "ConditionalOperator", "KeyConditions", "QueryFilter"],
};
const SCAN: Known = Known {
    expressions: &["FilterExpression", "ProjectionExpression"],
    legacy: &["AttributesToGet", "ConditionalOperator", "ScanFilter"],
};
/// Most segments of a parallel Scan.
const MAX_SEGMENTS: i64 = 1_000_000;
/// How many hashes partitions are spread over.
const HASHES: u64 = 1 << 16;
/// The choices of `Select`.
const SELECTS: [&str; 4] = ["SPECIFIC_ATTRIBUTES", "COUNT", "ALL_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES"];

/// What both operations are asked.
struct RangeRequest {
    table_name: String,
    expressions: Expressions,
    count_only: bool,
    limit: Option<usize>,
    start: Option<Item>,
    descending: bool,
    consistent_read: bool,
    segment: Option<Segment>,
    report: CapacityReport,
}

/// One of the parts of a parallel Scan.
#[derive(Clone, Copy)]
struct Segment {
    index: u64,
    total: u64,
}

impl RangeRequest {
    fn read(body: &[u8], known: &'static Known) -> Result<Self, Fault> {
        let (mut table_name, mut index_name, mut select, mut limit, mut start) = (None, None, None, None, None);
        let (mut forward, mut consistent_read, mut return_capacity) = (None, None, None);
        let (mut segment, mut total_segments) = (None, None);
        let mut expressions = ExpressionFields::new(known);
        let invalid = Reader::document(body, |reader, field| {
            match field {
                "TableName" => table_name = reader.string()?,
                "IndexName" => index_name = reader.string()?,
                "Select" => select = reader.string()?,
                "Limit" => limit = reader.integer()?,
                "ExclusiveStartKey" => start = read_item(reader)?,
                "ScanIndexForward" => forward = reader.boolean()?,
                "ConsistentRead" => consistent_read = reader.boolean()?,
                "ReturnConsumedCapacity" => return_capacity = reader.string()?,
                "Segment" => segment = reader.integer()?,
                "TotalSegments" => total_segments = reader.integer()?,
                field => {
                    if !expressions.read(reader, field)? {
                        reader.skip()?;
                    }
                }
            }
            Ok(())
        })?;

        let mut constraints = Constraints::default();
        constraints.table_name("tableName", &table_name);
        constraints.choice("select", &select, &SELECTS);
        constraints.bounds("limit", limit, 1, i64::from(i32::MAX));
        constraints.bounds("segment", segment, 0, MAX_SEGMENTS - 1);
        constraints.bounds("totalSegments", total_segments, 1, MAX_SEGMENTS);
        constraints.choice("returnConsumedCapacity", &return_capacity, &CapacityReport::CHOICES);
        constraints.finish()?;
        if let Some(fault) = invalid {
            return Err(fault);
        }
        if let Some(index) = index_name {
            return Err(Fault::validation(format!("The table does not have the specified index: {index}")));
        }
        let segment = segment_of(segment, total_segments)?;
        let expressions = expressions.parse()?;
        let projected_by = match expressions.projection {
            Some(_) if expressions.legacy => Some("AttributesToGet"),
            Some(_) => Some("ProjectionExpression"),
            None => None,
        };
        check_select(select.as_deref(), projected_by)?;
        Ok(Self {
            // It was required above.
            table_name: table_name.unwrap_or_default(),
            expressions,
            count_only: select.as_deref() == Some("COUNT"),
            limit: limit.and_then(|limit| usize::try_from(limit).ok()),
            start,
            descending: forward == Some(false),
            consistent_read: consistent_read.unwrap_or(false),
            segment,
            report: CapacityReport::from_name(return_capacity.as_deref()),
        })
    }

    fn order(&self) -> Order {
        if self.descending { Order::Descending } else { Order::Ascending }
    }

    /// The encoded key behind which to go on.
    fn start_key(&self, table: &Table) -> Result<Option<Bytes>, Fault> {
        let invalid =
            |fault: Fault| Fault::validation(format!("The provided starting key is invalid: {}", fault.message));
        self.start.as_ref().map(|start| key_of_key(table, start).map_err(invalid)).transpose()
    }

    /// Reads a page of `range` and answers it.
    async fn answer<S: Store>(self, store: &S, table: &Table, range: Option<KeyRange>) -> Result<String, Fault> {
        let order = self.order();
        let selection = Selection {
            filter: self.expressions.filter,
            projection: self.expressions.projection,
            count_only: self.count_only,
        };
        let max_items = self.limit.unwrap_or(usize::MAX);
        let page = match range {
            Some(range) => walk(store, range, order, max_items, &selection).await?,
            None => Page::default(),
        };
        let items: Vec<Item> = page.items.iter().map(item_of).collect::<Result<_, _>>()?;
        let last = page.last.as_ref().filter(|_| page.more);
        let last = last.map(|key| {
            key_attributes(table, key).ok_or_else(|| Fault::internal(&"a page ended at a key that is not the table's"))
        });
        let last = last.transpose()?;
        Ok(reply(|object| {
            object.key("Count").number(Number::PosInt(page.count as u64));
            if !self.count_only {
                let mut array = object.key("Items").start_array();
                items.iter().for_each(|item| write_item(array.value(), item));
                array.finish();
            }
            if let Some(last) = &last {
                write_item(object.key("LastEvaluatedKey"), last);
            }
            object.key("ScannedCount").number(Number::PosInt(page.scanned as u64));
            self.report.write(object, &self.table_name, read_units(page.bytes, self.consistent_read));
        }))
    }
}

fn segment_of(segment: Option<i64>, total: Option<i64>) -> Result<Option<Segment>, Fault> {
    let number = |value: i64| u64::try_from(value).expect("the number is in bounds");
    match (segment, total) {
        (None, None) => Ok(None),
        (Some(_), None) => Err(Fault::validation(
            "The TotalSegments parameter is required but was not present in the request when Segment parameter is present",
        )),
        (None, Some(_)) => Err(Fault::validation(
            "The Segment parameter is required but was not present in the request when parameter TotalSegments is present",
        )),
        (Some(segment), Some(total)) if segment >= total => Err(Fault::validation(format!(
            "The Segment parameter is zero-based and must be less than parameter TotalSegments: Segment: {segment} is \
             not less than TotalSegments: {total}"
        ))),
        (Some(segment), Some(total)) => Ok(Some(Segment { index: number(segment), total: number(total) })),
    }
}

/// `projected_by`: the parameter that names attributes, if one does.
fn check_select(select: Option<&str>, projected_by: Option<&str>) -> Result<(), Fault> {
    let cannot = |projected_by: &str, what: &str| {
        Err(Fault::validation(format!("Cannot specify the {projected_by} when choosing to get {what}")))
    };
    match (select, projected_by) {
        (Some("SPECIFIC_ATTRIBUTES"), None) => Err(Fault::parameter(
            "Must specify the AttributesToGet or ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES",
        )),
        (Some("ALL_PROJECTED_ATTRIBUTES"), _) => {
            Err(Fault::parameter("ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName"))
        }
        (Some("COUNT"), Some(projected_by)) => cannot(projected_by, "only the Count"),
        (Some("ALL_ATTRIBUTES"), Some(projected_by)) => cannot(projected_by, "ALL_ATTRIBUTES"),
        _ => Ok(()),
    }
}

/// Reads items of one partition.
pub(super) async fn query<S: Store>(store: &S, catalog: &Catalog, body: &[u8]) -> Result<String, Fault> {
    let mut request = RangeRequest::read(body, &QUERY)?;
    request.segment = None;
    let Some(condition) = request.expressions.key_condition.take() else {
        return Err(Fault::validation(
            "Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.",
        ));
    };
    let table = catalog.table(store, &request.table_name).await.map_err(table_missing)?;
    if let Some(filter) = &request.expressions.filter {
        check_filter(&table, filter, request.expressions.legacy)?;
    }
    let (partition_key, sort_test) = key_condition(&table, condition)?;
    let range = match &sort_test {
        Some(test) => sort_range(table.id, &partition_key, test),
        None => Some(partition_range(table.id, &partition_key)),
    };
    let start = request.start_key(&table)?;
    if start.is_some() {
        let at_most_one = matches!(sort_test, Some(KeyTest::Compare(Comparator::Equal, _))) || table.sort_key.is_none();
        if at_most_one {
            return Err(Fault::validation("The query can return at most one row and cannot be restarted"));
        }
    }
    let range = match (range, start) {
        (Some(range), Some(start)) if range.contains(&start) => behind(&range, &start, request.order()),
        (_, Some(_)) => {
            let message = "The provided starting key is outside query boundaries based on provided conditions";
            return Err(Fault::validation(message));
        }
        (range, None) => range,
    };
    request.answer(store, &table, range).await
}

/// Reads items of a whole table, or of one segment of it.
pub(super) async fn scan<S: Store>(store: &S, catalog: &Catalog, body: &[u8]) -> Result<String, Fault> {
    let mut request = RangeRequest::read(body, &SCAN)?;
    request.descending = false;
    let table = catalog.table(store, &request.table_name).await.map_err(table_missing)?;
    let range = match request.segment {
        Some(segment) => segment_range(&table, segment),
        None => Some(KeyRange::prefix(layout::dynamo_table(table.id))),
    };
    let start = request.start_key(&table)?;
    let range = match (range, start, request.segment) {
        (range, None, _) => range,
        (Some(range), Some(start), _) if range.contains(&start) => behind(&range, &start, Order::Ascending),
        (_, Some(_), Some(Segment { index, total })) => {
            return Err(Fault::validation(format!(
                "The provided starting key is invalid: Invalid ExclusiveStartKey. Please use ExclusiveStartKey with \
                 correct Segment. TotalSegments: {total} Segment: {index}"
            )));
        }
        (_, Some(_), None) => return Err(Fault::internal(&"a key of a table lies outside of the table")),
    };
    request.answer(store, &table, range).await
}

/// The hashes of one segment; `None` where there are more segments than hashes and this one has none.
fn segment_range(table: &Table, segment: Segment) -> Option<KeyRange> {
    let all = KeyRange::prefix(layout::dynamo_table(table.id));
    let bound = |index: u64| u16::try_from((index * HASHES).div_ceil(segment.total)).ok();
    let key = |hash: u16| Bytes::from(layout::dynamo_hash(table.id, hash));
    let end = bound(segment.index + 1).map(key).or_else(|| all.end().cloned());
    KeyRange::new(key(bound(segment.index)?), end)
}

/// A filter looks at what the key condition does not.
fn check_filter(table: &Table, filter: &Condition, legacy: bool) -> Result<(), Fault> {
    let keys = [Some(&table.partition_key), table.sort_key.as_ref()];
    let is_key = |name: &&str| keys.iter().flatten().any(|key| key.name == **name);
    let parameter = if legacy { "QueryFilter" } else { "Filter Expression" };
    match filter.attributes().into_iter().find(is_key) {
        None => Ok(()),
        Some(name) => Err(Fault::validation(format!(
            "{parameter} can only contain non-primary key attributes: Primary key attribute: {name}"
        ))),
    }
}

/// The encoded partition key, and what is said of the sort key.
fn key_condition(table: &Table, condition: Condition) -> Result<(Vec<u8>, Option<KeyTest>), Fault> {
    let mut tests = key_tests(condition).map_err(|error| Fault::validation(error.to_string()))?;
    let mut take = |schema: &KeyAttribute| {
        let at = tests.iter().position(|(name, _)| *name == schema.name);
        at.map(|at| tests.swap_remove(at).1)
    };
    let missed = |name: &str| Fault::validation(format!("Query condition missed key schema element: {name}"));
    let partition_test = take(&table.partition_key).ok_or_else(|| missed(&table.partition_key.name))?;
    let sort_test = table.sort_key.as_ref().and_then(&mut take);
    if !tests.is_empty() {
        // What else is named stands where the sort key should.
        return Err(match &table.sort_key {
            Some(schema) if sort_test.is_none() => missed(&schema.name),
            _ => Fault::validation("Query key condition not supported"),
        });
    }
    let KeyTest::Compare(Comparator::Equal, partition_value) = &partition_test else {
        return Err(Fault::validation("Query key condition not supported"));
    };
    check_types(&table.partition_key, &partition_test)?;
    check_partition_key(&table.partition_key.name, partition_value)?;
    if let (Some(schema), Some(test)) = (&table.sort_key, &sort_test) {
        check_types(schema, test)?;
        for value in test.values() {
            check_sort_key(&schema.name, value)?;
        }
        if let KeyTest::BeginsWith(prefix) = test
            && prefix.type_name() == "N"
        {
            return Err(Fault::validation(
                "Invalid KeyConditionExpression: Incorrect operand type for operator or function; operator or \
                 function: begins_with, operand type: N",
            ));
        }
    }
    let partition_key = encode_key_part(partition_value).expect("the value has the type of the partition key");
    Ok((partition_key, sort_test))
}

fn check_types(schema: &KeyAttribute, test: &KeyTest) -> Result<(), Fault> {
    match test.values().iter().all(|value| value.type_name() == schema.kind.name()) {
        true => Ok(()),
        false => Err(Fault::parameter("Condition parameter type does not match schema type")),
    }
}

/// Reads a page from whatever routes cover the range, in order.
pub(super) async fn walk<S: Store>(
    store: &S,
    range: KeyRange,
    order: Order,
    max_items: usize,
    selection: &Selection,
) -> Result<Page, Fault> {
    let mut found = Page::default();
    // Taken from the back: the next part stands last.
    let mut waiting = parts(store, &range, order).await?;
    while let Some(part) = waiting.pop() {
        let read = PageRead {
            range: part.clone(),
            order,
            max_items: max_items - found.scanned,
            max_bytes: MAX_PAGE_BYTES.saturating_sub(found.bytes),
            selection: selection.clone(),
        };
        let page = match store.call(Call::on_interval(Operation::ReadPage(Box::new(read)), part.clone())).await {
            Ok(Outcome::Page(page)) => page,
            Ok(Outcome::Fault { name, message }) => return Err(Fault::from_leader(&name, message)),
            Ok(other) => return Err(Fault::internal(&format_args!("a page was asked for, answered was {other:?}"))),
            // The range was divided over groups in the meantime.
            Err(StoreError::CrossGroup) => {
                waiting.extend(parts(store, &part, order).await?);
                tokio::task::yield_now().await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        found.items.extend(page.items);
        found.count += page.count;
        found.scanned += page.scanned;
        found.bytes += page.bytes;
        found.last = page.last.or(found.last);
        let full = found.scanned > 0 && (found.scanned >= max_items || found.bytes >= MAX_PAGE_BYTES);
        found.more = page.more || full && !waiting.is_empty();
        if page.more || full {
            return Ok(found);
        }
    }
    Ok(found)
}

async fn parts<S: Store>(store: &S, range: &KeyRange, order: Order) -> Result<Vec<KeyRange>, Fault> {
    let mut parts = store.parts_of(range).await?;
    if order == Order::Ascending {
        parts.reverse();
    }
    Ok(parts)
}
