//! Empties logical clusters that are being deleted, and then removes them.
//!
//! The mark is durable before this starts, and every step is a function of what is still there, so a restart goes on from
//! what is left and costs what is left. Child workspaces go first, then ordinary content, then Namespaces and
//! definitions, and what decides who may look on goes last. Every object gets its own DELETED event; one with finalizers is
//! asked to go and waited for. Appends in flight are bounded for all deletions together, so that others' writes keep
//! their place in the queue.

mod empty;
mod report;

use std::collections::HashSet;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use atoll_kube::{GroupResource, Row, RowRef, Status, meta};
use atoll_registry::controller::{Controller, Next};
use atoll_registry::{
    ClusterName, INDEX_DELETING, ObjectKey, Registry, admission_key, surface_key,
};
use atoll_store::{Append, AppendError, Check, Event, Snapshot, Write};
use serde_json::Value;
use tokio::sync::Semaphore;

use self::empty::{Outcome, Sweep, count_of};
use self::report::{Remaining, report};
use crate::facts::ClusterFacts;
use crate::kinds::{self, CORE, FINALIZER_LOGICAL_CLUSTER, FINALIZER_WORKSPACE, TENANCY};
use crate::names::LOGICAL_CLUSTER;
use crate::rows::{self, Stored};
use crate::shared::Workspaces;

/// Appends of all deletions together that may wait for the log at once: others' writes wait behind as many.
const IN_FLIGHT: usize = 8;
/// Logical clusters worked on at once.
const CLUSTERS: usize = 16;
/// What is waited for makes events; this is for the case that one was missed.
const FALLBACK: Duration = Duration::from_secs(5);

/// The controller. Its keys are names of logical clusters.
pub(crate) struct Deletion {
    workspaces: Workspaces,
    permits: Semaphore,
    /// Logical clusters that wait for something: bounded by the pending work.
    waiting: RwLock<HashSet<Box<str>>>,
}

impl Deletion {
    pub(crate) fn new(workspaces: Workspaces) -> Self {
        Deletion {
            workspaces,
            permits: Semaphore::new(IN_FLIGHT),
            waiting: RwLock::default(),
        }
    }

    fn is_waiting(&self, cluster: &str) -> bool {
        self.waiting
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(cluster)
    }

    fn set_waiting(&self, cluster: &str, waits: bool) {
        let mut waiting = self.waiting.write().unwrap_or_else(PoisonError::into_inner);
        if waits {
            waiting.insert(cluster.into());
        } else {
            waiting.remove(cluster);
        }
    }

    /// Says in the LogicalCluster and its Workspace what is still there.
    async fn tell(
        &self,
        registry: &Registry,
        mut lc: Stored,
        remaining: &Remaining,
    ) -> Result<(), Status> {
        let now = registry.now();
        if !report(&mut lc.value, remaining, now) {
            return Ok(());
        }
        let snapshot = self.workspaces.tree.snapshot()?;
        let mut append = Append::default();
        if let Some(mut workspace) = workspace_of(&*snapshot, &lc)?
            && report(&mut workspace.value, remaining, now)
        {
            append
                .checks
                .push(Check::At(workspace.key.clone(), workspace.version.modified));
            append
                .writes
                .push(Write::Put(workspace.key, Row::encode(&workspace.value)));
        }
        append
            .checks
            .push(Check::At(lc.key.clone(), lc.version.modified));
        append
            .writes
            .push(Write::Put(lc.key, Row::encode(&lc.value)));
        // Losing a race is no harm: what won it makes an event.
        self.append(registry, append).await.map(|_| ())
    }

    /// Removes what is left of an empty logical cluster, its Workspace among it, in one append.
    async fn finish(
        &self,
        registry: &Registry,
        cluster: &str,
        lc: &Stored,
        last: Sweep,
    ) -> Result<bool, Status> {
        let snapshot = self.workspaces.tree.snapshot()?;
        let mut append = Append {
            checks: last.checks,
            writes: last.writes,
        };
        append
            .checks
            .push(Check::At(lc.key.clone(), lc.version.modified));
        let mut value = lc.value.clone();
        meta::remove_finalizer(&mut value, FINALIZER_LOGICAL_CLUSTER);
        if meta::finalizers(&value).next().is_some() {
            // Somebody else holds it; when they let go, the hook for LogicalClusters removes the Workspace.
            append
                .writes
                .push(Write::Put(lc.key.clone(), Row::encode(&value)));
            return self.append(registry, append).await;
        }
        append.writes.push(Write::Delete(lc.key.clone(), None));
        let name = ClusterName::new(cluster);
        for key in [surface_key(&name), admission_key(&name)] {
            if snapshot.get(&key).map_err(rows::unreadable)?.is_some() {
                append.writes.push(Write::Delete(key, None));
            }
        }
        let workspace = workspace_of(&*snapshot, lc)?;
        let place = workspace
            .as_ref()
            .map(|w| (w.key.clone(), meta::name(&w.value).to_owned()));
        if let Some((check, write)) = workspace.map(|workspace| release(workspace, registry.now()))
        {
            append.checks.push(check);
            append.writes.push(write);
        }
        let done = self.append(registry, append).await?;
        if done {
            self.workspaces.tree.forget_cluster(cluster);
            self.workspaces.access.forget_cluster(cluster);
            if let Some((key, name)) = place
                && let Some(parts) = ObjectKey::parse(&key)
            {
                self.workspaces.tree.forget_workspace(parts.cluster, &name);
            }
        }
        Ok(done)
    }

    /// True when the append went through, false when something changed meanwhile.
    async fn append(&self, registry: &Registry, append: Append) -> Result<bool, Status> {
        let _permit = self.permits.acquire().await.map_err(Status::internal)?;
        match registry.store().append(append).await {
            Ok(_) => Ok(true),
            Err(AppendError::Failed { .. }) => Ok(false),
            Err(error) => Err(Status::internal(error)),
        }
    }
}

#[async_trait]
impl Controller for Deletion {
    fn name(&self) -> &'static str {
        "workspace-deletion"
    }

    fn resources(&self) -> Vec<GroupResource> {
        Vec::new()
    }

    fn wake(&self, event: &Event, key: &ObjectKey<'_>, enqueue: &mut dyn FnMut(String)) {
        // Hot path: called for every event of the store.
        let row = || {
            event
                .current
                .as_deref()
                .and_then(|row| RowRef::parse(row).ok())
        };
        if key.group == CORE && key.resource == "logicalclusters" {
            if row().is_some_and(|row| row.is_deleting()) {
                enqueue(key.cluster.to_owned());
            }
            return;
        }
        if !self.is_waiting(key.cluster) || row().is_some_and(|row| row.has_finalizers()) {
            return;
        }
        if key.group == TENANCY && key.resource == "workspaces" {
            // A parent of many children is looked at when the last one is gone, not once for each.
            let left = self
                .workspaces
                .tree
                .snapshot()
                .and_then(|s| count_of(&*s, &kinds::workspaces(), key.cluster));
            if left.is_ok_and(|left| left > 0) {
                return;
            }
        }
        enqueue(key.cluster.to_owned());
    }

    fn pending(&self, registry: &Registry, enqueue: &mut dyn FnMut(String)) -> Result<(), Status> {
        let snapshot = registry
            .store()
            .snapshot(atoll_store::At::Latest)
            .map_err(rows::unreadable)?;
        let value = empty::index_value(&[CORE, "logicalclusters", ""]);
        for key in snapshot.index(INDEX_DELETING, &value, None) {
            let key = key.map_err(rows::unreadable)?;
            if let Some(parts) = ObjectKey::parse(&key) {
                enqueue(parts.cluster.to_owned());
            }
        }
        Ok(())
    }

    async fn reconcile(&self, registry: &Registry, cluster: &str) -> Result<Next, Status> {
        self.set_waiting(cluster, true);
        let next = self.step(registry, cluster).await?;
        if next == Next::Done {
            self.set_waiting(cluster, false);
        }
        Ok(next)
    }

    fn parallel(&self) -> usize {
        CLUSTERS
    }
}

impl Deletion {
    async fn step(&self, registry: &Registry, cluster: &str) -> Result<Next, Status> {
        loop {
            let snapshot = self.workspaces.tree.snapshot()?;
            let lc = rows::find(
                &*snapshot,
                &kinds::logical_clusters(),
                cluster,
                None,
                LOGICAL_CLUSTER,
            )?;
            let Some(lc) = lc.filter(|lc| meta::is_deleting(&lc.value)) else {
                return Ok(Next::Done);
            };
            if !meta::has_finalizer(&lc.value, FINALIZER_LOGICAL_CLUSTER) {
                // Emptied already, held by somebody else's finalizer.
                return Ok(Next::Done);
            }
            match empty::pass(self, registry, &snapshot, cluster).await? {
                Outcome::Again => {}
                Outcome::Waits(remaining) => {
                    self.tell(registry, lc, &remaining).await?;
                    return Ok(Next::After(FALLBACK));
                }
                Outcome::Last(sweep) => {
                    if self.finish(registry, cluster, &lc, sweep).await? {
                        return Ok(Next::Done);
                    }
                }
            }
        }
    }
}

/// The Workspace of a logical cluster, as long as it still means this one.
pub(crate) fn workspace_of(snapshot: &dyn Snapshot, lc: &Stored) -> Result<Option<Stored>, Status> {
    let cluster = rows::parts(&lc.key).map_or("", |parts| parts.cluster);
    let Some(owner) = ClusterFacts::of(cluster, &lc.value, lc.version.modified).owner else {
        return Ok(None);
    };
    let found = rows::find(
        snapshot,
        &kinds::workspaces(),
        owner.cluster.as_str(),
        None,
        &owner.name,
    )?;
    let means = |workspace: &Stored| {
        workspace
            .value
            .pointer("/spec/cluster")
            .and_then(Value::as_str)
            == Some(cluster)
    };
    Ok(found.filter(means))
}

/// What happens to a Workspace when its logical cluster goes: it goes too, unless somebody else's finalizer holds it.
pub(crate) fn release(mut workspace: Stored, now: atoll_kube::Timestamp) -> (Check, Write) {
    let check = Check::At(workspace.key.clone(), workspace.version.modified);
    meta::remove_finalizer(&mut workspace.value, FINALIZER_WORKSPACE);
    if meta::finalizers(&workspace.value).next().is_none() {
        return (check, Write::Delete(workspace.key, None));
    }
    if !meta::is_deleting(&workspace.value) {
        meta::set(&mut workspace.value, "deletionTimestamp", now.rfc3339());
    }
    (
        check,
        Write::Put(workspace.key, Row::encode(&workspace.value)),
    )
}
