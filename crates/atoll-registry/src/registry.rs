//! The registry itself: the store, the doors, and one method per verb. The verbs' code is in `read/` and `write/`.

use std::{collections::HashMap, sync::Arc};

use atoll_kube::{GroupResource, Status, Timestamp, UserInfo};
use atoll_store::Store;
use serde_json::Value;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    Answer, Body, Call, ClusterName, Clusters, Computed, DeleteOptions, GetOptions, Hook, List,
    ListOptions, Object, PatchType, ResourceRef, Virtual, WatchOptions, WatchStream, WriteOptions,
    access::{Authorizer, ClusterKind, ClusterResolver},
    admission::{plan, quota, webhook::Caller},
    client::Client,
    surface::{self, Surface},
};

/// Tells the time, for what happens without a request: controllers and bootstrap.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// Makes what must be unique.
pub trait Ids: Send + Sync {
    /// A new uid (a v4 UUID as text).
    fn uid(&self) -> String;
    /// Any number: the suffix of a generated name is made from it.
    fn random(&self) -> u64;
}

/// Ids from the operating system's randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct RandomIds;

impl Ids for RandomIds {
    fn uid(&self) -> String {
        uuid::Uuid::new_v4().to_string()
    }

    fn random(&self) -> u64 {
        rand::random()
    }
}

/// REST semantics over one store. Cheap to clone; one per process.
#[derive(Clone)]
pub struct Registry {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) resolver: Arc<dyn ClusterResolver>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn Ids>,
    pub(crate) surfaces: surface::Cache,
    pub(crate) hooks: HashMap<GroupResource, Vec<Arc<dyn Hook>>>,
    pub(crate) all_hooks: Vec<Arc<dyn Hook>>,
    pub(crate) computed: HashMap<GroupResource, Arc<dyn Computed>>,
    pub(crate) virtuals: HashMap<(GroupResource, Option<String>), Arc<dyn Virtual>>,
    pub(crate) system: Arc<UserInfo>,
    background: Option<tokio::runtime::Handle>,
    pub(crate) plans: plan::Plans,
    pub(crate) turns: quota::Turns,
    pub(crate) authorizer: Option<Arc<dyn Authorizer>>,
    pub(crate) caller: Option<Arc<dyn Caller>>,
}

/// Puts a [`Registry`] together.
pub struct Builder {
    inner: Inner,
}

impl Builder {
    /// Takes the time from `clock` instead of the machine.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.inner.clock = clock;
        self
    }

    /// Long work of one request (deleting a collection) runs on `background`, so that other requests need not queue behind it.
    #[must_use]
    pub fn background(mut self, background: tokio::runtime::Handle) -> Self {
        self.inner.background = Some(background);
        self
    }

    /// Takes uids and name suffixes from `ids`.
    #[must_use]
    pub fn ids(mut self, ids: Arc<dyn Ids>) -> Self {
        self.inner.ids = ids;
        self
    }

    /// Adds a hook; hooks of one resource run in the order they were added.
    #[must_use]
    pub fn hook(mut self, hook: Arc<dyn Hook>) -> Self {
        let resources = hook.resources();
        if resources.is_empty() {
            self.inner.all_hooks.push(hook);
        } else {
            for resource in resources {
                self.inner
                    .hooks
                    .entry(resource)
                    .or_default()
                    .push(hook.clone());
            }
        }
        self
    }

    /// Adds computed kinds.
    #[must_use]
    pub fn computed(mut self, computed: Arc<dyn Computed>) -> Self {
        for resource in computed.resources() {
            self.inner.computed.insert(resource, computed.clone());
        }
        self
    }

    /// Adds create-only kinds.
    #[must_use]
    pub fn virtuals(mut self, kind: Arc<dyn Virtual>) -> Self {
        for resource in kind.resources() {
            self.inner.virtuals.insert(resource, kind.clone());
        }
        self
    }

    /// Who answers the questions that admission policies ask about rights. Without one, everything is allowed.
    #[must_use]
    pub fn authorizer(mut self, authorizer: Arc<dyn Authorizer>) -> Self {
        self.inner.authorizer = Some(authorizer);
        self
    }

    /// Who makes the calls to webhooks. Without one, none can be asked.
    #[must_use]
    pub fn caller(mut self, caller: Arc<dyn Caller>) -> Self {
        self.inner.caller = Some(caller);
        self
    }

    /// Bounds the memory for surfaces and compiled custom definitions, in bytes (default 64 MiB).
    #[must_use]
    pub fn surface_budget(mut self, bytes: u64) -> Self {
        self.inner.surfaces = surface::Cache::new(bytes);
        self
    }

    /// The registry.
    pub fn build(self) -> Registry {
        Registry {
            inner: Arc::new(self.inner),
        }
    }
}

impl Registry {
    /// Starts building a registry over `store`, which must have been opened with [`crate::indexes`].
    pub fn builder(store: Arc<dyn Store>, resolver: Arc<dyn ClusterResolver>) -> Builder {
        let system = UserInfo {
            username: "system:apiserver".into(),
            groups: vec!["system:masters".into()],
            ..UserInfo::default()
        };
        Builder {
            inner: Inner {
                store,
                resolver,
                clock: Arc::new(SystemClock),
                ids: Arc::new(RandomIds),
                surfaces: surface::Cache::new(64 << 20),
                hooks: HashMap::new(),
                all_hooks: Vec::new(),
                computed: HashMap::new(),
                virtuals: HashMap::new(),
                system: Arc::new(system),
                background: None,
                plans: plan::cache(16 << 20),
                turns: quota::Turns::default(),
                authorizer: None,
                caller: None,
            },
        }
    }

    /// The store below.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.inner.store
    }

    /// The tree of workspaces above.
    pub fn resolver(&self) -> &Arc<dyn ClusterResolver> {
        &self.inner.resolver
    }

    /// Now, by the registry's clock.
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// A fresh uid.
    pub fn new_uid(&self) -> String {
        self.inner.ids.uid()
    }

    /// What sort of cluster it is.
    pub fn cluster_kind(&self, cluster: &ClusterName) -> Result<ClusterKind, Status> {
        self.inner.resolver.kind(cluster)
    }

    /// The surface of a logical cluster as it is now.
    pub fn surface(&self, cluster: &ClusterName) -> Result<Arc<Surface>, Status> {
        surface::load(self, cluster)
    }

    /// A client that acts as the system in `cluster`: no authorization, everything else as for anybody.
    pub fn as_system(&self, cluster: ClusterName) -> Client {
        Client::new(
            self.clone(),
            self.inner.system.clone(),
            Clusters::One(cluster),
        )
    }

    /// A client that acts as the system over all clusters; reads only.
    pub fn as_system_everywhere(&self) -> Client {
        Client::new(self.clone(), self.inner.system.clone(), Clusters::All)
    }

    /// Who answers for a computed resource.
    pub(crate) fn computed(&self, resource: &ResourceRef) -> Option<&Arc<dyn Computed>> {
        if self.inner.computed.is_empty() {
            return None;
        }
        self.inner.computed.get(&resource.group_resource())
    }

    /// Who answers creates of a resource or subresource that is not stored.
    pub(crate) fn answerer(&self, resource: &ResourceRef) -> Option<&Arc<dyn Virtual>> {
        let key = (resource.group_resource(), resource.subresource.clone());
        self.inner.virtuals.get(&key)
    }

    /// One object. `resource.subresource` may be `status` (the same object) or `scale` (then see [`Self::get_scale`]).
    pub async fn get(&self, call: &Call, options: &GetOptions) -> Result<Object, Status> {
        crate::read::get::get(self, call, options).await
    }

    /// The Scale of one object.
    pub async fn get_scale(&self, call: &Call, options: &GetOptions) -> Result<Value, Status> {
        crate::read::get::get_scale(self, call, options).await
    }

    /// A page of objects, consistent at one revision.
    pub async fn list(&self, call: &Call, options: &ListOptions) -> Result<List, Status> {
        crate::read::list::list(self, call, options).await
    }

    /// What changes, from a revision on.
    pub async fn watch(&self, call: &Call, options: &WatchOptions) -> Result<WatchStream, Status> {
        crate::read::watch::watch(self, call, options).await
    }

    /// Creates an object.
    pub async fn create(
        &self,
        call: &Call,
        body: Body,
        options: &WriteOptions,
    ) -> Result<Answer, Status> {
        crate::write::create::create(self, call, body, options).await
    }

    /// Replaces an object, or a subresource of it.
    pub async fn update(
        &self,
        call: &Call,
        body: Body,
        options: &WriteOptions,
    ) -> Result<Answer, Status> {
        crate::write::update::update(self, call, body, options).await
    }

    /// Changes an object, or a subresource of it, by a patch.
    pub async fn patch(
        &self,
        call: &Call,
        kind: PatchType,
        body: Body,
        options: &WriteOptions,
    ) -> Result<Answer, Status> {
        crate::write::patch::patch(self, call, kind, body, options).await
    }

    /// Deletes an object, at once or through its finalizers.
    pub async fn delete(&self, call: &Call, options: &DeleteOptions) -> Result<Answer, Status> {
        crate::write::delete::delete(self, call, options).await
    }

    /// Deletes what a list with these options shows, object by object.
    pub async fn delete_collection(
        &self,
        call: &Call,
        selection: &ListOptions,
        options: &DeleteOptions,
    ) -> Result<Answer, Status> {
        let (registry, call) = (self.clone(), call.clone());
        let (selection, options) = (selection.clone(), options.clone());
        self.in_background(async move {
            crate::write::delete::delete_collection(&registry, &call, &selection, &options).await
        })
        .await
    }

    /// Runs `work` on the background threads, if there are any; it ends when nobody waits for it any more.
    async fn in_background<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Status>> + Send + 'static,
    ) -> Result<T, Status> {
        let Some(background) = &self.inner.background else {
            return work.await;
        };
        AbortOnDropHandle::new(background.spawn(work))
            .await
            .map_err(Status::internal)?
    }
}
