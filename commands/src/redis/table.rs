//! The command table: what is known of each command without running it.
//!
//! One entry a command says its arity, where its keys stand, where it is evaluated ([`Place`]) and what COMMAND INFO and
//! COMMAND DOCS tell of it. The gateway routes by it, the leader dispatches by it, [`super::describe`] prints it. The
//! facts are those of Redis 7.0's own COMMAND output; a test compares them with a running redis-server.
//!
//! What is not in the table does not exist for clients.

use bytes::Bytes;

use super::Invocation;
pub use super::arguments::{Argument, Kind};
use super::error::{MAX_KEY_BYTES, RedisError};
use super::number::parse_integer;

mod bitmap;
mod connection;
mod generic;
mod geo;
mod hash;
mod hyperloglog;
mod list;
mod server;
mod set;
mod sorted_set;
mod string;
mod transaction;

/// Where a command is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// By the leader of the group that owns its keys.
    AtLeader(KeyCommand),
    /// By the gateway alone.
    AtGateway(GatewayCommand),
    /// By the leaders of all ranges of the database, led by the gateway: see [`super::database`].
    OverDatabase(DatabaseCommand),
    /// By the session, which keeps what is queued and watched until EXEC.
    InSession(TransactionCommand),
    /// Nowhere: only its subcommands are commands. [`resolve`] never answers such an entry.
    Container,
}

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

/// A command on named keys. [`super::run`] has an arm for each.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyCommand {
    Append,
    Bitmap(BitmapCommand),
    Copy,
    Decr,
    DecrBy,
    Del,
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
    Set,
    SetEx,
    SetNx,
    SetRange,
    Sets(SetCommand),
    SortedSet(SortedSetCommand),
    StrLen,
    Ttl,
    Type,
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

/// A command on sorted sets.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortedSetCommand {
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
    ClientGetName,
    ClientId,
    ClientInfo,
    ClientList,
    ClientNoEvict,
    ClientSetInfo,
    ClientSetName,
    ConfigGet,
    /// COMMAND with all its subcommands, and HELP of all containers: [`super::describe::answer`] is the whole of it.
    Describe,
    Echo,
    Hello,
    Info,
    Ping,
    Quit,
    Reset,
    Select,
    Time,
}

/// A command over a whole database. [`super::database::parse`] reads its arguments.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseCommand {
    DbSize,
    FlushAll,
    FlushDb,
    Keys,
    RandomKey,
    Scan,
}

/// A property of a command, as COMMAND INFO names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flag {
    /// May change data.
    Write,
    /// Never changes data.
    ReadOnly,
    /// Refused when memory is short.
    DenyOom,
    /// For operators.
    Admin,
    /// Not from scripts.
    NoScript,
    /// Allowed while a server loads its data.
    Loading,
    /// Allowed on a stale replica.
    Stale,
    /// Takes constant or logarithmic time.
    Fast,
    /// Allowed before authentication.
    NoAuth,
    /// Allowed while a script runs too long.
    AllowBusy,
    /// Left out of the log of slow commands.
    SkipSlowlog,
    /// Its arguments say where its keys stand.
    MovableKeys,
}

impl Flag {
    /// The word in COMMAND INFO.
    pub fn name(self) -> &'static str {
        match self {
            Flag::Write => "write",
            Flag::ReadOnly => "readonly",
            Flag::DenyOom => "denyoom",
            Flag::Admin => "admin",
            Flag::NoScript => "noscript",
            Flag::Loading => "loading",
            Flag::Stale => "stale",
            Flag::Fast => "fast",
            Flag::NoAuth => "no_auth",
            Flag::AllowBusy => "allow_busy",
            Flag::SkipSlowlog => "skip_slowlog",
            Flag::MovableKeys => "movablekeys",
        }
    }
}

/// Where some keys stand in a command line, whose name has index 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// Where the first stands, or their number.
    pub begin: Begin,
    /// How to go on from there.
    pub find: Find,
    /// What happens to them, in the words of COMMAND INFO.
    pub access: &'static [&'static str],
    /// A remark for readers of COMMAND INFO.
    pub notes: Option<&'static str>,
}

/// Where the search for keys begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// At this argument.
    Index(usize),
    /// Behind this word, which may stand at `from` or later, or be missing.
    Behind {
        /// In capitals.
        word: &'static str,
        /// Index of the first argument that may be it.
        from: usize,
    },
}

/// How keys are found from where the search begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Find {
    /// One after another.
    Range {
        /// The last one: so many arguments further, or counted from the end when negative: -1 is the last argument.
        last: isize,
        /// From one key to the next.
        step: usize,
    },
    /// The first argument says how many follow it.
    Counted,
}

impl KeySpec {
    const fn range(index: usize, last: isize, step: usize, access: &'static [&'static str]) -> Self {
        Self { begin: Begin::Index(index), find: Find::Range { last, step }, access, notes: None }
    }

    const fn at(index: usize, access: &'static [&'static str]) -> Self {
        Self::range(index, 0, 1, access)
    }

    const fn one(access: &'static [&'static str]) -> Self {
        Self::at(1, access)
    }

    const fn from(index: usize, access: &'static [&'static str]) -> Self {
        Self::range(index, -1, 1, access)
    }

    const fn all(access: &'static [&'static str]) -> Self {
        Self::from(1, access)
    }

    const fn counted(index: usize, access: &'static [&'static str]) -> Self {
        Self { begin: Begin::Index(index), find: Find::Counted, access, notes: None }
    }

    const fn behind(word: &'static str, from: usize, access: &'static [&'static str]) -> Self {
        Self { begin: Begin::Behind { word, from }, find: Find::Range { last: 0, step: 1 }, access, notes: None }
    }

    const fn notes(mut self, notes: &'static str) -> Self {
        self.notes = Some(notes);
        self
    }

    /// Indexes of its keys. Of a number of keys that cannot be right: as many as there may be, at least one, so that
    /// the command line reaches somebody who says what is wrong with it.
    fn indexes(&self, args: &[Bytes]) -> std::iter::StepBy<std::ops::Range<usize>> {
        let begin = match self.begin {
            Begin::Index(index) => index,
            Begin::Behind { word, from } => {
                let is_word = |arg: &Bytes| arg.eq_ignore_ascii_case(word.as_bytes());
                let behind = args.iter().skip(from).position(is_word).map(|at| from + at + 1);
                behind.unwrap_or(args.len())
            }
        };
        let (first, end, step) = match self.find {
            Find::Range { last, step } => {
                let last = if last < 0 { args.len().checked_add_signed(last) } else { begin.checked_add_signed(last) };
                (begin, last.map_or(0, |last| last + 1), step)
            }
            Find::Counted => {
                let number = args.get(begin).and_then(|number| parse_integer(number).ok());
                let number = number.and_then(|number| usize::try_from(number).ok()).unwrap_or(0).max(1);
                (begin + 1, (begin + 1).saturating_add(number), 1)
            }
        };
        let end = end.min(args.len());
        (first.min(end)..end).step_by(step)
    }
}

/// An entry of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// In lower case; of a subcommand with its container: `client|id`.
    pub name: &'static str,
    /// Where it is evaluated.
    pub place: Place,
    /// Arguments with the name (and the subcommand): exactly so many, or at least so many when negative.
    pub arity: i32,
    /// Properties, in COMMAND INFO's order.
    pub flags: &'static [Flag],
    /// Where its keys stand; empty: it has none.
    pub keys: &'static [KeySpec],
    /// ACL categories that do not follow from the flags, without `@`.
    own_categories: &'static [&'static str],
    /// `string`, `hash`, `list`, `set`, `sorted-set`, `generic`, `transactions`, `connection`, `server`.
    pub group: &'static str,
    /// Version of Redis that it came with.
    pub since: &'static str,
    /// How its time grows.
    pub complexity: &'static str,
    /// One line for people.
    pub summary: &'static str,
    /// What follows the name, for people and for completion in their terminals.
    pub arguments: &'static [Argument],
    /// Hints for cluster clients, in COMMAND INFO's words.
    pub tips: &'static [&'static str],
    /// Since which version it should not be used, and what instead.
    pub deprecated: Option<(&'static str, &'static str)>,
    /// In COMMAND INFO's form, in alphabetical order.
    pub subcommands: &'static [Spec],
}

impl Spec {
    /// An entry without keys, subcommands, tips and texts.
    const fn new(name: &'static str, place: Place, arity: i32, flags: &'static [Flag]) -> Self {
        Self {
            name,
            place,
            arity,
            flags,
            keys: &[],
            own_categories: &[],
            group: "server",
            since: "1.0.0",
            complexity: "O(1)",
            summary: "",
            arguments: &[],
            tips: &[],
            deprecated: None,
            subcommands: &[],
        }
    }

    const fn keys(mut self, keys: &'static [KeySpec]) -> Self {
        self.keys = keys;
        self
    }

    const fn categories(mut self, own: &'static [&'static str]) -> Self {
        self.own_categories = own;
        self
    }

    const fn group(mut self, group: &'static str) -> Self {
        self.group = group;
        self
    }

    const fn since(mut self, since: &'static str) -> Self {
        self.since = since;
        self
    }

    const fn complexity(mut self, complexity: &'static str) -> Self {
        self.complexity = complexity;
        self
    }

    const fn summary(mut self, summary: &'static str) -> Self {
        self.summary = summary;
        self
    }

    const fn arguments(mut self, arguments: &'static [Argument]) -> Self {
        self.arguments = arguments;
        self
    }

    const fn tips(mut self, tips: &'static [&'static str]) -> Self {
        self.tips = tips;
        self
    }

    const fn deprecated(mut self, since: &'static str, instead: &'static str) -> Self {
        self.deprecated = Some((since, instead));
        self
    }

    const fn subcommands(mut self, subcommands: &'static [Spec]) -> Self {
        self.subcommands = subcommands;
        self
    }

    /// Whether it has a property.
    pub fn has(&self, flag: Flag) -> bool {
        self.flags.contains(&flag)
    }

    /// ACL categories without `@`, in Redis' order. Most follow from the flags.
    pub fn categories_in_order(&self) -> Vec<&'static str> {
        let implied = |category: &str| match category {
            "read" => self.has(Flag::ReadOnly),
            "write" => self.has(Flag::Write),
            "admin" | "dangerous" => self.has(Flag::Admin),
            "fast" => self.has(Flag::Fast),
            "slow" => !self.has(Flag::Fast),
            _ => false,
        };
        const ORDER: [&str; 17] = [
            "keyspace",
            "read",
            "write",
            "set",
            "sortedset",
            "list",
            "hash",
            "string",
            "bitmap",
            "hyperloglog",
            "geo",
            "admin",
            "fast",
            "slow",
            "dangerous",
            "connection",
            "transaction",
        ];
        ORDER.into_iter().filter(|category| self.own_categories.contains(category) || implied(category)).collect()
    }

    /// The subcommand of this name, in any case of letters.
    pub fn subcommand(&self, name: &[u8]) -> Option<&'static Spec> {
        let own = |spec: &&Spec| spec.name.split_once('|').map_or(spec.name, |(_, name)| name);
        self.subcommands.iter().find(|spec| own(spec).as_bytes().eq_ignore_ascii_case(name))
    }
}

/// The groups of the table, each in alphabetical order.
const SECTIONS: [&[Spec]; 12] = [
    string::COMMANDS,
    hash::COMMANDS,
    list::COMMANDS,
    set::COMMANDS,
    sorted_set::COMMANDS,
    bitmap::COMMANDS,
    hyperloglog::COMMANDS,
    geo::COMMANDS,
    generic::COMMANDS,
    transaction::COMMANDS,
    connection::COMMANDS,
    server::COMMANDS,
];

/// All commands, subcommands inside their containers.
pub fn all() -> impl Iterator<Item = &'static Spec> {
    SECTIONS.into_iter().flatten()
}

/// The command of this name, in any case of letters; containers too, subcommands not.
pub fn lookup(name: &[u8]) -> Option<&'static Spec> {
    // Names are short and a section is ordered: a handful of comparisons, no allocation.
    SECTIONS.iter().find_map(|section| {
        let order = |spec: &Spec| spec.name.bytes().cmp(name.iter().map(u8::to_ascii_lowercase));
        section.binary_search_by(order).ok().map(|index| &section[index])
    })
}

/// The command that a command line asks for, subcommands resolved and the number of arguments checked.
pub fn resolve(args: &[Bytes]) -> Result<&'static Spec, RedisError> {
    let Some(spec) = args.first().and_then(|name| lookup(name)) else {
        return Err(RedisError::unknown_command(args));
    };
    let spec = match args.get(1) {
        Some(name) if !spec.subcommands.is_empty() => {
            spec.subcommand(name).ok_or_else(|| RedisError::unknown_subcommand(spec.name, name))?
        }
        _ => spec,
    };
    check_arity(spec, args)?;
    Ok(spec)
}

/// Whether the number of arguments is one that the command takes.
pub fn check_arity(spec: &Spec, args: &[Bytes]) -> Result<(), RedisError> {
    let wanted = spec.arity.unsigned_abs() as usize;
    let right = if spec.arity < 0 { args.len() >= wanted } else { args.len() == wanted };
    if right { Ok(()) } else { Err(RedisError::WrongArity { command: spec.name }) }
}

/// Indexes of the keys in a command line, in the order given; empty for a command without keys.
///
/// Refused: a wrong number of arguments, and keys longer than [`MAX_KEY_BYTES`].
pub fn keys(spec: &Spec, args: &[Bytes]) -> Result<Vec<usize>, RedisError> {
    check_arity(spec, args)?;
    let found: Vec<usize> = spec.keys.iter().flat_map(|keys| keys.indexes(args)).collect();
    match found.iter().all(|&index| args[index].len() <= MAX_KEY_BYTES) {
        true => Ok(found),
        false => Err(RedisError::KeyTooLong),
    }
}

/// Whether every number of keys among the arguments can be right: above 0, and with so many arguments behind it.
pub fn counts_its_keys(spec: &Spec, args: &[Bytes]) -> bool {
    let right = |at: usize| {
        let number = args.get(at).and_then(|number| parse_integer(number).ok());
        number
            .and_then(|number| usize::try_from(number).ok())
            .is_some_and(|number| (1..args.len() - at).contains(&number))
    };
    spec.keys.iter().all(|keys| match (keys.begin, keys.find) {
        (Begin::Index(at), Find::Counted) => right(at),
        _ => true,
    })
}

/// Whether a command may write, as far as its arguments tell; a command line that is refused never writes.
pub fn writes(invocation: &Invocation) -> bool {
    let Ok(spec) = resolve(&invocation.args) else {
        return false;
    };
    match spec.place {
        // Without options GETEX is GET.
        Place::AtLeader(KeyCommand::GetEx) => invocation.args.len() > 2,
        _ => spec.has(Flag::Write),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(line: &str) -> Vec<Bytes> {
        line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
    }

    fn writes_line(line: &str) -> bool {
        writes(&Invocation { db: 0, args: words(line) })
    }

    #[test]
    fn sections_are_in_the_order_that_lookup_relies_on() {
        for section in SECTIONS {
            assert!(section.is_sorted_by(|left, right| left.name < right.name));
        }
        for spec in all() {
            assert_eq!(lookup(spec.name.to_ascii_uppercase().as_bytes()), Some(spec));
            for subcommand in spec.subcommands {
                let own_name = subcommand.name.strip_prefix(&format!("{}|", spec.name)).unwrap();
                assert_eq!(spec.subcommand(own_name.as_bytes()), Some(subcommand));
            }
        }
    }

    #[test]
    fn a_leader_is_found_by_keys_and_nothing_else_has_any() {
        for spec in all() {
            // WATCH names keys that EXEC brings along.
            let has_keys = matches!(spec.place, Place::AtLeader(_) | Place::InSession(TransactionCommand::Watch));
            assert_eq!(has_keys, !spec.keys.is_empty(), "{}", spec.name);
            assert!(!(spec.has(Flag::Write) && spec.has(Flag::ReadOnly)), "{}", spec.name);
            assert!(!spec.summary.is_empty(), "{}", spec.name);
        }
    }

    #[test]
    fn keys_stand_where_the_table_says() {
        let found = |line: &str| {
            let args = words(line);
            keys(resolve(&args)?, &args)
        };
        assert_eq!(found("get a"), Ok(vec![1]));
        assert_eq!(found("mget a b a"), Ok(vec![1, 2, 3]));
        assert_eq!(found("mset a 1 b 2"), Ok(vec![1, 3]));
        assert_eq!(found("set a 1 ex 5"), Ok(vec![1]));
        assert_eq!(found("copy a b db 1"), Ok(vec![1, 2]));
        assert_eq!(found("ping"), Ok(vec![]));
        assert_eq!(found("client id"), Ok(vec![]));
        assert_eq!(found("zunionstore d 2 a b weights 1 2"), Ok(vec![1, 3, 4]));
        assert_eq!(found("sintercard 9 a b"), Ok(vec![2, 3]));
        assert_eq!(found("georadius k 1 2 3 m asc store d"), Ok(vec![1, 8]));
        assert_eq!(found("georadius k 1 2 3 m"), Ok(vec![1]));
        assert_eq!(found("sintercard x a"), Ok(vec![2]));
        assert_eq!(found("object encoding a"), Ok(vec![2]));
        assert_eq!(found("get"), Err(RedisError::WrongArity { command: "get" }));
        let long = "k".repeat(MAX_KEY_BYTES);
        assert_eq!(found(&format!("get {long}")), Ok(vec![1]));
        assert_eq!(found(&format!("mset a 1 {long}k 2")), Err(RedisError::KeyTooLong));
    }

    #[test]
    fn only_what_may_write_is_a_write() {
        for line in ["set k v", "getex k persist", "DEL k", "setrange k 0 x", "expire k 1", "flushall", "persist k"] {
            assert!(writes_line(line), "{line}");
        }
        for line in ["get k", "GETEX k", "touch k", "ttl k", "scan 0", "ping", "set k", "client setname x", "nothing"] {
            assert!(!writes_line(line), "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_command_line_is_resolved_or_refused(
            args in proptest::collection::vec(
                prop_oneof![
                    proptest::collection::vec(any::<u8>(), 0..6),
                    prop_oneof![Just("mset"), Just("get"), Just("client"), Just("list"), Just("config")]
                        .prop_map(|name| name.as_bytes().to_vec()),
                ],
                0..6,
            ),
        ) {
            let args: Vec<Bytes> = args.into_iter().map(Bytes::from).collect();
            if let Ok(spec) = resolve(&args) {
                let found = keys(spec, &args).unwrap();
                prop_assert!(found.iter().all(|&index| 0 < index && index < args.len()));
            }
        }
    }
}
