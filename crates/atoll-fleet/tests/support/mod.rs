//! A center without HTTP (real store, registry and fleet), and a pretend edge that speaks the agent protocol in the process.
//!
//! Nothing sleeps to synchronize: a test says what it waits for.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used)] // each test file uses some of it

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use atoll_fleet::{AgentService, Fleet, FleetCa, FleetDoors, FleetOptions};
use atoll_kube::{Status, UserInfo};
use atoll_registry::client::Client;
use atoll_registry::{
    Attributes, Authorizer, ClusterKind, ClusterName, ClusterResolver, Decision, DeleteOptions,
    PatchType, Registry, ResourceRef,
};
use atoll_store::{Append, Store, embedded};
use atoll_wire::digest::SetDigest;
use atoll_wire::identity::AgentIdentity;
use atoll_wire::{
    CopyId, CopyReport, Cursor, Held, Hello, Holding, Item, Need, Report, Resumption, ToAgent,
    ToCenter, Tombstone, TombstoneDone, TombstoneOutcome, to_agent,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// Clusters by name: `i…` are inventories, `p…` payloads.
struct ByLetter;

impl ClusterResolver for ByLetter {
    fn resolve(&self, path: &str) -> Result<ClusterName, Status> {
        Ok(ClusterName::new(path))
    }

    fn kind(&self, cluster: &ClusterName) -> Result<ClusterKind, Status> {
        Ok(match cluster.as_str().as_bytes().first() {
            Some(b'p') => ClusterKind::Payload,
            Some(b'i') => ClusterKind::Inventory,
            _ => ClusterKind::Universal,
        })
    }
}

/// Says yes until told otherwise.
#[derive(Default)]
pub struct Consent {
    pub withdrawn: AtomicBool,
}

impl Authorizer for Consent {
    fn authorize(&self, _: &Attributes) -> Decision {
        if self.withdrawn.load(Ordering::SeqCst) {
            Decision::NoOpinion("withdrawn".into())
        } else {
            Decision::Allow
        }
    }

    fn may_know(&self, _: &Arc<UserInfo>, _: &str) -> bool {
        true
    }
}

pub struct Center {
    pub registry: Registry,
    pub fleet: Fleet,
    pub store: Arc<dyn Store>,
    pub consent: Arc<Consent>,
}

pub fn policies() -> ResourceRef {
    ResourceRef::new("control.kubestellar.io", "v1alpha1", "bindingpolicies")
}

pub fn managed_clusters() -> ResourceRef {
    ResourceRef::new(
        "cluster.open-cluster-management.io",
        "v1",
        "managedclusters",
    )
}

pub fn config_maps() -> ResourceRef {
    ResourceRef::new("", "v1", "configmaps")
}

pub fn deployments() -> ResourceRef {
    ResourceRef::new("apps", "v1", "deployments")
}

impl Center {
    /// Opens (or opens again) the center in a directory.
    pub async fn open(directory: &Path) -> Center {
        let mut options = embedded::Options::new(directory.join("store"));
        options.indexes = atoll_registry::indexes();
        let store: Arc<dyn Store> = embedded::open(options).unwrap();
        let consent = Arc::new(Consent::default());
        let doors = FleetDoors::new(consent.clone());
        let mut builder = Registry::builder(store.clone(), Arc::new(ByLetter));
        for hook in doors.hooks() {
            builder = builder.hook(hook);
        }
        for computed in doors.computed() {
            builder = builder.computed(computed);
        }
        let registry = builder.build();
        for cluster in ["i1", "p1", "p2"] {
            seed_namespace(&registry, &store, cluster, "default").await;
        }
        let ca = FleetCa::load_or_create(directory, registry.now()).unwrap();
        let options = FleetOptions {
            doors,
            registry: registry.clone(),
            ca,
            center_ca_pem: String::new(),
            grace: None,
        };
        let fleet = Fleet::start(options).await.unwrap();
        Center {
            registry,
            fleet,
            store,
            consent,
        }
    }

    pub fn client(&self, cluster: &str) -> Client {
        self.registry.as_system(ClusterName::new(cluster))
    }

    /// Makes a ManagedCluster and gives its uid.
    pub async fn destination(&self, name: &str, labels: Value) -> String {
        let object = json!({"apiVersion": "cluster.open-cluster-management.io/v1", "kind": "ManagedCluster",
            "metadata": {"name": name, "labels": labels}, "spec": {"hubAcceptsClient": true}});
        let made = self
            .client("i1")
            .create(&managed_clusters(), object)
            .await
            .unwrap();
        atoll_kube::meta::uid(&made).to_owned()
    }

    pub async fn namespace(&self, cluster: &str, name: &str) {
        seed_namespace(&self.registry, &self.store, cluster, name).await;
    }

    pub async fn label(&self, name: &str, labels: Value) {
        let patch = json!({"metadata": {"labels": labels}});
        self.client("i1")
            .patch(&managed_clusters(), None, name, PatchType::Merge, patch)
            .await
            .unwrap();
    }

    pub async fn policy(&self, cluster: &str, name: &str, mut spec: Value) {
        spec["inventory"] = json!("i1");
        let object = json!({"apiVersion": "control.kubestellar.io/v1alpha1", "kind": "BindingPolicy", "metadata": {"name": name}, "spec": spec});
        self.client(cluster)
            .create(&policies(), object)
            .await
            .unwrap();
    }

    pub async fn config(&self, cluster: &str, name: &str, value: &str) {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
            "data": {"value": value}});
        let client = self.client(cluster);
        match client
            .find(&config_maps(), Some("default"), name)
            .await
            .unwrap()
        {
            None => client.create(&config_maps(), object).await.unwrap(),
            Some(_) => client
                .patch(
                    &config_maps(),
                    Some("default"),
                    name,
                    PatchType::Merge,
                    json!({"data": {"value": value}}),
                )
                .await
                .unwrap(),
        };
    }

    pub async fn delete(
        &self,
        cluster: &str,
        resource: &ResourceRef,
        namespace: Option<&str>,
        name: &str,
    ) {
        assert!(
            self.client(cluster)
                .delete(resource, namespace, name, &DeleteOptions::default())
                .await
                .unwrap()
        );
    }

    /// A policy's status, once it says what is waited for.
    pub async fn status_when(
        &self,
        cluster: &str,
        name: &str,
        ready: impl Fn(&Value) -> bool,
    ) -> Value {
        self.object_when(cluster, &policies(), None, name, |o| {
            o.get("status").is_some_and(&ready)
        })
        .await["status"]
            .clone()
    }

    /// An object, once it is as waited for.
    pub async fn object_when(
        &self,
        cluster: &str,
        resource: &ResourceRef,
        namespace: Option<&str>,
        name: &str,
        ready: impl Fn(&Value) -> bool,
    ) -> Value {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let object = self
                .client(cluster)
                .get(resource, namespace, name)
                .await
                .unwrap();
            if ready(&object) {
                return object;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "still not: {object:#}"
            );
            // Polls a state that has no event of its own here; nothing depends on how long this is.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Stops as a crash would: nothing is told to anyone. Returns when the files are free again. Sessions must be cut before.
    pub async fn crash(self) {
        let Center {
            registry,
            fleet,
            store,
            ..
        } = self;
        drop((fleet, registry));
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while Arc::strong_count(&store) > 1 {
            assert!(
                tokio::time::Instant::now() < deadline,
                "somebody still holds the store"
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// Runs a test in a directory that outlives everything that the test started.
pub fn run<F: Future<Output = ()>>(test: impl FnOnce(PathBuf) -> F) {
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(test(directory.path().to_owned()));
    drop(runtime);
    drop(directory);
}

async fn seed_namespace(registry: &Registry, store: &Arc<dyn Store>, cluster: &str, name: &str) {
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    let seed = registry
        .seed(&ClusterName::new(cluster), object, "test", registry.now())
        .unwrap();
    // Not the first opening: it is there.
    let _ = store
        .append(Append {
            checks: vec![seed.absent()],
            writes: vec![seed.write],
        })
        .await;
}

/// What a pretend edge has on its disk.
#[derive(Debug, Default, Clone)]
pub struct Disk {
    pub cursor: Option<Cursor>,
    pub copies: BTreeMap<CopyId, Item>,
    pub bodies: BTreeMap<Vec<u8>, Value>,
}

impl Disk {
    fn digest(&self) -> SetDigest {
        let mut digest = SetDigest::EMPTY;
        for (copy, item) in &self.copies {
            digest.add(copy, &item.render_hash);
        }
        digest
    }

    /// `value` of each ConfigMap held, by name.
    pub fn configs(&self) -> BTreeMap<String, String> {
        let bodies = self
            .copies
            .values()
            .filter(|i| i.object.as_ref().unwrap().kind == "ConfigMap");
        bodies
            .filter_map(|i| {
                let body = self.bodies.get(i.body_hash.as_ref())?;
                Some((
                    body["metadata"]["name"].as_str()?.to_owned(),
                    body["data"]["value"].as_str()?.to_owned(),
                ))
            })
            .collect()
    }
}

/// How the edge's cluster answers to each object.
pub type Behave = Box<dyn Fn(&Item) -> (atoll_wire::ErrorKind, Value) + Send>;

/// A connected pretend edge.
pub struct Edge {
    pub uid: String,
    pub disk: Disk,
    pub resumption: Option<Resumption>,
    /// Every message received since the connection was made.
    pub items: usize,
    pub bodies: usize,
    pub listed: bool,
    /// It was asked to report everything that it has.
    pub everything: bool,
    pub tombstones: Vec<Tombstone>,
    pub acknowledged: u64,
    pub refused: Option<atoll_wire::Refused>,
    /// What the center asks for of what is born here.
    pub gather: Option<atoll_wire::Gather>,
    /// Hashes that the center would not give bodies for.
    pub denied: Vec<Vec<u8>>,
    /// The edge's controllers have seen what was applied.
    pub observed: bool,
    behave: Behave,
    sequence: u64,
    to_center: mpsc::Sender<Result<ToCenter, tonic::Status>>,
    from_center: ReceiverStream<Result<ToAgent, tonic::Status>>,
}

impl Edge {
    pub async fn connect(center: &Center, uid: &str, disk: Disk) -> Edge {
        Self::connect_to(&center.fleet.agent_service(), uid, disk).await
    }

    pub async fn connect_to(service: &AgentService, uid: &str, disk: Disk) -> Edge {
        let (to_center, inbound) = mpsc::channel(64);
        let identity = AgentIdentity {
            inventory: "i1".into(),
            destination: uid.into(),
        };
        let hello = Hello {
            cursor: disk.cursor.clone(),
            digest: disk.digest().to_bytes().into(),
            agent_version: "test".into(),
            kubernetes_version: "v1.36.0".into(),
            claims: BTreeMap::new(),
            others: Vec::new(),
        };
        to_center.send(Ok(ToCenter::new(uid, hello))).await.unwrap();
        let from_center = service.connect(identity, ReceiverStream::new(inbound));
        Edge {
            uid: uid.into(),
            disk,
            resumption: None,
            items: 0,
            bodies: 0,
            listed: false,
            everything: false,
            tombstones: Vec::new(),
            acknowledged: 0,
            refused: None,
            gather: None,
            denied: Vec::new(),
            observed: true,
            behave: Box::new(|_| (atoll_wire::ErrorKind::None, Value::Null)),
            sequence: 0,
            to_center,
            from_center,
        }
    }

    pub fn behaving(
        mut self,
        behave: impl Fn(&Item) -> (atoll_wire::ErrorKind, Value) + Send + 'static,
    ) -> Self {
        self.behave = Box::new(behave);
        self
    }

    /// Lives until it is as waited for, and its reports so far are acknowledged.
    pub async fn until(&mut self, what: &str, ready: impl Fn(&Edge) -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !(ready(self) && self.acknowledged == self.sequence) {
            let message = tokio::time::timeout_at(deadline, self.from_center.next()).await;
            match message {
                Ok(Some(Ok(message))) => self.take(message.message.unwrap()).await,
                Ok(_) => panic!("the session ended while waiting for: {what}"),
                Err(_) => panic!(
                    "never: {what}; has {:?}, {:?}, listed {}, {} items, {} bodies, {} of {} acknowledged",
                    self.disk.configs(),
                    self.resumption,
                    self.listed,
                    self.items,
                    self.bodies,
                    self.acknowledged,
                    self.sequence
                ),
            }
        }
    }

    /// Lives until the center has nothing to say for a ping's round trip.
    pub async fn quiet(&mut self) {
        self.until("welcome", |e| e.resumption.is_some() || e.refused.is_some())
            .await;
        self.say(atoll_wire::Ping {}).await;
        loop {
            match tokio::time::timeout(PATIENCE, self.from_center.next())
                .await
                .expect("an answer")
                .unwrap()
                .unwrap()
                .message
                .unwrap()
            {
                to_agent::Message::Pong(_) => return,
                other => self.take(other).await,
            }
        }
    }

    pub fn say<M: Into<atoll_wire::to_center::Message>>(
        &self,
        message: M,
    ) -> impl Future<Output = ()> + Send + use<M> {
        let (to_center, message) = (
            self.to_center.clone(),
            ToCenter::new(self.uid.clone(), message),
        );
        async move {
            let _ = to_center.send(Ok(message)).await;
        }
    }

    async fn take(&mut self, message: to_agent::Message) {
        use to_agent::Message;
        match message {
            Message::Welcome(welcome) => {
                self.resumption = Some(Resumption::try_from(welcome.resumption).unwrap());
                self.everything = welcome.report_everything;
                if welcome.report_everything {
                    let all: Vec<CopyId> = self.disk.copies.keys().cloned().collect();
                    self.report(&all).await;
                }
            }
            Message::List(_) => {
                self.listed = true;
                let copies = self.disk.copies.values().map(|i| Held {
                    copy: i.copy.clone(),
                    render_hash: i.render_hash.clone(),
                    object: i.object.clone(),
                });
                self.say(Holding {
                    copies: copies.collect(),
                    last: true,
                })
                .await;
            }
            Message::Desired(desired) => {
                self.items += desired.items.len();
                for item in desired.items.iter().filter(|i| !i.body.is_empty()) {
                    let body = serde_json::from_slice(&item.body).unwrap();
                    self.disk.bodies.insert(item.body_hash.to_vec(), body);
                }
                let missing = desired
                    .items
                    .iter()
                    .map(|i| i.body_hash.clone())
                    .filter(|h| !self.disk.bodies.contains_key(h.as_ref()));
                let hashes: Vec<_> = missing.collect();
                let new: Vec<CopyId> = desired
                    .items
                    .iter()
                    .filter_map(|i| i.copy.clone())
                    .collect();
                for item in desired.items {
                    self.disk.copies.insert(item.copy.clone().unwrap(), item);
                }
                if desired.cursor.is_some() {
                    self.disk.cursor = desired.cursor;
                }
                if !hashes.is_empty() {
                    self.say(Need { hashes }).await;
                }
                self.report(&new).await;
            }
            Message::Bodies(bodies) => {
                self.denied
                    .extend(bodies.unknown.iter().map(|hash| hash.to_vec()));
                for body in bodies.bodies {
                    self.bodies += 1;
                    assert_eq!(
                        atoll_wire::digest::body_hash(&body.bytes).as_slice(),
                        body.hash.as_ref()
                    );
                    self.disk.bodies.insert(
                        body.hash.to_vec(),
                        serde_json::from_slice(&body.bytes).unwrap(),
                    );
                }
            }
            Message::Tombstone(tombstone) => {
                let copy = tombstone.copy.clone().unwrap();
                self.disk.copies.remove(&copy);
                self.tombstones.push(tombstone);
                self.say(TombstoneDone {
                    copy: Some(copy),
                    outcome: TombstoneOutcome::Removed as i32,
                    ..TombstoneDone::default()
                })
                .await;
            }
            Message::ReportAck(ack) => self.acknowledged = ack.sequence,
            Message::Refused(refused) => self.refused = Some(refused),
            Message::Resumed(resumed) => {
                self.resumption = Some(Resumption::Normal);
                self.disk.cursor = resumed.cursor;
            }
            Message::Gather(gather) => self.gather = Some(gather),
            Message::Released(_) | Message::FetchStatus(_) | Message::Pong(_) => {}
        }
    }

    /// Reports some copies as the edge's cluster behaves now.
    pub async fn report(&mut self, copies: &[CopyId]) {
        self.sequence += 1;
        let copies = copies
            .iter()
            .filter_map(|copy| {
                let item = self.disk.copies.get(copy)?;
                let (error, status) = (self.behave)(item);
                Some(CopyReport {
                    copy: Some(copy.clone()),
                    render_hash: item.render_hash.clone(),
                    applied_hash: item.render_hash.clone(),
                    error: error as i32,
                    message: if error == atoll_wire::ErrorKind::None {
                        String::new()
                    } else {
                        "because".into()
                    },
                    observed: self.observed,
                    status: if status.is_null() {
                        Vec::new().into()
                    } else {
                        status.to_string().into_bytes().into()
                    },
                    generation: 1,
                })
            })
            .collect();
        self.say(Report {
            sequence: self.sequence,
            copies,
            complete: false,
        })
        .await;
    }

    /// Goes on by itself until it is ended; the timeline says when it had what.
    pub fn live(mut self, timeline: &Timeline) -> Live {
        let timeline = timeline.clone();
        let disk = Arc::new(parking_lot::Mutex::new(self.disk.clone()));
        let shown = disk.clone();
        let uid = self.uid.clone();
        let (again, mut asked) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    message = self.from_center.next() => match message {
                        Some(Ok(message)) => self.take(message.message.unwrap()).await,
                        _ => return,
                    },
                    Some(()) = asked.recv() => {
                        let all: Vec<CopyId> = self.disk.copies.keys().cloned().collect();
                        self.report(&all).await;
                    }
                }
                let before = shown.lock().configs();
                let now = self.disk.configs();
                *shown.lock() = self.disk.clone();
                if before != now {
                    timeline.0.lock().push((self.uid.clone(), now));
                }
            }
        });
        Live {
            uid,
            disk,
            again,
            task,
        }
    }

    /// The connection breaks; the disk stays.
    pub fn cut(self) -> Disk {
        self.disk
    }
}

/// An edge's uid, and what it had then.
pub type Moment = (String, BTreeMap<String, String>);

/// What edges had, in the order in which they got it.
#[derive(Clone, Default)]
pub struct Timeline(pub Arc<parking_lot::Mutex<Vec<Moment>>>);

/// An edge that lives by itself.
pub struct Live {
    pub uid: String,
    disk: Arc<parking_lot::Mutex<Disk>>,
    again: mpsc::UnboundedSender<()>,
    task: tokio::task::JoinHandle<()>,
}

impl Live {
    pub fn configs(&self) -> BTreeMap<String, String> {
        self.disk.lock().configs()
    }

    /// The connection breaks; the disk stays.
    pub async fn cut(self) -> Disk {
        self.task.abort();
        let _ = self.task.await;
        self.disk.lock().clone()
    }

    /// Reports everything as it is now.
    pub fn report(&self) {
        let _ = self.again.send(());
    }
}

/// Waits for something that has no event of its own.
pub async fn eventually(what: &str, ready: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !ready() {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub fn counts(status: &Value) -> [i64; 5] {
    ["expected", "current", "outdated", "failed", "unreported"]
        .map(|f| status["counts"][f].as_i64().unwrap_or(-1))
}

pub fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target: PathBuf = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_directory(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// `value` of ConfigMaps by name, as [`Disk::configs`] gives it.
pub fn configs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

/// A policy: objects with this label `app`, where the label `site` is this.
pub fn everything_labelled(app: &str, site: &str) -> serde_json::Value {
    json!({"clusterSelectors": [{"matchLabels": {"site": site}}], "downsync": [{"objectSelectors": [{"matchLabels": {"app": app}}]}]})
}
