//! Reading the replica at one revision.

use std::iter;
use std::ops::Bound;
use std::sync::Arc;

use super::indexes::{Index, KINDS, counted_as};
use super::{Pin, Replica, counters, rows};
use crate::{FAMILIES, Keep, Key, Prefix, ReadError, Revision, Snapshot, ValueCounts, Version};

/// A view of the replica at one revision. It holds that revision's history alive.
#[derive(Debug)]
pub(crate) struct EmbeddedSnapshot {
    replica: Arc<Replica>,
    pin: Pin,
}

impl EmbeddedSnapshot {
    pub(crate) fn new(replica: Arc<Replica>, pin: Pin) -> EmbeddedSnapshot {
        EmbeddedSnapshot { replica, pin }
    }

    fn find(&self, name: &str) -> Result<Index, ReadError> {
        let indexes = self.replica.indexes.read().clone();
        let found = indexes
            .iter()
            .find(|index| index.spec.name == name)
            .cloned();
        found.ok_or_else(|| ReadError::Storage(format!("no index is named {name}")))
    }

    /// Indexes know nothing of what was before they were built; then their oldest state is read.
    fn index_revision(&self, index: &Index) -> Revision {
        self.revision().max(index.built)
    }

    fn counters(
        &self,
        index: &Index,
        from: &[u8],
        within: &[u8],
    ) -> impl Iterator<Item = Result<(Vec<u8>, u64), ReadError>> + use<> {
        let prefix = rows::counter_key(index.id, within);
        let from = Bound::Included(rows::counter_key(index.id, from));
        let at = self.index_revision(index);
        self.replica.scan(&prefix, from, at).map(move |row| {
            let (key, value) = row?;
            let count = counters::count(&value, at);
            Ok((rows::value_of_counter(&key).to_vec(), count))
        })
    }

    fn count_entries(
        &self,
        index: &Index,
        from: &[u8],
    ) -> impl Iterator<Item = Result<(Vec<u8>, u64), ReadError>> + use<> {
        let prefix = rows::index_from(index.id, b"");
        let from = Bound::Included(rows::index_from(index.id, from));
        let mut entries = self
            .replica
            .scan(&prefix, from, self.index_revision(index))
            .peekable();
        let value_of =
            |key: &[u8]| rows::split_index_key(key).map_or_else(Vec::new, |(value, _)| value);
        iter::from_fn(move || {
            let value = match entries.next()? {
                Ok((key, _)) => value_of(&key),
                Err(error) => return Some(Err(error)),
            };
            let mut count = 1;
            while entries
                .next_if(|entry| entry.as_ref().is_ok_and(|(key, _)| value_of(key) == value))
                .is_some()
            {
                count += 1;
            }
            Some(Ok((value, count)))
        })
    }
}

impl Snapshot for EmbeddedSnapshot {
    fn revision(&self) -> Revision {
        self.pin.revision()
    }

    fn get(&self, key: &Key) -> Result<Option<Version>, ReadError> {
        self.replica.get(key, self.revision())
    }

    fn range<'a>(
        &'a self,
        prefix: &Prefix,
        after: Option<&Key>,
    ) -> Box<dyn Iterator<Item = Result<(Key, Version), ReadError>> + 'a> {
        let prefix = rows::data_prefix(prefix);
        let from = match after.map(rows::data_key) {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix.clone()),
        };
        if let (Bound::Excluded(after), Some(end)) = (&from, rows::end_of_prefix(&prefix))
            && *after >= end
        {
            return Box::new(iter::empty());
        }
        Box::new(
            self.replica
                .scan(&prefix, from, self.revision())
                .map(|row| {
                    let (key, value) = row?;
                    let decoded = rows::key_of_data(&key).zip(rows::version(&value));
                    decoded.ok_or_else(|| {
                        ReadError::Storage(format!(
                            "replica: row {} is not readable",
                            key.escape_ascii()
                        ))
                    })
                }),
        )
    }

    fn count(&self, prefix: &Prefix) -> Result<u64, ReadError> {
        let depth = prefix.depth();
        let name = if depth == 4 { FAMILIES } else { KINDS };
        let index = self.find(name)?;
        if depth > 4 || index.built > self.revision() {
            return self
                .range(prefix, None)
                .try_fold(0, |count, row| row.map(|_| count + 1));
        }
        if depth < 3 {
            let mut counters = self.counters(&index, prefix.as_bytes(), prefix.as_bytes());
            return counters.try_fold(0, |sum, counter| counter.map(|(_, count)| sum + count));
        }
        let value = counted_as(prefix).unwrap_or_default();
        let counter = self
            .replica
            .tree
            .get(&rows::counter_key(index.id, &value), self.revision())?;
        Ok(counter.map_or(0, |counter| counters::count(&counter, self.revision())))
    }

    fn index<'a>(
        &'a self,
        name: &str,
        value: &[u8],
        after: Option<&Key>,
    ) -> Box<dyn Iterator<Item = Result<Key, ReadError>> + 'a> {
        let index = match self.find(name) {
            Ok(index) => index,
            Err(error) => return Box::new(iter::once(Err(error))),
        };
        let prefix = rows::index_prefix(index.id, value);
        let from = match after {
            Some(after) => Bound::Excluded(rows::index_key(index.id, value, after)),
            None => Bound::Included(prefix.clone()),
        };
        Box::new(
            self.replica
                .scan(&prefix, from, self.index_revision(&index))
                .map(|row| {
                    let (key, _) = row?;
                    let split = rows::split_index_key(&key).map(|(_, key)| key);
                    split.ok_or_else(|| {
                        ReadError::Storage(format!(
                            "replica: index entry {} is not readable",
                            key.escape_ascii()
                        ))
                    })
                }),
        )
    }

    fn index_values<'a>(&'a self, name: &str, from: &[u8]) -> ValueCounts<'a> {
        match self.find(name) {
            Ok(index) if index.spec.keep == Keep::Counts => {
                Box::new(self.counters(&index, from, b""))
            }
            Ok(index) => Box::new(self.count_entries(&index, from)),
            Err(error) => Box::new(iter::once(Err(error))),
        }
    }
}
