//! Table cells of Kubernetes' own kinds, by name: `Pod/Ready`.
//!
//! Each function is what `kubectl get` shows, computed from the object alone and the reader's clock. The names come from
//! the facts' column headings; a heading nobody wrote a cell for shows `<unknown>`, which a test refuses.

mod access;
mod autoscaling;
mod cluster;
mod events;
mod network;
mod pod;
mod storage;
mod text;
mod workloads;

use serde_json::Value;

use crate::time::Timestamp;

/// Computes one cell of a built-in kind; the name is `<Kind>/<Heading>`.
pub fn cell(name: &str, object: &Value, now: Timestamp) -> Value {
    let known = name.split_once('/');
    let known = known.and_then(|(kind, heading)| find(kind, heading, object, now));
    known.unwrap_or_else(|| text::UNKNOWN.into())
}

fn find(kind: &str, heading: &str, object: &Value, now: Timestamp) -> Option<Value> {
    let special = match kind {
        "Pod" => pod::cell(heading, object, now),
        "Deployment"
        | "ReplicaSet"
        | "ReplicationController"
        | "StatefulSet"
        | "DaemonSet"
        | "Job"
        | "CronJob"
        | "PodTemplate"
        | "ControllerRevision" => workloads::cell(kind, heading, object, now),
        "Service" | "Endpoints" | "EndpointSlice" | "Ingress" | "IngressClass" | "IPAddress"
        | "NetworkPolicy" | "ServiceCIDR" => network::cell(kind, heading, object),
        "PersistentVolume"
        | "PersistentVolumeClaim"
        | "StorageClass"
        | "CSIDriver"
        | "CSINode"
        | "VolumeAttachment"
        | "VolumeAttributesClass" => storage::cell(kind, heading, object),
        "HorizontalPodAutoscaler" | "PodDisruptionBudget" => {
            autoscaling::cell(kind, heading, object)
        }
        "Event" => events::cell(heading, object, now),
        "RoleBinding"
        | "ClusterRoleBinding"
        | "CertificateSigningRequest"
        | "MutatingWebhookConfiguration"
        | "ValidatingWebhookConfiguration"
        | "MutatingAdmissionPolicy"
        | "ValidatingAdmissionPolicy"
        | "MutatingAdmissionPolicyBinding"
        | "ValidatingAdmissionPolicyBinding"
        | "FlowSchema"
        | "PriorityLevelConfiguration" => access::cell(kind, heading, object),
        _ => cluster::cell(kind, heading, object),
    };
    special.or_else(|| common(heading, object, now))
}

/// Headings that mean the same for every kind.
fn common(heading: &str, object: &Value, now: Timestamp) -> Option<Value> {
    let created = &object["metadata"]["creationTimestamp"];
    Some(match heading {
        "Name" => object["metadata"]["name"].clone(),
        "Age" => text::age(created, now).into(),
        "Created At" => created.clone(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::builtin::definitions;
    use crate::definition::Cell;

    #[test]
    fn every_column_has_a_cell() {
        let now = Timestamp::default();
        let mut missing = Vec::new();
        for definition in definitions() {
            for version in &definition.versions {
                for column in &version.columns {
                    if let Cell::Named(name) = &column.cell
                        && let Some((kind, heading)) = name.split_once('/')
                        && find(kind, heading, &json!({}), now).is_none()
                    {
                        missing.push(name.clone());
                    }
                }
            }
        }
        assert!(missing.is_empty(), "no cell for {missing:?}");
    }

    /// Rows that a genuine Kubernetes 1.36 printed (`cargo run -p xtask -- tables`), ages left out.
    #[test]
    fn cells_are_those_of_a_genuine_server() {
        let golden: Value = serde_json::from_str(include_str!("../testdata/tables.json")).unwrap();
        let mut wrong = Vec::new();
        for table in golden.as_array().unwrap() {
            let now = Timestamp::parse(table["now"].as_str().unwrap()).unwrap();
            let kind = table["kind"].as_str().unwrap();
            let headings = table["headings"].as_array().unwrap();
            for row in table["rows"].as_array().unwrap() {
                for (i, heading) in headings.iter().enumerate() {
                    let heading = heading.as_str().unwrap();
                    if [
                        "Age",
                        "Duration",
                        "Last Schedule",
                        "Last Seen",
                        "First Seen",
                    ]
                    .contains(&heading)
                    {
                        continue;
                    }
                    let ours = cell(&format!("{kind}/{heading}"), &row["object"], now);
                    let theirs = &row["cells"][i];
                    if ours != *theirs {
                        wrong.push(format!("{kind}/{heading}: {ours} instead of {theirs}"));
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
