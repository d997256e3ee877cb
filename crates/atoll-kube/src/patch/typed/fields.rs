//! The set of fields an object has: what an applied configuration claims to own.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::patch::fieldset::{Node, Set};
use crate::patch::path::PathElement;
use crate::patch::typing::{Atom, Items, Type};

/// The fields of `value`: leaves, told-apart list items, entries of maps, and places that are null or empty. A struct
/// is not itself a field, only what is in it.
pub(crate) fn fields(ty: Type<'_>, value: &Value) -> Set {
    place(ty, value).1
}

/// Whether a place is itself a field, and the fields below it.
fn place(ty: Type<'_>, value: &Value) -> (bool, Set) {
    const LEAF: (bool, Set) = (true, Set::EMPTY);
    match (ty.atom(value), value) {
        (Atom::Map, _) if ty.map_is_leaf() => LEAF,
        (Atom::Map, Value::Object(map)) => {
            let mut nodes = Vec::with_capacity(map.len());
            for (name, value) in map {
                let (member, children) = place(ty.field_or_deduced(name), value);
                let empty =
                    value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
                let member = member || empty || !ty.names(name);
                if member || !children.is_empty() {
                    nodes.push(Node {
                        element: PathElement::field(name),
                        member,
                        children,
                    });
                }
            }
            (false, Set::from_sorted(nodes))
        }
        (Atom::List, Value::Array(items)) => {
            let Some(steps) = ty.steps(items) else {
                return LEAF;
            };
            let item = ty.item();
            let mut seen: BTreeMap<PathElement, Option<&Value>> = BTreeMap::new();
            for (step, value) in steps.into_iter().zip(items) {
                // The items of one step cannot be told apart: only the step is owned.
                seen.entry(step)
                    .and_modify(|v| *v = None)
                    .or_insert(Some(value));
            }
            let nodes = seen.into_iter().map(|(element, value)| {
                let children = value.map_or(Set::EMPTY, |value| fields(item, value));
                Node {
                    element,
                    member: true,
                    children,
                }
            });
            (false, Set::from_sorted(nodes.collect()))
        }
        (Atom::List, Value::Null) if !matches!(ty.items(), Items::Atomic) => (false, Set::EMPTY),
        (Atom::Map, Value::Null) => (false, Set::EMPTY),
        _ => LEAF,
    }
}

/// The same set, with every struct that has fields in it added: removing such a set removes emptied structs too.
pub(crate) fn with_named_parents(mut set: Set, ty: Type<'_>) -> Set {
    for node in set.nodes_mut() {
        let below = match &node.element {
            PathElement::Field(name) => {
                node.member |= !node.children.is_empty() && ty.names(name);
                ty.field_or_deduced(name)
            }
            PathElement::Key(_) => ty.item(),
            PathElement::Value(_) | PathElement::Index(_) => Type::Deduced,
        };
        node.children = with_named_parents(std::mem::take(&mut node.children), below);
    }
    set
}

/// Adapts a recorded set to a schema in which some place has become one leaf since: who owned fields in it now owns it.
/// Returns whether anything changed.
pub(crate) fn collapse_atomics(set: &mut Set, ty: Type<'_>) -> bool {
    let mut changed = false;
    for node in set.nodes_mut() {
        if node.children.is_empty() {
            continue;
        }
        let below = match &node.element {
            PathElement::Field(name) => match ty.field(name) {
                Some(below) => below,
                None => continue,
            },
            _ => ty.item(),
        };
        if matches!(below, Type::Deduced | Type::Untyped) {
            continue;
        }
        let leaf = match below.atom(&Value::Null) {
            Atom::Map => below.map_is_leaf(),
            Atom::List => matches!(below.items(), Items::Atomic),
            Atom::Scalar => false,
        };
        if leaf {
            node.member = true;
            node.children = Set::EMPTY;
            changed = true;
        } else {
            changed |= collapse_atomics(&mut node.children, below);
        }
    }
    changed
}
