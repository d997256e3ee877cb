//! A Workspace's life as the registry's writes see it.
//!
//! Creating one adds to the same append everything its logical cluster needs, so it is Ready in the answer. Deleting one
//! marks its LogicalCluster in the same append; the deletion controller does the rest.

use std::sync::Arc;

use async_trait::async_trait;
use atoll_kube::{FieldError, GroupKind, GroupResource, Row, Status, UserInfo, meta};
use atoll_registry::{
    Authorizer as _, ClusterName, ClusterResolver as _, Hook, Operation, Registry, Review,
};
use atoll_store::{Check, Write};
use serde_json::{Value, json};

use crate::birth::{Birth, default_namespace, owner_json, ready_conditions};
use crate::facts::{ClusterFacts, TypeRef};
use crate::kinds::{
    self, ANNOTATION_CLUSTER, ANNOTATION_OWNER, ANNOTATION_REQUIRED_GROUPS, ANNOTATION_SHARD,
    ANNOTATION_SHARD_HASH, FINALIZER_WORKSPACE, GROUP_MASTERS, LABEL_PHASE, MANAGER, SHARD,
    TENANCY,
};
use crate::names::{self, LOGICAL_CLUSTER, ROOT};
use crate::rows;
use crate::shared::{Ask, Workspaces, forbidden};
use crate::types::{Family, TypeLookup, refuse_nesting};

/// Annotations that only the system writes.
const PROTECTED: [&str; 5] = [
    ANNOTATION_OWNER,
    ANNOTATION_REQUIRED_GROUPS,
    ANNOTATION_CLUSTER,
    ANNOTATION_SHARD,
    ANNOTATION_SHARD_HASH,
];

/// Fields of the spec that never change once set.
const IMMUTABLE: [&str; 4] = ["type", "cluster", "location", "mount"];

pub(crate) struct WorkspaceHook(pub(crate) Workspaces);

#[async_trait]
impl Hook for WorkspaceHook {
    fn resources(&self) -> Vec<GroupResource> {
        vec![kinds::group_resource(&kinds::workspaces())]
    }

    async fn admit(&self, registry: &Registry, review: &mut Review<'_>) -> Result<(), Status> {
        match review.operation {
            Operation::Create => self.create(registry, review),
            Operation::Update => update(review),
            Operation::Delete => delete(review),
            Operation::Remove => Ok(()),
        }
    }
}

impl WorkspaceHook {
    fn create(&self, registry: &Registry, review: &mut Review<'_>) -> Result<(), Status> {
        let name = review.name().to_owned();
        let refuse = |why: String| forbidden(TENANCY, "workspaces", &name, why);
        let privileged = review.call.user.is_in(GROUP_MASTERS);
        let parent = self.0.tree.facts(review.cluster.as_str())?;
        let parent = parent.ok_or_else(|| refuse("workspaces cannot be created here".into()))?;
        check_spec(review.object, &name)?;

        let family = self.resolve_type(review, &parent, &name)?;
        let Some(of_type) = family.reference().cloned() else {
            return Err(Status::internal("a resolved workspace type has no name"));
        };
        self.check_use(review, &family, &name)?;
        let lookup = TypeLookup {
            tree: &self.0.tree,
            snapshot: &**review.snapshot,
        };
        let parents = match &parent.of_type {
            // A parent whose type has been deleted since restricts nothing.
            Some(of_type) => lookup.family(of_type)?.unwrap_or(Family(Vec::new())),
            None => Family(Vec::new()),
        };
        if let Some(why) = refuse_nesting(&parents, &family) {
            return Err(refuse(why));
        }

        let cluster = fresh_cluster(review)?;
        let path = format!("{}:{name}", parent.path);
        let url = self.0.url(&path);
        let required_groups = match meta::annotation(review.object, ANNOTATION_REQUIRED_GROUPS) {
            Some(groups) if privileged => Some(groups.to_owned()),
            _ => parent.required_groups_text.clone(),
        };
        let creator = review.call.user.clone();
        stamp(
            review.object,
            &family,
            &cluster,
            &url,
            required_groups.as_deref(),
            privileged,
            &owner_json(&creator),
        );
        meta::set(review.object, "finalizers", finalizers(review.object));
        review.object["status"] =
            json!({"phase": "Ready", "conditions": ready_conditions(review.call.now)});

        let kind = kind_of(&family);
        let uid = meta::uid(review.object).to_owned();
        let birth = Birth {
            path: &path,
            of_type: &of_type,
            kind,
            url: &url,
            creator: Some(&creator),
            required_groups: required_groups.as_deref(),
            owner: Some((review.cluster.as_str(), &name, &uid)),
            now: review.call.now,
        };
        // RBAC stored in a payload workspace is on its way to edges; there the creator is known by the annotation.
        let binding = birth.admin_binding().filter(|_| kind != Some("payload"));
        for object in [
            Some(birth.logical_cluster()),
            Some(default_namespace()),
            binding,
        ]
        .into_iter()
        .flatten()
        {
            let seed = registry.seed(&cluster, object, MANAGER, review.call.now)?;
            review.checks.push(seed.absent());
            review.writes.push(seed.write);
        }
        Ok(())
    }

    /// The type asked for, or the parent's default, with all that it extends.
    fn resolve_type(
        &self,
        review: &Review<'_>,
        parent: &ClusterFacts,
        name: &str,
    ) -> Result<Family, Status> {
        let refuse = |why: String| forbidden(TENANCY, "workspaces", name, why);
        let lookup = TypeLookup {
            tree: &self.0.tree,
            snapshot: &**review.snapshot,
        };
        let asked = |field: &str| {
            let value = review.object.pointer(&format!("/spec/type/{field}"));
            value
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
        };
        let reference = match (asked("path"), asked("name")) {
            (Some(path), Some(name)) => TypeRef::new(path, name),
            (None, Some(type_name)) => lookup
                .search_upwards(&parent.path, type_name)?
                .filter(|found| self.may_know(&review.call.user, found))
                .ok_or_else(|| {
                    refuse(format!("workspace type {type_name:?} cannot be resolved"))
                })?,
            (_, None) => {
                let default = match &parent.of_type {
                    Some(of_type) => lookup.find(of_type)?.and_then(|spec| spec.default_child),
                    None => None,
                };
                default.unwrap_or_else(|| TypeRef::new(ROOT, "universal"))
            }
        };
        let missing = match lookup.family(&reference)? {
            Ok(family) => return Ok(family),
            Err(missing) => missing,
        };
        // Whether a type is there is told to those who could use it, or read the workspace it would be in.
        let user = &review.call.user;
        Err(refuse(if self.may_know(user, &missing) {
            format!("workspacetypes.tenancy.kcp.io {:?} not found", missing.name)
        } else {
            no_use(&missing)
        }))
    }

    fn may_know(&self, user: &Arc<UserInfo>, reference: &TypeRef) -> bool {
        let Ok(cluster) = self.0.tree.resolve(&reference.path) else {
            return self.0.access.may_know(user, &reference.path);
        };
        let read = Ask {
            verb: "get",
            ..use_of(reference)
        };
        self.0.may(user, cluster.as_str(), use_of(reference))
            || self
                .0
                .access
                .decide(&read.attributes(user.clone(), cluster.as_str()))
                .is_allowed()
    }

    /// Whoever makes a workspace needs `use` on its type and on every type that one extends.
    fn check_use(&self, review: &Review<'_>, family: &Family, name: &str) -> Result<(), Status> {
        for spec in &family.0 {
            let cluster = self.0.tree.resolve(&spec.reference.path)?;
            let ask = use_of(&spec.reference);
            if !self.0.may(&review.call.user, cluster.as_str(), ask) {
                return Err(forbidden(
                    TENANCY,
                    "workspaces",
                    name,
                    no_use(&spec.reference),
                ));
            }
        }
        Ok(())
    }
}

fn use_of(reference: &TypeRef) -> Ask<'_> {
    Ask {
        verb: "use",
        group: TENANCY,
        resource: "workspacetypes",
        namespace: None,
        name: &reference.name,
    }
}

fn no_use(reference: &TypeRef) -> String {
    format!(
        "unable to use workspacetype {:?}: missing verb='use' permission on workspacetype",
        reference.to_string()
    )
}

/// What a new Workspace may not say.
fn check_spec(object: &Value, name: &str) -> Result<(), Status> {
    let set = |field: &str| {
        object
            .pointer(&format!("/spec/{field}"))
            .is_some_and(|value| !is_empty(value))
    };
    let mut errors = Vec::new();
    if !names::is_path_segment(name) {
        errors.push(FieldError::invalid(
            "metadata.name",
            name,
            "a workspace's name is a part of its path: lower case letters, digits and '-', beginning and ending with a letter or digit",
        ));
    }
    if set("mount") {
        errors.push(FieldError::forbidden(
            "spec.mount",
            "mounts are not supported yet",
        ));
    }
    for field in ["cluster", "URL"] {
        if set(field) {
            errors.push(FieldError::forbidden(
                format!("spec.{field}"),
                "is set by the system",
            ));
        }
    }
    if let Some(selector) = object.pointer("/spec/location/selector") {
        let label = |key: &str| (key == "name").then_some(SHARD);
        match atoll_kube::LabelSelector::from_value(selector, "spec.location.selector") {
            Ok(selector) if selector.matches(label) => {}
            Ok(_) => errors.push(FieldError::invalid(
                "spec.location.selector",
                selector.clone(),
                "no shard matches",
            )),
            Err(found) => errors.extend(found),
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Status::invalid(
            &GroupKind::new(TENANCY, "Workspace"),
            name,
            &errors,
        ))
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

fn fresh_cluster(review: &Review<'_>) -> Result<ClusterName, Status> {
    loop {
        let name = names::cluster_name(&rand::random());
        let key = kinds::logical_clusters().key(&name, None, LOGICAL_CLUSTER);
        if review
            .snapshot
            .get(&key)
            .map_err(rows::unreadable)?
            .is_none()
        {
            return Ok(ClusterName::new(name));
        }
    }
}

/// Writes what the system knows about a new Workspace into it.
fn stamp(
    object: &mut Value,
    family: &Family,
    cluster: &ClusterName,
    url: &str,
    required_groups: Option<&str>,
    privileged: bool,
    owner: &str,
) {
    if let Some(of_type) = family.reference() {
        object["spec"]["type"] = json!({"name": of_type.name, "path": of_type.path});
    }
    object["spec"]["cluster"] = json!(cluster.as_str());
    object["spec"]["URL"] = json!(url);
    if !privileged || meta::annotation(object, ANNOTATION_OWNER).is_none() {
        meta::set_annotation(object, ANNOTATION_OWNER, owner);
    }
    match required_groups {
        Some(groups) => meta::set_annotation(object, ANNOTATION_REQUIRED_GROUPS, groups),
        None => meta::remove_annotation(object, ANNOTATION_REQUIRED_GROUPS),
    }
    meta::set_annotation(object, ANNOTATION_CLUSTER, cluster.as_str());
    meta::set_annotation(object, ANNOTATION_SHARD, SHARD);
    meta::set_annotation(object, ANNOTATION_SHARD_HASH, &names::shard_hash(SHARD));
    for spec in family.0.iter().rev() {
        for (key, value) in &spec.labels {
            if meta::label(object, key).is_none() {
                meta::set_label(object, key, value);
            }
        }
    }
    meta::set_label(object, LABEL_PHASE, "Ready");
}

/// The finalizers with ours among them.
fn finalizers(object: &Value) -> Value {
    let mut list: Vec<&str> = meta::finalizers(object).collect();
    if !list.contains(&FINALIZER_WORKSPACE) {
        list.push(FINALIZER_WORKSPACE);
    }
    json!(list)
}

/// What the surface of such a workspace starts from, where that is not the universal one.
fn kind_of(family: &Family) -> Option<&'static str> {
    ["payload", "inventory"]
        .into_iter()
        .find(|name| family.is_root_type(name))
}

fn update(review: &mut Review<'_>) -> Result<(), Status> {
    let Some(old) = review.old else { return Ok(()) };
    let name = meta::name(old).to_owned();
    let mut errors = Vec::new();
    for field in IMMUTABLE.into_iter().chain(["URL"]) {
        let (before, after) = (&old["spec"][field], &review.object["spec"][field]);
        if before == after || is_empty(before) && is_empty(after) {
            continue;
        }
        if is_empty(after) {
            // A manifest without what the system filled in means no change of it.
            review.object["spec"][field] = before.clone();
        } else if field != "URL" || !review.call.user.is_in(GROUP_MASTERS) {
            errors.push(FieldError::invalid(
                format!("spec.{field}"),
                after.clone(),
                "field is immutable",
            ));
        }
    }
    if !errors.is_empty() {
        return Err(Status::invalid(
            &GroupKind::new(TENANCY, "Workspace"),
            &name,
            &errors,
        ));
    }
    if !review.call.user.is_in(GROUP_MASTERS) {
        keep_annotations(old, review.object, &PROTECTED);
    }
    if meta::has_finalizer(old, FINALIZER_WORKSPACE)
        && !meta::has_finalizer(review.object, FINALIZER_WORKSPACE)
        && logical_cluster(review, old)?.is_some()
    {
        // Without it the logical cluster would lose the only name it is known by.
        meta::add_finalizer(review.object, FINALIZER_WORKSPACE);
    }
    let phase = review
        .object
        .pointer("/status/phase")
        .and_then(Value::as_str)
        .unwrap_or("")
        .to_owned();
    if !phase.is_empty() {
        meta::set_label(review.object, LABEL_PHASE, &phase);
    }
    Ok(())
}

/// Puts back what `old` says in these annotations.
pub(crate) fn keep_annotations(old: &Value, object: &mut Value, keys: &[&str]) {
    for key in keys {
        match meta::annotation(old, key) {
            Some(value) if meta::annotation(object, key) != Some(value) => {
                meta::set_annotation(object, key, value)
            }
            Some(_) => {}
            None => meta::remove_annotation(object, key),
        }
    }
}

fn logical_cluster(review: &Review<'_>, workspace: &Value) -> Result<Option<rows::Stored>, Status> {
    let cluster = workspace
        .pointer("/spec/cluster")
        .and_then(Value::as_str)
        .unwrap_or("");
    rows::find(
        &**review.snapshot,
        &kinds::logical_clusters(),
        cluster,
        None,
        LOGICAL_CLUSTER,
    )
}

fn delete(review: &mut Review<'_>) -> Result<(), Status> {
    let Some(mut stored) = logical_cluster(review, review.object)? else {
        meta::remove_finalizer(review.object, FINALIZER_WORKSPACE);
        return Ok(());
    };
    mark_deleting(review.object);
    if !meta::is_deleting(&stored.value) {
        meta::set(
            &mut stored.value,
            "deletionTimestamp",
            review.call.now.rfc3339(),
        );
        meta::set(&mut stored.value, "deletionGracePeriodSeconds", 0);
        mark_deleting(&mut stored.value);
        review
            .writes
            .push(Write::Put(stored.key.clone(), Row::encode(&stored.value)));
    }
    review
        .checks
        .push(Check::At(stored.key, stored.version.modified));
    Ok(())
}

/// Says in phase and label that the content is being removed.
pub(crate) fn mark_deleting(object: &mut Value) {
    if !object["status"].is_object() {
        object["status"] = json!({});
    }
    object["status"]["phase"] = json!("Deleting");
    meta::set_label(object, LABEL_PHASE, "Deleting");
}
