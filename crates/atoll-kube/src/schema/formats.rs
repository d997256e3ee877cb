//! The string formats that are checked. A format not named here says nothing, as in Kubernetes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::names::{is_dns1123_label, is_dns1123_subdomain};
use crate::time::Timestamp;

/// Whether `text` has `format`; true for formats that are not known.
pub(super) fn check(format: &str, text: &str) -> bool {
    // Dashes in a format's name do not count.
    let name: String = format.chars().filter(|c| *c != '-').collect();
    match name.as_str() {
        "datetime" => Timestamp::parse(text).is_some(),
        "date" => text.len() == 10 && Timestamp::parse(&format!("{text}T00:00:00Z")).is_some(),
        "duration" => is_duration(text),
        "byte" => is_base64(text),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => is_cidr(text),
        "mac" => is_mac(text),
        "hostname" => is_hostname(text),
        "uri" => is_uri(text),
        "email" => is_email(text),
        "uuid" => is_uuid(text, None),
        "uuid3" => is_uuid(text, Some(b'3')),
        "uuid4" => is_uuid(text, Some(b'4')),
        "uuid5" => is_uuid(text, Some(b'5')),
        "bsonobjectid" => text.len() == 24 && text.bytes().all(|c| c.is_ascii_hexdigit()),
        "hexcolor" => {
            let digits = text.strip_prefix('#').unwrap_or(text);
            matches!(digits.len(), 3 | 6) && digits.bytes().all(|c| c.is_ascii_hexdigit())
        }
        "k8sshortname" => is_dns1123_label(text).is_ok(),
        "k8slongname" => is_dns1123_subdomain(text).is_ok(),
        _ => true,
    }
}

/// `1h30m`, `-1.5s`, `0`; also spelled out as `2 days`.
fn is_duration(text: &str) -> bool {
    const UNITS: [&str; 8] = ["ns", "us", "µs", "μs", "ms", "s", "m", "h"];
    const WORDS: [&str; 9] = [
        "nano", "micro", "milli", "sec", "min", "hour", "day", "week", "d",
    ];
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if unsigned == "0" {
        return true;
    }
    let mut rest = unsigned;
    let mut any = false;
    while !rest.is_empty() {
        let number_end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, after) = rest.split_at(number_end);
        if number.parse::<f64>().is_err() {
            return false;
        }
        let after = after.trim_start();
        let unit_end = after
            .find(|c: char| c.is_ascii_digit() || c == '.' || c == ' ')
            .unwrap_or(after.len());
        let unit = &after[..unit_end];
        let lower = unit.to_lowercase();
        if !UNITS.contains(&unit) && !WORDS.iter().any(|w| lower.starts_with(w)) {
            return false;
        }
        any = true;
        rest = after[unit_end..].trim_start();
    }
    any
}

fn is_base64(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    let padding = text.len() - body.len();
    !text.is_empty()
        && text.len().is_multiple_of(4)
        && padding <= 2
        && body
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'/'))
}

fn is_cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else {
        return false;
    };
    match (address.parse(), bits.parse::<u8>()) {
        (Ok(IpAddr::V4(_)), Ok(n)) => n <= 32,
        (Ok(IpAddr::V6(_)), Ok(n)) => n <= 128,
        _ => false,
    }
}

fn is_mac(text: &str) -> bool {
    let separated = |separator: char, size: usize| {
        let parts: Vec<&str> = text.split(separator).collect();
        matches!(parts.len() * size, 12 | 16 | 40)
            && parts
                .iter()
                .all(|p| p.len() == size && p.bytes().all(|c| c.is_ascii_hexdigit()))
    };
    separated(':', 2) || separated('-', 2) || separated('.', 4)
}

fn is_hostname(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    !name.is_empty()
        && name.len() <= 253
        && name.split('.').all(|label| {
            let edge = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
            label.len() <= 63
                && edge(label.chars().next())
                && edge(label.chars().last())
                && label.chars().all(|c| c.is_alphanumeric() || c == '-')
        })
}

/// An absolute URI, or a path from the root.
fn is_uri(text: &str) -> bool {
    if text.is_empty() || text.bytes().any(|c| c <= b' ' || c == 0x7f) {
        return false;
    }
    if text.starts_with('/') {
        return true;
    }
    text.split_once(':').is_some_and(|(scheme, rest)| {
        let mut chars = scheme.chars();
        chars.next().is_some_and(|c| c.is_ascii_alphabetic())
            && chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
            && !rest.is_empty()
    })
}

fn is_email(text: &str) -> bool {
    let address = match (text.rfind('<'), text.strip_suffix('>')) {
        (Some(start), Some(rest)) => &rest[start + 1..],
        _ => text,
    };
    address.rsplit_once('@').is_some_and(|(local, domain)| {
        !local.is_empty()
            && !domain.is_empty()
            && !address.contains(char::is_whitespace)
            && !domain.starts_with('.')
    })
}

fn is_uuid(text: &str, version: Option<u8>) -> bool {
    let hex: Vec<u8> = text.bytes().filter(|c| *c != b'-').collect();
    let dashes = text.len() - hex.len();
    hex.len() == 32
        && dashes <= 4
        && hex.iter().all(u8::is_ascii_hexdigit)
        && version.is_none_or(|v| {
            hex[12] == v
                && (v == b'3' || matches!(hex[16], b'8' | b'9' | b'a' | b'b' | b'A' | b'B'))
        })
}

#[cfg(test)]
mod tests {
    #[test]
    fn formats() {
        let check = |format: &str, good: &[&str], bad: &[&str]| {
            good.iter()
                .for_each(|t| assert!(super::check(format, t), "{format} {t}"));
            bad.iter()
                .for_each(|t| assert!(!super::check(format, t), "{format} {t}"));
        };
        check("date-time", &["2026-11-21T04:00:00Z"], &["2026-11-21", ""]);
        check("datetime", &["2026-11-21T04:00:00.1+02:00"], &["x"]);
        check(
            "date",
            &["2026-11-21"],
            &["2026-13-01", "2026-11-21T04:00:00Z"],
        );
        check(
            "duration",
            &["1h30m", "0", "-1.5s", "2 days", "100ms"],
            &["", "h", "1x", "1"],
        );
        check("byte", &["YWI=", "YWJj"], &["", "a", "a*==", "===="]);
        check("ipv4", &["10.0.0.1"], &["10.0.0", "::1"]);
        check("ipv6", &["::1"], &["10.0.0.1"]);
        check(
            "cidr",
            &["10.0.0.0/8", "fd00::/64"],
            &["10.0.0.0", "10.0.0.0/33"],
        );
        check(
            "mac",
            &["01:23:45:67:89:ab", "0123.4567.89ab"],
            &["01:23:45", "01:23:45:67:89:zz"],
        );
        check("hostname", &["a.b-c", "A"], &["-a", "a..b", ""]);
        check(
            "uri",
            &["http://a/b", "/x", "urn:x"],
            &["", "a b", "noscheme"],
        );
        check("email", &["a@b.c", "A B <a@b>"], &["a", "@b", "a b@c"]);
        check(
            "uuid",
            &["6ba7b810-9dad-11d1-80b4-00c04fd430c8"],
            &["6ba7b810"],
        );
        check(
            "uuid4",
            &["6ba7b810-9dad-41d1-80b4-00c04fd430c8"],
            &["6ba7b810-9dad-11d1-80b4-00c04fd430c8"],
        );
        check("k8s-short-name", &["a-b"], &["a.b"]);
        check("hexcolor", &["#fff", "00ff00"], &["#ff"]);
        check("no-such-format", &["anything"], &[]);
    }
}
