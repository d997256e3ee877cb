//! Shows in each ResourceQuota's status what is used: what the admission row of its logical cluster counts.
//!
//! The row is what decides; a status follows it by the time it takes to write it, several changes at once where they come fast.

use async_trait::async_trait;
use atoll_kube::{GroupResource, Status};
use atoll_store::{At, Event};

use crate::{
    ClusterName, INTERNAL_GROUP, ObjectKey, Registry, ResourceRef,
    admission::quota,
    controller::{Controller, Next},
    read::read_error,
};

pub(super) struct Quotas;

#[async_trait]
impl Controller for Quotas {
    fn name(&self) -> &'static str {
        "resourcequota"
    }

    fn resources(&self) -> Vec<GroupResource> {
        vec![GroupResource::new(INTERNAL_GROUP, "admission")]
    }

    fn wake(&self, event: &Event, key: &ObjectKey<'_>, enqueue: &mut dyn FnMut(String)) {
        if event.current.is_some() {
            enqueue(key.cluster.to_owned());
        }
    }

    fn pending(&self, registry: &Registry, enqueue: &mut dyn FnMut(String)) -> Result<(), Status> {
        // Rows exist only where something is configured.
        let snapshot = registry.store().snapshot(At::Latest).map_err(read_error)?;
        let rows = atoll_store::Prefix::new([INTERNAL_GROUP, "admission", ""]);
        for item in snapshot.range(&rows, None) {
            let (key, _) = item.map_err(read_error)?;
            if let Some(parts) = ObjectKey::parse(&key) {
                enqueue(parts.cluster.to_owned());
            }
        }
        Ok(())
    }

    async fn reconcile(&self, registry: &Registry, key: &str) -> Result<Next, Status> {
        let cluster = ClusterName::new(key);
        let snapshot = registry.store().snapshot(At::Latest).map_err(read_error)?;
        let stale = quota::statuses(&*snapshot, &cluster)?;
        let client = registry.as_system(cluster);
        for quota in stale {
            match client
                .update_status(&ResourceRef::new("", "v1", "resourcequotas"), quota)
                .await
            {
                Ok(_) => {}
                // Written since: that was an event too.
                Err(status) if status.is_not_found() || status.code == 409 => {}
                Err(status) => return Err(status),
            }
        }
        Ok(Next::Done)
    }
}
