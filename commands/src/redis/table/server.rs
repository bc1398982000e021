//! Commands about the server.

use super::super::arguments::{FLUSH_MODE, KEY, block, integer, key, one_of, pattern, string, token};
use super::DatabaseCommand::*;
use super::Flag::*;
use super::GatewayCommand::*;
use super::KeyCommand::MemoryUsage;
use super::Place::{AtGateway, AtLeader, Container, OverDatabase};
use super::{ConfigCommand, KeySpec, LatencyCommand, MemoryCommand, SlowlogCommand, Spec};

/// Why SAVE and its relatives are refused.
const NO_SAVE: &str = "ERR There is nothing to save: every write is on the disks of a majority of storage nodes when it \
     is answered";
/// Why REPLICAOF and its relatives are refused.
const NO_REPLICATION: &str = "ERR Gateways are not replicated: storage nodes replicate every range among themselves, and \
     placement decides where";
/// Why SHUTDOWN is refused.
const NO_SHUTDOWN: &str = "ERR A gateway is not shut down by its clients: end its process";
/// Why DEBUG is refused. It begins as Redis says it with enable-debug-command at no.
const NO_DEBUG: &str = "ERR DEBUG command not allowed: it looks into the memory of a server, and a gateway has no data";
/// Why SWAPDB is refused.
const NO_SWAPDB: &str = "ERR SWAPDB is not supported: the number of its database is part of every stored key";
/// Why MIGRATE is refused.
const NO_MIGRATE: &str = "ERR MIGRATE is not supported: placement moves ranges between storage nodes; use DUMP and \
     RESTORE to copy keys to another system";
/// Why modules cannot be loaded. It begins as Redis says it with enable-module-command at no.
const NO_MODULES: &str = "ERR MODULE command not allowed: a gateway runs no code of modules";

/// In alphabetical order.
pub(super) const COMMANDS: &[Spec] = &[
    Spec::new("bgrewriteaof", AtGateway(Refused(NO_SAVE)), 1, &[Admin, NoScript, NoAsyncLoading])
        .summary("Refused: there is no such file"),
    Spec::new("bgsave", AtGateway(Refused(NO_SAVE)), -1, &[Admin, NoScript, NoAsyncLoading])
        .summary("Refused: every write is on disk when it is answered")
        .arguments(&[token("schedule", "SCHEDULE").optional()]),
    Spec::new("command", AtGateway(Describe), -1, &[Loading, Stale])
        .categories(&["connection"])
        .since("2.8.13")
        .complexity("O(N) where N is the total number of Redis commands")
        .summary("Describes all commands")
        .tips(&["nondeterministic_output_order"])
        .subcommands(&[
            Spec::new("command|count", AtGateway(Describe), 2, &[Loading, Stale])
                .categories(&["connection"])
                .since("2.8.13")
                .summary("Number of commands"),
            Spec::new("command|docs", AtGateway(Describe), -2, &[Loading, Stale])
                .categories(&["connection"])
                .since("7.0.0")
                .complexity("O(N) where N is the number of commands to look up")
                .summary("Describes commands for people")
                .arguments(&[string("command-name").optional().multiple()])
                .tips(&["nondeterministic_output_order"]),
            Spec::new("command|getkeys", AtGateway(Describe), -4, &[Loading, Stale])
                .categories(&["connection"])
                .since("2.8.13")
                .complexity("O(N) where N is the number of arguments to the command")
                .summary("Keys in a command line"),
            Spec::new("command|getkeysandflags", AtGateway(Describe), -4, &[Loading, Stale])
                .categories(&["connection"])
                .since("7.0.0")
                .complexity("O(N) where N is the number of arguments to the command")
                .summary("Keys in a command line, and what happens to them"),
            Spec::new("command|help", AtGateway(Describe), 2, &[Loading, Stale])
                .categories(&["connection"])
                .since("5.0.0")
                .summary("Lists the subcommands"),
            Spec::new("command|info", AtGateway(Describe), -2, &[Loading, Stale])
                .categories(&["connection"])
                .since("2.8.13")
                .complexity("O(N) where N is the number of commands to look up")
                .summary("Describes commands for programs")
                .arguments(&[string("command-name").optional().multiple()])
                .tips(&["nondeterministic_output_order"]),
            Spec::new("command|list", AtGateway(Describe), -2, &[Loading, Stale])
                .categories(&["connection"])
                .since("7.0.0")
                .complexity("O(N) where N is the total number of Redis commands")
                .summary("Lists command names")
                .arguments(&[one_of(
                    "filterby",
                    &[
                        string("module-name").after("MODULE"),
                        string("category").after("ACLCAT"),
                        pattern("pattern").after("PATTERN"),
                    ],
                )
                .after("FILTERBY")
                .optional()])
                .tips(&["nondeterministic_output_order"]),
        ]),
    Spec::new("config", Container, -2, &[])
        .since("2.0.0")
        .complexity("Depends on subcommand.")
        .summary("Commands about the configuration")
        .subcommands(&[
            Spec::new("config|get", AtGateway(Config(ConfigCommand::Get)), -3, &[Admin, NoScript, Loading, Stale])
                .since("2.0.0")
                .complexity("O(N) when N is the number of configuration parameters provided")
                .summary("Reads settings")
                .arguments(&[block("parameter", &[string("parameter")]).multiple()]),
            Spec::new("config|help", AtGateway(Describe), 2, &[Loading, Stale])
                .since("5.0.0")
                .summary("Lists the subcommands"),
            Spec::new(
                "config|resetstat",
                AtGateway(Config(ConfigCommand::ResetStat)),
                2,
                &[Admin, NoScript, Loading, Stale],
            )
            .since("2.0.0")
            .summary("Begins the counts of INFO anew"),
            Spec::new(
                "config|rewrite",
                AtGateway(Config(ConfigCommand::Rewrite)),
                2,
                &[Admin, NoScript, Loading, Stale],
            )
            .since("2.8.0")
            .summary("Refused: settings live as long as the gateway"),
            Spec::new("config|set", AtGateway(Config(ConfigCommand::Set)), -4, &[Admin, NoScript, Loading, Stale])
                .since("2.0.0")
                .complexity("O(N) when N is the number of configuration parameters provided")
                .summary("Changes settings of this gateway until it ends")
                .arguments(&[block("parameter_value", &[string("parameter"), string("value")]).multiple()])
                .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
        ]),
    Spec::new("dbsize", OverDatabase(DbSize), 1, &[ReadOnly, Fast])
        .categories(&["keyspace"])
        .summary("Number of keys in the database")
        .tips(&["request_policy:all_shards", "response_policy:agg_sum"]),
    Spec::new("debug", AtGateway(Refused(NO_DEBUG)), -2, &[Admin, NoScript, Loading, Stale])
        .complexity("Depends on subcommand.")
        .summary("Refused"),
    Spec::new("failover", AtGateway(Refused(NO_REPLICATION)), -1, &[Admin, NoScript, Stale])
        .since("6.2.0")
        .summary("Refused: storage nodes elect their leaders")
        .arguments(&[
            block("target", &[string("host"), integer("port"), token("force", "FORCE").optional()])
                .after("TO")
                .optional(),
            token("abort", "ABORT").optional(),
            integer("milliseconds").after("TIMEOUT").optional(),
        ]),
    Spec::new("flushall", OverDatabase(FlushAll), -1, &[Write])
        .categories(&["keyspace", "dangerous"])
        .complexity("O(N) where N is the total number of keys in all databases")
        .summary("Removes all keys of all databases")
        .arguments(&[FLUSH_MODE])
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
    Spec::new("flushdb", OverDatabase(FlushDb), -1, &[Write])
        .categories(&["keyspace", "dangerous"])
        .complexity("O(N) where N is the number of keys in the selected database")
        .summary("Removes all keys of the database")
        .arguments(&[FLUSH_MODE])
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
    Spec::new("info", AtGateway(Info), -1, &[Loading, Stale])
        .categories(&["dangerous"])
        .summary("Describes the gateway and the cluster")
        .arguments(&[string("section").optional().multiple()])
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"]),
    Spec::new("lastsave", AtGateway(LastSave), 1, &[Loading, Stale, Fast])
        .categories(&["admin", "dangerous"])
        .summary("Time since which everything is on disk")
        .tips(&["nondeterministic_output"]),
    Spec::new("latency", Container, -2, &[])
        .since("2.8.13")
        .complexity("Depends on subcommand.")
        .summary("Commands about latency")
        .subcommands(&[
            Spec::new(
                "latency|doctor",
                AtGateway(Latency(LatencyCommand::Doctor)),
                2,
                &[Admin, NoScript, Loading, Stale],
            )
            .since("2.8.13")
            .summary("Says what was slow, in words")
            .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"]),
            Spec::new(
                "latency|graph",
                AtGateway(Latency(LatencyCommand::Graph)),
                3,
                &[Admin, NoScript, Loading, Stale],
            )
            .since("2.8.13")
            .summary("Draws the latencies of an event")
            .arguments(&[string("event")])
            .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"]),
            Spec::new("latency|help", AtGateway(Describe), 2, &[Loading, Stale])
                .since("2.8.13")
                .summary("Lists the subcommands"),
            Spec::new(
                "latency|histogram",
                AtGateway(Latency(LatencyCommand::Histogram)),
                -2,
                &[Admin, NoScript, Loading, Stale],
            )
            .since("7.0.0")
            .complexity("O(N) where N is the number of commands with latency information being retrieved.")
            .summary("How latencies of commands are distributed")
            .arguments(&[string("command").optional().multiple()])
            .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"]),
            Spec::new(
                "latency|history",
                AtGateway(Latency(LatencyCommand::History)),
                3,
                &[Admin, NoScript, Loading, Stale],
            )
            .since("2.8.13")
            .summary("Latencies of an event")
            .arguments(&[string("event")])
            .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"]),
            Spec::new(
                "latency|latest",
                AtGateway(Latency(LatencyCommand::Latest)),
                2,
                &[Admin, NoScript, Loading, Stale],
            )
            .since("2.8.13")
            .summary("The last latency of each event")
            .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"]),
            Spec::new(
                "latency|reset",
                AtGateway(Latency(LatencyCommand::Reset)),
                -2,
                &[Admin, NoScript, Loading, Stale],
            )
            .since("2.8.13")
            .summary("Forgets latencies of events")
            .arguments(&[string("event").optional().multiple()])
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
        ]),
    Spec::new("lolwut", AtGateway(Lolwut), -1, &[ReadOnly, Fast])
        .since("5.0.0")
        .summary("Draws something")
        .arguments(&[integer("version").after("VERSION").optional()]),
    Spec::new("memory", Container, -2, &[])
        .since("4.0.0")
        .complexity("Depends on subcommand.")
        .summary("Commands about memory")
        .subcommands(&[
            Spec::new("memory|doctor", AtGateway(Memory(MemoryCommand::Doctor)), 2, &[])
                .since("4.0.0")
                .summary("Says what is wrong with the memory, in words")
                .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"]),
            Spec::new("memory|help", AtGateway(Describe), 2, &[Loading, Stale])
                .since("4.0.0")
                .summary("Lists the subcommands"),
            Spec::new("memory|malloc-stats", AtGateway(Memory(MemoryCommand::MallocStats)), 2, &[])
                .since("4.0.0")
                .complexity("Depends on how much memory is allocated, could be slow")
                .summary("What the allocator says of itself")
                .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"]),
            Spec::new("memory|purge", AtGateway(Memory(MemoryCommand::Purge)), 2, &[])
                .since("4.0.0")
                .complexity("Depends on how much memory is allocated, could be slow")
                .summary("Asks the allocator to give memory back")
                .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
            Spec::new("memory|stats", AtGateway(Memory(MemoryCommand::Stats)), 2, &[])
                .since("4.0.0")
                .summary("Describes the memory of the gateway")
                .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"]),
            Spec::new("memory|usage", AtLeader(MemoryUsage), -3, &[ReadOnly])
                .keys(&[KeySpec::at(2, &["RO"])])
                .since("4.0.0")
                .complexity("O(N) where N is the number of samples")
                .summary("Bytes that the records of a key take")
                .arguments(&[KEY, integer("count").after("SAMPLES").optional()]),
        ]),
    Spec::new("migrate", AtGateway(Refused(NO_MIGRATE)), -6, &[Write, MovableKeys])
        .keys(&[KeySpec::at(3, &["RW", "access", "delete"])])
        .categories(&["keyspace", "dangerous"])
        .group("generic")
        .since("2.6.0")
        .complexity("O(N) where N is the size of the keys")
        .summary("Refused: ranges move between nodes by themselves")
        .arguments(&[
            string("host"),
            integer("port"),
            one_of("key_or_empty_string", &[key("key"), token("empty_string", "")]),
            integer("destination-db"),
            integer("timeout"),
            token("copy", "COPY").optional(),
            token("replace", "REPLACE").optional(),
            one_of(
                "authentication",
                &[
                    string("password").after("AUTH").optional(),
                    block("username_password", &[string("username"), string("password")]).after("AUTH2").optional(),
                ],
            )
            .optional(),
            key("key").after("KEYS").optional().multiple(),
        ])
        .tips(&["nondeterministic_output"]),
    Spec::new("module", Container, -2, &[])
        .since("4.0.0")
        .complexity("Depends on subcommand.")
        .summary("Commands about modules")
        .subcommands(&[
            Spec::new("module|help", AtGateway(Describe), 2, &[Loading, Stale])
                .since("5.0.0")
                .summary("Lists the subcommands"),
            Spec::new("module|list", AtGateway(ModuleList), 2, &[Admin, NoScript])
                .since("4.0.0")
                .complexity("O(N) where N is the number of loaded modules.")
                .summary("Lists the modules: there are none")
                .tips(&["nondeterministic_output_order"]),
            Spec::new("module|load", AtGateway(Refused(NO_MODULES)), -3, &[Admin, NoScript, NoAsyncLoading])
                .since("4.0.0")
                .summary("Refused: there are no modules")
                .arguments(&[string("path"), string("arg").optional().multiple()]),
            Spec::new("module|loadex", AtGateway(Refused(NO_MODULES)), -3, &[Admin, NoScript, NoAsyncLoading])
                .since("7.0.0")
                .summary("Refused: there are no modules")
                .arguments(&[
                    string("path"),
                    block("configs", &[string("name"), string("value")])
                        .after("CONFIG")
                        .optional()
                        .multiple()
                        .with_token_each(),
                    block("args", &[string("arg")]).after("ARGS").optional().multiple(),
                ]),
            Spec::new("module|unload", AtGateway(Refused(NO_MODULES)), 3, &[Admin, NoScript, NoAsyncLoading])
                .since("4.0.0")
                .summary("Refused: there are no modules")
                .arguments(&[string("name")]),
        ]),
    Spec::new("monitor", AtGateway(Monitor), 1, &[Admin, NoScript, Loading, Stale])
        .summary("Shows every command that this gateway runs"),
    Spec::new("psync", AtGateway(Refused(NO_REPLICATION)), -3, &[Admin, NoScript, NoAsyncLoading, NoMulti])
        .since("2.8.0")
        .summary("Refused: replicas follow storage nodes")
        .arguments(&[string("replicationid"), integer("offset")]),
    Spec::new("replconf", AtGateway(Refused(NO_REPLICATION)), -1, &[Admin, NoScript, Loading, Stale, AllowBusy])
        .since("3.0.0")
        .summary("Refused: replicas follow storage nodes"),
    Spec::new("replicaof", AtGateway(Refused(NO_REPLICATION)), 3, &[Admin, NoScript, Stale, NoAsyncLoading])
        .since("5.0.0")
        .summary("Refused: storage nodes replicate, and placement decides where")
        .arguments(&[one_of(
            "args",
            &[
                block("host-port", &[string("host"), integer("port")]),
                block("no-one", &[token("no", "NO"), token("one", "ONE")]),
            ],
        )]),
    Spec::new("role", AtGateway(Role), 1, &[NoScript, Loading, Stale, Fast])
        .categories(&["admin", "dangerous"])
        .since("2.8.12")
        .summary("Role in replication"),
    Spec::new("save", AtGateway(Refused(NO_SAVE)), 1, &[Admin, NoScript, NoAsyncLoading, NoMulti])
        .complexity("O(N) where N is the total number of keys in all databases")
        .summary("Refused: every write is on disk when it is answered"),
    Spec::new("shutdown", AtGateway(Refused(NO_SHUTDOWN)), -1, &[Admin, NoScript, Loading, Stale, NoMulti, AllowBusy])
        .complexity("O(1)")
        .summary("Refused: processes are ended by who runs them")
        .arguments(&[
            one_of("nosave_save", &[token("nosave", "NOSAVE"), token("save", "SAVE")]).optional(),
            token("now", "NOW").optional(),
            token("force", "FORCE").optional(),
            token("abort", "ABORT").optional(),
        ]),
    Spec::new("slaveof", AtGateway(Refused(NO_REPLICATION)), 3, &[Admin, NoScript, Stale, NoAsyncLoading])
        .summary("Refused: storage nodes replicate, and placement decides where")
        .deprecated("5.0.0", "`REPLICAOF`")
        .arguments(&[one_of(
            "args",
            &[
                block("host-port", &[string("host"), integer("port")]),
                block("no-one", &[token("no", "NO"), token("one", "ONE")]),
            ],
        )]),
    Spec::new("slowlog", Container, -2, &[])
        .since("2.2.12")
        .complexity("Depends on subcommand.")
        .summary("Commands about the log of slow commands")
        .subcommands(&[
            Spec::new("slowlog|get", AtGateway(Slowlog(SlowlogCommand::Get)), -2, &[Admin, Loading, Stale])
                .since("2.2.12")
                .complexity("O(N) where N is the number of entries returned")
                .summary("The last slow commands")
                .arguments(&[integer("count").optional()])
                .tips(&["request_policy:all_nodes", "nondeterministic_output"]),
            Spec::new("slowlog|help", AtGateway(Describe), 2, &[Loading, Stale])
                .since("6.2.0")
                .summary("Lists the subcommands"),
            Spec::new("slowlog|len", AtGateway(Slowlog(SlowlogCommand::Len)), 2, &[Admin, Loading, Stale])
                .since("2.2.12")
                .summary("Number of slow commands in the log")
                .tips(&["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"]),
            Spec::new("slowlog|reset", AtGateway(Slowlog(SlowlogCommand::Reset)), 2, &[Admin, Loading, Stale])
                .since("2.2.12")
                .complexity("O(N) where N is the number of entries in the slowlog")
                .summary("Empties the log")
                .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
        ]),
    Spec::new("swapdb", AtGateway(Refused(NO_SWAPDB)), 3, &[Write, Fast])
        .categories(&["keyspace", "dangerous"])
        .since("4.0.0")
        .complexity("O(N) where N is the number of keys")
        .summary("Refused: a database is part of its keys")
        .arguments(&[integer("index1"), integer("index2")]),
    Spec::new("sync", AtGateway(Refused(NO_REPLICATION)), 1, &[Admin, NoScript, NoAsyncLoading, NoMulti])
        .summary("Refused: replicas follow storage nodes"),
    Spec::new("time", AtGateway(Time), 1, &[Loading, Stale, Fast])
        .since("2.6.0")
        .summary("Time of the gateway")
        .tips(&["nondeterministic_output"]),
    Spec::new("wait", AtGateway(Wait), 3, &[NoScript])
        .categories(&["connection"])
        .group("generic")
        .since("3.0.0")
        .complexity("O(1)")
        .summary("How many replicas besides the leader have every write of the connection")
        .arguments(&[integer("numreplicas"), integer("timeout")])
        .tips(&["request_policy:all_shards", "response_policy:agg_min"]),
];
