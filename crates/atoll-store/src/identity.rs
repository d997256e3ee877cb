//! Who a store is, and which of its lives it is in.
//!
//! A cursor held outside (an agent's, say) is (store id, incarnation, revision). If the log does not contain the
//! incarnation, the store was restored from a backup older than the cursor.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Revision;

/// The random id of one start of the store, itself appended to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub Uuid);

/// The id a store got when it was made; backups and restores keep it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StoreId(pub Uuid);

/// The id of the store and of its present life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StoreIdentity {
    /// The store.
    pub store: StoreId,
    /// This start of it.
    pub incarnation: Incarnation,
}

/// The revisions that one life of a store wrote.
///
/// A cursor (incarnation, revision) is of this log exactly when the incarnation is known and its span
/// [contains](IncarnationSpan::contains) the revision: a restored copy may know the incarnation but not what it wrote later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IncarnationSpan {
    /// The incarnation's own record.
    pub began: Revision,
    /// The next incarnation's record; `None` for the present one.
    pub ended: Option<Revision>,
}

impl IncarnationSpan {
    /// Whether that life wrote (or could have read) up to this revision.
    pub fn contains(&self, revision: Revision) -> bool {
        self.began <= revision && self.ended.is_none_or(|ended| revision < ended)
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for Incarnation {
    type Err = uuid::Error;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        s.parse().map(Incarnation)
    }
}

impl std::str::FromStr for StoreId {
    type Err = uuid::Error;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        s.parse().map(StoreId)
    }
}
