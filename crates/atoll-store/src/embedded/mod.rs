//! The embedded engine: a log of our own, and a replica on disk that only the log feeds.

mod options;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use options::{OpenError, Options};

use crate::{
    Append, AppendError, At, Incarnation, IncarnationSpan, Prefix, ReadError, Revision, Snapshot,
    Stats, Store, StoreIdentity, Watch,
};

/// The embedded store.
#[derive(Debug)]
pub struct EmbeddedStore {}

/// Opens (or makes) the store in `options.directory`.
pub fn open(_options: Options) -> Result<Arc<EmbeddedStore>, OpenError> {
    todo!()
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn append(&self, _append: Append) -> Result<Revision, AppendError> {
        todo!()
    }
    fn head(&self) -> Revision {
        todo!()
    }
    async fn barrier(&self) -> Revision {
        todo!()
    }
    async fn wait_for(&self, _revision: Revision, _at_most: Duration) -> Result<(), ReadError> {
        todo!()
    }
    fn snapshot(&self, _at: At) -> Result<Arc<dyn Snapshot>, ReadError> {
        todo!()
    }
    fn watch(&self, _prefix: Prefix, _after: Revision) -> Result<Watch, ReadError> {
        todo!()
    }
    fn identity(&self) -> StoreIdentity {
        todo!()
    }
    fn incarnation_span(&self, _id: &Incarnation) -> Option<IncarnationSpan> {
        todo!()
    }
    fn stats(&self) -> Stats {
        todo!()
    }
}
