//! How values look when printed: as Go prints them, with `print` and the common verbs of `printf`.

use std::fmt::Write;

use super::value::{Outcome, Val};

/// Wider than this nothing is padded.
const MAX_WIDTH: usize = 4096;

/// Go's `%v`.
pub(super) fn display(value: &Val<'_>) -> String {
    match value {
        Val::Text(text) => text.to_string(),
        Val::Int(i) => i.to_string(),
        Val::Float(f) => float(*f, 'g', None),
        Val::Bool(b) => b.to_string(),
        Val::List(items) => {
            let shown: Vec<String> = items.iter().map(display).collect();
            format!("[{}]", shown.join(" "))
        }
        Val::Absent(_) => String::new(),
    }
}

/// Go's `print`: blanks only between two operands neither of which is text.
pub(super) fn print(values: &[Val<'_>]) -> String {
    let mut out = String::new();
    let mut text_before = true;
    for value in values {
        let text = matches!(value, Val::Text(_) | Val::Absent(_));
        if !text && !text_before {
            out.push(' ');
        }
        out.push_str(&display(value));
        text_before = text;
    }
    out
}

/// A float with Go's verbs e, f and g; without a precision, the shortest text that reads back the same.
pub(super) fn float(value: f64, verb: char, precision: Option<usize>) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    match verb {
        'f' | 'F' => match precision {
            Some(p) => format!("{value:.p$}"),
            None => format!("{value}"),
        },
        'e' | 'E' => {
            let shown = match precision {
                Some(p) => format!("{value:.p$e}"),
                None => format!("{value:e}"),
            };
            let shown = two_digits(&shown);
            if verb == 'E' {
                shown.to_uppercase()
            } else {
                shown
            }
        }
        _ => general(value, precision),
    }
}

/// `1e5` as Go writes it: `1e+05`.
fn two_digits(shown: &str) -> String {
    match shown.split_once('e') {
        Some((mantissa, exponent)) => {
            let (sign, digits) = match exponent.strip_prefix('-') {
                Some(digits) => ('-', digits),
                None => ('+', exponent),
            };
            format!("{mantissa}e{sign}{digits:0>2}")
        }
        None => shown.to_owned(),
    }
}

fn general(value: f64, precision: Option<usize>) -> String {
    if value == 0.0 {
        return if value.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    let significant = precision.map(|p| p.max(1));
    let scientific = match significant {
        Some(p) => format!("{value:.*e}", p - 1),
        None => format!("{value:e}"),
    };
    let exponent: i64 = scientific
        .split_once('e')
        .and_then(|(_, e)| e.parse().ok())
        .unwrap_or(0);
    // Without a precision Go decides as if it were 6.
    let limit = significant.map_or(6, |p| i64::try_from(p).unwrap_or(i64::MAX));
    let shown = if exponent < -4 || exponent >= limit {
        let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        let mantissa = without_zeros(mantissa);
        return two_digits(&format!("{mantissa}e{exponent}"));
    } else {
        match significant {
            Some(p) => {
                let decimals = i64::try_from(p).unwrap_or(0) - 1 - exponent;
                format!("{value:.*}", usize::try_from(decimals).unwrap_or(0))
            }
            None => format!("{value}"),
        }
    };
    without_zeros(&shown).to_owned()
}

fn without_zeros(shown: &str) -> &str {
    if shown.contains('.') {
        shown.trim_end_matches('0').trim_end_matches('.')
    } else {
        shown
    }
}

#[derive(Default)]
struct Spec {
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
}

/// Go's `printf`. A verb that does not fit its operand, an operand too many or too few is an error, not odd text.
pub(super) fn printf(format: &str, values: &[Val<'_>]) -> Outcome<String> {
    let mut out = String::new();
    let mut operands = values.iter();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut spec = Spec::default();
        while let Some(flag) = chars.peek() {
            match flag {
                '-' => spec.minus = true,
                '+' => spec.plus = true,
                '#' => spec.sharp = true,
                ' ' => spec.space = true,
                '0' => spec.zero = true,
                _ => break,
            }
            chars.next();
        }
        spec.width = number(&mut chars)?.unwrap_or(0);
        if chars.peek() == Some(&'.') {
            chars.next();
            spec.precision = Some(number(&mut chars)?.unwrap_or(0));
        }
        let verb = chars.next().ok_or("the format ends in a lone %")?;
        if verb == '%' {
            out.push('%');
            continue;
        }
        let value = operands
            .next()
            .ok_or_else(|| format!("%{verb} has no argument"))?;
        out.push_str(&spec.apply(verb, value)?);
    }
    match operands.next() {
        Some(_) => Err("more arguments than verbs".to_owned()),
        None => Ok(out),
    }
}

fn number(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Outcome<Option<usize>> {
    let mut found: Option<usize> = None;
    while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
        chars.next();
        let next = found.unwrap_or(0) * 10 + digit as usize;
        if next > MAX_WIDTH {
            return Err(format!("nothing is wider than {MAX_WIDTH}"));
        }
        found = Some(next);
    }
    Ok(found)
}

impl Spec {
    fn apply(&self, verb: char, value: &Val<'_>) -> Outcome<String> {
        let shown = match (verb, value) {
            ('v', Val::Text(_)) | ('s', Val::Text(_)) => self.cut(&display(value)),
            ('q', Val::Text(text)) if self.sharp && !text.contains('`') => format!("`{text}`"),
            ('q', Val::Text(text)) => super::strings::go_quote(&self.cut(text)),
            ('x' | 'X', Val::Text(text)) => hexadecimal(text.as_bytes(), verb),
            ('v' | 'd', Val::Int(i)) => self.signed(*i, &i.unsigned_abs().to_string()),
            ('x', Val::Int(i)) => {
                self.signed(*i, &self.based("0x", format!("{:x}", i.unsigned_abs())))
            }
            ('X', Val::Int(i)) => {
                self.signed(*i, &self.based("0X", format!("{:X}", i.unsigned_abs())))
            }
            ('o', Val::Int(i)) => {
                self.signed(*i, &self.based("0", format!("{:o}", i.unsigned_abs())))
            }
            ('b', Val::Int(i)) => {
                self.signed(*i, &self.based("0b", format!("{:b}", i.unsigned_abs())))
            }
            ('c', Val::Int(i)) => u32::try_from(*i)
                .ok()
                .and_then(char::from_u32)
                .unwrap_or('\u{fffd}')
                .to_string(),
            ('v', Val::Float(f)) => self.float(*f, 'g', self.precision),
            ('e' | 'E' | 'f' | 'F', Val::Float(f)) => {
                self.float(*f, verb, Some(self.precision.unwrap_or(6)))
            }
            ('g', Val::Float(f)) => self.float(*f, 'g', self.precision),
            ('G', Val::Float(f)) => self.float(*f, 'g', self.precision).to_uppercase(),
            ('v' | 't', Val::Bool(b)) => b.to_string(),
            ('v' | 's', Val::List(_)) => display(value),
            ('q' | 'd' | 'f', Val::List(items)) => {
                let shown: Outcome<Vec<String>> =
                    items.iter().map(|item| self.apply(verb, item)).collect();
                return Ok(format!("[{}]", shown?.join(" ")));
            }
            _ => {
                return Err(format!("%{verb} does not show {}", value.kind()));
            }
        };
        Ok(self.pad(
            shown,
            matches!(value, Val::Int(_) | Val::Float(_)) && verb != 'c',
        ))
    }

    fn cut(&self, text: &str) -> String {
        match self.precision {
            Some(most) => text.chars().take(most).collect(),
            None => text.to_owned(),
        }
    }

    fn based(&self, prefix: &str, digits: String) -> String {
        if self.sharp {
            format!("{prefix}{digits}")
        } else {
            digits
        }
    }

    fn signed(&self, value: i64, digits: &str) -> String {
        let digits = format!("{digits:0>width$}", width = self.precision.unwrap_or(0));
        format!("{}{digits}", self.sign(value < 0))
    }

    fn sign(&self, negative: bool) -> &'static str {
        match (negative, self.plus, self.space) {
            (true, _, _) => "-",
            (false, true, _) => "+",
            (false, false, true) => " ",
            _ => "",
        }
    }

    fn float(&self, value: f64, verb: char, precision: Option<usize>) -> String {
        let shown = float(value, verb, precision);
        match shown.strip_prefix(['-', '+']) {
            Some(_) => shown,
            None => format!("{}{shown}", self.sign(false)),
        }
    }

    fn pad(&self, shown: String, number: bool) -> String {
        let missing = self.width.saturating_sub(shown.chars().count());
        if missing == 0 {
            return shown;
        }
        if self.minus {
            return format!("{shown}{}", " ".repeat(missing));
        }
        let zero = self.zero && !(number && self.precision.is_some() && !shown.contains('.'));
        if zero {
            let (sign, digits) = match shown.strip_prefix(['-', '+', ' ']) {
                Some(digits) if number => shown.split_at(shown.len() - digits.len()),
                _ => ("", shown.as_str()),
            };
            return format!("{sign}{}{digits}", "0".repeat(missing));
        }
        format!("{}{shown}", " ".repeat(missing))
    }
}

fn hexadecimal(bytes: &[u8], verb: char) -> String {
    let mut out = String::new();
    for byte in bytes {
        let _ = if verb == 'X' {
            write!(out, "{byte:02X}")
        } else {
            write!(out, "{byte:02x}")
        };
    }
    out
}
