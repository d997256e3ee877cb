//! Statuses of Customizers and CustomTransforms: for how many objects and destinations each acts, and where it fails. Coalesced; written only when different.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use atoll_kube::{Status, meta};
use atoll_placement::Destinations;
use atoll_placement::render::{Layer, RenderStep};
use atoll_registry::{ClusterName, PatchType, ResourceRef};
use serde_json::{Value, json};

use crate::model::World;
use crate::reach;
use crate::shared::Shared;
use crate::source::CONTROL;

/// Changes are gathered for so long.
const SETTLE: Duration = Duration::from_millis(300);
/// How many kinds of faults are told.
const MOST_ERRORS: usize = 5;

/// Runs until dropped.
pub(crate) async fn run(shared: Arc<Shared>) {
    loop {
        for cluster in shared.shapes.take(SETTLE).await {
            if let Err(error) = write(&shared, &cluster).await {
                tracing::debug!(%error, %cluster, "statuses of Customizers could not be written; they are written with the next change");
            }
        }
    }
}

/// What one Customizer does.
#[derive(Default)]
struct Acts {
    objects: u64,
    clusters: Destinations,
    failing: Destinations,
    errors: BTreeMap<String, u64>,
}

async fn write(shared: &Shared, cluster: &str) -> Result<(), Status> {
    let (customizers, transforms) = {
        let world = shared.world.read();
        let Some(shaping) = world.shaping.get(cluster) else {
            return Ok(());
        };
        let customizers: Vec<(String, Acts)> = shaping
            .customizers
            .iter()
            .map(|(name, customizer)| (name.clone(), acts(&world, cluster, &customizer.layer)))
            .collect();
        let transforms: Vec<String> = shaping.transforms.keys().cloned().collect();
        (customizers, transforms)
    };
    for (name, acts) in customizers {
        let errors = acts.errors.iter().take(MOST_ERRORS);
        let errors: Vec<String> = errors.map(|(why, n)| format!("{why} (at {n})")).collect();
        let status = json!({
            "objects": acts.objects,
            "clusters": acts.clusters.len(),
            "failing": acts.failing.len(),
            "errors": errors,
        });
        let resource = ResourceRef::new("edge.atoll.dev", "v1alpha1", "customizers");
        put(shared, cluster, &resource, &name, |_| status.clone()).await?;
    }
    let surface = shared.registry.surface(&ClusterName::new(cluster))?;
    for name in transforms {
        let resource = ResourceRef::new(CONTROL, "v1alpha1", "customtransforms");
        put(shared, cluster, &resource, &name, |spec| {
            let warnings = reach::targets_in_vain("CustomTransform", spec, surface.definitions());
            json!({"errors": [], "warnings": warnings})
        })
        .await?;
    }
    Ok(())
}

/// What a layer does to the objects that are placed.
fn acts(world: &World, cluster: &str, layer: &Layer) -> Acts {
    let mut acts = Acts::default();
    for (index, object) in &world.objects {
        let renderer = object.full.as_ref().and_then(|f| f.content.vary.as_ref());
        let Some(renderer) = renderer.filter(|_| object.live && object.copy.cluster == cluster)
        else {
            continue;
        };
        let layers = renderer.recipe().layers();
        if !layers.iter().any(|l| l.id() == layer.id()) {
            continue;
        }
        acts.objects += 1;
        let placed = world.placed(*index);
        for inventory in world.inventories.values() {
            if let Some(place) = inventory.places.0.get(&layer.id()) {
                acts.clusters |= &placed & &place.wanted;
            }
        }
        for (_, error, destinations) in world.checks.faults(*index) {
            if matches!(&error.step, RenderStep::Customizer(name) if name == layer.name()) {
                let here = destinations & &placed;
                if !here.is_empty() {
                    *acts.errors.entry(error.to_string()).or_default() += here.len();
                    acts.failing |= here;
                }
            }
        }
    }
    acts
}

async fn put(
    shared: &Shared,
    cluster: &str,
    resource: &ResourceRef,
    name: &str,
    status: impl Fn(&Value) -> Value,
) -> Result<(), Status> {
    let client = shared
        .registry
        .as_system(ClusterName::new(cluster))
        .managed_by("atoll-fleet");
    let Some(stored) = client.find(resource, None, name).await? else {
        return Ok(());
    };
    let mut new = status(stored.get("spec").unwrap_or(&Value::Null));
    new["observedGeneration"] = meta::generation(&stored).into();
    let old = stored.get("status");
    let fields = new.as_object().into_iter().flatten();
    let same = |(field, value): (&String, &Value)| old.and_then(|o| o.get(field)) == Some(value);
    if fields.into_iter().all(same) {
        return Ok(());
    }
    let patch = json!({"status": new});
    let part = resource.clone().sub("status");
    let patched = client
        .patch(&part, None, name, PatchType::Merge, patch)
        .await;
    patched.map(drop)
}
