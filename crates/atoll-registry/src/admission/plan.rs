//! What a logical cluster configures, compiled.
//!
//! A plan is immutable and named by the hash in the admission row, so clusters that configure the same share it, and one that is gone from the cache is
//! compiled again.

use std::sync::Arc;

use atoll_kube::Status;
use atoll_store::Snapshot;
use quick_cache::{Weighter, sync::Cache};
use serde_json::Value;

use super::GROUP;
use super::policy::Policy;
use super::row::{AdmissionRow, Family};
use super::webhook::Hook;
use crate::{ClusterName, read::row, write::attempt::Attempt};

/// Everything configured in a logical cluster.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// ValidatingAdmissionPolicies, by name.
    pub(crate) validating: Vec<Policy>,
    /// Webhooks that may change objects, in the order they are asked.
    pub(crate) mutating_webhooks: Vec<Hook>,
    /// Webhooks that may refuse.
    pub(crate) validating_webhooks: Vec<Hook>,
    weight: u64,
}

#[derive(Clone)]
pub(crate) struct ByWeight;

impl Weighter<String, Arc<Plan>> for ByWeight {
    fn weight(&self, _: &String, plan: &Arc<Plan>) -> u64 {
        plan.weight.max(1)
    }
}

/// Compiled plans, within a budget of bytes.
pub(crate) type Plans = Cache<String, Arc<Plan>, ByWeight>;

/// A cache of about so many bytes.
pub(crate) fn cache(bytes: u64) -> Plans {
    Cache::with_weighter(64, bytes, ByWeight)
}

/// The plan that a write is subject to; `None` where nothing is configured, or nothing acts.
pub(crate) fn of(attempt: &Attempt<'_>) -> Result<Option<Arc<Plan>>, Status> {
    let flow = attempt.flow;
    let exempt = !attempt.place.kind.acts()
        || attempt.target.id.group == GROUP
        || Arc::ptr_eq(&flow.call.user, &flow.registry.inner.system);
    if exempt {
        return Ok(None);
    }
    let Some(version) = attempt.admission_row()? else {
        return Ok(None);
    };
    let plans = &flow.registry.inner.plans;
    let id = AdmissionRow::id(&version.row)?;
    if let Some(plan) = plans.get(id) {
        return Ok(Some(plan));
    }
    let row = AdmissionRow::parse(&version.row)?;
    let (snapshot, cluster) = (&*attempt.snapshot, &attempt.place.cluster);
    let plan = crate::aside::long(|| compile(snapshot, cluster, &row))?;
    let plan = Arc::new(plan);
    plans.insert(id.to_owned(), plan.clone());
    Ok(Some(plan))
}

fn compile(
    snapshot: &dyn Snapshot,
    cluster: &ClusterName,
    configured: &AdmissionRow,
) -> Result<Plan, Status> {
    let mut weight = 512;
    let mut all = |family: Family| -> Result<Vec<Value>, Status> {
        let mut found = Vec::new();
        for entry in configured.entries.iter().filter(|e| e.family == family) {
            // A cluster on its way out may have lost some already.
            if let Some(version) =
                family
                    .id()
                    .read(snapshot, cluster.as_str(), None, &entry.name)?
            {
                // Compiled expressions take many times the room of their text.
                weight += 32 * version.row.len() as u64;
                found.push(row(&version.row)?.value("", "", 0, None));
            }
        }
        Ok(found)
    };
    let (policies, bindings) = (all(Family::Validating)?, all(Family::ValidatingBinding)?);
    let (mutating, validating) = (
        all(Family::MutatingWebhooks)?,
        all(Family::ValidatingWebhooks)?,
    );
    Ok(Plan {
        validating: Policy::compile_all(&policies, &bindings),
        mutating_webhooks: Hook::compile_all(&mutating),
        validating_webhooks: Hook::compile_all(&validating),
        weight,
    })
}
