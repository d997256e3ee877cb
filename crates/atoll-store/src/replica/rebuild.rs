//! Making the indexes be what the store was opened with.
//!
//! An index is rebuilt under a number of its own, and is in use only once the note that names the number is written,
//! behind all its rows. A crash in between leaves rows that nobody refers to, never half an index.

use std::collections::HashMap;

use super::indexes::{Index, Note, Turn, all_specs};
use super::{INDEX, NEWEST, NEXT_INDEX, Replica, counters, rows};
use crate::{IndexSpec, Keep, Prefix, ReadError, Revision};

/// How much a rebuild writes before it has it flushed.
const FLUSH_BYTES: u64 = 8 << 20;

impl Replica {
    /// Takes the indexes into use that exist and are as specified.
    pub(super) fn load_indexes(&self, specs: &[IndexSpec]) -> Result<(), ReadError> {
        let mut indexes = Vec::new();
        for spec in all_specs(specs).into_values() {
            if let Some(note) = self.index_note(spec.name)?
                && note.describes(&spec)
            {
                indexes.push(Index {
                    id: note.id,
                    spec,
                    built: note.built,
                });
            }
        }
        *self.indexes.write() = std::sync::Arc::new(indexes);
        Ok(())
    }

    /// Builds the indexes that are missing or not as specified, from the state at `head`, which must be a fresh revision
    /// that nothing but this writes under. Returns their names.
    pub(crate) fn build_indexes(
        &self,
        specs: &[IndexSpec],
        head: Revision,
    ) -> Result<Vec<&'static str>, ReadError> {
        let mut kept = Vec::new();
        let mut missing = Vec::new();
        for spec in all_specs(specs).into_values() {
            match self.index_note(spec.name)? {
                Some(note) if note.describes(&spec) => kept.push(Index {
                    id: note.id,
                    spec,
                    built: note.built,
                }),
                stale => missing.push((spec, stale)),
            }
        }
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        let next = self
            .note(NEXT_INDEX)?
            .map_or(1, |value| super::decode_revision(&value).0);
        let mut fresh = Vec::new();
        for ((spec, _), id) in missing.iter().zip(next..) {
            // Fewer than four billion rebuilds happen to one store.
            fresh.push(Index {
                id: rows::IndexId(id as u32),
                spec: *spec,
                built: head,
            });
        }
        let after = next + fresh.len() as u64;
        self.tree.put(
            rows::meta_key(NEXT_INDEX),
            rows::live(head, &after.to_be_bytes()),
            head,
        );
        self.fill(&fresh, head)?;
        for index in &fresh {
            let note = Note {
                id: index.id,
                version: index.spec.version,
                keep: index.spec.keep,
                built: head,
            };
            self.tree.put(
                rows::meta_key(&format!("{INDEX}{}", index.spec.name)),
                rows::live(head, &note.encode()),
                head,
            );
        }
        for (_, stale) in &missing {
            if let Some(note) = stale {
                self.discard(note, head)?;
            }
        }
        let names = fresh.iter().map(|index| index.spec.name).collect();
        kept.extend(fresh);
        *self.indexes.write() = std::sync::Arc::new(kept);
        Ok(names)
    }

    fn fill(&self, fresh: &[Index], head: Revision) -> Result<(), ReadError> {
        let mut counts: HashMap<Vec<u8>, u64> = HashMap::new();
        for row in self.scan_prefix(&rows::data_prefix(&Prefix::all()), head) {
            let (key, value) = row?;
            let (Some(key), Some(version)) = (rows::key_of_data(&key), rows::version(&value))
            else {
                return Err(ReadError::Storage(format!(
                    "replica: row {} is not readable",
                    key.escape_ascii()
                )));
            };
            for index in fresh {
                for (value, turn) in index.difference(&key, None, Some(&version.row)) {
                    debug_assert_eq!(turn, Turn::Added);
                    match index.spec.keep {
                        Keep::Counts => {
                            *counts
                                .entry(rows::counter_key(index.id, &value))
                                .or_default() += 1
                        }
                        Keep::Keys => self.put_in_bulk(
                            rows::index_key(index.id, &value, &key),
                            rows::live(head, b""),
                            head,
                        )?,
                    }
                }
            }
        }
        for (key, count) in counts {
            self.put_in_bulk(key, counters::single(head, count), head)?;
        }
        Ok(())
    }

    /// Lets go of a stale index's rows.
    fn discard(&self, note: &Note, head: Revision) -> Result<(), ReadError> {
        for prefix in rows::index_ranges(note.id) {
            for row in self.scan_prefix(&prefix, head) {
                self.put_in_bulk(row?.0.to_vec(), rows::gone(head), head)?;
            }
        }
        Ok(())
    }

    fn put_in_bulk(&self, key: Vec<u8>, value: Vec<u8>, head: Revision) -> Result<(), ReadError> {
        if self.tree.put(key, value, head) > FLUSH_BYTES {
            self.tree.rotate();
            self.flush()?;
        }
        Ok(())
    }

    fn index_note(&self, name: &str) -> Result<Option<Note>, ReadError> {
        let value = self
            .tree
            .get(&rows::meta_key(&format!("{INDEX}{name}")), NEWEST)?;
        Ok(value.and_then(|value| rows::content(&value).and_then(Note::decode)))
    }
}
