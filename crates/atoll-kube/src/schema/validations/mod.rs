//! The rules that a custom resource's schema states in CEL: `x-kubernetes-validations`.
//!
//! A [`Validations`] is compiled once per schema and shared with it. It mirrors the schema where rules stand; evaluating it walks an
//! object along that mirror, under one budget for the whole object. Pure and without side effects: the same object gives the same findings, and
//! an evaluation that ran out of a small budget may be done again with a larger one.

mod check;
mod correlate;
mod evaluate;
mod place;
mod rule;

use std::collections::BTreeMap;

use atoll_cel::Type;
use serde_json::Value;

pub(crate) use check::{check, default, shape};
pub use evaluate::{Findings, OBJECT_BUDGET};
use rule::Rule;

/// The word under which rules stand in a schema.
pub(crate) const WORD: &str = "x-kubernetes-validations";

/// The compiled rules of one schema.
#[derive(Debug, Default)]
pub struct Validations {
    root: Node,
    openapi: Value,
}

/// Rules at one place of a schema, and those below it.
#[derive(Debug, Default)]
struct Node {
    rules: Vec<Rule>,
    /// The type that the schema names: it stands for the value in some messages.
    kind: String,
    properties: BTreeMap<String, Node>,
    additional: Option<Box<Node>>,
    items: Option<Box<Node>>,
}

impl Validations {
    /// Compiles the rules of a structural schema; `None` where it has none. `root`: it describes a whole object.
    ///
    /// Rules that do not compile (a CRD with such is refused, but an older program may have stored one) become findings of every evaluation.
    pub fn compile(openapi: &Value, root: bool) -> Option<Self> {
        let node = node(openapi, root)?;
        Some(Self {
            root: node,
            openapi: openapi.clone(),
        })
    }
}

/// Whether rules stand anywhere in a schema.
pub(crate) fn present(openapi: &Value) -> bool {
    match openapi {
        Value::Object(fields) => fields
            .iter()
            .any(|(name, below)| name == WORD || present(below)),
        Value::Array(list) => list.iter().any(present),
        _ => false,
    }
}

/// The rules written at this node of a schema.
fn written(openapi: &Value) -> &[Value] {
    let list = openapi.get(WORD).and_then(Value::as_array);
    list.map_or(&[], Vec::as_slice)
}

fn embedded(openapi: &Value) -> bool {
    openapi.get("x-kubernetes-embedded-resource") == Some(&Value::Bool(true))
}

/// The schema of a map's values.
fn values(openapi: &Value) -> Option<&Value> {
    openapi
        .get("additionalProperties")
        .filter(|s| s.is_object())
}

/// Schemas are checked for depth when they are decoded; this walk follows them.
fn node(openapi: &Value, root: bool) -> Option<Node> {
    let rules = written(openapi);
    let rules = if rules.is_empty() {
        Vec::new()
    } else {
        // What expressions cannot see has no rules.
        let of = Type::of_schema(openapi, root || embedded(openapi))?;
        rules
            .iter()
            .map(|written| Rule::compile(written, openapi, &of))
            .collect()
    };
    let properties: BTreeMap<String, Node> = openapi
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(name, below)| Some((name.clone(), node(below, false)?)))
        .collect();
    let below = |schema: Option<&Value>| schema.and_then(|s| node(s, false)).map(Box::new);
    let found = Node {
        rules,
        kind: openapi
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        properties,
        additional: below(values(openapi)),
        items: below(openapi.get("items")),
    };
    let empty = found.rules.is_empty()
        && found.properties.is_empty()
        && found.additional.is_none()
        && found.items.is_none();
    (!empty).then_some(found)
}

#[cfg(test)]
mod tests;
