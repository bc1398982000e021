//! Commands on strings.

use super::super::arguments::{KEY, KEYS, PAIRS, VALUE, double, integer, key, one_of, token, unix_time};
use super::Flag::*;
use super::KeyCommand::*;
use super::Place::AtLeader;
use super::{KeySpec, Spec};

/// In alphabetical order.
pub(super) const COMMANDS: &[Spec] = &[
    Spec::new("append", AtLeader(Append), 3, &[Write, DenyOom, Fast])
        .keys(&[KeySpec::one(&["RW", "insert"])])
        .categories(&["string"])
        .group("string")
        .since("2.0.0")
        .summary("Appends to a string, which is created when it is missing")
        .arguments(&[KEY, VALUE]),
    Spec::new("decr", AtLeader(Decr), 2, &[Write, DenyOom, Fast])
        .keys(&[KeySpec::one(&["RW", "access", "update"])])
        .categories(&["string"])
        .group("string")
        .summary("Subtracts one from an integer")
        .arguments(&[KEY]),
    Spec::new("decrby", AtLeader(DecrBy), 3, &[Write, DenyOom, Fast])
        .keys(&[KeySpec::one(&["RW", "access", "update"])])
        .categories(&["string"])
        .group("string")
        .summary("Subtracts from an integer")
        .arguments(&[KEY, integer("decrement")]),
    Spec::new("get", AtLeader(Get), 2, &[ReadOnly, Fast])
        .keys(&[KeySpec::one(&["RO", "access"])])
        .categories(&["string"])
        .group("string")
        .summary("Reads a string")
        .arguments(&[KEY]),
    Spec::new("getdel", AtLeader(GetDel), 2, &[Write, Fast])
        .keys(&[KeySpec::one(&["RW", "access", "delete"])])
        .categories(&["string"])
        .group("string")
        .since("6.2.0")
        .summary("Reads a string and removes its key")
        .arguments(&[KEY]),
    Spec::new("getex", AtLeader(GetEx), -2, &[Write, Fast])
        .keys(&[KeySpec::one(&["RW", "access", "update"]).notes("RW and UPDATE because it changes the TTL")])
        .categories(&["string"])
        .group("string")
        .since("6.2.0")
        .summary("Reads a string and changes when it expires")
        .arguments(&[
            KEY,
            one_of(
                "expiration",
                &[
                    integer("seconds").after("EX"),
                    integer("milliseconds").after("PX"),
                    unix_time("unix-time-seconds").after("EXAT"),
                    unix_time("unix-time-milliseconds").after("PXAT"),
                    token("persist", "PERSIST"),
                ],
            )
            .optional(),
        ]),
    Spec::new("getrange", AtLeader(GetRange), 4, &[ReadOnly])
        .keys(&[KeySpec::one(&["RO", "access"])])
        .categories(&["string"])
        .group("string")
        .since("2.4.0")
        .complexity("O(N) where N is the length of the returned string")
        .summary("Reads a part of a string")
        .arguments(&[KEY, integer("start"), integer("end")]),
    Spec::new("getset", AtLeader(GetSet), 3, &[Write, DenyOom, Fast])
        .keys(&[KeySpec::one(&["RW", "access", "update"])])
        .categories(&["string"])
        .group("string")
        .summary("Writes a string and answers the one before")
        .arguments(&[KEY, VALUE])
        .deprecated("6.2.0", "`SET` with the `!GET` argument"),
    Spec::new("incr", AtLeader(Incr), 2, &[Write, DenyOom, Fast])
        .keys(&[KeySpec::one(&["RW", "access", "update"])])
        .categories(&["string"])
        .group("string")
        .summary("Adds one to an integer")
        .arguments(&[KEY]),
    Spec::new("incrby", AtLeader(IncrBy), 3, &[Write, DenyOom, Fast])
        .keys(&[KeySpec::one(&["RW", "access", "update"])])
        .categories(&["string"])
        .group("string")
        .summary("Adds to an integer")
        .arguments(&[KEY, integer("increment")]),
    Spec::new("incrbyfloat", AtLeader(IncrByFloat), 3, &[Write, DenyOom, Fast])
        .keys(&[KeySpec::one(&["RW", "access", "update"])])
        .categories(&["string"])
        .group("string")
        .since("2.6.0")
        .summary("Adds to a decimal number")
        .arguments(&[KEY, double("increment")]),
    Spec::new("lcs", AtLeader(Lcs), -3, &[ReadOnly])
        .keys(&[KeySpec::range(1, 1, 1, &["RO", "access"])])
        .categories(&["string"])
        .group("string")
        .since("7.0.0")
        .complexity("O(N*M) for strings of N and M bytes")
        .summary("Longest common subsequence of two strings")
        .arguments(&[
            key("key1"),
            key("key2"),
            token("len", "LEN").optional(),
            token("idx", "IDX").optional(),
            integer("len").after("MINMATCHLEN").optional(),
            token("withmatchlen", "WITHMATCHLEN").optional(),
        ]),
    Spec::new("mget", AtLeader(MGet), -2, &[ReadOnly, Fast])
        .keys(&[KeySpec::all(&["RO", "access"])])
        .categories(&["string"])
        .group("string")
        .complexity("O(N) where N is the number of keys to retrieve")
        .summary("Reads several strings")
        .arguments(&[KEYS])
        .tips(&["request_policy:multi_shard"]),
    Spec::new("mset", AtLeader(MSet), -3, &[Write, DenyOom])
        .keys(&[KeySpec::range(1, -1, 2, &["OW", "update"])])
        .categories(&["string"])
        .group("string")
        .since("1.0.1")
        .complexity("O(N) where N is the number of keys to set")
        .summary("Writes several strings, all at one moment")
        .arguments(&[PAIRS])
        .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"]),
    Spec::new("msetnx", AtLeader(MSetNx), -3, &[Write, DenyOom])
        .keys(&[KeySpec::range(1, -1, 2, &["OW", "insert"])])
        .categories(&["string"])
        .group("string")
        .since("1.0.1")
        .complexity("O(N) where N is the number of keys to set")
        .summary("Writes several strings if none of the keys exists")
        .arguments(&[PAIRS])
        .tips(&["request_policy:multi_shard", "response_policy:agg_min"]),
    Spec::new("psetex", AtLeader(PSetEx), 4, &[Write, DenyOom])
        .keys(&[KeySpec::one(&["OW", "update"])])
        .categories(&["string"])
        .group("string")
        .since("2.6.0")
        .summary("Writes a string that expires after some milliseconds")
        .arguments(&[KEY, integer("milliseconds"), VALUE]),
    Spec::new("set", AtLeader(Set), -3, &[Write, DenyOom])
        .keys(&[KeySpec::one(&["RW", "access", "update", "variable_flags"])
            .notes("RW and ACCESS due to the optional `GET` argument")])
        .categories(&["string"])
        .group("string")
        .summary("Writes a string, on conditions and with an expiry if asked")
        .arguments(&[
            KEY,
            VALUE,
            one_of("condition", &[token("nx", "NX"), token("xx", "XX")]).optional(),
            token("get", "GET").optional(),
            one_of(
                "expiration",
                &[
                    integer("seconds").after("EX"),
                    integer("milliseconds").after("PX"),
                    unix_time("unix-time-seconds").after("EXAT"),
                    unix_time("unix-time-milliseconds").after("PXAT"),
                    token("keepttl", "KEEPTTL"),
                ],
            )
            .optional(),
        ]),
    Spec::new("setex", AtLeader(SetEx), 4, &[Write, DenyOom])
        .keys(&[KeySpec::one(&["OW", "update"])])
        .categories(&["string"])
        .group("string")
        .since("2.0.0")
        .summary("Writes a string that expires after some seconds")
        .arguments(&[KEY, integer("seconds"), VALUE]),
    Spec::new("setnx", AtLeader(SetNx), 3, &[Write, DenyOom, Fast])
        .keys(&[KeySpec::one(&["OW", "insert"])])
        .categories(&["string"])
        .group("string")
        .summary("Writes a string if its key does not exist")
        .arguments(&[KEY, VALUE]),
    Spec::new("setrange", AtLeader(SetRange), 4, &[Write, DenyOom])
        .keys(&[KeySpec::one(&["RW", "update"])])
        .categories(&["string"])
        .group("string")
        .since("2.2.0")
        .summary("Writes over a part of a string")
        .arguments(&[KEY, integer("offset"), VALUE]),
    Spec::new("strlen", AtLeader(StrLen), 2, &[ReadOnly, Fast])
        .keys(&[KeySpec::one(&["RO"])])
        .categories(&["string"])
        .group("string")
        .since("2.2.0")
        .summary("Length of a string")
        .arguments(&[KEY]),
    Spec::new("substr", AtLeader(GetRange), 4, &[ReadOnly])
        .keys(&[KeySpec::one(&["RO", "access"])])
        .categories(&["string"])
        .group("string")
        .complexity("O(N) where N is the length of the returned string")
        .summary("Reads a part of a string")
        .arguments(&[KEY, integer("start"), integer("end")])
        .deprecated("2.0.0", "`GETRANGE`"),
];
