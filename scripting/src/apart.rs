//! A script on a thread of its own: its caller runs the commands, one after the other, and may await what they need.

use std::sync::mpsc::{Sender, channel};

use futures::StreamExt;
use futures::channel::mpsc::{UnboundedReceiver, unbounded};

use crate::{Call, Ended, Job, Reply, run};

/// What a script wants next.
#[derive(Debug)]
pub enum Wish {
    /// Run this command, and [`Running::answer`].
    Run(Call),
    /// Nothing any more.
    Nothing(Ended),
}

/// A script under way. When it is dropped, the next command of the script fails and so ends it.
#[derive(Debug)]
pub struct Running {
    /// Holds one at a time: the script waits for the answer.
    wishes: UnboundedReceiver<Wish>,
    answers: Sender<Reply>,
}

impl Running {
    /// Begins.
    pub fn start(job: Job) -> Self {
        let (wish, wishes) = unbounded();
        let (answers, answered) = channel();
        std::thread::spawn(move || {
            let end = wish.clone();
            let call = move |call: Call| match wish.unbounded_send(Wish::Run(call)) {
                Ok(()) => answered.recv().unwrap_or_else(|_| gone()),
                Err(_) => gone(),
            };
            let ended = run(&job, call);
            // Nobody may be there to hear it any more.
            drop(end.unbounded_send(Wish::Nothing(ended)));
        });
        Self { wishes, answers }
    }

    /// Waits while the script computes, which is bounded.
    pub async fn next(&mut self) -> Wish {
        let broken = || Wish::Nothing(Ended::Answered(Reply::Error("ERR a script broke".into())));
        self.wishes.next().await.unwrap_or_else(broken)
    }

    /// The same for callers that cannot await.
    pub fn next_blocking(&mut self) -> Wish {
        futures::executor::block_on(self.next())
    }

    /// The reply of the command that was wished for.
    pub fn answer(&self, reply: Reply) {
        // A script that was stopped does not hear it.
        drop(self.answers.send(reply));
    }
}

fn gone() -> Reply {
    Reply::Error("ERR nobody runs the commands of this script any more".into())
}
