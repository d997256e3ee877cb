//! The counters that a batch touches: read once as of before the batch, written at every revision that touches them.

use std::collections::HashMap;

use super::decode_count;
use super::indexes::Turn;
use super::rows::{self, IndexId};
use super::tree::Tree;
use crate::{ReadError, Revision};

/// See the module.
pub(super) struct Counters<'a> {
    tree: &'a Tree,
    before: Revision,
    known: HashMap<Vec<u8>, u64>,
    /// The keys that the present revision touches.
    touched: Vec<Vec<u8>>,
}

impl<'a> Counters<'a> {
    /// For a batch that follows the revision `before`.
    pub(super) fn new(tree: &'a Tree, before: Revision) -> Counters<'a> {
        Counters {
            tree,
            before,
            known: HashMap::new(),
            touched: Vec::new(),
        }
    }

    pub(super) fn turn(&mut self, id: IndexId, value: &[u8], turn: Turn) -> Result<(), ReadError> {
        let key = rows::counter_key(id, value);
        if !self.known.contains_key(&key) {
            let count = self
                .tree
                .get(&key, self.before)?
                .map_or(0, |value| decode_count(&value));
            self.known.insert(key.clone(), count);
        }
        if let Some(count) = self.known.get_mut(&key) {
            *count = match turn {
                Turn::Added => *count + 1,
                Turn::Removed => count.saturating_sub(1),
                Turn::Kept => *count,
            };
        }
        self.touched.push(key);
        Ok(())
    }

    /// Writes what the revision touched, each counter once.
    pub(super) fn write(&mut self, revision: Revision) {
        self.touched.sort_unstable();
        self.touched.dedup();
        for key in self.touched.drain(..) {
            let value = match self.known.get(&key) {
                None | Some(0) => rows::gone(revision),
                Some(count) => rows::live(revision, &count.to_be_bytes()),
            };
            self.tree.put(key, value, revision);
        }
    }
}
