//! The transaction of a session: what becomes of MULTI, WATCH and EXEC between the requests and the replies.
//!
//! [`super::super::multi`] keeps the state and knows neither sockets nor groups; [`super::super::together`] runs things
//! as one transaction and knows no connection. Here they meet.

use std::io;

use bytes::Bytes;
use commands::redis::{GatewayCommand, Invocation, RedisError, Spec, TransactionCommand, Value, parse_database, units};

use super::{Barrier, Burst, Session, WRITE_BYTES};
use crate::redis::multi::{self, Exec, Queued};
use crate::redis::together::Together;
use crate::redis::{local, refusal, reply};
use crate::txn::TxnError;

impl Session {
    /// AUTH, which is not in the table.
    pub(super) fn authenticate(&mut self, args: &[Bytes]) -> Value {
        let value = local::authenticate(args);
        match self.transaction.is_queueing() {
            false => value,
            true if args.len() == 1 => self.transaction.refuse(RedisError::WrongArity { command: "auth" }),
            true => self.transaction.queue_answered(value),
        }
    }

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
            TransactionCommand::Watch => match units(spec, &Invocation { db: self.settings.database, args }) {
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
        let mut db = self.settings.database;
        let mut together = Together::default();
        for queued in &mut commands {
            match queued {
                Queued::Keyed(spec, args) => {
                    let invocation = Invocation { db, args: std::mem::take(args) };
                    together.add(&self.shared.router, spec, invocation);
                }
                Queued::Database(args) => {
                    together.add_over_database(Invocation { db, args: std::mem::take(args) });
                }
                Queued::Local(GatewayCommand::Select, args) => db = parse_database(&args[1]).unwrap_or(db),
                Queued::Local(..) | Queued::Answered(_) => {}
            }
        }
        let is_watching = !watched.is_empty();
        let replies = match together.run(&self.shared.router, &self.shared.transactions, self.client.id, watched).await
        {
            Ok(replies) => replies,
            Err(TxnError::Conflict) if is_watching => return self.write_reply(&Value::NullArray).await,
            Err(error) => return self.write_reply(&refusal::transaction(&error)).await,
        };
        let mut replies = replies.into_iter();
        reply::write_array(commands.len(), &mut self.output);
        for queued in commands {
            let value = match queued {
                Queued::Keyed(..) | Queued::Database(_) => replies.next().unwrap_or_else(refusal::unexpected),
                Queued::Local(command, args) => local::answer(command, &args, &mut self.settings, &self.shared),
                Queued::Answered(value) => value,
            };
            // HELLO in the queue changes the version for the items behind it.
            reply::write(&value, self.settings.protocol, &mut self.output);
            if self.output.len() >= WRITE_BYTES {
                self.flush().await?;
            }
        }
        self.count(1);
        self.flush().await
    }
}
