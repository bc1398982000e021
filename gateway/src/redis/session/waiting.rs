//! Commands that wait for the end of CLIENT PAUSE.

use std::io;

use bytes::Bytes;
use commands::redis::{Place, Spec, TransactionCommand, table::Flag};

use super::{Course, Session, cut_off};

/// Most bytes that are read from a client that waits: they tell whether it is still there.
const WAITING_BYTES: usize = 64 << 10;
/// Commands that do not write, but make something known to others or, in Redis, may write a little.
const SEEN_BY_OTHERS: [&str; 6] = ["eval", "evalsha", "fcall", "pfcount", "publish", "spublish"];

impl Session {
    /// Whether a command has to wait because clients are paused: then whether that is because it may write.
    pub(super) fn must_wait(&self, spec: &Spec) -> Option<bool> {
        if !self.shared.pause.is_on() {
            return None;
        }
        let writes = match spec.place {
            Place::InSession(TransactionCommand::Exec) => self.transaction.may_write(may_write),
            _ => may_write(spec),
        };
        self.shared.pause.holds(writes).then_some(writes)
    }

    /// Waits until such a command line need not wait any more; then it is the next one.
    pub(super) async fn wait_for_unpause(&mut self, writes: bool, args: Vec<Bytes>) -> io::Result<Course> {
        let (client, shared) = (self.client.clone(), self.shared.clone());
        let _paused = client.pause();
        let over = shared.pause.over(writes);
        tokio::pin!(over);
        loop {
            let may_read = self.input.buffer.len() < WAITING_BYTES;
            tokio::select! {
                biased;
                () = &mut over => break,
                () = client.mailbox.arrived() => {
                    if client.mailbox.is_cut_off() {
                        return Err(cut_off());
                    }
                    self.empty_mailbox();
                    self.flush().await?;
                }
                count = self.input.fill(&mut self.stream, &self.parser), if may_read => {
                    if self.received(count?) == Course::Ends {
                        return Ok(Course::Ends);
                    }
                }
                // It is not answered, so its client knows that it did not run.
                () = client.told_to_leave() => return Ok(Course::Ends),
            }
        }
        let silent = self.standing.take().is_some_and(|standing| standing.entry.silent);
        self.postponed = Some((args, silent));
        self.unparsed = true;
        Ok(Course::Goes)
    }
}

fn may_write(spec: &Spec) -> bool {
    spec.has(Flag::Write) || SEEN_BY_OTHERS.contains(&spec.name)
}
