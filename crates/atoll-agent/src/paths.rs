//! Field paths as people write them in annotations (`.spec.replicas`, `.data["a.b"]`, `.spec.containers[name="app"].image`), taken out of and
//! put into objects. A path that is not there is no error: there is nothing to leave alone then.

use serde_json::Value;

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Field(String),
    /// The list element whose field has this value.
    Element(String, String),
}

/// A parsed path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(Vec<Step>);

impl Path {
    /// Reads a path; `None` when it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let mut steps = Vec::new();
        let mut rest = text.strip_prefix('$').unwrap_or(text);
        while !rest.is_empty() {
            if let Some(inner) = rest.strip_prefix('[') {
                let (step, after) = bracket(inner)?;
                steps.push(step);
                rest = after;
            } else {
                let name = rest.strip_prefix('.').unwrap_or(rest);
                let end = name.find(['.', '[']).unwrap_or(name.len());
                if end == 0 {
                    return None;
                }
                steps.push(Step::Field(name[..end].to_owned()));
                rest = &name[end..];
            }
        }
        (!steps.is_empty()).then_some(Path(steps))
    }

    /// Removes what is at the path and returns it.
    pub fn take(&self, object: &mut Value) -> Option<Value> {
        let (last, way) = self.0.split_last()?;
        let mut at = object;
        for step in way {
            at = step.find_mut(at)?;
        }
        match last {
            Step::Field(name) => at.as_object_mut()?.remove(name),
            Step::Element(key, wanted) => {
                let list = at.as_array_mut()?;
                let index = list.iter().position(|e| is(e, key, wanted))?;
                Some(list.remove(index))
            }
        }
    }

    /// A copy of `object` that holds only what is at the path (and the keys of the list elements on the way); `None` when nothing is there.
    pub fn only(&self, object: &Value) -> Option<Value> {
        only(&self.0, object)
    }

    /// Whether a manager's `fieldsV1` has what is at the path, or something below it.
    pub fn is_owned(&self, fields: &Value) -> bool {
        let mut at = fields;
        for step in &self.0 {
            let next = match step {
                Step::Field(name) => at.get(format!("f:{name}")),
                Step::Element(key, wanted) => at.as_object().and_then(|fields| {
                    fields.iter().find_map(|(name, below)| {
                        let keys: Value = serde_json::from_str(name.strip_prefix("k:")?).ok()?;
                        is(&keys, key, wanted).then_some(below)
                    })
                }),
            };
            match next {
                Some(next) => at = next,
                None => return false,
            }
        }
        true
    }
}

fn only(steps: &[Step], object: &Value) -> Option<Value> {
    let Some((step, rest)) = steps.split_first() else {
        return Some(object.clone());
    };
    match step {
        Step::Field(name) => Some(serde_json::json!({ name: only(rest, object.get(name)?)? })),
        Step::Element(key, wanted) => {
            let element = object.as_array()?.iter().find(|e| is(e, key, wanted))?;
            let mut kept = only(rest, element)?;
            kept.as_object_mut()?
                .insert(key.clone(), element.get(key)?.clone());
            Some(Value::Array(vec![kept]))
        }
    }
}

impl Step {
    fn find_mut<'a>(&self, value: &'a mut Value) -> Option<&'a mut Value> {
        match self {
            Step::Field(name) => value.get_mut(name),
            Step::Element(key, wanted) => value
                .as_array_mut()?
                .iter_mut()
                .find(|e| is(e, key, wanted)),
        }
    }
}

fn is(element: &Value, key: &str, wanted: &str) -> bool {
    match &element[key] {
        Value::String(text) => text == wanted,
        Value::Number(number) => number.to_string() == wanted,
        _ => false,
    }
}

/// Reads what follows a `[`: a quoted field name, or `key="value"`.
fn bracket(inner: &str) -> Option<(Step, &str)> {
    let quote = inner.find(['"', '\''])?;
    let key = inner[..quote].strip_suffix('=');
    let mark = inner[quote..].chars().next()?;
    let text = &inner[quote + 1..];
    let end = text.find(mark)?;
    let after = text[end + 1..].strip_prefix(']')?;
    let value = text[..end].to_owned();
    let step = match key {
        Some(key) => Step::Element(key.to_owned(), value),
        None if quote == 0 => Step::Field(value),
        None => return None,
    };
    Some((step, after))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn finds_a_path_among_managed_fields() {
        let fields = json!({"f:spec": {"f:replicas": {}, "f:containers": {"k:{\"name\":\"a\"}": {".": {}, "f:image": {}}}}});
        for (path, expected) in [
            (".spec.replicas", true),
            (".spec", true),
            (".spec.paused", false),
            (r#".spec.containers[name="a"].image"#, true),
            (r#".spec.containers[name="b"].image"#, false),
        ] {
            assert_eq!(
                Path::parse(path).unwrap().is_owned(&fields),
                expected,
                "{path}"
            );
        }
    }

    #[test]
    fn takes_and_keeps_what_a_path_names() {
        let object = json!({"spec": {"replicas": 3, "containers": [{"name": "a", "image": "x"}, {"name": "b"}]}, "data": {"k.y": "v"}});
        for (path, taken, only) in [
            (
                ".spec.replicas",
                Some(json!(3)),
                Some(json!({"spec": {"replicas": 3}})),
            ),
            (
                "spec.replicas",
                Some(json!(3)),
                Some(json!({"spec": {"replicas": 3}})),
            ),
            (
                r#".data["k.y"]"#,
                Some(json!("v")),
                Some(json!({"data": {"k.y": "v"}})),
            ),
            (
                r#".spec.containers[name="a"].image"#,
                Some(json!("x")),
                Some(json!({"spec": {"containers": [{"name": "a", "image": "x"}]}})),
            ),
            (".spec.absent.too", None, None),
        ] {
            let path = Path::parse(path).unwrap();
            assert_eq!(path.only(&object), only, "{path:?}");
            assert_eq!(path.take(&mut object.clone()), taken, "{path:?}");
        }
    }

    #[test]
    fn refuses_what_is_no_path() {
        for text in ["", ".", "a..b", "a[", "a[0]", r#"a["x""#, r#"a[x"y"]"#] {
            assert_eq!(Path::parse(text), None, "{text}");
        }
    }
}
