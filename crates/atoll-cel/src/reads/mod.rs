//! What an expression can read of its variables.
//!
//! Conservative: whatever value an expression has, it depends on nothing outside its reads. So two bindings that agree on all reads give the
//! same answer, and an answer can be kept by exactly these values.

mod analysis;

use serde_json::Value as Json;

pub(crate) use analysis::reads;

/// A part of one variable that an expression can read: everything at and below the path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Read {
    /// The variable.
    pub variable: String,
    /// The way into it. Empty: all of it.
    pub path: Vec<Step>,
}

/// One step of a way into a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// The property of this name (the JSON name, unescaped).
    Field(String),
    /// The list's item at this index.
    Index(u64),
    /// Every item of a list, and how many there are; or every value of a map, and its keys.
    Each,
    /// Only what sort of value it is, how many items there are, and the keys of a map. Always the last step.
    Shape,
    /// Only whether it is there, and what sort of value it is. Always the last step.
    Presence,
}

impl Read {
    /// Appends what this read sees of a variable's value, so that two values give the same bytes exactly when they agree on what is read.
    pub fn encode(&self, variable: Option<&Json>, out: &mut Vec<u8>) {
        encode_at(&self.path, variable, out);
    }
}

/// One tag byte per shape, and lengths before contents: no two different values share an encoding.
fn encode_at(path: &[Step], value: Option<&Json>, out: &mut Vec<u8>) {
    let Some(value) = value else {
        return out.push(b'-');
    };
    match (path.split_first(), value) {
        (Some((Step::Presence, _)), value) => out.push(kind(value)),
        (Some((Step::Shape, _)), value) => {
            out.push(kind(value));
            match value {
                Json::Array(items) => encode_length(items.len(), out),
                Json::String(text) => encode_length(text.chars().count(), out),
                Json::Object(object) => {
                    encode_length(object.len(), out);
                    for key in object.keys() {
                        encode_length(key.len(), out);
                        out.extend_from_slice(key.as_bytes());
                    }
                }
                _ => {}
            }
        }
        (None, whole) => encode_whole(whole, out),
        (Some((Step::Field(name), rest)), Json::Object(object)) => {
            out.push(b'.');
            encode_at(rest, object.get(name), out);
        }
        (Some((Step::Index(index), rest)), Json::Array(items)) => {
            out.push(b'#');
            encode_at(
                rest,
                usize::try_from(*index).ok().and_then(|i| items.get(i)),
                out,
            );
        }
        (Some((Step::Each, rest)), Json::Array(items)) => {
            out.push(b'[');
            encode_length(items.len(), out);
            items
                .iter()
                .for_each(|item| encode_at(rest, Some(item), out));
        }
        (Some((Step::Each, rest)), Json::Object(object)) => {
            out.push(b'{');
            encode_length(object.len(), out);
            for (key, item) in object {
                encode_length(key.len(), out);
                out.extend_from_slice(key.as_bytes());
                encode_at(rest, Some(item), out);
            }
        }
        // Not of the shape that the path expects: the answer may depend on what it is instead.
        (Some(_), other) => encode_whole(other, out),
    }
}

fn kind(value: &Json) -> u8 {
    match value {
        Json::Null => b'n',
        Json::Bool(_) => b'b',
        Json::Number(number) if number.is_f64() => b'd',
        Json::Number(_) => b'i',
        Json::String(_) => b's',
        Json::Array(_) => b'A',
        Json::Object(_) => b'O',
    }
}

fn encode_whole(value: &Json, out: &mut Vec<u8>) {
    match value {
        Json::Null => out.push(b'n'),
        Json::Bool(b) => out.push(if *b { b't' } else { b'f' }),
        Json::Number(number) => {
            if let Some(i) = number.as_i64() {
                out.push(b'i');
                out.extend_from_slice(&i.to_le_bytes());
            } else if let Some(u) = number.as_u64() {
                out.push(b'u');
                out.extend_from_slice(&u.to_le_bytes());
            } else {
                out.push(b'd');
                out.extend_from_slice(&number.as_f64().unwrap_or(f64::NAN).to_bits().to_le_bytes());
            }
        }
        Json::String(s) => {
            out.push(b's');
            encode_length(s.len(), out);
            out.extend_from_slice(s.as_bytes());
        }
        Json::Array(items) => {
            out.push(b'A');
            encode_length(items.len(), out);
            items.iter().for_each(|item| encode_whole(item, out));
        }
        Json::Object(object) => {
            out.push(b'O');
            encode_length(object.len(), out);
            for (key, item) in object {
                encode_length(key.len(), out);
                out.extend_from_slice(key.as_bytes());
                encode_whole(item, out);
            }
        }
    }
}

fn encode_length(length: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&(length as u64).to_le_bytes());
}
