//! Kubernetes' JSONPath.
use serde_json::Value;
use std::fmt;
/// A parsed path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct JsonPath {
    source: String,
}
impl JsonPath {
    /// Parses `.spec.x` or `{.spec.x}`.
    pub fn parse(source: &str) -> Result<Self, String> {
        Ok(Self {
            source: source.to_owned(),
        })
    }
    /// All values the path leads to.
    pub fn eval<'a>(&self, _value: &'a Value) -> Vec<&'a Value> {
        todo!()
    }
    /// The first one.
    pub fn first<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        self.eval(value).first().copied()
    }
    /// Names of the plain fields (`["spec", "replicas"]`), when the path is only that.
    pub fn fields(&self) -> Option<Vec<&str>> {
        todo!()
    }
}
impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}
