//! The window: the most recent events, within a budget of bytes.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::{Event, Revision};

/// Every event behind `start`, in order.
#[derive(Debug)]
pub(super) struct Window {
    events: VecDeque<Arc<Event>>,
    start: Revision,
    bytes: usize,
    budget: usize,
}

impl Window {
    pub(super) fn new(start: Revision, budget: usize) -> Window {
        Window {
            events: VecDeque::new(),
            start,
            bytes: 0,
            budget,
        }
    }

    pub(super) fn push(&mut self, event: Arc<Event>) {
        self.bytes += event.weight();
        self.events.push_back(event);
        while self.bytes > self.budget {
            let Some(oldest) = self.events.pop_front() else {
                break;
            };
            self.bytes -= oldest.weight();
            // What is left of that revision is of no use: readers resume behind whole revisions.
            self.start = oldest.revision;
        }
    }

    /// Whether all that follows `after` is here.
    pub(super) fn reaches(&self, after: Revision) -> bool {
        after >= self.start
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The events behind `after`, oldest first. Only meaningful when the window reaches it.
    pub(super) fn after(&self, after: Revision) -> impl Iterator<Item = &Arc<Event>> {
        let from = self.events.partition_point(|event| event.revision <= after);
        self.events.range(from..)
    }
}
