//! XGROUP: groups and consumers come and go.

use bytes::Bytes;

use super::super::access::{Database, Fault, Reply};
use super::super::number::parse_integer;
use super::super::value::Value;
use super::group::OpenGroup;
use super::id::Id;
use super::log::Stream;
use super::refusal::StreamRefusal;
use crate::view::View;

/// The options of XGROUP CREATE and SETID.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Options {
    make_stream: bool,
    read: Option<u64>,
}

impl Options {
    fn parse(args: &[Bytes], creates: bool) -> Result<Self, Fault> {
        let mut options = Self::default();
        let mut rest = &args[5..];
        while let [word, others @ ..] = rest {
            rest = match (word.to_ascii_lowercase().as_slice(), others) {
                (b"mkstream", others) if creates => {
                    options.make_stream = true;
                    others
                }
                (b"entriesread", [number, others @ ..]) => {
                    let number = parse_integer(number)?;
                    if number < -1 {
                        return Err(StreamRefusal::NegativeRead.into());
                    }
                    options.read = u64::try_from(number).ok();
                    others
                }
                _ => return Err(StreamRefusal::subcommand(&args[1], "XGROUP").into()),
            };
        }
        if args.len() > if creates { 8 } else { 7 } {
            return Err(StreamRefusal::subcommand(&args[1], "XGROUP").into());
        }
        Ok(options)
    }
}

impl<V: View> Database<'_, V> {
    /// XGROUP CREATE key group id|$ [MKSTREAM] [ENTRIESREAD count]
    pub(super) async fn xgroup_create(&mut self, args: &[Bytes]) -> Reply {
        let options = Options::parse(args, true)?;
        let found = self.open_stream(&args[2]).await?;
        if found.is_none() && !options.make_stream {
            return Err(StreamRefusal::NoKeyOfGroup.into());
        }
        let last = match &args[4][..] {
            b"$" => found.as_ref().map_or(Id::ZERO, |stream| stream.log.last),
            text => Id::parse_strict(text, 0)?,
        };
        let mut stream = match found {
            Some(stream) => stream,
            None => self.new_stream(&args[2]),
        };
        if stream.group(self.view, &args[3]).await?.is_some() {
            return Err(StreamRefusal::BusyGroup.into());
        }
        let group = stream.new_group(&args[3], last, options.read);
        self.close_group(&stream, &group);
        Ok(Value::OK)
    }

    /// XGROUP SETID key group id|$ [ENTRIESREAD count]
    pub(super) async fn xgroup_set_id(&mut self, args: &[Bytes]) -> Reply {
        let options = Options::parse(args, false)?;
        let (stream, mut group) = self.open_existing_group(&args[2], &args[3]).await?;
        group.group.last = match &args[4][..] {
            b"$" => stream.log.last,
            text => Id::parse(text, 0)?,
        };
        group.group.read = options.read;
        self.close_group(&stream, &group);
        Ok(Value::OK)
    }

    /// XGROUP DESTROY key group
    pub(super) async fn xgroup_destroy(&mut self, args: &[Bytes]) -> Reply {
        let mut stream = self.open_stream(&args[2]).await?.ok_or(StreamRefusal::NoKeyOfGroup)?;
        let Some(group) = stream.group(self.view, &args[3]).await? else { return Ok(Value::Integer(0)) };
        stream.remove_group(self.view, &group).await?;
        self.close_stream(&stream);
        Ok(Value::Integer(1))
    }

    /// XGROUP CREATECONSUMER key group consumer
    pub(super) async fn xgroup_create_consumer(&mut self, args: &[Bytes]) -> Reply {
        let (mut stream, mut group) = self.open_existing_group(&args[2], &args[3]).await?;
        if group.consumer(self.view, &args[4]).await?.is_some() {
            return Ok(Value::Integer(0));
        }
        group.add_consumer(&mut stream, &args[4], self.view.now_ms());
        self.close_group(&stream, &group);
        Ok(Value::Integer(1))
    }

    /// XGROUP DELCONSUMER key group consumer
    pub(super) async fn xgroup_del_consumer(&mut self, args: &[Bytes]) -> Reply {
        let (stream, mut group) = self.open_existing_group(&args[2], &args[3]).await?;
        let Some(pending) = group.remove_consumer(self.view, &args[4]).await? else { return Ok(Value::Integer(0)) };
        self.close_group(&stream, &group);
        Ok(Value::Integer(pending as i64))
    }

    async fn open_existing_group(&mut self, key: &Bytes, name: &Bytes) -> Result<(Stream, OpenGroup), Fault> {
        let stream = self.open_stream(key).await?.ok_or(StreamRefusal::NoKeyOfGroup)?;
        let group = stream.group(self.view, name).await?;
        Ok((stream, group.ok_or_else(|| StreamRefusal::no_group(key, name))?))
    }

    /// Ends changes of a group.
    pub(super) fn close_group(&mut self, stream: &Stream, group: &OpenGroup) {
        group.close(self.view, stream);
        self.close_stream(stream);
    }
}
