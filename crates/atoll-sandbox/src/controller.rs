//! The pretend controllers: each gives one kind of workload its settled status.

use async_trait::async_trait;
use atoll_kube::{GroupResource, Status};
use atoll_registry::{
    ObjectKey, Registry, ResourceId, ResourceRef,
    controller::{Controller, Next},
};
use atoll_store::{At, Event};

use crate::{cluster, pretend};

/// Pretends to run one kind of workload. Keys are `namespace/name`.
pub(crate) struct Pretender(pub(crate) pretend::Workload);

impl Pretender {
    fn resource(&self) -> ResourceRef {
        let (group, version, resource) = self.0.resource();
        ResourceRef::new(group, version, resource)
    }
}

#[async_trait]
impl Controller for Pretender {
    fn name(&self) -> &'static str {
        self.0.resource().2
    }

    fn resources(&self) -> Vec<GroupResource> {
        let (group, _, resource) = self.0.resource();
        vec![GroupResource::new(group, resource)]
    }

    fn wake(&self, event: &Event, key: &ObjectKey<'_>, enqueue: &mut dyn FnMut(String)) {
        if !event.is_delete() {
            enqueue(format!("{}/{}", key.namespace, key.name));
        }
    }

    /// All of them: a sandbox holds few workloads, and whatever changed while it was down shows in no index.
    fn pending(&self, registry: &Registry, enqueue: &mut dyn FnMut(String)) -> Result<(), Status> {
        let (group, _, resource) = self.0.resource();
        let family = ResourceId::builtin(group, resource).family();
        let snapshot = registry
            .store()
            .snapshot(At::Latest)
            .map_err(Status::internal)?;
        for found in snapshot.range(&family, None) {
            let (key, _) = found.map_err(Status::internal)?;
            if let Some(key) = ObjectKey::parse(&key) {
                enqueue(format!("{}/{}", key.namespace, key.name));
            }
        }
        Ok(())
    }

    async fn reconcile(&self, registry: &Registry, key: &str) -> Result<Next, Status> {
        let Some((namespace, name)) = key.split_once('/') else {
            return Ok(Next::Done);
        };
        let client = registry.as_system(cluster::name()).managed_by("sandbox");
        let resource = self.resource();
        let Some(mut object) = client.find(&resource, Some(namespace), name).await? else {
            return Ok(Next::Done);
        };
        let status = pretend::status(self.0, &object, registry.now());
        if object["status"] == status {
            return Ok(Next::Done);
        }
        object["status"] = status;
        match client.update_status(&resource, object).await {
            // It changed meanwhile: its event brings us here again.
            Err(status) if status.code == 409 || status.code == 404 => Ok(Next::Done),
            done => done.map(|_| Next::Done),
        }
    }
}
