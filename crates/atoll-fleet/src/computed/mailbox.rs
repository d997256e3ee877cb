//! The mailbox view: a read-only Kubernetes API of exactly what one destination should have, with the status it reported.

use std::collections::BTreeMap;
use std::sync::Arc;

use atoll_kube::{Definition, Status};
use atoll_placement::Destination;
use atoll_placement::place::ObjectIndex;
use atoll_registry::{
    Call, ClusterName, Clusters, GetOptions, List, ListOptions, Object, ResourceId, Served,
    WatchOptions, WatchStream,
};
use atoll_store::Revision;
use serde_json::{Value, json};

use super::{Item, Place, Shelf, View};
use crate::feed::Change;
use crate::model::World;
use crate::shared::Shared;
use crate::source;

/// Where objects that were born at an edge come from, among the workspaces that others come from.
const UPSYNCED: &str = "upsynced";

/// The mailbox view of a fleet: `/services/mailbox/<inventory>/<destination>/…`.
#[derive(Clone)]
pub struct Mailbox {
    shared: Arc<Shared>,
}

impl Mailbox {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Mailbox { shared }
    }

    fn destination(&self, inventory: &ClusterName, name: &str) -> Result<Destination, Status> {
        let found = self
            .shared
            .world
            .read()
            .destination(inventory.as_str(), name);
        found.ok_or_else(|| {
            Status::not_found(
                &atoll_kube::GroupResource::new(source::OCM, "managedclusters"),
                name,
            )
        })
    }

    /// The kinds of what the destination should have, for discovery: each as the payload workspace that it comes from defines it.
    pub async fn definitions(
        &self,
        inventory: &ClusterName,
        destination: &str,
    ) -> Result<Vec<Arc<Definition>>, Status> {
        self.shared.caught_up().await;
        let destination = self.destination(inventory, destination)?;
        let resources: BTreeMap<(String, String), String> = {
            let world = self.shared.world.read();
            let objects = world.desired(destination);
            objects
                .keys()
                .filter_map(|o| world.objects.get(o))
                .map(|o| {
                    (
                        (o.reference.group.clone(), o.reference.resource.clone()),
                        o.copy.cluster.clone(),
                    )
                })
                .collect()
        };
        let born: BTreeMap<(String, String), atoll_wire::ObjectRef> = {
            let world = self.shared.world.read();
            let born = world.born.of(destination);
            born.map(|(_, record)| record.object.clone())
                .map(|o| ((o.group.clone(), o.resource.clone()), o))
                .filter(|(key, _)| !resources.contains_key(key))
                .collect()
        };
        let mut found = Vec::with_capacity(resources.len() + born.len());
        found.extend(born.into_values().filter_map(|o| definition_of(&o)));
        for ((group, resource), cluster) in resources {
            let surface = self.shared.registry.surface(&ClusterName::new(cluster))?;
            found.extend(
                surface
                    .resource(&group, &resource)
                    .map(|e| e.definition.clone()),
            );
        }
        Ok(found)
    }

    async fn shelf(
        &self,
        inventory: &ClusterName,
        destination: &str,
        call: &Call,
    ) -> Result<(Shelf, Call), Status> {
        let index = self.destination(inventory, destination)?;
        let wanted = call.resource.group_resource();
        let definitions = self.definitions(inventory, destination).await?;
        let definition = definitions
            .into_iter()
            .find(|d| d.group == wanted.group && d.names.plural == wanted.resource);
        let missing = || Status::not_found(&wanted, call.name.as_deref().unwrap_or_default());
        let served = definition
            .and_then(|d| Served::new(d, &call.resource.version))
            .ok_or_else(missing)?;
        let view = Arc::new(Copies {
            destination: index,
            group: wanted.group.clone(),
            resource: wanted.resource.clone(),
        });
        let shelf = Shelf {
            shared: self.shared.clone(),
            view,
            id: ResourceId::builtin(&wanted.group, &wanted.resource),
            served,
        };
        // In the mailbox all objects are of one place, whichever workspaces they come from.
        Ok((
            shelf,
            Call {
                clusters: Clusters::All,
                ..call.clone()
            },
        ))
    }

    /// One object.
    pub async fn get(
        &self,
        inventory: &ClusterName,
        destination: &str,
        call: &Call,
        _: &GetOptions,
    ) -> Result<Object, Status> {
        let (shelf, call) = self.shelf(inventory, destination, call).await?;
        Ok(shelf.get(&call).await?.0)
    }

    /// Its objects of a kind.
    pub async fn list(
        &self,
        inventory: &ClusterName,
        destination: &str,
        call: &Call,
        options: &ListOptions,
    ) -> Result<List, Status> {
        let (shelf, call) = self.shelf(inventory, destination, call).await?;
        shelf.list(&call, options).await
    }

    /// What changes among them.
    pub async fn watch(
        &self,
        inventory: &ClusterName,
        destination: &str,
        call: &Call,
        options: &WatchOptions,
    ) -> Result<WatchStream, Status> {
        let (shelf, call) = self.shelf(inventory, destination, call).await?;
        shelf.watch(&call, options).await
    }
}

/// One destination's copies of one resource.
struct Copies {
    destination: Destination,
    group: String,
    resource: String,
}

impl Copies {
    fn is_ours(&self, world: &World, index: ObjectIndex) -> bool {
        world.objects.get(&index).is_some_and(|o| {
            o.reference.group == self.group && o.reference.resource == self.resource
        })
    }
}

impl Copies {
    /// What was born there.
    fn born(&self, world: &World) -> impl Iterator<Item = Item> {
        let of = |object: &atoll_wire::ObjectRef| {
            object.group == self.group && object.resource == self.resource
        };
        let born = world.born.of(self.destination);
        born.filter(move |(_, record)| of(&record.object))
            .map(|(_, record)| Item::Born(self.destination, record.id))
    }
}

impl View for Copies {
    fn items(&self, world: &World) -> Vec<Item> {
        let desired = world.desired(self.destination);
        desired
            .into_keys()
            .filter(|o| self.is_ours(world, *o))
            .map(|o| Item::Copy(o, self.destination))
            .chain(self.born(world))
            .collect()
    }

    fn concerned(&self, world: &World, change: &Change) -> Vec<Item> {
        match change {
            Change::Copies {
                object,
                destinations,
            } if destinations.contains(self.destination.0) => {
                // An object that is forgotten meanwhile may have been ours.
                let ours = !world.objects.contains_key(object) || self.is_ours(world, *object);
                if ours {
                    vec![Item::Copy(*object, self.destination)]
                } else {
                    Vec::new()
                }
            }
            Change::Born { destination, id } if *destination == self.destination => {
                vec![Item::Born(*destination, *id)]
            }
            _ => Vec::new(),
        }
    }

    fn place(&self, world: &World, item: Item) -> Option<Place> {
        if let Item::Born(_, id) = item {
            let (_, record) = world.born.get(id)?;
            return Some(Place {
                cluster: UPSYNCED.to_owned(),
                namespace: record.object.namespace.clone(),
                name: record.object.name.clone(),
            });
        }
        let Item::Copy(index, _) = item else {
            return None;
        };
        let object = world.objects.get(&index)?;
        Some(Place {
            cluster: object.copy.cluster.clone(),
            namespace: object.reference.namespace.clone(),
            name: object.reference.name.clone(),
        })
    }

    fn show(&self, shared: &Shared, world: &World, item: Item) -> Option<(Revision, Value)> {
        if let Item::Born(_, id) = item {
            let (_, record) = world.born.get(id).filter(|(_, r)| !r.gone)?;
            let ours = record.object.group == self.group && record.object.resource == self.resource;
            let body = crate::upsync::body(shared, &record.key).filter(|_| ours)?;
            return Some((record.revision, serde_json::from_slice(&body).ok()?));
        }
        let Item::Copy(index, destination) = item else {
            return None;
        };
        let copy = world.desired_copy(destination, index)?;
        let object = world.objects.get(&index)?;
        let body = match world.rendered_at(destination, &copy) {
            None => shared.body(&copy.content.body)?,
            Some(rendered) => rendered.ok()?.body.into(),
        };
        let mut value: Value = serde_json::from_slice(&body).ok()?;
        let reported = world.reported_at(index, destination);
        if let Some(status) = reported
            .and_then(|v| serde_json::from_str::<Value>(&v.status).ok())
            .filter(Value::is_object)
        {
            value["status"] = status;
        }
        let revision = object
            .revision
            .max(world.reported.get(&index).copied().unwrap_or_default());
        Some((revision, value))
    }
}

/// The definition of a kind that perhaps only the edge knows: a built-in one, or one that lets everything be as it is.
fn definition_of(object: &atoll_wire::ObjectRef) -> Option<Arc<Definition>> {
    let builtin = atoll_registry::surface::everywhere(&object.group, &object.resource);
    if let Some(entry) = builtin.filter(|e| e.definition.version(&object.version).is_some()) {
        return Some(entry.definition.clone());
    }
    let scope = match object.namespaced {
        true => "Namespaced",
        false => "Cluster",
    };
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{}.{}", object.resource, object.group)},
        "spec": {
            "group": object.group,
            "scope": scope,
            "names": {"plural": object.resource, "singular": object.kind.to_lowercase(), "kind": object.kind, "listKind": format!("{}List", object.kind)},
            "versions": [{"name": object.version, "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}],
        },
    });
    Definition::from_crd(&crd).ok().map(Arc::new)
}
