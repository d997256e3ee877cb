//! From a JSONPath's text to its segments. Filters look at the element only (`@`); functions are not known.

use serde_json::Value;

use super::{Comparison, MAX_LENGTH, Operand, Segment, Selector, Test};

/// How deep filters may nest.
const MAX_DEPTH: usize = 16;
/// How often a query may descend to all depths.
const MAX_DESCENTS: usize = 2;

pub(super) fn query(source: &str) -> Result<Vec<Segment>, String> {
    if source.len() > MAX_LENGTH {
        return Err(format!("it is longer than {MAX_LENGTH} bytes"));
    }
    let mut parser = Parser {
        chars: source.chars().collect(),
        at: 0,
    };
    parser.space();
    if !parser.eat('$') && !matches!(parser.peek(), Some('.' | '[')) {
        return Err("a path begins with $ or .".to_owned());
    }
    let segments = parser.segments(0)?;
    parser.space();
    if parser.peek().is_some() {
        return Err(parser.unexpected());
    }
    if segments.iter().filter(|s| s.descends).count() > MAX_DESCENTS {
        return Err(format!("more than {MAX_DESCENTS} times .. in one path"));
    }
    Ok(segments)
}

struct Parser {
    chars: Vec<char>,
    at: usize,
}

type Parse<T> = Result<T, String>;

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-') || !c.is_ascii()
}

impl Parser {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn eat(&mut self, c: char) -> bool {
        let eaten = self.peek() == Some(c);
        if eaten {
            self.at += 1;
        }
        eaten
    }

    fn eat_all(&mut self, text: &str) -> bool {
        let found = text
            .chars()
            .enumerate()
            .all(|(i, c)| self.chars.get(self.at + i) == Some(&c));
        if found {
            self.at += text.chars().count();
        }
        found
    }

    fn space(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    fn unexpected(&self) -> String {
        match self.peek() {
            Some(c) => format!(
                "unexpected {:?} at character {}",
                c.to_string(),
                self.at + 1
            ),
            None => "it ends too early".to_owned(),
        }
    }

    fn expect(&mut self, c: char) -> Parse<()> {
        self.space();
        if self.eat(c) {
            Ok(())
        } else {
            Err(format!("{}, where {c:?} should be", self.unexpected()))
        }
    }

    fn segments(&mut self, depth: usize) -> Parse<Vec<Segment>> {
        let mut segments = Vec::new();
        loop {
            let before = self.at;
            self.space();
            let (dotted, descends) = if self.eat_all("..") {
                (true, true)
            } else {
                (self.eat('.'), false)
            };
            let selectors = if self.peek() == Some('[') && (descends || !dotted) {
                self.brackets(depth)?
            } else if dotted && self.eat('*') {
                vec![Selector::Every]
            } else if dotted {
                vec![Selector::Name(self.name()?)]
            } else {
                self.at = before;
                return Ok(segments);
            };
            segments.push(Segment {
                descends,
                selectors,
            });
        }
    }

    fn name(&mut self) -> Parse<String> {
        let name: String = self.chars[self.at..]
            .iter()
            .take_while(|c| is_name(**c))
            .collect();
        if name.is_empty() {
            return Err(self.unexpected());
        }
        self.at += name.chars().count();
        Ok(name)
    }

    fn brackets(&mut self, depth: usize) -> Parse<Vec<Selector>> {
        self.expect('[')?;
        let mut selectors = Vec::new();
        loop {
            self.space();
            selectors.push(self.selector(depth)?);
            self.space();
            if self.eat(']') {
                return Ok(selectors);
            }
            self.expect(',')?;
        }
    }

    fn selector(&mut self, depth: usize) -> Parse<Selector> {
        match self.peek() {
            Some('\'' | '"') => Ok(Selector::Name(self.quoted()?)),
            Some('*') => {
                self.at += 1;
                Ok(Selector::Every)
            }
            Some('?') => {
                self.at += 1;
                Ok(Selector::Filter(self.any(depth)?))
            }
            _ => {
                let start = self.integer()?;
                self.space();
                if !self.eat(':') {
                    return start.map(Selector::Index).ok_or_else(|| self.unexpected());
                }
                self.space();
                let end = self.integer()?;
                self.space();
                let step = if self.eat(':') {
                    self.space();
                    self.integer()?
                } else {
                    None
                };
                Ok(Selector::Slice(start, end, step.unwrap_or(1)))
            }
        }
    }

    fn integer(&mut self) -> Parse<Option<i64>> {
        let text: String = self.chars[self.at..]
            .iter()
            .enumerate()
            .take_while(|(i, c)| c.is_ascii_digit() || (*i == 0 && **c == '-'))
            .map(|(_, c)| *c)
            .collect();
        if text.is_empty() {
            return Ok(None);
        }
        let number = text
            .parse()
            .map_err(|_| format!("bad number at character {}", self.at + 1))?;
        self.at += text.len();
        Ok(Some(number))
    }

    fn quoted(&mut self) -> Parse<String> {
        let start = self.at;
        let quote = self.peek();
        self.at += 1;
        let mut text = String::new();
        while let Some(c) = self.peek() {
            self.at += 1;
            match c {
                c if Some(c) == quote => return Ok(text),
                '\\' => {
                    let escaped = self.peek().ok_or_else(|| self.unexpected())?;
                    self.at += 1;
                    text.push(match escaped {
                        'n' => '\n',
                        't' => '\t',
                        'r' => '\r',
                        'b' => '\u{8}',
                        'f' => '\u{c}',
                        '\\' | '/' | '\'' | '"' | '.' => escaped,
                        'u' => self.unicode()?,
                        _ => return Err(format!("bad escape at character {}", self.at)),
                    });
                }
                c => text.push(c),
            }
        }
        Err(format!(
            "the quoted name at character {} is not closed",
            start + 1
        ))
    }

    fn unicode(&mut self) -> Parse<char> {
        let digits: String = self.chars.iter().skip(self.at).take(4).collect();
        self.at += 4;
        u32::from_str_radix(&digits, 16)
            .ok()
            .and_then(char::from_u32)
            .ok_or_else(|| format!("bad escape at character {}", self.at - 4))
    }

    fn any(&mut self, depth: usize) -> Parse<Test> {
        if depth >= MAX_DEPTH {
            return Err(format!("filters nest deeper than {MAX_DEPTH} levels"));
        }
        let mut tests = vec![self.all(depth)?];
        loop {
            self.space();
            if !self.eat_all("||") {
                return Ok(single(tests, Test::Any));
            }
            tests.push(self.all(depth)?);
        }
    }

    fn all(&mut self, depth: usize) -> Parse<Test> {
        let mut tests = vec![self.test(depth)?];
        loop {
            self.space();
            if !self.eat_all("&&") {
                return Ok(single(tests, Test::All));
            }
            tests.push(self.test(depth)?);
        }
    }

    fn test(&mut self, depth: usize) -> Parse<Test> {
        self.space();
        if depth >= MAX_DEPTH {
            return Err(format!("filters nest deeper than {MAX_DEPTH} levels"));
        }
        if self.peek() == Some('!') {
            self.at += 1;
            return Ok(Test::Not(Box::new(self.test(depth + 1)?)));
        }
        if self.eat('(') {
            let inner = self.any(depth + 1)?;
            self.expect(')')?;
            return Ok(inner);
        }
        let left = self.operand(depth)?;
        self.space();
        let comparison = [
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ]
        .into_iter()
        .find(|(sign, _)| self.eat_all(sign));
        match (comparison, left) {
            (Some((_, comparison)), left) => {
                self.space();
                Ok(Test::Compare(left, comparison, self.operand(depth)?))
            }
            (None, Operand::Path(path)) => Ok(Test::Exists(path)),
            (None, Operand::Literal(_)) => Err(self.unexpected()),
        }
    }

    fn operand(&mut self, depth: usize) -> Parse<Operand> {
        match self.peek() {
            Some('@') => {
                self.at += 1;
                let path = self.segments(depth + 1)?;
                if path.iter().any(|s| s.descends) {
                    return Err("a filter does not descend with ..".to_owned());
                }
                Ok(Operand::Path(path))
            }
            Some('$') => Err("filters look at the element only: write @".to_owned()),
            Some('\'' | '"') => Ok(Operand::Literal(self.quoted()?.into())),
            _ => {
                for (word, value) in [
                    ("true", Value::Bool(true)),
                    ("false", Value::Bool(false)),
                    ("null", Value::Null),
                ] {
                    if self.eat_all(word) {
                        return Ok(Operand::Literal(value));
                    }
                }
                let text: String = self.chars[self.at..]
                    .iter()
                    .take_while(|c| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E'))
                    .collect();
                let number: Value = serde_json::from_str(&text).map_err(|_| self.unexpected())?;
                self.at += text.len();
                Ok(Operand::Literal(number))
            }
        }
    }
}

fn single(mut tests: Vec<Test>, many: fn(Vec<Test>) -> Test) -> Test {
    match tests.len() {
        1 => tests.remove(0),
        _ => many(tests),
    }
}
