//! The common path of everything that changes an object: update, the four patches, scale, every subresource.

use atoll_kube::{Status, definition::Verb, meta, patch::managed};
use atoll_store::{Check, Write};
use serde_json::Value;

use super::{
    attempt::{Attempt, Flow, Live, Stop},
    body, create,
    part::Part,
    rules, scale, strategy,
};
use crate::{
    Answer, Operation,
    admission::{
        self, Action,
        quota::{self, Change},
    },
    read::target::name_of,
};

/// What a request wants an object to become.
pub(crate) struct Proposal {
    pub(crate) value: Value,
    pub(crate) faults: Vec<String>,
    /// managedFields are done already (by apply).
    pub(crate) recorded: bool,
}

/// The end of a change.
pub(crate) enum Changed<'a> {
    /// Done.
    Answer(Answer),
    /// There is nothing to change; here is the attempt that found out.
    Missing(Box<Attempt<'a>>),
}

/// Changes the object that the call names, starting over as often as races are lost.
///
/// A proposal that carries the live object's resourceVersion (as patches do) is made anew from what is there then; one
/// with another resourceVersion is a conflict.
pub(crate) async fn modify<'a, P>(
    flow: &'a Flow<'a>,
    verb: Verb,
    part: Part,
    propose: P,
) -> Result<Changed<'a>, Status>
where
    P: Fn(&Attempt<'_>, &Live) -> Result<Proposal, Status> + Send + Sync,
{
    let name = name_of(flow.call)?;
    let mut lost = 0;
    loop {
        let attempt = flow.begin(verb)?;
        let key = attempt.key(name);
        let Some(live) = attempt.live(&key)? else {
            return Ok(Changed::Missing(Box::new(attempt)));
        };
        let proposal = propose(&attempt, &live)?;
        match modify_once(attempt, live, proposal, part, name).await {
            Ok(answer) => return Ok(Changed::Answer(answer)),
            Err(Stop::Refused(status)) => return Err(status),
            Err(Stop::Lost(_)) => flow.again(&mut lost)?,
        }
    }
}

async fn modify_once(
    mut attempt: Attempt<'_>,
    live: Live,
    proposal: Proposal,
    part: Part,
    name: &str,
) -> Result<Answer, Stop> {
    let flow = attempt.flow;
    let served = attempt.target.served.clone();
    let old = &live.value;
    let mut new = proposal.value;
    check_identity(&attempt, &live, &new, name)?;
    meta::remove(&mut new, "resourceVersion");

    let unknown = strategy::complete(attempt.place.kind, &served, &mut new)?;
    let mut faults = proposal.faults;
    faults.extend(unknown);
    body::report(&faults, flow.validation, &served, &mut attempt.warnings)?;
    let mut new = part.merge(old, new, &served);
    meta::remove(&mut new, "resourceVersion");
    strategy::carry_over(old, &mut new);
    strategy::hold(attempt.place.kind, &served, old, &mut new);

    // What the client wrote is the client's; what admission changes is nobody's, as on create.
    if !proposal.recorded {
        attempt.with_record(|record| managed::on_update(record, old, &mut new));
    }
    let whole = flow.call.resource.subresource.as_deref() != Some("scale");
    if whole && admission::mutate(&mut attempt, Action::Update, &mut new, Some(old)).await? {
        // What this request is not about stays out of reach of webhooks, too.
        new = part.merge(old, new, &served);
        meta::remove(&mut new, "resourceVersion");
        strategy::carry_over(old, &mut new);
    }
    attempt
        .admit(Operation::Update, Some(old), &mut new)
        .await?;
    strategy::count_generation(&served, old, &mut new);
    let mut errors = strategy::validate_change(attempt.place.kind, &served, old, &new);
    let warnings = &mut attempt.warnings;
    rules::check(&served, Some(old), &new, &mut errors, warnings);
    strategy::refuse(&served, name, &errors)?;
    if flow.call.resource.subresource.as_deref() == Some("scale") {
        let (new, old) = (scale::of(&new, &served)?, scale::of(old, &served)?);
        admission::validate(&mut attempt, Action::Update, Some(&new), Some(&old)).await?;
    } else {
        admission::validate(&mut attempt, Action::Update, Some(&new), Some(old)).await?;
    }
    let mut before = old.clone();
    meta::remove(&mut before, "resourceVersion");
    managed::keep_times_if_unchanged(&before, &mut new);
    attempt.warn();

    let key = attempt.key(name);
    let check = Check::At(key.clone(), live.version.modified);
    if meta::is_deleting(&new) && !strategy::held(&served.definition, &new) {
        attempt
            .admit(Operation::Remove, Some(old), &mut new)
            .await?;
        super::dependents::note_removal(&mut attempt, old)?;
        let row = attempt.encode(new);
        let _turn = quota::count_in(&mut attempt, Change::Goes, name).await?;
        let write = Write::Delete(key.clone(), Some(row.clone()));
        let revision = attempt
            .append(Some(write), check)
            .await?
            .unwrap_or(live.version.modified);
        return Ok(attempt.answer(key, revision, row, false)?);
    }
    if meta::metadata(old).get("ownerReferences") != meta::metadata(&new).get("ownerReferences") {
        attempt.note_owners(&new)?;
    }
    let row = attempt.encode(new);
    let same = row == live.version.row;
    if same && attempt.writes.is_empty() {
        return Ok(attempt.answer(key, live.version.modified, row, false)?);
    }
    let write = (!same).then(|| Write::Put(key.clone(), row.clone()));
    let revision = attempt.append(write, check).await?;
    let revision = if same {
        live.version.modified
    } else {
        revision.unwrap_or(live.version.modified)
    };
    Ok(attempt.answer(key, revision, row, false)?)
}

/// Name, namespace, uid and resourceVersion in a body must be those of the object.
fn check_identity(
    attempt: &Attempt<'_>,
    live: &Live,
    new: &Value,
    name: &str,
) -> Result<(), Status> {
    let resource = attempt.target.group_resource();
    match meta::name(new) {
        found if !found.is_empty() && found != name => {
            return Err(create::name_mismatch(found, name));
        }
        _ => {}
    }
    let namespace = attempt.flow.call.namespace.as_deref().unwrap_or("");
    let found = meta::namespace(new);
    if !found.is_empty() && found != namespace && attempt.target.served.definition.namespaced() {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    let (asked, is) = (meta::uid(new), meta::uid(&live.value));
    if !asked.is_empty() && asked != is {
        let why =
            format!("Precondition failed: UID in precondition: {asked}, UID in object meta: {is}");
        return Err(Status::conflict(&resource, name, why));
    }
    match meta::resource_version(new) {
        "" | "0" => Ok(()),
        asked if asked == live.version.modified.to_string() => Ok(()),
        asked if asked.parse::<u64>().is_err() => Err(Status::bad_request(format!(
            "invalid resource version {asked:?}: it must be a number"
        ))),
        _ => Err(Status::modified(&resource, name)),
    }
}
