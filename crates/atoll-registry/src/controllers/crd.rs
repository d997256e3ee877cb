//! Empties the resource of a CustomResourceDefinition that is being deleted, then lets it go; and looks again at those
//! whose names were taken when names become free.

use std::time::Duration;

use async_trait::async_trait;
use atoll_kube::{GroupResource, Status, meta};
use atoll_store::Event;
use serde_json::Value;

use super::{empty, join, pending_deletions};
use crate::{
    CUSTOM_IDENTITY, ClusterName, ListOptions, ObjectKey, Registry, ResourceId, ResourceRef,
    controller::{Controller, Next},
    read::row,
    surface::crd::CLEANUP_FINALIZER,
};

const GROUP: &str = "apiextensions.k8s.io";
const PLURAL: &str = "customresourcedefinitions";
/// In place of a name: all that wait for theirs.
const WAITING: &str = "*";

pub(super) struct CustomResources;

fn resource() -> ResourceRef {
    ResourceRef::new(GROUP, "v1", PLURAL)
}

#[async_trait]
impl Controller for CustomResources {
    fn name(&self) -> &'static str {
        "customresourcedefinition"
    }

    fn resources(&self) -> Vec<GroupResource> {
        Vec::new()
    }

    fn wake(&self, event: &Event, key: &ObjectKey<'_>, enqueue: &mut dyn FnMut(String)) {
        let deleting = |bytes: &[u8]| row(bytes).is_ok_and(|r| r.is_deleting());
        if key.group == GROUP && key.resource == PLURAL {
            match &event.current {
                Some(row) if deleting(row) => enqueue(join(&[key.cluster, key.name])),
                Some(_) => {}
                None => enqueue(join(&[key.cluster, WAITING])),
            }
        } else if key.identity == CUSTOM_IDENTITY
            && event.is_delete()
            && event.previous.as_ref().is_some_and(|v| deleting(&v.row))
        {
            enqueue(join(&[
                key.cluster,
                &format!("{}.{}", key.resource, key.group),
            ]));
        }
    }

    fn pending(&self, registry: &Registry, enqueue: &mut dyn FnMut(String)) -> Result<(), Status> {
        pending_deletions(registry, GROUP, PLURAL, enqueue)
    }

    async fn reconcile(&self, registry: &Registry, key: &str) -> Result<Next, Status> {
        let Some((cluster, name)) = key.split_once('\0') else {
            return Ok(Next::Done);
        };
        let cluster = ClusterName::new(cluster);
        if name == WAITING {
            return look_again(registry, cluster).await;
        }
        let client = registry.as_system(cluster.clone());
        let Some(mut crd) = client.find(&resource(), None, name).await? else {
            return Ok(Next::Done);
        };
        if !meta::is_deleting(&crd) || !meta::has_finalizer(&crd, CLEANUP_FINALIZER) {
            return Ok(Next::Done);
        }
        let text = |pointer: &str| {
            crd.pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let id = ResourceId::custom(text("/spec/group"), text("/spec/names/plural"));
        let remaining = empty(registry, &cluster, &id, None).await?;
        if remaining.objects > 0 {
            return Ok(Next::After(Duration::from_secs(30)));
        }
        meta::remove_finalizer(&mut crd, CLEANUP_FINALIZER);
        client.update(&resource(), crd).await?;
        Ok(Next::Done)
    }
}

/// A write without a change makes admission judge the names anew.
async fn look_again(registry: &Registry, cluster: ClusterName) -> Result<Next, Status> {
    let client = registry.as_system(cluster);
    let list = client
        .list(&resource(), None, &ListOptions::default())
        .await?;
    for object in list.objects {
        let crd = object.value()?;
        let conditions = crd.pointer("/status/conditions").and_then(Value::as_array);
        let refused = conditions
            .into_iter()
            .flatten()
            .any(|c| c["type"] == "NamesAccepted" && c["status"] == "False");
        if refused && !meta::is_deleting(&crd) {
            client.update_status(&resource(), crd).await?;
        }
    }
    Ok(Next::Done)
}
