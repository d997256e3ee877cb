//! The door: what every engine offers, and all that the floors above may use.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::{
    Append, AppendError, At, Incarnation, IncarnationSpan, Key, Prefix, ReadError, Revision,
    StoreIdentity, Version, Watch,
};

/// A durable, ordered, revisioned history of keys and rows.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Writes, and returns once the write is durable and readable here.
    async fn append(&self, append: Append) -> Result<Revision, AppendError>;

    /// The newest revision that can be read here.
    fn head(&self) -> Revision;

    /// The log's head at some moment during the call, applied here when the call returns.
    async fn barrier(&self) -> Revision;

    /// Waits until `revision` can be read here; [`ReadError::Future`] when that takes longer than `at_most`.
    async fn wait_for(&self, revision: Revision, at_most: Duration) -> Result<(), ReadError>;

    /// An unchanging view of the state at a revision. Holding one keeps its history alive: hold it for a request, not for a day.
    fn snapshot(&self, at: At) -> Result<Arc<dyn Snapshot>, ReadError>;

    /// Every event under `prefix` after the revision, once and in order.
    fn watch(&self, prefix: Prefix, after: Revision) -> Result<Watch, ReadError>;

    /// The store and its present life.
    fn identity(&self) -> StoreIdentity;

    /// The revisions written in one life of the store; `None` when the log does not contain that life.
    fn incarnation_span(&self, id: &Incarnation) -> Option<IncarnationSpan>;

    /// Whether the log contains this incarnation. If not, a cursor of it is from beyond a restored backup.
    fn incarnation_known(&self, id: &Incarnation) -> bool {
        self.incarnation_span(id).is_some()
    }

    /// Figures for metrics.
    fn stats(&self) -> Stats;
}

/// Index values with the number of keys of each.
pub type ValueCounts<'a> = Box<dyn Iterator<Item = Result<(Vec<u8>, u64), ReadError>> + 'a>;

/// The state at one revision.
pub trait Snapshot: Send + Sync {
    /// The revision that is read.
    fn revision(&self) -> Revision;

    /// The row of a key.
    fn get(&self, key: &Key) -> Result<Option<Version>, ReadError>;

    /// The rows under a prefix in key order, behind `after` if given.
    fn range<'a>(
        &'a self,
        prefix: &Prefix,
        after: Option<&Key>,
    ) -> Box<dyn Iterator<Item = Result<(Key, Version), ReadError>> + 'a>;

    /// How many keys are under a prefix. Cheap for prefixes of four components or fewer, a scan for longer ones.
    fn count(&self, prefix: &Prefix) -> Result<u64, ReadError>;

    /// The keys that have `value` in an index that [keeps keys](crate::Keep::Keys), in key order, behind `after` if given. As of
    /// the newest state, which may be a little newer than this snapshot's.
    fn index<'a>(
        &'a self,
        name: &str,
        value: &[u8],
        after: Option<&Key>,
    ) -> Box<dyn Iterator<Item = Result<Key, ReadError>> + 'a>;

    /// The distinct values of an index from `from` on, in order, with the number of keys of each.
    fn index_values<'a>(&'a self, name: &str, from: &[u8]) -> ValueCounts<'a>;
}

/// Figures about a store, for metrics and tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// The newest revision.
    pub head: Revision,
    /// The oldest revision that can be read or watched from.
    pub oldest: Revision,
    /// The revision up to which the replica survives without the log.
    pub checkpoint: Revision,
    /// Appends that were answered with a revision since the start.
    pub appends: u64,
    /// Group commits since the start, each with one fsync.
    pub commits: u64,
    /// Bytes of all log segments.
    pub log_bytes: u64,
    /// Bytes of the replica's files.
    pub replica_bytes: u64,
    /// Open watches.
    pub watches: u64,
    /// Times a watch fell behind its queue and caught up by itself.
    pub watch_overflows: u64,
    /// Bytes of the window of recent events.
    pub window_bytes: u64,
}
