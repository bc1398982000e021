//! What a Redis client is told when the router has no results: every sentence in one place.
//!
//! `TRYAGAIN` begins what had no effect and may succeed later; client libraries know the word. No sentence holds
//! internal text.

use commands::redis::{Spec, Value};

use crate::router::RouterError;
use crate::txn::TxnError;

/// The error line for a command without results.
pub(super) fn reply(error: &RouterError) -> Value {
    Value::Error(match error {
        RouterError::Overloaded => {
            "TRYAGAIN The gateway has too many requests under way. The command was not executed.".to_owned()
        }
        RouterError::CrossGroup => {
            "TRYAGAIN The command's keys have just come to lie in several groups. It was not executed.".to_owned()
        }
        RouterError::Unavailable(reason) => {
            format!("TRYAGAIN The command could not be served in time: {reason}. It was not executed.")
        }
        RouterError::OutcomeUnknown => {
            "ERR The outcome of the command is unknown: it may or may not have taken effect".to_owned()
        }
        RouterError::Conflict => "TRYAGAIN A key changed meanwhile. The command was not executed.".to_owned(),
        RouterError::Locked => "TRYAGAIN Another transaction holds a key. The command was not executed.".to_owned(),
        // Whoever takes steps of transactions acts on it and never hands it on.
        // So do those who wait for data, and those who run scripts.
        RouterError::Ended | RouterError::StillWaits | RouterError::Beyond => UNEXPECTED.to_owned(),
        RouterError::SnapshotTooOld => "ERR The snapshot is too old".to_owned(),
        RouterError::DiskFull => {
            "MISCONF The disk of the storage node is full. The command was not executed.".to_owned()
        }
        RouterError::Rejected(sentence) => format!("ERR {sentence}"),
        RouterError::Protocol(_) => UNEXPECTED.to_owned(),
    })
}

/// The error line for what was to run as one transaction and did not. (EXEC answers nil to a conflict with a WATCH.)
pub(super) fn transaction(error: &TxnError) -> Value {
    match error {
        TxnError::Conflict => reply(&RouterError::Conflict),
        TxnError::TooManyKeys { .. } | TxnError::TooLarge { .. } | TxnError::DatabaseTooLarge | TxnError::Mixed => {
            Value::Error(format!("ERR {error}"))
        }
        TxnError::Router(error) => reply(error),
    }
}

/// The error line of RESP2 for a connection that listens to channels.
pub(super) fn only_for_subscribers(spec: &Spec) -> Value {
    Value::Error(format!(
        "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
        spec.name
    ))
}

const UNEXPECTED: &str = "ERR The storage node gave an answer that this gateway does not know";

/// The error line for results of another language, or of another number, than was asked for.
pub(super) fn unexpected() -> Value {
    Value::Error(UNEXPECTED.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::Reason;

    #[test]
    fn what_may_be_repeated_says_so_and_internals_stay_inside() {
        for error in [RouterError::Overloaded, RouterError::Unavailable(Reason::NotLeader), RouterError::Conflict] {
            assert!(error.is_retryable());
            let Value::Error(line) = reply(&error) else { panic!("not an error") };
            assert!(line.starts_with("TRYAGAIN ") && line.contains("not executed"), "{line}");
        }
        let Value::Error(line) = reply(&RouterError::OutcomeUnknown) else { panic!("not an error") };
        assert!(line.starts_with("ERR ") && line.contains("may or may not"), "{line}");
        let Value::Error(line) = reply(&RouterError::Protocol("ticket 7".into())) else { panic!("not an error") };
        assert!(!line.contains("ticket"), "{line}");
    }
}
