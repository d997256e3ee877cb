//! The doors through which a kind does more than be stored.
//!
//! A [`Hook`] sees every write of its resources after defaulting and before validation. It may change the object,
//! refuse, and add rows to the very append that stores it: that is how a Workspace and its LogicalCluster come to be
//! together. Hooks run again when the append lost a race, so they have no effect of their own.

use std::sync::Arc;

use async_trait::async_trait;
use atoll_kube::{Definition, GroupResource, Status, meta};
use atoll_store::{Check, Snapshot, Write};
use serde_json::Value;

use crate::{
    Call, ClusterKind, ClusterName, GetOptions, List, ListOptions, Object, Registry, WatchOptions,
    WatchStream,
};

/// What is being done to the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// It is new.
    Create,
    /// It changes.
    Update,
    /// It is asked to go: `object` already has its deletionTimestamp; a finalizer in it will hold it.
    Delete,
    /// It goes, in this very append: nothing holds it any more. Follows a `Delete` or the `Update` that took the last finalizer.
    Remove,
}

/// One write on its way through admission.
pub struct Review<'a> {
    /// The request.
    pub call: &'a Call,
    /// The logical cluster written to.
    pub cluster: &'a ClusterName,
    /// What sort of cluster it is.
    pub kind: ClusterKind,
    /// The definition of the object.
    pub definition: &'a Arc<Definition>,
    /// What is being done.
    pub operation: Operation,
    /// The subresource written, if any.
    pub subresource: Option<&'a str>,
    /// What the write was decided on; the append checks that the object has not changed since.
    pub snapshot: &'a Arc<dyn Snapshot>,
    /// The object before, for update and delete.
    pub old: Option<&'a Value>,
    /// The object as it will be stored (for `Remove`: as it is last seen); changes to it count.
    pub object: &'a mut Value,
    /// Nothing will be appended.
    pub dry_run: bool,
    /// Texts for `Warning:` headers.
    pub warnings: &'a mut Vec<String>,
    /// Further checks for the append.
    pub checks: Vec<Check>,
    /// Further rows for the append; at most one of each resource.
    pub writes: Vec<Write>,
}

impl Review<'_> {
    /// The object's name.
    pub fn name(&self) -> &str {
        meta::name(self.object)
    }

    /// The object's namespace.
    pub fn namespace(&self) -> Option<&str> {
        Some(meta::namespace(self.object)).filter(|n| !n.is_empty())
    }
}

/// Admission for some resources.
#[async_trait]
pub trait Hook: Send + Sync {
    /// The resources it wants to see; empty means every resource.
    fn resources(&self) -> Vec<GroupResource>;

    /// Looks at one write: may change it, add to its append, or refuse it.
    async fn admit(&self, registry: &Registry, review: &mut Review<'_>) -> Result<(), Status>;
}

/// Kinds that are functions of the log: nothing is stored, reads are computed, writes get 405.
#[async_trait]
pub trait Computed: Send + Sync {
    /// The resources answered for.
    fn resources(&self) -> Vec<GroupResource>;

    /// One object, or its 404.
    async fn get(
        &self,
        registry: &Registry,
        call: &Call,
        options: &GetOptions,
    ) -> Result<Object, Status>;

    /// The objects, with the replica's revision.
    async fn list(
        &self,
        registry: &Registry,
        call: &Call,
        options: &ListOptions,
    ) -> Result<List, Status>;

    /// What changes since a revision, or 410.
    async fn watch(
        &self,
        registry: &Registry,
        call: &Call,
        options: &WatchOptions,
    ) -> Result<WatchStream, Status>;
}

/// Create-only kinds and subresources that are answered, not stored: access reviews, tokens.
#[async_trait]
pub trait Virtual: Send + Sync {
    /// The resources answered for, with the subresource when it is one (`serviceaccounts`, `token`).
    fn resources(&self) -> Vec<(GroupResource, Option<String>)>;

    /// The answer to a create: the object with its status filled in.
    async fn create(
        &self,
        registry: &Registry,
        call: &Call,
        object: Value,
    ) -> Result<Value, Status>;
}
