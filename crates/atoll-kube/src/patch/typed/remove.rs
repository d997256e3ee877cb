//! Taking fields out of an object.

use serde_json::{Map, Value};

use crate::patch::fieldset::Set;
use crate::patch::typing::{Atom, Type};

/// What stays of a map or list that lost its last part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hollow {
    /// Null: the place is still there, without a kind. Field sets count such a place as a field.
    Null,
    /// An empty map or list: for objects that are kept, where null would not be valid.
    Empty,
}

/// Removes the fields in `items` from `value`, with everything below them. Leaves are only removed whole.
pub(crate) fn remove(ty: Type<'_>, value: &mut Value, items: &Set, hollow: Hollow) {
    let emptied = match (ty.atom(value), &mut *value) {
        (Atom::Map, Value::Object(map)) if !ty.map_is_leaf() && !map.is_empty() => {
            map.retain(|name, value| match items.get_field(name) {
                Some(node) if node.member => false,
                Some(node) => {
                    remove(ty.field_or_deduced(name), value, &node.children, hollow);
                    true
                }
                None => true,
            });
            map.is_empty().then(|| Value::Object(Map::new()))
        }
        (Atom::List, Value::Array(list)) if !list.is_empty() => {
            let Some(steps) = ty.steps(list) else { return };
            let mut steps = steps.iter();
            list.retain_mut(
                |value| match steps.next().and_then(|step| items.get(step)) {
                    Some(node) if node.member => false,
                    Some(node) => {
                        remove(ty.item(), value, &node.children, hollow);
                        true
                    }
                    None => true,
                },
            );
            list.is_empty().then(|| Value::Array(Vec::new()))
        }
        _ => None,
    };
    if let Some(empty) = emptied {
        *value = if hollow == Hollow::Null {
            Value::Null
        } else {
            empty
        };
    }
}
