//! Quantities: `100m`, `1.5Gi`, `2e3`.
//!
//! Kept exactly, in units of 10^-9 (what is finer is rounded away from zero, as Kubernetes does). Compares by value
//! whatever the suffix; Display is the canonical form.
//!
//! Expressions have a quantity of their own (`atoll-cel`, `library/quantity`): it also keeps the pair of value and power of ten that upstream's
//! `isInteger` depends on. The two agree on values; to make them one, that one would become this crate's.

use std::cmp::Ordering;
use std::fmt;

use serde_json::Value;

const NANOS: i128 = 1_000_000_000;

/// Which suffixes the canonical form uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `k`, `M`, `G`, ... and `m`, `u`, `n`.
    DecimalSi,
    /// `Ki`, `Mi`, `Gi`, ...
    BinarySi,
    /// `e3`, `e6`, ...
    DecimalExponent,
}

/// A parsed quantity.
#[derive(Debug, Clone, Copy)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

const DECIMAL: [(&str, i32); 10] = [
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];
const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

const WRONG_FORMAT: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
const WRONG_SUFFIX: &str = "unable to parse quantity's suffix";
const WRONG_NUMBER: &str = "unable to parse numeric part of quantity";

impl Quantity {
    /// Zero.
    pub const ZERO: Self = Self {
        nanos: 0,
        format: Format::DecimalSi,
    };

    /// A whole number of units.
    pub fn from_units(units: i64) -> Self {
        Self {
            nanos: i128::from(units) * NANOS,
            format: Format::DecimalSi,
        }
    }

    /// Parses; the error is Kubernetes' text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (negative, rest) = match text.as_bytes().first() {
            None => return Err(WRONG_FORMAT.to_owned()),
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            Some(_) => (false, text),
        };
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.contains('.') || !suffix_shaped(suffix) || number.is_empty() {
            return Err(WRONG_FORMAT.to_owned());
        }
        if whole.is_empty() && fraction.is_empty() {
            return Err(WRONG_NUMBER.to_owned());
        }
        let (base, exponent, format) = interpret(suffix).ok_or(WRONG_SUFFIX)?;
        let (nanos, exact) = scale(whole, fraction, base, exponent);
        let nanos = if exact {
            nanos
        } else {
            nanos.saturating_add(1)
        };
        let nanos = match format {
            Format::BinarySi => nanos.min(i128::from(i64::MAX) * NANOS),
            _ => nanos,
        };
        // A binary fraction below one has no binary form.
        let format = if format == Format::BinarySi && nanos < NANOS && nanos > 0 {
            Format::DecimalSi
        } else {
            format
        };
        Ok(Self {
            nanos: if negative { -nanos } else { nanos },
            format,
        })
    }

    /// From JSON: a string or a number.
    pub fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::String(text) => Self::parse(text),
            Value::Number(n) => Self::parse(&n.to_string()),
            _ => Err(WRONG_FORMAT.to_owned()),
        }
    }

    /// In thousandths, rounded up (away from zero).
    pub fn milli(&self) -> i64 {
        self.rounded(NANOS / 1000)
    }

    /// In units, rounded up (away from zero).
    pub fn value(&self) -> i64 {
        self.rounded(NANOS)
    }

    fn rounded(&self, unit: i128) -> i64 {
        let up = (self.nanos.abs() + unit - 1) / unit * self.nanos.signum();
        i64::try_from(up).unwrap_or(if up < 0 { i64::MIN } else { i64::MAX })
    }

    /// As a float, for averages and the like.
    pub fn approximate(&self) -> f64 {
        self.nanos as f64 / NANOS as f64
    }

    /// Which suffixes it prefers.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The sum, with this one's suffixes.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            nanos: self.nanos.saturating_add(other.nanos),
            format: if self.nanos == 0 {
                other.format
            } else {
                self.format
            },
        }
    }

    /// The difference, with this one's suffixes.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        Self {
            nanos: self.nanos.saturating_sub(other.nanos),
            format: if self.nanos == 0 {
                other.format
            } else {
                self.format
            },
        }
    }

    fn binary_form(&self) -> Option<(i128, &'static str)> {
        let units = self.nanos / NANOS;
        if self.nanos % NANOS != 0 || units.abs() < 1024 {
            return None;
        }
        let mut n = units;
        let mut power = 0;
        while n % 1024 == 0 && power + 1 < BINARY.len() {
            n /= 1024;
            power += 1;
        }
        Some((n, BINARY[power]))
    }

    /// The number and its power of ten, a multiple of three, as large as it divides.
    fn decimal_form(&self, largest: i32) -> (i128, i32) {
        let (mut n, mut exponent) = (self.nanos, -9);
        while n % 1000 == 0 && exponent < largest {
            n /= 1000;
            exponent += 3;
        }
        (n, exponent)
    }
}

fn suffix_shaped(suffix: &str) -> bool {
    let digits = suffix.trim_start_matches(|c: char| "eEinumkKMGTP".contains(c));
    let digits = digits.strip_prefix(['-', '+']).unwrap_or(digits);
    digits.bytes().all(|c| c.is_ascii_digit())
}

/// Base, exponent, format.
fn interpret(suffix: &str) -> Option<(i128, i32, Format)> {
    if let Some((_, exponent)) = DECIMAL.iter().find(|(s, _)| *s == suffix) {
        return Some((10, *exponent, Format::DecimalSi));
    }
    if let Some(power) = BINARY.iter().position(|s| *s == suffix) {
        return Some((2, i32::try_from(power).ok()? * 10, Format::BinarySi));
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    Some((10, exponent, Format::DecimalExponent))
}

/// `whole.fraction * base^exponent` in nanos, rounded down, and whether that is exact. Saturates.
fn scale(whole: &str, fraction: &str, base: i128, exponent: i32) -> (i128, bool) {
    let mut mantissa: i128 = 0;
    let mut dropped: i32 = 0; // digits that no longer fit
    let mut exact = true;
    for c in whole.bytes().chain(fraction.bytes()) {
        let digit = i128::from(c - b'0');
        if dropped == 0
            && let Some(more) = mantissa.checked_mul(10).and_then(|m| m.checked_add(digit))
        {
            mantissa = more;
        } else {
            dropped += 1;
            exact &= digit == 0;
        }
    }
    if mantissa == 0 {
        return (0, exact);
    }
    let fraction_digits = i32::try_from(fraction.len()).unwrap_or(i32::MAX);
    let ten = if base == 10 { exponent } else { 0 }
        .saturating_add(9)
        .saturating_sub(fraction_digits)
        .saturating_add(dropped);
    if base == 2 {
        match mantissa.checked_mul(1 << exponent) {
            Some(m) => mantissa = m,
            None => return (i128::MAX / 2, true),
        }
    }
    let power = 10i128.checked_pow(ten.unsigned_abs());
    match (ten >= 0, power) {
        (true, Some(p)) => (mantissa.checked_mul(p).unwrap_or(i128::MAX / 2), exact),
        (true, None) => (i128::MAX / 2, true),
        (false, Some(p)) => (mantissa / p, exact && mantissa % p == 0),
        (false, None) => (0, false),
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        if self.format == Format::BinarySi
            && let Some((n, suffix)) = self.binary_form()
        {
            return write!(f, "{n}{suffix}");
        }
        if self.format == Format::DecimalExponent {
            return match self.decimal_form(i32::MAX) {
                (n, 0) => write!(f, "{n}"),
                (n, e) => write!(f, "{n}e{e}"),
            };
        }
        let (n, exponent) = self.decimal_form(18);
        let suffix = DECIMAL
            .iter()
            .find(|(_, e)| *e == exponent)
            .map_or("", |(s, _)| s);
        write!(f, "{n}{suffix}")
    }
}

/// A value that is a number or a text, as `maxUnavailable` and ports are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum IntOrString {
    /// `3`
    Int(i64),
    /// `"25%"`, `"http"`
    Text(String),
}

impl IntOrString {
    /// From JSON.
    pub fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::String(s) => Some(Self::Text(s.clone())),
            other => other.as_i64().map(Self::Int),
        }
    }

    /// The number, or the percentage of `total`; `None` if the text is no percentage.
    pub fn scaled(&self, total: i64, round_up: bool) -> Option<i64> {
        match self {
            Self::Int(n) => Some(*n),
            Self::Text(text) => {
                let percent: i64 = text.strip_suffix('%')?.parse().ok()?;
                let product = percent.saturating_mul(total);
                Some(if round_up {
                    product.saturating_add(99).div_euclid(100)
                } else {
                    product.div_euclid(100)
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quantities_have_one_canonical_form() {
        let check = |text: &str, expected: Result<&str, &str>| {
            let found = Quantity::parse(text).map(|q| q.to_string());
            assert_eq!(
                found,
                expected.map(str::to_owned).map_err(str::to_owned),
                "{text}"
            );
        };
        check("0", Ok("0"));
        check("100m", Ok("100m"));
        check("1000m", Ok("1"));
        check("1500m", Ok("1500m"));
        check("0.1", Ok("100m"));
        check("1.5Gi", Ok("1536Mi"));
        check("1024Ki", Ok("1Mi"));
        check("512", Ok("512"));
        check("1000", Ok("1k"));
        check("1023Ki", Ok("1023Ki"));
        check("0.5Ki", Ok("512"));
        check("0.001Ki", Ok("1024m"));
        check("2e3", Ok("2e3"));
        check("2E3", Ok("2e3"));
        check("1E", Ok("1E"));
        check("12e5", Ok("1200e3"));
        check("-1.5", Ok("-1500m"));
        check("+3k", Ok("3k"));
        check("0.0000000001", Ok("1n"));
        check(".5", Ok("500m"));
        check("5.", Ok("5"));
        check("", Err(WRONG_FORMAT));
        check("-", Err(WRONG_FORMAT));
        check(".", Err(WRONG_NUMBER));
        check("1.2.3", Err(WRONG_FORMAT));
        check("1 Gi", Err(WRONG_FORMAT));
        check("1Qi", Err(WRONG_FORMAT));
        check("1KiB", Err(WRONG_FORMAT));
        check("1ki", Err(WRONG_SUFFIX));
        check("abc", Err(WRONG_FORMAT));
    }

    #[test]
    fn numbers_round_up() {
        let q = Quantity::parse("1500u").unwrap();
        assert_eq!((q.value(), q.milli()), (1, 2));
        let q = Quantity::parse("-1.5").unwrap();
        assert_eq!((q.value(), q.milli()), (-2, -1500));
        assert!(Quantity::parse("1Ki").unwrap() > Quantity::parse("1k").unwrap());
        assert_eq!(
            Quantity::parse("1000m").unwrap(),
            Quantity::parse("1").unwrap()
        );
    }

    #[test]
    fn percentages_of_a_total() {
        let check = |v: Value, up: bool, expected: Option<i64>| {
            assert_eq!(
                IntOrString::from_value(&v).unwrap().scaled(10, up),
                expected
            );
        };
        check(3.into(), true, Some(3));
        check("25%".into(), true, Some(3));
        check("25%".into(), false, Some(2));
        check("x".into(), false, None);
    }

    proptest! {
        #[test]
        fn the_canonical_form_means_the_same(n in -1_000_000_000_000i64..1_000_000_000_000, suffix in prop::sample::select(vec!["", "n", "u", "m", "k", "M", "Ki", "Mi", "Gi", "e3", "e-2"])) {
            let q = Quantity::parse(&format!("{n}{suffix}")).unwrap();
            let again = Quantity::parse(&q.to_string()).unwrap();
            prop_assert_eq!(again, q);
            prop_assert_eq!(again.to_string(), q.to_string());
        }

        #[test]
        fn no_text_panics(text in "[-+.0-9a-zA-Z]{0,50}") {
            let _ = Quantity::parse(&text).map(|q| q.to_string());
        }
    }
}
