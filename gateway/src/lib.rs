//! The gateway: the stateless front tier.

pub mod redis;
pub mod dynamodb;
pub mod router;
