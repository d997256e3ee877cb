//! Scale.
use atoll_kube::Status;
use serde_json::Value;
use crate::Object;
pub(crate) fn read(_o: &Object) -> Result<Value, Status> { todo!() }
