//! Scale.
use crate::Object;
use atoll_kube::Status;
use serde_json::Value;
pub(crate) fn read(_o: &Object) -> Result<Value, Status> {
    todo!()
}
