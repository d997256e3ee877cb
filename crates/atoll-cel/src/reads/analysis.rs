//! Following values from the variables to where they are used.
//!
//! An expression either *leads* into variables (a selection, an index, a loop's item) or is computed. What leads somewhere is read only when it is used; so
//! `obj.spec.replicas > 1` reads one number, and not the object it is in.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Read, Step};
use crate::check::node::{Call, FoldNode, Node, NodeKind};
use crate::eval::val::Val;
use crate::syntax::ast::{FoldKind, Selection};
use crate::types::Type;

/// What a program can read, sorted, no read within another.
pub(crate) fn reads(node: &Node, variables: &[(Arc<str>, Type)]) -> Vec<Read> {
    let mut analysis = Analysis {
        found: BTreeSet::new(),
        locals: Vec::new(),
    };
    let result = analysis.walk(node);
    analysis.used(&result);
    let mut found: Vec<(usize, Vec<Step>)> = analysis.found.into_iter().collect();
    // So many ways into one variable say less than the variable.
    if found.len() > 256 {
        let whole: BTreeSet<usize> = found.iter().map(|(variable, _)| *variable).collect();
        found = whole
            .into_iter()
            .map(|variable| (variable, Vec::new()))
            .collect();
    }
    let within = |place: usize| {
        found.iter().enumerate().any(|(other, (variable, path))| {
            other != place
                && *variable == found[place].0
                && covers(path, &found[place].1)
                && (!covers(&found[place].1, path) || other < place)
        })
    };
    let kept = (0..found.len()).filter(|place| !within(*place));
    let mut reads: Vec<Read> = kept
        .filter_map(|place| {
            Some(Read {
                variable: variables.get(found[place].0)?.0.to_string(),
                path: found[place].1.clone(),
            })
        })
        .collect();
    reads.sort();
    reads
}

/// Whether one way sees everything that another sees.
fn covers(path: &[Step], other: &[Step]) -> bool {
    match (path.split_first(), other.split_first()) {
        (None, _) => true,
        (Some((Step::Shape, _)), Some((Step::Shape | Step::Presence, _)))
        | (Some((Step::Presence, _)), Some((Step::Presence, _))) => true,
        (Some((Step::Each, _)), Some((Step::Shape | Step::Presence, _))) => true,
        (Some((Step::Each, path)), Some((Step::Each | Step::Field(_) | Step::Index(_), other))) => {
            covers(path, other)
        }
        (Some((step, path)), Some((same, other))) if step == same => covers(path, other),
        _ => false,
    }
}

/// A way into a variable; `scattered`: to some of the items there, not all, so that their indexes mean nothing.
#[derive(Clone, Debug)]
struct Way {
    variable: usize,
    path: Vec<Step>,
    scattered: bool,
}

impl Way {
    fn to(&self, step: Step) -> Way {
        let step = match step {
            Step::Index(_) if self.scattered => Step::Each,
            other => other,
        };
        let mut path = self.path.clone();
        path.push(step);
        Way {
            variable: self.variable,
            path,
            scattered: false,
        }
    }
}

/// The ways that an expression may lead; none: it is computed.
type Ways = Vec<Way>;

struct Analysis {
    found: BTreeSet<(usize, Vec<Step>)>,
    locals: Vec<Ways>,
}

fn all_to(ways: &Ways, step: &Step) -> Ways {
    ways.iter().map(|way| way.to(step.clone())).collect()
}

impl Analysis {
    fn used(&mut self, ways: &Ways) {
        for way in ways {
            self.found.insert((way.variable, way.path.clone()));
        }
    }

    fn use_node(&mut self, node: &Node) {
        let ways = self.walk(node);
        self.used(&ways);
    }

    /// Uses only what a last step shows.
    fn use_only(&mut self, ways: &Ways, step: Step) {
        self.used(&all_to(ways, &step));
    }

    fn walk(&mut self, node: &Node) -> Ways {
        match &node.kind {
            NodeKind::Constant(_) => Vec::new(),
            NodeKind::Variable(variable) => vec![Way {
                variable: *variable,
                path: Vec::new(),
                scattered: false,
            }],
            NodeKind::Local(place) => self.locals.get(*place).cloned().unwrap_or_default(),
            NodeKind::Select {
                operand,
                field,
                how,
            } => {
                let whole = self.walk(operand);
                let found = all_to(&whole, &Step::Field(property(&operand.output, field)));
                if *how == Selection::Test {
                    self.use_only(&found, Step::Presence);
                    return Vec::new();
                }
                found
            }
            NodeKind::Call(call) => self.call(call),
            NodeKind::Conditional(three) => {
                self.use_node(&three[0]);
                let mut ways = self.walk(&three[1]);
                ways.extend(self.walk(&three[2]));
                ways
            }
            NodeKind::And(terms) | NodeKind::Or(terms) => {
                terms.iter().for_each(|term| self.use_node(term));
                Vec::new()
            }
            NodeKind::List(items) => {
                items.iter().for_each(|(item, _)| self.use_node(item));
                Vec::new()
            }
            NodeKind::Map(entries) => {
                for (key, value, _) in entries {
                    self.use_node(key);
                    self.use_node(value);
                }
                Vec::new()
            }
            NodeKind::Fold(fold) => self.fold(fold),
            NodeKind::Bind { value, body } => {
                let value = self.walk(value);
                self.scoped(vec![value], |analysis| analysis.walk(body))
            }
            NodeKind::OptionalMap { value, body, .. } => {
                let value = self.walk(value);
                self.use_only(&value, Step::Presence);
                self.scoped(vec![value], |analysis| analysis.walk(body))
            }
        }
    }

    fn scoped(&mut self, names: Vec<Ways>, inside: impl FnOnce(&mut Self) -> Ways) -> Ways {
        let depth = self.locals.len();
        self.locals.extend(names);
        let ways = inside(self);
        self.locals.truncate(depth);
        ways
    }

    fn call(&mut self, call: &Call) -> Ways {
        match (call.function.name, &call.arguments[..]) {
            ("_[_]" | "_[?_]", [container, index]) => {
                let whole = self.walk(container);
                let step = match &index.kind {
                    NodeKind::Constant(Val::Text(text)) => Step::Field(text.as_str().to_owned()),
                    NodeKind::Constant(Val::Int(i)) if *i >= 0 => Step::Index(*i as u64),
                    _ => Step::Each,
                };
                self.use_node(index);
                all_to(&whole, &step)
            }
            ("size" | "hasValue" | "type", [argument]) => {
                let ways = self.walk(argument);
                self.use_only(
                    &ways,
                    if call.function.name == "size" {
                        Step::Shape
                    } else {
                        Step::Presence
                    },
                );
                Vec::new()
            }
            (
                "_==_" | "_!=_",
                [
                    argument,
                    Node {
                        kind: NodeKind::Constant(Val::Null),
                        ..
                    },
                ],
            ) => {
                let ways = self.walk(argument);
                self.use_only(&ways, Step::Presence);
                Vec::new()
            }
            ("@in", [key, container]) if matches!(container.output.plain(), Type::Map(..)) => {
                let whole = self.walk(container);
                match &key.kind {
                    NodeKind::Constant(Val::Text(text)) => {
                        let found = all_to(&whole, &Step::Field(text.as_str().to_owned()));
                        self.use_only(&found, Step::Presence);
                    }
                    _ => {
                        self.use_node(key);
                        self.use_only(&whole, Step::Shape);
                    }
                }
                Vec::new()
            }
            // What comes out is what went in, or an alternative to it.
            ("dyn" | "optional.of" | "value" | "or" | "orValue", arguments) => {
                let mut ways = Vec::new();
                for argument in arguments {
                    ways.extend(self.walk(argument));
                }
                self.use_only(&ways, Step::Presence);
                ways
            }
            (_, arguments) => {
                arguments
                    .iter()
                    .for_each(|argument| self.use_node(argument));
                Vec::new()
            }
        }
    }

    fn fold(&mut self, fold: &FoldNode) -> Ways {
        let range = self.walk(&fold.range);
        self.use_only(&range, Step::Shape);
        let items = all_to(&range, &Step::Each);
        // The keys of a map, and indexes, are in its shape.
        let over_map = matches!(fold.range.output.plain(), Type::Map(..));
        let names = match (fold.two, over_map) {
            (true, _) => vec![Vec::new(), items],
            (false, true) => vec![Vec::new()],
            (false, false) => vec![items],
        };
        self.scoped(names, |analysis| {
            fold.predicate
                .iter()
                .for_each(|predicate| analysis.use_node(predicate));
            fold.transform
                .iter()
                .for_each(|transform| analysis.use_node(transform));
            Vec::new()
        });
        if fold.what == FoldKind::List && fold.transform.is_none() && !over_map {
            // `filter`: some of the items there; over what may be a map its keys, which its shape shows.
            return range
                .into_iter()
                .map(|way| Way {
                    scattered: true,
                    ..way
                })
                .collect();
        }
        Vec::new()
    }
}

/// The JSON property that an identifier selects.
fn property(of: &Type, identifier: &str) -> String {
    match of.plain() {
        Type::Optional(inner) => property(inner, identifier),
        Type::Object(object) => object
            .get(identifier)
            .map_or_else(|| identifier.to_owned(), |field| field.property.clone()),
        _ => identifier.to_owned(),
    }
}
