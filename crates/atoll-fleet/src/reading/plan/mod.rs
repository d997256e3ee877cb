//! What a change would do to copies, before it is made; and making it only if nothing relevant has changed since.
//!
//! The registry is asked what it would store (a dry run, as the asker, with everything that a write is allowed and admitted by); the policies that this concerns are decided over the picture as it
//! is, by the functions that decide for real; and copies before and after are compared in classes of equal input. The token names the change, what it was based on and everything that it does: with the
//! same token the same happens.

mod after;
pub(super) mod classes;
mod overlay;

use std::collections::{BTreeMap, BTreeSet};

use atoll_kube::{Status, Timestamp};
use atoll_placement::Destinations;
use atoll_placement::choose::Candidates;
use atoll_placement::choose::candidates::Sight;
use atoll_placement::choose::signal::Signals;
use atoll_placement::place::ObjectIndex;
use atoll_placement::render::compare::{Change, Side, compare};
use atoll_placement::render::{Around, Places, Renderer};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::history::MOST_RENDERS;
use super::{Asked, Reading, named};
use crate::model::{DesiredCopy, InventoryState, PayloadObject, World, grouped};
use after::{After, Future};
use classes::whom;
use overlay::Overlay;

/// Classes that are shown one by one; the counts are of all.
const MOST_CLASSES: usize = 200;

/// What a change would do.
struct Planned {
    answer: Value,
    token: String,
}

/// Plans a change.
pub(super) async fn plan(reading: &Reading, asked: &Asked) -> Result<Value, Status> {
    let overlay = Overlay::of(reading, asked).await?;
    let (_, planned) = compute(reading, asked, overlay).await?;
    let mut answer = planned.answer;
    answer["token"] = planned.token.into();
    Ok(answer)
}

/// Makes a change if it would still do what its plan said.
pub(super) async fn apply(reading: &Reading, asked: &Asked) -> Result<Value, Status> {
    let token = asked.body.as_ref().and_then(|b| b.get("token"));
    let token = token.and_then(Value::as_str).map(str::to_owned);
    let token =
        token.ok_or_else(|| Status::bad_request("token is missing: plan the change first"))?;
    let overlay = Overlay::of(reading, asked).await?;
    let (overlay, planned) = compute(reading, asked, overlay).await?;
    if planned.token != token {
        return Err(Status::conflict(
            &atoll_kube::GroupResource::new(crate::source::CONTROL, "bindingpolicies"),
            "",
            "something that this plan rests on has changed since, or it is the plan of another change; nothing was applied: plan again",
        ));
    }
    overlay.carry_out(reading, asked).await
}

/// The computing beside the tasks that answer others.
async fn compute(
    reading: &Reading,
    asked: &Asked,
    overlay: Overlay,
) -> Result<(Overlay, Planned), Status> {
    let (reading, asked) = (reading.clone(), asked.clone());
    let computed = tokio::task::spawn_blocking(move || {
        let planned = planned(&reading, &asked, &overlay)?;
        Ok((overlay, planned))
    });
    computed
        .await
        .map_err(|e| Status::internal(e.to_string()))?
}

fn planned(reading: &Reading, asked: &Asked, overlay: &Overlay) -> Result<Planned, Status> {
    let snapshot = reading.snapshot()?;
    let world = reading.shared.world.read();
    let mut future = Future::new(reading, asked, &world, snapshot.as_ref(), overlay);
    let concerned = future.concerned()?;
    let found = Comparing {
        reading,
        world: &world,
        fresh: &future.fresh,
        concerned: &concerned,
    }
    .all(asked);
    let mut warnings = overlay.warnings.clone();
    let mut policies = Vec::new();
    for after in &concerned {
        warnings.extend(accidents(&world, after));
        policies.push(told(&world, after));
    }
    let objects = overlay
        .steps
        .iter()
        .map(|step| json!({"object": named(&step.reference), "action": step.action()}));
    let answer = json!({
        "objects": objects.collect::<Vec<_>>(),
        "policies": policies,
        "classes": found.shown(&world),
        "summary": found.summary(),
        "removals": found.removals(&world),
        "warnings": warnings,
    });
    let mut token = Sha256::new();
    token.update(reading.shared.store.identity().store.to_string());
    for step in &overlay.steps {
        token.update(
            json!([
                step.reference.kind,
                step.reference.namespace,
                step.reference.name,
                step.sent,
                step.live
            ])
            .to_string(),
        );
    }
    found.name(&mut token);
    token.update(answer["policies"].to_string());
    let full: [u8; 32] = token.finalize().into();
    Ok(Planned {
        answer,
        token: hex::encode(&full[..12]),
    })
}

/// One policy, before and after.
fn told(world: &World, after: &After) -> Value {
    let before = after.index.and_then(|i| world.policies.get(&i));
    let before = before.map(|p| p.assigned.clone()).unwrap_or_default();
    let now = after
        .placed
        .iter()
        .fold(Destinations::new(), |all, (_, set)| all | set);
    let mut told = json!({
        "policy": &*after.name,
        "destinationsBefore": before.len(),
        "destinationsAfter": now.len(),
        "added": whom(world, &(&now - &before)),
        "removed": whom(world, &(&before - &now)),
    });
    if let Some(held) = &after.held {
        told["removalHeld"] =
            json!({"copies": held.copies, "destinations": held.destinations, "token": held.token});
    }
    if !after.unsatisfied.is_empty() {
        told["unsatisfied"] = json!(after.unsatisfied);
    }
    if let Some(note) = &after.note {
        told["note"] = json!(note);
    }
    told
}

/// What a policy may select by accident.
fn accidents(world: &World, after: &After) -> Vec<String> {
    let mut found = Vec::new();
    let state = after.inventory.as_deref();
    let Some(state) = state.and_then(|i| world.inventories.get(i)) else {
        return found;
    };
    let all = state.index.all().len();
    let name = &after.name;
    let spec = &after.spec;
    let bounded = !spec.asked.takes_all() || !spec.asked.expressions.is_empty();
    let everything = spec.clusters.iter().position(|s| s.is_everything());
    if let Some(i) = everything.filter(|_| !bounded && all > 1) {
        found.push(format!(
            "{name}: spec.clusterSelectors[{i}] is empty and selects all {all} destinations of the inventory"
        ));
    } else if all > 1 && !bounded && after.selected.len() == all {
        found.push(format!(
            "{name}: spec.clusterSelectors select all {all} destinations of the inventory"
        ));
    }
    for (i, clause) in spec.downsync.iter().enumerate() {
        if !clause.test.discriminates() {
            found.push(format!(
                "{name}: spec.downsync[{i}] selects every object of the workspace"
            ));
        }
    }
    found
}

type Groups = Vec<(DesiredCopy, Destinations)>;

struct Comparing<'a> {
    reading: &'a Reading,
    world: &'a World,
    fresh: &'a BTreeMap<ObjectIndex, PayloadObject>,
    concerned: &'a [After],
}

/// What changes: per way of changing, which objects where.
#[derive(Default)]
struct Found {
    /// Change, and object.
    classes: BTreeMap<(Change, String), (Value, Destinations)>,
    beyond: u64,
}

impl Comparing<'_> {
    fn all(&self, asked: &Asked) -> Found {
        let mut objects: BTreeSet<ObjectIndex> = BTreeSet::new();
        for after in self.concerned {
            objects.extend(after.placed.iter().flat_map(|(entries, _)| entries.keys()));
            let before = after.index.and_then(|i| self.world.policies.get(&i));
            objects.extend(before.map(|p| p.objects()).unwrap_or_default());
        }
        let mut found = Found::default();
        for object in objects {
            let everywhere = self.world.placed(object);
            let before = self.world.wanted_within(object, &everywhere);
            let after = self.after(object);
            let Some(record) = self.object(object, &before) else {
                continue;
            };
            let readable = self.reading.may(asked, "get", &record.reference).is_ok();
            self.one(object, (&before, &after), readable, &mut found);
        }
        found
    }

    /// As it was, or (`before` is empty) as it would be.
    fn object(&self, index: ObjectIndex, before: &Groups) -> Option<&PayloadObject> {
        let known = self.world.objects.get(&index);
        match before.is_empty() {
            true => self.fresh.get(&index).or(known),
            false => known.or_else(|| self.fresh.get(&index)),
        }
    }

    /// Which copy of an object would be wanted where, by all policies of the workspace together.
    fn after(&self, object: ObjectIndex) -> Groups {
        let known = self.world.objects.get(&object);
        let policies = known.into_iter().flat_map(|o| &o.policies);
        let untouched = policies
            .filter(|p| self.concerned.iter().all(|after| after.index != Some(**p)))
            .filter_map(|p| self.world.policies.get(p))
            .flat_map(|p| p.in_use())
            .filter_map(|(_, r)| {
                let entry = r.cut.entries.get(&object)?;
                Some((entry, r.cut.holds, r.assigned.clone()))
            });
        let placed = self.concerned.iter().flat_map(|after| &after.placed);
        let touched =
            placed.filter_map(|(entries, set)| Some((entries.get(&object)?, false, set.clone())));
        grouped(untouched.chain(touched))
    }

    fn one(
        &self,
        object: ObjectIndex,
        (before, after): (&Groups, &Groups),
        readable: bool,
        found: &mut Found,
    ) {
        let Some(record) = self.object(object, before) else {
            return;
        };
        let who = named(&record.reference);
        let union = |groups: &Groups| {
            groups
                .iter()
                .fold(Destinations::new(), |all, (_, set)| all | set)
        };
        let (had, has) = (union(before), union(after));
        found.add(Change::Removed, &who, &had - &has);
        for (new, at) in after {
            let added = at - &had;
            if !added.is_empty() {
                self.compared(object, None, (new, &added), readable, (&who, found));
            }
            for (old, was) in before {
                let both = was & at;
                // The same recipe at the same place is the same copy.
                if both.is_empty() || old.render == new.render {
                    continue;
                }
                self.compared(object, Some(old), (new, &both), readable, (&who, found));
            }
        }
    }

    fn compared(
        &self,
        object: ObjectIndex,
        old: Option<&DesiredCopy>,
        (new, at): (&DesiredCopy, &Destinations),
        readable: bool,
        (who, found): (&Value, &mut Found),
    ) {
        let record = self.fresh.get(&object);
        let new_record = record.or_else(|| self.world.objects.get(&object));
        let old_record = self.world.objects.get(&object).or(new_record);
        let made = new_record.and_then(|r| self.reading.renderer(r, &new.content));
        let was = old.map(|old| old_record.and_then(|r| self.reading.renderer(r, &old.content)));
        let (Some(made), true) = (made, !matches!(was, Some(None))) else {
            found.beyond += at.len();
            return;
        };
        let was = was.flatten();
        for state in self.world.inventories.values() {
            let here = at & state.index.all();
            if here.is_empty() {
                continue;
            }
            let places = self.places(state, was.iter().chain([&made]).map(AsRef::as_ref));
            let known = self.world.known_of(state);
            let around = Around {
                properties: &known,
                places: &places,
            };
            let side = |renderer| Side {
                renderer,
                around,
                at: &here,
            };
            let old = was.as_ref().map(|r| side(r));
            let compared = compare(old, Some(side(&made)), MOST_RENDERS);
            found.beyond += compared.beyond.len();
            for class in compared.classes {
                let change = match class.change {
                    // What one may not get is not shown by planning either.
                    Change::Changed(_) if !readable => Change::Changed(Vec::new()),
                    change => change,
                };
                found.add(change, who, class.destinations);
            }
        }
    }

    /// For whom the layers of these renderers act, those that are new included.
    fn places<'r>(
        &self,
        state: &InventoryState,
        renderers: impl Iterator<Item = &'r Renderer>,
    ) -> Places {
        let mut places = Places::default();
        let facts = self.world.known_of(state);
        let sight = Sight {
            inventory: &state.index,
            facts: &facts,
            signals: &Signals::default(),
            now: Timestamp(0),
        };
        for layer in renderers.flat_map(|r| r.recipe().layers()) {
            let place = places.0.entry(layer.id());
            place.or_insert_with(|| match state.places.0.get(&layer.id()) {
                Some(known) => known.clone(),
                None => Candidates::all(layer.selectors(), layer.expressions(), &sight),
            });
        }
        places
    }
}

impl Found {
    fn add(&mut self, change: Change, who: &Value, destinations: Destinations) {
        if destinations.is_empty() || change == Change::Same {
            return;
        }
        let class = self.classes.entry((change, who.to_string()));
        let (_, all) = class.or_insert_with(|| (who.clone(), Destinations::new()));
        *all |= destinations;
    }

    /// Classes of equal change at the same destinations, with the objects that change so.
    fn shown(&self, world: &World) -> Value {
        let mut classes: Vec<(&Change, &Destinations, Vec<&Value>)> = Vec::new();
        for ((change, _), (who, at)) in &self.classes {
            match classes
                .iter_mut()
                .find(|(c, set, _)| *c == change && *set == at)
            {
                Some((.., objects)) => objects.push(who),
                None => classes.push((change, at, vec![who])),
            }
        }
        let all = classes.len();
        let mut shown: Vec<Value> = Vec::new();
        for (change, at, objects) in classes.into_iter().take(MOST_CLASSES) {
            let mut told = classes::change(change);
            told["objects"] = json!(objects);
            told["destinations"] = whom(world, at);
            shown.push(told);
        }
        if all > MOST_CLASSES {
            shown.push(json!({"change": "NotShown", "message": format!("{} more classes", all - MOST_CLASSES)}));
        }
        shown.into()
    }

    fn summary(&self) -> Value {
        let mut touched = Destinations::new();
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for ((change, _), (_, at)) in &self.classes {
            touched |= at;
            let word = match change {
                Change::Removed => "removed",
                Change::Added => "added",
                Change::AddedFails(_) | Change::Fails(_) => "failing",
                Change::StillFails(_) => "stillFailing",
                _ => "changed",
            };
            *counts.entry(word).or_default() += at.len();
        }
        if self.beyond > 0 {
            counts.insert("notLookedAt", self.beyond);
        }
        json!({"destinations": touched.len(), "copies": counts})
    }

    fn removals(&self, world: &World) -> Value {
        let removed = self.classes.iter();
        let removed = removed.filter(|((change, _), _)| *change == Change::Removed);
        let (mut copies, mut all) = (0, Destinations::new());
        for (_, (_, at)) in removed {
            copies += at.len();
            all |= at;
        }
        json!({"copies": copies, "destinations": whom(world, &all)})
    }

    /// Enters everything that changes into the token.
    fn name(&self, token: &mut Sha256) {
        for ((change, who), (_, at)) in &self.classes {
            token.update(format!("{change:?}"));
            token.update(who);
            for index in at {
                token.update(index.to_be_bytes());
            }
        }
        token.update(self.beyond.to_be_bytes());
    }
}
