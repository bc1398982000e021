//! Hashes and sets: names without an order of their own, of a hash with values.
//!
//! An element record is named `hash of the name (48 bits) · name`. The hash ([`scan_hash`]) orders the names as HSCAN and
//! SSCAN go through them: a cursor is the smallest hash still to come, so nothing is remembered between two calls, and a
//! name that stays is listed exactly once. It also spreads the names evenly, which makes a fair random choice cheap: the
//! hashes are cut into windows of eight names on average, one window is drawn, and one of its names by a die with more
//! sides than a window ever holds; when the die shows no name, both are thrown again. So every name is equally likely,
//! and a choice reads some thirty records, however large the collection.

use std::collections::HashSet;

use bytes::{BufMut, Bytes, BytesMut};
use keyspace::KeyRange;

use super::access::{Database, Fault};
use super::cursor::{MAX_HASH, scan_hash};
use super::elements::{Elements, Walk};
use super::error::RedisError;
use super::number::parse_integer;
use super::record::{Content, Members, Meta};
use crate::view::{Order, View, ViewError};

const HASH_LEN: usize = 6;
/// Redis' default bounds of its compact forms: `hash-max-listpack-entries`, `set-max-intset-entries`.
const COMPACT_COUNT: u64 = 512;
/// `hash-max-listpack-value`
const COMPACT_BYTES: usize = 64;
/// A collection of so many names is drawn from by reading it whole.
const FEW: u64 = 64;
/// Names in a window on average.
const WINDOW: u64 = 8;
/// Sides of the die. Of evenly spread names, a window holds more once in 10^10 windows.
const SIDES: usize = 32;
/// Throws before the names are taken for unevenly spread: somebody has chosen them so.
const THROWS: usize = 256;

/// Which type a bag is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Names with values.
    Hash,
    /// Names alone.
    Set,
}

/// A hash or a set, open for reading and changes. After changes, [`Database::close_bag`].
#[derive(Clone, Debug)]
pub(super) struct Bag {
    kind: Kind,
    key: Bytes,
    members: Members,
    expire_at_ms: Option<u64>,
    elements: Elements,
}

impl Bag {
    /// How many names it has.
    pub fn len(&self) -> u64 {
        self.members.count
    }

    /// The value of a name; of a set the empty one.
    pub async fn get<V: View>(&self, view: &mut V, name: &[u8]) -> Result<Option<Bytes>, ViewError> {
        self.elements.get(view, &element(name)).await
    }

    /// Where the record of a name lies.
    pub fn record_key(&self, name: &[u8]) -> Vec<u8> {
        self.elements.key(&element(name))
    }

    /// Whether it has a name.
    pub async fn has<V: View>(&self, view: &mut V, name: &[u8]) -> Result<bool, ViewError> {
        Ok(self.get(view, name).await?.is_some())
    }

    /// Writes a name that is `known` to be there or not.
    pub fn write<V: View>(&mut self, view: &mut V, name: &[u8], value: Bytes, known: bool) {
        self.members.count += u64::from(!known);
        self.members.compact &= self.members.count <= COMPACT_COUNT
            && match self.kind {
                Kind::Hash => name.len() <= COMPACT_BYTES && value.len() <= COMPACT_BYTES,
                Kind::Set => parse_integer(name).is_ok(),
            };
        self.elements.put(view, &element(name), value);
    }

    /// Writes a name; whether it is new.
    pub async fn insert<V: View>(&mut self, view: &mut V, name: &[u8], value: Bytes) -> Result<bool, ViewError> {
        let known = self.len() > 0 && self.has(view, name).await?;
        if !known || self.kind == Kind::Hash {
            self.write(view, name, value, known);
        }
        Ok(!known)
    }

    /// Removes a name; whether it was there.
    pub async fn remove<V: View>(&mut self, view: &mut V, name: &[u8]) -> Result<bool, ViewError> {
        let known = self.has(view, name).await?;
        if known {
            self.members.count -= 1;
            self.elements.delete(view, &element(name));
        }
        Ok(known)
    }

    /// All names and values.
    pub async fn all<V: View>(&self, view: &mut V) -> Result<Vec<(Bytes, Bytes)>, ViewError> {
        self.walk().rest(view).await
    }

    /// Names and values, step by step.
    pub fn walk(&self) -> BagWalk<'_> {
        BagWalk { inner: self.elements.walk_all() }
    }

    /// A page of HSCAN or SSCAN, see [`page_of`].
    pub async fn page<V: View>(
        &self,
        view: &mut V,
        cursor: u64,
        count: usize,
    ) -> Result<(u64, Vec<(Bytes, Bytes)>), ViewError> {
        page_of(view, &self.elements, self.members.compact, cursor, count).await
    }

    /// One name and its value, all equally likely. There is at least one.
    pub async fn pick<V: View>(&self, view: &mut V) -> Result<(Bytes, Bytes), ViewError> {
        if self.len() <= FEW {
            let mut all = self.all(view).await?;
            return match all.len() {
                0 => Err(self.miscounted()),
                len => Ok(all.swap_remove((view.random() % len as u64) as usize)),
            };
        }
        let windows = self.len() / WINDOW;
        for _ in 0..THROWS {
            let window = view.random() % windows;
            let die = (view.random() % SIDES as u64) as usize;
            let edge = |window: u64| (u128::from(window) * (u128::from(MAX_HASH) + 1) / u128::from(windows)) as u64;
            let end = (window + 1 < windows).then(|| hash_bytes(edge(window + 1)));
            let Some(range) = self.elements.between(&hash_bytes(edge(window)), end.as_ref().map(|end| &end[..])) else {
                continue;
            };
            let mut found = self.elements.scan(view, &range, Order::Ascending, SIDES).await?;
            if die < found.len() {
                let (element, value) = found.swap_remove(die);
                return Ok((name_of(&element), value));
            }
        }
        self.pick_somewhere(view).await
    }

    /// The first name behind a random hash, or the first of all.
    async fn pick_somewhere<V: View>(&self, view: &mut V) -> Result<(Bytes, Bytes), ViewError> {
        let from = view.random() & MAX_HASH;
        for from in [from, 0] {
            let range: Option<KeyRange> = self.elements.between(&hash_bytes(from), None);
            let Some(range) = range else { continue };
            if let Some((element, value)) = self.elements.scan(view, &range, Order::Ascending, 1).await?.pop() {
                return Ok((name_of(&element), value));
            }
        }
        Err(self.miscounted())
    }

    /// `count` different names, or all if there are fewer; in no particular order.
    pub async fn pick_some<V: View>(&self, view: &mut V, count: u64) -> Result<Vec<(Bytes, Bytes)>, ViewError> {
        if count >= self.len() {
            return self.all(view).await;
        }
        let wanted = count as usize;
        if self.len() <= FEW || count.saturating_mul(3) > self.len() {
            let mut all = self.all(view).await?;
            for at in 0..wanted.min(all.len()) {
                let other = at + (view.random() % (all.len() - at) as u64) as usize;
                all.swap(at, other);
            }
            all.truncate(wanted);
            return Ok(all);
        }
        let mut names = HashSet::with_capacity(wanted);
        let mut picked = Vec::with_capacity(wanted);
        while picked.len() < wanted {
            let (name, value) = self.pick(view).await?;
            if names.insert(name.clone()) {
                picked.push((name, value));
            }
        }
        Ok(picked)
    }

    fn miscounted(&self) -> ViewError {
        let reason = format!("a collection of {} elements has none", self.len());
        ViewError::Corrupt { key: self.elements.key(&[]), reason }
    }
}

/// See [`Bag::walk`].
pub(super) struct BagWalk<'a> {
    inner: Walk<'a>,
}

impl BagWalk<'_> {
    /// The next names and values; `None` at the end.
    pub async fn next<V: View>(&mut self, view: &mut V) -> Result<Option<Vec<(Bytes, Bytes)>>, ViewError> {
        let page = self.inner.next(view).await?;
        Ok(page.map(|page| page.into_iter().map(|(element, value)| (name_of(&element), value)).collect()))
    }

    async fn rest<V: View>(mut self, view: &mut V) -> Result<Vec<(Bytes, Bytes)>, ViewError> {
        let mut all = Vec::new();
        while let Some(page) = self.next(view).await? {
            all.extend(page);
        }
        Ok(all)
    }
}

impl<V: View> Database<'_, V> {
    /// The hash or set at a key, if there is one.
    pub async fn open_bag(&mut self, kind: Kind, key: &Bytes) -> Result<Option<Bag>, Fault> {
        let Some(Meta { expire_at_ms, content }) = self.load(key).await? else { return Ok(None) };
        let members = match (kind, content) {
            (Kind::Hash, Content::Hash(members)) | (Kind::Set, Content::Set(members)) => members,
            _ => return Err(RedisError::WrongType.into()),
        };
        let elements = Elements::new(self.db, key, members.generation);
        Ok(Some(Bag { kind, key: key.clone(), members, expire_at_ms, elements }))
    }

    /// The hash or set at a key, or an empty one to put there.
    pub async fn open_or_new_bag(&mut self, kind: Kind, key: &Bytes) -> Result<Bag, Fault> {
        Ok(match self.open_bag(kind, key).await? {
            Some(bag) => bag,
            None => self.new_bag(kind, key),
        })
    }

    /// An empty hash or set to put in place of whatever is at a key.
    pub fn new_bag(&mut self, kind: Kind, key: &Bytes) -> Bag {
        let members = Members { generation: self.view.random(), count: 0, compact: true };
        let elements = Elements::new(self.db, key, members.generation);
        Bag { kind, key: key.clone(), members, expire_at_ms: None, elements }
    }

    /// Ends changes: writes the meta record, or removes the key when nothing is left.
    pub fn close_bag(&mut self, bag: &Bag) {
        if bag.len() == 0 {
            return self.remove(&bag.key);
        }
        let content = match bag.kind {
            Kind::Hash => Content::Hash(bag.members),
            Kind::Set => Content::Set(bag.members),
        };
        self.store(&bag.key, &Meta { expire_at_ms: bag.expire_at_ms, content });
    }
}

/// One page of names and values: from the hash of the `cursor` on, at least `count` if there are so many; and the next
/// cursor, 0 at the end. A compact collection is one page, whatever the cursor, as in Redis.
pub(super) async fn page_of<V: View>(
    view: &mut V,
    elements: &Elements,
    compact: bool,
    cursor: u64,
    count: usize,
) -> Result<(u64, Vec<(Bytes, Bytes)>), ViewError> {
    let (cursor, count) = if compact { (0, usize::MAX) } else { (cursor, count) };
    if cursor > MAX_HASH {
        return Ok((0, Vec::new()));
    }
    let mut walk = elements.walk(elements.between(&hash_bytes(cursor), None), Order::Ascending);
    let mut page: Vec<(Bytes, Bytes)> = Vec::new();
    let mut last = cursor;
    loop {
        walk.limit_step(count.saturating_sub(page.len()).saturating_add(1));
        let Some(found) = walk.next(view).await? else { return Ok((0, page)) };
        for (element, value) in found {
            let hash = hash_of(&element);
            // Equal hashes stay together, so that a cursor is never inside them.
            if page.len() >= count && hash != last {
                return Ok((last + 1, page));
            }
            last = hash;
            page.push((name_of(&element), value));
        }
    }
}

/// How the record of a name is named.
pub(super) fn element(name: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(HASH_LEN + name.len());
    out.put_slice(&hash_bytes(scan_hash(name)));
    out.put_slice(name);
    out.freeze()
}

fn hash_bytes(hash: u64) -> [u8; HASH_LEN] {
    let [_, _, bytes @ ..] = hash.to_be_bytes();
    bytes
}

fn hash_of(element: &[u8]) -> u64 {
    element.iter().take(HASH_LEN).fold(0, |hash, &byte| (hash << 8) | u64::from(byte))
}

/// The name in that of its record.
fn name_of(element: &Bytes) -> Bytes {
    element.slice(HASH_LEN.min(element.len())..)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::testing::{MemoryView, ready};

    fn bag_of(view: &mut MemoryView, names: impl Iterator<Item = String>) -> Bag {
        let mut database = Database { db: 0, view };
        let mut bag = database.new_bag(Kind::Set, &Bytes::from("key"));
        names.for_each(|name| bag.write(database.view, name.as_bytes(), Bytes::new(), false));
        bag
    }

    #[test]
    fn every_name_is_equally_likely() {
        let mut view = MemoryView::default();
        let bag = bag_of(&mut view, (0..1_000).map(|number| number.to_string()));
        let mut picked: BTreeMap<Bytes, f64> = BTreeMap::new();
        view.take_accesses();
        for _ in 0..20_000 {
            *picked.entry(ready(bag.pick(&mut view)).unwrap().0).or_default() += 1.0;
        }
        assert!(view.take_accesses().scanned / 20_000 < 60);
        // 20 of each are expected. Chi-square with 999 degrees of freedom: mean 999, standard deviation 45.
        let unpicked = (1_000 - picked.len()) as f64 * 20.0;
        let chi_square = unpicked + picked.values().map(|count| (count - 20.0).powi(2) / 20.0).sum::<f64>();
        assert!((800.0..1_200.0).contains(&chi_square), "{chi_square}");
    }

    #[test]
    fn names_of_one_hash_are_picked_all_the_same() {
        // All in one of very many windows: as if somebody had chosen them so.
        let mut view = MemoryView::default();
        let mut bag = bag_of(&mut view, std::iter::once("only".to_owned()));
        bag.members.count = 1_000_000;
        for _ in 0..3 {
            assert_eq!(ready(bag.pick(&mut view)).unwrap().0, "only");
        }
    }

    #[test]
    fn different_names_are_picked_whatever_the_number() {
        let mut view = MemoryView::default();
        let bag = bag_of(&mut view, (0..300).map(|number| number.to_string()));
        for wanted in [0, 1, 20, 99, 150, 299, 300, 1_000] {
            let picked = ready(bag.pick_some(&mut view, wanted)).unwrap();
            let different: BTreeSet<&Bytes> = picked.iter().map(|(name, _)| name).collect();
            assert_eq!((picked.len(), different.len() as u64), (different.len(), wanted.min(300)));
        }
    }

    proptest! {
        #[test]
        fn a_name_that_stays_is_listed_once(
            stays in prop::collection::btree_set("[a-f]{1,4}", 0..200),
            changes in prop::collection::vec(("[g-k]{1,3}", any::<bool>()), 0..200),
            count in 1..40_usize,
        ) {
            let mut view = MemoryView::default();
            let mut bag = bag_of(&mut view, stays.iter().cloned());
            bag.members.compact = false;
            let mut changes = changes.into_iter();
            let (mut listed, mut cursor) = (Vec::new(), 0);
            loop {
                let (next, page) = ready(bag.page(&mut view, cursor, count)).unwrap();
                prop_assert!(page.len() >= count || next == 0);
                listed.extend(page.into_iter().map(|(name, _)| String::from_utf8(name.to_vec()).unwrap()));
                for (name, add) in changes.by_ref().take(5) {
                    if add {
                        ready(bag.insert(&mut view, name.as_bytes(), Bytes::new())).unwrap();
                    } else {
                        ready(bag.remove(&mut view, name.as_bytes())).unwrap();
                    }
                }
                cursor = next;
                if cursor == 0 {
                    break;
                }
            }
            listed.retain(|name| stays.contains(name));
            listed.sort();
            prop_assert_eq!(listed, stays.into_iter().collect::<Vec<_>>());
        }
    }
}
