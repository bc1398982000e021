//! XREAD and XREADGROUP.
//!
//! Both may wait. An evaluation that finds nothing answers nil; an XREADGROUP with BLOCK that finds nothing has then
//! written nothing, except for a consumer that was not there: a command without an effect can stand by.

use std::time::Duration;

use bytes::Bytes;

use super::super::access::{Database, Fault, Reply};
use super::super::blocking::Patience;
use super::super::error::RedisError;
use super::super::number::parse_integer;
use super::super::table::StreamCommand;
use super::super::value::Value;
use super::group::{OpenGroup, Pending};
use super::id::Id;
use super::log::{Stream, entry_value};
use super::refusal::StreamRefusal;
use crate::view::{Order, View};

/// A command line of XREAD or XREADGROUP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct ReadRequest<'a> {
    pub patience: Patience,
    count: usize,
    group: Option<(&'a Bytes, &'a Bytes)>,
    no_ack: bool,
    /// Index of the first key.
    pub first_key: usize,
    keys: &'a [Bytes],
    ids: &'a [Bytes],
}

impl<'a> ReadRequest<'a> {
    /// Everything but the ids.
    pub fn parse(command: StreamCommand, args: &'a [Bytes]) -> Result<Self, RedisError> {
        let of_group = command == StreamCommand::XReadGroup;
        let (mut patience, mut count, mut group, mut no_ack) = (Patience::None, usize::MAX, None, false);
        let mut at = 1;
        while at < args.len() {
            let more = args.len() - 1 - at;
            match args[at].to_ascii_lowercase().as_slice() {
                b"block" if more > 0 => {
                    at += 1;
                    let ms = parse_integer(&args[at]).map_err(|_| StreamRefusal::TimeoutNotAnInteger)?;
                    let ms = u64::try_from(ms).map_err(|_| RedisError::NegativeTimeout)?;
                    patience = if ms == 0 { Patience::Forever } else { Patience::For(Duration::from_millis(ms)) };
                }
                b"count" if more > 0 => {
                    at += 1;
                    // None, and fewer than none, are no limit.
                    let most = usize::try_from(parse_integer(&args[at])?).unwrap_or(0);
                    count = if most == 0 { usize::MAX } else { most };
                }
                b"streams" if more > 0 => {
                    let (first_key, number) = (at + 1, more / 2);
                    if !more.is_multiple_of(2) {
                        let (command, symbol) = if of_group { ("xreadgroup", '>') } else { ("xread", '$') };
                        return Err(StreamRefusal::Unbalanced { command, symbol }.into());
                    }
                    if of_group && group.is_none() {
                        return Err(StreamRefusal::MissingGroup.into());
                    }
                    let (keys, ids) = args[first_key..].split_at(number);
                    return Ok(Self { patience, count, group, no_ack, first_key, keys, ids });
                }
                b"group" if more >= 2 => {
                    if !of_group {
                        return Err(StreamRefusal::GroupOfXRead.into());
                    }
                    group = Some((&args[at + 1], &args[at + 2]));
                    at += 2;
                }
                b"noack" => {
                    if !of_group {
                        return Err(StreamRefusal::NoAckOfXRead.into());
                    }
                    no_ack = true;
                }
                _ => return Err(RedisError::Syntax),
            }
            at += 1;
        }
        Err(RedisError::Syntax)
    }
}

/// From where on to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    /// `>`: what nobody in the group has read.
    New,
    /// Behind this id: of the stream, or of what is pending for the consumer.
    Behind(Id),
}

impl<V: View> Database<'_, V> {
    /// XREAD [COUNT count] [BLOCK ms] STREAMS key… id…, and
    /// XREADGROUP GROUP group consumer [COUNT count] [BLOCK ms] [NOACK] STREAMS key… id…
    pub(super) async fn xread(&mut self, command: StreamCommand, args: &[Bytes]) -> Reply {
        let request = ReadRequest::parse(command, args)?;
        let mut from = Vec::with_capacity(request.keys.len());
        for (key, id) in request.keys.iter().zip(request.ids) {
            let stream = self.open_stream(key).await?;
            if let Some((group, _)) = request.group {
                let found = match &stream {
                    Some(stream) => stream.group(self.view, group).await?.is_some(),
                    None => false,
                };
                if !found {
                    return Err(StreamRefusal::no_group_to_read(key, group).into());
                }
            }
            from.push(match (&id[..], request.group) {
                (b"$", Some(_)) => return Err(StreamRefusal::DollarOfGroup.into()),
                (b"$", None) => From::Behind(stream.map_or(Id::ZERO, |stream| stream.log.last)),
                (b">", Some(_)) => From::New,
                (b">", None) => return Err(StreamRefusal::NewOfXRead.into()),
                (text, _) => From::Behind(Id::parse_strict(text, 0)?),
            });
        }
        let mut answers = Vec::new();
        for (key, from) in request.keys.iter().zip(from) {
            let answer = match (request.group, from) {
                (Some((group, consumer)), from) => self.read_as(&request, key, group, consumer, from).await?,
                (None, From::Behind(id)) => self.read_behind(&request, key, id).await?,
                (None, From::New) => None,
            };
            if let Some(entries) = answer {
                answers.push((Value::Bulk(key.clone()), Value::Array(entries)));
            }
        }
        Ok(if answers.is_empty() { Value::NullArray } else { Value::Streams(answers) })
    }

    async fn read_behind(
        &mut self,
        request: &ReadRequest<'_>,
        key: &Bytes,
        id: Id,
    ) -> Result<Option<Vec<Value>>, Fault> {
        let Some(stream) = self.open_stream(key).await? else { return Ok(None) };
        let Some(start) = id.next() else { return Ok(None) };
        if stream.log.length == 0 || start > stream.log.last {
            return Ok(None);
        }
        let found = stream.range(self.view, (start, Id::MAX), Order::Ascending, request.count).await?;
        Ok((!found.is_empty()).then(|| found.into_iter().map(entry_value).collect()))
    }

    async fn read_as(
        &mut self,
        request: &ReadRequest<'_>,
        key: &Bytes,
        name: &Bytes,
        consumer: &Bytes,
        from: From,
    ) -> Result<Option<Vec<Value>>, Fault> {
        let Some(mut stream) = self.open_stream(key).await? else { return Ok(None) };
        let Some(mut group) = stream.group(self.view, name).await? else { return Ok(None) };
        let known = group.consumer(self.view, consumer).await?.is_some();
        let answer = match from {
            From::Behind(id) => Some(self.read_history(request, &mut stream, &mut group, consumer, id).await?),
            From::New => {
                let start = group.group.last.next().filter(|start| *start <= stream.log.last);
                let found = match start {
                    Some(start) => stream.range(self.view, (start, Id::MAX), Order::Ascending, request.count).await?,
                    None => Vec::new(),
                };
                if found.is_empty() && known && request.patience != Patience::None {
                    return Ok(None);
                }
                group.seen_consumer(self.view, &mut stream, consumer).await?;
                for (id, _) in &found {
                    deliver(&stream, &mut group, *id);
                    if !request.no_ack {
                        let before = group.pending(self.view, *id).await?;
                        let delivered_ms = self.view.now_ms();
                        let pending = Pending { delivered_ms, deliveries: 1, consumer: consumer.clone() };
                        group.set_pending(self.view, *id, pending, before.as_ref()).await?;
                    }
                }
                (!found.is_empty()).then(|| found.into_iter().map(entry_value).collect())
            }
        };
        group.close(self.view, &stream);
        self.close_stream(&stream);
        Ok(answer)
    }

    /// What is pending for a consumer; what was deleted meanwhile is an id without fields.
    async fn read_history(
        &mut self,
        request: &ReadRequest<'_>,
        stream: &mut Stream,
        group: &mut OpenGroup,
        name: &Bytes,
        id: Id,
    ) -> Result<Vec<Value>, Fault> {
        let consumer = group.seen_consumer(self.view, stream, name).await?;
        let start = id.next().unwrap_or(Id::ZERO);
        let mut entries = Vec::new();
        for id in group.owned_ids(self.view, &consumer, start, request.count).await? {
            let fields = stream.entry(self.view, id).await?;
            if fields.is_some()
                && let Some(before) = group.pending(self.view, id).await?
            {
                let (delivered_ms, deliveries) = (self.view.now_ms(), before.deliveries.wrapping_add(1));
                let pending = Pending { delivered_ms, deliveries, consumer: name.clone() };
                group.set_pending(self.view, id, pending, Some(&before)).await?;
            }
            entries.push(entry_value((id, fields.unwrap_or(Value::NullArray))));
        }
        Ok(entries)
    }
}

/// Moves a group on to an entry, and what it knows of how many it has read.
fn deliver(stream: &Stream, group: &mut OpenGroup, id: Id) {
    let group = &mut group.group;
    if id <= group.last {
        return;
    }
    if let Some(read) = group.read.filter(|_| !stream.log.has_gap_behind(id)) {
        group.read = Some(read.wrapping_add(1));
    } else if stream.log.added > 0 {
        group.read = stream.log.count_up_to(id);
    }
    group.last = id;
}
