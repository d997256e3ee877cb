//! From facts to compiled schemas: each component once, shared by every kind that uses it.
//!
//! The result follows what a Kubernetes server does when it decodes its own kinds, not what their documents say: a field
//! that only a status has is never demanded, nor are booleans and counters whose absence means zero.

use std::collections::{BTreeMap, HashMap};
use std::sync::{LazyLock, Mutex, PoisonError};

use serde_json::{Map, Value};

use super::{defaults, facts};
use crate::schema::{JsonType, ListType, MapType, PatchStrategy, Rules, Schema, SchemaRef};

/// The `format` of a quantity's schema, so that numbers can be written as Kubernetes writes them.
pub const QUANTITY: &str = "quantity";

const QUANTITY_COMPONENT: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const CRD_SCHEMA: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";

/// Integers whose absence is refused; elsewhere a missing integer is zero.
const DEMANDED_INTEGERS: [&str; 8] = [
    "containerPort",
    "port",
    "maxReplicas",
    "maxSkew",
    "weight",
    "value",
    "periodSeconds",
    "seconds",
];

static COMPILED: LazyLock<Mutex<Compiled>> = LazyLock::new(Mutex::default);

#[derive(Default)]
struct Compiled {
    components: HashMap<String, SchemaRef>,
    leaves: HashMap<String, SchemaRef>,
}

/// The shared schema of a component; "anything goes" for an unknown name.
pub(crate) fn schema(component: &str) -> SchemaRef {
    COMPILED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .component(component)
}

impl Compiled {
    fn component(&mut self, name: &str) -> SchemaRef {
        if let Some(known) = self.components.get(name) {
            return known.clone();
        }
        // Known before it is compiled: the type of a CRD's schema contains itself.
        let link = SchemaRef::default();
        self.components.insert(name.to_owned(), link.clone());
        if let Some(short) = facts::component(name) {
            let mut node = self.node(&short, facts::is_reported(name));
            match name {
                QUANTITY_COMPONENT => QUANTITY.clone_into(&mut node.format),
                CRD_SCHEMA => node.preserve_unknown = true,
                _ => {}
            }
            for (field, default) in defaults::of_component(name).into_iter().flatten() {
                add_default(&mut node, field, default);
            }
            link.set(node);
        }
        link
    }

    fn link(&mut self, short: &Value, reported: bool) -> SchemaRef {
        let Value::String(leaf) = short else {
            return SchemaRef::new(self.node(short, reported));
        };
        if let Some(name) = leaf.strip_prefix('@') {
            return self.component(name);
        }
        if let Some(name) = leaf.strip_prefix('&') {
            // Part of its parent: empty when it is absent. Its own node, the rest shared.
            let mut node = (*self.component(name)).clone();
            node.default = Some(Value::Object(Map::new()));
            node.always_there = true;
            node.has_defaults = true;
            return SchemaRef::new(node);
        }
        if let Some(known) = self.leaves.get(leaf) {
            return known.clone();
        }
        let link = SchemaRef::new(leaf_node(leaf));
        self.leaves.insert(leaf.clone(), link.clone());
        link
    }

    fn node(&mut self, short: &Value, reported: bool) -> Schema {
        let fields = match short {
            Value::String(_) => return (*self.link(short, reported)).clone(),
            Value::Object(fields) => fields,
            _ => return anything(),
        };
        let text = |key: &str| fields.get(key).and_then(Value::as_str);
        let mut node = match fields.get("$ref") {
            Some(to) => (*self.link(to, reported)).clone(),
            None => Schema {
                ty: text("type").and_then(json_type),
                ..Schema::default()
            },
        };
        if let Some(format) = text("format") {
            format.clone_into(&mut node.format);
            node.int_or_string = format == "int-or-string";
        }
        if let Some(Value::Object(all)) = fields.get("properties") {
            node.properties = all
                .iter()
                .map(|(name, s)| (name.clone(), self.link(s, reported)))
                .collect();
        }
        if let Some(values) = fields.get("additionalProperties") {
            node.additional = Some(self.link(&entry(values), reported));
        }
        if let Some(items) = fields.get("items") {
            node.items = Some(self.link(&entry(items), reported));
        }
        if !reported {
            node.required = demanded(fields);
        }
        if let Some(default) = fields.get("default") {
            node.default = Some(default.clone());
        }
        if let Some(Value::Array(values)) = fields.get("enum") {
            node.rules = Some(Box::new(Rules {
                enumeration: values.clone(),
                ..Rules::default()
            }));
        }
        extensions(&mut node, fields);
        let open = node.properties.is_empty() && node.additional.is_none();
        node.preserve_unknown |= open && matches!(node.ty, None | Some(JsonType::Object));
        node.has_defaults = node.default.is_some() || has_defaults_below(&node);
        node
    }
}

/// Gives a field its default: in a node of its own, since others share the field's type.
fn add_default(node: &mut Schema, field: &str, default: &Value) {
    if let Some(link) = node.properties.get_mut(field) {
        let mut own = (**link).clone();
        own.default = Some(default.clone());
        own.has_defaults = true;
        *link = SchemaRef::new(own);
        node.has_defaults = true;
    }
}

/// An entry of a list or map is never absent.
fn entry(items: &Value) -> Value {
    match items.as_str().and_then(|leaf| leaf.strip_prefix('&')) {
        Some(name) => Value::from(format!("@{name}")),
        None => items.clone(),
    }
}

fn extensions(node: &mut Schema, fields: &Map<String, Value>) {
    let text = |key: &str| fields.get(key).and_then(Value::as_str);
    match text("x-kubernetes-list-type") {
        Some("set") => node.list_type = ListType::Set,
        Some("map") => {
            let keys = fields.get("x-kubernetes-list-map-keys").map(strings);
            node.list_type = ListType::Map(keys.unwrap_or_default());
        }
        _ => {}
    }
    if text("x-kubernetes-map-type") == Some("atomic") {
        node.map_type = MapType::Atomic;
    }
    let strategy = text("x-kubernetes-patch-strategy").unwrap_or_default();
    let has = |word: &str| strategy.split(',').any(|s| s == word);
    if !strategy.is_empty() || fields.contains_key("x-kubernetes-patch-merge-key") {
        node.patch = PatchStrategy {
            merge: has("merge"),
            retain_keys: has("retainKeys"),
            replace: has("replace"),
            merge_key: text("x-kubernetes-patch-merge-key").map(str::to_owned),
        };
        // A list that patches merge is owned entry by entry, too.
        if node.patch.merge && !fields.contains_key("x-kubernetes-list-type") {
            node.list_type = match &node.patch.merge_key {
                Some(key) => ListType::Map(vec![key.clone()]),
                None => ListType::Set,
            };
        }
    }
}

/// The required fields whose absence a server really refuses.
fn demanded(fields: &Map<String, Value>) -> Vec<String> {
    let property = |name: &str| fields.get("properties").and_then(|p| p.get(name));
    let mut all = fields.get("required").map(strings).unwrap_or_default();
    all.retain(|name| match property(name) {
        Some(Value::String(leaf)) if leaf == "boolean" => false,
        Some(Value::String(leaf)) if leaf.starts_with("integer") => {
            DEMANDED_INTEGERS.contains(&name.as_str())
        }
        _ => name != "metadata",
    });
    all
}

fn has_defaults_below(node: &Schema) -> bool {
    let below = node.properties.values();
    let mut below = below.chain(&node.additional).chain(&node.items);
    below.any(|s| s.has_defaults)
}

fn leaf_node(leaf: &str) -> Schema {
    let (kind, format) = leaf.split_once('/').unwrap_or((leaf, ""));
    Schema {
        ty: json_type(kind),
        format: format.to_owned(),
        preserve_unknown: kind == "object",
        ..Schema::default()
    }
}

fn anything() -> Schema {
    Schema {
        preserve_unknown: true,
        nullable: true,
        ..Schema::default()
    }
}

fn json_type(name: &str) -> Option<JsonType> {
    Some(match name {
        "object" => JsonType::Object,
        "array" => JsonType::Array,
        "string" => JsonType::String,
        "integer" => JsonType::Integer,
        "number" => JsonType::Number,
        "boolean" => JsonType::Boolean,
        _ => return None,
    })
}

fn strings(value: &Value) -> Vec<String> {
    let all = value.as_array().into_iter().flatten();
    all.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Names of all components that `component` leads to, itself included, with their OpenAPI v3 text.
pub(crate) fn closure(component: &str, into: &mut BTreeMap<String, Value>) {
    if into.contains_key(component) {
        return;
    }
    let Some(short) = facts::component(component) else {
        return;
    };
    if let Some(full) = facts::openapi(component) {
        into.insert(component.to_owned(), full);
    }
    references(&short, &mut |name| closure(name, into));
}

fn references(short: &Value, found: &mut dyn FnMut(&str)) {
    match short {
        Value::String(s) => s.strip_prefix(['@', '&']).into_iter().for_each(found),
        Value::Array(all) => all.iter().for_each(|s| references(s, found)),
        Value::Object(all) => all.values().for_each(|s| references(s, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at<'a>(mut node: &'a Schema, path: &str) -> &'a Schema {
        for step in path.split('.') {
            node = match step {
                "[]" => node.items.as_deref().unwrap_or_else(|| panic!("{path}")),
                name => node
                    .field(name)
                    .unwrap_or_else(|| panic!("{path}: no {name}")),
            };
        }
        node
    }

    #[test]
    fn a_deployment_has_list_keys_patch_strategies_and_shared_parts() {
        let deployment = schema("io.k8s.api.apps.v1.Deployment");
        let containers = at(&deployment, "spec.template.spec.containers");
        assert_eq!(containers.list_type, ListType::Map(vec!["name".into()]));
        assert!(containers.patch.merge);
        assert_eq!(containers.patch.merge_key.as_deref(), Some("name"));
        let ports = at(containers, "[].ports");
        assert_eq!(
            ports.list_type,
            ListType::Map(vec!["containerPort".into(), "protocol".into()])
        );
        assert_eq!(at(ports, "[].protocol").default, Some(Value::from("TCP")));
        assert!(deployment.has_defaults);
        assert!(at(&deployment, "spec.strategy").patch.retain_keys);
        assert_eq!(at(&deployment, "spec").required, ["selector", "template"]);
        assert!(at(&deployment, "status.conditions.[]").required.is_empty());
        assert_eq!(
            at(containers, "[].resources.limits")
                .additional
                .as_ref()
                .map(|s| s.format.as_str()),
            Some(QUANTITY)
        );
        let stateful_set = schema("io.k8s.api.apps.v1.StatefulSet");
        assert!(std::ptr::eq(
            at(&deployment, "spec.template.spec"),
            at(&stateful_set, "spec.template.spec")
        ));
    }

    #[test]
    fn the_type_that_contains_itself_is_a_graph() {
        let crd = schema(
            "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition",
        );
        let schema = at(&crd, "spec.versions.[].schema.openAPIV3Schema");
        let nested = at(schema, "properties").additional.as_deref().unwrap();
        assert!(nested.properties.contains_key("x-kubernetes-list-type"));
        assert!(nested.preserve_unknown);
    }
}
