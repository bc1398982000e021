//! Commands that concern the connection or the server: answered here, without asking anybody.
//!
//! Sentences are those of Redis 7.0.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use commands::redis::glob::Pattern;
use commands::redis::{GatewayCommand, RedisError, Value, describe, parse_database};
use keyspace::layout::REDIS_DATABASES;

use super::clients::Client;
use super::reply::Protocol;
use super::{Shared, info};

/// What a connection has set up.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) database: u8,
    pub(super) protocol: Protocol,
    pub(super) client: Arc<Client>,
}

impl Settings {
    pub(super) fn new(client: Arc<Client>) -> Self {
        Self { database: 0, protocol: Protocol::default(), client }
    }

    fn choose(&mut self, database: u8) {
        self.database = database;
        self.client.database.store(database, Ordering::Relaxed);
    }

    fn speak(&mut self, protocol: Protocol) {
        self.protocol = protocol;
        self.client.protocol.store(protocol.number(), Ordering::Relaxed);
    }
}

/// Answers one command; the table has checked the number of arguments.
pub(super) fn answer(command: GatewayCommand, args: &[Bytes], settings: &mut Settings, shared: &Shared) -> Value {
    let client = settings.client.clone();
    match command {
        GatewayCommand::ClientGetName => {
            let name = client.names.lock().name.clone();
            if name.is_empty() { Value::Null } else { Value::Bulk(name.into()) }
        }
        GatewayCommand::ClientId => Value::Integer(client.id as i64),
        GatewayCommand::ClientInfo => text(client.describe(Instant::now())),
        GatewayCommand::ClientList => list_clients(&args[2..], shared),
        GatewayCommand::ClientNoEvict => match () {
            () if is(&args[2], "on") || is(&args[2], "off") => Value::OK,
            () => RedisError::Syntax.into(),
        },
        GatewayCommand::ClientSetInfo => set_info(&args[2], &args[3], &client),
        GatewayCommand::ClientSetName => match printable(&args[2]) {
            Some(name) => {
                client.names.lock().name = name;
                Value::OK
            }
            None => error("ERR Client names cannot contain spaces, newlines or special characters."),
        },
        GatewayCommand::ConfigGet => Value::Map(configuration(&args[2..], shared)),
        GatewayCommand::Describe => describe::answer(args),
        GatewayCommand::Echo => Value::Bulk(args[1].clone()),
        GatewayCommand::Hello => hello(&args[1..], settings),
        GatewayCommand::Info => text(info::render(&args[1..], shared)),
        GatewayCommand::Ping => match args {
            [_] => Value::Simple("PONG".into()),
            [_, message] => Value::Bulk(message.clone()),
            _ => RedisError::WrongArity { command: "ping" }.into(),
        },
        // The session closes the connection behind it.
        GatewayCommand::Quit => Value::OK,
        GatewayCommand::Reset => reset(settings),
        GatewayCommand::Select => select(&args[1], settings),
        GatewayCommand::Time => {
            // A clock before 1970 is as good as none.
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let part = |number: String| Value::Bulk(number.into());
            Value::Array(vec![part(now.as_secs().to_string()), part(now.subsec_micros().to_string())])
        }
    }
}

/// AUTH is not in the table: there is no password to give. This is what Redis says then.
pub(super) fn authenticate(args: &[Bytes]) -> Value {
    match args {
        [_, _] => error(
            "ERR AUTH <password> called without any password configured for the default user. Are you sure your \
             configuration is correct?",
        ),
        [_, user, _] => authenticate_user(user),
        [_] => RedisError::WrongArity { command: "auth" }.into(),
        _ => RedisError::Syntax.into(),
    }
}

/// The default user has no password and takes any; there are no other users.
fn authenticate_user(user: &Bytes) -> Value {
    if &user[..] == b"default" {
        Value::OK
    } else {
        error("WRONGPASS invalid username-password pair or user is disabled.")
    }
}

fn hello(options: &[Bytes], settings: &mut Settings) -> Value {
    let mut protocol = settings.protocol;
    let mut rest = options;
    if let [version, behind @ ..] = options {
        rest = behind;
        protocol = match std::str::from_utf8(version).ok().and_then(|version| version.parse::<i64>().ok()) {
            Some(2) => Protocol::Resp2,
            Some(3) => Protocol::Resp3,
            Some(_) => return error("NOPROTO unsupported protocol version"),
            None => return error("ERR Protocol version is not an integer or out of range"),
        };
    }
    let mut name = None;
    while let [option, behind @ ..] = rest {
        rest = match behind {
            [user, _, behind @ ..] if is(option, "auth") => match authenticate_user(user) {
                Value::Error(refused) => return Value::Error(refused),
                _ => behind,
            },
            [wanted, behind @ ..] if is(option, "setname") => match printable(wanted) {
                Some(wanted) => {
                    name = Some(wanted);
                    behind
                }
                None => return error("ERR Client names cannot contain spaces, newlines or special characters."),
            },
            _ => return Value::Error(format!("ERR Syntax error in HELLO option '{}'", lossy(option))),
        };
    }
    settings.speak(protocol);
    if let Some(name) = name {
        settings.client.names.lock().name = name;
    }
    let entry = |key: &'static str, value| (Value::bulk(key), value);
    Value::Map(vec![
        entry("server", Value::bulk("redis")),
        entry("version", Value::bulk(info::REDIS_VERSION)),
        entry("proto", Value::Integer(i64::from(protocol.number()))),
        entry("id", Value::Integer(settings.client.id as i64)),
        entry("mode", Value::bulk("standalone")),
        entry("role", Value::bulk("master")),
        entry("modules", Value::Array(Vec::new())),
    ])
}

fn select(index: &Bytes, settings: &mut Settings) -> Value {
    match parse_database(index) {
        Ok(index) => {
            settings.choose(index);
            Value::OK
        }
        Err(error) => error.into(),
    }
}

/// As the connection was when it was opened. The session forgets its transaction.
fn reset(settings: &mut Settings) -> Value {
    settings.choose(0);
    settings.speak(Protocol::default());
    settings.client.names.lock().name.clear();
    Value::simple("RESET")
}

fn list_clients(filter: &[Bytes], shared: &Shared) -> Value {
    match filter {
        [] => text(shared.clients.list(None)),
        [option, kind] if is(option, "type") => match () {
            () if is(kind, "normal") => text(shared.clients.list(None)),
            // Connections of these kinds do not exist here.
            () if is(kind, "master") || is(kind, "replica") || is(kind, "slave") || is(kind, "pubsub") => {
                text(String::new())
            }
            () => Value::Error(format!("ERR Unknown client type '{}'", lossy(kind))),
        },
        [option, ids @ ..] if is(option, "id") && !ids.is_empty() => {
            let id = |id: &Bytes| std::str::from_utf8(id).ok()?.parse::<u64>().ok().filter(|id| *id > 0);
            match ids.iter().map(id).collect::<Option<Vec<u64>>>() {
                Some(ids) => text(shared.clients.list(Some(&ids))),
                None => error("ERR Invalid client ID"),
            }
        }
        _ => RedisError::Syntax.into(),
    }
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

/// The settings that clients ask for, as far as they mean something here.
fn configuration(patterns: &[Bytes], shared: &Shared) -> Vec<(Value, Value)> {
    let known: [(&str, String); 13] = [
        // Every acknowledged write is on the disks of a majority.
        ("appendfsync", "always".to_owned()),
        ("appendonly", "yes".to_owned()),
        ("cluster-enabled", "no".to_owned()),
        ("databases", REDIS_DATABASES.to_string()),
        ("maxclients", shared.limits.max_connections.to_string()),
        ("maxmemory", "0".to_owned()),
        ("maxmemory-policy", "noeviction".to_owned()),
        ("port", shared.address.port().to_string()),
        ("proto-max-bulk-len", commands::redis::error::MAX_VALUE_BYTES.to_string()),
        ("requirepass", String::new()),
        ("save", String::new()),
        ("tcp-keepalive", "0".to_owned()),
        ("timeout", "0".to_owned()),
    ];
    let patterns: Vec<Pattern> = patterns.iter().map(|pattern| Pattern::new(&pattern.to_ascii_lowercase())).collect();
    let wanted = |name: &str| patterns.iter().any(|pattern| pattern.matches(name.as_bytes()));
    let entry = |(name, value): (&'static str, String)| (Value::bulk(name), Value::Bulk(value.into()));
    known.into_iter().filter(|(name, _)| wanted(name)).map(entry).collect()
}

/// Text that fits a field of CLIENT LIST; an empty one takes the field away.
fn printable(bytes: &Bytes) -> Option<String> {
    let fits = bytes.iter().all(|byte| (b'!'..=b'~').contains(byte));
    fits.then(|| String::from_utf8_lossy(bytes).into_owned())
}

fn is(arg: &Bytes, word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}

fn lossy(arg: &Bytes) -> String {
    String::from_utf8_lossy(&arg[..arg.len().min(128)]).into_owned()
}

fn text(text: String) -> Value {
    Value::Verbatim { format: "txt".into(), text: text.into() }
}

fn error(line: &str) -> Value {
    Value::Error(line.to_owned())
}
