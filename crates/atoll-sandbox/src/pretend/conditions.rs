//! Conditions that keep their times while they say the same.

use atoll_kube::time::Timestamp;
use serde_json::{Value, json};

/// What a condition says.
pub(super) struct Says {
    pub kind: &'static str,
    pub status: bool,
    pub reason: &'static str,
    pub message: String,
}

/// The conditions, each with the time it already has in `old` when it says the same there, else `now`. `times` are the names of the time fields.
pub(super) fn render(old: &Value, says: Vec<Says>, times: &[&str], now: Timestamp) -> Value {
    let render_one = |s: Says| {
        let status = if s.status { "True" } else { "False" };
        let mut condition = json!({"type": s.kind, "status": status});
        if !s.reason.is_empty() {
            condition["reason"] = json!(s.reason);
            condition["message"] = json!(s.message);
        }
        let before = old["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|c| c["type"] == s.kind && c["status"] == status);
        for &time in times {
            let kept = before.and_then(|c| c[time].as_str()).map(str::to_owned);
            condition[time] = json!(kept.unwrap_or_else(|| now.rfc3339()));
        }
        condition
    };
    says.into_iter().map(render_one).collect()
}
