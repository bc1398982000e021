//! ACL, AUTH and what else has to wait for the registry or for its turn.

use std::time::Instant;

use bytes::Bytes;
use commands::redis::acl::{DEFAULT_USER, answer};
use commands::redis::table::{AclCommand, ConfigCommand};
use commands::redis::{GatewayCommand, Value, parse_integer};

use super::super::Shared;
use super::super::local::{self, Settings};
use super::unreadable;

/// Entries that ACL LOG shows without a number.
const LOG_ENTRIES: usize = 10;
/// LOAD and SAVE, as Redis says it without a file.
const NO_FILE: &str = "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via \
     the ACL SETUSER command: users are kept in the cluster, every gateway has them, and they need not be saved.";

/// Answers a command for which [`super::waits`]; the table has checked the number of arguments.
pub(in crate::redis) async fn answer(
    command: GatewayCommand,
    args: &[Bytes],
    settings: &mut Settings,
    shared: &Shared,
) -> Value {
    match command {
        GatewayCommand::Acl(command) => acl(command, args, settings, shared).await.unwrap_or_else(|refused| refused),
        GatewayCommand::Config(ConfigCommand::Set) => config_set(args, settings, shared).await,
        // AUTH, and HELLO with AUTH.
        _ => match shared.access.throttle.turn(settings.client.address.ip(), Instant::now()) {
            Some(wait) => {
                if !wait.is_zero() {
                    tokio::time::sleep(wait).await;
                }
                local::answer(command, args, settings, shared)
            }
            None => Value::Error("ERR Too many wrong passwords from this address: try again later".to_owned()),
        },
    }
}

async fn acl(command: AclCommand, args: &[Bytes], settings: &mut Settings, shared: &Shared) -> Result<Value, Value> {
    let access = &shared.access;
    let all_channels = shared.parameters.text("acl-pubsub-default") == "allchannels";
    match command {
        AclCommand::Cat => return Ok(answer::categories(args)),
        AclCommand::GenPass => {
            let mut random = [0; 512];
            rand::fill(&mut random[..]);
            return Ok(answer::password(args, &random));
        }
        AclCommand::WhoAmI => return Ok(Value::Bulk(settings.identity.name())),
        AclCommand::Log => return Ok(log(args, shared)),
        AclCommand::Load | AclCommand::Save => return Err(Value::Error(NO_FILE.to_owned())),
        _ => {}
    }
    let done = match command {
        AclCommand::SetUser => access.set_user(&args[2], &args[3..], all_channels).await.map(|()| Value::OK),
        AclCommand::DelUser => delete(&args[2..], shared).await,
        _ => Ok(Value::Null),
    };
    // What is answered is how it is now, and what was changed holds here from now on.
    let ends = access.refresh(&shared.clients, Some(settings.client.id)).await.map_err(|error| unreadable(&error))?;
    settings.ends |= ends;
    let done = done?;
    let users = access.users.load();
    Ok(match command {
        AclCommand::DryRun => answer::dry_run(users.get(&args[2]).map(|known| &known.user), args),
        AclCommand::GetUser => users.get(&args[2]).map_or(Value::Null, |known| answer::user(&known.user)),
        AclCommand::List => {
            Value::Array(users.iter().map(|(name, known)| answer::list_line(name, &known.user)).collect())
        }
        AclCommand::Users => Value::Array(users.keys().cloned().map(Value::Bulk).collect()),
        _ => done,
    })
}

async fn delete(names: &[Bytes], shared: &Shared) -> Result<Value, Value> {
    let mut deleted = 0;
    for name in names {
        if name == DEFAULT_USER {
            return Err(Value::Error("ERR The 'default' user cannot be removed".to_owned()));
        }
        deleted += i64::from(shared.access.delete_user(name).await?);
    }
    Ok(Value::Integer(deleted))
}

fn log(args: &[Bytes], shared: &Shared) -> Value {
    match args {
        [_, _] => shared.access.log.show(LOG_ENTRIES),
        [_, _, word] if word.eq_ignore_ascii_case(b"reset") => {
            shared.access.log.reset();
            Value::OK
        }
        [_, _, count] => match parse_integer(count) {
            Ok(count) => shared.access.log.show(usize::try_from(count).unwrap_or(0)),
            Err(error) => error.into(),
        },
        _ => answer::misused(args),
    }
}

/// CONFIG SET with requirepass among the rest: the password is the default user's, of all gateways.
async fn config_set(args: &[Bytes], settings: &mut Settings, shared: &Shared) -> Value {
    let before = shared.parameters.text("requirepass");
    let set = shared.parameters.set(&args[2..]);
    if set.is_error() {
        return set;
    }
    let after = shared.parameters.text("requirepass");
    if let Err(refused) = shared.access.require_password(after.as_bytes()).await {
        shared.parameters.note_password(before);
        return refused;
    }
    match shared.access.refresh(&shared.clients, Some(settings.client.id)).await {
        Ok(_) => set,
        Err(error) => unreadable(&error),
    }
}
