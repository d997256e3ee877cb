//! What functions do with text. Whatever could grow much is measured before it is made.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::MAX_OUTPUT;
use super::value::Outcome;

pub(super) fn too_long() -> String {
    format!("the text would be longer than {MAX_OUTPUT} bytes")
}

fn fits(len: usize) -> Outcome<()> {
    if len > MAX_OUTPUT {
        Err(too_long())
    } else {
        Ok(())
    }
}

/// Go's quoted form of a text.
pub(super) fn go_quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            c if (c as u32) < 0x20 || c == '\x7f' => {
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            c if c.is_control()
                || matches!(
                    c,
                    '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{a0}' | '\u{200b}'..='\u{200f}'
                ) =>
            {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

pub(super) fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\0' => out.push('\u{fffd}'),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
    out
}

pub(super) fn js(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '"' => out.push_str("\\\""),
            '<' | '>' | '&' | '=' => {
                let _ = write!(out, "\\u{:04X}", c as u32);
            }
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", c as u32);
            }
            c => out.push(c),
        }
    }
    out
}

pub(super) fn url(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(byte as char);
            }
            b' ' => out.push('+'),
            byte => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

pub(super) fn encode(text: &str) -> String {
    STANDARD.encode(text)
}

pub(super) fn decode(text: &str) -> Outcome<String> {
    let bytes = STANDARD
        .decode(text)
        .map_err(|_| "the text is not base64".to_owned())?;
    String::from_utf8(bytes).map_err(|_| "what is encoded is not text".to_owned())
}

pub(super) fn sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

pub(super) fn repeat(count: usize, text: &str) -> Outcome<String> {
    fits(count.saturating_mul(text.len()))?;
    Ok(text.repeat(count))
}

/// Every `old` becomes `new`.
pub(super) fn replace(old: &str, new: &str, text: &str) -> Outcome<String> {
    let found = text.matches(old).count();
    fits(text.len().saturating_add(found.saturating_mul(new.len())))?;
    Ok(text.replace(old, new))
}

/// Every line moved to the right, also the first.
pub(super) fn indent(by: usize, text: &str) -> Outcome<String> {
    let lines = text.matches('\n').count() + 1;
    fits(text.len().saturating_add(lines.saturating_mul(by)))?;
    let blanks = " ".repeat(by);
    Ok(format!(
        "{blanks}{}",
        text.replace('\n', &format!("\n{blanks}"))
    ))
}

/// Parts between separators; without a separator, the characters.
pub(super) fn split<'t>(separator: &str, text: &'t str) -> Vec<&'t str> {
    if separator.is_empty() {
        return text
            .char_indices()
            .map(|(at, c)| &text[at..at + c.len_utf8()])
            .collect();
    }
    text.split(separator).collect()
}

fn char_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// From one byte to before another; a negative start is the beginning, a negative end the end.
pub(super) fn substr(from: i64, to: i64, text: &str) -> Outcome<&str> {
    let start = char_boundary(text, usize::try_from(from).unwrap_or(0));
    let end = match usize::try_from(to) {
        Ok(end) => char_boundary(text, end),
        Err(_) => text.len(),
    };
    text.get(start..end)
        .ok_or_else(|| "the end is before the start".to_owned())
}

/// JSON as Go writes it: safe within HTML.
pub(super) fn json(value: &serde_json::Value) -> String {
    // These characters are only ever found inside of texts.
    value
        .to_string()
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
}

/// The first so many bytes, or the last for a negative count; never half a character.
pub(super) fn trunc(count: i64, text: &str) -> &str {
    match usize::try_from(count) {
        Ok(count) => &text[..char_boundary(text, count)],
        Err(_) => {
            let count = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
            let mut start = text.len().saturating_sub(count);
            while !text.is_char_boundary(start) {
                start += 1;
            }
            &text[start..]
        }
    }
}

fn first_letters(text: &str, change: impl Fn(char) -> String) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for c in text.chars() {
        if inside {
            out.push(c);
        } else {
            out.push_str(&change(c));
        }
        inside = !c.is_whitespace();
    }
    out
}

pub(super) fn title(text: &str) -> String {
    first_letters(text, |c| c.to_uppercase().collect())
}

pub(super) fn untitle(text: &str) -> String {
    first_letters(text, |c| c.to_lowercase().collect())
}
