//! From a template's text to tokens: plain text between actions, and within actions the words of Go's template language.

use super::Fault;

/// A token and the byte offset where it starts.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// Text outside of actions, whitespace trimmed as its neighbours ask.
    Text(String),
    Open,
    Close,
    Identifier(String),
    /// `.name`
    Field(String),
    /// A dot alone.
    Dot,
    /// `$` or `$name`, without the dollar.
    Variable(String),
    Quoted(String),
    Int(i64),
    Float(f64),
    Pipe,
    LeftParen,
    RightParen,
    Declare,
    Assign,
    Comma,
    Space,
}

pub(super) type Spanned = (Token, usize);

pub(super) fn lex(source: &str) -> Result<Vec<Spanned>, Fault> {
    if source.len() > super::MAX_SOURCE {
        return Err(Fault::new(
            0,
            format!("a template has at most {} bytes", super::MAX_SOURCE),
        ));
    }
    let mut lexer = Lexer {
        source,
        at: 0,
        tokens: Vec::new(),
    };
    lexer.run()?;
    Ok(lexer.tokens)
}

struct Lexer<'s> {
    source: &'s str,
    at: usize,
    tokens: Vec<Spanned>,
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        self.source.get(self.at..).unwrap_or_default()
    }

    fn run(&mut self) -> Result<(), Fault> {
        // Whether the action before asked to trim what follows it.
        let mut trim_start = false;
        loop {
            let rest = self.rest();
            let open = rest.find("{{");
            let mut text = &rest[..open.unwrap_or(rest.len())];
            let start = self.at;
            if trim_start {
                text = text.trim_start_matches(is_space);
            }
            let Some(open) = open else {
                self.push_text(text, start);
                return Ok(());
            };
            let action = &rest[open + 2..];
            let trims = action.starts_with('-') && action[1..].starts_with(is_space);
            if trims {
                text = text.trim_end_matches(is_space);
            }
            self.push_text(text, start);
            let opened = start + open;
            self.at = opened + 2 + if trims { 2 } else { 0 };
            trim_start = if self.rest().starts_with("/*") {
                self.comment(opened)?
            } else {
                self.tokens.push((Token::Open, opened));
                self.action(opened)?
            };
        }
    }

    fn push_text(&mut self, text: &str, at: usize) {
        if !text.is_empty() {
            self.tokens.push((Token::Text(text.to_owned()), at));
        }
    }

    fn comment(&mut self, opened: usize) -> Result<bool, Fault> {
        let rest = self.rest();
        let end = rest
            .find("*/")
            .ok_or_else(|| Fault::new(opened, "the comment is not closed"))?;
        self.at += end + 2;
        match self.close() {
            Some(trims) => Ok(trims),
            None => Err(Fault::new(
                opened,
                "a comment ends right before the closing braces: */}} or */ -}}",
            )),
        }
    }

    /// Takes `}}` or ` -}}`; says whether it trims.
    fn close(&mut self) -> Option<bool> {
        let rest = self.rest();
        if rest.starts_with(is_space) && rest[1..].starts_with("-}}") {
            self.at += 4;
            return Some(true);
        }
        if rest.starts_with("}}") {
            self.at += 2;
            return Some(false);
        }
        None
    }

    /// The inside of an action, up to and with its end; returns whether it trims what follows.
    fn action(&mut self, opened: usize) -> Result<bool, Fault> {
        loop {
            let at = self.at;
            if let Some(trims) = self.close() {
                self.tokens.push((Token::Close, at));
                return Ok(trims);
            }
            let Some(c) = self.rest().chars().next() else {
                return Err(Fault::new(opened, "{{ without }}"));
            };
            let token = self.token(c)?;
            self.tokens.push((token, at));
        }
    }

    fn token(&mut self, c: char) -> Result<Token, Fault> {
        let at = self.at;
        let single = |lexer: &mut Self, token| {
            lexer.at += 1;
            Ok(token)
        };
        match c {
            c if is_space(c) => {
                let rest = self.rest();
                // The last whitespace may belong to a trim marker.
                let spaces = rest.len() - rest.trim_start_matches(is_space).len();
                let marker = rest[spaces..].starts_with("-}}");
                let taken = if marker { spaces - 1 } else { spaces };
                if taken == 0 {
                    return Err(Fault::new(at, "unexpected \"-\""));
                }
                self.at += taken;
                Ok(Token::Space)
            }
            '|' => single(self, Token::Pipe),
            '(' => single(self, Token::LeftParen),
            ')' => single(self, Token::RightParen),
            ',' => single(self, Token::Comma),
            '=' => single(self, Token::Assign),
            ':' if self.rest().starts_with(":=") => {
                self.at += 2;
                Ok(Token::Declare)
            }
            '"' | '`' | '\'' => self.quoted(c),
            '$' => {
                self.at += 1;
                let name = self.word();
                self.after_word(at)?;
                Ok(Token::Variable(name))
            }
            '.' if !self.rest()[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                self.at += 1;
                let name = self.word();
                self.after_word(at)?;
                Ok(if name.is_empty() {
                    Token::Dot
                } else {
                    Token::Field(name)
                })
            }
            '.' | '+' | '-' | '0'..='9' => self.number(),
            c if is_word(c) => {
                let name = self.word();
                self.after_word(at)?;
                Ok(Token::Identifier(name))
            }
            c => Err(Fault::new(at, format!("unexpected {:?}", c.to_string()))),
        }
    }

    fn word(&mut self) -> String {
        let rest = self.rest();
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        self.at += end;
        rest[..end].to_owned()
    }

    /// A word ends where something that may stand beside it begins.
    fn after_word(&self, start: usize) -> Result<(), Fault> {
        let Some(c) = self.rest().chars().next() else {
            return Ok(());
        };
        if is_space(c) || matches!(c, '.' | ',' | '|' | ':' | '=' | '(' | ')' | '$') {
            return Ok(());
        }
        if self.rest().starts_with("}}") {
            return Ok(());
        }
        let word = self.source.get(start..self.at).unwrap_or_default();
        let hint = if word.starts_with('.') && matches!(c, '-' | '/') {
            "; a property whose name is no identifier is written index . \"the-name\""
        } else {
            ""
        };
        Err(Fault::new(
            self.at,
            format!("unexpected {:?} after {word:?}{hint}", c.to_string()),
        ))
    }

    fn number(&mut self) -> Result<Token, Fault> {
        let at = self.at;
        let rest = self.rest();
        let mut end = 0;
        let mut before = ' ';
        for c in rest.chars() {
            let exponent = matches!(before, 'e' | 'E') && !rest[..end].starts_with("0x");
            let sign = matches!(c, '+' | '-') && (end == 0 || exponent);
            if !(sign || c == '.' || is_word(c)) {
                break;
            }
            before = c;
            end += c.len_utf8();
        }
        self.at += end;
        let text = &rest[..end];
        number(text).ok_or_else(|| Fault::new(at, format!("bad number {text:?}")))
    }

    fn quoted(&mut self, quote: char) -> Result<Token, Fault> {
        let at = self.at;
        let unclosed = || Fault::new(at, "the quoted text is not closed");
        let rest = &self.rest()[1..];
        if quote == '`' {
            let end = rest.find('`').ok_or_else(unclosed)?;
            self.at += end + 2;
            return Ok(Token::Quoted(rest[..end].replace('\r', "")));
        }
        let mut text = String::new();
        let mut chars = rest.char_indices();
        while let Some((i, c)) = chars.next() {
            match c {
                c if c == quote => {
                    self.at += i + 2;
                    return self.closed(quote, text, at);
                }
                '\n' => return Err(unclosed()),
                '\\' => {
                    let (read, used) = escape(&rest[i + 1..], quote)
                        .ok_or_else(|| Fault::new(at + 1 + i, "bad escape in quoted text"))?;
                    text.push(read);
                    for _ in rest[i + 1..i + 1 + used].chars() {
                        chars.next();
                    }
                }
                c => text.push(c),
            }
        }
        Err(unclosed())
    }

    fn closed(&self, quote: char, text: String, at: usize) -> Result<Token, Fault> {
        if quote == '"' {
            return Ok(Token::Quoted(text));
        }
        let mut chars = text.chars();
        match (chars.next(), chars.next()) {
            (Some(c), None) => Ok(Token::Int(i64::from(u32::from(c)))),
            _ => Err(Fault::new(
                at,
                "one character stands in '', text in \"\" or ``",
            )),
        }
    }
}

/// A number as Go writes constants.
fn number(text: &str) -> Option<Token> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1i64, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let underscored = !lower.contains('_')
        || (!lower.starts_with('_') && !lower.ends_with('_') && !lower.contains("__"));
    if !underscored {
        return None;
    }
    let plain = lower.replace('_', "");
    let radix = [("0x", 16), ("0o", 8), ("0b", 2)]
        .into_iter()
        .find_map(|(prefix, radix)| Some((plain.strip_prefix(prefix)?, radix)));
    let whole = match radix {
        Some((digits, radix)) => i64::from_str_radix(digits, radix).ok(),
        None if plain.len() > 1 && plain.starts_with('0') && !plain.contains(['.', 'e']) => {
            i64::from_str_radix(&plain[1..], 8).ok()
        }
        None => plain
            .chars()
            .all(|c| c.is_ascii_digit())
            .then(|| plain.parse().ok())
            .flatten(),
    };
    if let Some(whole) = whole {
        return Some(Token::Int(whole.checked_mul(sign)?));
    }
    let decimal = plain
        .chars()
        .all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | '+' | '-'));
    let value: f64 = decimal.then(|| plain.parse().ok()).flatten()?;
    value
        .is_finite()
        .then(|| Token::Float(if sign < 0 { -value } else { value }))
}

/// One of Go's escapes, after its backslash; and how many bytes it took.
fn escape(rest: &str, quote: char) -> Option<(char, usize)> {
    let c = rest.chars().next()?;
    let simple = match c {
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        '\\' => '\\',
        c if c == quote => c,
        'x' | 'u' | 'U' => {
            let len = match c {
                'x' => 2,
                'u' => 4,
                _ => 8,
            };
            let digits = rest.get(1..=len)?;
            if !digits.chars().all(|d| d.is_ascii_hexdigit()) {
                return None;
            }
            let code = u32::from_str_radix(digits, 16).ok()?;
            // A lone byte above ASCII is no text.
            if c == 'x' && code > 0x7f {
                return None;
            }
            return Some((char::from_u32(code)?, len + 1));
        }
        '0'..='7' => {
            let digits = rest.get(..3)?;
            let code = u32::from_str_radix(digits, 8).ok().filter(|c| *c <= 0x7f)?;
            return Some((char::from_u32(code)?, 3));
        }
        _ => return None,
    };
    Some((simple, 1))
}
