//! What the hooks, reviews and controllers of this crate share, and how they are put into a registry.

use std::sync::Arc;

use async_trait::async_trait;
use atoll_kube::{Status, UserInfo};
use atoll_registry::controller::Driver;
use atoll_registry::{Attributes, Builder, ClusterName, Clusters};
use atoll_store::Store;

use crate::access::Access;
use crate::deletion::Deletion;
use crate::evict::Evictor;
use crate::hooks;
use crate::kinds::GROUP_AUTHENTICATED;
use crate::reviews;
use crate::tree::Tree;

/// Tells who a bearer token belongs to, for TokenReview.
#[async_trait]
pub trait TokenReviewer: Send + Sync {
    /// The token's user and for which of the audiences it holds; `None` when it is not known or no longer holds for any of them. Without audiences, this
    /// API's are meant.
    async fn user(&self, token: &str, audiences: &[String]) -> Option<(UserInfo, Vec<String>)>;
}

/// What can be set.
#[derive(Clone)]
pub struct Options {
    /// Scheme, host and port under which clients reach this center; the start of every Workspace's `spec.URL`.
    pub external_url: String,
    /// Whether users get a home workspace on first request.
    pub home_workspaces: bool,
    /// Who may have one.
    pub home_creator_groups: Vec<String>,
    /// Who a bearer token belongs to; without it every TokenReview says no.
    pub authenticator: Option<Arc<dyn TokenReviewer>>,
}

impl Options {
    /// The defaults, at this URL.
    pub fn new(external_url: impl Into<String>) -> Self {
        Options {
            external_url: external_url.into(),
            home_workspaces: true,
            home_creator_groups: vec![GROUP_AUTHENTICATED.to_owned()],
            authenticator: None,
        }
    }
}

/// The tree of workspaces and who may enter it, over one store. Cheap to clone.
#[derive(Clone)]
pub struct Workspaces {
    /// Paths and facts; the registry's resolver.
    pub tree: Arc<Tree>,
    /// The chain of authorizers.
    pub access: Arc<Access>,
    /// What was set.
    pub options: Arc<Options>,
}

impl Workspaces {
    /// Workspaces over this store. [`Self::install`] puts them into the registry above it.
    pub fn new(store: Arc<dyn Store>, options: Options) -> Self {
        let tree = Arc::new(Tree::new(store));
        Workspaces {
            access: Arc::new(Access::new(tree.clone())),
            tree,
            options: Arc::new(options),
        }
    }

    /// Adds the hooks and review kinds to a registry being built; its resolver has to be `self.tree`.
    pub fn install(&self, builder: Builder) -> Builder {
        reviews::install(self, hooks::install(self, builder))
    }

    /// Adds the controllers to a driver.
    pub fn controllers(&self, driver: Driver) -> Driver {
        driver
            .with(Arc::new(Evictor::new(self.clone())))
            .with(Arc::new(Deletion::new(self.clone())))
    }

    /// The URL of the logical cluster at a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!(
            "{}/clusters/{path}",
            self.options.external_url.trim_end_matches('/')
        )
    }

    /// Whether a user may use a verb on a named object, entry to the logical cluster aside.
    pub(crate) fn may(&self, user: &Arc<UserInfo>, cluster: &str, ask: Ask<'_>) -> bool {
        self.access
            .decide_deep(&ask.attributes(user.clone(), cluster))
            .is_allowed()
    }
}

/// A question to the authorizer about one object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) verb: &'a str,
    pub(crate) group: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) namespace: Option<&'a str>,
    pub(crate) name: &'a str,
}

impl Ask<'_> {
    pub(crate) fn attributes(self, user: Arc<UserInfo>, cluster: &str) -> Attributes {
        Attributes {
            user,
            verb: self.verb.to_owned(),
            clusters: Clusters::One(ClusterName::new(cluster)),
            group: self.group.to_owned(),
            version: String::new(),
            resource: self.resource.to_owned(),
            subresource: None,
            namespace: self.namespace.map(str::to_owned),
            name: Some(self.name.to_owned()),
            path: None,
        }
    }
}

/// A 403 about an object of a kind of this crate.
pub(crate) fn forbidden(
    group: &str,
    resource: &str,
    name: &str,
    why: impl std::fmt::Display,
) -> Status {
    Status::forbidden(&atoll_kube::GroupResource::new(group, resource), name, why)
}
