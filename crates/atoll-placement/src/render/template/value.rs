//! The values that templates compute with, and what is true, equal and less among them: as in Go.

use std::borrow::Cow;
use std::cmp::Ordering;

/// A value while a template runs.
#[derive(Debug, Clone)]
pub(super) enum Val<'a> {
    Text(Cow<'a, str>),
    Int(i64),
    Float(f64),
    Bool(bool),
    List(Vec<Val<'a>>),
    /// A property looked for with `index` that the destination does not have: empty where tested, an error where used.
    Absent(&'a str),
}

/// What a step that may fail gives; the error is for a person.
pub(super) type Outcome<T> = Result<T, String>;

impl<'a> Val<'a> {
    pub(super) fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Val::Text(text.into())
    }

    /// Go's truth: neither false, zero nor empty.
    pub(super) fn truth(&self) -> bool {
        match self {
            Val::Text(text) => !text.is_empty(),
            Val::Int(i) => *i != 0,
            Val::Float(f) => *f != 0.0,
            Val::Bool(b) => *b,
            Val::List(items) => !items.is_empty(),
            Val::Absent(_) => false,
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Val::Text(_) | Val::Absent(_) => "text",
            Val::Int(_) => "a whole number",
            Val::Float(_) => "a number",
            Val::Bool(_) => "true or false",
            Val::List(_) => "a list",
        }
    }

    /// How many bytes it holds, to be charged where it is handled.
    pub(super) fn weight(&self) -> usize {
        match self {
            Val::Text(text) => text.len(),
            Val::List(items) => items.iter().map(|i| i.weight() + 32).sum(),
            _ => 8,
        }
    }

    fn as_text(&self) -> Option<&str> {
        match self {
            Val::Text(text) => Some(text),
            Val::Absent(_) => Some(""),
            _ => None,
        }
    }

    /// Go's `eq`: two values of one basic kind.
    pub(super) fn equals(&self, other: &Val<'_>) -> Outcome<bool> {
        match (self, other) {
            (Val::Int(a), Val::Int(b)) => Ok(a == b),
            (Val::Float(a), Val::Float(b)) => Ok(a == b),
            (Val::Bool(a), Val::Bool(b)) => Ok(a == b),
            _ => match (self.as_text(), other.as_text()) {
                (Some(a), Some(b)) => Ok(a == b),
                _ => Err(incomparable(self, other)),
            },
        }
    }

    /// Go's `lt` and friends.
    pub(super) fn order(&self, other: &Val<'_>) -> Outcome<Option<Ordering>> {
        match (self, other) {
            (Val::Int(a), Val::Int(b)) => Ok(Some(a.cmp(b))),
            (Val::Float(a), Val::Float(b)) => Ok(a.partial_cmp(b)),
            _ => match (self.as_text(), other.as_text()) {
                (Some(a), Some(b)) => Ok(Some(a.cmp(b))),
                _ => Err(incomparable(self, other)),
            },
        }
    }
}

fn incomparable(a: &Val<'_>, b: &Val<'_>) -> String {
    let hint = match (a, b) {
        (Val::Text(_) | Val::Absent(_), Val::Int(_) | Val::Float(_))
        | (Val::Int(_) | Val::Float(_), Val::Text(_) | Val::Absent(_)) => {
            "; properties are text: write (int .name) or (float64 .name)"
        }
        (Val::Int(_), Val::Float(_)) | (Val::Float(_), Val::Int(_)) => {
            "; write (float64 …) around the whole number"
        }
        _ => "",
    };
    format!("can not compare {} with {}{hint}", a.kind(), b.kind())
}
