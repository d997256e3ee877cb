//! Which images start.

use serde_json::Value;

/// Whether a pod of this spec never starts: one of its images says `fail` somewhere in its name or tag.
pub fn fails(pod_spec: &Value) -> bool {
    ["initContainers", "containers"]
        .iter()
        .filter_map(|list| pod_spec[list].as_array())
        .flatten()
        .any(|container| {
            container["image"]
                .as_str()
                .is_some_and(|image| image.contains("fail"))
        })
}
