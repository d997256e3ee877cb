//! Defaulting.
use super::Schema;
use serde_json::Value;
impl Schema {
    /// Fills absent fields (and nulls where null is no value) with their defaults.
    pub fn default_into(&self, _object: &mut Value) {
        todo!()
    }
}
