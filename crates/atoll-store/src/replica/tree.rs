//! The ordered, versioned space on disk, with revisions for version numbers.
//!
//! The engine is the `lsm-tree` crate (the tree under `fjall`, without fjall's journal: our log is the journal). It was
//! chosen over fjall and redb by `examples/engines.rs`; see `crates/atoll-store/README.md` for the figures.
//!
//! Version numbers: revision r is the engine's number `BASE + r`. The engine numbers its own table sets from 0, so every
//! read uses the newest table set, which is right because only our [rule](super::gc) ever drops a version.

use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use lsm_tree::compaction::Leveled;
use lsm_tree::config::{
    BlockSizePolicy, BloomConstructionPolicy, CompressionPolicy, FilterPolicy, FilterPolicyEntry,
    PinningPolicy,
};
use lsm_tree::{
    AbstractTree, AnyTree, Cache, CompressionType, Config, DescriptorTable, Guard,
    SequenceNumberCounter, UserKey, UserValue,
};

use super::gc::{Rule, Watermark};
use crate::{ReadError, Revision};

/// Above every number that the engine gives itself, below every revision's.
const BASE: u64 = 1 << 48;

/// Tells the engine that none of its old table sets is needed and that no version is too old.
const ENGINE_WATERMARK: u64 = 1 << 47;

/// The first level is merged into the next at so many runs. Each costs every scan a look, and fewer are merged more often.
/// Their product is the size of the next level.
const FIRST_LEVEL_RUNS: u8 = 8;
const TABLE_BYTES: u64 = 8 << 20;

/// Open table files: three gigabytes of tables. Ordinary limits allow a process 1024 files.
const DESCRIPTORS: usize = 384;

/// The engine.
pub(crate) struct Tree {
    tree: AnyTree,
    strategy: Arc<Leveled>,
}

impl std::fmt::Debug for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tree").finish_non_exhaustive()
    }
}

fn number(revision: Revision) -> u64 {
    BASE + revision.0
}

pub(crate) fn failed(error: lsm_tree::Error) -> ReadError {
    ReadError::Storage(format!("replica: {error}"))
}

/// One row of a scan: its key and its whole value.
pub(crate) type Row = (UserKey, UserValue);

impl Tree {
    pub(crate) fn open(
        directory: &Path,
        watermark: Arc<Watermark>,
        cache_bytes: u64,
    ) -> lsm_tree::Result<Tree> {
        let config = Config::new(
            directory,
            SequenceNumberCounter::default(),
            SequenceNumberCounter::default(),
        )
        .use_cache(Arc::new(Cache::with_capacity_bytes(cache_bytes)))
        .use_descriptor_table(Some(Arc::new(DescriptorTable::new(DESCRIPTORS))))
        .data_block_size_policy(BlockSizePolicy::all(8 << 10))
        // What is flushed is soon merged: compressing it twice is not worth it.
        .data_block_compression_policy(CompressionPolicy::new([
            CompressionType::None,
            CompressionType::Lz4,
        ]))
        // Most reads ask whether something is not there, of many runs: one in a thousand looks in vain.
        .filter_policy(FilterPolicy::all(FilterPolicyEntry::Bloom(
            BloomConstructionPolicy::BitsPerKey(14.0),
        )))
        // Small indexes and filters of the upper levels stay in memory. The large ones live in the cache's budget, cut into
        // pieces: whole, the filters of a million workspaces push each other out.
        .index_block_pinning_policy(PinningPolicy::new([true, true, false]))
        .filter_block_pinning_policy(PinningPolicy::new([true, true, false]))
        .index_block_partitioning_policy(PinningPolicy::new([false, false, true]))
        .filter_block_partitioning_policy(PinningPolicy::new([false, false, true]))
        .with_compaction_filter_factory(Some(Arc::new(Rule(watermark))));
        let strategy = Leveled::default()
            .with_l0_threshold(FIRST_LEVEL_RUNS)
            .with_table_target_size(TABLE_BYTES);
        Ok(Tree {
            tree: config.open()?,
            strategy: Arc::new(strategy),
        })
    }

    /// Writes one version. Returns the bytes now in the active memtable.
    pub(crate) fn put(&self, key: Vec<u8>, value: Vec<u8>, revision: Revision) -> u64 {
        self.tree.insert(key, value, number(revision)).1
    }

    /// The value of a key as of a revision (which may say that the row is gone).
    pub(crate) fn get(&self, key: &[u8], at: Revision) -> Result<Option<UserValue>, ReadError> {
        self.tree.get(key, number(at) + 1).map_err(failed)
    }

    /// The rows between two bounds as of a revision, those that say they are gone included.
    pub(crate) fn range(
        &self,
        from: Bound<Vec<u8>>,
        to: Bound<Vec<u8>>,
        at: Revision,
    ) -> impl Iterator<Item = Result<Row, ReadError>> + use<> {
        self.tree
            .range((from, to), number(at) + 1, None)
            .map(|guard| guard.into_inner().map_err(failed))
    }

    /// Sets the active memtable aside for [`Tree::flush`].
    pub(crate) fn rotate(&self) -> bool {
        self.tree.rotate_memtable().is_some()
    }

    /// Memtables that wait for a flush.
    pub(crate) fn sealed(&self) -> usize {
        self.tree.sealed_memtable_count()
    }

    /// Bytes in the active memtable.
    pub(crate) fn active_bytes(&self) -> u64 {
        self.tree.active_memtable().size()
    }

    /// Writes the sealed memtables out and makes them durable.
    pub(crate) fn flush(&self) -> lsm_tree::Result<()> {
        let lock = self.tree.get_flush_lock();
        self.tree.flush(&lock, ENGINE_WATERMARK).map(drop)
    }

    /// Does one piece of compaction; whether there was one to do.
    pub(crate) fn compact_step(&self) -> lsm_tree::Result<bool> {
        let before = self.tree.current_version().id();
        self.tree
            .compact(Arc::clone(&self.strategy) as _, ENGINE_WATERMARK)?;
        Ok(self.tree.current_version().id() != before)
    }

    /// Rewrites everything, applying the rule to all of it.
    pub(crate) fn compact_all(&self) -> lsm_tree::Result<()> {
        self.tree.major_compact(64 << 20, ENGINE_WATERMARK)
    }

    /// Runs in the first level: each costs every read a look.
    pub(crate) fn first_level_runs(&self) -> usize {
        self.tree.l0_run_count()
    }

    pub(crate) fn disk_bytes(&self) -> u64 {
        self.tree.disk_space()
    }
}
