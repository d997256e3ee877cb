//! What upstream looks at after the types: literals that will certainly fail are refused when they are written.

use std::sync::Arc;

use super::node::{Call, Node, NodeKind};
use super::unify::same;
use crate::eval::machine::Machine;
use crate::eval::val::Val;
use crate::library::patterns;
use crate::syntax::Fault;
use crate::types::Type;

/// Looks at a tree; `formatting`: it is an argument of `format`, whose lists may be mixed. Patterns that are literals are compiled on the way.
pub(super) fn validate(node: &mut Node, formatting: bool, faults: &mut Vec<Fault>) {
    let mut formatting_children = formatting;
    match &mut node.kind {
        NodeKind::Call(call) => {
            faults.extend(literal_argument(call).err());
            faults.extend(pattern(call).err());
            if call.function.name == "format" {
                formatting_children = true;
                faults.extend(format_arguments(node.at, call).err());
            }
        }
        NodeKind::List(items) if !formatting => {
            mixed(
                items.iter().map(|(item, optional)| (item, *optional)),
                true,
                faults,
            );
        }
        NodeKind::Map(entries) if !formatting => {
            mixed(
                entries.iter().map(|(key, _, _)| (key, false)),
                false,
                faults,
            );
            mixed(
                entries
                    .iter()
                    .map(|(_, value, optional)| (value, *optional)),
                false,
                faults,
            );
        }
        _ => {}
    }
    node.children_mut(&mut |child| validate(child, formatting_children, faults));
}

/// What is not of the first item's type; `first_only` of it.
fn mixed<'n>(
    items: impl Iterator<Item = (&'n Node, bool)>,
    first_only: bool,
    faults: &mut Vec<Fault>,
) {
    let mut first: Option<Type> = None;
    for (item, optional) in items {
        let of = match item.output.plain() {
            Type::Optional(inner) if optional => Type::clone(inner),
            other => other.clone(),
        };
        match &first {
            None => first = Some(of),
            Some(first) if same(first, &of) => {}
            Some(first) => {
                faults.push(Fault::new(
                    item.at,
                    format!("expected type '{first}' but found '{of}'"),
                ));
                if first_only {
                    return;
                }
            }
        }
    }
}

/// `duration("…")` and `timestamp("…")` of texts that are none.
fn literal_argument(call: &Call) -> Result<(), Fault> {
    let name = call.function.name;
    let [argument] = &call.arguments[..] else {
        return Ok(());
    };
    let (NodeKind::Constant(value), "duration" | "timestamp") = (&argument.kind, name) else {
        return Ok(());
    };
    match (call.function.run)(&mut Machine::new(10_000), std::slice::from_ref(value)) {
        Ok(_) => Ok(()),
        Err(_) => Err(Fault::new(argument.at, format!("invalid {name} argument"))),
    }
}

/// A pattern that is a literal is compiled once. One of `matches` must be right; of `find`, as upstream, it fails when it is used.
fn pattern(call: &mut Call) -> Result<(), Fault> {
    if !matches!(call.function.name, "matches" | "find" | "findAll") {
        return Ok(());
    }
    let Some(argument) = call.arguments.get(1) else {
        return Ok(());
    };
    let NodeKind::Constant(Val::Text(text)) = &argument.kind else {
        return Ok(());
    };
    match patterns::compile(text.as_str()) {
        Ok(compiled) => call.pattern = Some(Arc::new(compiled)),
        Err(_) if call.function.name == "matches" => {
            return Err(Fault::new(argument.at, "invalid matches argument"));
        }
        Err(_) => {}
    }
    Ok(())
}

/// A literal format with a literal list: the clauses and the items go together.
fn format_arguments(at: u32, call: &Call) -> Result<(), Fault> {
    let [
        Node {
            kind: NodeKind::Constant(Val::Text(format)),
            ..
        },
        Node {
            kind: NodeKind::List(items),
            ..
        },
    ] = &call.arguments[..]
    else {
        return Ok(());
    };
    let clauses =
        crate::library::format_clauses(format.as_str()).map_err(|why| Fault::new(at, why))?;
    for (place, letter) in clauses.iter().enumerate() {
        let Some((item, _)) = items.get(place) else {
            return Err(Fault::new(at, format!("index {place} out of range")));
        };
        let fits = match (item.output.plain(), letter) {
            (Type::Dyn, _) => true,
            (Type::Optional(_) | Type::Opaque(_) | Type::Object(_), 's') => false,
            (_, 's') => true,
            (Type::Int | Type::Uint, 'd' | 'b' | 'o' | 'x' | 'X') => true,
            (Type::Double | Type::String, 'f' | 'e') => true,
            (Type::Bool, 'b') => true,
            (Type::String | Type::Bytes, 'x' | 'X') => true,
            _ => false,
        };
        if !fits {
            let what = match letter {
                's' => {
                    "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps"
                }
                'd' => "decimal clause can only be used on integers",
                'f' => "fixed-point clause can only be used on doubles",
                'e' => "scientific clause can only be used on doubles",
                'b' => "only integers and bools can be formatted as binary",
                'o' => "octal clause can only be used on integers",
                _ => "only integers, byte buffers, and strings can be formatted as hex",
            };
            return Err(Fault::new(
                item.at,
                format!("error during formatting: {what}, was given {}", item.output),
            ));
        }
    }
    if items.len() > clauses.len() {
        let message = format!(
            "too many arguments supplied to string.format (expected {}, got {})",
            clauses.len(),
            items.len()
        );
        return Err(Fault::new(at, message));
    }
    Ok(())
}
