//! The type checker: names to variables, calls to overloads, and a type for every expression.
//!
//! It follows upstream's rules: `dyn` goes with everything and is checked when it runs, literals of lists and maps are homogeneous, and a call's
//! overloads are those that its argument types allow; when they differ in result, the result is `dyn`.

mod fold_constants;
mod loops;
pub(crate) mod node;
mod unify;
mod validate;

use std::sync::Arc;

pub(crate) use fold_constants::fold_constants;

use crate::environment::Environment;
use crate::eval::val::{Text, Val};
use crate::library::{self, Function};
use crate::syntax::Fault;
use crate::syntax::ast::{Expr, Kind, Literal, Selection};
use crate::types::Type;
use node::{Call, Node, NodeKind};
use unify::{Substitution, WRONG, most_general};

/// A checked text: its tree, and the variables it may read, in the order of their places.
pub(crate) struct Checked {
    pub(crate) node: Node,
    pub(crate) variables: Vec<(Arc<str>, Type)>,
}

/// Checks a parsed text.
pub(crate) fn check(environment: &Environment, expression: &Expr) -> Result<Checked, Vec<Fault>> {
    let mut checker = Checker {
        environment,
        substitution: Substitution::default(),
        locals: Vec::new(),
        variables: Vec::new(),
        faults: Vec::new(),
    };
    let mut node = checker.check(expression);
    checker.finish(&mut node);
    if checker.substitution.too_complex() {
        checker.faults = vec![Fault::new(
            expression.at,
            "the types of this expression are too complex to check",
        )];
    }
    if checker.faults.is_empty() {
        validate::validate(&mut node, false, &mut checker.faults);
    }
    if checker.faults.is_empty() {
        return Ok(Checked {
            node,
            variables: checker.variables,
        });
    }
    Err(checker.faults)
}

struct Checker<'e> {
    environment: &'e Environment,
    substitution: Substitution,
    locals: Vec<(Arc<str>, Type)>,
    variables: Vec<(Arc<str>, Type)>,
    /// What is wrong so far. What is wrong has the type `dyn`, so that the rest can be looked at.
    faults: Vec<Fault>,
}

type Noded = Result<Node, Fault>;

impl Checker<'_> {
    fn finish(&self, node: &mut Node) {
        node.output = self.substitution.apply(&node.output, true);
        node.children_mut(&mut |child| self.finish(child));
    }

    fn known(&self, of: &Type) -> Type {
        self.substitution.apply(of, false)
    }

    fn check(&mut self, expression: &Expr) -> Node {
        match self.check_kind(expression) {
            Ok(node) => node,
            Err(fault) => {
                self.report(fault);
                Node {
                    at: expression.at,
                    output: Type::Opaque(WRONG),
                    kind: NodeKind::Constant(Val::Null),
                }
            }
        }
    }

    fn report(&mut self, fault: Fault) {
        // Enough is enough.
        if self.faults.len() < 100 {
            self.faults.push(fault);
        }
    }

    fn check_kind(&mut self, expression: &Expr) -> Noded {
        let at = expression.at;
        match &expression.kind {
            Kind::Literal(literal) => Ok(constant(at, literal)),
            Kind::Ident(name) => self.ident(at, name),
            Kind::Select {
                operand,
                field,
                how,
            } => self.select(expression, operand, field, *how),
            Kind::Call {
                target,
                function,
                arguments,
            } => self.call(at, target.as_deref(), function, arguments),
            Kind::And(terms) => Ok(Node {
                at,
                output: Type::Bool,
                kind: NodeKind::And(self.terms(terms)),
            }),
            Kind::Or(terms) => Ok(Node {
                at,
                output: Type::Bool,
                kind: NodeKind::Or(self.terms(terms)),
            }),
            Kind::List(items) => self.list(at, items),
            Kind::Map(entries) => self.map(at, entries),
            Kind::Fold(fold) => self.fold(at, fold),
            Kind::Bind { name, value, body } => {
                let value = self.check(value);
                let body = self.scoped(&[(name.clone(), value.output.clone())], |checker| {
                    checker.check(body)
                });
                Ok(Node {
                    at,
                    output: body.output.clone(),
                    kind: NodeKind::Bind {
                        value: Box::new(value),
                        body: Box::new(body),
                    },
                })
            }
            Kind::OptionalMap {
                value,
                name,
                body,
                flat,
            } => self.optional_map(at, value, name, body, *flat),
        }
    }

    fn scoped<T>(&mut self, names: &[(Arc<str>, Type)], inside: impl FnOnce(&mut Self) -> T) -> T {
        let depth = self.locals.len();
        self.locals.extend_from_slice(names);
        let result = inside(self);
        self.locals.truncate(depth);
        result
    }

    fn resolve(&mut self, at: u32, name: &str) -> Option<Node> {
        let local = if name.starts_with('.') {
            None
        } else {
            self.locals.iter().rposition(|(local, _)| &**local == name)
        };
        if let Some(place) = local {
            return Some(Node {
                at,
                output: self.locals[place].1.clone(),
                kind: NodeKind::Local(place),
            });
        }
        let name = name.strip_prefix('.').unwrap_or(name);
        if let Some(output) = self.environment.get(name) {
            let known = self
                .variables
                .iter()
                .position(|(variable, _)| &**variable == name);
            let place = known.unwrap_or_else(|| {
                self.variables.push((name.into(), output.clone()));
                self.variables.len() - 1
            });
            return Some(Node {
                at,
                output: output.clone(),
                kind: NodeKind::Variable(place),
            });
        }
        let name = library::type_named(name)?;
        Some(Node {
            at,
            output: Type::TypeOf,
            kind: NodeKind::Constant(Val::Type(Text::Borrowed(name))),
        })
    }

    fn ident(&mut self, at: u32, name: &Arc<str>) -> Noded {
        self.resolve(at, name).ok_or_else(|| undeclared(at, name))
    }

    fn select(
        &mut self,
        expression: &Expr,
        operand: &Expr,
        field: &Arc<str>,
        how: Selection,
    ) -> Noded {
        let at = expression.at;
        if how == Selection::Value
            && let Some(name) = qualified(expression)
            && let Some(node) = self.resolve(at, &name)
        {
            return Ok(node);
        }
        let operand = self.check(operand);
        let whole = self.known(&operand.output);
        let (inner, is_optional) = match whole.plain() {
            Type::Optional(inner) => (Type::clone(inner), true),
            _ => (whole, false),
        };
        let found = match inner.plain() {
            Type::Map(_, value) => Type::clone(value),
            Type::Object(object) => match object.get(field) {
                Some(declared) => declared.value.clone(),
                None => return Err(Fault::new(at, format!("undefined field '{field}'"))),
            },
            Type::Var(_) => {
                self.substitution.assign(&Type::Dyn, &inner);
                Type::Dyn
            }
            Type::Dyn | Type::Opaque(WRONG) => Type::Dyn,
            other => {
                return Err(Fault::new(
                    at,
                    format!("type '{other}' does not support field selection"),
                ));
            }
        };
        let output = match how {
            Selection::Test => Type::Bool,
            Selection::Value if !is_optional => found,
            _ => found.optional(),
        };
        Ok(Node {
            at,
            output,
            kind: NodeKind::Select {
                operand: Box::new(operand),
                field: field.clone(),
                how,
            },
        })
    }

    fn terms(&mut self, terms: &[Expr]) -> Vec<Node> {
        terms.iter().map(|term| self.boolean(term)).collect()
    }

    /// An expression that must be a boolean.
    fn boolean(&mut self, expression: &Expr) -> Node {
        let node = self.check(expression);
        if !self.substitution.assign(&Type::Bool, &node.output) {
            let found = self.known(&node.output);
            self.report(Fault::new(
                node.at,
                format!("expected type 'bool' but found '{found}'"),
            ));
        }
        node
    }

    fn call(
        &mut self,
        at: u32,
        target: Option<&Expr>,
        function: &str,
        arguments: &[Expr],
    ) -> Noded {
        let mut nodes = Vec::with_capacity(arguments.len() + 1);
        let Some(target) = target else {
            for argument in arguments {
                nodes.push(self.check(argument));
            }
            let name = function.strip_prefix('.').unwrap_or(function);
            let found = library::find(name).ok_or_else(|| undeclared(at, function))?;
            return self.resolve_call(at, found, nodes, false);
        };
        // `a.b.c(…)` may be the function `a.b.c`.
        if let Some(prefix) = qualified(target)
            && let Some(found) = library::find(&format!("{prefix}.{function}"))
        {
            for argument in arguments {
                nodes.push(self.check(argument));
            }
            return self.resolve_call(at, found, nodes, false);
        }
        nodes.push(self.check(target));
        for argument in arguments {
            nodes.push(self.check(argument));
        }
        let found = library::find(function).ok_or_else(|| undeclared(at, function))?;
        self.resolve_call(at, found, nodes, true)
    }

    fn resolve_call(
        &mut self,
        at: u32,
        function: &'static Function,
        arguments: Vec<Node>,
        member: bool,
    ) -> Noded {
        let types: Vec<Type> = arguments
            .iter()
            .map(|argument| self.known(&argument.output))
            .collect();
        let mut overloads = Vec::new();
        let mut output: Option<Type> = None;
        for (place, overload) in function.overloads.iter().enumerate() {
            if overload.member != member || overload.arguments.len() != types.len() {
                continue;
            }
            let fresh: Vec<Type> = (0..overload.parameters)
                .map(|_| self.substitution.fresh())
                .collect();
            let wanted: Vec<Type> = overload
                .arguments
                .iter()
                .map(|argument| instantiate(argument, &fresh))
                .collect();
            if !self.substitution.assign_all(&types, &wanted) {
                continue;
            }
            overloads.push(place);
            let result = self.known(&instantiate(&overload.result, &fresh));
            output = Some(match output {
                None => result,
                Some(before)
                    if matches!(before.plain(), Type::Dyn) || unify::same(&before, &result) =>
                {
                    before
                }
                Some(_) => Type::Dyn,
            });
        }
        let Some(output) = output else {
            let shown: Vec<String> = types
                .iter()
                .map(|of| self.substitution.apply(of, true).to_string())
                .collect();
            let signature = match shown.split_first() {
                Some((receiver, rest)) if member => format!("{receiver}.({})", rest.join(", ")),
                _ => format!("({})", shown.join(", ")),
            };
            return Err(Fault::new(
                at,
                format!(
                    "found no matching overload for '{}' applied to '{signature}'",
                    function.name
                ),
            ));
        };
        if function.name == "_?_:_" {
            let three = <[Node; 3]>::try_from(arguments)
                .map_err(|_| Fault::new(at, "a conditional has three parts"))?;
            return Ok(Node {
                at,
                output,
                kind: NodeKind::Conditional(Box::new(three)),
            });
        }
        Ok(Node {
            at,
            output,
            kind: NodeKind::Call(Box::new(Call {
                function,
                overloads,
                arguments,
                pattern: None,
            })),
        })
    }

    fn list(&mut self, at: u32, items: &[(Expr, bool)]) -> Noded {
        let mut nodes = Vec::with_capacity(items.len());
        let mut item_type = None;
        for (item, optional) in items {
            let node = self.check(item);
            let of = self.optional_inner(&node, *optional);
            item_type = Some(self.join(item_type, of));
            nodes.push((node, *optional));
        }
        let item_type = item_type.unwrap_or_else(|| self.substitution.fresh());
        Ok(Node {
            at,
            output: Type::list(item_type),
            kind: NodeKind::List(nodes),
        })
    }

    fn map(&mut self, at: u32, entries: &[(Expr, Expr, bool)]) -> Noded {
        let mut nodes = Vec::with_capacity(entries.len());
        let (mut keys, mut values) = (None, None);
        for (key, value, optional) in entries {
            let key = self.check(key);
            keys = Some(self.join(keys, key.output.clone()));
            let value = self.check(value);
            let of = self.optional_inner(&value, *optional);
            values = Some(self.join(values, of));
            nodes.push((key, value, *optional));
        }
        let keys = keys.unwrap_or_else(|| self.substitution.fresh());
        let values = values.unwrap_or_else(|| self.substitution.fresh());
        Ok(Node {
            at,
            output: Type::Map(Arc::new(keys), Arc::new(values)),
            kind: NodeKind::Map(nodes),
        })
    }

    /// What an item of a literal is, when it is there.
    fn optional_inner(&mut self, node: &Node, optional: bool) -> Type {
        let of = self.known(&node.output);
        match of.plain() {
            Type::Optional(inner) if optional => Type::clone(inner),
            Type::Dyn => Type::Dyn,
            other if optional => {
                let message = format!("expected type 'optional_type({other})' but found '{other}'");
                self.report(Fault::new(node.at, message));
                Type::Dyn
            }
            _ => node.output.clone(),
        }
    }

    /// The type of items of two types: `dyn` when they do not go together, which is refused afterwards, but for the arguments of `format`.
    fn join(&mut self, before: Option<Type>, with: Type) -> Type {
        match before {
            None => with,
            Some(before) if self.substitution.assign(&before, &with) => most_general(before, with),
            Some(_) => Type::Dyn,
        }
    }
}

fn constant(at: u32, literal: &Literal) -> Node {
    let (output, value) = match literal {
        Literal::Null => (Type::Null, Val::Null),
        Literal::Bool(b) => (Type::Bool, Val::Bool(*b)),
        Literal::Int(i) => (Type::Int, Val::Int(*i)),
        Literal::Uint(u) => (Type::Uint, Val::Uint(*u)),
        Literal::Double(d) => (Type::Double, Val::Double(*d)),
        Literal::String(text) => (Type::String, Val::Text(Text::Shared(text.clone()))),
        Literal::Bytes(bytes) => (Type::Bytes, Val::Bytes(bytes.clone())),
    };
    Node {
        at,
        output,
        kind: NodeKind::Constant(value),
    }
}

fn undeclared(at: u32, name: &str) -> Fault {
    Fault::new(
        at,
        format!("undeclared reference to '{name}' (in container '')"),
    )
}

/// The dotted name that a chain of selections writes.
fn qualified(expression: &Expr) -> Option<String> {
    match &expression.kind {
        Kind::Ident(name) => Some(name.to_string()),
        Kind::Select {
            operand,
            field,
            how: Selection::Value,
        } => qualified(operand).map(|before| format!("{before}.{field}")),
        _ => None,
    }
}

fn instantiate(of: &Type, fresh: &[Type]) -> Type {
    match of {
        Type::Var(variable) => fresh.get(*variable as usize).cloned().unwrap_or(Type::Dyn),
        Type::List(item) => Type::list(instantiate(item, fresh)),
        Type::Map(key, value) => Type::Map(
            Arc::new(instantiate(key, fresh)),
            Arc::new(instantiate(value, fresh)),
        ),
        Type::Optional(value) => instantiate(value, fresh).optional(),
        other => other.clone(),
    }
}
