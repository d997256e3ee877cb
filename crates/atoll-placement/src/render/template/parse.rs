//! From tokens to a tree that can be run, with every name resolved: functions, variables, and the properties it reads.
//!
//! Dot at the top, and `$`, stand for all properties. They exist only while parsing: `.name`, `index . "name"`,
//! `get . "name"` and `hasKey . "name"` become lookups of one name; any other use is refused.

use std::collections::BTreeSet;

use super::functions;
use super::lex::{Spanned, Token, lex};
use super::tree::{Branch, Expr, How, Kind, Node, too_deep};
use super::{Fault, MAX_DEPTH};

pub(super) struct Parsed {
    pub(super) nodes: Vec<Node>,
    pub(super) variables: usize,
    pub(super) reads: BTreeSet<String>,
}

pub(super) fn parse(source: &str) -> Result<Parsed, Fault> {
    let mut parser = Parser {
        tokens: lex(source)?,
        next: 0,
        end: source.len(),
        scope: Vec::new(),
        variables: 0,
        reads: BTreeSet::new(),
        dot: Dot::Properties,
        loops: 0,
        depth: 0,
    };
    let (nodes, end) = parser.list()?;
    match end {
        End::Source => Ok(Parsed {
            nodes,
            variables: parser.variables,
            reads: parser.reads,
        }),
        End::Else(at) => Err(Fault::new(at, "{{else}} without {{if}}")),
        End::Block(at) => Err(Fault::new(at, "{{end}} without {{if}}")),
    }
}

/// What dot stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dot {
    Properties,
    Value,
}

/// An operand: a value, or all properties.
enum Operand {
    Properties(usize),
    Value(Expr),
}

/// What ended a list of nodes.
enum End {
    Source,
    /// `{{else`, its rest still to be read.
    Else(usize),
    /// `{{end}}`
    Block(usize),
}

struct Parser {
    tokens: Vec<Spanned>,
    next: usize,
    end: usize,
    /// The variables that can be seen, innermost last.
    scope: Vec<(String, usize)>,
    variables: usize,
    reads: BTreeSet<String>,
    dot: Dot,
    loops: usize,
    depth: usize,
}

const NO_SUCH: [(&str, &str); 6] = [
    ("define", "templates that are given names"),
    ("template", "templates that are given names"),
    ("block", "templates that are given names"),
    ("call", "functions as values"),
    ("nil", "nil"),
    (
        "include",
        "templates that are given names, and so \"include\",",
    ),
];

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(token, _)| token)
    }

    fn at(&self) -> usize {
        self.tokens.get(self.next).map_or(self.end, |(_, at)| *at)
    }

    fn take(&mut self) -> Option<Spanned> {
        let token = self.tokens.get(self.next).cloned();
        self.next += 1;
        token
    }

    fn skip_space(&mut self) {
        while self.peek() == Some(&Token::Space) {
            self.next += 1;
        }
    }

    fn eat(&mut self, token: &Token) -> bool {
        let eaten = self.peek() == Some(token);
        if eaten {
            self.next += 1;
        }
        eaten
    }

    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        if self.depth >= MAX_DEPTH {
            return Err(too_deep(self.at()));
        }
        self.depth += 1;
        let done = inner(self);
        self.depth -= 1;
        done
    }

    /// Nodes up to `else`, `end` or the end of the source.
    fn list(&mut self) -> Result<(Vec<Node>, End), Fault> {
        let mut nodes = Vec::new();
        while let Some((token, at)) = self.take() {
            if let Token::Text(text) = token {
                nodes.push(Node::Text(text.into()));
                continue;
            }
            self.skip_space();
            let word = match self.peek() {
                Some(Token::Identifier(word)) => word.clone(),
                _ => String::new(),
            };
            match word.as_str() {
                "end" => {
                    self.next += 1;
                    self.close("{{end}}")?;
                    return Ok((nodes, End::Block(at)));
                }
                "else" => {
                    self.next += 1;
                    return Ok((nodes, End::Else(at)));
                }
                "if" | "with" | "range" => {
                    self.next += 1;
                    let node = self.deeper(|p| p.block(&word, at))?;
                    nodes.push(node);
                }
                "break" | "continue" => {
                    self.next += 1;
                    if self.loops == 0 {
                        return Err(Fault::new(
                            at,
                            format!("{{{{{word}}}}} outside of {{{{range}}}}"),
                        ));
                    }
                    self.close(&word)?;
                    nodes.push(if word == "break" {
                        Node::Break
                    } else {
                        Node::Continue
                    });
                }
                _ => {
                    let node = self.statement()?;
                    self.close("the action")?;
                    nodes.push(node);
                }
            }
        }
        Ok((nodes, End::Source))
    }

    /// The end of an action.
    fn close(&mut self, what: &str) -> Result<(), Fault> {
        self.skip_space();
        let at = self.at();
        match self.take() {
            Some((Token::Close, _)) => Ok(()),
            _ => Err(Fault::new(at, format!("unexpected text in {what}"))),
        }
    }

    /// `pipeline`, `$x := pipeline` or `$x = pipeline`.
    fn statement(&mut self) -> Result<Node, Fault> {
        match self.declaration(false)? {
            Some(declared) => {
                let value = self.value()?;
                let slot = match declared.slots.first() {
                    Some(slot) => *slot,
                    None => self.declare(&declared.names[0]),
                };
                Ok(Node::Set(slot, value))
            }
            None => Ok(Node::Print(self.value()?)),
        }
    }

    /// `if`, `with` and `range`, after their keyword.
    fn block(&mut self, word: &str, at: usize) -> Result<Node, Fault> {
        let outer = (self.scope.len(), self.dot);
        let declared = self.declaration(word == "range")?;
        let test = self.value()?;
        self.close(word)?;
        let mut slots: Vec<usize> = match &declared {
            Some(d) if !d.slots.is_empty() => d.slots.clone(),
            Some(d) => d.names.iter().map(|name| self.declare(name)).collect(),
            None => Vec::new(),
        };
        let inner = self.scope.len();
        if word != "if" {
            self.dot = Dot::Value;
        }
        if word == "range" {
            self.loops += 1;
        }
        let (body, end) = self.list()?;
        if word == "range" {
            self.loops -= 1;
        }
        self.dot = outer.1;
        self.scope.truncate(inner);
        let otherwise = self.otherwise(word, at, end)?;
        self.scope.truncate(outer.0);
        if word == "range" {
            let item = slots.pop();
            return Ok(Node::Range {
                index: slots.pop(),
                item,
                over: test,
                body,
                otherwise,
            });
        }
        let branch = Branch {
            set: slots.pop(),
            test,
            body,
            otherwise,
        };
        Ok(if word == "if" {
            Node::If(branch)
        } else {
            Node::With(branch)
        })
    }

    /// What follows the body of a block up to its `end`.
    fn otherwise(&mut self, word: &str, at: usize, end: End) -> Result<Vec<Node>, Fault> {
        match end {
            End::Block(_) => Ok(Vec::new()),
            End::Source => Err(Fault::new(
                at,
                format!("{{{{{word}}}}} without {{{{end}}}}"),
            )),
            End::Else(_) => {
                self.skip_space();
                if word != "range" && self.peek() == Some(&Token::Identifier(word.to_owned())) {
                    let at = self.at();
                    self.next += 1;
                    // Its end is ours.
                    return Ok(vec![self.deeper(|p| p.block(word, at))?]);
                }
                self.close("{{else}}")?;
                let (nodes, end) = self.list()?;
                match end {
                    End::Block(_) => Ok(nodes),
                    End::Else(at) => Err(Fault::new(at, "a second {{else}}")),
                    End::Source => Err(Fault::new(
                        at,
                        format!("{{{{{word}}}}} without {{{{end}}}}"),
                    )),
                }
            }
        }
    }

    fn declare(&mut self, name: &str) -> usize {
        let slot = self.variables;
        self.variables += 1;
        self.scope.push((name.to_owned(), slot));
        slot
    }

    fn declaration(&mut self, two: bool) -> Result<Option<Declared>, Fault> {
        self.skip_space();
        let start = self.next;
        let mut names = Vec::new();
        while let Some(Token::Variable(name)) = self.peek() {
            if name.is_empty() {
                break;
            }
            names.push(name.clone());
            self.next += 1;
            self.skip_space();
            if self.peek() != Some(&Token::Comma) {
                break;
            }
            self.next += 1;
            self.skip_space();
        }
        let at = self.at();
        let operator = self.peek().cloned();
        if names.is_empty() || !matches!(operator, Some(Token::Declare | Token::Assign)) {
            if names.len() > 1 {
                return Err(Fault::new(at, "expected := after the variables"));
            }
            self.next = start;
            return Ok(None);
        }
        self.next += 1;
        if names.len() > if two { 2 } else { 1 } {
            return Err(Fault::new(at, "too many variables"));
        }
        let mut slots = Vec::new();
        if operator == Some(Token::Assign) {
            for name in &names {
                slots.push(self.slot(name, at)?);
            }
        }
        Ok(Some(Declared { names, slots }))
    }

    fn slot(&self, name: &str, at: usize) -> Result<usize, Fault> {
        self.scope
            .iter()
            .rev()
            .find(|(known, _)| known == name)
            .map(|(_, slot)| *slot)
            .ok_or_else(|| Fault::new(at, format!("undefined variable ${name}")))
    }

    /// A pipeline that is a value.
    fn value(&mut self) -> Result<Expr, Fault> {
        let operand = self.pipeline()?;
        value_of(operand)
    }

    fn pipeline(&mut self) -> Result<Operand, Fault> {
        let mut piped = None;
        loop {
            let done = self.command(piped)?;
            self.skip_space();
            if !self.eat(&Token::Pipe) {
                return Ok(done);
            }
            piped = Some(done);
        }
    }

    /// A function with its arguments, or one operand. `piped` becomes the last argument.
    fn command(&mut self, piped: Option<Operand>) -> Result<Operand, Fault> {
        self.skip_space();
        let at = self.at();
        let function = match self.peek() {
            Some(Token::Identifier(name)) if name != "true" && name != "false" => {
                Some(name.clone())
            }
            _ => None,
        };
        if let Some(name) = &function {
            self.next += 1;
            if !functions::NAMES.contains(&name.as_str()) {
                return Err(unknown(name, at));
            }
        }
        let mut operands = Vec::new();
        loop {
            self.skip_space();
            match self.peek() {
                None | Some(Token::Close | Token::Pipe | Token::RightParen) => break,
                _ => operands.push(self.operand()?),
            }
        }
        if piped.is_some() && function.is_none() {
            let why = if operands.is_empty() {
                "a function is missing after |"
            } else {
                "only a function can be piped to"
            };
            return Err(Fault::new(at, why));
        }
        operands.extend(piped);
        match function {
            Some(name) => self.call(&name, operands, at),
            None => {
                let mut operands = operands.into_iter();
                match (operands.next(), operands.next()) {
                    (Some(only), None) => Ok(only),
                    (None, _) => Err(Fault::new(at, "a value is missing")),
                    (Some(_), Some(second)) => {
                        Err(Fault::new(at_of(&second), "only functions take arguments"))
                    }
                }
            }
        }
    }

    fn operand(&mut self) -> Result<Operand, Fault> {
        let at = self.at();
        let Some((token, _)) = self.take() else {
            return Err(Fault::new(at, "a value is missing"));
        };
        let of = |kind| Ok(Operand::Value(Expr::leaf(at, kind)));
        let operand = match token {
            Token::Quoted(text) => of(Kind::Text(text.into())),
            Token::Int(i) => of(Kind::Int(i)),
            Token::Float(f) => of(Kind::Float(f)),
            Token::Identifier(word) if word == "true" => of(Kind::Bool(true)),
            Token::Identifier(word) if word == "false" => of(Kind::Bool(false)),
            Token::Identifier(word) => functions::find(&word).map_or_else(
                || Err(unknown(&word, at)),
                |_| {
                    Err(Fault::new(
                        at,
                        format!("a function among arguments stands in parentheses: ({word} …)"),
                    ))
                },
            ),
            Token::Dot => match self.dot {
                Dot::Properties => Ok(Operand::Properties(at)),
                Dot::Value => of(Kind::Dot),
            },
            Token::Variable(name) if name.is_empty() => Ok(Operand::Properties(at)),
            Token::Variable(name) => of(Kind::Variable(self.slot(&name, at)?)),
            Token::Field(name) => match self.dot {
                Dot::Properties => Ok(self.property(&name, How::Must, at)),
                Dot::Value => Err(Fault::new(
                    at,
                    format!("dot is a value here, without fields; write $.{name}"),
                )),
            },
            Token::LeftParen => {
                let inner = self.deeper(Self::pipeline)?;
                self.skip_space();
                if !self.eat(&Token::RightParen) {
                    return Err(Fault::new(at, "( without )"));
                }
                Ok(inner)
            }
            _ => Err(Fault::new(at, "unexpected text")),
        }?;
        self.fields(operand)
    }

    /// `.name` right behind an operand.
    fn fields(&mut self, operand: Operand) -> Result<Operand, Fault> {
        let at = self.at();
        let Some(Token::Field(name)) = self.peek().cloned() else {
            return Ok(operand);
        };
        match operand {
            Operand::Properties(_) => {
                self.next += 1;
                let property = self.property(&name, How::Must, at);
                self.fields(property)
            }
            Operand::Value(_) => Err(Fault::new(
                at,
                format!(
                    "values have no fields; a property whose name has dots is written index $ \"a.{name}\""
                ),
            )),
        }
    }

    fn property(&mut self, name: &str, how: How, at: usize) -> Operand {
        self.reads.insert(name.to_owned());
        Operand::Value(Expr::leaf(at, Kind::Property(name.into(), how)))
    }

    fn call(&mut self, name: &str, operands: Vec<Operand>, at: usize) -> Result<Operand, Fault> {
        let lookup = match name {
            "index" => Some(How::May),
            "get" => Some(How::OrEmpty),
            "hasKey" => Some(How::IsThere),
            _ => None,
        };
        if let (Some(how), Some(Operand::Properties(_))) = (lookup, operands.first()) {
            return match operands.as_slice() {
                [
                    _,
                    Operand::Value(Expr {
                        kind: Kind::Text(key),
                        ..
                    }),
                ] => {
                    let key = key.clone();
                    Ok(self.property(&key, how, at))
                }
                _ => Err(Fault::new(
                    at,
                    format!(
                        "{name} takes one name in quotes here, so that what is read is known: {name} . \"name\""
                    ),
                )),
            };
        }
        let arguments: Result<Vec<Expr>, Fault> = operands.into_iter().map(value_of).collect();
        let arguments = arguments?;
        if matches!(name, "and" | "or") {
            if arguments.is_empty() {
                return Err(Fault::new(at, format!("{name} takes at least 1 argument")));
            }
            let both = name == "and";
            let kind = |arguments| {
                if both {
                    Kind::And(arguments)
                } else {
                    Kind::Or(arguments)
                }
            };
            return Ok(Operand::Value(Expr::call(at, kind, arguments)?));
        }
        let Some(function) = functions::find(name) else {
            return Err(unknown(name, at));
        };
        function
            .check(arguments.len())
            .map_err(|why| Fault::new(at, why))?;
        let call = |arguments| Kind::Call(function, arguments);
        Ok(Operand::Value(Expr::call(at, call, arguments)?))
    }
}

struct Declared {
    names: Vec<String>,
    /// Known variables that are assigned to; empty when new ones are declared.
    slots: Vec<usize>,
}

fn at_of(operand: &Operand) -> usize {
    match operand {
        Operand::Properties(at) => *at,
        Operand::Value(expr) => expr.at,
    }
}

fn value_of(operand: Operand) -> Result<Expr, Fault> {
    match operand {
        Operand::Value(expr) => Ok(expr),
        Operand::Properties(at) => Err(Fault::new(
            at,
            "all properties together are no value: name one, as .name or index . \"name\"",
        )),
    }
}

fn unknown(name: &str, at: usize) -> Fault {
    match NO_SUCH.iter().find(|(word, _)| *word == name) {
        Some((_, what)) => Fault::new(at, format!("{what} are not supported")),
        None => Fault::new(at, format!("there is no function {name:?}")),
    }
}
