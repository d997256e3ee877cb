//! The rows a logical cluster is born with, as plain objects. Pure: ids, times and names are arguments.

use atoll_kube::{Timestamp, UserInfo};
use serde_json::{Map, Value, json};

use crate::facts::TypeRef;
use crate::kinds::{
    ANNOTATION_KIND, ANNOTATION_OWNER, ANNOTATION_PATH, ANNOTATION_REQUIRED_GROUPS,
    ANNOTATION_TYPE, CORE, FINALIZER_LOGICAL_CLUSTER, LABEL_PHASE, RBAC, TENANCY, WORKSPACE_ADMIN,
};
use crate::names::LOGICAL_CLUSTER;

/// What a new logical cluster is.
pub(crate) struct Birth<'a> {
    pub(crate) path: &'a str,
    pub(crate) of_type: &'a TypeRef,
    /// `payload` or `inventory`, where it is one.
    pub(crate) kind: Option<&'a str>,
    pub(crate) url: &'a str,
    pub(crate) creator: Option<&'a UserInfo>,
    pub(crate) required_groups: Option<&'a str>,
    /// The Workspace: logical cluster, name, uid.
    pub(crate) owner: Option<(&'a str, &'a str, &'a str)>,
    pub(crate) now: Timestamp,
}

impl Birth<'_> {
    /// The LogicalCluster, Ready.
    pub(crate) fn logical_cluster(&self) -> Value {
        let mut annotations = Map::new();
        annotations.insert(ANNOTATION_PATH.into(), json!(self.path));
        annotations.insert(ANNOTATION_TYPE.into(), json!(self.of_type.to_string()));
        if let Some(kind) = self.kind {
            annotations.insert(ANNOTATION_KIND.into(), json!(kind));
        }
        if let Some(creator) = self.creator {
            annotations.insert(ANNOTATION_OWNER.into(), json!(owner_json(creator)));
        }
        if let Some(groups) = self.required_groups {
            annotations.insert(ANNOTATION_REQUIRED_GROUPS.into(), json!(groups));
        }
        let mut spec = Map::new();
        if let Some((cluster, name, uid)) = self.owner {
            let owner = json!({
                "apiVersion": format!("{TENANCY}/v1alpha1"), "resource": "workspaces",
                "cluster": cluster, "name": name, "uid": uid,
            });
            spec.insert("owner".into(), owner);
        }
        json!({
            "apiVersion": format!("{CORE}/v1alpha1"), "kind": "LogicalCluster",
            "metadata": {
                "name": LOGICAL_CLUSTER,
                "annotations": annotations,
                "labels": {LABEL_PHASE: "Ready"},
                "finalizers": [FINALIZER_LOGICAL_CLUSTER],
            },
            "spec": spec,
            "status": {"URL": self.url, "phase": "Ready", "conditions": ready_conditions(self.now)},
        })
    }

    /// The ClusterRoleBinding that makes the creator the administrator.
    pub(crate) fn admin_binding(&self) -> Option<Value> {
        let creator = self.creator?;
        Some(json!({
            "apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRoleBinding",
            "metadata": {"name": WORKSPACE_ADMIN},
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"apiGroup": RBAC, "kind": "User", "name": creator.username}],
        }))
    }
}

/// The Namespace every logical cluster has from birth.
pub(crate) fn default_namespace() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "default", "labels": {"kubernetes.io/metadata.name": "default"}},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    })
}

/// The conditions of a workspace that is ready.
pub(crate) fn ready_conditions(now: Timestamp) -> Value {
    let condition =
        |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": now.rfc3339()});
    json!([
        condition("WorkspaceInitialized"),
        condition("WorkspaceScheduled")
    ])
}

/// A user as the owner annotation keeps them: once a workspace is ready, the name is all.
pub(crate) fn owner_json(user: &UserInfo) -> String {
    json!({"username": user.username}).to_string()
}
