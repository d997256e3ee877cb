//! What shapes copies: CustomTransforms and Customizers of payload workspaces, and properties of destinations.
//!
//! One that cannot be understood changes nothing: the last good one stays in force.

use std::sync::Arc;

use atoll_kube::meta;
use atoll_placement::Destination;
use atoll_placement::inventory::Labels;
use atoll_placement::policy::Candidate;
use atoll_placement::render::{CustomTransform, Customizer, Given, Object, Recipe};
use atoll_registry::ObjectKey;
use atoll_store::Snapshot;
use serde_json::Value;

use super::Absorb;
use crate::collect;
use crate::model::Shaping;
use crate::source::{self, SourceError};

impl Absorb<'_> {
    /// A CustomTransform or Customizer changed.
    pub(super) fn shape(
        &mut self,
        parts: &ObjectKey<'_>,
        row: Option<&[u8]>,
    ) -> Result<(), SourceError> {
        let transform = parts.resource == "customtransforms";
        let value = match row {
            Some(row) if transform => Some(source::control_value(
                row,
                "control.kubestellar.io/v1alpha1",
                "CustomTransform",
            )?),
            Some(row) => Some(source::control_value(
                row,
                "edge.atoll.dev/v1alpha1",
                "Customizer",
            )?),
            None => None,
        };
        let value = value.filter(|v| !meta::is_deleting(v));
        self.pending.shaped.insert(parts.cluster.into());
        let name = parts.name.to_owned();
        let shaping = self.world.shaping.entry(parts.cluster.to_owned());
        let shaping = shaping.or_default();
        let null = Value::Null;
        let spec = value.as_ref().map(|v| v.get("spec").unwrap_or(&null));
        let problem = match (spec, transform) {
            (None, true) => {
                shaping.transforms.remove(&name);
                None
            }
            (None, false) => {
                shaping.customizers.remove(&name);
                None
            }
            (Some(spec), true) => match CustomTransform::parse(&name, spec) {
                Ok(parsed) => {
                    if shaping.transforms.get(&name) == Some(&parsed) {
                        return Ok(());
                    }
                    shaping.transforms.insert(name, parsed);
                    None
                }
                Err(errors) => Some(errors),
            },
            (Some(spec), false) => match Customizer::parse(&name, spec, &mut self.world.layers) {
                Ok(parsed) => {
                    // Its status changed, or its labels: it does what it did.
                    let same = shaping.customizers.get(&name).is_some_and(|old| {
                        (old.priority, &old.targets, old.layer.id())
                            == (parsed.priority, &parsed.targets, parsed.layer.id())
                    });
                    if same {
                        return Ok(());
                    }
                    shaping.customizers.insert(name, parsed);
                    None
                }
                Err(errors) => Some(errors),
            },
        };
        if let Some(errors) = problem {
            tracing::warn!(
                cluster = parts.cluster,
                name = parts.name,
                ?errors,
                "is not understood; the last good one stays"
            );
            return Ok(());
        }
        // Whatever is placed from here may look different now.
        let here = self.world.objects.values();
        let here = here.filter(|o| o.live && o.copy.cluster == parts.cluster);
        self.pending.reread.extend(here.map(|o| o.key.clone()));
        Ok(())
    }

    /// A StatusCollector changed.
    pub(super) fn collector(
        &mut self,
        parts: &ObjectKey<'_>,
        row: Option<&[u8]>,
    ) -> Result<(), SourceError> {
        let kind = ("control.kubestellar.io/v1alpha1", "StatusCollector");
        let value = row.map(|row| source::control_value(row, kind.0, kind.1));
        let value = value.transpose()?.filter(|v| !meta::is_deleting(v));
        let null = Value::Null;
        let spec = value.as_ref().map(|v| v.get("spec").unwrap_or(&null));
        let id = (parts.cluster.into(), parts.name.into());
        collect::set_collector(self.world, id, spec);
        Ok(())
    }

    /// All that shapes an object's copies, destinations aside.
    pub(super) fn recipe(
        &self,
        parts: &ObjectKey<'_>,
        value: &Value,
        scaled: bool,
    ) -> Result<Recipe, SourceError> {
        let shaping = self.world.shaping.get(parts.cluster);
        recipe_of(self.snapshot, shaping, parts, value, scaled)
    }

    /// A ConfigMap with properties changed: what its destination is known by is read again.
    pub(super) fn properties(&mut self, parts: &ObjectKey<'_>) -> Result<(), SourceError> {
        let Some(index) = self.world.destination(parts.cluster, parts.name) else {
            return Ok(());
        };
        let key = source::managed_clusters().key(parts.cluster, None, parts.name);
        let found = self.snapshot.get(&key);
        let Some(version) = found.map_err(|e| SourceError(e.to_string()))? else {
            return Ok(());
        };
        let value = source::control_value(
            &version.row,
            "cluster.open-cluster-management.io/v1",
            "ManagedCluster",
        )?;
        let config = source::config_of(self.snapshot, parts.cluster, parts.name)?;
        let looked = self.world.own_renders(index);
        let given = Given::of(&value, config.as_ref());
        self.given(&parts.cluster.into(), index, given);
        self.world.look_changed(index, looked);
        Ok(())
    }

    /// What is known of a destination, labels aside.
    pub(super) fn given(&mut self, inventory: &Arc<str>, index: Destination, given: Given) {
        if self.world.set_properties(inventory, index, given) {
            self.rendered_anew(inventory, index);
        }
    }

    /// Labels or properties changed: copies there may look different now.
    pub(super) fn rendered_anew(&mut self, inventory: &str, index: Destination) {
        self.world.replace_at(inventory, index);
        self.choosers(inventory, index);
        self.pending.rerender.insert(index);
    }
}

/// All that shapes an object's copies, destinations aside, with these CustomTransforms and Customizers.
pub(crate) fn recipe_of(
    snapshot: &dyn Snapshot,
    shaping: Option<&Shaping>,
    parts: &ObjectKey<'_>,
    value: &Value,
    scaled: bool,
) -> Result<Recipe, SourceError> {
    let (mut transforms, mut customizers) = (Vec::new(), Vec::new());
    if let Some(shaping) = shaping {
        transforms.extend(shaping.transforms.values());
        customizers.extend(shaping.customizers.values());
    }
    let namespace_labels = match parts.namespace() {
        Some(namespace) if !customizers.is_empty() => {
            source::namespace_labels(snapshot, parts.cluster, namespace)?
        }
        _ => Labels::new(),
    };
    let labels: Labels = meta::labels(value)
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect();
    let object = Object {
        candidate: Candidate {
            group: parts.group,
            resource: parts.resource,
            namespace: parts.namespace(),
            name: parts.name,
            labels: &|key| labels.get(key).cloned(),
            namespace_labels: &|key| namespace_labels.get(key).cloned(),
        },
        body: value,
        scaled,
    };
    Ok(Recipe::of(&object, &transforms, &customizers))
}
