//! How to open an embedded store, and what can stop it from opening.

use std::path::PathBuf;
use std::time::Duration;

use crate::IndexSpec;

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
    /// Rows held in memory before the replica writes them out.
    pub memtable_bytes: u64,
    /// Recent events held in memory for watchers that lag a little.
    pub window_bytes: usize,
    /// The most events queued for one watcher before it is left to catch up by itself.
    pub watch_queue: usize,
    /// Added to every fsync: tests use it to behave like a slower disk.
    pub sync_delay: Option<Duration>,
}

impl Options {
    /// The defaults, in this directory.
    pub fn new(directory: impl Into<PathBuf>) -> Options {
        Options {
            directory: directory.into(),
            indexes: Vec::new(),
            retention: Duration::from_secs(600),
            history_bytes: 1 << 30,
            segment_bytes: 16 << 20,
            cache_bytes: 16 << 20,
            memtable_bytes: 8 << 20,
            window_bytes: 8 << 20,
            watch_queue: 256,
            sync_delay: None,
        }
    }
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
         Restore it from a backup into a new directory (`atoll restore`), or put back an intact copy of this file"
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
    #[error("{doing} {path}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The replica's engine failed.
    #[error("{directory}: the replica could not be opened: {what}")]
    Replica {
        /// The replica's directory.
        directory: PathBuf,
        /// What its engine said.
        what: String,
    },
}
