//! Which placement process decides.
//!
//! With the embedded catalog there is one process, and it always leads ([`OnlyPlacement`]). Several processes over
//! etcd will elect one by a lease; each then answers NOT_LEADING while it does not hold it. Whatever is written under
//! a lost lease is refused by the catalog's comparisons, so leadership here is about not trying, never about safety.

/// Says whether this process may answer and act.
pub trait Leadership: Send + Sync + 'static {
    /// Name of this placement among its peers.
    fn placement_id(&self) -> &str;

    /// Whether this process leads now.
    fn is_leading(&self) -> bool;
}

/// The only placement of its cluster.
#[derive(Clone, Copy, Debug, Default)]
pub struct OnlyPlacement;

impl Leadership for OnlyPlacement {
    fn placement_id(&self) -> &str {
        "placement"
    }

    fn is_leading(&self) -> bool {
        true
    }
}
