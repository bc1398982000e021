//! What Redis says when it refuses a command: every sentence in one place.
//!
//! A refusal is a reply like any other: it reaches the client as [`Value::Error`] and the command has no effect.

use bytes::Bytes;
use thiserror::Error;

use super::stream::refusal::StreamRefusal;
use super::value::Value;

/// Longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 64 * 1024;
/// Longest string value, in bytes.
pub const MAX_VALUE_BYTES: usize = 32 * 1024 * 1024;

/// Why a command is refused. `Display` is the whole error line, code first, as Redis 7.0 words it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RedisError {
    /// The key holds another type than the command works on.
    #[error("WRONGTYPE Operation against a key holding the wrong kind of value")]
    WrongType,
    /// Options that are unknown or exclude each other.
    #[error("ERR syntax error")]
    Syntax,
    /// An argument or a stored value that should be a 64-bit integer.
    #[error("ERR value is not an integer or out of range")]
    NotAnInteger,
    /// An argument or a stored value that should be a number.
    #[error("ERR value is not a valid float")]
    NotAFloat,
    /// INCR and its relatives would leave 64 bits.
    #[error("ERR increment or decrement would overflow")]
    Overflow,
    /// DECRBY by the smallest integer, which has no positive counterpart.
    #[error("ERR decrement would overflow")]
    DecrementOverflow,
    /// INCRBYFLOAT has no finite result.
    #[error("ERR increment would produce NaN or Infinity")]
    NotFinite,
    /// SETRANGE before the beginning.
    #[error("ERR offset is out of range")]
    OffsetOutOfRange,
    /// The value would be longer than [`MAX_VALUE_BYTES`].
    #[error("ERR string exceeds maximum allowed size (proto-max-bulk-len)")]
    StringTooLong,
    /// A key is longer than [`MAX_KEY_BYTES`]. Redis has no such limit.
    #[error("ERR key exceeds maximum allowed size (65536 bytes)")]
    KeyTooLong,
    /// An expiry that is not positive, or beyond what milliseconds in 64 bits can say.
    #[error("ERR invalid expire time in '{command}' command")]
    InvalidExpireTime {
        /// Name of the command.
        command: &'static str,
    },
    /// EXPIRE and its relatives: an option they do not know.
    #[error("ERR Unsupported option {option}")]
    UnsupportedOption {
        /// As the client wrote it.
        option: String,
    },
    /// EXPIRE and its relatives: NX with another condition.
    #[error("ERR NX and XX, GT or LT options at the same time are not compatible")]
    ExpireNxConflict,
    /// EXPIRE and its relatives: both comparisons.
    #[error("ERR GT and LT options at the same time are not compatible")]
    ExpireGtLtConflict,
    /// SCAN: not a cursor.
    #[error("ERR invalid cursor")]
    InvalidCursor,
    /// RENAME: nothing to rename.
    #[error("ERR no such key")]
    NoSuchKey,
    /// COPY onto itself.
    #[error("ERR source and destination objects are the same")]
    SameObject,
    /// SELECT and COPY: no such database.
    #[error("ERR DB index is out of range")]
    NoSuchDatabase,
    /// SELECT and COPY: a number of a database beyond 32 bits.
    #[error("ERR value is out of range, value must between -2147483648 and 2147483647")]
    NotA32BitInteger,
    /// HINCRBY on a field that holds none.
    #[error("ERR hash value is not an integer")]
    HashNotAnInteger,
    /// HINCRBYFLOAT on a field that holds none.
    #[error("ERR hash value is not a float")]
    HashNotAFloat,
    /// HINCRBYFLOAT by an infinity.
    #[error("ERR value is NaN or Infinity")]
    NotFiniteArgument,
    /// A number of things to take.
    #[error("ERR value is out of range, must be positive")]
    NotPositive,
    /// A number of things to pick.
    #[error("ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807")]
    NotASymmetricInteger,
    /// A number of things to pick that no reply could hold.
    #[error("ERR value is out of range")]
    OutOfRange,
    /// A number of keys that is none.
    #[error("ERR numkeys should be greater than 0")]
    NoKeysCounted,
    /// FCALL: a number of keys that is none.
    #[error("ERR Bad number of keys provided")]
    BadNumberOfKeys,
    /// A number of keys below 0.
    #[error("ERR Number of keys can't be negative")]
    NegativeKeysCounted,
    /// A number of keys beyond the arguments.
    #[error("ERR Number of keys can't be greater than number of args")]
    TooManyKeysCounted,
    /// GEOADD and its relatives: no place on the map.
    #[error("ERR invalid longitude,latitude pair {longitude},{latitude}")]
    NotOnTheMap {
        /// With six digits behind the point.
        longitude: String,
        /// The same.
        latitude: String,
    },
    /// A unit of length.
    #[error("ERR unsupported unit provided. please use M, KM, FT, MI")]
    NotALength,
    /// GEOSEARCH around a member that is not there.
    #[error("ERR could not decode requested zset member")]
    NoSuchPlace,
    /// GEOSEARCH: radius.
    #[error("ERR need numeric radius")]
    NotARadius,
    /// GEOSEARCH: radius.
    #[error("ERR radius cannot be negative")]
    NegativeRadius,
    /// GEOSEARCH: width of a box.
    #[error("ERR need numeric width")]
    NotAWidth,
    /// GEOSEARCH: height of a box.
    #[error("ERR need numeric height")]
    NotAHeight,
    /// GEOSEARCH: box.
    #[error("ERR height or width cannot be negative")]
    NegativeBox,
    /// GEOSEARCH: COUNT.
    #[error("ERR COUNT must be > 0")]
    NoCount,
    /// GEOSEARCH: ANY without COUNT.
    #[error("ERR the ANY argument requires COUNT argument")]
    AnyWithoutCount,
    /// GEOSEARCH without a centre.
    #[error("ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for {command}")]
    NoCentre {
        /// Name of the command.
        command: &'static str,
    },
    /// GEOSEARCH without a shape.
    #[error("ERR exactly one of BYRADIUS and BYBOX can be specified for {command}")]
    NoShape {
        /// Name of the command.
        command: &'static str,
    },
    /// Storing places with what only an answer has.
    #[error("ERR {option} is not compatible with WITHDIST, WITHHASH and WITHCOORD options")]
    GeoStoreWith {
        /// What stores.
        option: &'static str,
    },
    /// SETBIT and its relatives: no place for a bit.
    #[error("ERR bit offset is not an integer or out of range")]
    NotABitOffset,
    /// SETBIT: no bit.
    #[error("ERR bit is not an integer or out of range")]
    NotABit,
    /// BITPOS: no bit.
    #[error("ERR The bit argument must be 1 or 0.")]
    NotAWantedBit,
    /// BITOP NOT of several strings.
    #[error("ERR BITOP NOT must be called with a single source key.")]
    BitopNotOfSeveral,
    /// BITFIELD: no integer type.
    #[error("ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.")]
    NotABitfieldType,
    /// BITFIELD: OVERFLOW with another word.
    #[error("ERR Invalid OVERFLOW type specified")]
    NotAnOverflow,
    /// BITFIELD_RO with SET or INCRBY.
    #[error("ERR BITFIELD_RO only supports the GET subcommand")]
    BitfieldOnlyRead,
    /// A string that no sketch is.
    #[error("WRONGTYPE Key is not a valid HyperLogLog string value.")]
    NotASketch,
    /// A sketch that breaks off or goes on too long.
    #[error("INVALIDOBJ Corrupted HLL object detected")]
    CorruptSketch,
    /// OBJECT FREQ, which needs a policy of eviction that is not there.
    #[error(
        "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching \
         between policies at runtime LRU and LFU data will take some time to adjust."
    )]
    NoFrequency,
    /// LCS of other types.
    #[error("ERR The specified keys must contain string values")]
    LcsOfStringsOnly,
    /// LCS with LEN and IDX.
    #[error("ERR If you want both the length and indexes, please just use IDX.")]
    LcsLenAndIdx,
    /// LCS of strings that are too long together.
    #[error("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len")]
    LcsTooLong,
    /// ZUNION and its relatives without a key.
    #[error("ERR at least 1 input key is needed for '{command}' command")]
    NoInputKeys {
        /// Name of the command.
        command: &'static str,
    },
    /// WEIGHTS of ZUNION and its relatives.
    #[error("ERR weight value is not a float")]
    WeightNotAFloat,
    /// The score that an increment would lead to.
    #[error("ERR resulting score is not a number (NaN)")]
    ScoreNotANumber,
    /// An interval of scores.
    #[error("ERR min or max is not a float")]
    NotAnInterval,
    /// An interval of names.
    #[error("ERR min or max not valid string range item")]
    NotANameInterval,
    /// ZRANGE: LIMIT with ranks.
    #[error("ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX")]
    LimitOfRanks,
    /// ZRANGE: WITHSCORES with names.
    #[error("ERR syntax error, WITHSCORES not supported in combination with BYLEX")]
    ScoresOfNames,
    /// ZADD: conditions that exclude each other.
    #[error("ERR XX and NX options at the same time are not compatible")]
    ZaddNxXx,
    /// ZADD: conditions that exclude each other.
    #[error("ERR GT, LT, and/or NX options at the same time are not compatible")]
    ZaddGtLtNx,
    /// ZADD: INCR of several members.
    #[error("ERR INCR option supports a single increment-element pair")]
    ZaddIncrPairs,
    /// COUNT of LMPOP and ZMPOP.
    #[error("ERR count should be greater than 0")]
    NothingCounted,
    /// The time that a blocking command waits.
    #[error("ERR timeout is not a float or out of range")]
    TimeoutNotAFloat,
    /// WAIT
    #[error("ERR timeout is not an integer or out of range")]
    TimeoutNotAnInteger,
    /// The time that a blocking command waits: below 0, or so long that Redis' milliseconds turn negative.
    #[error("ERR timeout is negative")]
    NegativeTimeout,
    /// RESTORE over a key that exists.
    #[error("BUSYKEY Target key name already exists.")]
    BusyKey,
    /// RESTORE: no payload of DUMP, or not as DUMP made it.
    #[error("ERR DUMP payload version or checksum are wrong")]
    BadDumpSeal,
    /// RESTORE: a payload that describes no value.
    #[error("ERR Bad data format")]
    BadDumpFormat,
    /// RESTORE: time to live.
    #[error("ERR Invalid TTL value, must be >= 0")]
    InvalidTtl,
    /// RESTORE: IDLETIME.
    #[error("ERR Invalid IDLETIME value, must be >= 0")]
    InvalidIdleTime,
    /// RESTORE: FREQ.
    #[error("ERR Invalid FREQ value, must be >= 0 and <= 255")]
    InvalidFrequency,
    /// SORT by what is no number.
    #[error("ERR One or more scores can't be converted into double")]
    SortNotANumber,
    /// LSET outside the list.
    #[error("ERR index out of range")]
    IndexOutOfRange,
    /// RANK of LPOS.
    #[error(
        "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... \
         or use negative to start from the end of the list"
    )]
    ZeroRank,
    /// COUNT of LPOS.
    #[error("ERR COUNT can't be negative")]
    NegativeCount,
    /// MAXLEN of LPOS.
    #[error("ERR MAXLEN can't be negative")]
    NegativeMaxLen,
    /// LIMIT of SINTERCARD and ZINTERCARD.
    #[error("ERR LIMIT can't be negative")]
    NegativeLimit,
    /// A command on streams.
    #[error("{0}")]
    Stream(StreamRefusal),
    /// Too few or too many arguments.
    #[error("ERR wrong number of arguments for '{command}' command")]
    WrongArity {
        /// Full name of the command: `get`, `client|id`.
        command: &'static str,
    },
    /// No such command.
    #[error("ERR unknown command '{name}', with args beginning with: {arguments}")]
    UnknownCommand {
        /// As the client wrote it, at most 128 bytes.
        name: String,
        /// The first arguments, quoted, about 128 bytes.
        arguments: String,
    },
    /// No such subcommand.
    #[error("ERR unknown subcommand '{name}'. Try {container} HELP.")]
    UnknownSubcommand {
        /// As the client wrote it, at most 128 bytes.
        name: String,
        /// Name of the command that it was given to, in capitals.
        container: String,
    },
    /// A command reached a place that cannot evaluate it.
    #[error("ERR '{command}' is not evaluated at the leader of a key")]
    Misplaced {
        /// Name of the command.
        command: &'static str,
    },
    /// CLUSTER COUNTKEYSINSLOT: no slot.
    #[error("ERR Invalid slot")]
    InvalidSlot,
    /// CLUSTER GETKEYSINSLOT: no slot, or no number of keys.
    #[error("ERR Invalid slot or number of keys")]
    InvalidSlotOrCount,
    /// COMMAND GETKEYS: not a command.
    #[error("ERR Invalid command specified")]
    GetKeysUnknownCommand,
    /// COMMAND GETKEYS: nothing to find.
    #[error("ERR The command has no key arguments")]
    GetKeysNoKeys,
    /// COMMAND GETKEYS: a number of keys that cannot be right.
    #[error("ERR Invalid arguments specified for command")]
    GetKeysMiscounted,
    /// COMMAND GETKEYS: wrong arity.
    #[error("ERR Invalid number of arguments specified for command")]
    GetKeysWrongArity,
}

impl RedisError {
    /// [`RedisError::UnknownCommand`] for a command line, cut and cleaned as Redis does.
    pub fn unknown_command(args: &[Bytes]) -> Self {
        const SHOWN_BYTES: usize = 128;
        let mut arguments = String::new();
        for arg in args.iter().skip(1) {
            if arguments.len() >= SHOWN_BYTES {
                break;
            }
            let room = SHOWN_BYTES - arguments.len();
            arguments.push_str(&format!("'{}' ", shown(arg, room)));
        }
        let name = args.first().map_or_else(String::new, |name| shown(name, SHOWN_BYTES));
        RedisError::UnknownCommand { name, arguments }
    }

    /// [`RedisError::UnknownSubcommand`] of `container`.
    pub fn unknown_subcommand(container: &str, name: &[u8]) -> Self {
        RedisError::UnknownSubcommand { name: shown(name, 128), container: container.to_ascii_uppercase() }
    }

    /// [`RedisError::UnsupportedOption`].
    pub fn unsupported_option(option: &[u8]) -> Self {
        RedisError::UnsupportedOption { option: shown(option, option.len()) }
    }
}

/// Client bytes as they may stand in an error line: at most `limit` of them, up to a zero byte, no line breaks.
pub(super) fn shown(bytes: &[u8], limit: usize) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    let text = String::from_utf8_lossy(&bytes[..end.min(limit)]);
    text.replace(['\r', '\n'], " ")
}

impl From<RedisError> for Value {
    fn from(error: RedisError) -> Self {
        Value::Error(error.to_string())
    }
}
