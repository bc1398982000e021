//! Commands on estimates of how many different things were counted.

use super::super::arguments::{KEY, key, second_key, string};
use super::Flag::*;
use super::HyperLogLogCommand::*;
use super::KeyCommand::HyperLogLog;
use super::Place::AtLeader;
use super::{KeySpec, Spec};

/// In alphabetical order.
pub(super) const COMMANDS: &[Spec] = &[
    Spec::new("pfadd", AtLeader(HyperLogLog(PfAdd)), -2, &[Write, DenyOom, Fast])
        .keys(&[KeySpec::one(&["RW", "insert"])])
        .categories(&["hyperloglog"])
        .group("hyperloglog")
        .since("2.8.9")
        .complexity("O(1) for each thing")
        .summary("Counts things")
        .arguments(&[KEY, string("element").optional().multiple()]),
    Spec::new("pfcount", AtLeader(HyperLogLog(PfCount)), -2, &[ReadOnly])
        .keys(&[KeySpec::all(&["RW", "access"])
            .notes("RW because it may change the internal representation of the key, and propagate to replicas")])
        .categories(&["hyperloglog"])
        .group("hyperloglog")
        .since("2.8.9")
        .complexity("O(N) where N is the number of keys")
        .summary("Estimates how many different things were counted")
        .arguments(&[KEY.multiple()]),
    Spec::new("pfmerge", AtLeader(HyperLogLog(PfMerge)), -2, &[Write, DenyOom])
        .keys(&[KeySpec::one(&["RW", "access", "insert"]), KeySpec::from(2, &["RO", "access"])])
        .categories(&["hyperloglog"])
        .group("hyperloglog")
        .since("2.8.9")
        .complexity("O(N) where N is the number of keys")
        .summary("Puts estimates together")
        .arguments(&[key("destkey"), second_key("sourcekey").multiple()]),
];
