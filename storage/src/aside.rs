//! Work that takes too long for a thread that serves others.
//!
//! It goes to the runtime's blocking threads. A runtime with a single thread has nobody to protect beside the caller: there
//! the work is done in place, so that in a simulation nothing happens at the same time as anything else.

use std::io;

use tokio::runtime::{Handle, RuntimeFlavor};

/// Does the work aside and waits for it. Dropped, it lets the work go on to its end.
///
/// # Errors
/// If the work panicked or the runtime is going away.
pub(crate) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::CurrentThread => Ok(work()),
        _ => tokio::task::spawn_blocking(work).await.map_err(io::Error::other),
    }
}

/// Does the work aside, or here where there is no runtime, and waits for nothing.
pub(crate) fn leave_aside(work: impl FnOnce() + Send + 'static) {
    match Handle::try_current() {
        Ok(runtime) if runtime.runtime_flavor() != RuntimeFlavor::CurrentThread => drop(runtime.spawn_blocking(work)),
        _ => work(),
    }
}
