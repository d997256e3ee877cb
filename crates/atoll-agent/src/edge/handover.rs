//! Who owns the fields that are the edge's (`edge-owned`, `initial-only`, replicas under an autoscaler) when that changes during a copy's life.
//!
//! Server-side apply deletes a field that its only owner no longer applies. So before our manager lets go of such a field, a second manager of ours takes
//! it over at the value it has; when the field is the payload's again, the second manager lets go of it.

use atoll_wire::Item;
use serde_json::{Value, json};

use super::MANAGER;
use crate::paths::Path;

/// The manager that owns what was given once and is the edge's since.
pub(super) const INITIAL_MANAGER: &str = "atoll-initial";

/// What the second manager applies, and when.
#[derive(Debug, PartialEq)]
pub(super) enum Handover {
    /// Ownership is as it should be.
    Nothing,
    /// Before our apply: these fields, as they are.
    Give(Value),
    /// After our apply: nothing, so that it owns nothing any more.
    TakeBack(Value),
}

/// Decides from what the copy says and what is there.
pub(super) fn handover(item: &Item, live: &Value) -> Handover {
    let owned_by = |manager: &str| {
        live.pointer("/metadata/managedFields")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .find(|entry| entry["manager"] == manager && entry["operation"] == "Apply")
            .map(|entry| &entry["fieldsV1"])
    };
    let skeleton = || {
        json!({
            "apiVersion": live["apiVersion"],
            "kind": live["kind"],
            "metadata": {"name": live["metadata"]["name"], "uid": live["metadata"]["uid"]},
        })
    };
    let paths: Vec<Path> = parse(&item.initial_only)
        .chain(parse(&item.edge_owned))
        .collect();
    if paths.is_empty() {
        return match owned_by(INITIAL_MANAGER) {
            Some(_) => Handover::TakeBack(skeleton()),
            None => Handover::Nothing,
        };
    }
    if !owned_by(MANAGER).is_some_and(|fields| paths.iter().any(|path| path.is_owned(fields))) {
        return Handover::Nothing;
    }
    let mut fields = skeleton();
    // Only while they are what we saw: a controller may be about to change them.
    fields["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"].clone();
    paths
        .iter()
        .filter_map(|path| path.only(live))
        .for_each(|only| merge(&mut fields, only));
    Handover::Give(fields)
}

/// The paths that can be read.
pub(super) fn parse(paths: &[String]) -> impl Iterator<Item = Path> + '_ {
    paths.iter().filter_map(|text| Path::parse(text))
}

/// Puts the fields of `from` into `into`. Parts of the same list element (those that agree in what they share) become one, other elements are added.
pub(super) fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (Value::Array(into), Value::Array(from)) => {
            for element in from {
                match into.iter_mut().find(|other| is_same(other, &element)) {
                    Some(other) => merge(other, element),
                    None => into.push(element),
                }
            }
        }
        (into, from) => *into = from,
    }
}

fn is_same(a: &Value, b: &Value) -> bool {
    let (Some(a), Some(b)) = (a.as_object(), b.as_object()) else {
        return a == b;
    };
    let mut shared = a
        .iter()
        .filter_map(|(key, value)| Some((value, b.get(key)?)));
    let mut any = false;
    shared.all(|(a, b)| {
        any = true;
        a == b
    }) && any
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(manager: &str, fields: Value) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "uid": "u", "resourceVersion": "7",
                "managedFields": [{"manager": manager, "operation": "Apply", "fieldsV1": fields}]},
            "spec": {"replicas": 4, "paused": true}})
    }

    fn item(initial_only: &[&str]) -> Item {
        Item {
            initial_only: initial_only.iter().map(|&p| p.to_owned()).collect(),
            ..Item::default()
        }
    }

    #[test]
    fn a_field_that_becomes_the_edges_keeps_its_value() {
        let ours = live(
            MANAGER,
            json!({"f:spec": {"f:replicas": {}, "f:paused": {}}}),
        );
        assert_eq!(
            handover(&item(&[".spec.replicas"]), &ours),
            Handover::Give(json!({"apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {"name": "web", "uid": "u", "resourceVersion": "7"}, "spec": {"replicas": 4}}))
        );
        let not_ours = live(MANAGER, json!({"f:spec": {"f:paused": {}}}));
        assert_eq!(
            handover(&item(&[".spec.replicas"]), &not_ours),
            Handover::Nothing
        );
        assert_eq!(handover(&item(&[]), &ours), Handover::Nothing);
    }

    #[test]
    fn a_field_that_becomes_the_payloads_again_has_one_owner() {
        let before = live(INITIAL_MANAGER, json!({"f:spec": {"f:replicas": {}}}));
        assert!(matches!(
            handover(&item(&[]), &before),
            Handover::TakeBack(_)
        ));
        assert_eq!(
            handover(&item(&[".spec.replicas"]), &before),
            Handover::Nothing
        );
    }

    #[test]
    fn parts_of_one_list_element_become_one() {
        let mut into = json!({"c": [{"name": "a", "image": "x"}]});
        merge(&mut into, json!({"c": [{"name": "a", "tty": true}]}));
        merge(&mut into, json!({"c": [{"name": "b", "image": "x"}]}));
        assert_eq!(
            into,
            json!({"c": [{"name": "a", "image": "x", "tty": true}, {"name": "b", "image": "x"}]})
        );
    }
}
