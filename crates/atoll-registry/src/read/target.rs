//! From a call to what it is about: which definition at which version, which family of keys, which cluster.

use std::sync::Arc;

use atoll_kube::{GroupResource, Status, definition::Verb};
use atoll_store::{At, Snapshot};

use crate::{
    Call, ClusterKind, ClusterName, ObjectKey, Registry, ResourceId, Served,
    surface::{self, Entry, Surface},
};

/// One logical cluster, for calls that are about one.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) cluster: ClusterName,
    pub(crate) kind: ClusterKind,
    pub(crate) surface: Arc<Surface>,
}

/// What a call is about.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) served: Served,
    pub(crate) id: ResourceId,
    /// Its CustomResourceDefinition is being deleted.
    pub(crate) terminating: bool,
    /// `None` when the call is about many clusters.
    pub(crate) place: Option<Place>,
}

impl Target {
    /// Resolves the resource of a call and checks that the verb and the path's shape fit it.
    pub(crate) fn resolve(
        registry: &Registry,
        snapshot: &dyn Snapshot,
        call: &Call,
        verb: Verb,
    ) -> Result<Self, Status> {
        let resource = &call.resource;
        let place = match call.clusters.one() {
            None => None,
            Some(cluster) => {
                let kind = registry.cluster_kind(cluster)?;
                let surface = surface::load_in(registry, snapshot, cluster, kind)?;
                Some(Place {
                    cluster: cluster.clone(),
                    kind,
                    surface,
                })
            }
        };
        let entry = match &place {
            Some(place) => place
                .surface
                .resource(&resource.group, &resource.resource)
                .cloned(),
            None => match surface::everywhere(&resource.group, &resource.resource) {
                Some(entry) => Some(entry.clone()),
                None => somewhere(registry, snapshot, &resource.group, &resource.resource)?,
            },
        };
        let entry = entry.ok_or_else(Status::no_such_path)?;
        let definition = entry.definition.clone();
        let index = if resource.version.is_empty() {
            definition.storage
        } else {
            let named = |v: &atoll_kube::VersionDef| v.name == resource.version && v.served;
            definition
                .versions
                .iter()
                .position(named)
                .ok_or_else(Status::no_such_path)?
        };
        let target = Self {
            id: entry.id(),
            terminating: entry.terminating,
            served: Served { definition, index },
            place,
        };
        target.check_shape(call, verb)?;
        Ok(target)
    }

    fn check_shape(&self, call: &Call, verb: Verb) -> Result<(), Status> {
        let definition = &self.served.definition;
        if call.namespace.is_some() && !definition.namespaced() {
            return Err(Status::no_such_path());
        }
        let path = call.name.iter().chain(&call.namespace);
        if path.into_iter().any(|part| part.bytes().any(|b| b < 0x20)) {
            return Err(Status::bad_request(
                "a name in the path contains a control character",
            ));
        }
        if let Some(sub) = call.resource.subresource.as_deref() {
            let known = &self.served.version().subresources;
            let exists = match sub {
                "status" => known.status,
                "scale" => known.scale.is_some(),
                other => known.others.iter().any(|o| o.name == other),
            };
            return if exists {
                Ok(())
            } else {
                Err(Status::no_such_path())
            };
        }
        if !definition.allows(verb) {
            return Err(Status::method_not_supported(
                &self.group_resource(),
                verb.as_str(),
            ));
        }
        Ok(())
    }

    /// Group and plural as asked for.
    pub(crate) fn group_resource(&self) -> GroupResource {
        self.served.definition.group_resource()
    }

    /// The one cluster that a write needs.
    pub(crate) fn place(&self) -> Result<&Place, Status> {
        self.place.as_ref().ok_or_else(Status::method_not_allowed)
    }
}

/// Shows each object of a read over all clusters as its own cluster defines it: CustomResourceDefinitions of one name
/// may differ from cluster to cluster. Remembers the last cluster, since a range has its objects together.
#[derive(Clone)]
pub(crate) struct Showing {
    /// What answers where a cluster does not say otherwise.
    pub(crate) served: Served,
    id: ResourceId,
    many: bool,
    last: Option<(ClusterName, Served)>,
}

impl Showing {
    pub(crate) fn new(target: &Target) -> Self {
        Self {
            served: target.served.clone(),
            id: target.id.clone(),
            many: target.place.is_none() && !target.id.identity.is_empty(),
            last: None,
        }
    }

    /// How the objects of a cluster are shown, as of a snapshot: at the version asked for, or at the stored one where the
    /// cluster's definition has no such version.
    pub(crate) fn of(
        &mut self,
        registry: &Registry,
        snapshot: &dyn Snapshot,
        cluster: &str,
    ) -> Result<Served, Status> {
        if !self.many {
            return Ok(self.served.clone());
        }
        if let Some((last, served)) = &self.last
            && last.as_str() == cluster
        {
            return Ok(served.clone());
        }
        let cluster = ClusterName::new(cluster);
        let served = match entry_in(registry, snapshot, &cluster, &self.id)? {
            Some(entry) => {
                let version = &self.served.version().name;
                let same = Served::new(entry.definition.clone(), version);
                same.unwrap_or_else(|| Served {
                    index: entry.definition.storage,
                    definition: entry.definition,
                })
            }
            None => self.served.clone(),
        };
        self.last = Some((cluster, served.clone()));
        Ok(served)
    }

    /// The same as things are now, for events: definitions may have changed since the last one.
    pub(crate) fn now(&mut self, registry: &Registry, cluster: &str) -> Result<Served, Status> {
        if !self.many {
            return Ok(self.served.clone());
        }
        let snapshot = registry.inner.store.snapshot(At::Latest);
        self.forget();
        self.of(
            registry,
            snapshot.map_err(super::read_error)?.as_ref(),
            cluster,
        )
    }

    /// Looks at a cluster's definitions anew the next time.
    pub(crate) fn forget(&mut self) {
        self.last = None;
    }

    /// For a read of one cluster: what shows its objects from now on; `None` when the resource, or the version asked for,
    /// is no longer served.
    pub(crate) fn renew(
        &mut self,
        registry: &Registry,
        snapshot: &dyn Snapshot,
        cluster: &ClusterName,
    ) -> Result<Option<&Served>, Status> {
        let version = self.served.version().name.clone();
        let served = entry_in(registry, snapshot, cluster, &self.id)?
            .and_then(|entry| Served::new(entry.definition, &version))
            .filter(|served| served.version().served);
        Ok(served.map(|served| {
            self.served = served;
            &self.served
        }))
    }
}

fn entry_in(
    registry: &Registry,
    snapshot: &dyn Snapshot,
    cluster: &ClusterName,
    id: &ResourceId,
) -> Result<Option<Entry>, Status> {
    let kind = registry.cluster_kind(cluster)?;
    let surface = surface::load_in(registry, snapshot, cluster, kind)?;
    Ok(surface
        .resource(&id.group, &id.resource)
        .filter(|entry| entry.id().identity == id.identity)
        .cloned())
}

/// What answers for a custom resource in the first cluster that has an object of it: what a read over all clusters is
/// resolved by. Each object is then shown as its own cluster defines it ([`Showing`]).
fn somewhere(
    registry: &Registry,
    snapshot: &dyn Snapshot,
    group: &str,
    resource: &str,
) -> Result<Option<Entry>, Status> {
    let family = ResourceId::custom(group, resource).family();
    let Some(first) = snapshot.range(&family, None).next() else {
        return Ok(None);
    };
    let (key, _) = first.map_err(super::read_error)?;
    let Some(parts) = ObjectKey::parse(&key) else {
        return Ok(None);
    };
    let cluster = ClusterName::new(parts.cluster);
    entry_in(
        registry,
        snapshot,
        &cluster,
        &ResourceId::custom(group, resource),
    )
}

/// The name in a call that is about one object.
pub(crate) fn name_of(call: &Call) -> Result<&str, Status> {
    call.name.as_deref().ok_or_else(Status::method_not_allowed)
}
