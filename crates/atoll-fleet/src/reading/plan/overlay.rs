//! A change, taken apart: what of a workspace is different with it. Objects are as the registry would store them: it was asked, with a dry run.

use std::collections::BTreeMap;
use std::sync::Arc;

use atoll_kube::{GroupKind, GroupResource, Status, meta};
use atoll_placement::policy::Policy;
use atoll_placement::render::{CustomTransform, Customizer, Layers};
use atoll_registry::{Body, Call, Clusters, DeleteOptions, PatchType, ResourceRef, WriteOptions};
use atoll_store::Key;
use atoll_wire::ObjectRef;
use serde_json::{Value, json};

use crate::model::Shaping;
use crate::reading::{Asked, Reading, named};
use crate::source::CONTROL;

/// The manager whose fields an applied change are, unless said otherwise.
const MANAGER: &str = "atoll";
/// Objects of one change.
const MOST_OBJECTS: usize = 500;

/// One object of a change.
pub(super) struct Step {
    pub(super) resource: ResourceRef,
    pub(super) reference: ObjectRef,
    pub(super) key: Key,
    /// As it was sent; `None`: it is deleted.
    pub(super) sent: Option<Value>,
    /// As it is: its resourceVersion and uid.
    pub(super) live: Option<(String, String)>,
    /// As it would be stored.
    pub(super) after: Option<Value>,
    pub(super) changes: bool,
}

/// A change.
pub(super) struct Overlay {
    pub(super) steps: Vec<Step>,
    pub(super) warnings: Vec<String>,
    manager: String,
}

impl Overlay {
    /// Asks the registry what it would store, as the one who asks.
    pub(super) async fn of(reading: &Reading, asked: &Asked) -> Result<Overlay, Status> {
        let null = Value::Null;
        let body = asked.body.as_ref().unwrap_or(&null);
        let list = |field: &str| -> Result<Vec<Value>, Status> {
            match body.get(field) {
                None | Some(Value::Null) => Ok(Vec::new()),
                Some(Value::Array(items)) => Ok(items.clone()),
                Some(_) => Err(Status::bad_request(format!("{field} must be a list"))),
            }
        };
        let (applied, deleted) = (list("objects")?, list("delete")?);
        if applied.is_empty() && deleted.is_empty() {
            return Err(Status::bad_request(
                "nothing to plan: give objects, or objects to delete",
            ));
        }
        if applied.len() + deleted.len() > MOST_OBJECTS {
            return Err(Status::bad_request(format!(
                "a change may have at most {MOST_OBJECTS} objects"
            )));
        }
        let manager = body.get("fieldManager").and_then(Value::as_str);
        let mut overlay = Overlay {
            steps: Vec::new(),
            warnings: Vec::new(),
            manager: manager.unwrap_or(MANAGER).to_owned(),
        };
        for object in applied {
            overlay.add(reading, asked, object, false).await?;
        }
        for object in deleted {
            overlay.add(reading, asked, object, true).await?;
        }
        Ok(overlay)
    }

    async fn add(
        &mut self,
        reading: &Reading,
        asked: &Asked,
        object: Value,
        delete: bool,
    ) -> Result<(), Status> {
        let mut step = resolve(reading, asked, object, delete)?;
        if self.steps.iter().any(|s| s.key == step.key) {
            let who = format!("{} {}", step.reference.resource, step.reference.name);
            return Err(Status::bad_request(format!("{who} is in the change twice")));
        }
        let snapshot = reading.snapshot()?;
        let row = snapshot.get(&step.key);
        let row = row.map_err(|e| Status::internal(e.to_string()))?;
        if let Some(version) = &row {
            let parsed = atoll_kube::RowRef::parse(&version.row);
            let parsed = parsed.map_err(|e| Status::internal(e.to_string()))?;
            step.live = Some((version.modified.to_string(), parsed.uid().to_owned()));
        }
        let verbs: &[&str] = match (delete, &step.live) {
            (true, _) => &["delete"],
            (false, Some(_)) => &["patch"],
            (false, None) => &["create", "patch"],
        };
        for verb in verbs {
            reading.may(asked, verb, &step.reference)?;
        }
        if delete {
            if step.live.is_none() {
                let r = &step.reference;
                let resource = GroupResource::new(&r.group, &r.resource);
                return Err(Status::not_found(&resource, &r.name));
            }
            step.changes = true;
        } else {
            let (value, warnings) = self.write(reading, asked, &step, true).await?;
            let same = |a: &Value, b: &Value| {
                let shown = |v: &Value| {
                    let mut v = v.clone();
                    for field in ["managedFields", "resourceVersion", "generation"] {
                        meta::remove(&mut v, field);
                    }
                    v
                };
                shown(a) == shown(b)
            };
            let before = match &row {
                Some(version) => Some(reading.value(asked, &step.key, &version.row)?),
                None => None,
            };
            step.changes = before.is_none_or(|before| !same(&before, &value));
            self.warnings.extend(warnings);
            step.after = Some(value);
        }
        self.steps.push(step);
        Ok(())
    }

    /// Writes one object, or asks what it would become.
    async fn write(
        &self,
        reading: &Reading,
        asked: &Asked,
        step: &Step,
        dry_run: bool,
    ) -> Result<(Value, Vec<String>), Status> {
        let registry = &reading.shared.registry;
        let call = self.call(reading, asked, step);
        let Some(sent) = &step.sent else {
            let (version, uid) = step.live.clone().unwrap_or_default();
            let options = DeleteOptions {
                uid: Some(uid),
                resource_version: Some(version),
                dry_run,
                ..DeleteOptions::default()
            };
            let answer = registry.delete(&call, &options).await?;
            return Ok((Value::Null, answer.warnings));
        };
        let mut sent = sent.clone();
        if let (false, Some((version, _))) = (dry_run, &step.live) {
            meta::set(&mut sent, "resourceVersion", version.as_str());
        }
        let options = WriteOptions {
            dry_run,
            force: true,
            field_manager: Some(self.manager.clone()),
            ..WriteOptions::default()
        };
        let body = Body::Value(sent);
        let answer = registry
            .patch(&call, PatchType::Apply, body, &options)
            .await?;
        Ok((answer.value()?, answer.warnings))
    }

    fn call(&self, reading: &Reading, asked: &Asked, step: &Step) -> Call {
        Call {
            user: asked.user.clone(),
            user_agent: self.manager.as_str().into(),
            clusters: Clusters::One(asked.cluster.clone()),
            resource: step.resource.clone(),
            namespace: step
                .reference
                .namespaced
                .then(|| step.reference.namespace.clone()),
            name: Some(step.reference.name.clone()),
            now: reading.shared.registry.now(),
        }
    }

    /// Does it, object by object, each as it was when the plan was made.
    pub(super) async fn carry_out(
        &self,
        reading: &Reading,
        asked: &Asked,
    ) -> Result<Value, Status> {
        let mut done: Vec<Value> = Vec::new();
        for step in self.steps.iter().filter(|s| s.changes) {
            let written = self.write(reading, asked, step, false).await;
            if let Err(mut status) = written {
                let names = done.iter().map(|d: &Value| {
                    let object = &d["object"];
                    format!(
                        "{} {}",
                        object["kind"].as_str().unwrap_or_default(),
                        object["name"].as_str().unwrap_or_default()
                    )
                });
                let names: Vec<String> = names.collect();
                let before = match names.as_slice() {
                    [] => "nothing was changed".to_owned(),
                    names => format!("changed already: {}", names.join(", ")),
                };
                status.message = format!("{} ({before})", status.message).into();
                return Err(status);
            }
            done.push(json!({"object": named(&step.reference), "action": step.action()}));
        }
        Ok(json!({"applied": done}))
    }

    fn of_kind<'a>(&'a self, group: &'a str, resource: &'a str) -> impl Iterator<Item = &'a Step> {
        let steps = self.steps.iter().filter(|s| s.changes);
        steps.filter(move |s| s.reference.group == group && s.reference.resource == resource)
    }

    /// Policies that change: what they say then.
    pub(super) fn policies(&self) -> Result<BTreeMap<String, Option<Arc<Policy>>>, Status> {
        let mut found = BTreeMap::new();
        for step in self.of_kind(CONTROL, "bindingpolicies") {
            let spec = step.after.as_ref().map(|v| v.get("spec").cloned());
            let parsed = spec.map(|spec| Policy::parse(&spec.unwrap_or_default()));
            let parsed = parsed.transpose().map_err(|errors| {
                let kind = GroupKind::new(CONTROL, "BindingPolicy");
                Status::invalid(&kind, &step.reference.name, &errors)
            })?;
            found.insert(step.reference.name.clone(), parsed.map(Arc::new));
        }
        Ok(found)
    }

    /// What shapes copies then; `None`: what does now.
    pub(super) fn shaping(&self, now: Option<&Shaping>) -> Option<Shaping> {
        let edge = "edge.atoll.dev";
        let customizers: Vec<&Step> = self.of_kind(edge, "customizers").collect();
        let transforms: Vec<&Step> = self.of_kind(CONTROL, "customtransforms").collect();
        if customizers.is_empty() && transforms.is_empty() {
            return None;
        }
        let mut shaping = Shaping::default();
        if let Some(now) = now {
            shaping.transforms.clone_from(&now.transforms);
            shaping.customizers.clone_from(&now.customizers);
        }
        let mut layers = Layers::new();
        for step in customizers {
            let name = &step.reference.name;
            shaping.customizers.remove(name);
            let spec = step.after.as_ref().and_then(|v| v.get("spec"));
            // Admission has seen it: it can be understood.
            let parsed = spec.and_then(|s| Customizer::parse(name, s, &mut layers).ok());
            shaping
                .customizers
                .extend(parsed.map(|parsed| (name.clone(), parsed)));
        }
        for step in transforms {
            let name = &step.reference.name;
            shaping.transforms.remove(name);
            let spec = step.after.as_ref().and_then(|v| v.get("spec"));
            let parsed = spec.and_then(|s| CustomTransform::parse(name, s).ok());
            shaping
                .transforms
                .extend(parsed.map(|parsed| (name.clone(), parsed)));
        }
        Some(shaping)
    }

    /// Objects that may travel and are different then.
    pub(super) fn objects(&self) -> BTreeMap<Key, &Step> {
        let steps = self.steps.iter().filter(|s| s.changes);
        let travelling = steps
            .filter(|s| atoll_placement::clean::travels(&s.reference.group, &s.reference.resource));
        travelling.map(|s| (s.key.clone(), s)).collect()
    }
}

impl Step {
    pub(super) fn action(&self) -> &'static str {
        match (self.changes, &self.sent, &self.live) {
            (false, ..) => "unchanged",
            (true, None, _) => "delete",
            (true, Some(_), None) => "create",
            (true, Some(_), Some(_)) => "update",
        }
    }
}

fn resolve(
    reading: &Reading,
    asked: &Asked,
    mut object: Value,
    delete: bool,
) -> Result<Step, Status> {
    let text = |field: &str| object.get(field).and_then(Value::as_str);
    let (Some(api_version), Some(kind)) = (text("apiVersion"), text("kind")) else {
        return Err(Status::bad_request(
            "every object of a change needs apiVersion and kind",
        ));
    };
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let (group, version, kind) = (group.to_owned(), version.to_owned(), kind.to_owned());
    let surface = reading.shared.registry.surface(&asked.cluster)?;
    let entry = surface.kind(&group, &kind).ok_or_else(|| {
        Status::bad_request(format!(
            "this workspace has no kind {kind} in {api_version}"
        ))
    })?;
    let definition = &entry.definition;
    let name = meta::name(&object).to_owned();
    if name.is_empty() {
        return Err(Status::bad_request(format!(
            "a {kind} has no metadata.name"
        )));
    }
    let namespaced = definition.namespaced();
    if namespaced && meta::namespace(&object).is_empty() {
        meta::set(&mut object, "namespace", "default");
    }
    let namespace = match namespaced {
        true => meta::namespace(&object).to_owned(),
        false => String::new(),
    };
    let resource = definition.names.plural.clone();
    let id = entry.id();
    let key = id.key(
        asked.cluster.as_str(),
        namespaced.then_some(namespace.as_str()),
        &name,
    );
    Ok(Step {
        resource: ResourceRef::new(&group, &version, &resource),
        reference: ObjectRef {
            group,
            version,
            kind,
            resource,
            namespace,
            name,
            namespaced,
        },
        key,
        sent: (!delete).then_some(object),
        live: None,
        after: None,
        changes: false,
    })
}
