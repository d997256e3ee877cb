//! HorizontalPodAutoscalers in `autoscaling/v1` and `v2`.
//!
//! v1 knows one metric, the pods' CPU. Everything else that v2 says is kept in v1's annotations as JSON, where v1's own
//! metric types name a target's parts in one flat level.

use serde_json::{Map, Value, json};

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

/// From v2 to v1.
pub(super) fn to_v1(hpa: &mut Value) {
    let metrics = take_list(hpa, "spec", "metrics");
    let (cpu, others) = split_cpu(metrics, "target");
    if let Some(cpu) = cpu {
        hpa["spec"]["targetCPUUtilizationPercentage"] = cpu;
    }
    annotate(hpa, METRICS, others.iter().map(flat_metric).collect());
    let current = take_list(hpa, "status", "currentMetrics");
    let (cpu, others) = split_cpu(current, "current");
    if let Some(cpu) = cpu {
        hpa["status"]["currentCPUUtilizationPercentage"] = cpu;
    }
    annotate(
        hpa,
        CURRENT_METRICS,
        others.iter().map(flat_current).collect(),
    );
    let conditions = take_list(hpa, "status", "conditions");
    annotate(hpa, CONDITIONS, conditions);
    if let Some(behavior) = take(hpa, "spec", "behavior") {
        set_annotation(hpa, BEHAVIOR, &behavior);
    }
}

/// From v1 to v2.
pub(super) fn to_v2(hpa: &mut Value) {
    let mut metrics = Vec::new();
    if let Some(cpu) = take(hpa, "spec", "targetCPUUtilizationPercentage") {
        let target = json!({ "type": "Utilization", "averageUtilization": cpu });
        metrics
            .push(json!({ "type": "Resource", "resource": { "name": "cpu", "target": target } }));
    }
    metrics.extend(annotated_list(hpa, METRICS).iter().map(deep_metric));
    if !metrics.is_empty() {
        hpa["spec"]["metrics"] = Value::Array(metrics);
    }
    let mut current = Vec::new();
    if let Some(cpu) = take(hpa, "status", "currentCPUUtilizationPercentage") {
        let value = json!({ "averageUtilization": cpu });
        current
            .push(json!({ "type": "Resource", "resource": { "name": "cpu", "current": value } }));
    }
    current.extend(
        annotated_list(hpa, CURRENT_METRICS)
            .iter()
            .map(deep_current),
    );
    if !current.is_empty() {
        hpa["status"]["currentMetrics"] = Value::Array(current);
    }
    let conditions = annotated_list(hpa, CONDITIONS);
    if !conditions.is_empty() {
        hpa["status"]["conditions"] = Value::Array(conditions);
    }
    if let Some(behavior) = take_annotation(hpa, BEHAVIOR) {
        hpa["spec"]["behavior"] = behavior;
    }
}

/// The CPU utilization that v1 has a field for, and the other metrics.
fn split_cpu(metrics: Vec<Value>, part: &str) -> (Option<Value>, Vec<Value>) {
    let mut cpu = None;
    let others = metrics
        .into_iter()
        .filter(|m| {
            let utilization = m
                .pointer(&format!("/resource/{part}/averageUtilization"))
                .filter(|_| m["type"] == "Resource" && m["resource"]["name"] == "cpu");
            match utilization {
                Some(u) if cpu.is_none() => {
                    cpu = Some(u.clone());
                    false
                }
                _ => true,
            }
        })
        .collect();
    (cpu, others)
}

/// v2's name of a metric's body.
fn body(metric: &Value) -> &'static str {
    match metric["type"].as_str() {
        Some("Resource") => "resource",
        Some("ContainerResource") => "containerResource",
        Some("Pods") => "pods",
        Some("Object") => "object",
        _ => "external",
    }
}

/// How v2's nested names are called in v1, per body: (v1's name, path in v2).
fn names(body: &str) -> &'static [(&'static str, &'static [&'static str])] {
    match body {
        "resource" | "containerResource" => &[
            ("name", &["name"]),
            ("container", &["container"]),
            (
                "targetAverageUtilization",
                &["target", "averageUtilization"],
            ),
            ("targetAverageValue", &["target", "averageValue"]),
        ],
        "pods" => &[
            ("metricName", &["metric", "name"]),
            ("selector", &["metric", "selector"]),
            ("targetAverageValue", &["target", "averageValue"]),
        ],
        "object" => &[
            ("target", &["describedObject"]),
            ("metricName", &["metric", "name"]),
            ("selector", &["metric", "selector"]),
            ("targetValue", &["target", "value"]),
            ("averageValue", &["target", "averageValue"]),
        ],
        _ => &[
            ("metricName", &["metric", "name"]),
            ("metricSelector", &["metric", "selector"]),
            ("targetValue", &["target", "value"]),
            ("targetAverageValue", &["target", "averageValue"]),
        ],
    }
}

/// The same for reported metrics.
fn current_names(body: &str) -> &'static [(&'static str, &'static [&'static str])] {
    match body {
        "resource" | "containerResource" => &[
            ("name", &["name"]),
            ("container", &["container"]),
            (
                "currentAverageUtilization",
                &["current", "averageUtilization"],
            ),
            ("currentAverageValue", &["current", "averageValue"]),
        ],
        "pods" => &[
            ("metricName", &["metric", "name"]),
            ("selector", &["metric", "selector"]),
            ("currentAverageValue", &["current", "averageValue"]),
        ],
        "object" => &[
            ("target", &["describedObject"]),
            ("metricName", &["metric", "name"]),
            ("selector", &["metric", "selector"]),
            ("currentValue", &["current", "value"]),
            ("averageValue", &["current", "averageValue"]),
        ],
        _ => &[
            ("metricName", &["metric", "name"]),
            ("metricSelector", &["metric", "selector"]),
            ("currentValue", &["current", "value"]),
            ("currentAverageValue", &["current", "averageValue"]),
        ],
    }
}

type Names = fn(&str) -> &'static [(&'static str, &'static [&'static str])];

fn flat_metric(metric: &Value) -> Value {
    flatten(metric, names)
}

fn flat_current(metric: &Value) -> Value {
    flatten(metric, current_names)
}

fn flatten(metric: &Value, names: Names) -> Value {
    let body = body(metric);
    let flat: Map<String, Value> = names(body)
        .iter()
        .filter_map(|(flat, deep)| {
            let found = deep.iter().try_fold(&metric[body], |v, key| v.get(key))?;
            Some(((*flat).to_owned(), found.clone()))
        })
        .collect();
    json!({ "type": metric["type"], body: flat })
}

fn deep_metric(flat: &Value) -> Value {
    let mut metric = deepen(flat, names);
    let target = &mut metric[body(flat)]["target"];
    let of = ["averageUtilization", "averageValue", "value"];
    let of = of.into_iter().find(|key| target.get(key).is_some());
    target["type"] = json!(match of {
        Some("averageUtilization") => "Utilization",
        Some("averageValue") => "AverageValue",
        _ => "Value",
    });
    metric
}

fn deep_current(flat: &Value) -> Value {
    deepen(flat, current_names)
}

fn deepen(flat: &Value, names: Names) -> Value {
    let body = body(flat);
    let mut deep = json!({ "type": flat["type"], body: {} });
    for (name, path) in names(body) {
        if let Some(value) = flat[body].get(name) {
            let place = path.iter().fold(&mut deep[body], |v, key| &mut v[*key]);
            *place = value.clone();
        }
    }
    deep
}

fn take(hpa: &mut Value, part: &str, field: &str) -> Option<Value> {
    hpa.get_mut(part)?.as_object_mut()?.remove(field)
}

fn take_list(hpa: &mut Value, part: &str, field: &str) -> Vec<Value> {
    match take(hpa, part, field) {
        Some(Value::Array(all)) => all,
        _ => Vec::new(),
    }
}

fn annotate(hpa: &mut Value, key: &str, list: Vec<Value>) {
    if !list.is_empty() {
        set_annotation(hpa, key, &Value::Array(list));
    }
}

fn set_annotation(hpa: &mut Value, key: &str, value: &Value) {
    let metadata = &mut hpa["metadata"];
    if !metadata["annotations"].is_object() {
        metadata["annotations"] = json!({});
    }
    metadata["annotations"][key] = Value::String(value.to_string());
}

/// What an annotation holds; the annotation goes. One that does not parse stays where it is.
fn take_annotation(hpa: &mut Value, key: &str) -> Option<Value> {
    let annotations = hpa.pointer_mut("/metadata/annotations")?.as_object_mut()?;
    let value = serde_json::from_str(annotations.get(key)?.as_str()?).ok()?;
    annotations.remove(key);
    if annotations.is_empty() {
        hpa["metadata"].as_object_mut()?.remove("annotations");
    }
    Some(value)
}

fn annotated_list(hpa: &mut Value, key: &str) -> Vec<Value> {
    match take_annotation(hpa, key) {
        Some(Value::Array(all)) => all,
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::convert::to_api_version;

    fn v2() -> Value {
        json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "a"},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"},
                "minReplicas": 1, "maxReplicas": 5,
                "metrics": [
                    {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}},
                    {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}},
                    {"type": "Pods", "pods": {"metric": {"name": "rps"}, "target": {"type": "AverageValue", "averageValue": "10"}}},
                    {"type": "Object", "object": {"describedObject": {"kind": "Ingress", "name": "i"},
                        "metric": {"name": "hits"}, "target": {"type": "Value", "value": "2k"}}},
                    {"type": "External", "external": {"metric": {"name": "queue", "selector": {"matchLabels": {"q": "1"}}},
                        "target": {"type": "AverageValue", "averageValue": "30"}}},
                ],
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 300}},
            },
            "status": {
                "currentReplicas": 2, "desiredReplicas": 2,
                "conditions": [{"type": "AbleToScale", "status": "True"}],
                "currentMetrics": [
                    {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 7}}},
                ],
            },
        })
    }

    #[test]
    fn v2_survives_the_way_through_v1() {
        let mut hpa = v2();
        to_api_version(&mut hpa, "autoscaling/v1");
        assert_eq!(hpa["spec"]["targetCPUUtilizationPercentage"], 80);
        assert_eq!(hpa["status"]["currentCPUUtilizationPercentage"], 7);
        assert_eq!(hpa["spec"].get("metrics"), None);
        let flat: Value =
            serde_json::from_str(hpa["metadata"]["annotations"][METRICS].as_str().unwrap())
                .unwrap();
        assert_eq!(flat[0]["resource"]["targetAverageValue"], "1Gi");
        assert_eq!(
            flat[3]["external"]["metricSelector"]["matchLabels"]["q"],
            "1"
        );
        to_api_version(&mut hpa, "autoscaling/v2");
        assert_eq!(hpa, v2());
    }

    #[test]
    fn v1_survives_the_way_through_v2() {
        let v1 = json!({
            "apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a"},
            "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "d"}, "maxReplicas": 5, "targetCPUUtilizationPercentage": 50},
        });
        let mut hpa = v1.clone();
        to_api_version(&mut hpa, "autoscaling/v2");
        assert_eq!(
            hpa["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"],
            50
        );
        to_api_version(&mut hpa, "autoscaling/v1");
        assert_eq!(hpa, v1);
    }
}
