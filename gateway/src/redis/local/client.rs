//! CLIENT and its subcommands.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use commands::redis::table::ClientCommand;
use commands::redis::{RedisError, Value, parse_integer};

use super::{Settings, error, is, lossy, printable, text};
use crate::redis::Shared;
use crate::redis::clients::{Client, Clients, Kind, Unblocked};
use crate::redis::ledger::Replies;
use crate::redis::pause::Held;

/// What is longer is as good as for ever.
const LONGEST_PAUSE: Duration = Duration::from_secs(100 * 365 * 86_400);
const NO_TRACKING: &str = "ERR Keys are not tracked: this gateway does not hear of changes that others make";

/// Answers one of them.
pub(super) fn answer(command: ClientCommand, args: &[Bytes], settings: &mut Settings, shared: &Shared) -> Value {
    let client = settings.client.clone();
    match command {
        ClientCommand::Caching => match () {
            () if is(&args[2], "yes") || is(&args[2], "no") => error(
                "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode \
                 enabled",
            ),
            () => RedisError::Syntax.into(),
        },
        ClientCommand::GetName => {
            let name = client.names.lock().name.clone();
            if name.is_empty() { Value::Null } else { Value::Bulk(name.into()) }
        }
        ClientCommand::GetRedir => Value::Integer(-1),
        ClientCommand::Id => Value::Integer(client.id as i64),
        ClientCommand::Info => measured(args, &client, || client.describe(Instant::now())),
        ClientCommand::Kill => kill(&args[2..], settings, shared).unwrap_or_else(|refused| refused),
        ClientCommand::List => measured_list(args, &client, shared),
        ClientCommand::NoEvict => match on_or_off(&args[2]) {
            Some(on) => {
                client.is_exempt.store(on, Ordering::Relaxed);
                Value::OK
            }
            None => RedisError::Syntax.into(),
        },
        ClientCommand::Pause => pause(&args[2..], shared),
        ClientCommand::Reply => reply(&args[2], settings),
        ClientCommand::SetInfo => set_info(&args[2], &args[3], &client),
        ClientCommand::SetName => match printable(&args[2]) {
            Some(name) => {
                client.names.lock().name = name;
                Value::OK
            }
            None => error("ERR Client names cannot contain spaces, newlines or special characters."),
        },
        ClientCommand::Tracking => match on_or_off(&args[2]) {
            Some(true) => error(NO_TRACKING),
            Some(false) => Value::OK,
            None => RedisError::Syntax.into(),
        },
        ClientCommand::TrackingInfo => Value::Map(vec![
            (Value::bulk("flags"), Value::Set(vec![Value::bulk("off")])),
            (Value::bulk("redirect"), Value::Integer(-1)),
            (Value::bulk("prefixes"), Value::Array(Vec::new())),
        ]),
        ClientCommand::Unblock => unblock(&args[2..], shared),
        ClientCommand::Unpause => {
            shared.pause.end();
            Value::OK
        }
    }
}

fn on_or_off(word: &Bytes) -> Option<bool> {
    match () {
        () if is(word, "on") => Some(true),
        () if is(word, "off") => Some(false),
        () => None,
    }
}

/// A description of clients of which this one is just being answered.
fn measured(args: &[Bytes], client: &Client, describe: impl FnOnce() -> String) -> Value {
    let arguments: usize = args.iter().map(Bytes::len).sum();
    let framing: usize = args.iter().map(|arg| format!("${}\r\n\r\n", arg.len()).len()).sum();
    client.argument_bytes.store(arguments, Ordering::Relaxed);
    client.request_bytes.store(arguments + framing + format!("*{}\r\n", args.len()).len(), Ordering::Relaxed);
    let described = describe();
    client.argument_bytes.store(0, Ordering::Relaxed);
    client.request_bytes.store(0, Ordering::Relaxed);
    text(described)
}

fn measured_list(args: &[Bytes], client: &Client, shared: &Shared) -> Value {
    let listed: Vec<Arc<Client>> = match &args[2..] {
        [] => shared.clients.all(),
        [option, kind] if is(option, "type") => match Kind::parse(kind) {
            Some(kind) => shared.clients.all().into_iter().filter(|client| client.kind() == kind).collect(),
            None => return unknown_kind(kind),
        },
        [option, ids @ ..] if is(option, "id") && !ids.is_empty() => {
            match ids.iter().map(parse_id).collect::<Option<Vec<u64>>>() {
                Some(ids) => ids.into_iter().filter_map(|id| shared.clients.find(id)).collect(),
                None => return error("ERR Invalid client ID"),
            }
        }
        _ => return RedisError::Syntax.into(),
    };
    measured(args, client, || Clients::list(&listed))
}

fn unknown_kind(kind: &Bytes) -> Value {
    Value::Error(format!("ERR Unknown client type '{}'", lossy(kind)))
}

fn parse_id(id: &Bytes) -> Option<u64> {
    parse_integer(id).ok().and_then(|id| u64::try_from(id).ok()).filter(|id| *id > 0)
}

/// Whom CLIENT KILL means: those whom every part means.
#[derive(Debug, Default)]
struct Victims {
    id: Option<u64>,
    kind: Option<Kind>,
    address: Option<String>,
    local_address: Option<String>,
    user: Option<Bytes>,
    skips_me: bool,
}

impl Victims {
    fn means(&self, client: &Client, me: u64) -> bool {
        self.id.is_none_or(|id| id == client.id)
            && self.kind.is_none_or(|kind| kind == client.kind())
            && self.address.as_ref().is_none_or(|address| *address == client.address.to_string())
            && self.local_address.as_ref().is_none_or(|address| *address == client.local_address.to_string())
            && self.user.as_ref().is_none_or(|user| client.is_of(user))
            && !(self.skips_me && client.id == me)
    }
}

fn kill(args: &[Bytes], settings: &mut Settings, shared: &Shared) -> Result<Value, Value> {
    // The form of old is an address alone, and knows no mercy.
    if let [address] = args {
        let victims = Victims { address: Some(lossy(address)), ..Victims::default() };
        return match kill_all(&victims, settings, shared) {
            0 => Err(error("ERR No such client")),
            _ => Ok(Value::OK),
        };
    }
    let mut victims = Victims { skips_me: true, ..Victims::default() };
    for option in args.chunks(2) {
        let [option, value] = option else { return Err(RedisError::Syntax.into()) };
        match () {
            () if is(option, "id") => {
                let id = parse_id(value).ok_or_else(|| error("ERR client-id should be greater than 0"))?;
                victims.id = Some(id);
            }
            () if is(option, "type") => victims.kind = Some(Kind::parse(value).ok_or_else(|| unknown_kind(value))?),
            () if is(option, "addr") => victims.address = Some(lossy(value)),
            () if is(option, "laddr") => victims.local_address = Some(lossy(value)),
            () if is(option, "user") && shared.access.knows(value) => victims.user = Some(value.clone()),
            () if is(option, "user") => return Err(Value::Error(format!("ERR No such user '{}'", lossy(value)))),
            () if is(option, "skipme") && is(value, "yes") => victims.skips_me = true,
            () if is(option, "skipme") && is(value, "no") => victims.skips_me = false,
            () => return Err(RedisError::Syntax.into()),
        }
    }
    Ok(Value::Integer(kill_all(&victims, settings, shared)))
}

/// Closes their connections; how many there were. Whoever kills itself is answered first.
fn kill_all(victims: &Victims, settings: &mut Settings, shared: &Shared) -> i64 {
    let me = settings.client.id;
    let mut count = 0;
    for client in shared.clients.all().iter().filter(|client| victims.means(client, me)) {
        count += 1;
        if client.id == me {
            settings.ends = true;
        } else {
            // Nobody sees it any more, even before its session has noticed.
            shared.clients.remove(client.id);
            client.mailbox.cut_off();
        }
    }
    count
}

fn pause(args: &[Bytes], shared: &Shared) -> Value {
    let (ms, held) = match args {
        [ms] => (ms, Held::All),
        [ms, mode] if is(mode, "all") => (ms, Held::All),
        [ms, mode] if is(mode, "write") => (ms, Held::Writes),
        [_, _] => return error("ERR CLIENT PAUSE mode must be WRITE or ALL"),
        _ => return RedisError::Syntax.into(),
    };
    let Ok(ms) = parse_integer(ms) else { return error("ERR timeout is not an integer or out of range") };
    let Ok(ms) = u64::try_from(ms) else { return error("ERR timeout is negative") };
    shared.pause.begin(held, Duration::from_millis(ms).min(LONGEST_PAUSE));
    Value::OK
}

fn reply(word: &Bytes, settings: &mut Settings) -> Value {
    match () {
        () if is(word, "on") => settings.replies = Replies::On,
        () if is(word, "off") => settings.replies = Replies::Off,
        () if is(word, "skip") && settings.replies == Replies::Off => {}
        () if is(word, "skip") => settings.replies = Replies::SkipNext,
        () => return RedisError::Syntax.into(),
    }
    Value::OK
}

fn set_info(attribute: &Bytes, value: &Bytes, client: &Client) -> Value {
    let is_name = is(attribute, "lib-name");
    if !is_name && !is(attribute, "lib-ver") {
        return Value::Error(format!("ERR Unrecognized option '{}'", lossy(attribute)));
    }
    let Some(value) = printable(value) else {
        let attribute = if is_name { "lib-name" } else { "lib-ver" };
        return Value::Error(format!("ERR {attribute} cannot contain spaces, newlines or special characters."));
    };
    let mut names = client.names.lock();
    if is_name {
        names.library = value;
    } else {
        names.library_version = value;
    }
    Value::OK
}

fn unblock(args: &[Bytes], shared: &Shared) -> Value {
    let (id, how) = match args {
        [id] => (id, Unblocked::Timeout),
        [id, how] if is(how, "timeout") => (id, Unblocked::Timeout),
        [id, how] if is(how, "error") => (id, Unblocked::Error),
        [_, _] => return error("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"),
        _ => return RedisError::WrongArity { command: "client|unblock" }.into(),
    };
    let Ok(id) = parse_integer(id) else { return RedisError::NotAnInteger.into() };
    let client = u64::try_from(id).ok().and_then(|id| shared.clients.find(id));
    Value::Integer(i64::from(client.is_some_and(|client| client.unblock(how))))
}
