//! A value in a table: what expressions give, in a form that is ordered, compared, shown and sent.
//!
//! Always true: two cells are equal exactly when their values are (numbers across their types), and every cell has one encoding.

use std::sync::Arc;

use atoll_cel::Value;
use serde_json::{Value as Json, json};

use super::number::Number;

/// A value. The derived order is the order of rows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cell {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A number.
    Number(Number),
    /// Text.
    Text(Arc<str>),
    /// A list, as JSON with sorted keys.
    List(Arc<str>),
    /// A map, as JSON with sorted keys.
    Map(Arc<str>),
}

/// The values that a group has in common.
pub type GroupKey = Arc<[Cell]>;

impl Cell {
    /// The cell of an expression's answer.
    pub fn from_value(value: &Value) -> Cell {
        match value {
            Value::Null => Cell::Null,
            Value::Bool(b) => Cell::Bool(*b),
            Value::Int(i) => Cell::Number(Number::Int(i128::from(*i))),
            Value::Uint(u) => Cell::Number(Number::Int(i128::from(*u))),
            Value::Double(d) => Cell::Number(Number::from_f64(*d)),
            Value::String(text) => Cell::Text(text.clone()),
            other => Cell::from_json(&other.to_json()),
        }
    }

    /// The cell of a JSON value.
    pub fn from_json(value: &Json) -> Cell {
        match value {
            Json::Null => Cell::Null,
            Json::Bool(b) => Cell::Bool(*b),
            Json::Number(n) => Cell::Number(match (n.as_i64(), n.as_u64()) {
                (Some(i), _) => Number::Int(i128::from(i)),
                (_, Some(u)) => Number::Int(i128::from(u)),
                _ => Number::from_f64(n.as_f64().unwrap_or(f64::NAN)),
            }),
            Json::String(text) => Cell::Text(text.as_str().into()),
            // serde_json's maps are sorted by key here, so that equal values have equal texts.
            Json::Array(_) => Cell::List(value.to_string().into()),
            Json::Object(_) => Cell::Map(value.to_string().into()),
        }
    }

    /// The number it is or, for text, spells.
    pub fn as_number(&self) -> Option<Number> {
        match self {
            Cell::Number(number) => Some(*number),
            Cell::Text(text) => Number::parse(text),
            _ => None,
        }
    }

    /// The cell as CombinedStatus has it: a tagged union, numbers as text.
    pub fn tagged(&self) -> Json {
        let parsed = |text: &str| serde_json::from_str::<Json>(text).unwrap_or(Json::Null);
        match self {
            Cell::Null => json!({"type": "Null"}),
            Cell::Bool(b) => json!({"type": "Bool", "bool": b}),
            Cell::Number(n) => json!({"type": "Number", "float": n.to_string()}),
            Cell::Text(text) => json!({"type": "String", "string": &**text}),
            Cell::List(text) => json!({"type": "Array", "array": parsed(text)}),
            Cell::Map(text) => json!({"type": "Object", "object": parsed(text)}),
        }
    }

    /// The cell as plain JSON.
    pub fn plain(&self) -> Json {
        match self {
            Cell::Null => Json::Null,
            Cell::Bool(b) => Json::Bool(*b),
            Cell::Number(Number::Int(i)) => match (i64::try_from(*i), u64::try_from(*i)) {
                (Ok(i), _) => Json::from(i),
                (_, Ok(u)) => Json::from(u),
                _ => Json::from(i.to_string()),
            },
            Cell::Number(Number::Double(d)) => serde_json::Number::from_f64(*d)
                .map_or_else(|| Json::from(Number::Double(*d).to_string()), Json::Number),
            Cell::Text(text) => Json::from(&**text),
            Cell::List(text) | Cell::Map(text) => serde_json::from_str(text).unwrap_or(Json::Null),
        }
    }

    /// A hash that is the same in every process.
    pub(crate) fn hash(&self) -> u64 {
        let mut bytes = Vec::with_capacity(24);
        super::wire::put_cell(self, &mut bytes);
        // FNV-1a, then a finalizer that spreads every bit.
        let mut h = bytes.iter().fold(0xcbf2_9ce4_8422_2325u64, |h, byte| {
            (h ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        h = (h ^ h >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
        h = (h ^ h >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        h ^ h >> 33
    }

    /// How many bytes it keeps beside itself.
    pub(crate) fn heap(&self) -> usize {
        match self {
            Cell::Text(text) | Cell::List(text) | Cell::Map(text) => text.len() + 16,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_equal_across_their_types() {
        let of = |value: Value| Cell::from_value(&value);
        assert_eq!(of(Value::Int(2)), of(Value::Double(2.0)));
        assert_eq!(of(Value::Int(2)), of(Value::Uint(2)));
        assert_ne!(of(Value::Int(2)), Cell::from_json(&json!("2")));
        assert_eq!(
            Cell::from_json(&json!("2")).as_number(),
            Some(Number::Int(2))
        );
        assert_eq!(of(Value::Int(2)).hash(), of(Value::Double(2.0)).hash());
    }

    #[test]
    fn cells_are_shown_as_kubestellar_shows_them() {
        for (value, expected) in [
            (json!(null), json!({"type": "Null"})),
            (json!(true), json!({"type": "Bool", "bool": true})),
            (json!(2), json!({"type": "Number", "float": "2"})),
            (json!(2.5), json!({"type": "Number", "float": "2.5"})),
            (json!("x"), json!({"type": "String", "string": "x"})),
            (json!([1, "a"]), json!({"type": "Array", "array": [1, "a"]})),
            (
                json!({"b": 1, "a": {}}),
                json!({"type": "Object", "object": {"a": {}, "b": 1}}),
            ),
        ] {
            let cell = Cell::from_json(&value);
            assert_eq!(cell.tagged(), expected);
            assert_eq!(cell.plain(), value);
        }
    }
}
