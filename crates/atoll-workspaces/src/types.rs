//! WorkspaceTypes: what a type and those it extends say about parents, children and labels.
//!
//! The rules are pure; finding types in the tree is [`TypeLookup`]'s business, which reads one snapshot.

use std::collections::BTreeMap;

use atoll_kube::Status;
use atoll_registry::ClusterResolver as _;
use atoll_store::Snapshot;
use serde_json::Value;

use crate::facts::TypeRef;
use crate::kinds;
use crate::names::{self, ROOT};
use crate::rows;
use crate::tree::Tree;

/// A restriction on neighbours in the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Any type.
    Any,
    /// No type at all.
    None,
    /// These types and those that extend them.
    Only(Vec<TypeRef>),
}

/// What a WorkspaceType says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeSpec {
    /// Its own reference.
    pub reference: TypeRef,
    /// The types it extends directly.
    pub extends: Vec<TypeRef>,
    /// The type of children that name none.
    pub default_child: Option<TypeRef>,
    /// Which types its children may have.
    pub children: Limit,
    /// Which types its parent may have.
    pub parents: Limit,
    /// Labels that its workspaces get.
    pub labels: BTreeMap<String, String>,
}

impl TypeSpec {
    /// Out of a WorkspaceType that lives at `path`. References without a path are to the same logical cluster.
    pub fn of(path: &str, object: &Value) -> Self {
        let name = object
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or("");
        let reference = |value: &Value| {
            let text = |field: &str| {
                value
                    .get(field)
                    .and_then(Value::as_str)
                    .filter(|s| !s.is_empty())
            };
            text("name").map(|name| TypeRef::new(text("path").unwrap_or(path), name))
        };
        let list = |pointer: &str| -> Vec<TypeRef> {
            let items = object.pointer(pointer).and_then(Value::as_array);
            items.into_iter().flatten().filter_map(reference).collect()
        };
        let limit = |field: &str| {
            let none = object
                .pointer(&format!("/spec/{field}/none"))
                .and_then(Value::as_bool);
            let types = list(&format!("/spec/{field}/types"));
            match none {
                Some(true) => Limit::None,
                _ if types.is_empty() || types.iter().any(|t| t.name == "any") => Limit::Any,
                _ => Limit::Only(types),
            }
        };
        let labels = object
            .pointer("/spec/additionalWorkspaceLabels")
            .and_then(Value::as_object);
        TypeSpec {
            reference: TypeRef::new(path, name),
            extends: list("/spec/extend/with"),
            default_child: object
                .pointer("/spec/defaultChildWorkspaceType")
                .and_then(reference),
            children: limit("limitAllowedChildren"),
            parents: limit("limitAllowedParents"),
            labels: labels
                .into_iter()
                .flatten()
                .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
                .collect(),
        }
    }
}

/// A type with everything it extends; the type itself comes first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family(pub Vec<TypeSpec>);

impl Family {
    /// The type itself.
    pub fn reference(&self) -> Option<&TypeRef> {
        self.0.first().map(|spec| &spec.reference)
    }

    /// Whether the type is, or extends, one of root's types by this name.
    pub fn is_root_type(&self, name: &str) -> bool {
        self.0
            .iter()
            .any(|spec| spec.reference.path == ROOT && spec.reference.name == name)
    }

    fn names(&self) -> Vec<String> {
        self.0
            .iter()
            .map(|spec| spec.reference.to_string())
            .collect()
    }

    fn matches(&self, types: &[TypeRef]) -> bool {
        self.0.iter().any(|spec| types.contains(&spec.reference))
    }
}

/// Why a workspace of type `child` may not be made in one of type `parent`; `None` when it may.
pub fn refuse_nesting(parent: &Family, child: &Family) -> Option<String> {
    let (Some(parent_name), Some(child_name)) = (parent.reference(), child.reference()) else {
        return None;
    };
    for spec in &parent.0 {
        match &spec.children {
            Limit::None => {
                return Some(format!(
                    "workspace type {} does not allow children",
                    spec.reference
                ));
            }
            Limit::Only(types) if !child.matches(types) => {
                return Some(format!(
                    "workspace type {} only allows {} children, but child type {child_name} only implements {}",
                    spec.reference,
                    shown(types.iter().map(TypeRef::to_string)),
                    shown(child.names())
                ));
            }
            Limit::Any | Limit::Only(_) => {}
        }
    }
    for spec in &child.0 {
        match &spec.parents {
            Limit::None => {
                return Some(format!(
                    "workspace type {} does not allow parents",
                    spec.reference
                ));
            }
            Limit::Only(types) if !parent.matches(types) => {
                return Some(format!(
                    "workspace type {} only allows {} parent workspaces, but parent type {parent_name} only implements {}",
                    spec.reference,
                    shown(types.iter().map(TypeRef::to_string)),
                    shown(parent.names())
                ));
            }
            Limit::Any | Limit::Only(_) => {}
        }
    }
    None
}

fn shown(names: impl IntoIterator<Item = String>) -> String {
    let mut names: Vec<String> = names.into_iter().collect();
    names.sort();
    format!("[{}]", names.join(" "))
}

/// Finds types in the tree as of one snapshot.
pub(crate) struct TypeLookup<'a> {
    pub(crate) tree: &'a Tree,
    pub(crate) snapshot: &'a dyn Snapshot,
}

impl TypeLookup<'_> {
    /// The type behind a reference, `None` when there is none.
    pub(crate) fn find(&self, reference: &TypeRef) -> Result<Option<TypeSpec>, Status> {
        let cluster = match self.tree.resolve(&reference.path) {
            Ok(cluster) => cluster,
            Err(status) if matches!(status.code, 403 | 404) => return Ok(None),
            Err(status) => return Err(status),
        };
        let found = rows::find(
            self.snapshot,
            &kinds::workspace_types(),
            cluster.as_str(),
            None,
            &reference.name,
        )?;
        Ok(found.map(|stored| TypeSpec::of(&reference.path, &stored.value)))
    }

    /// The type with everything it extends, or the one of them that is missing.
    pub(crate) fn family(&self, reference: &TypeRef) -> Result<Result<Family, TypeRef>, Status> {
        let mut family = Vec::new();
        let mut waiting = vec![reference.clone()];
        while let Some(next) = waiting.pop() {
            if family.iter().any(|spec: &TypeSpec| spec.reference == next) {
                continue;
            }
            let Some(spec) = self.find(&next)? else {
                return Ok(Err(next));
            };
            waiting.extend(spec.extends.iter().rev().cloned());
            family.push(spec);
        }
        Ok(Ok(Family(family)))
    }

    /// The nearest type of this name, looking in the logical cluster at `path` and then up to root.
    pub(crate) fn search_upwards(&self, path: &str, name: &str) -> Result<Option<TypeRef>, Status> {
        let mut path = path;
        loop {
            let reference = TypeRef::new(path, name);
            if self.find(&reference)?.is_some() {
                return Ok(Some(reference));
            }
            path = match path.rsplit_once(':') {
                _ if path == ROOT => return Ok(None),
                Some((parent, _)) if names::home_user(path).is_none() => parent,
                _ => ROOT,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn spec(name: &str, body: Value) -> TypeSpec {
        TypeSpec::of("root", &json!({"metadata": {"name": name}, "spec": body}))
    }

    #[test]
    fn a_type_is_read_with_its_own_path_as_default() {
        let read = spec(
            "x",
            json!({
            "extend": {"with": [{"name": "universal", "path": "root:a"}, {"name": "y"}]},
            "defaultChildWorkspaceType": {"name": "team"},
            "limitAllowedChildren": {"types": [{"name": "any"}]},
            "limitAllowedParents": {"none": true},
            "additionalWorkspaceLabels": {"a": "b"}}),
        );
        assert_eq!(
            read.extends,
            [
                TypeRef::new("root:a", "universal"),
                TypeRef::new("root", "y")
            ]
        );
        assert_eq!(read.default_child, Some(TypeRef::new("root", "team")));
        assert_eq!((&read.children, &read.parents), (&Limit::Any, &Limit::None));
        assert_eq!(read.labels["a"], "b");
    }

    #[test]
    fn nesting_needs_the_consent_of_both_sides() {
        let only = |names: &[&str]| json!({"types": names.iter().map(|n| json!({"name": n})).collect::<Vec<_>>()});
        let family = |specs: Vec<TypeSpec>| Family(specs);
        let plain = || spec("plain", json!({}));
        let rows: Vec<(Family, Family, Option<&str>)> = vec![
            (family(vec![plain()]), family(vec![plain()]), None),
            (
                family(vec![spec(
                    "p",
                    json!({"limitAllowedChildren": {"none": true}}),
                )]),
                family(vec![plain()]),
                Some("workspace type root:p does not allow children"),
            ),
            (
                family(vec![plain()]),
                family(vec![spec(
                    "c",
                    json!({"limitAllowedParents": {"none": true}}),
                )]),
                Some("workspace type root:c does not allow parents"),
            ),
            (
                family(vec![spec(
                    "p",
                    json!({"limitAllowedChildren": only(&["c"])}),
                )]),
                family(vec![plain()]),
                Some(
                    "workspace type root:p only allows [root:c] children, but child type root:plain only implements [root:plain]",
                ),
            ),
            // An extended type counts as the type itself.
            (
                family(vec![spec(
                    "p",
                    json!({"limitAllowedChildren": only(&["c"])}),
                )]),
                family(vec![plain(), spec("c", json!({}))]),
                None,
            ),
            // So do its restrictions.
            (
                family(vec![plain()]),
                family(vec![
                    plain(),
                    spec("c", json!({"limitAllowedParents": only(&["q", "r"])})),
                ]),
                Some(
                    "workspace type root:c only allows [root:q root:r] parent workspaces, but parent type root:plain only implements [root:plain]",
                ),
            ),
        ];
        for (parent, child, expected) in rows {
            assert_eq!(refuse_nesting(&parent, &child).as_deref(), expected);
        }
    }
}
