//! One connection: requests in, replies out, strictly in order.
//!
//! A session is one task. It reads what has arrived, takes all complete requests as a [`Burst`], and hands the burst
//! to the router without waiting for earlier ones, unless
//!
//! - an earlier burst with one of its units is unanswered (order per connection and unit),
//! - a barrier stands in between: a command over the whole database, a command whose keys lie in several groups, WATCH,
//!   EXEC. It waits for everything before it, and everything behind it waits for it.
//!
//! Whether the keys of a command lie in several groups is asked of the routes before the burst is handed in. To hand it
//! in and wait for the refusal would be too late: commands behind it on the same keys could have run by then.
//!
//! Replies of a finished burst go out in one write. A client that does not read them is not read from either, so what
//! a connection holds is bounded by its window of commands; after large replies the window shrinks.
//!
//! An idle connection holds next to no buffers.

mod transaction;

use std::collections::VecDeque;
use std::hash::RandomState;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use commands::redis::{GatewayCommand, Invocation, Place, RedisError, Spec, Value, resolve};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::burst::{Burst, Outstanding, SentBurst};
use super::clients::Client;
use super::input::Input;
use super::local::{self, Settings};
use super::multi::{self, Transaction};
use super::request::RequestParser;
use super::{Shared, database, reply, together};

/// Most commands of one connection that are read and unanswered.
const WINDOW: usize = 1024;
/// The window shrinks so that this many bytes of replies as large as the last ones fit into it.
const WINDOW_REPLY_BYTES: usize = 64 << 20;
/// Most bytes of a connection's commands that are read and unanswered, but for one command.
const WINDOW_REQUEST_BYTES: usize = 32 << 20;
/// Replies are written when there are this many bytes of them.
const WRITE_BYTES: usize = 256 << 10;
/// An output buffer larger than this is given back when it is empty.
const KEPT_BYTES: usize = 1 << 10;

/// What stands behind the commands that are in the burst, and waits until they are answered.
#[derive(Debug)]
enum Barrier {
    /// A command over the whole database.
    Database(Invocation),
    /// A command whose keys lie in several groups.
    Apart(&'static Spec, Invocation),
    /// WATCH of these units.
    Watch(Vec<Bytes>),
    /// EXEC.
    Exec(multi::Work),
    /// HELLO or RESET: replies before it keep their version.
    Protocol(GatewayCommand, Vec<Bytes>),
    /// The connection ends, with this reply if there is one.
    Close(Option<Value>),
}

pub(super) struct Session {
    stream: TcpStream,
    shared: Arc<Shared>,
    client: Arc<Client>,
    settings: Settings,
    transaction: Transaction,
    parser: RequestParser,
    input: Input,
    output: BytesMut,
    /// Handed in, oldest first.
    sent: VecDeque<SentBurst>,
    /// Commands in `sent`, and their bytes.
    unanswered: usize,
    unanswered_bytes: usize,
    outstanding: Outstanding,
    /// Parsed, but one of its units is outstanding.
    held: Option<Burst>,
    /// Comes when everything before it is answered.
    barrier: Option<Barrier>,
    /// The input may hold requests that were not looked at yet.
    unparsed: bool,
    window: usize,
    largest_reply: usize,
    hashing: RandomState,
}

/// Whether the session goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    Goes,
    Ends,
}

impl Session {
    pub(super) fn new(stream: TcpStream, client: Arc<Client>, shared: Arc<Shared>) -> Self {
        Self {
            stream,
            settings: Settings::new(client.clone()),
            transaction: Transaction::new(client.clone()),
            client,
            hashing: shared.hashing.clone(),
            shared,
            parser: RequestParser::default(),
            input: Input::default(),
            output: BytesMut::new(),
            sent: VecDeque::new(),
            unanswered: 0,
            unanswered_bytes: 0,
            outstanding: Outstanding::default(),
            held: None,
            barrier: None,
            unparsed: false,
            window: WINDOW,
            largest_reply: 0,
        }
    }

    /// Serves the connection until either side ends it.
    pub(super) async fn run(mut self) -> io::Result<()> {
        let client = self.client.clone();
        let leave = client.told_to_leave();
        tokio::pin!(leave);
        let mut leaving = false;
        loop {
            self.write_finished().await?;
            if self.advance().await? == Course::Ends {
                self.flush().await?;
                // The client sees the end behind the last reply; whatever it still sends is not read.
                return self.stream.shutdown().await;
            }
            self.flush().await?;
            if leaving && self.sent.is_empty() && self.held.is_none() {
                return self.stream.shutdown().await;
            }
            let may_read = self.may_read() && !leaving;
            tokio::select! {
                biased;
                () = first_done(&mut self.sent) => {}
                count = self.input.fill(&mut self.stream, &self.parser), if may_read => {
                    if self.received(count?) == Course::Ends {
                        return Ok(());
                    }
                }
                () = &mut leave, if !leaving => leaving = true,
            }
        }
    }

    fn may_read(&self) -> bool {
        self.held.is_none()
            && self.barrier.is_none()
            && self.unanswered < self.window
            && self.unanswered_bytes < WINDOW_REQUEST_BYTES
    }

    /// Notes what has arrived.
    fn received(&mut self, count: usize) -> Course {
        if count == 0 {
            return Course::Ends;
        }
        self.shared.stats.bytes_in.fetch_add(count as u64, Ordering::Relaxed);
        self.unparsed = true;
        Course::Goes
    }

    /// Does whatever can be done without waiting for answers.
    async fn advance(&mut self) -> io::Result<Course> {
        loop {
            if let Some(held) = self.held.take() {
                if self.outstanding.holds_any(held.units()) {
                    self.held = Some(held);
                    return Ok(Course::Goes);
                }
                self.hand_in(held);
            }
            if self.barrier.is_some() && !self.sent.is_empty() {
                return Ok(Course::Goes);
            }
            if let Some(barrier) = self.barrier.take()
                && self.pass(barrier).await? == Course::Ends
            {
                return Ok(Course::Ends);
            }
            if !self.unparsed || !self.may_read() {
                return Ok(Course::Goes);
            }
            let burst = self.parse();
            if !burst.is_empty() {
                self.held = Some(burst);
            }
        }
    }

    /// Does what everything before it is answered for, and everything behind it waits for.
    async fn pass(&mut self, barrier: Barrier) -> io::Result<Course> {
        self.flush().await?;
        let Shared { router, transactions, .. } = &*self.shared;
        let connection = self.client.id;
        let value = match barrier {
            Barrier::Database(invocation) => database::run(router, transactions, connection, invocation).await,
            Barrier::Apart(spec, invocation) => {
                together::run_one(router, transactions, connection, spec, invocation).await
            }
            Barrier::Watch(units) => self.watch(units).await,
            Barrier::Exec(work) => {
                let written = self.exec(work).await;
                self.transaction.end();
                return written.map(|()| Course::Goes);
            }
            Barrier::Protocol(command, args) => {
                if command == GatewayCommand::Reset {
                    self.transaction.end();
                }
                local::answer(command, &args, &mut self.settings, &self.shared)
            }
            Barrier::Close(last) => {
                if let Some(value) = last {
                    self.write_reply(&value).await?;
                }
                return Ok(Course::Ends);
            }
        };
        self.write_reply(&value).await?;
        Ok(Course::Goes)
    }

    /// Takes complete requests off the input until the window is full or something stands in the way.
    fn parse(&mut self) -> Burst {
        let mut burst = Burst::default();
        let mut last_command = None;
        while self.unanswered + burst.len() < self.window && self.barrier.is_none() {
            match self.parser.next(&mut self.input.buffer) {
                Ok(Some(args)) => self.take(args, &mut burst, &mut last_command),
                Ok(None) => {
                    self.unparsed = false;
                    self.input.settle();
                    break;
                }
                Err(error) => {
                    tracing::debug!(client = self.client.id, %error, "not a Redis request");
                    self.input = Input::default();
                    self.barrier = Some(Barrier::Close(Some(Value::Error(error.to_string()))));
                }
            }
        }
        if let Some(command) = last_command {
            self.client.note_request(command, Instant::now());
        }
        burst
    }

    fn take(&mut self, args: Vec<Bytes>, burst: &mut Burst, last_command: &mut Option<&'static str>) {
        let spec = match resolve(&args) {
            Ok(spec) => spec,
            Err(_) if args[0].eq_ignore_ascii_case(b"auth") => return burst.answer(self.authenticate(&args)),
            // Somebody was made to send a web request here; whatever is in its body is not for us.
            Err(_) if is_http(&args[0]) => return self.barrier = Some(Barrier::Close(None)),
            Err(error) => return burst.answer(self.transaction.refuse(error)),
        };
        *last_command = Some(spec.name);
        match spec.place {
            Place::InSession(command) => self.take_transactional(command, spec, args, burst),
            Place::AtGateway(GatewayCommand::Quit) => self.barrier = Some(Barrier::Close(Some(Value::OK))),
            Place::AtGateway(command @ GatewayCommand::Reset) => self.barrier = Some(Barrier::Protocol(command, args)),
            _ if self.transaction.is_queueing() => burst.answer(self.transaction.queue(spec, args)),
            Place::AtLeader(_) => {
                let invocation = Invocation { db: self.settings.database, args };
                if let Err(invocation) = burst.route(spec, invocation, &self.hashing, &self.shared.router) {
                    self.barrier = Some(Barrier::Apart(spec, invocation));
                }
            }
            Place::AtGateway(command @ GatewayCommand::Hello) => self.barrier = Some(Barrier::Protocol(command, args)),
            Place::AtGateway(command) => {
                burst.answer(local::answer(command, &args, &mut self.settings, &self.shared));
            }
            Place::OverDatabase(_) => {
                self.barrier = Some(Barrier::Database(Invocation { db: self.settings.database, args }));
            }
            Place::Container => burst.answer(RedisError::WrongArity { command: spec.name }.into()),
        }
    }

    fn hand_in(&mut self, burst: Burst) {
        self.count(burst.len());
        self.outstanding.add(burst.units());
        self.unanswered += burst.len();
        self.unanswered_bytes += burst.bytes();
        self.sent.push_back(burst.hand_in(&self.shared.router, self.client.id));
    }

    fn count(&self, commands: usize) {
        self.shared.stats.commands.fetch_add(commands as u64, Ordering::Relaxed);
        self.shared.metrics.commands.increment(commands as u64);
    }

    /// Writes the replies of every burst at the front that is done.
    async fn write_finished(&mut self) -> io::Result<()> {
        let mut largest = 0;
        let mut any = false;
        while let Some(mut burst) = self.sent.pop_front() {
            if std::future::poll_fn(|context| Poll::Ready(burst.poll_done(context))).await.is_pending() {
                self.sent.push_front(burst);
                break;
            }
            any = true;
            for (answer, spec, invocation) in burst.take_apart() {
                self.flush().await?;
                let Shared { router, transactions, .. } = &*self.shared;
                let value = together::run_one(router, transactions, self.client.id, spec, invocation).await;
                burst.replace(answer, value);
            }
            self.outstanding.remove(&burst.units);
            self.unanswered -= burst.len();
            self.unanswered_bytes -= burst.bytes;
            self.shared.metrics.burst_seconds.record(burst.started.elapsed());
            // HELLO waits until nothing is unanswered, so this is the version of all of them.
            let protocol = self.settings.protocol;
            for value in burst.into_replies() {
                let before = self.output.len();
                reply::write(&value, protocol, &mut self.output);
                largest = largest.max(self.output.len() - before);
                if self.output.len() >= WRITE_BYTES {
                    self.flush().await?;
                }
            }
        }
        if any {
            // It recovers by half with every burst of small replies.
            self.largest_reply = largest.max(self.largest_reply / 2).max(1);
            self.window = (WINDOW_REPLY_BYTES / self.largest_reply).clamp(1, WINDOW);
        }
        Ok(())
    }

    /// Answers a command that stood alone.
    async fn write_reply(&mut self, value: &Value) -> io::Result<()> {
        self.count(1);
        reply::write(value, self.settings.protocol, &mut self.output);
        self.flush().await
    }

    async fn flush(&mut self) -> io::Result<()> {
        if self.output.is_empty() {
            return Ok(());
        }
        self.shared.stats.bytes_out.fetch_add(self.output.len() as u64, Ordering::Relaxed);
        self.stream.write_all(&self.output).await?;
        self.output.clear();
        if self.output.capacity() > KEPT_BYTES {
            self.output = BytesMut::new();
        }
        Ok(())
    }
}

/// Ready when the oldest burst is done; never without one.
async fn first_done(sent: &mut VecDeque<SentBurst>) {
    std::future::poll_fn(|context| match sent.front_mut() {
        Some(burst) => burst.poll_done(context),
        None => Poll::Pending,
    })
    .await;
}

/// The beginning of an HTTP request, as Redis recognises it.
fn is_http(name: &Bytes) -> bool {
    name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:")
}
