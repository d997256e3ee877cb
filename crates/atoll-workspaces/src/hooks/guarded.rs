//! Small refusals: the API groups of the system, and what is served before it acts.

use async_trait::async_trait;
use atoll_kube::{GroupResource, Reason, Status, meta};
use atoll_registry::{Hook, Operation, Registry, Review};
use serde_json::Value;

use crate::kinds::{APIS, GROUP_MASTERS};
use crate::shared::forbidden;

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

/// CustomResourceDefinitions may not take the system's groups.
pub(crate) struct CrdHook;

#[async_trait]
impl Hook for CrdHook {
    fn resources(&self) -> Vec<GroupResource> {
        vec![GroupResource::new(
            "apiextensions.k8s.io",
            "customresourcedefinitions",
        )]
    }

    async fn admit(&self, _: &Registry, review: &mut Review<'_>) -> Result<(), Status> {
        let masters = review.call.user.is_in(GROUP_MASTERS);
        if masters || !matches!(review.operation, Operation::Create | Operation::Update) {
            return Ok(());
        }
        let group = review
            .object
            .pointer("/spec/group")
            .and_then(Value::as_str)
            .unwrap_or("");
        let name = meta::name(review.object);
        let refuse = |why: String| {
            Err(forbidden(
                "apiextensions.k8s.io",
                "customresourcedefinitions",
                name,
                why,
            ))
        };
        if is_reserved_group(group) {
            return refuse(format!(
                "the API group {group:?} is reserved for the system"
            ));
        }
        let reserved = |key: &str| {
            key.split('/')
                .next()
                .is_some_and(|prefix| prefix == "apis.kcp.io")
        };
        if let Some((key, _)) = meta::annotations(review.object).find(|(key, _)| reserved(key)) {
            return refuse(format!("the annotation {key:?} is reserved for the system"));
        }
        Ok(())
    }
}

fn is_reserved_group(group: &str) -> bool {
    ["kcp.io", "atoll.dev"].iter().any(|reserved| {
        group
            .strip_suffix(reserved)
            .is_some_and(|prefix| prefix.is_empty() || prefix.ends_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::is_reserved_group;

    #[test]
    fn the_systems_groups_are_whole_domains() {
        for (group, expected) in [
            ("kcp.io", true),
            ("tenancy.kcp.io", true),
            ("x.y.kcp.io", true),
            ("edge.atoll.dev", true),
            ("notkcp.io", false),
            ("example.com", false),
            ("kcp.io.example.com", false),
            ("", false),
        ] {
            assert_eq!(is_reserved_group(group), expected, "{group}");
        }
    }
}
