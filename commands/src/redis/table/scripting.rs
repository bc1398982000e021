//! Commands that run scripts and functions, and those about what scripts and functions there are.

use super::super::arguments::{KEY, integer, one_of, string, token};
use super::Flag::{self, *};
use super::GatewayCommand::Describe;
use super::KeyCommand::Script;
use super::Place::{AtGateway, AtLeader, Container, Registry};
use super::RegistryCommand::*;
use super::ScriptCommand::*;
use super::{Argument, KeySpec, Place, Spec};

const RUNS: &[Flag] = &[NoScript, Stale, SkipMonitor, NoMandatoryKeys, MovableKeys];
const READS: &[Flag] = &[ReadOnly, NoScript, Stale, SkipMonitor, NoMandatoryKeys, MovableKeys];
const WRITES: &[&str] = &["RW", "access", "update"];
const ALL_SHARDS: &[&str] = &["request_policy:all_shards", "response_policy:all_succeeded"];
const ALL_NODES: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];
const ONE_SHARD: &[&str] = &["request_policy:all_shards", "response_policy:one_succeeded"];
const MODE: &[Argument] = &[one_of("async", &[token("async", "ASYNC"), token("sync", "SYNC")]).optional()];

const fn runner(name: &'static str, place: Place, flags: &'static [Flag], keys: &'static [KeySpec]) -> Spec {
    Spec::new(name, place, -3, flags).keys(keys).categories(&["scripting"]).group("scripting")
}

const fn about(name: &'static str, place: Place, arity: i32, flags: &'static [Flag]) -> Spec {
    Spec::new(name, place, arity, flags).categories(&["scripting"]).group("scripting").since("7.0.0")
}

/// In alphabetical order.
pub(super) const COMMANDS: &[Spec] = &[
    runner("eval", AtLeader(Script(Eval)), RUNS, &[KeySpec::of_script(WRITES)
            .notes("We cannot tell how the keys will be used so we assume the worst, RW and UPDATE")])
        .since("2.6.0")
        .complexity("Depends on the script that is executed.")
        .summary("Runs a script")
        .arguments(&[
            string("script"),
            integer("numkeys"),
            KEY.optional().multiple(),
            string("arg").optional().multiple(),
        ]),
    runner("eval_ro", AtLeader(Script(EvalRo)), READS, &[KeySpec::of_script(&["RO", "access"])
            .notes("We cannot tell how the keys will be used so we assume the worst, RO and ACCESS")])
        .since("7.0.0")
        .complexity("Depends on the script that is executed.")
        .summary("Runs a script that only reads")
        .arguments(&[
            string("script"),
            integer("numkeys"),
            KEY.optional().multiple(),
            string("arg").optional().multiple(),
        ]),
    runner("evalsha", AtLeader(Script(EvalSha)), RUNS, &[KeySpec::of_script(WRITES)])
        .since("2.6.0")
        .complexity("Depends on the script that is executed.")
        .summary("Runs a script by its hash")
        .arguments(&[
            string("sha1"),
            integer("numkeys"),
            KEY.optional().multiple(),
            string("arg").optional().multiple(),
        ]),
    runner("evalsha_ro", AtLeader(Script(EvalShaRo)), READS, &[KeySpec::of_script(&["RO", "access"])])
        .since("7.0.0")
        .complexity("Depends on the script that is executed.")
        .summary("Runs a script that only reads, by its hash")
        .arguments(&[
            string("sha1"),
            integer("numkeys"),
            KEY.optional().multiple(),
            string("arg").optional().multiple(),
        ]),
    runner("fcall", AtLeader(Script(FCall)), RUNS, &[KeySpec::of_script(WRITES)
            .notes("We cannot tell how the keys will be used so we assume the worst, RW and UPDATE")])
        .since("7.0.0")
        .complexity("Depends on the function that is executed.")
        .summary("Runs a function")
        .arguments(&[
            string("function"),
            integer("numkeys"),
            KEY.optional().multiple(),
            string("arg").optional().multiple(),
        ]),
    runner("fcall_ro", AtLeader(Script(FCallRo)), READS, &[KeySpec::of_script(&["RO", "access"])
            .notes("We cannot tell how the keys will be used so we assume the worst, RO and ACCESS")])
        .since("7.0.0")
        .complexity("Depends on the function that is executed.")
        .summary("Runs a function that only reads")
        .arguments(&[
            string("function"),
            integer("numkeys"),
            KEY.optional().multiple(),
            string("arg").optional().multiple(),
        ]),
    Spec::new("function", Container, -2, &[])
        .group("scripting")
        .since("7.0.0")
        .complexity("Depends on subcommand.")
        .summary("Commands about libraries of functions")
        .subcommands(&[
            about("function|delete", Registry(FunctionDelete), 3, &[Write, NoScript]).summary("Removes a library").arguments(&[string("library-name")]).tips(ALL_SHARDS),
            about("function|dump", Registry(FunctionDump), 2, &[NoScript]).complexity("O(N) where N is the number of functions").summary("All libraries as one payload"),
            about("function|flush", Registry(FunctionFlush), -2, &[Write, NoScript]).complexity("O(N) where N is the number of functions deleted").summary("Removes all libraries").arguments(MODE).tips(ALL_SHARDS),
            about("function|help", AtGateway(Describe), 2, &[Loading, Stale]).summary("Lists the subcommands"),
            about("function|kill", Registry(FunctionKill), 2, &[NoScript, AllowBusy]).summary("Stops the function that runs").tips(ONE_SHARD),
            about("function|list", Registry(FunctionList), -2, &[NoScript]).complexity("O(N) where N is the number of functions").summary("Tells of all libraries").arguments(&[string("library-name-pattern").after("LIBRARYNAME").optional(), token("withcode", "WITHCODE").optional()]).tips(&["nondeterministic_output_order"]),
            about("function|load", Registry(FunctionLoad), -3, &[Write, DenyOom, NoScript]).complexity("O(1) (considering compilation time is redundant)").summary("Creates a library").arguments(&[token("replace", "REPLACE").optional(), string("function-code")]).tips(ALL_SHARDS),
            about("function|restore", Registry(FunctionRestore), -3, &[Write, DenyOom, NoScript]).complexity("O(N) where N is the number of functions on the payload").summary("Creates the libraries of a payload").arguments(&[string("serialized-value"), one_of("policy", &[token("flush", "FLUSH"), token("append", "APPEND"), token("replace", "REPLACE")]).optional()]).tips(ALL_SHARDS),
            about("function|stats", Registry(FunctionStats), 2, &[NoScript, AllowBusy]).summary("Tells of the function that runs").tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"]),
        ]),
    Spec::new("script", Container, -2, &[])
        .group("scripting")
        .since("2.6.0")
        .complexity("Depends on subcommand.")
        .summary("Commands about scripts")
        .subcommands(&[
            about("script|debug", Registry(ScriptDebug), 3, &[NoScript]).since("3.2.0").summary("Not possible here: there is no debugger").arguments(&[one_of("mode", &[token("yes", "YES"), token("sync", "SYNC"), token("no", "NO")])]),
            about("script|exists", Registry(ScriptExists), -3, &[NoScript]).since("2.6.0").complexity("O(N) with N being the number of scripts to check (so checking a single script is an O(1) operation).").summary("Which scripts are known").arguments(&[string("sha1").multiple()]).tips(&["request_policy:all_shards", "response_policy:agg_logical_and"]),
            about("script|flush", Registry(ScriptFlush), -2, &[NoScript]).since("2.6.0").complexity("O(N) with N being the number of scripts in cache").summary("Forgets all scripts").arguments(MODE).tips(ALL_NODES),
            about("script|help", AtGateway(Describe), 2, &[Loading, Stale]).since("5.0.0").summary("Lists the subcommands"),
            about("script|kill", Registry(ScriptKill), 2, &[NoScript, AllowBusy]).since("2.6.0").summary("Stops the script that runs").tips(ONE_SHARD),
            about("script|load", Registry(ScriptLoad), 3, &[NoScript, Stale]).since("2.6.0").complexity("O(N) with N being the length in bytes of the script body.").summary("Makes a script known").arguments(&[string("script")]).tips(ALL_NODES),
        ]),
];
