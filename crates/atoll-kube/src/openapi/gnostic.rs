//! Version 2 in gnostic's protobuf (`application/com.github.proto-openapi.spec.v2@v1.0+protobuf`).
//!
//! The document is a tree of messages whose fields are those of the JSON; this writes them directly, by field number
//! (gnostic's `OpenAPIv2.proto`), so that no generated code is needed. What the messages have no field for goes to
//! `vendor_extension`, as YAML text: JSON is YAML.

use serde_json::{Map, Value};

type Fields = Map<String, Value>;

/// Encodes a version 2 document.
pub fn v2_protobuf(document: &Value) -> Vec<u8> {
    let mut out = Writer::default();
    let Some(fields) = document.as_object() else {
        return out.bytes;
    };
    out.text(1, fields.get("swagger"));
    out.message(2, |m| {
        let info = &document["info"];
        m.text(1, info.get("title"));
        m.text(2, info.get("version"));
    });
    out.message(8, |m| {
        for (path, item) in object(fields, "paths") {
            m.named(2, path, |m| path_item(m, item));
        }
    });
    out.message(9, |m| {
        for (name, value) in object(fields, "definitions") {
            m.named(1, name, |m| schema(m, value));
        }
    });
    for requirement in list(fields, "security") {
        out.message(12, |m| {
            for name in requirement
                .as_object()
                .into_iter()
                .flatten()
                .map(|(k, _)| k)
            {
                m.named(1, name, |_| {});
            }
        });
    }
    out.message(13, |m| {
        for (name, value) in object(fields, "securityDefinitions") {
            m.named(1, name, |m| {
                // One of several kinds; ours is an API key.
                m.message(2, |m| {
                    m.text(1, value.get("type"));
                    m.text(2, value.get("name"));
                    m.text(3, value.get("in"));
                });
            });
        }
    });
    out.bytes
}

fn path_item(m: &mut Writer, item: &Value) {
    let methods = [
        (2, "get"),
        (3, "put"),
        (4, "post"),
        (5, "delete"),
        (8, "patch"),
    ];
    for (number, method) in methods {
        if let Some(o) = item.get(method) {
            m.message(number, |m| operation(m, o));
        }
    }
    if let Some(fields) = item.as_object() {
        for p in list(fields, "parameters") {
            m.message(9, |m| parameters_item(m, p));
        }
    }
}

fn operation(m: &mut Writer, operation: &Value) {
    let Some(fields) = operation.as_object() else {
        return;
    };
    m.texts(1, fields.get("tags"));
    m.text(3, fields.get("description"));
    m.text(5, fields.get("operationId"));
    m.texts(6, fields.get("produces"));
    m.texts(7, fields.get("consumes"));
    for p in list(fields, "parameters") {
        m.message(8, |m| parameters_item(m, p));
    }
    m.message(9, |m| {
        for (code, response) in object(fields, "responses") {
            m.named(1, code, |m| {
                m.message(1, |m| {
                    m.text(1, response.get("description"));
                    if let Some(s) = response.get("schema") {
                        m.message(2, |m| m.message(1, |m| schema(m, s)));
                    }
                });
            });
        }
    });
    m.texts(10, fields.get("schemes"));
    m.extensions(13, fields);
}

fn parameters_item(m: &mut Writer, p: &Value) {
    m.message(1, |m| {
        if p["in"] == "body" {
            return m.message(1, |m| {
                m.text(2, p.get("name"));
                m.text(3, p.get("in"));
                m.flag(4, p.get("required"));
                if let Some(s) = p.get("schema") {
                    m.message(5, |m| schema(m, s));
                }
            });
        }
        m.message(2, |m| {
            // Path and query parameters differ only in their numbers.
            let (which, ty, unique) = if p["in"] == "path" {
                (4, 5, 19)
            } else {
                (3, 6, 20)
            };
            m.message(which, |m| {
                m.flag(1, p.get("required"));
                m.text(2, p.get("in"));
                m.text(3, p.get("description"));
                m.text(4, p.get("name"));
                m.text(ty, p.get("type"));
                m.flag(unique, p.get("uniqueItems"));
            });
        });
    });
}

fn schema(m: &mut Writer, schema_value: &Value) {
    let Some(fields) = schema_value.as_object() else {
        return;
    };
    let get = |key: &str| fields.get(key);
    m.text(1, get("$ref"));
    m.text(2, get("format"));
    m.text(3, get("title"));
    m.text(4, get("description"));
    if let Some(default) = get("default") {
        m.message(5, |m| m.yaml(default));
    }
    m.double(6, get("multipleOf"));
    m.double(7, get("maximum"));
    m.flag(8, get("exclusiveMaximum"));
    m.double(9, get("minimum"));
    m.flag(10, get("exclusiveMinimum"));
    m.integer(11, get("maxLength"));
    m.integer(12, get("minLength"));
    m.text(13, get("pattern"));
    m.integer(14, get("maxItems"));
    m.integer(15, get("minItems"));
    m.flag(16, get("uniqueItems"));
    m.integer(17, get("maxProperties"));
    m.integer(18, get("minProperties"));
    m.texts(19, get("required"));
    for value in list(fields, "enum") {
        m.message(20, |m| m.yaml(value));
    }
    match get("additionalProperties") {
        Some(Value::Bool(b)) => m.message(21, |m| m.flag(2, Some(&Value::Bool(*b)))),
        Some(values) => m.message(21, |m| m.message(1, |m| schema(m, values))),
        None => {}
    }
    if let Some(ty) = get("type") {
        m.message(22, |m| m.text(1, Some(ty)));
    }
    if let Some(items) = get("items") {
        m.message(23, |m| m.message(1, |m| schema(m, items)));
    }
    if fields.contains_key("properties") {
        m.message(25, |m| {
            for (name, value) in object(fields, "properties") {
                m.named(1, name, |m| schema(m, value));
            }
        });
    }
    m.extensions(31, fields);
}

fn object<'a>(fields: &'a Fields, key: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    fields
        .get(key)
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
}

fn list<'a>(fields: &'a Fields, key: &str) -> impl Iterator<Item = &'a Value> {
    fields
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// Writes protobuf's wire format: varints, doubles, and length-prefixed bytes.
#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push((value as u8 & 0x7f) | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    fn key(&mut self, number: u64, wire_type: u64) {
        self.varint(number << 3 | wire_type);
    }

    fn block(&mut self, number: u64, bytes: &[u8]) {
        self.key(number, 2);
        self.varint(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }

    fn message(&mut self, number: u64, write: impl FnOnce(&mut Writer)) {
        let mut inner = Writer::default();
        write(&mut inner);
        self.block(number, &inner.bytes);
    }

    /// A message {name = 1, value = 2}.
    fn named(&mut self, number: u64, name: &str, write: impl FnOnce(&mut Writer)) {
        self.message(number, |m| {
            m.block(1, name.as_bytes());
            m.message(2, write);
        });
    }

    fn text(&mut self, number: u64, value: Option<&Value>) {
        if let Some(text) = value.and_then(Value::as_str).filter(|t| !t.is_empty()) {
            self.block(number, text.as_bytes());
        }
    }

    fn texts(&mut self, number: u64, value: Option<&Value>) {
        for text in value.and_then(Value::as_array).into_iter().flatten() {
            self.block(number, text.as_str().unwrap_or_default().as_bytes());
        }
    }

    fn flag(&mut self, number: u64, value: Option<&Value>) {
        if value.and_then(Value::as_bool) == Some(true) {
            self.key(number, 0);
            self.varint(1);
        }
    }

    fn integer(&mut self, number: u64, value: Option<&Value>) {
        if let Some(n) = value.and_then(Value::as_u64).filter(|n| *n != 0) {
            self.key(number, 0);
            self.varint(n);
        }
    }

    fn double(&mut self, number: u64, value: Option<&Value>) {
        if let Some(n) = value.and_then(Value::as_f64).filter(|n| *n != 0.0) {
            self.key(number, 1);
            self.bytes.extend_from_slice(&n.to_le_bytes());
        }
    }

    /// An `Any` whose content is YAML text.
    fn yaml(&mut self, value: &Value) {
        self.block(2, format!("{value}\n").as_bytes());
    }

    fn extensions(&mut self, number: u64, fields: &Fields) {
        for (name, value) in fields.iter().filter(|(name, _)| name.starts_with("x-")) {
            self.named(number, name, |m| m.yaml(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bytes_are_those_of_the_wire_format() {
        let mut out = Writer::default();
        let action = json!({"type": "object", "required": ["a"], "maxLength": 300, "x-k": "get"});
        schema(&mut out, &action);
        let expected = [
            b"\x58\xac\x02".as_slice(),    // 11: varint 300
            b"\x9a\x01\x01a",              // 19: "a"
            b"\xb2\x01\x08\x0a\x06object", // 22: {1: "object"}
            b"\xfa\x01\x0f\x0a\x03x-k",    // 31: {1: "x-k",
            b"\x12\x08\x12\x06\"get\"\n",  //      2: {2: "\"get\"\n"}}
        ]
        .concat();
        assert_eq!(out.bytes, expected);
    }
}
