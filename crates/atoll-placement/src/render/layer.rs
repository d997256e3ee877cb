//! What one Customizer does to copies: for which destinations, and its patches. Part of every recipe that it shapes.
//!
//! A layer is immutable and named by the hash of its content, so that a revision keeps what its Customizers said when it was
//! cut. Patches run in order; each sees what the ones before made.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Weak};

use atoll_cel::{Bindings, Budget, Environment, ObjectType, Program, Step, Type};
use atoll_kube::patch;
use atoll_kube::selector::LabelSelector;
use atoll_kube::status::FieldError;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::choose::Where;
use crate::fields::{list, names, text};
use crate::policy;

use super::properties::{CLUSTER_NAME, Read, Source};
use super::protect;
use super::query::{Query, UpdateError};

/// The most patches of one Customizer.
const MAX_PATCHES: usize = 100;

/// What all expressions of one object's Customizers may cost at one destination.
pub(super) const BUDGET: Budget = Budget { cost: 4_000_000 };

/// Names a layer by its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LayerId(pub [u8; 16]);

/// One Customizer's part in a recipe.
#[derive(Debug)]
pub struct Layer {
    id: LayerId,
    name: String,
    source: Value,
    selectors: Vec<LabelSelector>,
    expressions: Where,
    patches: Vec<Patch>,
    reads: Vec<Read>,
}

#[derive(Debug)]
enum Patch {
    Json(Value),
    Merge(Value),
    Value(Query, Program),
}

static ENVIRONMENT: LazyLock<Environment> = LazyLock::new(|| {
    Environment::kubernetes()
        .variable("object", Type::Dyn)
        .variable("self", Type::Dyn)
        .variable("cluster", Type::Object(cluster("Cluster", true).into()))
});

static CHOOSING: LazyLock<Environment> = LazyLock::new(|| {
    Environment::kubernetes().variable("cluster", Type::Object(cluster("Cluster", false).into()))
});

fn cluster(name: &str, properties: bool) -> ObjectType {
    let texts = || Type::map(Type::String);
    let cluster = ObjectType::new(name)
        .field("name", Type::String)
        .field("labels", texts())
        .field("annotations", texts())
        .field("claims", texts());
    if properties {
        cluster.field("properties", texts())
    } else {
        cluster
    }
}

/// The variables of `patches[].value`: `object`, `self` and `cluster`.
pub fn environment() -> &'static Environment {
    &ENVIRONMENT
}

/// The field of `cluster` that a source is.
fn field_of(source: Source) -> &'static str {
    match source {
        Source::Any => "properties",
        Source::ConfigMap => "config",
        Source::Annotation => "annotations",
        Source::Label => "labels",
        Source::Name => "name",
        Source::Claim => "claims",
    }
}

const FIELDS: [Source; 4] = [
    Source::Any,
    Source::Annotation,
    Source::Label,
    Source::Claim,
];

impl Layer {
    /// Parses the part of a Customizer's spec that shapes copies (`clusterSelectors`, `clusterExpressions`, `patches`).
    pub fn parse(name: &str, spec: &Value) -> Result<Layer, Vec<FieldError>> {
        let mut errors = Vec::new();
        let selectors = policy::selectors(spec, "clusterSelectors", "spec", &mut errors);
        let texts = names(spec, "clusterExpressions", "spec", &mut errors);
        for (i, source) in texts.iter().enumerate() {
            // Signals choose destinations; what a copy looks like never depends on them.
            if let Err(fault) = Program::compile(&CHOOSING, source) {
                errors.push(FieldError::invalid(
                    format!("spec.clusterExpressions[{i}]"),
                    source.as_str(),
                    fault.to_string(),
                ));
            }
        }
        let mut expressions = Where::default();
        if errors.is_empty() {
            expressions = Where::parse(&json!({"clusterExpressions": texts}), &mut errors);
            if selectors.is_empty() && texts.is_empty() {
                errors.push(FieldError::required(
                    "spec.clusterSelectors",
                    "say for which destinations, here or in clusterExpressions; clusterSelectors: [{}] is every one",
                ));
            }
        }
        let mut patches = Vec::new();
        let items = list(spec, "patches", "spec", &mut errors);
        if items.is_empty() {
            errors.push(FieldError::required("spec.patches", "at least one change"));
        }
        if items.len() > MAX_PATCHES {
            errors.push(FieldError::too_many(
                "spec.patches",
                items.len(),
                MAX_PATCHES,
            ));
        }
        for (i, item) in items.iter().take(MAX_PATCHES).enumerate() {
            patches.extend(Patch::parse(
                item,
                &format!("spec.patches[{i}]"),
                &mut errors,
            ));
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut source = Map::new();
        source.insert("name".to_owned(), name.into());
        for field in ["clusterSelectors", "clusterExpressions", "patches"] {
            if let Some(value) = spec.get(field) {
                source.insert(field.to_owned(), value.clone());
            }
        }
        let source = Value::Object(source);
        let mut reads: Vec<Read> = patches.iter().flat_map(Patch::reads).collect();
        reads.sort_unstable();
        reads.dedup();
        Ok(Layer {
            id: id_of(&source),
            name: name.to_owned(),
            source,
            selectors,
            expressions,
            patches,
            reads,
        })
    }

    /// The hash of everything below.
    pub fn id(&self) -> LayerId {
        self.id
    }

    /// The Customizer's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The label selectors; none, and expressions, is every destination for which these hold.
    pub fn selectors(&self) -> &[LabelSelector] {
        &self.selectors
    }

    /// The expressions: with the selectors, to be looked up by [`Candidates`](crate::choose::Candidates) without signals.
    pub fn expressions(&self) -> &Where {
        &self.expressions
    }

    /// What its patches read of a destination, sorted.
    pub fn reads(&self) -> &[Read] {
        &self.reads
    }

    pub(super) fn source(&self) -> &Value {
        &self.source
    }

    /// Applies its patches. `cluster` holds what its reads say. The error: of which patch, at which field, and why.
    pub(super) fn apply(
        &self,
        object: &mut Value,
        cluster: &Value,
        budget: &mut Budget,
    ) -> Result<(), PatchError> {
        for (at, patch) in self.patches.iter().enumerate() {
            let before = object.clone();
            patch
                .apply(object, cluster, budget)
                .and_then(|()| match protect::broken(&before, object) {
                    Some(fault) => Err(fault),
                    None => Ok(()),
                })
                .map_err(|(field, message)| PatchError {
                    patch: at,
                    field,
                    message,
                })?;
        }
        Ok(())
    }
}

/// Why a patch could not be applied.
pub(super) struct PatchError {
    pub(super) patch: usize,
    pub(super) field: String,
    pub(super) message: String,
}

fn id_of(source: &Value) -> LayerId {
    let full: [u8; 32] = Sha256::digest(source.to_string()).into();
    let mut half = [0; 16];
    half.copy_from_slice(&full[..16]);
    LayerId(half)
}

impl Patch {
    fn parse(item: &Value, path: &str, errors: &mut Vec<FieldError>) -> Option<Patch> {
        let has = |field: &str| item.get(field).is_some_and(|v| !v.is_null());
        let kinds = [has("json"), has("merge"), has("path") || has("value")];
        if kinds.iter().filter(|k| **k).count() != 1 {
            errors.push(FieldError::invalid(
                path,
                item.clone(),
                "must have exactly one of json, merge, or path and value",
            ));
            return None;
        }
        if kinds[0] {
            return Self::parse_json(item, path, errors);
        }
        if kinds[1] {
            let merge = item.get("merge").cloned().unwrap_or_default();
            let field = format!("{path}.merge");
            if !merge.is_object() {
                errors.push(FieldError::type_invalid(field, merge, "must be an object"));
                return None;
            }
            let touched = protect::touched_by_merge(&merge);
            for name in &touched {
                errors.push(FieldError::forbidden(
                    format!("{field}.{name}"),
                    "can not be customized",
                ));
            }
            return touched.is_empty().then_some(Patch::Merge(merge));
        }
        Self::parse_value(item, path, errors)
    }

    fn parse_json(item: &Value, path: &str, errors: &mut Vec<FieldError>) -> Option<Patch> {
        let before = errors.len();
        let operations = list(item, "json", path, errors);
        if operations.len() > patch::MAX_OPERATIONS {
            errors.push(FieldError::too_many(
                format!("{path}.json"),
                operations.len(),
                patch::MAX_OPERATIONS,
            ));
            return None;
        }
        for (i, operation) in operations.iter().enumerate() {
            let at = format!("{path}.json[{i}]");
            let op = text(operation, "op", &at, errors).unwrap_or_default();
            let known = ["add", "remove", "replace", "move", "copy", "test"];
            if !known.contains(&op.as_str()) {
                errors.push(FieldError::not_supported(
                    format!("{at}.op"),
                    op.clone(),
                    known,
                ));
            }
            for name in ["path", "from"] {
                let needed = name == "path" || matches!(op.as_str(), "move" | "copy");
                let Some(pointer) = text(operation, name, &at, errors) else {
                    if needed {
                        errors.push(FieldError::required(
                            format!("{at}.{name}"),
                            "a JSON pointer, as /spec/replicas",
                        ));
                    }
                    continue;
                };
                let field = format!("{at}.{name}");
                if !pointer.is_empty() && !pointer.starts_with('/') {
                    errors.push(FieldError::invalid(field, pointer, "must begin with /"));
                    continue;
                }
                let writes = match name {
                    "path" => op != "test",
                    _ => op == "move",
                };
                let steps: Vec<String> = pointer
                    .split('/')
                    .skip(1)
                    .map(|s| s.replace("~1", "/").replace("~0", "~"))
                    .collect();
                let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
                if let Some(touched) = protect::touched(&steps).filter(|_| writes) {
                    errors.push(FieldError::forbidden(
                        field,
                        format!("{touched} can not be customized"),
                    ));
                }
            }
        }
        (errors.len() == before).then(|| Patch::Json(operations.to_vec().into()))
    }

    fn parse_value(item: &Value, path: &str, errors: &mut Vec<FieldError>) -> Option<Patch> {
        let (place, value) = (
            text(item, "path", path, errors),
            text(item, "value", path, errors),
        );
        let mut required = |field: &str, given: bool, what: &str| {
            if !given {
                errors.push(FieldError::required(format!("{path}.{field}"), what));
            }
        };
        required("path", place.is_some(), "a JSONPath, as $.spec.replicas");
        required("value", value.is_some(), "a CEL expression");
        let (place, value) = (place?, value?);
        let field = format!("{path}.path");
        let query = match Query::parse(&place) {
            Err(why) => {
                errors.push(FieldError::invalid(field, place, why));
                None
            }
            Ok(query) if query.descends() => {
                let why = "must say where: .. is understood in what is removed only";
                errors.push(FieldError::invalid(field, place, why));
                None
            }
            Ok(query) => match query.names().and_then(|names| protect::touched(&names)) {
                Some(touched) => {
                    let why = format!("{touched} can not be customized");
                    errors.push(FieldError::forbidden(field, why));
                    None
                }
                None => Some(query),
            },
        };
        match (query, Program::compile(&ENVIRONMENT, &value)) {
            (Some(query), Ok(program)) => Some(Patch::Value(query, program)),
            (None, Ok(_)) => None,
            (_, Err(fault)) => {
                let field = format!("{path}.value");
                errors.push(FieldError::invalid(field, value, fault.to_string()));
                None
            }
        }
    }

    fn reads(&self) -> Vec<Read> {
        let Patch::Value(_, program) = self else {
            return Vec::new();
        };
        let mut reads = Vec::new();
        for read in program.reads().iter().filter(|r| r.variable == "cluster") {
            let Some(Step::Field(field)) = read.path.first() else {
                reads.extend(FIELDS.map(Read::all));
                reads.push(Read::of(Source::Name, CLUSTER_NAME));
                continue;
            };
            if field == field_of(Source::Name) {
                reads.push(Read::of(Source::Name, CLUSTER_NAME));
            }
            if let Some(source) = FIELDS.into_iter().find(|s| field_of(*s) == field) {
                reads.push(match read.path.get(1) {
                    Some(Step::Field(name)) => Read::of(source, name),
                    _ => Read::all(source),
                });
            }
        }
        reads
    }

    fn apply(
        &self,
        object: &mut Value,
        cluster: &Value,
        budget: &mut Budget,
    ) -> Result<(), (String, String)> {
        match self {
            Patch::Json(operations) => patch::json(object, operations).map_err(|status| {
                let cause = status.details.as_ref().and_then(|d| d.causes.first());
                let why =
                    cause.map_or_else(|| status.message.to_string(), |c| c.message.to_string());
                ("json".to_owned(), why)
            }),
            Patch::Merge(merge) => patch::merge(object, merge.clone())
                .map_err(|status| ("merge".to_owned(), status.message.to_string())),
            Patch::Value(query, program) => {
                let whole = object.clone();
                query
                    .update(object, &mut |here| {
                        let here = here.unwrap_or(&Value::Null);
                        let bindings = Bindings::new()
                            .json("object", &whole)
                            .json("self", here)
                            .json("cluster", cluster);
                        let value = program.spend(&bindings, budget)?;
                        Ok(match value {
                            atoll_cel::Value::Optional(None) => {
                                (!here.is_null()).then(|| here.clone())
                            }
                            value => Some(value.to_json()).filter(|v| !v.is_null()),
                        })
                    })
                    .map_err(|error: UpdateError<atoll_cel::EvalError>| match error {
                        UpdateError::NoPlace(why) => ("path".to_owned(), why),
                        UpdateError::Change(error) => ("value".to_owned(), error.message),
                    })
            }
        }
    }
}

/// What the reads of layers say, as the variable `cluster` shows it.
pub(super) fn cluster_of<'a>(
    answers: impl Iterator<Item = (&'a Read, &'a super::Answer)>,
) -> Value {
    let mut cluster = Map::new();
    for source in FIELDS {
        cluster.insert(field_of(source).to_owned(), Value::Object(Map::new()));
    }
    for (read, answer) in answers {
        if let (Source::Name, super::Answer::Text(name)) = (read.source, answer) {
            cluster.insert("name".to_owned(), name.as_ref().into());
            continue;
        }
        let Some(Value::Object(map)) = cluster.get_mut(field_of(read.source)) else {
            continue;
        };
        match (&read.name, answer) {
            (Some(name), super::Answer::Text(value)) => {
                map.insert(name.to_string(), value.as_ref().into());
            }
            (_, super::Answer::All(all)) => {
                for (name, value) in all {
                    map.insert(name.to_string(), value.as_ref().into());
                }
            }
            _ => {}
        }
    }
    Value::Object(cluster)
}

/// Layers in use, each compiled once: recipes that are read back share them.
#[derive(Debug, Default)]
pub struct Layers {
    known: HashMap<LayerId, Weak<Layer>>,
}

impl Layers {
    /// No layers.
    pub fn new() -> Self {
        Self::default()
    }

    /// The layer of this content: the one in use, or this one from now on.
    pub fn share(&mut self, layer: Layer) -> Arc<Layer> {
        if let Some(known) = self.known.get(&layer.id).and_then(Weak::upgrade) {
            return known;
        }
        self.known.retain(|_, weak| weak.strong_count() > 0);
        let layer = Arc::new(layer);
        self.known.insert(layer.id, Arc::downgrade(&layer));
        layer
    }

    /// The layer that a recipe keeps as this source.
    pub(super) fn read(&mut self, source: &Value) -> Result<Arc<Layer>, String> {
        if let Some(known) = self.known.get(&id_of(source)).and_then(Weak::upgrade) {
            return Ok(known);
        }
        let name = source
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let layer =
            Layer::parse(name, source).map_err(|errors| atoll_kube::status::aggregate(&errors))?;
        Ok(self.share(layer))
    }
}
