//! The typed detail of every gRPC error.
//!
//! A gRPC code alone does not tell a program whether to try again or what to do first. So each error of a public or
//! internal service is made from a [`Fault`]: its [`FaultCode`] decides the gRPC code, and the fault itself rides along
//! as an `ErrorDetail` in `grpc-status-details-bin`, packed like a `google.rpc.Status` so that every gRPC tool shows
//! it. [`Fault::of`] finds it again. An error without a detail did not come from a service of Elastickv: the transport,
//! a proxy or a cut connection made it.

use prost::Message as _;
use thiserror::Error;
use tonic::{Code, Status};

use crate::WireError;
use crate::wire;

const TYPE_URL: &str = "type.googleapis.com/elastickv.ErrorDetail";

/// What went wrong, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultCode {
    /// The request breaks the contract or a limit.
    InvalidArgument,
    /// What the request names does not exist.
    NotFound,
    /// The catalog has another version than expected: read it again.
    StaleCatalog,
    /// Ask the leading process.
    NotLeading,
    /// Somebody else changed what the request was computed from.
    Conflict,
    /// A bound of memory, connections or requests in flight.
    Overloaded,
    /// Nobody serves the request just now.
    Unavailable,
    /// May or may not have taken effect.
    OutcomeUnknown,
    /// Not in this release.
    Unsupported,
    /// The state of what the request names forbids it.
    FailedPrecondition,
    /// A defect or a broken disk.
    Internal,
}

impl FaultCode {
    /// The gRPC code that goes with it.
    pub fn grpc_code(self) -> Code {
        match self {
            FaultCode::InvalidArgument => Code::InvalidArgument,
            FaultCode::NotFound => Code::NotFound,
            FaultCode::StaleCatalog | FaultCode::Conflict => Code::Aborted,
            FaultCode::NotLeading | FaultCode::FailedPrecondition => Code::FailedPrecondition,
            FaultCode::Overloaded => Code::ResourceExhausted,
            FaultCode::Unavailable => Code::Unavailable,
            FaultCode::OutcomeUnknown => Code::Unknown,
            FaultCode::Unsupported => Code::Unimplemented,
            FaultCode::Internal => Code::Internal,
        }
    }

    /// Whether the same request may succeed later, unchanged.
    pub fn is_retryable(self) -> bool {
        match self {
            // Another process leads, or this one does soon.
            FaultCode::NotLeading => true,
            // Both pass by themselves.
            FaultCode::Overloaded | FaultCode::Unavailable => true,
            // The request stays as wrong as it is.
            FaultCode::InvalidArgument | FaultCode::Unsupported => false,
            // Somebody has to do something else first.
            FaultCode::NotFound | FaultCode::FailedPrecondition => false,
            // The request has to be computed anew from what is true now.
            FaultCode::StaleCatalog | FaultCode::Conflict => false,
            // A repetition might do it twice.
            FaultCode::OutcomeUnknown => false,
            // Nobody knows what would happen.
            FaultCode::Internal => false,
        }
    }
}

/// An error as a service answers it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{message}")]
pub struct Fault {
    /// What went wrong.
    pub code: FaultCode,
    /// Whether the same request may succeed later, unchanged; normally as the code says.
    pub retryable: bool,
    /// A sentence for people, without internal text.
    pub message: String,
}

impl Fault {
    /// A fault that is retryable as its code is.
    pub fn new(code: FaultCode, message: impl Into<String>) -> Self {
        Self { code, retryable: code.is_retryable(), message: message.into() }
    }

    /// The fault inside a gRPC error. `Ok(None)` if there is none: the error was not made by Elastickv.
    pub fn of(status: &Status) -> Result<Option<Fault>, WireError> {
        let Ok(packed) = wire::StatusDetails::decode(status.details()) else {
            return Ok(None);
        };
        let Some(detail) = packed.details.into_iter().find(|detail| detail.type_url == TYPE_URL) else {
            return Ok(None);
        };
        let missing = WireError::Missing { message: "PackedDetail", field: "value" };
        wire::ErrorDetail::decode(detail.value).map_err(|_| missing)?.try_into().map(Some)
    }
}

impl From<Fault> for Status {
    fn from(fault: Fault) -> Self {
        let code = fault.code.grpc_code();
        let message = fault.message.clone();
        let value = wire::ErrorDetail::from(fault).encode_to_vec().into();
        let detail = wire::PackedDetail { type_url: TYPE_URL.to_owned(), value };
        let packed = wire::StatusDetails { code: code.into(), message: message.clone(), details: vec![detail] };
        Status::with_details(code, message, packed.encode_to_vec().into())
    }
}

impl From<WireError> for Fault {
    fn from(error: WireError) -> Self {
        Fault::new(FaultCode::InvalidArgument, error.to_string())
    }
}

impl From<WireError> for Status {
    fn from(error: WireError) -> Self {
        Fault::from(error).into()
    }
}

impl From<Fault> for wire::ErrorDetail {
    fn from(fault: Fault) -> Self {
        let code = match fault.code {
            FaultCode::InvalidArgument => wire::ErrorCode::InvalidArgument,
            FaultCode::NotFound => wire::ErrorCode::NotFound,
            FaultCode::StaleCatalog => wire::ErrorCode::StaleCatalog,
            FaultCode::NotLeading => wire::ErrorCode::NotLeading,
            FaultCode::Conflict => wire::ErrorCode::Conflict,
            FaultCode::Overloaded => wire::ErrorCode::Overloaded,
            FaultCode::Unavailable => wire::ErrorCode::Unavailable,
            FaultCode::OutcomeUnknown => wire::ErrorCode::OutcomeUnknown,
            FaultCode::Unsupported => wire::ErrorCode::Unsupported,
            FaultCode::FailedPrecondition => wire::ErrorCode::FailedPrecondition,
            FaultCode::Internal => wire::ErrorCode::Internal,
        };
        wire::ErrorDetail { code: code.into(), retryable: fault.retryable, message: fault.message }
    }
}

impl TryFrom<wire::ErrorDetail> for Fault {
    type Error = WireError;

    fn try_from(detail: wire::ErrorDetail) -> Result<Self, WireError> {
        const MESSAGE: &str = "ErrorDetail";
        let unknown = WireError::UnknownEnum { message: MESSAGE, field: "code", found: detail.code };
        let code = match wire::ErrorCode::try_from(detail.code).map_err(|_| unknown)? {
            wire::ErrorCode::Unspecified => return Err(WireError::Missing { message: MESSAGE, field: "code" }),
            wire::ErrorCode::InvalidArgument => FaultCode::InvalidArgument,
            wire::ErrorCode::NotFound => FaultCode::NotFound,
            wire::ErrorCode::StaleCatalog => FaultCode::StaleCatalog,
            wire::ErrorCode::NotLeading => FaultCode::NotLeading,
            wire::ErrorCode::Conflict => FaultCode::Conflict,
            wire::ErrorCode::Overloaded => FaultCode::Overloaded,
            wire::ErrorCode::Unavailable => FaultCode::Unavailable,
            wire::ErrorCode::OutcomeUnknown => FaultCode::OutcomeUnknown,
            wire::ErrorCode::Unsupported => FaultCode::Unsupported,
            wire::ErrorCode::FailedPrecondition => FaultCode::FailedPrecondition,
            wire::ErrorCode::Internal => FaultCode::Internal,
        };
        Ok(Fault { code, retryable: detail.retryable, message: detail.message })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CODES: [FaultCode; 11] = [
        FaultCode::InvalidArgument,
        FaultCode::NotFound,
        FaultCode::StaleCatalog,
        FaultCode::NotLeading,
        FaultCode::Conflict,
        FaultCode::Overloaded,
        FaultCode::Unavailable,
        FaultCode::OutcomeUnknown,
        FaultCode::Unsupported,
        FaultCode::FailedPrecondition,
        FaultCode::Internal,
    ];

    #[test]
    fn a_fault_survives_its_status() {
        for code in CODES {
            let fault = Fault::new(code, "no such route: 7");
            let status = Status::from(fault.clone());
            assert_eq!((status.code(), status.message()), (code.grpc_code(), "no such route: 7"));
            assert_eq!(Fault::of(&status), Ok(Some(fault)));
        }
    }

    #[test]
    fn errors_of_others_hold_no_fault() {
        assert_eq!(Fault::of(&Status::unavailable("connection reset")), Ok(None));
        let junk = |details: &'static [u8]| Status::with_details(Code::Unknown, "", details.into());
        assert_eq!(Fault::of(&junk(b"\xFF\xFF\xFF")), Ok(None));
        let foreign = wire::PackedDetail { type_url: "type.googleapis.com/google.rpc.Help".into(), value: "x".into() };
        let packed = wire::StatusDetails { details: vec![foreign], ..Default::default() }.encode_to_vec();
        assert_eq!(Fault::of(&Status::with_details(Code::Unknown, "", packed.into())), Ok(None));
    }

    #[test]
    fn a_damaged_detail_is_an_error() {
        let status = |detail: Vec<u8>| {
            let detail = wire::PackedDetail { type_url: TYPE_URL.to_owned(), value: detail.into() };
            let packed = wire::StatusDetails { details: vec![detail], ..Default::default() }.encode_to_vec();
            Status::with_details(Code::Unknown, "", packed.into())
        };
        assert!(matches!(Fault::of(&status(vec![])), Err(WireError::Missing { field: "code", .. })));
        let unknown = wire::ErrorDetail { code: 99, ..Default::default() }.encode_to_vec();
        assert!(matches!(Fault::of(&status(unknown)), Err(WireError::UnknownEnum { found: 99, .. })));
        assert!(matches!(Fault::of(&status(vec![0xFF; 4])), Err(WireError::Missing { field: "value", .. })));
    }

    #[test]
    fn junk_on_the_wire_is_the_callers_fault() {
        let status = Status::from(WireError::Missing { message: "Request", field: "kind" });
        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "Request without kind"));
    }

    proptest! {
        #[test]
        fn junk_details_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Fault::of(&Status::with_details(Code::Internal, "", bytes.into()));
        }
    }
}
