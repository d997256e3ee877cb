//! From bytes to values, once, at the border: sizes, depth and repeated fields are checked here.
use crate::status::Status;
use serde_json::Value;
/// A decoded body.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// The value; of a repeated field the last one.
    pub value: Value,
    /// Paths of fields that occur more than once.
    pub duplicates: Vec<String>,
}
/// Largest body accepted, in bytes.
pub const MAX_BODY: usize = 3 * 1024 * 1024;
/// Deepest nesting of maps and lists accepted.
pub const MAX_DEPTH: usize = 100;
/// Decodes JSON. `kind` is what should be in it, for messages.
pub fn strict_json(_body: &[u8], _kind: &str) -> Result<Decoded, Status> {
    todo!()
}
/// Decodes YAML (one document).
pub fn strict_yaml(_body: &[u8], _kind: &str) -> Result<Decoded, Status> {
    todo!()
}
