//! The embedded engine: a log of our own, and a replica on disk that only the log feeds.
//!
//! Threads: one [writer](writer) makes batches durable and applies them; one flusher and one compactor keep the
//! [replica's files](upkeep) in order behind it. Reads happen on the caller's thread.

mod files;
mod open;
mod options;
mod past;
mod upkeep;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};

pub use open::open;
pub use options::{Fatal, Faults, Hooks, OpenError, Options};

pub(crate) use files::{LOG, REPLICA};
use upkeep::Signal;
use writer::Command;

use crate::log::Segments;
use crate::replica::{EmbeddedSnapshot, Replica};
use crate::watch::Hub;
use crate::{
    Append, AppendError, At, Incarnation, IncarnationSpan, Prefix, ReadError, Revision, Snapshot,
    Stats, Store, StoreIdentity, Watch,
};

/// Appends that wait for the writer before their callers have to.
const QUEUE: usize = 4096;

/// What the threads and the callers share.
#[derive(Debug)]
struct Shared {
    options: Options,
    identity: StoreIdentity,
    replica: Arc<Replica>,
    segments: Arc<Segments>,
    hub: Arc<Hub>,
    head: watch::Sender<u64>,
    appends: AtomicU64,
    commits: AtomicU64,
    signal: Signal,
    /// No new work is begun.
    closing: AtomicBool,
    /// Nobody waits for anything any more.
    stopped: AtomicBool,
}

/// The exit code of a process whose store cannot be written: the EX_IOERR of sysexits.h.
const FATAL: i32 = 74;

impl Shared {
    fn head(&self) -> Revision {
        Revision(*self.head.borrow())
    }

    fn closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    fn stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// The log or the replica cannot be written: what is durable is unknown, so the process must not go on.
    fn fatal(&self, what: &str) {
        let message = format!(
            "{}: {what}. The store stops; nothing acknowledged is lost. Free or repair the disk and start again",
            self.options.directory.display()
        );
        match &self.options.hooks.fatal {
            Some(hook) => hook(&message),
            None => {
                // Once, also where nobody collects logs; and no core dump: nothing is wrong with the program.
                eprintln!("{message}");
                std::process::exit(FATAL);
            }
        }
        self.stop();
    }

    /// No further work; everybody who waits is told.
    fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.hub.close();
        self.signal.wake_all();
    }
}

/// The embedded store. Dropping it closes it; [`EmbeddedStore::close`] does the same and can be waited for.
#[derive(Debug)]
pub struct EmbeddedStore {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
    lock: Mutex<Option<files::Lock>>,
}

impl EmbeddedStore {
    /// Completes what is queued, writes a checkpoint so that the next start has nothing to replay, and lets go of the
    /// files. Blocks; later calls on the store say that it is stopped.
    pub fn close(&self) {
        let mut threads = self.threads.lock();
        if threads.is_empty() {
            return;
        }
        self.shared.closing.store(true, Ordering::Release);
        // When the queue is full, the writer sees that we are closing.
        let _ = self.commands.try_send(Command::Stop);
        // The writer first: it begins the last checkpoint, which the flusher completes. None of them can have panicked.
        for thread in threads.drain(..) {
            let _ = thread.join();
            self.shared.signal.request_stop();
        }
        self.shared.stop();
        self.lock.lock().take();
    }

    /// Forgets history now, as if its retention had passed: nothing below the present head can be read afterwards.
    pub async fn forget_history(&self) -> Result<Revision, AppendError> {
        let (reply, answer) = oneshot::channel();
        let floor = self.shared.replica.user_head();
        self.commands
            .send(Command::Floor(floor, Some(reply)))
            .await
            .map_err(|_| AppendError::Stopped)?;
        answer.await.map_err(|_| AppendError::Stopped)?
    }

    /// Writes a checkpoint and compacts everything, at once. For tests and for maintenance by hand; blocks.
    pub fn compact(&self) -> Result<(), ReadError> {
        let (reply, answer) = std::sync::mpsc::channel();
        let stopped = || ReadError::Storage("the store is closed".to_owned());
        self.commands
            .try_send(Command::Checkpoint(Some(reply)))
            .map_err(|_| stopped())?;
        answer.recv().map_err(|_| stopped())?;
        self.shared.replica.flush()?;
        self.shared.replica.history().forget();
        self.shared.replica.compact_all()?;
        upkeep::drop_segments(&self.shared).map_err(|e| ReadError::Storage(e.to_string()))
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        self.close();
    }
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn append(&self, append: Append) -> Result<Revision, AppendError> {
        append.validate()?;
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(Command::Append(append, reply))
            .await
            .map_err(|_| AppendError::Stopped)?;
        answer.await.map_err(|_| AppendError::Stopped)?
    }

    fn head(&self) -> Revision {
        self.shared.head()
    }

    async fn barrier(&self) -> Revision {
        // What is acknowledged is applied, and what is not acknowledged nobody can expect to see.
        self.shared.head()
    }

    async fn wait_for(&self, revision: Revision, at_most: Duration) -> Result<(), ReadError> {
        if self.head() >= revision {
            return Ok(());
        }
        let mut head = self.shared.head.subscribe();
        let waited = tokio::time::timeout(at_most, head.wait_for(|head| *head >= revision.0)).await;
        match waited {
            Ok(Ok(_)) => Ok(()),
            _ => Err(ReadError::Future { head: self.head() }),
        }
    }

    fn snapshot(&self, at: At) -> Result<Arc<dyn Snapshot>, ReadError> {
        let history = self.shared.replica.history();
        let pin = match at {
            At::Exact(revision) => {
                let head = self.head();
                if revision > head {
                    return Err(ReadError::Future { head });
                }
                history
                    .pin(revision)
                    .map_err(|oldest| ReadError::Compacted { oldest })?
            }
            At::Latest => loop {
                // The floor can pass a head that was read a moment ago, never the present one.
                if let Ok(pin) = history.pin(self.head()) {
                    break pin;
                }
            },
        };
        Ok(Arc::new(EmbeddedSnapshot::new(
            Arc::clone(&self.shared.replica),
            pin,
        )))
    }

    fn watch(&self, prefix: Prefix, after: Revision) -> Result<Watch, ReadError> {
        let head = self.head();
        if after > head {
            return Err(ReadError::Future { head });
        }
        let oldest = self.shared.replica.history().floor();
        if after < oldest {
            return Err(ReadError::Compacted { oldest });
        }
        Ok(self.shared.hub.subscribe(prefix, after))
    }

    fn identity(&self) -> StoreIdentity {
        self.shared.identity
    }

    fn incarnation_span(&self, id: &Incarnation) -> Option<IncarnationSpan> {
        self.shared.replica.incarnation_span(id)
    }

    fn stats(&self) -> Stats {
        let shared = &self.shared;
        Stats {
            head: shared.head(),
            oldest: shared.replica.history().floor(),
            checkpoint: shared.replica.checkpoint(),
            appends: shared.appends.load(Ordering::Relaxed),
            commits: shared.commits.load(Ordering::Relaxed),
            log_bytes: shared.segments.bytes(),
            replica_bytes: shared.replica.disk_bytes(),
            watches: shared.hub.watches(),
            watch_overflows: shared.hub.overflows(),
            window_bytes: shared.hub.window_bytes(),
        }
    }
}
