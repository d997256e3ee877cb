//! Field selectors.
use std::fmt;
/// One condition on one field.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FieldRequirement {
    /// `metadata.name`
    pub field: String,
    /// Compared with.
    pub value: String,
    /// `!=`
    pub negated: bool,
}
/// A conjunction of conditions.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct FieldSelector {
    /// All must hold.
    pub requirements: Vec<FieldRequirement>,
}
impl FieldSelector {
    /// Parses `a=b,c!=d` with `\` escapes; the error is Kubernetes' text.
    pub fn parse(_query: &str) -> Result<Self, String> {
        todo!()
    }
    /// Whether it selects an object whose fields (absent ones are empty) are looked up by `field`.
    pub fn matches<'a>(&self, _field: impl Fn(&str) -> std::borrow::Cow<'a, str>) -> bool {
        todo!()
    }
    /// Whether it selects every object.
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }
    /// The value that `field` must equal, if the selector says so.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.requirements
            .iter()
            .find(|r| !r.negated && r.field == field)
            .map(|r| r.value.as_str())
    }
}
impl fmt::Display for FieldSelector {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
    }
}
