//! A watcher's place: what the hub and the watcher share about it. Kept small, since most watchers are idle.
//!
//! Hot path: `offer` runs for every event and watcher. No allocation beyond the queue's, no logging.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Waker;

use parking_lot::Mutex;

use crate::{Event, Prefix, Revision};

#[derive(Debug)]
pub(crate) struct Slot {
    pub(super) prefix: Prefix,
    /// The watcher wants nothing at or below this.
    after: Revision,
    /// Where the hub keeps the slot among those of the same prefix.
    position: AtomicU32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Arc<Event>>,
    bytes: usize,
    /// Set: everything behind this revision that is not in the queue has yet to be read, and the hub queues nothing.
    behind: Option<Revision>,
    waker: Option<Waker>,
    closed: bool,
}

/// What a watcher has to do next.
#[derive(Debug)]
pub(super) enum Step {
    Deliver(Arc<Event>),
    CatchUp(Revision),
    Closed,
    Wait,
}

impl Slot {
    /// A slot for events behind `after`; `behind` if some of them are published already.
    pub(super) fn new(prefix: Prefix, after: Revision, behind: bool) -> Slot {
        let state = State {
            behind: behind.then_some(after),
            ..State::default()
        };
        Slot {
            prefix,
            after,
            position: AtomicU32::new(0),
            state: Mutex::new(state),
        }
    }

    /// Only the hub, under its lock.
    pub(super) fn position(&self) -> usize {
        self.position.load(Ordering::Relaxed) as usize
    }

    /// Only the hub, under its lock.
    pub(super) fn set_position(&self, position: usize) {
        self.position.store(position as u32, Ordering::Relaxed);
    }

    /// Queues an event, or notes that the watcher has to read it itself. Whom to wake, and whether it overflowed.
    pub(super) fn offer(
        &self,
        event: &Arc<Event>,
        max_events: usize,
        max_bytes: usize,
    ) -> (Option<Waker>, bool) {
        let mut state = self.state.lock();
        if event.revision <= self.after || state.behind.is_some() {
            return (None, false);
        }
        let weight = event.weight();
        if state.queue.len() < max_events
            && (state.queue.is_empty() || state.bytes + weight <= max_bytes)
        {
            state.bytes += weight;
            state.queue.push_back(Arc::clone(event));
            return (state.waker.take(), false);
        }
        // Revisions are read whole, so what is queued of this one is given up.
        while state
            .queue
            .back()
            .is_some_and(|queued| queued.revision == event.revision)
        {
            state.queue.pop_back();
        }
        state.behind = Some(event.revision.previous());
        (state.waker.take(), true)
    }

    pub(super) fn close(&self) -> Option<Waker> {
        let mut state = self.state.lock();
        state.closed = true;
        state.waker.take()
    }

    pub(super) fn step(&self) -> Step {
        let mut state = self.state.lock();
        if let Some(event) = state.queue.pop_front() {
            state.bytes = state.bytes.saturating_sub(event.weight());
            if state.queue.is_empty() {
                state.queue = VecDeque::new();
                state.bytes = 0;
            }
            return Step::Deliver(event);
        }
        if state.closed {
            return Step::Closed;
        }
        state.behind.map_or(Step::Wait, Step::CatchUp)
    }

    pub(super) fn wake_with(&self, waker: &Waker) {
        let mut state = self.state.lock();
        if !state
            .waker
            .as_ref()
            .is_some_and(|known| known.will_wake(waker))
        {
            state.waker = Some(waker.clone());
        }
    }

    /// Only with an empty queue: the watcher has read up to here, and not yet all.
    pub(super) fn caught_up_to(&self, revision: Revision) {
        self.state.lock().behind = Some(revision);
    }

    /// Only with an empty queue, and only under the hub's lock: the watcher has everything that is published.
    pub(super) fn caught_up(&self) {
        self.state.lock().behind = None;
    }

    pub(super) fn progress(&self, published: impl Fn() -> Revision) -> Revision {
        // Before looking at the queue: what is published later than this may be in nobody's queue yet.
        let published = published();
        let state = self.state.lock();
        match (state.queue.front(), state.behind) {
            (Some(event), _) => event.revision.previous(),
            (None, Some(behind)) => behind,
            (None, None) => published.max(self.after),
        }
    }
}
