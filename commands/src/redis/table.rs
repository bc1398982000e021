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
pub use families::*;
pub use gateway::{
    AclCommand, ClientCommand, ClusterCommand, ConfigCommand, LatencyCommand, MemoryCommand, SlowlogCommand,
};

mod acl;
mod bitmap;
mod cluster;
mod connection;
mod families;
mod gateway;
mod generic;
mod geo;
mod hash;
mod hyperloglog;
mod list;
mod pubsub;
mod scripting;
mod server;
mod set;
mod sorted_set;
mod stream;
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
    /// By the gateway, which knows its subscribers and reaches the other gateways.
    PubSub(PubSubCommand),
    /// By the gateway, over the scripts and libraries that all gateways share.
    Registry(RegistryCommand),
    /// By the session, which keeps what is queued and watched until EXEC.
    InSession(TransactionCommand),
    /// Nowhere: only its subcommands are commands. [`resolve`] never answers such an entry.
    Container,
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
    /// About channels.
    PubSub,
    /// Not from scripts.
    NoScript,
    /// Allowed while a server loads its data.
    Loading,
    /// Allowed on a stale replica.
    Stale,
    /// Waits for data when it finds none: see [`super::blocking`].
    Blocking,
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
    /// Not between MULTI and EXEC.
    NoMulti,
    /// Refused while a replica loads its data in the background.
    NoAsyncLoading,
    /// Not shown by MONITOR as a client's command.
    SkipMonitor,
    /// Its keys may be none.
    NoMandatoryKeys,
}

impl Flag {
    /// The word in COMMAND INFO.
    pub fn name(self) -> &'static str {
        match self {
            Flag::Write => "write",
            Flag::ReadOnly => "readonly",
            Flag::DenyOom => "denyoom",
            Flag::Admin => "admin",
            Flag::PubSub => "pubsub",
            Flag::NoScript => "noscript",
            Flag::Loading => "loading",
            Flag::Stale => "stale",
            Flag::Blocking => "blocking",
            Flag::Fast => "fast",
            Flag::NoAuth => "no_auth",
            Flag::AllowBusy => "allow_busy",
            Flag::SkipSlowlog => "skip_slowlog",
            Flag::MovableKeys => "movablekeys",
            Flag::NoMulti => "no_multi",
            Flag::NoAsyncLoading => "no_async_loading",
            Flag::SkipMonitor => "skip_monitor",
            Flag::NoMandatoryKeys => "no_mandatory_keys",
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
    /// As the command's options are read.
    Unknown,
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
    /// The same, and they may be none.
    CountedOrNone,
    /// The first half of all that follow.
    Halved,
    /// The keys are not named in the command line: see [`super::sort::reads_beyond`].
    Unnamed,
    /// The destination of SORT.
    SortStore,
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

    /// All arguments but the name and the last.
    const fn all_but_last(access: &'static [&'static str]) -> Self {
        Self::range(1, -2, 1, access)
    }

    const fn counted(index: usize, access: &'static [&'static str]) -> Self {
        Self { begin: Begin::Index(index), find: Find::Counted, access, notes: None }
    }

    /// The keys of a script.
    const fn of_script(access: &'static [&'static str]) -> Self {
        Self { begin: Begin::Index(2), find: Find::CountedOrNone, access, notes: None }
    }

    const fn behind(word: &'static str, from: usize, access: &'static [&'static str]) -> Self {
        Self { begin: Begin::Behind { word, from }, find: Find::Range { last: 0, step: 1 }, access, notes: None }
    }

    /// The first half of what follows STREAMS.
    const fn streams(from: usize, access: &'static [&'static str]) -> Self {
        Self { begin: Begin::Behind { word: "STREAMS", from }, find: Find::Halved, access, notes: None }
    }

    /// Keys whose names come of what other keys hold.
    const fn unnamed(access: &'static [&'static str]) -> Self {
        Self { begin: Begin::Unknown, find: Find::Unnamed, access, notes: None }
    }

    /// The destination of SORT.
    const fn sort_store(access: &'static [&'static str]) -> Self {
        Self { begin: Begin::Unknown, find: Find::SortStore, access, notes: None }
    }

    const fn notes(mut self, notes: &'static str) -> Self {
        self.notes = Some(notes);
        self
    }

    /// Indexes of its keys. Of a number of keys that cannot be right: as many as there may be, at least one, so that
    /// the command line reaches somebody who says what is wrong with it.
    pub(super) fn indexes(&self, args: &[Bytes]) -> std::iter::StepBy<std::ops::Range<usize>> {
        let begin = match self.begin {
            Begin::Index(index) => index,
            Begin::Behind { word, from } => {
                let is_word = |arg: &Bytes| arg.eq_ignore_ascii_case(word.as_bytes());
                let behind = args.iter().skip(from).position(is_word).map(|at| from + at + 1);
                behind.unwrap_or(args.len())
            }
            Begin::Unknown => 0,
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
            Find::CountedOrNone => {
                let number = args.get(begin).and_then(|number| parse_integer(number).ok());
                let number = number.and_then(|number| usize::try_from(number).ok()).unwrap_or(0);
                (begin + 1, (begin + 1).saturating_add(number), 1)
            }
            Find::Halved => (begin, begin + args.len().saturating_sub(begin) / 2, 1),
            Find::Unnamed => (0, 0, 1),
            Find::SortStore => super::sort::destination_index(args).map_or((0, 0, 1), |at| (at, at + 1, 1)),
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
    /// `string`, `hash`, `list`, `set`, `sorted-set`, `generic`, `transactions`, `connection`, `cluster`, `scripting`, `server`.
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

    /// ACL categories that do not follow from the flags, without `@`.
    pub(super) fn own_categories(&self) -> &'static [&'static str] {
        self.own_categories
    }

    /// ACL categories without `@`, in Redis' order. Most follow from the flags.
    pub fn categories_in_order(&self) -> Vec<&'static str> {
        let implied = |category: &str| match category {
            // What a script does is judged when it does it.
            "read" if self.own_categories.contains(&"scripting") => false,
            "read" => self.has(Flag::ReadOnly),
            "write" => self.has(Flag::Write),
            "admin" | "dangerous" => self.has(Flag::Admin),
            "fast" => self.has(Flag::Fast),
            "slow" => !self.has(Flag::Fast),
            "blocking" => self.has(Flag::Blocking),
            _ => false,
        };
        const ORDER: [&str; 21] = [
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
            "stream",
            "pubsub",
            "admin",
            "fast",
            "slow",
            "blocking",
            "dangerous",
            "connection",
            "transaction",
            "scripting",
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
const SECTIONS: [&[Spec]; 17] = [
    string::COMMANDS,
    hash::COMMANDS,
    list::COMMANDS,
    set::COMMANDS,
    sorted_set::COMMANDS,
    bitmap::COMMANDS,
    hyperloglog::COMMANDS,
    geo::COMMANDS,
    stream::COMMANDS,
    generic::COMMANDS,
    transaction::COMMANDS,
    pubsub::COMMANDS,
    scripting::COMMANDS,
    connection::COMMANDS,
    cluster::COMMANDS,
    server::COMMANDS,
    acl::COMMANDS,
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
        Place::AtLeader(KeyCommand::Script(_)) => !super::script::is_read_only(&invocation.args),
        Place::AtLeader(KeyCommand::Sort) => super::sort::destination_index(&invocation.args).is_some(),
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
        writes(&Invocation::new(0, words(line)))
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
            if matches!(spec.place, Place::AtGateway(GatewayCommand::Refused(_))) {
                continue;
            }
            // Sharded channels are routed like keys, and are none.
            let keys = spec.keys.iter().filter(|keys| keys.access != ["not_key"]).count();
            assert_eq!(has_keys, keys > 0, "{}", spec.name);
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
        assert_eq!(found("sort k store a by store store b get store"), Ok(vec![1, 7]));
        assert_eq!(found("sort_ro k store a"), Ok(vec![1]));
        assert_eq!(found("xread count 1 streams a b 0 0"), Ok(vec![3 + 1, 5]));
        assert_eq!(found("xreadgroup group g c streams a >"), Ok(vec![5]));
        assert_eq!(found("sintercard x a"), Ok(vec![2]));
        assert_eq!(found("object encoding a"), Ok(vec![2]));
        assert_eq!(found("get"), Err(RedisError::WrongArity { command: "get" }));
        let long = "k".repeat(MAX_KEY_BYTES);
        assert_eq!(found(&format!("get {long}")), Ok(vec![1]));
        assert_eq!(found(&format!("mset a 1 {long}k 2")), Err(RedisError::KeyTooLong));
    }

    #[test]
    fn only_what_may_write_is_a_write() {
        for line in [
            "set k v",
            "sort k store d",
            "getex k persist",
            "DEL k",
            "setrange k 0 x",
            "expire k 1",
            "flushall",
            "persist k",
        ] {
            assert!(writes_line(line), "{line}");
        }
        for line in [
            "get k",
            "sort k by store limit 0 1",
            "GETEX k",
            "touch k",
            "ttl k",
            "scan 0",
            "ping",
            "set k",
            "client setname x",
            "nothing",
        ] {
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
