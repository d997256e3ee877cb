//! Admission as people configure it: policies in CEL, webhooks, quotas.
//!
//! What is configured in a logical cluster is named by its *admission row*, which changes in the append that stores a policy, a webhook configuration or a
//! quota ([`row`]). A write reads that one row: where there is none, as nearly everywhere, admission ends there. Where there is one, the compiled
//! [`plan::Plan`] is shared by all clusters that configure the same.
//!
//! Two moments: [`mutate`] before an object is validated, [`validate`] after. In payload workspaces configurations are data and do nothing; the system's own
//! writes are not asked about. Deciding is pure ([`matching`], [`policy`]); this file and its neighbours fetch what decisions need.

mod door;
mod matching;
mod params;
pub(crate) mod plan;
pub(crate) mod policy;
pub(crate) mod quota;
mod request;
pub(crate) mod row;
pub(crate) mod webhook;

use atoll_kube::Status;
use serde_json::Value;

pub(crate) use policy::check;
pub(crate) use request::{Action, Request};

use crate::write::attempt::Attempt;

/// The group of everything that configures admission, quotas aside. Its kinds are never subject to it.
pub(crate) const GROUP: &str = "admissionregistration.k8s.io";

/// Lets what was configured change an object that is about to be validated. False when it certainly did not.
pub(crate) async fn mutate(
    attempt: &mut Attempt<'_>,
    action: Action,
    object: &mut Value,
    old: Option<&Value>,
) -> Result<bool, Status> {
    match plan::of(attempt)? {
        Some(plan) if !plan.mutating_webhooks.is_empty() => {
            webhook::mutate(attempt, &plan, action, object, old).await?;
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// Asks what was configured whether an object may be written as it is.
///
/// `object` is what will be there (absent in a delete), `old` what was (absent in a create).
pub(crate) async fn validate(
    attempt: &mut Attempt<'_>,
    action: Action,
    object: Option<&Value>,
    old: Option<&Value>,
) -> Result<(), Status> {
    let Some(plan) = plan::of(attempt)? else {
        return Ok(());
    };
    if !plan.validating.is_empty() {
        let mut warnings = Vec::new();
        let decided = {
            let request = Request::new(attempt, action, object, old);
            policy::validate(&plan, &request, &mut warnings)
        };
        attempt.warnings.extend(warnings);
        decided?;
    }
    if plan.validating_webhooks.is_empty() {
        return Ok(());
    }
    webhook::validate(attempt, &plan, action, object, old).await
}
