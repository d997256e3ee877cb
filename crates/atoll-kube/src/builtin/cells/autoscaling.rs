//! Autoscalers, shown alike in both their versions, and disruption budgets.

use serde_json::{Value, json};

use super::text::{NONE, UNKNOWN, integer, list, number, string};
use crate::builtin::convert::to_api_version;

pub(super) fn cell(kind: &str, heading: &str, o: &Value) -> Option<Value> {
    if kind == "PodDisruptionBudget" {
        return budget(heading, o);
    }
    Some(match heading {
        "Reference" => {
            let target = |field: &str| string(o, &format!("/spec/scaleTargetRef/{field}"));
            format!("{}/{}", target("kind"), target("name")).into()
        }
        "Targets" if o["apiVersion"] == "autoscaling/v1" => {
            let mut v2 = o.clone();
            to_api_version(&mut v2, "autoscaling/v2");
            targets(&v2).into()
        }
        "Targets" => targets(o).into(),
        "MinPods" => match o.pointer("/spec/minReplicas").and_then(Value::as_i64) {
            Some(n) => n.to_string().into(),
            None => UNSET_MINIMUM.into(),
        },
        "MaxPods" => number(o, "/spec/maxReplicas"),
        "Replicas" => number(o, "/status/currentReplicas"),
        _ => return None,
    })
}

const UNSET_MINIMUM: &str = "<unset>";

fn budget(heading: &str, o: &Value) -> Option<Value> {
    let amount = |field: &str| match o.pointer(&format!("/spec/{field}")) {
        Some(Value::String(s)) => json!(s),
        Some(Value::Number(n)) => n.to_string().into(),
        _ => "N/A".into(),
    };
    Some(match heading {
        "Min Available" => amount("minAvailable"),
        "Max Unavailable" => amount("maxUnavailable"),
        "Allowed Disruptions" => integer(o, "/status/disruptionsAllowed").into(),
        _ => return None,
    })
}

/// The first two metrics, current and wanted, and how many more there are.
fn targets(o: &Value) -> String {
    let (wanted, current) = (list(o, "/spec/metrics"), list(o, "/status/currentMetrics"));
    if wanted.is_empty() {
        return NONE.to_owned();
    }
    let mut shown: Vec<String> = Vec::new();
    for (i, metric) in wanted.iter().enumerate().take(2) {
        shown.push(target(metric, current.get(i)));
    }
    let more = match wanted.len() {
        n if n > 2 => format!(" + {} more...", n - 2),
        _ => String::new(),
    };
    format!("{}{more}", shown.join(", "))
}

fn target(metric: &Value, current: Option<&Value>) -> String {
    let body = match string(metric, "/type") {
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        "Pods" => "pods",
        "Object" => "object",
        "External" => "external",
        _ => return "<unknown type>".to_owned(),
    };
    let (want, have) = (
        &metric[body]["target"],
        current.map(|c| &c[body]["current"]),
    );
    let text = |value: Option<&Value>| match value {
        Some(Value::String(s)) => Some(s.clone()),
        Some(Value::Number(n)) => Some(n.to_string()),
        _ => None,
    };
    let now = |field: &str| {
        let found = text(have.and_then(|h| h.get(field)));
        found.unwrap_or_else(|| UNKNOWN.to_owned())
    };
    if let Some(n) = text(want.get("averageUtilization")) {
        let percent = |v: String| if v == UNKNOWN { v } else { format!("{v}%") };
        let shown = format!("{}/{n}%", percent(now("averageUtilization")));
        return format!("{}: {shown}", string(metric, &format!("/{body}/name")));
    }
    let (field, average) = match text(want.get("averageValue")) {
        Some(_) => ("averageValue", " (avg)"),
        None => ("value", ""),
    };
    let shown = format!(
        "{}/{}",
        now(field),
        text(want.get(field)).unwrap_or_default()
    );
    match body {
        "resource" | "containerResource" => {
            format!("{}: {shown}", string(metric, &format!("/{body}/name")))
        }
        "pods" => shown,
        _ => format!("{shown}{average}"),
    }
}
