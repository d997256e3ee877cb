//! The scale subresource: any scalable kind seen as autoscaling/v1 Scale.

use atoll_kube::{
    FieldError, GroupKind, LabelSelector, Status, VersionDef,
    definition::{ScalePaths, Verb},
    jsonpath::JsonPath,
    meta, patch as patches,
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

fn of(object: &Value, served: &Served) -> Result<Value, Status> {
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
    let path = &paths(served.version())?.spec_replicas;
    let fields = path
        .fields()
        .ok_or_else(|| Status::internal("the scale path is not a plain path"))?;
    let mut at = &mut object;
    for field in fields {
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
    _force: bool,
) -> Result<Answer, Status> {
    write(
        flow,
        Verb::Patch,
        |_: &Attempt<'_>, live: &Live, served: &Served| {
            let mut scale = of(&live.value, served)?;
            match kind {
                PatchType::Json => patches::json(&mut scale, &content)?,
                // A Scale has no lists: the other kinds of patch mean what a merge means.
                PatchType::Merge | PatchType::Strategic | PatchType::Apply => {
                    patches::merge(&mut scale, content.clone())?
                }
            }
            put(&live.value, &scale, served)
        },
    )
    .await
}

async fn write<F>(flow: &Flow<'_>, verb: Verb, make: F) -> Result<Answer, Status>
where
    F: Fn(&Attempt<'_>, &Live, &Served) -> Result<Value, Status> + Send + Sync,
{
    let name = name_of(flow.call)?;
    let propose = |attempt: &Attempt<'_>, live: &Live| {
        let value = make(attempt, live, &attempt.target.served)?;
        Ok(Proposal {
            value,
            faults: Vec::new(),
            recorded: false,
        })
    };
    match modify::modify(flow, verb, Part::Main, propose).await? {
        Changed::Missing(attempt) => Err(Status::not_found(&attempt.target.group_resource(), name)),
        Changed::Answer(mut answer) => {
            if let Outcome::Object(object) = &answer.outcome {
                answer.outcome = Outcome::Value(read(object)?);
            }
            Ok(answer)
        }
    }
}
