//! One watcher's view of the history.

use std::sync::Arc;

use crate::{Event, ReadError, Revision};

/// A stream of the events under one prefix, each once and in order.
#[derive(Debug)]
pub struct Watch {}

/// What [`Watch::next`] returns.
#[derive(Clone, Debug)]
pub enum WatchItem {
    /// Something was written.
    Event(Arc<Event>),
    /// The answer to [`Watch::request_progress`]: nothing more for you up to here.
    Progress(Revision),
    /// The watch cannot go on; nothing follows.
    Lost(ReadError),
}

impl Watch {
    /// The next item. Cancel safe: dropping the future loses nothing.
    pub async fn next(&mut self) -> WatchItem {
        std::future::pending().await
    }

    /// Everything up to here was delivered or does not concern the prefix.
    pub fn progress(&self) -> Revision {
        Revision::ZERO
    }

    /// Asks for a [`WatchItem::Progress`] once everything that is published by now has been delivered.
    pub fn request_progress(&mut self) {}
}
