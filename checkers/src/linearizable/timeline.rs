//! Calls and returns in order of time, from which operations are lifted out and put back.
//!
//! A doubly linked list in arrays. A lifted event keeps its own links, so that the newest lift can be undone without a
//! search (Knuth's "dancing links", 2000).

/// No event: the end of the list.
const NONE: usize = usize::MAX;

/// The list. Events are numbered in order of time; the number one past the last is the head before all.
pub(super) struct Timeline {
    /// Per event: the operation, and whether it is its return.
    event: Vec<(usize, bool)>,
    next: Vec<usize>,
    previous: Vec<usize>,
    /// Per operation: its two events.
    call: Vec<usize>,
    back: Vec<usize>,
}

impl Timeline {
    /// From the first and the last instant of each operation.
    pub(super) fn of(spans: &[(u64, u64)]) -> Self {
        let calls = spans.iter().enumerate().map(|(operation, span)| (span.0, false, operation));
        let backs = spans.iter().enumerate().map(|(operation, span)| (span.1, true, operation));
        let mut events: Vec<(u64, bool, usize)> = calls.chain(backs).collect();
        // At one instant calls come before returns: such operations overlap.
        events.sort_unstable();
        let count = events.len();
        let mut timeline = Self {
            event: events.iter().map(|(_, is_return, operation)| (*operation, *is_return)).collect(),
            next: (1..=count).map(|event| if event < count { event } else { NONE }).collect(),
            previous: (0..=count).map(|event| if event == 0 { count } else { event - 1 }).collect(),
            call: vec![NONE; spans.len()],
            back: vec![NONE; spans.len()],
        };
        timeline.next.push(if count == 0 { NONE } else { 0 });
        for (event, (_, is_return, operation)) in events.into_iter().enumerate() {
            let events = if is_return { &mut timeline.back } else { &mut timeline.call };
            events[operation] = event;
        }
        timeline
    }

    /// The place before all events.
    pub(super) fn head(&self) -> usize {
        self.event.len()
    }

    /// The next event that is not lifted.
    pub(super) fn after(&self, event: usize) -> Option<usize> {
        Some(self.next[event]).filter(|next| *next != NONE)
    }

    /// The event before this one that is not lifted, or the head.
    pub(super) fn before(&self, event: usize) -> usize {
        self.previous[event]
    }

    /// The operation of an event.
    pub(super) fn operation(&self, event: usize) -> usize {
        self.event[event].0
    }

    /// Whether the event is a return.
    pub(super) fn is_return(&self, event: usize) -> bool {
        self.event[event].1
    }

    /// Takes both events of an operation out.
    pub(super) fn lift(&mut self, operation: usize) {
        self.unlink(self.call[operation]);
        self.unlink(self.back[operation]);
    }

    /// Undoes the newest [`Timeline::lift`] that is not undone yet: the neighbours are as they were then.
    pub(super) fn restore(&mut self, operation: usize) {
        self.relink(self.back[operation]);
        self.relink(self.call[operation]);
    }

    fn unlink(&mut self, event: usize) {
        let (previous, next) = (self.previous[event], self.next[event]);
        self.next[previous] = next;
        if next != NONE {
            self.previous[next] = previous;
        }
    }

    fn relink(&mut self, event: usize) {
        let (previous, next) = (self.previous[event], self.next[event]);
        self.next[previous] = event;
        if next != NONE {
            self.previous[next] = event;
        }
    }
}
