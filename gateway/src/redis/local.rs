//! Commands that concern the connection or the server: answered here, without asking anybody.
//!
//! `client` has CLIENT, `server` what is asked of a server. Sentences are those of Redis 7.0.

mod client;
mod server;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use commands::redis::acl::DEFAULT_USER;
use commands::redis::blocking::wanted_replicas;
use commands::redis::{GatewayCommand, RedisError, Value, describe, parse_database};

use super::access::{Context, Identity};
use super::clients::Client;
use super::ledger::Replies;
use super::reply::Protocol;
use super::{Shared, cluster, info};

/// What a connection has set up.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) database: u8,
    pub(super) protocol: Protocol,
    /// CLIENT REPLY
    pub(super) replies: Replies,
    /// It has killed itself: the connection ends behind this answer.
    pub(super) ends: bool,
    pub(super) client: Arc<Client>,
    pub(super) identity: Identity,
}

impl Settings {
    pub(super) fn new(client: Arc<Client>) -> Self {
        Self {
            database: 0,
            protocol: Protocol::default(),
            replies: Replies::default(),
            ends: false,
            client,
            identity: Identity::default(),
        }
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
    match command {
        // Users are asked of the registry: see `access`.
        GatewayCommand::Acl(_) => RedisError::Misplaced { command: "acl" }.into(),
        GatewayCommand::Auth => authenticate(args, settings, shared),
        GatewayCommand::Client(command) => client::answer(command, args, settings, shared),
        GatewayCommand::Cluster(command) => cluster::answer(command, args, &settings.client, shared),
        GatewayCommand::Config(command) => server::config(command, args, shared),
        GatewayCommand::Describe => describe::answer(args),
        GatewayCommand::Echo => Value::Bulk(args[1].clone()),
        GatewayCommand::Hello => hello(args, settings, shared),
        GatewayCommand::Info => text(info::render(&args[1..], shared)),
        GatewayCommand::LastSave => server::last_save(),
        GatewayCommand::Latency(command) => server::latency(command, args, shared),
        GatewayCommand::Lolwut => server::lolwut(),
        GatewayCommand::Memory(command) => server::memory(command, shared),
        GatewayCommand::ModuleList => Value::Array(Vec::new()),
        GatewayCommand::Monitor => {
            shared.monitors.add(&settings.client);
            Value::OK
        }
        // A subscriber of RESP2 could not tell a plain reply from a message.
        GatewayCommand::Ping if settings.protocol == Protocol::Resp2 && settings.client.subscriptions.lock().any() => {
            let message = args.get(1).cloned().unwrap_or_default();
            Value::Array(vec![Value::bulk("pong"), Value::Bulk(message)])
        }
        GatewayCommand::Ping => match args {
            [_] => Value::Simple("PONG".into()),
            [_, message] => Value::Bulk(message.clone()),
            _ => RedisError::WrongArity { command: "ping" }.into(),
        },
        // The session closes the connection behind it.
        GatewayCommand::Quit => Value::OK,
        GatewayCommand::Refused(why) => error(why),
        GatewayCommand::Reset => reset(settings, shared),
        GatewayCommand::Role => server::role(),
        GatewayCommand::Select => select(&args[1], settings),
        GatewayCommand::Slowlog(command) => server::slowlog(command, args, shared),
        GatewayCommand::Time => {
            // A clock before 1970 is as good as none.
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let part = |number: String| Value::Bulk(number.into());
            Value::Array(vec![part(now.as_secs().to_string()), part(now.subsec_micros().to_string())])
        }
        // In a transaction; elsewhere the session waits.
        GatewayCommand::Wait => match wanted_replicas(args) {
            Ok(_) => Value::Integer(shared.router.certain_replicas()),
            Err(error) => error.into(),
        },
    }
}

/// AUTH, when it is its turn.
fn authenticate(args: &[Bytes], settings: &mut Settings, shared: &Shared) -> Value {
    let name = Bytes::from_static(DEFAULT_USER.as_bytes());
    match args {
        [_, _] if shared.access.default_takes_any_password() => error(
            "ERR AUTH <password> called without any password configured for the default user. Are you sure your \
             configuration is correct?",
        ),
        [command, password] => log_in([command, &name, password], settings, shared),
        [command, name, password] => log_in([command, name, password], settings, shared),
        _ => RedisError::Syntax.into(),
    }
}

/// Makes the connection that of a user: what asks for it, the name and the password.
fn log_in(wanted: [&Bytes; 3], settings: &mut Settings, shared: &Shared) -> Value {
    let in_multi = settings.client.queued.load(Ordering::Relaxed) >= 0;
    let context = if in_multi { Context::Multi } else { Context::TopLevel };
    let Settings { client, identity, .. } = settings;
    match shared.access.log_in(identity, wanted, context, client, &shared.parameters) {
        true => Value::OK,
        false => error("WRONGPASS invalid username-password pair or user is disabled."),
    }
}

fn hello(args: &[Bytes], settings: &mut Settings, shared: &Shared) -> Value {
    let options = &args[1..];
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
            [user, password, behind @ ..] if is(option, "auth") => {
                match log_in([&args[0], user, password], settings, shared) {
                    Value::Error(refused) => return Value::Error(refused),
                    _ => behind,
                }
            }
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
    if !settings.identity.is_authenticated() {
        return error(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> \
             option can be used to authenticate the client and select the RESP protocol version at the same time",
        );
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
fn reset(settings: &mut Settings, shared: &Shared) -> Value {
    settings.choose(0);
    settings.speak(Protocol::default());
    settings.replies = Replies::default();
    settings.client.is_exempt.store(false, Ordering::Relaxed);
    shared.monitors.remove(&settings.client);
    settings.client.names.lock().name.clear();
    let Settings { client, identity, .. } = settings;
    identity.forget(client);
    Value::simple("RESET")
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
