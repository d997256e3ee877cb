//! Types from OpenAPI schemas, as Kubernetes declares them to expressions: with the sizes that its cost limits count on.
//!
//! What a schema does not bound is bounded by the largest request (3 MiB) over the smallest JSON that the items can be. Parts that expressions cannot see
//! (without a type, or preserving unknown fields) are left out.

use std::sync::Arc;

use serde_json::Value as Json;

use crate::types::{ListKind, ObjectType, Type};

const REQUEST: u64 = 3 * 1024 * 1024;

/// A type and the least bytes of JSON that a value of it takes.
struct Sized {
    of: Type,
    least: u64,
}

impl Type {
    /// The type of what a structural schema describes; `root`: it is a whole object, whose apiVersion, kind and name can always be read.
    /// `None`: expressions cannot see it.
    pub fn of_schema(schema: &Json, root: bool) -> Option<Type> {
        declared(schema, root, "object", 0).map(|sized| sized.of)
    }

    /// How often a value of this schema can occur in the largest request: where nothing else bounds how often a rule runs.
    pub fn most_in_a_request(schema: &Json, root: bool) -> u64 {
        let least = declared(schema, root, "object", 0).map_or(0, |sized| sized.least);
        REQUEST / (least + 1)
    }
}

fn number(schema: &Json, name: &str) -> Option<u64> {
    schema
        .get(name)?
        .as_i64()
        .map(|value| u64::try_from(value).unwrap_or(0))
}

fn flag(schema: &Json, name: &str) -> bool {
    schema.get(name).and_then(Json::as_bool).unwrap_or(false)
}

fn declared(schema: &Json, root: bool, name: &str, depth: u32) -> Option<Sized> {
    if depth > 100 {
        return None;
    }
    let sized = |of: Type, least: u64| Some(Sized { of, least });
    let text = |of: Type, per_character: u64| {
        of.at_most(
            number(schema, "maxLength")
                .map_or(REQUEST - 2, |most| most.saturating_mul(per_character)),
        )
    };
    if flag(schema, "x-kubernetes-int-or-string") {
        return sized(text(Type::Dyn, 4), 1);
    }
    let embedded = root || flag(schema, "x-kubernetes-embedded-resource");
    let format = schema
        .get("format")
        .and_then(Json::as_str)
        .unwrap_or_default();
    match (schema.get("type").and_then(Json::as_str), format) {
        (Some("array"), _) => {
            let items = declared(
                schema.get("items")?,
                false,
                &format!("{name}.@idx"),
                depth + 1,
            )?;
            let most = number(schema, "maxItems").unwrap_or((REQUEST - 2) / (items.least + 1));
            sized(
                Type::list(items.of)
                    .at_most(most)
                    .compared_as(list_kind(schema)),
                2,
            )
        }
        (Some("object"), _) => match schema
            .get("additionalProperties")
            .filter(|values| values.is_object())
        {
            Some(values) if !embedded => {
                let values = declared(values, false, &format!("{name}.@elem"), depth + 1)?;
                let most =
                    number(schema, "maxProperties").unwrap_or((REQUEST - 2) / (values.least + 6));
                sized(Type::map(values.of).at_most(most), 2)
            }
            _ => Some(object(schema, embedded, name, depth)),
        },
        (Some("string"), "byte") => sized(text(Type::Bytes, 1), 2),
        (Some("string"), "duration") => sized(Type::Duration.at_most(32), 3),
        (Some("string"), "date") => sized(Type::Timestamp.at_most(12), 12),
        (Some("string"), "date-time") => sized(Type::Timestamp.at_most(32), 21),
        (Some("string"), _) => match schema.get("enum").and_then(Json::as_array) {
            Some(values) if !values.is_empty() && number(schema, "maxLength").is_none() => {
                let longest = values
                    .iter()
                    .filter_map(Json::as_str)
                    .map(str::len)
                    .max()
                    .unwrap_or(0);
                sized(Type::String.at_most(longest as u64), 2)
            }
            _ => sized(text(Type::String, 4), 2),
        },
        (Some("boolean"), _) => sized(Type::Bool, 4),
        (Some("number"), _) => sized(Type::Double, 1),
        (Some("integer"), _) => sized(Type::Int, 1),
        _ => None,
    }
}

fn list_kind(schema: &Json) -> ListKind {
    match schema.get("x-kubernetes-list-type").and_then(Json::as_str) {
        Some("set") => ListKind::Set,
        Some("map") => {
            let keys = schema
                .get("x-kubernetes-list-map-keys")
                .and_then(Json::as_array);
            ListKind::Map(
                keys.into_iter()
                    .flatten()
                    .filter_map(Json::as_str)
                    .map(str::to_owned)
                    .collect(),
            )
        }
        _ => ListKind::Atomic,
    }
}

fn object(schema: &Json, root: bool, name: &str, depth: u32) -> Sized {
    let mut object = ObjectType::new(name);
    let mut least = 2;
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Json::as_array)
        .into_iter()
        .flatten()
        .filter_map(Json::as_str)
        .collect();
    for (property, of) in schema
        .get("properties")
        .and_then(Json::as_object)
        .into_iter()
        .flatten()
    {
        let Some(value) = declared(of, false, &format!("{name}.{property}"), depth + 1) else {
            continue;
        };
        if required.contains(&property.as_str()) && of.get("default").is_none() {
            least += property.len() as u64 + value.least + 4;
        }
        object = if flag(of, "nullable") {
            object.nullable(property, value.of)
        } else {
            object.field(property, value.of)
        };
    }
    if root {
        let text = || Type::String.at_most(REQUEST - 2);
        let metadata = ObjectType::new(format!("{name}.metadata"))
            .field("name", text())
            .field("generateName", text());
        object = object
            .field("apiVersion", text())
            .field("kind", text())
            .field("metadata", Type::Object(Arc::new(metadata)));
    }
    Sized {
        of: object.into(),
        least,
    }
}
