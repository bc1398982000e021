//! What every implementation of [`Catalog`] must do. Each scenario gets an empty catalog.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use keyspace::NodeId;

use super::*;

/// Runs every scenario.
pub async fn run<C: Catalog>(empty: impl Fn() -> Arc<C>) {
    an_empty_catalog_has_nothing(empty()).await;
    all_changes_of_a_commit_or_none(empty()).await;
    a_transaction_over_an_old_snapshot_is_refused(empty()).await;
    a_required_record_guards_like_a_written_one(empty()).await;
    unrelated_commits_do_not_conflict(empty()).await;
    snapshots_do_not_change(empty()).await;
    concurrent_updates_lose_nothing(empty()).await;
    a_watch_sees_every_commit_once_and_in_order(empty()).await;
    a_watch_from_compacted_history_says_so(empty()).await;
    a_watch_ends_with_its_catalog(empty()).await;
}

fn node(id: u64, address: &str) -> Record {
    Record::Node(NodeRecord { node: NodeId(id), disk_id: format!("disk-{id}"), address: address.to_owned() })
}

async fn an_empty_catalog_has_nothing(catalog: Arc<impl Catalog>) {
    let snapshot = catalog.snapshot().await.unwrap();
    assert!(snapshot.settings().is_none());
    assert_eq!((snapshot.route_version(), snapshot.oracle_limit()), (0, 0));
    assert_eq!(catalog.get(RecordId::Settings).await.unwrap(), None);
    assert_eq!(catalog.list(RecordKind::Node).await.unwrap(), []);
}

async fn all_changes_of_a_commit_or_none(catalog: Arc<impl Catalog>) {
    let empty = catalog.snapshot().await.unwrap();
    let both = Transaction::over(&empty).put(node(2, "b:1")).put(node(1, "a:1"));
    let revision = catalog.commit(both).await.unwrap();
    let listed = catalog.list(RecordKind::Node).await.unwrap();
    let addresses: Vec<_> = listed.iter().map(|stored| (stored.record.id(), stored.revision)).collect();
    assert_eq!(addresses, [(RecordId::Node(NodeId(1)), revision), (RecordId::Node(NodeId(2)), revision)]);

    // Node 1 exists by now, so creating it again fails, and with it the rest.
    let refused = catalog.commit(Transaction::over(&empty).put(node(1, "c:1")).put(Record::RouteVersion(1))).await;
    assert_eq!(refused, Err(CatalogError::Conflict { id: RecordId::Node(NodeId(1)) }));
    let after = catalog.snapshot().await.unwrap();
    assert_eq!((after.revision(), after.route_version()), (revision, 0));
    assert_eq!(after.node(NodeId(1)).unwrap().address, "a:1");

    let deleting = Transaction::over(&after).delete(RecordId::Node(NodeId(1))).put(Record::RouteVersion(1));
    assert!(catalog.commit(deleting).await.unwrap() > revision);
    let after = catalog.snapshot().await.unwrap();
    assert_eq!((after.node(NodeId(1)), after.route_version()), (None, 1));
}

async fn a_transaction_over_an_old_snapshot_is_refused(catalog: Arc<impl Catalog>) {
    let empty = catalog.snapshot().await.unwrap();
    catalog.commit(Transaction::over(&empty).put(Record::RouteVersion(1))).await.unwrap();
    let seen = catalog.snapshot().await.unwrap();
    catalog.commit(Transaction::over(&seen).put(Record::RouteVersion(2))).await.unwrap();
    let conflict = Err(CatalogError::Conflict { id: RecordId::RouteVersion });
    assert_eq!(catalog.commit(Transaction::over(&seen).put(Record::RouteVersion(7))).await, conflict);
    assert_eq!(catalog.commit(Transaction::over(&seen).delete(RecordId::RouteVersion)).await, conflict);

    // Deleted and created again is another record, even with the same content.
    let seen = catalog.snapshot().await.unwrap();
    catalog.commit(Transaction::over(&seen).delete(RecordId::RouteVersion)).await.unwrap();
    let gone = catalog.snapshot().await.unwrap();
    catalog.commit(Transaction::over(&gone).put(Record::RouteVersion(2))).await.unwrap();
    assert_eq!(catalog.commit(Transaction::over(&seen).put(Record::RouteVersion(3))).await, conflict);
    assert_eq!(catalog.snapshot().await.unwrap().route_version(), 2);
}

async fn a_required_record_guards_like_a_written_one(catalog: Arc<impl Catalog>) {
    let empty = catalog.snapshot().await.unwrap();
    catalog.commit(Transaction::over(&empty).put(Record::RouteVersion(1))).await.unwrap();
    let guarded = Transaction::over(&empty).require(RecordId::RouteVersion).put(node(1, "a:1"));
    assert_eq!(catalog.commit(guarded).await, Err(CatalogError::Conflict { id: RecordId::RouteVersion }));
    assert!(catalog.snapshot().await.unwrap().nodes().next().is_none());
}

async fn unrelated_commits_do_not_conflict(catalog: Arc<impl Catalog>) {
    let empty = catalog.snapshot().await.unwrap();
    catalog.commit(Transaction::over(&empty).put(node(1, "a:1"))).await.unwrap();
    catalog.commit(Transaction::over(&empty).put(node(2, "b:1"))).await.unwrap();
    assert_eq!(catalog.snapshot().await.unwrap().nodes().count(), 2);
}

async fn snapshots_do_not_change(catalog: Arc<impl Catalog>) {
    let before = catalog.snapshot().await.unwrap();
    catalog.commit(Transaction::over(&before).put(Record::RouteVersion(1))).await.unwrap();
    assert_eq!(before.route_version(), 0);
    assert!(catalog.snapshot().await.unwrap().revision() > before.revision());
}

async fn concurrent_updates_lose_nothing(catalog: Arc<impl Catalog>) {
    let writers: Vec<_> = (0..8)
        .map(|_| {
            let catalog = catalog.clone();
            tokio::spawn(async move {
                for _ in 0..10 {
                    let next = |snapshot: &Arc<Snapshot>| {
                        let version = snapshot.route_version() + 1;
                        Ok::<_, CatalogError>((Transaction::over(snapshot).put(Record::RouteVersion(version)), ()))
                    };
                    update(&*catalog, next).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(catalog.snapshot().await.unwrap().route_version(), 80);
}

async fn a_watch_sees_every_commit_once_and_in_order(catalog: Arc<impl Catalog>) {
    let put = async |version| {
        let snapshot = catalog.snapshot().await.unwrap();
        catalog.commit(Transaction::over(&snapshot).put(Record::RouteVersion(version))).await.unwrap()
    };
    let start = catalog.snapshot().await.unwrap().revision();
    let first = put(1).await;
    let mut from_start = catalog.watch(start).await.unwrap();
    let mut from_first = catalog.watch(first).await.unwrap();
    assert!(from_first.next().now_or_never().is_none(), "nothing has happened behind the first commit yet");
    let second = put(2).await;
    let snapshot = catalog.snapshot().await.unwrap();
    let third = catalog.commit(Transaction::over(&snapshot).delete(RecordId::RouteVersion)).await.unwrap();

    let seen = |revision, version: Option<u64>| Committed {
        revision,
        changes: vec![(RecordId::RouteVersion, version.map(|version| Arc::new(Record::RouteVersion(version))))],
    };
    let expected = [seen(first, Some(1)), seen(second, Some(2)), seen(third, None)];
    for (watch, expected) in [(&mut from_start, &expected[..]), (&mut from_first, &expected[1..])] {
        for expected in expected {
            let committed = tokio::time::timeout(Duration::from_secs(5), watch.next()).await.unwrap();
            assert_eq!(*committed.unwrap().unwrap(), *expected);
        }
        assert!(watch.next().now_or_never().is_none());
    }
}

async fn a_watch_from_compacted_history_says_so(catalog: Arc<impl Catalog>) {
    // The test cannot know how much an implementation keeps; whatever it says, it must say it without a gap.
    let start = catalog.snapshot().await.unwrap().revision();
    for version in 0..1100 {
        let snapshot = catalog.snapshot().await.unwrap();
        catalog.commit(Transaction::over(&snapshot).put(Record::RouteVersion(version))).await.unwrap();
    }
    match catalog.watch(start).await {
        Ok(watch) => assert_eq!(watch.take(1100).count().await, 1100),
        Err(CatalogError::Compacted { oldest }) => {
            let watch = catalog.watch(oldest).await.unwrap();
            let kept: Vec<_> = watch.take_while(|item| std::future::ready(item.is_ok())).take(10).collect().await;
            assert!(kept[0].as_ref().unwrap().revision > oldest);
        }
        Err(other) => panic!("{other}"),
    }
}

async fn a_watch_ends_with_its_catalog(catalog: Arc<impl Catalog>) {
    let mut watch = catalog.watch(catalog.snapshot().await.unwrap().revision()).await.unwrap();
    drop(catalog);
    let ended = tokio::time::timeout(Duration::from_secs(5), watch.next()).await.unwrap();
    assert!(ended.is_none());
}
