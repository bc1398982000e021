//! XADD, XTRIM, XDEL and XSETID: what changes the entries of a stream.
//!
//! An approximate trim (`~`) removes whole hundreds of entries in the order of their adding, as Redis frees whole nodes.

use bytes::Bytes;

use super::super::access::{Database, Reply};
use super::super::error::RedisError;
use super::super::number::parse_integer;
use super::super::value::Value;
use super::id::{Id, NewId};
use super::log::Stream;
use super::refusal::StreamRefusal;
use crate::view::{Order, View, ViewError};

/// Redis' `stream-node-max-entries`.
const NODE: u64 = 100;

/// What to trim to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Threshold {
    MaxLen(u64),
    MinId(Id),
}

/// How to trim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Trim {
    to: Threshold,
    approximate: bool,
    /// Removes no more; `None`: however many.
    limit: Option<u64>,
}

impl Trim {
    async fn run<V: View>(self, view: &mut V, stream: &mut Stream) -> Result<u64, ViewError> {
        let node = self.approximate.then_some(NODE);
        let limit = self.limit.unwrap_or(u64::MAX);
        match self.to {
            Threshold::MaxLen(most) => {
                let surplus = stream.log.length.saturating_sub(most);
                stream.trim(view, None, surplus.min(limit), node).await
            }
            Threshold::MinId(id) => stream.trim(view, Some(id), limit, node).await,
        }
    }
}

/// The options before the id of XADD, or all of XTRIM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Options {
    trim: Option<Trim>,
    no_mkstream: bool,
    id: Option<NewId>,
    /// Index of the id, or of the end.
    at: usize,
}

impl Options {
    fn parse(args: &[Bytes], adds: bool) -> Result<Self, RedisError> {
        let mut options = Self::default();
        let (mut to, mut approximate, mut limit) = (None, false, None);
        let mut at = 2;
        while at < args.len() {
            let word = args[at].to_ascii_lowercase();
            let more = args.len() - 1 - at;
            match word.as_slice() {
                b"*" if adds => {
                    options.id = Some(NewId::Auto);
                    break;
                }
                b"maxlen" | b"minid" if more > 0 => {
                    if to.is_some() {
                        return Err(StreamRefusal::MaxLenAndMinId.into());
                    }
                    approximate = more >= 2 && *args[at + 1] == *b"~";
                    at += if approximate || (more >= 2 && *args[at + 1] == *b"=") { 2 } else { 1 };
                    to = Some(if word == b"maxlen" {
                        let most = parse_integer(&args[at])?;
                        Threshold::MaxLen(u64::try_from(most).map_err(|_| StreamRefusal::NegativeMaxLen)?)
                    } else {
                        Threshold::MinId(Id::parse(&args[at], 0)?)
                    });
                }
                b"limit" if more > 0 => {
                    at += 1;
                    let most = parse_integer(&args[at])?;
                    limit = Some(u64::try_from(most).map_err(|_| StreamRefusal::NegativeLimit)?);
                }
                b"nomkstream" if adds => options.no_mkstream = true,
                _ if adds => {
                    options.id = Some(NewId::parse(&args[at])?);
                    break;
                }
                _ => return Err(RedisError::Syntax),
            }
            at += 1;
        }
        options.at = at;
        if limit.is_some_and(|limit| limit > 0) && to.is_none() {
            return Err(StreamRefusal::LimitWithoutTrim.into());
        }
        if !adds && to.is_none() {
            return Err(StreamRefusal::NoTrim.into());
        }
        if limit.is_some() && !approximate {
            return Err(StreamRefusal::LimitOfExact.into());
        }
        let limit = if approximate { Some(limit.unwrap_or(100 * NODE)).filter(|limit| *limit > 0) } else { None };
        options.trim = to.map(|to| Trim { to, approximate, limit });
        Ok(options)
    }
}

impl<V: View> Database<'_, V> {
    /// XADD key [NOMKSTREAM] [MAXLEN|MINID [=|~] threshold [LIMIT count]] *|id field value…
    pub(super) async fn xadd(&mut self, args: &[Bytes]) -> Reply {
        let options = Options::parse(args, true)?;
        let items = args.get(options.at + 1..).unwrap_or_default();
        let Some(id) = options.id.filter(|_| items.len() >= 2 && items.len().is_multiple_of(2)) else {
            return Err(RedisError::WrongArity { command: "xadd" }.into());
        };
        if id == NewId::Given(Id::ZERO) {
            return Err(StreamRefusal::AddZero.into());
        }
        let mut stream = match self.open_stream(&args[1]).await? {
            Some(stream) => stream,
            None if options.no_mkstream => return Ok(Value::Null),
            None => self.new_stream(&args[1]),
        };
        let last = stream.log.last;
        if last == Id::MAX {
            return Err(StreamRefusal::Exhausted.into());
        }
        let next = |ms: u64| if ms > last.ms() { Some(Id::new(ms, 0)) } else { last.next() };
        let id = match id {
            NewId::Auto => next(self.view.now_ms()),
            NewId::Within(ms) if ms == last.ms() => last.next().filter(|id| id.ms() == ms),
            NewId::Within(ms) => Some(Id::new(ms, 0)),
            NewId::Given(id) => Some(id),
        };
        let id = id.filter(|id| *id > last).ok_or(StreamRefusal::AddBelow)?;
        stream.append(self.view, id, items);
        if let Some(trim) = options.trim {
            trim.run(self.view, &mut stream).await?;
        }
        self.close_stream(&stream);
        Ok(id.value())
    }

    /// XTRIM key MAXLEN|MINID [=|~] threshold [LIMIT count]
    pub(super) async fn xtrim(&mut self, args: &[Bytes]) -> Reply {
        let options = Options::parse(args, false)?;
        let Some(mut stream) = self.open_stream(&args[1]).await? else { return Ok(Value::Integer(0)) };
        let Some(trim) = options.trim else { return Err(StreamRefusal::NoTrim.into()) };
        let removed = trim.run(self.view, &mut stream).await?;
        if removed > 0 {
            self.close_stream(&stream);
        }
        Ok(Value::Integer(removed as i64))
    }

    /// XDEL key id…
    pub(super) async fn xdel(&mut self, args: &[Bytes]) -> Reply {
        let Some(mut stream) = self.open_stream(&args[1]).await? else { return Ok(Value::Integer(0)) };
        let (mut removed, first) = (0, stream.log.first);
        let mut removed_first = false;
        for id in Id::parse_all(&args[2..])? {
            if stream.delete(self.view, id).await? {
                removed += 1;
                removed_first |= id == first;
                stream.log.max_deleted = stream.log.max_deleted.max(id);
            }
        }
        if removed > 0 {
            if removed_first || stream.log.length == 0 {
                stream.find_first(self.view).await?;
            }
            self.close_stream(&stream);
        }
        Ok(Value::Integer(removed))
    }

    /// XSETID key id [ENTRIESADDED count] [MAXDELETEDID id]
    pub(super) async fn xsetid(&mut self, args: &[Bytes]) -> Reply {
        let id = Id::parse_strict(&args[2], 0)?;
        let (mut added, mut max_deleted) = (None, Id::ZERO);
        let mut rest = &args[3..];
        while let [word, value, others @ ..] = rest {
            match word.to_ascii_lowercase().as_slice() {
                b"entriesadded" => {
                    let number = parse_integer(value)?;
                    added = Some(u64::try_from(number).map_err(|_| StreamRefusal::NegativeAdded)?);
                }
                b"maxdeletedid" => {
                    max_deleted = Id::parse_strict(value, 0)?;
                    if id < max_deleted {
                        return Err(StreamRefusal::BelowProvidedDeleted.into());
                    }
                }
                _ => return Err(RedisError::Syntax.into()),
            }
            rest = others;
        }
        if !rest.is_empty() {
            return Err(RedisError::Syntax.into());
        }
        let mut stream = self.open_stream(&args[1]).await?.ok_or(RedisError::NoSuchKey)?;
        if id < stream.log.max_deleted {
            return Err(StreamRefusal::BelowDeleted.into());
        }
        if stream.log.length > 0 {
            if stream.edge(self.view, Order::Descending).await?.is_some_and(|top| id < top) {
                return Err(StreamRefusal::BelowTop.into());
            }
            if added.is_some_and(|added| stream.log.length > added) {
                return Err(StreamRefusal::AddedBelowLength.into());
            }
        }
        stream.log.last = id;
        stream.log.added = added.unwrap_or(stream.log.added);
        if max_deleted != Id::ZERO {
            stream.log.max_deleted = max_deleted;
        }
        self.close_stream(&stream);
        Ok(Value::OK)
    }
}
