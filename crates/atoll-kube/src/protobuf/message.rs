//! Ordinary messages: their plans, made from facts on first use, and decoding by them.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::special::Special;
use super::wire::{MAX_DEPTH, Payload, Reader, text};
use crate::builtin::{component_schema, component_wire};

/// How to read a message: its fields by number.
#[derive(Default)]
struct Plan {
    fields: HashMap<u64, Field>,
}

struct Field {
    /// JSON name; empty where another message's fields stand inline.
    name: String,
    presence: Presence,
    shape: Shape,
}

#[derive(Clone, Copy, PartialEq)]
enum Presence {
    /// Left out when zero or empty.
    OmitEmpty,
    /// Written even when zero.
    Always,
    /// A pointer: what is sent was meant.
    Pointer,
}

enum Shape {
    Text,
    Bytes,
    Integer,
    Number,
    Boolean,
    Message(String),
    Special(Special, String),
    List(Box<Shape>),
    Map(Box<Shape>),
    /// The fields of another message, in place.
    Inline(Arc<Plan>),
    /// Of no known type.
    Skip,
}

static PLANS: LazyLock<Mutex<HashMap<String, Arc<Plan>>>> = LazyLock::new(Mutex::default);

fn plan(component: &str) -> Arc<Plan> {
    let plans = || PLANS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = plans().get(component) {
        return Arc::clone(known);
    }
    let schema = component_schema(component).unwrap_or_default();
    let made = Arc::new(Plan::new(component, &schema["properties"]));
    plans().insert(component.to_owned(), Arc::clone(&made));
    made
}

impl Plan {
    /// The plan of a message whose JSON fields have these schemas.
    fn new(component: &str, properties: &Value) -> Plan {
        let wire = component_wire(component).unwrap_or_default();
        let fields = wire.split(' ').filter_map(|fact| {
            let (number, name) = fact.split_once(':')?;
            let number = number.parse().ok()?;
            let field = match name.strip_prefix('+') {
                // Inline fields are the parent's own in JSON, so their schemas are there.
                Some(inlined) => Field {
                    name: String::new(),
                    presence: Presence::OmitEmpty,
                    shape: Shape::Inline(Arc::new(Plan::new(inlined, properties))),
                },
                None => {
                    let (name, presence) = match name.strip_suffix('*') {
                        Some(name) => (name, Presence::Pointer),
                        None => match name.strip_suffix('!') {
                            Some(name) => (name, Presence::Always),
                            None => (name, Presence::OmitEmpty),
                        },
                    };
                    Field {
                        name: name.to_owned(),
                        presence,
                        shape: shape(&properties[name]),
                    }
                }
            };
            Some((number, field))
        });
        Plan {
            fields: fields.collect(),
        }
    }

    fn read(
        &self,
        bytes: &[u8],
        depth: usize,
        into: &mut Map<String, Value>,
    ) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err("the protobuf message is nested too deeply".to_owned());
        }
        for field in Reader::new(bytes) {
            let (number, payload) = field?;
            let Some(field) = self.fields.get(&number) else {
                continue; // of another version of Kubernetes
            };
            match (&field.shape, payload) {
                (Shape::Inline(plan), Payload::Block(bytes)) => plan.read(bytes, depth, into)?,
                (Shape::List(items), payload) => {
                    let list = into
                        .entry(field.name.clone())
                        .or_insert_with(|| Value::Array(Vec::new()));
                    if let Value::Array(all) = list {
                        entries(items, payload, depth, all)?;
                    }
                }
                (Shape::Map(values), Payload::Block(entry)) => {
                    let (key, value) = map_entry(values, entry, depth)?;
                    let map = into
                        .entry(field.name.clone())
                        .or_insert_with(|| Value::Object(Map::new()));
                    if let Value::Object(map) = map {
                        map.insert(key, value);
                    }
                }
                (shape, payload) => {
                    let value = single(shape, payload, depth)?;
                    let absent = value.is_null()
                        || (field.presence == Presence::OmitEmpty && is_empty(&value));
                    if !absent {
                        into.insert(field.name.clone(), value);
                    }
                }
            }
        }
        Ok(())
    }
}

/// The shape of a field, from its schema in the facts' shorthand.
fn shape(schema: &Value) -> Shape {
    let fields = match schema {
        Value::String(leaf) => return leaf_shape(leaf),
        Value::Object(fields) => fields,
        _ => return Shape::Skip,
    };
    if let Some(to) = fields.get("$ref") {
        return shape(to);
    }
    if let Some(items) = fields.get("items") {
        return Shape::List(Box::new(shape(items)));
    }
    if let Some(values) = fields.get("additionalProperties") {
        return Shape::Map(Box::new(shape(values)));
    }
    let text = |key: &str| fields.get(key).and_then(Value::as_str).unwrap_or_default();
    leaf_shape(&format!("{}/{}", text("type"), text("format")))
}

fn leaf_shape(leaf: &str) -> Shape {
    if let Some(component) = leaf.strip_prefix(['@', '&']) {
        return match Special::of(component) {
            Some(special) => Shape::Special(special, component.to_owned()),
            None => Shape::Message(component.to_owned()),
        };
    }
    match leaf.split_once('/').unwrap_or((leaf, "")) {
        ("string", "byte") => Shape::Bytes,
        ("string", _) => Shape::Text,
        ("integer", _) => Shape::Integer,
        ("number", _) => Shape::Number,
        ("boolean", _) => Shape::Boolean,
        _ => Shape::Skip,
    }
}

/// Decodes a message of this component.
pub(super) fn decode(component: &str, bytes: &[u8]) -> Result<Value, String> {
    decode_at(component, bytes, 0)
}

pub(super) fn decode_at(component: &str, bytes: &[u8], depth: usize) -> Result<Value, String> {
    let mut object = Map::new();
    plan(component).read(bytes, depth + 1, &mut object)?;
    Ok(Value::Object(object))
}

fn single(shape: &Shape, payload: Payload<'_>, depth: usize) -> Result<Value, String> {
    Ok(match (shape, payload) {
        (Shape::Text, Payload::Block(bytes)) => text(bytes)?.into(),
        (Shape::Bytes, Payload::Block(bytes)) => STANDARD.encode(bytes).into(),
        (Shape::Integer, Payload::Varint(v)) => v.cast_signed().into(),
        (Shape::Boolean, Payload::Varint(v)) => (v != 0).into(),
        (Shape::Number, Payload::Fixed64(v)) => f64::from_bits(v).into(),
        (Shape::Message(component), Payload::Block(bytes)) => decode_at(component, bytes, depth)?,
        (Shape::Special(special, component), Payload::Block(bytes)) => {
            special.decode(component, bytes, depth)?
        }
        // Lists inside maps are wrapped in a message of one repeated field.
        (Shape::List(items), Payload::Block(bytes)) => {
            let mut all = Vec::new();
            for field in Reader::new(bytes) {
                entries(items, field?.1, depth, &mut all)?;
            }
            Value::Array(all)
        }
        (Shape::Skip, _) => Value::Null,
        _ => return Err("a protobuf field has another type than its schema".to_owned()),
    })
}

/// The entries that one occurrence of a repeated field adds: one, or many packed numbers.
fn entries(
    items: &Shape,
    payload: Payload<'_>,
    depth: usize,
    all: &mut Vec<Value>,
) -> Result<(), String> {
    if let (Shape::Integer | Shape::Boolean, Payload::Block(packed)) = (items, payload) {
        let mut packed = Reader::new(packed);
        while !packed.is_empty() {
            let number = packed.varint().ok_or("a packed protobuf list is cut off")?;
            all.push(single(items, Payload::Varint(number), depth)?);
        }
        return Ok(());
    }
    all.push(single(items, payload, depth)?);
    Ok(())
}

fn map_entry(values: &Shape, entry: &[u8], depth: usize) -> Result<(String, Value), String> {
    let (mut key, mut value) = (String::new(), None);
    for field in Reader::new(entry) {
        match field? {
            (1, Payload::Block(bytes)) => key = text(bytes)?,
            (2, payload) => value = Some(single(values, payload, depth)?),
            _ => {}
        }
    }
    let value = value.unwrap_or_else(|| match values {
        Shape::Message(_) => Value::Object(Map::new()),
        Shape::List(_) => Value::Array(Vec::new()),
        _ => "".into(),
    });
    Ok((key, value))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(b) => !b,
        Value::Number(n) => n.as_f64() == Some(0.0),
        Value::String(s) => s.is_empty(),
        Value::Array(a) => a.is_empty(),
        Value::Object(o) => o.is_empty(),
    }
}
