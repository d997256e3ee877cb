//! Rendering as a whole, over a small fleet that is held as the engine holds it.

mod classes;
mod customizing;

use atoll_kube::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::choose::Candidates;
use crate::choose::candidates::Sight;
use crate::choose::expression::Facts;
use crate::choose::signal::Signals;
use crate::inventory::Inventory;
use crate::policy::Candidate;
use crate::{Destination, Destinations};

/// A fleet: what each destination says, and the indexes over it.
struct Fleet {
    given: Vec<Given>,
    table: PropertyTable,
    inventory: Inventory,
    others: PropertyTable,
}

impl Facts for Fleet {
    fn label(&self, destination: Destination, key: &str) -> Option<&str> {
        let given = self.given.get(destination.0 as usize)?;
        given.labels.get(key).map(String::as_str)
    }

    fn claim(&self, destination: Destination, name: &str) -> Option<String> {
        self.given
            .get(destination.0 as usize)?
            .claims
            .get(name)
            .cloned()
    }

    fn cluster(&self, destination: Destination) -> Value {
        match self.given.get(destination.0 as usize) {
            Some(g) => {
                json!({"name": g.name, "labels": g.labels, "annotations": g.annotations, "claims": g.claims})
            }
            None => Value::Null,
        }
    }
}

impl Fleet {
    fn new(given: Vec<Given>) -> Fleet {
        let (mut table, mut inventory) = (PropertyTable::new(), Inventory::new());
        let mut others = PropertyTable::new();
        for (at, one) in (0u32..).zip(&given) {
            table.set(Destination(at), one);
            inventory.set(Destination(at), &one.labels, true);
            others.set(Destination(at), &one.clone().without_labels());
        }
        Fleet {
            given,
            table,
            inventory,
            others,
        }
    }

    fn labelled(labels: &[&[(&str, &str)]]) -> Fleet {
        let given = labels.iter().enumerate().map(|(at, labels)| Given {
            name: format!("edge-{at}"),
            labels: labels
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
            ..Given::default()
        });
        Fleet::new(given.collect())
    }

    fn all(&self) -> Destinations {
        (0..u32::try_from(self.given.len()).unwrap()).collect()
    }

    fn places(&self, customizers: &[&Customizer]) -> Places {
        let signals = Signals::default();
        let sight = Sight {
            inventory: &self.inventory,
            facts: self,
            signals: &signals,
            now: Timestamp::parse("2026-11-21T00:00:00Z").unwrap(),
        };
        let layers = customizers.iter().map(|c| &c.layer);
        Places(
            layers
                .map(|l| {
                    (
                        l.id(),
                        Candidates::all(l.selectors(), l.expressions(), &sight),
                    )
                })
                .collect(),
        )
    }
}

fn object<'a>(body: &'a Value, group: &'a str, resource: &'a str) -> Object<'a> {
    Object {
        candidate: Candidate {
            group,
            resource,
            namespace: body.pointer("/metadata/namespace").and_then(Value::as_str),
            name: body["metadata"]["name"].as_str().unwrap(),
            labels: &|_| None,
            namespace_labels: &|_| None,
        },
        body,
        scaled: false,
    }
}

fn customizer(name: &str, spec: Value) -> Customizer {
    Customizer::parse(name, &spec, &mut Layers::new())
        .unwrap_or_else(|errors| panic!("{name}: {errors:?}"))
}

/// For all destinations and Deployments.
fn everywhere(name: &str, priority: i64, patch: Value) -> Customizer {
    customizer(
        name,
        json!({"priority": priority, "clusterSelectors": [{}], "targets": [{"resources": ["deployments"]}], "patches": [patch]}),
    )
}

fn deployment() -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"replicas": 1, "template": {"spec": {"containers": [{"name": "web", "image": "web:1"}, {"name": "log", "image": "log:1"}]}}}})
}

fn render_at(
    renderer: &Renderer,
    fleet: &Fleet,
    customizers: &[&Customizer],
    at: u32,
) -> Result<Value, RenderError> {
    let places = fleet.places(customizers);
    let around = Around {
        properties: &fleet.table,
        places: &places,
    };
    let input = renderer.input(Destination(at), around);
    let rendered = renderer.render(&input)?;
    Ok(serde_json::from_slice(&rendered.body).unwrap())
}

/// What becomes of a Deployment at the only destination.
fn customized(labels: &[(&str, &str)], customizers: &[&Customizer]) -> Result<Value, String> {
    let fleet = Fleet::labelled(&[labels]);
    let body = deployment();
    let renderer = Renderer::new(Recipe::of(
        &object(&body, "apps", "deployments"),
        &[],
        customizers,
    ));
    render_at(&renderer, &fleet, customizers, 0).map_err(|e| e.to_string())
}
