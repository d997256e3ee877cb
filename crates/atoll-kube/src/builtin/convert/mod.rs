//! Conversion between the versions and groups of built-in kinds: only the pairs whose fields differ.
//!
//! Pure and lossless: what one side cannot say travels in annotations, as upstream does it.

mod autoscaling;
mod events;

use serde_json::Value;

/// Turns `object` into what clients of `api_version` expect, and sets its `apiVersion`. Kinds whose versions do not differ
/// only change their `apiVersion`.
pub fn to_api_version(object: &mut Value, api_version: &str) {
    let from = object["apiVersion"].as_str().unwrap_or_default();
    let kind = object["kind"].as_str().unwrap_or_default();
    match (kind, from, api_version) {
        ("Event", "v1", "events.k8s.io/v1") => events::from_core(object),
        ("Event", "events.k8s.io/v1", "v1") => events::to_core(object),
        ("HorizontalPodAutoscaler", "autoscaling/v2", "autoscaling/v1") => {
            autoscaling::to_v1(object);
        }
        ("HorizontalPodAutoscaler", "autoscaling/v1", "autoscaling/v2") => {
            autoscaling::to_v2(object);
        }
        _ => {}
    }
    object["apiVersion"] = Value::from(api_version);
}
