//! Forgets what the caches hold about logical clusters that change. One consumer of the log serves all of them.

use async_trait::async_trait;
use atoll_kube::{GroupResource, Status};
use atoll_registry::controller::{Controller, Next};
use atoll_registry::{ObjectKey, Registry};
use atoll_store::Event;

use crate::kinds::{self, CORE, RBAC, RBAC_RESOURCES, TENANCY};
use crate::shared::Workspaces;

/// A controller that works in `wake` alone.
pub(crate) struct Evictor(Workspaces);

impl Evictor {
    pub(crate) fn new(workspaces: Workspaces) -> Self {
        Evictor(workspaces)
    }
}

#[async_trait]
impl Controller for Evictor {
    fn name(&self) -> &'static str {
        "workspace-caches"
    }

    fn resources(&self) -> Vec<GroupResource> {
        let tree = [kinds::workspaces(), kinds::logical_clusters()];
        let rbac = RBAC_RESOURCES.map(|resource| GroupResource::new(RBAC, resource));
        tree.iter().map(kinds::group_resource).chain(rbac).collect()
    }

    fn wake(&self, _: &Event, key: &ObjectKey<'_>, _: &mut dyn FnMut(String)) {
        match key.group {
            TENANCY => self.0.tree.forget_workspace(key.cluster, key.name),
            CORE => self.0.tree.forget_cluster(key.cluster),
            _ => self.0.access.forget_cluster(key.cluster),
        }
    }

    fn pending(&self, _: &Registry, _: &mut dyn FnMut(String)) -> Result<(), Status> {
        // Asked at start and when events were lost: either way nothing cached can be trusted.
        self.0.tree.forget_all();
        self.0.access.forget_all();
        Ok(())
    }

    async fn reconcile(&self, _: &Registry, _: &str) -> Result<Next, Status> {
        Ok(Next::Done)
    }
}
