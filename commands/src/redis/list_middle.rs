//! Searching lists, and changes in the middle: LINSERT, LREM, LPOS.
//!
//! Positions have no gaps, so an insertion moves every element on one side of it by one position, and a removal moves
//! what is behind the first removed element, or before the last, together. Of the two sides the shorter one moves.

use bytes::Bytes;

use super::access::{Database, Fault, Reply};
use super::error::RedisError;
use super::list::List;
use super::number::parse_integer;
use super::record::Ends;
use super::value::Value;
use crate::view::{Order, View};

/// Where LPOS looks, and how far.
struct Search {
    rank: i64,
    /// `None`: the first match, not in an array.
    count: Option<u64>,
    max_len: u64,
}

impl Search {
    fn parse(options: &[Bytes]) -> Result<Self, RedisError> {
        let mut search = Self { rank: 1, count: None, max_len: u64::MAX };
        for option in options.chunks(2) {
            let [word, number] = option else { return Err(RedisError::Syntax) };
            let not_negative = |error| parse_integer(number).ok().filter(|number| *number >= 0).ok_or(error);
            if word.eq_ignore_ascii_case(b"rank") {
                search.rank = match parse_integer(number)? {
                    0 => return Err(RedisError::ZeroRank),
                    rank => rank,
                };
            } else if word.eq_ignore_ascii_case(b"count") {
                let count = not_negative(RedisError::NegativeCount)?;
                search.count = Some(if count == 0 { u64::MAX } else { count.unsigned_abs() });
            } else if word.eq_ignore_ascii_case(b"maxlen") {
                let max_len = not_negative(RedisError::NegativeMaxLen)?;
                search.max_len = if max_len == 0 { u64::MAX } else { max_len.unsigned_abs() };
            } else {
                return Err(RedisError::Syntax);
            }
        }
        Ok(search)
    }
}

impl<V: View> Database<'_, V> {
    /// LPOS key element [RANK rank] [COUNT count] [MAXLEN len]
    pub(super) async fn lpos(&mut self, key: &Bytes, element: &Bytes, options: &[Bytes]) -> Reply {
        let search = Search::parse(options)?;
        let found = match self.open_list(key).await? {
            Some(list) => {
                let order = if search.rank > 0 { Order::Ascending } else { Order::Descending };
                let most = search.count.unwrap_or(1).saturating_add(search.rank.unsigned_abs() - 1);
                let found = self.find(&list, element, order, most, search.max_len).await?;
                let behind_rank = found.into_iter().skip((search.rank.unsigned_abs() - 1) as usize);
                behind_rank.map(|position| Value::Integer((position - list.ends.head) as i64)).collect()
            }
            None => Vec::new(),
        };
        Ok(match search.count {
            Some(_) => Value::Array(found),
            None => found.into_iter().next().unwrap_or(Value::Null),
        })
    }

    /// The positions of at most `most` elements that equal `element`, of the first `max_len` in an order.
    async fn find(
        &mut self,
        list: &List,
        element: &Bytes,
        order: Order,
        most: u64,
        max_len: u64,
    ) -> Result<Vec<u64>, Fault> {
        let Ends { head, tail, .. } = list.ends;
        let len = max_len.min(list.len());
        let mut walk = match order {
            Order::Ascending => list.walk(head..head + len, order),
            Order::Descending => list.walk(tail - len..tail, order),
        };
        let mut found = Vec::new();
        while let Some(page) = walk.next(self.view).await? {
            for (position, value) in page {
                if value == element {
                    found.push(position_of(&position));
                    if found.len() as u64 >= most {
                        return Ok(found);
                    }
                }
            }
        }
        Ok(found)
    }

    /// LINSERT key BEFORE|AFTER pivot element
    pub(super) async fn linsert(&mut self, key: &Bytes, side: &[u8], pivot: &Bytes, value: &Bytes) -> Reply {
        let behind = match side.to_ascii_lowercase().as_slice() {
            b"before" => 0,
            b"after" => 1,
            _ => return Err(RedisError::Syntax.into()),
        };
        let Some(mut list) = self.open_list(key).await? else { return Ok(Value::Integer(0)) };
        let Some(pivot) = self.find(&list, pivot, Order::Ascending, 1, u64::MAX).await?.pop() else {
            return Ok(Value::Integer(-1));
        };
        // What stands there or behind it comes behind the new element.
        let place = pivot + behind;
        let Ends { head, tail, .. } = list.ends;
        if place - head < tail - place {
            self.shift(&list, head..place, Order::Ascending, |position| position - 1).await?;
            list.ends.head -= 1;
            list.set(self.view, place - 1, value.clone());
        } else {
            self.shift(&list, place..tail, Order::Descending, |position| position + 1).await?;
            list.ends.tail += 1;
            list.set(self.view, place, value.clone());
        }
        self.close_list(&list);
        Ok(Value::Integer(list.len() as i64))
    }

    /// Writes the elements of some positions at others, which lie behind the walk.
    async fn shift(
        &mut self,
        list: &List,
        positions: std::ops::Range<u64>,
        order: Order,
        to: impl Fn(u64) -> u64,
    ) -> Result<(), Fault> {
        let mut walk = list.walk(positions, order);
        while let Some(page) = walk.next(self.view).await? {
            for (position, value) in page {
                list.set(self.view, to(position_of(&position)), value);
            }
        }
        Ok(())
    }

    /// LREM key count element: from the head, from the tail when `count` is negative, all when it is 0
    pub(super) async fn lrem(&mut self, key: &Bytes, count: &[u8], element: &Bytes) -> Reply {
        let count = parse_integer(count)?;
        let Some(mut list) = self.open_list(key).await? else { return Ok(Value::Integer(0)) };
        let order = if count < 0 { Order::Descending } else { Order::Ascending };
        let most = if count == 0 { u64::MAX } else { count.unsigned_abs() };
        let mut removed = self.find(&list, element, order, most, u64::MAX).await?;
        removed.sort_unstable();
        let (Some(&first), Some(&last)) = (removed.first(), removed.last()) else { return Ok(Value::Integer(0)) };
        let gone = removed.len() as u64;
        let Ends { head, tail, .. } = list.ends;
        if gone == list.len() {
            list.ends.tail = head;
        } else if tail - first <= last + 1 - head {
            self.close_up(&list, &removed, first..tail, Order::Ascending).await?;
            list.ends.tail -= gone;
            list.clear(self.view, list.ends.tail..tail);
        } else {
            self.close_up(&list, &removed, head..last + 1, Order::Descending).await?;
            list.ends.head += gone;
            list.clear(self.view, head..list.ends.head);
        }
        self.close_list(&list);
        Ok(Value::Integer(gone as i64))
    }

    /// Moves the elements of some positions together, towards where the walk begins, over those that are `removed`.
    async fn close_up(
        &mut self,
        list: &List,
        removed: &[u64],
        positions: std::ops::Range<u64>,
        order: Order,
    ) -> Result<(), Fault> {
        let mut passed = 0;
        let mut walk = list.walk(positions, order);
        while let Some(page) = walk.next(self.view).await? {
            for (position, value) in page {
                let position = position_of(&position);
                if removed.binary_search(&position).is_ok() {
                    passed += 1;
                } else if passed > 0 {
                    let to = if order == Order::Ascending { position - passed } else { position + passed };
                    list.set(self.view, to, value);
                }
            }
        }
        Ok(())
    }
}

fn position_of(element: &[u8]) -> u64 {
    element.iter().take(8).fold(0, |position, &byte| (position << 8) | u64::from(byte))
}
