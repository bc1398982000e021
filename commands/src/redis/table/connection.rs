//! Commands about connections.

use super::super::arguments::{block, integer, one_of, string, token};
use super::Flag::*;
use super::GatewayCommand::*;
use super::Place::{AtGateway, Container};
use super::Spec;

/// In alphabetical order.
pub(super) const COMMANDS: &[Spec] = &[
    Spec::new("client", Container, -2, &[])
        .group("connection")
        .since("2.4.0")
        .complexity("Depends on subcommand.")
        .summary("Commands about client connections")
        .subcommands(&[
            Spec::new("client|getname", AtGateway(ClientGetName), 2, &[NoScript, Loading, Stale])
                .categories(&["connection"])
                .group("connection")
                .since("2.6.9")
                .summary("Name of this connection"),
            Spec::new("client|help", AtGateway(Describe), 2, &[Loading, Stale])
                .categories(&["connection"])
                .group("connection")
                .since("5.0.0")
                .summary("Lists the subcommands"),
            Spec::new("client|id", AtGateway(ClientId), 2, &[NoScript, Loading, Stale])
                .categories(&["connection"])
                .group("connection")
                .since("5.0.0")
                .summary("Number of this connection"),
            Spec::new("client|info", AtGateway(ClientInfo), 2, &[NoScript, Loading, Stale])
                .categories(&["connection"])
                .group("connection")
                .since("6.2.0")
                .summary("Describes this connection")
                .tips(&["nondeterministic_output"]),
            Spec::new("client|list", AtGateway(ClientList), -2, &[Admin, NoScript, Loading, Stale])
                .categories(&["connection"])
                .group("connection")
                .since("2.4.0")
                .complexity("O(N) where N is the number of client connections")
                .summary("Describes all connections to this gateway")
                .arguments(&[
                    one_of(
                        "normal_master_replica_pubsub",
                        &[
                            token("normal", "NORMAL"),
                            token("master", "MASTER"),
                            token("replica", "REPLICA"),
                            token("pubsub", "PUBSUB"),
                        ],
                    )
                    .after("TYPE")
                    .optional(),
                    block("id", &[integer("client-id").multiple()]).after("ID").optional(),
                ])
                .tips(&["nondeterministic_output"]),
            Spec::new("client|no-evict", AtGateway(ClientNoEvict), 3, &[Admin, NoScript, Loading, Stale])
                .categories(&["connection"])
                .group("connection")
                .since("7.0.0")
                .summary("Exempts this connection from eviction")
                .arguments(&[one_of("enabled", &[token("on", "ON"), token("off", "OFF")])]),
            // Of Redis 7.2, but client libraries send it to every server.
            Spec::new("client|setinfo", AtGateway(ClientSetInfo), 4, &[NoScript, Loading, Stale])
                .categories(&["connection"])
                .group("connection")
                .since("7.2.0")
                .summary("Names the library that made this connection")
                .arguments(&[one_of(
                    "attr",
                    &[string("libname").after("LIB-NAME"), string("libver").after("LIB-VER")],
                )]),
            Spec::new("client|setname", AtGateway(ClientSetName), 3, &[NoScript, Loading, Stale])
                .categories(&["connection"])
                .group("connection")
                .since("2.6.9")
                .summary("Names this connection")
                .arguments(&[string("connection-name")]),
        ]),
    Spec::new("echo", AtGateway(Echo), 2, &[Loading, Stale, Fast])
        .categories(&["connection"])
        .group("connection")
        .summary("Answers its argument")
        .arguments(&[string("message")]),
    Spec::new("hello", AtGateway(Hello), -1, &[NoScript, Loading, Stale, Fast, NoAuth, AllowBusy])
        .categories(&["connection"])
        .group("connection")
        .since("6.0.0")
        .summary("Chooses the protocol version")
        .arguments(&[block(
            "arguments",
            &[
                integer("protover"),
                block("username_password", &[string("username"), string("password")]).after("AUTH").optional(),
                string("clientname").after("SETNAME").optional(),
            ],
        )
        .optional()]),
    Spec::new("ping", AtGateway(Ping), -1, &[Fast])
        .categories(&["connection"])
        .group("connection")
        .summary("Answers PONG or its argument")
        .arguments(&[string("message").optional()])
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
    Spec::new("quit", AtGateway(Quit), -1, &[NoScript, Loading, Stale, Fast, NoAuth, AllowBusy])
        .categories(&["connection"])
        .group("connection")
        .summary("Closes the connection"),
    Spec::new("reset", AtGateway(Reset), 1, &[NoScript, Loading, Stale, Fast, NoAuth, AllowBusy])
        .categories(&["connection"])
        .group("connection")
        .since("6.2.0")
        .summary("Makes the connection as it was when it was opened"),
    Spec::new("select", AtGateway(Select), 2, &[Loading, Stale, Fast])
        .categories(&["connection"])
        .group("connection")
        .summary("Chooses the database of this connection")
        .arguments(&[integer("index")]),
];
