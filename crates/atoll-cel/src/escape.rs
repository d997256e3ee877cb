//! Property names as CEL identifiers: Kubernetes' escaping.
//!
//! `a.b` is written `a__dot__b`, `a-b` `a__dash__b`, `a/b` `a__slash__b`, `a__b` `a__underscores__b`, and a reserved word `in` is `__in__`.
//! A name that is no identifier after that cannot be selected with a dot, only indexed.

const RESERVED: [&str; 22] = [
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
    "__none__",
];

/// The identifier under which a property is selected; `None` when it has none (`1st`, `a b`, the empty name).
pub fn escape(name: &str) -> Option<String> {
    if RESERVED.contains(&name) {
        return Some(format!("__{name}__"));
    }
    if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
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
    if let Some(word) = identifier
        .strip_prefix("__")
        .and_then(|w| w.strip_suffix("__"))
        && RESERVED.contains(&word)
    {
        return Some(word.to_owned());
    }
    let mut out = String::with_capacity(identifier.len());
    let mut rest = identifier;
    'text: while let Some(c) = rest.chars().next() {
        if rest.starts_with("__") {
            for (written, meant) in [
                ("__underscores__", "__"),
                ("__dot__", "."),
                ("__dash__", "-"),
                ("__slash__", "/"),
            ] {
                if let Some(after) = rest.strip_prefix(written) {
                    out.push_str(meant);
                    rest = after;
                    continue 'text;
                }
            }
            return None;
        }
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    Some(out)
}
