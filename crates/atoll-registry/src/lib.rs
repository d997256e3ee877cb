//! REST semantics over the store, for every resource of every logical cluster.
//!
//! One generic path serves every kind: a [`Call`] names what is meant, a [`surface::Surface`] says which definition
//! answers for it, and reading or writing is the same code for a ConfigMap and for somebody's custom resource.
//! What a kind does beyond that comes in through four narrow doors: [`Hook`] (admission), [`Computed`] (kinds that are
//! functions of the log), [`Virtual`] (create-only reviews) and [`controller::Controller`].
//!
//! The only I/O is the store. The crate knows nothing of HTTP, authentication or how a path became a logical cluster.

mod access;
mod admission;
mod aside;
mod call;
pub mod client;
pub mod controller;
pub mod controllers;
mod convert;
mod hooks;
mod indexes;
mod keys;
mod object;
mod options;
mod read;
mod registry;
pub mod surface;
mod write;

pub use access::{Attributes, Authorizer, ClusterKind, ClusterResolver, Decision};
pub use admission::row::admission_key;
pub use admission::webhook::{Caller, Endpoint, EndpointPlace};
pub use call::{Body, Call, ClusterName, Clusters, PatchType, ResourceRef};
pub use hooks::{Computed, Hook, Operation, Review, Virtual};
pub use indexes::{INDEX_DELETING, INDEX_OWNER, INDEX_PHASE, indexes};
pub use keys::{CUSTOM_IDENTITY, INTERNAL_GROUP, ObjectKey, ResourceId, surface_key};
pub use object::{Answer, List, Object, Outcome, Served};
pub use options::{
    DeleteOptions, FieldValidation, GetOptions, ListOptions, Propagation, VersionMatch,
    WatchOptions, WriteOptions,
};
pub use read::watch::{EventKind, WatchItem, WatchSender, WatchStream};
pub use registry::{Builder, Clock, Ids, RandomIds, Registry, SystemClock};
pub use write::seed::Seed;
