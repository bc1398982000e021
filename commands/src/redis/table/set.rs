//! Commands on sets.

use super::super::arguments::{KEY, integer, key, pattern, second_key, string};
use super::Flag::*;
use super::KeyCommand::Sets;
use super::Place::AtLeader;
use super::SetCommand::*;
use super::{KeySpec, Spec};

/// In alphabetical order.
pub(super) const COMMANDS: &[Spec] = &[
    Spec::new("sadd", AtLeader(Sets(SAdd)), -3, &[Write, DenyOom, Fast])
        .keys(&[KeySpec::one(&["RW", "insert"])])
        .categories(&["set"])
        .group("set")
        .complexity("O(N) where N is the number of members")
        .summary("Adds members to a set")
        .arguments(&[KEY, string("member").multiple()]),
    Spec::new("scard", AtLeader(Sets(SCard)), 2, &[ReadOnly, Fast])
        .keys(&[KeySpec::one(&["RO"])])
        .categories(&["set"])
        .group("set")
        .summary("Counts the members of a set")
        .arguments(&[KEY]),
    Spec::new("sdiff", AtLeader(Sets(SDiff)), -2, &[ReadOnly])
        .keys(&[KeySpec::all(&["RO", "access"])])
        .categories(&["set"])
        .group("set")
        .complexity("O(N) where N is the size of all sets together")
        .summary("Members of the first set that no other has")
        .arguments(&[KEY.multiple()])
        .tips(&["nondeterministic_output_order"]),
    Spec::new("sdiffstore", AtLeader(Sets(SDiffStore)), -3, &[Write, DenyOom])
        .keys(&[KeySpec::one(&["OW", "update"]), KeySpec::from(2, &["RO", "access"])])
        .categories(&["set"])
        .group("set")
        .complexity("O(N) where N is the size of all sets together")
        .summary("Stores the members of the first set that no other has")
        .arguments(&[key("destination"), second_key("key").multiple()]),
    Spec::new("sinter", AtLeader(Sets(SInter)), -2, &[ReadOnly])
        .keys(&[KeySpec::all(&["RO", "access"])])
        .categories(&["set"])
        .group("set")
        .complexity("O(N*M) where N is the size of the smallest set and M the number of sets")
        .summary("Members that all sets have")
        .arguments(&[KEY.multiple()])
        .tips(&["nondeterministic_output_order"]),
    Spec::new("sintercard", AtLeader(Sets(SInterCard)), -3, &[ReadOnly, MovableKeys])
        .keys(&[KeySpec::counted(1, &["RO", "access"])])
        .categories(&["set"])
        .group("set")
        .since("7.0.0")
        .complexity("O(N*M) where N is the size of the smallest set and M the number of sets")
        .summary("Counts the members that all sets have")
        .arguments(&[integer("numkeys"), KEY.multiple(), integer("limit").after("LIMIT").optional()]),
    Spec::new("sinterstore", AtLeader(Sets(SInterStore)), -3, &[Write, DenyOom])
        .keys(&[KeySpec::one(&["RW", "update"]), KeySpec::from(2, &["RO", "access"])])
        .categories(&["set"])
        .group("set")
        .complexity("O(N*M) where N is the size of the smallest set and M the number of sets")
        .summary("Stores the members that all sets have")
        .arguments(&[key("destination"), second_key("key").multiple()]),
    Spec::new("sismember", AtLeader(Sets(SIsMember)), 3, &[ReadOnly, Fast])
        .keys(&[KeySpec::one(&["RO"])])
        .categories(&["set"])
        .group("set")
        .summary("Whether a set has a member")
        .arguments(&[KEY, string("member")]),
    Spec::new("smembers", AtLeader(Sets(SMembers)), 2, &[ReadOnly])
        .keys(&[KeySpec::one(&["RO", "access"])])
        .categories(&["set"])
        .group("set")
        .complexity("O(N) where N is the size of the set")
        .summary("Lists the members of a set")
        .arguments(&[KEY])
        .tips(&["nondeterministic_output_order"]),
    Spec::new("smismember", AtLeader(Sets(SMIsMember)), -3, &[ReadOnly, Fast])
        .keys(&[KeySpec::one(&["RO", "access"])])
        .categories(&["set"])
        .group("set")
        .since("6.2.0")
        .complexity("O(N) where N is the number of members")
        .summary("Which of several members a set has")
        .arguments(&[KEY, string("member").multiple()]),
    Spec::new("smove", AtLeader(Sets(SMove)), 4, &[Write, Fast])
        .keys(&[KeySpec::one(&["RW", "access", "delete"]), KeySpec::at(2, &["RW", "insert"])])
        .categories(&["set"])
        .group("set")
        .summary("Moves a member from one set to another")
        .arguments(&[key("source"), second_key("destination"), string("member")]),
    Spec::new("spop", AtLeader(Sets(SPop)), -2, &[Write, Fast])
        .keys(&[KeySpec::one(&["RW", "access", "delete"])])
        .categories(&["set"])
        .group("set")
        .complexity("O(N) where N is the number of members removed")
        .summary("Removes members picked at random")
        .arguments(&[KEY, integer("count").optional()])
        .tips(&["nondeterministic_output"]),
    Spec::new("srandmember", AtLeader(Sets(SRandMember)), -2, &[ReadOnly])
        .keys(&[KeySpec::one(&["RO", "access"])])
        .categories(&["set"])
        .group("set")
        .complexity("O(N) where N is the number of members picked")
        .summary("Picks members at random")
        .arguments(&[KEY, integer("count").optional()])
        .tips(&["nondeterministic_output"]),
    Spec::new("srem", AtLeader(Sets(SRem)), -3, &[Write, Fast])
        .keys(&[KeySpec::one(&["RW", "delete"])])
        .categories(&["set"])
        .group("set")
        .complexity("O(N) where N is the number of members")
        .summary("Removes members of a set")
        .arguments(&[KEY, string("member").multiple()]),
    Spec::new("sscan", AtLeader(Sets(SScan)), -3, &[ReadOnly])
        .keys(&[KeySpec::one(&["RO", "access"])])
        .categories(&["set"])
        .group("set")
        .since("2.8.0")
        .complexity("O(1) for a call, O(N) for the whole")
        .summary("Lists the members of a set step by step")
        .arguments(&[
            KEY,
            integer("cursor"),
            pattern("pattern").after("MATCH").optional(),
            integer("count").after("COUNT").optional(),
        ])
        .tips(&["nondeterministic_output"]),
    Spec::new("sunion", AtLeader(Sets(SUnion)), -2, &[ReadOnly])
        .keys(&[KeySpec::all(&["RO", "access"])])
        .categories(&["set"])
        .group("set")
        .complexity("O(N) where N is the size of all sets together")
        .summary("Members of any of the sets")
        .arguments(&[KEY.multiple()])
        .tips(&["nondeterministic_output_order"]),
    Spec::new("sunionstore", AtLeader(Sets(SUnionStore)), -3, &[Write, DenyOom])
        .keys(&[KeySpec::one(&["OW", "update"]), KeySpec::from(2, &["RO", "access"])])
        .categories(&["set"])
        .group("set")
        .complexity("O(N) where N is the size of all sets together")
        .summary("Stores the members of any of the sets")
        .arguments(&[key("destination"), second_key("key").multiple()]),
];
