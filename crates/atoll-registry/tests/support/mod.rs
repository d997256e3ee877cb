//! A registry over a real store in a temporary directory, and short words for what tests do with it.
// Each test file uses some of it; a helper that cannot go on ends the test.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU64, Ordering},
};

use atoll_kube::{FieldSelector, LabelSelector, Status, Timestamp, UserInfo};
use atoll_registry::{
    Answer, Body, Builder, Call, Clock, ClusterKind, ClusterName, ClusterResolver, Clusters,
    DeleteOptions, EventKind, GetOptions, Ids, List, ListOptions, Outcome, PatchType, Registry,
    ResourceRef, WatchItem, WatchOptions, WatchStream, WriteOptions,
};
use atoll_registry::{controller::Driver, controllers};
use atoll_store::{Append, Store, embedded};
use serde_json::{Value, json};

/// Clusters by name: the first letter says which kind.
pub struct ByLetter;

impl ClusterResolver for ByLetter {
    fn resolve(&self, path: &str) -> Result<ClusterName, Status> {
        Ok(ClusterName::new(path))
    }

    fn kind(&self, cluster: &ClusterName) -> Result<ClusterKind, Status> {
        Ok(match cluster.as_str().as_bytes().first() {
            Some(b'p') => ClusterKind::Payload,
            Some(b'i') => ClusterKind::Inventory,
            Some(b'k') => ClusterKind::Kubernetes,
            Some(b'r') => ClusterKind::Root,
            _ => ClusterKind::Universal,
        })
    }
}

/// A clock that stands until it is moved.
pub struct Hand(AtomicI64);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

/// Counting ids: `00000000-0000-0000-0000-000000000001`, …
pub struct Counting(AtomicU64);

impl Ids for Counting {
    fn uid(&self) -> String {
        format!(
            "00000000-0000-4000-8000-{:012}",
            self.0.fetch_add(1, Ordering::SeqCst)
        )
    }

    fn random(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst) / 3
    }
}

pub struct World {
    pub registry: Registry,
    pub store: Arc<dyn Store>,
    pub embedded: Arc<embedded::EmbeddedStore>,
    pub clock: Arc<Hand>,
    _directory: tempfile::TempDir,
}

impl World {
    pub async fn new() -> Self {
        Self::with(|builder| builder, |_| ()).await
    }

    pub async fn with(
        build: impl FnOnce(Builder) -> Builder,
        options: impl FnOnce(&mut embedded::Options),
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut store_options = embedded::Options::new(directory.path());
        store_options.indexes = atoll_registry::indexes();
        options(&mut store_options);
        let embedded = embedded::open(store_options).unwrap();
        let store: Arc<dyn Store> = embedded.clone();
        let clock = Arc::new(Hand(AtomicI64::new(1_800_000_000_000)));
        let builder = Registry::builder(store.clone(), Arc::new(ByLetter))
            .clock(clock.clone())
            .ids(Arc::new(Counting(AtomicU64::new(1))));
        let world = Self {
            registry: build(builder).build(),
            store,
            embedded,
            clock,
            _directory: directory,
        };
        for cluster in ["u1", "u2", "p1", "k1"] {
            world.seed_namespace(cluster, "default").await;
        }
        world
    }

    pub async fn seed_namespace(&self, cluster: &str, name: &str) {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        let seed = self
            .registry
            .seed(
                &ClusterName::new(cluster),
                object,
                "test",
                self.registry.now(),
            )
            .unwrap();
        let append = Append {
            checks: vec![seed.absent()],
            writes: vec![seed.write],
        };
        self.store.append(append).await.unwrap();
    }

    pub fn advance(&self, seconds: i64) {
        self.clock.0.fetch_add(seconds * 1000, Ordering::SeqCst);
    }

    /// A place to act in: `at("u1/default", "v1/configmaps")`, `at("u1", "apps/v1/deployments")`, `at("*", …)`.
    pub fn at<'a>(&'a self, place: &str, resource: &str) -> At<'a> {
        let (cluster, namespace) = match place.split_once('/') {
            Some((cluster, namespace)) => (cluster, Some(namespace.to_owned())),
            None => (place, None),
        };
        let clusters = if cluster == "*" {
            Clusters::All
        } else {
            Clusters::One(ClusterName::new(cluster))
        };
        let mut parts: Vec<&str> = resource.split('/').collect();
        // v1/pods, v1/pods/status, apps/v1/deployments, apps/v1/deployments/scale
        if parts[0].starts_with('v') && parts[0].len() <= 3 {
            parts.insert(0, "");
        }
        let mut resource = ResourceRef::new(parts[0], parts[1], parts[2]);
        if let Some(sub) = parts.get(3) {
            resource = resource.sub(sub);
        }
        At {
            world: self,
            clusters,
            namespace,
            resource,
        }
    }
}

/// Runs the controllers until `done`.
pub async fn settle(w: &World, mut done: impl AsyncFnMut() -> bool) {
    let running = tokio::spawn(controllers::all(Driver::new(w.registry.clone())).run());
    while !done().await {
        tokio::task::yield_now().await;
    }
    stop(running).await;
}

/// Ends a task and those it started: a store outliving its directory would rightly end the process.
pub async fn stop(running: tokio::task::JoinHandle<()>) {
    running.abort();
    while tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks()
        > 0
    {
        tokio::task::yield_now().await;
    }
}

pub struct At<'a> {
    world: &'a World,
    clusters: Clusters,
    namespace: Option<String>,
    resource: ResourceRef,
}

pub fn options() -> WriteOptions {
    WriteOptions {
        field_manager: Some("test".into()),
        ..WriteOptions::default()
    }
}

fn body(value: Value) -> Body {
    Body::Json(serde_json::to_vec(&value).unwrap().into())
}

impl At<'_> {
    pub fn call(&self, name: Option<&str>) -> Call {
        Call {
            user: Arc::new(UserInfo::new("alice", ["system:authenticated"])),
            user_agent: "test/1".into(),
            clusters: self.clusters.clone(),
            resource: self.resource.clone(),
            namespace: self.namespace.clone(),
            name: name.map(Into::into),
            now: self.world.registry.now(),
        }
    }

    pub async fn create(&self, value: Value) -> Result<Value, Status> {
        self.create_with(value, options())
            .await
            .and_then(|a| a.value())
    }

    pub async fn create_with(&self, value: Value, options: WriteOptions) -> Result<Answer, Status> {
        self.world
            .registry
            .create(&self.call(None), body(value), &options)
            .await
    }

    pub async fn get(&self, name: &str) -> Result<Value, Status> {
        self.world
            .registry
            .get(&self.call(Some(name)), &GetOptions::default())
            .await?
            .value()
    }

    pub async fn update(&self, value: Value) -> Result<Value, Status> {
        self.update_with(value, options())
            .await
            .and_then(|a| a.value())
    }

    pub async fn update_with(&self, value: Value, options: WriteOptions) -> Result<Answer, Status> {
        let name = value
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap()
            .to_owned();
        self.world
            .registry
            .update(&self.call(Some(&name)), body(value), &options)
            .await
    }

    pub async fn patch(&self, name: &str, kind: PatchType, patch: Value) -> Result<Value, Status> {
        let call = self.call(Some(name));
        self.world
            .registry
            .patch(&call, kind, body(patch), &options())
            .await
            .and_then(|a| a.value())
    }

    /// True when it is gone.
    pub async fn delete(&self, name: &str) -> Result<bool, Status> {
        self.delete_with(name, DeleteOptions::default()).await
    }

    pub async fn delete_with(&self, name: &str, options: DeleteOptions) -> Result<bool, Status> {
        let answer = self
            .world
            .registry
            .delete(&self.call(Some(name)), &options)
            .await?;
        Ok(matches!(answer.outcome, Outcome::Status(_)))
    }

    pub async fn list_with(&self, options: ListOptions) -> Result<List, Status> {
        self.world.registry.list(&self.call(None), &options).await
    }

    pub async fn names(&self, options: ListOptions) -> Result<Vec<String>, Status> {
        let list = self.list_with(options).await?;
        Ok(list.objects.iter().map(|o| o.name().to_owned()).collect())
    }

    pub async fn watch(&self, options: WatchOptions) -> Result<WatchStream, Status> {
        self.world.registry.watch(&self.call(None), &options).await
    }
}

pub fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "v"}})
}

pub fn labels(query: &str) -> LabelSelector {
    LabelSelector::parse_query(query).unwrap()
}

pub fn fields(query: &str) -> FieldSelector {
    FieldSelector::parse(query).unwrap()
}

pub fn version(value: &Value) -> u64 {
    value["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap()
}

/// The next event as `ADDED name`, `BOOKMARK`, `BOOKMARK end`, `ERROR code`.
pub async fn next(stream: &mut WatchStream) -> String {
    match stream.next().await {
        Some(WatchItem::Event { kind, object, .. }) => {
            format!("{} {}", kind.as_str(), object.name())
        }
        Some(WatchItem::Bookmark { initial_end, .. }) => {
            if initial_end {
                "BOOKMARK end".into()
            } else {
                "BOOKMARK".into()
            }
        }
        Some(WatchItem::Error(status)) => format!("ERROR {}", status.code),
        None => "END".into(),
    }
}

/// The next event's kind and object.
pub async fn next_object(stream: &mut WatchStream) -> (EventKind, Value) {
    match stream.next().await {
        Some(WatchItem::Event { kind, object, .. }) => (kind, object.value().unwrap()),
        other => panic!("not an event: {other:?}"),
    }
}

/// A CustomResourceDefinition of a namespaced kind with status and scale.
pub fn crd(plural: &str, kind: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.example.dev")},
        "spec": {
            "group": "example.dev", "scope": "Namespaced",
            "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List")},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "subresources": {
                    "status": {},
                    "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas",
                        "labelSelectorPath": ".status.selector"}
                },
                "selectableFields": [{"jsonPath": ".spec.color"}],
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "required": ["size"], "properties": {
                        "size": {"type": "integer", "minimum": 1},
                        "color": {"type": "string", "default": "red"},
                        "replicas": {"type": "integer"}
                    }},
                    "status": {"type": "object", "properties": {
                        "replicas": {"type": "integer"}, "selector": {"type": "string"}, "phase": {"type": "string"}
                    }}
                }}}
            }]
        }
    })
}
