//! Deleting a payload workspace that has copies at edges: only after a person said what becomes of them.
//!
//! The annotation `edge.atoll.dev/deletion-policy` (`Orphan` or `Remove`) on the Workspace or its LogicalCluster decides. The decision is written in the very append that
//! begins the deletion, because what follows (policies and objects going one by one) must still know it when the workspace is half gone. Each workspace is answered for
//! by itself: one with children cannot go before those below it that have copies were.

use async_trait::async_trait;
use atoll_kube::{GroupResource, Status, meta};
use atoll_registry::{ClusterName, Clusters, Hook, Operation, Registry, ResourceId, Review};
use atoll_store::{Snapshot, Write};
use serde_json::Value;

use crate::Seat;
use crate::model::PolicyState;
use crate::rows;
use crate::source;

/// What becomes of the copies.
pub(crate) const DELETION_POLICY: &str = "edge.atoll.dev/deletion-policy";
const ORPHAN: &str = "Orphan";
const REMOVE: &str = "Remove";
/// So many workspaces are named in a refusal.
const MOST_NAMED: usize = 5;

/// Whether copies stay because their workspace is being deleted and a person said so.
pub(crate) fn keeps(snapshot: &dyn Snapshot, cluster: &str) -> bool {
    match snapshot.get(&rows::farewell(cluster)) {
        Ok(row) => row.is_some_and(|version| version.row.as_ref() == ORPHAN.as_bytes()),
        // What cannot be read must not remove.
        Err(_) => true,
    }
}

/// Whether a workspace is being deleted and a person said what becomes of its copies.
pub(crate) fn is_said(snapshot: &dyn Snapshot, cluster: &str) -> bool {
    let row = snapshot.get(&rows::farewell(cluster));
    row.is_ok_and(|row| row.is_some())
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

    /// Workspaces below a logical cluster that nobody has answered for: how to name them, and how many copies they have. The cost is that of the subtree, which is to be
    /// deleted anyway.
    fn unanswered_below(
        &self,
        snapshot: &dyn Snapshot,
        cluster: &str,
        path: &str,
        found: &mut Vec<String>,
    ) -> Result<(), Status> {
        let internal = |error: &dyn std::fmt::Display| Status::internal(error.to_string());
        let clusters = Clusters::One(ClusterName::new(cluster));
        let children = ResourceId::builtin("tenancy.kcp.io", "workspaces");
        for item in snapshot.range(&children.prefix(&clusters, None, None), None) {
            let (_, version) = item.map_err(|e| internal(&e))?;
            let child = source::control_value(&version.row, "tenancy.kcp.io/v1alpha1", "Workspace")
                .map_err(|e| internal(&e))?;
            let below = child.pointer("/spec/cluster").and_then(Value::as_str);
            let Some(below) = below.filter(|_| found.len() < MOST_NAMED) else {
                continue;
            };
            let path = format!("{path}:{}", meta::name(&child));
            let answered = matches!(
                meta::annotation(&child, DELETION_POLICY),
                Some(ORPHAN | REMOVE)
            );
            let copies = if answered { 0 } else { self.copies(below)? };
            if copies > 0 {
                found.push(format!("{path} ({copies})"));
            }
            self.unanswered_below(snapshot, below, &path, found)?;
        }
        Ok(())
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
        if is_workspace {
            let mut below = Vec::new();
            let name = meta::name(review.object);
            self.unanswered_below(review.snapshot.as_ref(), &cluster, name, &mut below)?;
            if !below.is_empty() {
                return Err(Status::forbidden(
                    &GroupResource::new("tenancy.kcp.io", "workspaces"),
                    name,
                    format!(
                        "workspaces below it have copies of their objects at edges: {}; set the annotation {DELETION_POLICY} to {REMOVE} (they are removed) or {ORPHAN} \
                         (they stay there) on each of them first",
                        below.join(", ")
                    ),
                ));
            }
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
