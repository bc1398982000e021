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
//! What a client is sent without having asked (its `mailbox`) goes out between replies.
//!
//! An idle connection holds next to no buffers.

mod access;
mod noting;
mod transaction;
mod waiting;

use std::collections::VecDeque;
use std::future::Future;
use std::hash::RandomState;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use commands::redis::blocking::{Patience, patience, wanted_replicas};
use commands::redis::script::is_script;
use commands::redis::{
    GatewayCommand, Invocation, Place, PubSubCommand, RedisError, RegistryCommand, Spec, Value, resolve,
};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::access::answer::answer as access_answer;
use super::access::waits as access_waits;
use super::blocking::{self, Blocking};
use super::burst::{Burst, Outstanding, SentBurst};
use super::clients::Client;
use super::input::Input;
use super::ledger::Standing;
use super::local::{self, Settings};
use super::multi::{self, Transaction};
use super::reply::Protocol;
use super::request::RequestParser;
use super::{Shared, database, pubsub, refusal, reply, scripts, together};

/// Most commands of one connection that are read and unanswered.
const WINDOW: usize = 1024;
/// The window shrinks so that this many bytes of replies as large as the last ones fit into it.
const WINDOW_REPLY_BYTES: usize = 64 << 20;
/// Most bytes of a connection's commands that are read and unanswered, but for one command.
const WINDOW_REQUEST_BYTES: usize = 32 << 20;
/// Replies are written when there are this many bytes of them.
const WRITE_BYTES: usize = 256 << 10;
/// As much of what a client sends is read while it waits for data.
const READ_WHILE_BLOCKED: usize = 64 << 10;
/// An output buffer larger than this is given back when it is empty.
const KEPT_BYTES: usize = 1 << 10;

/// What stands behind the commands that are in the burst, and waits until they are answered.
#[derive(Debug)]
enum Barrier {
    /// A command over the whole database.
    Database(Invocation),
    /// A command whose keys lie in several groups.
    Apart(&'static Spec, Invocation),
    /// SCRIPT or FUNCTION.
    Registry(RegistryCommand, Vec<Bytes>),
    /// A command that waits for data.
    Blocking(&'static Spec, Invocation, Patience),
    /// WAIT: so many replicas, and how long.
    Replicas(i64, Patience),
    /// WATCH of these units.
    Watch(Vec<Bytes>),
    /// EXEC.
    Exec(multi::Work),
    /// A command about channels.
    PubSub(PubSubCommand, Vec<Bytes>),
    /// A command that waits for the registry of users, or for its turn.
    Access(GatewayCommand, Vec<Bytes>),
    /// Permissions are too old: nothing is taken before they are younger.
    Users,
    /// HELLO or RESET: replies before it keep their version.
    Protocol(GatewayCommand, Vec<Bytes>),
    /// This command line, until CLIENT PAUSE is over; whether it may write.
    Paused(bool, Vec<Bytes>),
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
    /// The command line that is or becomes the barrier.
    standing: Option<Standing>,
    /// It comes next, before anything of the input; whether it goes unanswered.
    postponed: Option<(Vec<Bytes>, bool)>,
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
            standing: None,
            postponed: None,
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
            if self.client.mailbox.is_cut_off() {
                return Err(cut_off());
            }
            if leaving && self.sent.is_empty() && self.held.is_none() {
                return self.stream.shutdown().await;
            }
            let may_read = self.may_read() && !leaving;
            tokio::select! {
                biased;
                () = first_done(&mut self.sent) => {}
                () = client.mailbox.arrived() => self.empty_mailbox(),
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
        if let Some(standing) = &mut self.standing {
            standing.since = Instant::now();
        }
        let Shared { router, transactions, .. } = &*self.shared;
        let connection = self.client.id;
        let value = match barrier {
            Barrier::Database(invocation) => database::run(router, transactions, connection, invocation).await,
            Barrier::Apart(spec, invocation) => {
                match scripts::prepare(&self.shared, &self.settings.identity, spec, invocation).await {
                    Ok(invocation) => {
                        let _turn = if is_script(&invocation.args) { self.shared.scripts.turn().await } else { None };
                        together::run_one(router, transactions, connection, spec, invocation).await
                    }
                    Err(refused) => refused,
                }
            }
            Barrier::Registry(command, args) => self.shared.scripts.run(command, &args).await,
            Barrier::Blocking(spec, invocation, patience) => {
                let value = self.wait_for_data(spec, invocation, patience).await?;
                if let Some(standing) = &mut self.standing {
                    // To wait is not to be slow.
                    standing.since = Instant::now();
                }
                match value {
                    Some(value) => value,
                    None => return Ok(Course::Ends),
                }
            }
            Barrier::Replicas(wanted, patience) => {
                let (router, client) = (self.shared.router.clone(), self.client.clone());
                match self.while_blocked(blocking::wait_for_replicas(&router, &client, wanted, patience)).await? {
                    Some(value) => value,
                    None => return Ok(Course::Ends),
                }
            }
            Barrier::Watch(units) => self.watch(units).await,
            Barrier::PubSub(command, args) => {
                let answer = self.shared.pubsub.run(command, &args, &self.client).await;
                return self.write_answer(answer).await.map(|()| Course::Goes);
            }
            Barrier::Exec(work) => {
                let written = self.exec(work).await;
                self.transaction.end();
                return written.map(|()| if self.settings.ends { Course::Ends } else { Course::Goes });
            }
            Barrier::Access(command, args) => access_answer(command, &args, &mut self.settings, &self.shared).await,
            Barrier::Users => return self.wait_for_users().await,
            Barrier::Paused(writes, args) => return self.wait_for_unpause(writes, args).await,
            Barrier::Protocol(command, args) => {
                if command == GatewayCommand::Reset {
                    self.transaction.end();
                    self.shared.pubsub.forget(&self.client).await;
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
        let value = self.hear(value);
        self.write_reply(&value).await?;
        Ok(if self.settings.ends { Course::Ends } else { Course::Goes })
    }

    /// Takes complete requests off the input until the window is full or something stands in the way.
    fn parse(&mut self) -> Burst {
        let mut burst = Burst::default();
        let mut last_command = None;
        if !self.shared.access.is_fresh() {
            self.barrier = Some(Barrier::Users);
            return burst;
        }
        while self.unanswered + burst.len() < self.window && self.barrier.is_none() {
            match self.next_request() {
                Ok(Some((args, silent))) => self.take_noted(args, silent, &mut burst, &mut last_command),
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
            // Somebody was made to send a web request here; whatever is in its body is not for us.
            Err(_) if is_http(&args[0]) => return self.barrier = Some(Barrier::Close(None)),
            Err(error) => {
                burst.ledger.refuse(&error);
                return burst.answer(self.transaction.refuse(error));
            }
        };
        *last_command = Some(spec.name);
        if !self.permit(spec, &args, burst) {
            return;
        }
        if self.settings.protocol == Protocol::Resp2 && !allowed_to_subscribers(spec) && self.is_subscriber() {
            return burst.answer(refusal::only_for_subscribers(spec));
        }
        if let Some(writes) = self.must_wait(spec) {
            return self.barrier = Some(Barrier::Paused(writes, args));
        }
        self.note(spec, &args, burst);
        match spec.place {
            Place::InSession(command) => self.take_transactional(command, spec, args, burst),
            Place::AtGateway(GatewayCommand::Quit) => self.barrier = Some(Barrier::Close(Some(Value::OK))),
            Place::AtGateway(command @ GatewayCommand::Reset) => self.barrier = Some(Barrier::Protocol(command, args)),
            _ if self.transaction.is_queueing() => burst.answer(self.transaction.queue(spec, args)),
            Place::AtLeader(_) => {
                let telling = self.shared.parameters.effects().telling();
                let invocation = Invocation::new(self.settings.database, args).telling(telling);
                match patience(spec, &invocation.args) {
                    Ok(Patience::None) => {}
                    Ok(patience) => return self.barrier = Some(Barrier::Blocking(spec, invocation, patience)),
                    Err(error) => return burst.answer(error.into()),
                }
                if let Err(invocation) = burst.route(spec, invocation, &self.hashing, &self.shared.router) {
                    self.barrier = Some(Barrier::Apart(spec, invocation));
                }
            }
            Place::AtGateway(GatewayCommand::Wait) => match wanted_replicas(&args) {
                Ok((wanted, patience)) => self.barrier = Some(Barrier::Replicas(wanted, patience)),
                Err(error) => burst.answer(error.into()),
            },
            Place::AtGateway(command) if access_waits(command, &args) => {
                self.barrier = Some(Barrier::Access(command, args));
            }
            Place::AtGateway(command @ GatewayCommand::Hello) => self.barrier = Some(Barrier::Protocol(command, args)),
            Place::AtGateway(command) => self.answer_at_once(command, &args, burst),
            Place::OverDatabase(_) => {
                self.barrier = Some(Barrier::Database(Invocation::new(self.settings.database, args)));
            }
            Place::PubSub(command) => self.barrier = Some(Barrier::PubSub(command, args)),
            Place::Registry(command) => self.barrier = Some(Barrier::Registry(command, args)),
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
            let (ledger, took) = (std::mem::take(&mut burst.ledger), burst.started.elapsed());
            for (at, value) in burst.into_replies().enumerate() {
                let value = self.hear(value);
                if ledger.answered(at, &value, took, &self.client, &self.shared) {
                    continue;
                }
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

    /// Takes off what is told of the effects of a command, and hands it on.
    fn hear(&self, value: Value) -> Value {
        let (value, events) = value.apart();
        if !events.is_empty() {
            self.shared.pubsub.tell(&events, self.shared.parameters.effects().telling());
        }
        value
    }

    /// Answers a command that stood alone.
    async fn write_reply(&mut self, value: &Value) -> io::Result<()> {
        self.count(1);
        let standing = self.standing.take();
        if standing.is_some_and(|standing| standing.answered(value, &self.client, &self.shared)) {
            return Ok(());
        }
        reply::write(value, self.settings.protocol, &mut self.output);
        self.flush().await
    }

    /// Waits for data; `None`: the client has gone meanwhile, or the gateway leaves.
    async fn wait_for_data(
        &mut self,
        spec: &'static Spec,
        invocation: Invocation,
        patience: Patience,
    ) -> io::Result<Option<Value>> {
        let (shared, client) = (self.shared.clone(), self.client.clone());
        let blocking = Blocking { router: &shared.router, transactions: &shared.transactions, client: &client };
        self.while_blocked(blocking.run(spec, invocation, patience)).await
    }

    /// Goes on with what a blocked connection does until there is an answer; `None` as above.
    async fn while_blocked(&mut self, answer: impl Future<Output = Value>) -> io::Result<Option<Value>> {
        let client = self.client.clone();
        let _blocked = client.block();
        tokio::pin!(answer);
        loop {
            let may_read = self.input.buffer.len() < READ_WHILE_BLOCKED;
            tokio::select! {
                biased;
                value = &mut answer => return Ok(Some(value)),
                () = client.told_to_leave() => return Ok(None),
                () = client.mailbox.arrived() => {
                    if client.mailbox.is_cut_off() {
                        return Err(cut_off());
                    }
                    self.empty_mailbox();
                    self.flush().await?;
                }
                // What it sends meanwhile waits; that it has gone must be seen.
                count = self.input.fill(&mut self.stream, &self.parser), if may_read => {
                    if self.received(count?) == Course::Ends {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Whether the connection listens to channels.
    fn is_subscriber(&self) -> bool {
        self.client.subscriptions.lock().any()
    }

    /// Writes the confirmations of channels as what they are: pushes, one for each.
    async fn write_answer(&mut self, answer: pubsub::Answer) -> io::Result<()> {
        // What was published before a confirmation of its end comes before it.
        self.empty_mailbox();
        match answer {
            pubsub::Answer::Reply(value) => return self.write_reply(&value).await,
            pubsub::Answer::Confirmations(pushes) => {
                self.count(1);
                // They go out whatever CLIENT REPLY has said, as messages do.
                if let Some(standing) = self.standing.take() {
                    standing.answered(&Value::OK, &self.client, &self.shared);
                }
                pushes.iter().for_each(|push| reply::write_push(push, self.settings.protocol, &mut self.output));
            }
        }
        self.flush().await
    }

    /// Writes what has come in between.
    fn empty_mailbox(&mut self) {
        self.client.mailbox.write(self.settings.protocol, WRITE_BYTES, &mut self.output);
    }

    async fn flush(&mut self) -> io::Result<()> {
        if self.output.is_empty() {
            return Ok(());
        }
        self.shared.stats.bytes_out.fetch_add(self.output.len() as u64, Ordering::Relaxed);
        tokio::select! {
            biased;
            written = self.stream.write_all(&self.output) => written?,
            () = self.client.mailbox.cut() => return Err(cut_off()),
        }
        self.output.clear();
        if self.output.capacity() > KEPT_BYTES {
            self.output = BytesMut::new();
        }
        Ok(())
    }
}

/// What RESP2 allows on a connection that listens to channels.
fn allowed_to_subscribers(spec: &Spec) -> bool {
    use PubSubCommand::{PSubscribe, PUnsubscribe, SSubscribe, SUnsubscribe, Subscribe, Unsubscribe};
    match spec.place {
        Place::PubSub(command) => {
            matches!(command, Subscribe | Unsubscribe | PSubscribe | PUnsubscribe | SSubscribe | SUnsubscribe)
        }
        Place::AtGateway(command) => {
            matches!(command, GatewayCommand::Ping | GatewayCommand::Quit | GatewayCommand::Reset)
        }
        _ => false,
    }
}

fn cut_off() -> io::Error {
    io::Error::other("the client was killed or does not read what it is sent")
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
