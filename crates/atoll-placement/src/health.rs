//! Whether a copy is well, by a rule per well-known kind and by convention for the rest.
//!
//! A status older than the applied generation (`observed` false) never counts as healthy.

use serde_json::Value;

/// How well a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Health {
    /// As it should be.
    Healthy,
    /// On its way.
    #[default]
    Progressing,
    /// It will not get well by itself.
    Degraded,
}

impl Health {
    /// As a small number, for compact tables.
    pub fn code(self) -> u8 {
        match self {
            Health::Healthy => 0,
            Health::Progressing => 1,
            Health::Degraded => 2,
        }
    }

    /// Reads [`Health::code`].
    pub fn from_code(code: u8) -> Health {
        match code {
            0 => Health::Healthy,
            2 => Health::Degraded,
            _ => Health::Progressing,
        }
    }

    /// As people read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Health::Healthy => "Healthy",
            Health::Progressing => "Progressing",
            Health::Degraded => "Degraded",
        }
    }
}

/// The health of a copy from the object as desired and its status (raw or projected).
pub fn of(group: &str, resource: &str, desired: &Value, status: &Value, observed: bool) -> Health {
    let found = match (group, resource) {
        ("apps", "deployments") => deployment(desired, status),
        ("apps", "statefulsets") => {
            replicated(desired, status, "readyReplicas", Some("updatedReplicas"))
        }
        ("apps", "replicasets") | ("", "replicationcontrollers") => {
            replicated(desired, status, "availableReplicas", None)
        }
        ("apps", "daemonsets") => daemon_set(status),
        ("batch", "jobs") => match (condition(status, "Failed"), condition(status, "Complete")) {
            (Some("True"), _) => Health::Degraded,
            (_, Some("True")) => Health::Healthy,
            _ => Health::Progressing,
        },
        ("", "pods") => pod(status),
        ("", "persistentvolumeclaims") => match text(status, "phase") {
            Some("Bound") => Health::Healthy,
            Some("Lost") => Health::Degraded,
            _ => Health::Progressing,
        },
        ("", "persistentvolumes") => match text(status, "phase") {
            Some("Failed") => Health::Degraded,
            _ => Health::Healthy,
        },
        ("", "namespaces") => match text(status, "phase") {
            Some("Terminating") => Health::Progressing,
            _ => Health::Healthy,
        },
        ("", "services") => service(desired, status),
        ("apiextensions.k8s.io", "customresourcedefinitions") => {
            match condition(status, "Established") {
                Some("True") => Health::Healthy,
                _ if condition(status, "NamesAccepted") == Some("False") => Health::Degraded,
                _ => Health::Progressing,
            }
        }
        ("apiregistration.k8s.io", "apiservices") => {
            by_condition(status, "Available").unwrap_or(Health::Progressing)
        }
        ("autoscaling", _) | ("policy", _) | ("batch", "cronjobs") | ("networking.k8s.io", _) => {
            Health::Healthy
        }
        _ => conventional(status),
    };
    if found == Health::Healthy && !observed {
        Health::Progressing
    } else {
        found
    }
}

fn number(value: &Value, field: &str) -> i64 {
    value.get(field).and_then(Value::as_i64).unwrap_or(0)
}

fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value.get(field).and_then(Value::as_str)
}

/// The status of a condition.
fn condition<'a>(status: &'a Value, kind: &str) -> Option<&'a str> {
    find(status, kind).and_then(|c| text(c, "status"))
}

fn find<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    status
        .get("conditions")?
        .as_array()?
        .iter()
        .find(|c| text(c, "type") == Some(kind))
}

fn by_condition(status: &Value, kind: &str) -> Option<Health> {
    Some(match condition(status, kind)? {
        "True" => Health::Healthy,
        "False" => Health::Degraded,
        _ => Health::Progressing,
    })
}

/// How many replicas are wanted: what the object says, unless something at the edge scales it.
fn wanted(desired: &Value, status: &Value) -> i64 {
    match desired.pointer("/spec/replicas").and_then(Value::as_i64) {
        Some(replicas) if status.get("replicas").is_none() => replicas,
        Some(replicas) => replicas.min(number(status, "replicas").max(i64::from(replicas > 0))),
        None => number(status, "replicas").max(1),
    }
}

fn deployment(desired: &Value, status: &Value) -> Health {
    if find(status, "Progressing")
        .is_some_and(|c| text(c, "reason") == Some("ProgressDeadlineExceeded"))
    {
        return Health::Degraded;
    }
    replicated(
        desired,
        status,
        "availableReplicas",
        Some("updatedReplicas"),
    )
}

fn replicated(desired: &Value, status: &Value, ready: &str, updated: Option<&str>) -> Health {
    let wanted = wanted(desired, status);
    let enough = number(status, ready) >= wanted
        && updated.is_none_or(|field| number(status, field) >= wanted);
    // Old replicas that still run, or a count that the controller has not reached, mean that it is not done.
    let settled =
        updated.is_none_or(|field| number(status, "replicas") <= number(status, field).max(wanted));
    if enough && settled {
        Health::Healthy
    } else {
        Health::Progressing
    }
}

fn daemon_set(status: &Value) -> Health {
    if status.get("desiredNumberScheduled").is_none() {
        return Health::Progressing;
    }
    let wanted = number(status, "desiredNumberScheduled");
    if number(status, "numberAvailable") >= wanted
        && number(status, "updatedNumberScheduled") >= wanted
    {
        Health::Healthy
    } else {
        Health::Progressing
    }
}

fn pod(status: &Value) -> Health {
    match text(status, "phase") {
        Some("Succeeded") => Health::Healthy,
        Some("Failed") => Health::Degraded,
        Some("Running") if condition(status, "Ready") == Some("True") => Health::Healthy,
        _ => Health::Progressing,
    }
}

fn service(desired: &Value, status: &Value) -> Health {
    let balanced = desired.pointer("/spec/type").and_then(Value::as_str) == Some("LoadBalancer");
    let given = status
        .pointer("/loadBalancer/ingress")
        .and_then(Value::as_array)
        .is_some_and(|i| !i.is_empty());
    if balanced && !given {
        Health::Progressing
    } else {
        Health::Healthy
    }
}

/// Objects of kinds nobody told us about: the conditions that most of them use, else an existing object is well.
fn conventional(status: &Value) -> Health {
    for kind in ["Failed", "Stalled"] {
        if condition(status, kind) == Some("True") {
            return Health::Degraded;
        }
    }
    for kind in ["Ready", "Available", "Healthy"] {
        match condition(status, kind) {
            Some("True") => return Health::Healthy,
            Some(_) => return Health::Progressing,
            None => {}
        }
    }
    Health::Healthy
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rules() {
        let two = json!({"spec": {"replicas": 2}});
        let none = json!({});
        for (group, resource, desired, status, expected) in [
            ("apps", "deployments", &two, json!({}), Health::Progressing),
            (
                "apps",
                "deployments",
                &two,
                json!({"replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}),
                Health::Healthy,
            ),
            (
                "apps",
                "deployments",
                &two,
                json!({"replicas": 3, "updatedReplicas": 2, "availableReplicas": 3}),
                Health::Progressing,
            ),
            (
                "apps",
                "deployments",
                &two,
                json!({"replicas": 2, "updatedReplicas": 1, "availableReplicas": 2}),
                Health::Progressing,
            ),
            (
                "apps",
                "deployments",
                &two,
                json!({"replicas": 2, "conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]}),
                Health::Degraded,
            ),
            (
                "apps",
                "deployments",
                &json!({"spec": {"replicas": 0}}),
                json!({}),
                Health::Healthy,
            ),
            (
                "apps",
                "statefulsets",
                &two,
                json!({"replicas": 2, "readyReplicas": 2, "updatedReplicas": 2}),
                Health::Healthy,
            ),
            (
                "apps",
                "statefulsets",
                &two,
                json!({"replicas": 2, "readyReplicas": 1, "updatedReplicas": 2}),
                Health::Progressing,
            ),
            ("apps", "daemonsets", &none, json!({}), Health::Progressing),
            (
                "apps",
                "daemonsets",
                &none,
                json!({"desiredNumberScheduled": 1, "numberAvailable": 1, "updatedNumberScheduled": 1}),
                Health::Healthy,
            ),
            (
                "batch",
                "jobs",
                &none,
                json!({"conditions": [{"type": "Complete", "status": "True"}]}),
                Health::Healthy,
            ),
            (
                "batch",
                "jobs",
                &none,
                json!({"conditions": [{"type": "Failed", "status": "True"}]}),
                Health::Degraded,
            ),
            (
                "",
                "pods",
                &none,
                json!({"phase": "Running"}),
                Health::Progressing,
            ),
            (
                "",
                "pods",
                &none,
                json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}),
                Health::Healthy,
            ),
            ("", "configmaps", &none, Value::Null, Health::Healthy),
            (
                "",
                "services",
                &json!({"spec": {"type": "LoadBalancer"}}),
                json!({"loadBalancer": {}}),
                Health::Progressing,
            ),
            (
                "x.io",
                "things",
                &none,
                json!({"conditions": [{"type": "Ready", "status": "False"}]}),
                Health::Progressing,
            ),
            (
                "x.io",
                "things",
                &none,
                json!({"phase": "whatever"}),
                Health::Healthy,
            ),
        ] {
            assert_eq!(
                of(group, resource, desired, &status, true),
                expected,
                "{resource} {status}"
            );
        }
    }

    #[test]
    fn an_older_status_never_counts() {
        let status = json!({"replicas": 2, "updatedReplicas": 2, "availableReplicas": 2});
        assert_eq!(
            of(
                "apps",
                "deployments",
                &json!({"spec": {"replicas": 2}}),
                &status,
                false
            ),
            Health::Progressing
        );
    }
}
