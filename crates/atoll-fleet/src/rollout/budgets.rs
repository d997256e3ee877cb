//! DisruptionBudget.status: how many of each group are unavailable, and how many may be. Coalesced; written only when it differs.

use std::sync::Arc;
use std::time::Duration;

use atoll_kube::{Status, meta};
use atoll_placement::rollout::BudgetId;
use atoll_registry::{ClusterName, PatchType, ResourceRef};
use serde_json::{Value, json};

use super::specs::EDGE;
use crate::shared::Shared;

/// Changes are gathered for so long.
const SETTLE: Duration = Duration::from_millis(500);
/// So many groups are shown, those with the least room first.
const MOST_GROUPS: usize = 100;

/// Runs until dropped.
pub(crate) async fn run(shared: Arc<Shared>) {
    loop {
        for id in shared.budgets.take(SETTLE).await {
            if let Err(error) = write(&shared, id).await {
                // The next change writes it.
                tracing::debug!(%error, "a DisruptionBudget's status could not be written");
            }
        }
    }
}

async fn write(shared: &Shared, id: BudgetId) -> Result<(), Status> {
    let (inventory, name, mut groups) = {
        let world = shared.world.read();
        let Some(budget) = world.control.budgets.get(&id) else {
            return Ok(());
        };
        let groups = world.control.engine.budget_groups(id);
        (budget.inventory.clone(), budget.name.clone(), groups)
    };
    groups.sort_by_key(|(key, used, allowed)| {
        (allowed.saturating_sub(u64::from(*used)), key.clone())
    });
    groups.truncate(MOST_GROUPS);
    let groups = groups.into_iter().map(|(key, unavailable, allowed)| {
        json!({"key": key, "unavailable": unavailable, "allowed": allowed})
    });
    let client = shared
        .registry
        .as_system(ClusterName::new(inventory))
        .managed_by("atoll-fleet");
    let resource = ResourceRef::new(EDGE, "v1alpha1", "disruptionbudgets");
    let Some(stored) = client.find(&resource, None, &name).await? else {
        return Ok(());
    };
    let new = json!({"groups": groups.collect::<Vec<Value>>(), "observedGeneration": meta::generation(&stored)});
    let old = stored.get("status");
    let same = |field: &str| old.and_then(|o| o.get(field)) == new.get(field);
    if !same("groups") || !same("observedGeneration") {
        let sub = resource.sub("status");
        let patch = json!({ "status": new });
        client
            .patch(&sub, None, &name, PatchType::Merge, patch)
            .await?;
    }
    Ok(())
}
