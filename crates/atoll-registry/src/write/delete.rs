//! Delete: at once, or marked and held until the last finalizer is taken.

use atoll_kube::{
    Status,
    definition::Verb,
    meta::{self, FOREGROUND_DELETION, ORPHAN_DEPENDENTS},
};
use atoll_store::{Check, Write};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, future, stream};
use serde_json::{Value, json};

use super::{
    attempt::{Attempt, Flow, Live, Stop},
    dependents, strategy,
};
use crate::{
    Answer, Call, ClusterKind, DeleteOptions, ListOptions, Object, Operation, Outcome, Propagation,
    Registry,
    admission::{
        self, Action,
        quota::{self, Change},
    },
    read::target::name_of,
};

/// Objects deleted between two reads of the collection.
const PAGE: u64 = 500;

/// Deletes of one collection, or of what one namespace holds, under way at once: others' writes wait behind as many.
pub(crate) const AT_ONCE: usize = 8;

/// Namespaces that nobody but the system deletes.
const LASTING: &[&str] = &["default", "kube-system", "kube-public"];

pub(crate) async fn delete(
    registry: &Registry,
    call: &Call,
    options: &DeleteOptions,
) -> Result<Answer, Status> {
    if call.resource.subresource.is_some() {
        return Err(Status::method_not_supported(
            &call.resource.group_resource(),
            "delete",
        ));
    }
    let flow = Flow::for_delete(registry, call, options.dry_run);
    let name = name_of(call)?;
    let mut lost = 0;
    loop {
        let attempt = flow.begin(Verb::Delete)?;
        let live = attempt.existing(&attempt.key(name), name)?;
        check_preconditions(&attempt, &live, options, name)?;
        check_lasting(&attempt, name)?;
        match delete_once(attempt, live, options, name).await {
            Ok(answer) => return Ok(answer),
            Err(Stop::Refused(status)) => return Err(status),
            Err(Stop::Lost(_)) => flow.again(&mut lost)?,
        }
    }
}

fn check_preconditions(
    attempt: &Attempt<'_>,
    live: &Live,
    options: &DeleteOptions,
    name: &str,
) -> Result<(), Status> {
    let resource = attempt.target.group_resource();
    let uid = meta::uid(&live.value);
    if let Some(asked) = options.uid.as_deref()
        && asked != uid
    {
        let why =
            format!("Precondition failed: UID in precondition: {asked}, UID in object meta: {uid}");
        return Err(Status::conflict(&resource, name, why));
    }
    let modified = live.version.modified.to_string();
    if let Some(asked) = options.resource_version.as_deref()
        && asked != modified
    {
        let why = format!(
            "Precondition failed: ResourceVersion in precondition: {asked}, ResourceVersion in object meta: {modified}"
        );
        return Err(Status::conflict(&resource, name, why));
    }
    Ok(())
}

fn check_lasting(attempt: &Attempt<'_>, name: &str) -> Result<(), Status> {
    let system = *attempt.flow.call.user == *attempt.flow.registry.inner.system;
    let lasting = match attempt.place.kind {
        ClusterKind::Kubernetes => LASTING,
        _ => &LASTING[..1],
    };
    if !system
        && strategy::is(&attempt.target.served.definition, "", "namespaces")
        && lasting.contains(&name)
    {
        let why = "this namespace may not be deleted";
        return Err(Status::forbidden(
            &attempt.target.group_resource(),
            name,
            why,
        ));
    }
    Ok(())
}

async fn delete_once(
    mut attempt: Attempt<'_>,
    live: Live,
    options: &DeleteOptions,
    name: &str,
) -> Result<Answer, Stop> {
    let served = attempt.target.served.clone();
    let definition = &served.definition;
    let (key, now) = (attempt.key(name), attempt.flow.call.now);
    let check = Check::At(key.clone(), live.version.modified);
    let mut nothing = Value::Null;
    admission::mutate(
        &mut attempt,
        Action::Delete,
        &mut nothing,
        Some(&live.value),
    )
    .await?;
    admission::validate(&mut attempt, Action::Delete, None, Some(&live.value)).await?;
    let mut marked = live.value.clone();
    meta::remove(&mut marked, "resourceVersion");
    if attempt.place.kind.collects_garbage() {
        propagate(&mut marked, options.propagation);
    }
    let grace = strategy::grace(
        attempt.place.kind,
        definition,
        &marked,
        options.grace_period_seconds,
    );
    let already = meta::is_deleting(&marked);
    if already {
        shorten(
            &mut marked,
            grace,
            options.grace_period_seconds.is_some(),
            attempt.flow.call,
        );
    } else {
        strategy::mark_deleting(definition, &mut marked, now, grace);
    }
    if !already {
        attempt
            .admit(Operation::Delete, Some(&live.value), &mut marked)
            .await?;
    }

    if strategy::held(definition, &marked) {
        let row = attempt.encode(marked);
        if row == live.version.row && attempt.writes.is_empty() {
            return Ok(attempt.answer(key, live.version.modified, row, false)?);
        }
        let write = Write::Put(key.clone(), row.clone());
        let revision = attempt
            .append(Some(write), check)
            .await?
            .unwrap_or(live.version.modified);
        return Ok(attempt.answer(key, revision, row, false)?);
    }
    attempt
        .admit(Operation::Remove, Some(&live.value), &mut marked)
        .await?;
    dependents::note_removal(&mut attempt, &live.value)?;
    let _turn = quota::count_in(&mut attempt, Change::Goes, name).await?;
    attempt
        .append(Some(Write::Delete(key, None)), check)
        .await?;
    let status = Status::success(&definition.group_resource(), name, meta::uid(&live.value));
    Ok(Answer {
        outcome: Outcome::Status(status),
        warnings: attempt.warnings,
        created: false,
    })
}

/// Makes the garbage collector's finalizers say what the client asked for.
fn propagate(object: &mut Value, asked: Option<Propagation>) {
    let wanted = match asked {
        Some(Propagation::Orphan) => Some(ORPHAN_DEPENDENTS),
        Some(Propagation::Foreground) => Some(FOREGROUND_DELETION),
        Some(Propagation::Background) => None,
        // What an earlier delete asked for stays.
        None => return,
    };
    for finalizer in [ORPHAN_DEPENDENTS, FOREGROUND_DELETION] {
        if wanted == Some(finalizer) {
            meta::add_finalizer(object, finalizer);
        } else {
            meta::remove_finalizer(object, finalizer);
        }
    }
}

/// A further delete of a pod that is ending may shorten its grace period, never lengthen it.
fn shorten(object: &mut Value, grace: i64, asked: bool, call: &Call) {
    let left = meta::metadata(object)
        .get("deletionGracePeriodSeconds")
        .and_then(Value::as_i64)
        .unwrap_or(0);
    if asked && grace < left {
        let at = atoll_kube::Timestamp(call.now.0.saturating_add(grace.saturating_mul(1000)));
        meta::set(object, "deletionTimestamp", at.rfc3339());
        meta::set(object, "deletionGracePeriodSeconds", grace);
    }
}

pub(crate) async fn delete_collection(
    registry: &Registry,
    call: &Call,
    selection: &ListOptions,
    options: &DeleteOptions,
) -> Result<Answer, Status> {
    let flow = Flow::for_delete(registry, call, options.dry_run);
    let attempt = flow.begin(Verb::DeleteCollection)?;
    let mut page = ListOptions {
        limit: PAGE,
        ..selection.clone()
    };
    let mut items = Vec::new();
    let mut revision;
    loop {
        let list = registry.list(call, &page).await?;
        // Boxed and collected: the compiler cannot see that a stream of borrowing futures may move between threads.
        let deletes: Vec<_> = list
            .objects
            .iter()
            .map(|o| delete_listed(registry, call, o, options).boxed())
            .collect();
        stream::iter(deletes)
            .buffer_unordered(AT_ONCE)
            .try_for_each(future::ok)
            .await?;
        revision = list.revision;
        for object in &list.objects {
            items.push(object.value()?);
        }
        match list.continue_token {
            Some(token) => {
                page = ListOptions {
                    continue_token: Some(token),
                    resource_version: None,
                    version_match: None,
                    ..page
                };
            }
            None => break,
        }
    }
    let served = &attempt.target.served;
    let all = json!({
        "kind": served.definition.names.list_kind,
        "apiVersion": served.api_version(),
        "metadata": { "resourceVersion": revision.to_string() },
        "items": items,
    });
    Ok(Answer {
        outcome: Outcome::Value(all),
        warnings: attempt.warnings,
        created: false,
    })
}

/// Deletes one object of a list; that it is gone already is fine.
async fn delete_listed(
    registry: &Registry,
    call: &Call,
    object: &Object,
    options: &DeleteOptions,
) -> Result<(), Status> {
    let mut one = call.clone();
    one.namespace = object.namespace().map(str::to_owned);
    one.name = Some(object.name().to_owned());
    match delete(registry, &one, options).await {
        Err(status) if !status.is_not_found() => Err(status),
        _ => Ok(()),
    }
}
