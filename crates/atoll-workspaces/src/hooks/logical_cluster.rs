//! A LogicalCluster belongs to the system: people may annotate it, and delete it where that is allowed.

use async_trait::async_trait;
use atoll_kube::{GroupResource, Status, meta};
use atoll_registry::{Hook, Operation, Registry, Review};
use serde_json::Value;

use super::workspace::{keep_annotations, mark_deleting};
use crate::deletion::{release, workspace_of};
use crate::kinds::{
    self, ANNOTATION_KIND, ANNOTATION_OWNER, ANNOTATION_PATH, ANNOTATION_REQUIRED_GROUPS,
    ANNOTATION_TYPE, CORE, FINALIZER_LOGICAL_CLUSTER, GROUP_LOGICAL_CLUSTER_ADMIN, GROUP_MASTERS,
};
use crate::names::LOGICAL_CLUSTER;
use crate::rows;
use crate::shared::forbidden;

/// Annotations that only the system writes.
const PROTECTED: [&str; 5] = [
    ANNOTATION_PATH,
    ANNOTATION_TYPE,
    ANNOTATION_KIND,
    ANNOTATION_OWNER,
    ANNOTATION_REQUIRED_GROUPS,
];

pub(crate) struct LogicalClusterHook;

#[async_trait]
impl Hook for LogicalClusterHook {
    fn resources(&self) -> Vec<GroupResource> {
        vec![kinds::group_resource(&kinds::logical_clusters())]
    }

    async fn admit(&self, _: &Registry, review: &mut Review<'_>) -> Result<(), Status> {
        let user = &review.call.user;
        let privileged = user.is_in(GROUP_MASTERS) || user.is_in(GROUP_LOGICAL_CLUSTER_ADMIN);
        let refuse = |why: &str| {
            Err(forbidden(
                CORE,
                "logicalclusters",
                meta::name(review.object),
                why,
            ))
        };
        match review.operation {
            Operation::Create if !user.is_in(GROUP_MASTERS) => {
                refuse("LogicalCluster cannot be created; create a Workspace in its parent")
            }
            Operation::Update => {
                if let Some(old) = review.old
                    && !privileged
                {
                    keep_annotations(old, review.object, &PROTECTED);
                    keep(old, review.object, "spec");
                    keep(old, review.object, "status");
                    if meta::has_finalizer(old, FINALIZER_LOGICAL_CLUSTER) {
                        meta::add_finalizer(review.object, FINALIZER_LOGICAL_CLUSTER);
                    }
                }
                Ok(())
            }
            Operation::Delete => {
                if review.cluster.as_str() == crate::names::ROOT {
                    return refuse("the root LogicalCluster cannot be deleted");
                }
                let direct = review
                    .object
                    .pointer("/spec/directlyDeletable")
                    .and_then(Value::as_bool);
                if !privileged && direct != Some(true) {
                    return refuse(
                        "LogicalCluster cannot be deleted; delete its Workspace in the parent",
                    );
                }
                mark_deleting(review.object);
                Ok(())
            }
            Operation::Remove => {
                // Its content is gone; its Workspace goes with it.
                let id = kinds::logical_clusters();
                let stored = rows::find(
                    &**review.snapshot,
                    &id,
                    review.cluster.as_str(),
                    None,
                    LOGICAL_CLUSTER,
                )?;
                if let Some(stored) = stored
                    && let Some(workspace) = workspace_of(&**review.snapshot, &stored)?
                {
                    let (check, write) = release(workspace, review.call.now);
                    review.checks.push(check);
                    review.writes.push(write);
                }
                Ok(())
            }
            Operation::Create => Ok(()),
        }
    }
}

/// Puts back a field as it was.
fn keep(old: &Value, object: &mut Value, field: &str) {
    match old.get(field) {
        Some(value) => object[field] = value.clone(),
        None => {
            if let Some(map) = object.as_object_mut() {
                map.remove(field);
            }
        }
    }
}
