//! The one writer: what makes appends durable, readable and seen, in that order.
//!
//! It takes whatever is queued as one group: checks each append against the replica and the group so far, gives it a
//! revision, writes and fsyncs the group as one frame, applies it to the replica, publishes its events, and only then
//! answers. Refusals wait for the fsync as well, since they may be about rows that are not durable before it.
//!
//! Hot path: no logging, no allocation beyond what is kept, one fsync per group.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot};

use super::{Shared, past};
use crate::log::record::{Batch, Change, LoggedWrite, Record};
use crate::log::writer::LogWriter;
use crate::replica::{Prepared, View};
use crate::{Append, AppendError, Event, Incarnation, ReadError, Revision, Version, Write};

/// A group is closed at this many commands or bytes of rows.
const GROUP_COMMANDS: usize = 1024;
const GROUP_BYTES: usize = 4 << 20;

/// The writer holds back when this many memtables wait for the flusher, or this many runs for the compactor.
const MAX_SEALED: usize = 2;
const MAX_RUNS: usize = 24;

type Reply = oneshot::Sender<Result<Revision, AppendError>>;

/// What the writer is asked to do.
#[derive(Debug)]
pub(super) enum Command {
    Append(Append, Reply),
    /// Raise the floor.
    Floor(Revision, Option<Reply>),
    /// Begin a checkpoint.
    Checkpoint(Option<std::sync::mpsc::Sender<()>>),
    Stop,
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    log: LogWriter,
}

/// A group while it is put together.
struct Group<'a> {
    view: View<'a>,
    first: Revision,
    records: Vec<Record>,
    previous: Vec<Vec<Option<Version>>>,
    replies: Vec<(Reply, Result<Revision, AppendError>)>,
}

pub(super) fn now() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, log: LogWriter) -> Writer {
        Writer { shared, log }
    }

    /// Appends the record of a start.
    pub(super) fn start(&mut self, incarnation: Incarnation) -> Result<(), String> {
        let first = self.shared.head().next();
        let batch = Batch {
            first,
            time: now(),
            records: vec![Record::Start(incarnation)],
        };
        self.commit(Prepared {
            batch,
            previous: vec![Vec::new()],
        })
    }

    /// Works until it is told to stop or something fails for good.
    pub(super) fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        while let Some(first) = commands.blocking_recv() {
            let mut bytes = 0;
            let mut queued = Vec::new();
            let mut next = Some(first);
            while let Some(command) = next.take() {
                bytes += weight(&command);
                queued.push(command);
                if queued.len() < GROUP_COMMANDS && bytes < GROUP_BYTES {
                    next = commands.try_recv().ok();
                }
            }
            match self.serve(queued) {
                Some(stop) if stop || self.shared.closing() => break,
                Some(_) => self.relieve(),
                None => return,
            }
        }
        self.shared.replica.rotate(self.shared.head());
    }

    /// Serves a group of commands; whether to stop. `None` after a failure for good.
    fn serve(&mut self, queued: Vec<Command>) -> Option<bool> {
        let shared = Arc::clone(&self.shared);
        let head = shared.head();
        let mut group = Group::new(View::new(&shared.replica, head), head.next(), queued.len());
        let mut checkpoints = Vec::new();
        let mut stop = false;
        for command in queued {
            match command {
                Command::Append(append, reply) => group.append(append, reply),
                Command::Floor(floor, reply) => {
                    group.floor(floor.max(shared.replica.history().floor()), reply)
                }
                Command::Checkpoint(reply) => checkpoints.push(reply),
                Command::Stop => stop = true,
            }
        }
        let Group {
            first,
            records,
            previous,
            replies,
            ..
        } = group;
        if !records.is_empty() {
            let appends = records
                .iter()
                .filter(|record| matches!(record, Record::Append(_)))
                .count() as u64;
            let prepared = Prepared {
                batch: Batch {
                    first,
                    time: now(),
                    records,
                },
                previous,
            };
            if let Err(what) = self.commit(prepared) {
                // Before the replies are dropped, which tells the callers.
                shared.fatal(&what);
                return None;
            }
            shared.appends.fetch_add(appends, Ordering::Relaxed);
        }
        for (reply, result) in replies {
            // A caller that no longer waits has its write all the same.
            let _ = reply.send(result);
        }
        if !checkpoints.is_empty() {
            shared.replica.rotate(shared.head());
            shared.signal.flush();
        }
        for reply in checkpoints.into_iter().flatten() {
            let _ = reply.send(());
        }
        Some(stop)
    }

    /// Makes a batch durable, then readable, then seen.
    fn commit(&mut self, prepared: Prepared) -> Result<(), String> {
        let shared = &self.shared;
        self.log
            .commit(&prepared.batch)
            .map_err(|e| format!("the log cannot be written: {e}"))?;
        shared
            .replica
            .apply(&prepared)
            .map_err(|e| format!("the replica cannot be updated: {e}"))?;
        let head = prepared.batch.last();
        let events = events(prepared);
        shared.head.send_replace(head.0);
        shared.hub.publish(events, head);
        shared.commits.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Sets a full memtable aside, and waits while the threads behind are too far behind.
    fn relieve(&self) {
        let shared = &self.shared;
        if shared.replica.unflushed_bytes() < shared.options.memtable_bytes {
            return;
        }
        shared.replica.rotate(shared.head());
        shared.signal.flush();
        shared.signal.wait_while(|| {
            let behind = shared.replica.sealed() > MAX_SEALED
                || shared.replica.first_level_runs() > MAX_RUNS;
            behind && !shared.stopped()
        });
    }
}

fn weight(command: &Command) -> usize {
    let row = |write: &Write| match write {
        Write::Put(key, row) => key.as_bytes().len() + row.len(),
        Write::Delete(key, row) => key.as_bytes().len() + row.as_ref().map_or(0, |row| row.len()),
    };
    match command {
        Command::Append(append, _) => append.writes.iter().map(row).sum(),
        _ => 0,
    }
}

fn events(prepared: Prepared) -> Vec<Arc<Event>> {
    let Prepared { batch, previous } = prepared;
    let mut events = Vec::with_capacity(batch.records.len());
    for ((revision, record), previous) in batch.numbered().zip(previous) {
        if let Record::Append(writes) = record {
            let each = writes.iter().zip(previous);
            events.extend(
                each.map(|(write, previous)| Arc::new(past::event(revision, write, previous))),
            );
        }
    }
    events
}

impl<'a> Group<'a> {
    fn new(view: View<'a>, first: Revision, capacity: usize) -> Group<'a> {
        Group {
            view,
            first,
            records: Vec::with_capacity(capacity),
            previous: Vec::with_capacity(capacity),
            replies: Vec::with_capacity(capacity),
        }
    }

    fn next(&self) -> Revision {
        Revision(self.first.0 + self.records.len() as u64)
    }

    fn append(&mut self, append: Append, reply: Reply) {
        let revision = self.next();
        let result = match self.admit(append, revision) {
            Ok((writes, previous)) => {
                self.records.push(Record::Append(writes));
                self.previous.push(previous);
                Ok(revision)
            }
            Err(error) => Err(error),
        };
        self.replies.push((reply, result));
    }

    fn floor(&mut self, floor: Revision, reply: Option<Reply>) {
        let revision = self.next();
        self.records.push(Record::Floor(floor));
        self.previous.push(Vec::new());
        self.replies
            .extend(reply.map(|reply| (reply, Ok(revision))));
    }

    /// Evaluates the checks and turns the writes into what the log keeps.
    fn admit(
        &mut self,
        append: Append,
        revision: Revision,
    ) -> Result<(Vec<LoggedWrite>, Vec<Option<Version>>), AppendError> {
        let storage = |error: ReadError| AppendError::Storage(error.to_string());
        for check in append.checks {
            let current = self.view.current(check.key()).map_err(storage)?;
            if !check.holds(current.as_ref().map(|version| version.modified)) {
                return Err(AppendError::Failed { check, current });
            }
        }
        let mut writes = Vec::with_capacity(append.writes.len());
        let mut previous = Vec::with_capacity(append.writes.len());
        for write in append.writes {
            let before = self.view.current(write.key()).map_err(storage)?;
            let created = before.as_ref().map_or(revision, |version| version.created);
            let logged = match write {
                Write::Put(key, row) => LoggedWrite {
                    key,
                    created,
                    change: Change::Put(row),
                },
                // Deleting what is not there changes nothing and tells nobody.
                Write::Delete(..) if before.is_none() => continue,
                Write::Delete(key, row) => LoggedWrite {
                    key,
                    created,
                    change: Change::Delete(row),
                },
            };
            writes.push(logged);
            previous.push(before);
        }
        for write in &writes {
            self.view.set(revision, write);
        }
        Ok((writes, previous))
    }
}
