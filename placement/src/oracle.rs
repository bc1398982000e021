//! The timestamp oracle: strictly increasing numbers, over restarts too (I12).
//!
//! A timestamp is milliseconds since 1970 shifted left by 20 bits, plus a counter; always even, so that `t + 1` is free to
//! mean "just after t" for whoever reads at `t + 1` what was written at `t`. The clock only keeps timestamps near real
//! time. That they increase rests on one atomic number; that they do so over a crash rests on the *window*: a limit in
//! the catalog below which all given timestamps lie, raised before it is reached. A restarted oracle begins at the
//! limit and so gives out nothing twice, whatever its clock says.
//!
//! A timestamp costs one compare-and-swap. The catalog is written once a window ([`WINDOW_MS`]), by a background task
//! when half of it is used, or by the caller who arrives at its end.
//!
//! Storage nodes report the largest timestamp that they have seen. The oracle never gives out one at or below it: should
//! the catalog be set back (restored from an older copy), time still goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use thiserror::Error;
use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;

use crate::catalog::{self, Catalog, CatalogError, Record, Transaction};

/// Bits of a timestamp below its milliseconds.
pub const COUNTER_BITS: u32 = 20;
/// How far ahead of the clock the limit is set.
pub const WINDOW_MS: u64 = 10_000;
/// Distance of two timestamps: odd numbers are never given out.
const STEP: u64 = 2;
/// No clock and no report moves the oracle to here (the year 2248); what claims to be beyond is broken.
const IMPLAUSIBLE: u64 = 1 << 63;

/// Milliseconds since 1970; handed in, so that tests turn it.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The clock of this machine.
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

/// Why there is no timestamp.
#[derive(Clone, Debug, Error)]
pub enum OracleError {
    /// The window is used up and the catalog cannot be written.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// Somebody claims to have seen a timestamp that no oracle gives out.
    #[error("timestamp {seen} lies centuries ahead; no oracle has given it out")]
    Implausible {
        /// The claim.
        seen: u64,
    },
}

/// Gives out timestamps.
///
/// Invariants: `last` only grows and is even; every timestamp given out was `last` once, and lies below `limit`, which
/// is durable in the catalog (or will be raised there before use: `limit` here is never above the one there).
pub struct Oracle {
    catalog: Arc<dyn Catalog>,
    clock: Clock,
    last: AtomicU64,
    limit: AtomicU64,
    /// Held while the catalog's limit is raised.
    raising: Mutex<()>,
    half_used: Notify,
}

impl Oracle {
    /// Continues above everything that an oracle on this catalog has given out.
    pub async fn open(catalog: Arc<dyn Catalog>, clock: Clock) -> Result<Self, CatalogError> {
        let limit = catalog.snapshot().await?.oracle_limit();
        Ok(Self {
            catalog,
            clock,
            // Below the limit everything may have been given out; the first timestamp is above it.
            last: AtomicU64::new(limit),
            limit: AtomicU64::new(limit),
            raising: Mutex::new(()),
            half_used: Notify::new(),
        })
    }

    /// A timestamp larger than every one given out before this call.
    pub async fn next(&self) -> Result<u64, OracleError> {
        loop {
            match self.take() {
                Ok(timestamp) => return Ok(timestamp),
                Err(used_up) => self.raise_limit(used_up).await?,
            }
        }
    }

    /// Makes every later timestamp larger than one that a storage node has seen.
    pub fn observe(&self, seen: u64) -> Result<(), OracleError> {
        if seen >= IMPLAUSIBLE {
            return Err(OracleError::Implausible { seen });
        }
        let before = self.last.fetch_max(seen & !1, Ordering::SeqCst);
        if seen > self.limit.load(Ordering::SeqCst) + 1 && seen > before + 1 {
            tracing::warn!(seen, "a storage node has seen a timestamp that this catalog has never allowed");
        }
        Ok(())
    }

    /// The last timestamp given out, 0 if none.
    pub fn last(&self) -> u64 {
        self.last.load(Ordering::SeqCst)
    }

    /// How long the window still lasts by the clock, in milliseconds.
    pub fn window_left_ms(&self) -> u64 {
        (self.limit.load(Ordering::SeqCst) >> COUNTER_BITS).saturating_sub((self.clock)())
    }

    /// Raises the limit ahead of need, until `stop`. Without it everything works, with a pause at each window's end.
    pub async fn keep_ahead(&self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.half_used.notified() => {}
            }
            if let Err(error) = self.raise_limit(self.limit.load(Ordering::SeqCst)).await {
                // The caller who finds the window used up gets the error; here it is only early.
                tracing::warn!(%error, "the oracle's window cannot be raised ahead");
            }
        }
    }

    /// The clock, held below what would leave no timestamps to give out.
    fn plausible_now_ms(&self) -> u64 {
        (self.clock)().min((IMPLAUSIBLE >> COUNTER_BITS) - 1)
    }

    /// The next timestamp, or the limit that stands in its way.
    fn take(&self) -> Result<u64, u64> {
        let limit = self.limit.load(Ordering::SeqCst);
        let floor = self.plausible_now_ms() << COUNTER_BITS;
        let next = |last: u64| (last + STEP).max(floor);
        let mut last = self.last.load(Ordering::SeqCst);
        loop {
            let timestamp = next(last);
            if timestamp >= limit {
                return Err(limit);
            }
            match self.last.compare_exchange_weak(last, timestamp, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => {
                    if limit - timestamp < (WINDOW_MS << COUNTER_BITS) / 2 {
                        self.half_used.notify_one();
                    }
                    return Ok(timestamp);
                }
                Err(newer) => last = newer,
            }
        }
    }

    /// Raises the limit above `seen`, unless somebody else has done so meanwhile.
    async fn raise_limit(&self, seen: u64) -> Result<(), OracleError> {
        let _alone = self.raising.lock().await;
        if self.limit.load(Ordering::SeqCst) > seen {
            return Ok(());
        }
        let from = (self.last() >> COUNTER_BITS).max(self.plausible_now_ms());
        let wanted = (from + 1 + WINDOW_MS) << COUNTER_BITS;
        let raised = catalog::update(&*self.catalog, |snapshot| {
            let limit = wanted.max(snapshot.oracle_limit());
            Ok::<_, CatalogError>((Transaction::over(snapshot).put(Record::OracleLimit(limit)), limit))
        });
        let limit = raised.await?;
        self.limit.fetch_max(limit, Ordering::SeqCst);
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::catalog::memory::MemoryCatalog;

    struct Turned {
        now_ms: Arc<AtomicU64>,
        clock: Clock,
    }

    fn turned(now_ms: u64) -> Turned {
        let now_ms = Arc::new(AtomicU64::new(now_ms));
        let read = now_ms.clone();
        Turned { now_ms, clock: Arc::new(move || read.load(Ordering::SeqCst)) }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Take(u8),
        SetClock(u64),
        Restart,
        Observe(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (1u8..20).prop_map(Step::Take),
            2 => prop_oneof![0u64..20_000, Just(u64::MAX)].prop_map(Step::SetClock),
            1 => Just(Step::Restart),
            1 => (0u64..(20_000 << COUNTER_BITS)).prop_map(Step::Observe),
        ];
        prop::collection::vec(step, 1..60)
    }

    proptest! {
        /// I12: whatever the clock does, over restarts and reports.
        #[test]
        fn timestamps_strictly_increase_and_are_even(steps in steps()) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async move {
                let catalog: Arc<dyn Catalog> = Arc::new(MemoryCatalog::new());
                let turned = turned(1_000);
                let mut oracle = Oracle::open(catalog.clone(), turned.clock.clone()).await.unwrap();
                let (mut largest, mut observed) = (0, 0);
                for step in steps {
                    match step {
                        Step::Take(count) => {
                            for _ in 0..count {
                                let next = oracle.next().await.unwrap();
                                assert!(next > largest && next > observed, "{next} after {largest}, {observed}");
                                assert_eq!(next % 2, 0);
                                assert!(next < catalog.snapshot().await.unwrap().oracle_limit());
                                largest = next;
                            }
                        }
                        Step::SetClock(now_ms) => turned.now_ms.store(now_ms, Ordering::SeqCst),
                        Step::Restart => {
                            oracle = Oracle::open(catalog.clone(), turned.clock.clone()).await.unwrap();
                            // Nothing durable holds a report: the nodes repeat theirs.
                            observed = 0;
                        }
                        Step::Observe(seen) => {
                            oracle.observe(seen).unwrap();
                            observed = observed.max(seen);
                        }
                    }
                }
            });
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn concurrent_callers_never_share_a_timestamp() {
        let catalog = Arc::new(MemoryCatalog::new());
        let oracle = Arc::new(Oracle::open(catalog, system_clock()).await.unwrap());
        let callers: Vec<_> = (0..8)
            .map(|_| {
                let oracle = oracle.clone();
                tokio::spawn(async move {
                    let mut taken = Vec::new();
                    for _ in 0..2_000 {
                        taken.push(oracle.next().await.unwrap());
                    }
                    assert!(taken.is_sorted_by(|a, b| a < b));
                    taken
                })
            })
            .collect();
        let mut all = Vec::new();
        for caller in callers {
            all.extend(caller.await.unwrap());
        }
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 16_000);
    }

    #[tokio::test]
    async fn timestamps_follow_the_clock_and_the_window_is_raised_ahead() {
        let catalog: Arc<dyn Catalog> = Arc::new(MemoryCatalog::new());
        let turned = turned(10_000);
        let oracle = Arc::new(Oracle::open(catalog.clone(), turned.clock.clone()).await.unwrap());
        assert_eq!(oracle.next().await.unwrap(), 10_000 << COUNTER_BITS);
        assert_eq!(oracle.next().await.unwrap(), (10_000 << COUNTER_BITS) + STEP);
        let stop = CancellationToken::new();
        let ahead = tokio::spawn({
            let (oracle, stop) = (oracle.clone(), stop.clone());
            async move { oracle.keep_ahead(stop).await }
        });
        let first_limit = catalog.snapshot().await.unwrap().oracle_limit();
        let mut commits = catalog.watch(catalog.snapshot().await.unwrap().revision()).await.unwrap();
        turned.now_ms.store(10_000 + WINDOW_MS * 2 / 3, Ordering::SeqCst);
        assert!(oracle.next().await.unwrap() < first_limit);
        futures::StreamExt::next(&mut commits).await.unwrap().unwrap();
        assert!(catalog.snapshot().await.unwrap().oracle_limit() > first_limit);
        stop.cancel();
        ahead.await.unwrap();
    }

    #[tokio::test]
    async fn an_impossible_report_is_refused() {
        let oracle = Oracle::open(Arc::new(MemoryCatalog::new()), system_clock()).await.unwrap();
        assert!(matches!(oracle.observe(u64::MAX), Err(OracleError::Implausible { .. })));
        assert!(oracle.next().await.unwrap() < IMPLAUSIBLE);
    }
}
