//! The expressions of a request: gathered while its fields are read, then parsed together.
//!
//! Names and values are shared by all expressions of a request, and each must be used by one of them; so they are
//! parsed in one place and in AWS' order. The parameters from before there were expressions ([`super::legacy`]) cannot
//! stand beside them.

use std::collections::BTreeMap;

use aws_smithy_json::serialize::JsonObjectWriter;
use commands::dynamo::expression::{
    Condition, Placeholders, Projection, Purpose, Update, parse_condition, parse_projection, parse_update,
};
use commands::dynamo::{Item, expression::ExpressionError};

use super::attribute::read_item;
use super::fault::Fault;
use super::json::Reader;
use super::legacy::LegacyFields;

/// Which parameters an operation knows: with expressions, and those that say the same without.
///
/// What an operation does not know is ignored, as AWS ignores it.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) expressions: &'static [&'static str],
    pub(super) legacy: &'static [&'static str],
}

/// The expressions of a request as they came.
#[derive(Clone, Debug)]
pub(super) struct ExpressionFields {
    known: &'static Known,
    condition: Option<String>,
    filter: Option<String>,
    key_condition: Option<String>,
    projection: Option<String>,
    update: Option<String>,
    names: Option<BTreeMap<String, String>>,
    values: Option<Item>,
    legacy: LegacyFields,
}

/// The expressions of a request.
#[derive(Debug, Default)]
pub(super) struct Expressions {
    pub(super) condition: Option<Condition>,
    pub(super) filter: Option<Condition>,
    pub(super) key_condition: Option<Condition>,
    pub(super) projection: Option<Projection>,
    pub(super) update: Option<Update>,
    /// They were said without expressions.
    pub(super) legacy: bool,
}

impl ExpressionFields {
    pub(super) fn new(known: &'static Known) -> Self {
        Self {
            known,
            condition: None,
            filter: None,
            key_condition: None,
            projection: None,
            update: None,
            names: None,
            values: None,
            legacy: LegacyFields::default(),
        }
    }

    /// Reads a field if it is one of these; answers whether it was.
    pub(super) fn read(&mut self, reader: &mut Reader<'_>, field: &str) -> Result<bool, Fault> {
        if let Some(known) = self.known.legacy.iter().find(|known| **known == field) {
            self.legacy.read(reader, known)?;
            return Ok(true);
        }
        if field.ends_with("Expression") && !self.known.expressions.contains(&field) {
            return Ok(false);
        }
        match field {
            "ConditionExpression" => self.condition = reader.string()?,
            "FilterExpression" => self.filter = reader.string()?,
            "KeyConditionExpression" => self.key_condition = reader.string()?,
            "ProjectionExpression" => self.projection = reader.string()?,
            "UpdateExpression" => self.update = reader.string()?,
            "ExpressionAttributeNames" => self.names = read_names(reader)?,
            "ExpressionAttributeValues" => self.values = read_item(reader)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Writes the projection back, for a client that is to ask again.
    pub(super) fn write_projection(&self, object: &mut JsonObjectWriter<'_>) {
        if let Some(projection) = &self.projection {
            object.key("ProjectionExpression").string(projection);
        }
        self.legacy.write_projection(object);
        if let Some(names) = &self.names {
            let mut members = object.key("ExpressionAttributeNames").start_object();
            names.iter().for_each(|(placeholder, name)| members.key(placeholder).string(name));
            members.finish();
        }
    }

    fn given(&self) -> Vec<&'static str> {
        let all = [
            ("ProjectionExpression", self.projection.is_some()),
            ("FilterExpression", self.filter.is_some()),
            ("UpdateExpression", self.update.is_some()),
            ("ConditionExpression", self.condition.is_some()),
            ("KeyConditionExpression", self.key_condition.is_some()),
        ];
        all.into_iter().filter(|(_, given)| *given).map(|(name, _)| name).collect()
    }

    /// Parses all of them.
    pub(super) fn parse(self) -> Result<Expressions, Fault> {
        let given = self.given();
        let legacy = self.legacy.given();
        if !legacy.is_empty() && !given.is_empty() {
            return Err(Fault::validation(format!(
                "Can not use both expression and non-expression parameters in the same request: Non-expression \
                 parameters: {{{}}} Expression parameters: {{{}}}",
                legacy.join(", "),
                given.join(", ")
            )));
        }
        for (parameter, present) in
            [("ExpressionAttributeNames", self.names.is_some()), ("ExpressionAttributeValues", self.values.is_some())]
        {
            if present && given.is_empty() {
                return Err(Fault::validation(format!("{parameter} can only be specified when using expressions")));
            }
        }
        if given.is_empty() {
            return self.legacy.translate();
        }
        let names = self.names.map(|names| checked("ExpressionAttributeNames", '#', names)).transpose()?;
        let values = self.values.map(|values| checked("ExpressionAttributeValues", ':', values)).transpose()?;
        let mut placeholders = Placeholders::new(names.unwrap_or_default(), values.unwrap_or_default());

        let refuse = |error: ExpressionError| Fault::validation(error.to_string());
        let condition = |text: Option<String>, purpose, placeholders: &mut Placeholders| {
            text.map(|text| parse_condition(purpose, &text, placeholders)).transpose().map_err(refuse)
        };
        let update = self.update.map(|text| parse_update(&text, &mut placeholders)).transpose().map_err(refuse)?;
        let parsed = Expressions {
            update,
            condition: condition(self.condition, Purpose::Condition, &mut placeholders)?,
            filter: condition(self.filter, Purpose::Filter, &mut placeholders)?,
            key_condition: condition(self.key_condition, Purpose::KeyCondition, &mut placeholders)?,
            projection: self
                .projection
                .map(|text| parse_projection(&text, &mut placeholders))
                .transpose()
                .map_err(refuse)?,
            legacy: false,
        };
        placeholders.unused().map_err(Fault::validation)?;
        Ok(parsed)
    }
}

/// Placeholders by name, none of them misnamed.
fn checked<T>(parameter: &str, sign: char, members: BTreeMap<String, T>) -> Result<BTreeMap<String, T>, Fault> {
    if members.is_empty() {
        return Err(Fault::validation(format!("{parameter} must not be empty")));
    }
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let well_named =
        |key: &str| key.strip_prefix(sign).is_some_and(|name| !name.is_empty() && name.chars().all(is_part));
    match members.keys().find(|key| !well_named(key)) {
        None => Ok(members),
        Some(key) => Err(Fault::validation(format!("{parameter} contains invalid key: Syntax error; key: \"{key}\""))),
    }
}

fn read_names(reader: &mut Reader<'_>) -> Result<Option<BTreeMap<String, String>>, Fault> {
    let mut names = BTreeMap::new();
    let present = reader.object(|reader, placeholder| {
        let name = reader.string()?;
        if name.as_deref().is_none_or(str::is_empty) {
            let message =
                format!("ExpressionAttributeNames contains invalid value: Empty attribute name for key {placeholder}");
            reader.invalidate(Fault::validation(message));
        }
        names.insert(placeholder.to_owned(), name.unwrap_or_default());
        Ok(())
    })?;
    Ok(present.then_some(names))
}
