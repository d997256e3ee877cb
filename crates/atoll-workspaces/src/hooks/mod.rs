//! Admission for the kinds that make up the tree of workspaces and its RBAC.

mod apis;
mod logical_cluster;
mod rbac;
mod workspace;
mod workspace_type;

use std::sync::Arc;

use atoll_registry::Builder;

use crate::Workspaces;

/// Adds the hooks to a registry being built.
pub(crate) fn install(workspaces: &Workspaces, builder: Builder) -> Builder {
    builder
        .hook(Arc::new(workspace::WorkspaceHook(workspaces.clone())))
        .hook(Arc::new(logical_cluster::LogicalClusterHook))
        .hook(Arc::new(workspace_type::WorkspaceTypeHook(
            workspaces.clone(),
        )))
        .hook(Arc::new(rbac::EscalationHook(workspaces.clone())))
        .hook(Arc::new(apis::ApisHook))
}
