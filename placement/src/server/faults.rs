//! Every error of the placement, as callers see it.

use proto::{Fault, FaultCode};

use crate::catalog::CatalogError;
use crate::oracle::OracleError;
use crate::plan::members::MembersRefusal;
use crate::plan::split::SplitRefusal;
use crate::reconcile::heartbeat::HeartbeatError;
use crate::reconcile::members::MembersError;
use crate::reconcile::register::RegisterError;
use crate::reconcile::split::SplitError;

/// The catalog failed: nothing of the request itself is wrong.
pub fn of_catalog(error: &CatalogError) -> Fault {
    let code = match error {
        CatalogError::Conflict { .. } | CatalogError::Compacted { .. } => FaultCode::Unavailable,
        CatalogError::Unavailable { .. } | CatalogError::InUse { .. } => FaultCode::Unavailable,
        CatalogError::UnknownFormat { .. } | CatalogError::Damaged { .. } => FaultCode::Internal,
    };
    Fault::new(code, error.to_string())
}

/// No timestamp.
pub fn of_oracle(error: &OracleError) -> Fault {
    match error {
        OracleError::Catalog(error) => of_catalog(error),
        OracleError::Implausible { .. } => Fault::new(FaultCode::InvalidArgument, error.to_string()),
    }
}

/// A range was not split. The codes are part of the public API.
pub fn of_split(error: &SplitError) -> Fault {
    let code = match error {
        SplitError::Refused(SplitRefusal::StaleVersion { .. }) => FaultCode::StaleCatalog,
        SplitError::Refused(SplitRefusal::UnknownRoute(_)) => FaultCode::NotFound,
        SplitError::Refused(SplitRefusal::OutsideRange(_) | SplitRefusal::InsideUnit) => FaultCode::InvalidArgument,
        SplitError::Refused(SplitRefusal::NotActive { .. }) => FaultCode::FailedPrecondition,
        SplitError::Busy { .. } => FaultCode::Conflict,
        SplitError::StillRunning { .. } => FaultCode::OutcomeUnknown,
        SplitError::Group(fault) => return fault.clone(),
        SplitError::Catalog(error) => return of_catalog(error),
    };
    Fault::new(code, error.to_string())
}

/// The members of a group were not changed.
pub fn of_members(error: &MembersError) -> Fault {
    let code = match error {
        MembersError::UnknownGroup(_) => FaultCode::NotFound,
        MembersError::Refused { refusal: MembersRefusal::UnknownNode(_), .. } => FaultCode::NotFound,
        MembersError::Refused { refusal: MembersRefusal::NothingToDo, .. } => FaultCode::InvalidArgument,
        MembersError::Refused { .. } => FaultCode::FailedPrecondition,
        MembersError::Busy { .. } => FaultCode::Conflict,
        MembersError::StillRunning { .. } => FaultCode::OutcomeUnknown,
        MembersError::Group(fault) => return fault.clone(),
        MembersError::Catalog(error) => return of_catalog(error),
    };
    Fault::new(code, error.to_string())
}

/// A node was not let in.
pub fn of_register(error: &RegisterError) -> Fault {
    let code = match error {
        RegisterError::NoDisk | RegisterError::BadAddress { .. } => FaultCode::InvalidArgument,
        RegisterError::UnknownNode { .. } | RegisterError::OtherDisk { .. } => FaultCode::FailedPrecondition,
        RegisterError::Catalog(error) => return of_catalog(error),
    };
    Fault::new(code, error.to_string())
}

/// A heartbeat was not taken in.
pub fn of_heartbeat(error: &HeartbeatError) -> Fault {
    match error {
        HeartbeatError::UnknownNode(_) => Fault::new(FaultCode::NotFound, error.to_string()),
        HeartbeatError::Address(error) => of_register(error),
        HeartbeatError::Oracle(error) => of_oracle(error),
        HeartbeatError::Catalog(error) => of_catalog(error),
    }
}
