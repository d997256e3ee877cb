//! What names, labels and keys may look like, refused in Kubernetes' words.
//!
//! Every check returns the first thing that is wrong. None allocates unless it refuses.

use crate::status::quote;

/// What a check says.
pub type Check = Result<(), String>;

const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const QUALIFIED: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const QUALIFIED_RULE: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";

/// The characters that generated names end in: no vowels and nothing that looks like something else.
const SUFFIX_ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX_LENGTH: usize = 5;
const GENERATED_MAX: usize = 63;

fn lower_alnum(c: u8) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

/// Non-empty, `inside` throughout, `edge` at both ends.
fn shaped(s: &str, edge: impl Fn(u8) -> bool, inside: impl Fn(u8) -> bool) -> bool {
    let b = s.as_bytes();
    match (b.first(), b.last()) {
        (Some(first), Some(last)) => edge(*first) && edge(*last) && b.iter().all(|c| inside(*c)),
        _ => false,
    }
}

fn label_shaped(s: &str) -> bool {
    shaped(s, lower_alnum, |c| lower_alnum(c) || c == b'-')
}

fn subdomain_shaped(s: &str) -> bool {
    s.split('.').all(label_shaped)
}

fn qualified_shaped(s: &str) -> bool {
    shaped(
        s,
        |c| c.is_ascii_alphanumeric(),
        |c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'),
    )
}

fn too_long(max: usize) -> String {
    format!("must be no more than {max} characters")
}

fn too_many_bytes(max: usize) -> String {
    format!("must be no more than {max} bytes")
}

fn regex_error(rule: &str, examples: &[&str], regex: &str) -> String {
    if examples.is_empty() {
        return format!("{rule} (regex used for validation is '{regex}')");
    }
    let examples: Vec<String> = examples.iter().map(|e| format!("'{e}', ")).collect();
    format!(
        "{rule} (e.g. {}regex used for validation is '{regex}')",
        examples.join(" or ")
    )
}

/// A DNS label: a Namespace's name, and most of what becomes part of a host name.
pub fn is_dns1123_label(s: &str) -> Check {
    if s.len() > 63 {
        return Err(too_long(63));
    }
    if label_shaped(s) {
        return Ok(());
    }
    if subdomain_shaped(s) {
        return Err("must not contain dots".to_owned());
    }
    Err(regex_error(
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
        &["my-name", "123-abc"],
        LABEL,
    ))
}

/// A DNS subdomain: the name of most objects.
pub fn is_dns1123_subdomain(s: &str) -> Check {
    if s.len() > 253 {
        return Err(too_long(253));
    }
    if subdomain_shaped(s) {
        return Ok(());
    }
    Err(regex_error(
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
        &["example.com"],
        SUBDOMAIN,
    ))
}

/// A DNS label that starts with a letter: a Service's name, a CRD's plural name.
pub fn is_dns1035_label(s: &str) -> Check {
    if s.len() > 63 {
        return Err(too_long(63));
    }
    if label_shaped(s) && s.as_bytes()[0].is_ascii_lowercase() {
        return Ok(());
    }
    Err(regex_error(
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
        &["my-name", "abc-123"],
        "[a-z]([-a-z0-9]*[a-z0-9])?",
    ))
}

/// A label's key, an annotation's key (in lower case), a finalizer: `[prefix/]name`.
pub fn is_qualified_name(s: &str) -> Check {
    let regex = || regex_error(QUALIFIED_RULE, &["MyName", "my.name", "123-abc"], QUALIFIED);
    let name = match s.split_once('/') {
        None => s,
        Some((_, name)) if name.contains('/') => {
            return Err(format!(
                "a valid label key {} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
                regex()
            ));
        }
        Some(("", _)) => return Err("prefix part must be non-empty".to_owned()),
        Some((prefix, name)) => {
            if prefix.len() > 253 {
                return Err(format!("prefix part {}", too_many_bytes(253)));
            }
            is_dns1123_subdomain(prefix).map_err(|e| format!("prefix part {e}"))?;
            name
        }
    };
    if name.is_empty() {
        return Err("name part must be non-empty".to_owned());
    }
    if name.len() > 63 {
        return Err(format!("name part {}", too_many_bytes(63)));
    }
    if qualified_shaped(name) {
        Ok(())
    } else {
        Err(format!("name part {}", regex()))
    }
}

/// A label's value.
pub fn is_label_value(s: &str) -> Check {
    if s.len() > 63 {
        return Err(too_many_bytes(63));
    }
    if s.is_empty() || qualified_shaped(s) {
        return Ok(());
    }
    Err(regex_error(
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
        &["MyValue", "my_value", "12345"],
        "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?",
    ))
}

/// Anything that can stand between two slashes of a path: RBAC names.
pub fn is_path_segment(s: &str) -> Check {
    if s == "." || s == ".." {
        return Err(format!("may not be '{s}'"));
    }
    for c in ["/", "%"] {
        if s.contains(c) {
            return Err(format!("may not contain '{c}'"));
        }
    }
    Ok(())
}

/// A key in a ConfigMap's or Secret's data.
pub fn is_config_map_key(s: &str) -> Check {
    if s.len() > 253 {
        return Err(too_long(253));
    }
    if s.is_empty()
        || !s
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_'))
    {
        return Err(regex_error(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
            &["key.name", "KEY_NAME", "key-name"],
            "[-._a-zA-Z0-9]+",
        ));
    }
    match s {
        "." | ".." => Err(format!("must not be '{s}'")),
        _ if s.starts_with("..") => Err("must not start with '..'".to_owned()),
        _ => Ok(()),
    }
}

/// Which rule a kind's object names follow.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize,
)]
pub enum NameRule {
    /// [`is_dns1123_subdomain`], which most kinds use.
    #[default]
    Subdomain,
    /// [`is_dns1123_label`].
    Label,
    /// [`is_dns1035_label`].
    Label1035,
    /// [`is_path_segment`].
    PathSegment,
}

impl NameRule {
    /// Checks a complete name.
    pub fn check(self, name: &str) -> Check {
        match self {
            Self::Subdomain => is_dns1123_subdomain(name),
            Self::Label => is_dns1123_label(name),
            Self::Label1035 => is_dns1035_label(name),
            Self::PathSegment => is_path_segment(name),
        }
    }

    /// Checks a `generateName`: something that becomes a name when a suffix is appended.
    pub fn check_prefix(self, prefix: &str) -> Check {
        match self {
            Self::PathSegment if prefix == "." || prefix == ".." => Ok(()),
            Self::PathSegment => is_path_segment(prefix),
            // The suffix starts with a letter or digit, so a trailing dash is fine.
            _ => match prefix.strip_suffix('-') {
                Some(rest) if !rest.is_empty() => self.check(&format!("{rest}a")),
                _ => self.check(prefix),
            },
        }
    }
}

/// A name made from `generateName` and some random number.
pub fn generate(prefix: &str, random: u64) -> String {
    let mut end = prefix.len().min(GENERATED_MAX - SUFFIX_LENGTH);
    while !prefix.is_char_boundary(end) {
        end -= 1;
    }
    let mut name = String::with_capacity(end + SUFFIX_LENGTH);
    name.push_str(&prefix[..end]);
    name.push_str(&suffix(random));
    name
}

/// Five characters from a random number.
pub fn suffix(mut random: u64) -> String {
    let base = SUFFIX_ALPHABET.len() as u64;
    (0..SUFFIX_LENGTH)
        .map(|_| {
            let c = SUFFIX_ALPHABET[usize::try_from(random % base).unwrap_or(0)];
            random /= base;
            char::from(c)
        })
        .collect()
}

/// `"a", "b"`: names in a message.
pub fn quoted_list<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    let quoted: Vec<String> = names.into_iter().map(|n| quote(n.as_ref())).collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(result: Check, expected: Result<(), &str>) {
        match (&result, expected) {
            (Ok(()), Ok(())) => {}
            (Err(text), Err(start)) if text.starts_with(start) => {}
            _ => panic!("{result:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn names() {
        check(is_dns1123_label("a-1"), Ok(()));
        check(is_dns1123_label("1"), Ok(()));
        check(
            is_dns1123_label(""),
            Err("a lowercase RFC 1123 label must consist"),
        );
        check(is_dns1123_label("-a"), Err("a lowercase RFC 1123 label"));
        check(is_dns1123_label("a.b"), Err("must not contain dots"));
        check(
            is_dns1123_label(&"a".repeat(64)),
            Err("must be no more than 63 characters"),
        );
        check(is_dns1123_subdomain("a.b-c.1"), Ok(()));
        check(
            is_dns1123_subdomain("a..b"),
            Err("a lowercase RFC 1123 subdomain"),
        );
        check(
            is_dns1123_subdomain("A"),
            Err("a lowercase RFC 1123 subdomain"),
        );
        check(is_dns1035_label("1a"), Err("a DNS-1035 label"));
        check(is_dns1035_label("a1"), Ok(()));
        check(is_path_segment(".."), Err("may not be '..'"));
        check(is_path_segment("a/b"), Err("may not contain '/'"));
        check(is_path_segment("system:node"), Ok(()));
        check(is_config_map_key("..a"), Err("must not start with '..'"));
        check(is_config_map_key("a.b_C-1"), Ok(()));
        check(is_config_map_key("a/b"), Err("a valid config key"));
    }

    #[test]
    fn the_whole_text_is_kubernetes_own() {
        assert_eq!(
            is_dns1123_subdomain("A_").unwrap_err(),
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
        );
        assert_eq!(
            is_dns1123_label("A_").unwrap_err(),
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
        );
    }

    #[test]
    fn keys_and_values() {
        check(is_qualified_name("app"), Ok(()));
        check(is_qualified_name("example.com/App_1.x"), Ok(()));
        check(
            is_qualified_name("/app"),
            Err("prefix part must be non-empty"),
        );
        check(is_qualified_name("a/"), Err("name part must be non-empty"));
        check(
            is_qualified_name("A/b"),
            Err("prefix part a lowercase RFC 1123 subdomain"),
        );
        check(
            is_qualified_name("a/b/c"),
            Err("a valid label key must consist"),
        );
        check(is_qualified_name("a b"), Err("name part must consist"));
        check(
            is_qualified_name(&"a".repeat(64)),
            Err("name part must be no more than 63 bytes"),
        );
        check(is_label_value(""), Ok(()));
        check(is_label_value("a_B.1"), Ok(()));
        check(
            is_label_value("a b"),
            Err("a valid label must be an empty string"),
        );
    }

    #[test]
    fn generated_names_fit_and_may_start_from_a_dash() {
        check(NameRule::Subdomain.check_prefix("web-"), Ok(()));
        check(
            NameRule::Subdomain.check_prefix("Web-"),
            Err("a lowercase RFC 1123 subdomain"),
        );
        check(
            NameRule::Subdomain.check_prefix("-"),
            Err("a lowercase RFC 1123 subdomain"),
        );
        assert_eq!(generate("web-", 0), "web-bbbbb");
        assert_eq!(generate(&"a".repeat(100), 26).len(), 63);
        assert!(
            generate("x", u64::MAX)
                .bytes()
                .skip(1)
                .all(|c| SUFFIX_ALPHABET.contains(&c))
        );
    }
}
