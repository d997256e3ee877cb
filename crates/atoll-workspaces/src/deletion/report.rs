//! What a logical cluster that cannot go yet says about itself. Pure.

use std::collections::{BTreeMap, BTreeSet};

use atoll_kube::Timestamp;
use serde_json::{Value, json};

/// So many refusals are told.
const MOST_REFUSALS: usize = 3;
/// The condition that tells how far the deletion is.
const CONDITION: &str = "WorkspaceContentDeleted";

/// What is left in a logical cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Remaining {
    /// Instances by `<resource>.<group>`.
    pub(crate) resources: BTreeMap<String, u64>,
    /// Instances by the finalizer that holds them.
    pub(crate) finalizers: BTreeMap<String, u64>,
    /// Why instances may not be deleted (yet).
    pub(crate) refusals: BTreeSet<String>,
}

impl Remaining {
    /// Counts instances of a resource.
    pub(crate) fn add(&mut self, resource: &str, group: &str, count: u64) {
        *self
            .resources
            .entry(format!("{resource}.{group}"))
            .or_default() += count;
    }

    /// Counts an instance held by a finalizer.
    pub(crate) fn hold(&mut self, finalizer: &str) {
        *self.finalizers.entry(finalizer.to_owned()).or_default() += 1;
    }

    /// The condition that says so.
    fn reason_and_message(&self) -> (&'static str, String) {
        let resources: Vec<String> = self
            .resources
            .iter()
            .map(|(name, count)| format!("{name} has {count} resource instances"))
            .collect();
        let mut message = format!("Some resources are remaining: {}", resources.join(", "));
        for refusal in self.refusals.iter().take(MOST_REFUSALS) {
            message.push_str("; ");
            message.push_str(refusal);
        }
        if self.finalizers.is_empty() {
            return ("SomeResourcesRemain", message);
        }
        let finalizers: Vec<String> = self
            .finalizers
            .iter()
            .map(|(name, count)| format!("{name} in {count} resource instances"))
            .collect();
        message.push_str("; Some content in the workspace has finalizers remaining: ");
        message.push_str(&finalizers.join(", "));
        ("SomeFinalizersRemain", message)
    }
}

/// Puts the condition into an object's status. True when that changed the object.
pub(crate) fn report(object: &mut Value, remaining: &Remaining, now: Timestamp) -> bool {
    let (reason, message) = remaining.reason_and_message();
    if !object["status"]["conditions"].is_array() {
        if !object["status"].is_object() {
            object["status"] = json!({});
        }
        object["status"]["conditions"] = json!([]);
    }
    let Some(conditions) = object["status"]["conditions"].as_array_mut() else {
        return false;
    };
    let fresh = |since: Value| {
        json!({
            "type": CONDITION, "status": "False", "severity": "Info", "reason": reason, "message": message,
            "lastTransitionTime": since,
        })
    };
    match conditions
        .iter_mut()
        .find(|condition| condition["type"] == CONDITION)
    {
        Some(condition) if condition["reason"] == reason && condition["message"] == message => {
            false
        }
        Some(condition) => {
            let same = condition["status"] == "False";
            let since = if same {
                condition["lastTransitionTime"].clone()
            } else {
                json!(now.rfc3339())
            };
            *condition = fresh(since);
            true
        }
        None => {
            conditions.push(fresh(json!(now.rfc3339())));
            conditions.sort_by(|a, b| a["type"].as_str().cmp(&b["type"].as_str()));
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_condition_names_what_remains_and_changes_only_when_that_does() {
        let mut remaining = Remaining::default();
        remaining.add("configmaps", "", 2);
        let mut object =
            json!({"status": {"conditions": [{"type": "WorkspaceScheduled", "status": "True"}]}});
        assert!(report(&mut object, &remaining, Timestamp(0)));
        let condition = &object["status"]["conditions"][0];
        assert_eq!(
            condition["message"],
            "Some resources are remaining: configmaps. has 2 resource instances"
        );
        assert_eq!(
            (&condition["status"], &condition["reason"]),
            (&json!("False"), &json!("SomeResourcesRemain"))
        );
        assert!(!report(&mut object, &remaining, Timestamp(9_000)));
        remaining.refusals.insert("answer first".to_owned());
        assert!(report(&mut object, &remaining, Timestamp(0)));
        let message = object["status"]["conditions"][0]["message"]
            .as_str()
            .unwrap();
        assert!(message.ends_with("instances; answer first"), "{message}");
        remaining.refusals.clear();
        remaining.hold("example.com/wait");
        assert!(report(&mut object, &remaining, Timestamp(9_000)));
        let condition = &object["status"]["conditions"][0];
        assert_eq!(
            condition["message"],
            "Some resources are remaining: configmaps. has 2 resource instances; Some content in the workspace has \
             finalizers remaining: example.com/wait in 1 resource instances"
        );
        assert_eq!(
            condition["lastTransitionTime"], "1970-01-01T00:00:00Z",
            "False since then"
        );
    }
}
