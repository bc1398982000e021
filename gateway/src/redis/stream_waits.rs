//! What is different about waiting for entries of streams.
//!
//! `$` means the last entry at the moment the command came. A command that stands by is evaluated again and again, so
//! the gateway puts the id in its place before. And XREADGROUP creates its consumer even where it finds nothing: an effect,
//! which a command that stands by must not have. So it is run once before it waits; if its group goes away while it waits,
//! it is told so in other words than one that comes too late.

use bytes::Bytes;
use commands::redis::blocking::{reads_from_now, would_block};
use commands::redis::table::StreamCommand;
use commands::redis::{Invocation, KeyCommand, Place, Spec, Value, keys, resolve};

use super::blocking::Blocking;
use super::together;

/// The command line to stand by with; `Err`: it is answered already.
pub(super) async fn begin(
    blocking: &Blocking<'_>,
    spec: &'static Spec,
    mut invocation: Invocation,
) -> Result<Invocation, Value> {
    match spec.place {
        Place::AtLeader(KeyCommand::Stream(StreamCommand::XReadGroup)) => {
            let value = run(blocking, spec, invocation.clone()).await;
            if would_block(&value) { Ok(invocation) } else { Err(value) }
        }
        Place::AtLeader(KeyCommand::Stream(StreamCommand::XRead)) => {
            for (key, id) in reads_from_now(&invocation.args) {
                invocation.args[id] = last_id(blocking, &invocation, key).await?;
            }
            Ok(invocation)
        }
        _ => Ok(invocation),
    }
}

/// The id of the last entry that a stream has had; 0-0 where there is none.
async fn last_id(blocking: &Blocking<'_>, of: &Invocation, key: usize) -> Result<Bytes, Value> {
    let words = |words: [&'static str; 2]| words.map(|word| Bytes::from_static(word.as_bytes())).to_vec();
    let args = [words(["xinfo", "stream"]), vec![of.args[key].clone()]].concat();
    let spec = resolve(&args).map_err(Value::from)?;
    let about = run(blocking, spec, Invocation::new(of.db, args)).await;
    match about {
        Value::Map(fields) => {
            let found = fields.into_iter().find(|(name, _)| *name == Value::bulk("last-generated-id"));
            match found {
                Some((_, Value::Bulk(id))) => Ok(id),
                _ => Err(super::refusal::unexpected()),
            }
        }
        Value::Error(line) if line.starts_with("ERR no such key") => Ok(Bytes::from_static(b"0-0")),
        other => Err(other),
    }
}

/// What a client is told that has waited, and whose command was answered this.
pub(super) async fn ended(blocking: &Blocking<'_>, spec: &'static Spec, of: &Invocation, value: Value) -> Value {
    let is_group = matches!(spec.place, Place::AtLeader(KeyCommand::Stream(StreamCommand::XReadGroup)));
    let Value::Error(line) = &value else { return value };
    if !is_group || !(line.starts_with("NOGROUP") || line.starts_with("WRONGTYPE")) {
        return value;
    }
    for key in keys(spec, &of.args).unwrap_or_default() {
        let args = vec![Bytes::from_static(b"type"), of.args[key].clone()];
        let Ok(spec) = resolve(&args) else { return value };
        if run(blocking, spec, Invocation::new(of.db, args)).await != Value::simple("stream") {
            return Value::Error("UNBLOCKED the stream key no longer exists".into());
        }
    }
    Value::Error("NOGROUP the consumer group this client was blocked on no longer exists".into())
}

async fn run(blocking: &Blocking<'_>, spec: &'static Spec, invocation: Invocation) -> Value {
    together::run_one(blocking.router, blocking.transactions, blocking.client.id, spec, invocation).await
}
