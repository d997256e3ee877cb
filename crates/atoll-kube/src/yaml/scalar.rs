//! What a scalar means, by YAML 1.1's rules as Kubernetes' tools apply them.

use serde_json::{Number, Value};

/// The value of a scalar; `tag` is the part after `!!`.
pub(super) fn resolve(text: &str, plain: bool, tag: Option<&str>) -> Result<Value, String> {
    match tag {
        Some("str" | "binary" | "timestamp") => return Ok(text.into()),
        None if !plain => return Ok(text.into()),
        _ => {}
    }
    let value = implicit(text)?;
    let fits = match tag {
        Some("int") => value.is_i64() || value.is_u64(),
        Some("float") => value.is_number(),
        Some("bool") => value.is_boolean(),
        Some("null") => value.is_null(),
        _ => true,
    };
    if fits {
        Ok(value)
    } else {
        Err(format!(
            "cannot decode `{text}` as a !!{}",
            tag.unwrap_or_default()
        ))
    }
}

fn implicit(text: &str) -> Result<Value, String> {
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            true.into()
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            false.into()
        }
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF"
        | "-.inf" | "-.Inf" | "-.INF" => {
            return Err(format!("`{text}` has no JSON equivalent"));
        }
        _ if text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) => {
            number(text).map_or_else(|| text.into(), Value::Number)
        }
        _ => text.into(),
    })
}

fn number(text: &str) -> Option<Number> {
    let digits: String = text.chars().filter(|c| *c != '_').collect();
    integer(&digits).or_else(|| {
        if is_float(&digits) {
            float(digits.parse().ok()?)
        } else {
            None
        }
    })
}

fn integer(text: &str) -> Option<Number> {
    let (negative, body) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, digits) = match body.get(..2).map(str::to_ascii_lowercase).as_deref() {
        Some("0x") => (16, &body[2..]),
        Some("0o") => (8, &body[2..]),
        Some("0b") => (2, &body[2..]),
        _ if body.len() > 1 && body.starts_with('0') => (8, &body[1..]),
        _ => (10, body),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let magnitude = i128::from(u64::from_str_radix(digits, radix).ok()?);
    Number::from_i128(if negative { -magnitude } else { magnitude })
        .filter(|n| n.is_i64() || n.is_u64())
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((m, e)) => (m, Some(e.strip_prefix(['-', '+']).unwrap_or(e))),
        None => (text, None),
    };
    let digits = |s: &str| s.bytes().all(|c| c.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    digits(whole)
        && digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(|e| !e.is_empty() && digits(e))
}

/// Whole floats are written without a fraction, so they become integers.
fn float(n: f64) -> Option<Number> {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
    if n.fract() == 0.0 && n.abs() <= EXACT {
        return Some((n as i64).into());
    }
    Number::from_f64(n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn plain_scalars_mean_what_kubectl_takes_them_for() {
        let check = |text: &str, expected: Value| {
            assert_eq!(resolve(text, true, None), Ok(expected), "{text}")
        };
        check("yes", json!(true));
        check("Off", json!(false));
        check("~", json!(null));
        check("12", json!(12));
        check("-0x1F", json!(-31));
        check("0o17", json!(15));
        check("0777", json!(511));
        check("08", json!(8));
        check("1_000", json!(1000));
        check("0b11", json!(3));
        check("18446744073709551615", json!(18_446_744_073_709_551_615u64));
        check("1.5", json!(1.5));
        check("1.0", json!(1));
        check("1e3", json!(1000));
        check(".5", json!(0.5));
        check("1.2.3", json!("1.2.3"));
        check("1e", json!("1e"));
        check("-", json!("-"));
        check("2026-11-21", json!("2026-11-21"));
        check("100m", json!("100m"));
        check("é1", json!("é1"));
        check("+é", json!("+é"));
    }

    #[test]
    fn quotes_and_tags_decide() {
        assert_eq!(resolve("12", false, None), Ok(json!("12")));
        assert_eq!(resolve("12", true, Some("str")), Ok(json!("12")));
        assert_eq!(resolve("12", false, Some("int")), Ok(json!(12)));
        assert!(resolve("a", true, Some("int")).is_err());
    }
}
