//! What each command does to an ordered view of the keyspace, and what it answers.
//!
//! The three languages of Elastickv meet here: [`redis`], [`dynamo`] and [`raw`]. A command is a function over a
//! [`View`]; it is evaluated by the leader of the group that owns its keys, and what it wrote is replicated as plain
//! records. Nothing here knows of sockets, groups or clocks.

pub mod dynamo;
pub mod raw;
pub mod record;
pub mod redis;
pub mod testing;
pub mod view;

pub use view::{Order, Record, View, ViewError};

/// A command of any language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A Redis command on named keys.
    Redis(redis::Invocation),
    /// One range's part of a Redis command over a database.
    RedisSpan(redis::Span),
    /// A RawKV operation.
    Raw(raw::Operation),
    /// A DynamoDB operation.
    Dynamo(dynamo::Operation),
    /// Plain records, for a coordinator.
    Record(record::Operation),
}

impl Command {
    /// Whether it may write, whatever its outcome.
    pub fn writes(&self) -> bool {
        match self {
            Command::Redis(invocation) => redis::writes(invocation),
            Command::RedisSpan(span) => matches!(span.part, redis::SpanPart::Flush { .. }),
            Command::Raw(operation) => operation.writes(),
            Command::Dynamo(operation) => operation.writes(),
            Command::Record(operation) => operation.writes(),
        }
    }

    /// Whether it reads or writes keys that it does not name, because it learns of them only as it runs. It must not be
    /// sent to the group of its keys: whoever evaluates it needs a view that reaches everything.
    pub fn reads_beyond(&self) -> bool {
        match self {
            Command::Redis(invocation) => redis::reads_beyond(invocation),
            Command::Dynamo(operation) => operation.reaches_beyond(),
            Command::RedisSpan(_) | Command::Raw(_) | Command::Record(_) => false,
        }
    }
}

impl Command {
    /// Commands that are to take effect all or not at all, as one; `None` if their language has no such command.
    pub fn together(commands: Vec<Command>) -> Option<Command> {
        let writes = commands.into_iter().map(|command| match command {
            Command::Dynamo(dynamo::Operation::WriteItem(write)) => Some(*write),
            _ => None,
        });
        Some(Command::Dynamo(dynamo::Operation::Together(writes.collect::<Option<_>>()?)))
    }
}

impl Outcome {
    /// Whether a command is refused that was to take effect together with others.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Outcome::Dynamo(outcome) if outcome.is_refusal())
    }

    /// The outcomes of commands made one by [`Command::together`].
    pub fn apart(self) -> Option<Vec<Outcome>> {
        match self {
            Outcome::Dynamo(dynamo::Outcome::Together(outcomes)) => {
                Some(outcomes.into_iter().map(Outcome::Dynamo).collect())
            }
            _ => None,
        }
    }
}

/// What came of a [`Command`], in the same language.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// A RESP value, errors included.
    Redis(redis::Value),
    /// Part of an answer over a database.
    RedisSpan(redis::SpanOutcome),
    /// A RawKV outcome.
    Raw(raw::Outcome),
    /// A DynamoDB outcome, faults included.
    Dynamo(dynamo::Outcome),
    /// Plain records.
    Record(record::Outcome),
}

/// Evaluates one command.
pub async fn run<V: View>(view: &mut V, command: &Command) -> Result<Outcome, ViewError> {
    Ok(match command {
        Command::Redis(invocation) => Outcome::Redis(redis::run(view, invocation).await?),
        Command::RedisSpan(span) => Outcome::RedisSpan(redis::run_span(view, span).await?),
        Command::Raw(operation) => Outcome::Raw(raw::run(view, operation).await?),
        Command::Dynamo(operation) => Outcome::Dynamo(dynamo::run(view, operation).await?),
        Command::Record(operation) => Outcome::Record(record::run(view, operation).await?),
    })
}
