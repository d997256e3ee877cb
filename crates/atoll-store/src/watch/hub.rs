//! The hub: which watcher wants which event.
//!
//! Hot path: `publish` runs for every commit. Its cost is one lookup per component depth that anybody watches, and one
//! queue push per interested watcher; watchers of other prefixes cost nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::slot::Slot;
use super::window::Window;
use super::{Chunk, Past, Watch};
use crate::{Event, Prefix, ReadError, Revision};

/// Readers of the past at one time: each holds a piece of the log in memory.
const PAST_READERS: usize = 4;

/// Budgets of a hub.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) window_bytes: usize,
    pub(crate) queue_events: usize,
    pub(crate) queue_bytes: usize,
}

pub(crate) struct Hub {
    state: Mutex<State>,
    published: AtomicU64,
    overflows: AtomicU64,
    past: Arc<dyn Past>,
    past_readers: Arc<Semaphore>,
    limits: Limits,
}

#[derive(Debug)]
struct State {
    window: Window,
    /// The watchers by the bytes of their prefix.
    watchers: HashMap<Bytes, SmallVec<[Arc<Slot>; 1]>>,
    /// How many watchers have a prefix of so many components.
    depths: Vec<usize>,
    closed: bool,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub")
            .field("published", &self.published)
            .finish_non_exhaustive()
    }
}

impl Hub {
    /// A hub for what follows `head`.
    pub(crate) fn new(head: Revision, past: Arc<dyn Past>, limits: Limits) -> Hub {
        let window = Window::new(head, limits.window_bytes);
        let state = State {
            window,
            watchers: HashMap::new(),
            depths: Vec::new(),
            closed: false,
        };
        Hub {
            state: Mutex::new(state),
            published: AtomicU64::new(head.0),
            overflows: AtomicU64::new(0),
            past,
            past_readers: Arc::new(Semaphore::new(PAST_READERS)),
            limits,
        }
    }

    /// Hands out the events of a commit that ends at `head`. They must be durable and readable.
    pub(crate) fn publish(&self, events: Vec<Arc<Event>>, head: Revision) {
        let mut wake = Vec::new();
        let mut overflows = 0;
        {
            let mut state = self.state.lock();
            for event in events {
                let bytes = event.key.as_bytes();
                for (depth, end) in event.key.prefix_ends().enumerate().take(state.depths.len()) {
                    if state.depths[depth] == 0 {
                        continue;
                    }
                    for slot in state.watchers.get(&bytes[..end]).into_iter().flatten() {
                        let (waker, overflowed) =
                            slot.offer(&event, self.limits.queue_events, self.limits.queue_bytes);
                        wake.extend(waker);
                        overflows += u64::from(overflowed);
                    }
                }
                state.window.push(event);
            }
            self.published.store(head.0, Ordering::Release);
        }
        self.overflows.fetch_add(overflows, Ordering::Relaxed);
        wake.into_iter().for_each(std::task::Waker::wake);
    }

    /// Everything up to here has been handed out.
    pub(crate) fn published(&self) -> Revision {
        Revision(self.published.load(Ordering::Acquire))
    }

    pub(crate) fn subscribe(self: &Arc<Self>, prefix: Prefix, after: Revision) -> Watch {
        let mut state = self.state.lock();
        let slot = Arc::new(Slot::new(prefix, after, after < self.published()));
        if state.closed {
            slot.close();
        }
        let depth = slot.prefix.depth();
        if state.depths.len() <= depth {
            state.depths.resize(depth + 1, 0);
        }
        state.depths[depth] += 1;
        let same = state
            .watchers
            .entry(slot.prefix.bytes().clone())
            .or_default();
        slot.set_position(same.len());
        same.push(Arc::clone(&slot));
        Watch::new(Arc::clone(self), slot)
    }

    pub(super) fn unsubscribe(&self, slot: &Slot) {
        let mut state = self.state.lock();
        let depth = slot.prefix.depth();
        if let Some(count) = state.depths.get_mut(depth) {
            *count = count.saturating_sub(1);
        }
        let Some(same) = state.watchers.get_mut(slot.prefix.as_bytes()) else {
            return;
        };
        let position = slot.position();
        if same
            .get(position)
            .is_some_and(|known| std::ptr::eq(Arc::as_ptr(known), slot))
        {
            same.swap_remove(position);
            if let Some(moved) = same.get(position) {
                moved.set_position(position);
            }
        }
        if same.is_empty() {
            state.watchers.remove(slot.prefix.as_bytes());
        }
        if state.watchers.len() * 4 < state.watchers.capacity() {
            state.watchers.shrink_to_fit();
        }
    }

    /// The events that a watcher at `after` missed, out of the window; up to where to read the log when it does not reach.
    pub(super) fn missed(&self, slot: &Slot, after: Revision) -> Result<Vec<Arc<Event>>, Revision> {
        let state = self.state.lock();
        if !state.window.reaches(after) {
            return Err(self.published());
        }
        let mut events: Vec<Arc<Event>> = Vec::new();
        for event in state
            .window
            .after(after)
            .filter(|event| event.key.starts_with(&slot.prefix))
        {
            let full = events.len() >= self.limits.queue_events;
            if let Some(last) = events.last()
                && full
                && last.revision != event.revision
            {
                slot.caught_up_to(last.revision);
                return Ok(events);
            }
            events.push(Arc::clone(event));
        }
        // Under the lock nothing is published, so nothing falls between this and the next offer.
        slot.caught_up();
        Ok(events)
    }

    /// Reads the log beside the runtime's workers, a few readers at a time.
    pub(super) fn read_past(
        &self,
        slot: &Slot,
        after: Revision,
        to: Revision,
    ) -> JoinHandle<Result<Chunk, ReadError>> {
        let (past, prefix, readers) = (
            Arc::clone(&self.past),
            slot.prefix.clone(),
            Arc::clone(&self.past_readers),
        );
        tokio::spawn(async move {
            let _permit = readers.acquire_owned().await;
            let read = tokio::task::spawn_blocking(move || past.read(&prefix, after, to));
            read.await.unwrap_or_else(|join| {
                Err(ReadError::Storage(format!(
                    "reading the log failed: {join}"
                )))
            })
        })
    }

    /// Ends all watches, present and future.
    pub(crate) fn close(&self) {
        let wake: Vec<_> = {
            let mut state = self.state.lock();
            state.closed = true;
            state
                .watchers
                .values()
                .flatten()
                .filter_map(|slot| slot.close())
                .collect()
        };
        wake.into_iter().for_each(std::task::Waker::wake);
    }

    pub(crate) fn watches(&self) -> u64 {
        self.state.lock().depths.iter().sum::<usize>() as u64
    }

    pub(crate) fn window_bytes(&self) -> u64 {
        self.state.lock().window.bytes() as u64
    }

    pub(crate) fn overflows(&self) -> u64 {
        self.overflows.load(Ordering::Relaxed)
    }
}
