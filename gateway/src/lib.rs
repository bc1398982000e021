//! The gateway: the stateless front tier.

pub mod router;
