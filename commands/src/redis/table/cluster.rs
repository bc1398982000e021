//! Commands of the cluster protocol, for clients that speak it. Every gateway serves every slot.

use super::super::arguments::{block, integer, one_of, string, token};
use super::DatabaseCommand::*;
use super::Flag::*;
use super::GatewayCommand::*;
use super::Place::{AtGateway, Container, OverDatabase};
use super::{ClusterCommand, Spec};

/// Why a client cannot move slots.
const NO_SLOT_CHANGES: &str = "ERR Slots are not assigned by clients: every gateway serves all of them, and placement \
     decides which node keeps what";

/// In alphabetical order.
pub(super) const COMMANDS: &[Spec] = &[
    Spec::new("asking", AtGateway(Cluster(ClusterCommand::Asking)), 1, &[Fast])
        .categories(&["connection"])
        .group("cluster")
        .since("3.0.0")
        .summary("Nothing: no slot is ever half moved"),
    Spec::new("cluster", Container, -2, &[])
        .group("cluster")
        .since("3.0.0")
        .complexity("Depends on subcommand.")
        .summary("Commands of the cluster protocol")
        .subcommands(&[
            Spec::new("cluster|addslots", AtGateway(Refused(NO_SLOT_CHANGES)), -3, &[Admin, Stale, NoAsyncLoading])
                .group("cluster")
                .since("3.0.0")
                .complexity("O(N) where N is the total number of hash slot arguments")
                .summary("Refused: placement decides where slots live")
                .arguments(&[integer("slot").multiple()]),
            Spec::new(
                "cluster|addslotsrange",
                AtGateway(Refused(NO_SLOT_CHANGES)),
                -4,
                &[Admin, Stale, NoAsyncLoading],
            )
            .group("cluster")
            .since("7.0.0")
            .complexity("O(N) where N is the total number of the slots between the start slot and end slot arguments.")
            .summary("Refused: placement decides where slots live")
            .arguments(&[block("start-slot_end-slot", &[integer("start-slot"), integer("end-slot")]).multiple()]),
            Spec::new("cluster|bumpepoch", AtGateway(Refused(NO_SLOT_CHANGES)), 2, &[Admin, Stale, NoAsyncLoading])
                .group("cluster")
                .since("3.0.0")
                .summary("Refused: placement decides where slots live")
                .tips(&["nondeterministic_output"]),
            Spec::new("cluster|count-failure-reports", AtGateway(Refused(NO_SLOT_CHANGES)), 3, &[Admin, Stale])
                .group("cluster")
                .since("3.0.0")
                .complexity("O(N) where N is the number of failure reports")
                .summary("Refused: placement decides where slots live")
                .arguments(&[string("node-id")])
                .tips(&["nondeterministic_output"]),
            Spec::new("cluster|countkeysinslot", OverDatabase(CountKeysInSlot), 3, &[Stale])
                .group("cluster")
                .since("3.0.0")
                .summary("Number of keys in a slot")
                .arguments(&[integer("slot")]),
            Spec::new("cluster|delslots", AtGateway(Refused(NO_SLOT_CHANGES)), -3, &[Admin, Stale, NoAsyncLoading])
                .group("cluster")
                .since("3.0.0")
                .complexity("O(N) where N is the total number of hash slot arguments")
                .summary("Refused: placement decides where slots live")
                .arguments(&[integer("slot").multiple()]),
            Spec::new(
                "cluster|delslotsrange",
                AtGateway(Refused(NO_SLOT_CHANGES)),
                -4,
                &[Admin, Stale, NoAsyncLoading],
            )
            .group("cluster")
            .since("7.0.0")
            .complexity("O(N) where N is the total number of the slots between the start slot and end slot arguments.")
            .summary("Refused: placement decides where slots live")
            .arguments(&[block("start-slot_end-slot", &[integer("start-slot"), integer("end-slot")]).multiple()]),
            Spec::new("cluster|failover", AtGateway(Refused(NO_SLOT_CHANGES)), -2, &[Admin, Stale, NoAsyncLoading])
                .group("cluster")
                .since("3.0.0")
                .summary("Refused: placement decides where slots live")
                .arguments(&[one_of("options", &[token("force", "FORCE"), token("takeover", "TAKEOVER")]).optional()]),
            Spec::new("cluster|flushslots", AtGateway(Refused(NO_SLOT_CHANGES)), 2, &[Admin, Stale, NoAsyncLoading])
                .group("cluster")
                .since("3.0.0")
                .summary("Refused: placement decides where slots live"),
            Spec::new("cluster|forget", AtGateway(Refused(NO_SLOT_CHANGES)), 3, &[Admin, Stale, NoAsyncLoading])
                .group("cluster")
                .since("3.0.0")
                .summary("Refused: placement decides where slots live")
                .arguments(&[string("node-id")]),
            Spec::new("cluster|getkeysinslot", OverDatabase(KeysInSlot), 4, &[Stale])
                .group("cluster")
                .since("3.0.0")
                .complexity("O(log(N)) where N is the number of requested keys")
                .summary("Some keys of a slot")
                .arguments(&[integer("slot"), integer("count")])
                .tips(&["nondeterministic_output"]),
            Spec::new("cluster|help", AtGateway(Describe), 2, &[Loading, Stale])
                .group("cluster")
                .since("5.0.0")
                .summary("Lists the subcommands"),
            Spec::new("cluster|info", AtGateway(Cluster(ClusterCommand::Info)), 2, &[Stale])
                .group("cluster")
                .since("3.0.0")
                .summary("Describes the cluster")
                .tips(&["nondeterministic_output"]),
            Spec::new("cluster|keyslot", AtGateway(Cluster(ClusterCommand::KeySlot)), 3, &[Stale])
                .group("cluster")
                .since("3.0.0")
                .complexity("O(N) where N is the number of bytes in the key")
                .summary("Hash slot of a key")
                .arguments(&[string("key")]),
            Spec::new("cluster|links", AtGateway(Cluster(ClusterCommand::Links)), 2, &[Stale])
                .group("cluster")
                .since("7.0.0")
                .complexity("O(N) where N is the total number of Cluster nodes")
                .summary("Links between nodes: gateways have none")
                .tips(&["nondeterministic_output"]),
            Spec::new("cluster|meet", AtGateway(Refused(NO_SLOT_CHANGES)), -4, &[Admin, Stale, NoAsyncLoading])
                .group("cluster")
                .since("3.0.0")
                .summary("Refused: placement decides where slots live")
                .arguments(&[string("ip"), integer("port"), integer("cluster_bus_port").optional()]),
            Spec::new("cluster|myid", AtGateway(Cluster(ClusterCommand::MyId)), 2, &[Stale])
                .group("cluster")
                .since("3.0.0")
                .summary("Name of this gateway in the cluster"),
            Spec::new("cluster|nodes", AtGateway(Cluster(ClusterCommand::Nodes)), 2, &[Stale])
                .group("cluster")
                .since("3.0.0")
                .complexity("O(N) where N is the total number of Cluster nodes")
                .summary("The gateways, as nodes of a cluster")
                .tips(&["nondeterministic_output"]),
            Spec::new("cluster|replicas", AtGateway(Cluster(ClusterCommand::Replicas)), 3, &[Admin, Stale])
                .group("cluster")
                .since("5.0.0")
                .summary("Replicas of a gateway: there are none")
                .arguments(&[string("node-id")])
                .tips(&["nondeterministic_output"]),
            Spec::new("cluster|replicate", AtGateway(Refused(NO_SLOT_CHANGES)), 3, &[Admin, Stale, NoAsyncLoading])
                .group("cluster")
                .since("3.0.0")
                .summary("Refused: placement decides where slots live")
                .arguments(&[string("node-id")]),
            Spec::new("cluster|reset", AtGateway(Refused(NO_SLOT_CHANGES)), -2, &[Admin, NoScript, Stale])
                .group("cluster")
                .since("3.0.0")
                .complexity("O(N) where N is the number of known nodes.")
                .summary("Refused: placement decides where slots live")
                .arguments(&[one_of("hard_soft", &[token("hard", "HARD"), token("soft", "SOFT")]).optional()]),
            Spec::new("cluster|saveconfig", AtGateway(Refused(NO_SLOT_CHANGES)), 2, &[Admin, Stale, NoAsyncLoading])
                .group("cluster")
                .since("3.0.0")
                .summary("Refused: placement decides where slots live"),
            Spec::new(
                "cluster|set-config-epoch",
                AtGateway(Refused(NO_SLOT_CHANGES)),
                3,
                &[Admin, Stale, NoAsyncLoading],
            )
            .group("cluster")
            .since("3.0.0")
            .summary("Refused: placement decides where slots live")
            .arguments(&[integer("config-epoch")]),
            Spec::new("cluster|setslot", AtGateway(Refused(NO_SLOT_CHANGES)), -4, &[Admin, Stale, NoAsyncLoading])
                .group("cluster")
                .since("3.0.0")
                .summary("Refused: placement decides where slots live")
                .arguments(&[
                    integer("slot"),
                    one_of(
                        "subcommand",
                        &[
                            string("node-id").after("IMPORTING"),
                            string("node-id").after("MIGRATING"),
                            string("node-id").after("NODE"),
                            token("stable", "STABLE"),
                        ],
                    ),
                ]),
            Spec::new("cluster|shards", AtGateway(Cluster(ClusterCommand::Shards)), 2, &[Stale])
                .group("cluster")
                .since("7.0.0")
                .complexity("O(N) where N is the total number of cluster nodes")
                .summary("Slots and gateways")
                .tips(&["nondeterministic_output"]),
            Spec::new("cluster|slaves", AtGateway(Cluster(ClusterCommand::Replicas)), 3, &[Admin, Stale])
                .group("cluster")
                .since("3.0.0")
                .summary("Replicas of a gateway: there are none")
                .deprecated("5.0.0", "`CLUSTER REPLICAS`")
                .arguments(&[string("node-id")])
                .tips(&["nondeterministic_output"]),
            Spec::new("cluster|slots", AtGateway(Cluster(ClusterCommand::Slots)), 2, &[Stale])
                .group("cluster")
                .since("3.0.0")
                .complexity("O(N) where N is the total number of Cluster nodes")
                .summary("Slots and gateways")
                .deprecated("7.0.0", "`CLUSTER SHARDS`")
                .tips(&["nondeterministic_output"]),
        ]),
    Spec::new("readonly", AtGateway(Cluster(ClusterCommand::ReadOnly)), 1, &[Loading, Stale, Fast])
        .categories(&["connection"])
        .group("cluster")
        .since("3.0.0")
        .summary("Nothing: reads are consistent everywhere"),
    Spec::new("readwrite", AtGateway(Cluster(ClusterCommand::ReadWrite)), 1, &[Loading, Stale, Fast])
        .categories(&["connection"])
        .group("cluster")
        .since("3.0.0")
        .summary("Nothing: every gateway takes writes"),
];
