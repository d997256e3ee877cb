//! `upsync`: which objects that were born at edges come to the center, and where they become real objects.
//!
//! As in KubeStellar 0.2: by group, resource, namespace and name, with `*` for any; a clause may name kinds that exist nowhere. What came up never goes down again: it carries [`UPSYNCED_FROM`], and no
//! policy selects an object that does.

use atoll_kube::names;
use atoll_kube::status::FieldError;
use serde_json::Value;

use crate::fields;

/// On a real object that came from an edge: the edge's name.
pub const UPSYNCED_FROM: &str = "edge.atoll.dev/upsynced-from";

/// A clause of `upsync`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Upsync {
    /// The API group; `None` is any.
    pub group: Option<String>,
    /// Plural names; `*` is any.
    pub resources: Vec<String>,
    /// Namespaces; none is any.
    pub namespaces: Vec<String>,
    /// Names; none is any.
    pub names: Vec<String>,
    /// The path of the workspace where they become real objects; `None`: they are shown in the mailbox view only.
    pub workspace: Option<String>,
}

impl Upsync {
    /// Parses one entry of `upsync`. All that is wrong is said.
    pub(crate) fn parse(item: &Value, path: &str, errors: &mut Vec<FieldError>) -> Upsync {
        for selector in ["objectSelectors", "namespaceSelectors"] {
            let given = item.get(selector).and_then(Value::as_array);
            if given.is_some_and(|list| !list.is_empty()) {
                errors.push(FieldError::forbidden(
                    format!("{path}.{selector}"),
                    "objects come up by their group, resource, namespace and name; labels are not looked at",
                ));
            }
        }
        let mut listed = fields::names(item, "objectNames", path, errors);
        listed.extend(fields::names(item, "names", path, errors));
        let clause = Upsync {
            group: match item.get("apiGroup") {
                None | Some(Value::Null) => None,
                Some(_) => fields::text(item, "apiGroup", path, errors).or(Some(String::new())),
            },
            resources: fields::names(item, "resources", path, errors),
            namespaces: fields::names(item, "namespaces", path, errors),
            names: listed,
            workspace: fields::text(item, "workspace", path, errors).filter(|w| !w.is_empty()),
        };
        if clause.resources.is_empty() {
            errors.push(FieldError::required(
                format!("{path}.resources"),
                "name the resources, or write [\"*\"] to mean all of the group",
            ));
        }
        if let Some(path_of) = &clause.workspace
            && !path_of
                .split(':')
                .all(|name| names::is_dns1123_label(name).is_ok())
        {
            errors.push(FieldError::invalid(
                format!("{path}.workspace"),
                path_of.clone(),
                "must be the path of a workspace: lower-case names joined by colons, such as \"root:collected\"",
            ));
        }
        clause
    }
}

/// The name of the real object of `name` at an edge: the same always, at most so long as names may be.
pub fn real_name(name: &str, edge: &str) -> String {
    const MOST: usize = 63;
    let whole = format!("{name}-{edge}").to_ascii_lowercase();
    if whole.len() <= MOST {
        return whole;
    }
    use sha2::{Digest, Sha256};
    let hash = hex::encode(&Sha256::digest(format!("{name}\n{edge}").as_bytes())[..5]);
    let mut end = MOST - hash.len() - 1;
    while !whole.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}-{hash}", whole[..end].trim_end_matches(['-', '.']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn clauses_are_read_as_the_field_writes_them() {
        let rows = [
            (
                json!({"apiGroup": "group1.test", "resources": ["sprockets", "flanges"], "namespaces": ["orbital"], "names": ["george"]}),
                None,
            ),
            (
                json!({"apiGroup": "group2.test", "resources": ["cogs"], "objectNames": ["william"]}),
                None,
            ),
            (
                json!({"resources": ["*"], "workspace": "root:collected"}),
                None,
            ),
            (json!({"apiGroup": "a"}), Some("u.resources")),
            (
                json!({"resources": ["a"], "objectSelectors": [{}]}),
                Some("u.objectSelectors"),
            ),
            (
                json!({"resources": ["a"], "workspace": "Root"}),
                Some("u.workspace"),
            ),
        ];
        for (item, wrong) in rows {
            let mut errors = Vec::new();
            Upsync::parse(&item, "u", &mut errors);
            let field = errors.first().map(|e| e.field.as_str());
            assert_eq!(field, wrong, "{item}");
        }
    }

    #[test]
    fn names_are_told_apart_and_never_too_long() {
        assert_eq!(real_name("report", "berlin"), "report-berlin");
        let long = "a".repeat(70);
        let (one, other) = (real_name(&long, "berlin"), real_name(&long, "paris"));
        assert!(one.len() <= 63 && other.len() <= 63);
        assert_ne!(one, other);
    }
}
