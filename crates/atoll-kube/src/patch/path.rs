//! One step into an object, and paths made of steps, as `managedFields` writes them and as conflicts show them.
//!
//! A step is a field's name, a list item found by its key fields, a list item found by its own value, or an index.
//! Steps have a total order, so that sets of them are sorted vectors.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::order::compare;

/// One step from an object or list to something inside it.
#[derive(Clone, Debug)]
pub enum PathElement {
    /// A field of a map or struct.
    Field(Arc<str>),
    /// An item of a list with key fields; sorted by the fields' names.
    Key(Box<[(Arc<str>, Value)]>),
    /// An item of a set, found by its value.
    Value(Box<Value>),
    /// An item of a list by position.
    Index(i64),
}

/// A step that `managedFields` cannot contain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathElementError {
    /// Shorter than the two characters of a type and a colon.
    #[error("key must be 2 characters long:")]
    TooShort,
    /// The second character is not a colon.
    #[error("missing colon: {0}")]
    MissingColon(String),
    /// What follows the colon is not what the type asks for.
    #[error("invalid content of path element {0:?}: {1}")]
    Content(String, String),
}

impl PathElement {
    /// The step to a field.
    pub fn field(name: &str) -> Self {
        Self::Field(Arc::from(name))
    }

    /// The step to the list item that has these key fields.
    pub fn key<'a>(fields: impl IntoIterator<Item = (&'a str, Value)>) -> Self {
        let mut fields: Vec<(Arc<str>, Value)> =
            fields.into_iter().map(|(n, v)| (Arc::from(n), v)).collect();
        fields.sort_by(|l, r| l.0.cmp(&r.0));
        Self::Key(fields.into_boxed_slice())
    }

    /// The step to the set item that equals `value`.
    pub fn value(value: Value) -> Self {
        Self::Value(Box::new(value))
    }

    /// Parses `f:name`, `k:{…}`, `v:…` or `i:1`. `Ok(None)` is a type from the future, which readers ignore.
    pub fn parse(text: &str) -> Result<Option<Self>, PathElementError> {
        let bytes = text.as_bytes();
        if bytes.len() < 2 {
            return Err(PathElementError::TooShort);
        }
        if bytes[1] != b':' {
            return Err(PathElementError::MissingColon(text.to_owned()));
        }
        let content = text.get(2..).unwrap_or_default();
        let bad = |why: String| PathElementError::Content(text.to_owned(), why);
        match bytes[0] {
            b'f' => Ok(Some(Self::field(content))),
            b'v' => {
                let value = serde_json::from_str(content).map_err(|e| bad(e.to_string()))?;
                Ok(Some(Self::value(value)))
            }
            b'k' => {
                let fields: serde_json::Map<String, Value> =
                    serde_json::from_str(content).map_err(|e| bad(e.to_string()))?;
                let fields = fields
                    .into_iter()
                    .map(|(name, value)| (Arc::from(name), value));
                Ok(Some(Self::Key(fields.collect())))
            }
            b'i' => {
                let index = content
                    .parse()
                    .map_err(|_| bad("not a whole number".to_owned()))?;
                Ok(Some(Self::Index(index)))
            }
            _ => Ok(None),
        }
    }

    /// The form `managedFields` uses as a key.
    pub fn encode(&self) -> String {
        match self {
            Self::Field(name) => {
                let mut out = String::with_capacity(name.len() + 2);
                out.push_str("f:");
                out.push_str(name);
                out
            }
            Self::Key(fields) => {
                let mut out = String::with_capacity(32);
                out.push_str("k:{");
                for (i, (name, value)) in fields.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    out.push_str(&Value::from(&**name).to_string());
                    out.push(':');
                    out.push_str(&value.to_string());
                }
                out.push('}');
                out
            }
            Self::Value(value) => format!("v:{value}"),
            Self::Index(index) => format!("i:{index}"),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Field(_) => 0,
            Self::Key(_) => 1,
            Self::Value(_) => 2,
            Self::Index(_) => 3,
        }
    }
}

impl PartialEq for PathElement {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for PathElement {}

impl PartialOrd for PathElement {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PathElement {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Field(l), Self::Field(r)) => l.cmp(r),
            (Self::Key(l), Self::Key(r)) => {
                let differing = l
                    .iter()
                    .zip(r.iter())
                    .map(|((ln, lv), (rn, rv))| ln.cmp(rn).then_with(|| compare(lv, rv)))
                    .find(|o| o.is_ne());
                differing.unwrap_or_else(|| l.len().cmp(&r.len()))
            }
            (Self::Value(l), Self::Value(r)) => compare(l, r),
            (Self::Index(l), Self::Index(r)) => l.cmp(r),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl fmt::Display for PathElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(fields) => {
                f.write_str("[")?;
                for (i, (name, value)) in fields.iter().enumerate() {
                    if i > 0 {
                        f.write_str(",")?;
                    }
                    write!(f, "{name}={value}")?;
                }
                f.write_str("]")
            }
            Self::Value(value) => write!(f, "[={value}]"),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}

/// A path from the root of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(pub Vec<PathElement>);

impl Path {
    /// A path of field names only.
    pub fn fields<const N: usize>(names: [&str; N]) -> Self {
        Self(names.map(PathElement::field).into())
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|element| write!(f, "{element}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn elements_are_parsed_written_and_shown() {
        for (text, shown) in [
            ("f:spec", ".spec"),
            ("f:", "."),
            ("f:app.kubernetes.io/name", ".app.kubernetes.io/name"),
            (r#"k:{"name":"web"}"#, r#"[name="web"]"#),
            (
                r#"k:{"containerPort":80,"protocol":"TCP"}"#,
                r#"[containerPort=80,protocol="TCP"]"#,
            ),
            ("v:1", "[=1]"),
            (r#"v:"a""#, r#"[="a"]"#),
            ("v:true", "[=true]"),
            ("i:3", "[3]"),
        ] {
            let element = PathElement::parse(text).expect(text).expect(text);
            assert_eq!(element.to_string(), shown);
            assert_eq!(element.encode(), text);
        }
    }

    #[test]
    fn key_fields_are_sorted_whatever_the_writer_did() {
        let element = PathElement::parse(r#"k:{"protocol":"TCP","containerPort":80}"#)
            .unwrap()
            .unwrap();
        assert_eq!(
            element.encode(),
            r#"k:{"containerPort":80,"protocol":"TCP"}"#
        );
        assert_eq!(
            element,
            PathElement::key([("protocol", json!("TCP")), ("containerPort", json!(80))])
        );
    }

    #[test]
    fn what_is_not_an_element_is_refused_or_ignored() {
        assert_eq!(PathElement::parse("x"), Err(PathElementError::TooShort));
        assert_eq!(
            PathElement::parse("spec"),
            Err(PathElementError::MissingColon("spec".into()))
        );
        assert!(PathElement::parse("v:{").is_err());
        assert!(PathElement::parse("i:one").is_err());
        assert!(PathElement::parse("k:[]").is_err());
        assert_eq!(PathElement::parse("z:later"), Ok(None));
        assert_eq!(
            PathElement::parse("é:"),
            Err(PathElementError::MissingColon("é:".into()))
        );
    }
}
