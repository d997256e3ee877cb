//! The pretend controllers: each gives one kind of workload its settled status and what it would have made.

use async_trait::async_trait;
use atoll_kube::{GroupResource, RowRef, Status, meta};
use atoll_registry::{
    DeleteOptions, ListOptions, ObjectKey, PatchType, Registry, ResourceId, ResourceRef,
    client::Client,
    controller::{Controller, Next},
};
use atoll_store::{At, Event};
use serde_json::{Value, json};

use crate::{cluster, pretend};

/// Pretends to run one kind of workload. Keys are `namespace/name`.
pub(crate) struct Pretender(pub(crate) pretend::Workload);

impl Pretender {
    fn resource(&self) -> ResourceRef {
        let (group, version, resource) = self.0.resource();
        ResourceRef::new(group, version, resource)
    }

    /// Makes what a workload has and is not there; removes what it no longer has.
    async fn make(&self, client: &Client, object: &Value) -> Result<(), Status> {
        let Some(kind) = pretend::made_by(self.0) else {
            return Ok(());
        };
        let (group, version, plural) = kind.resource();
        let resource = ResourceRef::new(group, version, plural);
        let namespace = Some(meta::namespace(object));
        let everything = ListOptions::default();
        let list = client.list(&resource, namespace, &everything).await?;
        let mut live = Vec::new();
        for found in list.objects {
            let found = found.value()?;
            if meta::owner_references(&found).any(|o| o.uid == meta::uid(object)) {
                live.push(found);
            }
        }
        let wanted = pretend::children(self.0, object);
        for child in &live {
            let name = meta::name(child);
            if !meta::is_deleting(child) && !wanted.iter().any(|w| meta::name(w) == name) {
                let options = DeleteOptions::default();
                client.delete(&resource, namespace, name, &options).await?;
            }
        }
        for child in wanted {
            let name = meta::name(&child).to_owned();
            match live.iter().find(|l| meta::name(l) == name) {
                None => match client.create(&resource, child).await {
                    Err(status) if status.code != 409 => return Err(status),
                    _ => {}
                },
                Some(there) if there["spec"]["replicas"] != child["spec"]["replicas"] => {
                    let patch = json!({"spec": {"replicas": child["spec"]["replicas"]}});
                    client
                        .patch(&resource, namespace, &name, PatchType::Merge, patch)
                        .await?;
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Controller for Pretender {
    fn name(&self) -> &'static str {
        self.0.resource().2
    }

    fn resources(&self) -> Vec<GroupResource> {
        let kinds = [Some(self.0), pretend::made_by(self.0)];
        let resource = |workload: pretend::Workload| {
            let (group, _, resource) = workload.resource();
            GroupResource::new(group, resource)
        };
        kinds.into_iter().flatten().map(resource).collect()
    }

    fn wake(&self, event: &Event, key: &ObjectKey<'_>, enqueue: &mut dyn FnMut(String)) {
        if key.resource == self.0.resource().2 {
            if !event.is_delete() {
                enqueue(format!("{}/{}", key.namespace, key.name));
            }
            return;
        }
        // One of what it made is gone: it makes another one.
        let Some(previous) = event.previous.as_ref().filter(|_| event.is_delete()) else {
            return;
        };
        let Ok(row) = RowRef::parse(&previous.row) else {
            return;
        };
        for owner in meta::owner_references(&row.value("", "", 0, None)) {
            enqueue(format!("{}/{}", key.namespace, owner.name));
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
        if !meta::is_deleting(&object) {
            self.make(&client, &object).await?;
        }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use atoll_registry::controller::Driver;
    use atoll_registry::{Registry, controllers};
    use atoll_store::{Prefix, Store, embedded};

    use super::*;
    use crate::services::Addresses;

    /// Looks at the pods of `shop` after every write until there are as many.
    async fn pods(registry: &Registry, client: &Client, count: usize) -> Vec<Value> {
        let store = registry.store();
        let mut watch = store.watch(Prefix::all(), store.head()).unwrap();
        loop {
            let resource = ResourceRef::new("", "v1", "pods");
            let everything = ListOptions::default();
            let list = client.list(&resource, Some("shop"), &everything).await;
            let objects = list.unwrap().objects;
            let values: Vec<Value> = objects.iter().map(|o| o.value().unwrap()).collect();
            let run = values.iter().all(|pod| pod["status"]["phase"] == "Running");
            if values.len() == count && run {
                return values;
            }
            let _ = watch.next().await;
        }
    }

    #[tokio::test]
    async fn a_deployment_shows_pods_that_follow_it() {
        let directory = tempfile::tempdir().unwrap();
        let mut options = embedded::Options::new(directory.path());
        options.indexes = atoll_registry::indexes();
        let store: Arc<dyn Store> = embedded::open(options).unwrap();
        let registry = Registry::builder(store, Arc::new(cluster::OneCluster))
            .hook(Arc::new(Addresses))
            .build();
        cluster::bootstrap(&registry).await.unwrap();
        let driver = controllers::all(Driver::new(registry.clone()));
        let pretend = pretend::Workload::ALL.into_iter();
        let driver = pretend.fold(driver, |d, w| d.with(Arc::new(Pretender(w))));
        let running = tokio::spawn(driver.run());

        let client = registry.as_system(cluster::name()).managed_by("test");
        let create = async |resource: &ResourceRef, object: Value| {
            client.create(resource, object).await.unwrap()
        };
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
        create(&ResourceRef::new("", "v1", "namespaces"), namespace).await;
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"ports": [{"port": 80}]}});
        let service = create(&ResourceRef::new("", "v1", "services"), service).await;
        assert!(service["spec"]["clusterIP"].is_string(), "{service}");
        let deployments = ResourceRef::new("apps", "v1", "deployments");
        let web = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
        create(&deployments, web).await;
        let first = pods(&registry, &client, 2).await;

        // A pod that is deleted comes again, a larger number adds some, and with the Deployment all go.
        let resource = ResourceRef::new("", "v1", "pods");
        let options = DeleteOptions::default();
        let name = meta::name(&first[0]);
        client
            .delete(&resource, Some("shop"), name, &options)
            .await
            .unwrap();
        pods(&registry, &client, 2).await;
        let patch = json!({"spec": {"replicas": 3}});
        let scaled = client.patch(&deployments, Some("shop"), "web", PatchType::Merge, patch);
        scaled.await.unwrap();
        pods(&registry, &client, 3).await;
        let deleted = client.delete(&deployments, Some("shop"), "web", &options);
        deleted.await.unwrap();
        pods(&registry, &client, 0).await;
        running.abort();
        let _ = running.await;
        while tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
            > 0
        {
            tokio::task::yield_now().await;
        }
    }
}
