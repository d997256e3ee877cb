//! Loops and optional values: what binds names.

use std::sync::Arc;

use super::node::{FoldNode, Node, NodeKind};
use super::unify::WRONG;
use super::{Checker, Noded};
use crate::syntax::Fault;
use crate::syntax::ast::{Expr, Fold, FoldKind};
use crate::types::Type;

impl Checker<'_> {
    pub(super) fn fold(&mut self, at: u32, fold: &Fold) -> Noded {
        let range = self.check(&fold.range);
        let range_type = self.known(&range.output);
        let (index_or_key, item_or_value, single) = match range_type.plain() {
            Type::List(item) => (Type::Int, Type::clone(item), Type::clone(item)),
            Type::Map(key, value) => (Type::clone(key), Type::clone(value), Type::clone(key)),
            Type::Dyn | Type::Opaque(WRONG) | Type::Var(_) => {
                self.substitution.assign(&Type::Dyn, &range_type);
                (Type::Dyn, Type::Dyn, Type::Dyn)
            }
            other => {
                let message = format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                self.report(Fault::new(range.at, message));
                (Type::Dyn, Type::Dyn, Type::Dyn)
            }
        };
        let names = match &fold.second {
            None => vec![(fold.first.clone(), single.clone())],
            Some(second) => vec![
                (fold.first.clone(), index_or_key.clone()),
                (second.clone(), item_or_value),
            ],
        };
        let quantifier = matches!(fold.what, FoldKind::All | FoldKind::Exists);
        let (predicate, transform) = self.scoped(&names, |checker| {
            let predicate = fold.predicate.as_ref().map(|predicate| {
                if quantifier {
                    checker.boolean(predicate)
                } else {
                    checker.check(predicate)
                }
            });
            (
                predicate,
                fold.transform
                    .as_ref()
                    .map(|transform| checker.check(transform)),
            )
        });
        let transformed = transform.as_ref().map(|transform| transform.output.clone());
        let output = match fold.what {
            FoldKind::All | FoldKind::Exists | FoldKind::ExistsOne => Type::Bool,
            FoldKind::List => Type::list(transformed.unwrap_or(single)),
            FoldKind::Map => Type::Map(
                Arc::new(index_or_key),
                Arc::new(transformed.unwrap_or(Type::Dyn)),
            ),
            FoldKind::Entries => self.entries_type(at, transformed),
        };
        if let Some(predicate) = &predicate
            && !quantifier
            && !self.substitution.assign(&Type::Bool, &predicate.output)
        {
            // Upstream's loop is a conditional over what was gathered.
            let gathered = if fold.what == FoldKind::ExistsOne {
                Type::Int
            } else {
                output.clone()
            };
            let (found, gathered) = (
                self.known(&predicate.output),
                self.substitution.apply(&gathered, true),
            );
            let message = format!(
                "found no matching overload for '_?_:_' applied to '({found}, {gathered}, {gathered})'"
            );
            self.report(Fault::new(at, message));
        }
        let two = fold.second.is_some();
        let kind = NodeKind::Fold(Box::new(FoldNode {
            range,
            two,
            what: fold.what,
            predicate,
            transform,
        }));
        Ok(Node { at, output, kind })
    }

    /// `transformMapEntry` gathers maps: its result is a map of the same types.
    fn entries_type(&mut self, at: u32, transformed: Option<Type>) -> Type {
        let map = Type::Map(
            Arc::new(self.substitution.fresh()),
            Arc::new(self.substitution.fresh()),
        );
        if let Some(transformed) = transformed
            && !self.substitution.assign(&map, &transformed)
        {
            let found = self.substitution.apply(&transformed, true);
            let message = format!(
                "found no matching overload for 'cel.@mapInsert' applied to '(map(dyn, dyn), {found})'"
            );
            self.report(Fault::new(at, message));
        }
        map
    }

    pub(super) fn optional_map(
        &mut self,
        at: u32,
        value: &Expr,
        name: &Arc<str>,
        body: &Expr,
        flat: bool,
    ) -> Noded {
        let value = self.check(value);
        let wanted = self.substitution.fresh().optional();
        if !self.substitution.assign(&value.output, &wanted) {
            let found = self.known(&value.output);
            self.report(Fault::new(
                at,
                format!("found no matching overload for 'hasValue' applied to '{found}.()'"),
            ));
        }
        let inner = match self.known(&value.output).plain() {
            Type::Optional(inner) => Type::clone(inner),
            _ => Type::Dyn,
        };
        let body = self.scoped(&[(name.clone(), inner)], |checker| checker.check(body));
        let output = if flat {
            let none = self.substitution.fresh().optional();
            if !self.substitution.assign(&body.output, &none) {
                let found = self.known(&body.output);
                let message = format!(
                    "found no matching overload for '_?_:_' applied to '(bool, {found}, optional_type(dyn))'"
                );
                self.report(Fault::new(at, message));
            }
            body.output.clone()
        } else {
            body.output.clone().optional()
        };
        Ok(Node {
            at,
            output,
            kind: NodeKind::OptionalMap {
                value: Box::new(value),
                body: Box::new(body),
                flat,
            },
        })
    }
}
