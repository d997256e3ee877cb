//! What a request asks for, parsed once at the border: who, which logical clusters, which resource, which object.
//!
//! A [`Call`] carries no bytes and no options; those come beside it. Time is in it, so nothing below reads a clock.

use std::{borrow::Borrow, collections::BTreeSet, fmt, sync::Arc};

use atoll_kube::{GroupResource, Timestamp, UserInfo};
use bytes::Bytes;
use serde_json::Value;

/// The name of a logical cluster (`root`, `2xq…`): already resolved, never a path.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterName(Arc<str>);

impl ClusterName {
    /// The cluster called `name`. The caller has resolved and checked it.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// A logical cluster that does not exist: no path is spelled like it. Asking about it is refused in the words in which
    /// asking about a logical cluster that one may not enter is refused.
    pub fn nowhere() -> Self {
        Self::new("~nowhere")
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for ClusterName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterName({})", self.0)
    }
}

/// Which logical clusters a call covers. Writes need [`Clusters::One`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clusters {
    /// One logical cluster.
    One(ClusterName),
    /// All of them (`/clusters/*`): list and watch only.
    All,
    /// A set of them (virtual workspaces): list and watch only.
    Set(Arc<BTreeSet<ClusterName>>),
}

impl Clusters {
    /// The single cluster, when it is one.
    pub fn one(&self) -> Option<&ClusterName> {
        match self {
            Self::One(name) => Some(name),
            Self::All | Self::Set(_) => None,
        }
    }

    /// Whether the cluster with this name is covered.
    pub fn covers(&self, name: &str) -> bool {
        match self {
            Self::One(one) => one.as_str() == name,
            Self::All => true,
            Self::Set(set) => set.contains(name),
        }
    }
}

/// A resource as a URL names it: group, version, plural, and perhaps a subresource.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceRef {
    /// API group; empty for the core group.
    pub group: String,
    /// API version. Empty means the storage version (used by controllers).
    pub version: String,
    /// Plural resource name.
    pub resource: String,
    /// Subresource, such as `status` or `scale`.
    pub subresource: Option<String>,
}

impl ResourceRef {
    /// A resource without subresource.
    pub fn new(group: &str, version: &str, resource: &str) -> Self {
        Self {
            group: group.into(),
            version: version.into(),
            resource: resource.into(),
            subresource: None,
        }
    }

    /// The same resource with a subresource.
    #[must_use]
    #[allow(clippy::should_implement_trait)] // short for subresource; nobody subtracts resources
    pub fn sub(mut self, subresource: &str) -> Self {
        self.subresource = Some(subresource.into());
        self
    }

    /// Group and plural.
    pub fn group_resource(&self) -> GroupResource {
        GroupResource {
            group: self.group.clone(),
            resource: self.resource.clone(),
        }
    }
}

/// One request, without its body and options.
#[derive(Clone, Debug)]
pub struct Call {
    /// The acting user, already authenticated and authorized.
    pub user: Arc<UserInfo>,
    /// The client's user agent; gives the default field manager.
    pub user_agent: Arc<str>,
    /// The logical clusters meant.
    pub clusters: Clusters,
    /// The resource meant.
    pub resource: ResourceRef,
    /// The namespace; `None` for cluster-scoped resources and for lists over all namespaces.
    pub namespace: Option<String>,
    /// The object's name; `None` for collections.
    pub name: Option<String>,
    /// When the request arrived.
    pub now: Timestamp,
}

/// A request body, not yet decoded.
#[derive(Clone, Debug)]
pub enum Body {
    /// JSON bytes as received.
    Json(Bytes),
    /// YAML bytes as received.
    Yaml(Bytes),
    /// Already a value: from a controller or from bootstrap.
    Value(Value),
}

/// The four kinds of patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchType {
    /// RFC 6902, `application/json-patch+json`.
    Json,
    /// RFC 7386, `application/merge-patch+json`.
    Merge,
    /// Kubernetes' strategic merge patch; built-in kinds only.
    Strategic,
    /// Server-side apply, `application/apply-patch+yaml`.
    Apply,
}
