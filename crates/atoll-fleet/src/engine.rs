//! The loop that joins the log to decisions: take events, absorb them, decide the policies they concern.
//!
//! The only task that changes placements. It holds the picture's lock while it thinks, never while it waits for the log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use atoll_placement::{Destination, Destinations};
use atoll_store::{
    AppendError, At, Check, Event, Prefix, ReadError, Revision, Watch, WatchItem, Write,
};

use prost::Message as _;
use tokio::task::JoinSet;

use crate::absorb::{Absorb, Pending};
use crate::collect;
use crate::decide;
use crate::load::{self, ReportPosition};
use crate::model::{Registration, World};
use crate::rollout;
use crate::rows::{self, DestinationRow};
use crate::shared::Shared;

/// Events taken in before policies are decided.
const BATCH: usize = 512;
/// New destinations whose index is on its way into the log.
const ENTER_AT_ONCE: usize = 256;
/// New destinations that are taken into the picture together.
const ENTER_TOGETHER: usize = 4096;
/// How long a failed decision waits.
const RETRY: Duration = Duration::from_millis(500);

/// The engine.
pub(crate) struct Engine {
    shared: Arc<Shared>,
    pending: Pending,
    watch: Watch,
}

impl Engine {
    /// Loads the picture and decides what changed meanwhile.
    pub(crate) async fn load(shared: Arc<Shared>) -> Result<(Self, ReportPosition), String> {
        shared.store.barrier().await;
        let snapshot = shared
            .store
            .snapshot(At::Latest)
            .map_err(|e| e.to_string())?;
        let mut pending = Pending::default();
        let mut world = World::default();
        let position = load::load(&shared, snapshot.as_ref(), &mut world, &mut pending)?;
        let watch = shared
            .store
            .watch(Prefix::all(), world.applied)
            .map_err(|e| e.to_string())?;
        drop(snapshot);
        *shared.world.write() = world;
        let mut engine = Engine {
            shared,
            pending,
            watch,
        };
        let garbage = std::mem::take(&mut engine.pending.obsolete);
        decide::collect(&engine.shared, garbage).await;
        let resumed = rollout::resume(&engine.shared, &mut engine.pending).await;
        resumed.map_err(|e| e.to_string())?;
        engine.settle().await;
        Ok((engine, position))
    }

    /// Runs until the store stops.
    pub(crate) async fn run(mut self) {
        loop {
            let goes_on = match self.next().await {
                Some(WatchItem::Event(event)) => self.take_in(event).await,
                Some(WatchItem::Progress(revision)) => self.reach(revision),
                Some(WatchItem::Lost(error)) => self.recover(&error).await,
                None => true,
            };
            if !goes_on {
                return;
            }
            self.settle().await;
        }
    }

    /// The next item of the log; `None` when it is time to try again what failed.
    async fn next(&mut self) -> Option<WatchItem> {
        let waiting =
            !self.pending.policies.is_empty() || !self.pending.new_destinations.is_empty();
        let due = self.due();
        loop {
            tokio::select! {
                item = self.watch.next() => return Some(item),
                () = tokio::time::sleep(due.unwrap_or_default()), if due.is_some() => {
                    self.wake_policies();
                    return None;
                }
                () = self.shared.ask_progress.notified() => self.watch.request_progress(),
                () = self.shared.news.wait() => return None,
                () = tokio::time::sleep(RETRY), if waiting => return None,
            }
        }
    }

    /// When a policy is to be decided again although nothing happens.
    fn due(&self) -> Option<Duration> {
        let world = self.shared.world.read();
        let policies = world.policies.values().filter_map(|p| p.wake);
        let first = policies.chain(world.control.wake).min()?;
        let wait = first.0.saturating_sub(self.shared.registry.now().0);
        Some(Duration::from_millis(wait.max(1).unsigned_abs()))
    }

    fn wake_policies(&mut self) {
        let now = self.shared.registry.now();
        let mut world = self.shared.world.write();
        for (index, policy) in &mut world.policies {
            if policy.wake.is_some_and(|at| at <= now) {
                policy.wake = None;
                self.pending.whole(*index);
            }
        }
    }

    /// Nothing more comes up to here.
    fn reach(&self, revision: Revision) -> bool {
        let mut world = self.shared.world.write();
        world.applied = world.applied.max(revision);
        true
    }

    /// False: the store has stopped.
    async fn recover(&mut self, error: &ReadError) -> bool {
        tracing::warn!(%error, "the fleet lost its place in the log and looks at everything again");
        if matches!(error, ReadError::Storage(_)) {
            // Closed or failing: without a pause this would keep a thread, and the process from ending.
            tokio::time::sleep(RETRY).await;
        }
        self.look_again().await
    }

    /// Absorbs an event and whatever else is there already. False: the store has stopped.
    async fn take_in(&mut self, event: Arc<Event>) -> bool {
        let mut lost = None;
        let mut events = vec![event];
        while events.len() < BATCH {
            match tokio::time::timeout(Duration::ZERO, self.watch.next()).await {
                Ok(WatchItem::Event(event)) => events.push(event),
                Ok(WatchItem::Progress(_)) => {
                    // It may have been asked for what comes behind the events taken so far.
                    self.watch.request_progress();
                    break;
                }
                Ok(WatchItem::Lost(error)) => {
                    lost = Some(error);
                    break;
                }
                Err(_) => break,
            }
        }
        if !self.absorb(&events) {
            return false;
        }
        match lost {
            Some(error) => self.recover(&error).await,
            None => true,
        }
    }

    fn absorb(&mut self, events: &[Arc<Event>]) -> bool {
        let Ok(snapshot) = self.shared.store.snapshot(At::Latest) else {
            return false;
        };
        let mut world = self.shared.world.write();
        let mut absorb = Absorb {
            registry: &self.shared.registry,
            snapshot: snapshot.as_ref(),
            world: &mut world,
            pending: &mut self.pending,
        };
        let mut last = Revision(0);
        for event in events {
            last = event.revision;
            if let Err(error) = absorb.row(&event.key, event.current.as_deref(), event.revision) {
                tracing::error!(key = %event.key, %error, "an event could not be taken in");
            }
        }
        absorb.world.applied = absorb.world.applied.max(last);
        true
    }

    /// After the watch was lost: every policy, destination and object is looked at again.
    async fn look_again(&mut self) -> bool {
        let Ok(snapshot) = self.shared.store.snapshot(At::Latest) else {
            return false;
        };
        let Ok(watch) = self.shared.store.watch(Prefix::all(), snapshot.revision()) else {
            return false;
        };
        self.watch = watch;
        let mut world = self.shared.world.write();
        let policies: Vec<_> = world
            .policies
            .values()
            .map(|p| (p.cluster.clone(), p.name.clone()))
            .collect();
        let destinations: Vec<_> = world
            .destinations
            .iter()
            .map(|(_, d)| (d.inventory.clone(), d.name.clone()))
            .collect();
        let objects: Vec<_> = world.objects.values().map(|o| o.key.clone()).collect();
        let mut absorb = Absorb {
            registry: &self.shared.registry,
            snapshot: snapshot.as_ref(),
            world: &mut world,
            pending: &mut self.pending,
        };
        let mut keys: Vec<_> = policies
            .iter()
            .map(|(c, n)| crate::source::policies().key(c, None, n))
            .collect();
        keys.extend(
            destinations
                .iter()
                .map(|(c, n)| crate::source::managed_clusters().key(c, None, n)),
        );
        keys.extend(objects);
        for family in [crate::source::policies(), crate::source::managed_clusters()] {
            keys.extend(
                snapshot
                    .range(&family.family(), None)
                    .filter_map(|i| i.ok().map(|(key, _)| key)),
            );
        }
        for key in keys {
            let Ok(version) = snapshot.get(&key) else {
                return false;
            };
            let (row, revision) =
                version.map_or((None, Revision(0)), |v| (Some(v.row), v.modified));
            if let Err(error) = absorb.row(&key, row.as_deref(), revision) {
                tracing::error!(%key, %error, "a row could not be taken in");
            }
        }
        let all: Vec<_> = absorb.world.policies.keys().copied().collect();
        absorb.pending.rescan.extend(all.iter().copied());
        all.into_iter().for_each(|p| absorb.pending.whole(p));
        absorb.world.applied = absorb.world.applied.max(snapshot.revision());
        true
    }

    /// Does what is pending until nothing is, or until something has to wait.
    async fn settle(&mut self) {
        let taken = self.shared.world.read().applied;
        self.enter_destinations().await;
        self.look_closer();
        self.tell_sessions();
        self.hear().await;
        // What is deleted comes last: what another policy takes over in the same moment is not removed in between.
        let (deleted, others): (BTreeMap<_, _>, BTreeMap<_, _>) = {
            let world = self.shared.world.read();
            let deleted = |index: &_| world.policies.get(index).is_none_or(|p| p.deleted);
            let policies = std::mem::take(&mut self.pending.policies).into_iter();
            policies.partition(|(index, _)| deleted(index))
        };
        for (index, scope) in others.into_iter().chain(deleted) {
            let decided = decide::decide(&self.shared, index, &scope, &mut self.pending).await;
            if let Err(error) = decided {
                tracing::error!(%error, policy = ?index, "a decision could not be carried out; it is tried again");
                self.pending.again(index, scope);
            }
        }
        self.hear().await;
        collect::sync(&self.shared);
        // What new destinations made worth deciding comes first.
        if self.pending.policies.is_empty() && self.pending.new_destinations.is_empty() {
            self.shared.decided.send_replace(taken);
        }
    }

    /// What the rollout engine is to hear. It fails only when the store has stopped, which the next item of the log says.
    async fn hear(&mut self) {
        if let Err(error) = rollout::hear(&self.shared, &mut self.pending).await {
            tracing::warn!(%error, "rollouts wait");
        }
    }

    /// Gives new destinations their index; they are used once that is durable. Many appends are under way at once, so that they share their fsyncs.
    async fn enter_destinations(&mut self) {
        let mut new = std::mem::take(&mut self.pending.new_destinations).into_iter();
        let mut under_way = JoinSet::new();
        let mut entered = Vec::new();
        let mut failed = Vec::new();
        loop {
            while under_way.len() < ENTER_AT_ONCE
                && let Some(registration) = new.next()
            {
                let index = self.next_index();
                under_way.spawn(index_of(self.shared.clone(), index, registration));
            }
            match under_way.join_next().await {
                Some(Ok((Ok(index), registration))) => entered.push((index, registration)),
                Some(Ok((Err(error), registration))) => {
                    tracing::error!(%error, destination = %registration.state.name, "a destination could not be entered; it is tried again");
                    failed.push(registration);
                }
                Some(Err(error)) => tracing::error!(%error, "a destination could not be entered"),
                None => break,
            }
            if entered.len() >= ENTER_TOGETHER {
                self.add_destinations(std::mem::take(&mut entered));
            }
        }
        self.add_destinations(entered);
        self.pending.new_destinations.extend(failed);
    }

    /// An index for a new destination; one that is not used after all is found again at the next start.
    fn next_index(&self) -> Destination {
        let mut world = self.shared.world.write();
        match world.free.min() {
            Some(index) => {
                world.free.remove(index);
                Destination(index)
            }
            None => {
                world.next_destination += 1;
                Destination(world.next_destination - 1)
            }
        }
    }

    fn add_destinations(&mut self, entered: Vec<(Destination, Registration)>) {
        if entered.is_empty() {
            return;
        }
        let Ok(snapshot) = self.shared.store.snapshot(At::Latest) else {
            let again = entered.into_iter().map(|(_, registration)| registration);
            return self.pending.new_destinations.extend(again);
        };
        let mut world = self.shared.world.write();
        let mut absorb = Absorb {
            registry: &self.shared.registry,
            snapshot: snapshot.as_ref(),
            world: &mut world,
            pending: &mut self.pending,
        };
        for (index, registration) in entered {
            absorb.add_destination(index, registration);
        }
    }

    /// Objects and workspaces that an event made worth another look.
    fn look_closer(&mut self) {
        let (reread, retest, rescan) = (
            std::mem::take(&mut self.pending.reread),
            std::mem::take(&mut self.pending.retest),
            std::mem::take(&mut self.pending.rescan),
        );
        if reread.is_empty() && retest.is_empty() && rescan.is_empty() {
            return;
        }
        let Ok(snapshot) = self.shared.store.snapshot(At::Latest) else {
            return;
        };
        let mut world = self.shared.world.write();
        let clusters: std::collections::BTreeSet<String> = rescan
            .iter()
            .filter_map(|p| world.policies.get(p))
            .map(|p| p.cluster.to_string())
            .collect();
        let mut absorb = Absorb {
            registry: &self.shared.registry,
            snapshot: snapshot.as_ref(),
            world: &mut world,
            pending: &mut self.pending,
        };
        let mut outcome = Ok(());
        for cluster in &clusters {
            outcome = outcome.and(absorb.scan(cluster, None));
        }
        for (cluster, namespace) in retest
            .iter()
            .filter(|(cluster, _)| !clusters.contains(cluster))
        {
            outcome = outcome.and(absorb.scan(cluster, Some(namespace)));
        }
        for key in &reread {
            if let Ok(Some(version)) = snapshot.get(key) {
                outcome = outcome.and(absorb.row(key, Some(&version.row), version.modified));
            }
        }
        if let Err(error) = outcome {
            tracing::error!(%error, "a workspace could not be read completely");
        }
    }

    fn tell_sessions(&mut self) {
        for cluster in std::mem::take(&mut self.pending.shaped) {
            self.shared.shapes.add(cluster);
        }
        let asked = std::mem::take(&mut self.pending.asked);
        self.shared.sessions.wake(&asked);
        for index in &asked {
            self.shared.upsync.add(Destination(index));
        }
        for index in std::mem::take(&mut self.pending.returned) {
            self.shared.returned.add(index);
        }
        for index in std::mem::take(&mut self.pending.changed_destinations) {
            self.shared.lifecycle.add(index);
            self.shared.sessions.wake_one(index);
        }
        if !self.shared.world.read().moved.is_empty() {
            self.shared.moved.notify_one();
        }
        for index in std::mem::take(&mut self.pending.rerender) {
            let world = self.shared.world.read();
            let varying = world.varying_at(index);
            if varying.is_empty() {
                continue;
            }
            let controlled = rollout::rendering(&world, index);
            if controlled.is_empty() {
                self.shared.sessions.wake_one(index);
            }
            for policy in controlled {
                let waiting = self.pending.heard.rerender.entry(policy).or_default();
                waiting.insert(index.0);
            }
            let this = Destinations::from_iter([index.0]);
            for object in varying {
                self.shared.touched(object, &this, world.applied);
                for policy in world.objects.get(&object).iter().flat_map(|o| &o.policies) {
                    self.shared.policy_status.add(*policy);
                }
            }
        }
        for (index, state) in std::mem::take(&mut self.pending.gone_destinations) {
            self.shared.sessions.wake_one(index);
            // The row of a detached destination: losing this delete only leaves a number unused.
            let row = rows::destination(&state.inventory, &state.uid.to_string());
            self.pending.obsolete.push(row);
        }
        for key in std::mem::take(&mut self.pending.obsolete) {
            let shared = self.shared.clone();
            tokio::spawn(async move {
                let gone = vec![Write::Delete(key, None)];
                shared.append(Vec::new(), gone).await
            });
        }
    }
}

/// The durable index of a destination: the one it is given, or the one it has already.
async fn index_of(
    shared: Arc<Shared>,
    index: Destination,
    registration: Registration,
) -> (Result<Destination, String>, Registration) {
    let state = &registration.state;
    let key = rows::destination(&state.inventory, &state.uid.to_string());
    let row = DestinationRow {
        index: index.0,
        name: state.name.to_string(),
        ..DestinationRow::default()
    };
    let write = vec![Write::Put(key.clone(), rows::encode(&row))];
    let found = match shared.append(vec![Check::Absent(key)], write).await {
        Ok(_) => Ok(index),
        Err(AppendError::Failed {
            current: Some(version),
            ..
        }) => DestinationRow::decode(version.row)
            .map(|row| Destination(row.index))
            .map_err(|e| e.to_string()),
        Err(error) => Err(error.to_string()),
    };
    (found, registration)
}
