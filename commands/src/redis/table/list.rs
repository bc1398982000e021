//! Commands on lists.

use super::super::arguments::{KEY, KEYS, double, integer, key, one_of, second_key, string, token};
use super::Flag::*;
use super::KeyCommand::List;
use super::ListCommand::*;
use super::Place::AtLeader;
use super::{KeySpec, Spec};

/// In alphabetical order.
pub(super) const COMMANDS: &[Spec] = &[
    Spec::new("blmove", AtLeader(List(BLMove)), 6, &[Write, DenyOom, NoScript, Blocking])
        .keys(&[KeySpec::one(&["RW", "access", "delete"]), KeySpec::at(2, &["RW", "insert"])])
        .categories(&["list"])
        .group("list")
        .since("6.2.0")
        .summary("Moves an element from an end of a list to an end of another, and waits for one")
        .arguments(&[
            key("source"),
            second_key("destination"),
            one_of("wherefrom", &[token("left", "LEFT"), token("right", "RIGHT")]),
            one_of("whereto", &[token("left", "LEFT"), token("right", "RIGHT")]),
            double("timeout"),
        ]),
    Spec::new("blmpop", AtLeader(List(BLMPop)), -5, &[Write, Blocking, MovableKeys])
        .keys(&[KeySpec::counted(2, &["RW", "access", "delete"])])
        .categories(&["list"])
        .group("list")
        .since("7.0.0")
        .complexity("O(N+M) where N is the number of keys and M the number of elements taken")
        .summary("Takes elements off the first list that has any, and waits for one")
        .arguments(&[
            double("timeout"),
            integer("numkeys"),
            KEY.multiple(),
            one_of("where", &[token("left", "LEFT"), token("right", "RIGHT")]),
            integer("count").after("COUNT").optional(),
        ]),
    Spec::new("blpop", AtLeader(List(BLPop)), -3, &[Write, NoScript, Blocking])
        .keys(&[KeySpec::all_but_last(&["RW", "access", "delete"])])
        .categories(&["list"])
        .group("list")
        .since("2.0.0")
        .complexity("O(N) where N is the number of keys")
        .summary("Takes an element off the head of the first list that has any, and waits for one")
        .arguments(&[KEYS, double("timeout")]),
    Spec::new("brpop", AtLeader(List(BRPop)), -3, &[Write, NoScript, Blocking])
        .keys(&[KeySpec::all_but_last(&["RW", "access", "delete"])])
        .categories(&["list"])
        .group("list")
        .since("2.0.0")
        .complexity("O(N) where N is the number of keys")
        .summary("Takes an element off the tail of the first list that has any, and waits for one")
        .arguments(&[KEYS, double("timeout")]),
    Spec::new("brpoplpush", AtLeader(List(BRPopLPush)), 4, &[Write, DenyOom, NoScript, Blocking])
        .keys(&[KeySpec::one(&["RW", "access", "delete"]), KeySpec::at(2, &["RW", "insert"])])
        .categories(&["list"])
        .group("list")
        .since("2.2.0")
        .summary("Moves the tail of a list to the head of another, and waits for one")
        .arguments(&[key("source"), second_key("destination"), double("timeout")])
        .deprecated("6.2.0", "`BLMOVE` with the `RIGHT` and `LEFT` arguments"),
    Spec::new("lindex", AtLeader(List(LIndex)), 3, &[ReadOnly])
        .keys(&[KeySpec::one(&["RO", "access"])])
        .categories(&["list"])
        .group("list")
        .summary("Element at a position of a list")
        .arguments(&[KEY, integer("index")]),
    Spec::new("linsert", AtLeader(List(LInsert)), 5, &[Write, DenyOom])
        .keys(&[KeySpec::one(&["RW", "insert"])])
        .categories(&["list"])
        .group("list")
        .since("2.2.0")
        .complexity("O(N) where N is the length of the list")
        .summary("Puts an element before or behind another")
        .arguments(&[
            KEY,
            one_of("where", &[token("before", "BEFORE"), token("after", "AFTER")]),
            string("pivot"),
            string("element"),
        ]),
    Spec::new("llen", AtLeader(List(LLen)), 2, &[ReadOnly, Fast])
        .keys(&[KeySpec::one(&["RO"])])
        .categories(&["list"])
        .group("list")
        .summary("Length of a list")
        .arguments(&[KEY]),
    Spec::new("lmove", AtLeader(List(LMove)), 5, &[Write, DenyOom])
        .keys(&[KeySpec::one(&["RW", "access", "delete"]), KeySpec::at(2, &["RW", "insert"])])
        .categories(&["list"])
        .group("list")
        .since("6.2.0")
        .summary("Moves an element from an end of a list to an end of another")
        .arguments(&[
            key("source"),
            second_key("destination"),
            one_of("wherefrom", &[token("left", "LEFT"), token("right", "RIGHT")]),
            one_of("whereto", &[token("left", "LEFT"), token("right", "RIGHT")]),
        ]),
    Spec::new("lmpop", AtLeader(List(LMPop)), -4, &[Write, MovableKeys])
        .keys(&[KeySpec::counted(1, &["RW", "access", "delete"])])
        .categories(&["list"])
        .group("list")
        .since("7.0.0")
        .complexity("O(N+M) where N is the number of keys and M the number of elements taken")
        .summary("Takes elements off the first list that has any")
        .arguments(&[
            integer("numkeys"),
            KEY.multiple(),
            one_of("where", &[token("left", "LEFT"), token("right", "RIGHT")]),
            integer("count").after("COUNT").optional(),
        ]),
    Spec::new("lpop", AtLeader(List(LPop)), -2, &[Write, Fast])
        .keys(&[KeySpec::one(&["RW", "access", "delete"])])
        .categories(&["list"])
        .group("list")
        .complexity("O(N) where N is the number of elements taken")
        .summary("Takes elements off the head of a list")
        .arguments(&[KEY, integer("count").optional()]),
    Spec::new("lpos", AtLeader(List(LPos)), -3, &[ReadOnly])
        .keys(&[KeySpec::one(&["RO", "access"])])
        .categories(&["list"])
        .group("list")
        .since("6.0.6")
        .complexity("O(N) where N is the length of the list")
        .summary("Positions of an element in a list")
        .arguments(&[
            KEY,
            string("element"),
            integer("rank").after("RANK").optional(),
            integer("num-matches").after("COUNT").optional(),
            integer("len").after("MAXLEN").optional(),
        ]),
    Spec::new("lpush", AtLeader(List(LPush)), -3, &[Write, DenyOom, Fast])
        .keys(&[KeySpec::one(&["RW", "insert"])])
        .categories(&["list"])
        .group("list")
        .complexity("O(N) where N is the number of elements")
        .summary("Puts elements before the head of a list")
        .arguments(&[KEY, string("element").multiple()]),
    Spec::new("lpushx", AtLeader(List(LPushX)), -3, &[Write, DenyOom, Fast])
        .keys(&[KeySpec::one(&["RW", "insert"])])
        .categories(&["list"])
        .group("list")
        .since("2.2.0")
        .complexity("O(N) where N is the number of elements")
        .summary("Puts elements before the head of a list that exists")
        .arguments(&[KEY, string("element").multiple()]),
    Spec::new("lrange", AtLeader(List(LRange)), 4, &[ReadOnly])
        .keys(&[KeySpec::one(&["RO", "access"])])
        .categories(&["list"])
        .group("list")
        .complexity("O(N) where N is the number of elements")
        .summary("Elements between two positions of a list")
        .arguments(&[KEY, integer("start"), integer("stop")]),
    Spec::new("lrem", AtLeader(List(LRem)), 4, &[Write])
        .keys(&[KeySpec::one(&["RW", "delete"])])
        .categories(&["list"])
        .group("list")
        .complexity("O(N) where N is the length of the list")
        .summary("Removes elements that equal a value")
        .arguments(&[KEY, integer("count"), string("element")]),
    Spec::new("lset", AtLeader(List(LSet)), 4, &[Write, DenyOom])
        .keys(&[KeySpec::one(&["RW", "update"])])
        .categories(&["list"])
        .group("list")
        .summary("Replaces the element at a position")
        .arguments(&[KEY, integer("index"), string("element")]),
    Spec::new("ltrim", AtLeader(List(LTrim)), 4, &[Write])
        .keys(&[KeySpec::one(&["RW", "delete"])])
        .categories(&["list"])
        .group("list")
        .complexity("O(N) where N is the number of elements removed")
        .summary("Keeps the elements between two positions")
        .arguments(&[KEY, integer("start"), integer("stop")]),
    Spec::new("rpop", AtLeader(List(RPop)), -2, &[Write, Fast])
        .keys(&[KeySpec::one(&["RW", "access", "delete"])])
        .categories(&["list"])
        .group("list")
        .complexity("O(N) where N is the number of elements taken")
        .summary("Takes elements off the tail of a list")
        .arguments(&[KEY, integer("count").optional()]),
    Spec::new("rpoplpush", AtLeader(List(RPopLPush)), 3, &[Write, DenyOom])
        .keys(&[KeySpec::one(&["RW", "access", "delete"]), KeySpec::at(2, &["RW", "insert"])])
        .categories(&["list"])
        .group("list")
        .since("1.2.0")
        .summary("Moves the tail of a list to the head of another")
        .arguments(&[key("source"), second_key("destination")])
        .deprecated("6.2.0", "`LMOVE` with the `RIGHT` and `LEFT` arguments"),
    Spec::new("rpush", AtLeader(List(RPush)), -3, &[Write, DenyOom, Fast])
        .keys(&[KeySpec::one(&["RW", "insert"])])
        .categories(&["list"])
        .group("list")
        .complexity("O(N) where N is the number of elements")
        .summary("Puts elements behind the tail of a list")
        .arguments(&[KEY, string("element").multiple()]),
    Spec::new("rpushx", AtLeader(List(RPushX)), -3, &[Write, DenyOom, Fast])
        .keys(&[KeySpec::one(&["RW", "insert"])])
        .categories(&["list"])
        .group("list")
        .since("2.2.0")
        .complexity("O(N) where N is the number of elements")
        .summary("Puts elements behind the tail of a list that exists")
        .arguments(&[KEY, string("element").multiple()]),
];
