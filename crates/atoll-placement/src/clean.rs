//! What of a payload object travels: one table of what does not, and why.
//!
//! A payload workspace is inert, so almost nothing is ever filled in there; but people apply manifests exported from living clusters, where
//! controllers and defaults left their marks. A rule removes a field that would be wrong or refused at another cluster. What a person can have meant is kept.
//! The annotation `control.kubestellar.io/preserve` (a comma-separated list) keeps what a rule marked with that word would remove.

use std::sync::LazyLock;

use serde_json::Value;

use crate::path::FieldPath;

/// Grows whenever a change of the table changes what travels; part of every revision's content.
pub const TABLE_VERSION: u32 = 1;

/// The annotation that keeps fields.
pub const PRESERVE: &str = "control.kubestellar.io/preserve";

/// When a rule acts.
#[derive(Debug, Clone, Copy)]
enum When {
    Always,
    /// Unless the field has this value.
    Unless(&'static str),
    /// Unless the field at another path is true.
    UnlessTrue(&'static str),
    /// Only if the field at another path has this value.
    If(&'static str, &'static str),
}

/// One row of the table.
struct Rule {
    /// Group and resource; `*` for every one.
    of: (&'static str, &'static str),
    path: &'static str,
    when: When,
    /// The word that keeps it.
    preserve: Option<&'static str>,
}

const fn always(group: &'static str, resource: &'static str, path: &'static str) -> Rule {
    Rule {
        of: (group, resource),
        path,
        when: When::Always,
        preserve: None,
    }
}

/// The table. Each row has a test below.
const RULES: &[Rule] = &[
    // What belongs to the object as it is stored here, whatever its kind.
    always("*", "*", ".status"),
    always("*", "*", ".metadata.managedFields"),
    always("*", "*", ".metadata.finalizers"),
    always("*", "*", ".metadata.generation"),
    always("*", "*", ".metadata.ownerReferences"),
    always("*", "*", ".metadata.selfLink"),
    always("*", "*", ".metadata.resourceVersion"),
    always("*", "*", ".metadata.uid"),
    always("*", "*", ".metadata.generateName"),
    always("*", "*", ".metadata.creationTimestamp"),
    always("*", "*", ".metadata.deletionTimestamp"),
    always("*", "*", ".metadata.deletionGracePeriodSeconds"),
    always(
        "*",
        "*",
        ".metadata.annotations['kubectl.kubernetes.io/last-applied-configuration']",
    ),
    always("*", "*", ".metadata.annotations['kcp.io/cluster']"),
    always(
        "*",
        "*",
        ".metadata.annotations['edge.atoll.dev/edge-owned']",
    ),
    always(
        "*",
        "*",
        ".metadata.annotations['edge.atoll.dev/initial-only']",
    ),
    always("*", "*", ".metadata.annotations['edge.atoll.dev/replace']"),
    always(
        "*",
        "*",
        ".metadata.annotations['control.kubestellar.io/preserve']",
    ),
    always(
        "*",
        "*",
        ".metadata.annotations['control.kubestellar.io/expand-templates']",
    ),
    // A Namespace's finalizers are its cluster's.
    always("", "namespaces", ".spec.finalizers"),
    // A Service's addresses and ports are handed out by each cluster; "None" is a person's choice.
    Rule {
        of: ("", "services"),
        path: ".spec.clusterIP",
        when: When::Unless("None"),
        preserve: Some("clusterip"),
    },
    Rule {
        of: ("", "services"),
        path: ".spec.clusterIPs",
        when: When::Unless("None"),
        preserve: Some("clusterip"),
    },
    Rule {
        of: ("", "services"),
        path: ".spec.ports[*].nodePort",
        when: When::Always,
        preserve: Some("nodeport"),
    },
    Rule {
        of: ("", "services"),
        path: ".spec.healthCheckNodePort",
        when: When::Always,
        preserve: Some("nodeport"),
    },
    // A Job's selector and the labels that match it are made by its controller.
    Rule {
        of: ("batch", "jobs"),
        path: ".spec.selector",
        when: When::UnlessTrue(".spec.manualSelector"),
        preserve: None,
    },
    Rule {
        of: ("batch", "jobs"),
        path: ".spec.suspend",
        when: When::Always,
        preserve: Some("suspend"),
    },
    always(
        "batch",
        "jobs",
        ".metadata.annotations['batch.kubernetes.io/job-tracking']",
    ),
    always("batch", "jobs", ".metadata.labels['controller-uid']"),
    always(
        "batch",
        "jobs",
        ".metadata.labels['batch.kubernetes.io/controller-uid']",
    ),
    always(
        "batch",
        "jobs",
        ".spec.template.metadata.labels['controller-uid']",
    ),
    always(
        "batch",
        "jobs",
        ".spec.template.metadata.labels['batch.kubernetes.io/controller-uid']",
    ),
    always("batch", "jobs", ".spec.template.metadata.creationTimestamp"),
    // Claims bind to volumes of their own cluster.
    Rule {
        of: ("", "persistentvolumeclaims"),
        path: ".spec.volumeName",
        when: When::Always,
        preserve: Some("volumename"),
    },
    always(
        "",
        "persistentvolumeclaims",
        ".metadata.annotations['pv.kubernetes.io/bind-completed']",
    ),
    always(
        "",
        "persistentvolumeclaims",
        ".metadata.annotations['pv.kubernetes.io/bound-by-controller']",
    ),
    always(
        "",
        "persistentvolumeclaims",
        ".metadata.annotations['volume.kubernetes.io/storage-provisioner']",
    ),
    always(
        "",
        "persistentvolumeclaims",
        ".metadata.annotations['volume.beta.kubernetes.io/storage-provisioner']",
    ),
    always(
        "",
        "persistentvolumeclaims",
        ".metadata.annotations['volume.kubernetes.io/selected-node']",
    ),
    always("", "persistentvolumes", ".spec.claimRef.uid"),
    always("", "persistentvolumes", ".spec.claimRef.resourceVersion"),
    always(
        "",
        "persistentvolumes",
        ".metadata.annotations['pv.kubernetes.io/bound-by-controller']",
    ),
    // A Pod is scheduled where it runs.
    Rule {
        of: ("", "pods"),
        path: ".spec.nodeName",
        when: When::Always,
        preserve: Some("nodename"),
    },
    // Token Secrets are made, and fought over, by each cluster's own controller.
    always("", "serviceaccounts", ".secrets"),
    Rule {
        of: ("", "secrets"),
        path: ".data",
        when: When::If(".type", "kubernetes.io/service-account-token"),
        preserve: None,
    },
    always(
        "",
        "secrets",
        ".metadata.annotations['kubernetes.io/service-account.uid']",
    ),
    // Marks of workload controllers.
    always(
        "apps",
        "deployments",
        ".metadata.annotations['deployment.kubernetes.io/revision']",
    ),
    always(
        "apps",
        "replicasets",
        ".metadata.annotations['deployment.kubernetes.io/revision']",
    ),
    always(
        "apps",
        "replicasets",
        ".metadata.annotations['deployment.kubernetes.io/desired-replicas']",
    ),
    always(
        "apps",
        "replicasets",
        ".metadata.annotations['deployment.kubernetes.io/max-replicas']",
    ),
    always(
        "apps",
        "daemonsets",
        ".metadata.annotations['deprecated.daemonset.template.generation']",
    ),
    always("apps", "*", ".spec.template.metadata.creationTimestamp"),
    always(
        "batch",
        "cronjobs",
        ".spec.jobTemplate.metadata.creationTimestamp",
    ),
    always(
        "autoscaling",
        "horizontalpodautoscalers",
        ".metadata.annotations['autoscaling.alpha.kubernetes.io/conditions']",
    ),
    always(
        "autoscaling",
        "horizontalpodautoscalers",
        ".metadata.annotations['autoscaling.alpha.kubernetes.io/current-metrics']",
    ),
];

struct Compiled {
    rule: &'static Rule,
    path: FieldPath,
    other: Option<FieldPath>,
}

static TABLE: LazyLock<Vec<Compiled>> = LazyLock::new(|| {
    RULES
        .iter()
        .filter_map(|rule| {
            let other = match rule.when {
                When::UnlessTrue(path) | When::If(path, _) => Some(FieldPath::parse(path).ok()?),
                When::Always | When::Unless(_) => None,
            };
            Some(Compiled {
                rule,
                path: FieldPath::parse(rule.path).ok()?,
                other,
            })
        })
        .collect()
});

impl Compiled {
    fn concerns(&self, group: &str, resource: &str) -> bool {
        let (g, r) = self.rule.of;
        (g == "*" || g == group) && (r == "*" || r == resource)
    }

    fn acts(&self, object: &Value) -> bool {
        let text_is = |value: &Value, text: &str| {
            value == text
                || value
                    .as_array()
                    .is_some_and(|items| items.iter().any(|item| item == text))
        };
        match self.rule.when {
            When::Always => true,
            When::Unless(text) => !self
                .path
                .get(object)
                .is_some_and(|value| text_is(value, text)),
            When::UnlessTrue(_) => {
                self.other.as_ref().and_then(|path| path.get(object)) != Some(&Value::Bool(true))
            }
            When::If(_, text) => self
                .other
                .as_ref()
                .and_then(|path| path.get(object))
                .is_some_and(|value| text_is(value, text)),
        }
    }
}

/// Removes from a payload object what does not travel.
pub fn clean(group: &str, resource: &str, object: &mut Value) {
    let preserved: Vec<String> = object
        .pointer("/metadata/annotations")
        .and_then(|a| a.get(PRESERVE))
        .and_then(Value::as_str)
        .map(|list| {
            list.split(',')
                .map(|word| word.trim().to_ascii_lowercase())
                .collect()
        })
        .unwrap_or_default();
    let acting: Vec<&Compiled> = TABLE
        .iter()
        .filter(|row| row.concerns(group, resource) && row.acts(object))
        .filter(|row| {
            !row.rule
                .preserve
                .is_some_and(|word| preserved.iter().any(|p| p == word))
        })
        .collect();
    for row in acting {
        row.path.remove(object);
    }
    if group.is_empty() && resource == "pods" {
        drop_injected_tokens(object);
    }
}

/// Admission at the exporting cluster mounted a token volume with a generated name into every container; the edge mounts its own.
fn drop_injected_tokens(pod: &mut Value) {
    fn injected(item: &Value) -> bool {
        item.get("name")
            .and_then(Value::as_str)
            .is_some_and(|name| name.starts_with("kube-api-access-"))
    }
    let Some(spec) = pod.get_mut("spec") else {
        return;
    };
    if let Some(volumes) = spec.get_mut("volumes").and_then(Value::as_array_mut) {
        volumes.retain(|volume| !injected(volume));
    }
    for list in ["containers", "initContainers"] {
        for container in spec
            .get_mut(list)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            if let Some(mounts) = container
                .get_mut("volumeMounts")
                .and_then(Value::as_array_mut)
            {
                mounts.retain(|mount| !injected(mount));
            }
        }
    }
}

/// Whether objects of a resource can be destined for an edge at all.
///
/// Control kinds of ours, kcp's and OCM's stay; so does what only a cluster itself makes (events, leases, endpoints, nodes) or what is never stored.
pub fn travels(group: &str, resource: &str) -> bool {
    match group {
        "" => !matches!(
            resource,
            "events" | "nodes" | "endpoints" | "bindings" | "componentstatuses"
        ),
        "apps" => resource != "controllerrevisions",
        "storage.k8s.io" => !matches!(
            resource,
            "csinodes" | "csistoragecapacities" | "volumeattachments"
        ),
        "certificates.k8s.io" => resource != "certificatesigningrequests",
        "events.k8s.io"
        | "coordination.k8s.io"
        | "discovery.k8s.io"
        | "authentication.k8s.io"
        | "authorization.k8s.io"
        | "internal.apiserver.k8s.io"
        | "internal.atoll.dev"
        | "metrics.k8s.io" => false,
        "control.kubestellar.io"
        | "edge.atoll.dev"
        | "edge.kubestellar.io"
        | "edge.kcp.io"
        | "cluster.open-cluster-management.io"
        | "work.open-cluster-management.io" => false,
        group => !(group == "kcp.io" || group.ends_with(".kcp.io")),
    }
}

/// Namespaces that every cluster has: never carried implicitly, never removed.
pub fn is_builtin_namespace(name: &str) -> bool {
    matches!(
        name,
        "default" | "kube-system" | "kube-public" | "kube-node-lease"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn cleaned(group: &str, resource: &str, mut object: Value) -> Value {
        clean(group, resource, &mut object);
        object
    }

    #[test]
    fn every_row_parses_and_removes_its_field() {
        assert_eq!(
            TABLE.len(),
            RULES.len(),
            "a path of the table does not parse"
        );
        for row in TABLE.iter() {
            let (group, resource) = row.rule.of;
            let (group, resource) = (
                if group == "*" { "x.io" } else { group },
                if resource == "*" { "things" } else { resource },
            );
            let mut object = json!({"kept": true});
            set(&mut object, row.rule.path, json!("10.0.0.1"));
            if let When::If(path, value) = row.rule.when {
                set(&mut object, path, json!(value));
            }
            let path = FieldPath::parse(row.rule.path).unwrap();
            assert!(path.get(&object).is_some(), "{}", row.rule.path);
            let after = cleaned(group, resource, object);
            assert!(
                path.get(&after).is_none(),
                "{} {resource} keeps {}",
                group,
                row.rule.path
            );
            assert_eq!(after["kept"], true);
        }
    }

    /// Puts a value at a rule's path.
    fn set(object: &mut Value, path: &str, value: Value) {
        let mut at = object;
        let text = path.replace("['", "\u{1}").replace("']", "");
        let mut names: Vec<String> = Vec::new();
        let mut quoted = false;
        for ch in text.chars() {
            match ch {
                '.' if !quoted => names.push(String::new()),
                '\u{1}' => {
                    quoted = true;
                    names.push(String::new());
                }
                ch => names.last_mut().unwrap().push(ch),
            }
        }
        let last = names.pop().unwrap();
        for name in names {
            match name.strip_suffix("[*]") {
                Some(list) => {
                    at[list] = json!([{"other": 1}]);
                    at = &mut at[list][0];
                }
                None => {
                    if !at[&name].is_object() {
                        at[&name] = json!({});
                    }
                    at = &mut at[&name];
                }
            }
        }
        at[&last] = value;
    }

    #[test]
    fn what_a_person_can_have_meant_is_kept() {
        for (group, resource, object) in [
            (
                "",
                "services",
                json!({"spec": {"clusterIP": "None", "clusterIPs": ["None"], "type": "ClusterIP"}}),
            ),
            (
                "",
                "services",
                json!({"spec": {"externalTrafficPolicy": "Local", "ipFamilyPolicy": "PreferDualStack", "sessionAffinity": "ClientIP"}}),
            ),
            (
                "batch",
                "jobs",
                json!({"spec": {"manualSelector": true, "selector": {"matchLabels": {"a": "b"}}, "completions": 3}}),
            ),
            (
                "",
                "persistentvolumeclaims",
                json!({"spec": {"storageClassName": "fast"}}),
            ),
            (
                "",
                "persistentvolumes",
                json!({"spec": {"claimRef": {"name": "c", "namespace": "n"}}}),
            ),
            (
                "",
                "secrets",
                json!({"type": "Opaque", "data": {"k": "dg=="}}),
            ),
            (
                "apps",
                "deployments",
                json!({"metadata": {"labels": {"controller-uid": "mine"}}}),
            ),
            (
                "stable.example.com",
                "crontabs",
                json!({"spec": {"suspend": true, "nodeName": "n", "selector": {}}}),
            ),
        ] {
            assert_eq!(
                cleaned(group, resource, object.clone()),
                object,
                "{group} {resource}"
            );
        }
    }

    #[test]
    fn preserve_keeps_what_it_names_and_no_more() {
        let service = json!({
            "metadata": {"annotations": {PRESERVE: "nodeport"}},
            "spec": {"clusterIP": "10.0.0.3", "ports": [{"port": 80, "nodePort": 30080}]}
        });
        assert_eq!(
            cleaned("", "services", service),
            json!({"spec": {"ports": [{"port": 80, "nodePort": 30080}]}})
        );
        let job = json!({"metadata": {"annotations": {PRESERVE: "suspend, other"}}, "spec": {"suspend": true}});
        assert_eq!(cleaned("batch", "jobs", job)["spec"]["suspend"], true);
    }

    #[test]
    fn a_pod_loses_the_token_that_another_cluster_mounted() {
        let pod = json!({"spec": {
            "volumes": [{"name": "kube-api-access-x1z"}, {"name": "data"}],
            "containers": [{"name": "c", "volumeMounts": [{"name": "kube-api-access-x1z"}, {"name": "data"}]}]
        }});
        assert_eq!(
            cleaned("", "pods", pod),
            json!({"spec": {"volumes": [{"name": "data"}], "containers": [{"name": "c", "volumeMounts": [{"name": "data"}]}]}})
        );
    }

    #[test]
    fn control_kinds_and_what_clusters_make_themselves_do_not_travel() {
        for (group, resource, expected) in [
            ("", "configmaps", true),
            ("", "events", false),
            ("events.k8s.io", "events", false),
            ("apiextensions.k8s.io", "customresourcedefinitions", true),
            ("apiregistration.k8s.io", "apiservices", true),
            ("tenancy.kcp.io", "workspaces", false),
            ("apis.kcp.io", "apibindings", false),
            ("control.kubestellar.io", "bindingpolicies", false),
            ("coordination.k8s.io", "leases", false),
            ("stable.example.com", "crontabs", true),
            ("rbac.authorization.k8s.io", "clusterroles", true),
        ] {
            assert_eq!(travels(group, resource), expected, "{group}/{resource}");
        }
    }
}
