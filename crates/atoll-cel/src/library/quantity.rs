//! Kubernetes quantities (`1.5Gi`, `250m`), and the comparisons that versions have too.
//!
//! Kept as an exact number of billionths, rounded up as upstream does. Beside it the pair of value and power of ten that upstream would keep where it fits:
//! whether a quantity "is an integer" depends on it (`1000m` is none).

use std::cmp::Ordering;
use std::fmt;

use super::opaque::Opaque;
use super::{Charge, Entry, entry};
use crate::eval::machine::{Evaluated, Machine, Stop};
use crate::eval::val::Val;

pub(super) const TABLE: &[Entry] = &[
    entry(
        "quantity",
        Charge::Traverse,
        quantity,
        &["string_to_quantity: (string) -> kubernetes.Quantity"],
    ),
    entry(
        "isQuantity",
        Charge::Traverse,
        is_quantity,
        &["is_quantity_string: (string) -> bool"],
    ),
    entry(
        "sign",
        Charge::One,
        sign,
        &["quantity_sign: (kubernetes.Quantity) -> int"],
    ),
    entry(
        "isGreaterThan",
        Charge::One,
        is_greater,
        &[
            "quantity_is_greater_than: kubernetes.Quantity.(kubernetes.Quantity) -> bool",
            "semver_is_greater_than: kubernetes.Semver.(kubernetes.Semver) -> bool",
        ],
    ),
    entry(
        "isLessThan",
        Charge::One,
        is_less,
        &[
            "quantity_is_less_than: kubernetes.Quantity.(kubernetes.Quantity) -> bool",
            "semver_is_less_than: kubernetes.Semver.(kubernetes.Semver) -> bool",
        ],
    ),
    entry(
        "compareTo",
        Charge::One,
        compare_to,
        &[
            "quantity_compare_to: kubernetes.Quantity.(kubernetes.Quantity) -> int",
            "semver_compare_to: kubernetes.Semver.(kubernetes.Semver) -> int",
        ],
    ),
    entry(
        "asApproximateFloat",
        Charge::One,
        as_float,
        &["quantity_get_float: kubernetes.Quantity.() -> double"],
    ),
    entry(
        "asInteger",
        Charge::One,
        as_integer,
        &["quantity_get_int: kubernetes.Quantity.() -> int"],
    ),
    entry(
        "isInteger",
        Charge::One,
        is_integer,
        &["quantity_is_integer: kubernetes.Quantity.() -> bool"],
    ),
    entry(
        "add",
        Charge::One,
        add,
        &[
            "quantity_add: kubernetes.Quantity.(kubernetes.Quantity) -> kubernetes.Quantity",
            "quantity_add_int: kubernetes.Quantity.(int) -> kubernetes.Quantity",
        ],
    ),
    entry(
        "sub",
        Charge::One,
        sub,
        &[
            "quantity_sub: kubernetes.Quantity.(kubernetes.Quantity) -> kubernetes.Quantity",
            "quantity_sub_int: kubernetes.Quantity.(int) -> kubernetes.Quantity",
        ],
    ),
];

const NANO: i128 = 1_000_000_000;

/// An amount of something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quantity {
    nanos: i128,
    small: Option<(i64, i32)>,
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Decimal,
    Binary,
    Exponent,
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Quantity) -> bool {
        self.nanos == other.nanos
    }
}

const WRONG: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
const SUFFIX: &str = "unable to parse quantity's suffix";

impl Quantity {
    pub(super) fn parse(text: &str) -> Result<Quantity, &'static str> {
        if text.is_empty() {
            return Err(WRONG);
        }
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let end = unsigned
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(unsigned.len());
        let (digits, suffix) = unsigned.split_at(end);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if fraction.contains('.') {
            return Err(WRONG);
        }
        let letters = suffix.trim_start_matches(|c: char| "eEinumkKMGTP".contains(c));
        let tail = letters.strip_prefix(['+', '-']).unwrap_or(letters);
        if !tail.bytes().all(|b| b.is_ascii_digit()) {
            return Err(WRONG);
        }
        let (base, power, format) = interpret(suffix).ok_or(SUFFIX)?;
        let whole = whole.trim_start_matches('0');
        if whole.is_empty()
            && fraction.is_empty()
            && digits.is_empty()
            && suffix.is_empty()
            && text.len() == 1
            && text != "0"
        {
            return Ok(Quantity {
                nanos: 0,
                small: Some((0, 0)),
                format: Format::Decimal,
            });
        }
        let negative = text.starts_with('-');
        // What is larger than anything real is the largest.
        let nanos = exact(whole, fraction, base, power).unwrap_or(i128::MAX);
        let small = small(whole, fraction, base, power, format)
            .map(|(value, scale)| (if negative { -value } else { value }, scale));
        let nanos = if format == Format::Binary {
            nanos.min(i128::from(i64::MAX) * NANO)
        } else {
            nanos
        };
        let format = if format == Format::Binary && nanos > 0 && nanos < NANO {
            Format::Decimal
        } else {
            format
        };
        Ok(Quantity {
            nanos: if negative { -nanos } else { nanos },
            small,
            format,
        })
    }

    fn plus(self, other: Quantity, negated: bool) -> Quantity {
        let format = if self.nanos == 0 {
            other.format
        } else {
            self.format
        };
        let other_small = other
            .small
            .map(|(value, scale)| (if negated { value.wrapping_neg() } else { value }, scale));
        let other_nanos = if negated { -other.nanos } else { other.nanos };
        let small = self
            .small
            .zip(other_small)
            .and_then(|(a, b)| add_small(a, b));
        Quantity {
            nanos: self.nanos.saturating_add(other_nanos),
            small,
            format,
        }
    }

    fn whole(self) -> Option<i64> {
        let (value, scale) = self.small?;
        let power = 10_i64.checked_pow(u32::try_from(scale).ok()?)?;
        value.checked_mul(power)
    }

    fn of_int(value: i64) -> Quantity {
        Quantity {
            nanos: i128::from(value) * NANO,
            small: Some((value, 0)),
            format: Format::Exponent,
        }
    }
}

/// Base, power and format of a suffix.
fn interpret(suffix: &str) -> Option<(u32, i32, Format)> {
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
    const BINARY: [(&str, i32); 6] = [
        ("Ki", 10),
        ("Mi", 20),
        ("Gi", 30),
        ("Ti", 40),
        ("Pi", 50),
        ("Ei", 60),
    ];
    if let Some((_, power)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        return Some((10, *power, Format::Decimal));
    }
    if let Some((_, power)) = BINARY.iter().find(|(name, _)| *name == suffix) {
        return Some((2, *power, Format::Binary));
    }
    let digits = suffix.strip_prefix(['e', 'E'])?;
    let power = digits
        .parse::<i32>()
        .ok()
        .filter(|power| power.abs() < 1000)?;
    Some((10, power, Format::Exponent))
}

/// The number in billionths, rounded up; `None` when it is too large.
fn exact(whole: &str, fraction: &str, base: u32, power: i32) -> Option<i128> {
    let fraction = fraction.trim_end_matches('0');
    let written = format!("{whole}{fraction}");
    let written = written.trim_start_matches('0');
    if written.is_empty() {
        return Some(0);
    }
    // Digits far behind the last that counts only make it round up.
    let kept = written.len().min(38);
    let dropped = (written.len() - kept) as i32;
    let mut value: i128 = written[..kept].parse().ok()?;
    let mut up = written[kept..].bytes().any(|b| b != b'0');
    let mut scale = 9 + dropped - fraction.len() as i32 + if base == 10 { power } else { 0 };
    if base == 2 {
        let factor = 1_i128.checked_shl(power.unsigned_abs())?;
        while value.checked_mul(factor).is_none() {
            up |= value % 10 != 0;
            value /= 10;
            scale += 1;
        }
        value *= factor;
    }
    if scale >= 0 {
        value = value.checked_mul(10_i128.checked_pow(scale as u32)?)?;
    } else {
        let divisor = 10_i128.checked_pow(scale.unsigned_abs());
        up |= divisor.is_none_or(|divisor| value % divisor != 0);
        value = divisor.map_or(0, |divisor| value / divisor);
    }
    value.checked_add(i128::from(up))
}

/// The pair that upstream keeps for what is small enough.
fn small(whole: &str, fraction: &str, base: u32, power: i32, format: Format) -> Option<(i64, i32)> {
    let length = (whole.len().max(1) + fraction.len()) as i32;
    let (mantissa, scale, precision) = if format == Format::Binary {
        if base != 2 || !fraction.is_empty() {
            return None;
        }
        (
            1_i64.checked_shl(power.unsigned_abs())?,
            0,
            15 - length - (power * 3 / 10) - 1,
        )
    } else {
        (1, power, 18 - length)
    };
    let scale = scale - fraction.len() as i32;
    if precision < 0 || scale < -9 {
        return None;
    }
    let value: i64 = format!("0{whole}{fraction}").parse().ok()?;
    Some((value.checked_mul(mantissa)?, scale))
}

fn add_small(a: (i64, i32), b: (i64, i32)) -> Option<(i64, i32)> {
    let scaled =
        |value: i64, by: i32| value.checked_mul(10_i64.checked_pow(u32::try_from(by).ok()?)?);
    match (a, b) {
        (a, (0, _)) => Some(a),
        ((0, _), b) => Some(b),
        ((x, i), (y, j)) if i >= j => Some((scaled(x, i - j)?.checked_add(y)?, j)),
        ((x, i), (y, j)) => Some((scaled(y, j - i)?.checked_add(x)?, i)),
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let whole = self.nanos / NANO;
        if self.format == Format::Binary && self.nanos % NANO == 0 && whole.abs() >= 1024 {
            let (mut value, mut step) = (whole, 0);
            while value % 1024 == 0 && step < 6 {
                value /= 1024;
                step += 1;
            }
            return write!(
                f,
                "{value}{}",
                ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][step]
            );
        }
        let (mut value, mut power) = (self.nanos, -9);
        while value % 1000 == 0 {
            value /= 1000;
            power += 3;
        }
        match (self.format, power) {
            (_, 0) => write!(f, "{value}"),
            (Format::Exponent, power) => write!(f, "{value}e{power}"),
            (_, power @ -9..=18) => write!(
                f,
                "{value}{}",
                ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"][((power + 9) / 3) as usize]
            ),
            (_, power) => write!(f, "{value}e{power}"),
        }
    }
}

fn of(value: &Val<'_>) -> Evaluated<Quantity> {
    if let Val::Opaque(opaque) = value
        && let Opaque::Quantity(quantity) = &**opaque
    {
        return Ok(*quantity);
    }
    Err(Stop::no_overload())
}

fn only(arguments: &[Val<'_>]) -> Evaluated<Quantity> {
    match arguments {
        [value] => of(value),
        _ => Err(Stop::no_overload()),
    }
}

fn quantity<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    match arguments {
        [Val::Text(text)] => Ok(Val::opaque(Opaque::Quantity(
            Quantity::parse(text.as_str()).map_err(Stop::fault)?,
        ))),
        _ => Err(Stop::no_overload()),
    }
}

fn is_quantity<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    match arguments {
        [Val::Text(text)] => Ok(Val::Bool(Quantity::parse(text.as_str()).is_ok())),
        _ => Err(Stop::no_overload()),
    }
}

fn sign<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    Ok(Val::Int(only(arguments)?.nanos.signum() as i64))
}

/// The order of two quantities, or of two versions.
fn order(arguments: &[Val<'_>]) -> Evaluated<Ordering> {
    let [Val::Opaque(a), Val::Opaque(b)] = arguments else {
        return Err(Stop::no_overload());
    };
    match (&**a, &**b) {
        (Opaque::Quantity(a), Opaque::Quantity(b)) => Ok(a.nanos.cmp(&b.nanos)),
        (Opaque::Semver(a), Opaque::Semver(b)) => Ok(a.compare(b)),
        _ => Err(Stop::no_overload()),
    }
}

fn is_greater<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    order(arguments).map(|order| Val::Bool(order.is_gt()))
}

fn is_less<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    order(arguments).map(|order| Val::Bool(order.is_lt()))
}

fn compare_to<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    order(arguments).map(|order| Val::Int(order as i64))
}

fn as_float<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    let quantity = only(arguments)?;
    Ok(Val::Double(match quantity.small {
        Some((value, 0)) => value as f64,
        Some((value, scale)) => value as f64 * 10_f64.powi(scale),
        None => quantity.nanos as f64 / 1e9,
    }))
}

fn as_integer<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    only(arguments)?
        .whole()
        .map(Val::Int)
        .ok_or_else(|| Stop::fault("cannot convert value to integer"))
}

fn is_integer<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    Ok(Val::Bool(only(arguments)?.whole().is_some()))
}

fn sum<'a>(arguments: &[Val<'a>], negated: bool) -> Evaluated<Val<'a>> {
    let (a, b) = match arguments {
        [a, Val::Int(b)] => (of(a)?, Quantity::of_int(*b)),
        [a, b] => (of(a)?, of(b)?),
        _ => return Err(Stop::no_overload()),
    };
    Ok(Val::opaque(Opaque::Quantity(a.plus(b, negated))))
}

fn add<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    sum(arguments, false)
}

fn sub<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    sum(arguments, true)
}
