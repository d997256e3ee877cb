//! From names to store keys and back. (group, resource, identity, cluster, namespace, name), in that order, so that a
//! resource across all clusters is one range and one namespace of one cluster is a narrower one.

use atoll_kube::Status;
use atoll_store::{Key, Prefix, Snapshot, Version};

use crate::{ClusterName, Clusters};

/// Identity of a workspace's own custom resources.
pub const CUSTOM_IDENTITY: &str = "customresources";
/// Group of rows that are ours alone and never served.
pub const INTERNAL_GROUP: &str = "internal.atoll.dev";

/// A family of keys: one resource of one identity, across all logical clusters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceId {
    /// API group.
    pub group: String,
    /// Plural resource name.
    pub resource: String,
    /// Empty for built-ins, [`CUSTOM_IDENTITY`] for local CRDs, an identity hash for bound APIs.
    pub identity: String,
}

impl ResourceId {
    /// A built-in resource.
    pub fn builtin(group: &str, resource: &str) -> Self {
        Self {
            group: group.into(),
            resource: resource.into(),
            identity: String::new(),
        }
    }

    /// A custom resource of a workspace.
    pub fn custom(group: &str, resource: &str) -> Self {
        Self {
            group: group.into(),
            resource: resource.into(),
            identity: CUSTOM_IDENTITY.into(),
        }
    }

    /// The key of one object.
    pub fn key(&self, cluster: &str, namespace: Option<&str>, name: &str) -> Key {
        Key::new([
            &self.group,
            &self.resource,
            &self.identity,
            cluster,
            namespace.unwrap_or(""),
            name,
        ])
    }

    /// The range of a call: everything, one cluster, one namespace. A set of clusters has the range of all.
    pub fn prefix(
        &self,
        clusters: &Clusters,
        namespace: Option<&str>,
        name: Option<&str>,
    ) -> Prefix {
        let Some(cluster) = clusters.one() else {
            return Prefix::new([&self.group, &self.resource, &self.identity]);
        };
        let family = [
            self.group.as_str(),
            &self.resource,
            &self.identity,
            cluster.as_str(),
        ];
        match (namespace, name) {
            (namespace, Some(name)) => {
                Prefix::new(family.into_iter().chain([namespace.unwrap_or(""), name]))
            }
            (Some(namespace), None) => Prefix::new(family.into_iter().chain([namespace])),
            (None, None) => Prefix::new(family),
        }
    }

    /// The row of one object as `snapshot` has it.
    pub fn read(
        &self,
        snapshot: &dyn Snapshot,
        cluster: &str,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Version>, Status> {
        snapshot
            .get(&self.key(cluster, namespace, name))
            .map_err(crate::read::read_error)
    }

    /// The range of the whole family.
    pub fn family(&self) -> Prefix {
        Prefix::new([&self.group, &self.resource, &self.identity])
    }
}

/// The parts of an object's key, borrowed from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectKey<'a> {
    /// API group.
    pub group: &'a str,
    /// Plural resource name.
    pub resource: &'a str,
    /// Identity.
    pub identity: &'a str,
    /// Logical cluster.
    pub cluster: &'a str,
    /// Namespace; empty for cluster-scoped objects.
    pub namespace: &'a str,
    /// Object name.
    pub name: &'a str,
}

impl<'a> ObjectKey<'a> {
    /// The parts of a six-component key; `None` when it has another shape.
    pub fn parse(key: &'a Key) -> Option<Self> {
        let mut parts = key.components();
        let mut next = || parts.next().and_then(|part| std::str::from_utf8(part).ok());
        let parsed = Self {
            group: next()?,
            resource: next()?,
            identity: next()?,
            cluster: next()?,
            namespace: next()?,
            name: next()?,
        };
        parts.next().is_none().then_some(parsed)
    }

    /// The namespace, when namespaced.
    pub fn namespace(&self) -> Option<&'a str> {
        (!self.namespace.is_empty()).then_some(self.namespace)
    }
}

/// The key of a logical cluster's surface row.
pub fn surface_key(cluster: &ClusterName) -> Key {
    Key::new([
        INTERNAL_GROUP,
        "surfaces",
        "",
        cluster.as_str(),
        "",
        "surface",
    ])
}
