//! From facts and from our own files to [`Definition`]s, schemas left for later.

use std::sync::Arc;

use serde_json::{Value, json};

use super::facts::{self, ColumnFact, REF_PREFIX, ResourceFact, SubresourceFact};
use super::{compile, hooks, written};
use crate::definition::{
    Cell, Column, Conversion, Definition, DefinitionId, ExtraSubresource, Names, ScalePaths, Scope,
    Source, Subresources, Verb, VersionDef,
};
use crate::jsonpath::JsonPath;
use crate::lazy::Lazy;
use crate::schema::Schema;
use crate::yaml;

/// Our own files, in the order in which their kinds are listed.
const WRITTEN: [&str; 3] = [
    include_str!("data/kcp.yaml"),
    include_str!("data/fleet.yaml"),
    include_str!("data/edge.yaml"),
];

/// What computed kinds can be asked for.
const READ_ONLY: [Verb; 3] = [Verb::Get, Verb::List, Verb::Watch];

/// Every built-in definition.
pub(super) fn all() -> Vec<Arc<Definition>> {
    let mut all: Vec<Definition> = Vec::new();
    for fact in facts::resources() {
        let known = all
            .iter_mut()
            .find(|d| d.group == fact.group && d.names.plural == fact.resource);
        match known {
            // A further version: what is listed first is preferred, and stored.
            Some(definition) => {
                let storage = false;
                definition.versions.push(VersionDef {
                    storage,
                    ..version(fact)
                });
                definition.conversion = Conversion::Builtin;
            }
            None => all.push(kubernetes(fact)),
        }
    }
    for file in 0..WRITTEN.len() {
        all.extend(read(file).iter().enumerate().map(|(i, w)| ours(file, i, w)));
    }
    all.into_iter().map(Arc::new).collect()
}

/// The component of a kind, be it a resource's or a subresource's.
pub(super) fn component_of(group: &str, version: &str, kind: &str) -> Option<&'static str> {
    facts::resources().iter().find_map(|r| {
        if (r.group.as_str(), r.version.as_str(), r.kind.as_str()) == (group, version, kind) {
            return Some(r.component.as_str());
        }
        r.subresources.iter().find_map(|s| {
            let g = s.group.as_deref().unwrap_or(&r.group);
            let v = s.version.as_deref().unwrap_or(&r.version);
            if (g, v, s.kind.as_str()) == (group, version, kind) {
                s.component.as_deref()
            } else {
                None
            }
        })
    })
}

fn kubernetes(fact: &'static ResourceFact) -> Definition {
    Definition {
        id: DefinitionId::of(
            format!("kubernetes 1.36 {}/{}", fact.group, fact.resource).as_bytes(),
        ),
        group: fact.group.clone(),
        names: Names {
            plural: fact.resource.clone(),
            singular: fact.singular.clone(),
            kind: fact.kind.clone(),
            list_kind: format!("{}List", fact.kind),
            short_names: fact.short.clone(),
            categories: fact.categories.clone(),
        },
        scope: if fact.namespaced {
            Scope::Namespaced
        } else {
            Scope::Cluster
        },
        versions: vec![version(fact)],
        storage: 0,
        source: Source::Builtin,
        verbs: verbs(&fact.verbs),
        conversion: Conversion::None,
    }
}

fn version(fact: &'static ResourceFact) -> VersionDef {
    let component = fact.component.as_str();
    VersionDef {
        name: fact.version.clone(),
        served: true,
        storage: true,
        deprecated: false,
        deprecation_warning: None,
        schema: Lazy::new(move || (*compile::schema(component)).clone()),
        validations: None,
        openapi: Lazy::new(move || json!({ "$ref": format!("{REF_PREFIX}{component}") })),
        subresources: subresources(fact),
        columns: fact.columns.iter().map(|c| column(fact, c)).collect(),
        selectable_fields: hooks::selectable_fields(&fact.group, &fact.resource)
            .iter()
            .filter_map(|field| JsonPath::parse(&format!(".{field}")).ok())
            .collect(),
    }
}

fn subresources(fact: &ResourceFact) -> Subresources {
    let has = |name: &str| fact.subresources.iter().any(|s| s.name == name);
    // Byte streams (log, exec, port-forward, proxy) need a kubelet: they are known but not offered.
    let others = fact.subresources.iter().filter(|s| !s.connect);
    let others = others.filter(|s| s.name != "status" && s.name != "scale");
    Subresources {
        status: has("status"),
        scale: has("scale").then(scale_paths).flatten(),
        others: others.map(|s| extra(fact, s)).collect(),
    }
}

fn extra(fact: &ResourceFact, s: &SubresourceFact) -> ExtraSubresource {
    ExtraSubresource {
        name: s.name.clone(),
        group: s.group.as_ref().unwrap_or(&fact.group).clone(),
        version: s.version.as_ref().unwrap_or(&fact.version).clone(),
        kind: s.kind.clone(),
        verbs: verbs(&s.verbs),
    }
}

fn scale_paths() -> Option<ScalePaths> {
    Some(ScalePaths {
        spec_replicas: JsonPath::parse(".spec.replicas").ok()?,
        status_replicas: JsonPath::parse(".status.replicas").ok()?,
        label_selector: JsonPath::parse(".spec.selector").ok(),
    })
}

fn verbs(names: &[String]) -> Vec<Verb> {
    let known = |name: &String| Verb::ALL.into_iter().find(|v| v.as_str() == name);
    names.iter().filter_map(known).collect()
}

fn column(fact: &ResourceFact, c: &ColumnFact) -> Column {
    Column {
        name: c.0.clone(),
        ty: c.1.clone(),
        format: c.2.clone(),
        description: String::new(),
        priority: c.3,
        cell: Cell::Named(format!("{}/{}", fact.kind, c.0)),
    }
}

fn read(file: usize) -> Vec<written::Written> {
    // The files are part of the program; a test reads them.
    let text = WRITTEN.get(file).copied().unwrap_or_default();
    written::expand(&yaml::to_json(text.as_bytes()).unwrap_or_default())
}

/// The OpenAPI of one version of one of our kinds, read anew: nothing of the files is kept.
fn written_schema(file: usize, kind: usize, version: usize) -> Value {
    let mut all = read(file);
    all.get_mut(kind)
        .and_then(|w| {
            w.crd
                .pointer_mut(&format!("/spec/versions/{version}/schema/openAPIV3Schema"))
        })
        .map(Value::take)
        .unwrap_or_default()
}

fn ours(file: usize, index: usize, w: &written::Written) -> Definition {
    let spec = &w.crd["spec"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let versions = spec["versions"].as_array().into_iter().flatten();
    Definition {
        id: DefinitionId::of(w.crd.to_string().as_bytes()),
        group: text(&spec["group"]),
        names: serde_json::from_value(spec["names"].clone()).unwrap_or_default(),
        scope: if spec["scope"] == "Namespaced" {
            Scope::Namespaced
        } else {
            Scope::Cluster
        },
        versions: versions
            .enumerate()
            .map(|(v, version)| VersionDef {
                name: text(&version["name"]),
                served: true,
                storage: v == 0,
                deprecated: false,
                deprecation_warning: None,
                schema: Lazy::new(move || {
                    let openapi = written_schema(file, index, v);
                    let compiled = Schema::from_openapi(&openapi, true);
                    compiled.map_or_else(|_| Schema::default(), |s| (*s).clone())
                }),
                validations: None,
                openapi: Lazy::new(move || written_schema(file, index, v)),
                subresources: Subresources {
                    status: version.pointer("/subresources/status").is_some(),
                    ..Subresources::default()
                },
                columns: written_columns(version),
                selectable_fields: Vec::new(),
            })
            .collect(),
        storage: 0,
        source: Source::Builtin,
        verbs: if w.read_only {
            READ_ONLY.to_vec()
        } else {
            Verb::ALL.to_vec()
        },
        conversion: Conversion::None,
    }
}

fn written_columns(version: &Value) -> Vec<Column> {
    let simple = |name: &str, ty: &str, format: &str, path: &str| {
        Some(Column {
            name: name.to_owned(),
            ty: ty.to_owned(),
            format: format.to_owned(),
            description: String::new(),
            priority: 0,
            cell: Cell::Path(JsonPath::parse(path).ok()?),
        })
    };
    let mut columns: Vec<Column> = simple("Name", "string", "name", ".metadata.name")
        .into_iter()
        .collect();
    match version["additionalPrinterColumns"].as_array() {
        Some(own) => columns.extend(own.iter().filter_map(|c| {
            let text = |key: &str| c[key].as_str().unwrap_or_default();
            simple(text("name"), text("type"), "", text("jsonPath"))
        })),
        None => columns.extend(simple("Age", "date", "", ".metadata.creationTimestamp")),
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::validate_crd;

    #[test]
    fn our_files_are_valid_definitions() {
        for file in 0..WRITTEN.len() {
            let all = read(file);
            assert!(!all.is_empty(), "file {file} holds nothing");
            for w in all {
                let mut crd = w.crd;
                crate::definition::default_crd(&mut crd);
                let errors = validate_crd(&crd);
                assert!(errors.is_empty(), "{}: {errors:?}", crd["metadata"]["name"]);
            }
        }
    }

    #[test]
    fn every_schema_compiles() {
        for definition in all() {
            for version in &definition.versions {
                let metadata = version.schema.field("metadata");
                let known = metadata.is_some_and(|m| m.properties.contains_key("name"));
                let inert = ["Eviction", "Binding"].contains(&definition.names.kind.as_str());
                assert!(
                    known || inert,
                    "{} {}",
                    definition.group_resource(),
                    version.name
                );
            }
        }
    }

    #[test]
    fn versions_and_subresources_are_those_of_kubernetes() {
        let all = all();
        let of = |group: &str, plural: &str| {
            all.iter()
                .find(|d| d.group == group && d.names.plural == plural)
                .unwrap_or_else(|| panic!("no {plural}.{group}"))
        };
        let hpa = of("autoscaling", "horizontalpodautoscalers");
        assert_eq!(
            hpa.versions
                .iter()
                .map(|v| v.name.as_str())
                .collect::<Vec<_>>(),
            ["v2", "v1"]
        );
        assert_eq!(hpa.storage_version().name, "v2");
        let pods = &of("", "pods").versions[0].subresources;
        let others: Vec<_> = pods.others.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(
            others,
            ["binding", "ephemeralcontainers", "eviction", "resize"]
        );
        assert!(
            of("apps", "deployments").versions[0]
                .subresources
                .scale
                .is_some()
        );
        assert_eq!(of("control.kubestellar.io", "bindings").verbs, READ_ONLY);
    }
}
