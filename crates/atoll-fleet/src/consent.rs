//! Whose inventory a policy uses, and whether its owner consents.
//!
//! The inventory is `spec.inventory`, else the annotation `edge.atoll.dev/inventory` on the payload workspace's LogicalCluster, else the sibling workspace named
//! `inventory`. Whoever writes a policy needs the verb `place` on `inventories.edge.atoll.dev` `cluster` there; who that was is remembered, so that withdrawing
//! the permission stops new placements (and removes nothing).

use std::sync::Arc;

use async_trait::async_trait;
use atoll_kube::{GroupKind, GroupResource, Status, UserInfo, meta};
use atoll_placement::bundle;
use atoll_placement::policy::Policy;
use atoll_placement::render;
use atoll_registry::{
    Attributes, Authorizer, ClusterKind, ClusterName, ClusterResolver, Clusters, Decision, Hook,
    Operation, Registry, ResourceId, Review,
};
use atoll_store::{Snapshot, Write};
use serde_json::Value;

use crate::reach;
use crate::rows;
use crate::signals;
use crate::source::CONTROL;

/// Names the inventory of a payload workspace.
const INVENTORY: &str = "edge.atoll.dev/inventory";

/// There is no inventory where a policy says.
pub(crate) struct NoInventory {
    /// Where that is; empty when it says nothing.
    pub(crate) path: String,
    /// For the policy's condition.
    pub(crate) why: String,
}

impl From<String> for NoInventory {
    fn from(why: String) -> Self {
        NoInventory {
            path: String::new(),
            why,
        }
    }
}

/// The path and the logical cluster of the inventory that a policy of `cluster` uses.
pub(crate) fn resolve(
    resolver: &dyn ClusterResolver,
    snapshot: &dyn Snapshot,
    cluster: &str,
    spec: &Policy,
) -> Result<(String, ClusterName), NoInventory> {
    let of = |path: &str| {
        let no = |why| NoInventory {
            path: path.to_owned(),
            why,
        };
        let found = resolver
            .resolve(path)
            .map_err(|_| no(format!("there is no workspace {path:?}")))?;
        match resolver.kind(&found) {
            Ok(ClusterKind::Inventory) => Ok((path.to_owned(), found)),
            _ => Err(no(format!("workspace {path:?} is not of type inventory"))),
        }
    };
    if let Some(path) = &spec.inventory {
        return of(path);
    }
    let logical = logical_cluster(snapshot, cluster)?;
    if let Some(path) = logical
        .as_ref()
        .and_then(|l| meta::annotation(l, INVENTORY))
    {
        return of(path);
    }
    let path = logical
        .as_ref()
        .and_then(|l| meta::annotation(l, "kcp.io/path"))
        .unwrap_or(cluster);
    match path.rsplit_once(':') {
        Some((parent, _)) => of(&format!("{parent}:inventory")).map_err(|no| NoInventory {
            why: format!(
                "{}; name the inventory in spec.inventory or in the annotation {INVENTORY}",
                no.why
            ),
            ..no
        }),
        None => Err(
            "spec.inventory is not set, and the workspace has no parent to look for one beside it"
                .to_owned()
                .into(),
        ),
    }
}

fn logical_cluster(snapshot: &dyn Snapshot, cluster: &str) -> Result<Option<Value>, String> {
    let key = ResourceId::builtin("core.kcp.io", "logicalclusters").key(cluster, None, "cluster");
    let Some(version) = snapshot.get(&key).map_err(|e| e.to_string())? else {
        return Ok(None);
    };
    crate::source::control_value(&version.row, "core.kcp.io/v1alpha1", "LogicalCluster")
        .map(Some)
        .map_err(|e| e.to_string())
}

/// Whether a user may place on an inventory.
pub(crate) fn may_place(
    authorizer: &dyn Authorizer,
    user: &Arc<UserInfo>,
    inventory: &ClusterName,
) -> Result<(), String> {
    if user.is_in("system:masters") {
        return Ok(());
    }
    let attributes = Attributes {
        user: user.clone(),
        verb: "place".to_owned(),
        clusters: Clusters::One(inventory.clone()),
        group: "edge.atoll.dev".to_owned(),
        version: "v1alpha1".to_owned(),
        resource: "inventories".to_owned(),
        subresource: None,
        namespace: None,
        name: Some("cluster".to_owned()),
        path: None,
    };
    match authorizer.authorize_from_elsewhere(&attributes) {
        Decision::Allow => Ok(()),
        Decision::Deny(_) | Decision::NoOpinion(_) => Err(no_consent(user, inventory.as_str())),
    }
}

fn no_consent(user: &UserInfo, inventory: &str) -> String {
    format!(
        "user {:?} needs the verb \"place\" on inventories.edge.atoll.dev \"cluster\" in the inventory {inventory}",
        user.username
    )
}

/// Who wrote a policy last; `None` for one that was written by the system.
pub(crate) fn writer(
    snapshot: &dyn Snapshot,
    cluster: &str,
    policy: &str,
) -> Option<Arc<UserInfo>> {
    let version = snapshot.get(&rows::consent(cluster, policy)).ok()??;
    serde_json::from_slice(&version.row).ok().map(Arc::new)
}

/// Admission of BindingPolicies, and of our annotations on payload objects.
pub struct PolicyHook {
    authorizer: Arc<dyn Authorizer>,
}

impl PolicyHook {
    /// Asks this authorizer for consent.
    pub fn new(authorizer: Arc<dyn Authorizer>) -> Self {
        PolicyHook { authorizer }
    }
}

#[async_trait]
impl Hook for PolicyHook {
    fn resources(&self) -> Vec<GroupResource> {
        vec![GroupResource::new(CONTROL, "bindingpolicies")]
    }

    async fn admit(&self, registry: &Registry, review: &mut Review<'_>) -> Result<(), Status> {
        let key = rows::consent(review.cluster.as_str(), review.name());
        if review.operation == Operation::Delete {
            review.writes.push(Write::Delete(key, None));
            return Ok(());
        }
        let unchanged = review
            .old
            .is_some_and(|old| old.get("spec") == review.object.get("spec"));
        if review.subresource.is_some() || unchanged {
            return Ok(());
        }
        let spec = review.object.get("spec").cloned().unwrap_or(Value::Null);
        let policy = Policy::parse(&spec).map_err(|errors| {
            Status::invalid(
                &GroupKind::new(CONTROL, "BindingPolicy"),
                review.name(),
                &errors,
            )
        })?;
        let nowhere = policy.clusters.is_empty() && policy.asked.expressions.is_empty();
        if nowhere || (policy.downsync.is_empty() && policy.upsync.is_empty()) {
            review.warnings.push(
                "a BindingPolicy without clusterSelectors or without downsync selects nothing"
                    .to_owned(),
            );
        }
        if let Ok(surface) = registry.surface(review.cluster) {
            let said = reach::in_vain(&policy, surface.definitions());
            review.warnings.extend(said);
        }
        if let Some(token) = &policy.confirm_removal {
            let old = |path: &str| review.old.and_then(|old| old.pointer(path));
            let same = old("/spec/confirmRemoval").and_then(Value::as_str) == Some(token);
            let warning = match old("/status/removalHeld/token").and_then(Value::as_str) {
                _ if same => None,
                None => Some("spec.confirmRemoval: no removal of this policy is held: there is nothing to confirm".to_owned()),
                Some(held) if held != token => Some(format!(
                    "spec.confirmRemoval: {token:?} confirms nothing: the removal that is held has the token {held:?}"
                )),
                Some(_) => None,
            };
            review.warnings.extend(warning);
        }
        match resolve(
            registry.resolver().as_ref(),
            review.snapshot.as_ref(),
            review.cluster.as_str(),
            &policy,
        ) {
            Ok((path, inventory)) => {
                let user = &review.call.user;
                may_place(self.authorizer.as_ref(), user, &inventory)
                    .map_err(|_| refuse(review, &path))?;
                let snapshot = review.snapshot.as_ref();
                let unknown = signals::unknown(&policy.asked, snapshot, inventory.as_str());
                review.warnings.extend(unknown);
            }
            // Somebody who could not learn otherwise what is there is told what somebody without consent is told.
            Err(no)
                if !no.path.is_empty()
                    && !self.authorizer.may_know(&review.call.user, &no.path) =>
            {
                return Err(refuse(review, &no.path));
            }
            // The inventory may come later; nothing is placed until then, and its owner's consent is asked again.
            Err(no) => review
                .warnings
                .push(format!("nothing is placed yet: {}", no.why)),
        }
        let user = serde_json::to_vec(review.call.user.as_ref())
            .map_err(|e| Status::internal(e.to_string()))?;
        review.writes.push(Write::Put(key, user.into()));
        Ok(())
    }
}

fn refuse(review: &Review<'_>, inventory: &str) -> Status {
    Status::forbidden(
        &GroupResource::new(CONTROL, "bindingpolicies"),
        review.name(),
        no_consent(&review.call.user, inventory),
    )
}

/// Refuses payload objects whose annotations of ours cannot be understood.
pub struct AnnotationHook;

#[async_trait]
impl Hook for AnnotationHook {
    fn resources(&self) -> Vec<GroupResource> {
        Vec::new()
    }

    async fn admit(&self, _registry: &Registry, review: &mut Review<'_>) -> Result<(), Status> {
        let written = matches!(review.operation, Operation::Create | Operation::Update);
        if review.kind != ClusterKind::Payload || !written {
            return Ok(());
        }
        let warned = bundle::doubtful_annotations(review.object);
        review.warnings.extend(warned);
        let mut errors = bundle::check_annotations(review.object);
        let (group, resource) = (&review.definition.group, &review.definition.names.plural);
        errors.extend(render::check_templates(group, resource, review.object));
        if errors.is_empty() {
            return Ok(());
        }
        let definition = review.definition;
        let kind = GroupKind::new(definition.group.clone(), definition.names.kind.clone());
        Err(Status::invalid(&kind, meta::name(review.object), &errors))
    }
}

/// Refuses CustomTransforms and Customizers that cannot be understood.
pub(crate) struct ShapeHook;

#[async_trait]
impl Hook for ShapeHook {
    fn resources(&self) -> Vec<GroupResource> {
        vec![
            GroupResource::new(CONTROL, "customtransforms"),
            GroupResource::new("edge.atoll.dev", "customizers"),
        ]
    }

    async fn admit(&self, registry: &Registry, review: &mut Review<'_>) -> Result<(), Status> {
        let written = matches!(review.operation, Operation::Create | Operation::Update);
        if !written || review.subresource.is_some() {
            return Ok(());
        }
        let name = meta::name(review.object);
        let spec = review.object.get("spec").unwrap_or(&Value::Null);
        let kind = &review.definition.names.kind;
        let parsed = if kind == "CustomTransform" {
            render::CustomTransform::parse(name, spec).map(drop)
        } else {
            let mut layers = render::Layers::new();
            render::Customizer::parse(name, spec, &mut layers).map(drop)
        };
        if let Ok(surface) = registry.surface(review.cluster) {
            let said = reach::targets_in_vain(kind, spec, surface.definitions());
            review.warnings.extend(said);
        }
        let group = review.definition.group.clone();
        parsed
            .map_err(|errors| Status::invalid(&GroupKind::new(group, kind.clone()), name, &errors))
    }
}
