//! TransactWriteItems and TransactGetItems: operations on items of any tables at one moment.
//!
//! Each action is evaluated at its item's leader, and all take effect or none does (`gateway::txn`). A transaction that
//! is cancelled answers a reason for each action, in their order.
//!
//! With a `ClientRequestToken` the transaction also claims the token ([`commands::dynamo::token`]): of several with the
//! same token and content one takes effect, and all are answered alike.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use commands::dynamo::record::encode_item;
use commands::dynamo::token::{self, Claim};
use commands::dynamo::value::item_size;
use commands::dynamo::{Change, Item, ItemWrite, Operation, Outcome, Table};
use sha2::{Digest, Sha256};

use super::attribute::{read_item, write_item};
use super::capacity::{CapacityReport, Consumed, read_units};
use super::catalog::Catalog;
use super::constraints::Constraints;
use super::expressions::{ExpressionFields, Known};
use super::fault::{Fault, Reason};
use super::items::{check_size, check_update, found, item_of, reply, table_missing};
use super::json::Reader;
use super::key::{key_of_item, key_of_key};
use super::store::{Call, Store};

/// Most actions of a transaction.
const MAX_ACTIONS: usize = 100;
/// Most bytes of all items of a transaction.
const MAX_BYTES: usize = 4 << 20;
/// Longest ClientRequestToken, in characters.
const MAX_TOKEN: usize = 36;

const CONDITION: Known = Known { expressions: &["ConditionExpression"], legacy: &[] };
const UPDATE: Known = Known { expressions: &["ConditionExpression", "UpdateExpression"], legacy: &[] };
const GET: Known = Known { expressions: &["ProjectionExpression"], legacy: &[] };

/// What an action does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Get,
    Put,
    Update,
    Delete,
    ConditionCheck,
}

impl Kind {
    fn of_write(name: &str) -> Option<Self> {
        match name {
            "Put" => Some(Kind::Put),
            "Update" => Some(Kind::Update),
            "Delete" => Some(Kind::Delete),
            "ConditionCheck" => Some(Kind::ConditionCheck),
            _ => None,
        }
    }

    fn of_get(name: &str) -> Option<Self> {
        (name == "Get").then_some(Kind::Get)
    }

    fn attributes_field(self) -> &'static str {
        if self == Kind::Put { "Item" } else { "Key" }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Get => "get",
            Kind::Put => "put",
            Kind::Update => "update",
            Kind::Delete => "delete",
            Kind::ConditionCheck => "conditionCheck",
        }
    }

    fn known(self) -> &'static Known {
        match self {
            Kind::Get => &GET,
            Kind::Put | Kind::Delete | Kind::ConditionCheck => &CONDITION,
            Kind::Update => &UPDATE,
        }
    }
}

/// One action as it came.
struct Action {
    kind: Kind,
    table_name: Option<String>,
    attributes: Option<Item>,
    expressions: ExpressionFields,
    return_failed: Option<String>,
}

/// A request of either operation.
struct Request {
    actions: Vec<Action>,
    report: CapacityReport,
    token: Option<String>,
    /// Further words that a repetition has to have in common with the first request.
    further: [Option<String>; 2],
}

impl Request {
    fn read(body: &[u8], kind_of: fn(&str) -> Option<Kind>) -> Result<Self, Fault> {
        let (mut items, mut return_capacity, mut return_metrics, mut token) = (None, None, None, None);
        let invalid = Reader::document(body, |reader, field| {
            match field {
                "TransactItems" => items = read_actions(reader, kind_of)?,
                "ReturnConsumedCapacity" => return_capacity = reader.string()?,
                "ReturnItemCollectionMetrics" => return_metrics = reader.string()?,
                "ClientRequestToken" => token = reader.string()?,
                _ => drop(reader.skip()?),
            }
            Ok(())
        })?;
        let mut constraints = Constraints::default();
        constraints.required("transactItems", &items);
        constraints.choice("returnConsumedCapacity", &return_capacity, &CapacityReport::CHOICES);
        constraints.choice("returnItemCollectionMetrics", &return_metrics, &["SIZE", "NONE"]);
        token.iter().for_each(|token| constraints.length("clientRequestToken", token, 1, MAX_TOKEN));
        let items: Vec<Vec<Action>> = items.unwrap_or_default();
        constraints.count("transactItems", items.len(), 1, MAX_ACTIONS);
        for (index, action) in items.iter().enumerate().flat_map(|(index, all)| all.iter().map(move |one| (index, one)))
        {
            let at = format!("transactItems.{}.member.{}", index + 1, action.kind.name());
            constraints.table_name(&format!("{at}.tableName"), &action.table_name);
            constraints
                .required(&format!("{at}.{}", action.kind.attributes_field().to_lowercase()), &action.attributes);
            let choices = ["ALL_OLD", "NONE"];
            constraints.choice(&format!("{at}.returnValuesOnConditionCheckFailure"), &action.return_failed, &choices);
        }
        constraints.finish()?;
        let one = "TransactItems can only contain one of Check, Put, Update or Delete";
        let single = |mut actions: Vec<Action>| actions.pop().filter(|_| actions.is_empty());
        let actions: Option<Vec<Action>> = items.into_iter().map(single).collect();
        let actions = actions.ok_or_else(|| Fault::validation(one))?;
        if let Some(fault) = invalid {
            return Err(fault);
        }
        let report = CapacityReport::from_name(return_capacity.as_deref());
        Ok(Self { actions, report, token, further: [return_capacity, return_metrics] })
    }
}

/// Writes items together.
pub(super) async fn write<S: Store>(store: &S, catalog: &Catalog, body: &[u8]) -> Result<String, Fault> {
    let request = Request::read(body, Kind::of_write)?;
    let sizes = request.report.wanted();
    let mut calls = Vec::with_capacity(request.actions.len());
    let mut tables = Vec::with_capacity(request.actions.len());
    let mut refused = Vec::new();
    let mut bytes = 0;
    for action in request.actions {
        // Both were required.
        let (table_name, attributes) = (action.table_name.unwrap_or_default(), action.attributes.unwrap_or_default());
        let expressions = action.expressions.parse()?;
        bytes += item_size(&attributes);
        let table = catalog.table(store, &table_name).await.map_err(table_missing)?;
        let update = expressions.update.unwrap_or_default();
        if action.kind == Kind::Update {
            check_update(&table, &update)?;
        }
        if action.kind == Kind::ConditionCheck && expressions.condition.is_none() {
            return Err(Fault::validation(
                "1 validation error detected: Value null at 'transactItems.1.member.conditionCheck.conditionExpression' \
                 failed to satisfy constraint: Member must not be null",
            ));
        }
        let key = match action.kind {
            Kind::Put => check_size(&attributes).and_then(|()| key_of_item(&table, &attributes)),
            _ => key_of_key(&table, &attributes),
        };
        tables.push(table.clone());
        let key = match key {
            Ok(key) => key,
            Err(fault) => {
                refused.push((tables.len() - 1, fault));
                continue;
            }
        };
        let change = match action.kind {
            Kind::Put => Change::Put(encode_item(&attributes)),
            Kind::Update => Change::Update { key_attributes: attributes, update },
            Kind::Delete => Change::Delete,
            Kind::ConditionCheck | Kind::Get => Change::Check,
        };
        let write = ItemWrite {
            condition: expressions.condition,
            item_on_failure: action.return_failed.as_deref() == Some("ALL_OLD"),
            sizes,
            ..ItemWrite::plain(key.clone(), change).on(&table)
        };
        calls.push(Call::on_units(Operation::WriteItem(Box::new(write)), [key]));
    }
    if !refused.is_empty() {
        // AWS names the first of them only.
        let mut reasons = vec![Reason::none(); tables.len()];
        if let Some((at, fault)) = refused.into_iter().next() {
            reasons[at] = Reason::validation(fault.message);
        }
        return Err(Fault::cancelled(reasons));
    }
    check_distinct(&calls)?;
    check_bytes(bytes)?;
    let keys: Vec<Bytes> = calls.iter().flat_map(|call| call.units.clone()).collect();
    let claims = request.token.is_some();
    calls.extend(request.token.map(|token| claim(token, &calls, &request.further)));
    let mut outcomes = store.transact(calls).await?;
    if claims {
        match outcomes.pop() {
            Some(Outcome::ConditionFailed { .. }) => return repeated(store, keys, tables, request.report).await,
            Some(Outcome::Fault { name, message }) => return Err(Fault::from_leader(&name, message)),
            Some(Outcome::None) => {}
            other => return Err(Fault::internal(&format_args!("a token was claimed, answered was {other:?}"))),
        }
    }
    if outcomes.iter().any(Outcome::is_refusal) {
        return Err(Fault::cancelled(outcomes.into_iter().map(reason).collect::<Result<_, _>>()?));
    }
    let consumed = tables.iter().zip(&outcomes).map(|(table, outcome)| match outcome {
        // A transaction writes everything twice.
        Outcome::Written { old_bytes, new_bytes, entries, .. } => {
            Consumed::of_write(table, *old_bytes.max(new_bytes), entries, 2.0)
        }
        _ => Consumed::of_table(&table.name, 0.0),
    });
    let consumed = Consumed::by_table(consumed);
    Ok(reply(|object| request.report.write_tables(object, &consumed)))
}

/// Claims a token for these writes.
fn claim(token: String, calls: &[Call], further: &[Option<String>]) -> Call {
    let mut content = Sha256::new();
    let mut add = |bytes: &[u8]| {
        // With lengths, so that no two contents are written alike.
        content.update((bytes.len() as u64).to_be_bytes());
        content.update(bytes);
    };
    for call in calls {
        if let Operation::WriteItem(write) = &call.operation {
            add(&write.key);
            // Not what indexes the table has at the moment.
            add(&ItemWrite { indexed: None, ..ItemWrite::clone(write) }.encode());
            add(if let Change::Put(item) = &write.change { item } else { b"" });
        }
    }
    further.iter().for_each(|word| add(word.as_deref().unwrap_or_default().as_bytes()));
    let place = token::place(&token);
    let claim = Claim { token, fingerprint: content.finalize().into() };
    let write = ItemWrite::plain(place.clone(), Change::Claim(claim));
    Call::on_units(Operation::WriteItem(Box::new(write)), [place])
}

/// The answer to a transaction that has taken effect before. It costs what reading its items does.
async fn repeated<S: Store>(
    store: &S,
    keys: Vec<Bytes>,
    tables: Vec<Arc<Table>>,
    report: CapacityReport,
) -> Result<String, Fault> {
    if !report.wanted() {
        return Ok(reply(|_| {}));
    }
    let get = |key: Bytes| Call::on_units(Operation::GetItem { key: key.clone(), projection: None }, [key]);
    let mut units = Vec::with_capacity(keys.len());
    for answer in store.call_all(keys.into_iter().map(get).collect()).await {
        units.push(2.0 * read_units(found(answer?)?.map_or(0, |(_, bytes)| bytes), true));
    }
    let consumed = tables.iter().zip(units).map(|(table, units)| Consumed::of_table(&table.name, units));
    let consumed = Consumed::by_table(consumed);
    Ok(reply(|object| report.write_tables(object, &consumed)))
}

/// Reads items together.
pub(super) async fn get<S: Store>(store: &S, catalog: &Catalog, body: &[u8]) -> Result<String, Fault> {
    let request = Request::read(body, Kind::of_get)?;
    let mut calls = Vec::with_capacity(request.actions.len());
    let mut tables = Vec::with_capacity(request.actions.len());
    for action in request.actions {
        let table_name = action.table_name.unwrap_or_default();
        let projection = action.expressions.parse()?.projection;
        let table = catalog.table(store, &table_name).await.map_err(table_missing)?;
        let key = key_of_key(&table, &action.attributes.unwrap_or_default())?;
        calls.push(Call::on_units(Operation::GetItem { key: key.clone(), projection }, [key]));
        tables.push(table_name);
    }
    check_distinct(&calls)?;
    let read: Vec<Option<(Item, usize)>> =
        store.transact(calls).await?.into_iter().map(found).collect::<Result<_, _>>()?;
    check_bytes(read.iter().flatten().map(|(_, bytes)| bytes).sum())?;
    // A transaction reads everything twice.
    let units = read.iter().map(|read| 2.0 * read_units(read.as_ref().map_or(0, |(_, bytes)| *bytes), true));
    let consumed = tables.iter().zip(units).map(|(table, units)| Consumed::of_table(table, units));
    let consumed = Consumed::by_table(consumed);
    Ok(reply(|object| {
        request.report.write_tables(object, &consumed);
        let mut responses = object.key("Responses").start_array();
        for item in &read {
            let mut response = responses.value().start_object();
            if let Some((item, _)) = item {
                write_item(response.key("Item"), item);
            }
            response.finish();
        }
        responses.finish();
    }))
}

/// Why an action had no effect, or that it was not its fault.
fn reason(outcome: Outcome) -> Result<Reason, Fault> {
    Ok(match outcome {
        Outcome::ConditionFailed { item } => Reason::condition_failed(item.as_ref().map(item_of).transpose()?),
        Outcome::Fault { message, .. } => Reason::validation(message),
        _ => Reason::none(),
    })
}

fn check_distinct(calls: &[Call]) -> Result<(), Fault> {
    let units: BTreeSet<&Bytes> = calls.iter().flat_map(|call| &call.units).collect();
    match units.len() == calls.len() {
        true => Ok(()),
        false => Err(Fault::validation("Transaction request cannot include multiple operations on one item")),
    }
}

fn check_bytes(bytes: usize) -> Result<(), Fault> {
    match bytes > MAX_BYTES {
        true => Err(Fault::validation("Collection size cannot exceed 4 MB: the items of a transaction are too large")),
        false => Ok(()),
    }
}

/// The actions of each element of the list: one, if it is well made.
fn read_actions(reader: &mut Reader<'_>, kind_of: fn(&str) -> Option<Kind>) -> Result<Option<Vec<Vec<Action>>>, Fault> {
    let mut items = Vec::new();
    let present = reader.list(|reader| {
        let mut actions = Vec::with_capacity(1);
        reader.object(|reader, name| {
            let Some(kind) = kind_of(name) else { return reader.skip().map(drop) };
            let mut action = Action {
                kind,
                table_name: None,
                attributes: None,
                expressions: ExpressionFields::new(kind.known()),
                return_failed: None,
            };
            let present = reader.object(|reader, field| {
                match field {
                    "TableName" => action.table_name = reader.string()?,
                    "ReturnValuesOnConditionCheckFailure" => action.return_failed = reader.string()?,
                    field if field == kind.attributes_field() => action.attributes = read_item(reader)?,
                    field => {
                        if !action.expressions.read(reader, field)? {
                            reader.skip()?;
                        }
                    }
                }
                Ok(())
            })?;
            if present {
                actions.push(action);
            }
            Ok(())
        })?;
        items.push(actions);
        Ok(())
    })?;
    Ok(present.then_some(items))
}

#[cfg(test)]
mod tests {
    use super::super::fault::Exception;
    use super::*;

    #[test]
    fn reasons_stand_in_the_order_of_actions() {
        let outcomes = [Outcome::None, Outcome::ConditionFailed { item: None }];
        let reasons = outcomes.into_iter().map(reason).collect::<Result<Vec<_>, _>>();
        let fault = Fault::cancelled(reasons.unwrap_or_default());
        assert_eq!(fault.exception, Exception::TransactionCanceled);
        let expected = "Transaction cancelled, please refer cancellation reasons for specific reasons \
                        [None, ConditionalCheckFailed]";
        assert_eq!(fault.message, expected);
    }
}
