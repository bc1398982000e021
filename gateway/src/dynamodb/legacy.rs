//! The parameters from before there were expressions, turned into the same trees.
//!
//! `Expected`, `QueryFilter`, `ScanFilter` and `KeyConditions` name attributes and what is expected of each; together
//! with `ConditionalOperator` they become one condition. `AttributeUpdates` becomes an update, `AttributesToGet` a
//! projection. So leaders know nothing of them. They name whole attributes only, never paths.
//!
//! Checked first is what the API declares of single fields, then each condition for itself, in AWS' words.
//!
//! Source: AWS API reference and Developer Guide, "Legacy conditional parameters".

use std::collections::BTreeMap;

use aws_smithy_json::serialize::JsonObjectWriter;
use commands::dynamo::AttributeValue;
use commands::dynamo::expression::{
    Action, Comparator, Condition, Operand, Path, Projection, Sum, Term, Update, compare,
};

use super::attribute::read_optional_value;
use super::constraints::Constraints;
use super::expressions::Expressions;
use super::fault::Fault;
use super::json::Reader;

const OPERATORS: [&str; 13] = [
    "IN",
    "NULL",
    "BETWEEN",
    "LT",
    "NOT_CONTAINS",
    "EQ",
    "GT",
    "NOT_NULL",
    "NE",
    "LE",
    "BEGINS_WITH",
    "GE",
    "CONTAINS",
];

/// The parameters as they came.
#[derive(Clone, Debug, Default)]
pub(super) struct LegacyFields {
    given: Vec<&'static str>,
    attributes_to_get: Option<Vec<Option<String>>>,
    attribute_updates: BTreeMap<String, Change>,
    expected: BTreeMap<String, Expectation>,
    filter: BTreeMap<String, Expectation>,
    key_conditions: BTreeMap<String, Expectation>,
    conditional_operator: Option<String>,
}

/// What is expected of one attribute.
#[derive(Clone, Debug, Default)]
struct Expectation {
    operator: Option<String>,
    values: Option<Vec<AttributeValue>>,
    value: Option<AttributeValue>,
    exists: Option<bool>,
}

/// What happens to one attribute.
#[derive(Clone, Debug, Default)]
struct Change {
    action: Option<String>,
    value: Option<AttributeValue>,
}

impl LegacyFields {
    /// Which of them were given, in the order of the request.
    pub(super) fn given(&self) -> &[&'static str] {
        &self.given
    }

    /// Reads the field of this name.
    pub(super) fn read(&mut self, reader: &mut Reader<'_>, field: &'static str) -> Result<(), Fault> {
        let present = match field {
            "AttributesToGet" => {
                self.attributes_to_get = reader.strings()?;
                self.attributes_to_get.is_some()
            }
            "ConditionalOperator" => {
                self.conditional_operator = reader.string()?;
                self.conditional_operator.is_some()
            }
            "AttributeUpdates" => read_map(reader, &mut self.attribute_updates, read_change)?,
            "Expected" => read_map(reader, &mut self.expected, read_expectation)?,
            "KeyConditions" => read_map(reader, &mut self.key_conditions, read_expectation)?,
            "QueryFilter" | "ScanFilter" => read_map(reader, &mut self.filter, read_expectation)?,
            _ => reader.skip()?,
        };
        if present {
            self.given.push(field);
        }
        Ok(())
    }

    /// Writes the projection back, for a client that is to ask again.
    pub(super) fn write_projection(&self, object: &mut JsonObjectWriter<'_>) {
        if let Some(names) = &self.attributes_to_get {
            let mut array = object.key("AttributesToGet").start_array();
            names.iter().flatten().for_each(|name| array.value().string(name));
            array.finish();
        }
    }

    /// Checks and translates all of them.
    pub(super) fn translate(self) -> Result<Expressions, Fault> {
        self.check_fields()?;
        let any = match self.conditional_operator.as_deref() {
            None => false,
            Some(operator) => {
                match self.expected.len() + self.filter.len() {
                    0 => {
                        return Err(Fault::validation("ConditionalOperator cannot be used without Filter or Expected"));
                    }
                    1 => {
                        return Err(Fault::validation(
                            "ConditionalOperator can only be used when Filter or Expected has two or more elements",
                        ));
                    }
                    _ => {}
                }
                operator == "OR"
            }
        };
        if self.given.contains(&"KeyConditions") && !(1..=2).contains(&self.key_conditions.len()) {
            return Err(Fault::validation("Conditions can be of length 1 or 2 only"));
        }
        let updates = self.given.contains(&"AttributeUpdates");
        let projection = self.attributes_to_get.map(projection).transpose()?;
        let key_condition = all_or_any(self.key_conditions, false, key_condition)?;
        Ok(Expressions {
            condition: all_or_any(self.expected, any, expected)?,
            filter: all_or_any(self.filter, any, |name, condition| condition.test(name))?,
            key_condition,
            projection,
            update: updates.then(|| update(self.attribute_updates)).transpose()?,
            legacy: true,
        })
    }

    fn check_fields(&self) -> Result<(), Fault> {
        let mut constraints = Constraints::default();
        constraints.choice("conditionalOperator", &self.conditional_operator, &["OR", "AND"]);
        if let Some(names) = &self.attributes_to_get {
            constraints.count("attributesToGet", names.len(), 1, usize::MAX);
        }
        for (field, conditions, needed) in [
            ("expected", &self.expected, false),
            ("queryFilter", &self.filter, true),
            ("keyConditions", &self.key_conditions, true),
        ] {
            for (name, condition) in conditions {
                let at = format!("{field}.{name}.member.comparisonOperator");
                if needed {
                    constraints.required(&at, &condition.operator);
                }
                constraints.choice(&at, &condition.operator, &OPERATORS);
            }
        }
        for (name, change) in &self.attribute_updates {
            let at = format!("attributeUpdates.{name}.member.action");
            constraints.choice(&at, &change.action, &["ADD", "DELETE", "PUT"]);
        }
        constraints.finish()
    }
}

impl Expectation {
    /// What the operator says of an attribute, by the values that stand beside it.
    fn test(self, name: &str) -> Result<Condition, Fault> {
        let operator = self.operator.unwrap_or_default();
        let mut values = self.values.unwrap_or_default();
        values.extend(self.value);
        check_values(&operator, &values)?;
        let path = Path::attribute(name);
        let attribute = || Operand::Path(Path::attribute(name));
        let mut values = values.into_iter().map(Operand::Value);
        // Their number was checked.
        let mut one = || values.next().unwrap_or(Operand::Value(AttributeValue::Null));
        let compared = |comparator: Comparator, value: Operand| Condition::Compare(comparator, attribute(), value);
        Ok(match operator.as_str() {
            "EQ" => compared(Comparator::Equal, one()),
            "NE" => compared(Comparator::NotEqual, one()),
            "LT" => compared(Comparator::Less, one()),
            "LE" => compared(Comparator::LessOrEqual, one()),
            "GT" => compared(Comparator::Greater, one()),
            "GE" => compared(Comparator::GreaterOrEqual, one()),
            "NULL" => Condition::AttributeNotExists(path),
            "NOT_NULL" => Condition::AttributeExists(path),
            "BEGINS_WITH" => Condition::BeginsWith(attribute(), one()),
            "CONTAINS" => Condition::Contains(attribute(), one()),
            // What is not there contains nothing, but that is not said of it.
            "NOT_CONTAINS" => Condition::And(
                Box::new(Condition::AttributeExists(path)),
                Box::new(Condition::Not(Box::new(Condition::Contains(attribute(), one())))),
            ),
            "BETWEEN" => Condition::Between { operand: attribute(), lower: one(), upper: one() },
            "IN" => Condition::In(attribute(), values.collect()),
            other => return Err(Fault::internal(&format_args!("the operator {other} was let through"))),
        })
    }
}

/// Number, types and order of the values of an operator.
fn check_values(operator: &str, values: &[AttributeValue]) -> Result<(), Fault> {
    const SCALARS: &[&str] = &["S", "N", "B"];
    const ANY: &[&str] = &["S", "N", "B", "SS", "NS", "BS", "BOOL", "NULL", "L", "M"];
    let (enough, types) = match operator {
        "NULL" | "NOT_NULL" => (values.is_empty(), SCALARS),
        "IN" => (!values.is_empty(), SCALARS),
        "BETWEEN" => (values.len() == 2, SCALARS),
        "EQ" | "NE" => (values.len() == 1, ANY),
        "BEGINS_WITH" => (values.len() == 1, &["S", "B"][..]),
        _ => (values.len() == 1, SCALARS),
    };
    if !enough {
        return Err(Fault::parameter(format!("Invalid number of argument(s) for the {operator} ComparisonOperator")));
    }
    if let Some(wrong) = values.iter().map(AttributeValue::type_name).find(|name| !types.contains(name)) {
        return Err(Fault::parameter(format!(
            "ComparisonOperator {operator} is not valid for {wrong} AttributeValue type"
        )));
    }
    if values.windows(2).any(|pair| pair[0].type_name() != pair[1].type_name()) {
        return Err(Fault::parameter("AttributeValues inside AttributeValueList must be of same type"));
    }
    if let ("BETWEEN", [lower, upper]) = (operator, values)
        && compare(lower, upper).is_some_and(std::cmp::Ordering::is_gt)
    {
        let message =
            "The BETWEEN condition was provided a range where the lower bound is greater than the upper bound";
        return Err(Fault::validation(message));
    }
    Ok(())
}

/// One attribute of `Expected`, which has two ways to say it.
fn expected(name: &str, condition: Expectation) -> Result<Condition, Fault> {
    let refuse = |message: String| Err(Fault::parameter(format!("{message} for Attribute: {name}")));
    if condition.values.is_some() && condition.value.is_some() {
        return refuse("Value and AttributeValueList cannot be used together".into());
    }
    if let Some(operator) = &condition.operator {
        if condition.exists.is_some() {
            return refuse("Exists and ComparisonOperator cannot be used together".into());
        }
        let alone = matches!(operator.as_str(), "NULL" | "NOT_NULL");
        if !alone && condition.values.is_none() && condition.value.is_none() {
            return refuse(format!("Value or AttributeValueList must be used with ComparisonOperator: {operator}"));
        }
        return condition.test(name);
    }
    if condition.values.is_some() {
        return refuse("AttributeValueList can only be used with a ComparisonOperator".into());
    }
    let path = Path::attribute(name);
    match (condition.exists, condition.value) {
        (None | Some(true), Some(value)) => {
            Ok(Condition::Compare(Comparator::Equal, Operand::Path(path), Operand::Value(value)))
        }
        (Some(false), None) => Ok(Condition::AttributeNotExists(path)),
        (Some(false), Some(_)) => refuse("Value cannot be used when Exists is false".into()),
        (Some(true), None) => refuse("Value must be provided when Exists is true".into()),
        (None, None) => refuse("Value must be provided when Exists is null".into()),
    }
}

/// One attribute of `KeyConditions`: only what names neighbours.
fn key_condition(name: &str, condition: Expectation) -> Result<Condition, Fault> {
    let indexable =
        !matches!(condition.operator.as_deref(), Some("NULL" | "NOT_NULL" | "NE" | "CONTAINS" | "NOT_CONTAINS" | "IN"));
    let test = condition.test(name)?;
    match indexable {
        true => Ok(test),
        false => Err(Fault::validation("Attempted conditional constraint is not an indexable operation")),
    }
}

/// One condition of those on each attribute; `None` of none.
fn all_or_any(
    conditions: BTreeMap<String, Expectation>,
    any: bool,
    one: impl Fn(&str, Expectation) -> Result<Condition, Fault>,
) -> Result<Option<Condition>, Fault> {
    let conditions = conditions.into_iter().map(|(name, condition)| one(&name, condition));
    Ok(joined(conditions.collect::<Result<_, _>>()?, any))
}

/// Joined in pairs, so that the tree stays flat however many there are.
fn joined(mut conditions: Vec<Condition>, any: bool) -> Option<Condition> {
    let upper = conditions.split_off(conditions.len().div_ceil(2));
    if upper.is_empty() {
        return conditions.pop();
    }
    let (lower, upper) = (Box::new(joined(conditions, any)?), Box::new(joined(upper, any)?));
    Some(if any { Condition::Or(lower, upper) } else { Condition::And(lower, upper) })
}

fn projection(names: Vec<Option<String>>) -> Result<Projection, Fault> {
    let names: Vec<String> = names.into_iter().flatten().collect();
    for (index, name) in names.iter().enumerate() {
        if name.is_empty() {
            return Err(Fault::parameter("Empty attribute name"));
        }
        if names[..index].contains(name) {
            return Err(Fault::parameter(format!("Duplicate value in attribute name: {name}")));
        }
    }
    Ok(Projection::of_attributes(names.iter().map(String::as_str)))
}

fn update(changes: BTreeMap<String, Change>) -> Result<Update, Fault> {
    let mut actions = Vec::with_capacity(changes.len());
    for (name, Change { action, value }) in changes {
        let path = Path::attribute(name);
        let kind = value.as_ref().map_or("", AttributeValue::type_name);
        actions.push(match (action.as_deref().unwrap_or("PUT"), value) {
            ("DELETE", None) => Action::Remove(path),
            (_, None) => {
                return Err(Fault::parameter("Only DELETE action is allowed when no attribute value is specified"));
            }
            ("DELETE", Some(value)) if matches!(kind, "SS" | "NS" | "BS") => Action::Delete(path, value),
            ("DELETE", Some(_)) => {
                return Err(Fault::parameter(format!("DELETE action with value is not supported for the type {kind}")));
            }
            ("ADD", Some(value)) if matches!(kind, "N" | "SS" | "NS" | "BS") => Action::Add(path, value),
            // Not in the reference, but AWS does it: the elements of a list are appended.
            ("ADD", Some(value @ AttributeValue::L(_))) => {
                let empty = Box::new(Term::Value(AttributeValue::L(Vec::new())));
                let old = Box::new(Term::IfNotExists(path.clone(), empty));
                Action::Set(path, Sum::Value(Term::ListAppend(old, Box::new(Term::Value(value)))))
            }
            ("ADD", Some(_)) => {
                return Err(Fault::parameter(format!("ADD action is not supported for the type {kind}")));
            }
            (_, Some(value)) => Action::Set(path, Sum::Value(Term::Value(value))),
        });
    }
    Ok(Update { actions })
}

/// Reads what is said of each attribute; answers whether the map is there.
fn read_map<T: Default>(
    reader: &mut Reader<'_>,
    into: &mut BTreeMap<String, T>,
    read: fn(&mut Reader<'_>, &mut T) -> Result<(), Fault>,
) -> Result<bool, Fault> {
    reader.object(|reader, name| {
        if name.is_empty() {
            reader.invalidate(Fault::parameter("Empty attribute name"));
        }
        let mut one = T::default();
        read(reader, &mut one)?;
        match into.insert(name.to_owned(), one) {
            None => Ok(()),
            Some(_) => Err(Fault::serialization("A map names one of its keys twice")),
        }
    })
}

fn read_expectation(reader: &mut Reader<'_>, into: &mut Expectation) -> Result<(), Fault> {
    reader
        .object(|reader, field| {
            match field {
                "ComparisonOperator" => into.operator = reader.string()?,
                "Exists" => into.exists = reader.boolean()?,
                "Value" => into.value = read_optional_value(reader)?,
                "AttributeValueList" => {
                    let mut values = Vec::new();
                    let present = reader.list(|reader| {
                        values.extend(read_optional_value(reader)?);
                        Ok(())
                    })?;
                    into.values = present.then_some(values);
                }
                _ => drop(reader.skip()?),
            }
            Ok(())
        })
        .map(drop)
}

fn read_change(reader: &mut Reader<'_>, into: &mut Change) -> Result<(), Fault> {
    reader
        .object(|reader, field| {
            match field {
                "Action" => into.action = reader.string()?,
                "Value" => into.value = read_optional_value(reader)?,
                _ => drop(reader.skip()?),
            }
            Ok(())
        })
        .map(drop)
}
