//! EVAL, FCALL, SCRIPT and FUNCTION at the gateway: what is to run is found here, and then runs as a transaction.
//!
//! Scripts and libraries are in the registries that all gateways share ([`Registries`]). The name of a script is the hash
//! of its text, so a text is kept for [`KEPT`]: only that another gateway has removed it is heard of so late. Libraries
//! are read whenever they are needed; what stands in a text is kept, so that it is not run each time to learn it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use commands::redis::script::{Envelope, count_keys};
use commands::redis::{Invocation, KeyCommand, Place, RegistryCommand, ScriptCommand, Spec, Value, glob, units};
use keyspace::Registry;
use moka::future::Cache;
use scripting::library::{self, Library};
use scripting::{flags_of, sha1};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::access::Identity;
use super::{Shared, refusal};
use crate::registry::Registries;
use crate::router::{Router, RouterError};

/// Most scripts that run at a time: each has a thread, and memory up to [`scripting::MAX_MEMORY`].
const MAX_RUNNING: usize = 64;
/// How long the text of a script is kept.
const KEPT: Duration = Duration::from_secs(10);
/// Most bytes of texts that are kept.
const KEPT_BYTES: u64 = 64 << 20;
/// What a payload of FUNCTION DUMP begins with.
const DUMPED: &[u8] = b"ELASTICKV-FUNCTIONS-1";

const NO_SCRIPT: &str = "NOSCRIPT No matching script. Please use EVAL.";

/// The way to scripts and libraries.
#[derive(Debug)]
pub(super) struct Scripts {
    registries: Registries,
    /// Texts that are registered, by hash.
    kept: Cache<String, Bytes>,
    /// What stands in the texts of libraries.
    read: Cache<Bytes, Arc<Library>>,
    turns: Semaphore,
}

/// An error reply, or what the router said.
enum Failure {
    Refused(String),
    Router(RouterError),
}

impl From<RouterError> for Failure {
    fn from(error: RouterError) -> Self {
        Failure::Router(error)
    }
}

impl From<String> for Failure {
    fn from(line: String) -> Self {
        Failure::Refused(line)
    }
}

impl From<Failure> for Value {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(line) => Value::Error(line),
            Failure::Router(error) => refusal::reply(&error),
        }
    }
}

fn refused<T>(line: &str) -> Result<T, Failure> {
    Err(Failure::Refused(line.to_owned()))
}

/// Puts the text behind a command line that runs a script; other command lines stay as they are.
pub(super) async fn prepare(
    shared: &Shared,
    identity: &Identity,
    spec: &Spec,
    mut invocation: Invocation,
) -> Result<Invocation, Value> {
    let Place::AtLeader(KeyCommand::Script(command)) = spec.place else { return Ok(invocation) };
    let keys = count_keys(&invocation.args).map_err(Value::from)?;
    let (text, read_only) = shared.scripts.find(command, &invocation.args[1]).await.map_err(Value::from)?;
    let user = shared.access.user_of_script(identity);
    let named = units(spec, &invocation).map_err(Value::from)?;
    // Without keys there is no leader to run it.
    let confined = keys > 0 && !shared.router.lie_apart(&named);
    let envelope = Envelope { read_only, confined, user, text };
    invocation.args.push(envelope.encode());
    Ok(invocation)
}

impl Scripts {
    pub(super) fn new(router: &Router) -> Self {
        Self {
            registries: Registries::new(router.clone()),
            kept: Cache::builder()
                .max_capacity(KEPT_BYTES)
                .weigher(|sha: &String, text: &Bytes| u32::try_from(sha.len() + text.len()).unwrap_or(u32::MAX))
                .time_to_live(KEPT)
                .build(),
            read: Cache::builder()
                .max_capacity(KEPT_BYTES)
                .weigher(|text: &Bytes, _: &Arc<Library>| u32::try_from(text.len()).unwrap_or(u32::MAX))
                .build(),
            turns: Semaphore::new(MAX_RUNNING),
        }
    }

    /// Waits until one more script may run; it may as long as this is kept.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed.
        self.turns.acquire().await.ok()
    }

    /// Scripts whose text is kept here at the moment; the cluster may know more.
    pub(super) fn count_kept(&self) -> usize {
        self.kept.iter().count()
    }

    /// The text that a command line names, and whether it must not write.
    async fn find(&self, command: ScriptCommand, named: &Bytes) -> Result<(Bytes, bool), Failure> {
        let only_reads = matches!(command, ScriptCommand::EvalRo | ScriptCommand::EvalShaRo | ScriptCommand::FCallRo);
        let text = match command {
            ScriptCommand::Eval | ScriptCommand::EvalRo => {
                if self.kept.get(&sha1::hex(named)).await.is_none() {
                    self.store(named).await?;
                }
                named.clone()
            }
            ScriptCommand::EvalSha | ScriptCommand::EvalShaRo => {
                let sha = String::from_utf8_lossy(named).to_ascii_lowercase();
                match self.kept.get(&sha).await {
                    Some(text) => text,
                    None if sha.len() != sha1::HEX_LEN => return refused(NO_SCRIPT),
                    None => match self.registries.get(Registry::Scripts, sha.as_bytes()).await? {
                        Some(text) => {
                            self.kept.insert(sha, text.clone()).await;
                            text
                        }
                        None => return refused(NO_SCRIPT),
                    },
                }
            }
            ScriptCommand::FCall | ScriptCommand::FCallRo => return self.function(named, only_reads).await,
        };
        let flags = flags_of(&text)?;
        if only_reads && flags.declared && !flags.no_writes {
            return refused("ERR Can not execute a script with write flag using *_ro command.");
        }
        Ok((text, only_reads || flags.no_writes))
    }

    /// Makes a script known, if it can be compiled; its hash.
    async fn store(&self, text: &Bytes) -> Result<String, Failure> {
        let sha = sha1::hex(text);
        flags_of(text)?;
        library::check_script(text)?;
        self.registries.set(Registry::Scripts, sha.as_bytes(), Some(text.clone())).await?;
        self.kept.insert(sha.clone(), text.clone()).await;
        Ok(sha)
    }

    /// All libraries, sorted by name, with their texts.
    async fn libraries(&self) -> Result<Vec<(Arc<Library>, Bytes)>, Failure> {
        let mut libraries = Vec::new();
        for (_, text) in self.registries.list(Registry::Libraries).await? {
            let library = match self.read.get(&text).await {
                Some(library) => library,
                None => {
                    let library = Arc::new(library::read(&text)?);
                    self.read.insert(text.clone(), library.clone()).await;
                    library
                }
            };
            libraries.push((library, text));
        }
        Ok(libraries)
    }

    async fn function(&self, name: &Bytes, only_reads: bool) -> Result<(Bytes, bool), Failure> {
        for (library, text) in self.libraries().await? {
            if let Some(function) =
                library.functions.iter().find(|function| name.eq_ignore_ascii_case(function.name.as_bytes()))
            {
                let no_writes = function.flags.iter().any(|flag| flag == "no-writes");
                if only_reads && !no_writes {
                    return refused("ERR Can not execute a script with write flag using *_ro command.");
                }
                return Ok((text, no_writes));
            }
        }
        refused("ERR Function not found")
    }

    /// SCRIPT and FUNCTION.
    pub(super) async fn run(&self, command: RegistryCommand, args: &[Bytes]) -> Value {
        self.try_run(command, args).await.unwrap_or_else(Value::from)
    }

    async fn try_run(&self, command: RegistryCommand, args: &[Bytes]) -> Result<Value, Failure> {
        let is = |at: usize, word: &str| args.get(at).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()));
        match command {
            RegistryCommand::ScriptLoad => Ok(Value::bulk(self.store(&args[2]).await?)),
            RegistryCommand::ScriptExists => {
                let mut known = Vec::new();
                for sha in &args[2..] {
                    let sha = sha.to_ascii_lowercase();
                    let found = self.registries.get(Registry::Scripts, &sha).await?;
                    known.push(Value::Integer(i64::from(found.is_some())));
                }
                Ok(Value::Array(known))
            }
            RegistryCommand::ScriptFlush => {
                if args.len() > 3 || (args.len() == 3 && !is(2, "sync") && !is(2, "async")) {
                    return refused("ERR SCRIPT FLUSH only support SYNC|ASYNC option");
                }
                self.remove_all(Registry::Scripts).await?;
                self.kept.invalidate_all();
                Ok(Value::OK)
            }
            RegistryCommand::ScriptKill | RegistryCommand::FunctionKill => {
                refused("NOTBUSY No scripts in execution right now.")
            }
            RegistryCommand::ScriptDebug => refused("ERR Elastickv has no debugger of scripts"),
            RegistryCommand::FunctionFlush => {
                if args.len() > 3 {
                    return refused(
                        "ERR unknown subcommand or wrong number of arguments for 'flush'. Try FUNCTION HELP.",
                    );
                }
                if args.len() == 3 && !is(2, "sync") && !is(2, "async") {
                    return refused("ERR FUNCTION FLUSH only supports SYNC|ASYNC option");
                }
                self.remove_all(Registry::Libraries).await?;
                Ok(Value::OK)
            }
            RegistryCommand::FunctionDelete => match self.registries.set(Registry::Libraries, &args[2], None).await? {
                Some(_) => Ok(Value::OK),
                None => refused("ERR Library not found"),
            },
            RegistryCommand::FunctionLoad => {
                let (options, text) = (&args[2..args.len() - 1], &args[args.len() - 1]);
                let unknown = options.iter().find(|option| !option.eq_ignore_ascii_case(b"replace"));
                if let Some(unknown) = unknown {
                    return Err(Failure::Refused(format!(
                        "ERR Unknown option given: {}",
                        String::from_utf8_lossy(unknown)
                    )));
                }
                let name = self.load(text, !options.is_empty()).await?;
                Ok(Value::bulk(name))
            }
            RegistryCommand::FunctionList => self.list(args).await,
            RegistryCommand::FunctionStats => {
                let libraries = self.libraries().await?;
                let functions: usize = libraries.iter().map(|(library, _)| library.functions.len()).sum();
                let field = |name: &'static str, count: usize| (Value::bulk(name), Value::Integer(count as i64));
                let lua =
                    Value::Map(vec![field("libraries_count", libraries.len()), field("functions_count", functions)]);
                Ok(Value::Map(vec![
                    (Value::bulk("running_script"), Value::Null),
                    (Value::bulk("engines"), Value::Map(vec![(Value::bulk("LUA"), lua)])),
                ]))
            }
            RegistryCommand::FunctionDump => {
                let mut payload = BytesMut::from(DUMPED);
                for (_, text) in self.registries.list(Registry::Libraries).await? {
                    payload.put_u32(text.len() as u32);
                    payload.put_slice(&text);
                }
                let seal = crc32fast::hash(&payload);
                payload.put_u32(seal);
                Ok(Value::Bulk(payload.freeze()))
            }
            RegistryCommand::FunctionRestore => {
                let policy = args.get(3).map_or_else(|| b"append".to_vec(), |policy| policy.to_ascii_lowercase());
                if args.len() > 4 {
                    return refused(
                        "ERR unknown subcommand or wrong number of arguments for 'restore'. Try FUNCTION HELP.",
                    );
                }
                if ![&b"append"[..], b"flush", b"replace"].contains(&&policy[..]) {
                    return refused("ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.");
                }
                let Some(texts) = dumped(&args[2]) else {
                    return refused("ERR DUMP payload version or checksum are wrong");
                };
                let new = texts.iter().map(|text| library::read(text)).collect::<Result<Vec<_>, _>>()?;
                if policy == b"flush" {
                    self.remove_all(Registry::Libraries).await?;
                } else {
                    let present = self.present().await?;
                    if policy == b"append"
                        && let Some(taken) = new.iter().find(|new| present.iter().any(|other| other.name == new.name))
                    {
                        return Err(Failure::Refused(format!("ERR Library {} already exists", taken.name)));
                    }
                    refuse_taken_functions(&new, &present)?;
                }
                for (library, text) in new.iter().zip(&texts) {
                    self.registries.set(Registry::Libraries, library.name.as_bytes(), Some(text.clone())).await?;
                }
                Ok(Value::OK)
            }
        }
    }

    async fn remove_all(&self, registry: Registry) -> Result<(), Failure> {
        for (name, _) in self.registries.list(registry).await? {
            self.registries.set(registry, &name, None).await?;
        }
        Ok(())
    }

    async fn present(&self) -> Result<Vec<Arc<Library>>, Failure> {
        Ok(self.libraries().await?.into_iter().map(|(library, _)| library).collect())
    }

    async fn load(&self, text: &Bytes, replace: bool) -> Result<String, Failure> {
        let new = library::read(text)?;
        let present = self.present().await?;
        if !replace && present.iter().any(|other| other.name == new.name) {
            return Err(Failure::Refused(format!("ERR Library '{}' already exists", new.name)));
        }
        refuse_taken_functions(std::slice::from_ref(&new), &present)?;
        self.registries.set(Registry::Libraries, new.name.as_bytes(), Some(text.clone())).await?;
        Ok(new.name)
    }

    async fn list(&self, args: &[Bytes]) -> Result<Value, Failure> {
        let (mut pattern, mut with_code) = (None, false);
        let mut rest = args[2..].iter();
        while let Some(option) = rest.next() {
            if !with_code && option.eq_ignore_ascii_case(b"withcode") {
                with_code = true;
            } else if pattern.is_none() && option.eq_ignore_ascii_case(b"libraryname") {
                let Some(given) = rest.next() else { return refused("ERR library name argument was not given") };
                pattern = Some(given.clone());
            } else {
                return Err(Failure::Refused(format!("ERR Unknown argument {}", String::from_utf8_lossy(option))));
            }
        }
        let mut listed = Vec::new();
        for (library, text) in self.libraries().await? {
            if pattern.as_ref().is_some_and(|pattern| !glob::Pattern::new(pattern).matches(library.name.as_bytes())) {
                continue;
            }
            let function = |function: library::Function| {
                let flags = function.flags.into_iter().map(|flag| Value::Simple(flag.into())).collect();
                Value::Map(vec![
                    (Value::bulk("name"), Value::bulk(function.name)),
                    (Value::bulk("description"), function.description.map_or(Value::Null, Value::bulk)),
                    (Value::bulk("flags"), Value::Set(flags)),
                ])
            };
            let functions = library.functions.iter().cloned().map(function).collect();
            let mut fields = vec![
                (Value::bulk("library_name"), Value::bulk(library.name.clone())),
                (Value::bulk("engine"), Value::bulk("LUA")),
                (Value::bulk("functions"), Value::Array(functions)),
            ];
            if with_code {
                fields.push((Value::bulk("library_code"), Value::Bulk(text)));
            }
            listed.push(Value::Map(fields));
        }
        Ok(Value::Array(listed))
    }
}

/// Refuses a new library one of whose functions has the name of a function of another that stays.
fn refuse_taken_functions(new: &[Library], present: &[Arc<Library>]) -> Result<(), Failure> {
    let stays = |other: &&Arc<Library>| new.iter().all(|new| new.name != other.name);
    let taken: HashSet<String> = present
        .iter()
        .filter(stays)
        .flat_map(|other| other.functions.iter().map(|function| function.name.to_ascii_lowercase()))
        .collect();
    match new.iter().flat_map(|new| &new.functions).find(|function| taken.contains(&function.name.to_ascii_lowercase()))
    {
        Some(function) => Err(Failure::Refused(format!("ERR Function {} already exists", function.name))),
        None => Ok(()),
    }
}

/// The libraries of a payload.
fn dumped(payload: &Bytes) -> Option<Vec<Bytes>> {
    let (body, seal) = payload.split_last_chunk::<4>()?;
    if crc32fast::hash(body) != u32::from_be_bytes(*seal) {
        return None;
    }
    let mut rest = body.strip_prefix(DUMPED)?;
    let mut texts = Vec::new();
    while let Some((len, behind)) = rest.split_first_chunk::<4>() {
        let (text, next) = behind.split_at_checked(u32::from_be_bytes(*len) as usize)?;
        texts.push(Bytes::copy_from_slice(text));
        rest = next;
    }
    rest.is_empty().then_some(texts)
}
