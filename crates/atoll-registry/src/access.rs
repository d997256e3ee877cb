//! The doors to authorization and to the tree of workspaces. Implemented above this crate; called here and by the front.

use std::sync::Arc;

use atoll_kube::{Status, UserInfo, builtin::SurfaceSet};
use atoll_store::{Check, Snapshot};

use crate::{ClusterName, Clusters};

/// What an authorizer is asked about one request.
#[derive(Clone, Debug)]
pub struct Attributes {
    /// Who asks.
    pub user: Arc<UserInfo>,
    /// Kubernetes' verb: get, list, watch, create, update, patch, delete, deletecollection, or an invented one such as `bind`.
    pub verb: String,
    /// The logical clusters asked about.
    pub clusters: Clusters,
    /// API group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Plural resource; empty for non-resource requests.
    pub resource: String,
    /// Subresource.
    pub subresource: Option<String>,
    /// Namespace.
    pub namespace: Option<String>,
    /// Object name.
    pub name: Option<String>,
    /// The path of a non-resource request.
    pub path: Option<String>,
}

/// An authorizer's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Yes.
    Allow,
    /// No, and nobody after may say yes; why.
    Deny(String),
    /// Nothing here says yes; why.
    NoOpinion(String),
}

/// Decides whether a request may go on. Reads the replica only, so it answers at once.
pub trait Authorizer: Send + Sync {
    /// The decision for one request.
    fn authorize(&self, attributes: &Attributes) -> Decision;

    /// The decision for a right that is given in one logical cluster and used from another: the user need not be able to
    /// enter the one that gives it.
    fn authorize_from_elsewhere(&self, attributes: &Attributes) -> Decision {
        self.authorize(attributes)
    }

    /// Whether a user may be told that a workspace path leads nowhere, or what sort of workspace is there: only one who
    /// may read the Workspace that is, or would be, there. To everybody else what they may not enter and what does not
    /// exist look the same.
    fn may_know(&self, user: &Arc<UserInfo>, path: &str) -> bool {
        let _ = (user, path);
        false
    }
}

/// What sort of logical cluster it is: the base of its surface and how its objects are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClusterKind {
    /// The root of the tree: kcp's set and the root-only kinds.
    Root,
    /// kcp's universal, organization, team and home.
    Universal,
    /// What is destined for edges: the complete Kubernetes surface, and nothing acts.
    Payload,
    /// The destinations.
    Inventory,
    /// Internal clusters such as `system:admin`.
    System,
    /// A sandbox edge: Kubernetes itself, defaults applied.
    Kubernetes,
}

impl ClusterKind {
    /// The built-in definitions such a cluster starts from.
    pub fn base(self) -> SurfaceSet {
        match self {
            Self::Root => SurfaceSet::Root,
            Self::Universal | Self::System => SurfaceSet::Universal,
            Self::Payload => SurfaceSet::Payload,
            Self::Inventory => SurfaceSet::Inventory,
            Self::Kubernetes => SurfaceSet::Kubernetes,
        }
    }

    /// Whether Kubernetes' own strategies and controllers act on what is stored here (false: inert payload).
    pub fn acts(self) -> bool {
        self != Self::Payload
    }

    /// Whether the garbage collector follows owner references here.
    pub fn collects_garbage(self) -> bool {
        self.acts()
    }

    /// Whether the API serves what does not act yet (quotas, webhooks, policies), so a write deserves a warning.
    pub fn warns_of_unenforced(self) -> bool {
        matches!(self, Self::Root | Self::Universal | Self::Inventory)
    }
}

/// Knows the tree of workspaces: paths to names, and what sort of cluster each is.
pub trait ClusterResolver: Send + Sync {
    /// The logical cluster a path or name in a URL means; a Status (404, 403, …) when there is none.
    fn resolve(&self, path: &str) -> Result<ClusterName, Status>;

    /// What sort of cluster it is. Called on every request, so it answers from memory or one replica read.
    fn kind(&self, cluster: &ClusterName) -> Result<ClusterKind, Status>;

    /// Checks to make, in the same append, whenever an object is created in `cluster`: how a cluster that is being
    /// deleted stops new content. A failing check makes the create start over, so this is asked again.
    fn guard(&self, cluster: &ClusterName, snapshot: &dyn Snapshot) -> Result<Vec<Check>, Status> {
        let _ = (cluster, snapshot);
        Ok(Vec::new())
    }
}
