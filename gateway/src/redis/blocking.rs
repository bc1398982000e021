//! Commands that wait for data: BLPOP and its relatives.
//!
//! A blocking command whose keys lie in one group stands by at the group's leader, in the order of coming among all
//! that wait there, and takes what it waits for in the very entry that brings it. It stands by for [`LEASE`] only; as
//! long as the client waits, another request takes over its turn every [`RENEW`]. So nobody is served who is gone, and
//! no request stays open for long.
//!
//! A command whose keys lie in several groups is tried as a transaction. If it finds nothing, one request for each key
//! stands by until that key is changed, and the command is tried again: so it is woken as fast, but has no turn among
//! others.
//!
//! A client that goes away, is unblocked, or has waited long enough, withdraws its request; the group's answer to that
//! decides whether it came in time.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use commands::redis::blocking::{Patience, found_nothing, timed_out};
use commands::redis::{Invocation, Spec, Value, units};
use commands::{Command, Outcome};
use keyspace::Version;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::burst::value_of;
use super::clients::{Client, Unblocked};
use super::refusal;
use super::stream_waits;
use super::together::Together;
use crate::router::{Completion, Prepared, Router, RouterError};
use crate::txn::{Transactions, TxnError};

/// How long a request stands by if nobody takes over its turn.
const LEASE: Duration = Duration::from_secs(10);
/// When another takes it over.
const RENEW: Duration = Duration::from_secs(4);
/// Between two attempts to withdraw a request that is on its way to another leader.
const WITHDRAW_AGAIN: Duration = Duration::from_millis(200);
/// Before another attempt where the cluster could not serve the last one.
const PAUSE: Duration = Duration::from_millis(50);

/// Where a blocking command runs.
pub(super) struct Blocking<'s> {
    pub(super) router: &'s Router,
    pub(super) transactions: &'s Transactions,
    pub(super) client: &'s Client,
}

impl Blocking<'_> {
    /// Waits until the command has something to answer, its time is over, or somebody unblocks the client.
    ///
    /// Withdraws its requests when it is dropped.
    pub(super) async fn run(&self, spec: &'static Spec, invocation: Invocation, patience: Patience) -> Value {
        let units = match units(spec, &invocation) {
            Ok(units) => units,
            Err(error) => return error.into(),
        };
        let deadline = deadline_of(patience);
        let invocation = match stream_waits::begin(self, spec, invocation).await {
            Ok(invocation) => invocation,
            Err(value) => return value,
        };
        let mut tried = false;
        loop {
            let waited = if self.router.lie_apart(&units) {
                self.wait_apart(spec, &invocation, &units, deadline, &mut tried).await
            } else {
                let command = Command::Redis(invocation.clone());
                let request = || Prepared::known(command.clone(), units.clone(), true);
                self.stand_by(&request, deadline).await
            };
            match waited {
                Waited::Answered(value) => return stream_waits::ended(self, spec, &invocation, value).await,
                Waited::Over(Unblocked::Timeout) => return timed_out(),
                Waited::Over(Unblocked::Error) => return unblocked(),
                Waited::Elsewhere => {}
            }
        }
    }

    /// Stands by at the one group of the keys.
    async fn stand_by(&self, request: &(impl Fn() -> Prepared + Sync), deadline: Option<Instant>) -> Waited {
        let mut turn = Turn::new(self.router, self.client.id, request);
        tokio::select! {
            biased;
            answer = turn.answer() => Waited::by(answer),
            how = over(self.client, deadline) => match turn.withdraw().await {
                None => Waited::Over(how),
                Some(answer) => Waited::by(answer),
            },
        }
    }

    /// Tries the command as a transaction until it finds something, and waits for changes in between.
    async fn wait_apart(
        &self,
        spec: &'static Spec,
        invocation: &Invocation,
        units: &[Bytes],
        deadline: Option<Instant>,
        tried: &mut bool,
    ) -> Waited {
        loop {
            let seen = match self.transactions.observe(self.client.id, units.to_vec()).await {
                Ok(versions) => units.iter().cloned().zip(versions).collect::<Vec<_>>(),
                Err(error) => return Waited::Answered(refusal::transaction(&error)),
            };
            let mut together = Together::default();
            together.add(self.router, spec, invocation.clone());
            let ran = together.run(self.router, self.transactions, self.client.id, seen.clone()).await;
            let value = match ran.map(|mut replies| replies.pop()) {
                Ok(value) => value.unwrap_or_else(refusal::unexpected),
                // It has changed meanwhile: perhaps there is something now.
                Err(TxnError::Conflict) => continue,
                Err(error) => return Waited::Answered(refusal::transaction(&error)),
            };
            if !found_nothing(&invocation.args, &value, *tried) {
                return Waited::Answered(value);
            }
            *tried = true;
            tokio::select! {
                biased;
                () = self.changed(seen) => {}
                how = over(self.client, deadline) => return Waited::Over(how),
            }
        }
    }

    /// Returns when one of these units may have another version. Stops waiting for all of them when it is dropped.
    async fn changed(&self, seen: Vec<(Bytes, Option<Version>)>) {
        let mut waits = JoinSet::new();
        for (unit, version) in seen {
            let (router, connection) = (self.router.clone(), self.client.id);
            waits.spawn(async move {
                let request = || {
                    Prepared::many(Vec::new(), vec![unit.clone()], Vec::new()).observed(vec![(unit.clone(), version)])
                };
                // Whatever else it is told than that nothing has changed: the command finds out.
                Turn::new(&router, connection, &request).answer().await
            });
        }
        waits.join_next().await;
    }
}

/// WAIT. An answered write is on a majority of its group's replicas, so whoever asks for no more is answered at once; who
/// asks for more is told how many are certain when his time is over.
pub(super) async fn wait_for_replicas(router: &Router, client: &Client, wanted: i64, patience: Patience) -> Value {
    if wanted > router.certain_replicas() {
        match over(client, deadline_of(patience)).await {
            Unblocked::Timeout => {}
            Unblocked::Error => return unblocked(),
        }
    }
    Value::Integer(router.certain_replicas())
}

/// When waiting ends, counted from now.
fn deadline_of(patience: Patience) -> Option<Instant> {
    match patience {
        Patience::For(time) => Instant::now().checked_add(time),
        Patience::None | Patience::Forever => None,
    }
}

/// When a client's time is over, and how that came.
async fn over(client: &Client, deadline: Option<Instant>) -> Unblocked {
    let timeout = async {
        match deadline {
            Some(deadline) => sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        how = client.unblocked() => how,
        () = timeout => Unblocked::Timeout,
    }
}

/// What a client is told that CLIENT UNBLOCK has freed with ERROR.
fn unblocked() -> Value {
    Value::Error("UNBLOCKED client unblocked via CLIENT UNBLOCK".into())
}

/// What became of waiting.
enum Waited {
    Answered(Value),
    /// There was nothing in time.
    Over(Unblocked),
    /// The keys have come to lie in several groups, or in one.
    Elsewhere,
}

impl Waited {
    fn by(answer: Result<Vec<Outcome>, RouterError>) -> Self {
        match answer {
            Err(RouterError::CrossGroup) => Waited::Elsewhere,
            answer => Waited::Answered(value_of(Some(answer))),
        }
    }
}

/// A request that stands by, and the one that takes over its turn.
struct Turn<'t, R: Fn() -> Prepared> {
    router: &'t Router,
    connection: u64,
    request: &'t R,
    /// Sequences of what is not answered yet, the newest last: that stands by, and the one before it will be answered
    /// that it has been replaced.
    under_way: Vec<(u64, Completion)>,
}

impl<'t, R: Fn() -> Prepared> Turn<'t, R> {
    fn new(router: &'t Router, connection: u64, request: &'t R) -> Self {
        Self { router, connection, request, under_way: Vec::new() }
    }

    /// The answer, when there is one. Nothing is lost if it is asked for again.
    async fn answer(&mut self) -> Result<Vec<Outcome>, RouterError> {
        let mut renew = Instant::now() + RENEW;
        loop {
            if self.under_way.is_empty() {
                self.send((self.request)(), LEASE, 0);
                renew = Instant::now() + RENEW;
            }
            let answer = tokio::select! {
                biased;
                answer = any(&mut self.under_way) => answer,
                () = sleep_until(renew) => {
                    if let [(sequence, _)] = self.under_way[..] {
                        self.send((self.request)(), LEASE, sequence);
                    }
                    renew = Instant::now() + RENEW;
                    continue;
                }
            };
            match answer {
                // The other one goes on, or else a new one begins.
                Err(RouterError::StillWaits) => {}
                // Certainly not executed; there may be a leader again by now.
                Err(RouterError::Unavailable(_) | RouterError::Overloaded) => sleep(PAUSE).await,
                answer => {
                    // One of the two is answered with it, so the other one does not stand by any more.
                    self.under_way.clear();
                    return answer;
                }
            }
        }
    }

    /// Takes the request back; `Some`: it had been answered by then.
    async fn withdraw(mut self) -> Option<Result<Vec<Outcome>, RouterError>> {
        loop {
            let withdrawal = self.withdrawal()?;
            let answer = tokio::select! {
                biased;
                answer = any(&mut self.under_way) => answer,
                // Not found where it was looked for: it is on its way to another leader.
                () = sleep(WITHDRAW_AGAIN) => continue,
            };
            drop(withdrawal);
            match answer {
                Err(RouterError::StillWaits | RouterError::Unavailable(_) | RouterError::Overloaded) => {}
                answer => {
                    self.under_way.clear();
                    return Some(answer);
                }
            }
        }
    }

    fn send(&mut self, request: Prepared, patience: Duration, instead_of: u64) {
        let sent = self.router.stand_by(self.connection, request, patience, instead_of);
        self.under_way.push(sent);
    }

    /// Sends a request without commands instead of the newest one; `None`: there is none.
    fn withdrawal(&self) -> Option<Completion> {
        let (newest, _) = self.under_way.last()?;
        let bare = (self.request)().without_commands();
        Some(self.router.stand_by(self.connection, bare, Duration::ZERO, *newest).1)
    }
}

impl<R: Fn() -> Prepared> Drop for Turn<'_, R> {
    fn drop(&mut self) {
        // Nobody hears what becomes of either.
        drop(self.withdrawal());
    }
}

/// The first answer to any of these, which is then gone from them; never, when there are none.
async fn any(under_way: &mut Vec<(u64, Completion)>) -> Result<Vec<Outcome>, RouterError> {
    poll_fn(|context| {
        for index in 0..under_way.len() {
            if let Poll::Ready(mut answers) = Pin::new(&mut under_way[index].1).poll(context) {
                under_way.remove(index);
                return Poll::Ready(answers.pop().expect("a bundle has an answer for each request"));
            }
        }
        Poll::Pending
    })
    .await
}
