//! Binding: what a policy resolved to. Counts always, members up to a limit.

use atoll_placement::Destination;
use atoll_store::Revision;
use serde_json::{Value, json};

use super::{Item, Place, View};
use crate::feed::Change;
use crate::model::World;
use crate::shared::Shared;

/// How many destinations are listed by name.
const MOST_MEMBERS: usize = 1000;

pub(super) struct Bindings;

impl View for Bindings {
    fn items(&self, world: &World) -> Vec<Item> {
        world
            .policies
            .iter()
            .filter(|(_, p)| !p.deleted)
            .map(|(index, _)| Item::Policy(*index))
            .collect()
    }

    fn concerned(&self, world: &World, change: &Change) -> Vec<Item> {
        match change {
            Change::Policy(index) => vec![Item::Policy(*index)],
            Change::Copies { object, .. } => world
                .objects
                .get(object)
                .map(|o| o.policies.iter().map(|p| Item::Policy(*p)).collect())
                .unwrap_or_default(),
            Change::Combined { .. } | Change::Born { .. } => Vec::new(),
        }
    }

    fn place(&self, world: &World, item: Item) -> Option<Place> {
        let Item::Policy(index) = item else {
            return None;
        };
        let policy = world.policies.get(&index)?;
        Some(Place {
            cluster: policy.cluster.to_string(),
            namespace: String::new(),
            name: policy.name.to_string(),
        })
    }

    fn show(&self, _: &Shared, world: &World, item: Item) -> Option<(Revision, Value)> {
        let Item::Policy(index) = item else {
            return None;
        };
        let policy = world.policies.get(&index).filter(|p| !p.deleted)?;
        let (mut in_namespaces, mut in_cluster) = (Vec::new(), Vec::new());
        let mut revision = policy.changed;
        for (object, entry) in policy.entries() {
            let Some(record) = world.objects.get(object) else {
                continue;
            };
            revision = revision.max(record.revision);
            let r = &record.reference;
            let mut line = json!({"group": r.group, "version": r.version, "resource": r.resource, "name": r.name,
                "resourceVersion": record.revision.to_string()});
            if entry.flags.create_only {
                line["createOnly"] = json!(true);
            }
            if let Some(modulation) = policy.selected.get(object) {
                if modulation.want_singleton {
                    line["wantSingletonReportedState"] = json!(true);
                }
                if modulation.want_multi {
                    line["wantMultiWECReportedState"] = json!(true);
                }
                if !modulation.collectors.is_empty() {
                    line["statusCollectors"] = json!(modulation.collectors);
                }
            }
            if r.namespaced {
                line["namespace"] = json!(r.namespace);
                in_namespaces.push(line);
            } else {
                in_cluster.push(line);
            }
        }
        let mut destinations: Vec<String> = policy
            .assigned
            .iter()
            .take(MOST_MEMBERS)
            .map(|d| world.name_of(Destination(d)))
            .collect();
        destinations.sort_unstable();
        let destinations: Vec<Value> = destinations
            .into_iter()
            .map(|name| json!({"clusterId": name}))
            .collect();
        let value = json!({
            "metadata": {"creationTimestamp": policy.created, "ownerReferences": [{"apiVersion": "control.kubestellar.io/v1alpha1", "kind": "BindingPolicy",
                "name": &*policy.name, "uid": &*policy.uid, "controller": true}]},
            "spec": {"workload": {"clusterScope": in_cluster, "namespaceScope": in_namespaces}, "destinations": destinations},
            "status": {"observedGeneration": policy.generation, "destinations": policy.assigned.len(), "objects": policy.entries().count()},
        });
        Some((revision, value))
    }
}
