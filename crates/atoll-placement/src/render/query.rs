//! JSONPath (RFC 9535) over objects that are changed: what a CustomTransform removes, and where a Customizer puts a value.
//!
//! KubeStellar's syntax: `$.spec.ports[*].nodePort`, `$..annotations["a.b/c"]`, `$.containers[?@.name == "web"].image`,
//! `[0]`, `[-1]`, `[1:3]`. The dollar may be left out. A parsed query names something below the root, never the whole.

use serde_json::{Map, Value};

mod parse;

#[cfg(test)]
mod tests;

/// The longest query, in bytes.
pub const MAX_LENGTH: usize = 4096;

/// A parsed query.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    source: Box<str>,
    segments: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq)]
struct Segment {
    /// `..`: here and everywhere below.
    descends: bool,
    selectors: Vec<Selector>,
}

#[derive(Debug, Clone, PartialEq)]
enum Selector {
    Name(String),
    Every,
    Index(i64),
    Slice(Option<i64>, Option<i64>, i64),
    Filter(Test),
}

/// A filter's condition about an element or member.
#[derive(Debug, Clone, PartialEq)]
enum Test {
    All(Vec<Test>),
    Any(Vec<Test>),
    Not(Box<Test>),
    Exists(Vec<Segment>),
    Compare(Operand, Comparison, Operand),
}

#[derive(Debug, Clone, PartialEq)]
enum Operand {
    Literal(Value),
    Path(Vec<Segment>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl std::fmt::Display for Query {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.source)
    }
}

impl Query {
    /// Parses a query. The error says what is wrong and at which character.
    pub fn parse(source: &str) -> Result<Self, String> {
        let segments = parse::query(source)?;
        if segments.is_empty() {
            return Err("it names the whole object".to_owned());
        }
        Ok(Query {
            source: source.into(),
            segments,
        })
    }

    /// The names of the fields, when the query is made of plain names only.
    pub fn names(&self) -> Option<Vec<&str>> {
        names(&self.segments)
    }

    /// The names that it begins with.
    pub fn leading_names(&self) -> Vec<&str> {
        self.segments
            .iter()
            .map_while(|s| match s.selectors.as_slice() {
                [Selector::Name(name)] if !s.descends => Some(name.as_str()),
                _ => None,
            })
            .collect()
    }

    /// Whether it looks at all depths (`..`), so that it can not say where something is put.
    pub fn descends(&self) -> bool {
        self.segments.iter().any(|s| s.descends)
    }

    /// Removes everything that it names.
    pub fn remove(&self, value: &mut Value) {
        remove(&self.segments, value);
    }

    /// Gives each place that it names the value that `change` makes of what is there (`None`: nothing is there, or shall
    /// be). Maps on the way to a plain name are made; other steps must exist, but `*`, slices and filters may find nothing.
    pub fn update<E>(
        &self,
        value: &mut Value,
        change: Change<'_, E>,
    ) -> Result<(), UpdateError<E>> {
        update(&self.segments, value, "", change)
    }
}

/// What is to be where something is, or is not.
pub type Change<'c, E> = &'c mut dyn FnMut(Option<&Value>) -> Result<Option<Value>, E>;

/// Why an update could not be made.
#[derive(Debug, PartialEq)]
pub enum UpdateError<E> {
    /// There is no such place: why.
    NoPlace(String),
    /// The new value could not be made.
    Change(E),
}

fn names(segments: &[Segment]) -> Option<Vec<&str>> {
    segments
        .iter()
        .map(|s| match s.selectors.as_slice() {
            [Selector::Name(name)] if !s.descends => Some(name.as_str()),
            _ => None,
        })
        .collect()
}

fn index_of(at: i64, len: usize) -> Option<usize> {
    let len = i64::try_from(len).ok()?;
    let at = if at < 0 { at + len } else { at };
    usize::try_from(at).ok().filter(|_| at < len)
}

/// Whether a slice has an index: the bounds of RFC 9535, negative steps included.
fn in_slice(slice: (Option<i64>, Option<i64>, i64), at: usize, len: usize) -> bool {
    let (start, end, step) = slice;
    let (Ok(len), Ok(at)) = (i64::try_from(len), i64::try_from(at)) else {
        return false;
    };
    let normal = |i: i64| if i >= 0 { i } else { len.saturating_add(i) };
    if step > 0 {
        let lower = normal(start.unwrap_or(0)).clamp(0, len);
        let upper = normal(end.unwrap_or(len)).clamp(0, len);
        at >= lower && at < upper && (at - lower) % step == 0
    } else if step < 0 {
        let upper = normal(start.unwrap_or(len - 1)).clamp(-1, len - 1);
        let lower = end.map_or(-1, |e| normal(e).clamp(-1, len - 1));
        at <= upper && at > lower && (upper - at) % step.saturating_abs() == 0
    } else {
        false
    }
}

impl Selector {
    fn has_name(&self, name: &str, member: &Value) -> bool {
        match self {
            Selector::Name(wanted) => wanted == name,
            Selector::Every => true,
            Selector::Filter(test) => test.holds(member),
            Selector::Index(_) | Selector::Slice(..) => false,
        }
    }

    fn has_index(&self, at: usize, len: usize, item: &Value) -> bool {
        match self {
            Selector::Index(wanted) => index_of(*wanted, len) == Some(at),
            Selector::Slice(start, end, step) => in_slice((*start, *end, *step), at, len),
            Selector::Every => true,
            Selector::Filter(test) => test.holds(item),
            Selector::Name(_) => false,
        }
    }
}

impl Segment {
    fn has_name(&self, name: &str, member: &Value) -> bool {
        self.selectors.iter().any(|s| s.has_name(name, member))
    }

    fn has_index(&self, at: usize, len: usize, item: &Value) -> bool {
        self.selectors.iter().any(|s| s.has_index(at, len, item))
    }

    /// The children of a value that it selects, without descending.
    fn children<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        match value {
            Value::Object(map) => match self.selectors.as_slice() {
                [Selector::Name(name)] => map.get(name).into_iter().collect(),
                _ => map
                    .iter()
                    .filter(|(name, member)| self.has_name(name, member))
                    .map(|(_, member)| member)
                    .collect(),
            },
            Value::Array(items) => items
                .iter()
                .enumerate()
                .filter(|(at, item)| self.has_index(*at, items.len(), item))
                .map(|(_, item)| item)
                .collect(),
            _ => Vec::new(),
        }
    }
}

fn remove(segments: &[Segment], value: &mut Value) {
    let Some((segment, rest)) = segments.split_first() else {
        return;
    };
    if segment.descends {
        match value {
            Value::Object(map) => map.values_mut().for_each(|v| remove(segments, v)),
            Value::Array(items) => items.iter_mut().for_each(|v| remove(segments, v)),
            _ => return,
        }
    }
    match value {
        Value::Object(map) if rest.is_empty() => {
            map.retain(|name, member| !segment.has_name(name, member));
        }
        Value::Object(map) => {
            for (name, member) in map.iter_mut() {
                if segment.has_name(name, member) {
                    remove(rest, member);
                }
            }
        }
        Value::Array(items) => {
            let len = items.len();
            let mut at = 0;
            let mut selected = |item: &Value| {
                at += 1;
                segment.has_index(at - 1, len, item)
            };
            if rest.is_empty() {
                items.retain(|item| !selected(item));
            } else {
                for item in items.iter_mut() {
                    if selected(item) {
                        remove(rest, item);
                    }
                }
            }
        }
        _ => {}
    }
}

fn update<E>(
    segments: &[Segment],
    value: &mut Value,
    path: &str,
    change: Change<'_, E>,
) -> Result<(), UpdateError<E>> {
    let Some((segment, rest)) = segments.split_first() else {
        let new = change(Some(value)).map_err(UpdateError::Change)?;
        *value = new.unwrap_or(Value::Null);
        return Ok(());
    };
    if let [Selector::Name(name)] = segment.selectors.as_slice() {
        let here = format!("{path}.{name}");
        let Value::Object(map) = value else {
            return Err(UpdateError::NoPlace(format!("{} is no map", shown(path))));
        };
        return update_member(map, name, rest, &here, change);
    }
    if let ([Selector::Index(at)], Value::Array(items)) =
        (segment.selectors.as_slice(), &mut *value)
    {
        let len = items.len();
        let here = format!("{path}[{at}]");
        let Some(item) = index_of(*at, len).and_then(|at| items.get_mut(at)) else {
            return Err(UpdateError::NoPlace(format!("{here} is not there")));
        };
        return update(rest, item, &here, change);
    }
    match value {
        Value::Array(items) => {
            let len = items.len();
            for (at, item) in items.iter_mut().enumerate() {
                if segment.has_index(at, len, item) {
                    update(rest, item, &format!("{path}[{at}]"), change)?;
                }
            }
            Ok(())
        }
        Value::Object(map) => {
            for (name, member) in map.iter_mut() {
                if segment.has_name(name, member) {
                    update(rest, member, &format!("{path}.{name}"), change)?;
                }
            }
            Ok(())
        }
        _ => Err(UpdateError::NoPlace(format!(
            "{} is neither a list nor a map",
            shown(path)
        ))),
    }
}

fn shown(path: &str) -> &str {
    if path.is_empty() { "the object" } else { path }
}

fn update_member<E>(
    map: &mut Map<String, Value>,
    name: &str,
    rest: &[Segment],
    here: &str,
    change: Change<'_, E>,
) -> Result<(), UpdateError<E>> {
    if rest.is_empty() {
        match change(map.get(name)).map_err(UpdateError::Change)? {
            Some(new) => map.insert(name.to_owned(), new),
            None => map.remove(name),
        };
        return Ok(());
    }
    if let Some(member) = map.get_mut(name).filter(|m| !m.is_null()) {
        return update(rest, member, here, change);
    }
    if names(rest).is_none() {
        return Err(UpdateError::NoPlace(format!("{here} is not there")));
    }
    let mut made = Value::Object(Map::new());
    update(rest, &mut made, here, change)?;
    if made.as_object().is_some_and(|m| !m.is_empty()) {
        map.insert(name.to_owned(), made);
    }
    Ok(())
}

fn find<'v>(segments: &[Segment], value: &'v Value) -> Vec<&'v Value> {
    let mut found = vec![value];
    for segment in segments {
        found = found
            .into_iter()
            .flat_map(|v| segment.children(v))
            .collect();
    }
    found
}

impl Operand {
    fn value<'v>(&'v self, about: &'v Value) -> Option<&'v Value> {
        match self {
            Operand::Literal(value) => Some(value),
            Operand::Path(segments) => find(segments, about).first().copied(),
        }
    }
}

impl Test {
    fn holds(&self, about: &Value) -> bool {
        match self {
            Test::All(tests) => tests.iter().all(|t| t.holds(about)),
            Test::Any(tests) => tests.iter().any(|t| t.holds(about)),
            Test::Not(test) => !test.holds(about),
            Test::Exists(path) => !find(path, about).is_empty(),
            Test::Compare(a, comparison, b) => comparison.holds(a.value(about), b.value(about)),
        }
    }
}

impl Comparison {
    fn holds(self, a: Option<&Value>, b: Option<&Value>) -> bool {
        let equal = || match (a.and_then(Value::as_f64), b.and_then(Value::as_f64)) {
            (Some(x), Some(y)) => x == y,
            _ => a == b,
        };
        let order = || match (a?, b?) {
            (Value::Number(x), Value::Number(y)) => x.as_f64()?.partial_cmp(&y.as_f64()?),
            (Value::String(x), Value::String(y)) => Some(x.cmp(y)),
            _ => None,
        };
        match self {
            Comparison::Equal => equal(),
            Comparison::NotEqual => !equal(),
            Comparison::Less => order().is_some_and(|o| o.is_lt()),
            Comparison::Greater => order().is_some_and(|o| o.is_gt()),
            Comparison::LessOrEqual => order().is_some_and(|o| o.is_le()) || equal(),
            Comparison::GreaterOrEqual => order().is_some_and(|o| o.is_ge()) || equal(),
        }
    }
}
