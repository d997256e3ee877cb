//! Text: searching, cutting, joining. Places count characters, not bytes.

use super::{Charge, Entry, entry};
use crate::eval::machine::{Evaluated, Machine, Stop};
use crate::eval::val::{Text, Val};

pub(super) const TABLE: &[Entry] = &[
    entry(
        "contains",
        Charge::Contains,
        contains,
        &["contains_string: string.(string) -> bool"],
    ),
    entry(
        "startsWith",
        Charge::Affix,
        starts_with,
        &["starts_with_string: string.(string) -> bool"],
    ),
    entry(
        "endsWith",
        Charge::Affix,
        ends_with,
        &["ends_with_string: string.(string) -> bool"],
    ),
    entry(
        "charAt",
        Charge::One,
        char_at,
        &["string_char_at_int: string.(int) -> string"],
    ),
    entry(
        "lowerAscii",
        Charge::TraverseSame,
        lower,
        &["string_lower_ascii: string.() -> string"],
    ),
    entry(
        "upperAscii",
        Charge::TraverseSame,
        upper,
        &["string_upper_ascii: string.() -> string"],
    ),
    entry(
        "trim",
        Charge::TraverseSame,
        trim,
        &["string_trim: string.() -> string"],
    ),
    entry(
        "substring",
        Charge::TraverseSame,
        substring,
        &[
            "string_substring_int: string.(int) -> string",
            "string_substring_int_int: string.(int, int) -> string",
        ],
    ),
    entry(
        "replace",
        Charge::Replace,
        replace,
        &[
            "string_replace_string_string: string.(string, string) -> string",
            "string_replace_string_string_int: string.(string, string, int) -> string",
        ],
    ),
    entry(
        "split",
        Charge::Split,
        split,
        &[
            "string_split_string: string.(string) -> list(string)",
            "string_split_string_int: string.(string, int) -> list(string)",
        ],
    ),
    entry(
        "join",
        Charge::Join,
        join,
        &[
            "list_join: list(string).() -> string",
            "list_join_string: list(string).(string) -> string",
        ],
    ),
    entry(
        "strings.quote",
        Charge::Quote,
        quote,
        &["strings_quote: (string) -> string"],
    ),
];

fn two<'v>(arguments: &'v [Val<'_>]) -> Evaluated<(&'v str, &'v str)> {
    match arguments {
        [Val::Text(a), Val::Text(b)] => Ok((a.as_str(), b.as_str())),
        _ => Err(Stop::no_overload()),
    }
}

fn contains<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    two(arguments).map(|(text, part)| Val::Bool(text.contains(part)))
}

fn starts_with<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    two(arguments).map(|(text, part)| Val::Bool(text.starts_with(part)))
}

fn ends_with<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    two(arguments).map(|(text, part)| Val::Bool(text.ends_with(part)))
}

/// New text made of at most `bytes` bytes.
fn made<'a>(
    machine: &mut Machine,
    bytes: usize,
    make: impl FnOnce() -> String,
) -> Evaluated<Val<'a>> {
    machine.allocate(bytes)?;
    Ok(Val::text(make()))
}

/// A part of a text: borrowed where the text is.
fn part<'a>(machine: &mut Machine, text: &Text<'a>, from: usize, to: usize) -> Evaluated<Val<'a>> {
    match text {
        Text::Borrowed(text) => Ok(Val::Text(Text::Borrowed(&text[from..to]))),
        Text::Shared(text) => made(machine, to - from, || text[from..to].to_owned()),
    }
}

/// The byte at which the character of an index starts; the end for the index after the last.
fn byte_of(text: &str, index: i64) -> Option<usize> {
    let index = usize::try_from(index).ok()?;
    text.char_indices()
        .map(|(at, _)| at)
        .chain([text.len()])
        .nth(index)
}

fn out_of_range(index: i64) -> Stop {
    Stop::fault(format!("index out of range: {index}"))
}

fn char_at<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    let [Val::Text(text), Val::Int(index)] = arguments else {
        return Err(Stop::no_overload());
    };
    machine.walk(text.as_str().len() / 8)?;
    let from = byte_of(text.as_str(), *index).ok_or_else(|| out_of_range(*index))?;
    let length = text.as_str()[from..]
        .chars()
        .next()
        .map_or(0, char::len_utf8);
    part(machine, text, from, from + length)
}

fn lower<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    match arguments {
        [Val::Text(text)] => made(machine, text.as_str().len(), || {
            text.as_str().to_ascii_lowercase()
        }),
        _ => Err(Stop::no_overload()),
    }
}

fn upper<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    match arguments {
        [Val::Text(text)] => made(machine, text.as_str().len(), || {
            text.as_str().to_ascii_uppercase()
        }),
        _ => Err(Stop::no_overload()),
    }
}

fn trim<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    let [Val::Text(text)] = arguments else {
        return Err(Stop::no_overload());
    };
    let whole = text.as_str();
    let from = whole.len() - whole.trim_start().len();
    let to = (from + whole[from..].trim_end().len()).max(from);
    part(machine, text, from, to)
}

fn substring<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    let (text, start, end) = match arguments {
        [Val::Text(text), Val::Int(start)] => (text, *start, None),
        [Val::Text(text), Val::Int(start), Val::Int(end)] => (text, *start, Some(*end)),
        _ => return Err(Stop::no_overload()),
    };
    if let Some(end) = end.filter(|end| start > *end) {
        return Err(Stop::fault(format!(
            "invalid substring range. start: {start}, end: {end}"
        )));
    }
    let from = byte_of(text.as_str(), start).ok_or_else(|| out_of_range(start))?;
    let to = match end {
        Some(end) => byte_of(text.as_str(), end).ok_or_else(|| out_of_range(end))?,
        None => text.as_str().len(),
    };
    part(machine, text, from, to)
}

fn replace<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    let (text, old, new, limit) = match arguments {
        [Val::Text(text), Val::Text(old), Val::Text(new)] => (text, old, new, -1),
        [
            Val::Text(text),
            Val::Text(old),
            Val::Text(new),
            Val::Int(limit),
        ] => (text, old, new, *limit),
        _ => return Err(Stop::no_overload()),
    };
    let (text, old, new) = (text.as_str(), old.as_str(), new.as_str());
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    // Counting first bounds what replacing allocates.
    let count = text.matches(old).count().min(limit);
    let size = text.len().saturating_add(count.saturating_mul(new.len()));
    machine.walk(size / 8)?;
    made(machine, size, || text.replacen(old, new, count))
}

fn split<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    let (text, separator, limit) = match arguments {
        [Val::Text(text), Val::Text(separator)] => (text, separator.as_str(), -1),
        [Val::Text(text), Val::Text(separator), Val::Int(limit)] => {
            (text, separator.as_str(), *limit)
        }
        _ => return Err(Stop::no_overload()),
    };
    let whole = text.as_str();
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if limit == 0 {
        return Ok(Val::list(Vec::new()));
    }
    let mut bounds = Vec::new();
    if separator.is_empty() {
        machine.allocate_values(whole.len().min(limit))?;
        for (at, c) in whole.char_indices() {
            if bounds.len() + 1 == limit {
                bounds.push((at, whole.len()));
                break;
            }
            bounds.push((at, at + c.len_utf8()));
        }
    } else {
        let mut from = 0;
        for (at, found) in whole.match_indices(separator) {
            if bounds.len() + 1 == limit {
                break;
            }
            machine.allocate_values(1)?;
            bounds.push((from, at));
            from = at + found.len();
        }
        bounds.push((from, whole.len()));
    }
    machine.allocate(bounds.len().saturating_mul(16))?;
    let parts = bounds
        .into_iter()
        .map(|(from, to)| part(machine, text, from, to))
        .collect::<Evaluated<Vec<_>>>()?;
    Ok(Val::list(parts))
}

fn join<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    let (list, separator) = match arguments {
        [Val::List(list)] => (list, ""),
        [Val::List(list), Val::Text(separator)] => (list, separator.as_str()),
        _ => return Err(Stop::no_overload()),
    };
    let mut joined = String::new();
    for (index, item) in list.iter().enumerate() {
        let item = item?;
        let Val::Text(text) = &item else {
            return Err(Stop::fault(format!(
                "join: invalid input: {}",
                item.shown()
            )));
        };
        let separator = if index == 0 { "" } else { separator };
        let size = separator.len().saturating_add(text.as_str().len());
        // A fifth of a unit for each character, and never less for each item.
        machine.walk(size.saturating_mul(2).max(1))?;
        machine.allocate(size)?;
        joined.push_str(separator);
        joined.push_str(text.as_str());
    }
    Ok(Val::text(joined))
}

fn quote<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    let [Val::Text(text)] = arguments else {
        return Err(Stop::no_overload());
    };
    let text = text.as_str();
    machine.allocate(text.len().saturating_mul(2).saturating_add(2))?;
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            '\\' => quoted.push_str("\\\\"),
            '"' => quoted.push_str("\\\""),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    Ok(Val::text(quoted))
}

/// `text.indexOf(part)`, from a place on.
pub(super) fn index_of<'a>(
    machine: &mut Machine,
    text: &str,
    wanted: &str,
    offset: Option<i64>,
) -> Evaluated<Val<'a>> {
    let offset = offset.unwrap_or(0);
    if wanted.is_empty() {
        return Ok(Val::Int(offset));
    }
    if offset < 0 {
        return Err(out_of_range(offset));
    }
    machine.walk(text.len() / 8)?;
    let found =
        byte_of(text, offset).and_then(|from| text[from..].find(wanted).map(|at| from + at));
    Ok(Val::Int(
        found.map_or(-1, |at| text[..at].chars().count() as i64),
    ))
}

/// `text.lastIndexOf(part)`, starting at a place or before.
pub(super) fn last_index_of<'a>(
    machine: &mut Machine,
    text: &str,
    wanted: &str,
    offset: Option<i64>,
) -> Evaluated<Val<'a>> {
    let length = text.chars().count() as i64;
    if wanted.is_empty() {
        return Ok(Val::Int(offset.unwrap_or(length)));
    }
    if let Some(offset) = offset.filter(|offset| *offset < 0) {
        return Err(out_of_range(offset));
    }
    machine.walk(text.len() / 4)?;
    if offset.is_some_and(|offset| offset >= length) {
        return Ok(Val::Int(-1));
    }
    // What starts at the offset may go on after it.
    let to = offset
        .and_then(|offset| byte_of(text, offset))
        .map_or(text.len(), |from| {
            let mut end = from.saturating_add(wanted.len()).min(text.len());
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            end
        });
    Ok(Val::Int(
        text[..to]
            .rfind(wanted)
            .map_or(-1, |at| text[..at].chars().count() as i64),
    ))
}
