//! Who may do what where: kcp's chain of authorizers over compiled RBAC.
//!
//! Hot path: a decision that the caches can make costs a few lookups and compares borrowed strings; it allocates nothing
//! for users without extra fields. An answer other than yes is made again from the newest revision before it is given,
//! so a grant counts from the moment it is durable; a withdrawal counts as soon as its event has been seen, which is
//! within milliseconds.
//!
//! The chain: masters and the always allowed paths; the logical cluster exists; its required groups; who may enter it
//! at all; what nobody but the system writes; and then the bootstrap policy or the cluster's own RBAC.

mod payload;
mod rules;
mod subject;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use atoll_kube::{Status, UserInfo};
use atoll_registry::{
    Attributes, Authorizer, ClusterKind, ClusterName, ClusterResolver as _, Clusters, Decision,
};
use atoll_store::Revision;

use crate::cache::{EventedCache, Weigh};
use crate::facts::ClusterFacts;
use crate::kinds::{self, GROUP_ADMIN, GROUP_LOGICAL_CLUSTER_ADMIN, GROUP_MASTERS, TENANCY};
use crate::names::ROOT;
use crate::rbac::{Ask, Grants, Target, bootstrap, cluster_roles, compile};
use crate::rows;
use crate::tree::Tree;

pub use payload::Level;
pub use rules::GrantedRules;
use subject::effective;

/// What compiled RBAC may take of the memory.
const CACHE_BYTES: u64 = 64 << 20;

/// Compiling that takes less than this is done for every refusal that could be out of date.
const CHEAP: Duration = Duration::from_millis(2);

/// Paths that everybody may get, named or not.
const OPEN_PATHS: [&str; 4] = ["/healthz", "/livez", "/readyz", "/version"];

/// An answer with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Yes, and by what.
    Allowed(Arc<str>),
    /// No, whatever else would say yes.
    Denied(Cow<'static, str>),
    /// Nothing says yes.
    NoOpinion(Cow<'static, str>),
}

impl Verdict {
    /// Whether it is a yes.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Verdict::Allowed(_))
    }

    fn no() -> Self {
        Verdict::NoOpinion(Cow::Borrowed("access denied"))
    }

    /// Also for what does not exist: nobody learns from a refusal what they may not see.
    fn not_permitted() -> Self {
        Verdict::NoOpinion(Cow::Borrowed("workspace access not permitted"))
    }
}

/// The RBAC of one logical cluster as of a revision.
struct Compiled {
    grants: Grants,
    revision: Revision,
    /// When it was compiled, and how long that took.
    at: Instant,
    took: Duration,
}

impl Compiled {
    /// Whether a refusal is worth compiling again. Where that is dear, it is not done more than a tenth of the time, so
    /// that refused requests cannot keep the center busy; the event of a grant is then what makes it count.
    fn may_be_renewed(&self, head: Revision) -> bool {
        self.revision < head && (self.took < CHEAP || self.at.elapsed() > self.took * 10)
    }
}

impl Weigh for Arc<Compiled> {
    fn weight(&self) -> usize {
        self.grants.weight() + 64
    }
}

/// The authorizer.
pub struct Access {
    tree: Arc<Tree>,
    compiled: EventedCache<Arc<Compiled>>,
}

/// How much of the chain to go through.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// All of it.
    Whole,
    /// Without asking whether the user may enter: what could they do if they did.
    Deep,
}

impl Access {
    /// An authorizer over this tree.
    pub fn new(tree: Arc<Tree>) -> Self {
        Access {
            tree,
            compiled: EventedCache::new(CACHE_BYTES),
        }
    }

    /// The answer with its reason.
    pub fn decide(&self, asked: &Attributes) -> Verdict {
        self.answer(asked, Depth::Whole)
    }

    /// The answer as if the user could enter the logical cluster: for rights that are given in one logical cluster
    /// and used from another, such as `use` of a WorkspaceType.
    pub fn decide_deep(&self, asked: &Attributes) -> Verdict {
        self.answer(asked, Depth::Deep)
    }

    /// What a user may do in a payload workspace, by the parent's word or as its creator.
    pub fn payload_level(
        &self,
        user: &UserInfo,
        facts: &ClusterFacts,
    ) -> Result<Option<Level>, Status> {
        for level in Level::ALL {
            if self.has_level(user, facts, level)? {
                return Ok(Some(level));
            }
        }
        Ok(None)
    }

    pub(crate) fn forget_cluster(&self, cluster: &str) {
        self.compiled.evict(cluster);
    }

    pub(crate) fn forget_all(&self) {
        self.compiled.clear();
    }

    fn answer(&self, asked: &Attributes, depth: Depth) -> Verdict {
        if asked.user.is_in(GROUP_MASTERS) {
            return Verdict::Allowed(masters());
        }
        if let Some(path) = &asked.path
            && asked.verb == "get"
            && OPEN_PATHS.iter().any(|open| {
                path.strip_prefix(open)
                    .is_some_and(|r| r.is_empty() || r.starts_with('/'))
            })
        {
            return Verdict::Allowed(bootstrap_reason());
        }
        let Clusters::One(cluster) = &asked.clusters else {
            return Verdict::no();
        };
        // Without a logical cluster there is nothing but metrics, which root's RBAC decides.
        let cluster = match (cluster.as_str(), asked.path.as_deref()) {
            ("", Some("/metrics")) => &ClusterName::new(ROOT),
            ("", _) => return Verdict::no(),
            _ => cluster,
        };
        if cluster.as_str().starts_with("system:") {
            return Verdict::no();
        }
        let ask = ask_of(asked);
        match self.chain(asked, cluster, &ask, depth) {
            Ok(verdict) => verdict,
            Err(status) => {
                tracing::error!(cluster = cluster.as_str(), error = %status, "cannot authorize");
                Verdict::Denied(Cow::Owned(status.message.into_owned()))
            }
        }
    }

    fn chain(
        &self,
        asked: &Attributes,
        cluster: &ClusterName,
        ask: &Ask<'_>,
        depth: Depth,
    ) -> Result<Verdict, Status> {
        let user = &*asked.user;
        if is_reserved_write(asked) && !user.is_in(GROUP_ADMIN) {
            return Ok(Verdict::no());
        }
        let Some(facts) = self.tree.facts(cluster.as_str())? else {
            return Ok(Verdict::not_permitted());
        };
        let exempt = user.is_in(GROUP_LOGICAL_CLUSTER_ADMIN) || subject::is_service_account(user);
        if !exempt && !facts.has_required_groups(&user.groups) {
            return Ok(Verdict::not_permitted());
        }
        let namespace = asked.namespace.as_deref().unwrap_or("");
        let users = effective(user, cluster.as_str());
        let mut verdict = Verdict::no();
        for user in users.users() {
            verdict = if facts.kind == ClusterKind::Payload {
                self.in_payload(user, &facts, ask)?
            } else {
                self.in_cluster(user, cluster.as_str(), &facts, namespace, ask, depth)?
            };
            if verdict.is_allowed() {
                break;
            }
        }
        Ok(verdict)
    }

    fn in_cluster(
        &self,
        user: &UserInfo,
        cluster: &str,
        facts: &ClusterFacts,
        namespace: &str,
        ask: &Ask<'_>,
        depth: Depth,
    ) -> Result<Verdict, Status> {
        let enters = depth == Depth::Deep
            || user.is_in(GROUP_LOGICAL_CLUSTER_ADMIN)
            || subject::is_local_service_account(user, cluster);
        let judge = |grants: &Grants| {
            if depth == Depth::Whole && !facts.phase.is_open() {
                return Verdict::not_permitted();
            }
            let entry = Ask {
                verb: "access",
                target: Target::Path("/"),
            };
            if !enters && find(grants, user, "", &entry).is_none() {
                return Verdict::not_permitted();
            }
            find(grants, user, namespace, ask).map_or_else(Verdict::no, Verdict::Allowed)
        };
        self.with_grants(cluster, judge)
    }

    fn in_payload(
        &self,
        user: &UserInfo,
        facts: &ClusterFacts,
        ask: &Ask<'_>,
    ) -> Result<Verdict, Status> {
        if !facts.phase.is_open() {
            return Ok(Verdict::not_permitted());
        }
        Ok(match self.payload_level(user, facts)? {
            None => Verdict::not_permitted(),
            Some(level) if level.allows(ask) => {
                Verdict::Allowed(format!("{} of the payload workspace", level.verb()).into())
            }
            Some(_) => Verdict::no(),
        })
    }

    fn has_level(
        &self,
        user: &UserInfo,
        facts: &ClusterFacts,
        level: Level,
    ) -> Result<bool, Status> {
        if facts.creator.as_deref() == Some(user.username.as_str()) {
            return Ok(true);
        }
        let Some(owner) = &facts.owner else {
            return Ok(user.is_in(GROUP_ADMIN));
        };
        let ask = Ask {
            verb: level.verb(),
            target: Target::Resource {
                group: TENANCY,
                resource: "workspaces",
                subresource: "content",
                name: &owner.name,
            },
        };
        let judge = |grants: &Grants| {
            find(grants, user, "", &ask).map_or_else(Verdict::no, Verdict::Allowed)
        };
        Ok(self
            .with_grants(owner.cluster.as_str(), judge)?
            .is_allowed())
    }

    /// Judges by the cached RBAC of a cluster; when that does not say yes and is not the newest, by the newest.
    fn with_grants(
        &self,
        cluster: &str,
        judge: impl Fn(&Grants) -> Verdict,
    ) -> Result<Verdict, Status> {
        let Some(compiled) = self
            .compiled
            .get_or_load(cluster, || self.compile(cluster))?
        else {
            return Ok(Verdict::no());
        };
        let verdict = judge(&compiled.grants);
        if verdict.is_allowed() || !compiled.may_be_renewed(self.tree.store().head()) {
            return Ok(verdict);
        }
        match self.compiled.load(cluster, || self.compile(cluster))? {
            Some(compiled) => Ok(judge(&compiled.grants)),
            None => Ok(verdict),
        }
    }

    fn compile(&self, cluster: &str) -> Result<Option<Arc<Compiled>>, Status> {
        let at = Instant::now();
        let snapshot = self.tree.snapshot()?;
        let read = |resource: &str| rows::all(&*snapshot, &kinds::rbac(resource), cluster);
        let local = read("clusterroles")?;
        let grants = compile(
            &cluster_roles(&local),
            Some(&bootstrap().roles),
            &read("roles")?,
            &read("clusterrolebindings")?,
            &read("rolebindings")?,
        );
        Ok(Some(Arc::new(Compiled {
            grants,
            revision: snapshot.revision(),
            at,
            took: at.elapsed(),
        })))
    }
}

impl Authorizer for Access {
    fn authorize(&self, asked: &Attributes) -> Decision {
        self.decide(asked).into()
    }

    fn authorize_from_elsewhere(&self, asked: &Attributes) -> Decision {
        self.decide_deep(asked).into()
    }

    fn may_know(&self, user: &Arc<UserInfo>, path: &str) -> bool {
        if user.is_in(GROUP_MASTERS) {
            return true;
        }
        // Down to the first step that leads nowhere, or to the end; then whoever may read that Workspace knows.
        let mut parent = None;
        for end in path
            .match_indices(':')
            .map(|(at, _)| at)
            .chain([path.len()])
        {
            let found = self.tree.resolve(&path[..end]).ok();
            if let (Some(parent), true) = (&parent, found.is_none() || end == path.len()) {
                let begin = path[..end].rfind(':').map_or(0, |at| at + 1);
                return self
                    .decide(&reads_workspace(user, parent, &path[begin..end]))
                    .is_allowed();
            }
            parent = found;
        }
        false
    }
}

impl From<Verdict> for Decision {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Allowed(_) => Decision::Allow,
            Verdict::Denied(why) => Decision::Deny(why.into_owned()),
            Verdict::NoOpinion(why) => Decision::NoOpinion(why.into_owned()),
        }
    }
}

/// The grant, local or of the bootstrap policy, that allows what is asked.
fn find(grants: &Grants, user: &UserInfo, namespace: &str, ask: &Ask<'_>) -> Option<Arc<str>> {
    let found = bootstrap()
        .grants
        .find(user, namespace, ask)
        .or_else(|| grants.find(user, namespace, ask))?;
    Some(found.source.clone())
}

fn reads_workspace(user: &Arc<UserInfo>, parent: &ClusterName, name: &str) -> Attributes {
    Attributes {
        user: user.clone(),
        verb: "get".to_owned(),
        clusters: Clusters::One(parent.clone()),
        group: TENANCY.to_owned(),
        version: "v1alpha1".to_owned(),
        resource: "workspaces".to_owned(),
        subresource: None,
        namespace: None,
        name: Some(name.to_owned()),
        path: None,
    }
}

/// The status of tenancy's kinds is the system's to write.
fn is_reserved_write(asked: &Attributes) -> bool {
    asked.subresource.as_deref() == Some("status")
        && asked.group == TENANCY
        && !matches!(asked.verb.as_str(), "get" | "list" | "watch")
}

fn ask_of(asked: &Attributes) -> Ask<'_> {
    let target = match &asked.path {
        Some(path) => Target::Path(path),
        None => Target::Resource {
            group: &asked.group,
            resource: &asked.resource,
            subresource: asked.subresource.as_deref().unwrap_or(""),
            name: asked.name.as_deref().unwrap_or(""),
        },
    };
    Ask {
        verb: &asked.verb,
        target,
    }
}

fn masters() -> Arc<str> {
    static REASON: std::sync::LazyLock<Arc<str>> =
        std::sync::LazyLock::new(|| "member of system:masters".into());
    REASON.clone()
}

fn bootstrap_reason() -> Arc<str> {
    static REASON: std::sync::LazyLock<Arc<str>> =
        std::sync::LazyLock::new(|| "path is open to everybody".into());
    REASON.clone()
}
