//! From bytes to values, once, at the border: size, depth and repeated fields are checked here.
//!
//! What is let through nests at most [`MAX_DEPTH`] deep, so everything behind may recurse.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::status::{Status, child, index};

/// A decoded body.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// The value; of a repeated field the last one.
    pub value: Value,
    /// Paths of fields that occur more than once.
    pub duplicates: Vec<String>,
}

/// Largest body accepted, in bytes.
pub const MAX_BODY: usize = 3 * 1024 * 1024;
/// Deepest nesting of maps and lists accepted. Less than what serde_json reads back, so that what is stored can be read.
pub const MAX_DEPTH: usize = 100;
/// How many repeated fields are reported by path.
const MAX_REPORTED: usize = 100;

/// Decodes JSON. `kind` is what should be in it, for messages.
pub fn strict_json(body: &[u8], kind: &str) -> Result<Decoded, Status> {
    if body.len() > MAX_BODY {
        return Err(Status::request_entity_too_large(MAX_BODY));
    }
    let context = Context::default();
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let seed = Node {
        context: &context,
        place: &Place::Root,
        depth: 0,
    };
    let value = seed
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|e| {
            if context.too_deep.take() {
                too_deep()
            } else {
                Status::unrecognized(
                    kind,
                    format_args!("couldn't get version/kind; json parse error: {e}"),
                    body,
                )
            }
        })?;
    Ok(Decoded {
        value,
        duplicates: context.duplicates.into_inner(),
    })
}

/// Decodes YAML (the first document).
pub fn strict_yaml(body: &[u8], kind: &str) -> Result<Decoded, Status> {
    if body.len() > MAX_BODY {
        return Err(Status::request_entity_too_large(MAX_BODY));
    }
    let documents = crate::yaml::decode(body).map_err(|e| Status::unrecognized(kind, e, body))?;
    Ok(documents.into_iter().next().unwrap_or(Decoded {
        value: Value::Null,
        duplicates: Vec::new(),
    }))
}

/// Refuses values nested deeper than [`MAX_DEPTH`]: for what was not decoded here but made, say by a patch.
pub fn check_depth(value: &Value) -> Result<(), Status> {
    fn fits(value: &Value, left: usize) -> bool {
        match value {
            Value::Array(list) => left > 0 && list.iter().all(|v| fits(v, left - 1)),
            Value::Object(map) => left > 0 && map.values().all(|v| fits(v, left - 1)),
            _ => true,
        }
    }
    if fits(value, MAX_DEPTH) {
        Ok(())
    } else {
        Err(too_deep())
    }
}

fn too_deep() -> Status {
    Status::bad_request(format!(
        "the object nests maps and lists deeper than {MAX_DEPTH} levels, which is the limit"
    ))
}

#[derive(Default)]
struct Context {
    duplicates: RefCell<Vec<String>>,
    too_deep: std::cell::Cell<bool>,
}

/// Where we are, as a list up the stack: written out only when something is wrong.
enum Place<'a> {
    Root,
    Field(&'a Place<'a>, &'a str),
    Entry(&'a Place<'a>, usize),
}

impl Place<'_> {
    fn path(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Field(parent, name) => child(&parent.path(), name),
            Self::Entry(parent, i) => index(&parent.path(), *i),
        }
    }
}

#[derive(Clone, Copy)]
struct Node<'a> {
    context: &'a Context,
    place: &'a Place<'a>,
    depth: usize,
}

impl Node<'_> {
    fn enter<E: serde::de::Error>(&self) -> Result<usize, E> {
        if self.depth >= MAX_DEPTH {
            self.context.too_deep.set(true);
            return Err(E::custom("too deep"));
        }
        Ok(self.depth + 1)
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        // `2.0` is written back as `2`, as a Kubernetes server does.
        const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
        if v.fract() == 0.0 && v.abs() <= EXACT {
            return Ok((v as i64).into());
        }
        Ok(Number::from_f64(v).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let depth = self.enter()?;
        let mut list = Vec::new();
        loop {
            let place = Place::Entry(self.place, list.len());
            let seed = Node {
                place: &place,
                depth,
                ..self
            };
            match seq.next_element_seed(seed)? {
                Some(value) => list.push(value),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let depth = self.enter()?;
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            let place = Place::Field(self.place, &key);
            let value = access.next_value_seed(Node {
                place: &place,
                depth,
                ..self
            })?;
            if map.contains_key(&key) {
                let mut duplicates = self.context.duplicates.borrow_mut();
                if duplicates.len() < MAX_REPORTED {
                    let path = place.path();
                    if !duplicates.contains(&path) {
                        duplicates.push(path);
                    }
                }
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn repeated_fields_are_reported_once_with_their_path() {
        let found =
            strict_json(br#"{"a":1,"a":2,"b":[{"c":1},{"c":1,"c":2,"c":3}]}"#, "Pod").unwrap();
        assert_eq!(found.value, json!({"a": 2, "b": [{"c": 1}, {"c": 3}]}));
        assert_eq!(found.duplicates, ["a", "b[1].c"]);
    }

    #[test]
    fn bad_bodies_are_refused_clearly() {
        let check = |body: &[u8], code: u16, start: &str| {
            let status = strict_json(body, "Pod").unwrap_err();
            assert_eq!(status.code, code);
            assert!(status.message.starts_with(start), "{status}");
        };
        check(
            b"{",
            400,
            "the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: ",
        );
        check(b"{} x", 400, "the object provided is unrecognized");
        check(b"", 400, "the object provided is unrecognized");
        check(
            &vec![b' '; MAX_BODY + 1],
            413,
            "Request entity too large: limit is 3145728",
        );
        for deep in [101, 127, 129, 100_000] {
            check(
                "[".repeat(deep).as_bytes(),
                400,
                "the object nests maps and lists deeper than 100 levels",
            );
        }
        assert!(
            strict_json(
                format!("{}{}", "[".repeat(100), "]".repeat(100)).as_bytes(),
                "Pod"
            )
            .is_ok()
        );
    }

    #[test]
    fn made_values_are_measured_too() {
        let mut value = json!(1);
        for _ in 0..100 {
            value = json!([value]);
        }
        assert!(check_depth(&value).is_ok());
        assert!(check_depth(&json!([value])).is_err());
    }
}
