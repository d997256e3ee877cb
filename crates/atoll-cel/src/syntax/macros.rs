//! Calls that are not calls: the macros of the language.

use std::sync::Arc;

use super::Fault;
use super::ast::{Expr, Fold, FoldKind, Kind, Selection};

/// What a call without receiver means: `has(a.b)` is a selection.
pub(super) fn global(function: &str, mut arguments: Vec<Expr>) -> Result<Kind, Fault> {
    if function == "has" && arguments.len() == 1 {
        return match arguments.remove(0) {
            Expr {
                kind:
                    Kind::Select {
                        operand,
                        field,
                        how: Selection::Value,
                    },
                ..
            } => Ok(Kind::Select {
                operand,
                field,
                how: Selection::Test,
            }),
            other => Err(Fault::new(other.at, "invalid argument to has() macro")),
        };
    }
    Ok(Kind::Call {
        target: None,
        function: function.into(),
        arguments,
    })
}

/// What a call with a receiver means.
pub(super) fn member(target: Expr, function: &str, arguments: Vec<Expr>) -> Result<Kind, Fault> {
    use FoldKind::{All, Entries, Exists, ExistsOne, List, Map};
    let bind = matches!(&target.kind, Kind::Ident(name) if &**name == "cel");
    match (function, arguments.len()) {
        ("bind", 3) if bind => {
            let [name, value, body] = three(arguments);
            let name = simple(
                &name,
                "cel.bind() variable names must be simple identifiers",
            )?;
            Ok(Kind::Bind {
                name,
                value: Box::new(value),
                body: Box::new(body),
            })
        }
        ("optMap" | "optFlatMap", 2) => {
            let mut arguments = arguments.into_iter();
            let (Some(name), Some(body)) = (arguments.next(), arguments.next()) else {
                return Err(Fault::new(target.at, "two arguments are needed"));
            };
            let name = simple(
                &name,
                &format!("{function}() variable name must be a simple identifier"),
            )?;
            Ok(Kind::OptionalMap {
                value: Box::new(target),
                name,
                body: Box::new(body),
                flat: function == "optFlatMap",
            })
        }
        ("sortBy", 2) => sort_by(target, arguments),
        ("all", 2) => one(target, All, arguments, "argument must be a simple name"),
        ("exists", 2) => one(target, Exists, arguments, "argument must be a simple name"),
        ("exists_one", 2) => one(
            target,
            ExistsOne,
            arguments,
            "argument must be a simple name",
        ),
        ("map", 2 | 3) | ("filter", 2) => {
            one(target, List, arguments, "argument is not an identifier")
                .map(|kind| filtering(kind, function))
        }
        ("all", 3) => two(target, All, arguments),
        ("exists", 3) => two(target, Exists, arguments),
        ("exists_one" | "existsOne", 3) => two(target, ExistsOne, arguments),
        ("transformList", 3 | 4) => two(target, List, arguments),
        ("transformMap", 3 | 4) => two(target, Map, arguments),
        ("transformMapEntry", 3 | 4) => two(target, Entries, arguments),
        _ => Ok(Kind::Call {
            target: Some(Box::new(target)),
            function: function.into(),
            arguments,
        }),
    }
}

/// `list.sortBy(x, key)`: the list in the order of the keys made of its items.
fn sort_by(list: Expr, arguments: Vec<Expr>) -> Result<Kind, Fault> {
    let at = list.at;
    if matches!(list.kind, Kind::Literal(_) | Kind::Map(_)) {
        return Err(Fault::new(
            at,
            "sortBy can only be applied to a list, identifier, comprehension, call or select expression",
        ));
    }
    // No text can write this name.
    let name: Arc<str> = "@__sortBy_input__".into();
    let input = || Expr::new(at, Kind::Ident(name.clone()));
    let keys = Expr::new(
        at,
        one(
            input(),
            FoldKind::List,
            arguments,
            "argument is not an identifier",
        )?,
    );
    let sorted = Kind::Call {
        target: Some(Box::new(input())),
        function: "@sortByAssociatedKeys".into(),
        arguments: vec![keys],
    };
    Ok(Kind::Bind {
        name: name.clone(),
        value: Box::new(list),
        body: Box::new(Expr::new(at, sorted)),
    })
}

fn three(mut arguments: Vec<Expr>) -> [Expr; 3] {
    // The caller has counted them.
    let third = arguments.remove(2);
    let second = arguments.remove(1);
    [arguments.remove(0), second, third]
}

fn simple(name: &Expr, otherwise: &str) -> Result<Arc<str>, Fault> {
    match &name.kind {
        Kind::Ident(name) if !name.starts_with('.') => Ok(name.clone()),
        _ => Err(Fault::new(name.at, otherwise)),
    }
}

fn one(
    range: Expr,
    what: FoldKind,
    mut arguments: Vec<Expr>,
    otherwise: &str,
) -> Result<Kind, Fault> {
    let name = arguments.remove(0);
    let first = simple(&name, otherwise)?;
    accumulator(&first, name.at)?;
    Ok(fold(range, what, first, None, arguments))
}

fn two(range: Expr, what: FoldKind, mut arguments: Vec<Expr>) -> Result<Kind, Fault> {
    let (one, other) = (arguments.remove(0), arguments.remove(0));
    let first = simple(&one, "argument must be a simple name")?;
    let second = simple(&other, "argument must be a simple name")?;
    if first == second {
        return Err(Fault::new(
            other.at,
            format!("duplicate variable name: {first}"),
        ));
    }
    accumulator(&first, one.at)?;
    accumulator(&second, other.at)?;
    Ok(fold(range, what, first, Some(second), arguments))
}

fn accumulator(name: &str, at: u32) -> Result<(), Fault> {
    if name == "__result__" {
        Err(Fault::new(
            at,
            "iteration variable overwrites accumulator variable",
        ))
    } else {
        Ok(())
    }
}

/// The last argument is what each becomes, one before it the predicate; quantifiers have only a predicate.
fn fold(
    range: Expr,
    what: FoldKind,
    first: Arc<str>,
    second: Option<Arc<str>>,
    mut arguments: Vec<Expr>,
) -> Kind {
    let last = arguments.pop();
    let (predicate, transform) = match what {
        FoldKind::All | FoldKind::Exists | FoldKind::ExistsOne => (last, None),
        FoldKind::List | FoldKind::Map | FoldKind::Entries => (arguments.pop(), last),
    };
    Kind::Fold(Box::new(Fold {
        range,
        first,
        second,
        what,
        predicate,
        transform,
    }))
}

/// `filter` has a predicate where `map` has what each becomes.
fn filtering(mut kind: Kind, function: &str) -> Kind {
    if let (Kind::Fold(fold), "filter") = (&mut kind, function) {
        fold.predicate = fold.transform.take();
    }
    kind
}
