//! Commands about connections.

use super::super::arguments::{block, integer, one_of, string, token};
use super::Flag::*;
use super::GatewayCommand::*;
use super::Place::{AtGateway, Container};
use super::{ClientCommand, Spec};

/// In alphabetical order.
pub(super) const COMMANDS: &[Spec] = &[
    Spec::new("client", Container, -2, &[])
        .group("connection")
        .since("2.4.0")
        .complexity("Depends on subcommand.")
        .summary("Commands about client connections")
        .subcommands(&[
            Spec::new("client|caching", AtGateway(Client(ClientCommand::Caching)), 3, &[NoScript, Loading, Stale])
                .categories(&["connection"])
                .group("connection")
                .since("6.0.0")
                .summary("Whether the keys of the next command are tracked")
                .arguments(&[one_of("mode", &[token("yes", "YES"), token("no", "NO")])]),
            Spec::new("client|getname", AtGateway(Client(ClientCommand::GetName)), 2, &[NoScript, Loading, Stale])
                .categories(&["connection"])
                .group("connection")
                .since("2.6.9")
                .summary("Name of this connection"),
            Spec::new("client|getredir", AtGateway(Client(ClientCommand::GetRedir)), 2, &[NoScript, Loading, Stale])
                .categories(&["connection"])
                .group("connection")
                .since("6.0.0")
                .summary("Connection that gets the invalidations of this one"),
            Spec::new("client|help", AtGateway(Describe), 2, &[Loading, Stale])
                .categories(&["connection"])
                .group("connection")
                .since("5.0.0")
                .summary("Lists the subcommands"),
            Spec::new("client|id", AtGateway(Client(ClientCommand::Id)), 2, &[NoScript, Loading, Stale])
                .categories(&["connection"])
                .group("connection")
                .since("5.0.0")
                .summary("Number of this connection"),
            Spec::new("client|info", AtGateway(Client(ClientCommand::Info)), 2, &[NoScript, Loading, Stale])
                .categories(&["connection"])
                .group("connection")
                .since("6.2.0")
                .summary("Describes this connection")
                .tips(&["nondeterministic_output"]),
            Spec::new("client|kill", AtGateway(Client(ClientCommand::Kill)), -3, &[Admin, NoScript, Loading, Stale])
                .categories(&["connection"])
                .group("connection")
                .since("2.4.0")
                .complexity("O(N) where N is the number of client connections")
                .summary("Closes connections")
                .arguments(&[one_of(
                    "filter",
                    &[
                        string("ip:port"),
                        one_of(
                            "new-format",
                            &[
                                integer("client-id").after("ID").optional(),
                                one_of(
                                    "normal_master_slave_pubsub",
                                    &[
                                        token("normal", "NORMAL"),
                                        token("master", "MASTER"),
                                        token("slave", "SLAVE"),
                                        token("replica", "REPLICA"),
                                        token("pubsub", "PUBSUB"),
                                    ],
                                )
                                .after("TYPE")
                                .optional(),
                                string("username").after("USER").optional(),
                                string("ip:port").after("ADDR").optional(),
                                string("ip:port").after("LADDR").optional(),
                                string("yes/no").after("SKIPME").optional(),
                            ],
                        )
                        .multiple(),
                    ],
                )]),
            Spec::new("client|list", AtGateway(Client(ClientCommand::List)), -2, &[Admin, NoScript, Loading, Stale])
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
            Spec::new(
                "client|no-evict",
                AtGateway(Client(ClientCommand::NoEvict)),
                3,
                &[Admin, NoScript, Loading, Stale],
            )
            .categories(&["connection"])
            .group("connection")
            .since("7.0.0")
            .summary("Exempts this connection from eviction")
            .arguments(&[one_of("enabled", &[token("on", "ON"), token("off", "OFF")])]),
            Spec::new("client|pause", AtGateway(Client(ClientCommand::Pause)), -3, &[Admin, NoScript, Loading, Stale])
                .categories(&["connection"])
                .group("connection")
                .since("2.9.50")
                .summary("Lets commands of clients wait")
                .arguments(&[
                    integer("timeout"),
                    one_of("mode", &[token("write", "WRITE"), token("all", "ALL")]).optional(),
                ]),
            Spec::new("client|reply", AtGateway(Client(ClientCommand::Reply)), 3, &[NoScript, Loading, Stale])
                .categories(&["connection"])
                .group("connection")
                .since("3.2.0")
                .summary("Whether this connection gets replies")
                .arguments(&[one_of("on_off_skip", &[token("on", "ON"), token("off", "OFF"), token("skip", "SKIP")])]),
            // Of Redis 7.2, but client libraries send it to every server.
            Spec::new("client|setinfo", AtGateway(Client(ClientCommand::SetInfo)), 4, &[NoScript, Loading, Stale])
                .categories(&["connection"])
                .group("connection")
                .since("7.2.0")
                .summary("Names the library that made this connection")
                .arguments(&[one_of(
                    "attr",
                    &[string("libname").after("LIB-NAME"), string("libver").after("LIB-VER")],
                )]),
            Spec::new("client|setname", AtGateway(Client(ClientCommand::SetName)), 3, &[NoScript, Loading, Stale])
                .categories(&["connection"])
                .group("connection")
                .since("2.6.9")
                .summary("Names this connection")
                .arguments(&[string("connection-name")]),
            Spec::new("client|tracking", AtGateway(Client(ClientCommand::Tracking)), -3, &[NoScript, Loading, Stale])
                .categories(&["connection"])
                .group("connection")
                .since("6.0.0")
                .complexity("O(1). Some options may introduce additional complexity.")
                .summary("Whether this connection hears when keys that it has read change")
                .arguments(&[
                    one_of("status", &[token("on", "ON"), token("off", "OFF")]),
                    integer("client-id").after("REDIRECT").optional(),
                    string("prefix").after("PREFIX").optional().multiple().with_token_each(),
                    token("bcast", "BCAST").optional(),
                    token("optin", "OPTIN").optional(),
                    token("optout", "OPTOUT").optional(),
                    token("noloop", "NOLOOP").optional(),
                ]),
            Spec::new(
                "client|trackinginfo",
                AtGateway(Client(ClientCommand::TrackingInfo)),
                2,
                &[NoScript, Loading, Stale],
            )
            .categories(&["connection"])
            .group("connection")
            .since("6.2.0")
            .summary("Describes the tracking of this connection"),
            Spec::new(
                "client|unblock",
                AtGateway(Client(ClientCommand::Unblock)),
                -3,
                &[Admin, NoScript, Loading, Stale],
            )
            .categories(&["connection"])
            .group("connection")
            .since("5.0.0")
            .complexity("O(log N) where N is the number of client connections")
            .summary("Ends the waiting of a blocked connection")
            .arguments(&[
                integer("client-id"),
                one_of("timeout_error", &[token("timeout", "TIMEOUT"), token("error", "ERROR")]).optional(),
            ]),
            Spec::new(
                "client|unpause",
                AtGateway(Client(ClientCommand::Unpause)),
                2,
                &[Admin, NoScript, Loading, Stale],
            )
            .categories(&["connection"])
            .group("connection")
            .since("6.2.0")
            .complexity("O(N) Where N is the number of paused clients")
            .summary("Ends CLIENT PAUSE"),
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
