//! What holds whatever is written in whatever order.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{THING, thing, write};
use crate::patch::entries::Entries;
use crate::patch::fieldset::Set;
use crate::patch::managed::{on_apply, on_create, on_update};
use crate::patch::path::{Path, PathElement};
use crate::patch::typed::fields;
use crate::patch::typing::Type;

pub(super) fn spec() -> impl Strategy<Value = Value> {
    let text = || "[ab]".prop_map(Value::from);
    let texts = move || prop::collection::btree_set(text().prop_map(|v| v.to_string()), 0..3);
    let set = move || {
        texts().prop_map(|s| {
            s.into_iter()
                .map(|t| json!(t.trim_matches('"')))
                .collect::<Value>()
        })
    };
    let ports =
        prop::collection::btree_map(0..3i64, prop::option::of("[ab]"), 0..3).prop_map(|ports| {
            let port = |(number, name): (i64, Option<String>)| match name {
                Some(name) => json!({"containerPort": number, "name": name}),
                None => json!({"containerPort": number}),
            };
            ports.into_iter().map(port).collect::<Value>()
        });
    let container = (prop::option::of("[ab]"), prop::option::of(ports));
    let containers = prop::collection::btree_map("[a-c]", container, 0..3).prop_map(|containers| {
        let container = |(name, (image, ports)): (String, (Option<String>, Option<Value>))| {
            let mut container = json!({"name": name});
            image
                .into_iter()
                .for_each(|image| container["image"] = json!(image));
            ports
                .into_iter()
                .for_each(|ports| container["ports"] = ports);
            container
        };
        containers.into_iter().map(container).collect::<Value>()
    });
    let maps = prop::collection::btree_map("[ab]", text(), 1..3).prop_map(|map| json!(map));
    let fields = [
        ("replicas", (0..3i64).prop_map(Value::from).boxed()),
        ("note", text().boxed()),
        ("set", set().boxed()),
        ("atomicList", set().boxed()),
        ("containers", containers.boxed()),
        ("map", maps.clone().boxed()),
        (
            "selector",
            maps.prop_map(|map| json!({"matchLabels": map})).boxed(),
        ),
        ("free", Just(json!({"deep": {"a": 1}, "list": [1]})).boxed()),
    ];
    let fields: Vec<_> = fields
        .into_iter()
        .map(|(name, value)| prop::option::of(value).prop_map(move |v| (name, v)))
        .collect();
    fields.prop_map(|fields| {
        let present: BTreeMap<_, _> = fields
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect();
        json!(present)
    })
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Apply {
        manager: &'static str,
        spec: Value,
        force: bool,
    },
    Update {
        manager: &'static str,
        spec: Value,
    },
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let manager = || prop::sample::select(vec!["a", "b", "c"]);
    let apply = (manager(), spec(), any::<bool>()).prop_map(|(manager, spec, force)| Step::Apply {
        manager,
        spec,
        force,
    });
    let update = (manager(), spec()).prop_map(|(manager, spec)| Step::Update { manager, spec });
    prop::collection::vec(prop_oneof![2 => apply, 1 => update], 1..6)
}

/// Carries out one step; a refused apply changes nothing.
fn step(live: Option<&Value>, step: &Step, second: i64) -> Option<Value> {
    let mut object = match step {
        Step::Apply {
            manager,
            spec,
            force,
        } => on_apply(&write(manager, second), live, &thing(spec.clone()), *force).ok()?,
        Step::Update { manager, spec } => {
            let mut object = live.cloned().unwrap_or_else(|| thing(json!({})));
            object["spec"] = spec.clone();
            match live {
                Some(live) => on_update(&write(manager, second), live, &mut object),
                None => on_create(&write(manager, second), &mut object),
            }
            object
        }
    };
    object["metadata"]["uid"] = json!("u");
    Some(object)
}

fn spec_fields(object: &Value) -> Set {
    let mut set = fields(Type::object(&THING, true), object);
    set.nodes_mut()
        .retain(|node| node.element == PathElement::field("spec"));
    set
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_there_was_written_by_somebody_who_owns_it(steps in steps()) {
        let mut live: Option<Value> = None;
        for (second, next) in steps.iter().enumerate() {
            live = step(live.as_ref(), next, second as i64).or(live);
        }
        let Some(live) = live else { return Ok(()) };
        let owned = Entries::of(&live).unwrap().0.into_iter().fold(Set::EMPTY, |set, e| set.union(e.fields));
        for path in spec_fields(&live).leaves().paths() {
            if path == Path::fields(["spec"]) {
                continue; // a struct of a built-in kind, there without being written
            }
            // A leaf is owned itself, or it is part of something that is owned whole.
            let covered = (1..=path.0.len()).any(|n| owned.has(&path.0[..n]));
            prop_assert!(covered, "nobody owns {path} of {live}");
        }
    }

    #[test]
    fn applying_twice_changes_nothing(steps in steps(), spec in spec()) {
        let mut live: Option<Value> = None;
        for (second, next) in steps.iter().enumerate() {
            live = step(live.as_ref(), next, second as i64).or(live);
        }
        let apply = Step::Apply { manager: "me", spec: spec.clone(), force: true };
        let once = step(live.as_ref(), &apply, 100).unwrap();
        let twice = step(Some(&once), &apply, 200).unwrap();
        prop_assert_eq!(&once, &twice);
        // And what was applied is there, and mine.
        let mine = Entries::of(&once).unwrap().0.into_iter().find(|e| e.manager == "me");
        let mine = mine.map(|e| e.fields).unwrap_or_default();
        let claimed = spec_fields(&thing(spec));
        prop_assert_eq!(&mine, &claimed);
        let mut missing = claimed;
        missing.subtract(&Set::of([Path::fields(["spec"])])); // claimed when applied empty
        missing.subtract(&spec_fields(&once));
        prop_assert!(missing.is_empty(), "{:?}", missing.paths().iter().map(Path::to_string).collect::<Vec<_>>());
    }

    #[test]
    fn owners_of_fields_that_a_refused_apply_names_are_untouched(steps in steps(), spec in spec()) {
        let mut live: Option<Value> = None;
        for (second, next) in steps.iter().enumerate() {
            live = step(live.as_ref(), next, second as i64).or(live);
        }
        let Some(live) = live else { return Ok(()) };
        let config = thing(spec);
        match on_apply(&write("me", 100), Some(&live), &config, false) {
            Err(status) => {
                prop_assert_eq!(status.code, 409);
                prop_assert!(!status.details.unwrap().causes.is_empty());
            }
            Ok(applied) => {
                // Without a conflict nobody else lost a field that is still there.
                let still = spec_fields(&applied);
                for before in Entries::of(&live).unwrap().0 {
                    let after = Entries::of(&applied).unwrap().0.into_iter().find(|e| e.is_same(&before));
                    let mut lost = before.fields.intersection(&still);
                    lost.subtract(&after.map(|e| e.fields).unwrap_or_default());
                    prop_assert!(lost.is_empty() || before.manager == "me");
                }
            }
        }
    }
}
