//! Delete.
use crate::*;
use atoll_kube::Status;

pub(crate) async fn delete(_r: &Registry, _c: &Call, _o: &DeleteOptions) -> Result<Answer, Status> {
    todo!()
}
pub(crate) async fn delete_collection(
    _r: &Registry,
    _c: &Call,
    _s: &ListOptions,
    _o: &DeleteOptions,
) -> Result<Answer, Status> {
    todo!()
}
