//! Patch: the four ways of saying what should differ, each made anew from what is there when the write happens.

use atoll_kube::{
    FieldError, GroupKind, Status,
    definition::{Source, Verb},
    meta, patch,
    patch::managed,
};
use serde_json::Value;

use super::{
    attempt::{Attempt, Flow, Live},
    body::{self, Decoded},
    create::{self, Draft},
    modify::{self, Changed, Proposal},
    part::Part,
    scale,
};
use crate::{Answer, Body, Call, PatchType, Registry, WriteOptions, read::target::name_of};

pub(crate) async fn patch(
    registry: &Registry,
    call: &Call,
    kind: PatchType,
    body: Body,
    options: &WriteOptions,
) -> Result<Answer, Status> {
    check_options(kind, options)?;
    let flow = Flow::new(registry, call, options)?;
    let name = name_of(call)?;
    let subresource = call.resource.subresource.as_deref();
    let Decoded {
        value: content,
        faults,
    } = body::parse(body, "patch")?;
    if subresource == Some("scale") {
        return scale::patch(&flow, kind, content, options.force).await;
    }
    let part = Part::of(subresource)?;
    let propose = |attempt: &Attempt<'_>, live: &Live| -> Result<Proposal, Status> {
        let value = apply_to(attempt, Some(live), kind, &content, options.force)?;
        Ok(Proposal {
            value,
            faults: faults.clone(),
            recorded: kind == PatchType::Apply,
        })
    };
    match modify::modify(&flow, Verb::Patch, part, propose).await? {
        Changed::Answer(answer) => Ok(answer),
        Changed::Missing(attempt) if kind == PatchType::Apply && part == Part::Main => {
            let mut value = apply_to(&attempt, None, kind, &content, options.force)?;
            // It is a condition on what is there; nothing is. One that no object has means: only if nothing is.
            meta::remove(&mut value, "resourceVersion");
            let draft = Draft {
                decoded: Decoded {
                    value,
                    faults: faults.clone(),
                },
                recorded: true,
            };
            create::insert(&flow, Verb::Patch, *attempt, &draft).await
        }
        Changed::Missing(attempt) => Err(Status::not_found(&attempt.target.group_resource(), name)),
    }
}

fn check_options(kind: PatchType, options: &WriteOptions) -> Result<(), Status> {
    let error = match kind {
        PatchType::Apply if options.field_manager.as_deref().unwrap_or("").is_empty() => {
            FieldError::required("fieldManager", "is required for apply patch")
        }
        PatchType::Json | PatchType::Merge | PatchType::Strategic if options.force => {
            FieldError::forbidden("force", "may not be specified for non-apply patch")
        }
        _ => return Ok(()),
    };
    Err(Status::invalid(
        &GroupKind::new("meta.k8s.io", "PatchOptions"),
        "",
        &[error],
    ))
}

/// The object that the patch makes of `live` (or, by apply, of nothing).
fn apply_to(
    attempt: &Attempt<'_>,
    live: Option<&Live>,
    kind: PatchType,
    content: &Value,
    force: bool,
) -> Result<Value, Status> {
    let served = &attempt.target.served;
    let start = || live.map_or(Value::Null, |l| l.value.clone());
    let mut value = match kind {
        PatchType::Json => {
            let mut value = start();
            patch::json(&mut value, content)?;
            value
        }
        PatchType::Merge => {
            let mut value = start();
            patch::merge(&mut value, content.clone())?;
            value
        }
        PatchType::Strategic => {
            if served.definition.source == Source::Crd {
                return Err(Status::unsupported_media_type(&[
                    "application/json-patch+json",
                    "application/merge-patch+json",
                    "application/apply-patch+yaml",
                ]));
            }
            patch::strategic(start(), content.clone(), &served.version().schema)?
        }
        PatchType::Apply => {
            let config = configuration(attempt, content)?;
            if let Some(live) = live {
                let asked = meta::resource_version(&config);
                if !matches!(asked, "" | "0") && asked != meta::resource_version(&live.value) {
                    let name = meta::name(&live.value);
                    return Err(Status::modified(&attempt.target.group_resource(), name));
                }
            }
            attempt.with_record(|record| {
                managed::on_apply(record, live.map(|l| &l.value), &config, force)
            })?
        }
    };
    body::check_kind(&mut value, &served.api_version(), served.kind())?;
    Ok(value)
}

/// An applied configuration, named as the path names it.
fn configuration(attempt: &Attempt<'_>, content: &Value) -> Result<Value, Status> {
    let served = &attempt.target.served;
    let mut config = content.clone();
    body::check_kind(&mut config, &served.api_version(), served.kind())?;
    let name = name_of(attempt.flow.call)?;
    match meta::name(&config) {
        "" => meta::set(&mut config, "name", name),
        found if found != name => return Err(create::name_mismatch(found, name)),
        _ => {}
    }
    if let Some(namespace) = attempt.flow.call.namespace.as_deref()
        && meta::namespace(&config).is_empty()
    {
        meta::set(&mut config, "namespace", namespace);
    }
    Ok(config)
}
