//! What is served before it acts never pretends: writing it is refused.

use async_trait::async_trait;
use atoll_kube::{GroupResource, Reason, Status};
use atoll_registry::{Hook, Registry, Review};

use crate::kinds::APIS;

/// Nothing can be bound yet, and nothing pretends to be.
pub(crate) struct ApisHook;

#[async_trait]
impl Hook for ApisHook {
    fn resources(&self) -> Vec<GroupResource> {
        [
            "apibindings",
            "apiexports",
            "apiresourceschemas",
            "apiexportendpointslices",
            "apiconversions",
        ]
        .map(|resource| GroupResource::new(APIS, resource))
        .into()
    }

    async fn admit(&self, _: &Registry, review: &mut Review<'_>) -> Result<(), Status> {
        let resource = &review.call.resource.resource;
        let why = format!(
            "{resource}.{APIS} cannot be written: exporting and binding APIs is not built yet; \
             tenancy.kcp.io and core.kcp.io are served in every workspace without a binding"
        );
        Err(Status::new(405, Reason::MethodNotAllowed, why))
    }
}
