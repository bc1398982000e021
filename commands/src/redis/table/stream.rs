//! Commands on streams.

use super::super::arguments::{Argument, KEY, KEYS, block, integer, one_of, string, token, unix_time};
use super::Flag::*;
use super::GatewayCommand::Describe;
use super::KeyCommand::Stream;
use super::Place::{AtGateway, AtLeader, Container};
use super::StreamCommand::*;
use super::{KeySpec, Spec};

const STRATEGY: Argument = one_of("strategy", &[token("maxlen", "MAXLEN"), token("minid", "MINID")]);
const OPERATOR: Argument = one_of("operator", &[token("equal", "="), token("approximately", "~")]).optional();
const TRIM: Argument =
    block("trim", &[STRATEGY, OPERATOR, string("threshold"), integer("count").after("LIMIT").optional()]);
const STREAMS: Argument = block("streams", &[KEYS, string("id").multiple()]).after("STREAMS");
const NEW_OR_ID: Argument = one_of("id", &[string("id"), token("new_id", "$")]);

const fn of_streams(spec: Spec) -> Spec {
    spec.categories(&["stream"]).group("stream").since("5.0.0")
}

/// In alphabetical order.
pub(super) const COMMANDS: &[Spec] = &[
    of_streams(Spec::new("xack", AtLeader(Stream(XAck)), -4, &[Write, Fast]))
        .keys(&[KeySpec::one(&["RW", "update"])])
        .complexity("O(N) where N is the number of ids")
        .summary("Acknowledges entries that were delivered to a group")
        .arguments(&[KEY, string("group"), string("id").multiple()]),
    of_streams(Spec::new("xadd", AtLeader(Stream(XAdd)), -5, &[Write, DenyOom, Fast]))
        .keys(&[
            KeySpec::one(&["RW", "update"]).notes("UPDATE instead of INSERT because of the optional trimming feature")
        ])
        .complexity("O(1) to add, O(N) to trim N entries")
        .summary("Adds an entry to a stream")
        .arguments(&[
            KEY,
            token("nomkstream", "NOMKSTREAM").optional(),
            TRIM.optional(),
            one_of("id_or_auto", &[token("auto_id", "*"), string("id")]),
            block("field_value", &[string("field"), string("value")]).multiple(),
        ])
        .tips(&["nondeterministic_output"]),
    of_streams(Spec::new("xautoclaim", AtLeader(Stream(XAutoClaim)), -6, &[Write, Fast]))
        .keys(&[KeySpec::one(&["RW", "delete"])])
        .since("6.2.0")
        .complexity("O(N) where N is COUNT")
        .summary("Takes over entries that have been pending for long")
        .arguments(&[
            KEY,
            string("group"),
            string("consumer"),
            string("min-idle-time"),
            string("start"),
            integer("count").after("COUNT").optional(),
            token("justid", "JUSTID").optional(),
        ])
        .tips(&["nondeterministic_output"]),
    of_streams(Spec::new("xclaim", AtLeader(Stream(XClaim)), -6, &[Write, Fast]))
        .keys(&[KeySpec::one(&["RW", "update"])])
        .complexity("O(N) where N is the number of ids")
        .summary("Takes over pending entries for a consumer")
        .arguments(&[
            KEY,
            string("group"),
            string("consumer"),
            string("min-idle-time"),
            string("id").multiple(),
            integer("ms").after("IDLE").optional(),
            unix_time("unix-time-milliseconds").after("TIME").optional(),
            integer("count").after("RETRYCOUNT").optional(),
            token("force", "FORCE").optional(),
            token("justid", "JUSTID").optional(),
            string("id").after("LASTID").optional(),
        ])
        .tips(&["nondeterministic_output"]),
    of_streams(Spec::new("xdel", AtLeader(Stream(XDel)), -3, &[Write, Fast]))
        .keys(&[KeySpec::one(&["RW", "delete"])])
        .complexity("O(N) where N is the number of ids")
        .summary("Removes entries of a stream")
        .arguments(&[KEY, string("id").multiple()]),
    Spec::new("xgroup", Container, -2, &[])
        .group("stream")
        .since("5.0.0")
        .complexity("Depends on subcommand.")
        .summary("Commands about groups of consumers")
        .subcommands(&[
            of_streams(Spec::new("xgroup|create", AtLeader(Stream(XGroupCreate)), -5, &[Write, DenyOom]))
                .keys(&[KeySpec::at(2, &["RW", "insert"])])
                .summary("Creates a group")
                .arguments(&[
                    KEY,
                    string("groupname"),
                    NEW_OR_ID,
                    token("mkstream", "MKSTREAM").optional(),
                    integer("entries_read").after("ENTRIESREAD").optional(),
                ]),
            of_streams(Spec::new(
                "xgroup|createconsumer",
                AtLeader(Stream(XGroupCreateConsumer)),
                5,
                &[Write, DenyOom],
            ))
            .keys(&[KeySpec::at(2, &["RW", "insert"])])
            .since("6.2.0")
            .summary("Creates a consumer in a group")
            .arguments(&[KEY, string("groupname"), string("consumername")]),
            of_streams(Spec::new("xgroup|delconsumer", AtLeader(Stream(XGroupDelConsumer)), 5, &[Write]))
                .keys(&[KeySpec::at(2, &["RW", "delete"])])
                .complexity("O(N) where N is the number of entries that are pending for it")
                .summary("Removes a consumer from a group")
                .arguments(&[KEY, string("groupname"), string("consumername")]),
            of_streams(Spec::new("xgroup|destroy", AtLeader(Stream(XGroupDestroy)), 4, &[Write]))
                .keys(&[KeySpec::at(2, &["RW", "delete"])])
                .complexity("O(N) where N is the number of entries that are pending in it")
                .summary("Removes a group")
                .arguments(&[KEY, string("groupname")]),
            of_streams(Spec::new("xgroup|help", AtGateway(Describe), 2, &[Loading, Stale]))
                .summary("Lists the subcommands"),
            of_streams(Spec::new("xgroup|setid", AtLeader(Stream(XGroupSetId)), -5, &[Write]))
                .keys(&[KeySpec::at(2, &["RW", "update"])])
                .summary("Sets the last id that a group has read")
                .arguments(&[
                    KEY,
                    string("groupname"),
                    NEW_OR_ID,
                    integer("entries_read").after("ENTRIESREAD").optional(),
                ]),
        ]),
    Spec::new("xinfo", Container, -2, &[])
        .group("stream")
        .since("5.0.0")
        .complexity("Depends on subcommand.")
        .summary("Tells about streams, groups and consumers")
        .subcommands(&[
            of_streams(Spec::new("xinfo|consumers", AtLeader(Stream(XInfoConsumers)), 4, &[ReadOnly]))
                .keys(&[KeySpec::at(2, &["RO", "access"])])
                .complexity("O(N) where N is the number of consumers")
                .summary("Lists the consumers of a group")
                .arguments(&[KEY, string("groupname")])
                .tips(&["nondeterministic_output"]),
            of_streams(Spec::new("xinfo|groups", AtLeader(Stream(XInfoGroups)), 3, &[ReadOnly]))
                .keys(&[KeySpec::at(2, &["RO", "access"])])
                .complexity("O(N) where N is the number of groups")
                .summary("Lists the groups of a stream")
                .arguments(&[KEY]),
            of_streams(Spec::new("xinfo|help", AtGateway(Describe), 2, &[Loading, Stale]))
                .summary("Lists the subcommands"),
            of_streams(Spec::new("xinfo|stream", AtLeader(Stream(XInfoStream)), -3, &[ReadOnly]))
                .keys(&[KeySpec::at(2, &["RO", "access"])])
                .summary("Tells about a stream")
                .arguments(&[
                    KEY,
                    block("full", &[integer("count").after("COUNT").optional()]).after("FULL").optional(),
                ]),
        ]),
    of_streams(Spec::new("xlen", AtLeader(Stream(XLen)), 2, &[ReadOnly, Fast]))
        .keys(&[KeySpec::one(&["RO"])])
        .summary("Counts the entries of a stream")
        .arguments(&[KEY]),
    of_streams(Spec::new("xpending", AtLeader(Stream(XPending)), -3, &[ReadOnly]))
        .keys(&[KeySpec::one(&["RO", "access"])])
        .complexity("O(N) where N is the number of entries listed; with IDLE, looked at; of the summary, of consumers")
        .summary("Lists what was delivered to a group and not acknowledged")
        .arguments(&[
            KEY,
            string("group"),
            block(
                "filters",
                &[
                    integer("min-idle-time").after("IDLE").optional(),
                    string("start"),
                    string("end"),
                    integer("count"),
                    string("consumer").optional(),
                ],
            )
            .optional(),
        ])
        .tips(&["nondeterministic_output"]),
    of_streams(Spec::new("xrange", AtLeader(Stream(XRange)), -4, &[ReadOnly]))
        .keys(&[KeySpec::one(&["RO", "access"])])
        .complexity("O(N) where N is the number of entries listed")
        .summary("Lists entries between two ids")
        .arguments(&[KEY, string("start"), string("end"), integer("count").after("COUNT").optional()]),
    of_streams(Spec::new("xread", AtLeader(Stream(XRead)), -4, &[ReadOnly, Blocking, MovableKeys]))
        .keys(&[KeySpec::streams(1, &["RO", "access"])])
        .complexity("O(N) where N is the number of entries listed")
        .summary("Reads what lies behind an id in each of some streams, and waits for it")
        .arguments(&[
            integer("count").after("COUNT").optional(),
            integer("milliseconds").after("BLOCK").optional(),
            STREAMS,
        ]),
    of_streams(Spec::new("xreadgroup", AtLeader(Stream(XReadGroup)), -7, &[Write, Blocking, MovableKeys]))
        .keys(&[KeySpec::streams(4, &["RO", "access"])])
        .complexity("O(N) where N is the number of entries listed")
        .summary("Reads what nobody in a group has read, or what is pending for a consumer, and waits for it")
        .arguments(&[
            block("group_consumer", &[string("group"), string("consumer")]).after("GROUP"),
            integer("count").after("COUNT").optional(),
            integer("milliseconds").after("BLOCK").optional(),
            token("noack", "NOACK").optional(),
            STREAMS,
        ]),
    of_streams(Spec::new("xrevrange", AtLeader(Stream(XRevRange)), -4, &[ReadOnly]))
        .keys(&[KeySpec::one(&["RO", "access"])])
        .complexity("O(N) where N is the number of entries listed")
        .summary("Lists entries between two ids, the last first")
        .arguments(&[KEY, string("end"), string("start"), integer("count").after("COUNT").optional()]),
    of_streams(Spec::new("xsetid", AtLeader(Stream(XSetId)), -3, &[Write, DenyOom, Fast]))
        .keys(&[KeySpec::one(&["RW", "update"])])
        .summary("Sets the last id of a stream")
        .arguments(&[
            KEY,
            string("last-id"),
            integer("entries_added").after("ENTRIESADDED").optional(),
            string("max_deleted_entry_id").after("MAXDELETEDID").optional(),
        ]),
    of_streams(Spec::new("xtrim", AtLeader(Stream(XTrim)), -4, &[Write]))
        .keys(&[KeySpec::one(&["RW", "delete"])])
        .complexity("O(N) where N is the number of entries removed")
        .summary("Removes the oldest entries of a stream")
        .arguments(&[KEY, TRIM])
        .tips(&["nondeterministic_output"]),
];
