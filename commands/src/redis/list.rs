//! Commands on lists. Source of the rules: <https://redis.io/commands/?group=list>, compared with redis-server 7.0.
//!
//! The elements of a list stand at neighbouring positions, 64-bit numbers, and the meta record knows the first and the
//! last ([`Ends`]). So whatever happens at the ends, and LINDEX and LSET at any index, touches two records, however long
//! the list is; LRANGE reads what it answers. The price is paid in the middle ([`super::list_middle`]): an element that
//! is inserted or removed there moves all elements on the shorter side of it by one position, each a record written.
//! Redis walks over as many elements to get there, without writing them. Lists are used at their ends; a structure with
//! cheap insertions in the middle would make every push and pop dearer.

use bytes::Bytes;
use keyspace::KeyRange;

use super::access::{Database, Fault, Reply};
use super::blocking::waiting_keys;
use super::elements::{Elements, Walk};
use super::error::RedisError;
use super::number::{parse_integer, parse_not_negative};
use super::record::{Content, Ends, Meta};
use super::table::ListCommand;
use super::value::Value;
use crate::view::{Order, View, ViewError};

/// The position of the first element ever: as far from one end of the numbers as from the other.
const MIDDLE: u64 = 1 << 63;

/// An end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The head, index 0.
    Left,
    /// The tail.
    Right,
}

impl End {
    /// LEFT or RIGHT.
    pub fn parse(word: &[u8]) -> Result<Self, RedisError> {
        match word.to_ascii_lowercase().as_slice() {
            b"left" => Ok(End::Left),
            b"right" => Ok(End::Right),
            _ => Err(RedisError::Syntax),
        }
    }
}

/// A list, open for reading and changes. After changes, [`Database::close_list`].
#[derive(Clone, Debug)]
pub(super) struct List {
    key: Bytes,
    /// Its positions.
    pub ends: Ends,
    expire_at_ms: Option<u64>,
    elements: Elements,
}

impl List {
    /// How many elements it has.
    pub fn len(&self) -> u64 {
        self.ends.len()
    }

    /// The position of an index, which counts from the tail when negative; `None`: outside.
    fn position(&self, index: i64) -> Option<u64> {
        let from_head = if index < 0 { self.len().checked_sub(index.unsigned_abs())? } else { index.unsigned_abs() };
        (from_head < self.len()).then(|| self.ends.head + from_head)
    }

    /// The element at a position inside the list.
    async fn at<V: View>(&self, view: &mut V, position: u64) -> Result<Bytes, ViewError> {
        let found = self.elements.get(view, &position.to_be_bytes()).await?;
        found.ok_or_else(|| ViewError::Corrupt {
            key: self.elements.key(&position.to_be_bytes()),
            reason: format!("an element of the list {:?} is missing", self.ends),
        })
    }

    /// Writes the element at a position.
    pub fn set<V: View>(&self, view: &mut V, position: u64, value: Bytes) {
        self.elements.put(view, &position.to_be_bytes(), value);
    }

    /// Removes the records at some positions.
    pub fn clear<V: View>(&self, view: &mut V, positions: std::ops::Range<u64>) {
        positions.for_each(|position| self.elements.delete(view, &position.to_be_bytes()));
    }

    fn push<V: View>(&mut self, view: &mut V, end: End, value: Bytes) {
        let position = match end {
            End::Left => {
                self.ends.head -= 1;
                self.ends.head
            }
            End::Right => {
                self.ends.tail += 1;
                self.ends.tail - 1
            }
        };
        self.set(view, position, value);
    }

    /// Takes elements off an end, as many as there are; the outermost first.
    async fn take<V: View>(&mut self, view: &mut V, end: End, count: u64) -> Result<Vec<Bytes>, ViewError> {
        let count = count.min(self.len());
        let Ends { head, tail, .. } = self.ends;
        let (positions, order) = match end {
            End::Left => (head..head + count, Order::Ascending),
            End::Right => (tail - count..tail, Order::Descending),
        };
        match end {
            End::Left => self.ends.head = positions.end,
            End::Right => self.ends.tail = positions.start,
        }
        let taken = if count == 1 {
            vec![self.at(view, positions.start).await?]
        } else {
            self.values(view, positions.clone(), order).await?
        };
        if self.len() > 0 {
            // Of an empty list there is no meta record, and these are orphans.
            self.clear(view, positions);
        }
        Ok(taken)
    }

    /// The elements at some positions.
    pub async fn values<V: View>(
        &self,
        view: &mut V,
        positions: std::ops::Range<u64>,
        order: Order,
    ) -> Result<Vec<Bytes>, ViewError> {
        let found = self.walk(positions, order).rest(view).await?;
        Ok(found.into_iter().map(|(_, value)| value).collect())
    }

    /// Walks over some positions.
    pub fn walk(&self, positions: std::ops::Range<u64>, order: Order) -> Walk<'_> {
        let range: Option<KeyRange> =
            self.elements.between(&positions.start.to_be_bytes(), Some(&positions.end.to_be_bytes()));
        self.elements.walk(range, order)
    }
}

impl<V: View> Database<'_, V> {
    /// The list at a key, if there is one.
    pub(super) async fn open_list(&mut self, key: &Bytes) -> Result<Option<List>, Fault> {
        let Some(Meta { expire_at_ms, content }) = self.load(key).await? else { return Ok(None) };
        let Content::List(ends) = content else { return Err(RedisError::WrongType.into()) };
        let elements = Elements::new(self.db, key, ends.generation);
        Ok(Some(List { key: key.clone(), ends, expire_at_ms, elements }))
    }

    async fn open_or_new_list(&mut self, key: &Bytes) -> Result<List, Fault> {
        Ok(match self.open_list(key).await? {
            Some(list) => list,
            None => self.new_list(key, None),
        })
    }

    /// An empty list to put in place of whatever is at a key.
    pub(super) fn new_list(&mut self, key: &Bytes, expire_at_ms: Option<u64>) -> List {
        let ends = Ends { generation: self.view.random(), head: MIDDLE, tail: MIDDLE };
        List { key: key.clone(), ends, expire_at_ms, elements: Elements::new(self.db, key, ends.generation) }
    }

    /// Ends changes: writes the meta record, or removes the key when nothing is left.
    pub(super) fn close_list(&mut self, list: &List) {
        if list.len() == 0 {
            return self.remove(&list.key);
        }
        self.store(&list.key, &Meta { expire_at_ms: list.expire_at_ms, content: Content::List(list.ends) });
    }

    /// Runs a command on lists.
    pub async fn on_list(&mut self, command: ListCommand, args: &[Bytes]) -> Reply {
        let key = &args[1];
        match command {
            ListCommand::BLMove => self.lmove(key, &args[2], End::parse(&args[3])?, End::parse(&args[4])?).await,
            ListCommand::BLMPop => self.lmpop(&args[2..]).await,
            ListCommand::BLPop => self.pop_first(waiting_keys(args), End::Left).await,
            ListCommand::BRPop => self.pop_first(waiting_keys(args), End::Right).await,
            ListCommand::BRPopLPush => self.lmove(key, &args[2], End::Right, End::Left).await,
            ListCommand::LIndex => self.lindex(key, &args[2]).await,
            ListCommand::LInsert => self.linsert(key, &args[2], &args[3], &args[4]).await,
            ListCommand::LLen => Ok(Value::Integer(self.open_list(key).await?.map_or(0, |list| list.len()) as i64)),
            ListCommand::LMove => self.lmove(key, &args[2], End::parse(&args[3])?, End::parse(&args[4])?).await,
            ListCommand::LMPop => self.lmpop(&args[1..]).await,
            ListCommand::LPop => self.pop("lpop", key, End::Left, &args[2..]).await,
            ListCommand::LPos => self.lpos(key, &args[2], &args[3..]).await,
            ListCommand::LPush => self.push(key, End::Left, &args[2..]).await,
            ListCommand::LPushX => self.push_existing(key, End::Left, &args[2..]).await,
            ListCommand::LRange => self.lrange(key, &args[2], &args[3]).await,
            ListCommand::LRem => self.lrem(key, &args[2], &args[3]).await,
            ListCommand::LSet => self.lset(key, &args[2], &args[3]).await,
            ListCommand::LTrim => self.ltrim(key, &args[2], &args[3]).await,
            ListCommand::RPop => self.pop("rpop", key, End::Right, &args[2..]).await,
            ListCommand::RPopLPush => self.lmove(key, &args[2], End::Right, End::Left).await,
            ListCommand::RPush => self.push(key, End::Right, &args[2..]).await,
            ListCommand::RPushX => self.push_existing(key, End::Right, &args[2..]).await,
        }
    }

    async fn push(&mut self, key: &Bytes, end: End, values: &[Bytes]) -> Reply {
        let list = self.open_or_new_list(key).await?;
        Ok(self.push_all(list, end, values))
    }

    async fn push_existing(&mut self, key: &Bytes, end: End, values: &[Bytes]) -> Reply {
        Ok(match self.open_list(key).await? {
            Some(list) => self.push_all(list, end, values),
            None => Value::Integer(0),
        })
    }

    /// Pushes values, in order; how many elements there are then.
    pub(super) fn push_all(&mut self, mut list: List, end: End, values: &[Bytes]) -> Value {
        values.iter().for_each(|value| list.push(self.view, end, value.clone()));
        self.close_list(&list);
        Value::Integer(list.len() as i64)
    }

    /// LPOP, RPOP key [count]
    async fn pop(&mut self, command: &'static str, key: &Bytes, end: End, options: &[Bytes]) -> Reply {
        let count = match options {
            [] => None,
            [count] => Some(parse_not_negative(count)?),
            _ => return Err(RedisError::WrongArity { command }.into()),
        };
        let Some(mut list) = self.open_list(key).await? else {
            return Ok(if count.is_some() { Value::NullArray } else { Value::Null });
        };
        if count == Some(0) {
            return Ok(Value::Array(Vec::new()));
        }
        let mut taken = self.take(&mut list, end, count.map_or(1, i64::unsigned_abs)).await?;
        Ok(if count.is_some() { Value::Array(taken) } else { taken.pop().unwrap_or(Value::Null) })
    }

    async fn take(&mut self, list: &mut List, end: End, count: u64) -> Result<Vec<Value>, Fault> {
        let taken = list.take(self.view, end, count).await?;
        self.close_list(list);
        Ok(taken.into_iter().map(Value::Bulk).collect())
    }

    /// LMPOP numkeys key… LEFT|RIGHT [COUNT count]: of the first list that there is
    async fn lmpop(&mut self, args: &[Bytes]) -> Reply {
        let (keys, end, count) = parse_lmpop(args)?;
        for key in keys {
            if let Some(mut list) = self.open_list(key).await? {
                let taken = self.take(&mut list, end, count).await?;
                return Ok(Value::Array(vec![Value::Bulk(key.clone()), Value::Array(taken)]));
            }
        }
        Ok(Value::NullArray)
    }

    /// BLPOP and BRPOP: an element of the first list that there is
    async fn pop_first(&mut self, keys: &[Bytes], end: End) -> Reply {
        for key in keys {
            if let Some(mut list) = self.open_list(key).await? {
                let mut reply = vec![Value::Bulk(key.clone())];
                reply.extend(self.take(&mut list, end, 1).await?);
                return Ok(Value::Array(reply));
            }
        }
        Ok(Value::NullArray)
    }

    /// LMOVE and RPOPLPUSH; onto itself it turns a list round
    async fn lmove(&mut self, source: &Bytes, destination: &Bytes, from: End, to: End) -> Reply {
        let Some(mut list) = self.open_list(source).await? else { return Ok(Value::Null) };
        let mut other = if source == destination { None } else { Some(self.open_or_new_list(destination).await?) };
        let mut taken = list.take(self.view, from, 1).await?;
        let value = taken.pop().unwrap_or_default();
        match &mut other {
            Some(other) => {
                other.push(self.view, to, value.clone());
                self.close_list(other);
            }
            None => list.push(self.view, to, value.clone()),
        }
        self.close_list(&list);
        Ok(Value::Bulk(value))
    }

    async fn lindex(&mut self, key: &Bytes, index: &[u8]) -> Reply {
        let Some(list) = self.open_list(key).await? else { return Ok(Value::Null) };
        Ok(match list.position(parse_integer(index)?) {
            Some(position) => Value::Bulk(list.at(self.view, position).await?),
            None => Value::Null,
        })
    }

    async fn lset(&mut self, key: &Bytes, index: &[u8], value: &Bytes) -> Reply {
        let list = self.open_list(key).await?.ok_or(RedisError::NoSuchKey)?;
        let position = list.position(parse_integer(index)?).ok_or(RedisError::IndexOutOfRange)?;
        list.set(self.view, position, value.clone());
        self.close_list(&list);
        Ok(Value::OK)
    }

    async fn lrange(&mut self, key: &Bytes, start: &[u8], stop: &[u8]) -> Reply {
        let (start, stop) = (parse_integer(start)?, parse_integer(stop)?);
        let Some(list) = self.open_list(key).await? else { return Ok(Value::Array(Vec::new())) };
        let span = span(start, stop, list.len());
        let positions = list.ends.head + span.start..list.ends.head + span.end;
        let values = list.values(self.view, positions, Order::Ascending).await?;
        Ok(Value::Array(values.into_iter().map(Value::Bulk).collect()))
    }

    /// LTRIM key start stop
    async fn ltrim(&mut self, key: &Bytes, start: &[u8], stop: &[u8]) -> Reply {
        let (start, stop) = (parse_integer(start)?, parse_integer(stop)?);
        let Some(mut list) = self.open_list(key).await? else { return Ok(Value::OK) };
        let span = span(start, stop, list.len());
        let Ends { head, tail, .. } = list.ends;
        let kept = head + span.start..head + span.end;
        let kept_len = kept.end - kept.start;
        if kept_len == list.len() {
            // Redis counts this as a change, too: WATCH notices it.
            self.close_list(&list);
        } else if kept_len == 0 {
            self.remove(key);
        } else if kept_len < list.len() - kept_len {
            // Few are left: they move to a new generation, and the others are orphans.
            let values = list.values(self.view, kept, Order::Ascending).await?;
            let mut fewer = self.new_list(key, list.expire_at_ms);
            values.into_iter().for_each(|value| fewer.push(self.view, End::Right, value));
            self.close_list(&fewer);
        } else {
            list.clear(self.view, head..kept.start);
            list.clear(self.view, kept.end..tail);
            (list.ends.head, list.ends.tail) = (kept.start, kept.end);
            self.close_list(&list);
        }
        Ok(Value::OK)
    }
}

/// Of `len` things those from index `start` to index `stop`, both included and from the end when negative. Empty: 0 to 0.
pub(super) fn span(start: i64, stop: i64, len: u64) -> std::ops::Range<u64> {
    let len = i64::try_from(len).unwrap_or(i64::MAX);
    let from_front = |index: i64| if index < 0 { len.saturating_add(index) } else { index };
    let (first, last) = (from_front(start).max(0), from_front(stop).min(len - 1));
    if first > last { 0..0 } else { first.unsigned_abs()..last.unsigned_abs() + 1 }
}

/// The keys of LMPOP, the end and how many.
pub(super) fn parse_lmpop(args: &[Bytes]) -> Result<(&[Bytes], End, u64), RedisError> {
    let (keys, options) = parse_mpop(args)?;
    let [end, options @ ..] = options else { return Err(RedisError::Syntax) };
    let end = End::parse(end)?;
    Ok((keys, end, parse_mpop_count(options)?))
}

/// The keys of LMPOP and ZMPOP, and what follows them.
pub(super) fn parse_mpop(args: &[Bytes]) -> Result<(&[Bytes], &[Bytes]), RedisError> {
    // Here too large a number of keys is bad syntax.
    super::number::parse_counted(args).map_err(|error| match error {
        RedisError::TooManyKeysCounted => RedisError::Syntax,
        other => other,
    })
}

/// COUNT of LMPOP and ZMPOP, at most once.
pub(super) fn parse_mpop_count(options: &[Bytes]) -> Result<u64, RedisError> {
    match options {
        [] => Ok(1),
        [word, count, rest @ ..] if word.eq_ignore_ascii_case(b"count") => {
            let count = parse_integer(count).ok().filter(|count| *count > 0).ok_or(RedisError::NothingCounted)?;
            if rest.is_empty() { Ok(count.unsigned_abs()) } else { Err(RedisError::Syntax) }
        }
        _ => Err(RedisError::Syntax),
    }
}
