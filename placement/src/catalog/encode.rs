//! How records are stored: a textual key that sorts by kind and identity, and a value of one format byte and JSON.
//!
//! The same bytes serve RocksDB today and any other ordered store later. A value of an unknown format is refused, never
//! guessed at.

use keyspace::{GroupId, NodeId, RangeId};

use super::CatalogError;
use super::record::{JobId, Record, RecordId};

/// First byte of every value.
pub const FORMAT: u8 = 1;

/// Key of a record.
pub fn key(id: RecordId) -> String {
    match id {
        RecordId::Settings => "settings".to_owned(),
        RecordId::OracleLimit => "oracle_limit".to_owned(),
        RecordId::RouteVersion => "route_version".to_owned(),
        RecordId::Node(NodeId(id)) => format!("node/{id:016x}"),
        RecordId::Group(GroupId(id)) => format!("group/{id:016x}"),
        RecordId::Route(RangeId(id)) => format!("route/{id:016x}"),
        RecordId::Job(JobId(id)) => format!("job/{id:016x}"),
    }
}

/// Value of a record.
pub fn value(record: &Record) -> Vec<u8> {
    let mut out = vec![FORMAT];
    serde_json::to_writer(&mut out, record).expect("records hold nothing that JSON cannot say, and a Vec takes it all");
    out
}

/// Inverse of [`key`] and [`value`] together: a record must lie under its own key.
pub fn decode(at: &[u8], value: &[u8]) -> Result<Record, CatalogError> {
    let damaged = |reason: String| CatalogError::Damaged { key: String::from_utf8_lossy(at).into_owned(), reason };
    let json = match value.split_first() {
        Some((&FORMAT, json)) => json,
        Some((found, _)) => return Err(damaged(format!("its format is {found}, and this release reads {FORMAT}"))),
        None => return Err(damaged("it is empty".to_owned())),
    };
    let record: Record = serde_json::from_slice(json).map_err(|error| damaged(error.to_string()))?;
    if key(record.id()).as_bytes() != at {
        return Err(damaged(format!("it holds {}", record.id())));
    }
    Ok(record)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bytes::Bytes;
    use keyspace::{Epoch, KeyRange, RangeState, ReplicaId, Route};
    use proptest::prelude::*;

    use super::super::record::{FoundingGroup, GroupRecord, Job, JobKind, MemberRecord, NodeRecord, Settings};
    use super::*;

    fn route() -> impl Strategy<Value = Route> {
        let state = prop_oneof![
            Just(RangeState::Importing),
            Just(RangeState::Active),
            Just(RangeState::Exporting),
            Just(RangeState::Fenced),
            any::<u64>().prop_map(|group| RangeState::Moved(GroupId(group))),
        ];
        let range = (any::<Vec<u8>>(), any::<Option<Vec<u8>>>())
            .prop_filter_map("empty", |(start, end)| KeyRange::new(start, end.map(Bytes::from)));
        (any::<u64>(), range, any::<u64>(), any::<u64>(), state, any::<u64>()).prop_map(
            |(id, range, group, epoch, state, parent)| Route {
                range_id: RangeId(id),
                range,
                group: GroupId(group),
                epoch: Epoch(epoch),
                state,
                parent: RangeId(parent),
            },
        )
    }

    fn member() -> impl Strategy<Value = MemberRecord> {
        (any::<u64>(), any::<u64>(), any::<bool>()).prop_map(|(replica, node, voter)| MemberRecord {
            replica: ReplicaId(replica),
            node: NodeId(node),
            voter,
        })
    }

    fn job_kind() -> impl Strategy<Value = JobKind> {
        let members = || prop::collection::vec(member(), 0..4);
        prop_oneof![
            (any::<u64>(), members(), prop::collection::vec(route(), 0..3)).prop_map(|(group, members, routes)| {
                JobKind::Bootstrap { groups: vec![FoundingGroup { group: GroupId(group), members, routes }] }
            }),
            any::<(u64, u64, u64, Vec<u8>, u64, u64)>().prop_map(|(group, range, epoch, split_key, left, right)| {
                JobKind::Split {
                    group: GroupId(group),
                    range: RangeId(range),
                    epoch: Epoch(epoch),
                    split_key: split_key.into(),
                    left: RangeId(left),
                    right: RangeId(right),
                }
            }),
            (any::<u64>(), prop::option::of(member()), prop::option::of(member()))
                .prop_map(|(group, add, remove)| JobKind::ChangeMembers { group: GroupId(group), add, remove }),
            (any::<u64>(), member())
                .prop_map(|(group, member)| JobKind::RemoveReplica { group: GroupId(group), member }),
        ]
    }

    fn record() -> impl Strategy<Value = Record> {
        prop_oneof![
            any::<String>().prop_map(|id| Record::Settings(Settings::new(id))),
            any::<u64>().prop_map(Record::OracleLimit),
            any::<u64>().prop_map(Record::RouteVersion),
            any::<(u64, String, String)>().prop_map(|(id, disk_id, address)| Record::Node(NodeRecord {
                node: NodeId(id),
                disk_id,
                address
            })),
            (any::<u64>(), prop::collection::vec(member(), 0..4), any::<u64>()).prop_map(|(id, members, next)| {
                Record::Group(GroupRecord { group: GroupId(id), members, next_replica: ReplicaId(next) })
            }),
            route().prop_map(Record::Route),
            (any::<u64>(), job_kind()).prop_map(|(id, kind)| Record::Job(Job { id: JobId(id), kind })),
        ]
    }

    proptest! {
        #[test]
        fn records_survive_the_round_trip(record in record()) {
            let key = key(record.id());
            prop_assert_eq!(decode(key.as_bytes(), &value(&record)).unwrap(), record);
        }

        #[test]
        fn junk_is_refused_and_never_panics(key in any::<Vec<u8>>(), value in any::<Vec<u8>>()) {
            prop_assert!(decode(&key, &value).is_err());
        }
    }

    #[test]
    fn the_stored_form_is_pinned() {
        let route = Record::Route(Route {
            range_id: RangeId(7),
            range: KeyRange::new("k", None).unwrap(),
            group: GroupId(2),
            epoch: Epoch(3),
            state: RangeState::Active,
            parent: RangeId(1),
        });
        let expected = concat!(
            "\u{1}",
            r#"{"route":{"range_id":7,"range":{"start":"6b","end":null},"group":2,"epoch":3,"state":"active","parent":1}}"#
        );
        assert_eq!(key(route.id()), "route/0000000000000007");
        assert_eq!(String::from_utf8(value(&route)).unwrap(), expected);
    }

    #[test]
    fn a_record_under_a_strange_key_or_of_a_later_format_is_damaged() {
        let record = Record::OracleLimit(8);
        let refused = decode(b"route_version", &value(&record)).unwrap_err();
        assert_eq!(refused.to_string(), "catalog record route_version is damaged: it holds the oracle's limit");
        let mut later = value(&record);
        later[0] = 2;
        let refused = decode(b"oracle_limit", &later).unwrap_err();
        let expected = "catalog record oracle_limit is damaged: its format is 2, and this release reads 1";
        assert_eq!(refused.to_string(), expected);
    }
}
