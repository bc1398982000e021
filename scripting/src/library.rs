//! Libraries of functions: their first line, and what they register.

use std::cell::Cell;
use std::rc::Rc;

use crate::engine::{Interpreter, one_line};
use crate::{Budget, Call, Reply};

/// The flags of scripts and functions.
pub const FLAGS: [&str; 5] = ["no-writes", "allow-oom", "allow-stale", "no-cluster", "allow-cross-slot-keys"];

/// Most instructions of the text of a library.
const MAX_LOADING_STEPS: u64 = 10_000_000;

/// What a library registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Unique among all libraries.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// Of [`FLAGS`].
    pub flags: Vec<String>,
}

/// A library as FUNCTION LIST shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    /// From its first line.
    pub name: String,
    /// In the order in which they are registered.
    pub functions: Vec<Function>,
}

/// The name that the first line gives.
pub fn name_of(text: &[u8]) -> Result<String, String> {
    if !text.starts_with(b"#!") {
        return Err("ERR Missing library metadata".into());
    }
    let Some(end) = text.iter().position(|&byte| byte == b'\n') else {
        return Err("ERR Invalid library metadata".into());
    };
    let line = String::from_utf8_lossy(&text[2..end]).into_owned();
    let (engine, options) = line.split_once(|letter: char| letter.is_ascii_whitespace()).unwrap_or((&line, ""));
    if !engine.eq_ignore_ascii_case("lua") {
        return Err(format!("ERR Engine '{engine}' not found"));
    }
    let mut name = None;
    for word in options.split_ascii_whitespace() {
        let value = word.get(..5).filter(|start| start.eq_ignore_ascii_case("name=")).map(|_| &word[5..]);
        let Some(value) = value else { return Err(format!("ERR Invalid metadata value given: {word}")) };
        if name.replace(value.to_owned()).is_some() {
            return Err("ERR Invalid metadata value, name argument was given multiple times".into());
        }
    }
    let name = name.ok_or("ERR Library name was not given")?;
    let quoted = ['"', '\''].iter().find_map(|&quote| name.strip_prefix(quote)?.strip_suffix(quote));
    let name = quoted.map_or(name.clone(), str::to_owned);
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err("ERR Library names can only contain letters, numbers, or underscores(_) and must be at least one \
                    character long"
            .into());
    }
    Ok(name)
}

/// One that only reads.
fn interpreter(refuse: impl FnMut(Call) -> Reply + 'static, exhausted: &Rc<Cell<bool>>) -> mlua::Result<Interpreter> {
    let budget = Budget { steps: MAX_LOADING_STEPS, seed: 0 };
    Interpreter::new(refuse, Rc::new(Cell::new(false)), budget, exhausted.clone())
}

/// Reads a library as FUNCTION LOAD does.
pub fn read(text: &[u8]) -> Result<Library, String> {
    let name = name_of(text)?;
    let refuse = |_| Reply::Error("ERR redis.call can only be called inside a script invocation".into());
    let exhausted = Rc::new(Cell::new(false));
    let read = interpreter(refuse, &exhausted).and_then(|interpreter| interpreter.load(text));
    if exhausted.get() {
        return Err("ERR FUNCTION LOAD timeout".into());
    }
    let functions = read.map_err(|error| format!("ERR {}", one_line(&error)))??;
    Ok(Library { name, functions })
}

/// Whether the text of a script can be compiled: SCRIPT LOAD and EVAL refuse it otherwise.
pub fn check_script(text: &[u8]) -> Result<(), String> {
    let refuse = |_| Reply::Null;
    let compiled = interpreter(refuse, &Rc::new(Cell::new(false)))
        .and_then(|interpreter| interpreter.compile(text, "@user_script").map(drop));
    compiled.map_err(|error| format!("ERR Error compiling script (new function): {}", one_line(&error)))
}
