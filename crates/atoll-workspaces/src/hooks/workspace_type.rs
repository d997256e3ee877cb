//! WorkspaceTypes: reserved names, and the path they are known by.

use async_trait::async_trait;
use atoll_kube::{FieldError, GroupKind, GroupResource, Status, meta};
use atoll_registry::{Hook, Operation, Registry, Review};

use crate::kinds::{self, ANNOTATION_PATH, GROUP_MASTERS, TENANCY};
use crate::names::ROOT;
use crate::shared::Workspaces;

pub(crate) struct WorkspaceTypeHook(pub(crate) Workspaces);

#[async_trait]
impl Hook for WorkspaceTypeHook {
    fn resources(&self) -> Vec<GroupResource> {
        vec![kinds::group_resource(&kinds::workspace_types())]
    }

    async fn admit(&self, _: &Registry, review: &mut Review<'_>) -> Result<(), Status> {
        if !matches!(review.operation, Operation::Create | Operation::Update) {
            return Ok(());
        }
        let name = review.name().to_owned();
        let in_root = review.cluster.as_str() == ROOT;
        if matches!(name.as_str(), "any" | "system") || (name == "root" && !in_root) {
            let error = FieldError::invalid("metadata.name", name.as_str(), "is a reserved name");
            return Err(Status::invalid(
                &GroupKind::new(TENANCY, "WorkspaceType"),
                &name,
                &[error],
            ));
        }
        if !review.call.user.is_in(GROUP_MASTERS)
            && let Some(facts) = self.0.tree.facts(review.cluster.as_str())?
        {
            meta::set_annotation(review.object, ANNOTATION_PATH, &facts.path);
        }
        let extends_itself = review
            .object
            .pointer("/spec/extend/with")
            .and_then(|with| with.as_array());
        if extends_itself.into_iter().flatten().any(|with| {
            let text = |field: &str| {
                with.get(field)
                    .and_then(|value| value.as_str())
                    .unwrap_or("")
            };
            text("name") == name && (text("path").is_empty() || in_root && text("path") == ROOT)
        }) {
            let error = FieldError::invalid(
                "spec.extend.with",
                name.as_str(),
                "a type cannot extend itself",
            );
            return Err(Status::invalid(
                &GroupKind::new(TENANCY, "WorkspaceType"),
                &name,
                &[error],
            ));
        }
        Ok(())
    }
}
