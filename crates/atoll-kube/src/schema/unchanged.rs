//! Whether a part of an object is what it was: then its faults are forgiven, for they are not this change's.
//!
//! Fields and entries are compared by name, items of a list that is a map by their keys. What the schema does not describe is never the same.

use serde_json::Value;

use super::{ListType, Schema};

/// The item of an old list that an item of the new one was; only lists that are maps have such.
pub(super) fn old_item<'a>(schema: &Schema, old: &'a Value, new: &Value) -> Option<&'a Value> {
    let ListType::Map(keys) = &schema.list_type else {
        return None;
    };
    let new = new.as_object()?;
    old.as_array()?.iter().find(|item| {
        item.as_object()
            .is_some_and(|item| keys.iter().all(|k| item.get(k) == new.get(k)))
    })
}

/// Whether a value is what it was.
pub(super) fn unchanged(schema: &Schema, new: &Value, old: &Value) -> bool {
    match (new, old) {
        (Value::Array(list), Value::Array(before)) => match (&schema.list_type, &schema.items) {
            (ListType::Map(_), Some(items)) => {
                let same = |item: &Value| {
                    old_item(schema, old, item).is_some_and(|before| unchanged(items, item, before))
                };
                list.len() == before.len() && list.iter().all(same)
            }
            _ => list == before,
        },
        (Value::Object(fields), Value::Object(before)) => {
            fields.len() == before.len()
                && fields.iter().all(|(name, value)| {
                    let pair = schema.field(name).zip(before.get(name));
                    pair.is_some_and(|(below, before)| unchanged(below, value, before))
                })
        }
        (new, old) => new == old,
    }
}
