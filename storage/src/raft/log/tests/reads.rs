//! Reads from memory and from disk are the same reads.

use std::sync::Arc;

use futures::TryStreamExt;
use openraft::storage::{RaftLogReader, RaftLogStorage};
use proptest::prelude::*;

use super::super::encoding::log_id;
use super::super::{GroupLog, SharedLog, SharedLogOptions};
use super::{append, entries, entry, open_group, options};
use crate::engine::memory::MemoryEngine;

async fn open_with(options: SharedLogOptions) -> (Arc<SharedLog>, GroupLog) {
    let shared = SharedLog::open_with(Arc::new(MemoryEngine::new()), options).unwrap();
    let log = open_group(&shared, 1).await;
    (shared, log)
}

#[derive(Clone, Debug)]
enum Op {
    Append(u64),
    Truncate(u64),
    Purge(u64),
    Read(u64, u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (1..40_u64).prop_map(Op::Append),
        1 => (0..20_u64).prop_map(Op::Truncate),
        1 => (0..30_u64).prop_map(Op::Purge),
        6 => (0..120_u64, 0..60_u64).prop_map(|(start, length)| Op::Read(start, start + length)),
    ]
}

proptest! {
    #[test]
    fn the_tail_and_the_disk_agree(ops in prop::collection::vec(op(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let read_bytes = 600;
            let mut logs = Vec::new();
            for tail_group_bytes in [0, 2000, 1 << 20] {
                logs.push(open_with(SharedLogOptions { tail_group_bytes, read_bytes, ..options() }).await.1);
            }
            let mut term = 1;
            for op in &ops {
                let (purged, last) = logs[0].ends();
                let next = last.map_or(1, |last| last.index + 1);
                let first = purged.map_or(1, |purged| purged.index + 1);
                let mut found = Vec::new();
                for log in &mut logs {
                    match *op {
                        Op::Append(count) => drop(append(log, entries(term, next..next + count)).await),
                        Op::Truncate(count) => {
                            let keep = next.saturating_sub(count + 1).max(first);
                            let kept = log.try_get_log_entries(keep..=keep).await.unwrap();
                            log.truncate_after(kept.first().map(|entry| entry.log_id).or(purged)).await.unwrap();
                            term += 1;
                        }
                        Op::Purge(count) => log.purge(log_id(term, first + count)).await.unwrap(),
                        Op::Read(start, end) => {
                            let all = log.try_get_log_entries(start..end).await.unwrap();
                            let streamed: Vec<_> = log.entries_stream(start..end).await.try_collect().await.unwrap();
                            assert_eq!(streamed, all);
                            let limited = log.limited_get_log_entries(start, end).await.unwrap();
                            let whole = all.first().is_some_and(|entry| entry.log_id.index == start);
                            assert_eq!(limited.is_empty(), !whole);
                            assert!(all.starts_with(&limited) || limited.is_empty());
                            found.push(all);
                        }
                    }
                }
                assert!(found.windows(2).all(|pair| pair[0] == pair[1]), "{found:?}");
                assert!(logs.windows(2).all(|pair| pair[0].ends() == pair[1].ends()));
            }
        });
    }
}

#[tokio::test]
async fn a_read_for_a_follower_is_bounded_by_bytes() {
    for tail_group_bytes in [0, 16 << 20] {
        let (_shared, mut log) = open_with(SharedLogOptions { tail_group_bytes, ..options() }).await;
        let large: Vec<_> = (1..21).map(|index| entry(1, index, &[7; 200_000])).collect();
        append(&mut log, large).await.await.unwrap().unwrap();
        append(&mut log, vec![entry(1, 21, &[7; 3 << 20]), entry(1, 22, b"small")]).await.await.unwrap().unwrap();
        let portion = log.limited_get_log_entries(1, 23).await.unwrap();
        assert_eq!(portion.len(), 5, "about a megabyte");
        let portion = log.limited_get_log_entries(21, 23).await.unwrap();
        assert_eq!(portion.len(), 1, "one entry, however large");
        assert_eq!(log.try_get_log_entries(..).await.unwrap().len(), 22, "unbounded");
    }
}

#[tokio::test]
async fn tails_of_a_node_stay_within_their_bound() {
    let (shared, mut quiet) = open_with(SharedLogOptions { tail_node_bytes: 1 << 20, ..options() }).await;
    let mut busy = open_group(&shared, 2).await;
    let write = async |log: &mut GroupLog, indexes: std::ops::Range<u64>| {
        for index in indexes {
            drop(append(log, vec![entry(1, index, &[7; 10_000])]).await);
        }
    };
    write(&mut quiet, 1..80).await;
    write(&mut busy, 1..400).await;
    let held = shared.tail_bytes.load(std::sync::atomic::Ordering::Relaxed);
    assert!(held <= 1 << 20 && held > 1 << 18, "{held}");
    assert_eq!(quiet.try_get_log_entries(..).await.unwrap().len(), 79);
    assert_eq!(busy.try_get_log_entries(..).await.unwrap().len(), 399);
}
