//! Errors as AWS SDKs know them: an exception name, its HTTP status and a message.
//!
//! The one screen that turns whatever went wrong into what a DynamoDB client sees. SDKs decide by name and status
//! whether they repeat a request: 500 and `ThrottlingException` are repeated, every other 400 is not.

use aws_smithy_json::serialize::JsonObjectWriter;
use commands::dynamo::Item;
use hyper::StatusCode;

use super::attribute::write_item;
use super::store::StoreError;

/// Longer messages are cut.
const MESSAGE_BYTES: usize = 4096;

/// An error reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) exception: Exception,
    /// For people: one sentence of the API's language.
    pub(super) message: String,
    /// The item whose condition failed, if it was asked for.
    item: Option<Item>,
    /// Why a transaction was cancelled, action by action.
    reasons: Vec<Reason>,
}

/// What an action of a cancelled transaction contributed to that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reason {
    code: &'static str,
    message: Option<String>,
    item: Option<Item>,
}

impl Reason {
    /// Nothing.
    pub(super) fn none() -> Self {
        Self { code: "None", message: None, item: None }
    }

    pub(super) fn validation(message: String) -> Self {
        Self { code: "ValidationError", message: Some(message), item: None }
    }

    pub(super) fn condition_failed(item: Option<Item>) -> Self {
        Self { code: "ConditionalCheckFailed", message: Some("The conditional request failed".into()), item }
    }
}

/// The exceptions that this listener answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exception {
    Validation,
    Serialization,
    UnknownOperation,
    ResourceNotFound,
    TableNotFound,
    ResourceInUse,
    LimitExceeded,
    ConditionalCheckFailed,
    TransactionCanceled,
    IdempotentParameterMismatch,
    Throttling,
    /// The body is larger than a request may be.
    RequestTooLarge,
    /// The body did not arrive in time.
    RequestTimeout,
    InternalServerError,
}

impl Exception {
    /// `prefix#Name`; SDKs split at `#`.
    fn type_name(self) -> &'static str {
        match self {
            Exception::Validation => "com.amazon.coral.validate#ValidationException",
            Exception::Serialization => "com.amazon.coral.service#SerializationException",
            Exception::UnknownOperation => "com.amazon.coral.service#UnknownOperationException",
            Exception::ResourceNotFound => "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException",
            Exception::TableNotFound => "com.amazonaws.dynamodb.v20120810#TableNotFoundException",
            Exception::ResourceInUse => "com.amazonaws.dynamodb.v20120810#ResourceInUseException",
            Exception::LimitExceeded => "com.amazonaws.dynamodb.v20120810#LimitExceededException",
            Exception::ConditionalCheckFailed => "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
            Exception::TransactionCanceled => "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
            Exception::IdempotentParameterMismatch => {
                "com.amazonaws.dynamodb.v20120810#IdempotentParameterMismatchException"
            }
            Exception::Throttling => "com.amazon.coral.availability#ThrottlingException",
            Exception::RequestTooLarge => "com.amazon.coral.service#RequestEntityTooLargeException",
            Exception::RequestTimeout => "com.amazon.coral.service#RequestTimeoutException",
            Exception::InternalServerError => "com.amazonaws.dynamodb.v20120810#InternalServerError",
        }
    }

    pub(super) fn status(self) -> StatusCode {
        match self {
            Exception::Validation
            | Exception::Serialization
            | Exception::UnknownOperation
            | Exception::ResourceNotFound
            | Exception::TableNotFound
            | Exception::ResourceInUse
            | Exception::LimitExceeded
            | Exception::ConditionalCheckFailed
            | Exception::TransactionCanceled
            | Exception::IdempotentParameterMismatch
            | Exception::Throttling => StatusCode::BAD_REQUEST,
            Exception::RequestTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Exception::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Exception::InternalServerError => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The key under which the message stands in the body.
    fn message_key(self) -> &'static str {
        match self {
            Exception::Serialization | Exception::TransactionCanceled | Exception::IdempotentParameterMismatch => {
                "Message"
            }
            _ => "message",
        }
    }
}

impl Fault {
    pub(super) fn new(exception: Exception, message: impl Into<String>) -> Self {
        let mut message = message.into();
        // Messages quote what the client sent, which may be megabytes.
        if message.len() > MESSAGE_BYTES {
            message.truncate(message.floor_char_boundary(MESSAGE_BYTES));
            message.push('…');
        }
        Self { exception, message, item: None, reasons: Vec::new() }
    }

    /// The condition of a write was not true, perhaps with the item of which it was not.
    pub(super) fn condition_failed(item: Option<Item>) -> Self {
        Self { item, ..Self::new(Exception::ConditionalCheckFailed, "The conditional request failed") }
    }

    /// A transaction had no effect.
    pub(super) fn cancelled(reasons: Vec<Reason>) -> Self {
        let codes: Vec<&str> = reasons.iter().map(|reason| reason.code).collect();
        let message = format!(
            "Transaction cancelled, please refer cancellation reasons for specific reasons [{}]",
            codes.join(", ")
        );
        Self { reasons, ..Self::new(Exception::TransactionCanceled, message) }
    }

    pub(super) fn validation(message: impl Into<String>) -> Self {
        Self::new(Exception::Validation, message)
    }

    /// "One or more parameter values were invalid: …"
    pub(super) fn parameter(message: impl AsRef<str>) -> Self {
        Self::validation(format!("One or more parameter values were invalid: {}", message.as_ref()))
    }

    pub(super) fn serialization(message: impl Into<String>) -> Self {
        Self::new(Exception::Serialization, message)
    }

    /// Something that AWS has and this server does not have yet.
    pub(super) fn unsupported(what: impl AsRef<str>) -> Self {
        Self::validation(format!("{} is not supported yet", what.as_ref()))
    }

    pub(super) fn throttled(message: &str) -> Self {
        Self::new(Exception::Throttling, message)
    }

    /// What went wrong is for the log; the client learns only that it was not its fault.
    pub(super) fn internal(reason: &dyn std::fmt::Display) -> Self {
        tracing::error!(%reason, "a DynamoDB request failed inside the store");
        Self::new(Exception::InternalServerError, "The request failed inside the store.")
    }

    /// A fault that the leader answered, by the name of its exception.
    pub(super) fn from_leader(name: &str, message: String) -> Self {
        let exception = match name {
            "ValidationException" => Exception::Validation,
            "ResourceNotFoundException" => Exception::ResourceNotFound,
            "ResourceInUseException" => Exception::ResourceInUse,
            "LimitExceededException" => Exception::LimitExceeded,
            "IdempotentParameterMismatchException" => Exception::IdempotentParameterMismatch,
            "ThrottlingException" => Exception::Throttling,
            _ => return Self::internal(&format_args!("unknown exception {name}: {message}")),
        };
        Self::new(exception, message)
    }

    /// The body of the reply.
    pub(super) fn body(&self) -> String {
        let mut out = String::new();
        let mut object = JsonObjectWriter::new(&mut out);
        object.key("__type").string(self.exception.type_name());
        object.key(self.exception.message_key()).string(&self.message);
        if let Some(item) = &self.item {
            write_item(object.key("Item"), item);
        }
        if !self.reasons.is_empty() {
            let mut reasons = object.key("CancellationReasons").start_array();
            for reason in &self.reasons {
                let mut element = reasons.value().start_object();
                element.key("Code").string(reason.code);
                if let Some(message) = &reason.message {
                    element.key("Message").string(message);
                }
                if let Some(item) = &reason.item {
                    write_item(element.key("Item"), item);
                }
                element.finish();
            }
            reasons.finish();
        }
        object.finish();
        out
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        let internal = |message: &str| Fault::new(Exception::InternalServerError, message);
        match error {
            // Repeating helps in none of these …
            StoreError::CrossGroup => Fault::unsupported("A request whose keys lie in several groups"),
            StoreError::Rejected(reason) => Fault::validation(reason),
            // … and perhaps in these, though after an unknown outcome only the client knows whether it may.
            StoreError::Internal(reason) => Fault::internal(&reason),
            StoreError::DiskFull => internal("The store has no room left; nothing was changed."),
            StoreError::Overloaded => Fault::throttled("Too many requests are in flight; slow down and retry."),
            StoreError::Unavailable => internal("The store is not available at the moment; nothing was changed."),
            StoreError::OutcomeUnknown => {
                internal("The outcome of the request is not known: it may or may not have taken effect.")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_have_the_shape_that_sdks_split() {
        let fault = Fault::validation("a \"b\"");
        let expected = r#"{"__type":"com.amazon.coral.validate#ValidationException","message":"a \"b\""}"#;
        assert_eq!(fault.body(), expected);
        assert!(Fault::serialization("x").body().contains(r#""Message":"x""#));
    }

    #[test]
    fn store_errors_keep_their_retry_class() {
        let retryable = |error: StoreError| {
            let fault = Fault::from(error);
            fault.exception.status().is_server_error() || fault.exception == Exception::Throttling
        };
        assert!(!retryable(StoreError::CrossGroup));
        assert!(retryable(StoreError::Overloaded));
        assert!(retryable(StoreError::Unavailable));
        assert!(retryable(StoreError::OutcomeUnknown));
    }

    #[test]
    fn internal_reasons_do_not_reach_clients() {
        for fault in [Fault::from(StoreError::Internal("secret".into())), Fault::from_leader("Odd", "secret".into())] {
            assert_eq!(fault.exception, Exception::InternalServerError);
            assert!(!fault.message.contains("secret"));
        }
    }
}
