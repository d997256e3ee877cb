//! Comparing JSON numbers with a schema's bounds, integers exactly.

use std::cmp::Ordering;

use serde_json::Number;

/// The number as an integer, if it is one (`2.0` is).
pub(super) fn as_integer(n: &Number) -> Option<i128> {
    if let Some(i) = n.as_i128() {
        return Some(i);
    }
    let f = n.as_f64()?;
    (f.fract() == 0.0 && f.abs() < 1e30).then_some(f as i128)
}

/// How two numbers compare.
pub(super) fn compare(a: &Number, b: &Number) -> Option<Ordering> {
    match (as_integer(a), as_integer(b)) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
    }
}

/// Whether `n` is a multiple of `factor`.
pub(super) fn is_multiple(n: &Number, factor: &Number) -> bool {
    match (as_integer(n), as_integer(factor)) {
        (_, Some(0)) => true,
        (Some(n), Some(f)) => n % f == 0,
        _ => {
            let (Some(n), Some(f)) = (n.as_f64(), factor.as_f64()) else {
                return true;
            };
            let quotient = n / f;
            (quotient - quotient.round()).abs() < 1e-9
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn integers_compare_exactly() {
        let number = |v: serde_json::Value| v.as_number().cloned().unwrap();
        let check = |a, b, expected| assert_eq!(compare(&number(a), &number(b)), Some(expected));
        check(
            json!(9007199254740993i64),
            json!(9007199254740992i64),
            Ordering::Greater,
        );
        check(json!(1), json!(1.5), Ordering::Less);
        check(json!(2.0), json!(2), Ordering::Equal);
        check(json!(u64::MAX), json!(-1), Ordering::Greater);
        assert!(is_multiple(&number(json!(9)), &number(json!(3))));
        assert!(is_multiple(&number(json!(0.3)), &number(json!(0.1))));
        assert!(!is_multiple(&number(json!(10)), &number(json!(3))));
    }
}
