//! The gRPC error for everything that the router may refuse.

use proto::{Fault, FaultCode};
use tonic::Status;

use crate::router::RouterError;

/// The error of a call without results. No message holds internal text.
pub(super) fn status(error: RouterError) -> Status {
    let (code, message) = match error {
        RouterError::Overloaded => (FaultCode::Overloaded, "the gateway has too many requests under way".to_owned()),
        RouterError::CrossGroup => {
            (FaultCode::Unsupported, "keys in several groups are not supported by this version yet".to_owned())
        }
        RouterError::Unavailable(reason) => {
            (FaultCode::Unavailable, format!("not served in time, and not executed: {reason}"))
        }
        RouterError::OutcomeUnknown => {
            (FaultCode::OutcomeUnknown, "the request may or may not have taken effect".to_owned())
        }
        RouterError::Conflict => (FaultCode::Conflict, "a key changed meanwhile".to_owned()),
        RouterError::Locked => (FaultCode::Conflict, "another transaction holds a key".to_owned()),
        RouterError::SnapshotTooOld => {
            (FaultCode::FailedPrecondition, "versions as old as the timestamp are not kept any more".to_owned())
        }
        RouterError::DiskFull => (FaultCode::Overloaded, "the disk of the storage node is full".to_owned()),
        RouterError::Rejected(sentence) => (FaultCode::InvalidArgument, sentence),
        // Whoever takes steps of transactions acts on an end and never hands it on.
        RouterError::Ended | RouterError::StillWaits | RouterError::Beyond | RouterError::Protocol(_) => unexpected(),
    };
    Fault::new(code, message).into()
}

/// The error for results of another language, or of another number, than was asked for.
pub(super) fn unexpected_result() -> Status {
    let (code, message) = unexpected();
    Fault::new(code, message).into()
}

fn unexpected() -> (FaultCode, String) {
    (FaultCode::Internal, "the storage node gave an answer that this gateway does not know".to_owned())
}

/// The error for a request that breaks a limit.
pub(super) fn invalid(sentence: impl Into<String>) -> Status {
    Fault::new(FaultCode::InvalidArgument, sentence).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::Reason;

    #[test]
    fn programs_see_what_may_be_repeated() {
        let retryable = |error: RouterError| {
            let fault = Fault::of(&status(error));
            matches!(fault, Ok(Some(Fault { retryable: true, .. })))
        };
        assert!(retryable(RouterError::Overloaded) && retryable(RouterError::Unavailable(Reason::NotLeader)));
        assert!(!retryable(RouterError::OutcomeUnknown) && !retryable(RouterError::Rejected("no".into())));
        assert!(!status(RouterError::Protocol("ticket 7".into())).message().contains("ticket"));
    }
}
