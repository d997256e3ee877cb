//! What rendering costs for a fleet: `cargo run --release -p atoll-placement --example render -- 1000000`.
//!
//! Ten labels and one unique, a ConfigMap of 1 KB: unique to each destination, and shared by region.

use std::time::Instant;

use atoll_placement::inventory::Inventory;
use atoll_placement::policy::Candidate;
use atoll_placement::render::{
    Around, Beside, Customizer, Given, Layers, Object, Places, PropertyTable, Recipe, Renderer,
};
use atoll_placement::{Destination, Destinations};
use serde_json::{Value, json};

fn main() {
    let count: u32 = std::env::args()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(100_000);
    let time = |what: &str, since: Instant, per: u64| {
        let spent = since.elapsed();
        let each = spent.as_secs_f64() * 1e9 / per.max(1) as f64;
        println!(
            "{what:<52} {:>9.1} ms {each:>9.0} ns each",
            spent.as_secs_f64() * 1e3
        );
    };
    let given = |at: u32| Given {
        name: format!("edge-{at}"),
        labels: (0..9)
            .map(|key| (format!("key-{key}"), format!("value-{}", at % (7 + key))))
            .chain([("serial".to_owned(), format!("sn-{at}"))])
            .collect(),
        claims: [("platform".to_owned(), "aws".to_owned())].into(),
        ..Given::default()
    };
    let (mut table, mut inventory) = (PropertyTable::new(), Inventory::new());
    let start = Instant::now();
    for at in 0..count {
        let given = given(at);
        inventory.set(Destination(at), &given.labels, true);
        table.set(Destination(at), &given.without_labels());
    }
    time("inventory and properties filled", start, u64::from(count));
    println!(
        "{:<52} {:>9} bytes each",
        "properties beside the labels",
        table.bytes() / count as usize
    );

    let all: Destinations = (0..count).collect();
    let places = Places::default();
    for (what, text, customized) in [
        ("by region", "{{ index . \"key-0\" }}", false),
        (
            "unique",
            "{{ .clusterName }}: {{ index . \"serial\" | upper }}",
            false,
        ),
        (
            "unique, and a Customizer's expression",
            "{{ .clusterName }}",
            true,
        ),
    ] {
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "a", "annotations": {"control.kubestellar.io/expand-templates": "true"}},
            "data": {"where": text, "rest": "x".repeat(900)}});
        let spec = json!({"clusterSelectors": [{}], "targets": [{"resources": ["configmaps"]}],
            "patches": [{"path": "$.data.size", "value": "string(int(cluster.labels['key-1'].substring(6)) * 2)"}]});
        let mut layers = Layers::new();
        let customizer = match Customizer::parse("c", &spec, &mut layers) {
            Ok(customizer) => customizer,
            Err(errors) => return println!("{errors:?}"),
        };
        let mut places_of = Places::default();
        places_of.0.insert(
            customizer.layer.id(),
            atoll_placement::choose::Candidates {
                wanted: all.clone(),
                failed: Vec::new(),
            },
        );
        let customizers: Vec<&Customizer> = customized.then_some(&customizer).into_iter().collect();
        let renderer = Renderer::new(Recipe::of(&object(&body), &[], &customizers));
        table.index(&Beside::indexes(renderer.reads()));
        let beside = Beside {
            inventory: &inventory,
            others: &table,
        };
        let around = Around {
            properties: &beside,
            places: if customized { &places_of } else { &places },
        };
        let start = Instant::now();
        let (classes, beyond) = renderer.classes_up_to(&all, around, 1000);
        let found = format!("{what}: {} classes, {} beyond", classes.len(), beyond.len());
        time(&found, start, u64::from(count));
        let start = Instant::now();
        let mut bytes = 0;
        for at in 0..count {
            let input = renderer.input(Destination(at), around);
            if let Ok(rendered) = renderer.render(&input) {
                bytes += rendered.body.len();
            }
        }
        time(
            &format!("{what}: every copy rendered"),
            start,
            u64::from(count),
        );
        println!("{:<52} {:>9} bytes each", "", bytes / count as usize);
        let start = Instant::now();
        for at in 0..count {
            std::hint::black_box(renderer.key(&renderer.input(Destination(at), around)));
        }
        time(&format!("{what}: every key made"), start, u64::from(count));
    }
}

fn object(body: &Value) -> Object<'_> {
    Object {
        candidate: Candidate {
            group: "",
            resource: "configmaps",
            namespace: None,
            name: "a",
            labels: &|_| None,
            namespace_labels: &|_| None,
        },
        body,
        scaled: false,
    }
}
