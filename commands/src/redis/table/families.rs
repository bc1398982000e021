//! The commands of each family: what an evaluation is dispatched on.

use super::gateway::{
    AclCommand, ClientCommand, ClusterCommand, ConfigCommand, LatencyCommand, MemoryCommand, SlowlogCommand,
};

/// A command about the transaction of a connection.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionCommand {
    Discard,
    Exec,
    Multi,
    Unwatch,
    Watch,
}

/// A command about channels.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PubSubCommand {
    Channels,
    NumPat,
    NumSub,
    PSubscribe,
    PUnsubscribe,
    Publish,
    SPublish,
    SSubscribe,
    SUnsubscribe,
    ShardChannels,
    ShardNumSub,
    Subscribe,
    Unsubscribe,
}

/// A command on named keys. [`crate::redis::run`] has an arm for each.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyCommand {
    Append,
    Bitmap(BitmapCommand),
    Copy,
    Decr,
    DecrBy,
    Del,
    Dump,
    Exists,
    Expire,
    ExpireAt,
    ExpireTime,
    Geo(GeoCommand),
    Get,
    GetDel,
    GetEx,
    GetRange,
    GetSet,
    Hash(HashCommand),
    HyperLogLog(HyperLogLogCommand),
    Incr,
    IncrBy,
    IncrByFloat,
    Lcs,
    List(ListCommand),
    MGet,
    MemoryUsage,
    Move,
    MSet,
    MSetNx,
    ObjectEncoding,
    ObjectFreq,
    ObjectIdleTime,
    ObjectRefCount,
    Persist,
    PExpire,
    PExpireAt,
    PExpireTime,
    PSetEx,
    PTtl,
    Rename,
    RenameNx,
    Restore,
    Script(ScriptCommand),
    Set,
    SetEx,
    SetNx,
    SetRange,
    Sets(SetCommand),
    Sort,
    SortRo,
    SortedSet(SortedSetCommand),
    Stream(StreamCommand),
    StrLen,
    Ttl,
    Type,
}

/// A command that runs a script or a function; the gateway hands its text behind the arguments, see [`super::super::script`].
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptCommand {
    Eval,
    EvalRo,
    EvalSha,
    EvalShaRo,
    FCall,
    FCallRo,
}

/// A command about what scripts and functions there are.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistryCommand {
    FunctionDelete,
    FunctionDump,
    FunctionFlush,
    FunctionKill,
    FunctionList,
    FunctionLoad,
    FunctionRestore,
    FunctionStats,
    ScriptDebug,
    ScriptExists,
    ScriptFlush,
    ScriptKill,
    ScriptLoad,
}

/// A command on strings as arrays of bits.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BitmapCommand {
    BitCount,
    BitField,
    BitFieldRo,
    BitOp,
    BitPos,
    GetBit,
    SetBit,
}

/// A command on estimates of how many different things were counted.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HyperLogLogCommand {
    PfAdd,
    PfCount,
    PfMerge,
}

/// A command on places on earth, kept in sorted sets.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GeoCommand {
    GeoAdd,
    GeoDist,
    GeoHash,
    GeoPos,
    GeoRadius,
    GeoRadiusRo,
    GeoRadiusByMember,
    GeoRadiusByMemberRo,
    GeoSearch,
    GeoSearchStore,
}

/// A command on hashes.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashCommand {
    HDel,
    HExists,
    HGet,
    HGetAll,
    HIncrBy,
    HIncrByFloat,
    HKeys,
    HLen,
    HMGet,
    HMSet,
    HRandField,
    HScan,
    HSet,
    HSetNx,
    HStrLen,
    HVals,
}

/// A command on lists.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListCommand {
    BLMove,
    BLMPop,
    BLPop,
    BRPop,
    BRPopLPush,
    LIndex,
    LInsert,
    LLen,
    LMove,
    LMPop,
    LPop,
    LPos,
    LPush,
    LPushX,
    LRange,
    LRem,
    LSet,
    LTrim,
    RPop,
    RPopLPush,
    RPush,
    RPushX,
}

/// A command on sets.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetCommand {
    SAdd,
    SCard,
    SDiff,
    SDiffStore,
    SInter,
    SInterCard,
    SInterStore,
    SIsMember,
    SMembers,
    SMIsMember,
    SMove,
    SPop,
    SRandMember,
    SRem,
    SScan,
    SUnion,
    SUnionStore,
}

/// A command on streams.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamCommand {
    XAck,
    XAdd,
    XAutoClaim,
    XClaim,
    XDel,
    XGroupCreate,
    XGroupCreateConsumer,
    XGroupDelConsumer,
    XGroupDestroy,
    XGroupSetId,
    XInfoConsumers,
    XInfoGroups,
    XInfoStream,
    XLen,
    XPending,
    XRange,
    XRead,
    XReadGroup,
    XRevRange,
    XSetId,
    XTrim,
}

/// A command on sorted sets.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortedSetCommand {
    BZMPop,
    BZPopMax,
    BZPopMin,
    ZAdd,
    ZCard,
    ZCount,
    ZDiff,
    ZDiffStore,
    ZIncrBy,
    ZInter,
    ZInterCard,
    ZInterStore,
    ZLexCount,
    ZMPop,
    ZMScore,
    ZPopMax,
    ZPopMin,
    ZRandMember,
    ZRange,
    ZRangeByLex,
    ZRangeByScore,
    ZRangeStore,
    ZRank,
    ZRem,
    ZRemRangeByLex,
    ZRemRangeByRank,
    ZRemRangeByScore,
    ZRevRange,
    ZRevRangeByLex,
    ZRevRangeByScore,
    ZRevRank,
    ZScan,
    ZScore,
    ZUnion,
    ZUnionStore,
}

/// A command that concerns the connection or the server.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GatewayCommand {
    Acl(AclCommand),
    Auth,
    Client(ClientCommand),
    Cluster(ClusterCommand),
    Config(ConfigCommand),
    /// COMMAND with all its subcommands, and HELP of all containers: [`crate::redis::describe::answer`] is the whole of it.
    Describe,
    Echo,
    Hello,
    Info,
    LastSave,
    Latency(LatencyCommand),
    Lolwut,
    Memory(MemoryCommand),
    ModuleList,
    Monitor,
    Ping,
    Quit,
    /// A command of Redis that cannot be had here: the error line says why.
    Refused(&'static str),
    Reset,
    Role,
    Select,
    Slowlog(SlowlogCommand),
    Time,
    Wait,
}

/// A command over a whole database. [`crate::redis::database::parse`] reads its arguments.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseCommand {
    CountKeysInSlot,
    DbSize,
    FlushAll,
    FlushDb,
    Keys,
    KeysInSlot,
    RandomKey,
    Scan,
}
