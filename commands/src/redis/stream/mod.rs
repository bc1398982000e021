//! Commands on streams. Source of the rules: <https://redis.io/commands/?group=stream>, compared with redis-server 7.0.
//!
//! A stream is a [`log`] of entries by [`id`], and groups of consumers ([`group`]) that read it together: what was
//! delivered and not acknowledged is pending. Entries are added, trimmed and removed in [`edit`] and read in [`range`] and
//! [`read`]; groups are made in [`manage`], what is pending is settled in [`pending`] and changes hands in [`claim`].
//! [`info`] tells of all of it.

use bytes::Bytes;

use super::access::{Database, Reply};
use super::table::StreamCommand;
use super::value::Value;
use crate::view::View;

mod claim;
mod edit;
mod group;
pub mod id;
mod info;
pub mod log;
mod manage;
mod pending;
mod range;
pub(super) mod read;
pub mod refusal;

impl<V: View> Database<'_, V> {
    /// Runs a command on streams.
    pub async fn on_stream(&mut self, command: StreamCommand, args: &[Bytes]) -> Reply {
        match command {
            StreamCommand::XAck => self.xack(args).await,
            StreamCommand::XAdd => self.xadd(args).await,
            StreamCommand::XAutoClaim => self.xautoclaim(args).await,
            StreamCommand::XClaim => self.xclaim(args).await,
            StreamCommand::XDel => self.xdel(args).await,
            StreamCommand::XGroupCreate => self.xgroup_create(args).await,
            StreamCommand::XGroupCreateConsumer => self.xgroup_create_consumer(args).await,
            StreamCommand::XGroupDelConsumer => self.xgroup_del_consumer(args).await,
            StreamCommand::XGroupDestroy => self.xgroup_destroy(args).await,
            StreamCommand::XGroupSetId => self.xgroup_set_id(args).await,
            StreamCommand::XInfoConsumers => self.xinfo_consumers(args).await,
            StreamCommand::XInfoGroups => self.xinfo_groups(args).await,
            StreamCommand::XInfoStream => self.xinfo_stream(args).await,
            StreamCommand::XLen => {
                Ok(Value::Integer(self.open_stream(&args[1]).await?.map_or(0, |stream| stream.log.length) as i64))
            }
            StreamCommand::XPending => self.xpending(args).await,
            StreamCommand::XRange => self.xrange(&args[1], &args[2], &args[3], &args[4..], false).await,
            StreamCommand::XRead | StreamCommand::XReadGroup => self.xread(command, args).await,
            StreamCommand::XRevRange => self.xrange(&args[1], &args[3], &args[2], &args[4..], true).await,
            StreamCommand::XSetId => self.xsetid(args).await,
            StreamCommand::XTrim => self.xtrim(args).await,
        }
    }
}
