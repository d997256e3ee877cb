//! From a CustomResourceDefinition to a [`Definition`], and the checks a CRD must pass.
use super::Definition;
use crate::status::FieldError;
use serde_json::Value;
/// What is wrong with a CRD.
pub type CrdErrors = Vec<FieldError>;
impl Definition {
    /// Compiles a CRD (defaulted and valid; if it is not, says what is wrong).
    pub fn from_crd(_crd: &Value) -> Result<Self, CrdErrors> {
        todo!()
    }
}
/// Fills in what a CRD's author may leave out.
pub fn default_crd(_crd: &mut Value) {
    todo!()
}
/// What is wrong with a new CRD.
pub fn validate_crd(_crd: &Value) -> CrdErrors {
    todo!()
}
/// What is wrong with an update of a CRD.
pub fn validate_crd_update(_old: &Value, _new: &Value) -> CrdErrors {
    todo!()
}
