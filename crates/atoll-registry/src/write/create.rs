//! Create, and what an update or apply does that finds nothing.

use atoll_kube::{
    FieldError, GroupResource, Status, definition::Verb, meta, names, patch::managed,
};
use atoll_store::{Check, Revision, Write};
use serde_json::Value;

use super::{
    attempt::{Attempt, Flow, Stop},
    body::{self, Decoded},
    rules, strategy,
};
use crate::{
    Answer, Body, Call, Operation, Outcome, Registry, Virtual, WriteOptions,
    admission::{
        self, Action,
        quota::{self, Change},
    },
};

/// Names tried for one `generateName`.
const NAMES: usize = 8;

/// A new object as a client wants it.
pub(crate) struct Draft {
    pub(crate) decoded: Decoded,
    /// managedFields are done already (by apply).
    pub(crate) recorded: bool,
}

pub(crate) async fn create(
    registry: &Registry,
    call: &Call,
    body: Body,
    options: &WriteOptions,
) -> Result<Answer, Status> {
    let flow = Flow::new(registry, call, options)?;
    let attempt = flow.begin(Verb::Create)?;
    if let Some(answerer) = registry.answerer(&call.resource) {
        return answer(&flow, attempt, answerer.as_ref(), body).await;
    }
    if let Some(subresource) = &call.resource.subresource {
        return Err(unanswered(&attempt.target.group_resource(), subresource));
    }
    if !atoll_kube::builtin::is_persisted(&attempt.target.served.definition) {
        return Err(Status::method_not_supported(
            &attempt.target.group_resource(),
            "create",
        ));
    }
    let decoded = body::object(body, &attempt.target.served)?;
    insert(
        &flow,
        Verb::Create,
        attempt,
        &Draft {
            decoded,
            recorded: false,
        },
    )
    .await
}

/// Nobody answers a create of this subresource.
fn unanswered(resource: &GroupResource, subresource: &str) -> Status {
    let whole = GroupResource::new(
        &resource.group,
        format!("{}/{subresource}", resource.resource),
    );
    let mut status = Status::method_not_supported(&whole, "create");
    if whole == GroupResource::new("", "serviceaccounts/token") {
        status.message += ": this server makes no tokens of service accounts";
    }
    status
}

/// A create that is answered, not stored.
async fn answer(
    flow: &Flow<'_>,
    attempt: Attempt<'_>,
    answerer: &dyn Virtual,
    body: Body,
) -> Result<Answer, Status> {
    let Decoded { value, .. } = match &flow.call.resource.subresource {
        None => body::object(body, &attempt.target.served)?,
        Some(subresource) => body::parse(body, subresource)?,
    };
    let value = answerer.create(flow.registry, flow.call, value).await?;
    Ok(Answer {
        outcome: Outcome::Value(value),
        warnings: attempt.warnings,
        created: true,
    })
}

/// Stores a new object, starting over as often as races are lost.
pub(crate) async fn insert<'a>(
    flow: &'a Flow<'a>,
    verb: Verb,
    first: Attempt<'a>,
    draft: &Draft,
) -> Result<Answer, Status> {
    let (mut lost, mut names_taken) = (0, 0);
    let mut attempt = first;
    loop {
        let mut value = draft.decoded.value.clone();
        let generated = name_it(flow, &attempt, &mut value)?;
        let name = meta::name(&value).to_owned();
        let key = attempt.key(&name);
        match insert_once(attempt, value, draft).await {
            Ok(answer) => return Ok(answer),
            Err(Stop::Refused(status)) => return Err(status),
            Err(Stop::Lost(Check::Absent(taken))) if taken == key => {
                let resource = flow.call.resource.group_resource();
                if !generated {
                    return Err(Status::already_exists(&resource, &name));
                }
                names_taken += 1;
                if names_taken == NAMES {
                    return Err(Status::generate_name_conflict(&resource, &name, 1));
                }
            }
            Err(Stop::Lost(_)) => flow.again(&mut lost)?,
        }
        attempt = flow.begin(verb)?;
    }
}

/// Settles name and namespace; true when the name was made up here.
fn name_it(flow: &Flow<'_>, attempt: &Attempt<'_>, value: &mut Value) -> Result<bool, Status> {
    match (flow.call.namespace.as_deref(), meta::namespace(value)) {
        (Some(asked), "") => meta::set(value, "namespace", asked),
        (Some(asked), found) if found != asked => {
            return Err(Status::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        (None, found) if !found.is_empty() && !attempt.target.served.definition.namespaced() => {
            meta::remove(value, "namespace");
        }
        (None, _) if attempt.target.served.definition.namespaced() => {
            return Err(Status::bad_request(
                "an empty namespace may not be set during creation",
            ));
        }
        _ => {}
    }
    if let Some(asked) = flow.call.name.as_deref() {
        match meta::name(value) {
            "" => meta::set(value, "name", asked),
            found if found != asked => return Err(name_mismatch(found, asked)),
            _ => {}
        }
    }
    if meta::name(value).contains('\0') || meta::generate_name(value).contains('\0') {
        // Everything else about a name is validated with the rest; this could not even be a key.
        let error = FieldError::invalid(
            "metadata.name",
            meta::name(value),
            "must not contain a zero byte",
        );
        return Err(Status::invalid(
            &attempt.target.served.definition.group_kind(),
            "",
            &[error],
        ));
    }
    let prefix = meta::generate_name(value);
    if !meta::name(value).is_empty() || prefix.is_empty() {
        return Ok(false);
    }
    let name = names::generate(prefix, flow.registry.inner.ids.random());
    meta::set(value, "name", name);
    Ok(true)
}

pub(crate) fn name_mismatch(found: &str, asked: &str) -> Status {
    Status::bad_request(format!(
        "the name of the object ({found}) does not match the name on the URL ({asked})"
    ))
}

async fn insert_once(
    mut attempt: Attempt<'_>,
    mut value: Value,
    draft: &Draft,
) -> Result<Answer, Stop> {
    let flow = attempt.flow;
    if attempt.target.terminating {
        let mut status = Status::method_not_supported(&attempt.target.group_resource(), "create");
        status.message =
            "create not allowed while custom resource definition is terminating".into();
        return Err(status.into());
    }
    if !matches!(meta::resource_version(&value), "" | "0") {
        return Err(Status::bad_request(
            "resourceVersion should not be set on objects to be created",
        )
        .into());
    }
    let unknown = strategy::complete(attempt.place.kind, &attempt.target.served, &mut value)?;
    let mut faults = draft.decoded.faults.clone();
    faults.extend(unknown);
    super::body::report(
        &faults,
        flow.validation,
        &attempt.target.served,
        &mut attempt.warnings,
    )?;

    // What the client wrote is the client's; what the system adds below is nobody's.
    if !draft.recorded {
        attempt.with_record(|record| managed::on_create(record, &mut value));
    }
    strategy::stamp_new(
        &attempt.target.served,
        &mut value,
        flow.registry.new_uid(),
        flow.call.now,
    );
    let place = attempt.place.kind;
    strategy::stamp_user(place, &attempt.target.served, &mut value, &flow.call.user);
    let status = value.get("status").cloned();
    let changed = admission::mutate(&mut attempt, Action::Create, &mut value, None).await?;
    if changed && attempt.target.served.version().subresources.status {
        // It is written apart.
        strategy::set_or_drop(&mut value, "status", status);
    }
    attempt.admit(Operation::Create, None, &mut value).await?;
    let mut errors = strategy::validate_new(place, &attempt.target.served, &value);
    let warnings = &mut attempt.warnings;
    rules::check(&attempt.target.served, None, &value, &mut errors, warnings);
    strategy::refuse(&attempt.target.served, meta::name(&value), &errors)?;
    attempt.check_place()?;
    admission::validate(&mut attempt, Action::Create, Some(&value), None).await?;
    attempt.note_owners(&value)?;
    attempt.warn();

    let name = meta::name(&value).to_owned();
    let key = attempt.key(&name);
    let row = attempt.encode(value);
    if flow.dry_run && attempt.live(&key)?.is_some() {
        return Err(Stop::Lost(Check::Absent(key)));
    }
    let _turn = quota::count_in(&mut attempt, Change::Comes, &name).await?;
    let write = Write::Put(key.clone(), row.clone());
    let revision = attempt
        .append(Some(write), Check::Absent(key.clone()))
        .await?;
    Ok(attempt.answer(key, revision.unwrap_or(Revision::ZERO), row, true)?)
}
