//! The doors for the floors above: hooks, virtual and computed kinds, guards, controllers.

#![allow(clippy::unwrap_used)] // in helpers too

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use atoll_kube::{GroupResource, Status};
use atoll_registry::{
    Body, Call, ClusterName, Computed, GetOptions, Hook, List, ListOptions, Object, ObjectKey,
    Operation, Registry, ResourceId, Review, Served, Virtual, WatchItem, WatchOptions, WatchStream,
    controller::{Controller, Driver, Next},
    surface,
};
use atoll_store::{At as Moment, Event};
use parking_lot::Mutex;
use serde_json::{Value, json};
use support::*;

/// Notes what it sees of ConfigMaps, refuses those called `no`, and stores a Secret beside each new one.
#[derive(Default)]
struct Beside(Mutex<Vec<String>>);

#[async_trait]
impl Hook for Beside {
    fn resources(&self) -> Vec<GroupResource> {
        vec![GroupResource::new("", "configmaps")]
    }

    async fn admit(&self, registry: &Registry, review: &mut Review<'_>) -> Result<(), Status> {
        self.0
            .lock()
            .push(format!("{:?} {}", review.operation, review.name()));
        if review.name() == "no" {
            return Err(Status::forbidden(&self.resources()[0], "no", "because"));
        }
        if review.operation == Operation::Create {
            review.object["data"]["seen"] = "yes".into();
            let secret = json!({"apiVersion": "v1", "kind": "Secret",
                "metadata": {"name": review.name(), "namespace": review.namespace()}});
            let seed = registry.seed(review.cluster, secret, "beside", review.call.now)?;
            review.checks.push(seed.absent());
            review.writes.push(seed.write);
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_hook_changes_refuses_and_adds_to_the_same_append() {
    let hook = Arc::new(Beside::default());
    let w = World::with(|b| b.hook(hook.clone()), |_| ()).await;
    let at = w.at("u1/default", "v1/configmaps");
    let made = at.create(config_map("a")).await.unwrap();
    assert_eq!(made["data"]["seen"], "yes");
    let beside = w.at("u1/default", "v1/secrets").get("a").await.unwrap();
    assert_eq!(version(&beside), version(&made), "one revision");
    assert_eq!(at.create(config_map("no")).await.unwrap_err().code, 403);
    let mut held = config_map("b");
    held["metadata"]["finalizers"] = json!(["example.dev/wait"]);
    at.create(held).await.unwrap();
    at.delete("b").await.unwrap();
    at.patch(
        "b",
        atoll_registry::PatchType::Merge,
        json!({"metadata": {"finalizers": null}}),
    )
    .await
    .unwrap();
    at.delete("a").await.unwrap();
    let seen = hook.0.lock().clone();
    let expected = [
        "Create a",
        "Create no",
        "Create b",
        "Delete b",
        "Update b",
        "Remove b",
        "Delete a",
        "Remove a",
    ];
    assert_eq!(seen, expected);
}

struct Reviews;

#[async_trait]
impl Virtual for Reviews {
    fn resources(&self) -> Vec<(GroupResource, Option<String>)> {
        let reviews = GroupResource::new("authorization.k8s.io", "selfsubjectaccessreviews");
        vec![
            (reviews, None),
            (
                GroupResource::new("", "serviceaccounts"),
                Some("token".into()),
            ),
        ]
    }

    async fn create(&self, _: &Registry, call: &Call, mut object: Value) -> Result<Value, Status> {
        object["status"] = json!({"for": call.user.username, "name": call.name});
        Ok(object)
    }
}

#[tokio::test]
async fn virtual_kinds_are_answered_and_not_stored() {
    let w = World::with(|b| b.virtuals(Arc::new(Reviews)), |_| ()).await;
    let head = w.store.head();
    let at = w.at("u1", "authorization.k8s.io/v1/selfsubjectaccessreviews");
    let answer = at
        .create(json!({"spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}}))
        .await
        .unwrap();
    assert_eq!(answer["status"]["for"], "alice");
    let token = w.at("u1/default", "v1/serviceaccounts/token");
    let body = Body::Value(json!({"spec": {}}));
    let answer = w
        .registry
        .create(&token.call(Some("sa")), body, &options())
        .await
        .unwrap()
        .value()
        .unwrap();
    assert_eq!(answer["status"]["name"], "sa");
    assert_eq!(w.store.head(), head);
    assert_eq!(
        at.names(ListOptions::default()).await.unwrap_err().code,
        405
    );
    let plain = World::new().await;
    let unanswered = plain
        .at("u1", "authorization.k8s.io/v1/selfsubjectaccessreviews")
        .create(json!({}))
        .await;
    assert_eq!(unanswered.unwrap_err().code, 405);
}

/// WorkStatuses made up from nothing.
struct Made;

fn made(registry: &Registry) -> Object {
    let entry = surface::everywhere("control.kubestellar.io", "workstatuses").unwrap();
    let served = Served::new(entry.definition.clone(), "v1alpha1").unwrap();
    let value = json!({"metadata": {"name": "a", "namespace": "edge"}, "status": {}});
    Object::computed(
        entry.id().key("i1", Some("edge"), "a"),
        registry.store().head(),
        served,
        &value,
    )
}

#[async_trait]
impl Computed for Made {
    fn resources(&self) -> Vec<GroupResource> {
        vec![GroupResource::new("control.kubestellar.io", "workstatuses")]
    }

    async fn get(&self, registry: &Registry, _: &Call, _: &GetOptions) -> Result<Object, Status> {
        Ok(made(registry))
    }

    async fn list(&self, registry: &Registry, _: &Call, _: &ListOptions) -> Result<List, Status> {
        let object = made(registry);
        let served = object.served.clone();
        Ok(List {
            revision: registry.store().head(),
            remaining: None,
            continue_token: None,
            served,
            objects: vec![object],
        })
    }

    async fn watch(
        &self,
        registry: &Registry,
        _: &Call,
        _: &WatchOptions,
    ) -> Result<WatchStream, Status> {
        let (sender, stream) = WatchStream::channel(4);
        let object = made(registry);
        let item = WatchItem::Event {
            kind: atoll_registry::EventKind::Added,
            object,
            event: None,
        };
        sender.send(item).await.map_err(Status::internal)?;
        Ok(stream)
    }
}

#[tokio::test]
async fn computed_kinds_are_read_and_never_written() {
    let w = World::with(|b| b.computed(Arc::new(Made)), |_| ()).await;
    let at = w.at("i1/edge", "control.kubestellar.io/v1alpha1/workstatuses");
    assert_eq!(at.get("a").await.unwrap()["kind"], "WorkStatus");
    assert_eq!(at.names(ListOptions::default()).await.unwrap(), ["a"]);
    let mut stream = at.watch(WatchOptions::default()).await.unwrap();
    assert_eq!(next(&mut stream).await, "ADDED a");
    assert_eq!(next(&mut stream).await, "END", "the sender has gone");
    let value = json!({"metadata": {"name": "a"}});
    assert_eq!(at.create(value.clone()).await.unwrap_err().code, 405);
    assert_eq!(at.update(value).await.unwrap_err().code, 405);
    assert_eq!(at.delete("a").await.unwrap_err().code, 405);
}

#[tokio::test]
async fn reading_without_a_request() {
    let w = World::new().await;
    w.at("u1/default", "v1/configmaps")
        .create(config_map("a"))
        .await
        .unwrap();
    let snapshot = w.store.snapshot(Moment::Latest).unwrap();
    let id = ResourceId::builtin("", "configmaps");
    assert!(
        id.read(snapshot.as_ref(), "u1", Some("default"), "a")
            .unwrap()
            .is_some()
    );
    assert!(
        id.read(snapshot.as_ref(), "u2", Some("default"), "a")
            .unwrap()
            .is_none()
    );
    let client = w.registry.as_system(ClusterName::new("u1"));
    let resource = atoll_registry::ResourceRef::new("", "v1", "configmaps");
    assert_eq!(
        client.get(&resource, Some("default"), "a").await.unwrap()["data"]["k"],
        "v"
    );
    assert!(
        client
            .find(&resource, Some("default"), "b")
            .await
            .unwrap()
            .is_none()
    );
    let applied = json!({"metadata": {"name": "b", "namespace": "default"}, "data": {"x": "y"}});
    assert_eq!(
        client.apply(&resource, applied).await.unwrap()["data"]["x"],
        "y"
    );
    assert!(
        client
            .delete(&resource, Some("default"), "b", &Default::default())
            .await
            .unwrap()
    );
    assert!(
        client
            .delete(&resource, Some("default"), "b", &Default::default())
            .await
            .unwrap(),
        "gone is gone"
    );
}

/// Fails, then panics, then succeeds.
struct Stumbling(AtomicUsize);

#[async_trait]
impl Controller for Stumbling {
    fn name(&self) -> &'static str {
        "stumbling"
    }

    fn resources(&self) -> Vec<GroupResource> {
        vec![GroupResource::new("", "configmaps")]
    }

    fn wake(&self, _: &Event, key: &ObjectKey<'_>, enqueue: &mut dyn FnMut(String)) {
        enqueue(key.name.to_owned());
    }

    fn pending(&self, _: &Registry, _: &mut dyn FnMut(String)) -> Result<(), Status> {
        Ok(())
    }

    async fn reconcile(&self, _: &Registry, _: &str) -> Result<Next, Status> {
        match self.0.fetch_add(1, Ordering::SeqCst) {
            0 => Err(Status::internal("not yet")),
            1 => panic!("on purpose"),
            2 => Ok(Next::After(Duration::from_millis(1))),
            _ => Ok(Next::Done),
        }
    }
}

#[tokio::test]
async fn a_controller_survives_failures_and_shows_them() {
    let w = World::new().await;
    let controller = Arc::new(Stumbling(AtomicUsize::new(0)));
    let driver = Driver::new(w.registry.clone()).with(controller.clone());
    let metrics = driver.metrics();
    let running = tokio::spawn(driver.run());
    tokio::task::yield_now().await;
    w.at("u1/default", "v1/configmaps")
        .create(config_map("a"))
        .await
        .unwrap();
    while controller.0.load(Ordering::SeqCst) < 4 || metrics.read()[0].queue > 0 {
        tokio::task::yield_now().await;
    }
    let seen = &metrics.read()[0];
    assert_eq!(
        (seen.name, seen.failures, seen.successes),
        ("stumbling", 2, 2)
    );
    assert_eq!(seen.last_error.as_ref().unwrap().0, "a");
    stop(running).await;
}
