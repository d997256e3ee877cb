//! The order of versions: stable ones first, then beta, then alpha, newer before older, anything else last by name.

use std::cmp::Ordering;

/// Which of two versions clients should prefer comes first.
pub fn version_order(a: &str, b: &str) -> Ordering {
    match (rank(a), rank(b)) {
        (Some(a), Some(b)) => b.cmp(&a),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

/// Stability, major, minor; `None` where the name has another form.
fn rank(version: &str) -> Option<(u8, u64, u64)> {
    let rest = version.strip_prefix('v')?;
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (major, rest) = rest.split_at(end);
    let number = |s: &str| -> Option<u64> {
        s.parse()
            .ok()
            .filter(|_| !s.starts_with('0') && !s.starts_with('+'))
    };
    let major = number(major)?;
    if rest.is_empty() {
        return Some((2, major, 0));
    }
    match (rest.strip_prefix("beta"), rest.strip_prefix("alpha")) {
        (Some(minor), _) => Some((1, major, number(minor)?)),
        (_, Some(minor)) => Some((0, major, number(minor)?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_most_stable_first() {
        let mut versions = [
            "foo1",
            "v1alpha1",
            "v2beta1",
            "v10",
            "v1",
            "v11alpha2",
            "v3beta1",
            "foo10",
            "v2",
        ];
        versions.sort_by(|a, b| version_order(a, b));
        assert_eq!(
            versions,
            [
                "v10",
                "v2",
                "v1",
                "v3beta1",
                "v2beta1",
                "v11alpha2",
                "v1alpha1",
                "foo1",
                "foo10"
            ]
        );
    }
}
