//! Pruning.
use super::Schema;
use serde_json::Value;
impl Schema {
    /// Removes the fields this schema does not know from a complete object, and returns their paths (`spec.foo`, `spec.list[0].bar`).
    pub fn prune(&self, _object: &mut Value) -> Vec<String> {
        todo!()
    }
}
