//! Choices, compared with looking at every destination and with the constraints as they are written.

use std::collections::{BTreeMap, BTreeSet};

use atoll_kube::Timestamp;
use atoll_kube::selector::LabelSelector;
use atoll_placement::choose::candidates::Sight;
use atoll_placement::choose::expression::Facts;
use atoll_placement::choose::signal::{Signal, Signals};
use atoll_placement::choose::taint::{Taints, of_managed_cluster};
use atoll_placement::choose::{Candidates, Choice, Field, Refusal, Where, pick};
use atoll_placement::inventory::{Inventory, Labels};
use atoll_placement::{Destination, Destinations};
use proptest::prelude::*;
use serde_json::{Value, json};

/// A small world that can be asked everything the slow way.
#[derive(Default)]
struct World {
    labels: BTreeMap<u32, Labels>,
    claims: BTreeMap<u32, BTreeMap<String, String>>,
    inventory: Inventory,
    signals: Signals,
    taints: Taints,
}

impl Facts for World {
    fn label(&self, destination: Destination, key: &str) -> Option<&str> {
        self.labels
            .get(&destination.0)?
            .get(key)
            .map(String::as_str)
    }
    fn claim(&self, destination: Destination, name: &str) -> Option<String> {
        self.claims.get(&destination.0)?.get(name).cloned()
    }
    fn cluster(&self, destination: Destination) -> Value {
        json!({
            "name": format!("edge-{}", destination.0),
            "labels": self.labels.get(&destination.0),
            "annotations": {},
            "claims": self.claims.get(&destination.0).cloned().unwrap_or_default(),
        })
    }
}

impl World {
    fn add(&mut self, index: u32, labels: &[(&str, &str)]) {
        let labels: Labels = labels
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        self.inventory.set(Destination(index), &labels, true);
        self.labels.insert(index, labels);
    }

    fn sight(&self) -> Sight<'_> {
        Sight {
            inventory: &self.inventory,
            facts: self,
            signals: &self.signals,
            now: Timestamp(1_000_000),
        }
    }

    fn choose(&self, spec: Value, incumbents: &[u32]) -> Choice {
        self.choose_with(spec, incumbents, &|_| None)
    }

    fn choose_with(
        &self,
        spec: Value,
        incumbents: &[u32],
        placed_by: &dyn Fn(&str) -> Option<Destinations>,
    ) -> Choice {
        let asked = parse(&spec);
        let everywhere = [LabelSelector::everything()];
        let candidates = Candidates::all(&everywhere, &asked, &self.sight());
        let field = Field {
            candidates: &candidates,
            incumbents: &set(incumbents),
            accepted: self.inventory.accepted(),
            available: self.inventory.all(),
            taints: &self.taints,
            placed_by,
            seed: 7,
        };
        pick(&asked, &field, &self.sight())
    }
}

fn parse(spec: &Value) -> Where {
    let mut errors = Vec::new();
    let asked = Where::parse(spec, &mut errors);
    assert_eq!(errors, vec![], "{spec}");
    asked
}

fn set(of: &[u32]) -> Destinations {
    of.iter().copied().collect()
}

fn list(of: &Destinations) -> Vec<u32> {
    of.iter().collect()
}

/// Ten in each of three regions: 0..10 in eu, 10..20 in us, 20..30 in ap.
fn thirty() -> World {
    let mut world = World::default();
    for i in 0..30 {
        let region = ["eu", "us", "ap"][i as usize / 10];
        world.add(
            i,
            &[
                ("region", region),
                ("rack", if i % 2 == 0 { "a" } else { "b" }),
            ],
        );
    }
    world
}

fn by_region(chosen: &Destinations) -> [usize; 3] {
    let mut counts = [0; 3];
    for i in chosen {
        counts[i as usize / 10] += 1;
    }
    counts
}

#[test]
fn n_of_m_is_sticky() {
    let mut world = thirty();
    let first = world.choose(json!({"numberOfClusters": 5}), &[]);
    assert_eq!(first.chosen.len(), 5);
    let again = world.choose(json!({"numberOfClusters": 5}), &list(&first.chosen));
    assert_eq!(again.chosen, first.chosen, "nothing changed, nothing moves");
    let more = world.choose(json!({"numberOfClusters": 6}), &list(&first.chosen));
    assert!(first.chosen.is_subset(&more.chosen) && more.chosen.len() == 6);
    let fewer = world.choose(json!({"numberOfClusters": 4}), &list(&first.chosen));
    assert!(fewer.chosen.is_subset(&first.chosen) && fewer.chosen.len() == 4);
    let lost = first.chosen.min().expect("five");
    world.labels.remove(&lost).expect("labels");
    world.inventory.remove(Destination(lost));
    let replaced = world.choose(json!({"numberOfClusters": 5}), &list(&first.chosen));
    assert_eq!(
        (&replaced.chosen - &first.chosen).len(),
        1,
        "one comes for the one that went"
    );
    assert_eq!((&first.chosen - &replaced.chosen).len(), 1);
    let all = world.choose(json!({"numberOfClusters": 50}), &[]);
    assert_eq!(all.chosen.len(), 29);
    assert_eq!(
        all.unsatisfied,
        [
            "numberOfClusters: 50 are asked for, 29 can be had",
            "to choose from: 29 destinations match clusterSelectors and clusterExpressions"
        ]
    );
}

#[test]
fn spread_keeps_its_bounds_and_balances() {
    let world = thirty();
    let rows = [
        (
            json!({"numberOfClusters": 6, "spread": [{"labelKey": "region"}]}),
            vec![],
            [2, 2, 2],
        ),
        (
            json!({"numberOfClusters": 6, "spread": [{"labelKey": "region", "maxGroups": 2, "maxPerGroup": 3}]}),
            vec![10, 11, 0],
            [3, 3, 0],
        ),
        (
            json!({"spread": [{"labelKey": "region", "maxPerGroup": 2}]}),
            vec![],
            [2, 2, 2],
        ),
        (
            json!({"spread": [{"labelKey": "region", "maxPerGroup": 2}]}),
            vec![0, 1, 2, 3],
            [2, 2, 2],
        ),
        (
            json!({"numberOfClusters": 3, "spread": [{"labelKey": "region", "minGroups": 3}]}),
            vec![0, 1, 2],
            [1, 1, 1],
        ),
        (
            json!({"numberOfClusters": 4, "spread": [{"labelKey": "region", "minGroups": 2, "minPerGroup": 2}]}),
            vec![0, 1, 2, 3],
            [2, 2, 0],
        ),
    ];
    for (spec, incumbents, expected) in rows {
        let choice = world.choose(spec.clone(), &incumbents);
        let mut counts = by_region(&choice.chosen);
        let mut expected = expected;
        counts.sort_unstable();
        expected.sort_unstable();
        assert_eq!(
            (counts, choice.unsatisfied),
            (expected, Vec::<String>::new()),
            "{spec} from {incumbents:?}"
        );
    }
    let impossible = world.choose(
        json!({"numberOfClusters": 8, "spread": [{"labelKey": "region", "minGroups": 4}]}),
        &[],
    );
    assert_eq!(
        impossible.unsatisfied.first().map(String::as_str),
        Some("spread: 4 groups of \"region\" are asked for, 3 can be had")
    );
    let unlabelled = world.choose(json!({"spread": [{"labelKey": "nobody-has-this"}]}), &[]);
    assert!(unlabelled.chosen.is_empty());
}

#[test]
fn scores_choose_the_best_and_move_only_for_more_than_the_hysteresis() {
    let mut world = thirty();
    let carbon = |eu: i64, us: i64, ap: i64| Signal {
        label_key: "region".into(),
        values: [("eu", eu), ("us", us), ("ap", ap)]
            .map(|(k, v)| (k.to_owned(), json!(v)))
            .into(),
        valid_until: Some(Timestamp(2_000_000)),
    };
    let spec = json!({"numberOfClusters": 3, "scores": [{"signal": "carbon", "weight": -1}], "scoreHysteresis": 50});
    world.signals.insert("carbon".into(), carbon(100, 200, 300));
    let first = world.choose(spec.clone(), &[]);
    assert_eq!(by_region(&first.chosen), [3, 0, 0]);
    assert_eq!(
        first.wake_at,
        Some(Timestamp(2_000_000)),
        "asked again when the signal ends"
    );
    world.signals.insert("carbon".into(), carbon(240, 200, 300));
    assert_eq!(
        world.choose(spec.clone(), &list(&first.chosen)).chosen,
        first.chosen,
        "not worth moving"
    );
    world.signals.insert("carbon".into(), carbon(251, 200, 300));
    assert_eq!(
        by_region(&world.choose(spec.clone(), &list(&first.chosen)).chosen),
        [0, 3, 0]
    );
    world.signals.insert(
        "carbon".into(),
        Signal {
            valid_until: Some(Timestamp(1)),
            ..carbon(999, 0, 0)
        },
    );
    assert_eq!(
        world.choose(spec, &list(&first.chosen)).chosen,
        first.chosen,
        "what is unknown moves nothing"
    );
}

#[test]
fn claims_score_as_quantities() {
    let mut world = World::default();
    for (i, memory) in ["4Gi", "16Gi", "512Mi", "no number"].iter().enumerate() {
        world.add(i as u32, &[]);
        world.claims.insert(
            i as u32,
            [("memory".to_owned(), (*memory).to_owned())].into(),
        );
    }
    let best = |n: u64| {
        list(
            &world
                .choose(
                    json!({"numberOfClusters": n, "scores": [{"claim": "memory"}]}),
                    &[],
                )
                .chosen,
        )
    };
    assert_eq!(best(1), [1]);
    assert_eq!(best(2), [0, 1]);
    assert_eq!(best(3), [0, 1, 2]);
}

#[test]
fn taints_and_ties_to_other_policies() {
    let mut world = thirty();
    world.taints.set(
        Destination(0),
        of_managed_cluster(&json!({"taints": [{"key": "k", "effect": "NoSelect"}]})),
    );
    world.taints.set(
        Destination(1),
        of_managed_cluster(&json!({"taints": [{"key": "k", "effect": "NoSelectIfNew"}]})),
    );
    let all = world.choose(json!({}), &[0, 1]);
    assert!(!all.chosen.contains(0) && all.chosen.contains(1) && all.chosen.len() == 29);
    let fresh = world.choose(json!({}), &[]);
    assert!(!fresh.chosen.contains(1));
    let tolerant = world.choose(json!({"tolerations": [{"operator": "Exists"}]}), &[]);
    assert_eq!(tolerant.chosen.len(), 30);
    let other = set(&[5, 6, 7]);
    let placed = |name: &str| (name == "db").then(|| other.clone());
    let near = world.choose_with(json!({"affinity": [{"policy": "db"}]}), &[20], &placed);
    assert_eq!(list(&near.chosen), [5, 6, 7, 20], "what is there stays");
    let apart = world.choose_with(json!({"antiAffinity": [{"policy": "db"}]}), &[5], &placed);
    assert!(apart.chosen.contains(5) && !apart.chosen.contains(6));
    let drawn = world.choose_with(
        json!({"numberOfClusters": 4, "affinity": [{"policy": "db", "preferred": true}]}),
        &[],
        &placed,
    );
    assert!(other.is_subset(&drawn.chosen) && drawn.chosen.len() == 4);
    let alone = world.choose_with(json!({"affinity": [{"policy": "nobody"}]}), &[], &placed);
    assert!(alone.chosen.is_empty() && alone.unsatisfied.len() == 1);
}

#[test]
fn an_expression_that_fails_neither_adds_nor_removes() {
    let mut world = thirty();
    for i in 0..20 {
        world.claims.insert(
            i,
            [(
                "cpus".to_owned(),
                if i == 3 {
                    "many".to_owned()
                } else {
                    i.to_string()
                },
            )]
            .into(),
        );
    }
    let spec = json!({"clusterExpressions": ["int(cluster.claims['cpus']) >= 4"]});
    let choice = world.choose(spec.clone(), &[3, 2, 25]);
    assert_eq!(
        list(&choice.chosen),
        (3..20).chain([25]).collect::<Vec<_>>(),
        "3 and 25 failed and were there; 2 is too small"
    );
    let refused = |d: u32| {
        Candidates::refusal(
            Destination(d),
            &[LabelSelector::everything()],
            &parse(&spec),
            &world.sight(),
        )
    };
    assert_eq!(refused(2), Some(Refusal::Expression(0)));
    assert!(matches!(refused(25), Some(Refusal::Failed(0, _))));
    assert_eq!(refused(19), None);
}

#[test]
fn expressions_over_labels_and_signals_fold() {
    let mut world = World::default();
    for i in 0..5000 {
        world.add(
            i,
            &[
                ("region", ["eu", "us"][i as usize % 2]),
                ("host", &format!("h{i}")),
            ],
        );
    }
    world.signals.insert(
        "threat".into(),
        Signal {
            label_key: "region".into(),
            values: [("eu".to_owned(), json!("red"))].into(),
            valid_until: None,
        },
    );
    let spec = json!({"clusterExpressions": ["!has(signals.threat) || signals.threat != 'red'", "cluster.labels.region in ['eu', 'us']"]});
    let choice = world.choose(spec.clone(), &[]);
    assert_eq!(choice.chosen.len(), 2500);
    assert!(parse(&spec).expressions.iter().all(|e| {
        e.label_keys(&world.signals)
            .is_some_and(|k| k == BTreeSet::from(["region".to_owned()]))
    }));
}

fn labels() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    (0..4usize, 0..3usize).prop_map(|(r, z)| {
        let mut labels = Vec::new();
        if r < 3 {
            labels.push(("region", ["eu", "us", "ap"][r]));
        }
        if z < 2 {
            labels.push(("rack", ["a", "b"][z]));
        }
        labels
    })
}

fn spread(key: &'static str) -> impl Strategy<Value = Value> {
    (0..3u64, proptest::option::of(0..3u64), 0..3u64, proptest::option::of(0..3u64)).prop_map(move |(min_g, more_g, min_p, more_p)| {
        json!({"labelKey": key, "minGroups": min_g, "maxGroups": more_g.map(|m| min_g.max(1) + m),
            "minPerGroup": min_p, "maxPerGroup": more_p.map(|m| min_p.max(1) + m)})
    })
}

proptest! {
    /// Bounds that are written hold, whatever the destinations; what cannot be had is said; the same inputs choose the same; and choosing again moves nothing.
    #[test]
    fn a_choice_keeps_its_bounds(
        population in proptest::collection::vec(labels(), 1..24),
        incumbents in proptest::collection::btree_set(0u32..24, 0..24),
        number in proptest::option::of(1u64..12),
        region in proptest::option::of(spread("region")),
        rack in proptest::option::of(spread("rack")),
    ) {
        let mut world = World::default();
        for (i, labels) in population.iter().enumerate() {
            world.add(i as u32, labels);
        }
        let incumbents: Vec<u32> = incumbents.into_iter().collect();
        let spread: Vec<Value> = [region, rack].into_iter().flatten().collect();
        let mut spec = json!({"spread": spread});
        if let Some(n) = number {
            spec["numberOfClusters"] = n.into();
        }
        let mut errors = Vec::new();
        let asked = Where::parse(&spec, &mut errors);
        prop_assume!(errors.is_empty());
        let choice = world.choose(spec.clone(), &incumbents);
        prop_assert!(choice.chosen.is_subset(world.inventory.all()));
        if let Some(n) = asked.number {
            prop_assert!(choice.chosen.len() <= n);
        }
        for spread in &asked.spread {
            let mut groups: BTreeMap<&str, u64> = BTreeMap::new();
            for d in &choice.chosen {
                let group = world.label(Destination(d), &spread.label_key);
                prop_assert!(group.is_some(), "{} is in no group", d);
                *groups.entry(group.unwrap_or_default()).or_default() += 1;
            }
            prop_assert!(spread.max_groups.is_none_or(|m| groups.len() as u64 <= m), "{groups:?}");
            prop_assert!(spread.max_per_group.is_none_or(|m| groups.values().all(|n| *n <= m)), "{groups:?}");
            let enough = groups.len() as u64 >= spread.min_groups && groups.values().all(|n| *n >= spread.min_per_group);
            prop_assert!(enough || !choice.unsatisfied.is_empty(), "{groups:?}");
        }
        prop_assert_eq!(&world.choose(spec.clone(), &incumbents), &choice);
        if choice.unsatisfied.is_empty() {
            let again = world.choose(spec, &list(&choice.chosen));
            prop_assert_eq!(again.chosen, choice.chosen);
        }
        if asked.spread.is_empty() {
            let there = incumbents.iter().filter(|i| (**i as usize) < population.len()).count() as u64;
            let kept = (&set(&incumbents) & &world.choose(json!({"numberOfClusters": number.unwrap_or(99)}), &incumbents).chosen).len();
            prop_assert_eq!(kept, there.min(number.unwrap_or(99)), "the fewest move");
        }
    }

    /// Candidates corrected one event at a time equal candidates found by looking at all.
    #[test]
    fn correcting_equals_looking_at_all(
        history in proptest::collection::vec((0u32..8, proptest::option::of(labels())), 1..30),
    ) {
        let asked = parse(&json!({"clusterExpressions": ["cluster.labels['region'] != 'us'", "cluster.name != 'edge-2'"]}));
        let selectors = [LabelSelector::parse_query("rack!=b").expect("a selector")];
        let mut world = World::default();
        let mut kept = Candidates::default();
        for (id, step) in history {
            let old = world.labels.remove(&id);
            let new: Option<Labels> = step.map(|l| l.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect());
            match (&old, &new) {
                (_, Some(new)) => world.inventory.set(Destination(id), new, true),
                (Some(_), None) => world.inventory.remove(Destination(id)),
                (None, None) => {}
            }
            world.labels.extend(new.map(|n| (id, n)));
            kept.reconsider(&set(&[id]), &selectors, &asked, &world.sight());
            let fresh = Candidates::all(&selectors, &asked, &world.sight());
            prop_assert_eq!(&kept.wanted, &fresh.wanted);
            prop_assert_eq!(kept.unsure(), fresh.unsure());
        }
    }
}
