//! The reading half: get, list and watch. All of it works on one snapshot or one watch of the store and never writes.

pub(crate) mod fields;
pub(crate) mod filter;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod target;
pub(crate) mod token;
pub(crate) mod versions;
pub(crate) mod watch;

use atoll_kube::{RowRef, Status};
use atoll_store::ReadError;

/// A store's read error as clients see it.
pub(crate) fn read_error(error: ReadError) -> Status {
    match error {
        ReadError::Compacted { .. } => Status::expired_list(),
        ReadError::Future { head } => Status::too_large_resource_version(head.0, head.0, 1),
        ReadError::Storage(why) => Status::internal(why),
    }
}

/// Parses a stored row; damage is an internal error.
pub(crate) fn row(bytes: &[u8]) -> Result<RowRef<'_>, Status> {
    RowRef::parse(bytes).map_err(Status::internal)
}
