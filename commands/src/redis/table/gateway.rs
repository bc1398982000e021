//! The subcommands that a gateway answers alone, by container.

/// A command about users.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AclCommand {
    Cat,
    DelUser,
    DryRun,
    GenPass,
    GetUser,
    List,
    Load,
    Log,
    Save,
    SetUser,
    Users,
    WhoAmI,
}

/// A command about connections.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCommand {
    Caching,
    GetName,
    GetRedir,
    Id,
    Info,
    Kill,
    List,
    NoEvict,
    Pause,
    Reply,
    SetInfo,
    SetName,
    Tracking,
    TrackingInfo,
    Unblock,
    Unpause,
}

/// A command of the cluster protocol.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterCommand {
    Asking,
    Info,
    KeySlot,
    Links,
    MyId,
    Nodes,
    ReadOnly,
    ReadWrite,
    Replicas,
    Shards,
    Slots,
}

/// A command about settings.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigCommand {
    Get,
    ResetStat,
    Rewrite,
    Set,
}

/// A command about latencies.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LatencyCommand {
    Doctor,
    Graph,
    Histogram,
    History,
    Latest,
    Reset,
}

/// A command about the memory of the gateway.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryCommand {
    Doctor,
    MallocStats,
    Purge,
    Stats,
}

/// A command about the log of slow commands.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlowlogCommand {
    Get,
    Len,
    Reset,
}
