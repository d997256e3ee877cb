//! Rollout objects: one per policy under control and kept revision, its status written by us, its spec by people ([`super::wishes`]). Coalesced; written only when it differs.

use std::sync::Arc;
use std::time::Duration;

use atoll_kube::{Status, Timestamp, meta};
use atoll_placement::Destination;
use atoll_placement::rollout::spec::GateKind;
use atoll_placement::rollout::{GatePlace, PolicyId, Progress, RolloutState};
use atoll_registry::client::Client;
use atoll_registry::{ClusterName, DeleteOptions, PatchType, ResourceId, ResourceRef};
use serde_json::{Value, json};

use super::specs::{EDGE, VERSION};
use crate::lifecycle::set_condition;
use crate::model::World;
use crate::shared::Shared;

/// Changes are gathered for so long.
const SETTLE: Duration = Duration::from_millis(250);
/// The label by which a policy's Rollouts are found.
const POLICY: &str = "edge.atoll.dev/policy";
/// Longer names of policies are cut off, so that the revision fits behind them.
const LONGEST: usize = 230;

/// Rollouts, in every payload workspace.
pub(crate) fn resource() -> ResourceId {
    ResourceId::builtin(EDGE, "rollouts")
}

/// The name of a revision's Rollout.
pub(crate) fn name_of(policy: &str, revision: u64) -> String {
    let policy = policy.get(..LONGEST).unwrap_or(policy);
    format!("{}-{revision}", policy.trim_end_matches(['-', '.']))
}

/// Runs until dropped.
pub(crate) async fn run(shared: Arc<Shared>) {
    loop {
        for id in shared.rollouts.take(SETTLE).await {
            if let Err(error) = write(&shared, &id).await {
                tracing::debug!(%error, policy = %id.1, "a policy's Rollouts could not be written; it is tried again");
                let shared = shared.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    shared.rollouts.add(id);
                });
            }
        }
    }
}

/// What a Rollout should say.
struct Wanted {
    name: String,
    spec: Value,
    status: Value,
    owner: Value,
    refused: Option<String>,
}

async fn write(shared: &Shared, id: &(Arc<str>, Arc<str>)) -> Result<(), Status> {
    let now = shared.registry.now();
    let (wanted, stale) = gather(&shared.world.read(), id, now);
    let client = shared.registry.as_system(ClusterName::new(id.0.clone()));
    let client = client.managed_by("atoll-fleet");
    let resource = ResourceRef::new(EDGE, "v1alpha1", "rollouts");
    for wanted in wanted {
        write_one(&client, &resource, wanted, &id.1, now).await?;
    }
    for name in stale {
        client
            .delete(&resource, None, &name, &DeleteOptions::default())
            .await?;
    }
    Ok(())
}

/// A policy's Rollouts as they should be, and those that should not be.
fn gather(world: &World, id: &(Arc<str>, Arc<str>), now: Timestamp) -> (Vec<Wanted>, Vec<String>) {
    let index = world.by_policy.get(id).copied();
    let policy = index.and_then(|index| Some((index, world.policies.get(&index)?)));
    let controlled = policy.and_then(|(index, p)| Some((index, p, p.control.as_ref()?)));
    let mut wanted = Vec::new();
    if let Some((index, policy, control)) = controlled {
        let id = PolicyId(index.0);
        let state = world.control.engine.state(id);
        let pause = state.and_then(|s| s.head.paused.as_ref());
        let latest = state.and_then(|s| Some(s.head.run.as_ref()?.revision));
        let named = |d: u32| world.name_of(Destination(d));
        for progress in progress(world, id, now) {
            let ordinal = progress.revision.0;
            let current = latest == Some(progress.revision);
            let mut status = progress.status(&named);
            if let Some((pause, state)) = pause.zip(state).filter(|_| current) {
                status["pausedAt"] = state.clock(pause.since).rfc3339().into();
            }
            if current && let Some(state) = state {
                let awaiting = awaiting(state, now);
                if !awaiting.is_empty() {
                    status["awaiting"] = awaiting.into();
                }
                if state.head.pending.is_some() {
                    status["pending"] = true.into();
                }
            }
            wanted.push(Wanted {
                name: name_of(&policy.name, ordinal),
                spec: json!({
                    "policy": &*policy.name,
                    "revision": ordinal,
                    "contentHash": progress.content,
                    "paused": current && pause.is_some_and(|p| p.asked),
                }),
                status,
                owner: json!([{
                    "apiVersion": "control.kubestellar.io/v1alpha1", "kind": "BindingPolicy",
                    "name": &*policy.name, "uid": &*policy.uid,
                }]),
                refused: control.refused.clone().filter(|_| current),
            });
        }
    }
    let wishes = world.control.wishes.iter();
    let stale = wishes
        .filter(|((cluster, _), wish)| *cluster == id.0 && wish.policy == *id.1)
        .map(|((_, name), _)| name.to_string())
        .filter(|name| !wanted.iter().any(|w| w.name == *name));
    let stale = stale.collect();
    (wanted, stale)
}

/// The gates that wait for a person now, by the stage that they stand at (`-`: the whole rollout).
fn awaiting(state: &RolloutState, now: Timestamp) -> Vec<Value> {
    let Some(run) = state.head.run.as_ref().filter(|r| r.active() && !r.back) else {
        return Vec::new();
    };
    let mut places = vec![(GatePlace::Rollout, "-")];
    if let Some(stage) = run.current().map(|at| &run.stages[at]) {
        let place = match stage.began {
            None => GatePlace::Before(stage.name.clone()),
            Some(_) => GatePlace::After(stage.name.clone()),
        };
        places.push((place, stage.name.as_str()));
    }
    let mut found = Vec::new();
    for (place, stage) in places {
        let gates = state.gates_at(&place).iter();
        let closed = gates.filter(|g| {
            matches!(g.kind, GateKind::Approval { .. }) && state.closed(&place, g, now).is_some()
        });
        found.extend(closed.map(|g| json!({"stage": stage, "gate": g.name})));
    }
    found
}

/// How far a policy's kept revisions are, the latest first. Other policies are named only if they are of the same workspace.
pub(crate) fn progress(world: &World, id: PolicyId, now: Timestamp) -> Vec<Progress> {
    let own = world.policies.get(&crate::model::PolicyIndex(id.0));
    let name = |other: PolicyId| {
        let other = world.policies.get(&crate::model::PolicyIndex(other.0));
        let near = other.filter(|o| own.is_some_and(|p| p.cluster == o.cluster));
        near.map_or_else(|| "of another workspace".to_owned(), |p| p.name.to_string())
    };
    world.control.engine.progress(id, &name, now)
}

async fn write_one(
    client: &Client,
    resource: &ResourceRef,
    wanted: Wanted,
    policy: &str,
    now: Timestamp,
) -> Result<(), Status> {
    let Wanted {
        name,
        spec,
        mut status,
        owner,
        refused,
    } = wanted;
    let stored = match client.find(resource, None, &name).await? {
        Some(stored) => stored,
        None => {
            let object = json!({
                "apiVersion": VERSION, "kind": "Rollout",
                "metadata": {"name": name, "labels": {POLICY: policy}, "ownerReferences": owner},
                "spec": spec,
            });
            client.create(resource, object).await?
        }
    };
    let old = stored.get("status").cloned().unwrap_or_else(|| json!({}));
    let conditions = old.get("conditions").and_then(Value::as_array);
    let mut conditions = conditions.cloned().unwrap_or_default();
    match refused {
        Some(why) => set_condition(
            &mut conditions,
            "CommandRefused",
            "True",
            "NotPossible",
            &why,
            now,
        ),
        None => {
            conditions.retain(|c| c.get("type").and_then(Value::as_str) != Some("CommandRefused"))
        }
    }
    if !conditions.is_empty() {
        status["conditions"] = Value::Array(conditions);
    }
    status["observedGeneration"] = meta::generation(&stored).into();
    if status == old {
        return Ok(());
    }
    // A merge patch keeps what it does not name.
    for field in old.as_object().into_iter().flat_map(|o| o.keys()) {
        if status.get(field).is_none() {
            status[field] = Value::Null;
        }
    }
    let patch = json!({"status": status});
    let sub = resource.clone().sub("status");
    client
        .patch(&sub, None, &name, PatchType::Merge, patch)
        .await?;
    Ok(())
}
