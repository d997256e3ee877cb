//! The grammar: precedence climbing over tokens.
//!
//! As upstream's: `?:` binds weakest and its middle part is no conditional, then `||`, `&&`, relations (left-associative, `in` among them), sums,
//! products, repeated `!` or `-` (an even number of them is none), and members. A minus before a number is part of the number.

use std::sync::Arc;

use super::ast::{Expr, Kind, Literal, Selection};
use super::lexer::{Piece, Token, tokens};
use super::{Fault, MAX_CHARACTERS, MAX_DEPTH, literal, macros};
use crate::escape::RESERVED;

const CONDITIONAL: u8 = 0;
const OR: u8 = 1;
const AND: u8 = 2;

/// What stands between two expressions: how strongly it binds, and the function that it calls.
const INFIX: [(&str, u8, &str); 15] = [
    ("?", CONDITIONAL, "_?_:_"),
    ("||", OR, "_||_"),
    ("&&", AND, "_&&_"),
    ("==", 3, "_==_"),
    ("!=", 3, "_!=_"),
    ("<", 3, "_<_"),
    ("<=", 3, "_<=_"),
    (">", 3, "_>_"),
    (">=", 3, "_>=_"),
    ("in", 3, "@in"),
    ("+", 4, "_+_"),
    ("-", 4, "_-_"),
    ("*", 5, "_*_"),
    ("/", 5, "_/_"),
    ("%", 5, "_%_"),
];

/// Parses a whole text.
pub(crate) fn parse(source: &str) -> Result<Expr, Fault> {
    let size = source.chars().count();
    if size > MAX_CHARACTERS {
        return Err(Fault::new(
            0,
            format!(
                "expression code point size exceeds limit: size: {size}, limit {MAX_CHARACTERS}"
            ),
        ));
    }
    let pieces = tokens(source)?;
    let mut parser = Parser {
        source,
        pieces,
        next: 0,
        depth: 0,
    };
    let expression = parser.expression()?;
    match parser.peek() {
        Piece {
            token: Token::End, ..
        } => Ok(expression),
        _ => Err(parser.unexpected("<EOF>")),
    }
}

struct Parser<'s> {
    source: &'s str,
    pieces: Vec<Piece>,
    next: usize,
    depth: u16,
}

type Parsed = Result<Expr, Fault>;

impl<'s> Parser<'s> {
    fn peek(&self) -> Piece {
        // The last piece is the end, and it is never passed.
        self.pieces[self.next.min(self.pieces.len() - 1)]
    }

    fn advance(&mut self) -> Piece {
        let piece = self.peek();
        self.next += usize::from(piece.token != Token::End);
        piece
    }

    fn text(&self, piece: Piece) -> &'s str {
        &self.source[piece.start..piece.end]
    }

    fn at(&mut self, symbol: &'static str) -> Option<u32> {
        let piece = self.peek();
        (piece.token == Token::Symbol(symbol)).then(|| {
            self.advance();
            piece.start as u32
        })
    }

    fn expect(&mut self, symbol: &'static str) -> Result<u32, Fault> {
        self.at(symbol)
            .ok_or_else(|| self.unexpected(&format!("'{symbol}'")))
    }

    fn unexpected(&self, wanted: &str) -> Fault {
        let piece = self.peek();
        let found = if piece.token == Token::End {
            "<EOF>"
        } else {
            self.text(piece)
        };
        Fault::new(
            piece.start as u32,
            format!("Syntax error: mismatched input '{found}' expecting {wanted}"),
        )
    }

    /// A node, unless it makes the tree too deep.
    fn node(&self, at: u32, kind: Kind) -> Parsed {
        let node = Expr::new(at, kind);
        if node.depth > MAX_DEPTH {
            Err(too_deep(at))
        } else {
            Ok(node)
        }
    }

    fn call(&self, at: u32, operator: &str, arguments: Vec<Expr>) -> Parsed {
        self.node(
            at,
            Kind::Call {
                target: None,
                function: operator.into(),
                arguments,
            },
        )
    }

    /// An expression of any kind.
    fn expression(&mut self) -> Parsed {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(too_deep(self.peek().start as u32));
        }
        let result = self.climb(0);
        self.depth -= 1;
        result
    }

    /// Operators that bind at least as strongly as `level`. One function for all levels, so that nesting costs the stack little.
    fn climb(&mut self, level: u8) -> Parsed {
        let mut left = self.unary()?;
        loop {
            let Token::Symbol(symbol) = self.peek().token else {
                return Ok(left);
            };
            let Some((_, own, function)) = INFIX
                .iter()
                .find(|(written, own, _)| *written == symbol && *own >= level)
            else {
                return Ok(left);
            };
            let at = self.advance().start as u32;
            left = match *own {
                CONDITIONAL => {
                    let yes = self.climb(OR)?;
                    self.expect(":")?;
                    let no = self.expression()?;
                    self.call(at, function, vec![left, yes, no])?
                }
                OR | AND => {
                    let mut terms = vec![left, self.climb(own + 1)?];
                    while self.at(symbol).is_some() {
                        terms.push(self.climb(own + 1)?);
                    }
                    self.node(
                        at,
                        if *own == OR {
                            Kind::Or(terms)
                        } else {
                            Kind::And(terms)
                        },
                    )?
                }
                own => {
                    let right = self.climb(own + 1)?;
                    self.call(at, function, vec![left, right])?
                }
            };
        }
    }

    fn unary(&mut self) -> Parsed {
        for (symbol, function) in [("!", "!_"), ("-", "-_")] {
            let Some(at) = self.at(symbol) else { continue };
            let mut times = 1;
            while self.at(symbol).is_some() {
                times += 1;
            }
            // The last minus before a number belongs to the number, when it is the only one.
            if symbol == "-"
                && times == 1
                && matches!(self.peek().token, Token::Int | Token::Double)
            {
                let number = self.number(true, at)?;
                return self.suffixes(number);
            }
            let operand = self.member()?;
            return if times % 2 == 0 {
                Ok(operand)
            } else {
                self.call(at, function, vec![operand])
            };
        }
        self.member()
    }

    fn member(&mut self) -> Parsed {
        if self.peek().token == Token::Symbol("-") {
            // Only a negative number can follow: `!-1`.
            let at = self.advance().start as u32;
            if !matches!(self.peek().token, Token::Int | Token::Double) {
                return Err(self.unexpected("a number"));
            }
            let number = self.number(true, at)?;
            return self.suffixes(number);
        }
        let primary = self.primary()?;
        self.suffixes(primary)
    }

    fn suffixes(&mut self, mut operand: Expr) -> Parsed {
        loop {
            if let Some(at) = self.at(".") {
                operand = self.selection(operand, at)?;
            } else if let Some(at) = self.at("[") {
                let optional = self.at("?").is_some();
                let index = self.expression()?;
                self.expect("]")?;
                operand = self.call(
                    at,
                    if optional { "_[?_]" } else { "_[_]" },
                    vec![operand, index],
                )?;
            } else {
                return Ok(operand);
            }
        }
    }

    fn selection(&mut self, operand: Expr, at: u32) -> Parsed {
        let optional = self.at("?").is_some();
        let name = self.name()?;
        if matches!(self.text(name), "true" | "false" | "null") {
            self.next -= 1;
            return Err(self.unexpected("IDENTIFIER"));
        }
        let field = self.text(name);
        if !optional && let Some(open) = self.at("(") {
            let arguments = self.arguments()?;
            let kind = macros::member(operand, field, arguments)?;
            return self.node(open, kind);
        }
        let how = if optional {
            Selection::Optional
        } else {
            Selection::Value
        };
        self.node(
            at,
            Kind::Select {
                operand: Box::new(operand),
                field: field.into(),
                how,
            },
        )
    }

    fn name(&mut self) -> Result<Piece, Fault> {
        if self.peek().token == Token::Ident {
            Ok(self.advance())
        } else {
            Err(self.unexpected("IDENTIFIER"))
        }
    }

    /// The rest of a call's arguments, and its closing parenthesis.
    fn arguments(&mut self) -> Result<Vec<Expr>, Fault> {
        let mut arguments = Vec::new();
        if self.at(")").is_some() {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.expression()?);
            if self.at(",").is_none() {
                self.expect(")")?;
                return Ok(arguments);
            }
        }
    }

    fn primary(&mut self) -> Parsed {
        let piece = self.peek();
        let at = piece.start as u32;
        match piece.token {
            Token::Int | Token::Double => self.number(false, at),
            Token::Uint => {
                self.advance();
                let value = literal::uint(self.text(piece), at)?;
                self.node(at, Kind::Literal(value))
            }
            Token::String => {
                self.advance();
                let value = literal::string(self.text(piece), at)?;
                self.node(at, Kind::Literal(value))
            }
            Token::Bytes => {
                self.advance();
                let value = literal::bytes(self.text(piece), at)?;
                self.node(at, Kind::Literal(value))
            }
            Token::Ident => self.ident(false),
            Token::Symbol(".") => {
                self.advance();
                self.ident(true)
            }
            Token::Symbol("(") => {
                self.advance();
                let inner = self.expression()?;
                self.expect(")")?;
                Ok(inner)
            }
            Token::Symbol("[") => self.list(),
            Token::Symbol("{") => self.map(),
            _ => Err(self.unexpected("an expression")),
        }
    }

    fn number(&mut self, negative: bool, at: u32) -> Parsed {
        let piece = self.advance();
        let value = match piece.token {
            Token::Int => literal::int(self.text(piece), negative, at)?,
            _ => literal::double(self.text(piece), negative, at)?,
        };
        self.node(at, Kind::Literal(value))
    }

    fn ident(&mut self, dotted: bool) -> Parsed {
        let piece = self.name()?;
        let at = piece.start as u32;
        let word = self.text(piece);
        let literal = match word {
            "true" => Some(Literal::Bool(true)),
            "false" => Some(Literal::Bool(false)),
            "null" => Some(Literal::Null),
            _ => None,
        };
        if let Some(literal) = literal
            && !dotted
        {
            return self.node(at, Kind::Literal(literal));
        }
        if RESERVED.contains(&word) {
            return Err(Fault::new(at, format!("reserved identifier: {word}")));
        }
        let name: Arc<str> = if dotted {
            format!(".{word}").into()
        } else {
            word.into()
        };
        if let Some(open) = self.at("(") {
            let arguments = self.arguments()?;
            let kind = macros::global(word, arguments)?;
            return self.node(open, kind);
        }
        if let Some((message, at)) = self.message_name(piece) {
            return Err(Fault::new(
                at,
                format!("undeclared reference to '{message}' (in container '')"),
            ));
        }
        self.node(at, Kind::Ident(name))
    }

    /// The name before the brace of `Name.Of.Message{…}`: there are no messages to construct.
    fn message_name(&self, first: Piece) -> Option<(&'s str, u32)> {
        let mut i = self.next;
        while self.pieces.get(i)?.token == Token::Symbol(".")
            && self.pieces.get(i + 1)?.token == Token::Ident
        {
            i += 2;
        }
        let brace = self.pieces.get(i)?;
        (brace.token == Token::Symbol("{")).then(|| {
            (
                &self.source[first.start..self.pieces[i - 1].end],
                brace.start as u32,
            )
        })
    }

    /// The grammar takes `[,]` and `{,}` for empty.
    fn lone_comma(&mut self, close: &'static str) {
        let after = self.pieces.get(self.next + 1).map(|piece| piece.token);
        if self.peek().token == Token::Symbol(",") && after == Some(Token::Symbol(close)) {
            self.advance();
        }
    }

    fn list(&mut self) -> Parsed {
        let at = self.advance().start as u32;
        let mut items = Vec::new();
        self.lone_comma("]");
        loop {
            if self.at("]").is_some() {
                break;
            }
            let optional = self.at("?").is_some();
            items.push((self.expression()?, optional));
            if self.at(",").is_none() {
                self.expect("]")?;
                break;
            }
        }
        self.node(at, Kind::List(items))
    }

    fn map(&mut self) -> Parsed {
        let at = self.advance().start as u32;
        let mut entries = Vec::new();
        self.lone_comma("}");
        loop {
            if self.at("}").is_some() {
                break;
            }
            let optional = self.at("?").is_some();
            let key = self.expression()?;
            self.expect(":")?;
            entries.push((key, self.expression()?, optional));
            if self.at(",").is_none() {
                self.expect("}")?;
                break;
            }
        }
        self.node(at, Kind::Map(entries))
    }
}

fn too_deep(at: u32) -> Fault {
    Fault::new(at, "max recursion depth exceeded")
}
