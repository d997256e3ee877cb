//! Everything else: namespaces, nodes, configuration, quotas, classes, devices.

use serde_json::{Value, json};

use super::text::{NONE, UNKNOWN, condition, count, flag, integer, list, string, string_or};

pub(super) fn cell(kind: &str, heading: &str, o: &Value) -> Option<Value> {
    Some(match (kind, heading) {
        ("Namespace", "Status") => json!(string(o, "/status/phase")),
        ("ConfigMap", "Data") => {
            let n = count(o, "/data") + count(o, "/binaryData");
            n.into()
        }
        ("Secret", "Type") => json!(string(o, "/type")),
        ("Secret", "Data") => count(o, "/data").into(),
        ("Node", _) => return node(heading, o),
        ("ResourceQuota", _) => return quota(heading, o),
        ("Lease", "Holder") => json!(string(o, "/spec/holderIdentity")),
        ("RuntimeClass", "Handler") => json!(string(o, "/handler")),
        ("PriorityClass", "Value") => integer(o, "/value").into(),
        ("PriorityClass", "Global-Default") => flag(o, "/globalDefault").into(),
        ("PriorityClass", "PreemptionPolicy") => {
            string_or(o, "/preemptionPolicy", "PreemptLowerPriority")
        }
        ("ComponentStatus", _) => return component(heading, o),
        ("APIService", "Service") => match o.pointer("/spec/service") {
            Some(s) => format!("{}/{}", string(s, "/namespace"), string(s, "/name")).into(),
            None => "Local".into(),
        },
        ("APIService", "Available") => api_service_available(o).into(),
        ("ResourceClaim", "State") => claim_state(o).into(),
        ("ResourceSlice", "Node") => match string(o, "/spec/nodeName") {
            "" if flag(o, "/spec/allNodes") => "<all nodes>".into(),
            "" if o.pointer("/spec/nodeSelector").is_some() => "<some nodes>".into(),
            name => name.into(),
        },
        ("ResourceSlice", "Driver") => json!(string(o, "/spec/driver")),
        ("ResourceSlice", "Pool") => json!(string(o, "/spec/pool/name")),
        _ => return None,
    })
}

fn node(heading: &str, o: &Value) -> Option<Value> {
    let address = |ty: &str| {
        let all = list(o, "/status/addresses").iter();
        let mut all = all.filter(|a| a["type"] == ty);
        all.next()
            .map_or_else(|| NONE.into(), |a| json!(string(a, "/address")))
    };
    let info = |field: &str| string_or(o, &format!("/status/nodeInfo/{field}"), UNKNOWN);
    Some(match heading {
        "Status" => {
            let mut words = vec![match condition(o, "Ready") {
                "" => "Unknown",
                "True" => "Ready",
                _ => "NotReady",
            }];
            if flag(o, "/spec/unschedulable") {
                words.push("SchedulingDisabled");
            }
            words.join(",").into()
        }
        "Roles" => node_roles(o),
        "Version" => json!(string(o, "/status/nodeInfo/kubeletVersion")),
        "Internal-IP" => address("InternalIP"),
        "External-IP" => address("ExternalIP"),
        "OS-Image" => info("osImage"),
        "Kernel-Version" => match (
            info("kernelVersion"),
            string(o, "/status/nodeInfo/architecture"),
        ) {
            (Value::String(kernel), arch) if !arch.is_empty() => {
                format!("{kernel} ({arch})").into()
            }
            (kernel, _) => kernel,
        },
        "Container-Runtime" => info("containerRuntimeVersion"),
        _ => return None,
    })
}

fn node_roles(o: &Value) -> Value {
    let labels = o.pointer("/metadata/labels").and_then(Value::as_object);
    let mut roles: Vec<&str> = Vec::new();
    for (key, value) in labels.into_iter().flatten() {
        if let Some(role) = key.strip_prefix("node-role.kubernetes.io/") {
            roles.push(role);
        } else if key == "kubernetes.io/role" {
            roles.extend(value.as_str());
        }
    }
    roles.retain(|r| !r.is_empty());
    roles.sort_unstable();
    roles.dedup();
    if roles.is_empty() {
        return NONE.into();
    }
    roles.join(",").into()
}

fn quota(heading: &str, o: &Value) -> Option<Value> {
    let limits = match heading {
        "Request" => false,
        "Limit" => true,
        _ => return None,
    };
    let hard = o.pointer("/status/hard").and_then(Value::as_object);
    let hard = hard.into_iter().flatten();
    let hard = hard.filter(|(name, _)| {
        let limit = *name == "limits.cpu"
            || *name == "limits.memory"
            || *name == "limits.ephemeral-storage";
        limit == limits
    });
    let shown = hard.map(|(name, hard)| {
        let used = o.pointer("/status/used").and_then(|u| u.get(name));
        let used = used.and_then(Value::as_str).unwrap_or("0");
        format!("{name}: {used}/{}", hard.as_str().unwrap_or_default())
    });
    Some(shown.collect::<Vec<_>>().join(", ").into())
}

fn component(heading: &str, o: &Value) -> Option<Value> {
    let healthy = list(o, "/conditions")
        .iter()
        .find(|c| c["type"] == "Healthy");
    let field = |name: &str| healthy.map_or("", |c| string(c, name));
    Some(match heading {
        "Status" => match field("/status") {
            "True" => "Healthy".into(),
            "False" => "Unhealthy".into(),
            _ => "Unknown".into(),
        },
        "Message" => field("/message").into(),
        "Error" => field("/error").into(),
        _ => return None,
    })
}

fn api_service_available(o: &Value) -> String {
    let all = list(o, "/status/conditions").iter();
    let mut all = all.filter(|c| c["type"] == "Available");
    match all.next() {
        Some(c) if c["status"] != "True" => {
            format!("{} ({})", string(c, "/status"), string(c, "/reason"))
        }
        Some(_) => "True".to_owned(),
        None => "Unknown".to_owned(),
    }
}

fn claim_state(o: &Value) -> String {
    let mut words = Vec::new();
    if !o["metadata"]["deletionTimestamp"].is_null() {
        words.push("deleted");
    }
    if o.pointer("/status/allocation").is_none() {
        if words.is_empty() {
            words.push("pending");
        }
    } else {
        words.push("allocated");
        if !list(o, "/status/reservedFor").is_empty() {
            words.push("reserved");
        }
    }
    words.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cordoned_node_says_so() {
        let node = json!({"metadata": {"labels": {"node-role.kubernetes.io/worker": "", "kubernetes.io/role": "edge"}},
            "spec": {"unschedulable": true}, "status": {"conditions": [{"type": "Ready", "status": "False"}]}});
        assert_eq!(
            cell("Node", "Status", &node),
            Some(json!("NotReady,SchedulingDisabled"))
        );
        assert_eq!(cell("Node", "Roles", &node), Some(json!("edge,worker")));
    }
}
