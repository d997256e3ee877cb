//! A CustomResourceDefinition's status, as a function of its spec, its former status and whether its names are free.

use serde_json::{Map, Value, json};

use crate::meta;
use crate::status::quote;
use crate::time::Timestamp;

const APPROVAL: &str = "api-approved.kubernetes.io";

/// Whether the names a CRD asks for are free in its workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamesAccepted {
    /// They are.
    Yes,
    /// They are taken: condition reason (`PluralConflict`) and message.
    No {
        /// `PluralConflict`, `KindConflict`, ...
        reason: String,
        /// For people.
        message: String,
    },
}

/// Whether a CRD of a community group was approved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Approval {
    Missing(String),
    Invalid(String, String),
    Approved(String),
    Bypassed(String),
}

/// Whether the CRD's group is one of the Kubernetes community's.
pub(super) fn protected_group(crd: &Value) -> bool {
    let group = crd
        .pointer("/spec/group")
        .and_then(Value::as_str)
        .unwrap_or_default();
    ["k8s.io", "kubernetes.io"].iter().any(|g| {
        group == *g
            || group
                .strip_suffix(g)
                .is_some_and(|rest| rest.ends_with('.'))
    })
}

/// What the approval annotation says.
pub(super) fn approval(crd: &Value) -> Approval {
    const SEE: &str = "see https://github.com/kubernetes/enhancements/pull/1111";
    let value = meta::annotation(crd, APPROVAL).unwrap_or_default();
    let needed = format!(
        "protected groups must have approval annotation {}",
        quote(APPROVAL)
    );
    let is_url = value.split_once("://").is_some_and(|(scheme, rest)| {
        !scheme.is_empty() && !rest.is_empty() && !rest.starts_with('/')
    });
    if value.is_empty() {
        Approval::Missing(format!("{needed}, {SEE}"))
    } else if value.starts_with("unapproved") {
        Approval::Bypassed(format!("not approved: {}", quote(value)))
    } else if is_url {
        Approval::Approved(format!("approved in {value}"))
    } else {
        let why =
            format!("{needed} with either a URL or a reason starting with \"unapproved\", {SEE}");
        Approval::Invalid(value.to_owned(), why)
    }
}

fn condition_of<'a>(crd: &'a Value, ty: &str) -> Option<&'a Value> {
    crd.pointer("/status/conditions")?
        .as_array()?
        .iter()
        .find(|c| c["type"] == ty)
}

/// Whether the CRD has been established once.
pub(super) fn is_established(crd: &Value) -> bool {
    condition_of(crd, "Established").is_some_and(|c| c["status"] == "True")
}

/// The status of `crd`: conditions NamesAccepted and Established (and the approval, where one is needed), accepted names
/// and stored versions. A CRD whose names are accepted is established at once; one that was stays so. Transition times
/// are kept where a condition's status did not change.
pub fn crd_status(crd: &Value, names: &NamesAccepted, now: Timestamp) -> Value {
    let mut status = crd
        .get("status")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    let set =
        |status: &mut Map<String, Value>, ty: &str, value: bool, reason: &str, message: &str| {
            set_condition(status, ty, value, reason, message, now);
        };
    match names {
        NamesAccepted::Yes => {
            set(
                &mut status,
                "NamesAccepted",
                true,
                "NoConflicts",
                "no conflicts found",
            );
            if !is_established(crd) {
                let message = "the initial names have been accepted";
                set(
                    &mut status,
                    "Established",
                    true,
                    "InitialNamesAccepted",
                    message,
                );
            }
            let accepted = crd
                .pointer("/spec/names")
                .cloned()
                .unwrap_or_else(|| json!({}));
            status.insert("acceptedNames".to_owned(), accepted);
        }
        NamesAccepted::No { reason, message } => {
            set(&mut status, "NamesAccepted", false, reason, message);
            if !is_established(crd) {
                let message = "not all names are accepted";
                set(&mut status, "Established", false, "NotAccepted", message);
            }
            status
                .entry("acceptedNames")
                .or_insert_with(|| json!({"kind": "", "plural": ""}));
        }
    }
    if protected_group(crd) {
        let (value, reason, message) = match approval(crd) {
            Approval::Missing(why) => (false, "MissingAnnotation", why),
            Approval::Invalid(_, why) => (false, "InvalidAnnotation", why),
            Approval::Approved(why) => (true, "ApprovedAnnotation", why),
            Approval::Bypassed(why) => (false, "UnapprovedAnnotation", why),
        };
        set(
            &mut status,
            "KubernetesAPIApprovalPolicyConformant",
            value,
            reason,
            &message,
        );
    }
    status.insert("storedVersions".to_owned(), stored_versions(crd));
    Value::Object(status)
}

/// Every version objects may be stored in: those of before, and today's.
fn stored_versions(crd: &Value) -> Value {
    let mut stored = crd
        .pointer("/status/storedVersions")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let versions = crd.pointer("/spec/versions").and_then(Value::as_array);
    let storage = versions
        .into_iter()
        .flatten()
        .find(|v| v["storage"] == true)
        .map(|v| v["name"].clone());
    if let Some(name) = storage
        && !stored.contains(&name)
    {
        stored.push(name);
    }
    Value::Array(stored)
}

fn set_condition(
    status: &mut Map<String, Value>,
    ty: &str,
    value: bool,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let value = if value { "True" } else { "False" };
    let list = status
        .entry("conditions")
        .or_insert_with(|| Value::Array(Vec::new()));
    if !list.is_array() {
        *list = Value::Array(Vec::new());
    }
    let Value::Array(list) = list else { return };
    let mut condition = json!({
        "type": ty, "status": value, "reason": reason, "message": message, "lastTransitionTime": now.rfc3339(),
    });
    match list.iter_mut().find(|c| c["type"] == ty) {
        Some(old) => {
            if old["status"] == value && old["lastTransitionTime"].is_string() {
                condition["lastTransitionTime"] = old["lastTransitionTime"].take();
            }
            *old = condition;
        }
        None => list.push(condition),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(crd: &Value, names: &NamesAccepted, second: i64) -> Value {
        crd_status(crd, names, Timestamp(second * 1000))
    }

    #[test]
    fn accepted_names_establish_at_once_and_for_good() {
        let mut crd = json!({"spec": {"group": "example.com", "names": {"plural": "webs", "kind": "Web"}, "versions": [{"name": "v1", "storage": true}]}});
        crd["status"] = at(&crd, &NamesAccepted::Yes, 0);
        assert_eq!(
            crd["status"],
            json!({
            "acceptedNames": {"plural": "webs", "kind": "Web"},
            "storedVersions": ["v1"],
            "conditions": [
                {"type": "NamesAccepted", "status": "True", "reason": "NoConflicts", "message": "no conflicts found", "lastTransitionTime": "1970-01-01T00:00:00Z"},
                {"type": "Established", "status": "True", "reason": "InitialNamesAccepted", "message": "the initial names have been accepted", "lastTransitionTime": "1970-01-01T00:00:00Z"},
            ]})
        );
        assert_eq!(
            at(&crd, &NamesAccepted::Yes, 60),
            crd["status"],
            "nothing changed, nothing moves"
        );
        crd["spec"]["versions"] = json!([{"name": "v1"}, {"name": "v2", "storage": true}]);
        let no = NamesAccepted::No {
            reason: "KindConflict".into(),
            message: "\"Web\" is already in use".into(),
        };
        let later = at(&crd, &no, 60);
        assert_eq!(later["storedVersions"], json!(["v1", "v2"]));
        assert_eq!(later["conditions"][0]["status"], "False");
        assert_eq!(
            later["conditions"][0]["lastTransitionTime"],
            "1970-01-01T00:01:00Z"
        );
        assert_eq!(
            later["conditions"][1]["status"], "True",
            "stays established"
        );
        assert_eq!(later["acceptedNames"]["kind"], "Web");
    }

    #[test]
    fn refused_names_do_not_establish() {
        let crd = json!({"spec": {"group": "x.k8s.io", "versions": []}, "metadata": {"annotations": {"api-approved.kubernetes.io": "https://example.com/1"}}});
        let no = NamesAccepted::No {
            reason: "PluralConflict".into(),
            message: String::new(),
        };
        let status = at(&crd, &no, 0);
        let states: Vec<(&str, &str)> = status["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| (c["type"].as_str().unwrap(), c["reason"].as_str().unwrap()))
            .collect();
        assert_eq!(
            states,
            [
                ("NamesAccepted", "PluralConflict"),
                ("Established", "NotAccepted"),
                (
                    "KubernetesAPIApprovalPolicyConformant",
                    "ApprovedAnnotation"
                ),
            ]
        );
        assert_eq!(status["acceptedNames"], json!({"kind": "", "plural": ""}));
    }
}
