//! What the merge machinery sees of a schema at one place of an object: is this a leaf, a list of told-apart items or
//! a map, and what type is below.
//!
//! A [`Type`] is a small copyable view. Where the schema says nothing the type is *deduced* from the value, as
//! Kubernetes does it: maps are owned field by field, lists as a whole. Every object has the same `metadata`, whether
//! or not its schema spells it out. Nothing here looks at more than one level of a value, except to name list items.

use std::sync::{Arc, LazyLock};

use serde_json::{Map, Value};

use super::path::PathElement;
use crate::schema::object_meta::object_meta;
use crate::schema::{JsonType, ListType, MapType, PatchStrategy, Schema, SchemaRef};

/// The type of one place in an object.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Type<'a> {
    /// A place a schema describes.
    Known {
        schema: &'a Schema,
        /// Fields without a schema are allowed, here and below.
        open: bool,
        /// A built-in kind: its structs exist even when nobody wrote them.
        native: bool,
        /// A whole object: it has apiVersion, kind and metadata.
        object: bool,
    },
    /// No schema: maps are granular, lists are atomic.
    Deduced,
    /// No schema, and everything is one leaf.
    Untyped,
}

/// How a value at some place is taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Atom {
    Scalar,
    List,
    Map,
}

/// How a list's items are told apart.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Items<'a> {
    /// They are not; the list is one leaf.
    Atomic,
    /// By their value.
    Set,
    /// By these fields.
    Keyed(&'a [String]),
}

/// What a scalar may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scalar {
    Number,
    String,
    Boolean,
    Any,
}

impl<'a> Type<'a> {
    /// The type of a whole object of a kind. `native` is true for built-in kinds.
    pub(crate) fn object(schema: &'a Schema, native: bool) -> Self {
        Self::Known {
            schema,
            open: schema.preserve_unknown,
            native,
            object: true,
        }
    }

    fn below(schema: &'a Schema, open: bool, native: bool) -> Self {
        let open = open || schema.preserve_unknown;
        Self::Known {
            schema,
            open,
            native,
            object: schema.embedded_resource,
        }
    }

    /// Whether this is part of a built-in kind.
    pub(crate) fn is_native(self) -> bool {
        matches!(self, Self::Known { native: true, .. })
    }

    /// How `value` is taken apart here. A value that does not say (null, or one of the wrong kind) is taken as the
    /// first of map, scalar and list that is allowed.
    pub(crate) fn atom(self, value: &Value) -> Atom {
        let fits = match value {
            Value::Null => None,
            Value::Array(_) => Some(Atom::List),
            Value::Object(_) => Some(Atom::Map),
            _ => Some(Atom::Scalar),
        };
        let Self::Known { schema, .. } = self else {
            return fits.unwrap_or(Atom::Map);
        };
        match schema.ty {
            None => fits.unwrap_or(Atom::Map),
            Some(JsonType::Object) => Atom::Map,
            Some(JsonType::Array) => Atom::List,
            Some(_) => Atom::Scalar,
        }
    }

    /// What a scalar may be here, or `None` where only lists or maps are allowed.
    pub(crate) fn scalar(self) -> Option<Scalar> {
        let Self::Known { schema, .. } = self else {
            return Some(Scalar::Any);
        };
        match schema.ty {
            None => Some(Scalar::Any),
            Some(JsonType::Integer | JsonType::Number) => Some(Scalar::Number),
            Some(JsonType::Boolean) => Some(Scalar::Boolean),
            Some(JsonType::String) if matches!(schema.format.as_str(), "" | "byte") => {
                Some(Scalar::String)
            }
            Some(JsonType::String) => Some(Scalar::Any),
            Some(JsonType::Object | JsonType::Array) => None,
        }
    }

    /// Whether a map here is one leaf.
    pub(crate) fn map_is_leaf(self) -> bool {
        match self {
            Self::Known { schema, .. } => schema.map_type == MapType::Atomic,
            Self::Deduced => false,
            Self::Untyped => true,
        }
    }

    /// How the items of a list here are told apart.
    pub(crate) fn items(self) -> Items<'a> {
        match self {
            Self::Known { schema, .. } => match &schema.list_type {
                ListType::Atomic => Items::Atomic,
                ListType::Set => Items::Set,
                ListType::Map(keys) => Items::Keyed(keys),
            },
            Self::Deduced | Self::Untyped => Items::Atomic,
        }
    }

    /// The type of a list's items.
    pub(crate) fn item(self) -> Self {
        match self {
            Self::Known {
                schema,
                open,
                native,
                ..
            } => match &schema.items {
                Some(items) => Self::below(items, open, native),
                None => Self::Untyped,
            },
            Self::Deduced | Self::Untyped => Self::Untyped,
        }
    }

    /// The type of a field or map entry, or `None` if there may be no such field.
    pub(crate) fn field(self, name: &str) -> Option<Self> {
        let Self::Known {
            schema,
            open,
            native,
            object,
        } = self
        else {
            return Some(self);
        };
        if object && let Some(known) = of_every_object(schema, name, native) {
            return Some(known);
        }
        if let Some(field) = schema.properties.get(name).or(schema.additional.as_ref()) {
            return Some(Self::below(field, open, native));
        }
        (open || schema.properties.is_empty()).then_some(Self::Deduced)
    }

    /// The type of a field for walks that go on whatever they meet.
    pub(crate) fn field_or_deduced(self, name: &str) -> Self {
        self.field(name).unwrap_or(Self::Deduced)
    }

    /// Whether the schema names this field (it is not a map's entry).
    pub(crate) fn names(self, name: &str) -> bool {
        match self {
            Self::Known { schema, object, .. } => {
                schema.properties.contains_key(name)
                    || (object && matches!(name, "apiVersion" | "kind" | "metadata"))
            }
            Self::Deduced | Self::Untyped => false,
        }
    }

    /// What an absent field of a built-in kind is equal to, when its type has no "absent": structs are there and
    /// empty, required lists are there and null. Objects of custom kinds have exactly what was written.
    pub(crate) fn when_absent(self, name: &str) -> Option<&'static Value> {
        static EMPTY: LazyLock<Value> = LazyLock::new(|| Value::Object(Map::new()));
        static NULL: Value = Value::Null;
        let Self::Known {
            schema,
            native: true,
            object,
            ..
        } = self
        else {
            return None;
        };
        if object && name == "metadata" {
            return Some(&EMPTY);
        }
        let field = schema.properties.get(name)?;
        if field.always_there {
            return Some(&EMPTY);
        }
        let required = schema.required.iter().any(|r| r == name);
        (required && matches!(field.ty, Some(JsonType::Array | JsonType::Object))).then_some(&NULL)
    }

    /// How strategic merge patch treats a field.
    pub(crate) fn patch_strategy(self) -> Option<&'a PatchStrategy> {
        match self {
            Self::Known { schema, .. } => Some(&schema.patch),
            Self::Deduced | Self::Untyped => None,
        }
    }

    /// The default of a key field of this list's items.
    fn key_default(self, key: &str) -> Option<&'a Value> {
        let Self::Known { schema, .. } = self else {
            return None;
        };
        schema
            .items
            .as_ref()?
            .properties
            .get(key)?
            .default
            .as_ref()
            .filter(|v| !v.is_null())
    }

    /// The step that leads to one item of a list of this type, or why there is none.
    pub(crate) fn step_to(self, item: &Value) -> Result<PathElement, String> {
        let refuse = |why: &str| Err(why.to_owned());
        match self.items() {
            Items::Atomic => refuse("invalid indexing of non-associative list"),
            Items::Set => match item {
                Value::Object(_) => {
                    refuse("associative list without keys has an element that's a map type")
                }
                Value::Array(_) => refuse("not supported: associative list with lists as elements"),
                Value::Null => {
                    refuse("associative list without keys has an element that's an explicit null")
                }
                scalar => Ok(PathElement::Value(Box::new(scalar.clone()))),
            },
            Items::Keyed(keys) => match item {
                Value::Object(map) => {
                    let mut fields: Vec<(Arc<str>, Value)> = Vec::with_capacity(keys.len());
                    for key in keys {
                        if let Some(value) = map.get(key).or_else(|| self.key_default(key)) {
                            fields.push((Arc::from(key.as_str()), value.clone()));
                        }
                    }
                    if fields.is_empty() {
                        return Err(format!(
                            "associative list with keys has an element that omits all key fields {} (and doesn't have \
                             default values for any key fields)",
                            quoted_list(keys)
                        ));
                    }
                    fields.sort_by(|l, r| l.0.cmp(&r.0));
                    Ok(PathElement::Key(fields.into_boxed_slice()))
                }
                Value::Null => refuse("associative list with keys may not have a null element"),
                _ => refuse("associative list with keys may not have non-map elements"),
            },
        }
    }

    /// The steps to all items of a list, or `None` if the list is to be taken as one leaf: because it is atomic, or
    /// because an item cannot be told apart.
    pub(crate) fn steps(self, items: &[Value]) -> Option<Vec<PathElement>> {
        if matches!(self.items(), Items::Atomic) {
            return None;
        }
        items.iter().map(|item| self.step_to(item).ok()).collect()
    }
}

fn quoted_list(keys: &[String]) -> String {
    let quoted: Vec<_> = keys.iter().map(|k| crate::status::quote(k)).collect();
    format!("[{}]", quoted.join(" "))
}

/// The fields that every object has, where the schema does not describe them itself.
fn of_every_object<'a>(schema: &'a Schema, name: &str, native: bool) -> Option<Type<'a>> {
    match name {
        "metadata" => {
            let described = schema
                .properties
                .get(name)
                .is_some_and(|s| !s.properties.is_empty());
            (!described).then(|| Type::Known {
                schema: &OBJECT_META,
                open: false,
                native,
                object: false,
            })
        }
        "apiVersion" | "kind" => (!schema.properties.contains_key(name)).then_some(Type::Untyped),
        _ => None,
    }
}

/// The schema of every object's metadata.
static OBJECT_META: LazyLock<SchemaRef> = LazyLock::new(object_meta);
