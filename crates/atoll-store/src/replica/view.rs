//! The state as the next append of a batch sees it: the replica, and on top what the batch already read or changed.

use std::collections::HashMap;

use super::Replica;
use crate::log::record::{Batch, Change, LoggedWrite, Record};
use crate::{Key, ReadError, Revision, Version};

/// A batch, and for each of its writes what the key had before.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) batch: Batch,
    /// As long as the batch's records; each as long as the record's writes.
    pub(crate) previous: Vec<Vec<Option<Version>>>,
}

/// See the module.
pub(crate) struct View<'a> {
    replica: &'a Replica,
    at: Revision,
    known: HashMap<Key, Option<Version>>,
}

impl<'a> View<'a> {
    /// The state after revision `at`, which must be the end of a batch.
    pub(crate) fn new(replica: &'a Replica, at: Revision) -> View<'a> {
        View {
            replica,
            at,
            known: HashMap::new(),
        }
    }

    /// What a key has.
    pub(crate) fn current(&mut self, key: &Key) -> Result<Option<Version>, ReadError> {
        if let Some(known) = self.known.get(key) {
            return Ok(known.clone());
        }
        let current = self.replica.get(key, self.at)?;
        self.known.insert(key.clone(), current.clone());
        Ok(current)
    }

    /// Lets the writes of a record show. Returns what their keys had before.
    pub(crate) fn advance(
        &mut self,
        revision: Revision,
        writes: &[LoggedWrite],
    ) -> Result<Vec<Option<Version>>, ReadError> {
        let mut previous = Vec::with_capacity(writes.len());
        for write in writes {
            previous.push(self.current(&write.key)?);
            self.set(revision, write);
        }
        Ok(previous)
    }

    pub(crate) fn set(&mut self, revision: Revision, write: &LoggedWrite) {
        let now = match &write.change {
            Change::Put(row) => Some(Version {
                created: write.created,
                modified: revision,
                row: row.clone(),
            }),
            Change::Delete(_) => None,
        };
        self.known.insert(write.key.clone(), now);
    }
}

impl Prepared {
    /// Prepares a batch that comes out of the log.
    pub(crate) fn replay(replica: &Replica, batch: Batch) -> Result<Prepared, ReadError> {
        let mut view = View::new(replica, batch.first.previous());
        let mut previous = Vec::with_capacity(batch.records.len());
        for (revision, record) in batch.numbered() {
            previous.push(match record {
                Record::Append(writes) => view.advance(revision, writes)?,
                Record::Start(_) | Record::Floor(_) => Vec::new(),
            });
        }
        Ok(Prepared { batch, previous })
    }
}
