//! Running a parsed template: every step and every printed byte is metered, so it always ends.

use super::format::display;
use super::tree::{Branch, Expr, How, Kind, Node};
use super::value::Val;
use super::{Fault, Meter};

/// Why a list of nodes was left.
enum Flow {
    On,
    Break,
    Continue,
}

struct Run<'a, 'r> {
    property: &'r dyn Fn(&str) -> Option<&'a str>,
    meter: &'r mut Meter,
    variables: Vec<Val<'a>>,
    output: String,
}

pub(super) fn run<'a>(
    nodes: &'a [Node],
    variables: usize,
    property: &dyn Fn(&str) -> Option<&'a str>,
    meter: &mut Meter,
) -> Result<String, Fault> {
    let mut run = Run {
        property,
        meter,
        variables: vec![Val::text(""); variables],
        output: String::new(),
    };
    run.nodes(nodes, &Val::text(""))?;
    Ok(run.output)
}

impl<'a> Run<'a, '_> {
    fn nodes(&mut self, nodes: &'a [Node], dot: &Val<'a>) -> Result<Flow, Fault> {
        for node in nodes {
            match node {
                Node::Text(text) => self.print(text, 0)?,
                Node::Print(expr) => {
                    let value = self.used(expr, dot)?;
                    let shown = display(&value);
                    self.print(&shown, expr.at)?;
                }
                Node::Set(slot, expr) => {
                    let value = self.eval(expr, dot)?;
                    self.set(Some(*slot), value);
                }
                Node::If(branch) => {
                    let (value, nodes) = self.branch(branch, dot)?;
                    drop(value);
                    match self.nodes(nodes, dot)? {
                        Flow::On => {}
                        left => return Ok(left),
                    }
                }
                Node::With(branch) => {
                    let (value, nodes) = self.branch(branch, dot)?;
                    let inner = if value.truth() { &value } else { dot };
                    match self.nodes(nodes, inner)? {
                        Flow::On => {}
                        left => return Ok(left),
                    }
                }
                Node::Range {
                    index,
                    item,
                    over,
                    body,
                    otherwise,
                } => {
                    let left = self.range((*index, *item), over, body, otherwise, dot)?;
                    if !matches!(left, Flow::On) {
                        return Ok(left);
                    }
                }
                Node::Break => return Ok(Flow::Break),
                Node::Continue => return Ok(Flow::Continue),
            }
        }
        Ok(Flow::On)
    }

    fn branch(
        &mut self,
        branch: &'a Branch,
        dot: &Val<'a>,
    ) -> Result<(Val<'a>, &'a [Node]), Fault> {
        let value = self.eval(&branch.test, dot)?;
        self.set(branch.set, value.clone());
        let nodes = if value.truth() {
            &branch.body
        } else {
            &branch.otherwise
        };
        Ok((value, nodes))
    }

    fn range(
        &mut self,
        (index, item): (Option<usize>, Option<usize>),
        over: &'a Expr,
        body: &'a [Node],
        otherwise: &'a [Node],
        dot: &Val<'a>,
    ) -> Result<Flow, Fault> {
        let items: Box<dyn Iterator<Item = Val<'a>>> = match self.eval(over, dot)? {
            Val::List(items) => Box::new(items.into_iter()),
            Val::Int(count) => Box::new((0..count.max(0)).map(Val::Int)),
            Val::Absent(_) => Box::new(std::iter::empty()),
            other => {
                let why = format!(
                    "range needs a list or a whole number, not {}; to split text write splitList \",\" …",
                    other.kind()
                );
                return Err(Fault::new(over.at, why));
            }
        };
        let mut any = false;
        for (at, value) in (0i64..).zip(items) {
            any = true;
            self.step(value.weight(), over.at)?;
            self.set(index, Val::Int(at));
            self.set(item, value.clone());
            match self.nodes(body, &value)? {
                Flow::Break => break,
                Flow::On | Flow::Continue => {}
            }
        }
        if any {
            Ok(Flow::On)
        } else {
            self.nodes(otherwise, dot)
        }
    }

    fn set(&mut self, slot: Option<usize>, value: Val<'a>) {
        if let Some(variable) = slot.and_then(|s| self.variables.get_mut(s)) {
            *variable = value;
        }
    }

    fn step(&mut self, bytes: usize, at: usize) -> Result<(), Fault> {
        self.meter.step(bytes).map_err(|why| Fault::new(at, why))
    }

    fn print(&mut self, text: &str, at: usize) -> Result<(), Fault> {
        self.meter
            .print(text.len())
            .map_err(|why| Fault::new(at, why))?;
        self.output.push_str(text);
        Ok(())
    }

    /// A value that is needed: it may not be absent.
    fn used(&mut self, expr: &'a Expr, dot: &Val<'a>) -> Result<Val<'a>, Fault> {
        match self.eval(expr, dot)? {
            Val::Absent(name) => Err(Fault::absent(expr.at, name)),
            value => Ok(value),
        }
    }

    fn eval(&mut self, expr: &'a Expr, dot: &Val<'a>) -> Result<Val<'a>, Fault> {
        let value = match &expr.kind {
            Kind::Text(text) => Val::text(text.as_ref()),
            Kind::Int(i) => Val::Int(*i),
            Kind::Float(f) => Val::Float(*f),
            Kind::Bool(b) => Val::Bool(*b),
            Kind::Dot => dot.clone(),
            Kind::Variable(slot) => self
                .variables
                .get(*slot)
                .cloned()
                .unwrap_or_else(|| Val::text("")),
            Kind::Property(name, how) => match ((self.property)(name), how) {
                (found, How::IsThere) => Val::Bool(found.is_some()),
                (Some(value), _) => Val::text(value),
                (None, How::OrEmpty) => Val::text(""),
                (None, How::May) => Val::Absent(name),
                (None, How::Must) => return Err(Fault::absent(expr.at, name)),
            },
            Kind::And(arguments) => self.shortcut(arguments, dot, false)?,
            Kind::Or(arguments) => self.shortcut(arguments, dot, true)?,
            Kind::Call(function, arguments) => {
                let mut values = Vec::with_capacity(arguments.len());
                for argument in arguments {
                    values.push(if function.takes_absent {
                        self.eval(argument, dot)?
                    } else {
                        self.used(argument, dot)?
                    });
                }
                let weight = values.iter().map(Val::weight).sum();
                self.step(weight, expr.at)?;
                (function.call)(&values, self.meter)
                    .map_err(|why| Fault::new(expr.at, format!("{}: {why}", function.name)))?
            }
        };
        self.step(value.weight(), expr.at)?;
        Ok(value)
    }

    /// The first argument whose truth is `decides`, or the last one.
    fn shortcut(
        &mut self,
        arguments: &'a [Expr],
        dot: &Val<'a>,
        decides: bool,
    ) -> Result<Val<'a>, Fault> {
        let mut last = Val::text("");
        for argument in arguments {
            last = self.eval(argument, dot)?;
            if last.truth() == decides {
                break;
            }
        }
        Ok(last)
    }
}
