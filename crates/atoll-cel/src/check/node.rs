//! The tree after types: names resolved to variables and locals, calls to functions. Everything that looks at a program looks at this tree.

use std::sync::Arc;

use crate::eval::val::Val;
use crate::library::Function;
use crate::syntax::ast::{FoldKind, Selection};
use crate::types::Type;

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) at: u32,
    pub(crate) output: Type,
    pub(crate) kind: NodeKind,
}

#[derive(Debug)]
pub(crate) enum NodeKind {
    /// A literal or the name of a type.
    Constant(Val<'static>),
    /// A variable of the environment: its place among the program's variables.
    Variable(usize),
    /// A name bound by a macro: its place among the names in scope, outermost first.
    Local(usize),
    Select {
        operand: Box<Node>,
        field: Arc<str>,
        how: Selection,
    },
    Call(Box<Call>),
    Conditional(Box<[Node; 3]>),
    And(Vec<Node>),
    Or(Vec<Node>),
    List(Vec<(Node, bool)>),
    Map(Vec<(Node, Node, bool)>),
    Fold(Box<FoldNode>),
    /// A name for a value: evaluated when it is first read.
    Bind {
        value: Box<Node>,
        body: Box<Node>,
    },
    /// An optional's value becomes the one more local of the body; flat: the body is an optional itself.
    OptionalMap {
        value: Box<Node>,
        body: Box<Node>,
        flat: bool,
    },
}

/// A call: the receiver, when there is one, is the first argument.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) function: &'static Function,
    /// Which of the function's overloads the argument types allow.
    pub(crate) overloads: Vec<usize>,
    pub(crate) arguments: Vec<Node>,
    /// The regular expression of a literal pattern.
    pub(crate) pattern: Option<Arc<regex::Regex>>,
}

#[derive(Debug)]
pub(crate) struct FoldNode {
    pub(crate) range: Node,
    /// Whether there are two loop variables (both become locals, first before second).
    pub(crate) two: bool,
    pub(crate) what: FoldKind,
    pub(crate) predicate: Option<Node>,
    pub(crate) transform: Option<Node>,
}

impl Node {
    /// Calls `see` with every child.
    pub(crate) fn children_mut(&mut self, see: &mut dyn FnMut(&mut Node)) {
        match &mut self.kind {
            NodeKind::Constant(_) | NodeKind::Variable(_) | NodeKind::Local(_) => {}
            NodeKind::Select { operand, .. } => see(operand),
            NodeKind::Call(call) => call.arguments.iter_mut().for_each(see),
            NodeKind::Conditional(three) => three.iter_mut().for_each(see),
            NodeKind::And(terms) | NodeKind::Or(terms) => terms.iter_mut().for_each(see),
            NodeKind::List(items) => items.iter_mut().for_each(|(item, _)| see(item)),
            NodeKind::Map(entries) => entries.iter_mut().for_each(|(key, value, _)| {
                see(key);
                see(value);
            }),
            NodeKind::Fold(fold) => {
                see(&mut fold.range);
                fold.predicate
                    .iter_mut()
                    .chain(&mut fold.transform)
                    .for_each(see);
            }
            NodeKind::Bind { value, body } | NodeKind::OptionalMap { value, body, .. } => {
                see(value);
                see(body);
            }
        }
    }
}
