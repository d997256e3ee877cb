//! `string.format`: `%s`, `%d`, `%f`, `%e`, `%b`, `%x`, `%X`, `%o`.

use super::{Charge, Entry, convert, entry};
use crate::eval::machine::{Evaluated, Machine, Stop};
use crate::eval::val::{List, Mapping, Text, Val};

pub(super) const TABLE: &[Entry] = &[entry(
    "format",
    Charge::Format,
    format_call,
    &["string_format: string.(list(dyn)) -> string"],
)];

const STRINGS: &str = "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps, was given ";

/// One piece of a format: text as it is, or a clause.
#[derive(Debug)]
pub(crate) enum Piece<'t> {
    Text(&'t str),
    Clause { letter: char, precision: usize },
}

/// The pieces of a format; in words what is wrong with it.
pub(crate) fn pieces(format: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut pieces = Vec::new();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        pieces.push(Piece::Text(&rest[..at]));
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            pieces.push(Piece::Text("%"));
            rest = after;
            continue;
        }
        let mut precision = 6;
        if let Some(after) = rest.strip_prefix('.') {
            let end = after
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(after.len());
            precision = after[..end]
                .parse()
                .map_err(|_| "error while converting precision to integer".to_owned())?;
            rest = &after[end..];
        }
        let letter = rest.chars().next().ok_or("unexpected end of string")?;
        if !"sdfebxXo".contains(letter) {
            return Err(format!(
                "could not parse formatting clause: unrecognized formatting clause \"{letter}\""
            ));
        }
        pieces.push(Piece::Clause { letter, precision });
        rest = &rest[letter.len_utf8()..];
    }
    pieces.push(Piece::Text(rest));
    Ok(pieces)
}

fn format_call<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    let [Val::Text(format), Val::List(list)] = arguments else {
        return Err(Stop::no_overload());
    };
    machine.allocate(format.as_str().len().saturating_mul(4))?;
    let mut out = Out {
        machine,
        text: String::new(),
    };
    let mut next = 0;
    for piece in pieces(format.as_str()).map_err(Stop::fault)? {
        match piece {
            Piece::Text(text) => out.push(text)?,
            Piece::Clause { letter, precision } => {
                let argument = list
                    .get(next)
                    .ok_or_else(|| Stop::fault(format!("index {next} out of range")))??;
                next += 1;
                out.clause(letter, precision, &argument)?;
            }
        }
    }
    let text = out.text;
    Ok(Val::text(text))
}

struct Out<'m> {
    machine: &'m mut Machine,
    text: String,
}

impl Out<'_> {
    fn push(&mut self, text: &str) -> Evaluated<()> {
        self.machine.walk(text.len())?;
        self.machine.allocate(text.len())?;
        self.text.push_str(text);
        Ok(())
    }

    fn clause(&mut self, letter: char, precision: usize, value: &Val<'_>) -> Evaluated<()> {
        if precision > 1000 {
            return Err(Stop::fault("precision is too large"));
        }
        let wrong = |what: &str| {
            Err(Stop::fault(format!(
                "error during formatting: {what}, was given {}",
                value.type_name()
            )))
        };
        let text = match (letter, value) {
            ('s', value) => return self.value(value, false),
            ('d', Val::Int(i)) => i.to_string(),
            ('d', Val::Uint(u)) => u.to_string(),
            ('d', _) => return wrong("decimal clause can only be used on integers"),
            ('f' | 'e', value) => match (float(value), letter) {
                (Some(d), _) if !d.is_finite() => if d.is_nan() {
                    "NaN"
                } else if d > 0.0 {
                    "∞"
                } else {
                    "-∞"
                }
                .to_owned(),
                (Some(d), 'f') => grouped(&format!("{d:.precision$}")),
                // What is written as the precision is, upstream, a width.
                (Some(d), _) => scientific(d),
                (None, 'f') => return wrong("fixed-point clause can only be used on doubles"),
                (None, _) => return wrong("scientific clause can only be used on doubles"),
            },
            ('b', Val::Int(i)) => signed(*i, |u| format!("{u:b}")),
            ('b', Val::Uint(u)) => format!("{u:b}"),
            ('b', Val::Bool(b)) => u8::from(*b).to_string(),
            ('b', _) => return wrong("only integers and bools can be formatted as binary"),
            ('o', Val::Int(i)) => signed(*i, |u| format!("{u:o}")),
            ('o', Val::Uint(u)) => format!("{u:o}"),
            ('o', _) => return wrong("octal clause can only be used on integers"),
            (_, Val::Int(i)) => cased(letter, signed(*i, |u| format!("{u:x}"))),
            (_, Val::Uint(u)) => cased(letter, format!("{u:x}")),
            (_, Val::Text(text)) => self.hex(letter, text.as_str().as_bytes())?,
            (_, Val::Bytes(bytes)) => self.hex(letter, bytes)?,
            (_, _) => {
                return wrong("only integers, byte buffers, and strings can be formatted as hex");
            }
        };
        self.push(&text)
    }

    fn hex(&mut self, letter: char, bytes: &[u8]) -> Evaluated<String> {
        self.machine.allocate(bytes.len().saturating_mul(2))?;
        self.machine.walk(bytes.len())?;
        Ok(cased(
            letter,
            bytes.iter().map(|b| format!("{b:02x}")).collect(),
        ))
    }

    /// A value as `%s` writes it; within a list or map as it would be written in an expression.
    fn value(&mut self, value: &Val<'_>, inside: bool) -> Evaluated<()> {
        let text = match value {
            Val::Null => "null".to_owned(),
            Val::Bool(b) => b.to_string(),
            Val::Int(i) => i.to_string(),
            Val::Uint(u) => u.to_string(),
            Val::Double(d) if inside && d.is_finite() => format!("{d:.6}"),
            Val::Double(d) if inside => format!("{:?}", convert::go_float(*d)),
            Val::Double(d) => convert::go_float(*d),
            Val::Text(text) if inside => return self.quoted(text.as_str()),
            Val::Text(text) => return self.push(text.as_str()),
            Val::Bytes(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) if inside => {
                    self.push("b")?;
                    return self.quoted(text);
                }
                Ok(text) => return self.push(text),
                Err(_) => {
                    return Err(Stop::fault(
                        "invalid UTF-8 in bytes, cannot convert to string",
                    ));
                }
            },
            Val::Timestamp(t) if inside => format!("timestamp(\"{t}\")"),
            Val::Timestamp(t) => t.to_string(),
            Val::Duration(_) => {
                let Val::Text(text) = convert::duration_value(value)? else {
                    return Err(Stop::no_overload());
                };
                if inside {
                    format!("duration(\"{}\")", text.as_str())
                } else {
                    text.as_str().to_owned()
                }
            }
            Val::List(list) => return self.nested(|out| out.list(list)),
            Val::Map(map) => return self.nested(|out| out.map(map)),
            Val::Type(name) => name.as_str().to_owned(),
            Val::Optional(_) | Val::Opaque(_) => {
                return Err(Stop::fault(format!(
                    "error during formatting: {STRINGS}{}",
                    value.type_name()
                )));
            }
        };
        self.push(&text)
    }

    fn nested(&mut self, inside: impl FnOnce(&mut Out<'_>) -> Evaluated<()>) -> Evaluated<()> {
        let Out { machine, text } = self;
        machine.nested(|machine| {
            let mut out = Out {
                machine,
                text: std::mem::take(text),
            };
            let result = inside(&mut out);
            *text = out.text;
            result
        })
    }

    fn quoted(&mut self, text: &str) -> Evaluated<()> {
        self.machine.allocate(text.len())?;
        let quoted = go_quote(text);
        self.push(&quoted)
    }

    fn list(&mut self, list: &List<'_>) -> Evaluated<()> {
        self.push("[")?;
        for (index, item) in list.iter().enumerate() {
            if index > 0 {
                self.push(", ")?;
            }
            self.value(&item?, true)?;
        }
        self.push("]")
    }

    fn map(&mut self, map: &Mapping<'_>) -> Evaluated<()> {
        let mut entries = Vec::new();
        self.machine.allocate_values(map.len().saturating_mul(2))?;
        for key in map.keys() {
            let written = match key.to_val() {
                Val::Text(Text::Borrowed(text)) => go_quote(text),
                Val::Text(Text::Shared(text)) => go_quote(&text),
                _ => key.to_string(),
            };
            self.machine.allocate(written.len())?;
            entries.push((written, key));
        }
        entries.sort();
        self.push("{")?;
        for (index, (written, key)) in entries.iter().enumerate() {
            if index > 0 {
                self.push(", ")?;
            }
            self.push(written)?;
            self.push(":")?;
            if let Some(value) = map.get(key) {
                self.value(&value?, true)?;
            }
        }
        self.push("}")
    }
}

fn float(value: &Val<'_>) -> Option<f64> {
    match value {
        Val::Double(d) => Some(*d),
        Val::Text(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

/// English groups of thousands.
fn grouped(number: &str) -> String {
    let (sign, unsigned) = number
        .strip_prefix('-')
        .map_or(("", number), |unsigned| ("-", unsigned));
    let (whole, fraction) = unsigned
        .split_once('.')
        .map_or((unsigned, None), |(whole, fraction)| {
            (whole, Some(fraction))
        });
    let mut out = sign.to_owned();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

/// The English way: `1.052033×10⁰³`.
fn scientific(d: f64) -> String {
    let written = format!("{d:.6e}");
    let (digits, exponent) = written.split_once('e').unwrap_or((&written, "0"));
    let (sign, exponent) = exponent
        .strip_prefix('-')
        .map_or(("", exponent), |exponent| ("⁻", exponent));
    let raised: String = format!("{exponent:0>2}")
        .chars()
        .filter_map(|c| c.to_digit(10))
        .filter_map(|digit| "⁰¹²³⁴⁵⁶⁷⁸⁹".chars().nth(digit as usize))
        .collect();
    format!("{digits}×10{sign}{raised}")
}

fn signed(i: i64, digits: impl Fn(u64) -> String) -> String {
    let digits = digits(i.unsigned_abs());
    if i < 0 { format!("-{digits}") } else { digits }
}

fn cased(letter: char, text: String) -> String {
    if letter == 'X' {
        text.to_uppercase()
    } else {
        text
    }
}

/// A text in quotes, as Go's `%q` writes it.
fn go_quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => {
                out.push_str(&format!("\\x{:02x}", c as u32))
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
