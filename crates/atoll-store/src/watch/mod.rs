//! Watches: who is told about what, and how those that lag catch up without a gap.
//!
//! The [hub](hub) knows the watchers by prefix, so that an event costs a few lookups however many watches are open. Each
//! watcher has a short queue that exists only while something is in it. One that does not keep up loses its queue, not its
//! place: it reads on from the window of recent events, or from the log behind that, and then joins the living again.
//!
//! Nothing here knows the engine; the past is read through [`Past`].

mod hub;
mod slot;
mod window;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use tokio::task::JoinHandle;

pub(crate) use hub::{Hub, Limits};
use slot::{Slot, Step};

use crate::{Event, Prefix, ReadError, Revision};

/// Events from further back than the window reaches.
pub(crate) trait Past: Send + Sync + 'static {
    /// The next events under `prefix` behind `after` and up to `to`, as many as fit into one read.
    fn read(&self, prefix: &Prefix, after: Revision, to: Revision) -> Result<Chunk, ReadError>;
}

/// A piece of the past.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) events: Vec<Arc<Event>>,
    /// Nothing up to here is missing from what was read so far.
    pub(crate) up_to: Revision,
}

/// A stream of the events under one prefix, each once and in order.
#[derive(Debug)]
pub struct Watch {
    hub: Arc<Hub>,
    slot: Arc<Slot>,
    /// Caught up, not yet delivered; older than anything in the slot's queue.
    pending: VecDeque<Arc<Event>>,
    reading: Option<JoinHandle<Result<Chunk, ReadError>>>,
    lost: Option<Box<ReadError>>,
    asked: bool,
}

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
    pub(crate) fn new(hub: Arc<Hub>, slot: Arc<Slot>) -> Watch {
        Watch {
            hub,
            slot,
            pending: VecDeque::new(),
            reading: None,
            lost: None,
            asked: false,
        }
    }

    /// The next item. Cancel safe: dropping the future loses nothing.
    pub async fn next(&mut self) -> WatchItem {
        loop {
            if let Some(event) = self.pending.pop_front() {
                if self.pending.is_empty() {
                    self.pending = VecDeque::new();
                }
                return WatchItem::Event(event);
            }
            if let Some(lost) = &self.lost {
                return WatchItem::Lost(ReadError::clone(lost));
            }
            let step = poll_fn(|cx| match self.slot.step() {
                // An answer that was asked for comes when there is nothing else.
                Step::Wait if self.asked => Poll::Ready(Step::Wait),
                Step::Wait => {
                    self.slot.wake_with(cx.waker());
                    // Something may have come between looking and leaving the waker.
                    match self.slot.step() {
                        Step::Wait => Poll::Pending,
                        step => Poll::Ready(step),
                    }
                }
                step => Poll::Ready(step),
            })
            .await;
            match step {
                Step::Deliver(event) => return WatchItem::Event(event),
                Step::CatchUp(after) => self.catch_up(after).await,
                Step::Closed => self.lose(ReadError::Storage("the store is closed".to_owned())),
                Step::Wait => {
                    self.asked = false;
                    return WatchItem::Progress(self.progress());
                }
            }
        }
    }

    /// Everything up to here was delivered or does not concern the prefix.
    pub fn progress(&self) -> Revision {
        if let Some(event) = self.pending.front() {
            return event.revision.previous();
        }
        self.slot.progress(|| self.hub.published())
    }

    /// Asks for a [`WatchItem::Progress`] once everything that is published by now has been delivered.
    pub fn request_progress(&mut self) {
        self.asked = true;
    }

    fn lose(&mut self, error: ReadError) {
        self.lost = Some(Box::new(error));
    }

    /// One step of catching up. All state is kept in `self`, so that it goes on after a cancelled call.
    async fn catch_up(&mut self, after: Revision) {
        if self.reading.is_none() {
            match self.hub.missed(&self.slot, after) {
                Ok(events) => {
                    self.pending.extend(events);
                    return;
                }
                Err(to) => self.reading = Some(self.hub.read_past(&self.slot, after, to)),
            }
        }
        let Some(reading) = &mut self.reading else {
            return;
        };
        let result = reading.await;
        self.reading = None;
        match result {
            Ok(Ok(chunk)) => {
                self.slot.caught_up_to(chunk.up_to);
                self.pending.extend(chunk.events);
            }
            Ok(Err(error)) => self.lose(error),
            Err(join) => self.lose(ReadError::Storage(format!(
                "reading the log failed: {join}"
            ))),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.hub.unsubscribe(&self.slot);
        if let Some(reading) = self.reading.take() {
            reading.abort();
        }
    }
}
