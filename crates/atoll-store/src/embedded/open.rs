//! Opening a store: the replica at its last checkpoint, the log's tail on top, and a new life recorded.

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use super::files::{self, LOG, REPLICA};
use super::past::LogPast;
use super::upkeep::{self, Signal};
use super::writer::Writer;
use super::{EmbeddedStore, OpenError, Options, QUEUE, Shared};
use crate::log::reader::{self, Opened};
use crate::log::segment;
use crate::log::writer::LogWriter;
use crate::log::{Segments, sync_directory};
use crate::replica::{Prepared, Replica};
use crate::watch::{Hub, Limits};
use crate::{Incarnation, ReadError, Revision, StoreId, StoreIdentity};

/// What one watcher's queue holds at most; a single larger event is queued all the same.
const WATCH_QUEUE_BYTES: usize = 1 << 20;

/// Opens (or makes) the store in `options.directory`.
///
/// Blocks while the log's tail is applied, which takes well under a second unless an index has to be rebuilt.
pub fn open(options: Options) -> Result<Arc<EmbeddedStore>, OpenError> {
    let directory = options.directory.clone();
    let lock = files::lock(&directory)?;
    if let Err(error) = files::sweep(&directory) {
        tracing::warn!(%error, "what an abandoned backup left could not be removed");
    }
    let (log_directory, replica_directory) = (directory.join(LOG), directory.join(REPLICA));
    std::fs::create_dir_all(&log_directory)
        .map_err(|e| OpenError::io("make", &log_directory, e))?;
    sync_directory(&directory).map_err(|e| OpenError::io("sync", &directory, e))?;

    let replica = Arc::new(open_replica(&replica_directory, &log_directory, &options)?);
    let checkpoint = replica.checkpoint();
    let opened = replay(&log_directory, &replica, &options)?;
    if opened.last < checkpoint {
        let what = format!(
            "the log ends at revision {} but the state at {checkpoint} was written: log files are missing",
            opened.last
        );
        return Err(OpenError::damaged(&log_directory, 0, &what));
    }
    if opened.torn > 0 {
        tracing::warn!(
            bytes = opened.torn,
            "cut the unacknowledged end of the log, as after a crash"
        );
    }

    let store = opened
        .segments
        .first()
        .map_or_else(|| StoreId(Uuid::new_v4()), |segment| segment.header.store);
    let identity = StoreIdentity {
        store,
        incarnation: Incarnation(Uuid::new_v4()),
    };
    let tail = opened.segments.last().cloned();
    let segments = Arc::new(Segments::new(opened.segments));
    let log = LogWriter::new(
        &log_directory,
        store,
        Arc::clone(&segments),
        tail,
        opened.last,
        &options,
    );
    let log = log.map_err(|e| OpenError::io("open", &log_directory, e))?;
    let past = LogPast {
        replica: Arc::clone(&replica),
        segments: Arc::clone(&segments),
    };
    let limits = Limits {
        window_bytes: options.window_bytes,
        queue_events: options.watch_queue.max(1),
        queue_bytes: WATCH_QUEUE_BYTES,
    };
    let shared = Arc::new(Shared {
        options,
        identity,
        replica,
        segments,
        hub: Arc::new(Hub::new(opened.last, Arc::new(past), limits)),
        head: watch::Sender::new(opened.last.0),
        appends: AtomicU64::new(0),
        commits: AtomicU64::new(0),
        signal: Signal::default(),
        closing: AtomicBool::new(false),
        stopped: AtomicBool::new(false),
    });

    let mut writer = Writer::new(Arc::clone(&shared), log);
    let started = writer.start(identity.incarnation);
    started.map_err(|what| {
        OpenError::io(
            "begin a new life in",
            &log_directory,
            std::io::Error::other(what),
        )
    })?;
    let built = shared
        .replica
        .build_indexes(&shared.options.indexes, shared.head());
    let built = built.map_err(|e| unwritable(&replica_directory, e))?;
    if checkpoint > Revision::ZERO && !built.is_empty() {
        tracing::info!(indexes = ?built, "rebuilt indexes that are new or changed");
    }
    spawn(shared, writer, lock)
}

fn spawn(
    shared: Arc<Shared>,
    writer: Writer,
    lock: files::Lock,
) -> Result<Arc<EmbeddedStore>, OpenError> {
    let (commands, queue) = mpsc::channel(QUEUE);
    let mut threads = Vec::new();
    let mut thread = |name: &str, body: Box<dyn FnOnce() + Send>| {
        let guarded = guard(Arc::clone(&shared), body);
        let spawned = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(guarded);
        threads.push(
            spawned
                .map_err(|e| OpenError::io("start a thread for", &shared.options.directory, e))?,
        );
        Ok::<(), OpenError>(())
    };
    // Stopped and joined in this order: the flusher writes the writer's last checkpoint.
    thread("store-writer", Box::new(move || writer.run(queue)))?;
    let (flusher, sender) = (Arc::clone(&shared), commands.clone());
    thread(
        "store-flusher",
        Box::new(move || upkeep::flush(&flusher, &sender)),
    )?;
    // A life that was too short to compact leaves that to the next.
    shared.signal.compact();
    let compactor = Arc::clone(&shared);
    thread(
        "store-compactor",
        Box::new(move || upkeep::compact(&compactor)),
    )?;
    Ok(Arc::new(EmbeddedStore {
        shared,
        commands,
        threads: Mutex::new(threads),
        lock: Mutex::new(Some(lock)),
    }))
}

/// A thread of ours that panics must not leave the others waiting for it.
fn guard(shared: Arc<Shared>, body: Box<dyn FnOnce() + Send>) -> impl FnOnce() + Send {
    move || {
        if std::panic::catch_unwind(AssertUnwindSafe(body)).is_err() {
            shared.fatal("a thread of the store panicked");
        }
    }
}

/// Opens the replica. One that cannot be opened is made anew if the log still has everything.
fn open_replica(directory: &Path, log: &Path, options: &Options) -> Result<Replica, OpenError> {
    let attempt = || {
        let open = || Replica::open(directory, options.cache_bytes, &options.indexes);
        std::panic::catch_unwind(AssertUnwindSafe(open))
            .unwrap_or_else(|_| Err(ReadError::Storage("its files are damaged".to_owned())))
    };
    let error = match attempt() {
        Ok(replica) => return check_reach(replica, directory, log),
        Err(error) => error,
    };
    if first_revision(log)? != Some(Revision::ZERO.next()) {
        return Err(OpenError::replica(directory, &error));
    }
    tracing::warn!(%error, "the replica cannot be read; it is made anew from the log, which is complete");
    std::fs::remove_dir_all(directory).map_err(|e| OpenError::io("remove", directory, e))?;
    attempt().map_err(|e| OpenError::replica(directory, &e))
}

/// The replica must reach to where the log begins.
fn check_reach(replica: Replica, directory: &Path, log: &Path) -> Result<Replica, OpenError> {
    match first_revision(log)? {
        Some(first) if replica.checkpoint().next() < first => {
            let what = format!(
                "it ends at revision {} but the log begins only at {first}",
                replica.checkpoint()
            );
            Err(OpenError::Replica {
                directory: directory.to_owned(),
                what,
            })
        }
        _ => Ok(replica),
    }
}

/// The first revision that the log's files hold.
fn first_revision(log: &Path) -> Result<Option<Revision>, OpenError> {
    let paths = segment::list(log).map_err(|e| OpenError::io("list", log, e))?;
    let Some(first) = paths.first() else {
        return Ok(None);
    };
    Ok(reader::read_header(first)?
        .ok()
        .map(|(header, _)| header.before.next()))
}

fn replay(log: &Path, replica: &Arc<Replica>, options: &Options) -> Result<Opened, OpenError> {
    let directory = options.directory.join(REPLICA);
    reader::open(log, replica.checkpoint(), |batch| {
        let prepared =
            Prepared::replay(replica, batch).map_err(|e| OpenError::replica(&directory, &e))?;
        replica
            .apply(&prepared)
            .map_err(|e| OpenError::replica(&directory, &e))?;
        if replica.unflushed_bytes() >= options.memtable_bytes {
            replica.rotate(prepared.batch.last());
            replica.flush().map_err(|e| unwritable(&directory, e))?;
        }
        Ok(())
    })
}

/// A full disk, most likely: nothing is wrong with what is there.
fn unwritable(directory: &Path, error: ReadError) -> OpenError {
    OpenError::io("write", directory, std::io::Error::other(error))
}
