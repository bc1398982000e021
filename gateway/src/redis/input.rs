//! What has arrived and is not parsed yet.
//!
//! Most reads find a few hundred bytes. They go through a buffer of the thread, and only what arrived is kept: so a
//! connection that waits holds no buffer, and one that works allocates what its requests take. A client that sends more
//! than the thread's buffer holds is read into its own.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::io::poll_read_buf;

use super::request::RequestParser;

/// The buffer of a thread.
const SCRATCH_BYTES: usize = 16 << 10;
/// Most bytes that one read takes.
const LARGEST_READ: usize = 1 << 20;

thread_local! {
    static SCRATCH: RefCell<[u8; SCRATCH_BYTES]> = const { RefCell::new([0; SCRATCH_BYTES]) };
}

/// The input of one connection.
#[derive(Debug, Default)]
pub(super) struct Input {
    pub(super) buffer: BytesMut,
    /// Room for the next read; it doubles while reads fill it, and 0 is the buffer of the thread.
    next_read: usize,
    /// Bytes taken since the buffer was empty: what it holds on to, at least.
    taken: usize,
}

impl Input {
    /// Waits for bytes and takes them; 0 at the end of the stream. Nothing is lost if it is dropped.
    pub(super) async fn fill(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        parser: &RequestParser,
    ) -> io::Result<usize> {
        let room = self.next_read.max(parser.wanted(&self.buffer)).min(LARGEST_READ);
        let count = poll_fn(|context| self.poll_fill(stream, room, context)).await?;
        self.taken += count;
        Ok(count)
    }

    /// Everything complete has been parsed: memory that only large requests need is given back.
    pub(super) fn settle(&mut self) {
        if self.buffer.is_empty() {
            if self.taken > SCRATCH_BYTES {
                self.buffer = BytesMut::new();
            }
            self.taken = 0;
        }
    }

    fn poll_fill(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        room: usize,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if room > SCRATCH_BYTES {
            // Memory follows the bytes that arrive, not the sizes that are announced.
            self.buffer.reserve(room);
            let count = ready!(poll_read_buf(Pin::new(stream), context, &mut self.buffer))?;
            self.next_read = if count >= room { (room * 2).min(LARGEST_READ) } else { 0 };
            return Poll::Ready(Ok(count));
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let mut read = ReadBuf::new(scratch);
            ready!(Pin::new(stream).poll_read(context, &mut read))?;
            let arrived = read.filled();
            self.buffer.extend_from_slice(arrived);
            self.next_read = if arrived.len() == SCRATCH_BYTES { 2 * SCRATCH_BYTES } else { 0 };
            Poll::Ready(Ok(arrived.len()))
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn memory_follows_what_arrives() {
        let (mut client, mut server) = tokio::io::duplex(8 << 20);
        let mut input = Input::default();
        let mut parser = RequestParser::default();
        client.write_all(b"PING\r\n").await.unwrap();
        assert_eq!(input.fill(&mut server, &parser).await.unwrap(), 6);
        assert!(input.buffer.capacity() < 100);
        assert!(parser.next(&mut input.buffer).unwrap().is_some());

        // A large value is read in large pieces once it is clear that it is one.
        let value = vec![b'v'; 5 << 20];
        client.write_all(format!("*1\r\n${}\r\n", value.len()).as_bytes()).await.unwrap();
        client.write_all(&value).await.unwrap();
        client.write_all(b"\r\n").await.unwrap();
        drop(client);
        let mut reads = 0;
        let request = loop {
            assert!(input.fill(&mut server, &parser).await.unwrap() > 0);
            reads += 1;
            if let Some(request) = parser.next(&mut input.buffer).unwrap() {
                break request;
            }
        };
        assert_eq!(request[0].len(), value.len());
        assert!(reads <= 10, "{reads} reads");
        assert_eq!(input.fill(&mut server, &parser).await.unwrap(), 0);
    }
}
