//! Create.
use crate::*;
use atoll_kube::Status;

pub(crate) async fn create(
    _r: &Registry,
    _c: &Call,
    _b: Body,
    _o: &WriteOptions,
) -> Result<Answer, Status> {
    todo!()
}
