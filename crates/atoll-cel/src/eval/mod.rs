//! Evaluation: a walk over the typed tree under a meter.
//!
//! Recursion follows the tree, whose depth is bounded; loops are charged per turn. Values borrow from the bindings and the program.

mod fold;
pub(crate) mod listkinds;
pub(crate) mod machine;
pub(crate) mod val;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::check::node::{Call, Node, NodeKind};
use crate::library::Charge;
use crate::program::Bindings;
use crate::syntax::ast::Selection;
use crate::types::Type;
use machine::{Evaluated, Machine, Stop};
use val::{MapKey, Text, Val};

pub(crate) struct Evaluator<'a> {
    pub(crate) machine: Machine,
    variables: &'a [(Arc<str>, Type)],
    bindings: &'a Bindings<'a>,
    locals: Vec<Local<'a>>,
}

/// A name in scope.
enum Local<'a> {
    Ready(Val<'a>),
    /// A bound name that was not read yet.
    Pending(&'a Node),
}

impl<'a> Evaluator<'a> {
    pub(crate) fn new(
        machine: Machine,
        variables: &'a [(Arc<str>, Type)],
        bindings: &'a Bindings<'a>,
    ) -> Evaluator<'a> {
        Evaluator {
            machine,
            variables,
            bindings,
            locals: Vec::new(),
        }
    }

    pub(crate) fn eval(&mut self, node: &'a Node) -> Evaluated<Val<'a>> {
        match &node.kind {
            NodeKind::Constant(value) => Ok(value.clone()),
            NodeKind::Variable(place) => {
                self.machine.charge(1)?;
                let (name, declared) = self.variables.get(*place).ok_or_else(Stop::no_overload)?;
                self.bindings.get(name, declared)
            }
            NodeKind::Local(place) => {
                self.machine.charge(1)?;
                self.local(*place)
            }
            NodeKind::Select {
                operand,
                field,
                how,
            } => self.select(operand, field, *how),
            NodeKind::Call(call) => self.call(call),
            NodeKind::Conditional(three) => match self.eval(&three[0])? {
                Val::Bool(true) => self.eval(&three[1]),
                Val::Bool(false) => self.eval(&three[2]),
                _ => Err(Stop::no_overload()),
            },
            NodeKind::And(terms) => self.logic(terms, false),
            NodeKind::Or(terms) => self.logic(terms, true),
            NodeKind::List(items) => self.list(items),
            NodeKind::Map(entries) => self.map(entries),
            NodeKind::Fold(fold) => self.fold(fold),
            NodeKind::Bind { value, body } => {
                self.locals.push(Local::Pending(value));
                let result = self.eval(body);
                self.locals.pop();
                result
            }
            NodeKind::OptionalMap { value, body, flat } => self.optional_map(value, body, *flat),
        }
    }

    fn local(&mut self, place: usize) -> Evaluated<Val<'a>> {
        match self.locals.get(place) {
            Some(Local::Ready(value)) => Ok(value.clone()),
            Some(Local::Pending(node)) => {
                // A name's value sees only the names before it: those after it are set aside while it is evaluated.
                let node: &'a Node = node;
                let after = self.locals.split_off(place);
                let value = self.eval(node);
                self.locals.truncate(place);
                self.locals.extend(after);
                let value = value?;
                self.locals[place] = Local::Ready(value.clone());
                Ok(value)
            }
            None => Err(Stop::fault("a name is not in scope")),
        }
    }

    /// `&&` (stops at false) and `||` (stops at true): a term that stops wins over terms that fail.
    fn logic(&mut self, terms: &'a [Node], stops_at: bool) -> Evaluated<Val<'a>> {
        let mut failure = None;
        for term in terms {
            match self.eval(term) {
                Ok(Val::Bool(b)) if b == stops_at => return Ok(Val::Bool(b)),
                Ok(Val::Bool(_)) => {}
                Ok(_) => failure = failure.or_else(|| Some(Stop::no_overload())),
                Err(Stop::Budget) => return Err(Stop::Budget),
                Err(stop) => failure = failure.or(Some(stop)),
            }
        }
        failure.map_or(Ok(Val::Bool(!stops_at)), Err)
    }

    fn select(
        &mut self,
        operand: &'a Node,
        field: &'a Arc<str>,
        how: Selection,
    ) -> Evaluated<Val<'a>> {
        if let Some(found) = self.variable_field(operand, field) {
            let value = found?;
            return Ok(match how {
                Selection::Test => Val::Bool(true),
                Selection::Optional => Val::some(value),
                Selection::Value => value,
            });
        }
        let value = self.eval(operand)?;
        let key = MapKey::Text(Text::Borrowed(field));
        let (value, was_optional) = match value {
            Val::Optional(None) if how == Selection::Test => return Ok(Val::Bool(false)),
            Val::Optional(None) => return Ok(Val::Optional(None)),
            Val::Optional(Some(inner)) => (Val::clone(&inner), true),
            other => (other, false),
        };
        let map = match value {
            Val::Map(map) => map,
            Val::List(_) => return Err(Stop::fault("unsupported index type 'string' in list")),
            // What has no parts has none of this name.
            _ if how == Selection::Test => return Ok(Val::Bool(false)),
            _ if was_optional || how == Selection::Optional => return Ok(Val::Optional(None)),
            _ => return Err(Stop::fault(format!("no such key: {field}"))),
        };
        let found = map.get(&key);
        if how == Selection::Test {
            return Ok(Val::Bool(found.transpose()?.is_some()));
        }
        self.machine.charge(1 + u64::from(computed(operand)))?;
        let found = found.transpose()?;
        if let Some(value) = &found {
            self.machine.long(value)?;
        }
        match (found, was_optional || how == Selection::Optional) {
            (Some(value), true) => Ok(Val::some(value)),
            (None, true) => Ok(Val::Optional(None)),
            (Some(value), false) => Ok(value),
            (None, false) => Err(Stop::fault(format!("no such key: {field}"))),
        }
    }

    /// The value of a field that is a program.
    fn variable_field(&mut self, operand: &Node, field: &str) -> Option<Evaluated<Val<'a>>> {
        let NodeKind::Variable(place) = operand.kind else {
            return None;
        };
        let (name, _) = self.variables.get(place)?;
        let variables = self.bindings.fields(name)?;
        if let Err(stop) = self.machine.charge(2) {
            return Some(Err(stop));
        }
        variables.read(field, self.bindings, &mut self.machine)
    }

    fn call(&mut self, call: &'a Call) -> Evaluated<Val<'a>> {
        let mut arguments = smallvec::SmallVec::<[Val<'a>; 3]>::new();
        for argument in &call.arguments {
            arguments.push(self.eval(argument)?);
            if call.function.charge == Charge::Otherwise
                && matches!(arguments[..], [Val::Optional(Some(_))])
            {
                // What there is otherwise is not needed.
                arguments.push(Val::Null);
                break;
            }
        }
        if call.function.charge == Charge::Index && call.arguments.first().is_some_and(computed) {
            self.machine.charge(1)?;
        }
        let cost = match (
            call.function.charge,
            call.arguments.get(1).map(|node| &node.kind),
        ) {
            // Whether something is among literals is charged as it is compared.
            (Charge::In, Some(NodeKind::Constant(_))) => 0,
            (charge, _) => {
                // Even to count the characters of long texts takes time.
                for argument in &arguments {
                    self.machine.long(argument)?;
                }
                charge.runtime(&arguments, self.machine.left())
            }
        };
        self.machine.charge(cost)?;
        if let Some(pattern) = &call.pattern {
            return crate::library::patterns::run(
                &mut self.machine,
                call.function.name,
                pattern,
                &arguments,
            );
        }
        let result = (call.function.run)(&mut self.machine, &arguments)?;
        if call.function.charge == Charge::Index {
            self.machine.long(&result)?;
        }
        Ok(result)
    }

    fn list(&mut self, items: &'a [(Node, bool)]) -> Evaluated<Val<'a>> {
        self.machine.charge(10)?;
        self.machine.allocate_values(items.len())?;
        let mut values = Vec::with_capacity(items.len());
        for (item, optional) in items {
            match (self.eval(item)?, optional) {
                (value, false) => values.push(value),
                (Val::Optional(None), true) => {}
                (Val::Optional(Some(value)), true) => values.push(Val::clone(&value)),
                (other, true) => {
                    return Err(Stop::fault(format!(
                        "cannot initialize optional list element from non-optional value {}",
                        other.type_name()
                    )));
                }
            }
        }
        Ok(Val::list(values))
    }

    fn map(&mut self, entries: &'a [(Node, Node, bool)]) -> Evaluated<Val<'a>> {
        self.machine.charge(30)?;
        self.machine
            .allocate_values(entries.len().saturating_mul(2))?;
        let mut map = BTreeMap::new();
        for (key, value, optional) in entries {
            let key = self.eval(key)?;
            let key = literal_key(&key)?;
            let value = match (self.eval(value)?, optional) {
                (value, false) => value,
                (Val::Optional(None), true) => continue,
                (Val::Optional(Some(value)), true) => Val::clone(&value),
                (other, true) => {
                    return Err(Stop::fault(format!(
                        "cannot initialize optional entry '{key}' from non-optional value {}",
                        other.type_name()
                    )));
                }
            };
            // Of equal keys the last wins.
            map.insert(key, value);
        }
        Ok(Val::map(map))
    }

    fn optional_map(&mut self, value: &'a Node, body: &'a Node, flat: bool) -> Evaluated<Val<'a>> {
        let inner = match self.eval(value)? {
            Val::Optional(None) => return Ok(Val::Optional(None)),
            Val::Optional(Some(inner)) => Val::clone(&inner),
            _ => return Err(Stop::no_overload()),
        };
        self.machine.charge(3)?;
        self.locals.push(Local::Ready(inner));
        let result = self.eval(body);
        self.locals.pop();
        if flat { result } else { result.map(Val::some) }
    }
}

/// Whether an expression does not lead into a variable: looking into it costs one more.
fn computed(node: &Node) -> bool {
    match &node.kind {
        NodeKind::Variable(_) | NodeKind::Local(_) | NodeKind::Select { .. } => false,
        NodeKind::Call(call) => call.function.charge != Charge::Index,
        _ => true,
    }
}

/// The key of an entry written in the text: a boolean, an integer or text.
fn literal_key<'a>(key: &Val<'a>) -> Evaluated<MapKey<'a>> {
    match key {
        Val::Double(_) => None,
        other => other.key(),
    }
    .ok_or_else(|| Stop::fault(format!("unsupported key type: {}", key.type_name())))
}
