//! The messages whose JSON is not an object of their fields: times, quantities, int-or-strings, raw JSON.

use serde_json::Value;

use super::message;
use super::wire::{Payload, Reader, text};
use crate::builtin::component_package;
use crate::time::Timestamp;

/// A message with a JSON form of its own.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Special {
    Time,
    MicroTime,
    Quantity,
    IntOrString,
    /// JSON text in field 1.
    Raw,
    /// A CRD's schema, or a list of them.
    SchemaOrArray,
    /// A CRD's schema, or a boolean.
    SchemaOrBool,
    /// A CRD's schema, or a list of strings.
    SchemaOrStrings,
}

impl Special {
    /// The special form of a component, if it has one.
    pub(super) fn of(component: &str) -> Option<Special> {
        let (_, name) = component_package(component);
        Some(match name {
            "Time" => Special::Time,
            "MicroTime" => Special::MicroTime,
            "Quantity" => Special::Quantity,
            "IntOrString" => Special::IntOrString,
            "RawExtension" | "FieldsV1" | "JSON" => Special::Raw,
            "JSONSchemaPropsOrArray" => Special::SchemaOrArray,
            "JSONSchemaPropsOrBool" => Special::SchemaOrBool,
            "JSONSchemaPropsOrStringArray" => Special::SchemaOrStrings,
            _ => return None,
        })
    }

    /// The JSON of one such message; `Null` for an empty one.
    pub(super) fn decode(
        self,
        component: &str,
        bytes: &[u8],
        depth: usize,
    ) -> Result<Value, String> {
        let schema = |bytes: &[u8]| {
            let (package, _) = component_package(component);
            message::decode_at(&format!("{package}JSONSchemaProps"), bytes, depth)
        };
        let mut value = Value::Null;
        let (mut seconds, mut nanos) = (None, 0);
        let (mut is_string, mut int, mut string) = (false, 0, String::new());
        for field in Reader::new(bytes) {
            match (self, field?) {
                (Special::Time | Special::MicroTime, (1, Payload::Varint(v))) => {
                    seconds = Some(v.cast_signed());
                }
                (Special::Time | Special::MicroTime, (2, Payload::Varint(v))) => {
                    nanos = v.cast_signed();
                }
                (Special::Quantity, (1, Payload::Block(b))) => value = text(b)?.into(),
                (Special::IntOrString, (1, Payload::Varint(v))) => is_string = v == 1,
                (Special::IntOrString, (2, Payload::Varint(v))) => int = v.cast_signed(),
                (Special::IntOrString, (3, Payload::Block(b))) => string = text(b)?,
                (Special::Raw, (1, Payload::Block(b))) => {
                    value = serde_json::from_slice(b)
                        .map_err(|e| format!("a raw field does not hold JSON: {e}"))?;
                }
                (Special::SchemaOrArray, (1, Payload::Block(b)))
                | (Special::SchemaOrBool, (2, Payload::Block(b)))
                | (Special::SchemaOrStrings, (1, Payload::Block(b))) => value = schema(b)?,
                (Special::SchemaOrArray, (2, Payload::Block(b))) => push(&mut value, schema(b)?),
                (Special::SchemaOrBool, (1, Payload::Varint(v))) if value.is_null() => {
                    value = (v != 0).into();
                }
                (Special::SchemaOrStrings, (2, Payload::Block(b))) => {
                    push(&mut value, text(b)?.into());
                }
                _ => {}
            }
        }
        Ok(match self {
            Special::Time | Special::MicroTime => match seconds {
                Some(seconds) => {
                    let micro = self == Special::MicroTime;
                    time(seconds, nanos, micro).into()
                }
                None => Value::Null,
            },
            Special::IntOrString if is_string => string.into(),
            Special::IntOrString => int.into(),
            Special::Quantity if value.is_null() => "0".into(),
            _ => value,
        })
    }
}

fn push(list: &mut Value, entry: Value) {
    match list {
        Value::Array(all) => all.push(entry),
        other => *other = Value::Array(vec![entry]),
    }
}

fn time(seconds: i64, nanos: i64, micro: bool) -> String {
    let whole = Timestamp(seconds.saturating_mul(1000));
    if !micro {
        return whole.rfc3339();
    }
    let date = whole.rfc3339();
    let micros = nanos.clamp(0, 999_999_999) / 1000;
    format!("{}.{micros:06}Z", date.trim_end_matches('Z'))
}
