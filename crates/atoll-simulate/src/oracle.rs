//! What each destination should have, found as simply as possible from what the public API shows.
//!
//! It shares no code with the center: selectors, matching, cleaning and templates are done here again, only as far as the simulated load uses them. Copies are told apart by a
//! [`Print`]: equal objects have equal prints.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// Tells contents apart: the first bytes of the SHA-256 of an object's canonical JSON.
pub type Print = u64;

/// The print of an object as an edge holds it.
pub fn print(object: &Value) -> Print {
    // Maps of this JSON library are sorted, so equal objects are equal texts.
    let hash: [u8; 32] = Sha256::digest(object.to_string().as_bytes()).into();
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    u64::from_be_bytes(first)
}

/// A destination, as its ManagedCluster shows it.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// What there is, as lists of the API show it.
#[derive(Debug, Default)]
pub struct Shown {
    /// All destinations, in the order in which they are asked about.
    pub places: Vec<Place>,
    /// All policies.
    pub policies: Vec<Value>,
    /// All objects of the payload workspace that may travel.
    pub objects: Vec<Value>,
}

/// What should be where.
#[derive(Debug)]
pub struct Expected {
    /// Per destination: the policies that select it.
    by_place: Vec<Vec<u32>>,
    /// Per policy: its objects, as indexes.
    by_policy: Vec<Vec<u32>>,
    objects: Vec<Object>,
}

#[derive(Debug)]
struct Object {
    uid: String,
    /// As it travels.
    body: Value,
    print: Print,
    templated: bool,
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn strings(value: Option<&Value>) -> BTreeMap<String, String> {
    let entries = value.and_then(Value::as_object).into_iter().flatten();
    entries
        .filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())))
        .collect()
}

impl Place {
    /// Reads a ManagedCluster.
    pub fn of(cluster: &Value) -> Self {
        Place {
            name: text(cluster, "/metadata/name").to_owned(),
            labels: strings(cluster.pointer("/metadata/labels")),
        }
    }
}

/// Whether a label selector selects these labels.
fn selects(selector: &Value, labels: &BTreeMap<String, String>) -> bool {
    let exact = strings(selector.get("matchLabels"));
    let all_equal = exact.iter().all(|(k, v)| labels.get(k) == Some(v));
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    all_equal
        && expressions.into_iter().flatten().all(|e| {
            let value = labels.get(text(e, "/key"));
            let listed = e
                .get("values")
                .and_then(Value::as_array)
                .is_some_and(|values| {
                    values
                        .iter()
                        .any(|v| v.as_str() == value.map(String::as_str) && value.is_some())
                });
            match text(e, "/operator") {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}

/// An object as it should arrive: without what the center's API adds. A Namespace, which only comes along here, is no more than its name.
fn as_it_travels(object: &Value) -> Value {
    if object["kind"] == "Namespace" {
        let metadata = Map::from_iter([("name".to_owned(), text(object, "/metadata/name").into())]);
        let fields = [
            ("apiVersion", "v1".into()),
            ("kind", "Namespace".into()),
            ("metadata", metadata.into()),
        ];
        return fields
            .map(|(k, v): (&str, Value)| (k.to_owned(), v))
            .into_iter()
            .collect::<Map<_, _>>()
            .into();
    }
    let mut body = object.clone();
    if let Some(map) = body.as_object_mut() {
        map.remove("status");
    }
    if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
        let kept = ["name", "namespace", "labels", "annotations"];
        metadata.retain(|key, _| kept.contains(&key.as_str()));
        if let Some(annotations) = metadata
            .get_mut("annotations")
            .and_then(Value::as_object_mut)
        {
            annotations.retain(|key, _| {
                !key.starts_with("kcp.io/") && key != "control.kubestellar.io/expand-templates"
            });
            if annotations.is_empty() {
                metadata.remove("annotations");
            }
        }
    }
    body
}

/// `{{.key}}` by a destination's labels, in every text.
fn expand(value: &Value, labels: &BTreeMap<String, String>) -> Value {
    match value {
        Value::String(text) => {
            let mut out = String::new();
            let mut rest = text.as_str();
            while let Some((before, after)) = rest.split_once("{{.") {
                let (key, after) = after.split_once("}}").unwrap_or((after, ""));
                out.push_str(before);
                out.push_str(labels.get(key).map_or("", String::as_str));
                rest = after;
            }
            out.push_str(rest);
            Value::String(out)
        }
        Value::Array(items) => items.iter().map(|i| expand(i, labels)).collect(),
        Value::Object(map) => {
            let fields = map.iter().map(|(k, v)| (k.clone(), expand(v, labels)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        other => other.clone(),
    }
}

impl Expected {
    /// Works out who should have what.
    pub fn of(shown: &Shown) -> Self {
        let objects: Vec<Object> = shown
            .objects
            .iter()
            .map(|object| {
                let body = as_it_travels(object);
                Object {
                    uid: text(object, "/metadata/uid").to_owned(),
                    print: print(&body),
                    templated: object
                        .pointer("/metadata/annotations/control.kubestellar.io~1expand-templates")
                        .is_some_and(|v| v == "true"),
                    body,
                }
            })
            .collect();
        let mut by_policy = Vec::new();
        let mut by_place = vec![Vec::new(); shown.places.len()];
        for (p, policy) in shown.policies.iter().enumerate() {
            by_policy.push(bundle(policy, &shown.objects));
            let selectors = policy
                .pointer("/spec/clusterSelectors")
                .and_then(Value::as_array);
            for (place, has) in shown.places.iter().zip(&mut by_place) {
                if selectors
                    .into_iter()
                    .flatten()
                    .any(|s| selects(s, &place.labels))
                {
                    has.push(p as u32);
                }
            }
        }
        Expected {
            by_place,
            by_policy,
            objects,
        }
    }

    /// What a destination should have: prints by uid.
    pub fn at(&self, n: usize, place: &Place) -> HashMap<&str, Print> {
        let mut has = HashMap::new();
        for policy in &self.by_place[n] {
            for object in &self.by_policy[*policy as usize] {
                let object = &self.objects[*object as usize];
                let print = if object.templated {
                    print(&expand(&object.body, &place.labels))
                } else {
                    object.print
                };
                has.insert(object.uid.as_str(), print);
            }
        }
        has
    }

    /// How many copies a destination should have.
    pub fn copies_at(&self, n: usize) -> usize {
        let mut objects: Vec<u32> = self.by_place[n]
            .iter()
            .flat_map(|p| &self.by_policy[*p as usize])
            .copied()
            .collect();
        objects.sort_unstable();
        objects.dedup();
        objects.len()
    }

    /// What each policy asks of a destination: the policy, and the uid and print of the object.
    pub fn asked_of(&self, n: usize, place: &Place) -> Vec<(usize, &str, Print)> {
        let prints = self.at(n, place);
        let mut asked = Vec::new();
        for policy in &self.by_place[n] {
            for object in &self.by_policy[*policy as usize] {
                let uid = self.objects[*object as usize].uid.as_str();
                asked.push((*policy as usize, uid, prints[uid]));
            }
        }
        asked
    }

    /// A recount of every policy, from what destinations say they hold (`None`: nothing was ever reported).
    pub fn recount<'a>(
        &self,
        places: &[Place],
        held: impl Iterator<Item = (u32, HashMap<&'a str, Print>)>,
    ) -> Vec<Counts> {
        let mut counts = vec![Counts::default(); self.by_policy.len()];
        for (n, holds) in held {
            for (policy, uid, print) in self.asked_of(n as usize, &places[n as usize]) {
                let count = &mut counts[policy];
                match holds.get(uid) {
                    Some(held) if *held == print => count.current += 1,
                    Some(_) => count.outdated += 1,
                    None => count.unreported += 1,
                }
            }
        }
        counts
    }
}

/// The copies of a policy by what was reported of them. None of the simulated load is refused by an edge, so none has failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// As they should be.
    pub current: u64,
    /// Something else than they should be.
    pub outdated: u64,
    /// Nothing yet.
    pub unreported: u64,
}

impl Counts {
    /// How many copies there should be.
    pub fn expected(self) -> u64 {
        self.current + self.outdated + self.unreported
    }
}

/// The objects that a policy selects, and the Namespaces that come along.
fn bundle(policy: &Value, objects: &[Value]) -> Vec<u32> {
    let clauses = policy.pointer("/spec/downsync").and_then(Value::as_array);
    let mut found: Vec<u32> = Vec::new();
    let mut namespaces: Vec<&str> = Vec::new();
    for (i, object) in objects.iter().enumerate() {
        let labels = strings(object.pointer("/metadata/labels"));
        let selected = clauses.into_iter().flatten().any(|clause| {
            let selectors = clause.get("objectSelectors").and_then(Value::as_array);
            selectors.into_iter().flatten().any(|s| selects(s, &labels))
        });
        if selected {
            found.push(i as u32);
            namespaces.push(text(object, "/metadata/namespace"));
        }
    }
    for (i, object) in objects.iter().enumerate() {
        let is_needed =
            object["kind"] == "Namespace" && namespaces.contains(&text(object, "/metadata/name"));
        if is_needed && !found.contains(&(i as u32)) {
            found.push(i as u32);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_selected_travels_clean_and_expanded() {
        let place = |n: &str, tier: &str| Place {
            name: n.to_owned(),
            labels: BTreeMap::from([
                ("tier".to_owned(), tier.to_owned()),
                ("site".to_owned(), n.to_owned()),
            ]),
        };
        let shown = Shown {
            places: vec![place("a", "gold"), place("b", "silver")],
            policies: vec![
                json!({"spec": {"clusterSelectors": [{"matchExpressions": [{"key": "tier", "operator": "In", "values": ["gold"]}]}],
                "downsync": [{"objectSelectors": [{"matchLabels": {"app": "x"}}]}]}}),
            ],
            objects: vec![
                json!({"kind": "Namespace", "metadata": {"name": "n", "uid": "u0", "labels": {"other": "y"}}}),
                json!({"kind": "ConfigMap", "metadata": {"name": "c", "namespace": "n", "uid": "u1", "resourceVersion": "7", "labels": {"app": "x"},
                    "annotations": {"control.kubestellar.io/expand-templates": "true"}}, "data": {"k": "at {{.site}}."}, "status": {}}),
                json!({"kind": "ConfigMap", "metadata": {"name": "d", "namespace": "n", "uid": "u2", "labels": {"app": "z"}}}),
            ],
        };
        let expected = Expected::of(&shown);
        let at_a = expected.at(0, &shown.places[0]);
        let c = json!({"kind": "ConfigMap", "metadata": {"name": "c", "namespace": "n", "labels": {"app": "x"}}, "data": {"k": "at a."}});
        assert_eq!(at_a.get("u1"), Some(&print(&c)));
        assert_eq!(at_a.len(), 2, "the Namespace comes along");
        assert!(expected.at(1, &shown.places[1]).is_empty());
        assert_eq!((expected.copies_at(0), expected.copies_at(1)), (2, 0));
        let held = [(0, HashMap::from([("u1", 7)])), (1, HashMap::new())];
        let counts = expected.recount(&shown.places, held.into_iter());
        let recounted = Counts {
            current: 0,
            outdated: 1,
            unreported: 1,
        };
        assert_eq!((counts[0], counts[0].expected()), (recounted, 2));
    }
}
