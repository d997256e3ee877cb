//! A CRD's status, as a function.
use crate::time::Timestamp;
use serde_json::Value;
/// Whether the names a CRD asks for are free in its workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamesAccepted {
    /// They are.
    Yes,
    /// They are taken: condition reason (`PluralConflict`) and message.
    No {
        /// `PluralConflict`, `KindConflict`, ...
        reason: String,
        /// For people.
        message: String,
    },
}
/// The status of `crd` (conditions NamesAccepted and Established, acceptedNames, storedVersions); transition times kept where nothing changed.
pub fn crd_status(_crd: &Value, _names: &NamesAccepted, _now: Timestamp) -> Value {
    todo!()
}
