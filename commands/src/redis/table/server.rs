//! Commands about the server.

use super::super::arguments::{FLUSH_MODE, block, one_of, pattern, string};
use super::DatabaseCommand::*;
use super::Flag::*;
use super::GatewayCommand::*;
use super::Place::{AtGateway, Container, OverDatabase};
use super::Spec;

/// In alphabetical order.
pub(super) const COMMANDS: &[Spec] = &[
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
            Spec::new("config|get", AtGateway(ConfigGet), -3, &[Admin, NoScript, Loading, Stale])
                .since("2.0.0")
                .complexity("O(N) when N is the number of configuration parameters provided")
                .summary("Reads settings")
                .arguments(&[block("parameter", &[string("parameter")]).multiple()]),
            Spec::new("config|help", AtGateway(Describe), 2, &[Loading, Stale])
                .since("5.0.0")
                .summary("Lists the subcommands"),
        ]),
    Spec::new("dbsize", OverDatabase(DbSize), 1, &[ReadOnly, Fast])
        .categories(&["keyspace"])
        .summary("Number of keys in the database")
        .tips(&["request_policy:all_shards", "response_policy:agg_sum"]),
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
    Spec::new("time", AtGateway(Time), 1, &[Loading, Stale, Fast])
        .since("2.6.0")
        .summary("Time of the gateway")
        .tips(&["nondeterministic_output"]),
];
