//! Tokens: pieces of the text and what they are.

use super::Fault;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Ident,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    /// An operator or bracket: the text itself says which.
    Symbol(&'static str),
    End,
}

/// A token and the bytes it covers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub(super) token: Token,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Longer symbols before their prefixes.
const SYMBOLS: [&str; 24] = [
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "[", "]", "{", "}", "(", ")", ".", ",", "-", "!",
    "?", ":", "+", "*", "/", "%",
];

pub(super) fn tokens(source: &str) -> Result<Vec<Piece>, Fault> {
    let bytes = source.as_bytes();
    let mut pieces = Vec::new();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte.is_ascii_whitespace() {
            at += 1;
        } else if source[at..].starts_with("//") {
            at = source[at..]
                .find('\n')
                .map_or(source.len(), |length| at + length);
        } else {
            if byte == b'`'
                && pieces
                    .last()
                    .is_some_and(|piece: &Piece| piece.token == Token::Symbol("."))
            {
                return Err(Fault::new(at as u32, "unsupported syntax: '`'"));
            }
            let (token, end) = token(source, at)?;
            pieces.push(Piece {
                token,
                start: at,
                end,
            });
            at = end;
        }
    }
    pieces.push(Piece {
        token: Token::End,
        start: source.len(),
        end: source.len(),
    });
    Ok(pieces)
}

fn token(source: &str, at: usize) -> Result<(Token, usize), Fault> {
    let rest = &source.as_bytes()[at..];
    let quote = |skip: usize| matches!(rest.get(skip), Some(b'"' | b'\''));
    let letter = |skip: usize, of: &[u8]| rest.get(skip).is_some_and(|b| of.contains(b));
    if quote(0) || (letter(0, b"rR") && quote(1)) {
        return text(source, at, usize::from(!quote(0))).map(|end| (Token::String, end));
    }
    if letter(0, b"bB") && (quote(1) || (letter(1, b"rR") && quote(2))) {
        return text(source, at, if quote(1) { 1 } else { 2 }).map(|end| (Token::Bytes, end));
    }
    if rest[0].is_ascii_digit() || (rest[0] == b'.' && rest.get(1).is_some_and(u8::is_ascii_digit))
    {
        return Ok(number(source, at));
    }
    if rest[0].is_ascii_alphabetic() || rest[0] == b'_' {
        let length = rest
            .iter()
            .position(|b| !b.is_ascii_alphanumeric() && *b != b'_')
            .unwrap_or(rest.len());
        let word = &source[at..at + length];
        return Ok((
            if word == "in" {
                Token::Symbol("in")
            } else {
                Token::Ident
            },
            at + length,
        ));
    }
    match SYMBOLS
        .iter()
        .find(|symbol| source[at..].starts_with(**symbol))
    {
        Some(symbol) => Ok((Token::Symbol(symbol), at + symbol.len())),
        None => {
            let shown: String = source[at..].chars().take(1).collect();
            Err(Fault::new(
                at as u32,
                format!("Syntax error: token recognition error at: '{shown}'"),
            ))
        }
    }
}

/// The end of a quoted text that starts (with `prefix` letters before the quote) at `at`.
fn text(source: &str, at: usize, prefix: usize) -> Result<usize, Fault> {
    let bytes = source.as_bytes();
    let raw = bytes[at..at + prefix]
        .iter()
        .any(|b| matches!(b, b'r' | b'R'));
    let open = at + prefix;
    let quote = bytes[open];
    let long = bytes.get(open + 1) == Some(&quote) && bytes.get(open + 2) == Some(&quote);
    let mut i = open + if long { 3 } else { 1 };
    while let Some(&byte) = bytes.get(i) {
        match byte {
            b'\\' if !raw => i += 2,
            b if b == quote && !long => return Ok(i + 1),
            b if b == quote
                && bytes.get(i + 1) == Some(&quote)
                && bytes.get(i + 2) == Some(&quote) =>
            {
                return Ok(i + 3);
            }
            b'\n' | b'\r' if !long => break,
            _ => i += 1,
        }
    }
    Err(Fault::new(at as u32, "Syntax error: a text is not closed"))
}

fn number(source: &str, at: usize) -> (Token, usize) {
    let bytes = source.as_bytes();
    let digits = |mut i: usize, hex: bool| {
        while bytes.get(i).is_some_and(|b| {
            if hex {
                b.is_ascii_hexdigit()
            } else {
                b.is_ascii_digit()
            }
        }) {
            i += 1;
        }
        i
    };
    let unsigned = |end: usize| match bytes.get(end) {
        Some(b'u' | b'U') => (Token::Uint, end + 1),
        _ => (Token::Int, end),
    };
    if source[at..].starts_with("0x") && bytes.get(at + 2).is_some_and(u8::is_ascii_hexdigit) {
        return unsigned(digits(at + 2, true));
    }
    let whole = digits(at, false);
    let mut end = whole;
    if bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit) {
        end = digits(end + 1, false);
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        if bytes.get(end + 1 + sign).is_some_and(u8::is_ascii_digit) {
            end = digits(end + 1 + sign, false);
        }
    }
    if end == whole {
        unsigned(end)
    } else {
        (Token::Double, end)
    }
}
