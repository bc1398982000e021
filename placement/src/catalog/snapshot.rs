//! All records of the catalog at one revision, with their types back.

use std::collections::BTreeMap;
use std::sync::Arc;

use keyspace::{GroupId, NodeId, RangeId, Route, RouteError, RouteMap};

use super::record::{GroupRecord, Job, JobId, NodeRecord, Record, RecordId, RecordKind, Settings};
use super::{Committed, Revision};

/// A record, and the commit that wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The record.
    pub record: Arc<Record>,
    /// The commit that wrote it last.
    pub revision: Revision,
}

/// All records at one revision.
///
/// Invariant: every record lies under its own identity, so a lookup by a kind of identity finds that kind of record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    revision: Revision,
    records: BTreeMap<RecordId, Stored>,
}

/// The records of one kind: the closure of this macro's uses names the variant once.
macro_rules! of_kind {
    ($stored:expr, $variant:ident) => {
        match &*$stored.record {
            Record::$variant(record) => Some(record),
            _ => None,
        }
    };
}

impl Snapshot {
    /// A snapshot of what a store holds.
    pub fn new(revision: Revision, records: impl IntoIterator<Item = Stored>) -> Self {
        Self { revision, records: records.into_iter().map(|stored| (stored.record.id(), stored)).collect() }
    }

    /// Of the newest commit in it.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// One record.
    pub fn get(&self, id: RecordId) -> Option<&Stored> {
        self.records.get(&id)
    }

    /// All records of a kind, ordered by identity.
    pub fn list(&self, kind: RecordKind) -> impl Iterator<Item = &Stored> {
        self.records.iter().filter(move |(id, _)| id.kind() == kind).map(|(_, stored)| stored)
    }

    /// The settings; `None` before the first start of a placement on this catalog.
    pub fn settings(&self) -> Option<&Settings> {
        of_kind!(self.get(RecordId::Settings)?, Settings)
    }

    /// The limit of the oracle, 0 if it was never used.
    pub fn oracle_limit(&self) -> u64 {
        self.get(RecordId::OracleLimit).and_then(|stored| of_kind!(stored, OracleLimit)).copied().unwrap_or(0)
    }

    /// The version of the routes: counts their changes from 1; 0 before the bootstrap.
    pub fn route_version(&self) -> u64 {
        self.get(RecordId::RouteVersion).and_then(|stored| of_kind!(stored, RouteVersion)).copied().unwrap_or(0)
    }

    /// A node.
    pub fn node(&self, id: NodeId) -> Option<&NodeRecord> {
        of_kind!(self.get(RecordId::Node(id))?, Node)
    }

    /// All nodes.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeRecord> {
        self.list(RecordKind::Node).filter_map(|stored| of_kind!(stored, Node))
    }

    /// A group.
    pub fn group(&self, id: GroupId) -> Option<&GroupRecord> {
        of_kind!(self.get(RecordId::Group(id))?, Group)
    }

    /// All groups.
    pub fn groups(&self) -> impl Iterator<Item = &GroupRecord> {
        self.list(RecordKind::Group).filter_map(|stored| of_kind!(stored, Group))
    }

    /// The route of a range.
    pub fn route(&self, id: RangeId) -> Option<&Route> {
        of_kind!(self.get(RecordId::Route(id))?, Route)
    }

    /// All routes, ordered by range identity.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.list(RecordKind::Route).filter_map(|stored| of_kind!(stored, Route))
    }

    /// The routes in key order, checked to cover every key once. An error before the bootstrap.
    pub fn route_map(&self) -> Result<RouteMap, RouteError> {
        RouteMap::new(self.route_version(), self.routes().cloned().collect())
    }

    /// A job.
    pub fn job(&self, id: JobId) -> Option<&Job> {
        of_kind!(self.get(RecordId::Job(id))?, Job)
    }

    /// All jobs, oldest first.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.list(RecordKind::Job).filter_map(|stored| of_kind!(stored, Job))
    }

    /// Goes on to a later commit.
    pub(super) fn apply(&mut self, committed: &Committed) {
        assert!(committed.revision > self.revision, "commits are applied in order");
        self.revision = committed.revision;
        for (id, record) in &committed.changes {
            match record {
                Some(record) => {
                    let stored = Stored { record: record.clone(), revision: committed.revision };
                    self.records.insert(*id, stored);
                }
                None => {
                    self.records.remove(id);
                }
            }
        }
    }
}
