//! What ACL answers from the table or from one user.

use bytes::Bytes;

use super::super::error::RedisError;
use super::super::table::resolve;
use super::super::value::Value;
use super::commands::{CATEGORIES, INDEX, category};
use super::describe::{channel_rules, command_rules, flags, key_rules, passwords};
use super::{Denied, Selector, User, describe};

/// Most bits that ACL GENPASS gives.
const MAX_PASSWORD_BITS: i64 = 4096;
const PASSWORD_BITS: i64 = 256;

/// ACL CAT
pub fn categories(args: &[Bytes]) -> Value {
    match args {
        [_, _] => Value::Array(CATEGORIES.into_iter().map(Value::bulk).collect()),
        [_, _, name] => match category(name) {
            Some(category) => {
                let named = (0..INDEX.specs.len()).filter(|number| INDEX.is_in(*number, category));
                Value::Array(named.map(|number| Value::bulk(INDEX.specs[number].name)).collect())
            }
            None => Value::Error(format!("ERR Unknown category '{}'", String::from_utf8_lossy(name))),
        },
        _ => misused(args),
    }
}

/// ACL GENPASS, from 512 random bytes.
pub fn password(args: &[Bytes], random: &[u8; 512]) -> Value {
    let bits = match args {
        [_, _] => Ok(PASSWORD_BITS),
        [_, _, bits] => super::super::parse_integer(bits),
        _ => return misused(args),
    };
    match bits {
        Ok(bits @ 1..=MAX_PASSWORD_BITS) => {
            let digits: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
            Value::bulk(digits[..(bits as usize).div_ceil(4)].to_owned())
        }
        Ok(_) => Value::Error(format!(
            "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to \
             {MAX_PASSWORD_BITS}"
        )),
        Err(error) => error.into(),
    }
}

/// ACL GETUSER of a user that exists.
pub fn user(user: &User) -> Value {
    let entry = |name: &'static str, value| (Value::bulk(name), value);
    let mut fields = vec![
        entry("flags", Value::Set(flags(user).into_iter().map(Value::bulk).collect())),
        entry("passwords", Value::Array(passwords(user).map(Value::bulk).collect())),
    ];
    fields.extend(selector(&user.selectors[0]));
    let others = user.selectors[1..].iter().map(|own| Value::Map(selector(own).into()));
    fields.push(entry("selectors", Value::Array(others.collect())));
    Value::Map(fields)
}

fn selector(selector: &Selector) -> [(Value, Value); 3] {
    let entry = |name, rules: Vec<Bytes>| (Value::bulk(name), Value::Bulk(rules.join(&b' ').into()));
    [
        entry("commands", command_rules(selector)),
        entry("keys", key_rules(selector)),
        entry("channels", channel_rules(selector)),
    ]
}

/// A line of ACL LIST.
pub fn list_line(name: &[u8], user: &User) -> Value {
    Value::Bulk([b"user ", name, b" ", &describe::line(user)].concat().into())
}

/// ACL DRYRUN: `args` is its whole line; `None`: there is no such user.
pub fn dry_run(user: Option<&User>, args: &[Bytes]) -> Value {
    let Some(user) = user else {
        return Value::Error(format!("ERR User '{}' not found", String::from_utf8_lossy(&args[2])));
    };
    let line = &args[3..];
    let spec = match resolve(line) {
        Ok(spec) => spec,
        Err(error @ RedisError::WrongArity { .. }) => return error.into(),
        Err(_) => return Value::Error(format!("ERR Command '{}' not found", String::from_utf8_lossy(&line[0]))),
    };
    let denied = |what: &str, at: usize| {
        let named = String::from_utf8_lossy(line.get(at).map_or(&[], |named| &named[..]));
        Value::bulk(format!("This user has no permissions to access the '{named}' {what}"))
    };
    match user.check(spec, line) {
        Ok(()) => Value::OK,
        Err(Denied::Command) => Value::bulk(format!("This user has no permissions to run the '{}' command", spec.name)),
        Err(Denied::Key(at)) => denied("key", at),
        Err(Denied::Channel(at)) => denied("channel", at),
    }
}

/// A subcommand with arguments that it does not take.
pub fn misused(args: &[Bytes]) -> Value {
    let name = args.get(1).map(|name| String::from_utf8_lossy(&name[..name.len().min(128)]).into_owned());
    Value::Error(format!(
        "ERR unknown subcommand or wrong number of arguments for '{}'. Try ACL HELP.",
        name.unwrap_or_default()
    ))
}
