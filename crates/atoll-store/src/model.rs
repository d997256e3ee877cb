//! What is written and what is read: plain data, the same for every engine.

use bytes::Bytes;

use crate::{Key, Revision};

/// The most writes one append may hold.
pub const MAX_WRITES: usize = 64;

/// The most bytes of keys and rows one append may hold.
pub const MAX_APPEND_BYTES: usize = 32 << 20;

/// A row as it was at some revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// When the key came into being; restarts when a key is deleted and made again.
    pub created: Revision,
    /// When this row was written.
    pub modified: Revision,
    /// The bytes.
    pub row: Bytes,
}

/// A precondition of an append. It may be on any key, also one that the append does not write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// The key must not exist.
    Absent(Key),
    /// The key must exist, at whatever revision.
    Exists(Key),
    /// The key must exist and have been written last at this revision.
    At(Key, Revision),
}

impl Check {
    /// The key that the check is about.
    pub fn key(&self) -> &Key {
        match self {
            Check::Absent(key) | Check::Exists(key) | Check::At(key, _) => key,
        }
    }

    /// Whether the check holds for what the key currently has.
    pub fn holds(&self, current: Option<Revision>) -> bool {
        match self {
            Check::Absent(_) => current.is_none(),
            Check::Exists(_) => current.is_some(),
            Check::At(_, revision) => current == Some(*revision),
        }
    }
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Create the key or replace its row.
    Put(Key, Bytes),
    /// Remove the key, if it exists. The row, if given, is the final state that watchers are shown; else they are shown the last one stored.
    Delete(Key, Option<Bytes>),
}

impl Write {
    /// The key that is written.
    pub fn key(&self) -> &Key {
        match self {
            Write::Put(key, _) | Write::Delete(key, _) => key,
        }
    }
}

/// Changes that succeed or fail together under one revision.
///
/// It holds 1 to [`MAX_WRITES`] writes, at most one per [family](Key::family), so that whoever resumes a watch of one
/// family from a revision never misses half of that revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Append {
    /// What must hold; all are evaluated against the state just before this append.
    pub checks: Vec<Check>,
    /// What changes.
    pub writes: Vec<Write>,
}

impl Append {
    /// Whether the append keeps the rules that need no stored state; the message says which one it breaks.
    pub fn validate(&self) -> Result<(), AppendError> {
        let invalid = |message: String| Err(AppendError::Invalid(message));
        if self.writes.is_empty() {
            return invalid("an append needs at least one write".to_owned());
        }
        if self.writes.len() > MAX_WRITES {
            return invalid(format!(
                "an append holds at most {MAX_WRITES} writes, got {}",
                self.writes.len()
            ));
        }
        let bytes: usize = self
            .writes
            .iter()
            .map(|write| match write {
                Write::Put(key, row) => key.as_bytes().len() + row.len(),
                Write::Delete(key, row) => {
                    key.as_bytes().len() + row.as_ref().map_or(0, Bytes::len)
                }
            })
            .sum();
        if bytes > MAX_APPEND_BYTES {
            return invalid(format!(
                "an append holds at most {MAX_APPEND_BYTES} bytes, got {bytes}"
            ));
        }
        for (at, write) in self.writes.iter().enumerate() {
            let family = write.key().family();
            if self.writes[..at]
                .iter()
                .any(|earlier| earlier.key().family() == family)
            {
                return invalid(format!("an append writes at most one key of {family}"));
            }
        }
        Ok(())
    }
}

/// Why an append did not happen. Nothing of it is visible to anyone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// A check did not hold; `current` is what the key has instead.
    #[error("precondition failed: {check:?}")]
    Failed {
        /// The first check that did not hold.
        check: Check,
        /// What its key has.
        current: Option<Version>,
    },
    /// The append breaks a rule whatever the state is.
    #[error("{0}")]
    Invalid(String),
    /// The present state could not be read, so the append was not made.
    #[error("storage: {0}")]
    Storage(String),
    /// The store is closed. The append may or may not have happened if it was already under way.
    #[error("the store is closed")]
    Stopped,
}

/// Which state to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The newest that is applied here.
    Latest,
    /// Exactly the state after this revision.
    Exact(Revision),
}

/// Why a read or a watch cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The revision is older than what is kept.
    #[error("the revision is compacted; the oldest one kept is {oldest}")]
    Compacted {
        /// The oldest revision that can still be read and watched from.
        oldest: Revision,
    },
    /// The revision does not exist yet.
    #[error("the revision is in the future; the newest one is {head}")]
    Future {
        /// The newest revision.
        head: Revision,
    },
    /// The files could not be read.
    #[error("storage: {0}")]
    Storage(String),
}
