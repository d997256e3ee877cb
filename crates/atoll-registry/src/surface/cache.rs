//! Compiled surfaces and definitions, within a budget of bytes. Keys are content hashes, so an entry is never wrong and
//! eviction is never an error: what is gone is compiled again. Nothing here grows with the number of workspaces.

use std::sync::Arc;

use atoll_kube::{Definition, DefinitionId};
use quick_cache::{Weighter, sync::Cache as Quick};

use super::Surface;
use crate::ClusterKind;

#[derive(Clone)]
struct ByWeight;

impl<K, T> Weighter<K, (T, u64)> for ByWeight {
    fn weight(&self, _key: &K, value: &(T, u64)) -> u64 {
        value.1.max(1)
    }
}

pub(crate) struct Cache {
    surfaces: Quick<(ClusterKind, String), (Arc<Surface>, u64), ByWeight>,
    definitions: Quick<DefinitionId, (Arc<Definition>, u64), ByWeight>,
}

impl Cache {
    /// A cache for about `bytes`, half for surfaces (which keep their definitions alive), half for definitions.
    pub(crate) fn new(bytes: u64) -> Self {
        let half = (bytes / 2).max(1);
        Self {
            surfaces: Quick::with_weighter(64, half, ByWeight),
            definitions: Quick::with_weighter(64, half, ByWeight),
        }
    }

    pub(super) fn surface(&self, kind: ClusterKind, id: &str) -> Option<Arc<Surface>> {
        self.surfaces
            .get(&(kind, id.to_owned()))
            .map(|(surface, _)| surface)
    }

    pub(super) fn keep_surface(
        &self,
        kind: ClusterKind,
        id: &str,
        surface: Arc<Surface>,
        weight: u64,
    ) {
        self.surfaces
            .insert((kind, id.to_owned()), (surface, weight));
    }

    pub(super) fn definition(&self, id: DefinitionId) -> Option<(Arc<Definition>, u64)> {
        self.definitions.get(&id)
    }

    pub(super) fn keep_definition(
        &self,
        id: DefinitionId,
        definition: Arc<Definition>,
        weight: u64,
    ) {
        self.definitions.insert(id, (definition, weight));
    }
}
