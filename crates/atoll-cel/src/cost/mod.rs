//! The worst case, before anything runs: upstream's estimate, rule by rule.
//!
//! Every expression gets a range of costs and, where something is known, a range of sizes. What is known comes from literals, from what calls make of
//! their arguments, and from the declared bounds of the variables' types, followed along the way from a variable to its parts. The numbers equal
//! upstream's for the same declarations, oddities included, because a definition that one accepts the other must accept.

mod calls;
mod size;

use std::sync::Arc;

use crate::check::node::{Call, FoldNode, Node, NodeKind};
use crate::eval::val::Val;
use crate::syntax::ast::{FoldKind, Selection};
use crate::types::Type;
use size::{Range, UNKNOWN};

/// The least and the most that an evaluation can cost; `variables` are the types at the program's variable places, `root` is the type of `self`, if there is one.
pub(crate) fn range(node: &Node, variables: &[(Arc<str>, Type)], root: Option<&Type>) -> Range {
    Estimator {
        variables,
        root: root.cloned(),
        locals: Vec::new(),
    }
    .estimate(node)
    .cost
}

/// What is estimated of an expression.
#[derive(Clone, Debug)]
pub(crate) struct Estimate {
    pub(crate) cost: Range,
    pub(crate) size: Option<Range>,
    pub(crate) entry: Option<EntrySize>,
    pub(crate) path: Path,
}

/// The sizes of a container's keys (or of indexes: 1) and values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EntrySize {
    list: bool,
    key: Range,
    value: Range,
}

/// Where an expression leads in the declared types.
#[derive(Clone, Debug)]
pub(crate) enum Path {
    /// Nowhere: it is computed.
    None,
    /// To a value of this declaration.
    Declared(Type),
    /// To something that is not declared.
    Lost,
}

struct Estimator<'t> {
    variables: &'t [(Arc<str>, Type)],
    root: Option<Type>,
    locals: Vec<Local>,
}

struct Local {
    path: Path,
    size: Option<Range>,
    entry: Option<EntrySize>,
}

enum Step<'s> {
    Field(&'s str),
    Items,
    Values,
    Keys,
    Indices,
}

impl EntrySize {
    fn union(a: Option<EntrySize>, b: Option<EntrySize>) -> Option<EntrySize> {
        let (a, b) = (a?, b?);
        Some(EntrySize {
            list: a.list,
            key: a.key.union(b.key),
            value: a.value.union(b.value),
        })
    }
}

impl Path {
    /// The size that the declaration allows. A declared scalar has none, which upstream reads as zero.
    fn size(&self) -> Option<Range> {
        let Path::Declared(of) = self else {
            return None;
        };
        let most = of.bounds().and_then(|bounds| bounds.max_size);
        match (of.plain(), most) {
            (_, Some(most)) => Some(Range::new(0, most)),
            (Type::Dyn, None) => None,
            (Type::String | Type::Bytes | Type::List(_) | Type::Map(..), None) => Some(UNKNOWN),
            _ => Some(Range::new(0, 0)),
        }
    }
}

/// A size that the type alone tells.
fn scalar(of: &Type) -> Option<Range> {
    match of.plain() {
        Type::Bool | Type::Int | Type::Uint | Type::Double | Type::Timestamp | Type::Duration => {
            Some(Range::new(1, 1))
        }
        Type::Optional(inner) => scalar(inner),
        _ => None,
    }
}

impl Estimator<'_> {
    fn step(&self, path: &Path, step: &Step<'_>) -> Path {
        match path {
            // Upstream takes the first step of a computed value for the variable itself.
            Path::None => self.root.clone().map_or(Path::Lost, Path::Declared),
            Path::Lost => Path::Lost,
            Path::Declared(of) => match (of.plain(), step) {
                (Type::List(item), Step::Items | Step::Values) => Path::Declared(Type::clone(item)),
                (Type::Map(_, value), Step::Items | Step::Values) => {
                    Path::Declared(Type::clone(value))
                }
                // Keys of declared maps have no bound of their own, which upstream reads as zero.
                (Type::Map(..), Step::Keys) => Path::Declared(Type::String.at_most(0)),
                (Type::Object(object), Step::Field(name)) => object
                    .get(name)
                    .map_or(Path::Lost, |field| Path::Declared(field.value.clone())),
                _ => Path::Lost,
            },
        }
    }

    /// Puts together what is known: a computed size first, then the declaration's, then the type's.
    fn known(
        &self,
        cost: Range,
        size: Option<Range>,
        entry: Option<EntrySize>,
        path: Path,
        of: &Type,
        last: Option<Range>,
    ) -> Estimate {
        let size = size.or_else(|| path.size()).or_else(|| scalar(of)).or(last);
        Estimate {
            cost,
            size,
            entry,
            path,
        }
    }

    fn computed(
        &self,
        node: &Node,
        cost: Range,
        size: Option<Range>,
        entry: Option<EntrySize>,
    ) -> Estimate {
        self.known(cost, size, entry, Path::None, &node.output, None)
    }

    fn estimate(&mut self, node: &Node) -> Estimate {
        match &node.kind {
            NodeKind::Constant(value) => match value {
                // A name like a variable's.
                Val::Type(_) => {
                    let path = self.step(&Path::None, &Step::Keys);
                    self.known(Range::exactly(1), None, None, path, &node.output, None)
                }
                value => self.computed(node, Range::ZERO, Some(Range::exactly(value.size())), None),
            },
            NodeKind::Variable(place) => {
                let declared = self
                    .variables
                    .get(*place)
                    .map_or(Type::Dyn, |(_, of)| of.clone());
                let path = match declared {
                    Type::Dyn => self.step(&Path::None, &Step::Keys),
                    Type::Optional(inner) => Path::Declared(Type::clone(&inner)),
                    other => Path::Declared(other),
                };
                self.known(Range::exactly(1), None, None, path, &node.output, None)
            }
            NodeKind::Local(place) => {
                let Some(local) = self.locals.get(*place) else {
                    return self.computed(node, Range::exactly(1), None, None);
                };
                self.known(
                    Range::exactly(1),
                    None,
                    local.entry,
                    local.path.clone(),
                    &node.output,
                    local.size,
                )
            }
            NodeKind::Select {
                operand,
                field,
                how,
            } => self.select(node, operand, field, *how),
            NodeKind::Call(call) => self.call(node, call),
            NodeKind::Conditional(three) => {
                let [condition, yes, no] =
                    [&three[0], &three[1], &three[2]].map(|part| self.estimate(part));
                let cost = condition.cost.add(yes.cost.union(no.cost));
                let size = yes
                    .size
                    .unwrap_or(UNKNOWN)
                    .union(no.size.unwrap_or(UNKNOWN));
                self.computed(
                    node,
                    cost,
                    Some(size),
                    EntrySize::union(yes.entry, no.entry),
                )
            }
            NodeKind::And(terms) | NodeKind::Or(terms) => {
                let costs: Vec<Range> = terms.iter().map(|term| self.estimate(term).cost).collect();
                let least = costs.first().map_or(0, |first| first.min);
                let most = costs
                    .iter()
                    .fold(Range::ZERO, |sum, cost| sum.add(*cost))
                    .max;
                self.computed(node, Range::new(least, most), None, None)
            }
            NodeKind::List(items) => self.list(node, items),
            NodeKind::Map(entries) => self.map(node, entries),
            NodeKind::Fold(fold) => self.fold(node, fold),
            NodeKind::Bind { value, body } => {
                let value = self.estimate(value);
                self.bound(node, Range::exactly(10).add(value.cost), value, body)
            }
            NodeKind::OptionalMap { value, body, flat } => {
                // `value.hasValue() ? optional.of(bind the value in the body) : optional.none()`
                let whole = self.estimate(value);
                let inner = Estimate {
                    cost: whole.cost,
                    size: scalar(&value.output),
                    entry: None,
                    path: Path::None,
                };
                let body = self.bound(
                    node,
                    Range::exactly(10).add(Range::exactly(1)).add(whole.cost),
                    inner,
                    body,
                );
                let yes = if *flat {
                    body.cost
                } else {
                    body.cost.add(Range::exactly(1))
                };
                let cost = Range::exactly(1)
                    .add(whole.cost)
                    .add(yes.union(Range::exactly(1)));
                self.computed(node, cost, None, None)
            }
        }
    }

    fn bound(&mut self, node: &Node, cost: Range, value: Estimate, body: &Node) -> Estimate {
        self.locals.push(Local {
            path: value.path,
            size: value.size,
            entry: value.entry,
        });
        let body = self.estimate(body);
        self.locals.pop();
        self.computed(node, cost.add(body.cost), body.size, body.entry)
    }

    fn select(&mut self, node: &Node, operand: &Node, field: &str, how: Selection) -> Estimate {
        let whole = self.estimate(operand);
        match how {
            Selection::Test => self.computed(node, whole.cost, None, None),
            // A call like any other.
            Selection::Optional => {
                self.computed(node, whole.cost.add(Range::exactly(1)), None, None)
            }
            Selection::Value => {
                let charged = matches!(operand.output.plain(), Type::Map(..) | Type::Object(_));
                let path = self.step(&whole.path, &Step::Field(field));
                let cost = if charged {
                    whole.cost.add(Range::exactly(1))
                } else {
                    whole.cost
                };
                self.known(cost, None, None, path, &node.output, None)
            }
        }
    }

    fn list(&mut self, node: &Node, items: &[(Node, bool)]) -> Estimate {
        let mut cost = Range::exactly(10);
        let mut value = Range::nothing(items.is_empty());
        for (item, _) in items {
            let item = self.estimate(item);
            cost = cost.add(item.cost);
            value = value.union(item.size.unwrap_or(UNKNOWN));
        }
        let entry = EntrySize {
            list: true,
            key: Range::exactly(1),
            value,
        };
        self.computed(
            node,
            cost,
            Some(Range::exactly(items.len() as u64)),
            Some(entry),
        )
    }

    fn map(&mut self, node: &Node, entries: &[(Node, Node, bool)]) -> Estimate {
        let mut cost = Range::exactly(30);
        let (mut key, mut value) = (
            Range::nothing(entries.is_empty()),
            Range::nothing(entries.is_empty()),
        );
        for (one, other, _) in entries {
            let (one, other) = (self.estimate(one), self.estimate(other));
            cost = cost.add(one.cost).add(other.cost);
            key = key.union(one.size.unwrap_or(UNKNOWN));
            value = value.union(other.size.unwrap_or(UNKNOWN));
        }
        let entry = EntrySize {
            list: false,
            key,
            value,
        };
        self.computed(
            node,
            cost,
            Some(Range::exactly(entries.len() as u64)),
            Some(entry),
        )
    }

    fn fold(&mut self, node: &Node, fold: &FoldNode) -> Estimate {
        let range = self.estimate(&fold.range);
        let over_list = match range.entry {
            Some(entry) => entry.list,
            None => matches!(fold.range.output.plain(), Type::List(_)),
        };
        let (key, value) = (
            range.entry.map(|entry| entry.key),
            range.entry.map(|entry| entry.value),
        );
        let key_step = if over_list { Step::Indices } else { Step::Keys };
        let value_step = if over_list { Step::Items } else { Step::Values };
        let depth = self.locals.len();
        if fold.two {
            self.locals.push(Local {
                path: self.step(&range.path, &key_step),
                size: key,
                entry: None,
            });
            self.locals.push(Local {
                path: self.step(&range.path, &value_step),
                size: value,
                entry: None,
            });
        } else if over_list {
            self.locals.push(Local {
                path: self.step(&range.path, &Step::Items),
                size: value,
                entry: None,
            });
        } else {
            self.locals.push(Local {
                path: self.step(&range.path, &Step::Keys),
                size: key,
                entry: None,
            });
        }
        let predicate = fold
            .predicate
            .as_ref()
            .map(|predicate| self.estimate(predicate).cost);
        let transform = match &fold.transform {
            Some(transform) => self.estimate(transform),
            // `filter` takes the item itself.
            None => self.local_itself(depth),
        };
        self.locals.truncate(depth);

        // What upstream's loop over an accumulator costs for each turn, and before and after it.
        let one = Range::exactly;
        let held = predicate.unwrap_or(Range::ZERO);
        let gather = |cost: Range| {
            if predicate.is_some() {
                held.add(cost.union(one(1)))
            } else {
                cost
            }
        };
        let (turn, around) = match fold.what {
            FoldKind::All => (one(2).add(Range::new(1, held.max.saturating_add(1))), 1),
            FoldKind::Exists => (one(3).add(Range::new(1, held.max.saturating_add(1))), 1),
            FoldKind::ExistsOne => (held.add(Range::new(1, 2)), 2),
            FoldKind::List => (gather(one(12).add(transform.cost)), 11),
            FoldKind::Map => (gather(one(3).add(transform.cost)), 31),
            FoldKind::Entries => (gather(one(2).add(transform.cost)), 31),
        };
        let turns = range.size.unwrap_or(UNKNOWN);
        let cost = range.cost.add(one(around)).add(turns.times(turn));
        match fold.what {
            FoldKind::All | FoldKind::Exists | FoldKind::ExistsOne => {
                self.computed(node, cost, Some(one(1)), None)
            }
            FoldKind::List => {
                let value = Range::ZERO.union(transform.size.unwrap_or(UNKNOWN));
                self.computed(
                    node,
                    cost,
                    Some(turns),
                    Some(EntrySize {
                        list: true,
                        key: one(1),
                        value,
                    }),
                )
            }
            FoldKind::Map | FoldKind::Entries => self.computed(node, cost, Some(turns), None),
        }
    }

    fn local_itself(&self, place: usize) -> Estimate {
        let Some(local) = self.locals.get(place) else {
            return Estimate {
                cost: Range::exactly(1),
                size: None,
                entry: None,
                path: Path::None,
            };
        };
        let size = local.path.size().or(local.size);
        Estimate {
            cost: Range::exactly(1),
            size,
            entry: None,
            path: local.path.clone(),
        }
    }

    fn call(&mut self, node: &Node, call: &Call) -> Estimate {
        let mut arguments: Vec<Estimate> = call
            .arguments
            .iter()
            .map(|argument| self.estimate(argument))
            .collect();
        if call.function.name == "dyn" && arguments.len() == 1 {
            let argument = arguments.remove(0);
            return self.computed(
                node,
                argument.cost.add(Range::exactly(1)),
                argument.size,
                argument.entry,
            );
        }
        let sum = arguments
            .iter()
            .fold(Range::ZERO, |sum, argument| sum.add(argument.cost));
        let (mut cost, mut size, mut path, mut entry): (
            Option<Range>,
            Option<Range>,
            Path,
            Option<EntrySize>,
        ) = (None, None, Path::None, None);
        for overload in &call.overloads {
            let Some(id) = call
                .function
                .overloads
                .get(*overload)
                .map(|overload| overload.id)
            else {
                continue;
            };
            let (own, result) = self.overload(call, id, &arguments);
            cost = Some(cost.map_or(own, |cost| cost.union(own)));
            size = match (size, result) {
                (Some(size), Some(result)) => Some(size.union(result)),
                (size, result) => size.or(result),
            };
            match (id, arguments.first()) {
                ("index_list", Some(whole)) => {
                    size = whole.entry.map(|entry| entry.value);
                    path = self.step(&whole.path, &Step::Items);
                }
                ("index_map", Some(whole)) => {
                    size = whole.entry.map(|entry| entry.value);
                    path = self.step(&whole.path, &Step::Values);
                }
                ("add_string" | "add_bytes" | "add_list", _) => {
                    if let [a, b] = &arguments[..] {
                        entry = EntrySize::union(a.entry, b.entry).or(entry);
                    }
                }
                _ => {}
            }
            size = size
                .or_else(|| path.size())
                .or_else(|| scalar(&node.output));
        }
        self.known(
            sum.add(cost.unwrap_or(Range::ZERO)),
            size,
            entry,
            path,
            &node.output,
            None,
        )
    }

    /// The size of a list's items as far as it is declared; for anything that is no list: none at all.
    fn items(&self, of: &Type, list: &Estimate) -> Option<(Type, Range)> {
        let item = match of.plain() {
            Type::List(item) | Type::Optional(item) => Type::clone(item),
            Type::Map(key, _) => Type::clone(key),
            _ => return None,
        };
        let declared = match &list.path {
            Path::None => None,
            path => self.step(path, &Step::Items).size(),
        };
        Some((item, declared.unwrap_or(UNKNOWN)))
    }
}
