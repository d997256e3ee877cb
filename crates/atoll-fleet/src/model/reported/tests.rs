//! Any history of assignments, reports, labels and renders that fail, against judging every copy by itself.

use std::collections::{BTreeMap, BTreeSet};

use atoll_placement::assign::Transition;
use atoll_placement::health::Health;
use atoll_placement::inventory::Labels;
use atoll_placement::policy::Candidate;
use atoll_placement::render::{Object, Recipe};
use atoll_store::Revision;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::model::{Content, Cut, DestinationState, Entry, Made, PayloadObject, RevisionState};
use crate::rows::ObjectRow;

const DESTINATIONS: u32 = 6;
const POLICIES: u32 = 2;

/// Contents of one object: two that are the same everywhere, two that are not.
fn content(version: u8) -> Arc<Content> {
    let value = match version {
        0 => "plain",
        1 => "other",
        2 => "{{.site}}",
        _ => "at {{.site}}",
    };
    let body = json!({"metadata": {"name": "a", "annotations": {"control.kubestellar.io/expand-templates": "true"}}, "data": {"v": value}});
    let object = Object {
        candidate: Candidate {
            group: "",
            resource: "configmaps",
            namespace: None,
            name: "a",
            labels: &|_| None,
            namespace_labels: &|_| None,
        },
        body: &body,
        scaled: false,
    };
    let recipe = Recipe::of(&object, &[], &[]);
    let (content, _) = Content::of(recipe, Value::Null, Revision(u64::from(version)));
    Arc::new(content)
}

fn labels(site: u8) -> Labels {
    Labels::from([("site".to_owned(), format!("s{site}"))])
}

/// Two objects, two policies with three revisions each, and some destinations.
fn world() -> World {
    let mut world = World::default();
    for object in 0..2 {
        let row = ObjectRow {
            uid: object.to_string(),
            ..ObjectRow::default()
        };
        let record = PayloadObject::remembered("p", &row);
        world.intern(&record.copy.clone(), || record);
    }
    for d in 0..DESTINATIONS {
        let state = DestinationState {
            inventory: "i".into(),
            name: d.to_string().into(),
            uid: d.to_string().as_str().into(),
            accepted: true,
            available: true,
            purge: false,
            hub: None,
            last_seen: 0,
        };
        world.destinations.insert(Destination(d), state);
        world.existing.insert(d);
        let inventory = world.inventories.entry("i".into()).or_default();
        inventory.index.set(Destination(d), &labels(0), true);
    }
    for p in 0..POLICIES {
        let index = PolicyIndex(p);
        let mut policy = PolicyState::new(("p".into(), p.to_string().into()), "u", Revision(0));
        for ordinal in 1..=3u8 {
            let flags = CopyFlags {
                create_only: p == 1,
                ..CopyFlags::default()
            };
            let version = |object: u8| (ordinal + object + p as u8) % 4;
            let entry = |object: u8| Entry::new(flags, content(version(object)));
            let entries = BTreeMap::from([(ObjectIndex(0), entry(0)), (ObjectIndex(1), entry(1))]);
            let cut = Cut::new(entries, String::new(), 0);
            world.hold_bodies(&cut);
            let state = RevisionState {
                cut: Arc::new(cut),
                assigned: Destinations::new(),
            };
            policy.revisions.insert(u64::from(ordinal), state);
        }
        world.policies.insert(index, policy);
        let inventory = world.inventories.entry("i".into()).or_default();
        inventory.policies.insert(index);
        for object in world.objects.values_mut() {
            object.policies.insert(index);
        }
    }
    world
}

#[derive(Debug, Clone)]
enum Step {
    /// A policy's destinations get a revision (0: none).
    Move(u32, u64, BTreeSet<u32>),
    /// A destination reports a version of an object, as it looks there, or something unknown.
    Report(u32, u32, Option<u8>, u8, u8),
    Gone(u32, u32),
    Relabel(u32, u8),
    /// The wanted copy of an object cannot be made there, or can.
    Made(u32, u32, bool),
    Forget(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let d = || 0..DESTINATIONS;
    prop_oneof![
        3 => (0..POLICIES, 0u64..4, proptest::collection::btree_set(d(), 1..4)).prop_map(|(p, o, set)| Step::Move(p, o, set)),
        6 => (0u32..2, d(), proptest::option::weighted(0.9, 0u8..4), 0u8..8, 0u8..3).prop_map(|(o, d, v, e, h)| Step::Report(o, d, v, u8::from(e == 0), h)),
        1 => (0u32..2, d()).prop_map(|(o, d)| Step::Gone(o, d)),
        3 => (d(), 0u8..3).prop_map(|(d, site)| Step::Relabel(d, site)),
        1 => (0u32..2, d(), any::<bool>()).prop_map(|(o, d, bad)| Step::Made(o, d, bad)),
        1 => d().prop_map(Step::Forget),
    ]
}

/// What each copy said, as it said it.
type Said = BTreeMap<(u32, u32), (RenderHash, u8, Health)>;

fn fault() -> atoll_placement::render::RenderError {
    let renderer = Renderer::new(Recipe::implicit_namespace("x"));
    assert!(renderer.fault().is_none());
    let error = content(2);
    let renderer = error.vary.as_ref().unwrap();
    let nobody = atoll_placement::render::PropertyTable::default();
    let places = atoll_placement::render::Places::default();
    let around = atoll_placement::render::Around {
        properties: &nobody,
        places: &places,
    };
    let input = renderer.input(Destination(0), around);
    renderer.render(&input).unwrap_err()
}

type Bad = BTreeSet<(u32, RenderHash, u32)>;

fn apply(world: &mut World, said: &mut Said, bad: &mut Bad, step: Step) {
    match step {
        Step::Move(policy, ordinal, set) => {
            let index = PolicyIndex(policy);
            for d in set {
                let set: Destinations = [d].into_iter().collect();
                let from = world.policies[&index].at(Destination(d)).map(|(o, _)| o);
                let transition = Transition {
                    from,
                    to: (ordinal > 0).then_some(ordinal),
                    destinations: set.clone(),
                };
                let copies = (0..2).map(|o| (ObjectIndex(o), set.clone())).collect();
                world.recounted(&copies, |world| {
                    world.policies.get_mut(&index).unwrap().move_to(&transition);
                });
            }
        }
        Step::Report(o, d, version, error, health) => {
            let (object, destination) = (ObjectIndex(o), Destination(d));
            let wanted = world.desired_copy(destination, object);
            let flags = wanted.as_ref().map(|w| w.flags).unwrap_or_default();
            let render = match version {
                None => [d as u8 + 1; 16],
                Some(version) => {
                    let copy = DesiredCopy {
                        flags,
                        render: content(version).render(flags),
                        content: content(version),
                        holds: false,
                    };
                    world.render_at(destination, &copy)
                }
            };
            let reported = Reported {
                seen: world.see(destination, object, wanted.as_ref(), render),
                error,
                message: "".into(),
                health: Health::from_code(health),
                observed: None,
                status: "".into(),
            };
            let set = [d].into_iter().collect();
            world.report(object, &[(Some(Arc::new(reported)), set)]);
            said.insert((o, d), (render, error, Health::from_code(health)));
        }
        Step::Gone(o, d) => {
            world.report(ObjectIndex(o), &[(None, [d].into_iter().collect())]);
            said.remove(&(o, d));
        }
        Step::Relabel(d, site) => {
            let before = world.own_renders(Destination(d));
            let inventory = world.inventories.get_mut("i").unwrap();
            inventory.index.set(Destination(d), &labels(site), true);
            world.look_changed(Destination(d), before);
        }
        Step::Made(o, d, fails) => {
            let wanted = world.desired_copy(Destination(d), ObjectIndex(o));
            let Some(copy) = wanted.filter(|w| w.content.vary.is_some()) else {
                return;
            };
            let made = Made {
                object: ObjectIndex(o),
                version: copy.render,
                destination: Destination(d),
                fault: fails.then(fault),
            };
            let looks = world.looks;
            world.note_made(vec![made], looks).unwrap();
            match fails {
                true => bad.insert((o, copy.render, d)),
                false => bad.remove(&(o, copy.render, d)),
            };
        }
        Step::Forget(d) => {
            world.forget_reports(Destination(d));
            said.retain(|(_, at), _| *at != d);
        }
    }
}

/// Each copy by itself: what it said is compared with what it should look like there.
fn judged(world: &World, said: &Said, bad: &Bad, policy: &PolicyState) -> Counts {
    let mut counts = Counts::default();
    for d in 0..DESTINATIONS {
        let Some((_, revision)) = policy.at(Destination(d)) else {
            continue;
        };
        for object in revision.cut.entries.keys() {
            let wanted = world.desired_copy(Destination(d), *object).unwrap();
            let render = world.render_at(Destination(d), &wanted);
            let standing = match said.get(&(object.0, d)) {
                _ if bad.contains(&(object.0, wanted.render, d)) => Standing::Failed,
                None => Standing::Unreported,
                Some((_, error, _)) if *error != 0 => Standing::Failed,
                Some((said, ..)) if *said != render => Standing::Outdated,
                Some((_, _, Health::Healthy)) => Standing::Healthy,
                Some((_, _, Health::Progressing)) => Standing::Progressing,
                Some((_, _, Health::Degraded)) => Standing::Degraded,
            };
            counts.add(standing, 1);
        }
    }
    counts
}

proptest! {
    #[test]
    fn counts_equal_judging_each_copy(steps in proptest::collection::vec(step(), 0..60)) {
        let (mut world, mut said, mut bad) = (world(), Said::new(), Bad::new());
        for step in steps {
            apply(&mut world, &mut said, &mut bad, step.clone());
            for policy in world.policies.values() {
                let expected = judged(&world, &said, &bad, policy);
                prop_assert_eq!(policy.counts, expected, "after {:?}", step);
                prop_assert_eq!(world.recount(policy), expected);
            }
        }
        // What differs at every destination makes no value of its own, unless it is an exception.
        for object in world.columns.keys() {
            for (id, set) in world.columns[object].sets() {
                let value = world.values.get(id).unwrap();
                for d in &set {
                    let held = said.get(&(object.0, d)).map(|(render, ..)| *render);
                    match value.seen {
                        Seen::Shared(render) | Seen::Other(render) => prop_assert_eq!(Some(render), held),
                        Seen::Version(version) => {
                            let (renderer, flags) = world.version(*object, version).unwrap();
                            prop_assert_eq!(world.render_of(Destination(d), &renderer, flags), held);
                        }
                    }
                }
            }
        }
        world.count_all();
        for policy in world.policies.values() {
            prop_assert_eq!(policy.counts, judged(&world, &said, &bad, policy));
        }
    }
}
