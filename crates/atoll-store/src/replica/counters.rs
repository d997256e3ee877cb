//! The counters that a batch touches: read once as of before the batch, and written once for all of it.
//!
//! A counter that is busy changes with every revision; a row for each of them would be most of what the replica writes.
//! So one row holds all that a batch did to a counter: it stands at the first revision that touched it and lists the
//! later ones as [steps](Step). A reader of any revision finds the newest row at or before it, and in it the last step at
//! or before it. A count of zero begins a row of its own, one that says it is gone, so that history can be forgotten.

use std::collections::HashMap;

use super::indexes::Turn;
use super::rows::{self, IndexId};
use super::tree::Tree;
use crate::log::record::{put_varint, take_varint};
use crate::{ReadError, Revision};

/// What a counter became at a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    revision: Revision,
    count: u64,
}

/// What the batch did to a counter so far.
#[derive(Debug, Default)]
struct Known {
    count: u64,
    steps: Vec<Step>,
}

/// See the module.
pub(super) struct Counters<'a> {
    tree: &'a Tree,
    before: Revision,
    known: HashMap<Vec<u8>, Known>,
}

impl<'a> Counters<'a> {
    /// For a batch that follows the revision `before`.
    pub(super) fn new(tree: &'a Tree, before: Revision) -> Counters<'a> {
        Counters {
            tree,
            before,
            known: HashMap::new(),
        }
    }

    pub(super) fn turn(
        &mut self,
        id: IndexId,
        value: &[u8],
        turn: Turn,
        revision: Revision,
    ) -> Result<(), ReadError> {
        let key = rows::counter_key(id, value);
        let known = match self.known.get_mut(&key) {
            Some(known) => known,
            None => {
                let row = self.tree.get(&key, self.before)?;
                let count = row.map_or(0, |row| count(&row, self.before));
                self.known.entry(key).or_insert(Known {
                    count,
                    steps: Vec::new(),
                })
            }
        };
        known.count = match turn {
            Turn::Added => known.count + 1,
            Turn::Removed => known.count.saturating_sub(1),
            Turn::Kept => known.count,
        };
        let step = Step {
            revision,
            count: known.count,
        };
        match known.steps.last_mut() {
            Some(last) if last.revision == revision => *last = step,
            _ => known.steps.push(step),
        }
        Ok(())
    }

    /// Writes what the batch touched.
    pub(super) fn write(self) {
        for (key, known) in self.known {
            for steps in known.steps.chunk_by(|a, b| a.count > 0 && b.count > 0) {
                let (revision, value) = encode(steps);
                self.tree.put(key.clone(), value, revision);
            }
        }
    }
}

/// The row of a counter that is known at one revision only.
pub(super) fn single(revision: Revision, count: u64) -> Vec<u8> {
    encode(&[Step { revision, count }]).1
}

/// A row and where it stands: the first count in full, then for each step how far on it is and what it counts.
fn encode(steps: &[Step]) -> (Revision, Vec<u8>) {
    let Some((first, more)) = steps.split_first() else {
        return (Revision::ZERO, rows::gone(Revision::ZERO));
    };
    if first.count == 0 {
        return (first.revision, rows::gone(first.revision));
    }
    let mut value = rows::live(first.revision, &first.count.to_be_bytes());
    let mut last = first.revision;
    for step in more {
        put_varint(&mut value, step.revision.0 - last.0);
        put_varint(&mut value, step.count);
        last = step.revision;
    }
    (first.revision, value)
}

/// The steps of a row; none when it says that nothing is there.
fn steps(row: &[u8]) -> impl Iterator<Item = Step> {
    let first = rows::stamp(row).and_then(|(_, revision)| {
        let (count, more) = rows::content(row)?.split_first_chunk()?;
        let count = u64::from_be_bytes(*count);
        Some((Step { revision, count }, more))
    });
    let mut rest = first.map_or(&[][..], |(_, more)| more);
    let mut next = first.map(|(step, _)| step);
    std::iter::from_fn(move || {
        let step = next.take()?;
        next = take_varint(&mut rest)
            .zip(take_varint(&mut rest))
            .map(|(on, count)| Step {
                revision: Revision(step.revision.0 + on),
                count,
            });
        Some(step)
    })
}

/// What a row counts as of a revision.
pub(super) fn count(row: &[u8], at: Revision) -> u64 {
    steps(row)
        .take_while(|step| step.revision <= at)
        .last()
        .map_or(0, |step| step.count)
}

/// The last revision that touched the counter of a row.
pub(super) fn last_touched(row: &[u8]) -> Option<Revision> {
    let last = steps(row).last().map(|step| step.revision);
    last.or_else(|| rows::stamp(row).map(|(_, revision)| revision))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_every_step() {
        let steps = [(5, 3), (6, 4), (200, 3), (201, 300)].map(|(revision, count)| Step {
            revision: Revision(revision),
            count,
        });
        let (at, row) = encode(&steps);
        assert_eq!(at, Revision(5));
        assert_eq!(last_touched(&row), Some(Revision(201)));
        let counts = [4, 5, 6, 199, 200, 201, 1000].map(|at| count(&row, Revision(at)));
        assert_eq!(counts, [0, 3, 4, 4, 3, 300, 300]);
    }

    #[test]
    fn nothing_there_is_told_as_gone() {
        let row = single(Revision(7), 0);
        assert_eq!(row, rows::gone(Revision(7)));
        assert_eq!(count(&row, Revision(9)), 0);
        assert_eq!(last_touched(&row), Some(Revision(7)));
    }
}
