//! YAML as kubectl understands it (version 1.1 where the versions differ: `0644` is octal, `yes` is true, `<<` merges),
//! to JSON values.
//!
//! Bounded: nesting, and how much aliases may expand to. Errors name the line.

mod scalar;

use std::collections::BTreeMap;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};
use serde_json::{Map, Value};

use crate::schema::decode::{Decoded, MAX_DEPTH};
use crate::status::{child, index};

/// How many values aliases (`*name`) may bring into one stream.
const MAX_ALIASED: usize = 100_000;

/// Why a stream is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("error converting YAML to JSON: yaml: line {line}: {message}")]
pub struct YamlError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub message: String,
}

/// The first document; null if there is none.
pub fn to_json(bytes: &[u8]) -> Result<Value, YamlError> {
    Ok(documents(bytes)?.into_iter().next().unwrap_or(Value::Null))
}

/// All documents of a stream (`---`), empty ones left out.
pub fn documents(bytes: &[u8]) -> Result<Vec<Value>, YamlError> {
    Ok(decode(bytes)?.into_iter().map(|d| d.value).collect())
}

/// All documents of a stream with the paths of repeated keys, empty documents left out.
pub fn decode(bytes: &[u8]) -> Result<Vec<Decoded>, YamlError> {
    let text = std::str::from_utf8(bytes).map_err(|e| YamlError {
        line: 1 + bytes[..e.valid_up_to()]
            .iter()
            .filter(|b| **b == b'\n')
            .count(),
        message: "invalid UTF-8".to_owned(),
    })?;
    let mut builder = Builder {
        events: Parser::new_from_str(text),
        anchors: BTreeMap::new(),
        aliased: 0,
        duplicates: Vec::new(),
    };
    let mut out = Vec::new();
    loop {
        match builder.next()? {
            (Event::DocumentStart(..), _) => {
                let (event, span) = builder.next()?;
                let value = builder.node(event, span, 0, "")?;
                let duplicates = std::mem::take(&mut builder.duplicates);
                if !value.is_null() {
                    out.push(Decoded { value, duplicates });
                }
            }
            (Event::StreamEnd, _) => return Ok(out),
            _ => {}
        }
    }
}

struct Builder<'a> {
    events: Parser<'a, StrInput<'a>>,
    /// What anchors stand for, with how many values that is and how deep it goes.
    anchors: BTreeMap<usize, Anchor>,
    aliased: usize,
    duplicates: Vec<String>,
}

struct Anchor {
    value: Value,
    size: usize,
    depth: usize,
}

fn error(span: &Span, message: impl Into<String>) -> YamlError {
    YamlError {
        line: span.start.line(),
        message: message.into(),
    }
}

impl From<ScanError> for YamlError {
    fn from(e: ScanError) -> Self {
        Self {
            line: e.marker().line(),
            message: e.info(),
        }
    }
}

impl<'a> Builder<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), YamlError> {
        loop {
            match self.events.next_event() {
                Some(Ok((Event::Comment(..) | Event::Anchor(..), _))) => {}
                Some(Ok(event)) => return Ok(event),
                Some(Err(e)) => return Err(e.into()),
                None => {
                    return Err(YamlError {
                        line: 1,
                        message: "unexpected end of stream".to_owned(),
                    });
                }
            }
        }
    }

    fn node(
        &mut self,
        event: Event<'a>,
        span: Span,
        depth: usize,
        path: &str,
    ) -> Result<Value, YamlError> {
        if depth > MAX_DEPTH {
            return Err(error(
                &span,
                format!("maps and lists nest deeper than {MAX_DEPTH} levels"),
            ));
        }
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                let value =
                    scalar::resolve(&text, plain, tag.as_deref().and_then(Tag::core_suffix))
                        .map_err(|why| error(&span, why))?;
                (value, anchor)
            }
            Event::Alias(id) => return self.alias(id, &span, depth),
            Event::SequenceStart(_, anchor, _) => {
                let mut list = Vec::new();
                loop {
                    let (event, span) = self.next()?;
                    if event == Event::SequenceEnd {
                        break;
                    }
                    let value = self.node(event, span, depth + 1, &index(path, list.len()))?;
                    list.push(value);
                }
                (Value::Array(list), anchor)
            }
            Event::MappingStart(_, anchor, _) => {
                (Value::Object(self.mapping(depth, path)?), anchor)
            }
            _ => return Err(error(&span, "expected a value")),
        };
        if anchor != 0 {
            let (size, depth) = measure(&value);
            let value = value.clone();
            self.anchors.insert(anchor, Anchor { value, size, depth });
        }
        Ok(value)
    }

    fn mapping(&mut self, depth: usize, path: &str) -> Result<Map<String, Value>, YamlError> {
        let mut map = Map::new();
        let mut merged = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let is_merge =
                matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<");
            let key = match self.node(event, span, depth + 1, path)? {
                Value::String(key) => key,

                key @ (Value::Bool(_) | Value::Number(_)) => key.to_string(),
                Value::Null | Value::Array(_) | Value::Object(_) => {
                    return Err(error(
                        &span,
                        "a key must be a text, a number or a truth value",
                    ));
                }
            };
            let (event, value_span) = self.next()?;
            let at = child(path, &key);
            let value = self.node(event, value_span, depth + 1, &at)?;
            if is_merge {
                merged.push((value, value_span));
            } else if map.insert(key, value).is_some() {
                self.duplicates.push(at);
            }
        }
        for (value, span) in merged {
            let sources = match value {
                Value::Array(list) => list,
                other => vec![other],
            };
            for source in sources {
                let Value::Object(source) = source else {
                    return Err(error(
                        &span,
                        "map merge requires map or sequence of maps as the value",
                    ));
                };
                for (key, value) in source {
                    map.entry(key).or_insert(value);
                }
            }
        }
        Ok(map)
    }

    fn alias(&mut self, id: usize, span: &Span, depth: usize) -> Result<Value, YamlError> {
        let Some(anchor) = self.anchors.get(&id) else {
            return Err(error(span, "an anchor may not contain itself"));
        };
        self.aliased = self.aliased.saturating_add(anchor.size);
        if self.aliased > MAX_ALIASED {
            return Err(error(span, "document contains excessive aliasing"));
        }
        if depth + anchor.depth > MAX_DEPTH {
            return Err(error(
                span,
                format!("maps and lists nest deeper than {MAX_DEPTH} levels"),
            ));
        }
        Ok(anchor.value.clone())
    }
}

/// How many values there are, and how many levels.
fn measure(value: &Value) -> (usize, usize) {
    let sum = |(size, depth): (usize, usize), v: &Value| {
        let (s, d) = measure(v);
        (size + s, depth.max(d + 1))
    };
    match value {
        Value::Array(list) => list.iter().fold((1, 0), sum),
        Value::Object(map) => map.values().fold((1, 0), sum),
        _ => (1, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn documents_become_json() {
        let check = |text: &str, expected: Vec<Value>| {
            assert_eq!(documents(text.as_bytes()).unwrap(), expected, "{text}")
        };
        check("", vec![]);
        check("---\n---\n# nothing\n", vec![]);
        check(
            "a: 1\n---\nb: [x, {w: z}]\n",
            vec![json!({"a": 1}), json!({"b": ["x", {"w": "z"}]})],
        );
        check("defaultMode: 0644\n", vec![json!({"defaultMode": 420})]);
        check(
            "a: &x {b: c}\nd: *x\n",
            vec![json!({"a": {"b": "c"}, "d": {"b": "c"}})],
        );
        check(
            "base: &b {x: 1, z: 2}\nc:\n  <<: *b\n  z: 3\n",
            vec![json!({"base": {"x": 1, "z": 2}, "c": {"x": 1, "z": 3}})],
        );
        check("1: a\ntrue: b\n", vec![json!({"1": "a", "true": "b"})]);
        check(
            "a: |\n  x\n  y\nb: >-\n  x\n  y\n",
            vec![json!({"a": "x\ny\n", "b": "x y"})],
        );
        check("{\"a\": \"b\"}", vec![json!({"a": "b"})]);
    }

    #[test]
    fn refusals_name_the_line() {
        let check = |text: &str, line: usize, part: &str| {
            let e = documents(text.as_bytes()).unwrap_err();
            assert_eq!(e.line, line, "{e}");
            assert!(e.message.contains(part), "{e}");
        };
        check("a: b\nc: d: e\n", 2, "");
        check(
            "a: b\n? [x]\n: y\n",
            2,
            "a key must be a text, a number or a truth value",
        );
        check("a: .nan\n", 1, "no JSON");
        check("a: *x\n", 1, "");
        check(&"[".repeat(1000), 1, "");
        check(
            &format!("{}1", "- ".repeat(101)),
            1,
            "nest deeper than 100 levels",
        );
    }

    #[test]
    fn repeated_keys_are_reported() {
        let found = decode(b"a:\n  b: 1\n  b: 2\nc: [{d: 1, d: 2}]\n").unwrap();
        assert_eq!(found[0].value, json!({"a": {"b": 2}, "c": [{"d": 2}]}));
        assert_eq!(found[0].duplicates, ["a.b", "c[0].d"]);
    }

    #[test]
    fn aliases_cannot_explode() {
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for i in 1..9 {
            let refs = vec![format!("*a{}", i - 1); 10].join(",");
            bomb.push_str(&format!("a{i}: &a{i} [{refs}]\n"));
        }
        let e = documents(bomb.as_bytes()).unwrap_err();
        assert_eq!(e.message, "document contains excessive aliasing");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[-a-z0-9:{}\\[\\]&*!|>'\" \n,#%@?<.]{0,60}") {
            let _ = documents(text.as_bytes());
        }
    }
}
