//! The tree of a text, before types.

use std::sync::Arc;

/// An expression and where it stands: the byte that error messages point to (an operator's own, a call's parenthesis).
#[derive(Clone, Debug)]
pub(crate) struct Expr {
    pub(crate) at: u32,
    pub(crate) depth: u16,
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Literal(Literal),
    /// A name; a leading dot (`.name`) is kept.
    Ident(Arc<str>),
    /// `operand.field`, `operand.?field`, `has(operand.field)`.
    Select {
        operand: Box<Expr>,
        field: Arc<str>,
        how: Selection,
    },
    /// A function or an operator (`_+_`), with its receiver first when it has one.
    Call {
        target: Option<Box<Expr>>,
        function: Arc<str>,
        arguments: Vec<Expr>,
    },
    /// `a && b && …`.
    And(Vec<Expr>),
    /// `a || b || …`.
    Or(Vec<Expr>),
    /// `[a, ?b]`: the flag says that the item is optional.
    List(Vec<(Expr, bool)>),
    /// `{k: v, ?k: v}`: the flag says that the entry is optional.
    Map(Vec<(Expr, Expr, bool)>),
    /// A loop over a list or map.
    Fold(Box<Fold>),
    /// `cel.bind(name, value, body)`.
    Bind {
        name: Arc<str>,
        value: Box<Expr>,
        body: Box<Expr>,
    },
    /// `value.optMap(name, body)`; flat: the body is an optional itself.
    OptionalMap {
        value: Box<Expr>,
        name: Arc<str>,
        body: Box<Expr>,
        flat: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    /// The field's value; its absence is an error.
    Value,
    /// The field's value as an optional.
    Optional,
    /// Whether there is such a field.
    Test,
}

#[derive(Clone, Debug)]
pub(crate) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Arc<str>),
    Bytes(Arc<[u8]>),
}

/// A loop: over the items of a list or the keys of a map; with a second name, over indexes and items, or keys and values.
#[derive(Clone, Debug)]
pub(crate) struct Fold {
    pub(crate) range: Expr,
    pub(crate) first: Arc<str>,
    pub(crate) second: Option<Arc<str>>,
    pub(crate) what: FoldKind,
    /// What must hold (`all`, `exists`), or which to take (`filter`, and the optional predicate of the transforming ones).
    pub(crate) predicate: Option<Expr>,
    /// What each becomes.
    pub(crate) transform: Option<Expr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FoldKind {
    All,
    Exists,
    ExistsOne,
    /// `map`, `filter` (no transform), `transformList`.
    List,
    /// `transformMap`.
    Map,
    /// `transformMapEntry`: each becomes a map of entries.
    Entries,
}

impl Expr {
    pub(crate) fn new(at: u32, kind: Kind) -> Expr {
        let mut deepest = 0;
        kind.children(&mut |child| deepest = deepest.max(child.depth));
        Expr {
            at,
            depth: deepest.saturating_add(1),
            kind,
        }
    }
}

impl Kind {
    fn children(&self, see: &mut dyn FnMut(&Expr)) {
        match self {
            Kind::Literal(_) | Kind::Ident(_) => {}
            Kind::Select { operand, .. } => see(operand),
            Kind::Call {
                target, arguments, ..
            } => {
                target.iter().for_each(|target| see(target));
                arguments.iter().for_each(see);
            }
            Kind::And(terms) | Kind::Or(terms) => terms.iter().for_each(see),
            Kind::List(items) => items.iter().for_each(|(item, _)| see(item)),
            Kind::Map(entries) => entries.iter().for_each(|(key, value, _)| {
                see(key);
                see(value);
            }),
            Kind::Fold(fold) => {
                see(&fold.range);
                fold.predicate.iter().chain(&fold.transform).for_each(see);
            }
            Kind::Bind { value, body, .. } | Kind::OptionalMap { value, body, .. } => {
                see(value);
                see(body);
            }
        }
    }
}
