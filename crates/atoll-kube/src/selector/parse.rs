//! The query-string grammar of label selectors, with Kubernetes' error texts.

use super::label::{Operator, Requirement};
use crate::names::is_qualified_name;
use crate::status::FieldError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Word,
    In,
    NotIn,
    Open,
    Close,
    Comma,
    Not,
    Equals,
    DoubleEquals,
    NotEquals,
    Greater,
    Less,
    End,
    Error,
}

const SYMBOLS: [(&str, Token); 9] = [
    ("==", Token::DoubleEquals),
    ("!=", Token::NotEquals),
    ("=", Token::Equals),
    ("!", Token::Not),
    ("(", Token::Open),
    (")", Token::Close),
    (",", Token::Comma),
    (">", Token::Greater),
    ("<", Token::Less),
];

fn is_symbol(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

struct Parser<'a> {
    rest: &'a str,
}

/// The requirements of `query`, in its order.
pub(super) fn requirements(query: &str) -> Result<Vec<Requirement>, String> {
    let mut parser = Parser { rest: query };
    let mut out = Vec::new();
    loop {
        match parser.peek() {
            (Token::Word | Token::Not, _) => {
                let requirement = parser
                    .requirement()
                    .map_err(|e| format!("unable to parse requirement: {e}"))?;
                out.push(requirement);
                match parser.next() {
                    (Token::End, _) => return Ok(out),
                    (Token::Comma, _) => {
                        let (token, text) = parser.peek();
                        if !matches!(token, Token::Word | Token::Not) {
                            return Err(format!("found '{text}', expected: identifier after ','"));
                        }
                    }
                    (_, text) => {
                        return Err(format!("found '{text}', expected: ',' or 'end of string'"));
                    }
                }
            }
            (Token::End, _) => return Ok(out),
            (_, text) => {
                return Err(format!(
                    "found '{text}', expected: !, identifier, or 'end of string'"
                ));
            }
        }
    }
}

impl<'a> Parser<'a> {
    /// The next token, with `in` and `notin` as what they are.
    fn next_operator(&mut self) -> (Token, &'a str) {
        self.rest = self.rest.trim_start_matches(is_space);
        let Some(first) = self.rest.chars().next() else {
            return (Token::End, "");
        };
        if is_symbol(first) {
            for (text, token) in SYMBOLS {
                if let Some(rest) = self.rest.strip_prefix(text) {
                    let taken = &self.rest[..text.len()];
                    self.rest = rest;
                    return (token, taken);
                }
            }
            return (Token::Error, self.rest);
        }
        let end = self
            .rest
            .find(|c| is_symbol(c) || is_space(c))
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        match word {
            "in" => (Token::In, word),
            "notin" => (Token::NotIn, word),
            _ => (Token::Word, word),
        }
    }

    /// The next token where an operator cannot stand: `in` and `notin` are words.
    fn next(&mut self) -> (Token, &'a str) {
        match self.next_operator() {
            (Token::In | Token::NotIn, text) => (Token::Word, text),
            other => other,
        }
    }

    fn peek(&self) -> (Token, &'a str) {
        Parser { rest: self.rest }.next()
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let (mut token, mut key) = self.next();
        let negated = token == Token::Not;
        if negated {
            (token, key) = self.next();
        }
        if token != Token::Word {
            return Err(format!("found '{key}', expected: identifier"));
        }
        is_qualified_name(key).map_err(|why| FieldError::invalid("<nil>", key, why).to_string())?;
        if negated {
            return Requirement::new(key, Operator::DoesNotExist, Vec::new());
        }
        if matches!(self.peek().0, Token::End | Token::Comma) {
            return Requirement::new(key, Operator::Exists, Vec::new());
        }
        let operator = match self.next_operator() {
            (Token::In, _) => Operator::In,
            (Token::NotIn, _) => Operator::NotIn,
            (Token::Equals, _) => Operator::Equals,
            (Token::DoubleEquals, _) => Operator::DoubleEquals,
            (Token::NotEquals, _) => Operator::NotEquals,
            (Token::Greater, _) => Operator::GreaterThan,
            (Token::Less, _) => Operator::LessThan,
            (_, text) => {
                return Err(format!(
                    "found '{text}', expected: in, notin, =, ==, !=, gt, lt"
                ));
            }
        };
        let values = match operator {
            Operator::In | Operator::NotIn => self.values()?,
            _ => self.value()?,
        };
        Requirement::new(key, operator, values)
    }

    fn value(&mut self) -> Result<Vec<String>, String> {
        if matches!(self.peek().0, Token::End | Token::Comma) {
            return Ok(vec![String::new()]);
        }
        match self.next() {
            (Token::Word, text) => Ok(vec![text.to_owned()]),
            (_, text) => Err(format!("found '{text}', expected: identifier")),
        }
    }

    /// `(a, b)`; an empty place between separators is an empty value.
    fn values(&mut self) -> Result<Vec<String>, String> {
        match self.next() {
            (Token::Open, _) => {}
            (_, text) => return Err(format!("found '{text}' expected: '('")),
        }
        if !matches!(self.peek().0, Token::Word | Token::Comma | Token::Close) {
            return Err(format!(
                "found '{}', expected: ',', ')' or identifier",
                self.peek().1
            ));
        }
        let mut values: Vec<String> = Vec::new();
        let mut add = |value: &str| {
            if !values.iter().any(|v| v == value) {
                values.push(value.to_owned());
            }
        };
        let mut empty_so_far = true;
        loop {
            match self.next() {
                (Token::Word, text) => {
                    add(text);
                    empty_so_far = false;
                    match self.peek() {
                        (Token::Comma, _) => {}
                        (Token::Close, _) => break,
                        (_, text) => return Err(format!("found '{text}', expected: ',' or ')'")),
                    }
                }
                (Token::Comma, _) => {
                    let next = self.peek().0;
                    if empty_so_far || matches!(next, Token::Close | Token::Comma) {
                        add("");
                        empty_so_far = false;
                    }
                    if next == Token::Close {
                        break;
                    }
                }
                (Token::Close, _) if empty_so_far => return Ok(vec![String::new()]),
                (_, text) => return Err(format!("found '{text}', expected: ',', or identifier")),
            }
        }
        self.next(); // the closing parenthesis seen above
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use crate::selector::LabelSelector;
    use proptest::prelude::*;

    #[test]
    fn selectors_parse_as_kubernetes_parses_them() {
        let check = |query: &str, expected: Result<&str, &str>| {
            let found = LabelSelector::parse_query(query).map(|s| s.to_string());
            match (&found, expected) {
                (Ok(text), Ok(want)) => assert_eq!(text, want, "{query}"),
                (Err(text), Err(want)) => assert!(text.starts_with(want), "{query}: {text}"),
                _ => panic!("{query}: {found:?}"),
            }
        };
        check("", Ok(""));
        check("b=x, a == y", Ok("a==y,b=x"));
        check("x in (b, a)", Ok("x in (a,b)"));
        check("x notin (a)", Ok("x notin (a)"));
        check("x in ()", Ok("x in ()"));
        check("x in (,a)", Ok("x in (,a)"));
        check("x in (a,)", Ok("x in (,a)"));
        check("x in (a,,b)", Ok("x in (,a,b)"));
        check("in in (in)", Ok("in in (in)"));
        check("x=", Ok("x="));
        check("x=,y", Ok("x=,y"));
        check("!x,y", Ok("!x,y"));
        check("x>1,y<2", Ok("x>1,y<2"));
        check("example.com/x!=y", Ok("example.com/x!=y"));
        check(
            "x=a||y=b",
            Err("unable to parse requirement: values[0][x]: Invalid value: \"a||y\""),
        );
        check(
            "x==a==b",
            Err("found '==', expected: ',' or 'end of string'"),
        );
        check(
            "x a",
            Err("unable to parse requirement: found 'a', expected: in, notin, =, ==, !=, gt, lt"),
        );
        check(
            "x in a",
            Err("unable to parse requirement: found 'a' expected: '('"),
        );
        check(
            "x in (a",
            Err("unable to parse requirement: found '', expected: ',' or ')'"),
        );
        check(
            "x in (a b)",
            Err("unable to parse requirement: found 'b', expected: ',' or ')'"),
        );
        check("x,", Err("found '', expected: identifier after ','"));
        check(
            ",x",
            Err("found ',', expected: !, identifier, or 'end of string'"),
        );
        check(
            "!",
            Err("unable to parse requirement: found '', expected: identifier"),
        );
        check(
            "x>a",
            Err(
                "unable to parse requirement: values[0]: Invalid value: \"a\": for 'Gt', 'Lt' operators, the value must be an integer",
            ),
        );
        check(
            "-x=a",
            Err(
                "unable to parse requirement: <nil>: Invalid value: \"-x\": name part must consist",
            ),
        );
        check("x=a b", Err("found 'b', expected: ',' or 'end of string'"));
    }

    proptest! {
        #[test]
        fn printing_and_parsing_are_inverse(
            terms in prop::collection::vec(("[a-z]{1,3}", 0..6u8, prop::collection::vec("[a-z0-9]{0,3}", 1..4)), 0..5)
        ) {
            let query: Vec<String> = terms.iter().map(|(key, kind, values)| match kind {
                0 => key.clone(),
                1 => format!("!{key}"),
                2 => format!("{key}={}", values[0]),
                3 => format!("{key}!={}", values[0]),
                4 => format!("{key} in ({})", values.join(",")),
                _ => format!("{key} notin ({})", values.join(",")),
            }).collect();
            let selector = LabelSelector::parse_query(&query.join(",")).unwrap();
            prop_assert_eq!(LabelSelector::parse_query(&selector.to_string()).unwrap(), selector);
        }

        #[test]
        fn no_input_panics(query in ".{0,40}") {
            let _ = LabelSelector::parse_query(&query);
        }
    }
}
