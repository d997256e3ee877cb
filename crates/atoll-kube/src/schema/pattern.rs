//! A schema's `pattern`: Go's regular expressions (RE2), compiled when first used.
//!
//! Both engines take linear time. What they spell differently is rewritten: Go's `\d`, `\w`, `\s` know ASCII only, and
//! brackets and `&&`, `--`, `~~` inside a class are plain characters there.

use std::sync::OnceLock;

use regex::Regex;

/// A pattern as it was written, and its compiled form.
#[derive(Debug, Clone, Default)]
pub struct Pattern {
    source: String,
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    /// A pattern, not compiled yet.
    pub fn new(source: impl Into<String>) -> Self {
        Self {
            source: source.into(),
            compiled: OnceLock::new(),
        }
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Why the pattern is not one.
    pub fn check(&self) -> Result<(), String> {
        Regex::new(&translate(&self.source))
            .map(|_| ())
            .map_err(|e| e.to_string().lines().last().unwrap_or_default().to_owned())
    }

    /// Whether it matches anywhere in `text`. A pattern that does not compile matches nothing.
    pub fn matches(&self, text: &str) -> bool {
        self.compiled
            .get_or_init(|| Regex::new(&translate(&self.source)).ok())
            .as_ref()
            .is_some_and(|r| r.is_match(text))
    }
}

/// Go's spelling to this engine's.
fn translate(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut chars = source.chars().peekable();
    let mut class = 0; // characters since the class opened, 0 outside
    while let Some(c) = chars.next() {
        let inside = class > 0;
        class += usize::from(inside);
        match c {
            '\\' => match chars.next() {
                Some('d') => out.push_str("[0-9]"),
                Some('D') => out.push_str("[^0-9]"),
                Some('w') => out.push_str("[0-9A-Za-z_]"),
                Some('W') => out.push_str("[^0-9A-Za-z_]"),
                Some('s') => out.push_str(r"[\t\n\f\r ]"),
                Some('S') => out.push_str(r"[^\t\n\f\r ]"),
                Some('b') if !inside => out.push_str(r"(?-u:\b)"),
                Some(c) => out.extend(['\\', c]),
                None => out.push('\\'),
            },
            '[' if !inside => {
                class = 1;
                out.push('[');
                if chars.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                // A bracket that comes first is a member.
                if chars.next_if_eq(&']').is_some() {
                    out.push_str("\\]");
                    class += 1;
                }
            }
            '[' if chars.peek() == Some(&':') => {
                // [:alpha:] stays what it is, up to its own end.
                out.push('[');
                while let Some(c) = chars.next() {
                    out.push(c);
                    if c == ':' && chars.peek() == Some(&']') {
                        out.extend(chars.next());
                        break;
                    }
                }
            }
            '[' | '&' | '~' if inside => out.extend(['\\', c]),
            '-' if inside
                && (chars.peek() == Some(&'-') || chars.peek() == Some(&']') || class == 2) =>
            {
                out.push_str("\\-");
            }
            ']' if inside => {
                class = 0;
                out.push(']');
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_in_go() {
        let check = |pattern: &str, text: &str, expected: bool| {
            let p = Pattern::new(pattern);
            assert_eq!(p.check(), Ok(()), "{pattern}");
            assert_eq!(p.matches(text), expected, "{pattern} on {text:?}");
        };
        check("^a+$", "aaa", true);
        check("b", "abc", true);
        check(r"^\d+$", "٣", false);
        check(r"^\d+$", "123", true);
        check(r"^\w$", "é", false);
        check(r"^[\w.-]+$", "a_b.c-d", true);
        check("^[[]$", "[", true);
        check("^[]a]+$", "]a", true);
        check("^[a&&b]+$", "&", true);
        check("^[a--]$", "-", true);
        check("^[-a]+$", "-a", true);
        check("^[^-]$", "-", false);
        check("^[[:alpha:]]+$", "abc", true);
        check(
            r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
            "a.b-c",
            true,
        );
        check(r"^(\d{1,3}\.){3}\d{1,3}$", "10.0.0.1", true);
        check(r"\/", "/", true);
    }

    #[test]
    fn what_is_no_pattern_is_said() {
        assert!(Pattern::new("(").check().is_err());
        assert!(Pattern::new("a{2000000}").check().is_err());
        assert!(!Pattern::new("(").matches("("));
    }
}
