//! XACK and XPENDING: what was delivered and not acknowledged.

use bytes::Bytes;

use super::super::access::{Database, Fault, Reply};
use super::super::error::RedisError;
use super::super::number::parse_integer;
use super::super::value::Value;
use super::group::{OpenGroup, Pending};
use super::id::Id;
use super::log::Stream;
use super::refusal::StreamRefusal;
use crate::view::{Order, View};

/// Looked at in one step of a search by idle time.
const STEP: usize = 64;

impl<V: View> Database<'_, V> {
    /// The group of a command that does not create any; `None`: there is no key or no group.
    pub(super) async fn find_group(&mut self, key: &Bytes, name: &Bytes) -> Result<Option<(Stream, OpenGroup)>, Fault> {
        let Some(stream) = self.open_stream(key).await? else { return Ok(None) };
        let group = stream.group(self.view, name).await?;
        Ok(group.map(|group| (stream, group)))
    }

    /// XACK key group id…
    pub(super) async fn xack(&mut self, args: &[Bytes]) -> Reply {
        let Some((stream, mut group)) = self.find_group(&args[1], &args[2]).await? else {
            return Ok(Value::Integer(0));
        };
        let mut settled = 0;
        for id in Id::parse_all(&args[3..])? {
            if let Some(pending) = group.pending(self.view, id).await? {
                group.settle(self.view, id, &pending).await?;
                settled += 1;
            }
        }
        if settled > 0 {
            self.close_group(&stream, &group);
        }
        Ok(Value::Integer(settled))
    }

    /// XPENDING key group [[IDLE ms] start end count [consumer]]
    pub(super) async fn xpending(&mut self, args: &[Bytes]) -> Reply {
        let summary = args.len() == 3;
        if !summary && !(6..=9).contains(&args.len()) {
            return Err(RedisError::Syntax.into());
        }
        let mut idle = 0;
        let mut wanted = None;
        if !summary {
            let mut rest = &args[3..];
            if rest[0].eq_ignore_ascii_case(b"idle") {
                idle = parse_integer(&rest[1])?;
                if args.len() < 8 {
                    return Err(RedisError::Syntax.into());
                }
                rest = &rest[2..];
            }
            let count = usize::try_from(parse_integer(&rest[2])?).unwrap_or(0);
            let bounds = (Id::parse_start(&rest[0])?, Id::parse_end(&rest[1])?);
            wanted = Some((bounds, count, rest.get(3)));
        }
        let (_, mut group) = (self.find_group(&args[1], &args[2]).await?)
            .ok_or_else(|| StreamRefusal::no_key_or_group(&args[1], &args[2]))?;
        match wanted {
            None => self.pending_summary(&group).await,
            Some((bounds, count, consumer)) => self.pending_list(&mut group, bounds, count, consumer, idle).await,
        }
    }

    async fn pending_summary(&mut self, group: &OpenGroup) -> Reply {
        let all = (Id::ZERO, Id::MAX);
        let mut edges = Vec::new();
        for order in [Order::Ascending, Order::Descending] {
            edges.push(
                group.pending_from(self.view, all, order, 1).await?.first().map_or(Value::Null, |(id, _)| id.value()),
            );
        }
        let consumers = match group.group.pending {
            0 => Value::NullArray,
            _ => {
                let consumers =
                    group.consumers(self.view).await?.into_iter().filter(|(_, consumer)| consumer.pending > 0);
                let shown = |(name, pending): (Bytes, u64)| {
                    Value::Array(vec![Value::Bulk(name), Value::bulk(pending.to_string())])
                };
                Value::Array(consumers.map(|(name, consumer)| shown((name, consumer.pending))).collect())
            }
        };
        let mut answer = vec![Value::Integer(group.group.pending as i64)];
        answer.extend(edges);
        answer.push(consumers);
        Ok(Value::Array(answer))
    }

    async fn pending_list(
        &mut self,
        group: &mut OpenGroup,
        (mut from, to): (Id, Id),
        count: usize,
        consumer: Option<&Bytes>,
        idle: i64,
    ) -> Reply {
        let now = self.now_ms();
        let consumer = match consumer {
            None => None,
            Some(name) => match group.consumer(self.view, name).await? {
                Some(consumer) => Some(consumer),
                None => return Ok(Value::Array(Vec::new())),
            },
        };
        let mut listed = Vec::new();
        while listed.len() < count && from <= to {
            let step = if idle == 0 { count - listed.len() } else { STEP };
            let page: Vec<(Id, Pending)> = match &consumer {
                None => group.pending_from(self.view, (from, to), Order::Ascending, step).await?,
                Some(consumer) => {
                    let mut page = Vec::new();
                    for id in group.owned_ids(self.view, consumer, from, step).await? {
                        if id <= to
                            && let Some(pending) = group.pending(self.view, id).await?
                        {
                            page.push((id, pending));
                        }
                    }
                    page
                }
            };
            let Some((last, _)) = page.last() else { break };
            let next = last.next();
            for (id, pending) in page {
                let waited = idle_ms(now, &pending);
                if (idle == 0 || waited >= idle) && listed.len() < count {
                    listed.push(Value::Array(vec![
                        id.value(),
                        Value::Bulk(pending.consumer),
                        Value::Integer(waited.max(0)),
                        Value::Integer(pending.deliveries as i64),
                    ]));
                }
            }
            let Some(next) = next else { break };
            from = next;
        }
        Ok(Value::Array(listed))
    }
}

/// How long ago an entry was delivered.
pub(super) fn idle_ms(now: i64, pending: &Pending) -> i64 {
    now.saturating_sub(i64::try_from(pending.delivered_ms).unwrap_or(i64::MAX))
}
