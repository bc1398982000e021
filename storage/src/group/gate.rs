//! The one release gate: no result of an evaluation leaves the executor by another way.
//!
//! A result may be seen by a client only when (a) the newest batch in flight at its evaluation has been taken by the
//! chain, so that nothing it was built on can vanish, and (b) the leader has proven its office at or after the
//! evaluation, so that no newer leader has answered otherwise. [`Sealed`] holds a result without giving it out;
//! [`Release`] is the proof, which only an applied batch or a read check begun later can make; [`Sealed::open`]
//! compares the two.

use super::chain::Link;

/// Counts evaluations and read checks of one executor, to tell which came first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl Moment {
    /// The next moment, strictly later than all before.
    pub fn advance(&mut self) -> Moment {
        self.0 += 1;
        *self
    }
}

/// A result that must not leave yet.
#[derive(Debug)]
pub struct Sealed<T> {
    value: T,
    /// The newest batch in flight (or being built) when it was evaluated, which it may depend on.
    built_on: Link,
    evaluated: Moment,
}

impl<T> Sealed<T> {
    /// Seals what was evaluated at `evaluated` over everything up to and including batch `built_on`.
    pub fn new(value: T, built_on: Link, evaluated: Moment) -> Self {
        Self { value, built_on, evaluated }
    }

    /// Gives the result out.
    ///
    /// # Panics
    /// If the proof does not cover this result: the executor would have shown a state that may not exist.
    pub fn open(self, release: &Release) -> T {
        assert!(
            release.taken >= self.built_on && release.led_at >= self.evaluated,
            "release gate: result over batch {} at {:?} shown with proof of batch {} at {:?}",
            self.built_on,
            self.evaluated,
            release.taken,
            release.led_at,
        );
        self.value
    }

    /// Drops the result: what it was built on never took effect, or may not have.
    pub fn discard(self) {}

    /// The batch that must be taken before it may be opened.
    pub fn built_on(&self) -> Link {
        self.built_on
    }
}

/// Proof that results up to a point may leave.
#[derive(Clone, Copy, Debug)]
pub struct Release {
    taken: Link,
    led_at: Moment,
}

impl Release {
    /// Batch `taken`, proposed at `proposed`, was applied and taken by the chain: that proves the office for a moment
    /// behind its proposal, and that everything up to it holds.
    pub fn by_batch(taken: Link, proposed: Moment) -> Self {
        Self { taken, led_at: proposed }
    }

    /// A read check begun at `begun` succeeded, while batch `taken` was the last one taken.
    pub fn by_read_check(taken: Link, begun: Moment) -> Self {
        Self { taken, led_at: begun }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BATCH: Link = Link { term: 1, run: 1, n: 7 };

    #[test]
    fn opens_when_its_batch_is_taken() {
        let mut now = Moment::default();
        let sealed = Sealed::new("reply", BATCH, now.advance());
        assert_eq!(sealed.open(&Release::by_batch(BATCH, now.advance())), "reply");
    }

    #[test]
    #[should_panic(expected = "release gate")]
    fn stays_shut_before_its_batch_is_taken() {
        let mut now = Moment::default();
        let sealed = Sealed::new("reply", BATCH, now.advance());
        sealed.open(&Release::by_batch(Link { n: 6, ..BATCH }, now.advance()));
    }

    #[test]
    #[should_panic(expected = "release gate")]
    fn a_read_check_begun_before_the_evaluation_proves_nothing() {
        let mut now = Moment::default();
        let begun = now.advance();
        let sealed = Sealed::new("reply", BATCH, now.advance());
        sealed.open(&Release::by_read_check(BATCH, begun));
    }
}
