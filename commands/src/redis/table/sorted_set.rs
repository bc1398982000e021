//! Commands on sorted sets.

use super::super::arguments::{KEY, KEYS, block, double, integer, key, one_of, pattern, second_key, string, token};
use super::Flag::*;
use super::KeyCommand::SortedSet;
use super::Place::AtLeader;
use super::SortedSetCommand::*;
use super::{KeySpec, Spec};

/// In alphabetical order.
pub(super) const COMMANDS: &[Spec] = &[
    Spec::new("bzmpop", AtLeader(SortedSet(BZMPop)), -5, &[Write, Blocking, MovableKeys])
        .keys(&[KeySpec::counted(2, &["RW", "access", "delete"])])
        .categories(&["sortedset"])
        .group("sorted-set")
        .since("7.0.0")
        .complexity("O(K)+O(M*log(N)) for K keys, M members taken of a sorted set of size N")
        .summary("Takes members off the first sorted set that has any, and waits for one")
        .arguments(&[
            double("timeout"),
            integer("numkeys"),
            KEY.multiple(),
            one_of("where", &[token("min", "MIN"), token("max", "MAX")]),
            integer("count").after("COUNT").optional(),
        ]),
    Spec::new("bzpopmax", AtLeader(SortedSet(BZPopMax)), -3, &[Write, NoScript, Blocking, Fast])
        .keys(&[KeySpec::all_but_last(&["RW", "access", "delete"])])
        .categories(&["sortedset"])
        .group("sorted-set")
        .since("5.0.0")
        .complexity("O(log(N)) for a sorted set of size N")
        .summary("Takes the member with the highest score off the first sorted set that has any, and waits for one")
        .arguments(&[KEYS, double("timeout")]),
    Spec::new("bzpopmin", AtLeader(SortedSet(BZPopMin)), -3, &[Write, NoScript, Blocking, Fast])
        .keys(&[KeySpec::all_but_last(&["RW", "access", "delete"])])
        .categories(&["sortedset"])
        .group("sorted-set")
        .since("5.0.0")
        .complexity("O(log(N)) for a sorted set of size N")
        .summary("Takes the member with the lowest score off the first sorted set that has any, and waits for one")
        .arguments(&[KEYS, double("timeout")]),
    Spec::new("zadd", AtLeader(SortedSet(ZAdd)), -4, &[Write, DenyOom, Fast])
        .keys(&[KeySpec::one(&["RW", "update"])])
        .categories(&["sortedset"])
        .group("sorted-set")
        .since("1.2.0")
        .complexity("O(log(N)) for each member, where N is the size of the sorted set")
        .summary("Adds members with scores to a sorted set, or changes their scores")
        .arguments(&[
            KEY,
            one_of("condition", &[token("nx", "NX"), token("xx", "XX")]).optional(),
            one_of("comparison", &[token("gt", "GT"), token("lt", "LT")]).optional(),
            token("change", "CH").optional(),
            token("increment", "INCR").optional(),
            block("score_member", &[double("score"), string("member")]).multiple(),
        ]),
    Spec::new("zcard", AtLeader(SortedSet(ZCard)), 2, &[ReadOnly, Fast])
        .keys(&[KeySpec::one(&["RO"])])
        .categories(&["sortedset"])
        .group("sorted-set")
        .since("1.2.0")
        .summary("Counts the members of a sorted set")
        .arguments(&[KEY]),
    Spec::new("zcount", AtLeader(SortedSet(ZCount)), 4, &[ReadOnly, Fast])
        .keys(&[KeySpec::one(&["RO", "access"])])
        .categories(&["sortedset"])
        .group("sorted-set")
        .since("2.0.0")
        .complexity("O(log(N)) where N is the size of the sorted set")
        .summary("Counts the members with scores in an interval")
        .arguments(&[KEY, double("min"), double("max")]),
    Spec::new("zdiff", AtLeader(SortedSet(ZDiff)), -3, &[ReadOnly, MovableKeys])
        .keys(&[KeySpec::counted(1, &["RO", "access"])])
        .categories(&["sortedset"])
        .group("sorted-set")
        .since("6.2.0")
        .complexity("O(N) where N is the size of all sorted sets together")
        .summary("Members of the first sorted set that no other has")
        .arguments(&[integer("numkeys"), KEY.multiple(), token("withscores", "WITHSCORES").optional()]),
    Spec::new("zdiffstore", AtLeader(SortedSet(ZDiffStore)), -4, &[Write, DenyOom, MovableKeys])
        .keys(&[KeySpec::one(&["OW", "update"]), KeySpec::counted(2, &["RO", "access"])])
        .categories(&["sortedset"])
        .group("sorted-set")
        .since("6.2.0")
        .complexity("O(N*log(N)) where N is the size of all sorted sets together")
        .summary("Stores the members of the first sorted set that no other has")
        .arguments(&[key("destination"), integer("numkeys"), second_key("key").multiple()]),
    Spec::new("zincrby", AtLeader(SortedSet(ZIncrBy)), 4, &[Write, DenyOom, Fast])
        .keys(&[KeySpec::one(&["RW", "access", "update"])])
        .categories(&["sortedset"])
        .group("sorted-set")
        .since("1.2.0")
        .complexity("O(log(N)) where N is the size of the sorted set")
        .summary("Adds to the score of a member")
        .arguments(&[KEY, integer("increment"), string("member")]),
    Spec::new("zinter", AtLeader(SortedSet(ZInter)), -3, &[ReadOnly, MovableKeys])
        .keys(&[KeySpec::counted(1, &["RO", "access"])])
        .categories(&["sortedset"])
        .group("sorted-set")
        .since("6.2.0")
        .complexity("O(N*K)+O(M*log(M)) for K sorted sets, the smallest of size N, and M members found")
        .summary("Members that all sorted sets have, scores put together")
        .arguments(&[
            integer("numkeys"),
            KEY.multiple(),
            integer("weight").after("WEIGHTS").optional().multiple(),
            one_of("aggregate", &[token("sum", "SUM"), token("min", "MIN"), token("max", "MAX")])
                .after("AGGREGATE")
                .optional(),
            token("withscores", "WITHSCORES").optional(),
        ]),
    Spec::new("zintercard", AtLeader(SortedSet(ZInterCard)), -3, &[ReadOnly, MovableKeys])
        .keys(&[KeySpec::counted(1, &["RO", "access"])])
        .categories(&["sortedset"])
        .group("sorted-set")
        .since("7.0.0")
        .complexity("O(N*K) for K sorted sets, the smallest of size N")
        .summary("Counts the members that all sorted sets have")
        .arguments(&[integer("numkeys"), KEY.multiple(), integer("limit").after("LIMIT").optional()]),
    Spec::new("zinterstore", AtLeader(SortedSet(ZInterStore)), -4, &[Write, DenyOom, MovableKeys])
        .keys(&[KeySpec::one(&["OW", "update"]), KeySpec::counted(2, &["RO", "access"])])
        .categories(&["sortedset"])
        .group("sorted-set")
        .since("2.0.0")
        .complexity("O(N*K)+O(M*log(M)) for K sorted sets, the smallest of size N, and M members found")
        .summary("Stores the members that all sorted sets have, scores put together")
        .arguments(&[
            key("destination"),
            integer("numkeys"),
            second_key("key").multiple(),
            integer("weight").after("WEIGHTS").optional().multiple(),
            one_of("aggregate", &[token("sum", "SUM"), token("min", "MIN"), token("max", "MAX")])
                .after("AGGREGATE")
                .optional(),
        ]),
    Spec::new("zlexcount", AtLeader(SortedSet(ZLexCount)), 4, &[ReadOnly, Fast])
        .keys(&[KeySpec::one(&["RO", "access"])])
        .categories(&["sortedset"])
        .group("sorted-set")
        .since("2.8.9")
        .complexity("O(log(N)) where N is the size of the sorted set")
        .summary("Counts the members in an interval of names")
        .arguments(&[KEY, string("min"), string("max")]),
    Spec::new("zmpop", AtLeader(SortedSet(ZMPop)), -4, &[Write, MovableKeys])
        .keys(&[KeySpec::counted(1, &["RW", "access", "delete"])])
        .categories(&["sortedset"])
        .group("sorted-set")
        .since("7.0.0")
        .complexity("O(K)+O(M*log(N)) for K keys, M members taken of a sorted set of size N")
        .summary("Takes members off the first sorted set that has any")
        .arguments(&[
            integer("numkeys"),
            KEY.multiple(),
            one_of("where", &[token("min", "MIN"), token("max", "MAX")]),
            integer("count").after("COUNT").optional(),
        ]),
    Spec::new("zmscore", AtLeader(SortedSet(ZMScore)), -3, &[ReadOnly, Fast])
        .keys(&[KeySpec::one(&["RO", "access"])])
        .categories(&["sortedset"])
        .group("sorted-set")
        .since("6.2.0")
        .complexity("O(N) where N is the number of members")
        .summary("Scores of several members")
        .arguments(&[KEY, string("member").multiple()]),
    Spec::new("zpopmax", AtLeader(SortedSet(ZPopMax)), -2, &[Write, Fast])
        .keys(&[KeySpec::one(&["RW", "access", "delete"])])
        .categories(&["sortedset"])
        .group("sorted-set")
        .since("5.0.0")
        .complexity("O(M*log(N)) for M members taken of a sorted set of size N")
        .summary("Takes off the members with the highest scores")
        .arguments(&[KEY, integer("count").optional()]),
    Spec::new("zpopmin", AtLeader(SortedSet(ZPopMin)), -2, &[Write, Fast])
        .keys(&[KeySpec::one(&["RW", "access", "delete"])])
        .categories(&["sortedset"])
        .group("sorted-set")
        .since("5.0.0")
        .complexity("O(M*log(N)) for M members taken of a sorted set of size N")
        .summary("Takes off the members with the lowest scores")
        .arguments(&[KEY, integer("count").optional()]),
    Spec::new("zrandmember", AtLeader(SortedSet(ZRandMember)), -2, &[ReadOnly])
        .keys(&[KeySpec::one(&["RO", "access"])])
        .categories(&["sortedset"])
        .group("sorted-set")
        .since("6.2.0")
        .complexity("O(N) where N is the number of members picked")
        .summary("Picks members of a sorted set at random")
        .arguments(&[
            KEY,
            block("options", &[integer("count"), token("withscores", "WITHSCORES").optional()]).optional(),
        ])
        .tips(&["nondeterministic_output"]),
    Spec::new("zrange", AtLeader(SortedSet(ZRange)), -4, &[ReadOnly])
        .keys(&[KeySpec::one(&["RO", "access"])])
        .categories(&["sortedset"])
        .group("sorted-set")
        .since("1.2.0")
        .complexity("O(log(N)+M) for M members of a sorted set of size N")
        .summary("Members in an interval of ranks, scores or names")
        .arguments(&[
            KEY,
            string("start"),
            string("stop"),
            one_of("sortby", &[token("byscore", "BYSCORE"), token("bylex", "BYLEX")]).optional(),
            token("rev", "REV").optional(),
            block("offset_count", &[integer("offset"), integer("count")]).after("LIMIT").optional(),
            token("withscores", "WITHSCORES").optional(),
        ]),
    Spec::new("zrangebylex", AtLeader(SortedSet(ZRangeByLex)), -4, &[ReadOnly])
        .keys(&[KeySpec::one(&["RO", "access"])])
        .categories(&["sortedset"])
        .group("sorted-set")
        .since("2.8.9")
        .complexity("O(log(N)+M) for M members of a sorted set of size N")
        .summary("Members in an interval of names")
        .arguments(&[
            KEY,
            string("min"),
            string("max"),
            block("offset_count", &[integer("offset"), integer("count")]).after("LIMIT").optional(),
        ])
        .deprecated("6.2.0", "`ZRANGE` with the `BYLEX` argument"),
    Spec::new("zrangebyscore", AtLeader(SortedSet(ZRangeByScore)), -4, &[ReadOnly])
        .keys(&[KeySpec::one(&["RO", "access"])])
        .categories(&["sortedset"])
        .group("sorted-set")
        .since("1.0.5")
        .complexity("O(log(N)+M) for M members of a sorted set of size N")
        .summary("Members in an interval of scores")
        .arguments(&[
            KEY,
            double("min"),
            double("max"),
            token("withscores", "WITHSCORES").optional(),
            block("offset_count", &[integer("offset"), integer("count")]).after("LIMIT").optional(),
        ])
        .deprecated("6.2.0", "`ZRANGE` with the `BYSCORE` argument"),
    Spec::new("zrangestore", AtLeader(SortedSet(ZRangeStore)), -5, &[Write, DenyOom])
        .keys(&[KeySpec::one(&["OW", "update"]), KeySpec::at(2, &["RO", "access"])])
        .categories(&["sortedset"])
        .group("sorted-set")
        .since("6.2.0")
        .complexity("O(log(N)+M) for M members of a sorted set of size N")
        .summary("Stores the members in an interval of ranks, scores or names")
        .arguments(&[
            key("dst"),
            second_key("src"),
            string("min"),
            string("max"),
            one_of("sortby", &[token("byscore", "BYSCORE"), token("bylex", "BYLEX")]).optional(),
            token("rev", "REV").optional(),
            block("offset_count", &[integer("offset"), integer("count")]).after("LIMIT").optional(),
        ]),
    Spec::new("zrank", AtLeader(SortedSet(ZRank)), 3, &[ReadOnly, Fast])
        .keys(&[KeySpec::one(&["RO", "access"])])
        .categories(&["sortedset"])
        .group("sorted-set")
        .since("2.0.0")
        .complexity("O(log(N)) where N is the size of the sorted set")
        .summary("Rank of a member, the lowest score first")
        .arguments(&[KEY, string("member")]),
    Spec::new("zrem", AtLeader(SortedSet(ZRem)), -3, &[Write, Fast])
        .keys(&[KeySpec::one(&["RW", "delete"])])
        .categories(&["sortedset"])
        .group("sorted-set")
        .since("1.2.0")
        .complexity("O(M*log(N)) for M members of a sorted set of size N")
        .summary("Removes members of a sorted set")
        .arguments(&[KEY, string("member").multiple()]),
    Spec::new("zremrangebylex", AtLeader(SortedSet(ZRemRangeByLex)), 4, &[Write])
        .keys(&[KeySpec::one(&["RW", "delete"])])
        .categories(&["sortedset"])
        .group("sorted-set")
        .since("2.8.9")
        .complexity("O(M*log(N)) for M members removed of a sorted set of size N")
        .summary("Removes the members in an interval of names")
        .arguments(&[KEY, string("min"), string("max")]),
    Spec::new("zremrangebyrank", AtLeader(SortedSet(ZRemRangeByRank)), 4, &[Write])
        .keys(&[KeySpec::one(&["RW", "delete"])])
        .categories(&["sortedset"])
        .group("sorted-set")
        .since("2.0.0")
        .complexity("O(M*log(N)) for M members removed of a sorted set of size N")
        .summary("Removes the members in an interval of ranks")
        .arguments(&[KEY, integer("start"), integer("stop")]),
    Spec::new("zremrangebyscore", AtLeader(SortedSet(ZRemRangeByScore)), 4, &[Write])
        .keys(&[KeySpec::one(&["RW", "delete"])])
        .categories(&["sortedset"])
        .group("sorted-set")
        .since("1.2.0")
        .complexity("O(M*log(N)) for M members removed of a sorted set of size N")
        .summary("Removes the members in an interval of scores")
        .arguments(&[KEY, double("min"), double("max")]),
    Spec::new("zrevrange", AtLeader(SortedSet(ZRevRange)), -4, &[ReadOnly])
        .keys(&[KeySpec::one(&["RO", "access"])])
        .categories(&["sortedset"])
        .group("sorted-set")
        .since("1.2.0")
        .complexity("O(log(N)+M) for M members of a sorted set of size N")
        .summary("Members in an interval of ranks, the highest score first")
        .arguments(&[KEY, integer("start"), integer("stop"), token("withscores", "WITHSCORES").optional()])
        .deprecated("6.2.0", "`ZRANGE` with the `REV` argument"),
    Spec::new("zrevrangebylex", AtLeader(SortedSet(ZRevRangeByLex)), -4, &[ReadOnly])
        .keys(&[KeySpec::one(&["RO", "access"])])
        .categories(&["sortedset"])
        .group("sorted-set")
        .since("2.8.9")
        .complexity("O(log(N)+M) for M members of a sorted set of size N")
        .summary("Members in an interval of names, backwards")
        .arguments(&[
            KEY,
            string("max"),
            string("min"),
            block("offset_count", &[integer("offset"), integer("count")]).after("LIMIT").optional(),
        ])
        .deprecated("6.2.0", "`ZRANGE` with the `REV` and `BYLEX` arguments"),
    Spec::new("zrevrangebyscore", AtLeader(SortedSet(ZRevRangeByScore)), -4, &[ReadOnly])
        .keys(&[KeySpec::one(&["RO", "access"])])
        .categories(&["sortedset"])
        .group("sorted-set")
        .since("2.2.0")
        .complexity("O(log(N)+M) for M members of a sorted set of size N")
        .summary("Members in an interval of scores, the highest first")
        .arguments(&[
            KEY,
            double("max"),
            double("min"),
            token("withscores", "WITHSCORES").optional(),
            block("offset_count", &[integer("offset"), integer("count")]).after("LIMIT").optional(),
        ])
        .deprecated("6.2.0", "`ZRANGE` with the `REV` and `BYSCORE` arguments"),
    Spec::new("zrevrank", AtLeader(SortedSet(ZRevRank)), 3, &[ReadOnly, Fast])
        .keys(&[KeySpec::one(&["RO", "access"])])
        .categories(&["sortedset"])
        .group("sorted-set")
        .since("2.0.0")
        .complexity("O(log(N)) where N is the size of the sorted set")
        .summary("Rank of a member, the highest score first")
        .arguments(&[KEY, string("member")]),
    Spec::new("zscan", AtLeader(SortedSet(ZScan)), -3, &[ReadOnly])
        .keys(&[KeySpec::one(&["RO", "access"])])
        .categories(&["sortedset"])
        .group("sorted-set")
        .since("2.8.0")
        .complexity("O(1) for a call, O(N) for the whole")
        .summary("Lists the members of a sorted set step by step")
        .arguments(&[
            KEY,
            integer("cursor"),
            pattern("pattern").after("MATCH").optional(),
            integer("count").after("COUNT").optional(),
        ])
        .tips(&["nondeterministic_output"]),
    Spec::new("zscore", AtLeader(SortedSet(ZScore)), 3, &[ReadOnly, Fast])
        .keys(&[KeySpec::one(&["RO", "access"])])
        .categories(&["sortedset"])
        .group("sorted-set")
        .since("1.2.0")
        .summary("Score of a member")
        .arguments(&[KEY, string("member")]),
    Spec::new("zunion", AtLeader(SortedSet(ZUnion)), -3, &[ReadOnly, MovableKeys])
        .keys(&[KeySpec::counted(1, &["RO", "access"])])
        .categories(&["sortedset"])
        .group("sorted-set")
        .since("6.2.0")
        .complexity("O(N)+O(M*log(M)) for sorted sets of size N together and M members found")
        .summary("Members of any of the sorted sets, scores put together")
        .arguments(&[
            integer("numkeys"),
            KEY.multiple(),
            integer("weight").after("WEIGHTS").optional().multiple(),
            one_of("aggregate", &[token("sum", "SUM"), token("min", "MIN"), token("max", "MAX")])
                .after("AGGREGATE")
                .optional(),
            token("withscores", "WITHSCORES").optional(),
        ]),
    Spec::new("zunionstore", AtLeader(SortedSet(ZUnionStore)), -4, &[Write, DenyOom, MovableKeys])
        .keys(&[KeySpec::one(&["OW", "update"]), KeySpec::counted(2, &["RO", "access"])])
        .categories(&["sortedset"])
        .group("sorted-set")
        .since("2.0.0")
        .complexity("O(N)+O(M*log(M)) for sorted sets of size N together and M members found")
        .summary("Stores the members of any of the sorted sets, scores put together")
        .arguments(&[
            key("destination"),
            integer("numkeys"),
            second_key("key").multiple(),
            integer("weight").after("WEIGHTS").optional().multiple(),
            one_of("aggregate", &[token("sum", "SUM"), token("min", "MIN"), token("max", "MAX")])
                .after("AGGREGATE")
                .optional(),
        ]),
];
