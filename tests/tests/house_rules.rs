//! The house rules, as tests over manifests, sources and documents.
//!
//! What the design promises about the shape of the code is checked here, so that it stays true without anybody
//! watching: which crate may know which, which library belongs to which tier, which module may import which, the one
//! place that proposes to Raft, a story at the head of each file, no file that has outgrown its name, nothing left for
//! later, and no path in the documents that leads nowhere.
//!
//! Sources are not parsed: comments and literals are blanked ([`code_of`]) and the rest is searched for words and paths.
//! Macros that build such names would go unseen; nobody writes them here.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

/// Workspace crate → the workspace crates that it may depend on.
const CRATE_EDGES: [(&str, &[&str]); 14] = [
    ("planted", &[]),
    ("keyspace", &[]),
    ("proto", &["keyspace"]),
    ("scripting", &[]),
    ("commands", &["keyspace", "scripting"]),
    ("monitoring", &[]),
    ("storage", &["keyspace", "proto", "commands", "monitoring", "planted"]),
    ("gateway", &["keyspace", "proto", "commands", "scripting", "monitoring", "planted"]),
    ("placement", &["keyspace", "proto", "monitoring"]),
    ("demo", &["keyspace", "proto", "monitoring", "storage", "gateway", "placement"]),
    ("checkers", &[]),
    ("model", &[]),
    ("simulation", &["keyspace", "proto", "commands", "storage", "gateway", "placement", "planted", "checkers"]),
    // The tiers run as processes of their own.
    ("tests", &["keyspace", "proto", "commands", "monitoring", "checkers", "planted", "demo"]),
];

/// Library → the crates that may name it, in their manifest or their code.
const LIBRARY_OWNERS: [(&str, &[&str]); 10] = [
    ("openraft", &["storage"]),
    ("rocksdb", &["storage", "placement"]),
    ("etcd-client", &["placement"]),
    ("redis-protocol", &["gateway"]),
    ("aws-smithy-json", &["gateway"]),
    ("moka", &["gateway"]),
    ("mlua", &["scripting"]),
    ("stateright", &["model"]),
    ("turmoil", &["simulation"]),
    ("mad-turmoil", &["simulation"]),
];

/// Crates that take values and return values; time, randomness and I/O are handed in.
const PURE_CRATES: [&str; 2] = ["keyspace", "commands"];
/// Libraries that do I/O or draw randomness, by the beginning of their name.
const IMPURE_LIBRARIES: [&str; 9] =
    ["tokio", "tonic", "hyper", "axum", "tower", "rocksdb", "openraft", "rand", "socket2"];
/// Parts of the standard library that pure code does not use.
const IMPURE_PATHS: [&str; 7] =
    ["std::net", "std::fs", "std::process", "std::thread", "std::env", "SystemTime::now", "Instant::now"];

/// Module (a folder or a file beside it) → modules of the same crate that it must not import.
const MODULE_EDGES: [(&str, &[&str]); 14] = [
    ("gateway/src/redis", &["dynamodb", "grpc"]),
    ("gateway/src/dynamodb", &["redis", "grpc"]),
    ("gateway/src/grpc", &["redis", "dynamodb"]),
    ("gateway/src/txn", &["redis", "dynamodb", "grpc"]),
    ("gateway/src/router", &["redis", "dynamodb", "grpc", "txn"]),
    ("placement/src/plan", &["catalog", "oracle", "reconcile", "server"]),
    ("placement/src/catalog", &["oracle", "reconcile", "server"]),
    ("placement/src/oracle", &["reconcile", "server"]),
    ("placement/src/reconcile", &["server"]),
    ("storage/src/engine", &["raft", "group", "server"]),
    // The state machine hands entries to the group's apply; nothing else in there knows what a group is.
    ("storage/src/raft", &["server"]),
    ("storage/src/raft/log", &["group"]),
    ("storage/src/raft/transport", &["group"]),
    ("storage/src/group", &["server"]),
];

/// Module → crates that its code must not name.
const MODULE_STRANGERS: [(&str, &[&str]); 2] =
    [("storage/src/engine", &["openraft", "commands", "proto"]), ("placement/src/plan", &["proto", "tonic", "tokio"])];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 6] = ["common", "util", "utils", "helper", "helpers", "misc"];

const MAX_LINES: usize = 900;

/// One Rust file of the workspace.
struct Source {
    /// From the root, with `/` between the parts.
    path: String,
    text: String,
    /// The text with comments and literals blanked.
    code: String,
}

impl Source {
    fn crate_name(&self) -> &str {
        self.path.split('/').next().unwrap()
    }

    /// Whether the file is the module, or lies inside it.
    fn is_in(&self, module: &str) -> bool {
        self.path.strip_prefix(module).is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

fn members() -> Vec<String> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap().parse::<Table>().unwrap();
    let members = manifest["workspace"]["members"].as_array().unwrap();
    members.iter().map(|member| member.as_str().unwrap().to_owned()).collect()
}

fn manifest(member: &str) -> Table {
    fs::read_to_string(root().join(member).join("Cargo.toml")).unwrap().parse().unwrap()
}

/// A line of a dependency table.
struct Dependency {
    /// `dependencies`, `dev-dependencies` or `build-dependencies`.
    kind: &'static str,
    name: String,
    value: Value,
}

/// Every dependency of a manifest, those for one platform included.
fn dependencies(manifest: &Table) -> Vec<Dependency> {
    let targets = manifest.get("target").and_then(Value::as_table);
    let platforms = targets.into_iter().flat_map(|targets| targets.values()).filter_map(Value::as_table);
    let mut found = Vec::new();
    for place in [manifest].into_iter().chain(platforms) {
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (name, value) in place.get(kind).and_then(Value::as_table).into_iter().flatten() {
                found.push(Dependency { kind, name: name.clone(), value: value.clone() });
            }
        }
    }
    found
}

/// All files below `directory` with this extension, sorted, from the root.
fn files_below(directory: &str, extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(directory)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(root().join(&folder)) else { continue };
        for entry in entries {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path.to_str().unwrap().replace('\\', "/"));
            }
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    for member in members() {
        for folder in ["src", "tests", "benches", "examples"] {
            paths.extend(files_below(&format!("{member}/{folder}"), "rs"));
        }
        paths.extend(Some(format!("{member}/build.rs")).filter(|path| root().join(path).exists()));
    }
    let read = |path: String| {
        let text = fs::read_to_string(root().join(&path)).unwrap();
        Source { code: code_of(&text), text, path }
    };
    paths.into_iter().map(read).collect()
}

/// The text with comments, strings and characters blanked, line by line as before.
fn code_of(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut out = String::with_capacity(text.len());
    let mut i = 0;
    while i < chars.len() {
        let end = match (at(i), at(i + 1)) {
            ('/', '/') => (i..chars.len()).find(|&j| at(j) == '\n').unwrap_or(chars.len()),
            ('/', '*') => end_of_block_comment(&chars, i),
            ('"', _) => end_of_string(&chars, i),
            ('r', '"' | '#') if i == 0 || !is_word(at(i - 1)) || (matches!(at(i - 1), 'b' | 'c')) => {
                end_of_raw_string(&chars, i)
            }
            ('\'', '\\') => (i + 3..chars.len()).find(|&j| at(j) == '\'').unwrap_or(chars.len() - 1) + 1,
            ('\'', _) if at(i + 2) == '\'' => i + 3,
            _ => i,
        };
        if end == i {
            out.push(at(i));
            i += 1;
        } else {
            out.extend(chars[i..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
            i = end;
        }
    }
    out
}

fn end_of_block_comment(chars: &[char], start: usize) -> usize {
    let mut depth = 0;
    let mut i = start;
    while i + 1 < chars.len() {
        match (chars[i], chars[i + 1]) {
            ('/', '*') => (depth, i) = (depth + 1, i + 2),
            ('*', '/') => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            return i;
        }
    }
    chars.len()
}

fn end_of_string(chars: &[char], start: usize) -> usize {
    let mut i = start + 1;
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    (i + 1).min(chars.len())
}

/// The same place if this is no raw string but a raw identifier.
fn end_of_raw_string(chars: &[char], start: usize) -> usize {
    let hashes = chars[start + 1..].iter().take_while(|&&c| c == '#').count();
    let open = start + 1 + hashes;
    if chars.get(open) != Some(&'"') {
        return start;
    }
    let closes = |&i: &usize| chars[i] == '"' && chars[i + 1..].iter().take_while(|&&c| c == '#').count() >= hashes;
    (open + 1..chars.len()).find(closes).map_or(chars.len(), |i| i + 1 + hashes)
}

/// Numbers of the lines of `code` that hold `words`, whole.
fn lines_with(code: &str, words: &str) -> Vec<usize> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let holds = |line: &str| {
        line.match_indices(words).any(|(at, _)| {
            let open = !words.starts_with(is_word) || !line[..at].ends_with(is_word);
            open && (!words.ends_with(is_word) || !line[at + words.len()..].starts_with(is_word))
        })
    };
    code.lines().enumerate().filter(|(_, line)| holds(line)).map(|(n, _)| n + 1).collect()
}

/// Modules of its own crate that the code names by a path from the crate: `crate::a::b` and `crate::{a::b, c}` give a, c.
fn own_modules_named(code: &str) -> BTreeSet<String> {
    let ident = |text: &str| text.trim_start().chars().take_while(|&c| c.is_alphanumeric() || c == '_').collect();
    let mut named = BTreeSet::new();
    for (at, found) in code.match_indices("crate::") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[at + found.len()..];
        match rest.strip_prefix('{') {
            None => drop(named.insert(ident(rest))),
            Some(group) => {
                let mut depth = 0;
                let mut expect = true;
                for (i, c) in group.char_indices() {
                    match c {
                        '}' if depth == 0 => break,
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        ',' if depth == 0 => expect = true,
                        _ if expect && !c.is_whitespace() => {
                            named.insert(ident(&group[i..]));
                            expect = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    named
}

#[track_caller]
fn assert_kept(rule: &str, violations: Vec<String>) {
    assert!(violations.is_empty(), "{rule}:\n  {}", violations.join("\n  "));
}

#[test]
fn crates_depend_on_each_other_as_drawn() {
    let members = members();
    let mut broken = Vec::new();
    for member in &members {
        let Some((_, allowed)) = CRATE_EDGES.iter().find(|(name, _)| name == member) else {
            broken.push(format!("{member} has no line in CRATE_EDGES"));
            continue;
        };
        for Dependency { name, .. } in dependencies(&manifest(member)) {
            if members.contains(&name) && !allowed.contains(&&*name) {
                broken.push(format!("{member} depends on {name}"));
            }
        }
    }
    assert_kept("DESIGN §2 draws no such edge", broken);
}

#[test]
fn versions_stand_in_the_workspace_manifest_only() {
    let mut broken = Vec::new();
    for member in members() {
        let manifest = manifest(&member);
        for Dependency { kind, name, value } in dependencies(&manifest) {
            let inherited = value.get("workspace").and_then(Value::as_bool) == Some(true);
            if !inherited || value.get("version").is_some() {
                broken.push(format!("{member}: {name} in [{kind}]"));
            }
        }
        if manifest.get("lints").and_then(|lints| lints.get("workspace")).and_then(Value::as_bool) != Some(true) {
            broken.push(format!("{member}: the workspace's lints are not on"));
        }
    }
    assert_kept("write `name.workspace = true`, and the version in the root manifest", broken);
}

#[test]
fn libraries_stay_in_their_tier() {
    let mut broken = Vec::new();
    for member in members() {
        for Dependency { name, .. } in dependencies(&manifest(&member)) {
            let owners = LIBRARY_OWNERS.iter().find(|(library, _)| *library == name).map(|(_, owners)| *owners);
            if owners.is_some_and(|owners| !owners.contains(&&*member)) {
                broken.push(format!("{member} depends on {name}"));
            }
        }
    }
    for source in sources() {
        for (library, owners) in LIBRARY_OWNERS {
            if !owners.contains(&source.crate_name()) {
                let lines = lines_with(&source.code, &library.replace('-', "_"));
                broken.extend(lines.iter().map(|line| format!("{}:{line} names {library}", source.path)));
            }
        }
    }
    assert_kept("the library belongs to another tier", broken);
}

#[test]
fn pure_crates_do_no_io() {
    let mut broken = Vec::new();
    for member in PURE_CRATES {
        let dependencies = dependencies(&manifest(member)).into_iter().filter(|found| found.kind == "dependencies");
        for Dependency { name, .. } in dependencies {
            if IMPURE_LIBRARIES.iter().any(|library| name == *library || name.starts_with(&format!("{library}-"))) {
                broken.push(format!("{member} depends on {name}"));
            }
        }
    }
    // Their tests may compare with a real server.
    let pure = |source: &&Source| PURE_CRATES.iter().any(|member| source.is_in(&format!("{member}/src")));
    for source in sources().iter().filter(pure) {
        for path in IMPURE_PATHS.iter().chain(&IMPURE_LIBRARIES) {
            let lines = lines_with(&source.code, &format!("{path}{}", if path.contains("::") { "" } else { "::" }));
            broken.extend(lines.iter().map(|line| format!("{}:{line} uses {path}", source.path)));
        }
    }
    assert_kept("time, randomness and I/O are handed in", broken);
}

#[test]
fn modules_import_downwards_only() {
    let mut broken = Vec::new();
    for source in sources() {
        let named = own_modules_named(&source.code);
        for (module, forbidden) in MODULE_EDGES.iter().filter(|(module, _)| source.is_in(module)) {
            let crossed = forbidden.iter().filter(|other| named.contains(**other));
            broken.extend(crossed.map(|other| format!("{} ({module}) imports crate::{other}", source.path)));
        }
        for (module, strangers) in MODULE_STRANGERS.iter().filter(|(module, _)| source.is_in(module)) {
            for stranger in *strangers {
                let lines = lines_with(&source.code, &format!("{stranger}::"));
                broken.extend(lines.iter().map(|line| format!("{}:{line} ({module}) names {stranger}", source.path)));
            }
        }
    }
    assert_kept("DESIGN §2 draws no such edge", broken);
}

#[test]
fn one_place_proposes_to_raft() {
    // Stores that tests of the transport make up have no executor.
    let product = |source: &Source| source.is_in("storage/src") && !source.path.ends_with("/testing.rs");
    let storage: Vec<Source> = sources().into_iter().filter(product).collect();
    let calls = |call: &str| -> Vec<String> {
        let lines = |source: &Source| -> Vec<String> {
            lines_with(&source.code, call).iter().map(|line| format!("{}:{line}", source.path)).collect()
        };
        storage.iter().flat_map(lines).collect()
    };
    let proposals = calls(".with_leader(");
    assert_eq!(proposals.len(), 1, "PROTOCOL §2: the executor is the only proposer, found {proposals:?}");
    let unchained = [".client_write(", ".client_write_many(", ".client_write_ff("].map(calls).concat();
    assert_kept("PROTOCOL §2: a batch is one entry, proposed for the term that evaluated it", unchained);
}

#[test]
fn every_file_tells_its_story_and_has_not_outgrown_it() {
    let mut broken = Vec::new();
    for Source { path, text, code } in sources() {
        if !text.starts_with("//!") {
            broken.push(format!("{path} does not begin with //!"));
        }
        let lines = text.lines().count();
        if lines >= MAX_LINES {
            broken.push(format!("{path} has {lines} lines, the limit is {MAX_LINES}"));
        }
        for left in ["todo!", "unimplemented!", "#[ignore"] {
            let found = lines_with(&code, left);
            broken.extend(found.iter().map(|line| format!("{path}:{line} has {left}")));
        }
        let names = path.trim_end_matches(".rs").split('/').skip(1);
        broken.extend(names.filter(|name| EMPTY_NAMES.contains(name)).map(|name| format!("{path}: what is a {name}?")));
    }
    assert_kept("see DESIGN §8", broken);
}

#[test]
fn paths_named_in_the_documents_exist() {
    let documents = files_below("docs", "md").into_iter().chain(Some("README.md".to_owned()));
    let mut broken = Vec::new();
    for document in documents {
        let Ok(text) = fs::read_to_string(root().join(&document)) else {
            broken.push(format!("{document} is missing"));
            continue;
        };
        let folder = Path::new(&document).parent().unwrap();
        let exists = |path: &str, from: &Path| root().join(from).join(path).exists();
        for path in paths_named(&text, &top_level_names()) {
            if !exists(&path, Path::new("")) && !exists(&path, folder) {
                broken.push(format!("{document}: `{path}`"));
            }
        }
        broken
            .extend(links(&text).into_iter().filter(|to| !exists(to, folder)).map(|to| format!("{document}: ({to})")));
    }
    assert_kept("the documents name what is not there", broken);
}

/// The table of failures names tests; who renames one renames it there.
#[test]
fn tests_named_in_the_documents_exist() {
    let text = fs::read_to_string(root().join("docs/testing.md")).unwrap();
    let (_, section) = text.split_once("## What fails").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let sources = sources();
    let is_test = |name: &&str| name.contains('_') && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let named: Vec<&str> =
        section.lines().filter(|line| line.starts_with('|')).flat_map(|line| line.split('`')).collect();
    let missing = named.into_iter().filter(is_test).filter(|name| {
        let declared = format!("fn {name}(");
        !sources.iter().any(|source| source.code.contains(&declared))
    });
    assert_kept("no test of this name", missing.map(str::to_owned).collect());
}

fn top_level_names() -> BTreeSet<String> {
    let entries = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    // What builds and runs leave behind is not part of the project.
    entries.filter(|name| !matches!(&**name, "target" | ".git" | "elastickv-data")).collect()
}

/// Text outside fenced blocks: those hold commands and what they print.
fn prose(text: &str) -> String {
    let mut fenced = false;
    let lines = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What stands in backticks and looks like a path of this project.
fn paths_named(text: &str, top_level: &BTreeSet<String>) -> Vec<String> {
    const SOURCES: [&str; 9] = ["rs", "md", "toml", "proto", "sh", "yml", "yaml", "json", "lua"];
    let is_path = |&span: &&str| {
        let plain = span.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/'));
        let first = span.split('/').next().unwrap();
        let ours =
            top_level.contains(first) || Path::new(span).extension().is_some_and(|e| SOURCES.iter().any(|s| e == *s));
        let left_behind = matches!(first, "target" | "elastickv-data");
        plain && span.contains('/') && !span.starts_with('/') && ours && !left_behind
    };
    let prose = prose(text);
    let spans = prose.split('`').skip(1).step_by(2).map(|span| span.strip_prefix("./").unwrap_or(span));
    spans.filter(is_path).map(str::to_owned).collect()
}

/// Targets of links into the project, without fragments.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split([')', ' ', '\n']).next());
    let inward = targets.map(|to| to.split('#').next().unwrap()).filter(|to| !to.is_empty() && !to.contains(':'));
    inward.map(str::to_owned).collect()
}

#[test]
fn the_blanking_leaves_code_and_lines() {
    let text = "a(\"x // \\\" y\"); // b\nlet c = 'd'; /* e /* f */ g\n */ h::<'i>(r#\"j\"k\"#, '\\'', br\"l\\\", r#m)";
    let code = code_of(text);
    let words: Vec<&str> = code.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    assert_eq!(words, ["a", "let", "c", "h", "i", "br", "r", "m"].map(|word| if word == "br" { "b" } else { word }));
    assert_eq!(code.lines().count(), text.lines().count());
}

#[test]
fn the_searches_find_what_they_should() {
    assert_eq!(lines_with("use tokio::x;\nmy_tokio::y\n a.with_leader(b)", "tokio::"), [1]);
    assert_eq!(lines_with("x.with_leader(1)\nmoka_like\nmoka::z", ".with_leader("), [1]);
    assert_eq!(lines_with("moka_like\nmoka::z", "moka"), [2]);
    let named = own_modules_named("use crate::redis::Session; use crate::{txn::{self, x}, router}; my_crate::grpc::y");
    assert_eq!(named.into_iter().collect::<Vec<_>>(), ["redis", "router", "txn"]);

    let top_level = BTreeSet::from(["docs".to_owned()]);
    let text =
        "`docs/a` `x/y.rs` `GET/SET` `./docs/b.md` `application/json`\n```\n`docs/no`\n```\n[t](c.md#d) [u](http://e)";
    assert_eq!(paths_named(text, &top_level), ["docs/a", "x/y.rs", "docs/b.md"]);
    assert_eq!(links(text), ["c.md"]);
}
