//! The replica: the state on disk, derived from the log and from nothing else.
//!
//! It answers reads at every revision from the floor to the head, and keeps the indexes. It is never fsynced in a
//! request's path: a [checkpoint](Replica::rotate) is a memtable written out behind the log, and holds exactly the effect
//! of all batches up to one revision. After any crash the replica is at its last checkpoint and the log's tail is applied
//! again; applying a batch twice changes nothing.

mod counters;
pub(crate) mod gc;
mod history;
mod indexes;
mod rebuild;
mod rows;
mod snapshot;
mod tree;
mod view;

use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use counters::Counters;
pub(crate) use history::{History, Pin};
use indexes::{Index, Turn};
pub(crate) use snapshot::EmbeddedSnapshot;
use tree::{Row, Tree};
pub(crate) use view::{Prepared, View};

use crate::log::record::{Change, Record};
use crate::{
    FAMILIES, Incarnation, IncarnationSpan, IndexSpec, Keep, Key, Prefix, ReadError, Revision,
    Version,
};

const CHECKPOINT: &str = "checkpoint";
const FLOOR: &str = "floor";
const INCARNATION: &str = "incarnation/";
const INDEX: &str = "index/";
const NEXT_INDEX: &str = "next-index";

/// More runs than this are never let into the first level; 255 are the most that the engine can write down.
const MAX_RUNS: usize = 100;

/// Reads the newest version of anything.
const NEWEST: Revision = Revision(1 << 60);

/// The replica.
#[derive(Debug)]
pub(crate) struct Replica {
    tree: Tree,
    history: Arc<History>,
    indexes: RwLock<Arc<Vec<Index>>>,
    incarnations: Mutex<Vec<(Revision, Incarnation)>>,
    /// The last revision that a client's append got; our own records do not count.
    user_head: AtomicU64,
    /// The revision of the newest checkpoint that is being written.
    rotated: AtomicU64,
    /// The revision up to which the files suffice without the log.
    checkpoint: AtomicU64,
}

impl Replica {
    /// Opens the replica at its last checkpoint. Indexes whose spec is not the one they were built with stay out until
    /// [`Replica::build_indexes`].
    pub(crate) fn open(
        directory: &Path,
        cache_bytes: u64,
        specs: &[IndexSpec],
    ) -> Result<Replica, ReadError> {
        let history = Arc::new(History::default());
        let tree = Tree::open(directory, history.watermark(), cache_bytes).map_err(tree::failed)?;
        let replica = Replica {
            tree,
            history,
            indexes: RwLock::default(),
            incarnations: Mutex::default(),
            user_head: AtomicU64::new(0),
            rotated: AtomicU64::new(0),
            checkpoint: AtomicU64::new(0),
        };
        let checkpoint = replica.note_revision(CHECKPOINT)?;
        replica.rotated.store(checkpoint.0, Ordering::Release);
        replica.checkpoint.store(checkpoint.0, Ordering::Release);
        if let Some(value) = replica.note(CHECKPOINT)? {
            replica
                .user_head
                .store(decode_revision(&value).0, Ordering::Release);
        }
        if let Some(value) = replica.note(FLOOR)? {
            replica.history.raise_floor(decode_revision(&value));
        }
        replica.load_incarnations()?;
        replica.load_indexes(specs)?;
        Ok(replica)
    }

    pub(crate) fn history(&self) -> &Arc<History> {
        &self.history
    }

    // Reading.

    /// The row of a key as of a revision.
    pub(crate) fn get(&self, key: &Key, at: Revision) -> Result<Option<Version>, ReadError> {
        Ok(self
            .tree
            .get(&rows::data_key(key), at)?
            .and_then(|value| rows::version(&value)))
    }

    fn scan(
        &self,
        prefix: &[u8],
        from: Bound<Vec<u8>>,
        at: Revision,
    ) -> impl Iterator<Item = Result<Row, ReadError>> + use<> {
        let to = rows::end_of_prefix(prefix).map_or(Bound::Unbounded, Bound::Excluded);
        let exists = |row: &Result<Row, ReadError>| {
            row.as_ref()
                .map_or(true, |(_, value)| rows::content(value).is_some())
        };
        self.tree.range(from, to, at).filter(exists)
    }

    fn scan_prefix(
        &self,
        prefix: &[u8],
        at: Revision,
    ) -> impl Iterator<Item = Result<Row, ReadError>> + use<> {
        self.scan(prefix, Bound::Included(prefix.to_vec()), at)
    }

    fn note(&self, name: &str) -> Result<Option<Vec<u8>>, ReadError> {
        let value = self.tree.get(&rows::meta_key(name), NEWEST)?;
        Ok(value.and_then(|value| rows::content(&value).map(<[u8]>::to_vec)))
    }

    /// The revision at which a note was written last.
    fn note_revision(&self, name: &str) -> Result<Revision, ReadError> {
        let value = self.tree.get(&rows::meta_key(name), NEWEST)?;
        Ok(value
            .and_then(|value| rows::stamp(&value))
            .map_or(Revision::ZERO, |(_, revision)| revision))
    }

    // Writing. Only the log's writer (and the replay at start) calls these.

    /// Applies a batch. Nothing of it shows to readers until they read at its revisions.
    pub(crate) fn apply(&self, prepared: &Prepared) -> Result<(), ReadError> {
        let indexes = self.indexes.read().clone();
        let mut counters = Counters::new(&self.tree, prepared.batch.first.previous());
        for ((revision, record), previous) in prepared.batch.numbered().zip(&prepared.previous) {
            match record {
                Record::Append(writes) => {
                    for (write, previous) in writes.iter().zip(previous) {
                        let new = match &write.change {
                            Change::Put(row) => Some(row),
                            Change::Delete(_) => None,
                        };
                        let value = match new {
                            Some(row) => rows::data_value(write.created, revision, row),
                            None => rows::gone(revision),
                        };
                        self.tree.put(rows::data_key(&write.key), value, revision);
                        let old = previous.as_ref().map(|version| &version.row[..]);
                        for index in indexes.iter() {
                            self.turn(
                                index,
                                &write.key,
                                old,
                                new.map(|row| &row[..]),
                                revision,
                                &mut counters,
                            )?;
                        }
                    }
                    self.user_head.store(revision.0, Ordering::Release);
                }
                Record::Start(incarnation) => {
                    let key = rows::meta_key(&format!("{INCARNATION}{incarnation}"));
                    self.tree.put(key, rows::live(revision, b""), revision);
                    self.learn_incarnation(revision, *incarnation);
                }
                Record::Floor(floor) => {
                    self.tree.put(
                        rows::meta_key(FLOOR),
                        rows::live(revision, &floor.0.to_be_bytes()),
                        revision,
                    );
                    self.history.raise_floor(*floor);
                }
            }
        }
        counters.write();
        Ok(())
    }

    fn turn(
        &self,
        index: &Index,
        key: &Key,
        old: Option<&[u8]>,
        new: Option<&[u8]>,
        revision: Revision,
        counters: &mut Counters<'_>,
    ) -> Result<(), ReadError> {
        for (value, turn) in index.difference(key, old, new) {
            match index.spec.keep {
                Keep::Counts => counters.turn(index.id, &value, turn, revision)?,
                Keep::Keys => {
                    let entry = match turn {
                        Turn::Added => rows::live(revision, b""),
                        Turn::Removed => rows::gone(revision),
                        Turn::Kept => continue,
                    };
                    self.tree
                        .put(rows::index_key(index.id, &value, key), entry, revision);
                }
            }
        }
        Ok(())
    }

    /// A revision behind which nothing under the prefix has changed; `None` when that is not known.
    ///
    /// The counters of families and kinds are written by every change of a key that they count.
    pub(crate) fn last_change(&self, prefix: &Prefix) -> Result<Option<Revision>, ReadError> {
        let name = match prefix.depth() {
            0..=2 => return Ok(None),
            3 => indexes::KINDS,
            _ => FAMILIES,
        };
        let indexes = self.indexes.read().clone();
        let Some(index) = indexes.iter().find(|index| index.spec.name == name) else {
            return Ok(None);
        };
        let Some(value) = indexes::counted_as(prefix) else {
            return Ok(None);
        };
        let counter = self
            .tree
            .get(&rows::counter_key(index.id, &value), NEWEST)?;
        let changed = counter.and_then(|counter| counters::last_touched(&counter));
        // No counter: nothing was ever there, or it was gone before the floor.
        Ok(Some(changed.unwrap_or(index.built)))
    }

    // Incarnations.

    fn load_incarnations(&self) -> Result<(), ReadError> {
        for row in self.scan_prefix(&rows::meta_key(INCARNATION), NEWEST) {
            let (key, value) = row?;
            let name = rows::name_of_meta(&key).and_then(|name| name.strip_prefix(INCARNATION));
            if let (Some(Ok(id)), Some((_, revision))) = (name.map(str::parse), rows::stamp(&value))
            {
                self.learn_incarnation(revision, id);
            }
        }
        Ok(())
    }

    fn learn_incarnation(&self, revision: Revision, id: Incarnation) {
        let mut known = self.incarnations.lock();
        if let Err(at) = known.binary_search(&(revision, id)) {
            known.insert(at, (revision, id));
        }
    }

    pub(crate) fn incarnation_span(&self, id: &Incarnation) -> Option<IncarnationSpan> {
        let known = self.incarnations.lock();
        let at = known.iter().position(|(_, known)| known == id)?;
        Some(IncarnationSpan {
            began: known[at].0,
            ended: known.get(at + 1).map(|(revision, _)| *revision),
        })
    }

    // Checkpoints and upkeep.

    /// Begins a checkpoint at `head`, which must be the end of a batch and everything applied.
    pub(crate) fn rotate(&self, head: Revision) {
        if self.rotated.load(Ordering::Acquire) < head.0 {
            let user_head = self.user_head().0.to_be_bytes();
            self.tree.put(
                rows::meta_key(CHECKPOINT),
                rows::live(head, &user_head),
                head,
            );
            self.tree.rotate();
            self.rotated.store(head.0, Ordering::Release);
        } else {
            self.tree.rotate();
        }
    }

    /// Completes the checkpoints that were begun.
    pub(crate) fn flush(&self) -> Result<(), ReadError> {
        self.make_room()?;
        let rotated = self.rotated.load(Ordering::Acquire);
        self.tree.flush().map_err(tree::failed)?;
        self.checkpoint.fetch_max(rotated, Ordering::AcqRel);
        Ok(())
    }

    /// Each flush adds a run to the first level, and the engine's table of contents counts those in one byte. The writer
    /// holds back long before; but a store that crashes again and again right behind its replay gets here.
    fn make_room(&self) -> Result<(), ReadError> {
        while self.first_level_runs() >= MAX_RUNS {
            if !self.compact_step()? {
                // The compactor is at it.
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
        Ok(())
    }

    /// The last revision that a client's append got.
    pub(crate) fn user_head(&self) -> Revision {
        Revision(self.user_head.load(Ordering::Acquire))
    }

    pub(crate) fn checkpoint(&self) -> Revision {
        Revision(self.checkpoint.load(Ordering::Acquire))
    }

    pub(crate) fn compact_step(&self) -> Result<bool, ReadError> {
        self.tree.compact_step().map_err(tree::failed)
    }

    pub(crate) fn compact_all(&self) -> Result<(), ReadError> {
        self.tree.compact_all().map_err(tree::failed)
    }

    pub(crate) fn unflushed_bytes(&self) -> u64 {
        self.tree.active_bytes()
    }

    pub(crate) fn sealed(&self) -> usize {
        self.tree.sealed()
    }

    pub(crate) fn first_level_runs(&self) -> usize {
        self.tree.first_level_runs()
    }

    pub(crate) fn disk_bytes(&self) -> u64 {
        self.tree.disk_bytes()
    }
}

fn decode_revision(bytes: &[u8]) -> Revision {
    bytes
        .try_into()
        .map(u64::from_be_bytes)
        .map_or(Revision::ZERO, Revision)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by the crash harness: at 256 runs the engine's table of contents becomes unreadable.
    #[test]
    fn however_many_flushes_the_first_level_stays_small() {
        let directory = tempfile::tempdir().unwrap();
        let replica = Replica::open(directory.path(), 1 << 20, &[]).unwrap();
        for n in 1..300 {
            replica.tree.put(
                rows::meta_key("note"),
                rows::live(Revision(n), b""),
                Revision(n),
            );
            replica.rotate(Revision(n));
            replica.flush().unwrap();
            assert!(replica.first_level_runs() <= MAX_RUNS);
        }
        drop(replica);
        let replica = Replica::open(directory.path(), 1 << 20, &[]).unwrap();
        assert_eq!(replica.checkpoint(), Revision(299));
        assert_eq!(replica.note_revision("note"), Ok(Revision(299)));
    }
}
