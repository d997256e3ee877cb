//! Kinds that are functions of the picture: Binding, WorkStatus, CombinedStatus and the mailbox view. Nothing of them is stored, and nobody writes them.
//!
//! A [`View`] says which items there are, what a change concerns and how an item looks; getting, listing and watching are the same code for all.
//! A watch may tell a change again that its client has seen, never miss one.

mod binding;
mod combined_status;
mod follow;
mod mailbox;
mod work_status;

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use atoll_kube::{GroupResource, Status, meta};
use atoll_placement::Destination;
use atoll_placement::place::ObjectIndex;
use atoll_registry::{
    Call, Clusters, Computed, GetOptions, List, ListOptions, Object, Registry, ResourceId, Served,
    WatchOptions, WatchStream,
};
use atoll_store::{Key, Revision};
use serde_json::Value;

pub use mailbox::Mailbox;

use crate::Seat;
use crate::feed::Change;
use crate::model::{PolicyIndex, World};
use crate::shared::Shared;
use crate::source::CONTROL;

/// What an object of a computed kind is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Item {
    /// One policy.
    Policy(PolicyIndex),
    /// One object at one destination.
    Copy(ObjectIndex, Destination),
    /// One object under one policy.
    Combined(ObjectIndex, PolicyIndex),
    /// An object that was born at a destination, by its number.
    Born(Destination, u32),
}

/// Where an object of a computed kind is found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) cluster: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// One computed kind, or one destination's objects of a kind.
pub(crate) trait View: Send + Sync + 'static {
    /// What there is.
    fn items(&self, world: &World) -> Vec<Item>;
    /// Which items a change may concern, there or not.
    fn concerned(&self, world: &World, change: &Change) -> Vec<Item>;
    /// Where an item is, or was; `None` when that is forgotten.
    fn place(&self, world: &World, item: Item) -> Option<Place>;
    /// An item as it is now, without `metadata.name`, `namespace` and `uid`; `None` when it is not there.
    fn show(&self, shared: &Shared, world: &World, item: Item) -> Option<(Revision, Value)>;
}

/// Which objects a call is about.
#[derive(Clone)]
struct Filter {
    clusters: Clusters,
    namespace: Option<String>,
    name: Option<String>,
    labels: atoll_kube::selector::LabelSelector,
    fields: atoll_kube::selector::FieldSelector,
}

impl Filter {
    fn place(&self, place: &Place) -> bool {
        self.clusters.covers(&place.cluster)
            && self
                .namespace
                .as_ref()
                .is_none_or(|n| *n == place.namespace)
            && self.name.as_ref().is_none_or(|n| *n == place.name)
            && self.fields.matches(|field| match field {
                "metadata.name" => Cow::Borrowed(place.name.as_str()),
                "metadata.namespace" => Cow::Borrowed(place.namespace.as_str()),
                _ => Cow::Borrowed(""),
            })
    }

    fn object(&self, value: &Value) -> bool {
        self.labels.is_everything() || self.labels.matches_object(value)
    }
}

/// A view with all that is needed to answer calls about it.
#[derive(Clone)]
pub(crate) struct Shelf {
    shared: Arc<Shared>,
    view: Arc<dyn View>,
    id: ResourceId,
    served: Served,
}

impl Shelf {
    fn key(&self, place: &Place) -> Key {
        self.id
            .key(&place.cluster, Some(place.namespace.as_str()), &place.name)
    }

    /// An item as an object, if it is there and meant.
    fn object(&self, world: &World, item: Item, filter: &Filter) -> Option<Object> {
        let place = self.view.place(world, item).filter(|p| filter.place(p))?;
        let (revision, value) = self.view.show(&self.shared, world, item)?;
        let value = self.dress(value, &place);
        filter
            .object(&value)
            .then(|| Object::computed(self.key(&place), revision, self.served.clone(), &value))
    }

    /// The least that tells a watcher which object is gone.
    fn ghost(&self, place: &Place, revision: Revision) -> Object {
        let value = self.dress(serde_json::json!({"metadata": {}}), place);
        Object::computed(self.key(place), revision, self.served.clone(), &value)
    }

    fn dress(&self, mut value: Value, place: &Place) -> Value {
        meta::set(&mut value, "name", place.name.as_str());
        if !place.namespace.is_empty() {
            meta::set(&mut value, "namespace", place.namespace.as_str());
        }
        // The same object always has the same uid.
        let identity = format!(
            "{}/{}/{}/{}/{}",
            self.id.group, self.id.resource, place.cluster, place.namespace, place.name
        );
        meta::set(
            &mut value,
            "uid",
            uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, identity.as_bytes()).to_string(),
        );
        value
    }

    pub(crate) async fn get(&self, call: &Call) -> Result<(Object, Item), Status> {
        self.shared.caught_up().await;
        let filter = Filter {
            clusters: call.clusters.clone(),
            namespace: call.namespace.clone(),
            name: call.name.clone(),
            labels: Default::default(),
            fields: Default::default(),
        };
        let world = self.shared.world.read();
        let found = self
            .view
            .items(&world)
            .into_iter()
            .find_map(|item| Some((self.object(&world, item, &filter)?, item)));
        found.ok_or_else(|| {
            Status::not_found(
                &call.resource.group_resource(),
                call.name.as_deref().unwrap_or_default(),
            )
        })
    }

    pub(crate) async fn list(&self, call: &Call, options: &ListOptions) -> Result<List, Status> {
        self.shared.caught_up().await;
        let filter = self.filter(call, options.labels.clone(), options.fields.clone());
        let world = self.shared.world.read();
        let mut places: Vec<(Place, Item)> = self
            .view
            .items(&world)
            .into_iter()
            .filter_map(|item| {
                Some((
                    self.view.place(&world, item).filter(|p| filter.place(p))?,
                    item,
                ))
            })
            .collect();
        places.sort_unstable();
        // A page goes on behind the last object shown; what changed meanwhile is shown as it is now.
        if let Some(after) = &options.continue_token {
            let after: Place = parse_token(after)
                .ok_or_else(|| Status::bad_request("continue key is not valid"))?;
            places.retain(|(place, _)| *place > after);
        }
        let (mut objects, mut last, mut left) = (Vec::new(), None, 0);
        for (place, item) in places {
            if options.limit > 0 && objects.len() as u64 >= options.limit {
                left += 1;
                continue;
            }
            if let Some(object) = self.object(&world, item, &filter) {
                objects.push(object);
                last = Some(place);
            }
        }
        Ok(List {
            revision: world.applied,
            remaining: (left > 0).then_some(left),
            continue_token: last.filter(|_| left > 0).map(|place| make_token(&place)),
            served: self.served.clone(),
            objects,
        })
    }

    pub(crate) async fn watch(
        &self,
        call: &Call,
        options: &WatchOptions,
    ) -> Result<WatchStream, Status> {
        self.shared.caught_up().await;
        follow::watch(
            self.clone(),
            self.filter(call, options.labels.clone(), options.fields.clone()),
            options,
        )
    }

    fn filter(
        &self,
        call: &Call,
        labels: atoll_kube::selector::LabelSelector,
        fields: atoll_kube::selector::FieldSelector,
    ) -> Filter {
        Filter {
            clusters: call.clusters.clone(),
            namespace: call.namespace.clone(),
            name: call.name.clone(),
            labels,
            fields,
        }
    }
}

fn make_token(place: &Place) -> String {
    hex::encode(format!(
        "{}\n{}\n{}",
        place.cluster, place.namespace, place.name
    ))
}

fn parse_token(token: &str) -> Option<Place> {
    let text = String::from_utf8(hex::decode(token).ok()?).ok()?;
    let mut parts = text.split('\n').map(str::to_owned);
    Some(Place {
        cluster: parts.next()?,
        namespace: parts.next()?,
        name: parts.next()?,
    })
}

/// A computed kind at the registry's door. Empty until the fleet has started.
struct Kind {
    seat: Seat,
    resource: &'static str,
    view: Arc<dyn View>,
    /// Ask the edge for the status as it is when one object is read.
    fresh: bool,
    /// Only what was counted since the start is shown.
    counted: bool,
}

/// The kinds that the registry serves.
pub(crate) fn kinds(seat: Seat) -> Vec<Arc<dyn Computed>> {
    vec![
        Arc::new(Kind {
            seat: seat.clone(),
            resource: "bindings",
            view: Arc::new(binding::Bindings),
            fresh: false,
            counted: false,
        }),
        Arc::new(Kind {
            seat: seat.clone(),
            resource: "combinedstatuses",
            view: Arc::new(combined_status::CombinedStatuses),
            fresh: false,
            counted: true,
        }),
        Arc::new(Kind {
            seat,
            resource: "workstatuses",
            view: Arc::new(work_status::WorkStatuses),
            fresh: true,
            counted: false,
        }),
    ]
}

impl Kind {
    async fn shelf(&self, registry: &Registry, call: &Call) -> Result<Shelf, Status> {
        let shared = self
            .seat
            .get()
            .and_then(std::sync::Weak::upgrade)
            .ok_or_else(|| Status::service_unavailable("the fleet is starting"))?;
        if self.counted && !shared.counted().await {
            let why = "the fleet has started a short time ago, and is still counting";
            return Err(Status::service_unavailable(why));
        }
        let definition = match &call.clusters {
            Clusters::One(cluster) => registry
                .surface(cluster)?
                .resource(CONTROL, self.resource)
                .map(|e| e.definition.clone()),
            Clusters::All | Clusters::Set(_) => {
                atoll_registry::surface::everywhere(CONTROL, self.resource)
                    .map(|e| e.definition.clone())
            }
        };
        let missing = || Status::not_found(&call.resource.group_resource(), "");
        let definition = definition.ok_or_else(missing)?;
        let version = if call.resource.version.is_empty() {
            definition.storage_version().name.clone()
        } else {
            call.resource.version.clone()
        };
        let served = Served::new(definition, &version).ok_or_else(missing)?;
        Ok(Shelf {
            shared,
            view: self.view.clone(),
            id: ResourceId::builtin(CONTROL, self.resource),
            served,
        })
    }
}

#[async_trait]
impl Computed for Kind {
    fn resources(&self) -> Vec<GroupResource> {
        vec![GroupResource::new(CONTROL, self.resource)]
    }

    async fn get(
        &self,
        registry: &Registry,
        call: &Call,
        _options: &GetOptions,
    ) -> Result<Object, Status> {
        let shelf = self.shelf(registry, call).await?;
        let (object, item) = shelf.get(call).await?;
        match item {
            Item::Copy(index, destination) if self.fresh => {
                work_status::freshen(&shelf, object, index, destination).await
            }
            _ => Ok(object),
        }
    }

    async fn list(
        &self,
        registry: &Registry,
        call: &Call,
        options: &ListOptions,
    ) -> Result<List, Status> {
        self.shelf(registry, call).await?.list(call, options).await
    }

    async fn watch(
        &self,
        registry: &Registry,
        call: &Call,
        options: &WatchOptions,
    ) -> Result<WatchStream, Status> {
        self.shelf(registry, call).await?.watch(call, options).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_round_trip_and_junk_is_refused() {
        let place = Place {
            cluster: "c".into(),
            namespace: String::new(),
            name: "n.m".into(),
        };
        assert_eq!(parse_token(&make_token(&place)), Some(place));
        assert_eq!(parse_token("zz"), None);
        assert_eq!(parse_token(""), None);
    }
}
