//! What Redis says when it refuses a command on streams.

use bytes::Bytes;
use thiserror::Error;

use super::super::access::Fault;
use super::super::error::{RedisError, shown};

/// Why a command on streams is refused. `Display` is the whole error line, as Redis 7.0 words it.
#[allow(missing_docs)]
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum StreamRefusal {
    #[error("ERR Invalid stream ID specified as stream command argument")]
    InvalidId,
    #[error("ERR invalid start ID for the interval")]
    InvalidStart,
    #[error("ERR invalid end ID for the interval")]
    InvalidEnd,
    #[error("ERR syntax error, MAXLEN and MINID options at the same time are not compatible")]
    MaxLenAndMinId,
    #[error("ERR The MAXLEN argument must be >= 0.")]
    NegativeMaxLen,
    #[error("ERR The LIMIT argument must be >= 0.")]
    NegativeLimit,
    #[error("ERR syntax error, LIMIT cannot be used without specifying a trimming strategy")]
    LimitWithoutTrim,
    #[error("ERR syntax error, XTRIM must be called with a trimming strategy")]
    NoTrim,
    #[error("ERR syntax error, LIMIT cannot be used without the special ~ option")]
    LimitOfExact,
    #[error("ERR The ID specified in XADD must be greater than 0-0")]
    AddZero,
    #[error("ERR The ID specified in XADD is equal or smaller than the target stream top item")]
    AddBelow,
    #[error("ERR The stream has exhausted the last possible ID, unable to add more items")]
    Exhausted,
    #[error("ERR entries_added must be positive")]
    NegativeAdded,
    #[error("ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id")]
    BelowProvidedDeleted,
    #[error("ERR The ID specified in XSETID is smaller than current max_deleted_entry_id")]
    BelowDeleted,
    #[error("ERR The ID specified in XSETID is smaller than the target stream top item")]
    BelowTop,
    #[error("ERR The entries_added specified in XSETID is smaller than the target stream length")]
    AddedBelowLength,
    #[error("ERR timeout is not an integer or out of range")]
    TimeoutNotAnInteger,
    #[error("ERR Unbalanced '{command}' list of streams: for each stream key an ID or '{symbol}' must be specified.")]
    Unbalanced { command: &'static str, symbol: char },
    #[error("ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.")]
    GroupOfXRead,
    #[error("ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.")]
    NoAckOfXRead,
    #[error("ERR Missing GROUP option for XREADGROUP")]
    MissingGroup,
    #[error(
        "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by \
         specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set."
    )]
    DollarOfGroup,
    #[error("ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.")]
    NewOfXRead,
    #[error("NOGROUP No such key '{key}' or consumer group '{group}' in XREADGROUP with GROUP option")]
    NoGroupToRead { key: String, group: String },
    #[error("NOGROUP No such key '{key}' or consumer group '{group}'")]
    NoKeyOrGroup { key: String, group: String },
    #[error("NOGROUP No such consumer group '{group}' for key name '{key}'")]
    NoGroup { key: String, group: String },
    #[error("BUSYGROUP Consumer Group name already exists")]
    BusyGroup,
    #[error("ERR value for ENTRIESREAD must be positive or -1")]
    NegativeRead,
    #[error(
        "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM \
         option to create an empty stream automatically."
    )]
    NoKeyOfGroup,
    #[error("ERR unknown subcommand or wrong number of arguments for '{name}'. Try {container} HELP.")]
    Subcommand { name: String, container: &'static str },
    #[error("ERR Invalid {what} for {command}")]
    InvalidNumber { what: &'static str, command: &'static str },
    #[error("ERR Unrecognized XCLAIM option '{option}'")]
    ClaimOption { option: String },
    #[error("ERR COUNT must be > 0")]
    NoCount,
    #[error("ERR DUMP of a stream is not supported")]
    NoDump,
}

impl StreamRefusal {
    pub(super) fn no_group_to_read(key: &[u8], group: &[u8]) -> Self {
        Self::NoGroupToRead { key: text(key), group: text(group) }
    }

    pub(super) fn no_key_or_group(key: &[u8], group: &[u8]) -> Self {
        Self::NoKeyOrGroup { key: text(key), group: text(group) }
    }

    pub(super) fn no_group(key: &[u8], group: &[u8]) -> Self {
        Self::NoGroup { key: text(key), group: text(group) }
    }

    pub(super) fn subcommand(name: &Bytes, container: &'static str) -> Self {
        Self::Subcommand { name: shown(name, 128), container }
    }

    pub(super) fn claim_option(option: &[u8]) -> Self {
        Self::ClaimOption { option: text(option) }
    }
}

fn text(bytes: &[u8]) -> String {
    shown(bytes, bytes.len())
}

impl From<StreamRefusal> for RedisError {
    fn from(refusal: StreamRefusal) -> Self {
        RedisError::Stream(refusal)
    }
}

impl From<StreamRefusal> for Fault {
    fn from(refusal: StreamRefusal) -> Self {
        Fault::Refused(refusal.into())
    }
}
