//! Paths into JSON values, as rule tables and annotations write them: `.spec.replicas`, `.spec.ports[*].nodePort`, `.metadata.annotations['a.b/c']`.
//!
//! A path is parsed once; removing what it names is all that rules need. `*` names every element or member.

use serde_json::Value;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// A member of an object.
    Field(String),
    /// Every element of a list, or every member of an object.
    Each,
}

/// A parsed path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FieldPath(Vec<Step>);

impl FieldPath {
    /// Parses a path. The error says what is wrong, for a person.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut steps = Vec::new();
        let mut rest = text.trim().strip_prefix('$').unwrap_or(text.trim());
        while !rest.is_empty() {
            if let Some(inner) = rest.strip_prefix('[') {
                let end = inner
                    .find(']')
                    .ok_or_else(|| format!("{text:?}: '[' without ']'"))?;
                let name = inner[..end].trim();
                let quoted = name
                    .strip_prefix(['\'', '"'])
                    .and_then(|n| n.strip_suffix(['\'', '"']));
                steps.push(match (name, quoted) {
                    ("*", _) => Step::Each,
                    (_, Some(field)) if !field.is_empty() => Step::Field(field.to_owned()),
                    _ => {
                        return Err(format!(
                            "{text:?}: only [*] and ['name'] are understood, not [{name}]"
                        ));
                    }
                });
                rest = &inner[end + 1..];
            } else {
                let body = rest.strip_prefix('.').unwrap_or(rest);
                if steps.is_empty() && body.len() == rest.len() && !text.starts_with(body) {
                    return Err(format!("{text:?}: a path starts with '.'"));
                }
                let end = body.find(['.', '[']).unwrap_or(body.len());
                let name = &body[..end];
                match name {
                    "" => return Err(format!("{text:?}: an empty step")),
                    "*" => steps.push(Step::Each),
                    name => steps.push(Step::Field(name.to_owned())),
                }
                rest = &body[end..];
            }
        }
        if steps.is_empty() {
            return Err(format!("{text:?}: an empty path"));
        }
        Ok(FieldPath(steps))
    }

    /// Removes what the path names, and containers that this empties (a label map that held only removed labels goes too).
    pub fn remove(&self, value: &mut Value) {
        remove(&self.0, value);
    }

    /// The first value the path names.
    pub fn get<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        self.0.iter().try_fold(value, |value, step| match step {
            Step::Field(name) => value.get(name),
            Step::Each => match value {
                Value::Array(items) => items.first(),
                Value::Object(map) => map.values().next(),
                _ => None,
            },
        })
    }
}

impl std::fmt::Display for FieldPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for step in &self.0 {
            match step {
                Step::Each => f.write_str("[*]")?,
                Step::Field(name) if name.contains(['.', '/']) => write!(f, "['{name}']")?,
                Step::Field(name) => write!(f, ".{name}")?,
            }
        }
        Ok(())
    }
}

/// Returns whether something was removed; the caller drops a container that became empty.
fn remove(steps: &[Step], value: &mut Value) -> bool {
    let Some((step, rest)) = steps.split_first() else {
        return false;
    };
    match (step, value) {
        (Step::Field(name), Value::Object(map)) => {
            if rest.is_empty() {
                return map.remove(name).is_some();
            }
            let Some(child) = map.get_mut(name) else {
                return false;
            };
            let removed = remove(rest, child);
            if removed && is_empty(child) {
                map.remove(name);
            }
            removed
        }
        (Step::Each, Value::Array(items)) => {
            if rest.is_empty() {
                let removed = !items.is_empty();
                items.clear();
                return removed;
            }
            remove_each(rest, items.iter_mut())
        }
        (Step::Each, Value::Object(map)) => {
            if rest.is_empty() {
                let removed = !map.is_empty();
                map.clear();
                return removed;
            }
            remove_each(rest, map.values_mut())
        }
        _ => false,
    }
}

fn remove_each<'a>(steps: &[Step], values: impl Iterator<Item = &'a mut Value>) -> bool {
    let mut removed = false;
    for value in values {
        removed |= remove(steps, value);
    }
    removed
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn removes_what_it_names() {
        for (path, before, after) in [
            (
                ".spec.a",
                json!({"spec": {"a": 1, "b": 2}}),
                json!({"spec": {"b": 2}}),
            ),
            (".spec.a", json!({"spec": {"a": 1}}), json!({})),
            ("spec.a", json!({"spec": {}}), json!({"spec": {}})),
            (
                ".ports[*].nodePort",
                json!({"ports": [{"p": 1, "nodePort": 2}, {"p": 3}]}),
                json!({"ports": [{"p": 1}, {"p": 3}]}),
            ),
            (
                ".m['x.y/z']",
                json!({"m": {"x.y/z": "v", "k": "v"}}),
                json!({"m": {"k": "v"}}),
            ),
            (
                "$.a.*.c",
                json!({"a": {"x": {"c": 1, "d": 1}}}),
                json!({"a": {"x": {"d": 1}}}),
            ),
        ] {
            let mut value = before;
            FieldPath::parse(path).unwrap().remove(&mut value);
            assert_eq!(value, after, "{path}");
        }
    }

    #[test]
    fn bad_paths_say_why() {
        for bad in ["", ".", "..a", ".a[", ".a[3]", ".a['']"] {
            assert!(FieldPath::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn shows_itself_as_it_is_parsed() {
        for path in [
            ".spec.replicas",
            ".spec.ports[*].nodePort",
            ".metadata.annotations['a.b/c']",
        ] {
            assert_eq!(FieldPath::parse(path).unwrap().to_string(), path);
        }
    }
}
