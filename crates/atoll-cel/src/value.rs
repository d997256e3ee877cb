//! Values that come out of an evaluation, or are bound by a caller.
//!
//! Equality is CEL's: numbers are equal across their types, and values of different types are unequal rather than an error.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use base64::Engine as _;
use serde_json::Value as Json;

use crate::time::{Duration, Timestamp};

/// A value, on its own feet (nothing borrowed).
#[derive(Clone, Debug)]
pub enum Value {
    /// `null`.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// An unsigned integer.
    Uint(u64),
    /// A float.
    Double(f64),
    /// Text.
    String(Arc<str>),
    /// Bytes.
    Bytes(Arc<[u8]>),
    /// An instant.
    Timestamp(Timestamp),
    /// A span of time.
    Duration(Duration),
    /// A list.
    List(Arc<[Value]>),
    /// A map.
    Map(Arc<Map>),
    /// A value that may be absent.
    Optional(Option<Arc<Value>>),
    /// A type, by its name.
    Type(Arc<str>),
    /// A value of a library's own type: the type's name and the value's canonical text.
    Opaque(&'static str, Arc<str>),
}

/// A map's entries, in the order of their keys.
pub type Map = BTreeMap<Key, Value>;

/// A map's key: keys of the language are booleans, integers and text. Ordered by type, then value; an int and an equal uint are the same key.
/// It is also the total order in which group-by answers are sorted, for which any value has a key ([`Value::key`]).
#[derive(Clone, Debug)]
pub enum Key {
    /// `null` (only from [`Value::key`]).
    Null,
    /// A boolean.
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// An unsigned integer.
    Uint(u64),
    /// A float (only from [`Value::key`]; an integral one is an int).
    Double(f64),
    /// Text.
    String(Arc<str>),
    /// Any other value, as the canonical text of what it is in JSON (only from [`Value::key`]).
    Other(Arc<str>),
}

impl Value {
    /// The value as JSON: bytes as base64, instants and spans as text, an absent optional as `null`, keys as text.
    pub fn to_json(&self) -> Json {
        match self {
            Value::Null | Value::Optional(None) => Json::Null,
            Value::Bool(b) => Json::Bool(*b),
            Value::Int(i) => Json::from(*i),
            Value::Uint(u) => Json::from(*u),
            Value::Double(d) => double_to_json(*d),
            Value::String(s) => Json::from(&**s),
            Value::Bytes(b) => Json::from(base64::engine::general_purpose::STANDARD.encode(b)),
            Value::Timestamp(t) => Json::from(t.to_string()),
            Value::Duration(d) => Json::from(d.to_string()),
            Value::List(items) => items.iter().map(Value::to_json).collect(),
            Value::Map(map) => Json::Object(
                map.iter()
                    .map(|(key, value)| (key.to_string(), value.to_json()))
                    .collect(),
            ),
            Value::Optional(Some(value)) => value.to_json(),
            Value::Type(name) | Value::Opaque(_, name) => Json::from(&**name),
        }
    }

    /// A key for any value, totally ordered: two values have the same key exactly when the language calls them equal (all NaN are one key).
    pub fn key(&self) -> Key {
        match self {
            Value::Null => Key::Null,
            Value::Bool(b) => Key::Bool(*b),
            Value::Int(i) => Key::Int(*i),
            Value::Uint(u) => Key::Uint(*u),
            Value::Double(d) => Key::Double(*d),
            Value::String(s) => Key::String(s.clone()),
            other => {
                let mut text = String::new();
                canonical(other, &mut text);
                Key::Other(text.into())
            }
        }
    }

    /// The boolean, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(b) => Some(*b),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(s) => Some(s),
            _ => None,
        }
    }

    /// The number as a float, if it is one.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Int(i) => Some(*i as f64),
            Value::Uint(u) => Some(*u as f64),
            Value::Double(d) => Some(*d),
            _ => None,
        }
    }

    /// The name of the value's type, as messages show it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Null => "null_type",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Uint(_) => "uint",
            Value::Double(_) => "double",
            Value::String(_) => "string",
            Value::Bytes(_) => "bytes",
            Value::Timestamp(_) => "google.protobuf.Timestamp",
            Value::Duration(_) => "google.protobuf.Duration",
            Value::List(_) => "list",
            Value::Map(_) => "map",
            Value::Optional(_) => "optional_type",
            Value::Type(_) => "type",
            Value::Opaque(name, _) => name,
        }
    }
}

fn double_to_json(d: f64) -> Json {
    match serde_json::Number::from_f64(d) {
        Some(number) => Json::Number(number),
        None if d.is_nan() => Json::from("NaN"),
        None if d > 0.0 => Json::from("Infinity"),
        None => Json::from("-Infinity"),
    }
}

/// Text that two values share exactly when they are equal.
fn canonical(value: &Value, out: &mut String) {
    // Writing to a String cannot fail.
    match value {
        Value::Null => out.push('n'),
        Value::Bool(b) => out.push(if *b { 't' } else { 'f' }),
        Value::Int(i) => drop(write!(out, "{i}")),
        Value::Uint(u) => drop(write!(out, "{u}")),
        Value::Double(d) => match Number::Double(*d).integral() {
            Some(Number::Int(i)) => drop(write!(out, "{i}")),
            Some(Number::Uint(u)) => drop(write!(out, "{u}")),
            _ if d.is_nan() => out.push_str("NaN"),
            _ => drop(write!(out, "d{d:e}")),
        },
        Value::String(s) => drop(write!(out, "{s:?}")),
        Value::Bytes(b) => drop(write!(out, "b{b:?}")),
        Value::Timestamp(t) => drop(write!(
            out,
            "T{:012}.{:09}",
            i128::from(t.seconds) + 62_135_596_800,
            t.nanos
        )),
        Value::Duration(d) => drop(write!(out, "D{:+020}", d.nanos)),
        Value::List(items) => {
            out.push('[');
            for item in items.iter() {
                canonical(item, out);
                out.push(',');
            }
            out.push(']');
        }
        Value::Map(map) => {
            out.push('{');
            for (key, item) in map.iter() {
                canonical(&key.to_value(), out);
                out.push(':');
                canonical(item, out);
                out.push(',');
            }
            out.push('}');
        }
        Value::Optional(None) => out.push('?'),
        Value::Optional(Some(value)) => {
            out.push('!');
            canonical(value, out);
        }
        Value::Type(name) => drop(write!(out, "type {name}")),
        Value::Opaque(kind, text) => drop(write!(out, "{kind} {text:?}")),
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        if let (Some(a), Some(b)) = (Number::of(self), Number::of(other)) {
            return a.compare(b) == Some(Ordering::Equal);
        }
        match (self, other) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::String(a), Value::String(b)) | (Value::Type(a), Value::Type(b)) => a == b,
            (Value::Bytes(a), Value::Bytes(b)) => a == b,
            (Value::Timestamp(a), Value::Timestamp(b)) => a == b,
            (Value::Duration(a), Value::Duration(b)) => a == b,
            (Value::List(a), Value::List(b)) => a == b,
            (Value::Map(a), Value::Map(b)) => a == b,
            (Value::Optional(a), Value::Optional(b)) => a == b,
            (Value::Opaque(a, x), Value::Opaque(b, y)) => a == b && x == y,
            _ => false,
        }
    }
}

/// A number of any of the three types, comparable exactly with the others.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Number {
    Int(i64),
    Uint(u64),
    Double(f64),
}

impl Number {
    fn of(value: &Value) -> Option<Number> {
        match value {
            Value::Int(i) => Some(Number::Int(*i)),
            Value::Uint(u) => Some(Number::Uint(*u)),
            Value::Double(d) => Some(Number::Double(*d)),
            _ => None,
        }
    }

    /// The integer this number equals, if there is one: as an int where it fits.
    pub(crate) fn integral(self) -> Option<Number> {
        match self {
            Number::Int(_) => Some(self),
            Number::Uint(u) => Some(i64::try_from(u).map_or(self, Number::Int)),
            Number::Double(d) if d.fract() != 0.0 || !d.is_finite() => None,
            Number::Double(d)
                if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&d) =>
            {
                Some(Number::Int(d as i64))
            }
            Number::Double(d) if (0.0..18_446_744_073_709_551_616.0).contains(&d) => {
                Some(Number::Uint(d as u64))
            }
            Number::Double(_) => None,
        }
    }

    /// Exact comparison across types; `None` with NaN.
    pub(crate) fn compare(self, other: Number) -> Option<Ordering> {
        match (self, other) {
            (Number::Int(a), Number::Int(b)) => Some(a.cmp(&b)),
            (Number::Uint(a), Number::Uint(b)) => Some(a.cmp(&b)),
            (Number::Int(a), Number::Uint(b)) => Some(i128::from(a).cmp(&i128::from(b))),
            (Number::Uint(a), Number::Int(b)) => Some(i128::from(a).cmp(&i128::from(b))),
            (Number::Double(a), Number::Double(b)) => a.partial_cmp(&b),
            (Number::Double(a), Number::Int(b)) => compare_double(a, i128::from(b)),
            (Number::Double(a), Number::Uint(b)) => compare_double(a, i128::from(b)),
            (Number::Int(_) | Number::Uint(_), Number::Double(_)) => {
                other.compare(self).map(Ordering::reverse)
            }
        }
    }
}

/// Compares a float with an integer of at most 64 bits, without rounding either.
fn compare_double(a: f64, b: i128) -> Option<Ordering> {
    if a.is_nan() {
        return None;
    }
    // The conversion saturates, far outside of b's range; what it cuts off decides between equals.
    let whole = a.trunc();
    Some(
        (whole as i128)
            .cmp(&b)
            .then_with(|| (a - whole).partial_cmp(&0.0).unwrap_or(Ordering::Equal)),
    )
}

impl Key {
    /// The key as a value.
    pub fn to_value(&self) -> Value {
        match self {
            Key::Null => Value::Null,
            Key::Bool(b) => Value::Bool(*b),
            Key::Int(i) => Value::Int(*i),
            Key::Uint(u) => Value::Uint(*u),
            Key::Double(d) => Value::Double(*d),
            Key::String(s) | Key::Other(s) => Value::String(s.clone()),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Key::Null => 0,
            Key::Bool(_) => 1,
            Key::Int(_) | Key::Uint(_) | Key::Double(_) => 2,
            Key::String(_) => 3,
            Key::Other(_) => 4,
        }
    }

    fn number(&self) -> Option<Number> {
        match self {
            Key::Int(i) => Some(Number::Int(*i)),
            Key::Uint(u) => Some(Number::Uint(*u)),
            Key::Double(d) => Some(Number::Double(*d)),
            _ => None,
        }
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Key) -> Ordering {
        if let (Some(a), Some(b)) = (self.number(), other.number()) {
            // NaN comes after every other number.
            let nan = |n: Number| matches!(n, Number::Double(d) if d.is_nan());
            return a.compare(b).unwrap_or_else(|| nan(a).cmp(&nan(b)));
        }
        match (self, other) {
            (Key::Bool(a), Key::Bool(b)) => a.cmp(b),
            (Key::String(a), Key::String(b)) | (Key::Other(a), Key::Other(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Key) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.rank().hash(state);
        match self {
            Key::Null => {}
            Key::Bool(b) => b.hash(state),
            Key::String(s) | Key::Other(s) => s.hash(state),
            Key::Int(_) | Key::Uint(_) | Key::Double(_) => {
                match self.number().and_then(Number::integral) {
                    Some(Number::Int(i)) => i128::from(i).hash(state),
                    Some(Number::Uint(u)) => i128::from(u).hash(state),
                    _ => match self {
                        Key::Double(d) if !d.is_nan() => d.to_bits().hash(state),
                        _ => u64::MAX.hash(state),
                    },
                }
            }
        }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Key::Null => f.write_str("null"),
            Key::Bool(b) => b.fmt(f),
            Key::Int(i) => i.fmt(f),
            Key::Uint(u) => u.fmt(f),
            Key::Double(d) => d.fmt(f),
            Key::String(s) | Key::Other(s) => f.write_str(s),
        }
    }
}

impl From<&Json> for Value {
    fn from(json: &Json) -> Value {
        match json {
            Json::Null => Value::Null,
            Json::Bool(b) => Value::Bool(*b),
            Json::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(i), _) => Value::Int(i),
                (None, Some(u)) => Value::Uint(u),
                (None, None) => Value::Double(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(s) => Value::from(s.as_str()),
            Json::Array(items) => Value::List(items.iter().map(Value::from).collect()),
            Json::Object(object) => Value::Map(Arc::new(
                object
                    .iter()
                    .map(|(key, value)| (Key::String(key.as_str().into()), Value::from(value)))
                    .collect(),
            )),
        }
    }
}

impl From<Value> for Json {
    fn from(value: Value) -> Json {
        value.to_json()
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::String(text.into())
    }
}

impl From<bool> for Value {
    fn from(b: bool) -> Value {
        Value::Bool(b)
    }
}

impl From<i64> for Value {
    fn from(i: i64) -> Value {
        Value::Int(i)
    }
}

impl From<f64> for Value {
    fn from(d: f64) -> Value {
        Value::Double(d)
    }
}

impl From<Timestamp> for Value {
    fn from(t: Timestamp) -> Value {
        Value::Timestamp(t)
    }
}

impl From<Duration> for Value {
    fn from(d: Duration) -> Value {
        Value::Duration(d)
    }
}
