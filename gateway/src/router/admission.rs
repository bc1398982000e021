//! Bounds on what the gateway has under way: requests and their bytes. Beyond them a request is refused at once.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts what is under way against its bounds.
///
/// Invariant: everything admitted is released exactly once.
#[derive(Debug)]
pub(super) struct Admission {
    max_requests: usize,
    max_bytes: usize,
    requests: AtomicUsize,
    bytes: AtomicUsize,
}

impl Admission {
    pub(super) fn new(max_requests: usize, max_bytes: usize) -> Self {
        Self { max_requests, max_bytes, requests: AtomicUsize::new(0), bytes: AtomicUsize::new(0) }
    }

    /// Takes all of it or nothing. One request larger than the bound of bytes passes when it is alone.
    pub(super) fn admit(&self, requests: usize, bytes: usize) -> bool {
        let other_requests = self.requests.fetch_add(requests, Ordering::Relaxed);
        let other_bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = other_requests + requests <= self.max_requests
            && (other_bytes + bytes <= self.max_bytes || other_requests == 0);
        if !fits {
            self.release(requests, bytes);
        }
        fits
    }

    /// Takes it beyond the bounds: what ends something else that is under way.
    pub(super) fn force(&self, requests: usize, bytes: usize) {
        self.requests.fetch_add(requests, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn release(&self, requests: usize, bytes: usize) {
        self.requests.fetch_sub(requests, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Requests under way.
    pub(super) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_a_bound_nothing_is_taken() {
        let admission = Admission::new(10, 1000);
        assert!(admission.admit(6, 600));
        assert!(!admission.admit(5, 1), "requests");
        assert!(!admission.admit(1, 500), "bytes");
        assert!(admission.admit(4, 400));
        admission.release(10, 1000);
        assert!(admission.admit(1, 5000), "a large request that is alone passes");
        assert_eq!(admission.requests(), 1);
        admission.force(20, 1);
        assert_eq!(admission.requests(), 21);
    }
}
