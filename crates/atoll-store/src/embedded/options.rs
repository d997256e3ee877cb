//! How to open an embedded store, and what can stop it from opening.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::{IndexSpec, ReadError};

/// How to open an embedded store. All budgets are bytes.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the files live; made when missing.
    pub directory: PathBuf,
    /// The secondary indexes to keep.
    pub indexes: Vec<IndexSpec>,
    /// How long history is kept.
    pub retention: Duration,
    /// How much log is kept at most, however young.
    pub history_bytes: u64,
    /// The size at which a log segment is closed.
    pub segment_bytes: u64,
    /// Blocks of the replica held in memory.
    pub cache_bytes: u64,
    /// Rows held in memory before the replica writes them out. About three such portions can exist under load.
    pub memtable_bytes: u64,
    /// Recent events held in memory for watchers that lag a little.
    pub window_bytes: usize,
    /// The most events queued for one watcher before it is left to catch up by itself.
    pub watch_queue: usize,
    /// Added to every fsync: tests use it to behave like a slower disk.
    pub sync_delay: Option<Duration>,
    /// Where tests reach in.
    pub hooks: Hooks,
}

impl Options {
    /// The defaults, in this directory.
    pub fn new(directory: impl Into<PathBuf>) -> Options {
        Options {
            directory: directory.into(),
            indexes: Vec::new(),
            retention: Duration::from_secs(600),
            history_bytes: 1 << 30,
            segment_bytes: 8 << 20,
            cache_bytes: 8 << 20,
            memtable_bytes: 3 << 20,
            window_bytes: 2 << 20,
            watch_queue: 256,
            sync_delay: None,
            hooks: Hooks::default(),
        }
    }
}

/// What tests inject; empty in production.
#[derive(Clone, Default)]
pub struct Hooks {
    /// Makes writes and fsyncs of the log fail.
    pub faults: Option<Arc<dyn Faults>>,
    /// Called instead of ending the process when the log or the replica cannot be written.
    pub fatal: Option<Fatal>,
}

/// Told why a store cannot go on.
pub type Fatal = Arc<dyn Fn(&str) + Send + Sync>;

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("faults", &self.faults)
            .field("fatal", &self.fatal.is_some())
            .finish()
    }
}

/// Faults of the disk under the log.
pub trait Faults: Send + Sync + fmt::Debug {
    /// Asked before `bytes` are written: `Some((n, error))` lets `n` of them through and then fails.
    fn write(&self, bytes: usize) -> Option<(usize, io::Error)>;
    /// Asked before an fsync.
    fn sync(&self) -> Option<io::Error>;
}

/// Why a store does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("{directory}: the store is in use by another process; stop that one first")]
    Locked {
        /// The store's directory.
        directory: PathBuf,
    },
    /// A file is damaged in a way that a crash cannot explain: going on would lose acknowledged writes.
    #[error(
        "{file} is damaged at byte {offset}: {what}. Acknowledged writes would be lost, so the store does not start. \
         Put back an intact copy of this file, or restore a backup into a new directory (`atoll restore`)"
    )]
    Damaged {
        /// The damaged file.
        file: PathBuf,
        /// Where in it.
        offset: u64,
        /// What was found there.
        what: String,
    },
    /// The files were written by a version that this one does not understand.
    #[error("{file}: {what}")]
    Unsupported {
        /// The file.
        file: PathBuf,
        /// What is not understood.
        what: String,
    },
    /// An operation on a file failed.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The replica's files cannot be used, and the log no longer reaches back far enough to make them anew.
    #[error(
        "{directory}: the replica cannot be read: {what}. Restore a backup into a new directory (`atoll restore`)"
    )]
    Replica {
        /// The replica's directory.
        directory: PathBuf,
        /// What its engine said.
        what: String,
    },
}

impl OpenError {
    pub(crate) fn io(doing: &'static str, path: &Path, source: io::Error) -> OpenError {
        OpenError::Io {
            doing,
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn damaged(file: &Path, offset: u64, what: &str) -> OpenError {
        OpenError::Damaged {
            file: file.to_owned(),
            offset,
            what: what.to_owned(),
        }
    }

    pub(crate) fn replica(directory: &Path, error: &ReadError) -> OpenError {
        OpenError::Replica {
            directory: directory.to_owned(),
            what: error.to_string(),
        }
    }
}
