//! Admission webhooks: somebody else's program is asked, over HTTPS, whether an object may be written, and may change it before.
//!
//! What is asked and what an answer means is pure ([`review`]); the call itself is made by a [`Caller`], which the server provides.

pub(super) mod check;
mod hook;
mod review;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use atoll_kube::Status;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use serde_json::Value;

use super::plan::Plan;
use super::request::{Action, Request};
use crate::write::{attempt::Attempt, strategy};
pub(crate) use hook::Hook;
pub use hook::{Endpoint, Place as EndpointPlace};
use review::{Asked, Said};

/// Validating webhooks of one write that are asked at once.
const AT_ONCE: usize = 16;

/// Makes calls to webhooks.
#[async_trait]
pub trait Caller: Send + Sync {
    /// Posts JSON and gives the answer's code and body, or in words why there is none.
    async fn call(
        &self,
        endpoint: &Endpoint,
        body: Bytes,
        timeout: Duration,
    ) -> Result<(u16, Bytes), String>;
}

/// Lets the mutating webhooks of a plan change an object, in their order; those that want to are asked again when a later one changed it.
pub(super) async fn mutate(
    attempt: &mut Attempt<'_>,
    plan: &Plan,
    action: Action,
    object: &mut Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    let hooks = &plan.mutating_webhooks;
    let (mut invoked, mut again) = (Vec::new(), Vec::new());
    for (place, hook) in hooks.iter().enumerate() {
        let Some(changed) = mutate_once(attempt, hook, action, object, old).await? else {
            continue;
        };
        if changed {
            again.append(&mut invoked);
        }
        if hook.reinvoked {
            invoked.push(place);
        }
    }
    for hook in again.into_iter().filter_map(|place| hooks.get(place)) {
        mutate_once(attempt, hook, action, object, old).await?;
    }
    Ok(())
}

/// Whether the webhook changed the object; `None` when it is not about it.
async fn mutate_once(
    attempt: &mut Attempt<'_>,
    hook: &Hook,
    action: Action,
    object: &mut Value,
    old: Option<&Value>,
) -> Result<Option<bool>, Status> {
    let shown = (action != Action::Delete).then_some(&*object);
    let asked = {
        let request = Request::new(attempt, action, shown, old);
        match hook.ask(&request)? {
            None => return Ok(None),
            Some(asked) => asked,
        }
    };
    let said = call(attempt, hook, &asked, true).await?;
    let Some(said) = said else {
        return Ok(Some(false));
    };
    attempt.warnings.extend(said.warnings);
    let Some(patch) = said.patch else {
        return Ok(Some(false));
    };
    if action == Action::Delete {
        return Err(Status::internal(format!(
            "admission webhook \"{}\" attempted to modify the object, which is not supported for this operation",
            hook.name
        )));
    }
    let served = attempt.target.served.clone();
    let mut changed = asked.object;
    atoll_kube::patch::json(&mut changed, &patch).map_err(|e| Status::internal(e.message))?;
    changed["apiVersion"] = served.api_version().into();
    strategy::complete(attempt.place.kind, &served, &mut changed)?;
    strategy::carry_over(object, &mut changed);
    let differs = changed != *object;
    *object = changed;
    Ok(Some(differs))
}

/// Asks the validating webhooks of a plan, many at once. Of several refusals the first in their order is given.
pub(super) async fn validate(
    attempt: &mut Attempt<'_>,
    plan: &Plan,
    action: Action,
    object: Option<&Value>,
    old: Option<&Value>,
) -> Result<(), Status> {
    let mut asked = Vec::new();
    {
        let request = Request::new(attempt, action, object, old);
        for hook in &plan.validating_webhooks {
            if let Some(question) = hook.ask(&request)? {
                asked.push((hook, question));
            }
        }
    }
    let calls: Vec<_> = asked
        .iter()
        .map(|(hook, question)| call(attempt, hook, question, false))
        .collect();
    let answers: Vec<Result<Option<Said>, Status>> =
        stream::iter(calls).buffered(AT_ONCE).collect().await;
    let mut warnings = Vec::new();
    let mut refused = None;
    for answer in answers {
        match answer {
            Ok(said) => warnings.extend(said.into_iter().flat_map(|said| said.warnings)),
            Err(status) => drop(refused.get_or_insert(status)),
        }
    }
    attempt.warnings.extend(warnings);
    refused.map_or(Ok(()), Err)
}

/// What a webhook says; `None` when it could not be asked and that does not matter.
async fn call(
    attempt: &Attempt<'_>,
    hook: &Hook,
    asked: &Asked,
    mutating: bool,
) -> Result<Option<Said>, Status> {
    if attempt.flow.dry_run && !hook.dry {
        return Err(Status::bad_request(format!(
            "admission webhook \"{}\" does not support dry run",
            hook.name
        )));
    }
    let caller: Option<Arc<dyn Caller>> = attempt.flow.registry.inner.caller.clone();
    let answer = match (&hook.endpoint, caller) {
        (Err(why), _) => Err(why.clone()),
        (Ok(_), None) => {
            Err("failed to call webhook: webhooks are not called by this server".to_owned())
        }
        (Ok(endpoint), Some(caller)) => {
            let called = caller
                .call(endpoint, asked.body.clone(), hook.timeout)
                .await;
            called
                .map_err(|why| format!("failed to call webhook: {why}"))
                .and_then(|(code, body)| review::read(code, &body, asked, mutating))
        }
    };
    match answer {
        Ok(said) if said.allowed => Ok(Some(said)),
        Ok(said) => Err(review::refusal(&hook.name, said)),
        Err(why) if hook.fails => Err(Status::internal(format!(
            "failed calling webhook \"{}\": {why}",
            hook.name
        ))),
        Err(why) => {
            tracing::warn!(
                webhook = hook.name,
                why,
                "a webhook could not be asked; its policy is to go on"
            );
            Ok(None)
        }
    }
}
