//! Placement.
pub mod catalog;
pub mod leadership;
pub mod oracle;
pub mod plan;
