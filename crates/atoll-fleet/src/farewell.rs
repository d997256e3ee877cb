//! Deleting a payload workspace that has copies at edges: only after a person said what becomes of them.
//!
//! The annotation `edge.atoll.dev/deletion-policy` (`Orphan` or `Remove`) on the Workspace or its LogicalCluster decides. The decision is written in the very append that
//! begins the deletion, because what follows (policies and objects going one by one) must still know it when the workspace is half gone.

use async_trait::async_trait;
use atoll_kube::{GroupResource, Status, meta};
use atoll_registry::{Hook, Operation, Registry, Review};
use atoll_store::{Snapshot, Write};
use serde_json::Value;

use crate::Seat;
use crate::model::PolicyState;
use crate::rows;

/// What becomes of the copies.
pub(crate) const DELETION_POLICY: &str = "edge.atoll.dev/deletion-policy";
const ORPHAN: &str = "Orphan";
const REMOVE: &str = "Remove";

/// Whether copies stay because their workspace is being deleted and a person said so.
pub(crate) fn keeps(snapshot: &dyn Snapshot, cluster: &str) -> bool {
    match snapshot.get(&rows::farewell(cluster)) {
        Ok(row) => row.is_some_and(|version| version.row.as_ref() == ORPHAN.as_bytes()),
        // What cannot be read must not remove.
        Err(_) => true,
    }
}

/// Guards Workspaces and LogicalClusters.
pub(crate) struct FarewellHook(pub(crate) Seat);

impl FarewellHook {
    /// How many copies a logical cluster has at edges.
    fn copies(&self, cluster: &str) -> Result<u64, Status> {
        let shared = self.0.get().and_then(std::sync::Weak::upgrade);
        // Before the fleet has started nobody knows: better to ask again than to lose copies.
        let shared = shared.ok_or_else(|| Status::service_unavailable("the fleet is starting"))?;
        let world = shared.world.read();
        let policies = world.policies.values().filter(|p| &*p.cluster == cluster);
        Ok(policies.map(PolicyState::copies).sum())
    }
}

#[async_trait]
impl Hook for FarewellHook {
    fn resources(&self) -> Vec<GroupResource> {
        vec![
            GroupResource::new("tenancy.kcp.io", "workspaces"),
            GroupResource::new("core.kcp.io", "logicalclusters"),
        ]
    }

    async fn admit(&self, _: &Registry, review: &mut Review<'_>) -> Result<(), Status> {
        if review.operation != Operation::Delete {
            return Ok(());
        }
        let is_workspace = review.definition.names.plural == "workspaces";
        let cluster = if is_workspace {
            review
                .object
                .pointer("/spec/cluster")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        } else {
            review.cluster.as_str().to_owned()
        };
        if cluster.is_empty() {
            return Ok(());
        }
        let said = meta::annotation(review.object, DELETION_POLICY).map(str::to_owned);
        match said.as_deref() {
            Some(choice @ (ORPHAN | REMOVE)) => {
                let row = choice.as_bytes().to_vec().into();
                review
                    .writes
                    .push(Write::Put(rows::farewell(&cluster), row));
                Ok(())
            }
            // A LogicalCluster follows its Workspace, which was asked before.
            _ if !is_workspace
                && review
                    .snapshot
                    .get(&rows::farewell(&cluster))
                    .is_ok_and(|row| row.is_some()) =>
            {
                Ok(())
            }
            _ => match self.copies(&cluster)? {
                0 => Ok(()),
                copies => Err(Status::forbidden(
                    &GroupResource::new(
                        &*review.definition.group,
                        &*review.definition.names.plural,
                    ),
                    meta::name(review.object),
                    format!(
                        "{copies} copies of its objects are at edges: set the annotation {DELETION_POLICY} to {REMOVE} (they are removed) or {ORPHAN} (they stay there) first"
                    ),
                )),
            },
        }
    }
}
