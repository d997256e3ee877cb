//! Home workspaces: a logical cluster for each user, made when they first ask for it.
//!
//! `GET /clusters/root/apis/tenancy.kcp.io/v1alpha1/workspaces/~` is the one read that writes. No Workspace is stored;
//! the answer is made up from the LogicalCluster.

use std::sync::Arc;

use atoll_kube::{GroupResource, Status, UserInfo, meta};
use atoll_registry::{Attributes, ClusterName, Clusters, Registry};
use atoll_store::{Append, AppendError};
use serde_json::{Value, json};

use crate::birth::{Birth, default_namespace};
use crate::facts::TypeRef;
use crate::kinds::{self, MANAGER, TENANCY};
use crate::names::{self, LOGICAL_CLUSTER, ROOT};
use crate::rows;
use crate::shared::Workspaces;

/// The name under which a user asks for their own.
pub const HOME: &str = "~";

impl Workspaces {
    /// The Workspace `~` of a user, made when it does not exist. Authorizes by itself.
    pub async fn home(&self, registry: &Registry, user: &Arc<UserInfo>) -> Result<Value, Status> {
        let resource = GroupResource::new(TENANCY, "workspaces");
        if !self.options.home_workspaces {
            return Err(Status::not_found(&resource, HOME));
        }
        self.authorize_home(user, &resource)?;
        let cluster = ClusterName::new(names::home_cluster_name(&user.username));
        if let Some(workspace) = self.read_home(&cluster)? {
            return Ok(workspace);
        }
        self.make_home(registry, user, &cluster).await?;
        self.read_home(&cluster)?
            .ok_or_else(|| Status::internal("a home workspace vanished while it was made"))
    }

    fn authorize_home(&self, user: &Arc<UserInfo>, resource: &GroupResource) -> Result<(), Status> {
        let asked = Attributes {
            user: user.clone(),
            verb: "create".to_owned(),
            clusters: Clusters::One(ClusterName::new(ROOT)),
            group: TENANCY.to_owned(),
            version: "v1alpha1".to_owned(),
            resource: "workspaces".to_owned(),
            subresource: None,
            namespace: None,
            name: Some(HOME.to_owned()),
            path: None,
        };
        if self.access.decide(&asked).is_allowed() {
            return Ok(());
        }
        let why = format!(
            "User {:?} cannot create resource \"workspaces\" in API group {TENANCY:?} at the cluster scope: workspace \
             access not permitted",
            user.username
        );
        Err(Status::forbidden(resource, HOME, why))
    }

    async fn make_home(
        &self,
        registry: &Registry,
        user: &UserInfo,
        cluster: &ClusterName,
    ) -> Result<(), Status> {
        let birth = Birth {
            path: &names::home_path(&user.username),
            of_type: &TypeRef::new(ROOT, "home"),
            kind: None,
            url: &self.url(cluster.as_str()),
            creator: Some(user),
            required_groups: None,
            owner: None,
            now: registry.now(),
        };
        let mut append = Append::default();
        for object in [
            Some(birth.logical_cluster()),
            Some(default_namespace()),
            birth.admin_binding(),
        ] {
            let Some(object) = object else { continue };
            let seed = registry.seed(cluster, object, MANAGER, registry.now())?;
            append.checks.push(seed.absent());
            append.writes.push(seed.write);
        }
        match registry.store().append(append).await {
            // Two first requests at once: the other one made it.
            Ok(_) | Err(AppendError::Failed { .. }) => Ok(()),
            Err(error) => Err(Status::internal(error)),
        }
    }

    fn read_home(&self, cluster: &ClusterName) -> Result<Option<Value>, Status> {
        let snapshot = self.tree.snapshot()?;
        let stored = rows::find(
            &*snapshot,
            &kinds::logical_clusters(),
            cluster.as_str(),
            None,
            LOGICAL_CLUSTER,
        )?;
        Ok(stored.map(|stored| {
            let object = &stored.value;
            let field = |name: &str| object.pointer(&format!("/status/{name}")).cloned().unwrap_or(Value::Null);
            let mut status = json!({"phase": field("phase"), "conditions": field("conditions")});
            if let Some(initializers) = object.pointer("/status/initializers") {
                status["initializers"] = initializers.clone();
            }
            json!({
                "apiVersion": format!("{TENANCY}/v1alpha1"), "kind": "Workspace",
                "metadata": {"name": LOGICAL_CLUSTER, "creationTimestamp": meta::get(object, "creationTimestamp")},
                "spec": {"cluster": cluster.as_str(), "URL": field("URL")},
                "status": status,
            })
        }))
    }
}
