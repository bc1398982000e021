//! EVAL, FCALL and their relatives, as they are evaluated: the script runs, and its commands on the same view.
//!
//! The command line is that of the client with one argument more, an [`Envelope`] with the text of the script and
//! whether it may write. The gateway puts it there: whoever evaluates knows no registry of scripts.
//!
//! A script may touch keys that it does not name, as it may in Redis. Most do not: so it is tried at the leader of its keys,
//! confined to these, and only when it turns out to want more it is evaluated over a view that reaches everything
//! ([`super::reads_beyond`]). Each command is evaluated as if a client had sent it, by the same functions.

use bytes::{BufMut, Bytes, BytesMut};
use keyspace::layout::version_key;
use scripting::apart::{Running, Wish};
use scripting::{Budget, Call, Ended, Job, Reply, Source, sha1};

use super::acl::User;
use super::acl::record::Kept;
use super::blocking::{self, Patience};
use super::error::RedisError;
use super::number::{parse_database, parse_integer};
use super::sorted_set::score::format_double;
use super::table::{Flag, GatewayCommand, KeyCommand, Place, ScriptCommand};
use super::value::Value;
use super::{Classes, Event, Invocation, resolve, tell, units};
use crate::view::{View, ViewError};

const HEAD_BYTES: usize = 5;
const READ_ONLY: u8 = 1;
const CONFINED: u8 = 2;

/// Most instructions of a script.
pub const MAX_STEPS: u64 = 100_000_000;
/// Most instructions of a script at a leader, where nothing else goes on meanwhile: some milliseconds.
pub const LEADER_STEPS: u64 = 500_000;

/// What the gateway knows of a script that is to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Its commands must not write.
    pub read_only: bool,
    /// It runs at the leader of its keys, and touches no others: beyond that, or [`LEADER_STEPS`], it is given up with
    /// [`ViewError::Beyond`]. Otherwise it needs a view that reaches everything.
    pub confined: bool,
    /// Whose rules its commands obey, unless he may do everything.
    pub user: Option<User>,
    /// The text of the script, or of the library of the function.
    pub text: Bytes,
}

impl Envelope {
    /// As an argument: one byte, the length of the user's record (u32, big-endian), the record, and the text.
    pub fn encode(&self) -> Bytes {
        let user = self.user.clone().map(|user| Kept { id: 0, user }.encode()).unwrap_or_default();
        let mut bytes = BytesMut::with_capacity(HEAD_BYTES + user.len() + self.text.len());
        let flag = |on: bool, flag: u8| if on { flag } else { 0 };
        bytes.put_u8(flag(self.read_only, READ_ONLY) | flag(self.confined, CONFINED));
        // A user's rules are far shorter than 4 GB.
        bytes.put_u32(user.len() as u32);
        bytes.put_slice(&user);
        bytes.put_slice(&self.text);
        bytes.freeze()
    }

    fn decode(bytes: &Bytes) -> Option<Self> {
        let flags = *bytes.first()?;
        let (read_only, confined) = (flags & READ_ONLY != 0, flags & CONFINED != 0);
        let user_len = u32::from_be_bytes(bytes.get(1..HEAD_BYTES)?.try_into().ok()?) as usize;
        let user = bytes.get(HEAD_BYTES..HEAD_BYTES.checked_add(user_len)?)?;
        let user = if user.is_empty() { None } else { Some(Kept::decode(user).ok()?.user) };
        Some(Self { read_only, confined, user, text: bytes.slice(HEAD_BYTES + user_len..) })
    }
}

/// Whether a command line runs a script.
pub fn is_script(args: &[Bytes]) -> bool {
    matches!(resolve(args), Ok(spec) if matches!(spec.place, Place::AtLeader(KeyCommand::Script(_))))
}

fn has(args: &[Bytes], flag: u8) -> bool {
    args.last().and_then(|envelope| envelope.first()).is_some_and(|flags| flags & flag != 0)
}

/// Whether the script of a command line with its envelope must not write.
pub(super) fn is_read_only(args: &[Bytes]) -> bool {
    has(args, READ_ONLY)
}

/// Whether the script of a command line with its envelope touches nothing but the keys that it names.
pub(super) fn is_confined(args: &[Bytes]) -> bool {
    has(args, CONFINED)
}

/// The same script without confinement; `None`: it is none that is confined.
pub fn set_free(invocation: &Invocation) -> Option<Invocation> {
    let envelope = invocation.args.last().filter(|_| is_script(&invocation.args)).and_then(Envelope::decode)?;
    let mut free = envelope.confined.then(|| invocation.clone())?;
    *free.args.last_mut()? = Envelope { confined: false, ..envelope }.encode();
    Some(free)
}

/// How many keys a command line names.
pub fn count_keys(args: &[Bytes]) -> Result<usize, RedisError> {
    let is_function = args[0].get(..5).is_some_and(|name| name.eq_ignore_ascii_case(b"fcall"));
    let count = match parse_integer(&args[2]) {
        Err(_) if is_function => return Err(RedisError::BadNumberOfKeys),
        count => count?,
    };
    let most = args.len() - 3;
    match usize::try_from(count) {
        Err(_) => Err(RedisError::NegativeKeysCounted),
        Ok(count) if count > most => Err(RedisError::TooManyKeysCounted),
        Ok(count) => Ok(count),
    }
}

/// Runs the script of a command line that has its envelope.
pub(super) async fn run<V: View>(view: &mut V, invocation: &Invocation) -> Result<Value, ViewError> {
    let Invocation { db, args, telling } = invocation;
    let mut events = Vec::new();
    let (job, may) = match job(*db, args, view.random() as u32) {
        Ok(job) => job,
        Err(error) => return Ok(error.into()),
    };
    let mut db = *db;
    let mut running = Running::start(job);
    loop {
        let wish = if may.confined_to.is_some() { running.next_blocking() } else { running.next().await };
        match wish {
            Wish::Nothing(Ended::Answered(reply)) => return Ok(to_value(reply).with_events(events)),
            Wish::Nothing(Ended::Exhausted) if may.confined_to.is_some() => return Err(ViewError::Beyond),
            Wish::Nothing(Ended::Exhausted) => {
                return Ok(Value::Error(format!("ERR The script takes more than {MAX_STEPS} steps")));
            }
            Wish::Run(call) => {
                let value = command(view, &mut db, &may, &call, (*telling, &mut events)).await?;
                // What is only checked is for the script alone, as a truth value.
                running.answer(to_reply(value, call.resp3 || call.only_checked));
            }
        }
    }
}

fn job(db: u8, args: &[Bytes], seed: u32) -> Result<(Job, May), RedisError> {
    let spec = resolve(args)?;
    let misplaced = RedisError::Misplaced { command: spec.name };
    let Place::AtLeader(KeyCommand::Script(command)) = spec.place else { return Err(misplaced) };
    let (Some(envelope), true) = (args.last().and_then(Envelope::decode), args.len() > 3) else {
        return Err(misplaced);
    };
    let own = &args[..args.len() - 1];
    let keys = count_keys(own)?;
    let confined_to = if envelope.confined { Some(units(spec, &Invocation::new(db, own.to_vec()))?) } else { None };
    let budget = Budget { steps: if envelope.confined { LEADER_STEPS } else { MAX_STEPS }, seed };
    let may = May { write: !envelope.read_only, user: envelope.user, confined_to };
    let (source, label) = match command {
        ScriptCommand::FCall | ScriptCommand::FCallRo => {
            let label = String::from_utf8_lossy(&args[1]).into_owned();
            (Source::Function { library: envelope.text, name: args[1].clone() }, label)
        }
        _ => {
            let label = sha1::hex(&envelope.text);
            (Source::Script(envelope.text), label)
        }
    };
    let (keys, args) = own[3..].split_at(keys);
    Ok((Job { source, keys: keys.to_vec(), args: args.to_vec(), label, budget }, may))
}

/// What the commands of a script may do.
struct May {
    write: bool,
    user: Option<User>,
    /// Sorted units; `None`: anything.
    confined_to: Option<Vec<Bytes>>,
}

/// Runs one command of a script.
async fn command<V: View>(
    view: &mut V,
    db: &mut u8,
    may: &May,
    call: &Call,
    (telling, events): (Classes, &mut Vec<Event>),
) -> Result<Value, ViewError> {
    let error = |line: &str| Ok(Value::Error(line.to_owned()));
    let args = &call.args;
    let spec = match resolve(args) {
        Ok(spec) => spec,
        Err(_) if call.only_checked => return error("ERR Invalid command passed to redis.acl_check_cmd()"),
        Err(RedisError::WrongArity { .. }) => {
            return error("ERR Wrong number of args calling Redis command from script");
        }
        Err(_) => return error("ERR Unknown Redis command called from script"),
    };
    let permitted = may.user.as_ref().map_or(Ok(()), |user| user.check(spec, args));
    if call.only_checked {
        return Ok(Value::Boolean(permitted.is_ok()));
    }
    if spec.has(Flag::NoScript) {
        return error("ERR This Redis command is not allowed from script");
    }
    if let Err(denied) = permitted {
        return error(&format!("ERR {}", denied.line_in_script()));
    }
    if !may.write && spec.has(Flag::Write) {
        return error("ERR Write commands are not allowed from read-only scripts.");
    }
    match spec.place {
        Place::AtLeader(_) => {
            if matches!(blocking::patience(spec, args), Ok(patience) if patience != Patience::None) {
                let name = String::from_utf8_lossy(&args[0]);
                return error(&format!("ERR {name} command is not allowed with BLOCK option from scripts"));
            }
            let invocation = Invocation::new(*db, args.clone()).telling(telling);
            let units = match units(spec, &invocation) {
                Ok(units) => units,
                Err(refused) => return Ok(refused.into()),
            };
            if let Some(named) = &may.confined_to
                && (super::sort::reads_beyond(&invocation)
                    || units.iter().any(|unit| named.binary_search(unit).is_err()))
            {
                return Err(ViewError::Beyond);
            }
            // Keys that were not named are met here, also those that are only written.
            view.will_read(units.iter().map(|unit| version_key(unit)).collect()).await?;
            let (value, told) = tell(view, &invocation).await?;
            events.extend(told);
            Ok(value)
        }
        Place::AtGateway(GatewayCommand::Select) => Ok(match parse_database(&args[1]) {
            Ok(chosen) => {
                *db = chosen;
                Value::OK
            }
            Err(refused) => refused.into(),
        }),
        Place::AtGateway(GatewayCommand::Ping) => Ok(match args.get(1) {
            None => Value::simple("PONG"),
            Some(message) => Value::Bulk(message.clone()),
        }),
        Place::AtGateway(GatewayCommand::Echo) => Ok(Value::Bulk(args[1].clone())),
        Place::AtGateway(GatewayCommand::Time) => {
            let now = view.now_ms();
            let part = |number: u64| Value::bulk(number.to_string());
            Ok(Value::Array(vec![part(now / 1000), part(now % 1000 * 1000)]))
        }
        _ => Ok(Value::Error(format!("ERR '{}' works on no named keys, and cannot run in a script here", spec.name))),
    }
}

/// A reply as the script sees it. Before `redis.setresp(3)` it sees what a client of RESP2 would.
fn to_reply(value: Value, resp3: bool) -> Reply {
    let all = |items: Vec<Value>| items.into_iter().map(|item| to_reply(item, resp3)).collect::<Vec<_>>();
    let flat =
        |pairs: Vec<(Value, Value)>| all(pairs.into_iter().flat_map(|(first, second)| [first, second]).collect());
    match value {
        Value::Simple(line) => Reply::Simple(line.into_owned().into()),
        Value::Error(line) => Reply::Error(line.into()),
        Value::Told(reply, _) => to_reply(*reply, resp3),
        Value::Integer(number) => Reply::Integer(number),
        Value::Bulk(bytes) => Reply::Bulk(bytes),
        Value::Null | Value::NullArray if resp3 => Reply::Null,
        Value::Null | Value::NullArray => Reply::Boolean(false),
        Value::Array(items) => Reply::Array(all(items)),
        Value::Double(number) if resp3 => Reply::Double(number),
        Value::Double(number) => Reply::Bulk(format_double(number).into()),
        Value::Decimal(digits) if resp3 => match digits.parse() {
            Ok(number) => Reply::Double(number),
            Err(_) => Reply::Bulk(digits.into()),
        },
        Value::Decimal(digits) => Reply::Bulk(digits.into()),
        Value::Boolean(value) if resp3 => Reply::Boolean(value),
        Value::Boolean(value) => Reply::Integer(i64::from(value)),
        Value::Map(pairs) | Value::Streams(pairs) if resp3 => {
            Reply::Map(pairs.into_iter().map(|(key, value)| (to_reply(key, true), to_reply(value, true))).collect())
        }
        Value::Map(pairs) | Value::Pairs(pairs) if !resp3 => Reply::Array(flat(pairs)),
        Value::Pairs(pairs) | Value::Map(pairs) | Value::Streams(pairs) => {
            let pair = |(first, second)| Reply::Array(vec![to_reply(first, resp3), to_reply(second, resp3)]);
            Reply::Array(pairs.into_iter().map(pair).collect())
        }
        Value::Set(items) if resp3 => Reply::Set(all(items)),
        Value::Set(items) => Reply::Array(all(items)),
        Value::BigNumber(digits) if resp3 => Reply::BigNumber(digits.into()),
        Value::BigNumber(digits) => Reply::Bulk(digits.into()),
        Value::Verbatim { format, text } if resp3 => Reply::Verbatim { format: format.into(), text },
        Value::Verbatim { text, .. } => Reply::Bulk(text),
    }
}

/// What the script answers, for the client.
fn to_value(reply: Reply) -> Value {
    let text = |bytes: Bytes| String::from_utf8_lossy(&bytes).into_owned();
    match reply {
        Reply::Simple(line) => Value::Simple(text(line).into()),
        Reply::Error(line) => Value::Error(text(line)),
        Reply::Integer(number) => Value::Integer(number),
        Reply::Bulk(bytes) => Value::Bulk(bytes),
        Reply::Null => Value::Null,
        Reply::Array(items) => Value::Array(items.into_iter().map(to_value).collect()),
        Reply::Double(number) => Value::Double(number),
        Reply::Boolean(value) => Value::Boolean(value),
        Reply::Map(pairs) => {
            Value::Map(pairs.into_iter().map(|(key, value)| (to_value(key), to_value(value))).collect())
        }
        Reply::Set(items) => Value::Set(items.into_iter().map(to_value).collect()),
        Reply::BigNumber(digits) => Value::BigNumber(text(digits)),
        Reply::Verbatim { format, text: words } => Value::Verbatim { format: text(format), text: words },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures::executor::block_on;

    use super::*;
    use crate::testing::MemoryView;

    /// The reply of EVAL with these words behind the script.
    fn eval(view: &mut MemoryView, script: &str, words: &[&str]) -> Value {
        let mut args = vec![Bytes::from("eval"), Bytes::copy_from_slice(script.as_bytes())];
        args.extend(words.iter().map(|word| Bytes::copy_from_slice(word.as_bytes())));
        args.push(Envelope { read_only: false, confined: false, user: None, text: args[1].clone() }.encode());
        block_on(super::super::run(view, &Invocation::new(0, args))).unwrap()
    }

    fn line(value: Value) -> String {
        match value {
            Value::Error(line) => line,
            other => panic!("{other:?} is no error"),
        }
    }

    #[test]
    fn commands_of_a_script_see_each_other_and_their_replies_become_values() {
        let mut view = MemoryView::default();
        let script =
            "redis.call('set', KEYS[1], ARGV[1]) redis.call('incr', KEYS[1]) return redis.call('get', KEYS[1])";
        assert_eq!(eval(&mut view, script, &["1", "k", "41"]), Value::bulk("42"));
        assert_eq!(eval(&mut view, "return redis.call('get', 'none')", &["0"]), Value::Null);
        assert_eq!(eval(&mut view, "return redis.call('ping')", &["0"]), Value::simple("PONG"));
        let nested = eval(&mut view, "return {1, 2.9, 'x', true, {false, 'y'}, nil, 3}", &["0"]);
        let inner = Value::Array(vec![Value::Null, Value::bulk("y")]);
        let items = vec![Value::Integer(1), Value::Integer(2), Value::bulk("x"), Value::Integer(1), inner];
        assert_eq!(nested, Value::Array(items));
        assert_eq!(eval(&mut view, "redis.call('select', 3) redis.call('set', 'a', 'b')", &["0"]), Value::Null);
        assert_eq!(eval(&mut view, "return redis.call('exists', 'a')", &["0"]), Value::Integer(0));
    }

    /// Every line is what a redis-server 7.0.15 answers.
    #[test]
    fn errors_have_the_words_of_redis() {
        let mut view = MemoryView::default();
        eval(&mut view, "redis.call('set', 's', 'abc')", &["0"]);
        for (script, expected) in [
            ("error('x')", "ERR user_script:1: x script: SHA, on @user_script:1."),
            (
                "return redis.call('nosuch')",
                "ERR Unknown Redis command called from script script: SHA, on @user_script:1.",
            ),
            (
                "redis.call('get')",
                "ERR Wrong number of args calling Redis command from script script: SHA, on @user_script:1.",
            ),
            ("return {err='My Err'}", "My Err"),
            (
                "local ok, e = pcall(function() return redis.call('nosuch') end) return {err = type(e) .. ' ' .. e}",
                "string ERR Unknown Redis command called from script",
            ),
            (
                "local co = coroutine.create(function() redis.call('nosuch') end) local ok, e = coroutine.resume(co) \
                 return {err = e.err}",
                "ERR Unknown Redis command called from script",
            ),
            ("return redis.pcall('nosuch')", "ERR Unknown Redis command called from script"),
            ("return redis.error_reply('x y')", "x y"),
            ("return redis.error_reply('foo')", "ERR foo"),
            ("return redis.status_reply()", "ERR wrong number or type of arguments"),
            ("error()", "ERR nil script: SHA, on @user_script:1."),
            ("error({err='bla bla'})", "bla bla script: SHA, on @user_script:1."),
            (
                "return foo",
                "ERR user_script:1: Script attempted to access nonexistent global variable 'foo' script: SHA, on \
                 @user_script:1.",
            ),
            ("foo=1", "ERR user_script:1: Attempt to modify a readonly table script: SHA, on @user_script:1."),
            ("redis.x=1", "ERR user_script:1: Attempt to modify a readonly table script: SHA, on @user_script:1."),
            ("x x", "ERR Error compiling script (new function): user_script:1: '=' expected near 'x'"),
            (
                "return redis.call({})",
                "ERR Lua redis lib command arguments must be strings or integers script: SHA, on @user_script:1.",
            ),
            (
                "return redis.call('subscribe','x')",
                "ERR This Redis command is not allowed from script script: SHA, on @user_script:1.",
            ),
            (
                "return redis.call('incr','s')",
                "ERR value is not an integer or out of range script: SHA, on @user_script:1.",
            ),
        ] {
            let expected = expected.replace("SHA", &sha1::hex(script.as_bytes()));
            assert_eq!(line(eval(&mut view, script, &["0"])), expected, "{script}");
        }
    }

    #[test]
    fn a_script_that_never_ends_is_stopped() {
        let mut view = MemoryView::default();
        for script in [
            "while true do end",
            "coroutine.resume(coroutine.create(function() while true do end end)) while true do end",
            "while true do pcall(function() while true do end end) end",
            "while true do xpcall(function() while true do end end, function() end) end",
        ] {
            let stopped = line(eval(&mut view, script, &["0"]));
            assert_eq!(stopped, "ERR The script takes more than 100000000 steps", "{script}");
        }
        let full =
            line(eval(&mut view, "local t = {} while true do t[#t + 1] = string.rep('x', 1000000) .. #t end", &["0"]));
        assert!(full.contains("not enough memory"), "{full}");
    }

    #[test]
    fn libraries_of_scripts() {
        let mut view = MemoryView::default();
        for (script, expected) in [
            ("return cjson.encode({1, 'a/b', {x = 1.5}})", r#"[1,"a\/b",{"x":1.5}]"#),
            ("return cjson.encode(cjson.decode('[1, null, {\"k\": [true]}]'))", r#"[1,null,{"k":[true]}]"#),
            ("return tostring(bit.band(0xff, 0x0f)) .. bit.tohex(255, 4)", "1500ff"),
            ("local a, b = cmsgpack.unpack(cmsgpack.pack({1, 'x', -5}, 2.5)) return a[2] .. a[3] .. b", "x-52.5"),
            ("return table.concat({struct.unpack('>I2h', struct.pack('>I2h', 513, -2))}, ',')", "513,-2,5"),
            ("math.randomseed(0) return tostring(math.random())", "0.17082803611217"),
        ] {
            assert_eq!(eval(&mut view, script, &["0"]), Value::bulk(expected), "{script}");
        }
    }
}
