//! What is noted of each command line, for statistics, SLOWLOG, MONITOR and CLIENT REPLY.

use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use commands::redis::table::ClientCommand;
use commands::redis::{GatewayCommand, Place, Spec, TransactionCommand};

use super::{Barrier, Burst, Session};
use crate::redis::ledger::{Replies, Taken};
use crate::redis::local;
use crate::redis::request::RequestError;

impl Session {
    /// The next command line, and whether it goes unanswered.
    pub(super) fn next_request(&mut self) -> Result<Option<(Vec<Bytes>, bool)>, RequestError> {
        if let Some(postponed) = self.postponed.take() {
            return Ok(Some(postponed));
        }
        let args = self.parser.next(&mut self.input.buffer)?;
        Ok(args.map(|args| (args, self.settings.replies.next())))
    }

    /// Takes a command line and keeps in the burst's ledger what must be known of it when it is answered.
    pub(super) fn take_noted(
        &mut self,
        args: Vec<Bytes>,
        silent: bool,
        burst: &mut Burst,
        last_command: &mut Option<&'static str>,
    ) {
        let may_be_slow = self.shared.parameters.effects().slow_us.load(Ordering::Relaxed) >= 0;
        burst.ledger.begin(&args, silent, may_be_slow);
        let is_exec = args.len() == 1 && args[0].eq_ignore_ascii_case(b"exec");
        let line = is_exec.then(|| args.clone());
        self.take(args, burst, last_command);
        self.standing = burst.ledger.settle(burst.len());
        if let (Some(line), None) = (line, &self.standing) {
            // It runs nothing, so nothing of it is still to be shown.
            self.show(&line);
        }
        if self.settings.ends && self.barrier.is_none() {
            self.barrier = Some(Barrier::Close(None));
        }
    }

    /// Notes that a command line is this command, and shows it to those who monitor.
    pub(super) fn note(&mut self, spec: &'static Spec, args: &[Bytes], burst: &mut Burst) {
        let at_once = match spec.place {
            Place::InSession(command) => command != TransactionCommand::Unwatch,
            Place::AtGateway(command) => matches!(command, GatewayCommand::Quit | GatewayCommand::Reset),
            _ => false,
        };
        if self.transaction.is_queueing() && !at_once {
            return burst.ledger.name(spec, Taken::Queued);
        }
        burst.ledger.name(spec, Taken::Run);
        if spec.place == Place::AtGateway(GatewayCommand::Reset) {
            // The first thing that it is not shown any more.
            self.shared.monitors.remove(&self.client);
        }
        if spec.place != Place::InSession(TransactionCommand::Exec) {
            self.shared.monitors.show(spec, args, self.settings.database, &self.client.address);
        }
    }

    /// Answers what needs nobody else.
    pub(super) fn answer_at_once(&mut self, command: GatewayCommand, args: &[Bytes], burst: &mut Burst) {
        let started = Instant::now();
        let value = local::answer(command, args, &mut self.settings, &self.shared);
        if let Some(entry) = burst.ledger.last_mut() {
            entry.took = Some(started.elapsed());
            if command == GatewayCommand::Client(ClientCommand::Reply) && !value.is_error() {
                entry.silent = self.settings.replies != Replies::On;
            }
        }
        burst.answer(value);
    }

    /// Shows a command line to those who monitor.
    pub(super) fn show(&self, args: &[Bytes]) {
        if let Ok(spec) = commands::redis::resolve(args) {
            self.shared.monitors.show(spec, args, self.settings.database, &self.client.address);
        }
    }
}
