//! Between openraft's messages and the wire.
//!
//! Outward nothing can fail. Inward, everything is checked that openraft takes for granted (it panics or corrupts on a
//! message that no correct leader sends): the vote belongs to the sender, entries are consecutive, memberships are
//! complete. Payloads are shared with the received message, not copied.

use std::collections::{BTreeMap, BTreeSet};

use keyspace::{GroupId, ReplicaId};
use openraft::impls::leader_id_std::LeaderId;
use openraft::raft::{
    AppendEntriesRequest, StreamAppendError, StreamAppendResult, TransferLeaderError, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::vote::RaftLeaderId;
use openraft::{EntryPayload, Membership};
use proto::wire;
use thiserror::Error;

use crate::raft::types::{Entry, LogId, Payload, PeerNode, StoredMembership, TypeConfig, Vote};

/// A message that no correct peer sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("malformed Raft message: {0}")]
pub struct Malformed(pub(super) &'static str);

/// From which replica to which, of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Address {
    pub(super) group: GroupId,
    pub(super) from: ReplicaId,
    pub(super) to: ReplicaId,
}

impl From<Address> for wire::ReplicaAddress {
    fn from(address: Address) -> Self {
        Self { group_id: address.group.0, from_replica_id: address.from.0, to_replica_id: address.to.0 }
    }
}

impl TryFrom<Option<wire::ReplicaAddress>> for Address {
    type Error = Malformed;

    fn try_from(address: Option<wire::ReplicaAddress>) -> Result<Self, Malformed> {
        let address = address.ok_or(Malformed("no address"))?;
        if address.from_replica_id == address.to_replica_id {
            return Err(Malformed("a replica does not send to itself"));
        }
        Ok(Self {
            group: GroupId(address.group_id),
            from: ReplicaId(address.from_replica_id),
            to: ReplicaId(address.to_replica_id),
        })
    }
}

pub(crate) fn log_id_out(id: LogId) -> wire::LogId {
    wire::LogId { term: id.committed_leader_id().term, index: id.index() }
}

pub(crate) fn log_id_in(id: wire::LogId) -> LogId {
    LogId::new_term_index(id.term, id.index)
}

pub(super) fn ballot_out(vote: &Vote) -> wire::Ballot {
    wire::Ballot { term: vote.leader_id.term, replica_id: vote.leader_id.voted_for, committed: vote.committed }
}

pub(super) fn ballot_in(ballot: Option<wire::Ballot>) -> Result<Vote, Malformed> {
    let ballot = ballot.ok_or(Malformed("no vote"))?;
    Ok(Vote { leader_id: LeaderId::new(ballot.term, ballot.replica_id), committed: ballot.committed })
}

/// The vote of a leader that sends for itself.
fn leader_in(ballot: Option<wire::Ballot>, address: Address) -> Result<Vote, Malformed> {
    let vote = ballot_in(ballot)?;
    if !vote.committed {
        return Err(Malformed("the sender was not elected"));
    }
    if vote.leader_id.voted_for != address.from.0 {
        return Err(Malformed("the sender is not the leader that it claims to be"));
    }
    Ok(vote)
}

pub(crate) fn membership_out(membership: &Membership<u64, PeerNode>) -> wire::Membership {
    wire::Membership {
        configs: membership
            .get_joint_config()
            .iter()
            .map(|voters| wire::ReplicaSet { replica_ids: voters.iter().copied().collect() })
            .collect(),
        nodes: membership
            .nodes()
            .map(|(id, node)| wire::MemberNode {
                replica_id: *id,
                node_id: node.node_id,
                address: node.address.clone(),
            })
            .collect(),
    }
}

pub(crate) fn membership_in(membership: wire::Membership) -> Result<Membership<u64, PeerNode>, Malformed> {
    if membership.configs.is_empty() && membership.nodes.is_empty() {
        // A replica that has seen no membership yet.
        return Ok(Membership::default());
    }
    let configs: Vec<BTreeSet<u64>> =
        membership.configs.into_iter().map(|set| set.replica_ids.into_iter().collect()).collect();
    let nodes: BTreeMap<u64, PeerNode> = membership
        .nodes
        .into_iter()
        .map(|node| (node.replica_id, PeerNode { node_id: node.node_id, address: node.address }))
        .collect();
    Membership::new(configs, nodes).map_err(|_| Malformed("a voter without a node, or no voter"))
}

fn entry_out(entry: Entry) -> wire::LogEntry {
    let payload = match entry.payload {
        EntryPayload::Blank => None,
        EntryPayload::Normal(Payload(bytes)) => Some(wire::log_entry::Payload::Normal(bytes)),
        EntryPayload::Membership(membership) => Some(wire::log_entry::Payload::Membership(membership_out(&membership))),
    };
    wire::LogEntry { id: Some(log_id_out(entry.log_id)), payload }
}

fn entry_in(entry: wire::LogEntry) -> Result<Entry, Malformed> {
    let log_id = log_id_in(entry.id.ok_or(Malformed("an entry without an id"))?);
    let payload = match entry.payload {
        None => EntryPayload::Blank,
        Some(wire::log_entry::Payload::Normal(bytes)) => EntryPayload::Normal(Payload(bytes)),
        Some(wire::log_entry::Payload::Membership(membership)) => EntryPayload::Membership(membership_in(membership)?),
    };
    Ok(Entry { log_id, payload })
}

pub(super) fn append_out(address: Address, lane: u64, request: AppendEntriesRequest<TypeConfig>) -> wire::Append {
    wire::Append {
        address: Some(address.into()),
        lane,
        vote: Some(ballot_out(&request.vote)),
        prev_log_id: request.prev_log_id.map(log_id_out),
        entries: request.entries.into_iter().map(entry_out).collect(),
        leader_commit: request.leader_commit.map(log_id_out),
        end: false,
    }
}

pub(super) fn append_in(append: wire::Append, address: Address) -> Result<AppendEntriesRequest<TypeConfig>, Malformed> {
    let vote = leader_in(append.vote, address)?;
    let prev_log_id = append.prev_log_id.map(log_id_in);
    let mut last = prev_log_id;
    let mut entries = Vec::with_capacity(append.entries.len());
    for entry in append.entries {
        let entry = entry_in(entry)?;
        let expected = last.map_or(0, |id| id.index() + 1);
        if entry.log_id.index() != expected {
            return Err(Malformed("entries are not consecutive"));
        }
        if Some(entry.log_id) < last {
            return Err(Malformed("terms of entries go down"));
        }
        last = Some(entry.log_id);
        entries.push(entry);
    }
    Ok(AppendEntriesRequest { vote, prev_log_id, entries, leader_commit: append.leader_commit.map(log_id_in) })
}

pub(super) fn pulse_out(address: Address, ticket: u64, request: AppendEntriesRequest<TypeConfig>) -> wire::Pulse {
    wire::Pulse {
        address: Some(address.into()),
        ticket,
        vote: Some(ballot_out(&request.vote)),
        prev_log_id: request.prev_log_id.map(log_id_out),
        leader_commit: request.leader_commit.map(log_id_out),
    }
}

pub(super) fn pulse_in(pulse: wire::Pulse, address: Address) -> Result<AppendEntriesRequest<TypeConfig>, Malformed> {
    Ok(AppendEntriesRequest {
        vote: leader_in(pulse.vote, address)?,
        prev_log_id: pulse.prev_log_id.map(log_id_in),
        entries: Vec::new(),
        leader_commit: pulse.leader_commit.map(log_id_in),
    })
}

/// What a follower answers: openraft's own answer, or that it cannot serve this replica.
pub(super) type AckOutcome = Result<StreamAppendResult<TypeConfig>, String>;

pub(super) fn ack_out(group: GroupId, lane: u64, outcome: AckOutcome) -> wire::AppendAck {
    use wire::append_ack::Outcome;
    let outcome = match outcome {
        Ok(Ok(matched)) => Outcome::Matched(wire::Matched { log_id: matched.map(log_id_out) }),
        Ok(Err(StreamAppendError::Conflict(at))) => Outcome::Conflict(log_id_out(at)),
        Ok(Err(StreamAppendError::HigherVote(vote))) => Outcome::HigherVote(ballot_out(&vote)),
        Err(reason) => Outcome::Unavailable(reason),
    };
    wire::AppendAck { group_id: group.0, lane, outcome: Some(outcome) }
}

pub(super) fn ack_in(ack: wire::AppendAck) -> Result<AckOutcome, Malformed> {
    use wire::append_ack::Outcome;
    Ok(match ack.outcome.ok_or(Malformed("an acknowledgement without an outcome"))? {
        Outcome::Matched(matched) => Ok(Ok(matched.log_id.map(log_id_in))),
        Outcome::Conflict(at) => Ok(Err(StreamAppendError::Conflict(log_id_in(at)))),
        Outcome::HigherVote(vote) => Ok(Err(StreamAppendError::HigherVote(ballot_in(Some(vote))?))),
        Outcome::Unavailable(reason) => Err(reason),
    })
}

pub(super) fn vote_request_out(
    address: Address,
    request: &VoteRequest<TypeConfig>,
    pre_vote: bool,
) -> wire::VoteRequest {
    wire::VoteRequest {
        address: Some(address.into()),
        vote: Some(ballot_out(&request.vote)),
        last_log_id: request.last_log_id.map(log_id_out),
        pre_vote,
        leadership_transfer: request.leadership_transfer,
    }
}

pub(super) fn vote_request_in(
    request: wire::VoteRequest,
    address: Address,
) -> Result<VoteRequest<TypeConfig>, Malformed> {
    let vote = ballot_in(request.vote)?;
    if vote.leader_id.voted_for != address.from.0 {
        return Err(Malformed("a candidate asks for another"));
    }
    let mut ask = VoteRequest::new(vote, request.last_log_id.map(log_id_in));
    ask.leadership_transfer = request.leadership_transfer;
    Ok(ask)
}

pub(super) fn vote_response_out(response: &VoteResponse<TypeConfig>) -> wire::VoteResponse {
    wire::VoteResponse {
        vote: Some(ballot_out(&response.vote)),
        granted: response.vote_granted,
        last_log_id: response.last_log_id.map(log_id_out),
    }
}

pub(super) fn vote_response_in(response: wire::VoteResponse) -> Result<VoteResponse<TypeConfig>, Malformed> {
    Ok(VoteResponse::new(ballot_in(response.vote)?, response.last_log_id.map(log_id_in), response.granted))
}

pub(super) fn transfer_out(address: Address, request: &TransferLeaderRequest<TypeConfig>) -> wire::RaftTransferRequest {
    wire::RaftTransferRequest {
        address: Some(address.into()),
        from_leader: Some(ballot_out(request.from_leader())),
        to_replica_id: *request.to_node_id(),
        last_log_id: request.last_log_id().copied().map(log_id_out),
    }
}

pub(super) fn transfer_in(
    request: wire::RaftTransferRequest,
    address: Address,
) -> Result<TransferLeaderRequest<TypeConfig>, Malformed> {
    let from = leader_in(request.from_leader, address)?;
    Ok(TransferLeaderRequest::new(from, request.to_replica_id, request.last_log_id.map(log_id_in)))
}

pub(super) fn transfer_response_out(response: TransferLeaderResponse<TypeConfig>) -> wire::RaftTransferResponse {
    use wire::raft_transfer_response::Refusal;
    let refusal = match response {
        Ok(()) => None,
        Err(TransferLeaderError::VoteChanged { actual, .. }) => Some(Refusal::OtherVote(ballot_out(&actual))),
        Err(TransferLeaderError::LogNotFlushed { actual, .. }) => {
            Some(Refusal::LogBehind(wire::Matched { log_id: actual.map(log_id_out) }))
        }
    };
    wire::RaftTransferResponse { refusal }
}

pub(super) fn transfer_response_in(
    response: wire::RaftTransferResponse,
    request: &TransferLeaderRequest<TypeConfig>,
) -> Result<TransferLeaderResponse<TypeConfig>, Malformed> {
    use wire::raft_transfer_response::Refusal;
    Ok(match response.refusal {
        None => Ok(()),
        Some(Refusal::OtherVote(ballot)) => {
            Err(TransferLeaderError::VoteChanged { expected: *request.from_leader(), actual: ballot_in(Some(ballot))? })
        }
        Some(Refusal::LogBehind(matched)) => Err(TransferLeaderError::LogNotFlushed {
            expected: request.last_log_id().copied(),
            actual: matched.log_id.map(log_id_in),
        }),
    })
}

/// What a snapshot is of, as its header tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SnapshotTitle {
    pub(super) vote: Vote,
    pub(super) last_log_id: Option<LogId>,
    pub(super) membership: StoredMembership,
    pub(super) files: Vec<wire::SnapshotFile>,
}

/// More files than any snapshot has.
const MAX_SNAPSHOT_FILES: usize = 65_536;

pub(super) fn snapshot_out(address: Address, title: &SnapshotTitle) -> wire::SnapshotHeader {
    wire::SnapshotHeader {
        address: Some(address.into()),
        vote: Some(ballot_out(&title.vote)),
        last_log_id: title.last_log_id.map(log_id_out),
        membership_log_id: title.membership.log_id().map(log_id_out),
        membership: Some(membership_out(title.membership.membership())),
        files: title.files.clone(),
    }
}

pub(super) fn snapshot_in(header: wire::SnapshotHeader, address: Address) -> Result<SnapshotTitle, Malformed> {
    let vote = leader_in(header.vote, address)?;
    let last_log_id = header.last_log_id.map(log_id_in);
    if last_log_id.is_some_and(|id| id.committed_leader_id().term > vote.leader_id.term) {
        return Err(Malformed("a snapshot newer than its leader"));
    }
    if header.files.len() > MAX_SNAPSHOT_FILES {
        return Err(Malformed("too many files"));
    }
    let membership = membership_in(header.membership.unwrap_or_default())?;
    let membership = StoredMembership::new(header.membership_log_id.map(log_id_in), membership);
    Ok(SnapshotTitle { vote, last_log_id, membership, files: header.files })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bytes::Bytes;
    use prost::Message;

    use super::*;

    const ADDRESS: Address = Address { group: GroupId(7), from: ReplicaId(1), to: ReplicaId(2) };

    fn id(term: u64, index: u64) -> LogId {
        LogId::new_term_index(term, index)
    }

    fn normal(term: u64, index: u64) -> Entry {
        Entry { log_id: id(term, index), payload: EntryPayload::Normal(Payload(Bytes::from_static(b"payload"))) }
    }

    fn membership() -> Membership<u64, PeerNode> {
        let node = |node_id| PeerNode { node_id, address: format!("127.0.0.1:{node_id}") };
        let nodes = BTreeMap::from([(1, node(11)), (2, node(12)), (3, node(13))]);
        Membership::new(vec![BTreeSet::from([1, 2]), BTreeSet::from([2])], nodes).unwrap()
    }

    fn request(entries: Vec<Entry>) -> AppendEntriesRequest<TypeConfig> {
        AppendEntriesRequest {
            vote: Vote::new_committed(3, 1),
            prev_log_id: Some(id(2, 4)),
            entries,
            leader_commit: Some(id(2, 3)),
        }
    }

    /// Over the wire and back.
    fn round_trip<M: Message + Default>(message: &M) -> M {
        M::decode(Bytes::from(message.encode_to_vec())).unwrap()
    }

    #[test]
    fn append_survives_the_wire() {
        let entries = vec![
            normal(2, 5),
            Entry { log_id: id(3, 6), payload: EntryPayload::Blank },
            Entry { log_id: id(3, 7), payload: EntryPayload::Membership(membership()) },
        ];
        let sent = append_out(ADDRESS, 9, request(entries.clone()));
        let got = append_in(round_trip(&sent), ADDRESS).unwrap();
        assert_eq!(got.vote, Vote::new_committed(3, 1));
        assert_eq!(got.prev_log_id, Some(id(2, 4)));
        assert_eq!(got.leader_commit, Some(id(2, 3)));
        assert_eq!(got.entries, entries);
    }

    #[test]
    fn payload_is_shared_with_the_received_message() {
        let message = Bytes::from(append_out(ADDRESS, 9, request(vec![normal(2, 5)])).encode_to_vec());
        let got = append_in(wire::Append::decode(message.clone()).unwrap(), ADDRESS).unwrap();
        let EntryPayload::Normal(Payload(payload)) = &got.entries[0].payload else { panic!("a normal entry") };
        let whole = message.as_ptr() as usize..message.as_ptr() as usize + message.len();
        assert!(whole.contains(&(payload.as_ptr() as usize)), "the payload was copied");
    }

    #[test]
    fn junk_is_refused() {
        let refused = |change: fn(&mut wire::Append)| {
            let mut append = append_out(ADDRESS, 9, request(vec![normal(2, 5), normal(2, 6)]));
            change(&mut append);
            append_in(append, ADDRESS).unwrap_err().0
        };
        assert_eq!(refused(|a| a.vote = None), "no vote");
        assert_eq!(refused(|a| a.vote.as_mut().unwrap().committed = false), "the sender was not elected");
        assert_eq!(
            refused(|a| a.vote.as_mut().unwrap().replica_id = 5),
            "the sender is not the leader that it claims to be"
        );
        assert_eq!(refused(|a| a.entries.swap(0, 1)), "entries are not consecutive");
        assert_eq!(refused(|a| a.prev_log_id = None), "entries are not consecutive");
        assert_eq!(refused(|a| a.entries[1].id.as_mut().unwrap().term = 1), "terms of entries go down");
        assert_eq!(refused(|a| a.entries[0].id = None), "an entry without an id");
        assert_eq!(
            refused(|a| {
                a.entries[0].payload = Some(wire::log_entry::Payload::Membership(wire::Membership {
                    configs: vec![wire::ReplicaSet { replica_ids: vec![1] }],
                    nodes: vec![],
                }));
            }),
            "a voter without a node, or no voter"
        );
        let itself = wire::ReplicaAddress { group_id: 1, from_replica_id: 2, to_replica_id: 2 };
        assert!(Address::try_from(Some(itself)).is_err());
        assert!(Address::try_from(None).is_err());
    }

    #[test]
    fn every_answer_survives_the_wire() {
        let outcomes: Vec<AckOutcome> = vec![
            Ok(Ok(None)),
            Ok(Ok(Some(id(1, 2)))),
            Ok(Err(StreamAppendError::Conflict(id(4, 5)))),
            Ok(Err(StreamAppendError::HigherVote(Vote::new(9, 3)))),
            Err("no such replica".to_owned()),
        ];
        for outcome in outcomes {
            let ack = round_trip(&ack_out(ADDRESS.group, 4, outcome.clone()));
            assert_eq!((ack.group_id, ack.lane), (7, 4));
            assert_eq!(ack_in(ack).unwrap(), outcome);
        }
        assert!(ack_in(wire::AppendAck::default()).is_err());
    }

    #[test]
    fn votes_and_transfers_survive_the_wire() {
        let mut ask = VoteRequest::new(Vote::new(5, 1), Some(id(4, 9)));
        ask.leadership_transfer = true;
        let sent = round_trip(&vote_request_out(ADDRESS, &ask, true));
        assert!(sent.pre_vote);
        assert_eq!(vote_request_in(sent, ADDRESS).unwrap(), ask);
        let other = Address { from: ReplicaId(3), ..ADDRESS };
        assert!(vote_request_in(sent, other).is_err(), "a candidate asks only for itself");

        let answer = VoteResponse::<TypeConfig>::new(Vote::new(5, 1), Some(id(4, 9)), true);
        assert_eq!(vote_response_in(round_trip(&vote_response_out(&answer))).unwrap(), answer);

        let transfer = TransferLeaderRequest::new(Vote::new_committed(5, 1), 2, Some(id(4, 9)));
        assert_eq!(transfer_in(round_trip(&transfer_out(ADDRESS, &transfer)), ADDRESS).unwrap(), transfer);
        let answers = [
            Ok(()),
            Err(TransferLeaderError::VoteChanged { expected: Vote::new_committed(5, 1), actual: Vote::new(6, 3) }),
            Err(TransferLeaderError::LogNotFlushed { expected: Some(id(4, 9)), actual: None }),
        ];
        for answer in answers {
            let got = transfer_response_in(round_trip(&transfer_response_out(answer.clone())), &transfer);
            assert_eq!(got.unwrap(), answer);
        }
    }

    #[test]
    fn snapshot_header_survives_the_wire_and_is_checked() {
        let title = SnapshotTitle {
            vote: Vote::new_committed(3, 1),
            last_log_id: Some(id(3, 20)),
            membership: StoredMembership::new(Some(id(1, 1)), membership()),
            files: vec![wire::SnapshotFile { name: "a".to_owned(), size_bytes: 10, crc32: 3 }],
        };
        let header = round_trip(&snapshot_out(ADDRESS, &title));
        assert_eq!(snapshot_in(header.clone(), ADDRESS).unwrap(), title);
        let newer = wire::SnapshotHeader { last_log_id: Some(wire::LogId { term: 4, index: 1 }), ..header };
        assert_eq!(snapshot_in(newer, ADDRESS).unwrap_err().0, "a snapshot newer than its leader");
    }
}
