//! Why an object is, or is not, at a destination: by which policy and clause, refused by what, shaped by whom, since when, and what is awaited.

use atoll_kube::{GroupResource, RowRef, Status, Timestamp};
use atoll_placement::choose::why::passed_over;
use atoll_placement::clean;
use atoll_placement::inventory::Labels;
use atoll_placement::place::ObjectIndex;
use atoll_placement::policy::{Candidate, Policy};
use atoll_placement::rollout::Explanation;
use atoll_placement::rollout::PolicyId;
use atoll_placement::{Destination, Destinations};
use atoll_wire::ObjectRef;
use serde_json::{Map, Value, json};

use super::copy::State;
use super::{Asked, Reading, named};
use crate::decide::choose::look;
use crate::model::{DesiredCopy, PolicyIndex, PolicyState, World};
use crate::source;

/// More policies of one workspace than this are not told apart.
const MOST_POLICIES: usize = 200;

/// What a policy says of an object.
enum Says {
    /// These clauses select it.
    Selects(Vec<usize>),
    /// It comes along, because what the policy selects needs it.
    Carries,
    /// It does not select it (any more): why.
    Passes(String),
}

pub(super) fn explain(reading: &Reading, asked: &Asked) -> Result<Value, Status> {
    let target = reading.target(asked)?;
    let definition = &target.entry.definition;
    let reference = ObjectRef {
        group: definition.group.clone(),
        version: definition.storage_version().name.clone(),
        kind: definition.names.kind.clone(),
        resource: definition.names.plural.clone(),
        namespace: target.namespace.clone().unwrap_or_default(),
        name: target.name.clone(),
        namespaced: definition.namespaced(),
    };
    reading.may(asked, "get", &reference)?;
    let snapshot = reading.snapshot()?;
    let internal = |e: &dyn std::fmt::Display| Status::internal(e.to_string());
    let cluster = asked.cluster.as_str();
    let id = target.entry.id();
    let key = id.key(cluster, target.namespace.as_deref(), &target.name);
    let row = snapshot.get(&key).map_err(|e| internal(&e))?;
    let namespace_labels = match target.namespace.as_deref() {
        Some(namespace) => {
            let labels = source::namespace_labels(snapshot.as_ref(), cluster, namespace);
            labels.map_err(|e| internal(&e))?
        }
        None => Labels::new(),
    };
    let world = reading.shared.world.read();
    let index = world.by_key.get(&key).copied();
    if row.is_none() && index.is_none() {
        let resource = GroupResource::new(&reference.group, &reference.resource);
        return Err(Status::not_found(&resource, &target.name));
    }
    let labels: Labels = match &row {
        Some(version) => {
            let parsed = RowRef::parse(&version.row).map_err(|e| internal(&e))?;
            let labels = parsed.labels();
            labels.map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
        }
        None => Labels::new(),
    };
    let candidate = Candidate {
        group: &reference.group,
        resource: &reference.resource,
        namespace: target.namespace.as_deref(),
        name: &target.name,
        labels: &|key| labels.get(key).cloned(),
        namespace_labels: &|key| namespace_labels.get(key).cloned(),
    };
    let destination = match asked.get("destination") {
        Some(name) => Some((name, reading.destination(&world, asked, name)?)),
        None => None,
    };
    let now = reading.shared.registry.now();
    let mut policies = world.what.of_cluster(cluster);
    // One that is being deleted may still have copies.
    let record = index.and_then(|i| world.objects.get(&i));
    policies.extend(record.into_iter().flat_map(|o| o.policies.iter().copied()));
    policies.sort_unstable();
    policies.dedup();
    let mut explained = Vec::new();
    let mut selecting = 0;
    for index_of in policies.into_iter().take(MOST_POLICIES) {
        let Some(policy) = world.policies.get(&index_of) else {
            continue;
        };
        let says = says(policy, index, &candidate);
        selecting += u32::from(!matches!(says, Says::Passes(_)));
        let mut told = about_object(policy, &says);
        if let Some((_, destination)) = destination {
            let whether = about_destination(&world, index_of, index, destination, now);
            told.insert("destination".to_owned(), whether);
        }
        explained.push(Value::Object(told));
    }
    let mut answer = json!({
        "object": named(&reference),
        "exists": row.is_some(),
        "policies": explained,
    });
    if let Some(record) = index.and_then(|i| Some((i, world.objects.get(&i)?))) {
        let placed = world.placed(record.0);
        answer["placedAt"] = placed.len().into();
    }
    let travels = clean::travels(&reference.group, &reference.resource);
    if let Some((name, destination)) = destination {
        answer["destination"] = name.into();
        let desired = index.and_then(|i| world.desired_copy(destination, i));
        let state = index.map_or(State::Absent, |i| {
            State::of(&world, i, destination, desired.as_ref())
        });
        let mut copy = Map::new();
        copy.insert("desired".to_owned(), desired.is_some().into());
        state.show(&mut copy);
        let connected = world.connected.contains(destination.0);
        copy.insert("connected".to_owned(), connected.into());
        if let Some(awaited) = state.awaited(&world, destination) {
            copy.insert("awaited".to_owned(), awaited.into());
        }
        if let (Some(desired), Some(index)) = (&desired, index) {
            copy.extend(shaped(&world, index, destination, desired));
        }
        answer["copy"] = Value::Object(copy);
    }
    answer["summary"] = summary(&answer, travels, selecting).into();
    Ok(answer)
}

fn says(policy: &PolicyState, object: Option<ObjectIndex>, candidate: &Candidate<'_>) -> Says {
    let spec: &Policy = &policy.spec;
    if policy.deleted {
        return Says::Passes("it is deleted, and its copies are being removed".to_owned());
    }
    if !policy.parsed {
        return Says::Passes("its spec cannot be understood".to_owned());
    }
    let clauses = spec.matching(candidate);
    if !clauses.is_empty() && clean::travels(candidate.group, candidate.resource) {
        return Says::Selects(clauses);
    }
    let entry = object.and_then(|o| policy.entry(o));
    if entry.is_some_and(|e| e.flags.implicit) {
        return Says::Carries;
    }
    if !clauses.is_empty() {
        let resource = GroupResource::new(candidate.group, candidate.resource);
        return Says::Passes(format!(
            "{resource} never travel: each cluster makes its own"
        ));
    }
    let refusals = spec.downsync.iter().enumerate().filter_map(|(at, clause)| {
        let field = clause.test.refusal(candidate)?;
        Some(format!("spec.downsync[{at}].{field} does not match"))
    });
    let refusals: Vec<String> = refusals.collect();
    Says::Passes(match refusals.as_slice() {
        [] => "spec.downsync is empty: it selects nothing".to_owned(),
        refusals => refusals.join("; "),
    })
}

fn about_object(policy: &PolicyState, says: &Says) -> Map<String, Value> {
    let mut told = Map::new();
    told.insert("policy".to_owned(), json!(&*policy.name));
    let object = match says {
        Says::Selects(clauses) => json!({"selected": true, "clauses": clauses}),
        Says::Carries => json!({"selected": true, "implicit": true}),
        Says::Passes(why) => json!({"selected": false, "message": why}),
    };
    told.insert("object".to_owned(), object);
    if policy.spec.suspend {
        told.insert("suspended".to_owned(), true.into());
    }
    if policy.deleted {
        told.insert("deleted".to_owned(), true.into());
    }
    if !policy.problems.is_empty() {
        told.insert("problems".to_owned(), json!(policy.problems));
    }
    if policy.refused {
        told.insert("consentMissing".to_owned(), true.into());
    }
    if let Some(held) = &policy.held {
        let held = json!({"copies": held.copies, "token": held.token});
        told.insert("removalHeld".to_owned(), held);
    }
    told
}

/// Whether a policy has, or will have, a destination: and if not, why.
fn about_destination(
    world: &World,
    index: PolicyIndex,
    object: Option<ObjectIndex>,
    destination: Destination,
    now: Timestamp,
) -> Value {
    let Some(policy) = world.policies.get(&index) else {
        return Value::Null;
    };
    let mut told = json!({"assigned": false});
    if let Some((ordinal, revision)) = policy.at(destination) {
        told["assigned"] = true.into();
        told["revision"] = ordinal.into();
        told["newestRevision"] = policy.ordinal().into();
        told["since"] = Timestamp(revision.cut.at).rfc3339().into();
        let has = object.is_some_and(|o| revision.cut.objects.contains(&o));
        told["hasObject"] = has.into();
    }
    let rollout = world.waits_for(index, destination, now);
    let rollout = rollout.filter(|r| r.selected || r.assigned.is_some());
    let waiting = rollout.as_ref().map(|r| waiting(world, policy, r));
    if let Some(words) = &waiting {
        told["waiting"] = words.as_str().into();
    }
    if let Some(stage) = rollout.and_then(|r| r.stage) {
        told["stage"] = stage.into();
    }
    let under_control = world.waits_for(index, destination, now);
    if let Some(rollout) = &under_control {
        let other = |id: PolicyId| {
            let other = world.policies.get(&PolicyIndex(id.0));
            let near = other.filter(|o| o.cluster == policy.cluster);
            near.map_or_else(|| "of another workspace".to_owned(), |p| p.name.to_string())
        };
        if rollout.selected || rollout.assigned.is_some() {
            told["waiting"] = rollout.waiting.words(&other).into();
        }
        if let Some(target) = rollout.target {
            told["targetRevision"] = target.0.into();
        }
        if let Some(stage) = &rollout.stage {
            told["stage"] = stage.clone().into();
        }
        if let Some(since) = rollout.since {
            told["inSlotSince"] = since.rfc3339().into();
        }
    }
    let Some(state) = policy
        .inventory
        .as_deref()
        .and_then(|i| world.inventories.get(i))
    else {
        told["reason"] = "InventoryNotFound".into();
        told["message"] = policy.problems.join("; ").into();
        return told;
    };
    let (reason, message) = if !state.index.all().contains(destination.0) {
        (
            "OtherInventory",
            "it is not in the inventory of this policy".to_owned(),
        )
    } else {
        let these: Destinations = [destination.0].into_iter().collect();
        let passed = look(world, policy, state, Some(&these), now, |field, sight| {
            let asked = &policy.spec.asked;
            let passed = passed_over(destination, &policy.spec.clusters, asked, field, sight)?;
            Some((passed.reason(), passed.words(asked)))
        });
        match passed {
            Some(why) if told["assigned"] == false => why,
            // Chosen once, it stays while it may: only what would take it out counts.
            Some(("OthersChosen" | "NotAccepted" | "Affinity" | "AntiAffinity", _)) => {
                return told;
            }
            Some(why) => why,
            None if told["assigned"] == true => return told,
            None if world.purging.contains(destination.0) => (
                "Purging",
                "it is being emptied before it is taken out of the fleet".to_owned(),
            ),
            None if policy.refused => (
                "ConsentMissing",
                "whoever wrote the policy may not place on the inventory (any more)".to_owned(),
            ),
            None if policy.spec.suspend => (
                "Suspended",
                "spec.suspend is true: nothing is changed at any destination".to_owned(),
            ),
            None if waiting.is_some() => (
                "Rollout",
                format!("it is selected; {}", waiting.unwrap_or_default()),
            ),
            None if told["waiting"].is_string() => (
                "Rollout",
                format!(
                    "it is selected, and waits: {}",
                    told["waiting"].as_str().unwrap_or_default()
                ),
            ),
            None => (
                "NotYet",
                "it is selected, and the policy has not been decided for it yet".to_owned(),
            ),
        }
    };
    told["reason"] = reason.into();
    told["message"] = message.into();
    told
}

/// What a destination of a policy under control waits for. Other policies are named only if they are of the same workspace.
fn waiting(world: &World, policy: &PolicyState, rollout: &Explanation) -> String {
    rollout.waiting.words(&|other| {
        let other = world.policies.get(&PolicyIndex(other.0));
        let near = other.filter(|o| o.cluster == policy.cluster);
        near.map_or_else(|| "of another workspace".to_owned(), |p| p.name.to_string())
    })
}

/// What shapes a copy: templates, CustomTransforms, Customizers.
fn shaped(
    world: &World,
    index: ObjectIndex,
    destination: Destination,
    desired: &DesiredCopy,
) -> Map<String, Value> {
    let mut told = Map::new();
    let flags = desired.flags;
    for (name, is) in [
        ("createOnly", flags.create_only),
        ("takeover", flags.adopt),
        ("implicit", flags.implicit),
    ] {
        if is {
            told.insert(name.to_owned(), true.into());
        }
    }
    let Some(object) = world.objects.get(&index) else {
        return told;
    };
    let (group, resource) = (&object.reference.group, &object.reference.resource);
    let shaping = world.shaping.get(&object.copy.cluster);
    let transforms = shaping.into_iter().flat_map(|s| s.transforms.values());
    let transforms: Vec<&str> = transforms
        .filter(|t| t.concerns(group, resource))
        .map(|t| t.name.as_str())
        .collect();
    if !transforms.is_empty() {
        told.insert("customTransforms".to_owned(), json!(transforms));
    }
    let Some(renderer) = &desired.content.vary else {
        return told;
    };
    let recipe = renderer.recipe();
    told.insert("templates".to_owned(), recipe.expands().into());
    let places = world
        .destinations
        .get(&destination)
        .and_then(|d| world.inventories.get(&d.inventory))
        .map(|i| &i.places.0);
    let customizers = recipe.layers().iter().map(|layer| {
        let place = places.and_then(|p| p.get(&layer.id()));
        let acts = place.is_some_and(|c| c.wanted.contains(destination.0));
        let failed = place.and_then(|c| {
            let failed = c.failed.iter();
            let mut failed = failed.filter(|(_, set)| set.contains(destination.0));
            failed.next().map(|(why, _)| why.clone())
        });
        match failed {
            Some(why) => json!({"name": layer.name(), "acts": null, "message": why}),
            None => json!({"name": layer.name(), "acts": acts}),
        }
    });
    let customizers: Vec<Value> = customizers.collect();
    if !customizers.is_empty() {
        told.insert("customizers".to_owned(), customizers.into());
    }
    told
}

/// The whole in a sentence.
fn summary(answer: &Value, travels: bool, selecting: u32) -> String {
    let policies = answer["policies"].as_array().map_or(&[][..], Vec::as_slice);
    let name = |p: &Value| p["policy"].as_str().unwrap_or_default().to_owned();
    if !travels && selecting == 0 {
        return "it never travels: each cluster makes its own objects of this kind".to_owned();
    }
    if policies.is_empty() {
        return "there is no BindingPolicy in this workspace".to_owned();
    }
    let Some(copy) = answer.get("copy") else {
        return match selecting {
            0 => "no BindingPolicy selects it".to_owned(),
            n => {
                let at = &answer["placedAt"];
                let at = if at.is_null() {
                    "0".to_owned()
                } else {
                    at.to_string()
                };
                format!(
                    "selected by {n} of {} policies, placed at {at} destinations",
                    policies.len()
                )
            }
        };
    };
    if copy["desired"] == true {
        let by: Vec<String> = policies
            .iter()
            .filter(|p| p["destination"]["hasObject"] == true)
            .map(|p| format!("{} (revision {})", name(p), p["destination"]["revision"]))
            .collect();
        let state = copy["health"].as_str().or(copy["state"].as_str());
        return format!(
            "placed there by {}: {}",
            by.join(", "),
            state.unwrap_or_default()
        );
    }
    if matches!(
        copy["state"].as_str(),
        Some("BeingRemoved" | "BeingReleased")
    ) {
        return "no policy wants it there any more: its removal is under way".to_owned();
    }
    if selecting == 0 {
        return "not there: no BindingPolicy selects the object".to_owned();
    }
    let why = policies
        .iter()
        .filter(|p| p["object"]["selected"] == true)
        .map(|p| {
            let why = p["destination"]["message"].as_str().unwrap_or_default();
            format!("{}: {why}", name(p))
        });
    format!("not there: {}", why.collect::<Vec<_>>().join("; "))
}
