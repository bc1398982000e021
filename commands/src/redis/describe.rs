//! COMMAND and its subcommands, and HELP of every container: the command table, printed.
//!
//! Shapes are those of Redis 7.0. Left out of COMMAND DOCS: the history of options.

use bytes::Bytes;

use super::error::RedisError;
use super::glob::Pattern;
use super::table::{
    Argument, Begin, Find, KeySpec, Kind, Spec, all, check_arity, counts_its_keys, keys, lookup, resolve,
};
use super::value::Value;

/// Answers a command line whose place is [`super::GatewayCommand::Describe`]. Whatever else is given is refused.
pub fn answer(args: &[Bytes]) -> Value {
    try_answer(args).unwrap_or_else(Value::from)
}

fn try_answer(args: &[Bytes]) -> Result<Value, RedisError> {
    let spec = resolve(args)?;
    let rest = args.get(2..).unwrap_or_default();
    match spec.name {
        "command" => Ok(Value::Array(all().map(command_info).collect())),
        "command|count" => Ok(Value::Integer(all().count() as i64)),
        "command|docs" if rest.is_empty() => Ok(Value::Map(all().map(docs_entry).collect())),
        "command|docs" => Ok(Value::Map(rest.iter().filter_map(|name| by_full_name(name)).map(docs_entry).collect())),
        "command|getkeys" => key_arguments(rest, |_, key| key),
        "command|getkeysandflags" => {
            let flags = |access: &[&'static str]| Value::Set(access.iter().map(|&word| Value::simple(word)).collect());
            key_arguments(rest, |access, key| Value::Array(vec![key, flags(access)]))
        }
        "command|info" if rest.is_empty() => Ok(Value::Array(all().map(command_info).collect())),
        "command|info" => {
            let info = |name: &Bytes| by_full_name(name).map_or(Value::NullArray, command_info);
            Ok(Value::Array(rest.iter().map(info).collect()))
        }
        "command|list" => list(rest),
        name => match name.strip_suffix("|help").and_then(|container| lookup(container.as_bytes())) {
            Some(container) => Ok(help(container)),
            None => Err(RedisError::Misplaced { command: spec.name }),
        },
    }
}

/// An entry of COMMAND INFO.
pub fn command_info(spec: &Spec) -> Value {
    let (first, last, step) = in_a_row(spec);
    let categories = spec.categories_in_order().into_iter().map(|category| simple(format!("@{category}")));
    let subcommands: Vec<Value> = spec.subcommands.iter().map(command_info).collect();
    Value::Array(vec![
        Value::bulk(spec.name),
        Value::Integer(i64::from(spec.arity)),
        Value::Set(spec.flags.iter().map(|flag| Value::simple(flag.name())).collect()),
        Value::Integer(first),
        Value::Integer(last),
        Value::Integer(step),
        Value::Set(categories.collect()),
        Value::Set(spec.tips.iter().map(|&tip| Value::bulk(tip)).collect()),
        Value::Set(spec.keys.iter().map(key_spec).collect()),
        if subcommands.is_empty() { Value::Set(subcommands) } else { Value::Array(subcommands) },
    ])
}

/// First key, last key and step as cluster clients of old know them: of those keys that stand in a row.
fn in_a_row(spec: &Spec) -> (i64, i64, i64) {
    let ranges = spec.keys.iter().filter_map(|keys| match (keys.begin, keys.find) {
        (Begin::Index(first), Find::Range { last, step }) => {
            let last = if last < 0 { last as i64 } else { first as i64 + last as i64 };
            Some((first as i64, last, step as i64))
        }
        _ => None,
    });
    let joined = ranges.reduce(
        |(first, last, step), (next, next_last, _)| {
            if next == last + 1 { (first, next_last, step) } else { (first, last, step) }
        },
    );
    joined.unwrap_or_default()
}

fn key_spec(keys: &KeySpec) -> Value {
    let number = |number: usize| Value::Integer(number as i64);
    let part = |kind: &'static str, spec: Vec<(Value, Value)>| {
        Value::Map(vec![entry("type", Value::bulk(kind)), entry("spec", Value::Map(spec))])
    };
    let begin = match keys.begin {
        Begin::Index(index) => part("index", vec![entry("index", number(index))]),
        Begin::Behind { word, from } => {
            part("keyword", vec![entry("keyword", Value::bulk(word)), entry("startfrom", number(from))])
        }
        Begin::Unknown => part("unknown", Vec::new()),
    };
    let find = match keys.find {
        Find::Range { last, step } => {
            let last = entry("lastkey", Value::Integer(last as i64));
            part("range", vec![last, entry("keystep", number(step)), entry("limit", number(0))])
        }
        Find::Halved => {
            let last = entry("lastkey", Value::Integer(-1));
            part("range", vec![last, entry("keystep", number(1)), entry("limit", number(2))])
        }
        Find::Counted | Find::CountedOrNone => {
            let (index, first) = (entry("keynumidx", number(0)), entry("firstkey", number(1)));
            part("keynum", vec![index, first, entry("keystep", number(1))])
        }
        Find::Unnamed | Find::SortStore => part("unknown", Vec::new()),
    };
    let mut fields: Vec<_> = keys.notes.iter().map(|&notes| entry("notes", Value::bulk(notes))).collect();
    fields.extend([
        entry("flags", Value::Set(keys.access.iter().map(|&access| Value::simple(access)).collect())),
        entry("begin_search", begin),
        entry("find_keys", find),
    ]);
    Value::Map(fields)
}

/// What COMMAND DOCS says of a command.
pub fn command_docs(spec: &Spec) -> Value {
    let mut fields = vec![
        entry("summary", Value::bulk(spec.summary)),
        entry("since", Value::bulk(spec.since)),
        entry("group", Value::bulk(spec.group)),
        entry("complexity", Value::bulk(spec.complexity)),
    ];
    if let Some((since, instead)) = spec.deprecated {
        fields.push(entry("doc_flags", Value::Set(vec![Value::simple("deprecated")])));
        fields.push(entry("deprecated_since", Value::bulk(since)));
        fields.push(entry("replaced_by", Value::bulk(instead)));
    }
    if !spec.arguments.is_empty() {
        fields.push(entry("arguments", Value::Array(spec.arguments.iter().map(argument).collect())));
    }
    if !spec.subcommands.is_empty() {
        fields.push(entry("subcommands", Value::Map(spec.subcommands.iter().map(docs_entry).collect())));
    }
    Value::Map(fields)
}

fn docs_entry(spec: &'static Spec) -> (Value, Value) {
    entry(spec.name, command_docs(spec))
}

fn argument(argument: &Argument) -> Value {
    let mut fields = vec![entry("name", Value::bulk(argument.name)), entry("type", Value::bulk(argument.kind.name()))];
    if argument.kind == Kind::Key || argument.key_spec > 0 {
        fields.push(entry("key_spec_index", Value::Integer(i64::from(argument.key_spec))));
    }
    if let Some(token) = argument.token {
        fields.push(entry("token", Value::bulk(token)));
    }
    let flags = [
        (argument.is_optional, "optional"),
        (argument.is_multiple, "multiple"),
        (argument.repeats_token, "multiple_token"),
    ];
    let flags: Vec<Value> = flags.into_iter().filter(|(set, _)| *set).map(|(_, name)| Value::simple(name)).collect();
    if !flags.is_empty() {
        fields.push(entry("flags", Value::Set(flags)));
    }
    if !argument.parts.is_empty() {
        fields.push(entry("arguments", Value::Array(argument.parts.iter().map(self::argument).collect())));
    }
    Value::Map(fields)
}

/// COMMAND GETKEYS and COMMAND GETKEYSANDFLAGS: each key, as `show` shows it with what happens to it.
fn key_arguments(line: &[Bytes], show: impl Fn(&[&'static str], Value) -> Value) -> Result<Value, RedisError> {
    let named = line.first().and_then(|name| lookup(name)).ok_or(RedisError::GetKeysUnknownCommand)?;
    let subcommand = line.get(1).and_then(|name| named.subcommand(name));
    let spec = subcommand.unwrap_or(named);
    if spec.keys.is_empty() {
        return Err(RedisError::GetKeysNoKeys);
    }
    check_arity(spec, line).map_err(|_| RedisError::GetKeysWrongArity)?;
    if !counts_its_keys(spec, line) {
        // Scripts need no keys.
        let may_have_none = spec.own_categories().contains(&"scripting") && line.get(2).is_some_and(|n| &n[..] == b"0");
        return if may_have_none { Ok(Value::Array(Vec::new())) } else { Err(RedisError::GetKeysMiscounted) };
    }
    keys(spec, line)?;
    let found = spec.keys.iter().flat_map(|keys| {
        let access = access_of(spec, keys, line);
        keys.indexes(line).map(move |index| (access, index))
    });
    Ok(Value::Array(found.map(|(access, index)| show(access, Value::Bulk(line[index].clone()))).collect()))
}

/// What this command line does to these keys: of SET and BITFIELD it depends on their options.
pub(super) fn access_of(spec: &Spec, keys: &KeySpec, line: &[Bytes]) -> &'static [&'static str] {
    let gets = || line.iter().skip(3).any(|arg| arg.eq_ignore_ascii_case(b"get"));
    match spec.name {
        "set" if gets() => &["RW", "access", "update"],
        "set" => &["OW", "update"],
        "bitfield" if only_gets(line) => &["RO", "access"],
        "bitfield" => &["RW", "access", "update"],
        _ => keys.access,
    }
}

/// Whether a BITFIELD is nothing but well-formed GETs.
fn only_gets(line: &[Bytes]) -> bool {
    let mut at = 2;
    while let Some(word) = line.get(at) {
        let behind = line.len() - at - 1;
        at += match () {
            () if word.eq_ignore_ascii_case(b"get") && behind >= 2 => 3,
            () if word.eq_ignore_ascii_case(b"overflow") && behind >= 1 => 2,
            () => return false,
        };
    }
    true
}

/// COMMAND LIST with its filters.
fn list(filter: &[Bytes]) -> Result<Value, RedisError> {
    let listed = all().flat_map(|spec| std::iter::once(spec).chain(spec.subcommands));
    let names: Vec<&'static str> = match filter {
        [] => listed.map(|spec| spec.name).collect(),
        [filterby, kind, value] if filterby.eq_ignore_ascii_case(b"filterby") => {
            let value = value.to_ascii_lowercase();
            match kind.to_ascii_lowercase().as_slice() {
                // There are no modules.
                b"module" => Vec::new(),
                b"aclcat" => {
                    let belongs = |spec: &&Spec| spec.categories_in_order().iter().any(|name| name.as_bytes() == value);
                    listed.filter(belongs).map(|spec| spec.name).collect()
                }
                b"pattern" => {
                    let pattern = Pattern::new(&value);
                    listed.map(|spec| spec.name).filter(|name| pattern.matches(name.as_bytes())).collect()
                }
                _ => return Err(RedisError::Syntax),
            }
        }
        _ => return Err(RedisError::Syntax),
    };
    Ok(Value::Array(names.into_iter().map(Value::bulk).collect()))
}

/// HELP of a container.
fn help(container: &Spec) -> Value {
    let title = format!("{} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", container.name.to_uppercase());
    let mut lines = vec![simple(title)];
    for spec in container.subcommands {
        let own_name = spec.name.rsplit('|').next().unwrap_or(spec.name);
        let arguments: String = spec.arguments.iter().map(|argument| format!(" {}", synopsis(argument))).collect();
        lines.push(simple(format!("{}{arguments}", own_name.to_uppercase())));
        lines.push(simple(format!("    {}.", spec.summary)));
    }
    Value::Array(lines)
}

/// An argument as manuals write it.
fn synopsis(argument: &Argument) -> String {
    let parts: Vec<String> = argument.parts.iter().map(synopsis).collect();
    let body = match argument.kind {
        Kind::Token => String::new(),
        Kind::OneOf => format!("({})", parts.join("|")),
        Kind::Block => parts.join(" "),
        _ => format!("<{}>", argument.name),
    };
    let words: Vec<&str> = argument.token.into_iter().chain(Some(&*body)).filter(|word| !word.is_empty()).collect();
    let text = words.join(" ");
    let text = if argument.is_multiple { format!("{text} [{text} ...]") } else { text };
    if argument.is_optional { format!("[{text}]") } else { text }
}

/// A command, or a subcommand as `client|id`, in any case of letters.
fn by_full_name(name: &[u8]) -> Option<&'static Spec> {
    match name.iter().position(|&byte| byte == b'|') {
        Some(bar) => lookup(&name[..bar])?.subcommand(&name[bar + 1..]),
        None => lookup(name),
    }
}

fn entry(name: &'static str, value: Value) -> (Value, Value) {
    (Value::bulk(name), value)
}

fn simple(text: String) -> Value {
    Value::Simple(text.into())
}
