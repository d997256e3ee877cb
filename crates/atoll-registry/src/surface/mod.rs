//! The surface of a logical cluster: which definition answers for each resource.
//!
//! A surface is immutable and shared: clusters of one kind with the same custom definitions hold the same
//! `Arc<Surface>`, and its base (the built-in kinds) exists once per kind of cluster. Built-ins win over local
//! definitions. A surface knows nothing about HTTP; it changes only by an append of the registry (see [`crd`]).

mod base;
mod cache;
pub(crate) mod crd;
mod names;
pub(crate) mod row;

use std::{collections::HashMap, fmt, sync::Arc};

use atoll_kube::{Definition, DefinitionId, GroupResource, Status, builtin};
use atoll_store::{At, Snapshot};

pub use base::{everywhere, everywhere_kind};
pub(crate) use cache::Cache;

use crate::{CUSTOM_IDENTITY, ClusterKind, ClusterName, Registry, ResourceId, surface_key};
use row::SurfaceRow;

/// One resource of a surface.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What answers.
    pub definition: Arc<Definition>,
    /// The identity in its keys.
    pub identity: &'static str,
    /// Its CustomResourceDefinition is being deleted: reads and deletes only.
    pub terminating: bool,
}

impl Entry {
    /// The family of its keys.
    pub fn id(&self) -> ResourceId {
        let own = self.definition.group_resource();
        let GroupResource { group, resource } =
            builtin::hooks::storage_resource(&own).unwrap_or(own);
        ResourceId {
            group,
            resource,
            identity: self.identity.into(),
        }
    }
}

/// Finds entries by resource and by kind, without allocating.
#[derive(Default)]
struct Table {
    entries: Vec<Entry>,
    by_resource: HashMap<String, HashMap<String, usize>>,
    by_kind: HashMap<String, HashMap<String, usize>>,
}

impl Table {
    fn new(entries: Vec<Entry>) -> Self {
        let mut table = Self::default();
        for (i, entry) in entries.iter().enumerate() {
            let d = &entry.definition;
            table
                .by_resource
                .entry(d.group.clone())
                .or_default()
                .insert(d.names.plural.clone(), i);
            // A kind may belong to several resources (none of ours does); the first keeps it.
            table
                .by_kind
                .entry(d.group.clone())
                .or_default()
                .entry(d.names.kind.clone())
                .or_insert(i);
        }
        table.entries = entries;
        table
    }

    fn resource(&self, group: &str, resource: &str) -> Option<&Entry> {
        self.entries
            .get(*self.by_resource.get(group)?.get(resource)?)
    }

    fn kind(&self, group: &str, kind: &str) -> Option<&Entry> {
        self.entries.get(*self.by_kind.get(group)?.get(kind)?)
    }
}

/// The API of one logical cluster.
pub struct Surface {
    id: String,
    kind: ClusterKind,
    base: &'static base::Base,
    local: Table,
    definitions: Arc<[Arc<Definition>]>,
}

impl Surface {
    /// `row_id` is the id in the surface row; empty for a cluster without definitions of its own.
    fn new(kind: ClusterKind, row_id: &str, local: Vec<Entry>) -> Self {
        let base = base::of(kind);
        let id = format!("{}{row_id}", base.id);
        let definitions = if local.is_empty() {
            base.definitions.clone()
        } else {
            base.definitions
                .iter()
                .chain(local.iter().map(|e| &e.definition))
                .cloned()
                .collect()
        };
        Self {
            id,
            kind,
            base,
            local: Table::new(local),
            definitions,
        }
    }

    /// Hash of what it holds: equal surfaces have equal ids. The ETag of discovery.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The kind of cluster it is for.
    pub fn cluster_kind(&self) -> ClusterKind {
        self.kind
    }

    /// Every definition: the built-in ones first, then the cluster's own.
    pub fn definitions(&self) -> &[Arc<Definition>] {
        &self.definitions
    }

    /// The cluster's own definitions.
    pub fn local(&self) -> &[Entry] {
        &self.local.entries
    }

    /// What answers for a resource.
    pub fn resource(&self, group: &str, resource: &str) -> Option<&Entry> {
        self.base
            .table
            .resource(group, resource)
            .or_else(|| self.local.resource(group, resource))
    }

    /// What answers for a kind.
    pub fn kind(&self, group: &str, kind: &str) -> Option<&Entry> {
        self.base
            .table
            .kind(group, kind)
            .or_else(|| self.local.kind(group, kind))
    }
}

impl fmt::Debug for Surface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Surface({:?} {}, {} local)",
            self.kind,
            self.id,
            self.local.entries.len()
        )
    }
}

/// The surface of `cluster` now.
pub(crate) fn load(registry: &Registry, cluster: &ClusterName) -> Result<Arc<Surface>, Status> {
    let snapshot = registry
        .inner
        .store
        .snapshot(At::Latest)
        .map_err(crate::read::read_error)?;
    let kind = registry.cluster_kind(cluster)?;
    load_in(registry, snapshot.as_ref(), cluster, kind)
}

/// The surface of `cluster` as `snapshot` has it.
pub(crate) fn load_in(
    registry: &Registry,
    snapshot: &dyn Snapshot,
    cluster: &ClusterName,
    kind: ClusterKind,
) -> Result<Arc<Surface>, Status> {
    let Some(version) = snapshot
        .get(&surface_key(cluster))
        .map_err(crate::read::read_error)?
    else {
        return Ok(base::of(kind).surface());
    };
    let cache = &registry.inner.surfaces;
    let id = row::id(&version.row)?;
    if let Some(surface) = cache.surface(kind, id) {
        return Ok(surface);
    }
    let row = SurfaceRow::parse(&version.row)?;
    let mut local = Vec::with_capacity(row.entries.len());
    let mut weight = 512;
    for entry in &row.entries {
        let (definition, bytes) =
            definition(registry, snapshot, cluster, entry.definition, &entry.crd)?;
        weight += bytes;
        local.push(Entry {
            definition,
            identity: CUSTOM_IDENTITY,
            terminating: entry.terminating,
        });
    }
    let surface = Arc::new(Surface::new(kind, id, local));
    cache.keep_surface(kind, id, surface.clone(), weight);
    Ok(surface)
}

/// A compiled definition: shared by hash, else compiled from the cluster's CustomResourceDefinition.
fn definition(
    registry: &Registry,
    snapshot: &dyn Snapshot,
    cluster: &ClusterName,
    id: DefinitionId,
    crd: &str,
) -> Result<(Arc<Definition>, u64), Status> {
    if let Some(found) = registry.inner.surfaces.definition(id) {
        return Ok(found);
    }
    let missing = || {
        Status::internal(format!(
            "the CustomResourceDefinition {crd} of a surface is missing"
        ))
    };
    let key = crd::resource().key(cluster.as_str(), None, crd);
    let version = snapshot
        .get(&key)
        .map_err(crate::read::read_error)?
        .ok_or_else(missing)?;
    let value = crate::read::row(&version.row)?.value(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        0,
        None,
    );
    let definition = Definition::from_crd(&value).map_err(|_| {
        Status::internal(format!(
            "the stored CustomResourceDefinition {crd} does not compile"
        ))
    })?;
    // A compiled schema takes several times the room of its text, compiled rules many times.
    let ruled = definition.versions.iter().any(|v| v.validations.is_some());
    let weight = if ruled { 24 } else { 8 } * version.row.len() as u64;
    let definition = Arc::new(definition);
    registry
        .inner
        .surfaces
        .keep_definition(id, definition.clone(), weight);
    Ok((definition, weight))
}
