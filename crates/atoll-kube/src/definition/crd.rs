//! From a CustomResourceDefinition to a [`Definition`].
//!
//! A definition made here holds its schemas as text until someone looks: what a CRD costs in memory while nobody uses it
//! is about its own size.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{
    Cell, Column, Conversion, Definition, DefinitionId, Names, ScalePaths, Scope, Source,
    Subresources, Verb, VersionDef,
};
use crate::discovery::compare_versions;
use crate::jsonpath::JsonPath;
use crate::lazy::Lazy;
use crate::schema::{
    JsonType, Schema, compile,
    validations::{self, Validations},
};
use crate::status::{FieldError, index};

/// What is wrong with a CRD.
pub type CrdErrors = Vec<FieldError>;

impl Definition {
    /// Compiles a CRD that was defaulted and passed [`super::validate_crd`]. Versions come preferred first.
    pub fn from_crd(crd: &Value) -> Result<Self, CrdErrors> {
        let spec = crd
            .get("spec")
            .ok_or_else(|| vec![FieldError::required("spec", "")])?;
        let names: Names =
            serde_json::from_value(spec.get("names").cloned().unwrap_or_default())
                .map_err(|e| vec![FieldError::invalid("spec.names", "", e.to_string())])?;
        let scope = match spec.get("scope").and_then(Value::as_str) {
            Some("Namespaced") => Scope::Namespaced,
            Some("Cluster") => Scope::Cluster,
            other => {
                return Err(vec![FieldError::not_supported(
                    "spec.scope",
                    other.unwrap_or_default(),
                    ["Cluster", "Namespaced"],
                )]);
            }
        };
        let mut versions: Vec<VersionDef> = list(spec, "versions")
            .iter()
            .enumerate()
            .map(|(i, v)| version(v, &index("spec.versions", i)))
            .collect::<Result<_, _>>()?;
        versions.sort_by(|a, b| compare_versions(&a.name, &b.name));
        let storage = versions.iter().position(|v| v.storage).ok_or_else(|| {
            vec![FieldError::required(
                "spec.versions",
                "one must be the storage version",
            )]
        })?;
        Ok(Self {
            id: identity(spec),
            group: text(spec, "group").to_owned(),
            names,
            scope,
            versions,
            storage,
            source: Source::Crd,
            verbs: Verb::ALL.to_vec(),
            conversion: Conversion::None,
        })
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn flag(value: &Value, field: &str) -> bool {
    value.get(field).and_then(Value::as_bool).unwrap_or(false)
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value
        .get(field)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The hash of everything that decides how the resource behaves, whichever CRD object says it.
fn identity(spec: &Value) -> DefinitionId {
    const PARTS: [&str; 4] = ["group", "names", "scope", "versions"];
    let mut content = Map::new();
    for part in PARTS {
        if let Some(value) = spec.get(part) {
            content.insert(part.to_owned(), value.clone());
        }
    }
    DefinitionId::of(Value::Object(content).to_string().as_bytes())
}

fn version(v: &Value, path: &str) -> Result<VersionDef, CrdErrors> {
    let openapi = v
        .pointer("/schema/openAPIV3Schema")
        .cloned()
        .unwrap_or_else(|| json!({}));
    let source = Bytes::from(openapi.to_string());
    let again = source.clone();
    let rules = validations::present(&openapi).then(|| source.clone());
    let parse = |source: &[u8]| -> Value { serde_json::from_slice(source).unwrap_or_default() };
    Ok(VersionDef {
        name: text(v, "name").to_owned(),
        served: flag(v, "served"),
        storage: flag(v, "storage"),
        deprecated: flag(v, "deprecated"),
        deprecation_warning: v
            .get("deprecationWarning")
            .and_then(Value::as_str)
            .map(str::to_owned),
        schema: Lazy::new(move || {
            compile::resource(&parse(&source)).unwrap_or_else(|_| anything())
        }),
        validations: rules.map(|source| {
            Lazy::new(move || Validations::compile(&parse(&source), true).unwrap_or_default())
        }),
        openapi: Lazy::new(move || parse(&again)),
        subresources: subresources(v, path)?,
        columns: columns(v),
        selectable_fields: list(v, "selectableFields")
            .iter()
            .filter_map(|f| JsonPath::parse(text(f, "jsonPath")).ok())
            .collect(),
    })
}

/// Stands in for a schema that does not compile, which validation keeps from happening: nothing is lost.
fn anything() -> Schema {
    Schema {
        ty: Some(JsonType::Object),
        preserve_unknown: true,
        ..Schema::default()
    }
}

fn subresources(v: &Value, path: &str) -> Result<Subresources, CrdErrors> {
    let Some(wanted) = v.get("subresources") else {
        return Ok(Subresources::default());
    };
    let scale = match wanted.get("scale").filter(|s| !s.is_null()) {
        None => None,
        Some(scale) => {
            let parse = |field: &str| {
                let source = text(scale, field);
                JsonPath::parse(source).map_err(|e| {
                    vec![FieldError::invalid(
                        format!("{path}.subresources.scale.{field}"),
                        source,
                        e,
                    )]
                })
            };
            Some(ScalePaths {
                spec_replicas: parse("specReplicasPath")?,
                status_replicas: parse("statusReplicasPath")?,
                label_selector: match text(scale, "labelSelectorPath") {
                    "" => None,
                    _ => Some(parse("labelSelectorPath")?),
                },
            })
        }
    };
    Ok(Subresources {
        status: wanted.get("status").is_some_and(|s| !s.is_null()),
        scale,
        others: Vec::new(),
    })
}

/// The table's columns: the name and what the CRD asks for, or the age where it asks for nothing (or for something that
/// is no path).
fn columns(v: &Value) -> Vec<Column> {
    let mut all = vec![name_column()];
    let wanted = list(v, "additionalPrinterColumns");
    let parsed: Option<Vec<Column>> = wanted
        .iter()
        .map(|c| {
            let source = text(c, "jsonPath");
            let described = text(c, "description");
            Some(Column {
                name: text(c, "name").to_owned(),
                ty: text(c, "type").to_owned(),
                format: text(c, "format").to_owned(),
                description: if described.is_empty() {
                    format!("Custom resource definition column (in JSONPath format): {source}")
                } else {
                    described.to_owned()
                },
                priority: i32::try_from(c.get("priority").and_then(Value::as_i64).unwrap_or(0))
                    .unwrap_or(0),
                cell: Cell::Path(JsonPath::parse(source).ok()?),
            })
        })
        .collect();
    match parsed {
        Some(columns) if !columns.is_empty() => all.extend(columns),
        _ => all.push(age_column()),
    }
    all
}

fn fixed(name: &str, ty: &str, format: &str, description: &str, path: &str) -> Column {
    Column {
        name: name.to_owned(),
        ty: ty.to_owned(),
        format: format.to_owned(),
        description: description.to_owned(),
        priority: 0,
        cell: JsonPath::parse(path).map_or_else(|_| Cell::Named(name.to_owned()), Cell::Path),
    }
}

/// The column every table starts with.
pub fn name_column() -> Column {
    fixed(
        "Name",
        "string",
        "name",
        "The object's name, unique in its namespace.",
        ".metadata.name",
    )
}

/// The column of tables that say nothing else.
pub fn age_column() -> Column {
    fixed(
        "Age",
        "date",
        "",
        "How long ago the object was created.",
        ".metadata.creationTimestamp",
    )
}

/// Fills in what a CRD's author may leave out of its spec.
pub fn default_crd(crd: &mut Value) {
    let Some(Value::Object(spec)) = crd.get_mut("spec") else {
        return;
    };
    if let Some(Value::Object(names)) = spec.get_mut("names") {
        let kind = names
            .get("kind")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let absent = |names: &Map<String, Value>, field: &str| {
            names
                .get(field)
                .and_then(Value::as_str)
                .is_none_or(str::is_empty)
        };
        if absent(names, "singular") && !kind.is_empty() {
            names.insert("singular".to_owned(), kind.to_lowercase().into());
        }
        if absent(names, "listKind") && !kind.is_empty() {
            names.insert("listKind".to_owned(), format!("{kind}List").into());
        }
    }
    if spec.get("conversion").is_none_or(Value::is_null) {
        spec.insert("conversion".to_owned(), json!({"strategy": "None"}));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crd() -> Value {
        let version = |name: &str, storage: bool| {
            json!({"name": name, "served": true, "storage": storage,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": {"replicas": {"type": "integer", "default": 1}}}}}},
            "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}},
            "additionalPrinterColumns": [{"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"}]})
        };
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "webs.example.com"},
            "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "webs", "kind": "Web"},
                "versions": [version("v1beta1", true), version("v1", false)]}})
    }

    #[test]
    fn a_crd_becomes_a_definition() {
        let mut crd = crd();
        default_crd(&mut crd);
        let definition = Definition::from_crd(&crd).unwrap();
        assert_eq!(definition.group_resource().to_string(), "webs.example.com");
        assert_eq!(
            (
                definition.names.singular.as_str(),
                definition.names.list_kind.as_str()
            ),
            ("web", "WebList")
        );
        let versions: Vec<&str> = definition
            .versions
            .iter()
            .map(|v| v.name.as_str())
            .collect();
        assert_eq!(versions, ["v1", "v1beta1"], "preferred first");
        assert_eq!(definition.storage_version().name, "v1beta1");
        let v1 = definition.version("v1").unwrap();
        let headings: Vec<&str> = v1.columns.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(headings, ["Name", "Replicas"]);
        assert!(v1.subresources.status && v1.subresources.scale.is_some());
        let mut object = json!({"metadata": {"name": "a"}, "spec": {"x": 1}});
        assert_eq!(v1.schema.prune(&mut object), ["spec.x"]);
        v1.schema.default_into(&mut object);
        assert_eq!(
            object,
            json!({"metadata": {"name": "a"}, "spec": {"replicas": 1}})
        );
    }

    #[test]
    fn equal_definitions_have_one_identity() {
        let a = Definition::from_crd(&crd()).unwrap();
        let mut other = crd();
        other["metadata"]["uid"] = json!("u");
        other["status"] = json!({"conditions": []});
        assert_eq!(Definition::from_crd(&other).unwrap().id, a.id);
        other["spec"]["scope"] = json!("Cluster");
        assert_ne!(Definition::from_crd(&other).unwrap().id, a.id);
    }

    #[test]
    fn without_good_columns_there_is_the_age() {
        let mut crd = crd();
        crd["spec"]["versions"][1]["additionalPrinterColumns"][0]["jsonPath"] = json!(".x[");
        crd["spec"]["versions"][0]
            .as_object_mut()
            .unwrap()
            .remove("additionalPrinterColumns");
        for version in Definition::from_crd(&crd).unwrap().versions {
            let headings: Vec<String> = version.columns.into_iter().map(|c| c.name).collect();
            assert_eq!(headings, ["Name", "Age"]);
        }
    }
}
