//! kcp's semantics: workspaces, their types, logical clusters and who may enter them.
//!
//! A workspace is rows: a Workspace in its parent, and in the logical cluster it names a LogicalCluster, a Namespace and
//! a ClusterRoleBinding. All four are written by one append, and from that revision on the workspace is Ready. There
//! is no task, lock or map per workspace; what is cached is bounded in bytes and forgotten by events.
//!
//! [`Workspaces`] is the door: it hands the registry a resolver, hooks, review kinds and controllers, and the front an
//! authorizer, bootstrap and home workspaces. Below it [`tree`] knows paths, [`access`] decides, [`rbac`] is the algebra.

pub mod access;
mod birth;
mod bootstrap;
mod cache;
mod deletion;
mod evict;
pub mod facts;
mod home;
mod hooks;
pub mod kinds;
pub mod names;
pub mod rbac;
mod reviews;
mod rows;
mod shared;
pub mod tree;
pub mod types;

pub use home::HOME;
pub use shared::{Options, TokenReviewer, Workspaces};
