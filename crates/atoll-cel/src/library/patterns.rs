//! Regular expressions with RE2's syntax and meaning, on the `regex` crate.
//!
//! A pattern is rewritten first: `\d`, `\s`, `\w` and `\b` know only ASCII, `[` within a class is itself, a brace that repeats nothing is itself. Sizes are
//! limited, and matching is linear, so that no pattern can stall an evaluation.

use std::sync::Arc;

use regex::{Regex, RegexBuilder};

use super::{Charge, Entry, entry};
use crate::eval::machine::{Evaluated, Machine, Stop};
use crate::eval::val::{Text, Val};

pub(super) const TABLE: &[Entry] = &[
    entry(
        "matches",
        Charge::Matches,
        matches,
        &[
            "matches: (string, string) -> bool",
            "matches_string: string.(string) -> bool",
        ],
    ),
    entry(
        "find",
        Charge::Find,
        find,
        &["string_find_string: string.(string) -> string"],
    ),
    entry(
        "findAll",
        Charge::Find,
        find_all,
        &[
            "string_find_all_string: string.(string) -> list(string)",
            "string_find_all_string_int: string.(string, int) -> list(string)",
        ],
    ),
];

/// The longest pattern, and the most memory of a compiled one.
const LONGEST: usize = 10_000;
const LARGEST: usize = 1 << 20;

/// Compiles a pattern; in words why not.
pub(crate) fn compile(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > LONGEST {
        return Err(format!("pattern is longer than {LONGEST} bytes"));
    }
    let rewritten = rewrite(pattern).map_err(|why| format!("error parsing regexp: {why}"))?;
    RegexBuilder::new(&rewritten)
        .size_limit(LARGEST)
        .dfa_size_limit(LARGEST)
        .nest_limit(100)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => {
                "error parsing regexp: expression too large".to_owned()
            }
            other => format!(
                "error parsing regexp: {}",
                other.to_string().lines().last().unwrap_or_default().trim()
            ),
        })
}

/// The pattern as the `regex` crate would write it.
fn rewrite(pattern: &str) -> Result<String, String> {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern;
    let mut class = false;
    // A repetition and its `?` cannot be repeated again.
    let (mut repeated, mut lazy) = (false, false);
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        let repeats_it = !class && (matches!(c, '*' | '+' | '?') || (c == '{' && repeats(after)));
        let makes_lazy = repeated && !lazy && c == '?';
        if repeats_it && repeated && !makes_lazy {
            return Err(format!("invalid nested repetition operator: `{c}`"));
        }
        (repeated, lazy) = (repeats_it, makes_lazy);
        if c == '{' && repeats_it {
            let end = after.find('}').map_or(rest.len(), |end| end + 2);
            out.push_str(&rest[..end]);
            rest = &rest[end..];
            continue;
        }
        match c {
            '\\' => {
                rest = escape(after, class, &mut out)?;
                continue;
            }
            '[' if class => match after.strip_prefix(':').and_then(|name| name.find(":]")) {
                Some(end) => {
                    out.push_str(&rest[..end + 4]);
                    rest = &rest[end + 4..];
                    continue;
                }
                None => out.push_str("\\["),
            },
            '[' => {
                class = true;
                out.push('[');
                let (negated, inside) = after
                    .strip_prefix('^')
                    .map_or((false, after), |inside| (true, inside));
                if negated {
                    out.push('^');
                }
                rest = inside;
                if let Some(inside) = inside.strip_prefix(']') {
                    // The first bracket of a class is itself.
                    out.push_str("\\]");
                    rest = inside;
                }
                continue;
            }
            ']' if class => {
                class = false;
                out.push(']');
            }
            '&' | '~' if class => {
                out.push('\\');
                out.push(c);
            }
            '-' if class && after.starts_with('-') => out.push_str("\\-"),
            '{' if !class => out.push_str("\\{"),
            '}' if !class => out.push_str("\\}"),
            c => out.push(c),
        }
        rest = after;
    }
    Ok(out)
}

/// Whether what follows a brace makes it a repetition: `n}`, `n,}`, `n,m}`.
fn repeats(after: &str) -> bool {
    let Some((inside, _)) = after.split_once('}') else {
        return false;
    };
    let (least, most) = inside.split_once(',').unwrap_or((inside, ""));
    !least.is_empty()
        && least.bytes().all(|b| b.is_ascii_digit())
        && most.bytes().all(|b| b.is_ascii_digit())
}

/// Writes what a backslash and the text after it mean; the rest.
fn escape<'p>(after: &'p str, class: bool, out: &mut String) -> Result<&'p str, String> {
    let Some(c) = after.chars().next() else {
        return Err("trailing backslash at end of expression: ``".to_owned());
    };
    let rest = &after[c.len_utf8()..];
    let (plain, bracketed) = match c {
        'd' => ("[0-9]", "0-9"),
        'D' => ("[^0-9]", "[^0-9]"),
        's' => ("[\\t\\n\\x0C\\r ]", "\\t\\n\\x0C\\r "),
        'S' => ("[^\\t\\n\\x0C\\r ]", "[^\\t\\n\\x0C\\r ]"),
        'w' => ("[0-9A-Za-z_]", "0-9A-Za-z_"),
        'W' => ("[^0-9A-Za-z_]", "[^0-9A-Za-z_]"),
        'b' if !class => ("(?-u:\\b)", ""),
        'B' if !class => ("\\B", ""),
        'A' | 'z' if !class => {
            out.push('\\');
            out.push(c);
            return Ok(rest);
        }
        'Q' => {
            let (quoted, rest) = rest.split_once("\\E").unwrap_or((rest, ""));
            out.push_str(&regex::escape(quoted));
            return Ok(rest);
        }
        'a' | 'f' | 't' | 'n' | 'r' | 'v' | 'p' | 'P' | 'x' => {
            out.push('\\');
            out.push(c);
            return Ok(rest);
        }
        '0'..='7' => {
            let digits: String = after
                .chars()
                .take(3)
                .take_while(|c| ('0'..='7').contains(c))
                .collect();
            let code = u32::from_str_radix(&digits, 8).unwrap_or_default();
            if c != '0' && digits.len() < 2 {
                return Err(format!("invalid escape sequence: `\\{c}`"));
            }
            out.push_str(&format!("\\x{{{code:x}}}"));
            return Ok(&after[digits.len()..]);
        }
        c if c.is_ascii_alphanumeric() || !c.is_ascii() => {
            return Err(format!("invalid escape sequence: `\\{c}`"));
        }
        c => {
            // Punctuation is itself; some of it escaped means more to the crate.
            match c {
                '<' | '>' | '_' | '\'' | '"' | ' ' | '/' | ',' | ';' | ':' | '=' | '@' | '!'
                | '%' | '`' => out.push(c),
                c => {
                    out.push('\\');
                    out.push(c);
                }
            }
            return Ok(rest);
        }
    };
    out.push_str(if class { bracketed } else { plain });
    Ok(rest)
}

fn subject<'v, 'a>(arguments: &'v [Val<'a>]) -> Evaluated<(&'v Text<'a>, &'v str)> {
    match arguments {
        [Val::Text(text), Val::Text(pattern), ..] => Ok((text, pattern.as_str())),
        _ => Err(Stop::no_overload()),
    }
}

/// A call whose pattern was compiled with the program.
pub(crate) fn run<'a>(
    machine: &mut Machine,
    name: &str,
    pattern: &Arc<Regex>,
    arguments: &[Val<'a>],
) -> Evaluated<Val<'a>> {
    let (text, _) = subject(arguments)?;
    match name {
        "matches" => Ok(Val::Bool(pattern.is_match(text.as_str()))),
        "find" => match pattern.find(text.as_str()) {
            Some(found) => part(machine, text, found.start(), found.end()),
            None => Ok(Val::Text(Text::Borrowed(""))),
        },
        _ => all(machine, text, pattern, arguments.get(2)),
    }
}

fn part<'a>(machine: &mut Machine, text: &Text<'a>, from: usize, to: usize) -> Evaluated<Val<'a>> {
    match text {
        Text::Borrowed(text) => Ok(Val::Text(Text::Borrowed(&text[from..to]))),
        Text::Shared(text) => {
            machine.allocate(to - from)?;
            Ok(Val::text(&text[from..to]))
        }
    }
}

fn all<'a>(
    machine: &mut Machine,
    text: &Text<'a>,
    pattern: &Regex,
    limit: Option<&Val<'a>>,
) -> Evaluated<Val<'a>> {
    let limit = match limit {
        Some(Val::Int(limit)) => usize::try_from(*limit).unwrap_or(usize::MAX),
        Some(_) => return Err(Stop::no_overload()),
        None => usize::MAX,
    };
    let mut found = Vec::new();
    for hit in pattern.find_iter(text.as_str()).take(limit) {
        machine.allocate_values(1)?;
        machine.walk(1)?;
        found.push(part(machine, text, hit.start(), hit.end())?);
    }
    Ok(Val::list(found))
}

fn dynamic<'a>(machine: &mut Machine, name: &str, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    let (_, pattern) = subject(arguments)?;
    let compiled = machine.pattern(pattern)?;
    run(machine, name, &compiled, arguments)
}

fn matches<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    dynamic(machine, "matches", arguments)
}

fn find<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    dynamic(machine, "find", arguments)
}

fn find_all<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    dynamic(machine, "findAll", arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_re2_means() {
        for (pattern, text, matches) in [
            (r"^\d+$", "123", true),
            (r"^\d+$", "١٢٣", false),
            (r"^\w+$", "aé", false),
            (r"^[\d.]+$", "1.2", true),
            (r"^[^\D]+$", "12", true),
            (r"^[[]$", "[", true),
            (r"^[]a]+$", "]a", true),
            (r"^[^]]$", "a", true),
            (r"^[a&&b]+$", "&", true),
            (r"^[[:alpha:]-]+$", "a-b", true),
            (r"^a{2}$", "aa", true),
            (r"^a{,2}$", "a{,2}", true),
            (r"^{$", "{", true),
            (r"^a{x}$", "a{x}", true),
            (r"^\<a\>$", "<a>", true),
            (r"^\Qa.b\E$", "a.b", true),
            (r"^\Qa.b\E$", "axb", false),
            (r"\bé", "é", false),
            (r"^\/a\-b\_$", "/a-b_", true),
            (r"^\101$", "A", true),
            (r"^\pL+$", "é", true),
            (r"(?i)^ABC$", "abc", true),
            (r"a.b$", "a\nb", false),
            (r"^a{2,3}?b*?$", "aa", true),
            (r"^(a+)+$", "aa", true),
        ] {
            match compile(pattern) {
                Ok(regex) => assert_eq!(regex.is_match(text), matches, "{pattern} on {text:?}"),
                Err(error) => panic!("{pattern}: {error}"),
            }
        }
    }

    #[test]
    fn what_re2_refuses_is_refused() {
        for pattern in [
            "[", "(", "a**(", r"\8", r"\y", "(?P<n", "\\", "(?=a)", r"\1",
        ] {
            assert!(compile(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn large_patterns_are_refused_at_once() {
        assert!(compile(&"(".repeat(5_000)).is_err());
        assert!(compile("((a{100}){100}){100}").is_err());
        assert!(compile(&"a".repeat(20_000)).is_err());
    }
}
