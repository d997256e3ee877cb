//! Which part of an object a write is about: the object without its status, its status, or what some other subresource
//! lets one change. The rest of the object is never touched by that write.

use atoll_kube::{Status, meta};
use serde_json::Value;

use crate::Served;

/// The part a write may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The object; not its status when that is a subresource.
    Main,
    /// The status.
    Status,
    /// The places at these JSON pointers.
    Places(&'static [&'static str]),
}

impl Part {
    /// The part that a subresource gives access to.
    pub(crate) fn of(subresource: Option<&str>) -> Result<Self, Status> {
        Ok(match subresource {
            None => Self::Main,
            Some("status") => Self::Status,
            Some("finalize") => Self::Places(&["/spec/finalizers"]),
            Some("approval") => Self::Places(&["/status/conditions"]),
            Some("ephemeralcontainers") => Self::Places(&["/spec/ephemeralContainers"]),
            Some("resize") => Self::Places(&["/spec/containers", "/spec/initContainers"]),
            Some(_) => return Err(Status::method_not_allowed()),
        })
    }

    /// `old` with this part taken from `new`.
    pub(crate) fn merge(self, old: &Value, mut new: Value, served: &Served) -> Value {
        match self {
            Self::Main => {
                for place in kept(served) {
                    set(&mut new, place, old.pointer(place).cloned());
                }
                if served.version().subresources.status {
                    set(&mut new, "/status", old.pointer("/status").cloned());
                }
                new
            }
            Self::Status => self.into_old(old, new, &["/status"]),
            Self::Places(places) => self.into_old(old, new, places),
        }
    }

    fn into_old(self, old: &Value, mut new: Value, places: &[&str]) -> Value {
        let mut merged = old.clone();
        for place in places {
            set(&mut merged, place, new.pointer_mut(place).map(Value::take));
        }
        // The client's word on these still counts: preconditions, and a reset of the record.
        for field in ["resourceVersion", "uid", "managedFields"] {
            if let Some(value) = new.pointer_mut(&format!("/metadata/{field}")) {
                let value = value.take();
                meta::set(&mut merged, field, value);
            } else {
                meta::remove(&mut merged, field);
            }
        }
        merged
    }
}

/// Places that a write of the whole object leaves alone, because a subresource of their own changes them.
fn kept(served: &Served) -> &'static [&'static str] {
    let namespaces =
        served.definition.group.is_empty() && served.definition.names.plural == "namespaces";
    if namespaces {
        &["/spec/finalizers"]
    } else {
        &[]
    }
}

/// Puts a value at a pointer of at most two steps, or takes it away.
fn set(object: &mut Value, pointer: &str, value: Option<Value>) {
    let mut steps: Vec<&str> = pointer.split('/').skip(1).collect();
    let Some(last) = steps.pop() else { return };
    let mut at = object;
    for step in steps {
        if !at[step].is_object() {
            if value.is_none() {
                return;
            }
            at[step] = serde_json::json!({});
        }
        at = &mut at[step];
    }
    match (value, at.as_object_mut()) {
        (Some(value), Some(map)) if !value.is_null() => {
            map.insert(last.to_owned(), value);
        }
        (_, Some(map)) => {
            map.remove(last);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_place_is_set_or_taken_away_alone() {
        let mut object = json!({"spec": {"a": 1, "finalizers": ["x"]}});
        set(&mut object, "/spec/finalizers", Some(json!([])));
        assert_eq!(object, json!({"spec": {"a": 1, "finalizers": []}}));
        set(&mut object, "/spec/finalizers", None);
        set(&mut object, "/status", Some(json!({"b": 2})));
        set(&mut object, "/other/place", None);
        assert_eq!(object, json!({"spec": {"a": 1}, "status": {"b": 2}}));
    }
}
