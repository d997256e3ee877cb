//! Classes of equal input and equal change, against asking each destination.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::super::compare::{Change, Comparison, Difference, Side, compare};
use super::*;
use crate::bundle::Rendered;

#[test]
fn equal_destinations_are_one_class_and_unique_ones_are_bounded() {
    let labels: Vec<Vec<(&str, &str)>> = (0..10_000)
        .map(|i| vec![("zone", if i % 2 == 0 { "a" } else { "b" })])
        .collect();
    let slices: Vec<&[(&str, &str)]> = labels.iter().map(Vec::as_slice).collect();
    let mut fleet = Fleet::labelled(&slices);
    let expanding = |text: &str| json!({"metadata": {"name": "a", "annotations": {"control.kubestellar.io/expand-templates": "true"}}, "data": {"x": text}});
    let places = Places::default();
    let shared = expanding("{{ .zone }}");
    let renderer = Renderer::new(Recipe::of(&object(&shared, "", "configmaps"), &[], &[]));
    fleet.table.index(renderer.reads());
    let around = Around {
        properties: &fleet.table,
        places: &places,
    };
    let classes = renderer.classes(&fleet.all(), around);
    assert_eq!(
        classes
            .iter()
            .map(|c| c.destinations.len())
            .collect::<Vec<_>>(),
        [5_000, 5_000]
    );
    let unique = expanding("{{ .clusterName }}");
    let renderer = Renderer::new(Recipe::of(&object(&unique, "", "configmaps"), &[], &[]));
    let (classes, beyond) = renderer.classes_up_to(&fleet.all(), around, 100);
    assert_eq!((classes.len(), beyond.len()), (100, 9_900));
}

#[test]
fn a_comparison_groups_equal_changes_of_different_copies() {
    let body = |image: &str| {
        json!({"kind": "Deployment", "metadata": {"name": "web", "annotations": {"control.kubestellar.io/expand-templates": "true"}},
        "spec": {"host": "{{ .clusterName }}", "containers": [{"name": "a", "image": "a:1"}, {"name": "web", "image": image}]}})
    };
    let fleet = Fleet::labelled(&[&[], &[], &[], &[]]);
    let places = Places::default();
    let around = Around {
        properties: &fleet.table,
        places: &places,
    };
    let (old, new) = (body("web:1"), body("web:2"));
    let renderer =
        |b: &Value| Renderer::new(Recipe::of(&object(b, "apps", "deployments"), &[], &[]));
    let (old, new) = (renderer(&old), renderer(&new));
    let (before, after): (Destinations, Destinations) = ((0..3).collect(), (1..4).collect());
    let found = compare(
        Some(Side {
            renderer: &old,
            around,
            at: &before,
        }),
        Some(Side {
            renderer: &new,
            around,
            at: &after,
        }),
        1000,
    );
    let changed = Change::Changed(vec![Difference {
        path: "spec.containers[name=web].image".to_owned(),
        old: Some("\"web:1\"".to_owned()),
        new: Some("\"web:2\"".to_owned()),
    }]);
    let classes: Vec<(Change, Vec<u32>)> = found
        .classes
        .into_iter()
        .map(|c| (c.change, c.destinations.iter().collect()))
        .collect();
    assert_eq!(
        classes,
        [
            (Change::Removed, vec![0]),
            (Change::Added, vec![3]),
            (changed, vec![1, 2])
        ]
    );
    let bounded = compare(
        Some(Side {
            renderer: &old,
            around,
            at: &before,
        }),
        Some(Side {
            renderer: &new,
            around,
            at: &before,
        }),
        2,
    );
    assert_eq!(bounded.beyond.len(), 1);
}

const POOL_NAMES: [&str; 3] = ["zone", "size", "a-b"];

fn given() -> impl Strategy<Value = Given> {
    let map = || {
        proptest::collection::btree_map(
            proptest::sample::select(POOL_NAMES.to_vec()).prop_map(str::to_owned),
            proptest::sample::select(vec!["1", "2", "x"]).prop_map(str::to_owned),
            0..3,
        )
    };
    (map(), map(), map(), map()).prop_map(|(config, annotations, labels, claims)| Given {
        name: String::new(),
        config,
        annotations,
        labels,
        claims,
    })
}

fn pool() -> Vec<Customizer> {
    let specs = [
        (
            0,
            json!([{"matchLabels": {"zone": "1"}}]),
            json!([]),
            json!([{"merge": {"spec": {"a": 1}}}]),
        ),
        (
            1,
            json!([{}]),
            json!(["cluster.labels.size == 'x'"]),
            json!([{"path": "$.spec.a", "value": "cluster.properties['a-b']"}]),
        ),
        (
            2,
            json!([]),
            json!(["int(cluster.claims.zone) > 1"]),
            json!([{"path": "$.spec.b", "value": "int(cluster.labels.size) + 1"}]),
        ),
        (
            -1,
            json!([{}]),
            json!([]),
            json!([{"path": "$.spec.n", "value": "cluster.labels.map(k, k + cluster.labels[k]).join(',')"}]),
        ),
        (
            1,
            json!([{"matchExpressions": [{"key": "size", "operator": "Exists"}]}]),
            json!([]),
            json!([{"json": [{"op": "replace", "path": "/spec/a", "value": {"b": 1}}]}]),
        ),
        (
            3,
            json!([{}]),
            json!([]),
            json!([{"path": "$.spec.name", "value": "cluster.name + string(cluster.annotations.size())"}]),
        ),
    ];
    (0..).zip(specs).map(|(at, (priority, selectors, expressions, patches))| {
        customizer(&format!("c{at}"), json!({"priority": priority, "clusterSelectors": selectors, "clusterExpressions": expressions,
            "targets": [{"resources": ["deployments"]}], "patches": patches}))
    }).collect()
}

const TEMPLATES: [&str; 5] = [
    "plain",
    "{{ .zone }}",
    "{{ index . \"a-b\" | default \"none\" }}",
    "{{ if eq (get . \"size\") \"x\" }}{{ .zone }}{{ end }}",
    "{{ .clusterName }}",
];

type Copy = Result<Rendered, RenderError>;

fn naive(renderer: &Renderer, at: &Destinations, around: Around<'_>) -> BTreeMap<u32, Copy> {
    at.iter()
        .map(|d| (d, renderer.render(&renderer.input(Destination(d), around))))
        .collect()
}

fn naive_comparison(
    old: &BTreeMap<u32, Copy>,
    new: &BTreeMap<u32, Copy>,
) -> BTreeMap<u32, &'static str> {
    let all: std::collections::BTreeSet<u32> = old.keys().chain(new.keys()).copied().collect();
    all.into_iter()
        .map(|d| {
            (
                d,
                match (old.get(&d), new.get(&d)) {
                    (_, None) => "removed",
                    (None, Some(Ok(_))) => "added",
                    (None, Some(Err(_))) => "added fails",
                    (Some(Ok(a)), Some(Ok(b))) if a == b => "same",
                    (Some(Ok(_)), Some(Ok(_))) => "changed",
                    (Some(Ok(_)), Some(Err(_))) => "fails",
                    (Some(Err(_)), Some(Ok(_))) => "recovers",
                    (Some(Err(_)), Some(Err(_))) => "still fails",
                },
            )
        })
        .collect()
}

fn words(found: &Comparison) -> BTreeMap<u32, &'static str> {
    let mut words = BTreeMap::new();
    for class in &found.classes {
        let word = match &class.change {
            Change::Removed => "removed",
            Change::Added => "added",
            Change::AddedFails(_) => "added fails",
            Change::Changed(_) | Change::Handling => "changed",
            Change::Fails(_) => "fails",
            Change::Recovers => "recovers",
            Change::StillFails(_) => "still fails",
            Change::Same => "same",
        };
        for d in &class.destinations {
            assert_eq!(words.insert(d, word), None, "{d} is in two classes");
        }
    }
    words
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(160))]

    /// Whatever the destinations, templates and Customizers: classes hold each destination once; a class's render is what each of
    /// its members gets; equal keys are equal copies; the order in which Customizers are listed is of no matter; and a comparison
    /// says of each destination what comparing its two copies says.
    #[test]
    fn classes_agree_with_asking_each_destination(
        given in proptest::collection::vec(given(), 1..24),
        template in proptest::sample::select(TEMPLATES.to_vec()),
        other in proptest::sample::select(TEMPLATES.to_vec()),
        chosen in proptest::sample::subsequence((0..6usize).collect::<Vec<_>>(), 0..6),
        others in proptest::sample::subsequence((0..6usize).collect::<Vec<_>>(), 0..6),
        indexed in any::<bool>(),
        split in 0u32..24,
    ) {
        let mut fleet = Fleet::new((0..).zip(given).map(|(at, g)| Given { name: format!("e{}", at % 7), ..g }).collect());
        let pool = pool();
        let body = |template: &str| json!({"kind": "Deployment", "metadata": {"name": "web", "annotations": {"control.kubestellar.io/expand-templates": "true"}}, "spec": {"t": template}});
        let make = |template: &str, chosen: &[usize]| {
            let mut customizers: Vec<&Customizer> = chosen.iter().map(|at| &pool[*at]).collect();
            let body = body(template);
            let recipe = Recipe::of(&object(&body, "apps", "deployments"), &[], &customizers);
            customizers.reverse();
            assert_eq!(recipe.to_bytes(), Recipe::of(&object(&body, "apps", "deployments"), &[], &customizers).to_bytes());
            Renderer::new(recipe)
        };
        let (old, new) = (make(template, &chosen), make(other, &others));
        let slow = make(template, &chosen).without_skeleton();
        if indexed {
            for renderer in [&old, &new] {
                fleet.table.index(renderer.reads());
                fleet.others.index(&Beside::indexes(renderer.reads()));
            }
        }
        let beside = Beside { inventory: &fleet.inventory, others: &fleet.others };
        let places = fleet.places(&pool.iter().collect::<Vec<_>>());
        let around = Around { properties: &fleet.table, places: &places };
        let all = fleet.all();
        let copies = naive(&old, &all, around);
        let mut seen = Destinations::new();
        let mut by_key: BTreeMap<RenderKey, Copy> = BTreeMap::new();
        for class in old.classes(&all, around) {
            prop_assert!(!class.destinations.is_empty() && (&seen & &class.destinations).is_empty());
            seen |= &class.destinations;
            let copy = old.render(&class.input);
            for d in &class.destinations {
                prop_assert_eq!(&old.input(Destination(d), around), &class.input);
                prop_assert_eq!(&copies[&d], &copy);
                prop_assert_eq!(&slow.render(&class.input), &copy);
            }
            prop_assert_eq!(by_key.insert(old.key(&class.input), copy), None);
        }
        prop_assert_eq!(&seen, &all);
        // From the table or from what a destination gives itself: the same.
        for d in &all {
            let alone = Around { properties: &fleet.given[d as usize], places: &places };
            prop_assert_eq!(old.input(Destination(d), alone), old.input(Destination(d), around));
        }
        // And with the labels beside: the same classes.
        let shown = |classes: Vec<Class>| classes.into_iter().map(|c| (c.input, c.destinations)).collect::<Vec<_>>();
        let apart = Around { properties: &beside, places: &places };
        prop_assert_eq!(shown(old.classes(&all, apart)), shown(old.classes(&all, around)));
        let (before, after): (Destinations, Destinations) = (
            all.iter().filter(|d| *d <= split).collect(),
            all.iter().filter(|d| d.saturating_mul(2) >= split).collect(),
        );
        let found = compare(
            Some(Side { renderer: &old, around, at: &before }),
            Some(Side { renderer: &new, around, at: &after }),
            usize::MAX,
        );
        let expected = naive_comparison(&naive(&old, &before, around), &naive(&new, &after, around));
        prop_assert_eq!(words(&found), expected);
    }
}
