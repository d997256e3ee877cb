//! The one logical cluster of a sandbox, and who may enter it.

use atoll_kube::Status;
use atoll_registry::{
    Attributes, Authorizer, ClusterKind, ClusterName, ClusterResolver, Decision, Registry,
    ResourceRef,
};
use serde_json::json;

/// The namespaces that every Kubernetes cluster has.
const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/// The cluster's name in the store: none, so that objects show no `kcp.io/cluster`, as in any Kubernetes.
pub(crate) fn name() -> ClusterName {
    ClusterName::new("")
}

/// Every path is the one cluster, which speaks all of Kubernetes.
pub(crate) struct OneCluster;

impl ClusterResolver for OneCluster {
    fn resolve(&self, _path: &str) -> Result<ClusterName, Status> {
        Ok(name())
    }

    fn kind(&self, _cluster: &ClusterName) -> Result<ClusterKind, Status> {
        Ok(ClusterKind::Kubernetes)
    }
}

/// A sandbox has one user, its administrator.
pub(crate) struct OnlyMasters;

impl Authorizer for OnlyMasters {
    fn authorize(&self, attributes: &Attributes) -> Decision {
        if attributes
            .user
            .groups
            .iter()
            .any(|group| group == "system:masters")
        {
            Decision::Allow
        } else {
            Decision::NoOpinion("a sandbox serves only its administrator".into())
        }
    }
}

/// Makes what a fresh cluster has.
pub(crate) async fn bootstrap(registry: &Registry) -> Result<(), Status> {
    let client = registry.as_system(name());
    let namespaces = ResourceRef::new("", "v1", "namespaces");
    for namespace in NAMESPACES {
        if client.find(&namespaces, None, namespace).await?.is_none() {
            let object =
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
            client.create(&namespaces, object).await?;
        }
    }
    Ok(())
}
