//! Keys as people write them.
