//! Lua as Redis runs it.
//!
//! [`run`] takes a script, its keys and arguments, and a way to run commands ([`Call`]); it gives back what the script
//! answers. Each run has an interpreter of its own, so nothing that a script does is seen by the next one. What a
//! script may use is put together in `sandbox.lua`, from what is native here: [`json`], [`msgpack`], [`structs`], [`bits`].
//! [`apart`] runs a script on a thread of its own, for callers whose commands must be awaited. [`library`] reads
//! libraries of functions.
//!
//! A script has a budget of steps ([`Budget`]) and of memory ([`MAX_MEMORY`]); its random numbers follow from a seed.

pub mod apart;
mod bits;
mod convert;
mod engine;
mod json;
pub mod library;
mod msgpack;
pub mod sha1;
mod structs;

use bytes::Bytes;

pub use engine::run;

/// Most bytes that a script may hold.
pub const MAX_MEMORY: usize = 64 << 20;

/// What is to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The text of a script, with or without a shebang line.
    Script(Bytes),
    /// A function of a library.
    Function {
        /// The text of the library, with its shebang line.
        library: Bytes,
        /// Name of the function.
        name: Bytes,
    },
}

/// What a run may use beside memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Most instructions; whoever needs more is stopped.
    pub steps: u64,
    /// What its random numbers begin with.
    pub seed: u32,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The code.
    pub source: Source,
    /// KEYS
    pub keys: Vec<Bytes>,
    /// ARGV
    pub args: Vec<Bytes>,
    /// What errors call it: the hash of a script, the name of a function.
    pub label: String,
    /// What it may use.
    pub budget: Budget,
}

/// What became of a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// With this answer, errors included.
    Answered(Reply),
    /// It wanted more steps than it has.
    Exhausted,
}

/// A value between Redis and Lua.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Reply {
    Simple(Bytes),
    /// Code and sentence.
    Error(Bytes),
    Integer(i64),
    Bulk(Bytes),
    Null,
    Array(Vec<Reply>),
    Double(f64),
    Boolean(bool),
    Map(Vec<(Reply, Reply)>),
    Set(Vec<Reply>),
    BigNumber(Bytes),
    Verbatim {
        format: Bytes,
        text: Bytes,
    },
}

/// A command that a script runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Name first.
    pub args: Vec<Bytes>,
    /// The script has asked for replies of RESP3.
    pub resp3: bool,
    /// Only whether it exists is asked (`redis.acl_check_cmd`).
    pub only_checked: bool,
}

/// What a script declares of itself in its first line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// It has a shebang line.
    pub declared: bool,
    /// It never writes.
    pub no_writes: bool,
}

/// An error of Redis' own words: code and sentence.
pub type Refusal = String;

/// Reads the first line of a script, if it is a shebang: `#!lua flags=no-writes`.
pub fn flags_of(text: &[u8]) -> Result<Flags, Refusal> {
    if !text.starts_with(b"#!") {
        return Ok(Flags::default());
    }
    let Some(end) = text.iter().position(|&byte| byte == b'\n') else {
        return Err("ERR Invalid script shebang".into());
    };
    let line = String::from_utf8_lossy(&text[2..end]).into_owned();
    let mut words = line.split_ascii_whitespace();
    let engine = words.next().unwrap_or_default();
    if engine != "lua" {
        return Err(format!("ERR Unexpected engine in script shebang: {engine}"));
    }
    let mut flags = Flags { declared: true, ..Flags::default() };
    for word in words {
        let Some(list) = word.strip_prefix("flags=") else {
            return Err(format!("ERR Unknown lua shebang option: {word}"));
        };
        for flag in list.split(',').filter(|flag| !flag.is_empty()) {
            if !library::FLAGS.contains(&flag) {
                return Err(format!("ERR Unexpected flag in script shebang: {flag}"));
            }
            flags.no_writes |= flag == "no-writes";
        }
    }
    Ok(flags)
}

/// The code behind a shebang line; lines keep their numbers.
fn body(text: &[u8]) -> &[u8] {
    match text.iter().position(|&byte| byte == b'\n') {
        Some(end) if text.starts_with(b"#!") => &text[end..],
        _ => text,
    }
}
