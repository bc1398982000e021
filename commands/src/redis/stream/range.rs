//! XRANGE and XREVRANGE.

use bytes::Bytes;

use super::super::access::{Database, Reply};
use super::super::error::RedisError;
use super::super::number::parse_integer;
use super::super::value::Value;
use super::id::Id;
use super::log::entry_value;
use crate::view::{Order, View};

impl<V: View> Database<'_, V> {
    /// XRANGE key start end [COUNT count], and with start and end exchanged XREVRANGE
    pub(super) async fn xrange(
        &mut self,
        key: &Bytes,
        start: &[u8],
        end: &[u8],
        options: &[Bytes],
        reverse: bool,
    ) -> Reply {
        let bounds = (Id::parse_start(start)?, Id::parse_end(end)?);
        let mut count = usize::MAX;
        for option in options.chunks(2) {
            count = match option {
                [word, number] if word.eq_ignore_ascii_case(b"count") => {
                    usize::try_from(parse_integer(number)?).unwrap_or(0)
                }
                _ => return Err(RedisError::Syntax.into()),
            };
        }
        let Some(stream) = self.open_stream(key).await? else { return Ok(Value::Array(Vec::new())) };
        if count == 0 {
            return Ok(Value::NullArray);
        }
        let order = if reverse { Order::Descending } else { Order::Ascending };
        let found = stream.range(self.view, bounds, order, count).await?;
        Ok(Value::Array(found.into_iter().map(entry_value).collect()))
    }
}
