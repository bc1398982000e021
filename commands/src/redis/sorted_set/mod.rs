//! Commands on sorted sets. Source of the rules: <https://redis.io/commands/?group=sorted-set>, compared with
//! redis-server 7.0.
//!
//! A member is two records: one by its name, as in a hash, which has the score; and one by score and name, whose order
//! is counted ([`super::counted`]). ZRANK, ZCOUNT and every ZRANGE come down to ranks: an interval of ranks, scores or
//! names ([`interval`]) is turned into ranks, LIMIT and REV cut these, and the members between two ranks are read off
//! the order.
//!
//! | module | commands |
//! | --- | --- |
//! | [`change`] | ZADD, ZINCRBY, ZREM…, ZPOP…, ZMPOP |
//! | [`range`] | ZRANGE in every form, ZCOUNT, ZRANK, ZREMRANGE…, ZRANGESTORE |
//! | [`algebra`] | ZUNION, ZINTER, ZDIFF, their STORE forms, ZINTERCARD |

use bytes::{BufMut, Bytes, BytesMut};

use super::access::{Database, Fault, Reply};
use super::bag::{element, page_of};
use super::blocking::waiting_keys;
use super::counted::{Counted, just_above};
use super::database::parse_cursor;
use super::element_scan::{ScanOptions, page};
use super::elements::Elements;
use super::error::RedisError;
use super::number::parse_pick;
use super::record::{Content, Members, Meta, Ranked, Root};
use super::table::SortedSetCommand;
use super::value::Value;
use crate::view::{Order, View, ViewError};

mod algebra;
mod change;
mod interval;
mod range;
pub(super) mod score;

use algebra::Operation;
pub(super) use change::{AddOptions, parse_zmpop};
use interval::Kind;
use score::{from_order, to_order};

/// The part of the elements that has the members by name.
const NAMES: u8 = 1;
/// Redis' default bounds of its compact form: `zset-max-listpack-entries` and `-value`.
const COMPACT_COUNT: u64 = 128;
const COMPACT_BYTES: usize = 64;

/// A member and its score.
pub(super) type Scored = (Bytes, f64);

/// A sorted set, open for reading and changes. After changes, [`Database::close_sorted_set`].
#[derive(Clone, Debug)]
pub(super) struct SortedSet {
    key: Bytes,
    ranked: Ranked,
    expire_at_ms: Option<u64>,
    elements: Elements,
    names: Elements,
}

impl SortedSet {
    /// How many members it has.
    pub fn len(&self) -> u64 {
        self.ranked.members.count
    }

    /// The score of a member.
    pub async fn score<V: View>(&self, view: &mut V, member: &[u8]) -> Result<Option<f64>, ViewError> {
        match self.names.get(view, &element(member)).await? {
            Some(score) => self.decode(member, &score).map(Some),
            None => Ok(None),
        }
    }

    fn decode(&self, member: &[u8], score: &[u8]) -> Result<f64, ViewError> {
        let bytes = score.try_into().map_err(|_| ViewError::Corrupt {
            key: self.names.key(&element(member)),
            reason: "a score has another length".to_owned(),
        })?;
        Ok(f64::from_be_bytes(bytes))
    }

    fn order(&self) -> Counted<'_> {
        Counted { elements: &self.elements, root: self.ranked.root }
    }

    fn grow(&mut self, member: &[u8], by: u64) {
        let members = &mut self.ranked.members;
        members.count += by;
        members.compact &= members.count <= COMPACT_COUNT && member.len() <= COMPACT_BYTES;
    }

    /// The compact form of Redis does not know a negative zero.
    fn put_score<V: View>(&self, view: &mut V, member: &[u8], score: f64) {
        let score = if self.ranked.members.compact { score + 0.0 } else { score };
        self.names.put(view, &element(member), Bytes::copy_from_slice(&score.to_be_bytes()));
    }

    /// Writes the score of a member that had the score `old`.
    pub async fn write<V: View>(
        &mut self,
        view: &mut V,
        member: &[u8],
        old: Option<f64>,
        score: f64,
    ) -> Result<(), ViewError> {
        self.grow(member, u64::from(old.is_none()));
        self.put_score(view, member, score);
        let mut order = self.order();
        if let Some(old) = old {
            order.remove(view, &in_order(old, member)).await?;
        }
        order.insert(view, &in_order(score, member)).await?;
        self.ranked.root = order.root;
        Ok(())
    }

    /// Removes a member that has this score.
    pub async fn remove<V: View>(&mut self, view: &mut V, member: &[u8], score: f64) -> Result<(), ViewError> {
        self.ranked.members.count -= 1;
        if self.len() == 0 {
            // There will be no meta record, and what is left are orphans.
            return Ok(());
        }
        self.names.delete(view, &element(member));
        let mut order = self.order();
        order.remove(view, &in_order(score, member)).await?;
        self.ranked.root = order.root;
        Ok(())
    }

    /// Writes members, each once, to a sorted set that is empty.
    fn fill<V: View>(&mut self, view: &mut V, members: &[Scored]) {
        let mut names = Vec::with_capacity(members.len());
        for (member, score) in members {
            self.grow(member, 1);
            self.put_score(view, member, *score);
            names.push(in_order(*score, member));
        }
        names.sort_unstable();
        let mut order = self.order();
        order.build(view, names.into_iter());
        self.ranked.root = order.root;
    }

    /// The rank of a member that has this score.
    pub async fn rank<V: View>(&self, view: &mut V, member: &[u8], score: f64) -> Result<u64, ViewError> {
        self.order().rank(view, &in_order(score, member)).await
    }

    /// How many members lie below a place in the order.
    async fn below<V: View>(&self, view: &mut V, place: &[u8]) -> Result<u64, ViewError> {
        self.order().rank(view, place).await
    }

    /// How many members lie before the first whose name is not `low`, if those are the first ones.
    async fn halve<V: View>(&self, view: &mut V, low: impl Fn(&[u8]) -> bool) -> Result<u64, ViewError> {
        let (mut below, mut above) = (0, self.len());
        while below < above {
            let middle = below + (above - below) / 2;
            match low(&self.at(view, middle).await?.0) {
                true => below = middle + 1,
                false => above = middle,
            }
        }
        Ok(below)
    }

    /// The member with a rank.
    async fn at<V: View>(&self, view: &mut V, rank: u64) -> Result<Scored, ViewError> {
        match self.order().select(view, rank).await? {
            Some(place) => self.named(&place),
            None => Err(self.miscounted()),
        }
    }

    fn named(&self, place: &Bytes) -> Result<Scored, ViewError> {
        from_order(place).map(|(score, name)| (place.slice(name..), score)).ok_or_else(|| self.miscounted())
    }

    fn miscounted(&self) -> ViewError {
        let reason = format!("a sorted set of {} members counts otherwise", self.len());
        ViewError::Corrupt { key: self.elements.key(&[]), reason }
    }

    /// The members with these ranks, in ascending or descending order.
    pub async fn between<V: View>(
        &self,
        view: &mut V,
        ranks: std::ops::Range<u64>,
        order: Order,
    ) -> Result<Vec<Scored>, ViewError> {
        let Some(wanted) = ranks.end.checked_sub(ranks.start).filter(|&wanted| wanted > 0) else {
            return Ok(Vec::new());
        };
        let places = self.elements.part(super::counted::LEVELS);
        let first = match order {
            Order::Ascending => ranks.start,
            Order::Descending => ranks.end - 1,
        };
        let first = self.order().select(view, first).await?.ok_or_else(|| self.miscounted())?;
        let range = match order {
            Order::Ascending => places.between(&first, None),
            Order::Descending => places.between(&[], Some(&just_above(&first))),
        };
        let mut walk = places.walk(range, order);
        let mut members = Vec::new();
        loop {
            let left = wanted - members.len() as u64;
            if left == 0 {
                return Ok(members);
            }
            walk.limit_step(usize::try_from(left).unwrap_or(usize::MAX));
            let page = walk.next(view).await?.ok_or_else(|| self.miscounted())?;
            for (place, _) in page {
                members.push(self.named(&place)?);
            }
        }
    }

    /// The members with scores from the start of a range to below its end, in order.
    pub async fn with_scores<V: View>(
        &self,
        view: &mut V,
        scores: std::ops::Range<f64>,
    ) -> Result<Vec<Scored>, ViewError> {
        let places = self.elements.part(super::counted::LEVELS);
        let range = places.between(&to_order(scores.start), Some(&to_order(scores.end)));
        let found = places.walk(range, Order::Ascending).rest(view).await?;
        found.into_iter().map(|(place, _)| self.named(&place)).collect()
    }

    /// All members, in order.
    pub async fn all<V: View>(&self, view: &mut V) -> Result<Vec<Scored>, ViewError> {
        let found = self.elements.part(super::counted::LEVELS).walk_all().rest(view).await?;
        found.into_iter().map(|(place, _)| self.named(&place)).collect()
    }
}

/// The place of a member in the order.
fn in_order(score: f64, member: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(8 + member.len());
    out.put_slice(&to_order(score));
    out.put_slice(member);
    out.freeze()
}

impl<V: View> Database<'_, V> {
    /// The sorted set at a key, if there is one.
    pub(super) async fn open_sorted_set(&mut self, key: &Bytes) -> Result<Option<SortedSet>, Fault> {
        let Some(Meta { expire_at_ms, content }) = self.load(key).await? else { return Ok(None) };
        let Content::SortedSet(ranked) = content else { return Err(RedisError::WrongType.into()) };
        Ok(Some(self.sorted_set(key, ranked, expire_at_ms)))
    }

    fn sorted_set(&self, key: &Bytes, ranked: Ranked, expire_at_ms: Option<u64>) -> SortedSet {
        let elements = Elements::new(self.db, key, ranked.members.generation);
        let names = elements.part(NAMES);
        SortedSet { key: key.clone(), ranked, expire_at_ms, elements, names }
    }

    /// An empty sorted set to put in place of whatever is at a key.
    fn new_sorted_set(&mut self, key: &Bytes) -> SortedSet {
        let members = Members { generation: self.view.random(), count: 0, compact: true };
        self.sorted_set(key, Ranked { members, root: Root::default() }, None)
    }

    /// Puts a sorted set of these members in place of whatever is at a key; how many they are.
    pub(super) async fn store_sorted_set(&mut self, key: &Bytes, members: &[Scored]) -> Reply {
        if !members.is_empty() {
            let mut set = self.new_sorted_set(key);
            set.fill(self.view, members);
            self.close_sorted_set(&set);
        } else if self.exists(key).await? {
            self.remove(key);
        }
        Ok(Value::Integer(members.len() as i64))
    }

    /// Ends changes: writes the meta record, or removes the key when nothing is left.
    pub(super) fn close_sorted_set(&mut self, set: &SortedSet) {
        if set.len() == 0 {
            return self.remove(&set.key);
        }
        self.store(&set.key, &Meta { expire_at_ms: set.expire_at_ms, content: Content::SortedSet(set.ranked) });
    }

    /// Runs a command on sorted sets.
    pub async fn on_sorted_set(&mut self, command: SortedSetCommand, name: &'static str, args: &[Bytes]) -> Reply {
        use SortedSetCommand::*;
        let key = &args[1];
        match command {
            BZMPop => self.zmpop(&args[2..]).await,
            BZPopMax => self.zpop_first(waiting_keys(args), Order::Descending).await,
            BZPopMin => self.zpop_first(waiting_keys(args), Order::Ascending).await,
            ZAdd => self.zadd(key, &args[2..]).await,
            ZCard => Ok(Value::Integer(self.open_sorted_set(key).await?.map_or(0, |set| set.len()) as i64)),
            ZCount => self.zcount(key, Kind::Score, &args[2], &args[3]).await,
            ZDiff => self.zcombine(Operation::Difference, name, &args[1..]).await,
            ZDiffStore => self.zcombine_into(key, Operation::Difference, name, &args[2..]).await,
            ZIncrBy => self.zincrby(key, &args[2], &args[3]).await,
            ZInter => self.zcombine(Operation::Intersection, name, &args[1..]).await,
            ZInterCard => self.zintercard(name, &args[1..]).await,
            ZInterStore => self.zcombine_into(key, Operation::Intersection, name, &args[2..]).await,
            ZLexCount => self.zcount(key, Kind::Name, &args[2], &args[3]).await,
            ZMPop => self.zmpop(&args[1..]).await,
            ZMScore => self.zmscore(key, &args[2..]).await,
            ZPopMax => self.zpop(key, Order::Descending, &args[2..]).await,
            ZPopMin => self.zpop(key, Order::Ascending, &args[2..]).await,
            ZRandMember => self.zrandmember(key, &args[2..]).await,
            ZRange => self.zrange(None, None, args).await,
            ZRangeByLex => self.zrange(Some(Kind::Name), Some(Order::Ascending), args).await,
            ZRangeByScore => self.zrange(Some(Kind::Score), Some(Order::Ascending), args).await,
            ZRangeStore => self.zrangestore(args).await,
            ZRank => self.zrank(key, &args[2], Order::Ascending).await,
            ZRem => self.zrem(key, &args[2..]).await,
            ZRemRangeByLex => self.zremrange(key, Kind::Name, &args[2], &args[3]).await,
            ZRemRangeByRank => self.zremrange(key, Kind::Rank, &args[2], &args[3]).await,
            ZRemRangeByScore => self.zremrange(key, Kind::Score, &args[2], &args[3]).await,
            ZRevRange => self.zrange(Some(Kind::Rank), Some(Order::Descending), args).await,
            ZRevRangeByLex => self.zrange(Some(Kind::Name), Some(Order::Descending), args).await,
            ZRevRangeByScore => self.zrange(Some(Kind::Score), Some(Order::Descending), args).await,
            ZRevRank => self.zrank(key, &args[2], Order::Descending).await,
            ZScan => self.zscan(key, &args[2], &args[3..]).await,
            ZScore => {
                let score = match self.open_sorted_set(key).await? {
                    Some(set) => set.score(self.view, &args[2]).await?,
                    None => None,
                };
                Ok(score.map_or(Value::Null, Value::Double))
            }
            ZUnion => self.zcombine(Operation::Union, name, &args[1..]).await,
            ZUnionStore => self.zcombine_into(key, Operation::Union, name, &args[2..]).await,
        }
    }

    async fn zmscore(&mut self, key: &Bytes, members: &[Bytes]) -> Reply {
        let set = self.open_sorted_set(key).await?;
        let mut scores = Vec::with_capacity(members.len());
        for member in members {
            let score = match &set {
                Some(set) => set.score(self.view, member).await?,
                None => None,
            };
            scores.push(score.map_or(Value::Null, Value::Double));
        }
        Ok(Value::Array(scores))
    }

    /// ZRANDMEMBER key [count [WITHSCORES]]
    async fn zrandmember(&mut self, key: &Bytes, options: &[Bytes]) -> Reply {
        let Some(count) = options.first() else {
            let Some(set) = self.open_sorted_set(key).await? else { return Ok(Value::Null) };
            let rank = self.view.random() % set.len();
            return Ok(Value::Bulk(set.at(self.view, rank).await?.0));
        };
        let with_scores = match &options[1..] {
            [] => false,
            [word] if word.eq_ignore_ascii_case(b"withscores") => true,
            _ => {
                parse_pick(count, false)?;
                return Err(RedisError::Syntax.into());
            }
        };
        let count = parse_pick(count, with_scores)?;
        let Some(set) = self.open_sorted_set(key).await? else { return Ok(Value::Array(Vec::new())) };
        let mut picked = Vec::new();
        if count < 0 {
            for _ in 0..count.unsigned_abs() {
                let rank = self.view.random() % set.len();
                picked.push(set.at(self.view, rank).await?);
            }
        } else if count.unsigned_abs().saturating_mul(3) > set.len() {
            let mut all = set.all(self.view).await?;
            let wanted = count.unsigned_abs().min(all.len() as u64) as usize;
            for at in 0..wanted {
                let other = at + (self.view.random() % (all.len() - at) as u64) as usize;
                all.swap(at, other);
            }
            all.truncate(wanted);
            picked = all;
        } else {
            let mut ranks = std::collections::BTreeSet::new();
            while (ranks.len() as u64) < count.unsigned_abs() {
                let rank = self.view.random() % set.len();
                if ranks.insert(rank) {
                    picked.push(set.at(self.view, rank).await?);
                }
            }
        }
        Ok(listed(picked, with_scores))
    }

    async fn zscan(&mut self, key: &Bytes, cursor: &[u8], options: &[Bytes]) -> Reply {
        let cursor = parse_cursor(cursor)?;
        let Some(set) = self.open_sorted_set(key).await? else { return Ok(page(0, Vec::new())) };
        let options = ScanOptions::parse(options)?;
        let (next, found) = page_of(self.view, &set.names, set.ranked.members.compact, cursor, options.count).await?;
        let mut items = Vec::with_capacity(found.len() * 2);
        for (member, score) in found {
            if options.takes(&member) {
                let score = score::format_double(set.decode(&member, &score)?);
                items.extend([Value::Bulk(member), Value::bulk(score)]);
            }
        }
        Ok(page(next, items))
    }
}

/// Members, with their scores if they are wanted.
fn listed(members: Vec<Scored>, with_scores: bool) -> Value {
    let members = members.into_iter();
    match with_scores {
        true => Value::Pairs(members.map(|(member, score)| (Value::Bulk(member), Value::Double(score))).collect()),
        false => Value::Array(members.map(|(member, _)| Value::Bulk(member)).collect()),
    }
}
