//! How a CustomResourceDefinition changes the surface it is written to: in the very append that stores it.
//!
//! So at the revision where a CRD appears, it is already Established (or says why not), discoverable and usable; and at
//! the revision where it goes, so does its API.

use std::sync::Arc;

use atoll_kube::{
    Definition, FieldError, Status, definition::NamesAccepted, definition::crd_status, meta,
};
use atoll_store::{Check, Write};
use serde_json::{Value, json};

use super::{
    Surface, names,
    row::{RowEntry, SurfaceRow},
};
use crate::{ClusterKind, Operation, ResourceId, Review, read::read_error, surface_key};

/// Holds a CRD that is being deleted until its objects are gone.
pub(crate) const CLEANUP_FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

/// The family of CustomResourceDefinitions.
pub(crate) fn resource() -> ResourceId {
    ResourceId::builtin("apiextensions.k8s.io", "customresourcedefinitions")
}

/// Admission of one write of a CRD.
pub(crate) fn admit(surface: &Arc<Surface>, review: &mut Review<'_>) -> Result<(), Status> {
    match review.operation {
        Operation::Create | Operation::Update => {
            check_group(review)?;
            let Ok(definition) = Definition::from_crd(review.object) else {
                // Validation, which comes next, says what is wrong with it.
                return Ok(());
            };
            let deleting = meta::is_deleting(review.object);
            let accepted = names::accept(surface, &definition);
            let mut status = crd_status(review.object, &accepted, review.call.now);
            if deleting {
                keep_condition(review.object, &mut status, "Terminating");
            }
            review.object["status"] = status;
            let entry = (accepted == NamesAccepted::Yes).then(|| RowEntry {
                definition: definition.id,
                crd: review.name().to_owned(),
                terminating: deleting,
            });
            change(review, entry)
        }
        Operation::Delete => {
            let accepted = surface
                .local()
                .iter()
                .find(|e| is(&e.definition, review.object))
                .cloned();
            let Some(entry) = accepted else { return Ok(()) };
            meta::add_finalizer(review.object, CLEANUP_FINALIZER);
            set_condition(
                review.object,
                json!({
                    "type": "Terminating",
                    "status": "True",
                    "reason": "InstanceDeletionPending",
                    "message": "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
                    "lastTransitionTime": review.call.now.rfc3339(),
                }),
            );
            let crd = review.name().to_owned();
            change(
                review,
                Some(RowEntry {
                    definition: entry.definition.id,
                    crd,
                    terminating: true,
                }),
            )
        }
        Operation::Remove => change(review, None),
    }
}

fn is(definition: &Definition, crd: &Value) -> bool {
    let text = |pointer: &str| {
        crd.pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    definition.group == text("/spec/group") && definition.names.plural == text("/spec/names/plural")
}

/// kcp's own groups are not for workspaces to define.
fn check_group(review: &Review<'_>) -> Result<(), Status> {
    let group = review
        .object
        .pointer("/spec/group")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let kcp = group == "kcp.io" || group.ends_with(".kcp.io");
    if kcp
        && review.operation == Operation::Create
        && !matches!(review.kind, ClusterKind::System | ClusterKind::Kubernetes)
    {
        let error = FieldError::forbidden("spec.group", "groups under kcp.io are reserved");
        return Err(Status::invalid(
            &review.definition.group_kind(),
            review.name(),
            &[error],
        ));
    }
    Ok(())
}

/// Puts the changed surface row into the append, checked against what it was made from.
fn change(review: &mut Review<'_>, entry: Option<RowEntry>) -> Result<(), Status> {
    let key = surface_key(review.cluster);
    let found = review.snapshot.get(&key).map_err(read_error)?;
    let (check, before) = match &found {
        Some(version) => (
            Check::At(key.clone(), version.modified),
            SurfaceRow::parse(&version.row)?,
        ),
        None => (Check::Absent(key.clone()), SurfaceRow::default()),
    };
    review.checks.push(check);
    let after = before.clone().with(review.name(), entry);
    if after == before {
        return Ok(());
    }
    // An Update that takes the last finalizer is followed by a Remove: the later change counts.
    review.writes.retain(|write| *write.key() != key);
    review.writes.push(if after.entries.is_empty() {
        Write::Delete(key, None)
    } else {
        Write::Put(key, after.encode())
    });
    Ok(())
}

fn set_condition(crd: &mut Value, condition: Value) {
    if !crd["status"]["conditions"].is_array() {
        crd["status"]["conditions"] = json!([]);
    }
    if let Some(conditions) = crd["status"]["conditions"].as_array_mut() {
        conditions.retain(|c| c["type"] != condition["type"]);
        conditions.push(condition);
    }
}

/// Carries a condition over that the computed status does not know.
fn keep_condition(crd: &Value, status: &mut Value, name: &str) {
    let kept = crd.pointer("/status/conditions").and_then(Value::as_array);
    let Some(kept) = kept.and_then(|c| c.iter().find(|c| c["type"] == name)) else {
        return;
    };
    if let Some(conditions) = status["conditions"].as_array_mut()
        && !conditions.iter().any(|c| c["type"] == name)
    {
        conditions.push(kept.clone());
    }
}
