//! The scale subresource: any scalable kind seen as autoscaling/v1 Scale.

use std::sync::{Arc, LazyLock};

use atoll_kube::{
    FieldError, GroupKind, LabelSelector, Schema, Status, VersionDef,
    definition::{ScalePaths, Verb},
    jsonpath::JsonPath,
    meta, patch as patches,
    patch::{
        entries::Entries,
        managed,
        path::{Path, PathElement},
    },
};
use serde_json::{Value, json};

use super::{
    attempt::{Attempt, Flow, Live},
    body,
    modify::{self, Changed, Proposal},
    part::Part,
};
use crate::{Answer, Body, Object, Outcome, PatchType, Served, read::target::name_of};

const API_VERSION: &str = "autoscaling/v1";

/// The Scale of an object.
pub(crate) fn read(object: &Object) -> Result<Value, Status> {
    of(&object.value()?, &object.served)
}

fn paths(version: &VersionDef) -> Result<&ScalePaths, Status> {
    version
        .subresources
        .scale
        .as_ref()
        .ok_or_else(Status::no_such_path)
}

/// An object seen as a Scale.
pub(super) fn of(object: &Value, served: &Served) -> Result<Value, Status> {
    let paths = paths(served.version())?;
    let number = |path: &JsonPath| path.first(object).and_then(Value::as_i64).unwrap_or(0);
    let mut metadata = json!({});
    for field in [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
    ] {
        if let Some(value) = meta::metadata(object).get(field) {
            metadata[field] = value.clone();
        }
    }
    let mut status = json!({ "replicas": number(&paths.status_replicas) });
    if let Some(selector) = paths
        .label_selector
        .as_ref()
        .and_then(|p| p.first(object))
        .map(selector_text)
    {
        status["selector"] = selector.into();
    }
    Ok(json!({
        "apiVersion": API_VERSION,
        "kind": "Scale",
        "metadata": metadata,
        "spec": { "replicas": number(&paths.spec_replicas) },
        "status": status,
    }))
}

fn selector_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        // ReplicationControllers select by a plain map.
        Value::Object(map)
            if map.values().all(Value::is_string) && !map.contains_key("matchLabels") =>
        {
            let pairs = map
                .iter()
                .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()));
            pairs.collect::<Vec<_>>().join(",")
        }
        selector => LabelSelector::from_value(selector, "")
            .map(|s| s.to_string())
            .unwrap_or_default(),
    }
}

/// Where an object says how many replicas it wants.
fn at_replicas(served: &Served) -> Result<Vec<&str>, Status> {
    let path = &paths(served.version())?.spec_replicas;
    path.fields()
        .map(Iterator::collect)
        .ok_or_else(|| Status::internal("the scale path is not a plain path"))
}

/// Sets the replicas an object asks for from a Scale, and takes over the Scale's preconditions.
fn put(live: &Value, scale: &Value, served: &Served) -> Result<Value, Status> {
    let replicas = match scale.pointer("/spec/replicas") {
        None | Some(Value::Null) => 0,
        Some(value) => {
            let invalid = |detail| {
                let error = FieldError::invalid("spec.replicas", value.clone(), detail);
                Status::invalid(
                    &GroupKind::new("autoscaling", "Scale"),
                    meta::name(live),
                    &[error],
                )
            };
            let n = value
                .as_i64()
                .ok_or_else(|| invalid("must be an integer"))?;
            if n < 0 {
                return Err(invalid("must be greater than or equal to 0"));
            }
            n
        }
    };
    let mut object = live.clone();
    let mut at = &mut object;
    for field in at_replicas(served)? {
        if !at.is_object() {
            *at = json!({});
        }
        at = &mut at[field];
    }
    *at = replicas.into();
    for field in ["resourceVersion", "uid", "name", "namespace"] {
        match meta::get(scale, field) {
            "" if field == "resourceVersion" => {
                meta::remove(&mut object, field);
            }
            "" => {}
            found => meta::set(&mut object, field, found.to_owned()),
        }
    }
    Ok(object)
}

pub(super) async fn update(flow: &Flow<'_>, body: Body) -> Result<Answer, Status> {
    let mut decoded = body::parse(body, "Scale")?;
    body::check_kind(&mut decoded.value, API_VERSION, "Scale")?;
    let scale = decoded.value;
    write(
        flow,
        Verb::Update,
        |_: &Attempt<'_>, live: &Live, served: &Served| put(&live.value, &scale, served),
    )
    .await
}

pub(super) async fn patch(
    flow: &Flow<'_>,
    kind: PatchType,
    content: Value,
    force: bool,
) -> Result<Answer, Status> {
    if kind == PatchType::Apply {
        return apply(flow, content, force).await;
    }
    write(
        flow,
        Verb::Patch,
        |_: &Attempt<'_>, live: &Live, served: &Served| {
            let mut scale = of(&live.value, served)?;
            match kind {
                PatchType::Json => patches::json(&mut scale, &content)?,
                // A Scale has no lists: the other kinds of patch mean what a merge means.
                _ => patches::merge(&mut scale, content.clone())?,
            }
            put(&live.value, &scale, served)
        },
    )
    .await
}

/// Server-side apply of a Scale: who applies `spec.replicas` owns the field of the object that it stands for.
async fn apply(flow: &Flow<'_>, mut config: Value, force: bool) -> Result<Answer, Status> {
    body::check_kind(&mut config, API_VERSION, "Scale")?;
    let schema = schema()?;
    let propose = |attempt: &Attempt<'_>, live: &Live| {
        let served = &attempt.target.served;
        let fields = at_replicas(served)?;
        let path = Path(fields.into_iter().map(PathElement::field).collect());
        let unreadable = |e| Status::internal(format!("failed to decode managed fields: {e}"));
        let parent = Entries::of(&live.value).map_err(unreadable)?;
        let mut scale = of(&live.value, served)?;
        if let Some(record) = patches::scale::to_scale(&parent, &path).encode() {
            meta::set(&mut scale, "managedFields", record);
        }
        let record = managed::Write {
            api_version: API_VERSION,
            kind: "Scale",
            schema: &schema,
            native: true,
            has_status: true,
            subresource: "scale",
            manager: &flow.manager,
            now: flow.call.now,
        };
        let scale = managed::on_apply(&record, Some(&scale), &config, force)?;
        let entries = Entries::of(&scale).map_err(unreadable)?;
        let mut value = put(&live.value, &scale, served)?;
        meta::remove(&mut value, "managedFields");
        let api_version = served.api_version();
        let entries = patches::scale::to_parent(parent, entries, &path, &api_version);
        if let Some(record) = entries.encode() {
            meta::set(&mut value, "managedFields", record);
        }
        Ok(Proposal {
            value,
            faults: Vec::new(),
            recorded: true,
        })
    };
    finish(
        flow,
        modify::modify(flow, Verb::Patch, Part::Main, propose).await?,
    )
}

/// What of a Scale can be owned.
fn schema() -> Result<Arc<Schema>, Status> {
    static SCHEMA: LazyLock<Option<Arc<Schema>>> = LazyLock::new(|| {
        let replicas = json!({"type": "object", "properties": {"replicas": {"type": "integer", "format": "int32"}}});
        let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let scale = json!({"type": "object", "properties": {
            "apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": any, "spec": replicas, "status": any,
        }});
        Schema::from_openapi(&scale, false).ok()
    });
    SCHEMA
        .clone()
        .ok_or_else(|| Status::internal("the schema of Scale does not compile"))
}

async fn write<F>(flow: &Flow<'_>, verb: Verb, make: F) -> Result<Answer, Status>
where
    F: Fn(&Attempt<'_>, &Live, &Served) -> Result<Value, Status> + Send + Sync,
{
    let propose = |attempt: &Attempt<'_>, live: &Live| {
        let value = make(attempt, live, &attempt.target.served)?;
        Ok(Proposal {
            value,
            faults: Vec::new(),
            recorded: false,
        })
    };
    finish(flow, modify::modify(flow, verb, Part::Main, propose).await?)
}

fn finish(flow: &Flow<'_>, changed: Changed<'_>) -> Result<Answer, Status> {
    let name = name_of(flow.call)?;
    match changed {
        Changed::Missing(attempt) => Err(Status::not_found(&attempt.target.group_resource(), name)),
        Changed::Answer(mut answer) => {
            if let Outcome::Object(object) = &answer.outcome {
                answer.outcome = Outcome::Value(read(object)?);
            }
            Ok(answer)
        }
    }
}
