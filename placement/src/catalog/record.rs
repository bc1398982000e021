//! What the catalog remembers, kind by kind.
//!
//! Records are encoded as JSON ([`super::encode`]): a cluster has few of them, an operator can read them with any tool,
//! and a field that a later release adds is simply absent in what an earlier one wrote (`#[serde(default)]`). The
//! types of `keyspace` know nothing of serialization; the modules at the end of this file give them their form here.

use std::fmt;

use keyspace::{Epoch, GroupId, KeyRange, NodeId, RangeId, RangeState, ReplicaId, Route};
use serde::{Deserialize, Serialize};

/// Names a job of the placement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub u64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The kinds of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordKind {
    /// [`Settings`]; one.
    Settings,
    /// Below which value the oracle may give out timestamps; one.
    OracleLimit,
    /// How often the routes have changed; one.
    RouteVersion,
    /// [`NodeRecord`].
    Node,
    /// [`GroupRecord`].
    Group,
    /// [`Route`].
    Route,
    /// [`Job`].
    Job,
}

/// Names a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordId {
    /// The settings of the cluster.
    Settings,
    /// The limit of the oracle.
    OracleLimit,
    /// The version of the routes.
    RouteVersion,
    /// A node.
    Node(NodeId),
    /// A group.
    Group(GroupId),
    /// The route of a range.
    Route(RangeId),
    /// A job.
    Job(JobId),
}

impl RecordId {
    /// Its kind.
    pub fn kind(self) -> RecordKind {
        match self {
            RecordId::Settings => RecordKind::Settings,
            RecordId::OracleLimit => RecordKind::OracleLimit,
            RecordId::RouteVersion => RecordKind::RouteVersion,
            RecordId::Node(_) => RecordKind::Node,
            RecordId::Group(_) => RecordKind::Group,
            RecordId::Route(_) => RecordKind::Route,
            RecordId::Job(_) => RecordKind::Job,
        }
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordId::Settings => f.write_str("the settings"),
            RecordId::OracleLimit => f.write_str("the oracle's limit"),
            RecordId::RouteVersion => f.write_str("the version of the routes"),
            RecordId::Node(id) => write!(f, "node {id}"),
            RecordId::Group(id) => write!(f, "group {id}"),
            RecordId::Route(id) => write!(f, "route {id}"),
            RecordId::Job(id) => write!(f, "job {id}"),
        }
    }
}

/// A record of any kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// The settings of the cluster.
    Settings(Settings),
    /// The oracle has given out only timestamps below this one.
    OracleLimit(u64),
    /// Counts the changes of routes; 1 once the cluster is bootstrapped.
    RouteVersion(u64),
    /// A node.
    Node(NodeRecord),
    /// A group.
    Group(GroupRecord),
    /// A route.
    Route(#[serde(with = "RouteForm")] Route),
    /// A job.
    Job(Job),
}

impl Record {
    /// The name under which it is stored.
    pub fn id(&self) -> RecordId {
        match self {
            Record::Settings(_) => RecordId::Settings,
            Record::OracleLimit(_) => RecordId::OracleLimit,
            Record::RouteVersion(_) => RecordId::RouteVersion,
            Record::Node(node) => RecordId::Node(node.node),
            Record::Group(group) => RecordId::Group(group.group),
            Record::Route(route) => RecordId::Route(route.range_id),
            Record::Job(job) => RecordId::Job(job.id),
        }
    }
}

/// Who the cluster is, and the identities that it has not given out yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Random; a node never changes clusters.
    pub cluster_id: String,
    /// The next node to register gets this identity.
    #[serde(with = "as_number")]
    pub next_node: NodeId,
    /// The next group gets this identity.
    #[serde(with = "as_number")]
    pub next_group: GroupId,
    /// The next range gets this identity.
    #[serde(with = "as_number")]
    pub next_range: RangeId,
    /// The next job gets this identity.
    pub next_job: JobId,
}

impl Settings {
    /// Those of a cluster in which nothing has happened yet.
    pub fn new(cluster_id: String) -> Self {
        Self { cluster_id, next_node: NodeId(1), next_group: GroupId(1), next_range: RangeId(1), next_job: JobId(1) }
    }

    /// An identity for a new node.
    pub fn take_node(&mut self) -> NodeId {
        let id = self.next_node;
        self.next_node.0 += 1;
        id
    }

    /// An identity for a new range.
    pub fn take_range(&mut self) -> RangeId {
        let id = self.next_range;
        self.next_range.0 += 1;
        id
    }

    /// An identity for a new job.
    pub fn take_job(&mut self) -> JobId {
        let id = self.next_job;
        self.next_job.0 += 1;
        id
    }
}

/// A storage node that has registered. Stays for ever: its identity is never given to another disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Its identity.
    #[serde(with = "as_number")]
    pub node: NodeId,
    /// The disk that carries the identity.
    pub disk_id: String,
    /// host:port where peers, gateways and the placement reach it.
    pub address: String,
}

/// A Raft group, as its leader last reported it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRecord {
    /// Its identity.
    #[serde(with = "as_number")]
    pub group: GroupId,
    /// Voters and learners.
    pub members: Vec<MemberRecord>,
    /// The next replica gets this identity: larger than that of any replica the group ever had.
    #[serde(with = "as_number")]
    pub next_replica: ReplicaId,
}

impl GroupRecord {
    /// The replica on a node.
    pub fn member_on(&self, node: NodeId) -> Option<&MemberRecord> {
        self.members.iter().find(|member| member.node == node)
    }
}

/// A replica of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MemberRecord {
    /// Its identity inside the group.
    #[serde(with = "as_number")]
    pub replica: ReplicaId,
    /// Where it is.
    #[serde(with = "as_number")]
    pub node: NodeId,
    /// Whether it counts for majorities.
    pub voter: bool,
}

/// Something that takes several steps, so that a crash must not end it half-way. Deleted by its last step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its identity.
    pub id: JobId,
    /// What is to be done.
    pub kind: JobKind,
}

/// What a job does. Everything that a step needs is decided when the job is created, so a step can be repeated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// Founds the first groups.
    Bootstrap {
        /// Their members and ranges.
        groups: Vec<FoundingGroup>,
    },
    /// Cuts a range in two, inside its group.
    Split {
        /// The group that serves it.
        #[serde(with = "as_number")]
        group: GroupId,
        /// The range that is cut.
        #[serde(with = "as_number")]
        range: RangeId,
        /// Its epoch before the cut.
        #[serde(with = "as_number")]
        epoch: Epoch,
        /// First key of the right child.
        #[serde(with = "as_hex")]
        split_key: bytes::Bytes,
        /// Identity of the left child.
        #[serde(with = "as_number")]
        left: RangeId,
        /// Identity of the right child.
        #[serde(with = "as_number")]
        right: RangeId,
    },
    /// Gives a group a new replica, takes one away, or both at once.
    ChangeMembers {
        /// The group.
        #[serde(with = "as_number")]
        group: GroupId,
        /// The replica that it gets; becomes a voter.
        add: Option<MemberRecord>,
        /// The replica that it loses.
        remove: Option<MemberRecord>,
    },
    /// Deletes the data of a replica that is no member any more.
    RemoveReplica {
        /// Its group.
        #[serde(with = "as_number")]
        group: GroupId,
        /// Which replica, and where.
        member: MemberRecord,
    },
}

impl JobKind {
    /// One word for metrics and lists.
    pub fn name(&self) -> &'static str {
        match self {
            JobKind::Bootstrap { .. } => "bootstrap",
            JobKind::Split { .. } => "split",
            JobKind::ChangeMembers { .. } => "change-members",
            JobKind::RemoveReplica { .. } => "remove-replica",
        }
    }
}

/// A group that the bootstrap founds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundingGroup {
    /// Its identity.
    #[serde(with = "as_number")]
    pub group: GroupId,
    /// All voters; the first one starts the group and is likely to lead it.
    pub members: Vec<MemberRecord>,
    /// What it owns.
    #[serde(with = "as_routes")]
    pub routes: Vec<Route>,
}

/// How [`Route`] is stored.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Route")]
struct RouteForm {
    #[serde(with = "as_number")]
    range_id: RangeId,
    #[serde(with = "as_interval")]
    range: KeyRange,
    #[serde(with = "as_number")]
    group: GroupId,
    #[serde(with = "as_number")]
    epoch: Epoch,
    #[serde(with = "StateForm")]
    state: RangeState,
    #[serde(with = "as_number")]
    parent: RangeId,
}

/// How [`RangeState`] is stored.
#[derive(Serialize, Deserialize)]
#[serde(remote = "RangeState", rename_all = "snake_case")]
enum StateForm {
    Importing,
    Active,
    Exporting,
    Fenced,
    Moved(#[serde(with = "as_number")] GroupId),
}

/// Identities as plain numbers.
mod as_number {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer, T: Copy + Into<u64>>(id: &T, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_u64((*id).into())
    }

    pub fn deserialize<'de, D: Deserializer<'de>, T: From<u64>>(from: D) -> Result<T, D::Error> {
        u64::deserialize(from).map(T::from)
    }
}

/// Keys as hexadecimal digits.
mod as_hex {
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn to_hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub fn from_hex(text: &str) -> Option<Bytes> {
        let digits: Option<Vec<u8>> =
            text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
        let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
        Some(digits.chunks_exact(2).map(|pair| (pair[0] << 4) | pair[1]).collect::<Vec<u8>>().into())
    }

    pub fn serialize<S: Serializer>(bytes: &Bytes, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&to_hex(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(from)?;
        from_hex(&text).ok_or_else(|| D::Error::custom("expected pairs of hexadecimal digits"))
    }
}

/// Intervals as a pair of keys; no end is the end of the keyspace.
mod as_interval {
    use keyspace::KeyRange;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    use super::as_hex::{from_hex, to_hex};

    #[derive(Serialize, Deserialize)]
    struct Interval {
        start: String,
        end: Option<String>,
    }

    pub fn serialize<S: Serializer>(range: &KeyRange, out: S) -> Result<S::Ok, S::Error> {
        Interval { start: to_hex(range.start()), end: range.end().map(|end| to_hex(end)) }.serialize(out)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<KeyRange, D::Error> {
        let Interval { start, end } = Interval::deserialize(from)?;
        let key = |text: String| from_hex(&text).ok_or_else(|| D::Error::custom("expected hexadecimal digits"));
        let (start, end) = (key(start)?, end.map(key).transpose()?);
        KeyRange::new(start, end).ok_or_else(|| D::Error::custom("an interval holds at least one key"))
    }
}

/// Several routes.
mod as_routes {
    use keyspace::Route;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::RouteForm;

    #[derive(Serialize, Deserialize)]
    struct Form(#[serde(with = "RouteForm")] Route);

    pub fn serialize<S: Serializer>(routes: &[Route], out: S) -> Result<S::Ok, S::Error> {
        out.collect_seq(routes.iter().cloned().map(Form))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Route>, D::Error> {
        Ok(Vec::<Form>::deserialize(from)?.into_iter().map(|form| form.0).collect())
    }
}
