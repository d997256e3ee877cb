//! What a policy selects, as it would travel: cleaned bodies, their hashes, flags, and the content hash of the whole.
//!
//! A revision is an ordinal with a content hash over everything that shapes copies except destination properties. Touching an object without effect
//! changes no hash, so it makes no revision.

use atoll_kube::status::FieldError;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::clean;
use crate::order::{self, OrderClass};
use crate::path::FieldPath;

/// SHA-256 of a body.
pub type BodyHash = [u8; 32];

/// Names body and flags together: what reports name. The first half of a SHA-256.
pub type RenderHash = [u8; 16];

/// Paths that are the edge's from the start (a comma-separated annotation).
pub const EDGE_OWNED: &str = "edge.atoll.dev/edge-owned";
/// Paths that are given at creation and the edge's afterwards.
pub const INITIAL_ONLY: &str = "edge.atoll.dev/initial-only";
/// Lets a change of an immutable field delete and create the object anew.
pub const REPLACE: &str = "edge.atoll.dev/replace";

/// An object rendered for travel: the same bytes for every destination that it does not treat differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The body: JSON with sorted keys.
    pub body: Vec<u8>,
    /// Its hash.
    pub body_hash: BodyHash,
    /// When it is applied.
    pub order: OrderClass,
    /// Paths that are the edge's.
    pub edge_owned: Vec<String>,
    /// Paths that are given once.
    pub initial_only: Vec<String>,
    /// May be deleted and created anew.
    pub replace: bool,
}

/// How one copy travels, decided by the policies that select it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct CopyFlags {
    /// Create it and never change it: only if every policy says so.
    pub create_only: bool,
    /// Take over what is there.
    pub adopt: bool,
    /// Came along because others need it.
    pub implicit: bool,
}

impl CopyFlags {
    /// What holds for a copy that two policies select: the less restrictive wish wins, and explicit beats implicit.
    #[must_use]
    pub fn join(self, other: CopyFlags) -> CopyFlags {
        match (self.implicit, other.implicit) {
            (true, false) => other,
            (false, true) => self,
            _ => CopyFlags {
                create_only: self.create_only && other.create_only,
                adopt: self.adopt || other.adopt,
                implicit: self.implicit,
            },
        }
    }

    /// How many different ones there are.
    pub const KINDS: usize = 8;

    /// As a small number, for compact tables.
    pub fn bits(self) -> u8 {
        u8::from(self.create_only) | u8::from(self.adopt) << 1 | u8::from(self.implicit) << 2
    }

    /// Reads [`CopyFlags::bits`].
    pub fn from_bits(bits: u8) -> CopyFlags {
        CopyFlags {
            create_only: bits & 1 != 0,
            adopt: bits & 2 != 0,
            implicit: bits & 4 != 0,
        }
    }
}

/// What an object's own annotations, and its autoscaler, ask of its copies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Paths that are the edge's.
    pub edge_owned: Vec<String>,
    /// Paths that are given once.
    pub initial_only: Vec<String>,
    /// Copies may be deleted and created anew.
    pub replace: bool,
}

impl Wishes {
    /// Reads an object as it is stored. `scaled` says that a HorizontalPodAutoscaler targets it.
    pub fn of(object: &Value, scaled: bool) -> Wishes {
        let annotation = |name: &str| {
            object
                .pointer("/metadata/annotations")
                .and_then(|a| a.get(name))
                .and_then(Value::as_str)
        };
        let paths = |name: &str| -> Vec<String> {
            annotation(name)
                .into_iter()
                .flat_map(|list| list.split(','))
                .filter_map(|p| FieldPath::parse(p).ok())
                .map(|p| p.to_string())
                .collect()
        };
        let edge_owned = paths(EDGE_OWNED);
        let mut initial_only = paths(INITIAL_ONLY);
        let replicas = ".spec.replicas".to_owned();
        if scaled && !initial_only.contains(&replicas) && !edge_owned.contains(&replicas) {
            initial_only.push(replicas);
        }
        Wishes {
            edge_owned,
            initial_only,
            replace: annotation(REPLACE) == Some("true"),
        }
    }
}

/// Renders an object of the payload that is the same everywhere: cleans it and hashes it. `scaled` says that a HorizontalPodAutoscaler targets it.
pub fn render(group: &str, resource: &str, object: &Value, scaled: bool) -> Rendered {
    let mut cleaned = object.clone();
    clean::clean(group, resource, &mut cleaned);
    finish(
        cleaned,
        order::of(group, resource),
        &Wishes::of(object, scaled),
    )
}

/// The body of a Namespace that came along implicitly: its name only. Its details travel only when it is selected.
pub fn render_implicit_namespace(name: &str) -> Rendered {
    let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    finish(body, order::NAMESPACES, &Wishes::default())
}

/// The last step of a render: what is the edge's leaves the body, and it is hashed.
pub(crate) fn finish(mut body: Value, order: OrderClass, wishes: &Wishes) -> Rendered {
    leave_to_edge(&mut body, wishes);
    seal(body.to_string().into_bytes(), order, wishes)
}

/// Removes what is the edge's.
pub(crate) fn leave_to_edge(body: &mut Value, wishes: &Wishes) {
    for path in &wishes.edge_owned {
        if let Ok(path) = FieldPath::parse(path) {
            path.remove(body);
        }
    }
}

/// A body as it travels, hashed.
pub(crate) fn seal(body: Vec<u8>, order: OrderClass, wishes: &Wishes) -> Rendered {
    let body_hash = Sha256::digest(&body).into();
    Rendered {
        body,
        body_hash,
        order,
        edge_owned: wishes.edge_owned.clone(),
        initial_only: wishes.initial_only.clone(),
        replace: wishes.replace,
    }
}

impl Rendered {
    /// The render hash of a copy with these flags.
    pub fn render_hash(&self, flags: CopyFlags) -> RenderHash {
        render_hash(
            &self.body_hash,
            flags,
            self.replace,
            &self.edge_owned,
            &self.initial_only,
        )
    }
}

/// The render hash of a copy, from what shapes it; the body need not be at hand.
pub fn render_hash(
    body: &BodyHash,
    flags: CopyFlags,
    replace: bool,
    edge_owned: &[String],
    initial_only: &[String],
) -> RenderHash {
    let mut hasher = Sha256::new();
    hasher.update(body);
    hasher.update([flags.bits(), u8::from(replace)]);
    for list in [edge_owned, initial_only] {
        for path in list {
            hasher.update(path.as_bytes());
            hasher.update([0]);
        }
        hasher.update([1]);
    }
    let full: [u8; 32] = hasher.finalize().into();
    let mut half = [0; 16];
    half.copy_from_slice(&full[..16]);
    half
}

/// The content hash of a revision: over what identifies and shapes each copy, in a fixed order, and the cleaning table's version.
pub fn content_hash<'a>(entries: impl IntoIterator<Item = (&'a str, RenderHash)>) -> String {
    let mut lines: Vec<(&str, RenderHash)> = entries.into_iter().collect();
    lines.sort_unstable();
    let mut hasher = Sha256::new();
    hasher.update(clean::TABLE_VERSION.to_be_bytes());
    for (identity, render) in lines {
        hasher.update(identity.as_bytes());
        hasher.update([0]);
        hasher.update(render);
    }
    hex::encode(&hasher.finalize()[..8])
}

/// Checks the annotations of ours that an object carries.
pub fn check_annotations(object: &Value) -> Vec<FieldError> {
    let Some(annotations) = object.pointer("/metadata/annotations") else {
        return Vec::new();
    };
    let mut errors = Vec::new();
    for name in [EDGE_OWNED, INITIAL_ONLY] {
        let Some(list) = annotations.get(name).and_then(Value::as_str) else {
            continue;
        };
        for path in list.split(',') {
            if let Err(why) = FieldPath::parse(path) {
                errors.push(FieldError::invalid(
                    format!("metadata.annotations[{name}]"),
                    list.to_owned(),
                    why,
                ));
            }
        }
    }
    errors
}

/// Our annotations on payload objects, and what may be said with those that take few words.
const KNOWN: [(&str, &[&str]); 7] = [
    (EDGE_OWNED, &[]),
    (INITIAL_ONLY, &[]),
    ("edge.atoll.dev/replace", &["true", "false"]),
    (
        "control.kubestellar.io/expand-templates",
        &["true", "false"],
    ),
    ("control.kubestellar.io/preserve", &[]),
    ("edge.atoll.dev/upsynced-name", &[]),
    ("edge.atoll.dev/upsynced-uid", &[]),
];

/// Annotations that look like ours and mean nothing: of an unknown name, or with a value that is none.
pub fn doubtful_annotations(object: &Value) -> Vec<String> {
    let annotations = object.pointer("/metadata/annotations");
    let annotations = annotations.and_then(Value::as_object);
    let mut said = Vec::new();
    for (name, value) in annotations.into_iter().flatten() {
        let Some((prefix, word)) = name.split_once('/') else {
            continue;
        };
        if !matches!(prefix, "edge.atoll.dev" | "control.kubestellar.io") {
            continue;
        }
        let value = value.as_str().unwrap_or_default();
        match KNOWN.iter().find(|(known, _)| known == name) {
            Some((_, values)) if !values.is_empty() && !values.contains(&value) => {
                said.push(format!(
                    "metadata.annotations[{name}]: {value:?} means nothing here: write {}",
                    values.join(" or ")
                ));
            }
            Some(_) => {}
            None => {
                let near = KNOWN
                    .iter()
                    .find(|(known, _)| known.split_once('/').is_some_and(|(_, w)| w == word));
                let near = near.map_or(String::new(), |(known, _)| format!("; is {known} meant?"));
                said.push(format!(
                    "metadata.annotations[{name}]: there is no such annotation on objects that travel: it means nothing{near}"
                ));
            }
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_that_mean_nothing_are_said() {
        let said = |name: &str, value: &str| {
            let mut annotations = serde_json::Map::new();
            annotations.insert(name.to_owned(), value.into());
            doubtful_annotations(&json!({"metadata": {"annotations": annotations}}))
        };
        for (name, value, words) in [
            ("edge.atoll.dev/replace", "true", None),
            ("edge.atoll.dev/replace", "yes", Some("true or false")),
            ("edge.atoll.dev/edge-owned", ".spec.replicas", None),
            (
                "edge.atoll.dev/edgeowned",
                ".spec",
                Some("no such annotation"),
            ),
            (
                "edge.atoll.dev/expand-templates",
                "true",
                Some("control.kubestellar.io/expand-templates"),
            ),
            ("example.com/replace", "yes", None),
        ] {
            let found = said(name, value);
            match words {
                None => assert_eq!(found, Vec::<String>::new(), "{name}"),
                Some(words) => assert!(found[0].contains(words), "{found:?}"),
            }
        }
    }

    fn flags(create_only: bool, adopt: bool, implicit: bool) -> CopyFlags {
        CopyFlags {
            create_only,
            adopt,
            implicit,
        }
    }

    #[test]
    fn touching_without_effect_makes_no_new_content() {
        let one = render(
            "",
            "configmaps",
            &json!({"metadata": {"name": "a", "resourceVersion": "1", "uid": "x"}, "data": {"k": "v"}}),
            false,
        );
        let two = render(
            "",
            "configmaps",
            &json!({"data": {"k": "v"}, "metadata": {"name": "a", "resourceVersion": "2", "managedFields": []}}),
            false,
        );
        assert_eq!(one, two);
        let hash = |r: &Rendered| content_hash([("a", r.render_hash(CopyFlags::default()))]);
        assert_eq!(hash(&one), hash(&two));
        let three = render(
            "",
            "configmaps",
            &json!({"metadata": {"name": "a"}, "data": {"k": "w"}}),
            false,
        );
        assert_ne!(hash(&one), hash(&three));
    }

    #[test]
    fn flags_are_part_of_the_render_and_order_of_entries_is_not_of_the_content() {
        let r = render("", "configmaps", &json!({"metadata": {"name": "a"}}), false);
        assert_ne!(
            r.render_hash(flags(true, false, false)),
            r.render_hash(flags(false, false, false))
        );
        let (x, y) = (("x", [1; 16]), ("y", [2; 16]));
        assert_eq!(content_hash([x, y]), content_hash([y, x]));
    }

    #[test]
    fn overlapping_wishes_join() {
        assert_eq!(
            flags(true, false, false).join(flags(false, true, false)),
            flags(false, true, false)
        );
        assert_eq!(
            flags(true, false, false).join(flags(true, false, false)),
            flags(true, false, false)
        );
        assert_eq!(
            flags(true, false, true).join(flags(false, false, false)),
            flags(false, false, false)
        );
    }

    #[test]
    fn an_autoscaled_workload_gives_its_replicas_once() {
        let deployment = json!({"metadata": {"name": "a"}, "spec": {"replicas": 3}});
        assert_eq!(
            render("apps", "deployments", &deployment, true).initial_only,
            [".spec.replicas"]
        );
        let owned = json!({"metadata": {"name": "a", "annotations": {EDGE_OWNED: ".spec.replicas"}}, "spec": {"replicas": 3, "x": 1}});
        let rendered = render("apps", "deployments", &owned, true);
        assert!(rendered.initial_only.is_empty());
        assert_eq!(
            serde_json::from_slice::<Value>(&rendered.body).unwrap()["spec"],
            json!({"x": 1})
        );
    }
}
