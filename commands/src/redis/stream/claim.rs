//! XCLAIM and XAUTOCLAIM: what is pending for one consumer becomes another's.

use bytes::Bytes;

use super::super::access::{Database, Reply};
use super::super::error::RedisError;
use super::super::number::parse_integer;
use super::super::value::Value;
use super::group::Pending;
use super::id::Id;
use super::log::entry_value;
use super::pending::idle_ms;
use super::refusal::StreamRefusal;
use crate::view::{Order, View};

/// XAUTOCLAIM looks at so many entries for each that it may answer.
const ATTEMPTS: i64 = 10;
/// Largest COUNT of XAUTOCLAIM.
const MAX_COUNT: i64 = i64::MAX / 16;
/// Most entries read in one step.
const STEP: i64 = 64;

/// The options of XCLAIM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Options {
    delivered_ms: Option<i64>,
    deliveries: Option<u64>,
    force: bool,
    just_id: bool,
    last: Id,
}

impl Options {
    fn parse(mut args: &[Bytes], now: i64) -> Result<Self, RedisError> {
        let mut options = Self::default();
        let number = |text: &[u8], what: &'static str| {
            parse_integer(text).map_err(|_| StreamRefusal::InvalidNumber { what, command: "XCLAIM" })
        };
        while let [word, rest @ ..] = args {
            args = match (word.to_ascii_lowercase().as_slice(), rest) {
                (b"force", rest) => {
                    options.force = true;
                    rest
                }
                (b"justid", rest) => {
                    options.just_id = true;
                    rest
                }
                (b"idle", [ms, rest @ ..]) => {
                    options.delivered_ms = Some(now.wrapping_sub(number(ms, "IDLE option argument")?));
                    rest
                }
                (b"time", [ms, rest @ ..]) => {
                    options.delivered_ms = Some(number(ms, "TIME option argument")?);
                    rest
                }
                (b"retrycount", [count, rest @ ..]) => {
                    options.deliveries = u64::try_from(number(count, "RETRYCOUNT option argument")?).ok();
                    rest
                }
                (b"lastid", [id, rest @ ..]) => {
                    options.last = Id::parse_strict(id, 0)?;
                    rest
                }
                _ => return Err(StreamRefusal::claim_option(word).into()),
            };
        }
        Ok(options)
    }
}

impl<V: View> Database<'_, V> {
    /// XCLAIM key group consumer min-idle-time id… [IDLE ms] [TIME ms] [RETRYCOUNT count] [FORCE] [JUSTID] [LASTID id]
    pub(super) async fn xclaim(&mut self, args: &[Bytes]) -> Reply {
        let (mut stream, mut group) = (self.find_group(&args[1], &args[2]).await?)
            .ok_or_else(|| StreamRefusal::no_key_or_group(&args[1], &args[2]))?;
        let (name, idle) = (&args[3], min_idle(&args[4], "XCLAIM")?);
        let now = self.now_ms();
        let ids: Vec<Id> = args[5..].iter().map_while(|text| Id::parse_strict(text, 0).ok()).collect();
        let options = Options::parse(&args[5 + ids.len()..], now)?;
        let delivered = options.delivered_ms.filter(|at| (0..=now).contains(at)).unwrap_or(now);
        let mut changed = options.last > group.group.last;
        group.group.last = group.group.last.max(options.last);
        let mut answers = Vec::new();
        for id in ids {
            let before = group.pending(self.view, id).await?;
            let Some(fields) = stream.entry(self.view, id).await? else {
                if let Some(before) = before {
                    group.settle(self.view, id, &before).await?;
                    changed = true;
                }
                continue;
            };
            let deliveries = match &before {
                None if !options.force => continue,
                None => 1,
                Some(before) if idle > 0 && idle_ms(now, before) < idle => continue,
                Some(before) => before.deliveries,
            };
            let deliveries = options.deliveries.unwrap_or(deliveries.wrapping_add(u64::from(!options.just_id)));
            group.seen_consumer(self.view, &mut stream, name).await?;
            let pending = Pending { delivered_ms: delivered.unsigned_abs(), deliveries, consumer: name.clone() };
            group.set_pending(self.view, id, pending, before.as_ref()).await?;
            changed = true;
            answers.push(if options.just_id { id.value() } else { entry_value((id, fields)) });
        }
        if changed {
            self.close_group(&stream, &group);
        }
        Ok(Value::Array(answers))
    }

    /// XAUTOCLAIM key group consumer min-idle-time start [COUNT count] [JUSTID]
    pub(super) async fn xautoclaim(&mut self, args: &[Bytes]) -> Reply {
        let (name, idle) = (&args[3], min_idle(&args[4], "XAUTOCLAIM")?);
        let mut from = Some(Id::parse_start(&args[5])?);
        let (mut count, mut just_id) = (100, false);
        let mut rest = &args[6..];
        while let [word, others @ ..] = rest {
            rest = match (word.to_ascii_lowercase().as_slice(), others) {
                (b"count", [number, others @ ..]) => {
                    let number = parse_integer(number).ok().filter(|number| (1..=MAX_COUNT).contains(number));
                    count = number.ok_or(StreamRefusal::NoCount)?;
                    others
                }
                (b"justid", others) => {
                    just_id = true;
                    others
                }
                _ => return Err(RedisError::Syntax.into()),
            };
        }
        let (mut stream, mut group) = (self.find_group(&args[1], &args[2]).await?)
            .ok_or_else(|| StreamRefusal::no_key_or_group(&args[1], &args[2]))?;
        let now = self.now_ms();
        let mut attempts = count.saturating_mul(ATTEMPTS);
        let (mut claimed, mut deleted) = (Vec::new(), Vec::new());
        while attempts > 0 && count > 0 {
            let Some(start) = from else { break };
            let step = attempts.min(count).min(STEP) as usize;
            let page = group.pending_from(self.view, (start, Id::MAX), Order::Ascending, step).await?;
            from = page.last().and_then(|(last, _)| last.next());
            for (id, before) in page {
                attempts -= 1;
                let Some(fields) = stream.entry(self.view, id).await? else {
                    group.settle(self.view, id, &before).await?;
                    deleted.push(id.value());
                    count -= 1;
                    continue;
                };
                if idle > 0 && idle_ms(now, &before) < idle {
                    continue;
                }
                group.seen_consumer(self.view, &mut stream, name).await?;
                let deliveries = before.deliveries.wrapping_add(u64::from(!just_id));
                let pending = Pending { delivered_ms: now.unsigned_abs(), deliveries, consumer: name.clone() };
                group.set_pending(self.view, id, pending, Some(&before)).await?;
                claimed.push(if just_id { id.value() } else { entry_value((id, fields)) });
                count -= 1;
            }
        }
        let next = match from {
            Some(start) => group.pending_from(self.view, (start, Id::MAX), Order::Ascending, 1).await?.pop(),
            None => None,
        };
        if !claimed.is_empty() || !deleted.is_empty() {
            self.close_group(&stream, &group);
        }
        let cursor = next.map_or(Id::ZERO, |(id, _)| id);
        Ok(Value::Array(vec![cursor.value(), Value::Array(claimed), Value::Array(deleted)]))
    }
}

fn min_idle(text: &[u8], command: &'static str) -> Result<i64, RedisError> {
    let number =
        parse_integer(text).map_err(|_| StreamRefusal::InvalidNumber { what: "min-idle-time argument", command })?;
    Ok(number.max(0))
}
