//! Kubernetes' own dialect of JSONPath, as CRDs use it for columns, scale and selectable fields: `.spec.x`,
//! `{.spec.x}`, `['a\.b']`, `[0]`, `[-1:]`, `[*]`, `['a','b']`, `..x`, `[?(@.type=="Ready")].status`.
//!
//! A parsed path is immutable; evaluating it borrows from the object and never fails: what is not there yields nothing.

use std::fmt;

use serde_json::Value;

const MAX_LENGTH: usize = 4096;
const MAX_NESTING: usize = 16;

/// A parsed path.
#[derive(Debug, Clone)]
pub struct JsonPath {
    source: String,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(String),
    Wildcard,
    Recursive,
    /// `[start:end:step]`; `[n]` is a slice of one.
    Slice {
        start: Option<i64>,
        end: Option<i64>,
        step: i64,
        single: bool,
    },
    Union(Vec<Vec<Step>>),
    Filter(Vec<Step>, Compare, Vec<Step>),
    /// A literal inside a filter.
    Literal(Value),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compare {
    Exists,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl JsonPath {
    /// Parses `.spec.x` or `{.spec.x}`.
    pub fn parse(source: &str) -> Result<Self, String> {
        if source.len() > MAX_LENGTH {
            return Err(format!("the path is longer than {MAX_LENGTH} bytes"));
        }
        let inner = match source.strip_prefix('{') {
            Some(rest) => rest.strip_suffix('}').ok_or("unclosed action")?,
            None => source,
        };
        Ok(Self {
            source: source.to_owned(),
            steps: parse_steps(inner, 0)?,
        })
    }

    /// All values the path leads to.
    pub fn eval<'a>(&'a self, value: &'a Value) -> Vec<&'a Value> {
        eval_steps(&self.steps, vec![value])
    }

    /// The first of them.
    pub fn first<'a>(&'a self, value: &'a Value) -> Option<&'a Value> {
        match self.fields() {
            Some(mut names) => names.try_fold(value, |v, name| v.get(name)),
            None => self.eval(value).first().copied(),
        }
    }

    /// The names of the fields (`spec`, `replicas`), when the path consists only of names.
    pub fn fields(&self) -> Option<impl Iterator<Item = &str>> {
        let plain = self.steps.iter().all(|s| matches!(s, Step::Field(_)));
        plain.then(|| {
            self.steps.iter().filter_map(|s| match s {
                Step::Field(name) => Some(name.as_str()),
                _ => None,
            })
        })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// Where it was written, a simple path ends in this place of a tree, made when it does not exist.
    /// `None` if the path is not simple or runs through something that is no map.
    pub fn entry<'a>(&self, value: &'a mut Value) -> Option<&'a mut Value> {
        self.fields()?.try_fold(value, |v, name| {
            if v.is_null() {
                *v = Value::Object(serde_json::Map::new());
            }
            Some(v.as_object_mut()?.entry(name).or_insert(Value::Null))
        })
    }
}

impl PartialEq for JsonPath {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for JsonPath {}

impl std::hash::Hash for JsonPath {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.source.hash(state);
    }
}

impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

fn ends_name(c: char) -> bool {
    matches!(
        c,
        ' ' | '\t' | '\r' | '\n' | '.' | ',' | '[' | ']' | '$' | '@' | '{' | '}'
    )
}

fn parse_steps(text: &str, nesting: usize) -> Result<Vec<Step>, String> {
    if nesting > MAX_NESTING {
        return Err(format!(
            "filters and unions nest deeper than {MAX_NESTING} levels"
        ));
    }
    let mut steps = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("[?(") {
            let (filter, after) = parse_filter(after, nesting)?;
            steps.push(filter);
            rest = after;
        } else if let Some(after) = rest.strip_prefix("..") {
            if steps.last() == Some(&Step::Recursive) {
                return Err("invalid multiple recursive descent".to_owned());
            }
            steps.push(Step::Recursive);
            rest = after;
            if rest.starts_with(|c: char| c.is_alphanumeric() || c == '_') {
                rest = take_field(rest, &mut steps);
            }
        } else {
            match c {
                '\n' | '\r' => return Err("unclosed action".to_owned()),
                ' ' | '@' | '$' => rest = &rest[1..],
                '[' => rest = parse_brackets(&rest[1..], nesting, &mut steps)?,
                '"' | '\'' => {
                    let (literal, after) = parse_quoted(rest, c)?;
                    steps.push(Step::Literal(literal.into()));
                    rest = after;
                }
                '.' => rest = take_field(&rest[1..], &mut steps),
                '+' | '-' | '0'..='9' => {
                    let end = rest[1..]
                        .find(|c: char| c != '.' && !c.is_ascii_digit())
                        .map_or(rest.len(), |i| i + 1);
                    let number = rest[..end].strip_prefix('+').unwrap_or(&rest[..end]);
                    let value = match (number.parse::<i64>(), number.parse::<f64>()) {
                        (Ok(i), _) => i.into(),
                        (_, Ok(f)) if f.is_finite() => f.into(),
                        _ => return Err(format!("cannot parse number {}", &rest[..end])),
                    };
                    steps.push(Step::Literal(value));
                    rest = &rest[end..];
                }
                c if c.is_alphanumeric() || c == '_' => {
                    let end = rest.find(ends_name).unwrap_or(rest.len());
                    match &rest[..end] {
                        "true" => steps.push(Step::Literal(true.into())),
                        "false" => steps.push(Step::Literal(false.into())),
                        word => return Err(format!("unrecognized identifier {word}")),
                    }
                    rest = &rest[end..];
                }
                c => {
                    return Err(format!(
                        "unrecognized character in action: U+{:04X} '{c}'",
                        c as u32
                    ));
                }
            }
        }
    }
    Ok(steps)
}

/// A name up to the next unescaped terminator; returns what follows.
fn take_field<'a>(text: &'a str, steps: &mut Vec<Step>) -> &'a str {
    let mut name = String::new();
    let mut chars = text.char_indices();
    let mut end = text.len();
    while let Some((i, c)) = chars.next() {
        if c == '\\' {
            if let Some((_, escaped)) = chars.next() {
                name.push(escaped);
            }
        } else if ends_name(c) {
            end = i;
            break;
        } else {
            name.push(c);
        }
    }
    if name == "*" {
        steps.push(Step::Wildcard);
    } else if !name.is_empty() {
        steps.push(Step::Field(name));
    }
    &text[end..]
}

/// What stands between `[` and `]`.
fn parse_brackets<'a>(
    text: &'a str,
    nesting: usize,
    steps: &mut Vec<Step>,
) -> Result<&'a str, String> {
    let end = text.find(']').ok_or("unterminated array")?;
    let (inner, rest) = (&text[..end], &text[end + 1..]);
    if inner.contains(',') {
        let parts: Result<Vec<_>, _> = inner
            .split(',')
            .map(|part| parse_steps(&format!("[{}]", part.trim_matches(' ')), nesting + 1))
            .collect();
        steps.push(Step::Union(parts?));
        return Ok(rest);
    }
    if let Some(key) = inner.strip_prefix('\'').and_then(|k| k.strip_suffix('\'')) {
        // Dots inside are separators here too, unless escaped.
        steps.extend(parse_steps(&format!(".{key}"), nesting + 1)?);
        return Ok(rest);
    }
    if inner == "*" {
        steps.push(Step::Slice {
            start: None,
            end: None,
            step: 1,
            single: false,
        });
        return Ok(rest);
    }
    let wrong = || format!("invalid array index {inner}");
    let parts: Vec<Option<i64>> = inner
        .split(':')
        .map(|p| {
            if p.is_empty() {
                Ok(None)
            } else {
                p.parse().map(Some)
            }
        })
        .collect::<Result<_, _>>()
        .map_err(|_| wrong())?;
    let step = match parts.as_slice() {
        [Some(n)] => Step::Slice {
            start: Some(*n),
            end: None,
            step: 1,
            single: true,
        },
        [start, end] => Step::Slice {
            start: *start,
            end: *end,
            step: 1,
            single: false,
        },
        [start, end, step] => Step::Slice {
            start: *start,
            end: *end,
            step: step.unwrap_or(1),
            single: false,
        },
        _ => return Err(wrong()),
    };
    if matches!(step, Step::Slice { step, .. } if step <= 0) {
        return Err("step must be > 0".to_owned());
    }
    steps.push(step);
    Ok(rest)
}

fn parse_quoted(text: &str, quote: char) -> Result<(String, &str), String> {
    let mut out = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((i, c)) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some((_, 'n')) => out.push('\n'),
                Some((_, 't')) => out.push('\t'),
                Some((_, c)) => out.push(c),
                None => break,
            },
            '\n' => break,
            c if c == quote => return Ok((out, &text[i + 1..])),
            c => out.push(c),
        }
    }
    Err("unterminated quoted string".to_owned())
}

/// What stands between `[?(` and `)]`.
fn parse_filter(text: &str, nesting: usize) -> Result<(Step, &str), String> {
    let mut quote = None;
    let mut escaped = false;
    let mut end = None;
    for (i, c) in text.char_indices() {
        match (c, quote) {
            _ if escaped => escaped = false,
            ('\\', _) => escaped = true,
            ('\n', _) => break,
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(q)) if c == q => quote = None,
            (')', None) => {
                end = Some(i);
                break;
            }
            _ => {}
        }
    }
    let end = end.ok_or("unterminated filter")?;
    let inner = &text[..end];
    let rest = text[end + 1..]
        .strip_prefix(']')
        .ok_or("unclosed array expect ]")?;
    let is_operator = |c: char| matches!(c, '!' | '<' | '>' | '=');
    let Some(at) = inner.find(is_operator) else {
        let left = parse_steps(inner, nesting + 1)?;
        return Ok((Step::Filter(left, Compare::Exists, Vec::new()), rest));
    };
    let (left, right) = inner.split_at(at);
    let operator_end = right.find(|c| !is_operator(c)).unwrap_or(right.len());
    let (operator, right) = right.split_at(operator_end);
    let compare = match operator {
        "==" => Compare::Equal,
        "!=" => Compare::NotEqual,
        "<" => Compare::Less,
        "<=" => Compare::LessOrEqual,
        ">" => Compare::Greater,
        ">=" => Compare::GreaterOrEqual,
        other => return Err(format!("unrecognized filter operator {other}")),
    };
    let filter = Step::Filter(
        parse_steps(left, nesting + 1)?,
        compare,
        parse_steps(right, nesting + 1)?,
    );
    Ok((filter, rest))
}

fn eval_steps<'a>(steps: &'a [Step], start: Vec<&'a Value>) -> Vec<&'a Value> {
    steps
        .iter()
        .fold(start, |values, step| eval_step(step, &values))
}

fn eval_step<'a>(step: &'a Step, values: &[&'a Value]) -> Vec<&'a Value> {
    let mut out = Vec::new();
    match step {
        Step::Field(name) => out.extend(values.iter().filter_map(|v| v.get(name))),
        Step::Wildcard => values.iter().for_each(|v| out.extend(children(v))),
        Step::Recursive => values.iter().for_each(|v| descend(v, &mut out)),
        Step::Slice {
            start,
            end,
            step,
            single,
        } => {
            for value in values {
                if let Value::Array(list) = value {
                    slice(list, *start, *end, *step, *single, &mut out);
                }
            }
        }
        Step::Union(parts) => parts
            .iter()
            .for_each(|part| out.extend(eval_steps(part, values.to_vec()))),
        Step::Filter(left, compare, right) => values
            .iter()
            .flat_map(|v| children(v))
            .filter(|item| passes(item, left, *compare, right))
            .for_each(|item| out.push(item)),
        Step::Literal(value) => out.push(value),
    }
    out
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(list) => list.iter().collect(),
        Value::Object(map) => map.values().collect(),
        _ => Vec::new(),
    }
}

fn descend<'a>(value: &'a Value, out: &mut Vec<&'a Value>) {
    out.push(value);
    for child in children(value) {
        descend(child, out);
    }
}

fn slice<'a>(
    list: &'a [Value],
    start: Option<i64>,
    end: Option<i64>,
    step: i64,
    single: bool,
    out: &mut Vec<&'a Value>,
) {
    let length = i64::try_from(list.len()).unwrap_or(i64::MAX);
    let from_end = |i: i64| if i < 0 { i + length } else { i };
    let start = from_end(start.unwrap_or(0));
    let end = if single {
        start.saturating_add(1)
    } else {
        end.map_or(length, from_end).min(length)
    };
    let mut i = start;
    while i >= 0 && i < end {
        match usize::try_from(i).ok().and_then(|i| list.get(i)) {
            Some(value) => out.push(value),
            None => break,
        }
        i = i.saturating_add(step);
    }
}

fn passes(item: &Value, left: &[Step], compare: Compare, right: &[Step]) -> bool {
    let found = eval_steps(left, vec![item]);
    if compare == Compare::Exists {
        return !found.is_empty();
    }
    let wanted = eval_steps(right, vec![item]);
    let (Some(a), Some(b)) = (found.first(), wanted.first()) else {
        return false;
    };
    let ordering = match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        _ => None,
    };
    match (compare, ordering) {
        (Compare::Equal, o) => o.is_some_and(std::cmp::Ordering::is_eq),
        (Compare::NotEqual, o) => o.is_some_and(std::cmp::Ordering::is_ne),
        (Compare::Less, o) => o.is_some_and(std::cmp::Ordering::is_lt),
        (Compare::LessOrEqual, o) => o.is_some_and(std::cmp::Ordering::is_le),
        (Compare::Greater, o) => o.is_some_and(std::cmp::Ordering::is_gt),
        (Compare::GreaterOrEqual, o) => o.is_some_and(std::cmp::Ordering::is_ge),
        (Compare::Exists, _) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn paths_find_what_kubectl_finds() {
        let object = json!({
            "metadata": {"name": "web", "annotations": {"example.com/a": "x"}},
            "spec": {"replicas": 3, "items": [{"n": 1, "t": "a"}, {"n": 2, "t": "b"}, {"n": 3, "t": "c"}]},
            "status": {"conditions": [
                {"type": "Ready", "status": "True", "ok": true},
                {"type": "Synced", "status": "False", "reason": "Why (not)"}]}
        });
        let check = |path: &str, expected: Vec<Value>| {
            let parsed = JsonPath::parse(path).unwrap_or_else(|e| panic!("{path}: {e}"));
            let found: Vec<Value> = parsed.eval(&object).into_iter().cloned().collect();
            assert_eq!(found, expected, "{path}");
            assert_eq!(
                parsed.first(&object).cloned(),
                expected.first().cloned(),
                "{path}"
            );
        };
        check(".spec.replicas", vec![json!(3)]);
        check("{.spec.replicas}", vec![json!(3)]);
        check("$.spec.replicas", vec![json!(3)]);
        check(".spec.nothing.below", vec![]);
        check(".metadata.annotations.example\\.com/a", vec![json!("x")]);
        check(".metadata.annotations['example\\.com/a']", vec![json!("x")]);
        check(".spec['replicas']", vec![json!(3)]);
        check(".spec.items[0].t", vec![json!("a")]);
        check(".spec.items[-1].t", vec![json!("c")]);
        check(".spec.items[9].t", vec![]);
        check(".spec.items[*].t", vec![json!("a"), json!("b"), json!("c")]);
        check(".spec.items[0:2].n", vec![json!(1), json!(2)]);
        check(".spec.items[::2].n", vec![json!(1), json!(3)]);
        check(".spec.items[0,2].n", vec![json!(1), json!(3)]);
        check(".metadata['name','uid']", vec![json!("web")]);
        check(".spec.items[?(@.n>1)].t", vec![json!("b"), json!("c")]);
        check(
            ".status.conditions[?(@.type==\"Ready\")].status",
            vec![json!("True")],
        );
        check(
            ".status.conditions[?(@.type=='Synced')].status",
            vec![json!("False")],
        );
        check(
            ".status.conditions[?(@.reason==\"Why (not)\")].type",
            vec![json!("Synced")],
        );
        check(".status.conditions[?(@.ok)].type", vec![json!("Ready")]);
        check(
            ".status.conditions[?(@.ok==true)].type",
            vec![json!("Ready")],
        );
        check("..t", vec![json!("a"), json!("b"), json!("c")]);
        check(".spec.*", vec![object["spec"]["items"].clone(), json!(3)]);
    }

    #[test]
    fn bad_paths_are_refused() {
        let check = |path: &str, part: &str| {
            let e = JsonPath::parse(path).unwrap_err();
            assert!(e.contains(part), "{path}: {e}");
        };
        check(".spec[", "unterminated array");
        check(".spec[x]", "invalid array index x");
        check(".spec[?(@.x==1]", "unterminated filter");
        check(".spec[?(@.x~1)", "unclosed array expect ]");
        check("{.spec", "unclosed action");
        check("spec", "unrecognized identifier spec");
        check(".spec[?(@.a=b)]", "unrecognized filter operator =");
        check("....a", "invalid multiple recursive descent");
        check("#", "unrecognized character");
        check(&".a".repeat(3000), "longer than 4096 bytes");
    }

    #[test]
    fn simple_paths_can_be_written() {
        let path = JsonPath::parse(".spec.a.b").unwrap();
        let mut object = json!({"spec": {}});
        *path.entry(&mut object).unwrap() = json!(1);
        assert_eq!(object, json!({"spec": {"a": {"b": 1}}}));
        assert!(
            JsonPath::parse(".a[0]")
                .unwrap()
                .entry(&mut object)
                .is_none()
        );
    }

    proptest! {
        #[test]
        fn no_path_panics(path in "[.a-c0-9\\[\\]?(@=')\"*:,\\\\${} é-]{0,40}") {
            let object = json!({"a": [{"b": 1, "c": "x"}, [1, 2]], "b": {"a": null}});
            if let Ok(parsed) = JsonPath::parse(&path) {
                parsed.eval(&object);
            }
        }
    }
}
