//! What each destination should have, found as simply as possible from what the public API shows.
//!
//! It shares no code with the center: selectors, expressions, cleaning, templates and Customizers are done here again, only as far as the simulated load uses them. Copies are told apart by a
//! [`Print`]: equal objects have equal prints.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;
use sha2::{Digest, Sha256};

use self::read::{Chosen, selects, strings, text};
use self::travel::{Customizer, as_it_travels, expand};

mod read;
mod travel;

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
    /// All Customizers.
    pub customizers: Vec<Value>,
}

/// What should be where.
#[derive(Debug)]
pub struct Expected {
    /// Per destination: the policies that select it.
    by_place: Vec<Vec<u32>>,
    /// Per policy: its objects, as indexes.
    by_policy: Vec<Vec<u32>>,
    objects: Vec<Object>,
    customizers: Vec<Customizer>,
    /// The policies' uids.
    policies: Vec<String>,
}

/// Per region: copies, and the sum of their ready replicas.
pub type Regions = BTreeMap<String, (u64, u64)>;

#[derive(Debug)]
struct Object {
    uid: String,
    /// As it travels.
    body: Value,
    print: Print,
    templated: bool,
    /// The Customizers that may concern it.
    customizers: Vec<u32>,
}

impl Object {
    /// Its print at a destination.
    fn print_at(&self, all: &[Customizer], place: &Place) -> Print {
        let concern = self.customizers.iter().map(|c| &all[*c as usize]);
        let customizers: Vec<&Customizer> = concern.filter(|c| c.concerns(&place.labels)).collect();
        if !self.templated && customizers.is_empty() {
            return self.print;
        }
        let mut body = if self.templated {
            expand(&self.body, &place.labels)
        } else {
            self.body.clone()
        };
        customizers
            .iter()
            .for_each(|c| c.apply(&mut body, &place.labels));
        print(&body)
    }
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

impl Expected {
    /// Works out who should have what.
    pub fn of(shown: &Shown) -> Self {
        let customizers: Vec<Customizer> = shown.customizers.iter().map(Customizer::of).collect();
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
                    customizers: (0..)
                        .zip(&customizers)
                        .filter(|(_, c)| c.means(object))
                        .map(|(i, _)| i)
                        .collect(),
                }
            })
            .collect();
        let mut by_policy = Vec::new();
        let mut by_place = vec![Vec::new(); shown.places.len()];
        for (p, policy) in shown.policies.iter().enumerate() {
            by_policy.push(bundle(policy, &shown.objects));
            let chosen = Chosen::of(&policy["spec"]);
            for (place, has) in shown.places.iter().zip(&mut by_place) {
                if chosen.has(&place.labels) {
                    has.push(p as u32);
                }
            }
        }
        Expected {
            by_place,
            by_policy,
            objects,
            customizers,
            policies: shown
                .policies
                .iter()
                .map(|p| text(p, "/metadata/uid").to_owned())
                .collect(),
        }
    }

    /// What the load's StatusCollector should show of each object under each policy, by the name of the CombinedStatus: a recount of what destinations said last of ready replicas.
    pub fn combine<'a>(
        &self,
        places: &[Place],
        said: impl Iterator<Item = (u32, Vec<(&'a str, u64)>)>,
        combined: &mut BTreeMap<String, Regions>,
    ) {
        for (n, said) in said {
            let said: HashMap<&str, u64> = said.into_iter().collect();
            let region = places[n as usize]
                .labels
                .get("region")
                .map_or("", String::as_str);
            for policy in &self.by_place[n as usize] {
                for object in &self.by_policy[*policy as usize] {
                    let uid = self.objects[*object as usize].uid.as_str();
                    if let Some(ready) = said.get(uid) {
                        let name = format!("{uid}.{}", self.policies[*policy as usize]);
                        let regions = combined.entry(name).or_default();
                        let (copies, sum) = regions.entry(region.to_owned()).or_default();
                        *copies += 1;
                        *sum += ready;
                    }
                }
            }
        }
    }

    /// What a destination should have: prints by uid.
    pub fn at(&self, n: usize, place: &Place) -> HashMap<&str, Print> {
        let mut has = HashMap::new();
        for policy in &self.by_place[n] {
            for object in &self.by_policy[*policy as usize] {
                let object = &self.objects[*object as usize];
                let print = object.print_at(&self.customizers, place);
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

/// What a CombinedStatus shows of the load's StatusCollector.
pub fn regions(combined: &Value) -> Regions {
    let rows = combined
        .pointer("/results/0/rows")
        .and_then(Value::as_array);
    let number =
        |row: &Value, at: &str| text(row, at).parse::<f64>().map_or(u64::MAX, |f| f as u64);
    let read = |row: &Value| {
        let region = text(row, "/columns/0/string").to_owned();
        (
            region,
            (
                number(row, "/columns/1/float"),
                number(row, "/columns/2/float"),
            ),
        )
    };
    rows.into_iter().flatten().map(read).collect()
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
            customizers: vec![
                json!({"spec": {"clusterSelectors": [{"matchLabels": {"site": "a"}}], "targets": [{"objectSelectors": [{"matchLabels": {"app": "x"}}]}],
                "patches": [{"merge": {"data": {"more": "yes"}}}, {"path": "$.data.tier", "value": "cluster.labels['tier']"}]}}),
            ],
        };
        let expected = Expected::of(&shown);
        let at_a = expected.at(0, &shown.places[0]);
        let c = json!({"kind": "ConfigMap", "metadata": {"name": "c", "namespace": "n", "labels": {"app": "x"}}, "data": {"k": "at a.", "more": "yes", "tier": "gold"}});
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
        let mut combined = BTreeMap::new();
        expected.combine(
            &shown.places,
            [(0, vec![("u1", 2)]), (1, vec![("u1", 1)])].into_iter(),
            &mut combined,
        );
        let named = json!({"results": [{"rows": [{"columns": [{"string": ""}, {"float": "1"}, {"float": "2"}]}]}]});
        assert_eq!(
            combined,
            BTreeMap::from([("u1.".to_owned(), regions(&named))])
        );
    }
}
