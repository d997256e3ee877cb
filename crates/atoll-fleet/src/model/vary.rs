//! What copies that are not the same everywhere depend on, and what they look like at one destination.
//!
//! Always true: a copy's render hash follows from its recipe, its flags and what the recipe reads of the destination, without rendering. A copy that cannot be rendered is in nothing
//! that is sent: what is there stays.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use atoll_kube::Timestamp;
use atoll_placement::bundle::{CopyFlags, RenderHash, Rendered};
use atoll_placement::choose::Candidates;
use atoll_placement::choose::candidates::Sight;
use atoll_placement::choose::expression::Facts;
use atoll_placement::choose::signal::Signals;
use atoll_placement::inventory::Labels;
use atoll_placement::place::ObjectIndex;
use atoll_placement::render::properties::{CLUSTER_NAME, Groups};
use atoll_placement::render::{
    Around, CustomTransform, Customizer, Given, Input, Layer, LayerId, Properties, RenderError,
    Renderer, Source,
};
use atoll_placement::{Destination, Destinations};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{DesiredCopy, DestinationTable, InventoryState, World};

/// What shapes copies in one payload workspace, beside the objects.
#[derive(Debug, Default)]
pub(crate) struct Shaping {
    pub(crate) transforms: BTreeMap<String, CustomTransform>,
    pub(crate) customizers: BTreeMap<String, Customizer>,
}

/// One inventory's destinations as renders and expressions see them.
pub(crate) struct Known<'a> {
    destinations: &'a DestinationTable,
    inventory: &'a InventoryState,
}

impl Known<'_> {
    fn name(&self, destination: Destination) -> &str {
        let state = self.destinations.get(&destination);
        state.map_or("", |d| &d.name)
    }
}

impl Properties for Known<'_> {
    fn get(&self, destination: Destination, source: Source, name: &str) -> Option<Cow<'_, str>> {
        match source {
            Source::Label => self.inventory.index.label(destination, name).map(Cow::from),
            Source::Name => (name == CLUSTER_NAME).then(|| self.name(destination).into()),
            Source::Any => [
                Source::ConfigMap,
                Source::Annotation,
                Source::Label,
                Source::Name,
                Source::Claim,
            ]
            .into_iter()
            .find_map(|source| self.get(destination, source, name)),
            held => self.inventory.properties.get(destination, held, name),
        }
    }

    fn all(&self, destination: Destination, source: Source) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
        match source {
            Source::Label => {
                let labels = self.inventory.index.labels(destination);
                let mut all: Vec<_> = labels.map(|(k, v)| (k.into(), v.into())).collect();
                all.sort_unstable();
                all
            }
            Source::Name => vec![(CLUSTER_NAME.into(), self.name(destination).into())],
            Source::Any => {
                let mut all = BTreeMap::new();
                // The last one that has a name wins.
                for source in [
                    Source::Claim,
                    Source::Name,
                    Source::Label,
                    Source::Annotation,
                    Source::ConfigMap,
                ] {
                    all.extend(self.all(destination, source));
                }
                all.into_iter().collect()
            }
            held => self.inventory.properties.all(destination, held),
        }
    }

    fn groups(&self, _: Source, _: &str) -> Option<Groups<'_>> {
        None
    }
}

impl Facts for Known<'_> {
    fn label(&self, destination: Destination, key: &str) -> Option<&str> {
        self.inventory.index.label(destination, key)
    }

    fn claim(&self, destination: Destination, name: &str) -> Option<String> {
        let claim = self.get(destination, Source::Claim, name);
        claim.map(Cow::into_owned)
    }

    fn cluster(&self, destination: Destination) -> Value {
        let map = |source| -> BTreeMap<String, String> {
            let all = self.all(destination, source).into_iter();
            all.map(|(k, v)| (k.into_owned(), v.into_owned())).collect()
        };
        json!({"name": self.name(destination), "labels": map(Source::Label), "annotations": map(Source::Annotation), "claims": map(Source::Claim)})
    }
}

fn personal_hash(renderer: &Renderer, input: &Input, flags: CopyFlags) -> RenderHash {
    let mut hasher = Sha256::new();
    hasher.update(renderer.key(input).0);
    hasher.update([flags.bits()]);
    let full: [u8; 32] = hasher.finalize().into();
    let mut half = [0; 16];
    half.copy_from_slice(&full[..16]);
    half
}

impl World {
    /// The destinations of an inventory as renders see them.
    pub(crate) fn known_of<'a>(&'a self, inventory: &'a InventoryState) -> Known<'a> {
        Known {
            destinations: &self.destinations,
            inventory,
        }
    }

    fn input(&self, destination: Destination, renderer: &Renderer) -> Option<Input> {
        let state = self.destinations.get(&destination)?;
        let inventory = self.inventories.get(&state.inventory)?;
        let known = self.known_of(inventory);
        let around = Around {
            properties: &known,
            places: &inventory.places,
        };
        Some(renderer.input(destination, around))
    }

    /// The render hash of what a renderer makes at one destination.
    pub(super) fn render_of(
        &self,
        destination: Destination,
        renderer: &Renderer,
        flags: CopyFlags,
    ) -> Option<RenderHash> {
        let input = self.input(destination, renderer)?;
        Some(personal_hash(renderer, &input, flags))
    }

    /// The render hash of a copy at one destination.
    pub(crate) fn render_at(&self, destination: Destination, copy: &DesiredCopy) -> RenderHash {
        let renderer = copy.content.vary.as_ref();
        renderer
            .and_then(|renderer| self.render_of(destination, renderer, copy.flags))
            .unwrap_or(copy.render)
    }

    /// A copy that is not the same everywhere, made for one destination; `None` for one that is.
    pub(crate) fn rendered_at(
        &self,
        destination: Destination,
        copy: &DesiredCopy,
    ) -> Option<Result<Rendered, RenderError>> {
        let renderer = copy.content.vary.as_ref()?;
        Some(renderer.render(&self.input(destination, renderer)?))
    }

    /// Forgets for whom layers act that no recipe and no Customizer has any more.
    fn forget_places(&mut self) {
        let mut held: HashMap<LayerId, usize> = HashMap::new();
        for layer in self.inventories.values().flat_map(|i| &i.layers) {
            *held.entry(layer.id()).or_default() += 1;
        }
        for inventory in self.inventories.values_mut() {
            let places = &mut inventory.places.0;
            inventory.layers.retain(|layer| {
                let ours = held.get(&layer.id()).copied().unwrap_or(0);
                let used = Arc::strong_count(layer) > ours;
                if !used {
                    places.remove(&layer.id());
                }
                used
            });
        }
    }

    /// Sees to it that it is known for whom layers act.
    pub(crate) fn ensure_places(&mut self, layers: &[Arc<Layer>]) {
        self.forget_places();
        let mut found = Vec::new();
        let signals = Signals::default();
        for (name, inventory) in &self.inventories {
            let facts = self.known_of(inventory);
            let sight = Sight {
                inventory: &inventory.index,
                facts: &facts,
                signals: &signals,
                now: Timestamp(0),
            };
            for layer in layers {
                if !inventory.places.0.contains_key(&layer.id()) {
                    let candidates =
                        Candidates::all(layer.selectors(), layer.expressions(), &sight);
                    found.push((name.clone(), layer.clone(), candidates));
                }
            }
        }
        for (name, layer, candidates) in found {
            if let Some(inventory) = self.inventories.get_mut(&name) {
                inventory.places.0.insert(layer.id(), candidates);
                inventory.layers.push(layer);
            }
        }
    }

    /// A destination's labels or properties changed: for whom layers act is corrected.
    pub(crate) fn replace_at(&mut self, inventory: &str, destination: Destination) {
        let Some(state) = self.inventories.get_mut(inventory) else {
            return;
        };
        let mut places = std::mem::take(&mut state.places);
        let Some(state) = self.inventories.get(inventory) else {
            return;
        };
        let facts = self.known_of(state);
        let sight = Sight {
            inventory: &state.index,
            facts: &facts,
            signals: &Signals::default(),
            now: Timestamp(0),
        };
        let this = Destinations::from_iter([destination.0]);
        for layer in &state.layers {
            if let Some(candidates) = places.0.get_mut(&layer.id()) {
                candidates.reconsider(&this, layer.selectors(), layer.expressions(), &sight);
            }
        }
        if let Some(state) = self.inventories.get_mut(inventory) {
            state.places = places;
        }
    }

    /// Whether nothing that copies may depend on is known of a destination otherwise than so.
    pub(crate) fn is_known_as(
        &self,
        inventory: &str,
        destination: Destination,
        labels: &Labels,
        given: &Given,
    ) -> bool {
        let Some(state) = self.inventories.get(inventory) else {
            return false;
        };
        let held = |source| state.properties.all(destination, source);
        let same = |source, new: &BTreeMap<String, String>| {
            let held = held(source);
            held.len() == new.len()
                && held
                    .iter()
                    .all(|(k, v)| new.get(&**k).is_some_and(|n| n == v))
        };
        state.index.has_labels(destination, labels)
            && same(Source::ConfigMap, &given.config)
            && same(Source::Annotation, &given.annotations)
            && same(Source::Claim, &given.claims)
    }

    /// What the sources other than labels say of a destination. True when anything changed.
    pub(crate) fn set_properties(
        &mut self,
        inventory: &Arc<str>,
        destination: Destination,
        mut given: Given,
    ) -> bool {
        // Its name and labels are known already.
        given.name.clear();
        given.labels.clear();
        let state = self.inventories.entry(inventory.clone()).or_default();
        if given == Given::default() && state.properties.all(destination, Source::Any).is_empty() {
            return false;
        }
        !state.properties.set(destination, &given).is_empty()
    }

    /// The objects whose copies at a destination are not as everywhere.
    pub(crate) fn varying_at(&self, destination: Destination) -> Vec<ObjectIndex> {
        let mut cuts = self.cuts(destination);
        cuts.retain(|cut| cut.varies);
        super::joined(&cuts)
            .into_iter()
            .filter(|(_, copy)| copy.content.vary.is_some())
            .map(|(index, _)| index)
            .collect()
    }
}
