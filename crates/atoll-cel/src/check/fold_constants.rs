//! After everything was estimated: lists and maps of literals, and conversions of literals, become literals, so that they are made once and cost nothing
//! when they run. A conversion that fails is left: it fails when it is reached.

use std::collections::BTreeMap;

use super::node::{Node, NodeKind};
use crate::eval::machine::Machine;
use crate::eval::val::Val;

const CONVERSIONS: [&str; 10] = [
    "dyn",
    "bool",
    "bytes",
    "double",
    "duration",
    "int",
    "string",
    "timestamp",
    "type",
    "uint",
];

pub(crate) fn fold_constants(node: &mut Node) {
    node.children_mut(&mut fold_constants);
    let constant = |node: &Node| match &node.kind {
        NodeKind::Constant(value) => Some(value.clone()),
        _ => None,
    };
    let folded = match &node.kind {
        NodeKind::List(items) if items.iter().all(|(_, optional)| !optional) => items
            .iter()
            .map(|(item, _)| constant(item))
            .collect::<Option<Vec<_>>>()
            .map(Val::list),
        NodeKind::Call(call) if CONVERSIONS.contains(&call.function.name) => {
            match &call.arguments[..] {
                [argument] => constant(argument).and_then(|value| {
                    (call.function.run)(&mut Machine::new(10_000), &[value]).ok()
                }),
                _ => None,
            }
        }
        NodeKind::Map(entries) if entries.iter().all(|(_, _, optional)| !optional) => {
            let entry = |(key, value, _): &(Node, Node, bool)| match constant(key)? {
                // No text can write such a key as a literal and have it found.
                Val::Double(_) => None,
                key => Some((key.key()?, constant(value)?)),
            };
            entries
                .iter()
                .map(entry)
                .collect::<Option<BTreeMap<_, _>>>()
                .map(Val::map)
        }
        _ => None,
    };
    if let Some(folded) = folded {
        node.kind = NodeKind::Constant(folded);
    }
}
