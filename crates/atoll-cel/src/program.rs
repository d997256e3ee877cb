//! A compiled expression, and the door to evaluate it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::check::node::Node;
use crate::environment::Environment;
use crate::error::{CompileError, EvalError, EvalErrorKind};
use crate::eval::Evaluator;
use crate::eval::machine::{Evaluated, Machine, Stop};
use crate::eval::val::Val;
use crate::library::authorizer::{Asked, Authorizer, Question};
use crate::library::opaque::{self, Opaque};
use crate::reads::{self, Read};
use crate::syntax::{self, Fault};
use crate::types::Type;
use crate::value::Value;
use crate::{check, cost};

/// A compiled expression. Immutable; share it by `Arc`.
#[derive(Debug)]
pub struct Program {
    source: String,
    node: Node,
    variables: Vec<(Arc<str>, Type)>,
    reads: Vec<Read>,
    cost: (u64, u64),
    /// How deep the text's tree is.
    depth: u32,
}

/// How much an evaluation may spend. Memory follows from it: at most 32 bytes per unit, and never less than a mebibyte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Units of cost, as Kubernetes counts them (reading a field is 1, ten characters of text are 1).
    pub cost: u64,
}

impl Default for Budget {
    /// Kubernetes' limit for one evaluation.
    fn default() -> Budget {
        Budget { cost: 1_000_000 }
    }
}

/// The values of variables for one evaluation. JSON trees are borrowed and read lazily, as the variable's declared type says.
#[derive(Debug, Default)]
pub struct Bindings<'a> {
    entries: Vec<(&'a str, Bound<'a>)>,
}

#[derive(Debug)]
enum Bound<'a> {
    Json(&'a Json),
    Absent,
    Value(Val<'static>),
    Variables(&'a Variables<'a>),
}

/// Named programs whose values other programs read as fields of one variable. Each is evaluated when it is first read, and once: what it costs is
/// then charged to who reads it.
#[derive(Debug)]
pub struct Variables<'p> {
    programs: &'p [(String, Program)],
    known: RefCell<Vec<Option<Evaluated<Val<'static>>>>>,
    /// How deep in trees the evaluations are that are under way.
    depth: Cell<u32>,
}

/// How deep variables may read one another: it is bounded by the stack.
const DEEPEST: u32 = 600;

impl<'p> Variables<'p> {
    /// Variables of which nothing is known yet. They read each other through the same binding as everybody else.
    pub fn new(programs: &'p [(String, Program)]) -> Variables<'p> {
        Variables {
            known: RefCell::new(vec![None; programs.len()]),
            depth: Cell::new(0),
            programs,
        }
    }

    /// The value of one of them; `None` where there is none of that name.
    pub(crate) fn read(
        &self,
        name: &str,
        bindings: &Bindings<'_>,
        machine: &mut Machine,
    ) -> Option<Evaluated<Val<'static>>> {
        let place = self.programs.iter().position(|(known, _)| known == name)?;
        let (_, program) = self.programs.get(place)?;
        if let Some(known) = self.known.borrow().get(place).cloned().flatten() {
            return Some(known);
        }
        let above = self.depth.get();
        if above + program.depth > DEEPEST {
            return Some(Err(Stop::fault("variables read one another too deep")));
        }
        self.depth.set(above + program.depth);
        let left = machine.left();
        let mut evaluator = Evaluator::new(Machine::new(left), &program.variables, bindings);
        let value = evaluator.eval(&program.node);
        let value = value.and_then(|value| evaluator.machine.keep(&value));
        let spent = left - evaluator.machine.left();
        self.depth.set(above);
        let value = value.map_err(|stop| match stop {
            Stop::Fault(why) => Stop::fault(format!(
                "composited variable \"{name}\" fails to evaluate: {why}"
            )),
            other => other,
        });
        if let Some(known) = self.known.borrow_mut().get_mut(place) {
            *known = Some(value.clone());
        }
        Some(machine.charge(spent).and(value))
    }
}

impl<'a> Bindings<'a> {
    /// No variables.
    pub fn new() -> Bindings<'a> {
        Bindings::default()
    }

    /// Binds a JSON tree. Nothing is copied; a JSON integer is an int, any other number a double.
    #[must_use]
    pub fn json(mut self, name: &'a str, value: &'a Json) -> Bindings<'a> {
        self.bind(name, Bound::Json(value));
        self
    }

    /// Binds a variable of an optional type (`optionalOldSelf`).
    #[must_use]
    pub fn optional_json(mut self, name: &'a str, value: Option<&'a Json>) -> Bindings<'a> {
        self.bind(name, value.map_or(Bound::Absent, Bound::Json));
        self
    }

    /// Binds a value.
    #[must_use]
    pub fn value(mut self, name: &'a str, value: Value) -> Bindings<'a> {
        self.bind(name, Bound::Value(Val::from_value(&value)));
        self
    }

    /// Binds a variable whose fields are programs.
    #[must_use]
    pub fn variables(mut self, name: &'a str, variables: &'a Variables<'a>) -> Bindings<'a> {
        self.bind(name, Bound::Variables(variables));
        self
    }

    /// Binds an authorizer, to be asked about anything.
    #[must_use]
    pub fn authorizer(mut self, name: &'a str, door: &Arc<dyn Authorizer>) -> Bindings<'a> {
        self.bind(name, asking(door, Question::default(), opaque::AUTHORIZER));
        self
    }

    /// Binds a question about a resource, to be narrowed and asked.
    #[must_use]
    pub fn resource_check(
        mut self,
        name: &'a str,
        door: &Arc<dyn Authorizer>,
        question: Question,
    ) -> Bindings<'a> {
        self.bind(name, asking(door, question, opaque::RESOURCE_CHECK));
        self
    }

    /// The programs that a variable's fields are.
    pub(crate) fn fields(&self, name: &str) -> Option<&'a Variables<'a>> {
        match self.entries.iter().find(|(known, _)| *known == name) {
            Some((_, Bound::Variables(variables))) => Some(variables),
            _ => None,
        }
    }

    fn bind(&mut self, name: &'a str, bound: Bound<'a>) {
        match self.entries.iter_mut().find(|(known, _)| *known == name) {
            Some((_, before)) => *before = bound,
            None => self.entries.push((name, bound)),
        }
    }

    /// The value of a variable of a declared type.
    pub(crate) fn get<'b>(&'b self, name: &Arc<str>, declared: &'b Type) -> Evaluated<Val<'b>> {
        match self.entries.iter().find(|(known, _)| *known == &**name) {
            Some((_, Bound::Json(json))) => Val::from_json(json, declared),
            Some((_, Bound::Absent)) => Ok(Val::Optional(None)),
            // Only its fields are values.
            Some((_, Bound::Variables(_))) => Ok(Val::map(BTreeMap::new())),
            Some((_, Bound::Value(value))) => Ok(value.clone()),
            None => Err(Stop::Unbound(name.clone())),
        }
    }
}

fn asking<'a>(door: &Arc<dyn Authorizer>, question: Question, step: &'static str) -> Bound<'a> {
    let door = door.clone();
    Bound::Value(Val::opaque(Opaque::Asked(Asked {
        door,
        question,
        step,
    })))
}

impl Program {
    /// Compiles a text: parses it, checks its types, estimates its cost.
    pub fn compile(environment: &Environment, source: &str) -> Result<Program, CompileError> {
        let (checked, at, depth) =
            Program::check(environment, source).map_err(|faults| located(source, faults))?;
        let range = cost::range(&checked.node, &checked.variables, environment.get("self"));
        if let Some(limit) = environment.limit()
            && range.max > limit
        {
            let message = format!(
                "estimated cost of the expression is too high: up to {}, at most {limit} is allowed",
                range.max
            );
            return Err(located(source, vec![Fault::new(at, message)]));
        }
        let reads = reads::reads(&checked.node, &checked.variables);
        let mut checked = checked;
        check::fold_constants(&mut checked.node);
        Ok(Program {
            source: source.to_owned(),
            node: checked.node,
            variables: checked.variables,
            reads,
            cost: (range.min, range.max),
            depth,
        })
    }

    /// As [`Program::compile`], and the answers must be of a type (or `dyn`).
    pub fn compile_to(
        environment: &Environment,
        source: &str,
        wanted: &Type,
    ) -> Result<Program, CompileError> {
        let program = Program::compile(environment, source)?;
        let output = program.output();
        if output == wanted.plain() || matches!(output, Type::Dyn) || matches!(wanted, Type::Dyn) {
            return Ok(program);
        }
        let message = format!("must evaluate to {wanted}, but evaluates to {output}");
        Err(located(source, vec![Fault::new(program.node.at, message)]))
    }

    fn check(
        environment: &Environment,
        source: &str,
    ) -> Result<(check::Checked, u32, u32), Vec<Fault>> {
        let expression = syntax::parse(source).map_err(|fault| vec![fault])?;
        let depth = u32::from(expression.depth);
        Ok((
            check::check(environment, &expression)?,
            expression.at,
            depth,
        ))
    }

    /// The type of the answers.
    pub fn output(&self) -> &Type {
        self.node.output.plain()
    }

    /// Whether the text speaks of a variable.
    pub fn uses(&self, variable: &str) -> bool {
        self.variables.iter().any(|(name, _)| &**name == variable)
    }

    /// The text this was compiled from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What an evaluation can cost at worst, given the sizes known from the variables' types; `u64::MAX` when there is no bound.
    pub fn estimated_cost(&self) -> u64 {
        self.cost.1
    }

    /// What an evaluation costs at least.
    pub fn least_cost(&self) -> u64 {
        self.cost.0
    }

    /// What an evaluation can read, sorted, no read within another.
    pub fn reads(&self) -> &[Read] {
        &self.reads
    }

    /// Evaluates under a budget.
    pub fn evaluate(&self, bindings: &Bindings<'_>, budget: Budget) -> Result<Value, EvalError> {
        let mut budget = budget;
        self.spend(bindings, &mut budget)
    }

    /// Evaluates and takes what it cost out of the budget, also when it fails: for a budget shared by several evaluations.
    pub fn spend(&self, bindings: &Bindings<'_>, budget: &mut Budget) -> Result<Value, EvalError> {
        let mut evaluator = Evaluator::new(Machine::new(budget.cost), &self.variables, bindings);
        let result = evaluator
            .eval(&self.node)
            .and_then(|value| evaluator.machine.own(&value));
        budget.cost = evaluator.machine.left();
        result.map_err(|stop| match stop {
            Stop::Fault(message) => EvalError {
                kind: EvalErrorKind::Expression,
                message: message.into_owned(),
            },
            Stop::Unbound(name) => EvalError {
                kind: EvalErrorKind::Unbound,
                message: format!("no such attribute(s): {name}"),
            },
            Stop::Budget => EvalError {
                kind: EvalErrorKind::BudgetExceeded,
                message: "operation cancelled: actual cost limit exceeded".to_owned(),
            },
        })
    }
}

/// The first of the faults, with the others in it.
fn located(source: &str, mut faults: Vec<Fault>) -> CompileError {
    faults.sort_by_key(|fault| fault.at);
    let mut errors = faults.into_iter().map(|fault| located_one(source, fault));
    // There is at least one.
    let first = errors.next();
    let also = errors.collect();
    match first {
        Some(first) => CompileError { also, ..first },
        None => CompileError {
            line: 1,
            column: 1,
            message: String::new(),
            also,
        },
    }
}

fn located_one(source: &str, fault: Fault) -> CompileError {
    let mut at = (fault.at as usize).min(source.len());
    while !source.is_char_boundary(at) {
        at -= 1;
    }
    let before = &source[..at];
    let line = before.matches('\n').count() as u32 + 1;
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count() as u32
        + 1;
    CompileError {
        line,
        column,
        message: fault.message,
        also: Vec::new(),
    }
}
