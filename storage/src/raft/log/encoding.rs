//! What the shared log keeps where, and in which bytes.
//!
//! | kind | key behind the kind byte | value |
//! | --- | --- | --- |
//! | 0x01 replica | group · replica | state: 1 here, 2 removed |
//! | 0x02 vote | group | term · replica voted for · committed (u8) |
//! | 0x03 committed | group | term · index |
//! | 0x04 purged | group | term · index |
//! | 0x10 entry | group · index | payload kind (u8) · term · payload |
//!
//! Numbers are u64 big-endian unless noted. Every value begins with a version byte. A payload is what the leader
//! encoded, byte for byte; a membership is JSON, in the form that openraft keeps readable over its versions.

use bytes::{BufMut, Bytes, BytesMut};
use keyspace::{GroupId, ReplicaId};
use openraft::EntryPayload;
use openraft::alias::CommittedLeaderIdOf;

use super::LogError;
use crate::raft::types::{Entry, LogId, Payload, TypeConfig, Vote};

const FORMAT: u8 = 1;

const REPLICA: u8 = 0x01;
const VOTE: u8 = 0x02;
const COMMITTED: u8 = 0x03;
const PURGED: u8 = 0x04;
const ENTRY: u8 = 0x10;

const REPLICA_HERE: u8 = 1;
const REPLICA_REMOVED: u8 = 2;

const BLANK: u8 = 0;
const NORMAL: u8 = 1;
const MEMBERSHIP: u8 = 2;

/// Bytes of an entry key: kind, group, index.
pub(super) const ENTRY_KEY_LEN: usize = 17;
/// Bytes before the payload of an entry: version, payload kind, term.
const ENTRY_HEADER_LEN: usize = 10;

fn group_key(kind: u8, group: GroupId) -> Vec<u8> {
    let mut key = Vec::with_capacity(ENTRY_KEY_LEN);
    key.push(kind);
    key.extend_from_slice(&group.0.to_be_bytes());
    key
}

fn numbered_key(kind: u8, group: GroupId, number: u64) -> Vec<u8> {
    let mut key = group_key(kind, group);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// Key of a replica record.
pub(super) fn replica_key(group: GroupId, replica: ReplicaId) -> Vec<u8> {
    numbered_key(REPLICA, group, replica.0)
}

/// First and end of all replica records.
pub(super) fn all_replicas() -> (Vec<u8>, Vec<u8>) {
    (vec![REPLICA], vec![REPLICA + 1])
}

/// Key of a group's vote.
pub(super) fn vote_key(group: GroupId) -> Vec<u8> {
    group_key(VOTE, group)
}

/// Key of the last log id that a group knew to be committed.
pub(super) fn committed_key(group: GroupId) -> Vec<u8> {
    group_key(COMMITTED, group)
}

/// Key of the last purged log id of a group.
pub(super) fn purged_key(group: GroupId) -> Vec<u8> {
    group_key(PURGED, group)
}

/// Key of an entry. `u64::MAX` is not an entry's index: it ends the group's interval.
pub(super) fn entry_key(group: GroupId, index: u64) -> Vec<u8> {
    numbered_key(ENTRY, group, index)
}

/// Index in an entry key.
pub(super) fn entry_index(key: &[u8]) -> Result<u64, LogError> {
    match key.split_last_chunk::<8>() {
        Some(([ENTRY, group @ ..], index)) if group.len() == 8 => Ok(u64::from_be_bytes(*index)),
        _ => Err(corrupt(key, "not an entry key")),
    }
}

fn corrupt(key: &[u8], reason: &'static str) -> LogError {
    LogError::Corrupt { key: key.escape_ascii().to_string(), reason }
}

/// Takes the version byte off a value.
fn body<'a>(key: &[u8], value: &'a [u8]) -> Result<&'a [u8], LogError> {
    match value {
        [FORMAT, body @ ..] => Ok(body),
        _ => Err(corrupt(key, "written in an unknown format version")),
    }
}

/// Value of a replica record.
pub(super) fn encode_replica(removed: bool) -> Vec<u8> {
    vec![FORMAT, if removed { REPLICA_REMOVED } else { REPLICA_HERE }]
}

/// Group, replica and whether it was removed.
pub(super) fn decode_replica(key: &[u8], value: &[u8]) -> Result<(GroupId, ReplicaId, bool), LogError> {
    let removed = match body(key, value)? {
        [REPLICA_HERE] => false,
        [REPLICA_REMOVED] => true,
        _ => return Err(corrupt(key, "unknown replica state")),
    };
    let ids = key.get(1..).and_then(<[u8]>::split_first_chunk::<8>);
    let (group, replica) = ids.ok_or_else(|| corrupt(key, "not a replica key"))?;
    let replica: [u8; 8] = replica.try_into().map_err(|_| corrupt(key, "not a replica key"))?;
    Ok((GroupId(u64::from_be_bytes(*group)), ReplicaId(u64::from_be_bytes(replica)), removed))
}

/// Value of a vote.
pub(super) fn encode_vote(vote: &Vote) -> Vec<u8> {
    let mut value = Vec::with_capacity(18);
    value.push(FORMAT);
    value.extend_from_slice(&vote.leader_id.term.to_be_bytes());
    value.extend_from_slice(&vote.leader_id.voted_for.to_be_bytes());
    value.push(u8::from(vote.committed));
    value
}

/// Inverse of [`encode_vote`].
pub(super) fn decode_vote(key: &[u8], value: &[u8]) -> Result<Vote, LogError> {
    let bad = || corrupt(key, "not a vote");
    let (term, rest) = body(key, value)?.split_first_chunk::<8>().ok_or_else(bad)?;
    let (voted_for, committed) = rest.split_first_chunk::<8>().ok_or_else(bad)?;
    let (term, voted_for) = (u64::from_be_bytes(*term), u64::from_be_bytes(*voted_for));
    match committed {
        [0] => Ok(Vote::new(term, voted_for)),
        [1] => Ok(Vote::new_committed(term, voted_for)),
        _ => Err(bad()),
    }
}

/// Value of a log id.
pub(super) fn encode_log_id(id: &LogId) -> Vec<u8> {
    let mut value = Vec::with_capacity(17);
    value.push(FORMAT);
    value.extend_from_slice(&id.leader_id.term.to_be_bytes());
    value.extend_from_slice(&id.index.to_be_bytes());
    value
}

/// Inverse of [`encode_log_id`].
pub(super) fn decode_log_id(key: &[u8], value: &[u8]) -> Result<LogId, LogError> {
    let numbers = body(key, value)?.split_first_chunk::<8>();
    let (term, index) = numbers.ok_or_else(|| corrupt(key, "not a log id"))?;
    let index: [u8; 8] = index.try_into().map_err(|_| corrupt(key, "not a log id"))?;
    Ok(log_id(u64::from_be_bytes(*term), u64::from_be_bytes(index)))
}

/// A log id of our terms: one leader a term.
pub(super) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(CommittedLeaderIdOf::<TypeConfig>::new(term), index)
}

/// An entry in its disk form, and as the tail keeps it: the payload is a slice of the same bytes.
pub(super) struct EncodedEntry {
    pub(super) key: Bytes,
    pub(super) value: Bytes,
    pub(super) entry: Entry,
}

/// Encodes entries into one buffer.
///
/// Payloads are copied once and then shared by the batch and the tail. What they were slices of (a whole received
/// message, perhaps) is not kept alive by the tail.
pub(super) fn encode_entries(
    group: GroupId,
    entries: impl Iterator<Item = Entry>,
) -> Result<Vec<EncodedEntry>, LogError> {
    let mut buffer = BytesMut::new();
    let mut lengths = Vec::with_capacity(entries.size_hint().0);
    for entry in entries {
        let before = buffer.len();
        buffer.put_u8(ENTRY);
        buffer.put_u64(group.0);
        buffer.put_u64(entry.log_id.index);
        buffer.put_u8(FORMAT);
        match &entry.payload {
            EntryPayload::Blank => buffer.put_u8(BLANK),
            EntryPayload::Normal(_) => buffer.put_u8(NORMAL),
            EntryPayload::Membership(_) => buffer.put_u8(MEMBERSHIP),
        }
        buffer.put_u64(entry.log_id.leader_id.term);
        match &entry.payload {
            EntryPayload::Blank => {}
            EntryPayload::Normal(Payload(payload)) => buffer.put_slice(payload),
            EntryPayload::Membership(membership) => {
                let json = serde_json::to_vec(membership).map_err(|_| LogError::Unencodable { group })?;
                buffer.put_slice(&json);
            }
        }
        lengths.push((buffer.len() - before, entry));
    }
    let mut buffer = buffer.freeze();
    let encoded = lengths.into_iter().map(|(length, mut entry)| {
        let mut bytes = buffer.split_to(length);
        let key = bytes.split_to(ENTRY_KEY_LEN);
        if let EntryPayload::Normal(payload) = &mut entry.payload {
            *payload = Payload(bytes.slice(ENTRY_HEADER_LEN..));
        }
        EncodedEntry { key, value: bytes, entry }
    });
    Ok(encoded.collect())
}

/// Inverse of the encoding of one entry.
pub(super) fn decode_entry(key: &[u8], value: &Bytes) -> Result<Entry, LogError> {
    let index = entry_index(key)?;
    let header = body(key, value)?.split_first_chunk::<{ ENTRY_HEADER_LEN - 1 }>();
    let ([kind, term @ ..], _) = header.ok_or_else(|| corrupt(key, "shorter than its header"))?;
    let payload = value.slice(ENTRY_HEADER_LEN..);
    let payload = match *kind {
        BLANK if payload.is_empty() => EntryPayload::Blank,
        NORMAL => EntryPayload::Normal(Payload(payload)),
        MEMBERSHIP => {
            EntryPayload::Membership(serde_json::from_slice(&payload).map_err(|_| corrupt(key, "not a membership"))?)
        }
        _ => return Err(corrupt(key, "unknown payload kind")),
    };
    Ok(Entry { log_id: log_id(u64::from_be_bytes(*term), index), payload })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use openraft::Membership;
    use proptest::prelude::*;

    use super::*;
    use crate::raft::types::PeerNode;

    fn entry() -> impl Strategy<Value = Entry> {
        let membership = (prop::collection::btree_set(1..9_u64, 1..4), prop::collection::btree_set(1..9_u64, 0..4));
        let membership = membership.prop_map(|(voters, learners)| {
            let node = |id: &u64| (*id, PeerNode { node_id: id + 100, address: format!("10.0.0.{id}:7000") });
            let nodes: BTreeMap<u64, PeerNode> = voters.iter().chain(&learners).map(node).collect();
            let joint = BTreeSet::from([*voters.first().unwrap()]);
            EntryPayload::Membership(Membership::new(vec![voters, joint], nodes).unwrap())
        });
        let payload = prop_oneof![
            Just(EntryPayload::Blank),
            prop::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| EntryPayload::Normal(Payload(bytes.into()))),
            membership,
        ];
        (any::<u64>(), 0..u64::MAX, payload)
            .prop_map(|(term, index, payload)| Entry { log_id: log_id(term, index), payload })
    }

    proptest! {
        #[test]
        fn entries_come_back_from_their_bytes(entries in prop::collection::vec(entry(), 1..8), group in any::<u64>()) {
            let encoded = encode_entries(GroupId(group), entries.iter().cloned()).unwrap();
            for (encoded, entry) in encoded.iter().zip(&entries) {
                prop_assert_eq!(&encoded.key[..], &entry_key(GroupId(group), entry.log_id.index)[..]);
                prop_assert_eq!(&decode_entry(&encoded.key, &encoded.value).unwrap(), entry);
                prop_assert_eq!(&encoded.entry, entry);
            }
        }

        #[test]
        fn junk_is_refused_and_never_panics(key in prop::collection::vec(any::<u8>(), 0..24), value in prop::collection::vec(any::<u8>(), 0..24)) {
            let value = Bytes::from(value);
            for result in [
                decode_entry(&key, &value).map(drop),
                decode_entry(&entry_key(GroupId(1), 1), &value).map(drop),
                decode_vote(&key, &value).map(drop),
                decode_log_id(&key, &value).map(drop),
                decode_replica(&key, &value).map(drop),
            ] {
                if value.first() != Some(&FORMAT) {
                    prop_assert!(result.is_err());
                }
            }
        }

        #[test]
        fn votes_and_log_ids_come_back(term in any::<u64>(), other in any::<u64>(), committed in any::<bool>()) {
            let vote = if committed { Vote::new_committed(term, other) } else { Vote::new(term, other) };
            prop_assert_eq!(decode_vote(b"", &encode_vote(&vote)).unwrap(), vote);
            let id = log_id(term, other);
            prop_assert_eq!(decode_log_id(b"", &encode_log_id(&id)).unwrap(), id);
            let key = replica_key(GroupId(term), ReplicaId(other));
            let record = decode_replica(&key, &encode_replica(committed)).unwrap();
            prop_assert_eq!(record, (GroupId(term), ReplicaId(other), committed));
        }
    }
}
