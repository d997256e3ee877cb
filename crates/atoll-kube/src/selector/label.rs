//! Label selectors.
use crate::status::FieldError;
use serde_json::Value;
use std::fmt;
/// How a requirement compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Operator {
    Equals,
    DoubleEquals,
    NotEquals,
    In,
    NotIn,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}
/// One condition on one label.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Requirement {
    /// The label.
    pub key: String,
    /// How it compares.
    pub operator: Operator,
    /// With what; sorted.
    pub values: Vec<String>,
}
/// A conjunction of requirements, or nothing at all.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct LabelSelector {
    /// All must hold.
    pub requirements: Vec<Requirement>,
    /// Selects no object whatever the requirements.
    pub nothing: bool,
}
impl LabelSelector {
    /// Selects every object.
    pub fn everything() -> Self {
        Self::default()
    }
    /// Selects no object.
    pub fn nothing() -> Self {
        Self {
            nothing: true,
            ..Self::default()
        }
    }
    /// Parses `a=b,c in (d,e),!f`; the error is Kubernetes' text.
    pub fn parse_query(_query: &str) -> Result<Self, String> {
        todo!()
    }
    /// From `{matchLabels, matchExpressions}`; null selects nothing, `{}` everything.
    pub fn from_value(_selector: &Value, _path: &str) -> Result<Self, Vec<FieldError>> {
        todo!()
    }
    /// Whether it selects an object whose labels are looked up by `label`.
    pub fn matches<'a>(&self, _label: impl Fn(&str) -> Option<&'a str>) -> bool {
        todo!()
    }
    /// Whether it selects every object.
    pub fn is_everything(&self) -> bool {
        !self.nothing && self.requirements.is_empty()
    }
}
impl fmt::Display for LabelSelector {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
    }
}
