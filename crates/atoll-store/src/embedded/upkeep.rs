//! The threads behind the writer: flushing, compaction, and forgetting history.
//!
//! Nothing here is needed for an answer to be right; all of it keeps memory, disk and restart time within their budgets.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::mpsc;

use super::Shared;
use super::writer::{Command, now};
use crate::Revision;

/// How often the flusher looks at time and budgets.
const TICK: Duration = Duration::from_secs(1);
/// A quiet store with this much unflushed is checkpointed, so that the next start is quick.
const IDLE_BYTES: u64 = 1 << 20;
const IDLE: Duration = Duration::from_secs(20);
/// How long the compactor waits after a failure, and at most for work.
const PAUSE: Duration = Duration::from_secs(10);

/// What the threads tell each other.
#[derive(Debug, Default)]
pub(super) struct Signal {
    wanted: Mutex<Wanted>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Wanted {
    flush: bool,
    compact: bool,
    stop: bool,
}

impl Signal {
    /// A memtable waits to be flushed.
    pub(super) fn flush(&self) {
        self.wanted.lock().flush = true;
        self.changed.notify_all();
    }

    /// There may be something to compact.
    pub(super) fn compact(&self) {
        self.wanted.lock().compact = true;
        self.changed.notify_all();
    }

    pub(super) fn request_stop(&self) {
        self.wanted.lock().stop = true;
        self.changed.notify_all();
    }

    pub(super) fn wake_all(&self) {
        let _wanted = self.wanted.lock();
        self.changed.notify_all();
    }

    /// Waits until the condition, which any progress of any thread may change, no longer holds.
    pub(super) fn wait_while(&self, mut condition: impl FnMut() -> bool) {
        while condition() {
            let mut wanted = self.wanted.lock();
            self.changed
                .wait_for(&mut wanted, Duration::from_millis(20));
        }
    }

    /// Waits for work of a kind. Whether there is some, and whether to stop.
    fn wait(&self, at_most: Duration, take: impl Fn(&mut Wanted) -> bool) -> (bool, bool) {
        let mut wanted = self.wanted.lock();
        let until = Instant::now() + at_most;
        loop {
            let work = take(&mut wanted);
            if work || wanted.stop || self.changed.wait_until(&mut wanted, until).timed_out() {
                return (work, wanted.stop);
            }
        }
    }
}

/// The flusher's thread.
pub(super) fn flush(shared: &Arc<Shared>, commands: &mpsc::Sender<Command>) {
    let mut clock = Clock::new(shared);
    loop {
        let (work, stop) = shared
            .signal
            .wait(TICK, |wanted| std::mem::take(&mut wanted.flush));
        if work || stop {
            if let Err(error) = shared.replica.flush() {
                shared.fatal(&format!("the replica cannot be written: {error}"));
                return;
            }
            shared.signal.compact();
        }
        if stop || shared.stopped() {
            return;
        }
        clock.tick(shared, commands);
        if let Err(error) = drop_segments(shared) {
            tracing::warn!(%error, "an old log segment could not be removed");
        }
    }
}

/// The compactor's thread.
pub(super) fn compact(shared: &Arc<Shared>) {
    loop {
        let (work, stop) = shared
            .signal
            .wait(PAUSE, |wanted| std::mem::take(&mut wanted.compact));
        if stop || shared.stopped() {
            return;
        }
        if !work {
            continue;
        }
        shared.replica.history().forget();
        loop {
            match shared.replica.compact_step() {
                Ok(true) if !shared.closing() => shared.signal.wake_all(),
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(%error, "compaction failed; it is tried again later");
                    break;
                }
            }
        }
    }
}

/// Removes the log segments that neither the replica nor any reader needs.
pub(super) fn drop_segments(shared: &Shared) -> io::Result<()> {
    let needed = shared
        .replica
        .history()
        .forget()
        .min(shared.replica.checkpoint());
    shared.segments.drop_up_to(needed).map(drop)
}

/// Decides when history is old or large enough to be forgotten, and when the store is quiet.
struct Clock {
    /// When which revision was the newest of a client, oldest first.
    samples: VecDeque<(u64, Revision)>,
    retention: u64,
    last_floor: u64,
    quiet_since: (Revision, Instant),
}

impl Clock {
    fn new(shared: &Shared) -> Clock {
        let segments = shared.segments.list();
        let samples = segments
            .iter()
            .map(|segment| (segment.header.time, segment.header.before))
            .collect();
        let retention = u64::try_from(shared.options.retention.as_millis()).unwrap_or(u64::MAX);
        Clock {
            samples,
            retention,
            last_floor: 0,
            quiet_since: (shared.head(), Instant::now()),
        }
    }

    fn tick(&mut self, shared: &Shared, commands: &mpsc::Sender<Command>) {
        let now = now();
        let user_head = shared.replica.user_head();
        let spacing = self.retention / 600;
        let due = self
            .samples
            .back()
            .is_none_or(|(time, head)| *head < user_head && now.saturating_sub(*time) >= spacing);
        if due {
            self.samples.push_back((now, user_head));
        }
        let floor = self.floor(shared, now).map(|floor| floor.min(user_head));
        if let Some(floor) = floor.filter(|floor| *floor > shared.replica.history().floor()) {
            match commands.try_send(Command::Floor(floor, None)) {
                Ok(()) => self.last_floor = now,
                // The queue is full: the next tick tries again.
                Err(_) => self.samples.push_front((0, floor)),
            }
        }
        let head = shared.head();
        if self.quiet_since.0 != head {
            self.quiet_since = (head, Instant::now());
        } else if self.quiet_since.1.elapsed() > IDLE
            && shared.replica.unflushed_bytes() > IDLE_BYTES
        {
            let _ = commands.try_send(Command::Checkpoint(None));
        }
    }

    /// The floor that retention and budget ask for now.
    fn floor(&mut self, shared: &Shared, now: u64) -> Option<Revision> {
        let mut floor = None;
        // In steps: each is an append and lets the compaction forget a bit more.
        if now.saturating_sub(self.last_floor) >= self.retention / 20 {
            while let Some((time, head)) = self.samples.front().copied()
                && now.saturating_sub(time) >= self.retention
            {
                floor = Some(head);
                self.samples.pop_front();
            }
        }
        let segments = shared.segments.list();
        let mut bytes: u64 = segments.iter().map(|segment| segment.len()).sum();
        for segment in &segments[..segments.len().saturating_sub(1)] {
            if bytes <= shared.options.history_bytes {
                break;
            }
            bytes -= segment.len();
            floor = floor.max(Some(segment.last()));
        }
        floor
    }
}
