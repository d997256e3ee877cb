//! The edge semantics: what BindingPolicies place on ManagedClusters, through agents' sessions, and the status that returns.
//!
//! It joins three things that know nothing of each other: the registry's log of objects, the pure decisions of `atoll-placement`, and the agent protocol of
//! `atoll-wire`. Always true: what a session sends was durable before its first byte left, and an edge is told to remove only what a durable tombstone names.
//!
//! The way of a change: an event is taken in ([`absorb`]), the policies that it concerns are decided ([`decide`]) and appended, the picture ([`model`]) follows, and exactly the
//! sessions concerned are woken ([`session`]). The way back: reports are batched into the log ([`reports`]), columns change by retraction, and statuses that show them are written
//! ([`policy_status`], [`returned`], [`lifecycle`]) or computed when read ([`computed`]).
//!
//! To the outside: [`FleetDoors`] gives the registry its hooks and computed kinds, [`Fleet::start`] runs the engine, [`AgentService`] is mounted where agents call.

mod absorb;
pub mod ca;
mod checks;
mod collect;
mod collectors;
mod computed;
mod consent;
mod decide;
mod engine;
mod farewell;
mod feed;
mod lifecycle;
mod load;
mod metrics;
mod model;
mod policy_status;
mod reach;
mod reading;
mod reports;
mod returned;
mod rollout;
mod rows;
mod service;
mod session;
mod shape_status;
mod shared;
mod signals;
mod source;
mod upsync;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use atoll_registry::{Authorizer, Computed, Hook, Registry};
use atoll_store::Revision;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

pub use ca::FleetCa;
pub use computed::Mailbox;
pub use consent::{AnnotationHook, PolicyHook};
pub use reading::{Asked, Reading};
pub use service::{AgentService, PeerCertificate};

use crate::reports::{Reporter, Reports};
use crate::shared::{Bodies, Dirty, Figures, Shared};

/// Where doors find the fleet. Weak, because the fleet holds the registry and the registry the doors.
pub(crate) type Seat = Arc<OnceLock<Weak<Shared>>>;

/// The fleet's place in the registry: made before it, filled by [`Fleet::start`].
pub struct FleetDoors {
    authorizer: Arc<dyn Authorizer>,
    seat: Seat,
}

impl FleetDoors {
    /// Doors that ask this authorizer whether a policy's writer may place on an inventory.
    pub fn new(authorizer: Arc<dyn Authorizer>) -> Self {
        FleetDoors {
            authorizer,
            seat: Arc::new(OnceLock::new()),
        }
    }

    /// Admission of policies, of status collectors and of our annotations, and of the deletion of workspaces that have copies at edges.
    pub fn hooks(&self) -> Vec<Arc<dyn Hook>> {
        vec![
            Arc::new(PolicyHook::new(self.authorizer.clone())),
            Arc::new(AnnotationHook),
            Arc::new(collectors::CollectorHook),
            Arc::new(consent::ShapeHook),
            Arc::new(signals::SignalHook),
            Arc::new(rollout::hooks::SpecHook),
            Arc::new(rollout::hooks::RolloutHook(self.seat.clone())),
            Arc::new(farewell::FarewellHook(self.seat.clone())),
        ]
    }

    /// Binding and WorkStatus.
    pub fn computed(&self) -> Vec<Arc<dyn Computed>> {
        computed::kinds(self.seat.clone())
    }
}

/// What the fleet needs.
pub struct FleetOptions {
    /// The doors that the registry was built with.
    pub doors: FleetDoors,
    /// The registry.
    pub registry: Registry,
    /// Signs agents' certificates.
    pub ca: FleetCa,
    /// The authority of the center's serving certificate, PEM; agents verify the center with it.
    pub center_ca_pem: String,
    /// How long a destination may be away before its condition says so; `None`: two minutes.
    pub grace: Option<Duration>,
}

/// Why the fleet did not start.
#[derive(Debug, thiserror::Error)]
#[error("the fleet's state could not be loaded: {0}")]
pub struct StartError(String);

/// The running fleet. Dropping it ends its tasks; sessions end with their streams.
pub struct Fleet {
    shared: Arc<Shared>,
    reports: Reports,
    _tasks: JoinSet<()>,
}

impl Fleet {
    /// Loads the fleet's state, decides what changed while it was down, and runs.
    pub async fn start(options: FleetOptions) -> Result<Fleet, StartError> {
        let store = options.registry.store().clone();
        let shared = Arc::new(Shared {
            registry: options.registry,
            store,
            authorizer: options.doors.authorizer,
            ca: options.ca,
            center_ca_pem: options.center_ca_pem,
            world: RwLock::default(),
            sessions: session::Sessions::default(),
            vectors: session::Vectors::new(),
            feed: feed::Feed::new(),
            bodies: Bodies::new(),
            policy_status: Dirty::new(),
            rollouts: Dirty::new(),
            budgets: Dirty::new(),
            news: Arc::default(),
            returned: Dirty::new(),
            lifecycle: Dirty::new(),
            moved: Notify::new(),
            collecting: Notify::new(),
            counted: watch::Sender::new(false),
            stale: Dirty::new(),
            upsync: Dirty::new(),
            shapes: Dirty::new(),
            born_rows: tokio::sync::Mutex::new(()),
            figures: Figures::default(),
            abouts: Mutex::new(HashMap::new()),
            decided: watch::Sender::new(Revision(0)),
            ask_progress: Notify::new(),
        });
        let (engine, position) = engine::Engine::load(shared.clone())
            .await
            .map_err(StartError)?;
        let (reporter, reports) = Reporter::new(shared.clone(), position);
        // A second start with the same doors would have nobody to answer for; there is none.
        let _ = options.doors.seat.set(Arc::downgrade(&shared));
        let mut tasks = JoinSet::new();
        tasks.spawn(engine.run());
        tasks.spawn(reporter.run());
        tasks.spawn(checks::run(shared.clone()));
        tasks.spawn(collect::run(shared.clone()));
        tasks.spawn(policy_status::run(shared.clone()));
        tasks.spawn(rollout::objects::run(shared.clone()));
        tasks.spawn(rollout::budgets::run(shared.clone()));
        tasks.spawn(returned::run(shared.clone()));
        tasks.spawn(upsync::run(shared.clone()));
        tasks.spawn(shape_status::run(shared.clone()));
        tasks.spawn(lifecycle::run(
            shared.clone(),
            options.grace.unwrap_or(lifecycle::GRACE),
        ));
        Ok(Fleet {
            shared,
            reports,
            _tasks: tasks,
        })
    }

    /// What answers agents.
    pub fn agent_service(&self) -> AgentService {
        AgentService {
            shared: self.shared.clone(),
            reports: self.reports.clone(),
        }
    }

    /// The mailbox view: what each destination should have.
    pub fn mailbox(&self) -> Mailbox {
        Mailbox::new(self.shared.clone())
    }

    /// Answers questions about payload workspaces.
    pub fn reading(&self) -> Reading {
        Reading::new(self.shared.clone())
    }

    /// Appends the fleet's metrics in Prometheus' text form. No label grows with workspaces or edges.
    pub fn metrics(&self, out: &mut String) {
        metrics::write(&self.shared, out);
    }

    /// When a destination was last heard of, by inventory (logical cluster) and name. Known only since this start.
    pub fn last_seen(&self, inventory: &str, name: &str) -> Option<atoll_kube::Timestamp> {
        let destination = self.shared.world.read().destination(inventory, name)?;
        self.shared.last_seen(destination)
    }
}
