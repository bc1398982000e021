//! What a command on a large collection costs: records read and written, which must not grow with the collection.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use commands::redis::{Invocation, Value, run};
use commands::testing::{Accesses, MemoryView, ready};

const LARGE: usize = 20_000;

fn answer(view: &mut MemoryView, args: Vec<Bytes>) -> Value {
    let value = ready(run(view, &Invocation::new(0, args))).unwrap();
    assert!(!value.is_error(), "{value:?}");
    value
}

fn cost(view: &mut MemoryView, line: &str) -> Accesses {
    view.take_accesses();
    answer(view, line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect());
    view.take_accesses()
}

/// A collection of [`LARGE`] elements: `start`, then what `element` says of each.
fn large(start: &str, element: impl Fn(usize) -> Vec<String>) -> MemoryView {
    let mut view = MemoryView::default();
    for chunk in (0..LARGE).collect::<Vec<_>>().chunks(1_000) {
        let words = start.split(' ').map(str::to_owned).chain(chunk.iter().flat_map(|&number| element(number)));
        answer(&mut view, words.map(Bytes::from).collect());
    }
    view
}

/// At most so many records read, and exactly so many written.
fn assert_cost(view: &mut MemoryView, line: &str, read: u64, written: u64) {
    let accesses = cost(view, line);
    assert!(accesses.gets + accesses.scanned <= read, "{line}: {accesses:?}");
    assert_eq!(accesses.puts + accesses.deletes, written, "{line}: {accesses:?}");
}

#[test]
fn of_a_large_hash_the_element_and_the_meta_record() {
    let mut view = large("hset k", |number| vec![format!("f{number}"), "v".to_owned()]);
    assert_cost(&mut view, "hget k f77", 2, 0);
    assert_cost(&mut view, "hset k f77 w", 2, 2);
    assert_cost(&mut view, "hset k new w", 2, 2);
    assert_cost(&mut view, "hdel k f78", 2, 2);
    assert_cost(&mut view, "hlen k", 1, 0);
    assert_cost(&mut view, "hrandfield k", 400, 0);
    assert_cost(&mut view, "hscan k 0", 20, 0);
    assert_cost(&mut view, "expire k 100", 1, 1);
    assert_cost(&mut view, "del k", 1, 1);
}

#[test]
fn of_a_large_set_the_member_and_the_meta_record() {
    let mut view = large("sadd k", |number| vec![format!("m{number}")]);
    assert_cost(&mut view, "sismember k m77", 2, 0);
    assert_cost(&mut view, "sadd k m77", 2, 0);
    assert_cost(&mut view, "srem k m77", 2, 2);
    assert_cost(&mut view, "sadd few m1 m2 none", 3, 4);
    // The small set decides, and the large one is only asked.
    assert_cost(&mut view, "sinter k few", 8, 0);
    assert_cost(&mut view, "sintercard 2 k few", 8, 0);
    assert_cost(&mut view, "spop k", 400, 2);
    assert_cost(&mut view, "set k v", 0, 1);
}

#[test]
fn of_a_large_list_what_is_touched_at_its_ends_or_by_index() {
    let mut view = large("rpush k", |number| vec![format!("v{number}")]);
    assert_cost(&mut view, "lpush k a", 1, 2);
    assert_cost(&mut view, "rpop k", 2, 2);
    assert_cost(&mut view, "lindex k 10000", 2, 0);
    assert_cost(&mut view, "lset k -5 x", 1, 2);
    assert_cost(&mut view, "lmove k k left right", 2, 3);
    assert_cost(&mut view, "lrange k 9000 9009", 11, 0);
    // In the middle, the shorter side moves.
    assert_cost(&mut view, "linsert k before v9 x", 100, 11);
    assert_cost(&mut view, "lrem k -1 v19995", 200, 6);
    // Of a trim, the smaller part.
    assert_cost(&mut view, "ltrim k 10 -1", 1, 11);
    assert_cost(&mut view, "ltrim k 0 9", 11, 11);
    assert_cost(&mut view, "llen k", 1, 0);
}

#[test]
fn of_a_large_sorted_set_a_node_a_level() {
    let mut view = large("zadd k", |number| vec![number.to_string(), format!("m{number}")]);
    assert_cost(&mut view, "zscore k m77", 2, 0);
    assert_cost(&mut view, "zrank k m7777", 200, 0);
    assert_cost(&mut view, "zrevrank k m19999", 250, 0);
    assert_cost(&mut view, "zcount k 100 15000", 500, 0);
    assert_cost(&mut view, "zrange k 10000 10009", 250, 0);
    assert_cost(&mut view, "zrange k 100 15000 byscore limit 5000 5", 700, 0);
    assert_cost(&mut view, "zadd k 7.5 m77", 20, 8);
    assert_cost(&mut view, "zrem k m77", 20, 5);
    assert_cost(&mut view, "zpopmin k", 250, 5);
    assert_cost(&mut view, "zscan k 0", 20, 0);
    assert_cost(&mut view, "del k", 1, 1);
}

#[test]
fn a_scan_over_keys_passes_large_collections_by() {
    let mut view = large("sadd k", |number| vec![format!("m{number}")]);
    for key in 0..20 {
        cost(&mut view, &format!("set {{k}}{key} v"));
    }
    view.take_accesses();
    let range = keyspace::KeyRange::prefix(vec![keyspace::layout::REDIS]);
    let part = commands::redis::SpanPart::Count { resume: None, limit: 1_000 };
    let counted = ready(commands::redis::run_span(&mut view, &commands::redis::Span { db: 0, range, part })).unwrap();
    assert_eq!(counted, commands::redis::SpanOutcome::Counted { keys: 21, resume: None });
    assert!(view.take_accesses().scanned < 100);
}

#[test]
fn a_removed_collection_leaves_orphans_that_nobody_sees() {
    let mut view = large("sadd k", |number| vec![format!("m{number}")]);
    cost(&mut view, "del k");
    assert_eq!(view.records().len(), LARGE);
    cost(&mut view, "sadd k m1");
    assert_eq!(answer(&mut view, vec!["scard".into(), "k".into()]), Value::Integer(1));
    let meta = &view.records()[&Bytes::from(keyspace::layout::redis_meta(0, b"k"))].value;
    let live = commands::redis::live_generation(b"k", meta).unwrap();
    let generation = |key: &Bytes| keyspace::layout::redis_generation(key);
    let orphans = view.records().keys().filter(|key| generation(key).is_some() && generation(key) != live);
    assert_eq!(orphans.count(), LARGE);
}
