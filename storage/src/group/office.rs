//! One term in office of an executor: the loop that evaluates, proposes, and gives results out (see
//! [`execute`](super::execute) for its steps).
//!
//! Everything that waits for something stands in exactly one place: `queue` for its evaluation, `waits` for locks of
//! others, `standbys` for data, `drafted` for its batch to be proposed, a [`Flight`] for the batch to be decided, `unproven` for a read check.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use keyspace::{Epoch, RangeId, RequestId};
use metrics::{counter, gauge, histogram};
use prost::Message;
use proto::wire;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::chain::Link;
use super::dedup::{self, Changes};
use super::evaluate::{Draft, Evaluated, InFlight, World};
use super::execute::{End, Executor, Internal, InternalDone, Job, Requests, SWEEP, refuse};
use super::gate::{Moment, Release, Sealed};
use super::propose::{Proposal, Proposer, Verdict};
use super::ranges::OwnedRange;
use super::read::{CheckError, Replicate};
use super::request::{Ask, Outcome, ReplyTo, Scope, Waiting, locked, not_executed, still_waits, units_of};
use super::split;
use super::standby::{Standbys, Turn};
use super::state::StateError;
use super::wait::{Place, Ticket, WaitQueues};

/// Requests evaluated between two looks at what has completed.
const EVALUATIONS_PER_TURN: usize = 256;
/// How often waits are checked against their deadlines.
const WAIT_LOOK: Duration = Duration::from_millis(100);
/// How often locks and decisions are looked at for old ones.
const LEFTOVER_LOOK: Duration = Duration::from_millis(250);
/// Between two barriers that were refused.
const BARRIER_PAUSE: Duration = Duration::from_millis(20);

/// Who gets a result.
enum Asker {
    Gateway(ReplyTo),
    Internal(oneshot::Sender<InternalDone>),
}

/// A sealed result and who gets it.
struct Pending {
    asker: Asker,
    result: Sealed<Answer>,
}

enum Answer {
    Outcome { e: u64, outcome: Outcome },
    Internal(InternalDone),
}

impl Pending {
    fn deliver(self, release: &Release) {
        match (self.asker, self.result.open(release)) {
            (Asker::Gateway(reply), Answer::Outcome { e, outcome }) => reply.send(e, outcome),
            (Asker::Internal(done), Answer::Internal(what)) => {
                let _ = done.send(what);
            }
            _ => unreachable!("an answer goes to the kind of asker that it was made for"),
        }
    }

    /// The result is void: nothing was executed.
    fn void(self, reason: wire::NotExecutedReason) {
        self.result.discard();
        match self.asker {
            Asker::Gateway(reply) => reply.send(0, not_executed(reason)),
            Asker::Internal(done) => {
                let _ = done.send(InternalDone::Retry);
            }
        }
    }

    /// Nobody knows whether it was executed.
    fn unknown(self) {
        self.result.discard();
        match self.asker {
            // Dropping the way back says so.
            Asker::Gateway(reply) => drop(reply),
            Asker::Internal(done) => {
                let _ = done.send(InternalDone::Retry);
            }
        }
    }
}

/// Whether a request touches a unit of an earlier one of its connection that waits.
fn overtakes(parked: &[(u64, Vec<Bytes>)], connection: u64, ask: &Ask) -> bool {
    let earlier = parked.iter().filter(|(of, _)| *of == connection);
    let mut units = earlier.flat_map(|(_, units)| units);
    units.any(|unit| ask.targets().iter().any(|target| matches!(&target.scope, Scope::Unit(named) if named == unit)))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Where the first request of a message stands, if it may stand by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FirstTurn {
    /// Behind everybody.
    New,
    /// It takes over this turn.
    Of(Turn),
    /// The one whose turn it wants stands by no longer: has been answered, or is not here.
    Gone,
}

impl FirstTurn {
    fn turn(self) -> Option<Turn> {
        match self {
            FirstTurn::Of(turn) => Some(turn),
            FirstTurn::New | FirstTurn::Gone => None,
        }
    }
}

/// A batch that is proposed and not decided.
struct Flight {
    link: Link,
    proposed: Moment,
    proposed_at: Instant,
    proposal: Proposal,
    results: Vec<Pending>,
    dedup: Vec<wire::DedupRecord>,
}

struct Flights<'a>(&'a VecDeque<Flight>);

impl InFlight for Flights<'_> {
    fn results_of(&self, id: RequestId) -> Option<wire::Results> {
        self.0.iter().rev().find_map(|flight| dedup::find(&flight.dedup, id)?.results.clone())
    }
}

/// One term in office.
pub(super) struct Office<'x> {
    executor: &'x Executor,
    proposer: &'x Proposer,
    /// Place of the newest batch proposed.
    link: Link,
    world: World,
    draft: Draft,
    /// Results evaluated into the draft.
    drafted: Vec<Pending>,
    flights: VecDeque<Flight>,
    /// The newest batch known to be taken.
    taken: Link,
    /// Results without effect that rode in no batch, by evaluation.
    unproven: VecDeque<(Moment, Pending)>,
    /// A read check on its way, and when it began.
    proof: Option<(Moment, BoxFuture<'static, Result<(), CheckError>>)>,
    queue: VecDeque<Job>,
    /// Requests that wait for locks.
    waits: WaitQueues<Waiting>,
    /// Those of them whose obstacle is gone.
    woken: VecDeque<Ticket>,
    /// Requests that wait for data.
    standbys: Standbys<Waiting>,
    /// Those of them for whom there may be some.
    called: BTreeSet<Turn>,
    /// Deadlines of waits count from here.
    began: Instant,
    now: Moment,
}

impl<'x> Office<'x> {
    /// Begins behind `start`, the last place of the chain that is taken, with `world` as it is there.
    pub(super) fn new(executor: &'x Executor, proposer: &'x Proposer, start: Link, world: World) -> Self {
        Self {
            executor,
            proposer,
            link: start,
            world,
            draft: Draft::default(),
            drafted: Vec::new(),
            flights: VecDeque::new(),
            taken: start,
            unproven: VecDeque::new(),
            proof: None,
            queue: VecDeque::new(),
            waits: WaitQueues::default(),
            woken: VecDeque::new(),
            standbys: Standbys::default(),
            called: BTreeSet::new(),
            began: Instant::now(),
            now: Moment::default(),
        }
    }

    /// Until the office is lost or the queue closes.
    pub(super) async fn serve(&mut self, inbox: &mut mpsc::Receiver<Job>) -> Result<End, StateError> {
        let mut watch = self.proposer.watch_office();
        let mut sweep = tokio::time::interval(SWEEP);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut leftover_look = tokio::time::interval(LEFTOVER_LOOK);
        leftover_look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut wait_look = tokio::time::interval(WAIT_LOOK);
        wait_look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let limits = self.executor.limits;
        loop {
            self.evaluate_queued();
            if let Some(end) = self.send_off().await {
                return Ok(end);
            }
            let more_to_evaluate = self.has_work() && self.draft_has_room();
            let deadline = self.flights.front().map(|flight| flight.proposed_at + limits.batch_timeout);
            let verdict = async {
                match self.flights.front_mut() {
                    Some(flight) => flight.proposal.verdict().await,
                    None => std::future::pending().await,
                }
            };
            let proven = async {
                match &mut self.proof {
                    Some((begun, proof)) => (*begun, proof.await),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                verdict = verdict => if let Some(end) = self.land(verdict).await? { return Ok(end) },
                proven = proven => if let Some(end) = self.proven(proven) { return Ok(end) },
                // Evaluation goes on at once; the branches above only get a look in between.
                () = std::future::ready(()), if more_to_evaluate => {}
                job = inbox.recv(), if self.queue.is_empty() => match job {
                    None => return Ok(End::Stopped),
                    Some(job) => {
                        self.queue.push_back(job);
                        while self.queue.len() < 64 && let Ok(job) = inbox.try_recv() {
                            self.queue.push_back(job);
                        }
                    }
                },
                open = watch.changed() => {
                    if !open {
                        return Ok(End::Stopped);
                    }
                    if !watch.holds(self.link.term) {
                        return Ok(End::Lost);
                    }
                }
                _ = sweep.tick() => self.sweep(),
                _ = wait_look.tick(), if !self.waits.is_empty() || !self.standbys.is_empty() => self.end_overdue_waits(),
                _ = leftover_look.tick(), if self.world.may_have_leftovers() => self.report_leftovers(),
                () = tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    tracing::warn!(group = self.executor.group.0, "a batch was not decided in time");
                    if let Some(end) = self.restart().await? { return Ok(end) }
                }
            }
        }
    }

    fn draft_has_room(&self) -> bool {
        // A change of ranges closes the batch: apply asserts what a batch relied on against the ranges before it.
        self.draft.entry.range_change.is_none()
            && self.draft.bytes < self.executor.limits.batch_bytes
            && self.drafted.len() < self.executor.limits.batch_requests
    }

    /// Place that the draft will take.
    fn next_link(&self) -> Link {
        self.link.next()
    }

    /// Moves the group's time, if the other nodes agree with this one's clock.
    fn look_at_the_clock(&mut self) {
        if let Some(now_ms) = self.executor.clock.now_ms() {
            self.world.now_ms = self.world.now_ms.max(now_ms);
        }
    }

    /// Step 1: evaluates what waits, as far as the draft has room.
    fn evaluate_queued(&mut self) {
        let mut budget = EVALUATIONS_PER_TURN;
        self.look_at_the_clock();
        while budget > 0 && self.draft_has_room() {
            if let Some(ticket) = self.woken.pop_front() {
                self.evaluate_woken(ticket);
                budget -= 1;
                continue;
            }
            if let Some(turn) = self.called.pop_first() {
                self.evaluate_called(turn);
                budget -= 1;
                continue;
            }
            match self.queue.pop_front() {
                None => return,
                Some(Job::Internal(internal, done)) => {
                    let answer = self.evaluate_internal(internal);
                    self.seal(Asker::Internal(done), Answer::Internal(answer));
                    budget -= 1;
                }
                Some(Job::Requests(requests)) => {
                    let room = self.executor.limits.batch_requests - self.drafted.len();
                    budget -= self.evaluate_requests(requests, budget.min(room));
                }
            }
        }
    }

    /// Evaluates at most `most` of the requests and puts the rest back; gives back how many it looked at.
    fn evaluate_requests(&mut self, requests: Requests, most: usize) -> usize {
        let Requests { gateway, queued, mut refused, parked: mut overtaken } = requests;
        let mut queued = queued.into_iter();
        let before = queued.len();
        let first = self.take_turn(queued.as_slice().first());
        let batch = self.next_link();
        let flights = Flights(&self.flights);
        let mut decided = Vec::with_capacity(before.min(most));
        let (mut parked, mut standing) = (None, None);
        let (freed, touched);
        {
            let mut evaluator = self.world.evaluator(batch, &mut self.draft, &flights, &self.waits, &self.standbys);
            evaluator.hear(gateway.incarnation, gateway.answered_below);
            while before - queued.len() < most {
                let is_first = queued.len() == before;
                let may_stand_by = queued.as_slice().first().is_some_and(|(ask, _)| ask.may_stand_by().is_some());
                if (may_stand_by && !is_first) || evaluator.has_touched() {
                    // Whoever stands by at what was written goes first, and who may do so is looked at alone.
                    break;
                }
                let Some((ask, reply)) = queued.next() else { break };
                if reply.is_abandoned() {
                    continue;
                }
                let connection = ask.connection();
                let out_of_turn =
                    connection != 0 && (refused.contains(&connection) || overtakes(&overtaken, connection, &ask));
                let outcome = if out_of_turn {
                    not_executed(wire::NotExecutedReason::Predecessor)
                } else if is_first && first == FirstTurn::Gone {
                    still_waits()
                } else {
                    match evaluator.evaluate(None, &ask, false) {
                        Evaluated::Decided(outcome) => outcome,
                        Evaluated::Waits(place) => {
                            // What comes behind it must see it in its queue.
                            if connection != 0 {
                                overtaken.push((connection, place.units.clone()));
                            }
                            parked = Some((Waiting { ask, reply, stood_by: None }, place));
                            break;
                        }
                        Evaluated::StandsBy => {
                            standing = Some(Waiting { ask, reply, stood_by: None });
                            break;
                        }
                    }
                };
                if connection != 0 && matches!(outcome, Outcome::Refusal(_)) {
                    refused.push(connection);
                }
                decided.push((reply, Answer::Outcome { e: evaluator.e(), outcome }));
            }
            (freed, touched) = (evaluator.take_freed(), evaluator.take_touched());
        }
        let looked_at = before - queued.len();
        if queued.len() > 0 {
            self.queue.push_front(Job::Requests(Requests {
                gateway,
                queued: queued.collect(),
                refused,
                parked: overtaken,
            }));
        }
        for (reply, answer) in decided {
            self.seal(Asker::Gateway(reply), answer);
        }
        if let Some((waiting, place)) = parked {
            self.park(None, waiting, place);
        }
        if let Some(waiting) = standing {
            self.stand_by(waiting, first.turn());
        }
        self.wake(&freed);
        self.call(&touched);
        looked_at
    }

    /// The turn of a request that comes instead of another one, or comes again on a new stream.
    fn take_turn(&mut self, first: Option<&(Ask, ReplyTo)>) -> FirstTurn {
        let Some(request) = first.and_then(|(ask, _)| ask.may_stand_by()) else { return FirstTurn::New };
        if let Some((turn, _)) = self.standbys.replace(request.id) {
            return FirstTurn::Of(turn);
        }
        let Some(replaced) = request.instead_of else { return FirstTurn::New };
        match self.standbys.replace(replaced) {
            None => FirstTurn::Gone,
            Some((turn, waiting)) => {
                let e = self.world.clock.e;
                self.seal(Asker::Gateway(waiting.reply), Answer::Outcome { e, outcome: still_waits() });
                FirstTurn::Of(turn)
            }
        }
    }

    /// Has a request stand by: at the turn that it had, or at the one that it takes.
    fn stand_by(&mut self, waiting: Waiting, taken: Option<Turn>) {
        let Some(request) = waiting.ask.may_stand_by() else {
            unreachable!("only a request with patience is evaluated to stand by");
        };
        let patience = Duration::from_millis(request.patience_ms.into());
        let (turn, until_ms) = match waiting.stood_by {
            Some((turn, until_ms)) => (Some(turn), until_ms),
            None => (taken, millis(self.began.elapsed() + patience)),
        };
        let (id, units) = (request.id, units_of(&request.targets));
        self.standbys.stand_by(turn, id, units, until_ms, waiting);
    }

    /// Somebody who stood by is evaluated again.
    fn evaluate_called(&mut self, turn: Turn) {
        let Some((mut waiting, until_ms)) = self.standbys.take(turn) else { return };
        if waiting.reply.is_abandoned() {
            return;
        }
        waiting.stood_by = Some((turn, until_ms));
        self.evaluate_again(None, waiting);
    }

    fn call(&mut self, touched: &[Bytes]) {
        self.called.extend(touched.iter().flat_map(|unit| self.standbys.at(unit)));
    }

    /// A waiter begins again, in its place.
    fn evaluate_woken(&mut self, ticket: Ticket) {
        let Some(waiting) = self.waits.take(ticket) else { return };
        if waiting.reply.is_abandoned() {
            let woken = self.waits.leave(ticket);
            self.woken.extend(woken);
            return;
        }
        self.evaluate_again(Some(ticket), waiting);
    }

    fn evaluate_again(&mut self, ticket: Option<Ticket>, waiting: Waiting) {
        let batch = self.next_link();
        let flights = Flights(&self.flights);
        let mut evaluator = self.world.evaluator(batch, &mut self.draft, &flights, &self.waits, &self.standbys);
        let evaluated = evaluator.evaluate(ticket, &waiting.ask, waiting.stood_by.is_some());
        let (e, freed, touched) = (evaluator.e(), evaluator.take_freed(), evaluator.take_touched());
        let left = if matches!(evaluated, Evaluated::Waits(_)) { None } else { ticket };
        match evaluated {
            Evaluated::Decided(outcome) => self.seal(Asker::Gateway(waiting.reply), Answer::Outcome { e, outcome }),
            Evaluated::StandsBy => self.stand_by(waiting, None),
            Evaluated::Waits(place) => self.park(ticket, waiting, place),
        }
        if let Some(ticket) = left {
            let woken = self.waits.leave(ticket);
            self.woken.extend(woken);
        }
        self.wake(&freed);
        self.call(&touched);
    }

    fn park(&mut self, ticket: Option<Ticket>, waiting: Waiting, place: Place) {
        counter!("storage_lock_waits_total").increment(1);
        let deadline = self.began.elapsed() + self.executor.limits.lock_wait;
        let woken = self.waits.park(ticket, waiting, place, millis(deadline));
        self.woken.extend(woken);
    }

    fn wake(&mut self, freed: &[Bytes]) {
        if !self.waits.is_empty() {
            self.woken.extend(freed.iter().filter_map(|unit| self.waits.first_at(unit)));
        }
    }

    fn end_overdue_waits(&mut self) {
        self.look_at_the_clock();
        for (ticket, unit) in self.waits.overdue(millis(self.began.elapsed())) {
            if let Some(waiting) = self.waits.take(ticket) {
                let batch = self.next_link();
                let flights = Flights(&self.flights);
                let evaluator = self.world.evaluator(batch, &mut self.draft, &flights, &self.waits, &self.standbys);
                let (e, outcome) = (evaluator.e(), locked(evaluator.seen_at(&unit)));
                self.seal(Asker::Gateway(waiting.reply), Answer::Outcome { e, outcome });
            }
            let woken = self.waits.leave(ticket);
            self.woken.extend(woken);
        }
        for turn in self.standbys.overdue(millis(self.began.elapsed())) {
            if let Some((waiting, _)) = self.standbys.take(turn) {
                let e = self.world.clock.e;
                self.seal(Asker::Gateway(waiting.reply), Answer::Outcome { e, outcome: still_waits() });
            }
        }
    }

    fn evaluate_internal(&mut self, internal: Internal) -> InternalDone {
        match internal {
            Internal::Replicate(Replicate { e, now_ms }) => {
                self.world.raise_clock(e);
                // Time moves by this executor's clock alone; a reader's is the same machine's.
                if self.executor.clock.now_ms().is_some() {
                    self.world.now_ms = self.world.now_ms.max(now_ms);
                }
                self.draft.ticks = true;
                InternalDone::Done
            }
            Internal::Collect { safe_point_e, garbage } => {
                let entry = &mut self.draft.entry;
                entry.safe_point_e = entry.safe_point_e.max(safe_point_e);
                self.draft.bytes += garbage.iter().map(Message::encoded_len).sum::<usize>();
                entry.garbage.extend(garbage);
                InternalDone::Done
            }
            Internal::Found(routes) => {
                if self.world.ranges.is_empty() {
                    let added: Vec<_> = routes.into_iter().map(OwnedRange::new).collect();
                    self.change_ranges(&[], added);
                }
                InternalDone::Done
            }
            Internal::Split(request) => match split::plan(&self.world.ranges, &request) {
                Ok(split::Plan::Already(left, right)) => InternalDone::Split(left, right),
                // Whoever locks a span has named it by its range. It does not last.
                Ok(split::Plan::Cut { halves, .. }) if self.has_locked_span(&*halves) => InternalDone::Retry,
                Ok(split::Plan::Cut { removed, halves }) => {
                    let [left, right] = [halves[0].route.clone(), halves[1].route.clone()];
                    self.change_ranges(&[removed], halves.to_vec());
                    InternalDone::Split(left, right)
                }
                Err(refused) => InternalDone::SplitRefused(refused),
            },
        }
    }

    fn has_locked_span(&self, ranges: &[OwnedRange]) -> bool {
        ranges.iter().any(|owned| self.world.locks.has_span_in(&owned.route.range))
    }

    fn change_ranges(&mut self, removed: &[(RangeId, Epoch)], added: Vec<OwnedRange>) {
        self.world.ranges = self.world.ranges.change(removed, added.clone());
        self.draft.entry.range_change = Some(wire::RangeChange {
            removed: removed.iter().map(|(id, epoch)| wire::RangeEpoch { range_id: id.0, epoch: epoch.0 }).collect(),
            added: added.iter().map(super::ranges::to_wire).collect(),
        });
    }

    /// A result over everything proposed and drafted so far.
    fn seal(&mut self, asker: Asker, answer: Answer) {
        let built_on = if self.draft.is_empty() { self.link } else { self.next_link() };
        let result = Sealed::new(answer, built_on, self.now.advance());
        self.drafted.push(Pending { asker, result });
    }

    /// Step 2: proposes the draft if there is room, or begins a check for results that need no batch.
    async fn send_off(&mut self) -> Option<End> {
        if self.draft.is_empty() {
            let waiting = self.drafted.drain(..).map(|pending| (self.now, pending));
            self.unproven.extend(waiting);
        } else if self.flights.len() < self.executor.limits.pipeline_depth
            && !(self.draft_has_room() && self.has_work())
        {
            let link = self.next_link();
            let draft = std::mem::take(&mut self.draft);
            let (entry, dedup) = draft.seal(link, &mut self.world);
            let results = std::mem::take(&mut self.drafted);
            histogram!("storage_batch_requests").record(results.len() as f64);
            if let Some(end) = self.propose(link, entry, dedup, results).await {
                return Some(end);
            }
        }
        // In order of evaluation, so if the first still waits for its batch, all do.
        let covered = self.unproven.front().is_some_and(|(_, pending)| pending.result.built_on() <= self.taken);
        if self.proof.is_none() && covered {
            let check = self.executor.check.clone();
            self.proof = Some((self.now.advance(), async move { check.prove().await }.boxed()));
        }
        None
    }

    fn has_work(&self) -> bool {
        !self.queue.is_empty() || !self.woken.is_empty() || !self.called.is_empty()
    }

    async fn propose(
        &mut self,
        link: Link,
        entry: wire::GroupEntry,
        dedup: Vec<wire::DedupRecord>,
        results: Vec<Pending>,
    ) -> Option<End> {
        let payload = Bytes::from(entry.encode_to_vec());
        counter!("storage_batches_total").increment(1);
        histogram!("storage_batch_bytes").record(payload.len() as f64);
        let proposed = self.now.advance();
        let Some(proposal) = self.proposer.propose(link.term, payload).await else {
            results.into_iter().for_each(Pending::unknown);
            return Some(End::Stopped);
        };
        self.link = link;
        let proposed_at = Instant::now();
        self.flights.push_back(Flight { link, proposed, proposed_at, proposal, results, dedup });
        None
    }

    /// Step 3: the oldest batch is decided.
    async fn land(&mut self, verdict: Verdict) -> Result<Option<End>, StateError> {
        match verdict {
            Verdict::Taken => {
                let flight = self.flights.pop_front().expect("a verdict is that of the oldest batch");
                self.release(flight);
                // Whatever else is decided by now shares the new view.
                while let Some(verdict) = self.flights.front_mut().and_then(|flight| flight.proposal.try_verdict()) {
                    if verdict != Verdict::Taken {
                        return self.restart().await;
                    }
                    let flight = self.flights.pop_front().expect("peeked above");
                    self.release(flight);
                }
                self.world.rebase(self.taken, self.executor.views.open()?);
                Ok(None)
            }
            Verdict::Skipped | Verdict::Refused => self.restart().await,
            Verdict::Unknown => Ok(Some(End::Lost)),
        }
    }

    fn release(&mut self, flight: Flight) {
        histogram!("storage_batch_seconds").record(flight.proposed_at.elapsed().as_secs_f64());
        self.taken = flight.link;
        let release = Release::by_batch(flight.link, flight.proposed);
        for pending in flight.results {
            pending.deliver(&release);
        }
    }

    /// Step 4: a read check has ended.
    fn proven(&mut self, (begun, result): (Moment, Result<(), CheckError>)) -> Option<End> {
        self.proof = None;
        match result {
            Ok(()) => {
                let release = Release::by_read_check(self.taken, begun);
                let mut waiting = VecDeque::new();
                for (evaluated, pending) in self.unproven.drain(..) {
                    // What was built on a batch that is still in flight waits for the next check behind it.
                    if evaluated < begun && pending.result.built_on() <= self.taken {
                        pending.deliver(&release);
                    } else {
                        waiting.push_back((evaluated, pending));
                    }
                }
                self.unproven = waiting;
                None
            }
            Err(CheckError::NotLeader) => Some(End::Lost),
            Err(CheckError::NoQuorum) => {
                // Nothing of these was executed; the gateway asks again.
                for (_, pending) in self.unproven.drain(..) {
                    pending.void(wire::NotExecutedReason::Restarted);
                }
                None
            }
        }
    }

    /// The chain is broken. Proposes barriers until one is applied, which decides all outstanding batches; then begins
    /// the new run with an empty overlay.
    pub(super) async fn restart(&mut self) -> Result<Option<End>, StateError> {
        counter!("storage_chain_restarts_total").increment(1);
        let watch = self.proposer.watch_office();
        loop {
            let barrier = Link::barrier(self.link.term, self.link.run + 1);
            self.link = barrier;
            let (entry, _) = Draft::default().seal(barrier, &mut self.world);
            let payload = Bytes::from(entry.encode_to_vec());
            let Some(mut proposal) = self.proposer.propose(barrier.term, payload).await else {
                return Ok(Some(End::Stopped));
            };
            let timeout = self.executor.limits.batch_timeout;
            match tokio::time::timeout(timeout, proposal.verdict()).await {
                Ok(Verdict::Taken) => break,
                Ok(Verdict::Unknown) => return Ok(Some(End::Lost)),
                Ok(Verdict::Skipped | Verdict::Refused) | Err(_) => {}
            }
            if !watch.holds(barrier.term) {
                return Ok(Some(End::Lost));
            }
            tokio::time::sleep(BARRIER_PAUSE).await;
        }
        tracing::warn!(group = self.executor.group.0, run = %self.link, "the chain was broken; a new run begins");
        while let Some(mut flight) = self.flights.pop_front() {
            match flight.proposal.try_verdict() {
                Some(Verdict::Taken) => self.release(flight),
                Some(Verdict::Skipped | Verdict::Refused) => {
                    flight.results.into_iter().for_each(|pending| pending.void(wire::NotExecutedReason::Restarted));
                }
                // Applied behind the barrier it would be skipped; not decided at all means that openraft forgot it.
                Some(Verdict::Unknown) | None => flight.results.into_iter().for_each(Pending::unknown),
            }
        }
        self.taken = self.link;
        self.void_undecided();
        self.end_waits();
        let now_ms = self.executor.clock.now_ms();
        self.world = World::new(self.executor.group, self.executor.views.open()?, now_ms)?;
        Ok(None)
    }

    /// Results over a draft or a run that is gone.
    fn void_undecided(&mut self) {
        self.draft = Draft::default();
        self.proof = None;
        let unproven = self.unproven.drain(..).map(|(_, pending)| pending);
        for pending in self.drafted.drain(..).chain(unproven) {
            pending.void(wire::NotExecutedReason::Restarted);
        }
    }

    /// Nobody waits over the end of a run: what their places rested on may be gone.
    fn end_waits(&mut self) {
        self.woken.clear();
        self.called.clear();
        for waiting in self.waits.drain().chain(self.standbys.drain()) {
            waiting.reply.send(0, not_executed(wire::NotExecutedReason::Restarted));
        }
    }

    /// Looks for what dead coordinators have left behind.
    fn report_leftovers(&mut self) {
        self.look_at_the_clock();
        let leftovers = self.world.leftovers();
        if !leftovers.is_empty() {
            // A full queue means that the last ones are still being looked at.
            let _ = self.executor.leftovers.try_send(leftovers);
        }
    }

    /// Looks for gateways that were silent for long, and writes floors that had no batch to ride in.
    fn sweep(&mut self) {
        self.look_at_the_clock();
        let group = self.executor.group.0.to_string();
        gauge!("storage_dedup_records", "group" => group.clone()).set(self.world.dedup.len() as f64);
        gauge!("storage_standbys", "group" => group).set(self.standbys.len() as f64);
        let mut changes = Changes::default();
        let now_ms = self.world.now_ms;
        self.world.dedup.expire(now_ms, &mut changes);
        let batch = self.next_link();
        let flights = Flights(&self.flights);
        self.world.evaluator(batch, &mut self.draft, &flights, &self.waits, &self.standbys).carry(changes);
        self.draft.entry.transactions.extend(self.world.collect_records());
        let batch = self.next_link();
        let flights = Flights(&self.flights);
        let mut evaluator = self.world.evaluator(batch, &mut self.draft, &flights, &self.waits, &self.standbys);
        evaluator.abort_abandoned();
        let freed = evaluator.take_freed();
        self.wake(&freed);
        self.draft.ticks |= self.world.dedup.has_idle();
    }

    /// The office is over: what is in flight may or may not have happened. Gives back the newest place proposed.
    pub(super) fn leave(mut self) -> Link {
        for flight in self.flights.drain(..) {
            flight.results.into_iter().for_each(Pending::unknown);
        }
        self.void_undecided();
        self.end_waits();
        gauge!("storage_standbys", "group" => self.executor.group.0.to_string()).set(0);
        let raft = &self.executor.raft;
        self.queue.drain(..).for_each(|job| refuse(raft, job));
        self.link
    }
}
