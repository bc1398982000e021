//! Commands on hashes.

use super::super::arguments::{KEY, block, double, integer, pattern, string, token};
use super::Flag::*;
use super::HashCommand::*;
use super::KeyCommand::Hash;
use super::Place::AtLeader;
use super::{KeySpec, Spec};

/// In alphabetical order.
pub(super) const COMMANDS: &[Spec] = &[
    Spec::new("hdel", AtLeader(Hash(HDel)), -3, &[Write, Fast])
        .keys(&[KeySpec::one(&["RW", "delete"])])
        .categories(&["hash"])
        .group("hash")
        .since("2.0.0")
        .complexity("O(N) where N is the number of fields")
        .summary("Removes fields of a hash")
        .arguments(&[KEY, string("field").multiple()]),
    Spec::new("hexists", AtLeader(Hash(HExists)), 3, &[ReadOnly, Fast])
        .keys(&[KeySpec::one(&["RO"])])
        .categories(&["hash"])
        .group("hash")
        .since("2.0.0")
        .summary("Whether a hash has a field")
        .arguments(&[KEY, string("field")]),
    Spec::new("hget", AtLeader(Hash(HGet)), 3, &[ReadOnly, Fast])
        .keys(&[KeySpec::one(&["RO", "access"])])
        .categories(&["hash"])
        .group("hash")
        .since("2.0.0")
        .summary("Reads a field of a hash")
        .arguments(&[KEY, string("field")]),
    Spec::new("hgetall", AtLeader(Hash(HGetAll)), 2, &[ReadOnly])
        .keys(&[KeySpec::one(&["RO", "access"])])
        .categories(&["hash"])
        .group("hash")
        .since("2.0.0")
        .complexity("O(N) where N is the size of the hash")
        .summary("Lists the fields of a hash with their values")
        .arguments(&[KEY])
        .tips(&["nondeterministic_output_order"]),
    Spec::new("hincrby", AtLeader(Hash(HIncrBy)), 4, &[Write, DenyOom, Fast])
        .keys(&[KeySpec::one(&["RW", "access", "update"])])
        .categories(&["hash"])
        .group("hash")
        .since("2.0.0")
        .summary("Adds to an integer in a field of a hash")
        .arguments(&[KEY, string("field"), integer("increment")]),
    Spec::new("hincrbyfloat", AtLeader(Hash(HIncrByFloat)), 4, &[Write, DenyOom, Fast])
        .keys(&[KeySpec::one(&["RW", "access", "update"])])
        .categories(&["hash"])
        .group("hash")
        .since("2.6.0")
        .summary("Adds to a decimal number in a field of a hash")
        .arguments(&[KEY, string("field"), double("increment")]),
    Spec::new("hkeys", AtLeader(Hash(HKeys)), 2, &[ReadOnly])
        .keys(&[KeySpec::one(&["RO", "access"])])
        .categories(&["hash"])
        .group("hash")
        .since("2.0.0")
        .complexity("O(N) where N is the size of the hash")
        .summary("Lists the fields of a hash")
        .arguments(&[KEY])
        .tips(&["nondeterministic_output_order"]),
    Spec::new("hlen", AtLeader(Hash(HLen)), 2, &[ReadOnly, Fast])
        .keys(&[KeySpec::one(&["RO"])])
        .categories(&["hash"])
        .group("hash")
        .since("2.0.0")
        .summary("Counts the fields of a hash")
        .arguments(&[KEY]),
    Spec::new("hmget", AtLeader(Hash(HMGet)), -3, &[ReadOnly, Fast])
        .keys(&[KeySpec::one(&["RO", "access"])])
        .categories(&["hash"])
        .group("hash")
        .since("2.0.0")
        .complexity("O(N) where N is the number of fields")
        .summary("Reads several fields of a hash")
        .arguments(&[KEY, string("field").multiple()]),
    Spec::new("hmset", AtLeader(Hash(HMSet)), -4, &[Write, DenyOom, Fast])
        .keys(&[KeySpec::one(&["RW", "update"])])
        .categories(&["hash"])
        .group("hash")
        .since("2.0.0")
        .complexity("O(N) where N is the number of fields")
        .summary("Writes fields of a hash")
        .arguments(&[KEY, block("field_value", &[string("field"), string("value")]).multiple()])
        .deprecated("4.0.0", "`HSET` with multiple field-value pairs"),
    Spec::new("hrandfield", AtLeader(Hash(HRandField)), -2, &[ReadOnly])
        .keys(&[KeySpec::one(&["RO", "access"])])
        .categories(&["hash"])
        .group("hash")
        .since("6.2.0")
        .complexity("O(N) where N is the number of fields picked")
        .summary("Picks fields of a hash at random")
        .arguments(&[
            KEY,
            block("options", &[integer("count"), token("withvalues", "WITHVALUES").optional()]).optional(),
        ])
        .tips(&["nondeterministic_output"]),
    Spec::new("hscan", AtLeader(Hash(HScan)), -3, &[ReadOnly])
        .keys(&[KeySpec::one(&["RO", "access"])])
        .categories(&["hash"])
        .group("hash")
        .since("2.8.0")
        .complexity("O(1) for a call, O(N) for the whole")
        .summary("Lists the fields of a hash step by step")
        .arguments(&[
            KEY,
            integer("cursor"),
            pattern("pattern").after("MATCH").optional(),
            integer("count").after("COUNT").optional(),
        ])
        .tips(&["nondeterministic_output"]),
    Spec::new("hset", AtLeader(Hash(HSet)), -4, &[Write, DenyOom, Fast])
        .keys(&[KeySpec::one(&["RW", "update"])])
        .categories(&["hash"])
        .group("hash")
        .since("2.0.0")
        .complexity("O(N) where N is the number of fields")
        .summary("Writes fields of a hash")
        .arguments(&[KEY, block("field_value", &[string("field"), string("value")]).multiple()]),
    Spec::new("hsetnx", AtLeader(Hash(HSetNx)), 4, &[Write, DenyOom, Fast])
        .keys(&[KeySpec::one(&["RW", "insert"])])
        .categories(&["hash"])
        .group("hash")
        .since("2.0.0")
        .summary("Writes a field of a hash that does not exist")
        .arguments(&[KEY, string("field"), string("value")]),
    Spec::new("hstrlen", AtLeader(Hash(HStrLen)), 3, &[ReadOnly, Fast])
        .keys(&[KeySpec::one(&["RO"])])
        .categories(&["hash"])
        .group("hash")
        .since("3.2.0")
        .summary("Length of the value of a field")
        .arguments(&[KEY, string("field")]),
    Spec::new("hvals", AtLeader(Hash(HVals)), 2, &[ReadOnly])
        .keys(&[KeySpec::one(&["RO", "access"])])
        .categories(&["hash"])
        .group("hash")
        .since("2.0.0")
        .complexity("O(N) where N is the size of the hash")
        .summary("Lists the values of a hash")
        .arguments(&[KEY])
        .tips(&["nondeterministic_output_order"]),
];
