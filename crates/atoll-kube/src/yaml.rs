//! YAML as kubectl understands it, to JSON values.
use serde_json::Value;
/// Why a document is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("error converting YAML to JSON: yaml: {message}")]
pub struct YamlError {
    /// With the line.
    pub message: String,
}
/// One document.
pub fn to_json(_bytes: &[u8]) -> Result<Value, YamlError> {
    todo!()
}
/// All documents of a stream (`---`), empty ones left out.
pub fn documents(_bytes: &[u8]) -> Result<Vec<Value>, YamlError> {
    todo!()
}
