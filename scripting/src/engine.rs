//! One run: an interpreter is made, the sandbox built around the native functions, and the script called in it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bytes::Bytes;
use mlua::chunk::ChunkMode;
use mlua::{Error, Function, HookTriggers, IntoLuaMulti, Lua, MultiValue, Table, Value, VmState};

use crate::{Budget, Call, Ended, Job, MAX_MEMORY, Reply, Source, body, convert, library, sha1};

/// Instructions between two looks at the budget.
const STEP: u32 = 10_000;
const EXHAUSTED: &str = "the script has used up its steps";
/// Name of the chunk whose frames are ours, not the script's.
const SANDBOX: &str = "=sandbox";

/// Runs a script; each of its commands by `call`. What goes wrong is a [`Reply::Error`].
pub fn run(job: &Job, call: impl FnMut(Call) -> Reply + 'static) -> Ended {
    let exhausted = Rc::new(Cell::new(false));
    let reply =
        attempt(job, call, &exhausted).unwrap_or_else(|error| Reply::Error(format!("ERR {}", one_line(&error)).into()));
    if exhausted.get() { Ended::Exhausted } else { Ended::Answered(reply) }
}

fn attempt(job: &Job, call: impl FnMut(Call) -> Reply + 'static, exhausted: &Rc<Cell<bool>>) -> mlua::Result<Reply> {
    let resp3 = Rc::new(Cell::new(false));
    let interpreter = Interpreter::new(call, resp3.clone(), job.budget, exhausted.clone())?;
    let lua = &interpreter.lua;
    let (keys, args) = (strings(lua, &job.keys)?, strings(lua, &job.args)?);
    let ended: MultiValue = match &job.source {
        Source::Script(text) => {
            let chunk = match interpreter.compile(text, "@user_script") {
                Ok(chunk) => chunk,
                Err(error) => {
                    let why = format!("ERR Error compiling script (new function): {}", one_line(&error));
                    return Ok(Reply::Error(why.into()));
                }
            };
            interpreter.runner.get::<Function>("run_script")?.call((chunk, keys, args))?
        }
        Source::Function { library, name } => {
            if let Err(why) = interpreter.load(library)? {
                return Ok(Reply::Error(why.into()));
            }
            let name = lua.create_string(name)?;
            interpreter.runner.get::<Function>("run_function")?.call((name, keys, args))?
        }
    };
    let mut ended = ended.into_iter();
    let fine = matches!(ended.next(), Some(Value::Boolean(true)));
    let value = ended.next().unwrap_or(Value::Nil);
    if fine { convert::to_reply(&value, resp3.get(), 0) } else { Ok(Reply::Error(failure(&value, &job.label)?)) }
}

/// What the handler made of an error, as a line.
fn failure(value: &Value, label: &str) -> mlua::Result<Bytes> {
    let Value::Table(table) = value else {
        let text = match value {
            Value::Error(error) => one_line(error),
            Value::String(text) => text.to_string_lossy(),
            _ => "the script failed".into(),
        };
        return Ok(format!("ERR {text}").into());
    };
    let mut line = match table.raw_get::<Value>("err")? {
        Value::String(text) => text.as_bytes().to_vec(),
        _ => b"ERR unknown error".to_vec(),
    };
    if let (Value::String(source), Value::Integer(at)) = (table.raw_get("source")?, table.raw_get("line")?) {
        let place = format!(" script: {label}, on {}:{at}.", source.to_string_lossy());
        line.extend_from_slice(place.as_bytes());
    }
    line.iter_mut().filter(|byte| matches!(byte, b'\r' | b'\n')).for_each(|byte| *byte = b' ');
    Ok(line.into())
}

/// The sentence of an error without the interpreter's own words around it.
pub(crate) fn one_line(error: &Error) -> String {
    let text = match error {
        Error::SyntaxError { message, .. } | Error::RuntimeError(message) => message.clone(),
        Error::MemoryError(_) => "not enough memory".into(),
        Error::CallbackError { cause, .. } => return one_line(cause),
        other => other.to_string(),
    };
    text.lines().next().unwrap_or_default().to_owned()
}

/// An interpreter with its sandbox.
pub(crate) struct Interpreter {
    lua: Lua,
    runner: Table,
}

impl Interpreter {
    /// `exhausted` becomes true behind the steps of the budget; then nothing goes on.
    pub(crate) fn new(
        call: impl FnMut(Call) -> Reply + 'static,
        resp3: Rc<Cell<bool>>,
        budget: Budget,
        exhausted: Rc<Cell<bool>>,
    ) -> mlua::Result<Self> {
        let lua = Lua::new();
        lua.set_memory_limit(MAX_MEMORY)?;
        let native = native(&lua, call, resp3, budget, exhausted.clone())?;
        let sandbox = lua.load(include_str!("sandbox.lua")).set_name(SANDBOX).set_mode(ChunkMode::Text);
        let runner: Table = sandbox.call(native)?;
        let steps = Cell::new(0_u64);
        // Of all coroutines.
        lua.set_global_hook(HookTriggers::new().every_nth_instruction(STEP), move |_, _| {
            steps.set(steps.get() + u64::from(STEP));
            if steps.get() < budget.steps {
                return Ok(VmState::Continue);
            }
            exhausted.set(true);
            Err(Error::runtime(EXHAUSTED))
        })?;
        Ok(Self { lua, runner })
    }

    pub(crate) fn compile(&self, text: &[u8], name: &str) -> mlua::Result<Function> {
        self.lua.load(body(text)).set_name(name).set_mode(ChunkMode::Text).into_function()
    }

    /// Reads a library; its functions in order, or why it is refused.
    pub(crate) fn load(&self, text: &[u8]) -> mlua::Result<Result<Vec<library::Function>, String>> {
        let chunk = match self.compile(text, "@user_function") {
            Ok(chunk) => chunk,
            Err(error) => return Ok(Err(format!("ERR Error compiling function: {}", one_line(&error)))),
        };
        let (fine, failed, order): (bool, Value, Table) = self.runner.get::<Function>("load_library")?.call(chunk)?;
        if !fine {
            let line = match &failed {
                Value::Table(table) => table.raw_get::<mlua::LuaString>("err")?.to_string_lossy(),
                Value::Error(error) => one_line(error),
                _ => "the library failed".into(),
            };
            let why = line.strip_prefix("ERR ").unwrap_or(&line);
            return Ok(Err(format!("ERR Error registering functions: {why}")));
        }
        let mut functions = Vec::new();
        for item in order.sequence_values::<Table>() {
            let item = item?;
            functions.push(library::Function {
                name: item.get::<mlua::LuaString>("name")?.to_string_lossy(),
                description: item.get::<Option<mlua::LuaString>>("description")?.map(|text| text.to_string_lossy()),
                flags: item.get::<Vec<String>>("flags")?,
            });
        }
        if functions.is_empty() {
            return Ok(Err("ERR No functions registered".into()));
        }
        Ok(Ok(functions))
    }
}

fn strings(lua: &Lua, values: &[Bytes]) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    for (at, value) in values.iter().enumerate() {
        table.raw_set(at + 1, lua.create_string(value)?)?;
    }
    Ok(table)
}

fn native(
    lua: &Lua,
    call: impl FnMut(Call) -> Reply + 'static,
    resp3: Rc<Cell<bool>>,
    budget: Budget,
    exhausted: Rc<Cell<bool>>,
) -> mlua::Result<Table> {
    let native = lua.create_table()?;
    let call = Rc::new(RefCell::new(call));
    for (name, only_checked, raises) in [("call", false, true), ("pcall", false, false), ("check", true, true)] {
        let (call, resp3, exhausted) = (call.clone(), resp3.clone(), exhausted.clone());
        let function = lua.create_function(move |lua, values: MultiValue| {
            let reply = match arguments(&values) {
                _ if exhausted.get() => Reply::Error(format!("ERR {EXHAUSTED}").into()),
                Err(why) => Reply::Error(why.into()),
                Ok(args) => (call.borrow_mut())(Call { args, resp3: resp3.get(), only_checked }),
            };
            match reply {
                // The frame of the script is still there, even if this is its last call.
                Reply::Error(line) if raises => Err(Error::external(Failed { line, place: place(lua) })),
                reply => convert::from_reply(lua, &reply),
            }
        })?;
        native.set(name, function)?;
    }
    let as_table = lua.create_function(|lua, value: Value| {
        let Value::Error(error) = &value else { return Ok(value) };
        let Some(Failed { line, place }) = failed(error) else {
            return Ok(Value::String(lua.create_string(one_line(error))?));
        };
        let table = lua.create_table()?;
        table.raw_set("err", lua.create_string(line)?)?;
        if let Some((source, line)) = place {
            table.raw_set("source", source.as_str())?;
            table.raw_set("line", *line)?;
        }
        Ok(Value::Table(table))
    })?;
    native.set("as_table", as_table)?;
    native.set(
        "setresp",
        lua.create_function(move |_, version: i64| {
            resp3.set(version == 3);
            Ok(())
        })?,
    )?;
    native.set("sha1hex", lua.create_function(|_, text: mlua::LuaString| Ok(sha1::hex(&text.as_bytes())))?)?;
    native.set("is_flag", lua.create_function(|_, flag: String| Ok(library::FLAGS.contains(&&*flag)))?)?;
    let locate = lua.create_function(|lua, ()| match place(lua) {
        Some((chunk, line)) => (chunk, line).into_lua_multi(lua),
        None => Ok(MultiValue::new()),
    })?;
    native.set("where", locate)?;
    native.set("is_exhausted", lua.create_function(move |_, ()| Ok(exhausted.get()))?)?;
    random(lua, &native, budget.seed)?;
    native.set("bit", crate::bits::table(lua)?)?;
    native.set("cjson", crate::json::table(lua)?)?;
    native.set("cmsgpack", crate::msgpack::table(lua)?)?;
    native.set("struct", crate::structs::table(lua)?)?;
    Ok(native)
}

/// A command of a script that failed, on its way through the interpreter.
#[derive(Debug)]
struct Failed {
    line: Bytes,
    place: Option<(String, usize)>,
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.line))
    }
}

impl std::error::Error for Failed {}

fn failed(error: &Error) -> Option<&Failed> {
    match error {
        Error::CallbackError { cause, .. } => failed(cause),
        other => other.downcast_ref(),
    }
}

/// The innermost frame of the script: its chunk and line.
fn place(lua: &Lua) -> Option<(String, usize)> {
    for level in 1..200 {
        let found = lua.inspect_stack(level, |frame| {
            let source = frame.source();
            let name = source.source.map(|name| name.into_owned()).unwrap_or_default();
            (source.what != "C" && source.what != "tail" && name != SANDBOX)
                .then(|| (name, frame.current_line().unwrap_or(0)))
        })?;
        if found.is_some() {
            return found;
        }
    }
    None
}

/// What `redis.call` was given, as a command line.
fn arguments(values: &MultiValue) -> Result<Vec<Bytes>, &'static str> {
    if values.is_empty() {
        return Err("ERR Please specify at least one argument for this redis lib call");
    }
    let argument = |value: &Value| match value {
        Value::String(text) => Some(Bytes::copy_from_slice(&text.as_bytes())),
        Value::Integer(number) => Some(number.to_string().into()),
        Value::Number(number) => Some(convert::number_text(*number).into()),
        _ => None,
    };
    let args: Option<Vec<Bytes>> = values.iter().map(argument).collect();
    args.ok_or("ERR Lua redis lib command arguments must be strings or integers")
}

/// `math.random` of Redis: the 48-bit generator of `lrand48`.
fn random(lua: &Lua, native: &Table, seed: u32) -> mlua::Result<()> {
    const LARGEST: u64 = i32::MAX as u64;
    let seeded = |seed: u32| (u64::from(seed) << 16) | 0x330E;
    let state = Rc::new(Cell::new(seeded(seed)));
    let drawn = state.clone();
    let random = lua.create_function(move |_, bounds: MultiValue| {
        let next = drawn.get().wrapping_mul(0x5_DEEC_E66D).wrapping_add(0xB) & 0xFFFF_FFFF_FFFF;
        drawn.set(next);
        let share = ((next >> 17) % LARGEST) as f64 / LARGEST as f64;
        let number = |value: Option<&Value>| match value {
            Some(Value::Integer(number)) => Ok(*number as f64),
            Some(Value::Number(number)) => Ok(*number),
            _ => Err(Error::runtime("bad argument to 'random' (number expected)")),
        };
        let (low, high) = match bounds.len() {
            0 => return Ok(share),
            1 => (1.0, number(bounds.front())?.floor()),
            2 => (number(bounds.front())?.floor(), number(bounds.get(1))?.floor()),
            _ => return Err(Error::runtime("wrong number of arguments")),
        };
        if low > high {
            return Err(Error::runtime("bad argument to 'random' (interval is empty)"));
        }
        Ok((share * (high - low + 1.0)).floor() + low)
    })?;
    native.set("random", random)?;
    let seed = lua.create_function(move |_, seed: f64| {
        state.set(seeded(seed as i64 as u32));
        Ok(())
    })?;
    native.set("randomseed", seed)
}
