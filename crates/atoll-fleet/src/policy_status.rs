//! BindingPolicy.status: conditions, disjoint counts, grouped errors, what is held and what is missing. Coalesced; written only when it differs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use atoll_kube::{Status, Timestamp};

use atoll_placement::Destination;
use atoll_placement::rollout::PolicyId;
use atoll_placement::summary::{Counts, ErrorGroups};
use atoll_registry::{ClusterName, PatchType, ResourceRef};
use atoll_wire::ErrorKind;
use serde_json::{Value, json};

use crate::lifecycle::set_condition;
use crate::model::{PolicyIndex, PolicyState, World};
use crate::reach;
use crate::rollout;
use crate::shared::Shared;
use crate::source::CONTROL;

/// Changes are gathered for so long.
const SETTLE: Duration = Duration::from_millis(200);
/// How many kinds of errors are shown.
const MOST_PROBLEMS: usize = 10;
/// How many objects that violate a wish are named.
const MOST_NAMED: usize = 3;

/// Runs until dropped.
pub(crate) async fn run(shared: Arc<Shared>) {
    loop {
        for index in shared.policy_status.take(SETTLE).await {
            tell_shapes(&shared, index);
            if let Err(error) = write(&shared, index).await {
                tracing::debug!(%error, policy = ?index, "a policy's status could not be written; it is tried again");
                let shared = shared.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    shared.policy_status.add(index);
                });
            }
        }
    }
}

/// What shapes the copies of a policy's workspace may say something else, too.
fn tell_shapes(shared: &Shared, index: PolicyIndex) {
    let world = shared.world.read();
    if let Some(policy) = world.policies.get(&index)
        && world.shaping.contains_key(&*policy.cluster)
    {
        shared.shapes.add(policy.cluster.clone());
    }
}

async fn write(shared: &Shared, index: PolicyIndex) -> Result<(), Status> {
    let (cluster, name, uid, spec, mut found) = {
        let world = shared.world.read();
        let Some(policy) = world
            .policies
            .get(&index)
            .filter(|p| !p.deleted && p.parsed)
        else {
            return Ok(());
        };
        (
            policy.cluster.clone(),
            policy.name.clone(),
            policy.uid.clone(),
            policy.spec.clone(),
            Found {
                rollout: rollout(&world, index, shared.registry.now()),
                ..gather(&world, policy)
            },
        )
    };
    let cluster = ClusterName::new(cluster);
    let surface = shared.registry.surface(&cluster)?;
    found
        .unsatisfied
        .extend(reach::in_vain(&spec, surface.definitions()));
    let client = shared.registry.as_system(cluster).managed_by("atoll-fleet");
    let resource = ResourceRef::new(CONTROL, "v1alpha1", "bindingpolicies");
    let Some(stored) = client.find(&resource, None, &name).await? else {
        return Ok(());
    };
    if atoll_kube::meta::uid(&stored) != &*uid {
        return Ok(());
    }
    let old = stored.get("status").cloned().unwrap_or_else(|| json!({}));
    let new = found.status(&old, shared.registry.now());
    if new != old {
        let mut patch = new;
        // A merge patch keeps what it does not name.
        for field in old.as_object().into_iter().flat_map(|o| o.keys()) {
            if patch.get(field).is_none() {
                patch[field] = Value::Null;
            }
        }
        client
            .patch(
                &resource.sub("status"),
                None,
                &name,
                PatchType::Merge,
                json!({"status": patch}),
            )
            .await?;
    }
    Ok(())
}

/// All that a status is made of.
struct Found {
    generation: i64,
    ordinal: u64,
    misconfigured: Vec<String>,
    /// Wishes that cannot be met: singleton wanted but several, consent missing, resources that do not travel.
    unsatisfied: Vec<String>,
    copies: Counts,
    destinations: u64,
    problems: Vec<Value>,
    held: Option<Value>,
    suspended: bool,
    /// Of a policy under control: how far its latest revision is, and what it waits for.
    rollout: Option<(&'static str, String)>,
    /// Why nothing is placed, when nothing is.
    nothing: String,
}

/// Why a policy places nothing: no object, no destination, or neither.
fn nothing(world: &World, policy: &PolicyState) -> String {
    let spec = &policy.spec;
    let mut said = Vec::new();
    if policy.selected.is_empty() {
        said.push(match (spec.downsync.is_empty(), spec.upsync.is_empty()) {
            (true, false) => "nothing is to be placed: it has upsync only".to_owned(),
            (true, true) => "spec.downsync is empty".to_owned(),
            _ => "no object of this workspace matches spec.downsync".to_owned(),
        });
    }
    let inventory = policy.inventory.as_deref();
    let state = inventory.and_then(|i| world.inventories.get(i));
    let all = state.map_or(0, |s| s.index.all().len());
    if policy.assigned.is_empty() {
        let matching = state.map_or(0, |s| s.index.select_any(&spec.clusters).len());
        let by_expression_alone = spec.clusters.is_empty() && !spec.asked.expressions.is_empty();
        said.push(match (inventory, all, matching) {
            (None, ..) => "its inventory is not found".to_owned(),
            (_, 0, _) => "the inventory has no destination".to_owned(),
            (_, n, 0) if !by_expression_alone => {
                format!("none of the inventory's {n} destinations matches spec.clusterSelectors")
            }
            (_, n, matching) => format!(
                "of the inventory's {n} destinations {} match spec.clusterSelectors and none of them can be chosen; `atoll explain OBJECT --destination EDGE` says why",
                if by_expression_alone { n } else { matching }
            ),
        });
    }
    said.join("; ")
}

/// How far the latest revision is, in words: its phase, its stage and what that waits for.
fn rollout(world: &World, index: PolicyIndex, now: Timestamp) -> Option<(&'static str, String)> {
    world.policies.get(&index)?.control.as_ref()?;
    let progress = rollout::objects::progress(world, PolicyId(index.0), now);
    let latest = progress.into_iter().next()?;
    let mut words = vec![format!("revision {}", latest.revision.0)];
    words.extend(latest.stage.as_ref().map(|stage| format!("stage {stage}")));
    words.extend(latest.message.clone());
    let stage = latest
        .stages
        .iter()
        .find(|s| Some(&s.name) == latest.stage.as_ref());
    words.extend(stage.into_iter().flat_map(|s| s.waiting.iter().cloned()));
    Some((latest.phase.as_str(), words.join("; ")))
}

fn gather(world: &World, policy: &PolicyState) -> Found {
    debug_assert!(
        world.existing.len() > 5000 || world.recount(policy) == policy.counts,
        "counts of {}: {:?}, recounted {:?}",
        policy.name,
        policy.counts,
        world.recount(policy)
    );
    let mut errors = ErrorGroups::default();
    let mut faults = Vec::new();
    for object in policy.objects() {
        let Some(record) = world.objects.get(&object) else {
            continue;
        };
        for (version, why, set) in world.checks.faults(object) {
            let set = world.wanting(object, version, &(set & &policy.assigned));
            let names = set.iter().take(3).map(|d| world.name_of(Destination(d)));
            let examples: Vec<String> = names.collect();
            if !set.is_empty() {
                let message = format!("{}: {why}", record.title());
                faults.push(json!({"reason": "RenderFailed", "message": message, "count": set.len(), "examples": examples}));
            }
        }
        if let Some(column) = world.columns.get(&object) {
            errors.add(&record.title(), column, &world.values, &policy.assigned);
        }
    }
    let problems = errors
        .top(MOST_PROBLEMS)
        .into_iter()
        .map(|group| {
            let examples: Vec<String> = group.examples.iter().map(|d| world.name_of(*d)).collect();
            let reason = ErrorKind::try_from(i32::from(group.error)).unwrap_or(ErrorKind::Other).to_string();
            json!({"reason": reason, "message": group.message, "count": group.count, "examples": examples})
        })
        .chain(faults.into_iter().take(MOST_PROBLEMS))
        .collect();
    let held = policy.held.as_ref().map(|held| {
        let examples: Vec<String> = held.examples.iter().map(|d| world.name_of(*d)).collect();
        json!({"token": held.token, "count": held.copies, "examples": examples})
    });
    Found {
        generation: policy.generation,
        ordinal: policy.ordinal(),
        misconfigured: policy.problems.clone(),
        unsatisfied: unsatisfied(world, policy),
        copies: Counts {
            stale: policy.copies_at(&world.away()),
            ..policy.counts
        },
        destinations: policy.assigned.len(),
        problems,
        held,
        suspended: policy.spec.suspend,
        nothing: nothing(world, policy),
        rollout: None,
    }
}

fn missing_collectors(world: &World, policy: &PolicyState) -> BTreeSet<Arc<str>> {
    let id = (policy.cluster.clone(), policy.name.clone());
    let index = world.by_policy.get(&id);
    let objects = policy
        .selected
        .iter()
        .filter(|(_, m)| !m.collectors.is_empty());
    let shown = objects.filter_map(|(o, _)| world.collected.shown.get(&(*o, *index?)));
    shown
        .flat_map(|shown| shown.missing.iter().cloned())
        .collect()
}

fn unsatisfied(world: &World, policy: &PolicyState) -> Vec<String> {
    let mut found = Vec::new();
    let index = world
        .by_policy
        .get(&(policy.cluster.clone(), policy.name.clone()));
    let problems = index.and_then(|i| world.born.problems.get(i));
    let problems = problems.into_iter().flatten().take(MOST_PROBLEMS);
    found.extend(problems.map(|why| format!("Upsync: {why}")));
    if policy.refused {
        found.push("ConsentMissing: whoever wrote this policy may not place on the inventory (any more); nothing new is placed".to_owned());
    }
    found.extend(policy.unsatisfied.iter().cloned());
    let missing = missing_collectors(world, policy);
    if !missing.is_empty() {
        let names: Vec<&str> = missing.iter().map(|name| &**name).collect();
        found.push(format!(
            "StatusCollectorMissing: a clause names {}, which this workspace does not have",
            names.join(", ")
        ));
    }
    let mut offenders = Vec::new();
    for (object, modulation) in &policy.selected {
        if !modulation.want_singleton || modulation.want_multi {
            continue;
        }
        let qualified = crate::returned::qualified(world, *object);
        if qualified.len() != 1
            && let Some(record) = world.objects.get(object)
        {
            offenders.push(format!("{} ({})", record.title(), qualified.len()));
        }
    }
    if !offenders.is_empty() {
        let shown = offenders
            .iter()
            .take(MOST_NAMED)
            .cloned()
            .collect::<Vec<_>>()
            .join(", ");
        found.push(format!("SingletonViolated: the reported state of one copy is wanted, but {} objects have another number of copies: {shown}", offenders.len()));
    }
    found
}

impl Found {
    fn status(self, old: &Value, now: Timestamp) -> Value {
        let mut conditions: Vec<Value> = old
            .get("conditions")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        let c = self.copies;
        let list = &mut conditions;
        let yes_no = |b: bool| if b { "True" } else { "False" };
        let misconfigured = !self.misconfigured.is_empty();
        set_condition(
            list,
            "BindingPolicyMisconfigured",
            yes_no(misconfigured),
            if misconfigured { "Invalid" } else { "Valid" },
            &self.misconfigured.join("; "),
            now,
        );
        let errors: Vec<String> = self
            .misconfigured
            .iter()
            .chain(&self.unsatisfied)
            .cloned()
            .collect();
        let satisfied = self.unsatisfied.is_empty() && !misconfigured;
        set_condition(
            list,
            "BindingPolicySatisfied",
            yes_no(satisfied),
            if satisfied {
                "Satisfied"
            } else {
                "Unsatisfied"
            },
            &errors.join("; "),
            now,
        );
        let (synced, why) = match (misconfigured, self.suspended, self.held.is_some()) {
            (true, _, _) => (false, "Misconfigured"),
            (_, true, _) => (false, "Suspended"),
            (_, _, true) => (false, "RemovalHeld"),
            _ => (true, "Decided"),
        };
        let message = match why {
            "Misconfigured" => {
                let wrong = self.misconfigured.join("; ");
                format!("the last good state stays in force: {wrong}")
            }
            "Suspended" => "spec.suspend is true: nothing is changed at any destination".to_owned(),
            "RemovalHeld" => {
                "a removal waits to be confirmed: see the condition RemovalHeld; all else is done"
                    .to_owned()
            }
            _ => String::new(),
        };
        set_condition(list, "Synced", yes_no(synced), why, &message, now);
        // Nothing anywhere is not what somebody waits for who waits for Ready.
        let ready = synced && c.expected > 0 && c.healthy == c.expected;
        let reason = match () {
            () if ready => "AllHealthy",
            () if synced && c.expected == 0 => "NothingPlaced",
            () if c.failed > 0 => "Failures",
            () if c.unreported > 0 => "Unreported",
            () if c.outdated > 0 => "Updating",
            () if !synced => why,
            () => "Progressing",
        };
        let message = format!(
            "{} of {} copies are healthy, at {} destination{}",
            c.healthy,
            c.expected,
            self.destinations,
            if self.destinations == 1 { "" } else { "s" },
        );
        let message = match (reason, self.nothing.as_str()) {
            ("NothingPlaced", why) if !why.is_empty() => format!("nothing is placed: {why}"),
            _ => message,
        };
        set_condition(list, "Ready", yes_no(ready), reason, &message, now);
        match &self.rollout {
            Some((phase, words)) => {
                let complete = yes_no(*phase == "Completed");
                set_condition(list, "RolledOut", complete, phase, words, now);
            }
            None => list.retain(|c| c.get("type").and_then(Value::as_str) != Some("RolledOut")),
        }
        match &self.held {
            Some(held) => {
                let message = format!(
                    "{} copies would be removed, for example at {}; set spec.confirmRemoval to {} to let it happen",
                    held["count"], held["examples"], held["token"]
                );
                set_condition(list, "RemovalHeld", "True", "LimitExceeded", &message, now);
            }
            None => list.retain(|c| c.get("type").and_then(Value::as_str) != Some("RemovalHeld")),
        }
        let mut status = json!({
            "observedGeneration": self.generation,
            "conditions": conditions,
            "counts": {"expected": c.expected, "current": c.current, "outdated": c.outdated, "failed": c.failed, "unreported": c.unreported, "healthy": c.healthy, "stale": c.stale},
            "revision": self.ordinal,
        });
        if !errors.is_empty() {
            status["errors"] = json!(errors);
        }
        if !self.problems.is_empty() {
            status["problems"] = Value::Array(self.problems);
        }
        if let Some(held) = self.held {
            status["removalHeld"] = held;
        }
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(copies: Counts) -> Found {
        Found {
            generation: 2,
            ordinal: 3,
            misconfigured: Vec::new(),
            unsatisfied: Vec::new(),
            copies,
            destinations: 0,
            problems: Vec::new(),
            held: None,
            suspended: false,
            rollout: None,
            nothing: String::new(),
        }
    }

    fn condition<'a>(status: &'a Value, kind: &str) -> (&'a str, &'a str) {
        let c = status["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .find(|c| c["type"] == kind)
            .unwrap();
        (c["status"].as_str().unwrap(), c["reason"].as_str().unwrap())
    }

    #[test]
    fn ready_means_that_all_expected_copies_are_healthy() {
        let counts = |current, failed, healthy| Counts {
            expected: 3,
            current,
            failed,
            unreported: 3 - current - failed,
            healthy,
            ..Counts::default()
        };
        for (copies, expected) in [
            (counts(3, 0, 3), ("True", "AllHealthy")),
            (counts(3, 0, 2), ("False", "Progressing")),
            (counts(2, 0, 2), ("False", "Unreported")),
            (counts(1, 1, 1), ("False", "Failures")),
            (Counts::default(), ("False", "NothingPlaced")),
        ] {
            let status = found(copies).status(&json!({}), Timestamp(0));
            assert_eq!(condition(&status, "Ready"), expected);
            let c = &status["counts"];
            let sum: i64 = ["current", "outdated", "failed", "unreported"]
                .iter()
                .map(|f| c[f].as_i64().unwrap())
                .sum();
            assert_eq!(c["expected"], sum);
        }
    }

    #[test]
    fn whatever_is_not_so_says_why() {
        let held = Some(json!({"token": "t", "count": 5, "examples": ["a"]}));
        for (change, words) in [
            (
                Found {
                    misconfigured: vec!["spec.x: wrong".into()],
                    ..found(Counts::default())
                },
                "spec.x: wrong",
            ),
            (
                Found {
                    suspended: true,
                    ..found(Counts::default())
                },
                "spec.suspend",
            ),
            (
                Found {
                    held,
                    ..found(Counts::default())
                },
                "RemovalHeld",
            ),
            (
                Found {
                    unsatisfied: vec!["NeverTravels: nodes".into()],
                    ..found(Counts::default())
                },
                "nodes",
            ),
        ] {
            let status = change.status(&json!({}), Timestamp(0));
            let conditions = status["conditions"].as_array().unwrap();
            let silent = |c: &&Value| c["status"] == "False" && c["message"] == "";
            let silent: Vec<_> = conditions
                .iter()
                .filter(silent)
                .filter(|c| c["type"] != "BindingPolicyMisconfigured")
                .collect();
            assert!(silent.is_empty(), "{silent:?}");
            assert!(status.to_string().contains(words), "{status}");
        }
    }

    #[test]
    fn the_same_facts_make_the_same_status() {
        let first = found(Counts::default()).status(&json!({}), Timestamp(0));
        assert_eq!(
            found(Counts::default()).status(&first, Timestamp(99_000)),
            first
        );
        let held = Found {
            held: Some(json!({"token": "t", "count": 5, "examples": ["a"]})),
            ..found(Counts::default())
        }
        .status(&first, Timestamp(0));
        assert_eq!(condition(&held, "RemovalHeld").0, "True");
        assert_eq!(condition(&held, "Synced"), ("False", "RemovalHeld"));
    }
}
