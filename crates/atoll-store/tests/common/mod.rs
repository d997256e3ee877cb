//! The embedded engine as the conformance suite wants it, in a directory of its own.
#![allow(
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    reason = "each test binary uses a part"
)]

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use atoll_store::Store;
use atoll_store::conformance::{Engine, indexes};
use atoll_store::embedded::{self, EmbeddedStore, Options};

pub struct Embedded {
    /// Before the directory, so that it is closed before the files go.
    open: Option<Arc<EmbeddedStore>>,
    directory: tempfile::TempDir,
    tune: fn(&mut Options),
}

/// Budgets at which segments, memtables, windows and queues are full after a few rows.
pub fn tiny(options: &mut Options) {
    options.segment_bytes = 2 << 10;
    options.memtable_bytes = 8 << 10;
    options.cache_bytes = 64 << 10;
    options.window_bytes = 1 << 10;
    options.watch_queue = 2;
}

impl Embedded {
    pub fn new(tune: fn(&mut Options)) -> Embedded {
        Embedded {
            directory: tempfile::tempdir().unwrap(),
            tune,
            open: None,
        }
    }

    fn start(&mut self) -> Arc<EmbeddedStore> {
        let mut options = Options::new(self.directory.path());
        options.indexes = indexes();
        (self.tune)(&mut options);
        let store = embedded::open(options).unwrap();
        self.open = Some(Arc::clone(&store));
        store
    }
}

#[async_trait]
impl Engine for Embedded {
    async fn open(&mut self) -> Arc<dyn Store> {
        if let Some(open) = self.open.take() {
            open.close();
            drop(open);
        }
        self.start()
    }

    /// What kill -9 leaves: the files as they are at this instant, without anything a clean stop adds.
    async fn crash(&mut self) -> Arc<dyn Store> {
        let copy = tempfile::tempdir().unwrap();
        let open = self.open.take();
        copy_store(self.directory.path(), copy.path());
        drop(open);
        self.directory = copy;
        self.start()
    }

    async fn forget(&mut self) {
        let store = self.open.as_ref().unwrap();
        store.forget_history().await.unwrap();
        store.compact().unwrap();
    }
}

/// Copies a store's files while it is open, as [`atoll_store::backup`] does, but without its checksums.
pub fn copy_store(from: &Path, to: &Path) {
    let backup = tempfile::tempdir().unwrap();
    let target = backup.path().join("copy");
    atoll_store::backup::backup(from, &target).unwrap();
    copy_tree(&target, to);
}

pub fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
