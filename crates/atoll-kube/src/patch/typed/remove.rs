//! Taking fields out of an object.

use serde_json::Value;

use crate::patch::fieldset::Set;
use crate::patch::typing::{Atom, Type};

/// Removes the fields in `items` from `value`, with everything below them. What becomes empty goes with its last part;
/// leaves are only removed whole. Returns whether anything is left.
pub(crate) fn remove(ty: Type<'_>, value: &mut Value, items: &Set) -> bool {
    match (ty.atom(value), value) {
        (Atom::Map, Value::Object(map)) if !ty.map_is_leaf() && !map.is_empty() => {
            map.retain(|name, value| match items.get_field(name) {
                Some(node) if node.member => false,
                Some(node) => remove(ty.field_or_deduced(name), value, &node.children),
                None => true,
            });
            !map.is_empty()
        }
        (Atom::List, Value::Array(list)) if !list.is_empty() => {
            let Some(steps) = ty.steps(list) else {
                return true;
            };
            let mut steps = steps.iter();
            list.retain_mut(
                |value| match steps.next().and_then(|step| items.get(step)) {
                    Some(node) if node.member => false,
                    Some(node) => remove(ty.item(), value, &node.children),
                    None => true,
                },
            );
            !list.is_empty()
        }
        _ => true,
    }
}
