//! The tree of workspaces: which logical cluster a path means, and what sort of cluster it is.
//!
//! Paths are resolved segment by segment through the Workspaces that lead there, so a path works from the moment its
//! Workspace is durable. Both steps are cached within a budget and forgotten by events; an answer from the cache costs
//! no read.

use std::sync::Arc;

use atoll_kube::{GroupResource, Status};
use atoll_registry::{ClusterKind, ClusterName, ClusterResolver};
use atoll_store::{At, Check, Snapshot, Store};
use serde_json::Value;

use crate::cache::{EventedCache, Weigh};
use crate::facts::ClusterFacts;
use crate::kinds::{self, TENANCY};
use crate::names::{self, LOGICAL_CLUSTER, ROOT, SYSTEM_ADMIN};
use crate::rows;

/// What paths and logical clusters may take of the memory, each.
const CACHE_BYTES: u64 = 16 << 20;

/// Logical clusters that exist without a LogicalCluster.
const SYSTEM_CLUSTERS: [&str; 1] = [SYSTEM_ADMIN];

/// Answers from the replica through its caches.
pub struct Tree {
    store: Arc<dyn Store>,
    /// (cluster, workspace) -> the workspace's cluster.
    edges: EventedCache<ClusterName>,
    /// cluster -> facts.
    facts: EventedCache<Arc<ClusterFacts>>,
}

impl Weigh for ClusterName {
    fn weight(&self) -> usize {
        self.as_str().len() + 32
    }
}

impl Tree {
    /// A tree over this store, nothing cached.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Tree {
            store,
            edges: EventedCache::new(CACHE_BYTES),
            facts: EventedCache::new(CACHE_BYTES),
        }
    }

    /// The facts about a logical cluster; `None` when there is no such LogicalCluster.
    pub fn facts(&self, cluster: &str) -> Result<Option<Arc<ClusterFacts>>, Status> {
        self.facts.get_or_load(cluster, || {
            let snapshot = self.snapshot()?;
            let key = kinds::logical_clusters().key(cluster, None, LOGICAL_CLUSTER);
            let version = snapshot.get(&key).map_err(rows::unreadable)?;
            Ok(version
                .and_then(|v| ClusterFacts::of_row(cluster, &v.row, v.modified))
                .map(Arc::new))
        })
    }

    /// The newest state of the replica.
    pub(crate) fn snapshot(&self) -> Result<Arc<dyn Snapshot>, Status> {
        self.store.snapshot(At::Latest).map_err(rows::unreadable)
    }

    /// The store below.
    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The logical cluster of a workspace, by its parent and name.
    fn child(&self, parent: &ClusterName, name: &str) -> Result<Option<ClusterName>, Status> {
        self.edges.get_or_load(&edge(parent.as_str(), name), || {
            let snapshot = self.snapshot()?;
            let workspace = rows::find(
                &*snapshot,
                &kinds::workspaces(),
                parent.as_str(),
                None,
                name,
            )?;
            let cluster = workspace
                .as_ref()
                .and_then(|w| w.value.pointer("/spec/cluster").and_then(Value::as_str));
            Ok(cluster
                .filter(|cluster| !cluster.is_empty())
                .map(ClusterName::new))
        })
    }

    /// Forgets what is cached about a logical cluster.
    pub(crate) fn forget_cluster(&self, cluster: &str) {
        self.facts.evict(cluster);
    }

    /// Forgets what is cached about a workspace.
    pub(crate) fn forget_workspace(&self, parent: &str, name: &str) {
        self.edges.evict(&edge(parent, name));
    }

    /// Forgets everything.
    pub(crate) fn forget_all(&self) {
        self.edges.clear();
        self.facts.clear();
    }
}

impl ClusterResolver for Tree {
    fn resolve(&self, path: &str) -> Result<ClusterName, Status> {
        if !names::is_cluster_path(path) {
            return Err(Status::bad_request(format!(
                "invalid cluster: {path:?} does not match the regex {}",
                names::CLUSTER_PATH
            )));
        }
        if SYSTEM_CLUSTERS.contains(&path) {
            return Ok(ClusterName::new(path));
        }
        let (mut cluster, rest) = first_step(path);
        if cluster.as_str() != ROOT && self.facts(cluster.as_str())?.is_none() {
            return Err(if rest.is_empty() && names::home_user(path).is_none() {
                no_cluster()
            } else {
                no_path(path)
            });
        }
        for name in rest.split(':').filter(|name| !name.is_empty()) {
            cluster = self.child(&cluster, name)?.ok_or_else(|| no_path(path))?;
        }
        Ok(cluster)
    }

    fn kind(&self, cluster: &ClusterName) -> Result<ClusterKind, Status> {
        let name = cluster.as_str();
        if name == ROOT {
            return Ok(ClusterKind::Root);
        }
        if name.starts_with("system:") {
            return Ok(ClusterKind::System);
        }
        self.facts(name)?
            .map(|facts| facts.kind)
            .ok_or_else(no_cluster)
    }

    fn guard(&self, cluster: &ClusterName, snapshot: &dyn Snapshot) -> Result<Vec<Check>, Status> {
        if cluster.as_str().starts_with("system:") {
            return Ok(Vec::new());
        }
        let key = kinds::logical_clusters().key(cluster.as_str(), None, LOGICAL_CLUSTER);
        let version = match snapshot.get(&key).map_err(rows::unreadable)? {
            Some(version) => version,
            // While bootstrap makes root, its LogicalCluster is just being written.
            None if cluster.as_str() == ROOT => return Ok(Vec::new()),
            None => return Err(no_cluster()),
        };
        let deleting = atoll_kube::RowRef::parse(&version.row).is_ok_and(|row| row.is_deleting());
        if deleting {
            let why = "unable to create new content in a workspace that is being deleted";
            return Err(Status::forbidden(&GroupResource::default(), "", why));
        }
        Ok(vec![Check::At(key, version.modified)])
    }
}

/// The logical cluster a path starts in, and the workspaces that lead on from there.
fn first_step(path: &str) -> (ClusterName, &str) {
    let (first, rest) = path.split_once(':').unwrap_or((path, ""));
    if first == "user" && !rest.is_empty() {
        let (user, rest) = rest.split_once(':').unwrap_or((rest, ""));
        return (ClusterName::new(names::home_cluster_name(user)), rest);
    }
    (ClusterName::new(first), rest)
}

fn edge(parent: &str, name: &str) -> String {
    let mut key = String::with_capacity(parent.len() + 1 + name.len());
    key.push_str(parent);
    key.push('/');
    key.push_str(name);
    key
}

/// 404: a path leads nowhere.
fn no_path(path: &str) -> Status {
    Status::not_found(&GroupResource::new(TENANCY, "workspaces"), path)
}

/// 403: a bare name means no logical cluster. Not 404, so that names cannot be guessed.
pub(crate) fn no_cluster() -> Status {
    Status::forbidden(&GroupResource::default(), "", "LogicalCluster not found")
}

#[cfg(test)]
mod tests {
    use super::first_step;

    #[test]
    fn paths_start_at_a_name_or_at_a_home() {
        let rows = [
            ("root", "root", ""),
            ("root:a:b", "root", "a:b"),
            ("2xq:a", "2xq", "a"),
            ("user:alice", "v1u4alow0iv9", ""),
            ("user:alice:x:y", "v1u4alow0iv9", "x:y"),
            ("user", "user", ""),
        ];
        for (path, cluster, rest) in rows {
            let (got, got_rest) = first_step(path);
            assert_eq!((got.as_str(), got_rest), (cluster, rest), "{path}");
        }
    }
}
