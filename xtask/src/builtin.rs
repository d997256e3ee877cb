//! Derives `kubernetes-1.36.facts`: what a running Kubernetes says about its own kinds, without its prose.
//!
//! The file is plain text, one fact per line, so that a new Kubernetes release shows as a readable diff:
//!
//! ```text
//! # comment
//! resource {"group":…,"version":…,"resource":…,…}       in the order of the cluster's discovery
//! component io.k8s.api.apps.v1.DeploymentSpec {…}         sorted by name
//! reported io.k8s.api.apps.v1.DeploymentStatus {…}         among them; only a kind's status refers to it
//! wire io.k8s.api.apps.v1.DeploymentSpec 1:replicas* …     protobuf, see wire.rs
//! ```
//!
//! A schema is written in OpenAPI's own words but for these shorthands: `"string"`, `"integer/int32"` stand for a bare
//! type and format, `"@name"` for a reference to a component, `"&name"` for one that is empty when it is absent.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

use crate::cluster::Cluster;
use crate::wire;

pub(crate) const DISCOVERY: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
pub(crate) const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
/// The components of Kubernetes' own kinds begin with this.
const OWN_PREFIX: &str = "io.k8s.";
const REF_PREFIX: &str = "#/components/schemas/";

/// Components that documents need although no kind refers to them.
const ALWAYS: [&str; 5] = [
    "io.k8s.apimachinery.pkg.apis.meta.v1.APIResourceList",
    "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions",
    "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Patch",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Status",
];

/// The whole file.
pub(crate) fn derive(cluster: &Cluster) -> Result<String> {
    let wire = wire::Messages::read()?;
    let version = cluster.get("/version", "application/json")?;
    let components = Components::fetch(cluster)?;
    let mut wanted: BTreeSet<String> = ALWAYS.iter().map(|s| (*s).to_owned()).collect();
    let mut out = format!(
        "# Facts about the kinds of Kubernetes {}. Made by `cargo run -p xtask -- builtin`; do not edit.\n",
        text(&version, "gitVersion")
    );
    for root in ["/api", "/apis"] {
        let discovery = cluster.get(root, DISCOVERY)?;
        for group in array(&discovery, "items") {
            let name = group
                .pointer("/metadata/name")
                .and_then(Value::as_str)
                .unwrap_or_default();
            for version in array(group, "versions") {
                derive_version(cluster, &components, name, version, &mut wanted, &mut out)?;
            }
        }
    }
    let written = components.closure(wanted.clone(), true)?;
    let mut named = BTreeSet::new();
    for (name, schema) in components.closure(wanted, false)? {
        let word = if written.contains_key(name) {
            "component"
        } else {
            "reported"
        };
        writeln!(out, "{word} {name} {schema}")?;
        named.insert(name);
    }
    for (name, fields) in wire.of(named) {
        writeln!(out, "wire {name} {fields}")?;
    }
    Ok(out)
}

fn derive_version(
    cluster: &Cluster,
    components: &Components,
    group: &str,
    version: &Value,
    wanted: &mut BTreeSet<String>,
    out: &mut String,
) -> Result<()> {
    let v = text(version, "version");
    let path = if group.is_empty() {
        format!("/api/{v}")
    } else {
        format!("/apis/{group}/{v}")
    };
    for r in array(version, "resources") {
        let resource = text(r, "resource");
        let kind = r
            .pointer("/responseKind/kind")
            .and_then(Value::as_str)
            .context("a resource without kind")?;
        let component = components.of_kind(group, v, kind)?;
        if !component.starts_with(OWN_PREFIX) {
            continue; // somebody's custom resource
        }
        wanted.insert(component.clone());
        let mut fact = Map::new();
        fact.insert("group".into(), json!(group));
        fact.insert("version".into(), json!(v));
        fact.insert("resource".into(), json!(resource));
        fact.insert("kind".into(), json!(kind));
        fact.insert("component".into(), json!(component));
        fact.insert("singular".into(), r["singularResource"].clone());
        fact.insert("namespaced".into(), json!(text(r, "scope") == "Namespaced"));
        fact.insert("verbs".into(), r["verbs"].clone());
        for (from, to) in [("shortNames", "short"), ("categories", "categories")] {
            if let Some(value) = r.get(from) {
                fact.insert(to.into(), value.clone());
            }
        }
        let mut subresources = Vec::new();
        for s in array(r, "subresources") {
            subresources.push(subresource(components, group, v, s, wanted)?);
        }
        if !subresources.is_empty() {
            fact.insert("subresources".into(), Value::Array(subresources));
        }
        if array(r, "verbs").iter().any(|verb| verb == "list") {
            let table = cluster.get(&format!("{path}/{resource}?limit=1"), TABLE)?;
            fact.insert("columns".into(), columns(&table));
        }
        writeln!(out, "resource {}", Value::Object(fact))?;
    }
    Ok(())
}

/// A subresource: `connect` marks those that are byte streams rather than objects.
fn subresource(
    components: &Components,
    group: &str,
    version: &str,
    s: &Value,
    wanted: &mut BTreeSet<String>,
) -> Result<Value> {
    let name = text(s, "subresource");
    let kind = &s["responseKind"];
    let (mut g, mut v, k) = (
        text(kind, "group"),
        text(kind, "version"),
        text(kind, "kind"),
    );
    if g.is_empty() && v.is_empty() {
        (g, v) = (group, version);
    }
    let mut fact = json!({ "name": name, "kind": k, "verbs": s["verbs"] });
    if (g, v) != (group, version) {
        fact["group"] = json!(g);
        fact["version"] = json!(v);
    }
    if name == "log" || k.ends_with("Options") {
        fact["connect"] = json!(true);
    } else {
        let component = components.of_kind(g, v, k)?;
        wanted.insert(component.clone());
        fact["component"] = json!(component);
    }
    Ok(fact)
}

/// Headings, types, formats and priorities, in order; the prose stays behind.
fn columns(table: &Value) -> Value {
    array(table, "columnDefinitions")
        .iter()
        .map(|c| {
            let mut column = vec![c["name"].clone(), c["type"].clone()];
            let (format, priority) = (text(c, "format"), c["priority"].as_i64().unwrap_or(0));
            if !format.is_empty() || priority != 0 {
                column.push(json!(format));
            }
            if priority != 0 {
                column.push(json!(priority));
            }
            Value::Array(column)
        })
        .collect()
}

/// All schemas of all group versions, by name, already shortened.
struct Components {
    by_name: BTreeMap<String, Value>,
    by_kind: BTreeMap<(String, String, String), String>,
}

impl Components {
    fn fetch(cluster: &Cluster) -> Result<Components> {
        let index = cluster.get("/openapi/v3", "application/json")?;
        let paths = index["paths"].as_object().context("no OpenAPI v3 index")?;
        let (mut by_name, mut by_kind) = (BTreeMap::new(), BTreeMap::new());
        for entry in paths.values() {
            let document = cluster.get(text(entry, "serverRelativeURL"), "application/json")?;
            let Some(schemas) = document
                .pointer("/components/schemas")
                .and_then(Value::as_object)
            else {
                continue;
            };
            for (name, schema) in schemas {
                for gvk in array(schema, "x-kubernetes-group-version-kind") {
                    by_kind.insert(
                        (
                            text(gvk, "group").to_owned(),
                            text(gvk, "version").to_owned(),
                            text(gvk, "kind").to_owned(),
                        ),
                        name.clone(),
                    );
                }
                by_name.insert(name.clone(), shorten(schema));
            }
        }
        Ok(Components { by_name, by_kind })
    }

    fn of_kind(&self, group: &str, version: &str, kind: &str) -> Result<String> {
        self.by_kind
            .get(&(group.to_owned(), version.to_owned(), kind.to_owned()))
            .cloned()
            .with_context(|| format!("no schema for {group}/{version} {kind}"))
    }

    /// The wanted components and all that they refer to, on request not counting what only a kind's status refers to.
    fn closure(
        &self,
        mut wanted: BTreeSet<String>,
        without_status: bool,
    ) -> Result<BTreeMap<&str, &Value>> {
        let kinds = wanted.clone();
        let mut found = BTreeMap::new();
        while let Some(name) = wanted.pop_first() {
            let Some((name, schema)) = self.by_name.get_key_value(&name) else {
                bail!("a reference to the unknown component {name}");
            };
            if found.insert(name.as_str(), schema).is_none() {
                let mut seen = schema.clone();
                if without_status
                    && kinds.contains(name)
                    && let Some(properties) =
                        seen.get_mut("properties").and_then(Value::as_object_mut)
                {
                    properties.remove("status");
                }
                references(&seen, &mut |to| {
                    if !found.contains_key(to) {
                        wanted.insert(to.to_owned());
                    }
                });
            }
        }
        Ok(found)
    }
}

fn references(schema: &Value, found: &mut dyn FnMut(&str)) {
    match schema {
        Value::String(s) => {
            if let Some(name) = s.strip_prefix(['@', '&']) {
                found(name);
            }
        }
        Value::Array(all) => all.iter().for_each(|s| references(s, found)),
        Value::Object(all) => all.values().for_each(|s| references(s, found)),
        _ => {}
    }
}

/// One schema without descriptions, zero defaults and group-version-kinds (the resource lines have those).
fn shorten(schema: &Value) -> Value {
    let Some(fields) = schema.as_object() else {
        return schema.clone();
    };
    let mut short = Map::new();
    for (key, value) in fields {
        match key.as_str() {
            "description" | "x-kubernetes-group-version-kind" => {}
            "default" if is_zero(value) => {}
            "properties" => {
                let all = value.as_object().into_iter().flatten();
                short.insert(
                    key.clone(),
                    all.map(|(name, s)| (name.clone(), shorten(s))).collect(),
                );
            }
            "items" | "additionalProperties" => {
                short.insert(key.clone(), shorten(value));
            }
            "allOf" => {
                let one = value.get(0).map(shorten).unwrap_or_default();
                short.insert("$ref".into(), one);
            }
            "oneOf" => {
                short.insert(
                    key.clone(),
                    array(schema, key).iter().map(shorten).collect(),
                );
            }
            "$ref" => {
                let name = value.as_str().unwrap_or_default();
                short.insert(
                    key.clone(),
                    json!(format!("@{}", name.trim_start_matches(REF_PREFIX))),
                );
            }
            _ => {
                short.insert(key.clone(), value.clone());
            }
        }
    }
    if schema["default"] == json!({})
        && let Some(Value::String(to)) = short.get_mut("$ref")
    {
        *to = to.replacen('@', "&", 1);
    }
    leaf(&short).unwrap_or(Value::Object(short))
}

/// The shorthand of a schema that says only a type, a type and a format, or a reference.
fn leaf(short: &Map<String, Value>) -> Option<Value> {
    let one = |key: &str| short.get(key).and_then(Value::as_str);
    match (short.len(), one("$ref"), one("type"), one("format")) {
        (1, Some(name), ..) => Some(json!(name)),
        (1, _, Some(kind), _) => Some(json!(kind)),
        (2, _, Some(kind), Some(format)) => Some(json!(format!("{kind}/{format}"))),
        _ => None,
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(b) => !b,
        Value::Number(n) => n.as_f64() == Some(0.0),
        Value::String(s) => s.is_empty(),
        Value::Array(a) => a.is_empty(),
        Value::Object(o) => o.is_empty(),
    }
}

pub(crate) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

pub(crate) fn array<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}
