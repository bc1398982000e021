//! Commands on keys of any type.

use super::super::arguments::{
    Argument, EXPIRE_CONDITION, KEY, KEYS, block, integer, key, key_pattern, one_of, pattern, second_key, string,
    third_key, token, unix_time,
};
use super::DatabaseCommand::*;
use super::Flag::*;
use super::GatewayCommand::Describe;
use super::KeyCommand::*;
use super::Place::{AtGateway, AtLeader, Container, OverDatabase};
use super::{KeySpec, Spec};

const SORT_PATTERNS_NOTES: &str = "For the optional BY/GET keyword. It is marked 'unknown' because the key names derive \
                                   from the content of the key we sort";
const SORT_BY: Argument = key_pattern("pattern").after("BY").optional();
const SORT_LIMIT: Argument = block("offset_count", &[integer("offset"), integer("count")]).after("LIMIT").optional();
const SORT_GET: Argument = key_pattern("pattern").after("GET").optional().multiple().with_token_each();
const SORT_ORDER: Argument = one_of("order", &[token("asc", "ASC"), token("desc", "DESC")]).optional();

/// In alphabetical order.
pub(super) const COMMANDS: &[Spec] = &[
    Spec::new("copy", AtLeader(Copy), -3, &[Write, DenyOom])
        .keys(&[KeySpec::one(&["RO", "access"]), KeySpec::at(2, &["OW", "update"])])
        .categories(&["keyspace"])
        .group("generic")
        .since("6.2.0")
        .complexity("O(N) where N is the size of the value")
        .summary("Copies a key")
        .arguments(&[
            key("source"),
            second_key("destination"),
            integer("destination-db").after("DB").optional(),
            token("replace", "REPLACE").optional(),
        ]),
    Spec::new("del", AtLeader(Del), -2, &[Write])
        .keys(&[KeySpec::all(&["RM", "delete"])])
        .categories(&["keyspace"])
        .group("generic")
        .complexity("O(N) where N is the number of keys")
        .summary("Removes keys")
        .arguments(&[KEYS])
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"]),
    Spec::new("dump", AtLeader(Dump), 2, &[ReadOnly])
        .keys(&[KeySpec::one(&["RO", "access"])])
        .categories(&["keyspace"])
        .group("generic")
        .since("2.6.0")
        .complexity("O(N) where N is the size of the value")
        .summary("A value as bytes for RESTORE")
        .arguments(&[KEY])
        .tips(&["nondeterministic_output"]),
    Spec::new("exists", AtLeader(Exists), -2, &[ReadOnly, Fast])
        .keys(&[KeySpec::all(&["RO"])])
        .categories(&["keyspace"])
        .group("generic")
        .complexity("O(N) where N is the number of keys to check")
        .summary("Counts which of the keys exist")
        .arguments(&[KEYS])
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"]),
    Spec::new("expire", AtLeader(Expire), -3, &[Write, Fast])
        .keys(&[KeySpec::one(&["RW", "update"])])
        .categories(&["keyspace"])
        .group("generic")
        .summary("Lets a key expire after some seconds")
        .arguments(&[KEY, integer("seconds"), EXPIRE_CONDITION]),
    Spec::new("expireat", AtLeader(ExpireAt), -3, &[Write, Fast])
        .keys(&[KeySpec::one(&["RW", "update"])])
        .categories(&["keyspace"])
        .group("generic")
        .since("1.2.0")
        .summary("Lets a key expire at a second")
        .arguments(&[KEY, unix_time("unix-time-seconds"), EXPIRE_CONDITION]),
    Spec::new("expiretime", AtLeader(ExpireTime), 2, &[ReadOnly, Fast])
        .keys(&[KeySpec::one(&["RO", "access"])])
        .categories(&["keyspace"])
        .group("generic")
        .since("7.0.0")
        .summary("Second at which a key expires")
        .arguments(&[KEY]),
    Spec::new("keys", OverDatabase(Keys), 2, &[ReadOnly])
        .categories(&["keyspace", "dangerous"])
        .group("generic")
        .complexity("O(N) with N being the number of keys in the database")
        .summary("Lists the keys that match a pattern")
        .arguments(&[pattern("pattern")])
        .tips(&["request_policy:all_shards", "nondeterministic_output_order"]),
    Spec::new("move", AtLeader(Move), 3, &[Write, Fast])
        .keys(&[KeySpec::one(&["RW", "access", "update"])])
        .categories(&["keyspace"])
        .group("generic")
        .complexity("O(N) where N is the size of the value")
        .summary("Moves a key to another database")
        .arguments(&[KEY, integer("db")]),
    Spec::new("object", Container, -2, &[])
        .group("generic")
        .since("2.2.3")
        .complexity("Depends on the subcommand")
        .summary("About how values are kept")
        .subcommands(&[
            Spec::new("object|encoding", AtLeader(ObjectEncoding), 3, &[ReadOnly])
                .keys(&[KeySpec::at(2, &["RO"])])
                .categories(&["keyspace"])
                .group("generic")
                .since("2.2.3")
                .summary("How a value is kept")
                .arguments(&[KEY])
                .tips(&["nondeterministic_output"]),
            Spec::new("object|freq", AtLeader(ObjectFreq), 3, &[ReadOnly])
                .keys(&[KeySpec::at(2, &["RO"])])
                .categories(&["keyspace"])
                .group("generic")
                .since("4.0.0")
                .summary("How often a value is used")
                .arguments(&[KEY])
                .tips(&["nondeterministic_output"]),
            Spec::new("object|help", AtGateway(Describe), 2, &[Loading, Stale])
                .categories(&["keyspace"])
                .group("generic")
                .since("6.2.0")
                .summary("Lists the subcommands"),
            Spec::new("object|idletime", AtLeader(ObjectIdleTime), 3, &[ReadOnly])
                .keys(&[KeySpec::at(2, &["RO"])])
                .categories(&["keyspace"])
                .group("generic")
                .since("2.2.3")
                .summary("Seconds since a value was used")
                .arguments(&[KEY])
                .tips(&["nondeterministic_output"]),
            Spec::new("object|refcount", AtLeader(ObjectRefCount), 3, &[ReadOnly])
                .keys(&[KeySpec::at(2, &["RO"])])
                .categories(&["keyspace"])
                .group("generic")
                .since("2.2.3")
                .summary("How many share a value")
                .arguments(&[KEY])
                .tips(&["nondeterministic_output"]),
        ]),
    Spec::new("persist", AtLeader(Persist), 2, &[Write, Fast])
        .keys(&[KeySpec::one(&["RW", "update"])])
        .categories(&["keyspace"])
        .group("generic")
        .since("2.2.0")
        .summary("Lets a key no longer expire")
        .arguments(&[KEY]),
    Spec::new("pexpire", AtLeader(PExpire), -3, &[Write, Fast])
        .keys(&[KeySpec::one(&["RW", "update"])])
        .categories(&["keyspace"])
        .group("generic")
        .since("2.6.0")
        .summary("Lets a key expire after some milliseconds")
        .arguments(&[KEY, integer("milliseconds"), EXPIRE_CONDITION]),
    Spec::new("pexpireat", AtLeader(PExpireAt), -3, &[Write, Fast])
        .keys(&[KeySpec::one(&["RW", "update"])])
        .categories(&["keyspace"])
        .group("generic")
        .since("2.6.0")
        .summary("Lets a key expire at a millisecond")
        .arguments(&[KEY, unix_time("unix-time-milliseconds"), EXPIRE_CONDITION]),
    Spec::new("pexpiretime", AtLeader(PExpireTime), 2, &[ReadOnly, Fast])
        .keys(&[KeySpec::one(&["RO", "access"])])
        .categories(&["keyspace"])
        .group("generic")
        .since("7.0.0")
        .summary("Millisecond at which a key expires")
        .arguments(&[KEY]),
    Spec::new("pttl", AtLeader(PTtl), 2, &[ReadOnly, Fast])
        .keys(&[KeySpec::one(&["RO", "access"])])
        .categories(&["keyspace"])
        .group("generic")
        .since("2.6.0")
        .summary("Milliseconds until a key expires")
        .arguments(&[KEY])
        .tips(&["nondeterministic_output"]),
    Spec::new("randomkey", OverDatabase(RandomKey), 1, &[ReadOnly])
        .categories(&["keyspace"])
        .group("generic")
        .summary("Some key of the database")
        .tips(&["request_policy:all_shards", "nondeterministic_output"]),
    Spec::new("rename", AtLeader(Rename), 3, &[Write])
        .keys(&[KeySpec::one(&["RW", "access", "delete"]), KeySpec::at(2, &["OW", "update"])])
        .categories(&["keyspace"])
        .group("generic")
        .complexity("O(N) where N is the size of the value")
        .summary("Gives a key another name")
        .arguments(&[KEY, second_key("newkey")]),
    Spec::new("renamenx", AtLeader(RenameNx), 3, &[Write, Fast])
        .keys(&[KeySpec::one(&["RW", "access", "delete"]), KeySpec::at(2, &["OW", "insert"])])
        .categories(&["keyspace"])
        .group("generic")
        .complexity("O(N) where N is the size of the value")
        .summary("Gives a key another name that is not taken")
        .arguments(&[KEY, second_key("newkey")]),
    Spec::new("restore", AtLeader(Restore), -4, &[Write, DenyOom])
        .keys(&[KeySpec::one(&["OW", "update"])])
        .categories(&["keyspace", "dangerous"])
        .group("generic")
        .since("2.6.0")
        .complexity("O(N) where N is the size of the value, O(N*log(N)) of a sorted set")
        .summary("Makes a key of what DUMP answered")
        .arguments(&[
            KEY,
            integer("ttl"),
            string("serialized-value"),
            token("replace", "REPLACE").optional(),
            token("absttl", "ABSTTL").optional(),
            integer("seconds").after("IDLETIME").optional(),
            integer("frequency").after("FREQ").optional(),
        ]),
    Spec::new("scan", OverDatabase(Scan), -2, &[ReadOnly])
        .categories(&["keyspace"])
        .group("generic")
        .since("2.8.0")
        .summary("Lists keys step by step")
        .arguments(&[
            integer("cursor"),
            pattern("pattern").after("MATCH").optional(),
            integer("count").after("COUNT").optional(),
            string("type").after("TYPE").optional(),
        ])
        .tips(&["nondeterministic_output", "request_policy:special"]),
    Spec::new("sort", AtLeader(Sort), -2, &[Write, DenyOom, MovableKeys])
        .keys(&[
            KeySpec::one(&["RO", "access"]),
            KeySpec::unnamed(&["RO", "access"]).notes(SORT_PATTERNS_NOTES),
            KeySpec::sort_store(&["OW", "update"]).notes(
                "For the optional STORE keyword. It is marked 'unknown' because the keyword can appear anywhere in \
                 the argument array",
            ),
        ])
        .categories(&["set", "sortedset", "list", "dangerous"])
        .group("generic")
        .complexity("O(N+M*log(M)) where N is the number of elements and M the number of elements answered")
        .summary("Sorts the elements of a list, a set or a sorted set, and answers or stores them")
        .arguments(&[
            KEY,
            SORT_BY,
            SORT_LIMIT,
            SORT_GET,
            SORT_ORDER,
            token("sorting", "ALPHA").optional(),
            third_key("destination").after("STORE").optional(),
        ]),
    Spec::new("sort_ro", AtLeader(SortRo), -2, &[ReadOnly, MovableKeys])
        .keys(&[KeySpec::one(&["RO", "access"]), KeySpec::unnamed(&["RO", "access"]).notes(SORT_PATTERNS_NOTES)])
        .categories(&["set", "sortedset", "list", "dangerous"])
        .group("generic")
        .since("7.0.0")
        .complexity("O(N+M*log(M)) where N is the number of elements and M the number of elements answered")
        .summary("Sorts the elements of a list, a set or a sorted set")
        .arguments(&[KEY, SORT_BY, SORT_LIMIT, SORT_GET, SORT_ORDER, token("sorting", "ALPHA").optional()]),
    Spec::new("touch", AtLeader(Exists), -2, &[ReadOnly, Fast])
        .keys(&[KeySpec::all(&["RO"])])
        .categories(&["keyspace"])
        .group("generic")
        .since("3.2.1")
        .complexity("O(N) where N is the number of keys that will be touched")
        .summary("Counts which of the keys exist")
        .arguments(&[KEYS])
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"]),
    Spec::new("ttl", AtLeader(Ttl), 2, &[ReadOnly, Fast])
        .keys(&[KeySpec::one(&["RO", "access"])])
        .categories(&["keyspace"])
        .group("generic")
        .summary("Seconds until a key expires")
        .arguments(&[KEY])
        .tips(&["nondeterministic_output"]),
    Spec::new("type", AtLeader(Type), 2, &[ReadOnly, Fast])
        .keys(&[KeySpec::one(&["RO"])])
        .categories(&["keyspace"])
        .group("generic")
        .summary("Type of the value of a key")
        .arguments(&[KEY]),
    Spec::new("unlink", AtLeader(Del), -2, &[Write, Fast])
        .keys(&[KeySpec::all(&["RM", "delete"])])
        .categories(&["keyspace"])
        .group("generic")
        .since("4.0.0")
        .complexity("O(N) where N is the number of keys")
        .summary("Removes keys")
        .arguments(&[KEYS])
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"]),
];
