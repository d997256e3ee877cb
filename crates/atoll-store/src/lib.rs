//! The log and the replica: one ordered, revisioned, durable history of keys and bytes. Knows no Kubernetes.
//!
//! A [`Store`] takes [`Append`]s, each of which becomes one [`Revision`]; offers unchanging [`Snapshot`]s of any retained
//! revision; and tells [`Watch`]es every [`Event`] once and in order. Nobody sees a write before it is durable.
//!
//! [`embedded`] is the engine for one process: a log of our own and an on-disk replica derived from it. Later engines (etcd
//! is next) put another log under the same replica and have to pass the same conformance suite. How the embedded engine
//! works, why it is built on what it is, and what it costs stands in this crate's `README.md`.

pub mod backup;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod embedded;
mod event;
mod identity;
mod index;
mod key;
mod log;
mod model;
mod replica;
mod revision;
mod store;
mod watch;

pub use event::{Event, Memo};
pub use identity::{Incarnation, IncarnationSpan, StoreId, StoreIdentity};
pub use index::{Extract, FAMILIES, IndexSpec, Keep, families_of};
pub use key::{FAMILY_COMPONENTS, Key, KeyError, Prefix};
pub use model::{
    Append, AppendError, At, Check, MAX_APPEND_BYTES, MAX_WRITES, ReadError, Version, Write,
};
pub use revision::Revision;
pub use store::{Snapshot, Stats, Store, ValueCounts};
pub use watch::{Watch, WatchItem};
