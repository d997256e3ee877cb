//! The functions that templates may call: Go's own that make values, and those of sprig that people expect beside them.
//!
//! All are pure. What they make is bounded before it is made, so that a short template can not ask for much memory.

use super::format::{display, print, printf};
use super::value::{Outcome, Val};
use super::{MAX_OUTPUT, Meter, strings};

/// A function: its name, how many arguments it takes, and what it does.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) name: &'static str,
    least: usize,
    most: usize,
    /// Absent properties may be given to it: to it they are empty.
    pub(super) takes_absent: bool,
    pub(super) call: for<'a> fn(&[Val<'a>], &mut Meter) -> Outcome<Val<'a>>,
}

const MANY: usize = usize::MAX;

macro_rules! table {
    ($($name:literal $least:literal .. $most:expr, $absent:literal, $call:expr;)*) => {
        /// The names of all functions, sorted.
        pub const NAMES: &[&str] = &["and", "get", "hasKey", "or", $($name),*];
        static TABLE: &[Function] = &[
            $(Function { name: $name, least: $least, most: $most, takes_absent: $absent, call: $call }),*
        ];
    };
}

table! {
    "add" 1..MANY, false, |v, _| fold(v, i64::checked_add);
    "add1" 1..1, false, |v, _| fold(&[v[0].clone(), Val::Int(1)], i64::checked_add);
    "atoi" 1..1, false, |v, _| whole(&v[0]).map(Val::Int);
    "b64dec" 1..1, false, |v, _| strings::decode(text(v, 0)?).map(Val::text);
    "b64enc" 1..1, false, |v, _| Ok(Val::text(strings::encode(text(v, 0)?)));
    "coalesce" 1..MANY, true, |v, _| Ok(v.iter().find(|x| x.truth()).cloned().unwrap_or_else(|| Val::text("")));
    "contains" 2..2, false, |v, _| Ok(Val::Bool(text(v, 1)?.contains(text(v, 0)?)));
    "default" 2..2, true, |v, _| Ok(if v[1].truth() { v[1].clone() } else { v[0].clone() });
    "div" 2..2, false, |v, _| pair(v).and_then(|(a, b)| a.checked_div(b).map(Val::Int).ok_or_else(no_division));
    "empty" 1..1, true, |v, _| Ok(Val::Bool(!v[0].truth()));
    "eq" 2..MANY, true, eq;
    "fail" 1..1, false, |v, _| Err(text(v, 0)?.to_owned());
    "first" 1..1, false, |v, _| list(&v[0])?.first().cloned().ok_or_else(|| "the list is empty".to_owned());
    "float64" 1..1, false, |v, _| decimal(&v[0]).map(Val::Float);
    "ge" 2..2, true, |v, _| ordered(v, |o| o.is_ge());
    "gt" 2..2, true, |v, _| ordered(v, |o| o.is_gt());
    "has" 2..2, false, has;
    "hasPrefix" 2..2, false, |v, _| Ok(Val::Bool(text(v, 1)?.starts_with(text(v, 0)?)));
    "hasSuffix" 2..2, false, |v, _| Ok(Val::Bool(text(v, 1)?.ends_with(text(v, 0)?)));
    "html" 1..MANY, false, |v, m| made(strings::html(&print(v)), m);
    "indent" 2..2, false, |v, m| strings::indent(size(&v[0])?, text(v, 1)?).and_then(|t| made(t, m));
    "index" 1..MANY, false, index;
    "int" 1..1, false, |v, _| whole(&v[0]).map(Val::Int);
    "int64" 1..1, false, |v, _| whole(&v[0]).map(Val::Int);
    "join" 2..2, false, join;
    "js" 1..MANY, false, |v, m| made(strings::js(&print(v)), m);
    "last" 1..1, false, |v, _| list(&v[0])?.last().cloned().ok_or_else(|| "the list is empty".to_owned());
    "le" 2..2, true, |v, _| ordered(v, |o| o.is_le());
    "len" 1..1, false, len;
    "list" 0..MANY, false, |v, _| Ok(Val::List(v.to_vec()));
    "lower" 1..1, false, |v, _| Ok(Val::text(text(v, 0)?.to_lowercase()));
    "lt" 2..2, true, |v, _| ordered(v, |o| o.is_lt());
    "max" 1..MANY, false, |v, _| fold(v, |a, b| Some(a.max(b)));
    "min" 1..MANY, false, |v, _| fold(v, |a, b| Some(a.min(b)));
    "mod" 2..2, false, |v, _| pair(v).and_then(|(a, b)| a.checked_rem(b).map(Val::Int).ok_or_else(no_division));
    "mul" 1..MANY, false, |v, _| fold(v, i64::checked_mul);
    "ne" 2..2, true, |v, _| v[0].equals(&v[1]).map(|same| Val::Bool(!same));
    "nindent" 2..2, false, |v, m| strings::indent(size(&v[0])?, text(v, 1)?).and_then(|t| made(format!("\n{t}"), m));
    "nospace" 1..1, false, |v, _| Ok(Val::text(text(v, 0)?.split_whitespace().collect::<String>()));
    "not" 1..1, true, |v, _| Ok(Val::Bool(!v[0].truth()));
    "print" 0..MANY, false, |v, m| made(print(v), m);
    "printf" 1..MANY, false, |v, m| printf(text(v, 0)?, &v[1..]).and_then(|t| made(t, m));
    "println" 0..MANY, false, |v, m| made(format!("{}\n", v.iter().map(display).collect::<Vec<_>>().join(" ")), m);
    "quote" 0..MANY, false, |v, m| made(each(v, |t| strings::go_quote(&t)), m);
    "repeat" 2..2, false, |v, m| strings::repeat(size(&v[0])?, text(v, 1)?).and_then(|t| made(t, m));
    "replace" 3..3, false, |v, m| strings::replace(text(v, 0)?, text(v, 1)?, text(v, 2)?).and_then(|t| made(t, m));
    "required" 2..2, true, |v, _| if v[1].truth() { Ok(v[1].clone()) } else { Err(text(v, 0)?.to_owned()) };
    "sha256sum" 1..1, false, |v, _| Ok(Val::text(strings::sha256(text(v, 0)?)));
    "slice" 1..3, false, slice;
    "splitList" 2..2, false, |v, _| Ok(Val::List(strings::split(text(v, 0)?, text(v, 1)?).into_iter().map(|t| Val::text(t.to_owned())).collect()));
    "squote" 0..MANY, false, |v, m| made(each(v, |t| format!("'{t}'")), m);
    "sub" 2..2, false, |v, _| fold(v, i64::checked_sub);
    "substr" 3..3, false, |v, _| Ok(Val::text(strings::substr(whole(&v[0])?, whole(&v[1])?, text(v, 2)?)?.to_owned()));
    "ternary" 3..3, true, ternary;
    "title" 1..1, false, |v, _| Ok(Val::text(strings::title(text(v, 0)?)));
    "toJson" 1..1, false, |v, m| made(strings::json(&json(&v[0])), m);
    "toString" 1..1, false, |v, _| Ok(Val::text(display(&v[0])));
    "trim" 1..1, false, |v, _| Ok(Val::text(text(v, 0)?.trim().to_owned()));
    "trimAll" 2..2, false, |v, _| { let cut = text(v, 0)?; Ok(Val::text(text(v, 1)?.trim_matches(|c| cut.contains(c)).to_owned())) };
    "trimPrefix" 2..2, false, |v, _| { let whole = text(v, 1)?; Ok(Val::text(whole.strip_prefix(text(v, 0)?).unwrap_or(whole).to_owned())) };
    "trimSuffix" 2..2, false, |v, _| { let whole = text(v, 1)?; Ok(Val::text(whole.strip_suffix(text(v, 0)?).unwrap_or(whole).to_owned())) };
    "trunc" 2..2, false, |v, _| Ok(Val::text(strings::trunc(whole(&v[0])?, text(v, 1)?).to_owned()));
    "untitle" 1..1, false, |v, _| Ok(Val::text(strings::untitle(text(v, 0)?)));
    "upper" 1..1, false, |v, _| Ok(Val::text(text(v, 0)?.to_uppercase()));
    "urlquery" 1..MANY, false, |v, m| made(strings::url(&print(v)), m);
}

/// The function of this name.
pub(super) fn find(name: &str) -> Option<&'static Function> {
    TABLE
        .binary_search_by(|function| function.name.cmp(name))
        .ok()
        .and_then(|at| TABLE.get(at))
}

impl Function {
    /// Whether it can be given so many arguments; it is never called with others.
    pub(super) fn check(&self, given: usize) -> Outcome<()> {
        if (self.least..=self.most).contains(&given) {
            return Ok(());
        }
        let takes = if self.least == self.most {
            self.least.to_string()
        } else if self.most == MANY {
            format!("at least {}", self.least)
        } else {
            format!("{} to {}", self.least, self.most)
        };
        let s = if takes == "1" || takes == "at least 1" {
            ""
        } else {
            "s"
        };
        Err(format!(
            "{} takes {takes} argument{s}, not {given}",
            self.name
        ))
    }
}

/// Checks what a function has made against what may still be printed: what is larger could never be.
fn made<'a>(text: String, meter: &mut Meter) -> Outcome<Val<'a>> {
    meter.step(text.len())?;
    if text.len() > MAX_OUTPUT {
        return Err(strings::too_long());
    }
    Ok(Val::text(text))
}

fn text<'v>(values: &'v [Val<'_>], at: usize) -> Outcome<&'v str> {
    match values.get(at) {
        Some(Val::Text(text)) => Ok(text),
        Some(Val::Absent(_)) | None => Ok(""),
        Some(other) => Err(format!(
            "argument {} is text, not {}; write (toString …)",
            at + 1,
            other.kind()
        )),
    }
}

fn list<'v, 'a>(value: &'v Val<'a>) -> Outcome<&'v [Val<'a>]> {
    match value {
        Val::List(items) => Ok(items),
        other => Err(format!("a list is needed, not {}", other.kind())),
    }
}

fn whole(value: &Val<'_>) -> Outcome<i64> {
    match value {
        Val::Int(i) => Ok(*i),
        Val::Bool(b) => Ok(i64::from(*b)),
        // Beyond the range of i64 the cast saturates.
        Val::Float(f) if f.is_finite() => Ok(f.trunc() as i64),
        Val::Text(text) => text
            .trim()
            .parse()
            .map_err(|_| format!("{text:?} is no whole number")),
        other => Err(format!("{} is no whole number", other.kind())),
    }
}

fn decimal(value: &Val<'_>) -> Outcome<f64> {
    match value {
        Val::Int(i) => Ok(*i as f64),
        Val::Float(f) => Ok(*f),
        Val::Text(text) => match text.trim().parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            _ => Err(format!("{text:?} is no number")),
        },
        other => Err(format!("{} is no number", other.kind())),
    }
}

fn size(value: &Val<'_>) -> Outcome<usize> {
    usize::try_from(whole(value)?).map_err(|_| "a negative size".to_owned())
}

fn no_division() -> String {
    "division by zero".to_owned()
}

fn pair(values: &[Val<'_>]) -> Outcome<(i64, i64)> {
    Ok((whole(&values[0])?, whole(&values[1])?))
}

fn fold<'a>(values: &[Val<'_>], apply: fn(i64, i64) -> Option<i64>) -> Outcome<Val<'a>> {
    let mut values = values.iter().map(whole);
    let mut total = values.next().unwrap_or(Ok(0))?;
    for value in values {
        total = apply(total, value?).ok_or("the number is too large")?;
    }
    Ok(Val::Int(total))
}

fn eq<'a>(values: &[Val<'a>], _: &mut Meter) -> Outcome<Val<'a>> {
    for other in &values[1..] {
        if values[0].equals(other)? {
            return Ok(Val::Bool(true));
        }
    }
    Ok(Val::Bool(false))
}

fn ordered<'a>(values: &[Val<'_>], holds: fn(std::cmp::Ordering) -> bool) -> Outcome<Val<'a>> {
    let order = values[0].order(&values[1])?;
    Ok(Val::Bool(order.is_some_and(holds)))
}

fn has<'a>(values: &[Val<'a>], _: &mut Meter) -> Outcome<Val<'a>> {
    let found = list(&values[1])?
        .iter()
        .any(|item| item.equals(&values[0]).unwrap_or(false));
    Ok(Val::Bool(found))
}

fn ternary<'a>(values: &[Val<'a>], _: &mut Meter) -> Outcome<Val<'a>> {
    let at = usize::from(!values[2].truth());
    Ok(values[at].clone())
}

fn len<'a>(values: &[Val<'a>], _: &mut Meter) -> Outcome<Val<'a>> {
    let len = match &values[0] {
        Val::Text(text) => text.len(),
        Val::List(items) => items.len(),
        other => return Err(format!("{} has no length", other.kind())),
    };
    Ok(Val::Int(i64::try_from(len).unwrap_or(i64::MAX)))
}

fn index<'a>(values: &[Val<'a>], _: &mut Meter) -> Outcome<Val<'a>> {
    let mut value = &values[0];
    for key in &values[1..] {
        let items = list(value)?;
        let at = whole(key)?;
        value = usize::try_from(at)
            .ok()
            .and_then(|at| items.get(at))
            .ok_or_else(|| format!("the list has {} items, and no index {at}", items.len()))?;
    }
    Ok(value.clone())
}

fn slice<'a>(values: &[Val<'a>], _: &mut Meter) -> Outcome<Val<'a>> {
    let bound = |at: usize, otherwise: usize| values.get(at).map_or(Ok(otherwise), size);
    let wrong = || "the bounds are outside of the value".to_owned();
    match &values[0] {
        Val::Text(text) => {
            let (from, to) = (bound(1, 0)?, bound(2, text.len())?);
            let part = text.get(from..to).ok_or_else(wrong)?;
            Ok(Val::text(part.to_owned()))
        }
        Val::List(items) => {
            let (from, to) = (bound(1, 0)?, bound(2, items.len())?);
            Ok(Val::List(items.get(from..to).ok_or_else(wrong)?.to_vec()))
        }
        other => Err(format!("{} can not be sliced", other.kind())),
    }
}

fn join<'a>(values: &[Val<'a>], meter: &mut Meter) -> Outcome<Val<'a>> {
    let separator = text(values, 0)?;
    let items: Vec<String> = list(&values[1])?.iter().map(display).collect();
    let len =
        items.iter().map(String::len).sum::<usize>() + separator.len().saturating_mul(items.len());
    if len > MAX_OUTPUT {
        return Err(strings::too_long());
    }
    made(items.join(separator), meter)
}

fn each(values: &[Val<'_>], shown: fn(String) -> String) -> String {
    let shown: Vec<String> = values.iter().map(|v| shown(display(v))).collect();
    shown.join(" ")
}

fn json(value: &Val<'_>) -> serde_json::Value {
    match value {
        Val::Text(text) => text.as_ref().into(),
        Val::Int(i) => (*i).into(),
        Val::Float(f) => (*f).into(),
        Val::Bool(b) => (*b).into(),
        Val::List(items) => items.iter().map(json).collect(),
        Val::Absent(_) => serde_json::Value::Null,
    }
}
