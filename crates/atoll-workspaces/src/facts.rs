//! What every request needs to know about its logical cluster, read once out of its LogicalCluster.

use atoll_kube::{RowRef, UserInfo};
use atoll_registry::{ClusterKind, ClusterName};
use atoll_store::Revision;
use serde_json::Value;

use crate::cache::Weigh;
use crate::kinds::{
    ANNOTATION_KIND, ANNOTATION_OWNER, ANNOTATION_PATH, ANNOTATION_REQUIRED_GROUPS, ANNOTATION_TYPE,
};

/// A phase in a logical cluster's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not made yet.
    Scheduling,
    /// Initializers are at work.
    Initializing,
    /// In use.
    Ready,
    /// Out of order.
    Unavailable,
    /// Put to sleep.
    Inactive,
    /// Terminators are at work.
    Terminating,
    /// Its content is being removed.
    Deleting,
}

impl Phase {
    /// From `status.phase`; what is empty or unknown is not made yet.
    pub fn parse(text: &str) -> Self {
        match text {
            "Initializing" => Phase::Initializing,
            "Ready" => Phase::Ready,
            "Unavailable" => Phase::Unavailable,
            "Inactive" => Phase::Inactive,
            "Terminating" => Phase::Terminating,
            "Deleting" => Phase::Deleting,
            _ => Phase::Scheduling,
        }
    }

    /// Whether anybody may enter at all.
    pub fn is_open(self) -> bool {
        !matches!(self, Phase::Scheduling | Phase::Unavailable)
    }
}

/// A reference to a WorkspaceType: the path of its logical cluster and its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeRef {
    /// Path of the logical cluster the type is in.
    pub path: String,
    /// Its name.
    pub name: String,
}

impl TypeRef {
    /// A reference by parts.
    pub fn new(path: &str, name: &str) -> Self {
        TypeRef {
            path: path.to_owned(),
            name: name.to_owned(),
        }
    }

    /// From `<path>:<name>`.
    pub fn parse(text: &str) -> Option<Self> {
        let (path, name) = text.rsplit_once(':')?;
        Some(TypeRef::new(path, name))
    }
}

impl std::fmt::Display for TypeRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.path, self.name)
    }
}

/// The Workspace that owns a logical cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The logical cluster the Workspace is in.
    pub cluster: ClusterName,
    /// The Workspace's name.
    pub name: String,
}

/// The facts.
#[derive(Clone, Debug)]
pub struct ClusterFacts {
    /// What sort of cluster it is.
    pub kind: ClusterKind,
    /// Where in its life it is.
    pub phase: Phase,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Its canonical path.
    pub path: String,
    /// Its type.
    pub of_type: Option<TypeRef>,
    /// The Workspace it belongs to; none for root and homes.
    pub owner: Option<Owner>,
    /// The name of the user who made it.
    pub creator: Option<String>,
    /// Alternatives of groups a user has to be in; empty asks for none.
    pub required_groups: Vec<Vec<String>>,
    /// The annotation behind `required_groups`, which children inherit.
    pub required_groups_text: Option<String>,
    /// When its LogicalCluster last changed.
    pub revision: Revision,
}

impl ClusterFacts {
    /// Out of a LogicalCluster.
    pub fn of(name: &str, object: &Value, revision: Revision) -> Self {
        let text = |pointer: &str| {
            object
                .pointer(pointer)
                .and_then(Value::as_str)
                .filter(|s| !s.is_empty())
        };
        let annotation = |key: &str| {
            let annotations = object.pointer("/metadata/annotations")?;
            annotations.get(key)?.as_str()
        };
        let of_type = annotation(ANNOTATION_TYPE).and_then(TypeRef::parse);
        let kind = match annotation(ANNOTATION_KIND) {
            _ if name == crate::names::ROOT => ClusterKind::Root,
            Some("payload") => ClusterKind::Payload,
            Some("inventory") => ClusterKind::Inventory,
            _ => ClusterKind::Universal,
        };
        let owner = match (
            text("/spec/owner/cluster"),
            text("/spec/owner/name"),
            text("/spec/owner/resource"),
        ) {
            (Some(cluster), Some(name), Some("workspaces")) => Some(Owner {
                cluster: ClusterName::new(cluster),
                name: name.to_owned(),
            }),
            _ => None,
        };
        let creator: Option<UserInfo> =
            annotation(ANNOTATION_OWNER).and_then(|json| serde_json::from_str(json).ok());
        let required =
            annotation(ANNOTATION_REQUIRED_GROUPS).filter(|text| !text.trim().is_empty());
        ClusterFacts {
            kind,
            phase: Phase::parse(text("/status/phase").unwrap_or("")),
            deleting: text("/metadata/deletionTimestamp").is_some(),
            path: annotation(ANNOTATION_PATH).unwrap_or(name).to_owned(),
            of_type,
            owner,
            creator: creator.map(|user| user.username),
            required_groups: required.map(required_groups).unwrap_or_default(),
            required_groups_text: required.map(str::to_owned),
            revision,
        }
    }

    /// Out of a stored row.
    pub(crate) fn of_row(name: &str, row: &[u8], revision: Revision) -> Option<Self> {
        Some(Self::of(
            name,
            &RowRef::parse(row).ok()?.value("", "", 0, None),
            revision,
        ))
    }

    /// Whether a member of these groups satisfies the required groups.
    pub fn has_required_groups(&self, groups: &[String]) -> bool {
        self.required_groups.is_empty()
            || self
                .required_groups
                .iter()
                .any(|all| all.iter().all(|needed| groups.contains(needed)))
    }
}

impl Weigh for std::sync::Arc<ClusterFacts> {
    fn weight(&self) -> usize {
        size_of::<ClusterFacts>()
            + self.path.len() * 2
            + self.creator.as_ref().map_or(0, String::len)
            + self
                .required_groups_text
                .as_ref()
                .map_or(0, |text| text.len() * 4)
            + 64
    }
}

/// `a,b;c` as alternatives of sets.
fn required_groups(text: &str) -> Vec<Vec<String>> {
    let group = |s: &str| Some(s.trim().to_owned()).filter(|s| !s.is_empty());
    text.split(';')
        .map(|set| set.split(',').filter_map(group).collect::<Vec<_>>())
        .filter(|set| !set.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn facts_are_what_the_logical_cluster_says() {
        let object = json!({
            "metadata": {"annotations": {
                "kcp.io/path": "root:a", "internal.tenancy.kcp.io/type": "root:org:mine", "internal.atoll.dev/kind": "payload",
                "experimental.tenancy.kcp.io/owner": "{\"username\":\"u\"}", "authorization.kcp.io/required-groups": "a, b;c"}},
            "spec": {"owner": {"resource": "workspaces", "cluster": "root", "name": "a"}}, "status": {"phase": "Ready"}});
        let facts = ClusterFacts::of("x", &object, Revision(7));
        assert_eq!(facts.kind, ClusterKind::Payload);
        assert_eq!(facts.of_type, Some(TypeRef::new("root:org", "mine")));
        assert_eq!(
            facts.owner.as_ref().map(|owner| owner.name.as_str()),
            Some("a")
        );
        assert_eq!(facts.creator.as_deref(), Some("u"));
        for (groups, expected) in [
            (&["a"][..], false),
            (&["a", "b"], true),
            (&["c"], true),
            (&[], false),
        ] {
            let groups: Vec<String> = groups.iter().map(|s| (*s).to_owned()).collect();
            assert_eq!(facts.has_required_groups(&groups), expected, "{groups:?}");
        }
    }

    #[test]
    fn an_empty_logical_cluster_is_not_made_yet() {
        let facts = ClusterFacts::of("x", &json!({}), Revision(0));
        assert_eq!(
            (facts.kind, facts.phase, facts.path.as_str()),
            (ClusterKind::Universal, Phase::Scheduling, "x")
        );
        assert!(facts.has_required_groups(&[]));
        assert_eq!(
            ClusterFacts::of("root", &json!({}), Revision(0)).kind,
            ClusterKind::Root
        );
    }
}
