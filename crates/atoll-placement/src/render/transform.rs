//! CustomTransform: fields of one resource that do not travel, as KubeStellar has it.
//!
//! It acts on every object of its resource, before templates and Customizers, and is the same at all destinations. Which
//! object it is (kind, name, namespace) always stays, whatever the paths say.

use atoll_kube::status::FieldError;
use serde_json::Value;

use crate::fields::{names, text};

use super::protect;
use super::query::Query;

/// The most paths of one CustomTransform.
const MAX_PATHS: usize = 1000;

/// A parsed CustomTransform.
#[derive(Debug, Clone, PartialEq)]
pub struct CustomTransform {
    /// Its name: several for one resource act in the order of their names.
    pub name: String,
    /// The API group; empty is Kubernetes' core.
    pub group: String,
    /// The plural resource.
    pub resource: String,
    /// What is removed.
    pub remove: Vec<Query>,
}

impl CustomTransform {
    /// Parses `spec`; all that is wrong is said, each with its path.
    pub fn parse(name: &str, spec: &Value) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        let group = text(spec, "apiGroup", "spec", &mut errors).unwrap_or_default();
        let resource = text(spec, "resource", "spec", &mut errors).unwrap_or_default();
        if resource.is_empty() && errors.is_empty() {
            errors.push(FieldError::required(
                "spec.resource",
                "the plural name of a resource",
            ));
        }
        let paths = names(spec, "remove", "spec", &mut errors);
        if paths.len() > MAX_PATHS {
            errors.push(FieldError::too_many("spec.remove", paths.len(), MAX_PATHS));
        }
        let mut remove = Vec::new();
        for (i, path) in paths.iter().take(MAX_PATHS).enumerate() {
            let field = format!("spec.remove[{i}]");
            match Query::parse(path) {
                Ok(query) => match query.names().as_deref() {
                    Some(names) if is_identity(names) => errors.push(FieldError::invalid(
                        field,
                        path.as_str(),
                        "which object it is can not be removed from it",
                    )),
                    _ => remove.push(query),
                },
                Err(why) => errors.push(FieldError::invalid(field, path.as_str(), why)),
            }
        }
        if errors.is_empty() {
            Ok(CustomTransform {
                name: name.to_owned(),
                group,
                resource,
                remove,
            })
        } else {
            Err(errors)
        }
    }

    /// Whether it acts on a resource.
    pub fn concerns(&self, group: &str, resource: &str) -> bool {
        self.group == group && self.resource == resource
    }

    /// Removes what it says from an object of its resource.
    pub fn apply(&self, object: &mut Value) {
        let kept: Vec<Option<Value>> = protect::IDENTITY
            .iter()
            .map(|path| protect::at(object, path).cloned())
            .collect();
        for query in &self.remove {
            query.remove(object);
        }
        for (path, value) in protect::IDENTITY.iter().zip(kept) {
            if let Some(value) = value {
                restore(object, path, value);
            }
        }
    }
}

fn is_identity(names: &[&str]) -> bool {
    names == ["metadata"] || protect::IDENTITY.contains(&names)
}

fn restore(object: &mut Value, path: &[&str], value: Value) {
    let Some((first, rest)) = path.split_first() else {
        *object = value;
        return;
    };
    if !object.is_object() {
        *object = Value::Object(serde_json::Map::new());
    }
    if let Some(map) = object.as_object_mut() {
        restore(map.entry(*first).or_insert(Value::Null), rest, value);
    }
}

/// KubeStellar's warning when several act on one resource: for the `status.warnings` of each of them.
pub fn warnings(of: &CustomTransform, all: &[&CustomTransform]) -> Vec<String> {
    let mut same: Vec<&str> = all
        .iter()
        .filter(|t| t.concerns(&of.group, &of.resource))
        .map(|t| t.name.as_str())
        .collect();
    same.sort_unstable();
    if same.len() < 2 {
        return Vec::new();
    }
    vec![format!(
        "several CustomTransforms are about the same resource and all act, in the order of their names: {}",
        same.join(", ")
    )]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(spec: &Value) -> Result<CustomTransform, String> {
        CustomTransform::parse("t", spec).map_err(|errors| {
            errors
                .iter()
                .map(|e| format!("{}: {}", e.field, e.detail))
                .collect::<Vec<_>>()
                .join("; ")
        })
    }

    #[test]
    fn removes_from_its_resource_and_keeps_who_it_is() {
        let transform = parse(&json!({"apiGroup": "apps", "resource": "deployments", "remove": ["$.spec.paused", "$..name", "$.spec.containers[*].image"]})).unwrap();
        assert!(
            transform.concerns("apps", "deployments") && !transform.concerns("", "deployments")
        );
        let mut object = json!({"kind": "Deployment", "metadata": {"name": "a", "namespace": "b"},
            "spec": {"paused": true, "containers": [{"name": "c", "image": "i", "x": 1}]}});
        transform.apply(&mut object);
        assert_eq!(
            object,
            json!({"kind": "Deployment", "metadata": {"name": "a", "namespace": "b"}, "spec": {"containers": [{"x": 1}]}})
        );
    }

    #[test]
    fn faults_are_said_at_their_paths() {
        for (spec, expected) in [
            (json!({"apiGroup": "", "remove": []}), "spec.resource: "),
            (
                json!({"resource": "pods", "remove": ["$"]}),
                "spec.remove[0]: it names the whole object",
            ),
            (
                json!({"resource": "pods", "remove": ["$.a", "a.b"]}),
                "spec.remove[1]: a path begins with",
            ),
            (
                json!({"resource": "pods", "remove": ["$.metadata.name"]}),
                "spec.remove[0]: which object it is",
            ),
            (
                json!({"resource": "pods", "remove": ["$.a[?(@.b == )]"]}),
                "spec.remove[0]: unexpected \")\" at character 14",
            ),
        ] {
            let found = parse(&spec).unwrap_err();
            assert!(found.contains(expected), "{spec}: {found}");
        }
    }

    #[test]
    fn several_for_one_resource_are_warned_of() {
        let one = CustomTransform::parse("one", &json!({"resource": "pods"})).unwrap();
        let two = CustomTransform::parse("two", &json!({"resource": "pods"})).unwrap();
        let other = CustomTransform::parse("other", &json!({"resource": "secrets"})).unwrap();
        assert!(warnings(&other, &[&one, &two, &other]).is_empty());
        assert!(warnings(&one, &[&two, &one, &other])[0].ends_with("one, two"));
    }
}
