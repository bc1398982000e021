//! Where permissions meet the requests of a session.

use std::io;

use bytes::Bytes;
use commands::redis::{Place, Spec, TransactionCommand, Value};

use super::{Barrier, Burst, Course, Session, cut_off};
use crate::redis::access::{Access, Context};
use crate::redis::ledger::Taken;

impl Session {
    /// Whether the connection may run a command line now; if not, it has been answered.
    pub(super) fn permit(&mut self, spec: &'static Spec, args: &[Bytes], burst: &mut Burst) -> bool {
        let context = if self.transaction.is_queueing() { Context::Multi } else { Context::TopLevel };
        let Err(line) = self.may(spec, args, context) else { return true };
        burst.ledger.name(spec, Taken::Refused);
        let is_exec = spec.place == Place::InSession(TransactionCommand::Exec);
        burst.answer(self.transaction.refuse_permission(line, is_exec));
        false
    }

    /// The same without an answer.
    pub(super) fn may(&mut self, spec: &'static Spec, args: &[Bytes], context: Context) -> Result<(), String> {
        let (access, parameters) = (&self.shared.access, &self.shared.parameters);
        access.permit(&mut self.settings.identity, spec, args, context, &self.client, parameters)
    }

    /// Waits until permissions are young enough; when they cannot be had, the next request is refused.
    pub(super) async fn wait_for_users(&mut self) -> io::Result<Course> {
        let (client, shared) = (self.client.clone(), self.shared.clone());
        tokio::select! {
            biased;
            fresh = shared.access.wait_fresh() => if fresh {
                return Ok(Course::Goes);
            },
            () = client.mailbox.cut() => return Err(cut_off()),
            () = client.told_to_leave() => return Ok(Course::Ends),
        }
        match self.next_request() {
            Ok(Some((_, silent))) => {
                let refused = match Access::too_old() {
                    Value::Error(line) => self.transaction.refuse_permission(line, false),
                    other => other,
                };
                if !silent {
                    self.write_reply(&refused).await?;
                }
            }
            Ok(None) => {
                self.unparsed = false;
                self.input.settle();
            }
            Err(error) => self.barrier = Some(Barrier::Close(Some(Value::Error(error.to_string())))),
        }
        Ok(Course::Goes)
    }
}
