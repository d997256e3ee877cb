//! Events of the core group and of `events.k8s.io`: the same objects under two sets of field names.

use serde_json::Value;

/// Core name, `events.k8s.io` name.
const RENAMED: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

/// From `v1` to `events.k8s.io/v1`.
pub(super) fn from_core(event: &mut Value) {
    rename(event, RENAMED.iter().copied());
}

/// From `events.k8s.io/v1` to `v1`.
pub(super) fn to_core(event: &mut Value) {
    rename(event, RENAMED.iter().map(|(core, own)| (*own, *core)));
}

fn rename(event: &mut Value, names: impl Iterator<Item = (&'static str, &'static str)>) {
    let Some(fields) = event.as_object_mut() else {
        return;
    };
    for (from, to) in names {
        if let Some(value) = fields.remove(from) {
            fields.insert(to.to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::builtin::convert::to_api_version;

    #[test]
    fn events_go_round_between_the_groups() {
        let core = json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"name": "a"},
            "involvedObject": {"kind": "Pod"}, "reason": "Started", "message": "started", "type": "Normal",
            "source": {"component": "kubelet"}, "count": 3, "firstTimestamp": "x", "lastTimestamp": "y",
            "eventTime": null, "reportingComponent": "kubelet", "reportingInstance": "n",
        });
        let mut event = core.clone();
        to_api_version(&mut event, "events.k8s.io/v1");
        assert_eq!(event["regarding"]["kind"], "Pod");
        assert_eq!(event["note"], "started");
        assert_eq!(event["reportingController"], "kubelet");
        assert_eq!(event.get("message"), None);
        to_api_version(&mut event, "v1");
        assert_eq!(event, core);
    }
}
