//! Property names as CEL identifiers: Kubernetes' escaping.
//!
//! `a.b` is written `a__dot__b`, `a-b` `a__dash__b`, `a/b` `a__slash__b`, `a__b` `a__underscores__b`, and a reserved word `in` is `__in__`.
//! A name that is no identifier after that cannot be selected with a dot, only indexed.

/// Words that are no names.
pub(crate) const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// The identifier under which a property is selected; `None` when it has none (`1st`, `a b`, the empty name).
pub fn escape(name: &str) -> Option<String> {
    if RESERVED.contains(&name) {
        return Some(format!("__{name}__"));
    }
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("__") {
            out.push_str("__underscores__");
            rest = after;
            continue;
        }
        match c {
            '.' => out.push_str("__dot__"),
            '-' => out.push_str("__dash__"),
            '/' => out.push_str("__slash__"),
            c if c.is_ascii_alphanumeric() || c == '_' => out.push(c),
            _ => return None,
        }
        rest = &rest[c.len_utf8()..];
    }
    Some(out)
}

/// The property that an identifier names; `None` when no property escapes to it.
pub fn unescape(identifier: &str) -> Option<String> {
    let mut out = String::with_capacity(identifier.len());
    let mut rest = identifier;
    while let Some(c) = rest.chars().next() {
        let Some((word, after)) = written(rest) else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        out.push_str(match word {
            "underscores" => "__",
            "dot" => ".",
            "dash" => "-",
            "slash" => "/",
            // A reserved word is escaped only as a whole.
            word if RESERVED.contains(&word) && word.len() + 4 == identifier.len() => word,
            _ => return None,
        });
        rest = after;
    }
    Some(out)
}

/// The word of `__word__` at the start of a text, and what follows.
fn written(text: &str) -> Option<(&str, &str)> {
    let inside = text.strip_prefix("__")?;
    let end = inside.find('_').filter(|end| *end > 0)?;
    Some((&inside[..end], inside[end..].strip_prefix("__")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_as_upstream_does() {
        for (name, escaped) in [
            ("a", Some("a")),
            ("a.b", Some("a__dot__b")),
            ("a-b", Some("a__dash__b")),
            ("a/b", Some("a__slash__b")),
            ("a__b", Some("a__underscores__b")),
            ("___", Some("__underscores___")),
            ("_-", Some("___dash__")),
            ("namespace", Some("__namespace__")),
            ("namespaces", Some("namespaces")),
            ("in", Some("__in__")),
            (".a", Some("__dot__a")),
            ("_", Some("_")),
            ("", None),
            ("1a", None),
            ("a b", None),
            ("é", None),
        ] {
            assert_eq!(escape(name).as_deref(), escaped, "{name}");
            if let Some(escaped) = escaped {
                assert_eq!(unescape(escaped).as_deref(), Some(name), "{escaped}");
            }
        }
        assert_eq!(unescape("a__other__b"), None);
    }
}
