//! The transaction of a session: what becomes of MULTI, WATCH and EXEC between the requests and the replies.
//!
//! [`super::super::multi`] keeps the state and knows neither sockets nor groups; [`super::super::together`] runs things
//! as one transaction and knows no connection. Here they meet.

use std::io;

use bytes::Bytes;
use commands::redis::script::is_script;
use commands::redis::{GatewayCommand, Invocation, Spec, TransactionCommand, Value, parse_database, resolve, units};

use super::{Barrier, Burst, Session, WRITE_BYTES};
use crate::redis::access::Context;
use crate::redis::multi::{self, Exec, Queued};
use crate::redis::together::Together;
use crate::redis::{access, ledger, local, pubsub, refusal, reply, scripts};
use crate::txn::TxnError;

impl Session {
    /// MULTI, EXEC, DISCARD, WATCH, UNWATCH.
    pub(super) fn take_transactional(
        &mut self,
        command: TransactionCommand,
        spec: &'static Spec,
        args: Vec<Bytes>,
        burst: &mut Burst,
    ) {
        let queueing = self.transaction.is_queueing();
        let value = match command {
            TransactionCommand::Multi => self.transaction.begin(),
            TransactionCommand::Discard => self.transaction.discard(),
            TransactionCommand::Exec => match self.transaction.exec() {
                Exec::Answered(value) => value,
                Exec::Runs(work) => return self.barrier = Some(Barrier::Exec(work)),
            },
            TransactionCommand::Watch if queueing => multi::watch_inside_multi(),
            TransactionCommand::Watch => match units(spec, &Invocation::new(self.settings.database, args)) {
                // What was written before it on this connection is not a change.
                Ok(units) => return self.barrier = Some(Barrier::Watch(units)),
                Err(error) => error.into(),
            },
            TransactionCommand::Unwatch if queueing => self.transaction.queue(spec, args),
            TransactionCommand::Unwatch => self.transaction.unwatch(),
        };
        burst.answer(value);
    }

    /// Notes the versions of what is not watched yet.
    pub(super) async fn watch(&mut self, units: Vec<Bytes>) -> Value {
        let new = match self.transaction.not_watched(units) {
            Ok(new) => new,
            Err(refused) => {
                self.transaction.watch_failed();
                return refused;
            }
        };
        if new.is_empty() {
            return Value::OK;
        }
        match self.shared.transactions.observe(self.client.id, new.clone()).await {
            Ok(versions) => {
                self.transaction.watch(new.into_iter().zip(versions));
                Value::OK
            }
            Err(error) => {
                self.transaction.watch_failed();
                refusal::transaction(&error)
            }
        }
    }

    /// Runs what was queued. Commands for the gateway take effect only if the others have; of these, SELECT is looked
    /// at before, because what is behind it goes to another database.
    pub(super) async fn exec(&mut self, work: multi::Work) -> io::Result<()> {
        let multi::Work { mut commands, watched } = work;
        // Since they were queued, rules may have changed. What is behind an AUTH is still judged as before it.
        for queued in &mut commands {
            let (Queued::Keyed(_, args)
            | Queued::Database(args)
            | Queued::Local(_, args)
            | Queued::Registry(_, args)
            | Queued::PubSub(_, args)) = &*queued
            else {
                continue;
            };
            if let Ok(spec) = resolve(args)
                && let Err(line) = self.may(spec, args, Context::Exec)
            {
                *queued = Queued::Answered(Value::Error(line));
            }
        }
        let mut db = self.settings.database;
        let mut together = Together::default();
        for queued in &commands {
            match queued {
                Queued::Keyed(spec, args) => {
                    let telling = self.shared.parameters.effects().telling();
                    let invocation = Invocation::new(db, args.clone()).telling(telling);
                    match scripts::prepare(&self.shared, &self.settings.identity, spec, invocation).await {
                        Ok(invocation) => together.add(&self.shared.router, spec, invocation),
                        Err(refused) => together.add_answered(refused),
                    }
                }
                Queued::Database(args) => {
                    together.add_over_database(Invocation::new(db, args.clone()));
                }
                Queued::Local(GatewayCommand::Select, args) => db = parse_database(&args[1]).unwrap_or(db),
                Queued::Local(..) | Queued::Registry(..) | Queued::PubSub(..) | Queued::Answered(_) => {}
            }
        }
        let is_watching = !watched.is_empty();
        let any_script = commands.iter().any(|queued| matches!(queued, Queued::Keyed(_, args) if is_script(args)));
        let turn = if any_script { self.shared.scripts.turn().await } else { None };
        let ran = together.run(&self.shared.router, &self.shared.transactions, self.client.id, watched).await;
        drop(turn);
        let replies = match ran {
            Ok(replies) => replies,
            Err(TxnError::Conflict) if is_watching => return self.write_reply(&Value::NullArray).await,
            Err(error) => return self.write_reply(&refusal::transaction(&error)).await,
        };
        let mut replies = replies.into_iter();
        // EXEC is counted as a whole, and what it ran by its share of the time.
        let standing = self.standing.take();
        let took = standing.as_ref().map(|standing| standing.since.elapsed()).unwrap_or_default();
        let share = took.checked_div(commands.len() as u32).unwrap_or_default();
        let silent = standing.as_ref().is_some_and(|standing| standing.entry.silent);
        if !silent {
            reply::write_array(commands.len(), &mut self.output);
        }
        for queued in commands {
            let (value, args) = match queued {
                Queued::Keyed(_, args) | Queued::Database(args) => {
                    (self.hear(replies.next().unwrap_or_else(refusal::unexpected)), args)
                }
                Queued::Local(command, args) if access::waits(command, &args) => {
                    (access::answer::answer(command, &args, &mut self.settings, &self.shared).await, args)
                }
                Queued::Local(command, args) => (local::answer(command, &args, &mut self.settings, &self.shared), args),
                Queued::Registry(command, args) => (self.shared.scripts.run(command, &args).await, args),
                Queued::PubSub(command, args) => match self.shared.pubsub.run(command, &args, &self.client).await {
                    pubsub::Answer::Reply(value) => (value, args),
                    pubsub::Answer::Confirmations(pushes) => {
                        for push in pushes.iter().filter(|_| !silent) {
                            reply::write_push(push, self.settings.protocol, &mut self.output);
                        }
                        continue;
                    }
                },
                Queued::Answered(value) => (value, Vec::new()),
            };
            self.show(&args);
            if let Ok(spec) = resolve(&args) {
                ledger::count_inner(spec, &args, &value, share, &self.client, &self.shared);
            }
            if silent {
                continue;
            }
            // HELLO in the queue changes the version for the items behind it.
            reply::write(&value, self.settings.protocol, &mut self.output);
            if self.output.len() >= WRITE_BYTES {
                self.flush().await?;
            }
        }
        self.count(1);
        self.show(&[Bytes::from_static(b"exec")]);
        if let Some(standing) = standing {
            standing.answered(&Value::OK, &self.client, &self.shared);
        }
        self.flush().await
    }
}
