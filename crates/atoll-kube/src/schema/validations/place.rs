//! `fieldPath`: which field below its node a rule is about, written as a JSON path of names and map keys only.

use serde_json::Value;

use super::values;
use crate::status::{child, key};

/// The path as findings show it, if every step of it exists in the schema; `None` if it does not, or is no such path.
pub(super) fn normalize(path: &str, schema: &Value) -> Option<String> {
    let (mut rest, mut schema, mut out) = (path, schema, String::new());
    while !rest.is_empty() {
        let (name, after) = if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[', ']']).unwrap_or(after.len());
            // A delimiter stands for itself where a name is missing, and no field has such a name.
            let end = end.max(after.chars().next()?.len_utf8());
            (after[..end].to_owned(), &after[end..])
        } else {
            quoted(rest.strip_prefix('[')?)?
        };
        rest = after;
        match (schema.get("properties"), schema.get("additionalProperties")) {
            (Some(properties), _) => {
                schema = properties.get(&name)?;
                out = child(&out, &name);
            }
            (None, Some(_)) => {
                schema = values(schema)?;
                out = key(&out, &name);
            }
            (None, None) => return None,
        }
    }
    Some(out)
}

/// The text in `'…']`, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let inside = text.strip_prefix('\'')?;
    let mut out = String::new();
    let mut chars = inside.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' => return Some((out, inside[at + 1..].strip_prefix(']')?)),
            '\\' => out.push(match chars.next()?.1 {
                'a' => '\u{7}',
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'v' => '\u{b}',
                c @ ('\'' | '\\') => c,
                _ => return None,
            }),
            c => out.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_leads_through_the_schema_or_is_none() {
        let schema = json!({"properties": {
            "a": {"properties": {"b.c": {}, "it's": {}}},
            "m": {"additionalProperties": {"properties": {"x": {}}}},
            "open": {"additionalProperties": true}}});
        for (path, normalized) in [
            ("", Some("")),
            (".a", Some("a")),
            (".a['b.c']", Some("a.b.c")),
            (r".a['it\'s']", Some("a.it's")),
            ("['a']", Some("a")),
            (".m['k'].x", Some("m[k].x")),
            (".m.k.x", Some("m[k].x")),
            ("a", None),
            (".", None),
            ("..a", None),
            (".b", None),
            (".a.x", None),
            (".a[0]", None),
            (".a['b.c'", None),
            (".a['b.c", None),
            (r".a['\x']", None),
            (".open.k", None),
        ] {
            assert_eq!(normalize(path, &schema).as_deref(), normalized, "{path}");
        }
    }
}
