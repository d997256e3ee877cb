//! What the fleet's tasks share, and how they tell each other that something is to be done.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use atoll_placement::bundle::BodyHash;
use atoll_placement::place::ObjectIndex;
use atoll_placement::rollout::BudgetId;
use atoll_placement::{Destination, Destinations};
use atoll_registry::{Authorizer, Registry};
use atoll_store::{Append, AppendError, At, Check, Revision, Store, Write};
use atoll_wire::Cursor;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, watch};

use crate::ca::FleetCa;
use crate::decide;
use crate::feed::Feed;
use crate::model::{PolicyIndex, World};
use crate::rollout::news::News;
use crate::rows;
use crate::session::{About, Sessions, Vectors};

/// Memory for bodies that were asked for lately.
const BODY_CACHE_BYTES: u64 = 32 << 20;
/// How long somebody who reads waits until what is collected was counted after a start.
const COUNTING: Duration = Duration::from_secs(30);
/// How long a connecting agent waits for the engine.
const CATCH_UP: Duration = Duration::from_secs(5);

pub(crate) struct Shared {
    pub(crate) registry: Registry,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) authorizer: Arc<dyn Authorizer>,
    pub(crate) ca: FleetCa,
    pub(crate) center_ca_pem: String,
    pub(crate) world: RwLock<World>,
    pub(crate) sessions: Sessions,
    pub(crate) vectors: Vectors,
    pub(crate) feed: Feed,
    pub(crate) bodies: Bodies,
    /// Policies whose status may have to be written.
    pub(crate) policy_status: Dirty<PolicyIndex>,
    /// Policies (workspace, name) whose Rollouts may have to be written.
    pub(crate) rollouts: Dirty<(Arc<str>, Arc<str>)>,
    /// DisruptionBudgets whose status may have to be written.
    pub(crate) budgets: Dirty<BudgetId>,
    /// What the engine is to hear of copies and gates.
    pub(crate) news: Arc<News>,
    /// Objects whose returned status may have to be written.
    pub(crate) returned: Dirty<ObjectIndex>,
    /// Destinations whose conditions may have to be written.
    pub(crate) lifecycle: Dirty<Destination>,
    /// Copies moved in the picture ([`World::moved`]), and that has to be written.
    pub(crate) moved: Notify,
    /// What collectors show may be different.
    pub(crate) collecting: Notify,
    /// Whether everything was counted once since the start.
    pub(crate) counted: watch::Sender<bool>,
    /// Policies some of whose destinations came or went.
    pub(crate) stale: Dirty<PolicyIndex>,
    /// Destinations whose born objects may have to become real ones, or cease to be.
    pub(crate) upsync: Dirty<Destination>,
    /// Workspaces whose Customizers and CustomTransforms may have to say something else.
    pub(crate) shapes: Dirty<Arc<str>>,
    /// Held by whoever writes rows of born objects: what an agent tells and what is made of it meet there.
    pub(crate) born_rows: tokio::sync::Mutex<()>,
    pub(crate) figures: Figures,
    /// What agents said about themselves and is not in their ManagedClusters yet.
    pub(crate) abouts: Mutex<HashMap<Destination, About>>,
    /// Up to where the engine has decided.
    pub(crate) decided: watch::Sender<Revision>,
    /// Somebody waits for that: revisions without any event count too.
    pub(crate) ask_progress: Notify,
}

/// Counters for metrics.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) items_sent: AtomicU64,
    pub(crate) bodies_sent: AtomicU64,
    pub(crate) tombstones_sent: AtomicU64,
    pub(crate) reports: AtomicU64,
    pub(crate) report_appends: AtomicU64,
    pub(crate) decisions: AtomicU64,
    pub(crate) looked_at: AtomicU64,
    pub(crate) enrolments: AtomicU64,
}

impl Shared {
    /// The point that a session's messages reach when this revision is in them.
    pub(crate) fn cursor(&self, revision: Revision) -> Cursor {
        let identity = self.store.identity();
        Cursor {
            store: identity.store.to_string(),
            incarnation: identity.incarnation.to_string(),
            revision: revision.0,
        }
    }

    /// Whether this log contains a cursor.
    pub(crate) fn knows(&self, cursor: &Cursor) -> bool {
        let identity = self.store.identity();
        cursor.store == identity.store.to_string()
            && cursor
                .incarnation
                .parse()
                .ok()
                .and_then(|incarnation| self.store.incarnation_span(&incarnation))
                .is_some_and(|span| span.contains(Revision(cursor.revision)))
            && cursor.revision <= self.store.head().0
    }

    /// Writes rows that only the fleet writes.
    pub(crate) async fn append(
        &self,
        checks: Vec<Check>,
        writes: Vec<Write>,
    ) -> Result<Revision, AppendError> {
        self.store.append(Append { checks, writes }).await
    }

    /// Writes rows that only the fleet writes, in as many appends as they need.
    pub(crate) async fn append_all(&self, writes: Vec<Write>) -> Result<(), AppendError> {
        for part in decide::fit(writes) {
            self.append(Vec::new(), part).await?;
        }
        Ok(())
    }

    /// Waits until what is in the log now has been decided, but not for long: who just registered an edge connects it at once.
    pub(crate) async fn caught_up(&self) {
        let head = self.store.head();
        if *self.decided.borrow() >= head {
            return;
        }
        let mut decided = self.decided.subscribe();
        self.ask_progress.notify_one();
        let wait = decided.wait_for(|at| *at >= head);
        // Late or not, the caller looks at the picture as it is.
        let _ = tokio::time::timeout(CATCH_UP, wait).await;
    }

    /// Waits until what is collected was counted after a start. False: it takes long.
    pub(crate) async fn counted(&self) -> bool {
        let mut counted = self.counted.subscribe();
        let wait = counted.wait_for(|counted| *counted);
        tokio::time::timeout(COUNTING, wait).await.is_ok()
    }

    /// A body of the body store.
    pub(crate) fn body(&self, hash: &BodyHash) -> Option<Bytes> {
        if let Some(body) = self.bodies.get(hash) {
            return Some(body);
        }
        let key = rows::body(hash);
        let found = self
            .store
            .snapshot(At::Latest)
            .and_then(|snapshot| snapshot.get(&key));
        match found {
            Ok(version) => {
                let body = version?.row;
                self.bodies.put(*hash, body.clone());
                Some(body)
            }
            Err(error) => {
                tracing::error!(%key, %error, "a body could not be read");
                None
            }
        }
    }

    /// Remembers what an agent said about itself.
    pub(crate) fn about(&self, destination: Destination, about: About) {
        self.abouts.lock().insert(destination, about);
        self.lifecycle.add(destination);
    }

    /// Takes what an agent said about itself in its last Hello, if that was not written yet.
    pub(crate) fn take_about(&self, destination: Destination) -> Option<About> {
        self.abouts.lock().remove(&destination)
    }

    /// It could not be written; what was said since is newer.
    pub(crate) fn about_again(&self, destination: Destination, about: Option<About>) {
        if let Some(about) = about {
            self.abouts.lock().entry(destination).or_insert(about);
        }
    }

    /// Tells everybody who shows or sends something about these copies.
    pub(crate) fn touched(
        &self,
        object: ObjectIndex,
        destinations: &Destinations,
        revision: Revision,
    ) {
        self.feed.copies(object, destinations, revision);
        self.returned.add(object);
    }
}

/// Bodies asked for lately, by hash.
pub(crate) struct Bodies(quick_cache::sync::Cache<BodyHash, Bytes, ByBytes>);

#[derive(Clone)]
struct ByBytes;

impl quick_cache::Weighter<BodyHash, Bytes> for ByBytes {
    fn weight(&self, _: &BodyHash, body: &Bytes) -> u64 {
        body.len() as u64 + 96
    }
}

impl Bodies {
    pub(crate) fn new() -> Self {
        Bodies(quick_cache::sync::Cache::with_weighter(
            4096,
            BODY_CACHE_BYTES,
            ByBytes,
        ))
    }

    pub(crate) fn get(&self, hash: &BodyHash) -> Option<Bytes> {
        self.0.get(hash)
    }

    pub(crate) fn put(&self, hash: BodyHash, body: Bytes) {
        self.0.insert(hash, body);
    }
}

/// Keys that somebody should look at: each once, however often it is asked for.
pub(crate) struct Dirty<K> {
    keys: Mutex<BTreeSet<K>>,
    wake: Notify,
}

impl<K: Ord> Dirty<K> {
    pub(crate) fn new() -> Self {
        Dirty {
            keys: Mutex::new(BTreeSet::new()),
            wake: Notify::new(),
        }
    }

    pub(crate) fn add(&self, key: K) {
        if self.keys.lock().insert(key) {
            self.wake.notify_one();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.lock().len()
    }

    /// Takes what there is now.
    pub(crate) fn now(&self) -> BTreeSet<K> {
        std::mem::take(&mut *self.keys.lock())
    }

    /// Waits until there is something, gives more a moment to come, and takes all. Cancel safe.
    pub(crate) async fn take(&self, settle: Duration) -> Vec<K> {
        loop {
            let woken = self.wake.notified();
            if !self.keys.lock().is_empty() {
                break;
            }
            woken.await;
        }
        tokio::time::sleep(settle).await;
        std::mem::take(&mut *self.keys.lock()).into_iter().collect()
    }
}
