//! The checks a CustomResourceDefinition must pass, as Kubernetes makes them.
//!
//! What one version must be like is in [`super::version_rules`]. Metadata is checked as for every object, elsewhere; here
//! only that the name fits.

use serde_json::Value;

use super::crd::CrdErrors;
use super::status::{Approval, approval, is_established, protected_group};
use super::version_rules::version_rules;
use crate::names::{is_dns1035_label, is_dns1123_subdomain};
use crate::status::{FieldError, child, index};

/// What is wrong with a new CRD (defaulted already).
pub fn validate_crd(crd: &Value) -> CrdErrors {
    let mut errors = check(crd, &[]);
    approval_rules(crd, None, &mut errors);
    errors
}

/// What is wrong with an update of a CRD.
pub fn validate_crd_update(old: &Value, new: &Value) -> CrdErrors {
    let mut errors = check(new, versions(old));
    let part = |crd: &Value, pointer: &str| crd.pointer(pointer).cloned().unwrap_or_default();
    let mut immutable = |pointer: &str| {
        let (before, after) = (part(old, pointer), part(new, pointer));
        if before != after {
            let field = pointer.trim_start_matches('/').replace('/', ".");
            errors.push(FieldError::invalid(field, after, "field is immutable"));
        }
    };
    if is_established(old) {
        immutable("/spec/scope");
        immutable("/spec/names/kind");
    }
    immutable("/spec/group");
    immutable("/spec/names/plural");
    stored_versions(old, new, &mut errors);
    approval_rules(new, Some(old), &mut errors);
    errors
}

/// A version that objects may still be stored in has to stay.
fn stored_versions(old: &Value, new: &Value, errors: &mut CrdErrors) {
    let stored = old
        .pointer("/status/storedVersions")
        .and_then(Value::as_array);
    let kept = |name: &str| versions(new).iter().any(|v| text(v, "name") == name);
    for (i, version) in stored.into_iter().flatten().enumerate() {
        let name = version.as_str().unwrap_or_default();
        if !kept(name) {
            errors.push(FieldError::invalid(
                index("status.storedVersions", i),
                name,
                format!(
                    "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions"
                ),
            ));
        }
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn flag(value: &Value, field: &str) -> bool {
    value.get(field).and_then(Value::as_bool).unwrap_or(false)
}

fn versions(crd: &Value) -> &[Value] {
    crd.pointer("/spec/versions")
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn check(crd: &Value, old: &[Value]) -> CrdErrors {
    let mut errors = CrdErrors::new();
    let null = Value::Null;
    let spec = crd.get("spec").unwrap_or(&null);
    let names = spec.get("names").unwrap_or(&null);
    let (name, group) = (crate::meta::name(crd), text(spec, "group"));
    if name != format!("{}.{group}", text(names, "plural")) {
        errors.push(FieldError::invalid(
            "metadata.name",
            name,
            "must be spec.names.plural+\".\"+spec.group",
        ));
    }
    group_rules(group, &mut errors);
    match text(spec, "scope") {
        "" => errors.push(FieldError::required("spec.scope", "")),
        "Cluster" | "Namespaced" => {}
        other => errors.push(FieldError::not_supported(
            "spec.scope",
            other,
            ["Cluster", "Namespaced"],
        )),
    }
    version_rules(versions(crd), old, &mut errors);
    version_set_rules(crd, &mut errors);
    name_rules(names, "spec.names", &mut errors);
    conversion_rules(spec, &mut errors);
    if flag(spec, "preserveUnknownFields") {
        errors.push(FieldError::invalid(
            "spec.preserveUnknownFields",
            true,
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
        ));
    }
    errors
}

fn group_rules(group: &str, errors: &mut CrdErrors) {
    if group.is_empty() {
        errors.push(FieldError::required("spec.group", ""));
    } else if let Err(why) = is_dns1123_subdomain(group) {
        errors.push(FieldError::invalid("spec.group", group, why));
    } else if !group.contains('.') {
        errors.push(FieldError::invalid(
            "spec.group",
            group,
            "should be a domain with at least one dot",
        ));
    }
}

fn version_set_rules(crd: &Value, errors: &mut CrdErrors) {
    const PATH: &str = "spec.versions";
    let all = versions(crd);
    let mut names: Vec<&str> = all.iter().map(|v| text(v, "name")).collect();
    names.sort_unstable();
    let value = || Value::from(all.iter().map(|v| text(v, "name")).collect::<Vec<_>>());
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        errors.push(FieldError::invalid(
            PATH,
            value(),
            "must contain unique version names",
        ));
    }
    if all.iter().filter(|v| flag(v, "storage")).count() != 1 {
        errors.push(FieldError::invalid(
            PATH,
            value(),
            "must have exactly one version marked as storage version",
        ));
    }
}

fn name_rules(names: &Value, path: &str, errors: &mut CrdErrors) {
    for field in ["plural", "singular", "kind", "listKind"] {
        let (name, at) = (text(names, field), child(path, field));
        let mixed_case = matches!(field, "kind" | "listKind");
        if name.is_empty() {
            errors.push(FieldError::required(at, ""));
        } else if mixed_case {
            if let Err(why) = is_dns1035_label(&name.to_lowercase()) {
                let why = format!("may have mixed case, but should otherwise match: {why}");
                errors.push(FieldError::invalid(at, name, why));
            }
        } else if let Err(why) = is_dns1035_label(name) {
            errors.push(FieldError::invalid(at, name, why));
        }
    }
    for field in ["shortNames", "categories"] {
        let list = names.get(field).and_then(Value::as_array);
        for (i, name) in list.into_iter().flatten().enumerate() {
            let name = name.as_str().unwrap_or_default();
            if let Err(why) = is_dns1035_label(name) {
                errors.push(FieldError::invalid(
                    index(&child(path, field), i),
                    name,
                    why,
                ));
            }
        }
    }
    let kind = text(names, "kind");
    if !kind.is_empty() && kind == text(names, "listKind") {
        errors.push(FieldError::invalid(
            child(path, "listKind"),
            kind,
            "kind and listKind may not be the same",
        ));
    }
}

fn conversion_rules(spec: &Value, errors: &mut CrdErrors) {
    let Some(conversion) = spec.get("conversion") else {
        return;
    };
    match text(conversion, "strategy") {
        "" => errors.push(FieldError::required("spec.conversion.strategy", "")),
        "None" => {
            if conversion.get("webhook").is_some_and(|w| !w.is_null()) {
                errors.push(FieldError::forbidden(
                    "spec.conversion.webhook",
                    "should not be set when strategy is not set to Webhook",
                ));
            }
        }
        "Webhook" => errors.push(FieldError::forbidden(
            "spec.conversion.strategy",
            "conversion by webhook is not available here; use the strategy None, where versions differ in apiVersion only",
        )),
        other => errors.push(FieldError::not_supported(
            "spec.conversion.strategy",
            other,
            ["None", "Webhook"],
        )),
    }
}

/// Groups of the Kubernetes community need an approval, unless the state of it did not change.
fn approval_rules(crd: &Value, old: Option<&Value>, errors: &mut CrdErrors) {
    const PATH: &str = "metadata.annotations[api-approved.kubernetes.io]";
    if !protected_group(crd) {
        return;
    }
    let now = approval(crd);
    if old.is_some_and(|old| std::mem::discriminant(&approval(old)) == std::mem::discriminant(&now))
    {
        return;
    }
    match now {
        Approval::Missing(why) => errors.push(FieldError::required(PATH, why)),
        Approval::Invalid(value, why) => errors.push(FieldError::invalid(PATH, value, why)),
        Approval::Approved(_) | Approval::Bypassed(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::default_crd;
    use serde_json::json;

    fn crd(change: impl FnOnce(&mut Value)) -> Value {
        let mut crd = json!({"metadata": {"name": "webs.example.com"}, "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "webs", "kind": "Web"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]}});
        default_crd(&mut crd);
        change(&mut crd);
        crd
    }

    fn texts(errors: &[FieldError]) -> Vec<String> {
        errors.iter().map(ToString::to_string).collect()
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Value), expected: &[&str]) {
        assert_eq!(texts(&validate_crd(&crd(change))), expected);
    }

    #[test]
    fn crds_are_checked_as_kubernetes_checks_them() {
        check(|_| {}, &[]);
        check(
            |c| c["metadata"]["name"] = json!("web"),
            &["metadata.name: Invalid value: \"web\": must be spec.names.plural+\".\"+spec.group"],
        );
        check(
            |c| c["spec"]["scope"] = json!("Galaxy"),
            &[
                "spec.scope: Unsupported value: \"Galaxy\": supported values: \"Cluster\", \"Namespaced\"",
            ],
        );
        check(
            |c| c["spec"]["versions"][0]["storage"] = json!(false),
            &[
                "spec.versions: Invalid value: [\"v1\"]: must have exactly one version marked as storage version",
            ],
        );
        check(
            |c| c["spec"]["names"]["listKind"] = json!("Web"),
            &["spec.names.listKind: Invalid value: \"Web\": kind and listKind may not be the same"],
        );
        check(
            |c| c["spec"]["preserveUnknownFields"] = json!(true),
            &[
                "spec.preserveUnknownFields: Invalid value: true: cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
            ],
        );
        check(
            |c| c["spec"]["conversion"] = json!({"strategy": "Webhook"}),
            &[
                "spec.conversion.strategy: Forbidden: conversion by webhook is not available here; use the strategy None, where versions differ in apiVersion only",
            ],
        );
        check(
            |c| {
                c["metadata"]["name"] = json!("webs.x.k8s.io");
                c["spec"]["group"] = json!("x.k8s.io");
            },
            &[
                "metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must have approval annotation \"api-approved.kubernetes.io\", see https://github.com/kubernetes/enhancements/pull/1111",
            ],
        );
    }

    #[test]
    fn an_established_crd_keeps_its_names() {
        let old = crd(
            |c| c["status"] = json!({"storedVersions": ["v1"], "conditions": [{"type": "Established", "status": "True"}]}),
        );
        assert_eq!(
            texts(&validate_crd_update(&old, &old)),
            Vec::<String>::new()
        );
        let mut new = old.clone();
        new["spec"]["scope"] = json!("Cluster");
        new["spec"]["versions"][0]["name"] = json!("v2");
        assert_eq!(
            texts(&validate_crd_update(&old, &new)),
            [
                "spec.scope: Invalid value: \"Cluster\": field is immutable",
                "status.storedVersions[0]: Invalid value: \"v1\": missing from spec.versions; v1 was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in v1 and removes v1 from status.storedVersions",
            ]
        );
    }
}
