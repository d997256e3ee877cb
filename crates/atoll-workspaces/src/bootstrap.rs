//! What the tree of workspaces starts from: root, its types, and the rights everybody has there.
//!
//! Run at every start before the first request. What exists is left as it is, except the bootstrap policy, whose copies in
//! `system:admin` follow the program. All missing objects are written at once, so a first start costs one or two
//! commits of the log.

use atoll_kube::{Status, meta};
use atoll_registry::{ClusterName, Registry, ResourceId};
use atoll_store::{Append, AppendError};
use futures::future::try_join_all;
use serde_json::{Value, json};

use crate::birth::{Birth, default_namespace};
use crate::facts::TypeRef;
use crate::kinds::{
    self, ANNOTATION_PATH, CORE, GROUP_AUTHENTICATED, MANAGER, RBAC, SHARD, TENANCY,
};
use crate::names::{ROOT, SYSTEM_ADMIN};
use crate::rbac::bootstrap as policy;
use crate::rows;
use crate::shared::Workspaces;

/// Types that everybody may use.
const OPEN_TYPES: [&str; 5] = ["universal", "organization", "team", "payload", "inventory"];

impl Workspaces {
    /// Makes whatever is missing.
    pub async fn bootstrap(&self, registry: &Registry) -> Result<(), Status> {
        let (root, admin) = (ClusterName::new(ROOT), ClusterName::new(SYSTEM_ADMIN));
        let mut wanted: Vec<(&ClusterName, ResourceId, Value)> = Vec::new();
        wanted.push((
            &root,
            kinds::logical_clusters(),
            self.root_logical_cluster(registry),
        ));
        wanted.push((&root, kinds::namespaces(), default_namespace()));
        wanted.push((&root, ResourceId::builtin(CORE, "shards"), self.shard()));
        wanted.extend(
            types()
                .into_iter()
                .map(|object| (&root, kinds::workspace_types(), object)),
        );
        for (resource, object) in self.rights_in_root() {
            wanted.push((&root, kinds::rbac(resource), object));
        }
        for object in &policy().cluster_roles {
            wanted.push((
                &admin,
                kinds::rbac("clusterroles"),
                rbac_object("ClusterRole", object),
            ));
        }
        for object in &policy().cluster_role_bindings {
            wanted.push((
                &admin,
                kinds::rbac("clusterrolebindings"),
                rbac_object("ClusterRoleBinding", object),
            ));
        }
        try_join_all(
            wanted
                .into_iter()
                .map(|(cluster, id, object)| ensure(registry, cluster, id, object)),
        )
        .await?;
        Ok(())
    }

    fn root_logical_cluster(&self, registry: &Registry) -> Value {
        let birth = Birth {
            path: ROOT,
            of_type: &TypeRef::new(ROOT, "root"),
            kind: None,
            url: &self.url(ROOT),
            creator: None,
            required_groups: None,
            owner: None,
            now: registry.now(),
        };
        birth.logical_cluster()
    }

    fn shard(&self) -> Value {
        let url = self.options.external_url.trim_end_matches('/');
        json!({
            "apiVersion": format!("{CORE}/v1alpha1"), "kind": "Shard",
            "metadata": {"name": SHARD, "labels": {"name": SHARD}},
            "spec": {"baseURL": url, "externalURL": url, "virtualWorkspaceURL": url},
        })
    }

    fn rights_in_root(&self) -> Vec<(&'static str, Value)> {
        let everybody = [GROUP_AUTHENTICATED.to_owned()];
        let use_types = json!([{
            "verbs": ["use"], "apiGroups": [TENANCY], "resources": ["workspacetypes"], "resourceNames": OPEN_TYPES,
        }]);
        let home = json!([{
            "verbs": ["get", "create"], "apiGroups": [TENANCY], "resources": ["workspaces"], "resourceNames": ["~"],
        }]);
        let homes = &self.options.home_creator_groups;
        vec![
            (
                "clusterroles",
                role("system:kcp:tenancy:use-types", &use_types),
            ),
            (
                "clusterroles",
                role("system:kcp:tenancy:home-creator", &home),
            ),
            (
                "clusterrolebindings",
                binding(
                    "system:kcp:authenticated:access",
                    "system:kcp:workspace:access",
                    &everybody,
                ),
            ),
            (
                "clusterrolebindings",
                binding(
                    "system:kcp:tenancy:use-types",
                    "system:kcp:tenancy:use-types",
                    &everybody,
                ),
            ),
            (
                "clusterrolebindings",
                binding(
                    "system:kcp:tenancy:home-creator",
                    "system:kcp:tenancy:home-creator",
                    homes,
                ),
            ),
        ]
    }
}

/// Creates an object that is missing; brings the system's own policy up to date.
async fn ensure(
    registry: &Registry,
    cluster: &ClusterName,
    id: ResourceId,
    object: Value,
) -> Result<(), Status> {
    let snapshot = registry
        .store()
        .snapshot(atoll_store::At::Latest)
        .map_err(rows::unreadable)?;
    let name = meta::name(&object).to_owned();
    match rows::find(&*snapshot, &id, cluster.as_str(), None, &name)? {
        None => {
            let seed = registry.seed(cluster, object, MANAGER, registry.now())?;
            let append = Append {
                checks: vec![seed.absent()],
                writes: vec![seed.write],
            };
            match registry.store().append(append).await {
                Ok(_) | Err(AppendError::Failed { .. }) => Ok(()),
                Err(error) => Err(Status::internal(error)),
            }
        }
        Some(stored) if cluster.as_str() == SYSTEM_ADMIN => {
            let fields = ["rules", "aggregationRule", "roleRef", "subjects"];
            if fields
                .iter()
                .all(|field| stored.value.get(field) == object.get(field))
            {
                return Ok(());
            }
            let mut updated = object;
            meta::set(
                &mut updated,
                "resourceVersion",
                stored.version.modified.0.to_string(),
            );
            registry
                .as_system(cluster.clone())
                .update(&kinds::at_storage_version(&id), updated)
                .await
                .map(|_| ())
        }
        Some(_) => Ok(()),
    }
}

/// root's WorkspaceTypes: kcp's, and ours for what is destined for edges and for the destinations.
fn types() -> Vec<Value> {
    let reference = |name: &str| json!({"path": ROOT, "name": name});
    let only = |names: &[&str]| json!({"types": names.iter().map(|name| reference(name)).collect::<Vec<_>>()});
    let none = json!({"none": true});
    let specs = [
        (
            "root",
            json!({"defaultChildWorkspaceType": reference("organization"), "limitAllowedParents": none}),
        ),
        ("universal", json!({})),
        (
            "home",
            json!({"defaultChildWorkspaceType": reference("universal"), "limitAllowedParents": none}),
        ),
        (
            "organization",
            json!({"defaultChildWorkspaceType": reference("universal"), "limitAllowedParents": only(&["root"])}),
        ),
        (
            "team",
            json!({
                "defaultChildWorkspaceType": reference("universal"),
                "limitAllowedParents": only(&["organization", "team"]),
            }),
        ),
        ("payload", json!({"limitAllowedChildren": none})),
        ("inventory", json!({"limitAllowedChildren": none})),
    ];
    specs
        .into_iter()
        .map(|(name, spec)| {
            json!({
                "apiVersion": format!("{TENANCY}/v1alpha1"), "kind": "WorkspaceType",
                "metadata": {"name": name, "annotations": {ANNOTATION_PATH: ROOT}},
                "spec": spec,
            })
        })
        .collect()
}

fn role(name: &str, rules: &Value) -> Value {
    rbac_object(
        "ClusterRole",
        &json!({"metadata": {"name": name}, "rules": rules}),
    )
}

fn binding(name: &str, role: &str, groups: &[String]) -> Value {
    let subjects: Vec<Value> = groups
        .iter()
        .map(|group| json!({"apiGroup": RBAC, "kind": "Group", "name": group}))
        .collect();
    rbac_object(
        "ClusterRoleBinding",
        &json!({
            "metadata": {"name": name},
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
            "subjects": subjects,
        }),
    )
}

fn rbac_object(kind: &str, object: &Value) -> Value {
    let mut object = object.clone();
    object["apiVersion"] = json!(format!("{RBAC}/v1"));
    object["kind"] = json!(kind);
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Family, TypeSpec, refuse_nesting};

    #[test]
    fn roots_types_nest_as_kcp_and_the_architecture_say() {
        let types = types();
        let family = |name: &str| {
            let object = types
                .iter()
                .find(|object| meta::name(object) == name)
                .unwrap();
            Family(vec![TypeSpec::of(ROOT, object)])
        };
        let rows = [
            ("root", "organization", true),
            ("root", "universal", true),
            ("root", "payload", true),
            ("root", "inventory", true),
            ("root", "team", false),
            ("root", "home", false),
            ("root", "root", false),
            ("organization", "team", true),
            ("organization", "organization", false),
            ("organization", "payload", true),
            ("team", "team", true),
            ("team", "inventory", true),
            ("universal", "universal", true),
            ("home", "universal", true),
            ("payload", "universal", false),
            ("payload", "payload", false),
            ("inventory", "universal", false),
        ];
        for (parent, child, allowed) in rows {
            let refused = refuse_nesting(&family(parent), &family(child));
            assert_eq!(
                refused.is_none(),
                allowed,
                "{child} in {parent}: {refused:?}"
            );
        }
    }
}
