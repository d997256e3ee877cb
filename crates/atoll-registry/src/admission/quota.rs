//! ResourceQuotas: how many objects of a kind a namespace may have.
//!
//! The admission row holds the count of each resource that a quota of a namespace limits. An object that comes or goes changes its count in its own append, so
//! counts are exact and no quota is ever exceeded; nothing is counted where no quota is. Writers of one logical cluster take turns here, for the time of their
//! append, so that they do not lose races against each other. What a quota's status shows follows the row (`controllers/quota`).
//!
//! Counts only: `count/configmaps`, `count/widgets.example.dev`, and Kubernetes' short names of core kinds. Other resources (cpu, memory) are of things that
//! run, which is not here; scopes select pods, so a quota with scopes limits nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use atoll_kube::{GroupResource, Status, meta, quantity::Quantity};
use atoll_store::{At, Check, Snapshot, Write};
use serde_json::{Map, Value};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::row::{AdmissionRow, Family, Pending, admission_key};
use crate::{
    ClusterName, Clusters, ResourceId, Review, read::read_error, read::row, surface,
    write::attempt::Attempt,
};

/// Core resources that a quota may name without `count/`.
const SHORT: [&str; 7] = [
    "configmaps",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
];

/// The turns of writers whose writes are counted: a fixed number, shared by all logical clusters.
pub(crate) struct Turns(Vec<Arc<Mutex<()>>>);

impl Default for Turns {
    fn default() -> Self {
        Self((0..64).map(|_| Arc::default()).collect())
    }
}

impl Turns {
    async fn take(&self, cluster: &ClusterName) -> OwnedMutexGuard<()> {
        use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(cluster.as_str());
        let place = hash as usize % self.0.len();
        self.0[place].clone().lock_owned().await
    }
}

/// The resource that a name in `hard` counts; `None` for what is not counted.
fn counted(name: &str) -> Option<String> {
    match name.strip_prefix("count/") {
        Some(resource) => Some(resource.to_owned()),
        None => SHORT.contains(&name).then(|| name.to_owned()),
    }
}

/// What a quota limits, by the names in its `hard`.
fn hard(quota: &Value) -> &Map<String, Value> {
    static NOTHING: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    let scoped = ["/spec/scopes", "/spec/scopeSelector"];
    if scoped
        .iter()
        .any(|at| quota.pointer(at).is_some_and(|s| !s.is_null()))
    {
        return &NOTHING;
    }
    let hard = quota.pointer("/spec/hard").and_then(Value::as_object);
    hard.unwrap_or(&NOTHING)
}

/// The quotas of a namespace that a row names, as a snapshot has them.
fn quotas(
    row_of: &AdmissionRow,
    snapshot: &dyn Snapshot,
    cluster: &ClusterName,
    namespace: &str,
) -> Result<Vec<Value>, Status> {
    let mut found = Vec::new();
    let here = |e: &&super::row::Entry| e.family == Family::Quota && e.namespace == namespace;
    for entry in row_of.entries.iter().filter(here) {
        let id = Family::Quota.id();
        if let Some(version) = id.read(snapshot, cluster.as_str(), Some(namespace), &entry.name)? {
            found.push(row(&version.row)?.value("v1", "ResourceQuota", version.modified.0, None));
        }
    }
    Ok(found)
}

/// What is limited in a namespace once a write of a quota is done.
pub(super) struct Limits {
    /// The resources, and how many objects there are of those that were not counted before.
    counts: BTreeMap<String, Option<u64>>,
}

impl Limits {
    /// Makes a row count what is limited, and nothing else, in the namespace.
    pub(super) fn track(self, row: &mut AdmissionRow, namespace: &str) {
        row.used
            .retain(|(at, resource), _| at != namespace || self.counts.contains_key(resource));
        for (resource, count) in self.counts {
            if let Some(count) = count {
                row.used.insert((namespace.to_owned(), resource), count);
            }
        }
    }
}

/// What is limited in the namespace of a quota that is being written. What was not counted before is counted now; objects that are on their way at this
/// moment will find that their Namespace changed, and come again.
pub(super) fn limits(
    review: &mut Review<'_>,
    namespace: &str,
    name: &str,
) -> Result<Limits, Status> {
    let snapshot = review.snapshot.clone();
    let before = match snapshot
        .get(&admission_key(review.cluster))
        .map_err(read_error)?
    {
        Some(version) => AdmissionRow::parse(&version.row)?,
        None => AdmissionRow::default(),
    };
    let mut all = quotas(&before, &*snapshot, review.cluster, namespace)?;
    all.retain(|quota| meta::name(quota) != name);
    if review.operation != crate::Operation::Remove {
        all.push(review.object.clone());
    }
    let resources: BTreeSet<String> = all
        .iter()
        .flat_map(|quota| hard(quota).keys().filter_map(|name| counted(name)))
        .collect();
    let mut counts = BTreeMap::new();
    for resource in resources {
        let known = before
            .used
            .contains_key(&(namespace.to_owned(), resource.clone()));
        let count = (!known)
            .then(|| count(review, &*snapshot, namespace, &resource))
            .transpose()?;
        counts.insert(resource, count);
    }
    if counts.values().any(Option::is_some) {
        let key =
            ResourceId::builtin("", "namespaces").key(review.cluster.as_str(), None, namespace);
        if let Some(version) = snapshot.get(&key).map_err(read_error)? {
            review.checks.push(Check::At(key.clone(), version.modified));
            review.writes.retain(|write| *write.key() != key);
            review.writes.push(Write::Put(key, version.row));
        }
    }
    Ok(Limits { counts })
}

/// How many objects of a resource there are in a namespace.
fn count(
    review: &Review<'_>,
    snapshot: &dyn Snapshot,
    namespace: &str,
    resource: &str,
) -> Result<u64, Status> {
    let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
    let id = match surface::everywhere(group, plural) {
        Some(entry) => entry.id(),
        None => ResourceId::custom(group, plural),
    };
    let prefix = id.prefix(
        &Clusters::One(review.cluster.clone()),
        Some(namespace),
        None,
    );
    let mut count = 0;
    for item in snapshot.range(&prefix, None) {
        item.map_err(read_error)?;
        count += 1;
    }
    Ok(count)
}

/// An object comes or goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Comes,
    Goes,
}

/// Counts an object that comes or goes by the append under way; refuses one too many. The turn is kept until the append is done.
pub(crate) async fn count_in(
    attempt: &mut Attempt<'_>,
    change: Change,
    name: &str,
) -> Result<Option<OwnedMutexGuard<()>>, Status> {
    let flow = attempt.flow;
    let Some(namespace) = flow.call.namespace.as_deref() else {
        return Ok(None);
    };
    if !attempt.place.kind.acts() {
        return Ok(None);
    }
    let cluster = attempt.place.cluster.clone();
    let key = admission_key(&cluster);
    let resource = attempt.target.group_resource();
    let counted = (namespace.to_owned(), resource.to_string());
    let in_this = attempt.writes.iter().any(|write| *write.key() == key);
    match attempt.admission_row()?.cloned() {
        None if !in_this => {
            // A quota that comes at this moment has counted this object.
            if change == Change::Goes {
                attempt.checks.push(Check::Absent(key));
            }
            return Ok(None);
        }
        Some(version)
            if !in_this
                && !AdmissionRow::parse(&version.row)?
                    .used
                    .contains_key(&counted) =>
        {
            if change == Change::Goes {
                attempt.checks.push(Check::At(key, version.modified));
            }
            return Ok(None);
        }
        _ => {}
    }
    let turn = flow.registry.inner.turns.take(&cluster).await;
    let snapshot = if in_this {
        attempt.snapshot.clone()
    } else {
        flow.registry
            .inner
            .store
            .snapshot(At::Latest)
            .map_err(read_error)?
    };
    let pending = Pending {
        cluster: &cluster,
        snapshot: &*snapshot,
        checks: &mut attempt.checks,
        writes: &mut attempt.writes,
    };
    pending.edit(|row| {
        let Some(used) = row.used.get(&counted).copied() else {
            return Ok(());
        };
        if change == Change::Goes {
            row.used.insert(counted.clone(), used.saturating_sub(1));
            return Ok(());
        }
        for quota in quotas(row, &*snapshot, &cluster, namespace)? {
            refuse(&quota, &resource, used, name)?;
        }
        row.used.insert(counted.clone(), used + 1);
        Ok(())
    })?;
    Ok(Some(turn))
}

/// Refuses one more object of a resource when a quota says so.
fn refuse(quota: &Value, resource: &GroupResource, used: u64, name: &str) -> Result<(), Status> {
    let wanted = resource.to_string();
    let exceeded: Vec<(&String, i64)> = hard(quota)
        .iter()
        .filter(|(name, _)| counted(name).as_deref() == Some(&wanted))
        .filter_map(|(name, most)| Some((name, Quantity::from_value(most).ok()?.value())))
        .filter(|(_, most)| i64::try_from(used).unwrap_or(i64::MAX) >= *most)
        .collect();
    if exceeded.is_empty() {
        return Ok(());
    }
    let say = |number: &dyn Fn(i64) -> String| {
        let parts = exceeded
            .iter()
            .map(|(name, most)| format!("{name}={}", number(*most)));
        parts.collect::<Vec<_>>().join(",")
    };
    let why = format!(
        "exceeded quota: {}, requested: {}, used: {}, limited: {}",
        meta::name(quota),
        say(&|_| "1".to_owned()),
        say(&|_| used.to_string()),
        say(&|most| most.to_string()),
    );
    Err(Status::forbidden(resource, name, why))
}

/// The status of every quota of a logical cluster that does not show what its row says: name, namespace and status.
pub(crate) fn statuses(
    snapshot: &dyn Snapshot,
    cluster: &ClusterName,
) -> Result<Vec<Value>, Status> {
    let Some(version) = snapshot.get(&admission_key(cluster)).map_err(read_error)? else {
        return Ok(Vec::new());
    };
    let known = AdmissionRow::parse(&version.row)?;
    let namespaces: BTreeSet<&str> = known
        .entries
        .iter()
        .filter(|e| e.family == Family::Quota)
        .map(|e| e.namespace.as_str())
        .collect();
    let mut stale = Vec::new();
    for namespace in namespaces {
        for mut quota in quotas(&known, snapshot, cluster, namespace)? {
            let used = hard(&quota).keys().filter_map(|name| {
                let at = (namespace.to_owned(), counted(name)?);
                Some((name.clone(), known.used.get(&at)?.to_string().into()))
            });
            let used: Map<String, Value> = used.collect();
            let hard = quota.pointer("/spec/hard").cloned().unwrap_or_default();
            let status = serde_json::json!({"hard": hard, "used": used});
            if quota.get("status") != Some(&status) {
                quota["status"] = status;
                stale.push(quota);
            }
        }
    }
    Ok(stale)
}
