//! Patch.
use crate::*;
use atoll_kube::Status;

pub(crate) async fn patch(
    _r: &Registry,
    _c: &Call,
    _k: PatchType,
    _b: Body,
    _o: &WriteOptions,
) -> Result<Answer, Status> {
    todo!()
}
