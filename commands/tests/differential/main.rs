//! The same commands to a real redis-server and to this crate: the replies must be equal.
//!
//! Random commands come from a fixed seed (`ELASTICKV_TEST_SEED` chooses another); a difference is shrunk to the few
//! commands that produce it. What depends on the clock is compared within a tolerance or set far away from now.
//! Without a redis-server on the machine these tests say so and pass.

#![allow(clippy::unwrap_used)]

mod generate;
mod ours;
mod server;
mod templates;

use bytes::Bytes;
use commands::redis::{Value, table};
use generate::Generator;
use ours::Ours;
use server::Server;

type Line = Vec<Bytes>;

fn line(text: &str) -> Line {
    text.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
}

fn shown(line: &Line) -> String {
    line.iter().map(|word| format!("\"{}\"", word.escape_ascii())).collect::<Vec<_>>().join(" ")
}

/// Commands whose answer moves with the clock.
const CLOCKS: [&str; 4] = ["ttl", "pttl", "expiretime", "pexpiretime"];

/// Commands whose array has no order of its own. With a count, so that everything is in it.
const UNORDERED: [&str; 8] = ["hkeys", "hvals", "hscan", "sscan", "zscan", "hrandfield", "srandmember", "zrandmember"];
/// Commands that choose at random.
const RANDOM: [&str; 4] = ["hrandfield", "srandmember", "zrandmember", "spop"];

/// Sorts what has no order.
fn ordered(name: &str, value: &Value) -> Value {
    let shown = |value: &Value| format!("{value:?}");
    match value {
        Value::Set(items) => {
            let mut items = items.clone();
            items.sort_by_key(shown);
            Value::Set(items)
        }
        Value::Map(pairs) if name != "lcs" => {
            let mut pairs = pairs.clone();
            pairs.sort_by_key(|(key, _)| shown(key));
            Value::Map(pairs)
        }
        // Of a page of a scan, pairs stay together.
        Value::Array(items) if UNORDERED.contains(&name) => {
            let mut items: Vec<Value> = items.iter().map(|item| ordered(name, item)).collect();
            let page = |value: &Value| matches!(value, Value::Array(items) if items.len() > 2);
            if matches!(name, "hscan" | "zscan") && !items.iter().any(page) {
                let mut pairs: Vec<Vec<Value>> = items.chunks(2).map(<[Value]>::to_vec).collect();
                pairs.sort_by_key(|pair| format!("{pair:?}"));
                items = pairs.concat();
            } else if !items.iter().any(page) {
                items.sort_by_key(shown);
            }
            Value::Array(items)
        }
        other => other.clone(),
    }
}

/// The ways in which Redis keeps a string: which it is depends on how it came to be.
const STRINGS: [&[u8]; 3] = [b"int", b"embstr", b"raw"];

/// How much a random choice answers, when not what.
fn size(value: &Value) -> Option<usize> {
    match value {
        Value::Array(items) | Value::Set(items) => Some(items.len()),
        Value::Bulk(_) => Some(1),
        _ => None,
    }
}

/// Whether a line asks for the elements of a set (`s8`, `s9`) as they come.
fn sorts_nothing(name: &str, line: &Line) -> bool {
    let by_nothing = |pair: &[Bytes]| pair[0].eq_ignore_ascii_case(b"by") && !pair[1].contains(&b'*');
    name.starts_with("sort") && line.get(1).is_some_and(|key| key.starts_with(b"s")) && line.windows(2).any(by_nothing)
}

fn same(line: &Line, redis: &Value, ours: &Value) -> bool {
    let name = String::from_utf8_lossy(&line[0]).to_lowercase();
    let chooses = match line.get(2) {
        None => true,
        Some(count) => count.starts_with(b"-"),
    };
    if RANDOM.contains(&&*name) && chooses && size(redis).is_some() {
        return size(redis) == size(ours);
    }
    if sorts_nothing(&name, line) && size(redis).is_some() {
        return size(redis) == size(ours);
    }
    let (redis, ours) = (&ordered(&name, redis), &ordered(&name, ours));
    match (redis, ours) {
        (Value::Bulk(a), Value::Bulk(b)) if name == "object" && STRINGS.contains(&&**a) => STRINGS.contains(&&**b),
        (Value::Integer(_), Value::Integer(_)) if name == "object" || name == "memory" => true,
        (Value::Integer(a), Value::Integer(b)) if CLOCKS.contains(&&*name) && *a > 0 && *b > 0 => {
            a.abs_diff(*b) <= 30_000
        }
        _ => redis == ours,
    }
}

fn may_wait(line: &Line) -> bool {
    table::resolve(line).is_ok_and(|spec| spec.has(table::Flag::Blocking))
}

/// What to send for a line: inside MULTI nothing waits.
fn without_waiting(line: &Line) -> Vec<Line> {
    if may_wait(line) { vec![self::line("multi"), line.clone(), self::line("exec")] } else { vec![line.clone()] }
}

fn answer_to(line: &Line, server: &mut Server) -> Value {
    if !may_wait(line) {
        return server.receive();
    }
    let (begun, queued, ran) = (server.receive(), server.receive(), server.receive());
    match ran {
        Value::Array(mut answers) if answers.len() == 1 => answers.remove(0),
        other => panic!("{}: {begun:?}, {queued:?}, {other:?}", shown(line)),
    }
}

/// Runs all lines from an empty database; the first difference.
fn first_difference(server: &mut Server, lines: &[Line]) -> Option<(usize, Value, Value)> {
    server.ask(&line("flushall"));
    let mut ours = Ours::new();
    for (start, chunk) in lines.chunks(200).enumerate().map(|(at, chunk)| (at * 200, chunk)) {
        let sent: Vec<Line> = chunk.iter().flat_map(without_waiting).collect();
        server.send(&sent);
        // All replies are read even behind a difference, so that the connection stays in step.
        let answers: Vec<Value> = chunk.iter().map(|line| answer_to(line, server)).collect();
        for (at, (line, redis)) in chunk.iter().zip(answers).enumerate() {
            let own = ours.answer(line);
            if !same(line, &redis, &own) {
                return Some((start + at, redis, own));
            }
        }
    }
    None
}

/// Panics with the shortest history that still shows a difference.
fn assert_same(server: &mut Server, mut lines: Vec<Line>) {
    let Some((at, ..)) = first_difference(server, &lines) else {
        return;
    };
    lines.truncate(at + 1);
    let mut size = lines.len() / 2;
    while size > 0 {
        let mut start = 0;
        while start + size < lines.len() {
            let mut fewer = lines.clone();
            fewer.drain(start..start + size);
            if first_difference(server, &fewer).is_some_and(|(at, ..)| at + 1 == fewer.len()) {
                lines = fewer;
            } else {
                start += size;
            }
        }
        size /= 2;
    }
    let (_, redis, ours) = first_difference(server, &lines).unwrap();
    let history: Vec<String> = lines.iter().map(shown).collect();
    panic!("a difference behind\n  {}\nredis: {redis:?}\nours:  {ours:?}", history.join("\n  "));
}

#[test]
fn random_commands_on_strings_and_keys() {
    let Some(mut server) = Server::start() else { return };
    let mut generator = Generator::from_environment();
    for _ in 0..4 {
        let lines = (0..5_000).map(|_| generator.command()).collect();
        assert_same(&mut server, lines);
    }
}

/// Random lines of some templates, with a few on keys of any type among them.
fn compare_family(templates: &[&str]) {
    compare_lines(|generator| {
        let generic = generator.one_in(12);
        generator.fill(if generic { templates::GENERIC } else { templates })
    });
}

fn compare_lines(mut line: impl FnMut(&mut Generator) -> Line) {
    let Some(mut server) = Server::start() else { return };
    let mut generator = Generator::from_environment();
    for _ in 0..rounds() {
        let lines = (0..5_000).map(|_| line(&mut generator)).collect();
        assert_same(&mut server, lines);
    }
}

/// Each of 5,000 commands; `ELASTICKV_TEST_ROUNDS` asks for more.
fn rounds() -> usize {
    std::env::var("ELASTICKV_TEST_ROUNDS").map_or(6, |rounds| rounds.parse().expect("a number of rounds"))
}

#[test]
fn random_commands_on_hashes() {
    compare_family(templates::HASHES);
}

#[test]
fn random_commands_on_sets() {
    compare_family(templates::SETS);
}

#[test]
fn random_commands_on_lists() {
    compare_family(templates::LISTS);
}

#[test]
fn random_commands_on_sorted_sets() {
    compare_family(templates::SORTED_SETS);
}

#[test]
fn random_commands_on_bits_and_sketches() {
    compare_family(&[templates::BITMAPS, templates::HYPERLOGLOGS, templates::STRINGS].concat());
}

#[test]
fn random_commands_on_places() {
    compare_family(templates::PLACES);
}

#[test]
fn random_sorts() {
    // Nothing asks for encodings: in Redis SORT changes that of a sorted set.
    compare_lines(|generator| generator.fill(templates::SORTS));
}

#[test]
fn random_commands_on_everything() {
    let families = [templates::HASHES, templates::SETS, templates::LISTS, templates::SORTED_SETS, templates::BITMAPS];
    compare_family(&families.concat());
}

#[test]
fn sums_of_random_decimal_numbers() {
    let Some(mut server) = Server::start() else { return };
    let mut generator = Generator::from_environment();
    let lines = (0..10_000).flat_map(|_| generator.float_sum()).collect();
    assert_same(&mut server, lines);
}

#[test]
fn the_largest_string() {
    let Some(mut server) = Server::start() else { return };
    let lines = [
        "setrange k 33554432 x",
        "setrange k 33554431 xx",
        "setrange k 33554431 x",
        "strlen k",
        "append k x",
        "setrange k 33554431 y",
        "getrange k 33554429 -1",
        "setrange k 9223372036854775807 x",
        "setrange k 0 z",
        "append k ",
        "strlen k",
    ];
    assert_same(&mut server, lines.into_iter().map(line).collect());
}

#[test]
fn keys_match_patterns_alike() {
    let Some(mut server) = Server::start() else { return };
    let mut generator = Generator::from_environment();
    let mut ours = Ours::new();
    server.ask(&line("flushall"));
    for _ in 0..300 {
        let set = vec![Bytes::from("set"), generator.pattern_key(), Bytes::from("v")];
        assert_eq!(server.ask(&set), ours.answer(&set));
    }
    assert_eq!(server.ask(&line("dbsize")), ours.answer(&line("dbsize")));
    for _ in 0..3_000 {
        let keys = vec![Bytes::from("keys"), generator.pattern()];
        let (redis, own) = (sorted(server.ask(&keys)), sorted(ours.answer(&keys)));
        assert_eq!(redis, own, "{}", shown(&keys));
    }
}

fn sorted(value: Value) -> Vec<Bytes> {
    let Value::Array(items) = value else { panic!("{value:?} is no array") };
    let mut keys: Vec<Bytes> = items
        .into_iter()
        .map(|item| match item {
            Value::Bulk(key) => key,
            other => panic!("{other:?} is no key"),
        })
        .collect();
    keys.sort();
    keys
}

#[test]
fn refusals_of_database_commands() {
    let Some(mut server) = Server::start() else { return };
    let mut ours = Ours::new();
    for text in [
        "keys",
        "keys a b",
        "scan",
        "scan x",
        "scan 18446744073709551616",
        "scan 0 match",
        "scan 0 count",
        "scan 0 count 0",
        "scan 0 count -5",
        "scan 0 count x",
        "scan 0 x y",
        "flushall x",
        "flushdb sync async",
        "flushdb async",
        "flushall sync",
        "dbsize x",
        "randomkey x",
        "randomkey",
        "dbsize",
    ] {
        assert_eq!(server.ask(&line(text)), ours.answer(&line(text)), "{text}");
    }
}

#[test]
fn command_describes_itself_alike() {
    let Some(mut server) = Server::start() else { return };
    let mut ours = Ours::new();
    for text in [
        "command getkeys get a",
        "command getkeys mset a 1 b",
        "command getkeys mset a 1 b 2",
        "command getkeys del a b c",
        "command getkeys set a",
        "command getkeys watch a b",
        "command getkeys copy a b",
        "command getkeys ping x",
        "command getkeys client id x",
        "command getkeys zunion 2 a b weights 1 2",
        "command getkeys zunionstore d 2 a b",
        "command getkeys zunionstore d 3 a b",
        "command getkeys zunion 0 a",
        "command getkeys sintercard x a",
        "command getkeys lmpop 1 a left",
        "command getkeys blmpop 0 2 a b left",
        "command getkeys blpop a b 0",
        "command getkeys bzmpop 0 3 a b left",
        "command getkeys bitop and d a b",
        "command getkeys georadius k 1 2 3 m store d",
        "command getkeys georadius k 1 2 3 m",
        "command getkeys object encoding k",
        "command getkeys sort abc store def",
        "command getkeys sort abc store invalid store stillbad store def",
        "command getkeys sort abc by store store x get store limit store store",
        "command getkeys sort_ro abc store def",
        "command getkeys nothing x",
        "command getkeys get",
        "command list filterby nothing x",
        "command list filterby module x",
        "command list filterby",
        "command count x",
        "command nothing",
        "client nothing",
        "config",
        "client",
        "client id x",
        "nothing",
        "nothing at all",
        "command info nothing",
    ] {
        assert_eq!(server.ask(&line(text)), ours.answer(&line(text)), "{text}");
    }
}

/// What the table says of each command is what Redis says: arity, flags, keys, categories, tips.
#[test]
fn command_info_is_that_of_redis() {
    let Some(mut server) = Server::start() else { return };
    let mut ours = Ours::new();
    let everything = table::all().flat_map(|spec| std::iter::once(spec).chain(spec.subcommands));
    // Of the keys of MIGRATE, which is refused, only the first is told.
    for spec in everything.filter(|spec| !["client|setinfo", "migrate"].contains(&spec.name)) {
        let info = line(&format!("command info {}", spec.name));
        let (redis, own) = (server.ask(&info), ours.answer(&info));
        assert_eq!(without_subcommands(redis), without_subcommands(own), "{}", spec.name);
    }
}

fn without_subcommands(info: Value) -> Vec<Value> {
    let Value::Array(mut replies) = info else { panic!("{info:?}") };
    let Some(Value::Array(mut fields)) = replies.pop() else { panic!("no entry") };
    fields.pop();
    fields
}

/// The documentation has the facts and arguments of Redis; its sentences are its own.
#[test]
fn command_docs_have_the_facts_of_redis() {
    let Some(mut server) = Server::start() else { return };
    let mut ours = Ours::new();
    let everything = table::all().flat_map(|spec| std::iter::once(spec).chain(spec.subcommands));
    for spec in everything.filter(|spec| spec.name != "client|setinfo") {
        let docs = line(&format!("command docs {}", spec.name));
        let (redis, own) = (facts(server.ask(&docs)), facts(ours.answer(&docs)));
        // Those that only servers send to each other have a mark of their own in Redis, and MIGRATE is refused here.
        if !["debug", "migrate", "replconf"].contains(&spec.name) {
            assert_eq!(redis, own, "{}", spec.name);
        }
    }
}

/// Leaves out sentences, history and subcommands.
fn facts(value: Value) -> Value {
    const OWN: [&[u8]; 4] = [b"summary", b"complexity", b"history", b"subcommands"];
    let kept = |key: &Value| !matches!(key, Value::Bulk(name) if OWN.contains(&&**name));
    match value {
        Value::Map(entries) => {
            // Arguments are maps with a type; when each of them came is history.
            let is_argument = entries.iter().any(|(key, _)| *key == Value::bulk("type"));
            let is_kept = |key: &Value| {
                kept(key)
                    && !(is_argument
                        && ["since", "type_since", "deprecated_since"].iter().any(|own| *key == Value::bulk(*own)))
            };
            Value::Map(
                entries.into_iter().filter(|(key, _)| is_kept(key)).map(|(key, value)| (key, facts(value))).collect(),
            )
        }
        Value::Array(items) => Value::Array(items.into_iter().map(facts).collect()),
        other => other,
    }
}
