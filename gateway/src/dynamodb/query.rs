//! Query and Scan: neighbouring items of a table, or entries of one of its indexes, page by page.
//!
//! A request becomes one range of encoded keys: part of a partition for a Query, all keys or a slice of their hashes for
//! a Scan. The range is walked route after route ([`super::walk`]), each part read by its leader
//! ([`commands::dynamo::PageRead`]), until the page is full; the key of the last item looked at is where the next request
//! goes on. Entries are read as items are: they hold what the index projects.

use std::sync::Arc;

use aws_smithy_types::Number;
use bytes::Bytes;
use commands::Order;
use commands::dynamo::expression::{Comparator, Condition, KeyTest, key_tests};
use commands::dynamo::index::Projected;
use commands::dynamo::key::{encode_key_part, key_attributes};
use commands::dynamo::table::KeyAttribute;
use commands::dynamo::{Index, Item, Page, Projection, Selection, Source, Table, behind};
use keyspace::KeyRange;

use super::attribute::{read_item, write_item};
use super::capacity::{CapacityReport, Consumed, read_units};
use super::catalog::{Catalog, as_it_is};
use super::constraints::Constraints;
use super::expressions::{ExpressionFields, Expressions, Known};
use super::fault::Fault;
use super::items::{item_of, reply, table_missing};
use super::json::Reader;
use super::key::{check_partition_key, check_sort_key, key_of_key};
use super::store::Store;
use super::walk::{Fetched, walk, walk_items};

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
    index_name: Option<String>,
    expressions: Expressions,
    count_only: bool,
    /// Everything of each item, also of an index that holds less.
    all_attributes: bool,
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
        constraints.optional_table_name("indexName", &index_name);
        constraints.choice("select", &select, &SELECTS);
        constraints.bounds("limit", limit, 1, i64::from(i32::MAX));
        constraints.bounds("segment", segment, 0, MAX_SEGMENTS - 1);
        constraints.bounds("totalSegments", total_segments, 1, MAX_SEGMENTS);
        constraints.choice("returnConsumedCapacity", &return_capacity, &CapacityReport::CHOICES);
        constraints.finish()?;
        if let Some(fault) = invalid {
            return Err(fault);
        }
        let segment = segment_of(segment, total_segments)?;
        let expressions = expressions.parse()?;
        let projected_by = match expressions.projection {
            Some(_) if expressions.legacy => Some("AttributesToGet"),
            Some(_) => Some("ProjectionExpression"),
            None => None,
        };
        check_select(select.as_deref(), projected_by, index_name.is_some())?;
        Ok(Self {
            // It was required above.
            table_name: table_name.unwrap_or_default(),
            index_name,
            expressions,
            count_only: select.as_deref() == Some("COUNT"),
            all_attributes: select.as_deref() == Some("ALL_ATTRIBUTES"),
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

    /// The table as it is known here; as it is, if what is known does not have the index, or not yet ready.
    async fn table<S: Store>(&self, store: &S, catalog: &Catalog) -> Result<Arc<Table>, Fault> {
        let known = catalog.table(store, &self.table_name).await.map_err(table_missing)?;
        match &self.index_name {
            Some(name) if !known.index(name).is_some_and(Index::is_active) => {
                Ok(as_it_is(store, &known).await?.unwrap_or(known))
            }
            _ => Ok(known),
        }
    }

    /// What is to be read of the table.
    fn target<'t>(&self, table: &'t Table, is_query: bool) -> Result<Target<'t>, Fault> {
        let Some(name) = &self.index_name else { return Ok(Target { table, index: None, fetches: false }) };
        let index = table.index(name);
        let index =
            index.ok_or_else(|| Fault::validation(format!("The table does not have the specified index: {name}")))?;
        if !index.is_local() && self.consistent_read {
            return Err(Fault::validation("Consistent reads are not supported on global secondary indexes"));
        }
        if !index.is_active() {
            return Err(Fault::validation(format!("Cannot read from backfilling global secondary index: {name}")));
        }
        let lacks = |attribute: &&str| !index.projects(table, attribute);
        let projection = self.expressions.projection.iter().flat_map(|projection| &projection.paths);
        let unprojected: Vec<&str> = projection.map(|path| path.attribute.as_str()).filter(lacks).collect();
        let unfiltered: Vec<&str> = match &self.expressions.filter {
            Some(filter) => filter.attributes().into_iter().filter(lacks).collect(),
            None => Vec::new(),
        };
        let lacks_all = self.all_attributes && index.projection != Projected::All;
        if index.is_local() {
            let fetches = lacks_all || !unprojected.is_empty() || !unfiltered.is_empty();
            return Ok(Target { table, index: Some(index), fetches });
        }
        if lacks_all {
            return Err(Fault::parameter(format!(
                "Select type ALL_ATTRIBUTES is not supported for global secondary index {name} because its projection \
                 type is not ALL"
            )));
        }
        if !unprojected.is_empty() {
            let message = format!("Global secondary index {name} does not project [{}]", unprojected.join(", "));
            return Err(Fault::parameter(message));
        }
        if is_query && !unfiltered.is_empty() {
            return Err(Fault::parameter(format!(
                "Secondary index {name} does not project one or more filter attributes: [{}]",
                unfiltered.join(", ")
            )));
        }
        Ok(Target { table, index: Some(index), fetches: false })
    }

    /// The encoded key behind which to go on.
    fn start_key(&self, target: Target<'_>) -> Result<Option<Bytes>, Fault> {
        let invalid =
            |fault: Fault| Fault::validation(format!("The provided starting key is invalid: {}", fault.message));
        self.start.as_ref().map(|start| target.key(start).map_err(invalid)).transpose()
    }

    /// Reads a page of `range` and answers it.
    async fn answer<S: Store>(
        self,
        store: &S,
        target: Target<'_>,
        range: Option<KeyRange>,
        whole: bool,
    ) -> Result<String, Fault> {
        let order = self.order();
        let projection = match (&target.index, self.expressions.projection) {
            // What is fetched of an item is not what its entry holds.
            (Some(index), None) if target.fetches && !self.all_attributes => projected(target.table, index),
            (_, projection) => projection,
        };
        let selection = Selection {
            filter: self.expressions.filter,
            projection,
            count_only: self.count_only,
            // A partition's keys of one kind lie together.
            lane: if whole { target.source().lane() } else { None },
        };
        let max_items = self.limit.unwrap_or(usize::MAX);
        let Fetched { page, units } = match (range, target.index) {
            (None, _) => Fetched { page: Page::default(), units: 0.0 },
            (Some(range), Some(index)) if target.fetches => {
                let limits = (max_items, self.consistent_read);
                walk_items(store, (target.table, index), range, order, limits, &selection).await?
            }
            (Some(range), _) => Fetched { page: walk(store, range, order, max_items, &selection).await?, units: 0.0 },
        };
        let items: Vec<Item> = page.items.iter().map(item_of).collect::<Result<_, _>>()?;
        let last = page.last.as_ref().filter(|_| page.more);
        let last = last.map(|key| {
            target.attributes(key).ok_or_else(|| Fault::internal(&"a page ended at a key that is not the table's"))
        });
        let last = last.transpose()?;
        let read = read_units(page.bytes, self.consistent_read);
        let consumed = match target.index {
            None => Consumed::of_table(&self.table_name, read),
            Some(index) => Consumed::of_table(&self.table_name, units).with_index(target.table, &index.name, read),
        };
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
            self.report.write(object, &consumed);
        }))
    }
}

/// The attributes that an index holds; `None`: all.
fn projected(table: &Table, index: &Index) -> Option<Projection> {
    let included = match &index.projection {
        Projected::All => return None,
        Projected::KeysOnly => &[][..],
        Projected::Include(names) => names,
    };
    let mut names: Vec<&str> = Vec::new();
    let keys = index.keys().chain(table.keys()).map(|key| key.name.as_str());
    for name in keys.chain(included.iter().map(String::as_str)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Some(Projection::of_attributes(names))
}

/// What a request reads.
#[derive(Clone, Copy)]
struct Target<'t> {
    table: &'t Table,
    /// `None`: the table itself.
    index: Option<&'t Index>,
    /// More is wanted than the index holds.
    fetches: bool,
}

impl<'t> Target<'t> {
    fn source(&self) -> Source {
        match self.index {
            Some(index) => Source::entries(self.table, index),
            None => Source::items(self.table),
        }
    }

    fn partition_key(&self) -> &'t KeyAttribute {
        self.index.map_or(&self.table.partition_key, |index| &index.partition_key)
    }

    fn sort_key(&self) -> Option<&'t KeyAttribute> {
        self.index.map_or(self.table.sort_key.as_ref(), |index| index.sort_key.as_ref())
    }

    /// The encoded key of exactly these attributes: the keys of the table, and of the index.
    fn key(&self, attributes: &Item) -> Result<Bytes, Fault> {
        let Some(index) = self.index else { return key_of_key(self.table, attributes) };
        let mismatch = || Fault::validation("The provided key element does not match the schema");
        let is_key = |name: &String| index.keys().chain(self.table.keys()).any(|key| key.name == *name);
        if !attributes.keys().all(is_key) {
            return Err(mismatch());
        }
        let of_table = self.table.keys().filter_map(|key| attributes.get_key_value(&key.name));
        key_of_key(self.table, &of_table.map(|(name, value)| (name.clone(), value.clone())).collect())?;
        index.entry_key(self.table, attributes).ok_or_else(mismatch)
    }

    fn attributes(&self, key: &[u8]) -> Option<Item> {
        match self.index {
            Some(index) => index.key_attributes(self.table, key),
            None => key_attributes(self.table, key),
        }
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
fn check_select(select: Option<&str>, projected_by: Option<&str>, of_index: bool) -> Result<(), Fault> {
    let cannot = |projected_by: &str, what: &str| {
        Err(Fault::validation(format!("Cannot specify the {projected_by} when choosing to get {what}")))
    };
    match (select, projected_by) {
        (Some("SPECIFIC_ATTRIBUTES"), None) => Err(Fault::parameter(
            "Must specify the AttributesToGet or ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES",
        )),
        (Some("ALL_PROJECTED_ATTRIBUTES"), _) if !of_index => {
            Err(Fault::parameter("ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName"))
        }
        (Some("COUNT"), Some(projected_by)) => cannot(projected_by, "only the Count"),
        (Some(all @ ("ALL_ATTRIBUTES" | "ALL_PROJECTED_ATTRIBUTES")), Some(projected_by)) => cannot(projected_by, all),
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
    let table = request.table(store, catalog).await?;
    let target = request.target(&table, true)?;
    if let Some(filter) = &request.expressions.filter {
        check_filter(target, filter, request.expressions.legacy)?;
    }
    let (partition_key, sort_test) = key_condition(target, condition)?;
    let range = match &sort_test {
        Some(test) => target.source().sorted(&partition_key, test),
        None => Some(target.source().partition(&partition_key)),
    };
    let start = request.start_key(target)?;
    if start.is_some() && target.index.is_none() {
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
    request.answer(store, target, range, false).await
}

/// Reads items of a whole table, or of one segment of it.
pub(super) async fn scan<S: Store>(store: &S, catalog: &Catalog, body: &[u8]) -> Result<String, Fault> {
    let mut request = RangeRequest::read(body, &SCAN)?;
    request.descending = false;
    let table = request.table(store, catalog).await?;
    let target = request.target(&table, false)?;
    let range = match request.segment {
        Some(segment) => segment_range(target.source(), segment),
        None => Some(target.source().all()),
    };
    let start = request.start_key(target)?;
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
    request.answer(store, target, range, true).await
}

/// The hashes of one segment; `None` where there are more segments than hashes and this one has none.
fn segment_range(source: Source, segment: Segment) -> Option<KeyRange> {
    let bound = |index: u64| u16::try_from((index * HASHES).div_ceil(segment.total)).ok();
    source.hashes(bound(segment.index)?, bound(segment.index + 1))
}

/// A filter looks at what the key condition does not.
fn check_filter(target: Target<'_>, filter: &Condition, legacy: bool) -> Result<(), Fault> {
    let is_key =
        |name: &&str| std::iter::once(target.partition_key()).chain(target.sort_key()).any(|key| key.name == **name);
    let parameter = if legacy { "QueryFilter" } else { "Filter Expression" };
    match filter.attributes().into_iter().find(is_key) {
        None => Ok(()),
        Some(name) => Err(Fault::validation(format!(
            "{parameter} can only contain non-primary key attributes: Primary key attribute: {name}"
        ))),
    }
}

/// The encoded partition key, and what is said of the sort key.
fn key_condition(target: Target<'_>, condition: Condition) -> Result<(Vec<u8>, Option<KeyTest>), Fault> {
    let (partition, sort) = (target.partition_key(), target.sort_key());
    let mut tests = key_tests(condition).map_err(|error| Fault::validation(error.to_string()))?;
    let mut take = |schema: &KeyAttribute| {
        let at = tests.iter().position(|(name, _)| *name == schema.name);
        at.map(|at| tests.swap_remove(at).1)
    };
    let missed = |name: &str| Fault::validation(format!("Query condition missed key schema element: {name}"));
    let partition_test = take(partition).ok_or_else(|| missed(&partition.name))?;
    let sort_test = sort.and_then(&mut take);
    if !tests.is_empty() {
        // What else is named stands where the sort key should.
        return Err(match sort {
            Some(schema) if sort_test.is_none() => missed(&schema.name),
            _ => Fault::validation("Query key condition not supported"),
        });
    }
    let KeyTest::Compare(Comparator::Equal, partition_value) = &partition_test else {
        return Err(Fault::validation("Query key condition not supported"));
    };
    check_types(partition, &partition_test)?;
    check_partition_key(&partition.name, partition_value)?;
    if let (Some(schema), Some(test)) = (sort, &sort_test) {
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
