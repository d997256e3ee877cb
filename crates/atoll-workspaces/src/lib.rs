//! kcp's semantics: workspaces, their types, logical clusters and who may enter them.
//!
//! A workspace is rows: a Workspace in its parent, and in the logical cluster it names a LogicalCluster, a Namespace and
//! a ClusterRoleBinding. All four are written by one append, and from that revision on the workspace is Ready. There
//! is no task, lock or map per workspace; what is cached is bounded in bytes and forgotten by events.
//!
//! The pieces, each usable alone: [`tree::Tree`] (paths and facts), [`access::Access`] (the chain of authorizers),
//! [`rbac`] (pure), hooks and reviews for the registry, the deletion controller, [`bootstrap`] and home workspaces.

pub mod access;
mod cache;
pub mod facts;
pub mod kinds;
pub mod names;
pub mod rbac;
mod rows;
pub mod tree;
pub mod types;
