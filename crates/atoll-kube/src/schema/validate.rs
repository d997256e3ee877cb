//! Validation.
use super::Schema;
use crate::status::FieldError;
use serde_json::Value;
impl Schema {
    /// Everything that is wrong with `value`; paths start with `path` (empty for a whole object).
    pub fn validate(&self, _value: &Value, _path: &str) -> Vec<FieldError> {
        todo!()
    }
}
