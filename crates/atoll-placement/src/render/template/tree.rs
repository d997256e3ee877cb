//! What a parsed template is: every name resolved, and nothing nested deeper than running it may recurse.

use super::functions::Function;
use super::{Fault, MAX_DEPTH};

/// One part of a template.
#[derive(Debug)]
pub(super) enum Node {
    Text(Box<str>),
    Print(Expr),
    Set(usize, Expr),
    If(Branch),
    With(Branch),
    Range {
        index: Option<usize>,
        item: Option<usize>,
        over: Expr,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
    Break,
    Continue,
}

/// What `if` and `with` have in common.
#[derive(Debug)]
pub(super) struct Branch {
    /// The variable that the tested value is kept in.
    pub(super) set: Option<usize>,
    pub(super) test: Expr,
    pub(super) body: Vec<Node>,
    pub(super) otherwise: Vec<Node>,
}

#[derive(Debug)]
pub(super) struct Expr {
    pub(super) at: usize,
    pub(super) kind: Kind,
    /// How deep calls are nested in it: as deep as running it recurses.
    depth: usize,
}

impl Expr {
    pub(super) fn leaf(at: usize, kind: Kind) -> Expr {
        Expr { at, kind, depth: 0 }
    }

    pub(super) fn call(
        at: usize,
        kind: impl FnOnce(Vec<Expr>) -> Kind,
        arguments: Vec<Expr>,
    ) -> Result<Expr, Fault> {
        let depth = 1 + arguments.iter().map(|a| a.depth).max().unwrap_or(0);
        if depth > MAX_DEPTH {
            return Err(too_deep(at));
        }
        Ok(Expr {
            at,
            kind: kind(arguments),
            depth,
        })
    }
}

pub(super) fn too_deep(at: usize) -> Fault {
    Fault::new(at, format!("nested deeper than {MAX_DEPTH} levels"))
}

#[derive(Debug)]
pub(super) enum Kind {
    Text(Box<str>),
    Int(i64),
    Float(f64),
    Bool(bool),
    Property(Box<str>, How),
    /// The value that `with` or `range` is about.
    Dot,
    Variable(usize),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Call(&'static Function, Vec<Expr>),
}

/// How a property is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// `.name`: it must be there.
    Must,
    /// `index . "name"`: it may be absent where that makes sense.
    May,
    /// `get . "name"`: empty when absent.
    OrEmpty,
    /// `hasKey . "name"`
    IsThere,
}
