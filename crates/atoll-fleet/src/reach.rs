//! What a policy names that it cannot place: resources that never travel, and those that its workspace does not serve. Said, never refused: a CRD may come later, and
//! manifests from the field list what a cluster makes by itself. Pure.

use std::sync::Arc;

use atoll_kube::Definition;
use atoll_placement::clean;
use atoll_placement::policy::Policy;
use serde_json::{Value, json};

/// What the clauses of a policy name in vain, given what the workspace serves: for a warning and for the policy's condition.
pub(crate) fn in_vain(policy: &Policy, served: &[Arc<Definition>]) -> Vec<String> {
    let mut found = Vec::new();
    for (i, clause) in policy.downsync.iter().enumerate() {
        let (group, path) = (
            clause.test.api_group.as_deref(),
            format!("spec.downsync[{i}]"),
        );
        let of_group: Vec<&Definition> = served
            .iter()
            .map(Arc::as_ref)
            .filter(|d| group.is_none_or(|g| g == d.group))
            .collect();
        let travels = |definitions: &[&Definition]| {
            let mut all = definitions.iter();
            all.any(|d| clean::travels(&d.group, &d.names.plural))
        };
        if let Some(group) = group {
            let name = group_name(group);
            if of_group.is_empty() {
                found.push(format!(
                    "UnknownResource: {path}.apiGroup: this workspace serves nothing of {name}"
                ));
                continue;
            }
            if !travels(&of_group) {
                found.push(format!(
                    "NeverTravels: {path}.apiGroup: nothing of {name} is ever placed at edges"
                ));
                continue;
            }
        }
        for resource in clause.test.resources.iter().filter(|r| *r != "*") {
            let named: Vec<&Definition> = of_group
                .iter()
                .copied()
                .filter(|d| d.names.plural == *resource)
                .collect();
            if named.is_empty() {
                let of = group
                    .map(|g| format!(" of {}", group_name(g)))
                    .unwrap_or_default();
                let meant = meant(resource, &of_group);
                found.push(format!("UnknownResource: {path}.resources: this workspace serves no {resource:?}{of}{meant}"));
            } else if !travels(&named) {
                found.push(format!("NeverTravels: {path}.resources: {resource:?} are never placed at edges, where they belong to the cluster itself or to no cluster at all"));
            }
        }
    }
    found
}

/// The same for what a Customizer or a CustomTransform targets.
pub(crate) fn targets_in_vain(kind: &str, spec: &Value, served: &[Arc<Definition>]) -> Vec<String> {
    let transform = kind == "CustomTransform";
    let targets = match transform {
        true => {
            let group = spec.get("apiGroup").cloned().unwrap_or_else(|| "".into());
            json!([{"apiGroup": group, "resources": [spec.get("resource")]}])
        }
        false => spec.get("targets").cloned().unwrap_or_default(),
    };
    let Ok(policy) = Policy::parse(&json!({"downsync": targets})) else {
        // Said already, with the reason.
        return Vec::new();
    };
    let said = in_vain(&policy, served).into_iter();
    said.map(|text| match transform {
        true => text
            .replace("spec.downsync[0].resources", "spec.resource")
            .replace("spec.downsync[0].", "spec."),
        false => text.replace("spec.downsync[", "spec.targets["),
    })
    .collect()
}

fn group_name(group: &str) -> String {
    match group {
        "" => "the core group".to_owned(),
        group => format!("group {group:?}"),
    }
}

/// People write kinds and short names where the plural is wanted.
fn meant(name: &str, definitions: &[&Definition]) -> String {
    let lower = name.to_lowercase();
    let plain = lower.split('.').next().unwrap_or(&lower);
    let like = definitions.iter().find(|d| {
        let names = &d.names;
        names.plural == plain
            || names.singular == plain
            || names.kind.eq_ignore_ascii_case(plain)
            || names.short_names.iter().any(|short| short == plain)
    });
    match like {
        Some(definition) => format!(
            "; write the plural, {:?}, without group",
            definition.names.plural
        ),
        None => " (yet); a CustomResourceDefinition may add it".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use atoll_kube::builtin;

    use super::*;

    fn said(clause: Value) -> String {
        let policy = Policy::parse(&json!({"downsync": [clause]})).unwrap();
        in_vain(&policy, builtin::definitions()).join("\n")
    }

    #[test]
    fn targets_are_named_by_their_plurals() {
        let said = |kind: &str, spec: Value| {
            targets_in_vain(kind, &spec, builtin::definitions()).join("\n")
        };
        let customizer =
            json!({"targets": [{"resources": ["configmaps"]}, {"resources": ["deployment"]}]});
        let warned = said("Customizer", customizer);
        assert!(
            warned.contains("spec.targets[1].resources") && warned.contains("\"deployments\""),
            "{warned}"
        );
        let transform = said(
            "CustomTransform",
            json!({"apiGroup": "apps", "resource": "Deployment"}),
        );
        assert!(
            transform.contains("spec.resource:") && transform.contains("\"deployments\""),
            "{transform}"
        );
        assert_eq!(
            said(
                "CustomTransform",
                json!({"apiGroup": "apps", "resource": "deployments"})
            ),
            ""
        );
    }

    #[test]
    fn what_is_named_in_vain_is_said() {
        for (clause, expected) in [
            (json!({"resources": ["configmaps", "deployments"]}), ""),
            (json!({"resources": ["*"], "apiGroup": "apps"}), ""),
            (json!({"objectNames": ["x"]}), ""),
            (
                json!({"resources": ["configmaps", "nodes"]}),
                "NeverTravels: spec.downsync[0].resources: \"nodes\"",
            ),
            (
                json!({"resources": ["gizmos"]}),
                "UnknownResource: spec.downsync[0].resources: this workspace serves no \"gizmos\" (yet)",
            ),
            (
                json!({"resources": ["Deployment"]}),
                "write the plural, \"deployments\"",
            ),
            (
                json!({"resources": ["deploy"]}),
                "write the plural, \"deployments\"",
            ),
            (
                json!({"resources": ["deployments.apps"]}),
                "write the plural, \"deployments\", without group",
            ),
            (
                json!({"resources": ["deployments"], "apiGroup": ""}),
                "no \"deployments\" of the core group",
            ),
            (
                json!({"apiGroup": "coordination.k8s.io"}),
                "NeverTravels: spec.downsync[0].apiGroup",
            ),
            (
                json!({"apiGroup": "nobody.example"}),
                "nothing of group \"nobody.example\"",
            ),
            // Core events do not travel, nor do those of the other group.
            (json!({"resources": ["events"]}), "NeverTravels"),
        ] {
            let said = said(clause.clone());
            let fits = if expected.is_empty() {
                said.is_empty()
            } else {
                said.contains(expected)
            };
            assert!(fits, "{clause}: {said:?}");
            assert!(said.lines().count() <= 1, "{said}");
        }
    }
}
