//! A policy's kept revisions, and what differs between two of them.

use std::collections::BTreeSet;

use atoll_kube::{GroupResource, Status, Timestamp};
use atoll_placement::Destinations;
use atoll_placement::place::ObjectIndex;
use atoll_placement::render::Around;
use atoll_placement::render::compare::{Side, compare};
use atoll_placement::rollout::PolicyId;
use serde_json::{Value, json};

use super::plan::classes::{self, Naming};
use super::{Asked, Reading, named};
use crate::model::{Cut, PolicyState, World};
use crate::source::CONTROL;

/// Renders of one object that a comparison makes on each side.
pub(super) const MOST_RENDERS: usize = 2000;

pub(super) fn history(reading: &Reading, asked: &Asked) -> Result<Value, Status> {
    let name = asked.need("policy")?;
    let world = reading.shared.world.read();
    let (index, policy) = reading.policy(&world, asked, name)?;
    let rollout = world.control.engine.state(PolicyId(index.0));
    // What was changed and is no revision yet.
    let pending = rollout.is_some_and(|state| state.head.pending.is_some());
    let revisions = policy.revisions.iter().rev().map(|(ordinal, state)| {
        let short: String = state.cut.content.chars().take(12).collect();
        json!({
            "revision": ordinal,
            "cutAt": Timestamp(state.cut.at).rfc3339(),
            "content": short,
            "objects": state.cut.objects.len(),
            "destinations": state.assigned.len(),
        })
    });
    Ok(json!({"policy": name, "pending": pending, "revisions": revisions.collect::<Vec<_>>()}))
}

/// A kept revision by its number, `newest`, or `previous`.
pub(super) fn revision<'w>(
    policy: &'w PolicyState,
    text: &str,
) -> Result<(u64, &'w std::sync::Arc<Cut>), Status> {
    let mut newest = policy.revisions.iter().rev();
    let found = match text {
        "newest" => newest.next(),
        "previous" => newest.nth(1),
        number => number
            .parse::<u64>()
            .ok()
            .and_then(|n| policy.revisions.get_key_value(&n)),
    };
    found.map(|(n, r)| (*n, &r.cut)).ok_or_else(|| {
        let kept: Vec<String> = policy.revisions.keys().map(u64::to_string).collect();
        let kept = match kept.as_slice() {
            [] => "it has none yet".to_owned(),
            kept => format!("kept are {}", kept.join(", ")),
        };
        let mut status = Status::not_found(
            &GroupResource::new(CONTROL, "bindingpolicies"),
            &policy.name,
        );
        status.message = format!("there is no revision {text}: {kept}").into();
        status
    })
}

pub(super) fn diff(reading: &Reading, asked: &Asked) -> Result<Value, Status> {
    let name = asked.need("policy")?;
    let world = reading.shared.world.read();
    let (_, policy) = reading.policy(&world, asked, name)?;
    let (from, old) = revision(policy, asked.get("from").unwrap_or("previous"))?;
    let (to, new) = revision(policy, asked.get("to").unwrap_or("newest"))?;
    let objects: BTreeSet<ObjectIndex> = old.objects.union(&new.objects).copied().collect();
    let mut changes = Vec::new();
    let mut withheld = 0;
    for object in objects {
        let (a, b) = (old.entries.get(&object), new.entries.get(&object));
        if a == b {
            continue;
        }
        let Some(record) = world.objects.get(&object) else {
            continue;
        };
        if reading.may(asked, "get", &record.reference).is_err() {
            withheld += 1;
            continue;
        }
        let classes = match (a, b) {
            (Some(_), None) => vec![json!({"change": "Removed"})],
            (None, Some(_)) => vec![json!({"change": "Added"})],
            _ => between(reading, &world, policy, object, (old, new)),
        };
        changes.push(json!({"object": named(&record.reference), "classes": classes}));
    }
    let mut answer = json!({"policy": name, "from": from, "to": to, "changes": changes});
    if withheld > 0 {
        answer["withheld"] = withheld.into();
    }
    Ok(answer)
}

/// How copies of one object differ between two revisions, at the destinations that the policy has.
fn between(
    reading: &Reading,
    world: &World,
    policy: &PolicyState,
    object: ObjectIndex,
    (old, new): (&Cut, &Cut),
) -> Vec<Value> {
    let Some(record) = world.objects.get(&object) else {
        return Vec::new();
    };
    let renderer = |cut: &Cut| {
        let entry = cut.entries.get(&object)?;
        reading.renderer(record, &entry.content)
    };
    let state = policy.inventory.as_deref();
    let state = state.and_then(|i| world.inventories.get(i));
    let (Some(a), Some(b), Some(state)) = (renderer(old), renderer(new), state) else {
        return vec![json!({"change": "Unknown", "message": "a body is not kept any more"})];
    };
    let known = world.known_of(state);
    let around = Around {
        properties: &known,
        places: &state.places,
    };
    // What is the same everywhere differs the same way, placed or not.
    let nobody: Destinations = [0].into_iter().collect();
    let uniform = a.uniform().is_some() && b.uniform().is_some();
    let at = if uniform { &nobody } else { &policy.assigned };
    let side = |renderer| Side {
        renderer,
        around,
        at,
    };
    let found = compare(Some(side(&a)), Some(side(&b)), MOST_RENDERS);
    let naming = if uniform {
        Naming::Nobody
    } else {
        Naming::Examples(world)
    };
    let mut shown = classes::show(&found, naming);
    if shown.is_empty() {
        shown.push(json!({"change": "Handling"}));
    }
    shown
}
