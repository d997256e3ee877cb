//! What no customization may touch: which object a copy is, and what belongs to the object as it is stored.
//!
//! Checked when a Customizer or CustomTransform is written, as far as its paths say, and again on what a render made.

use serde_json::Value;

/// Paths that stay as they are.
const PROTECTED: &[&[&str]] = &[
    &["apiVersion"],
    &["kind"],
    &["metadata", "name"],
    &["metadata", "namespace"],
    &["metadata", "uid"],
    &["metadata", "generateName"],
    &["metadata", "resourceVersion"],
    &["metadata", "generation"],
    &["metadata", "creationTimestamp"],
    &["metadata", "deletionTimestamp"],
    &["metadata", "deletionGracePeriodSeconds"],
    &["metadata", "managedFields"],
    &["metadata", "ownerReferences"],
    &["metadata", "finalizers"],
    &["metadata", "selfLink"],
    &["status"],
];

/// Those that say which object it is.
pub(super) const IDENTITY: &[&[&str]] = &[
    &["apiVersion"],
    &["kind"],
    &["metadata", "name"],
    &["metadata", "namespace"],
];

/// The value at a path of names.
pub(super) fn at<'v>(object: &'v Value, path: &[&str]) -> Option<&'v Value> {
    path.iter().try_fold(object, |value, name| value.get(name))
}

fn shown(path: &[&str]) -> String {
    path.join(".")
}

/// Whether something written at a path would touch what is protected: the path is one of them, within one, or holds one.
/// Says which.
pub(super) fn touched(path: &[&str]) -> Option<String> {
    PROTECTED
        .iter()
        .find(|protected| protected.iter().zip(path).all(|(a, b)| a == b))
        .map(|protected| {
            if path.is_empty() {
                "the object as a whole".to_owned()
            } else {
                shown(protected)
            }
        })
}

/// The protected fields that a merge patch would change.
pub(super) fn touched_by_merge(patch: &Value) -> Vec<String> {
    PROTECTED
        .iter()
        .filter(|path| at(patch, path).is_some())
        .map(|path| shown(path))
        .collect()
}

/// What is wrong with an object after a change: which field, and why. `before` is the object without the change.
pub(super) fn broken(before: &Value, after: &Value) -> Option<(String, String)> {
    if let Some(path) = PROTECTED.iter().find(|p| at(before, p) != at(after, p)) {
        return Some((shown(path), "must stay as it is".to_owned()));
    }
    if !after.get("metadata").is_some_and(Value::is_object) {
        return Some(("metadata".to_owned(), "must be a map".to_owned()));
    }
    for name in ["labels", "annotations"] {
        match at(after, &["metadata", name]) {
            None | Some(Value::Null) => {}
            Some(Value::Object(map)) => {
                if let Some((key, _)) = map.iter().find(|(_, value)| !value.is_string()) {
                    return Some((format!("metadata.{name}[{key}]"), "must be text".to_owned()));
                }
            }
            Some(_) => return Some((format!("metadata.{name}"), "must be a map".to_owned())),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_that_touch_what_is_protected() {
        for (path, expected) in [
            (&["metadata", "name"][..], Some("metadata.name")),
            (&["metadata"], Some("metadata.name")),
            (
                &["metadata", "finalizers", "0"],
                Some("metadata.finalizers"),
            ),
            (&[], Some("the object as a whole")),
            (&["status", "x"], Some("status")),
            (&["metadata", "labels", "name"], None),
            (&["spec", "status"], None),
        ] {
            assert_eq!(touched(path).as_deref(), expected, "{path:?}");
        }
    }

    #[test]
    fn what_a_change_broke_is_named() {
        let before = json!({"kind": "A", "metadata": {"name": "a"}});
        for (after, expected) in [
            (
                json!({"kind": "A", "metadata": {"name": "a", "labels": {"x": "y"}}}),
                None,
            ),
            (
                json!({"kind": "B", "metadata": {"name": "a"}}),
                Some("kind"),
            ),
            (
                json!({"kind": "A", "metadata": {"name": "a"}, "status": {}}),
                Some("status"),
            ),
            (
                json!({"kind": "A", "metadata": {"name": "a", "labels": {"x": 5}}}),
                Some("metadata.labels[x]"),
            ),
            (
                json!({"kind": "A", "metadata": {"name": "a", "annotations": []}}),
                Some("metadata.annotations"),
            ),
        ] {
            assert_eq!(
                broken(&before, &after).map(|(f, _)| f).as_deref(),
                expected,
                "{after}"
            );
        }
    }
}
