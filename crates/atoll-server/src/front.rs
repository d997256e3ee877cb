//! One request's way through the server: who, where, may they, what.
//!
//! authenticate -> find the logical cluster -> authorize -> hand to the registry or to a document -> encode. Whatever
//! goes wrong on the way is a Status.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use crate::refusal::refusal;
use atoll_kube::builtin;
use atoll_kube::ids::{GroupResource, UserInfo};
use atoll_kube::status::Status;
use atoll_registry::{
    Attributes, Authorizer, ClusterName, Clusters, Decision, Registry, ResourceRef,
};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::{CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{HeaderMap, Method, Request, StatusCode};
use tokio_util::sync::CancellationToken;

use crate::agents::AgentService;
use crate::answer::objects::{self, Overlay};
use crate::answer::{self, Documents, Reply};
use crate::answers::Answers;
use crate::authn::{Authenticator, Identity, MASTERS, PeerIdentity, impersonation};
use crate::discovery;
use crate::health::Health;
use crate::metrics::Metrics;
use crate::request::{
    Accept, Location, NonResource, Place, Query, ResourcePath, Target, drain, locate,
};
use crate::services::View;
use crate::version;

/// How URLs map to logical clusters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// `/clusters/<path>/…`; the bare host serves only health, version and metrics, and the logical
    /// cluster that authorization sees there is the empty one.
    Workspaces,
    /// One cluster, at the bare host: an ordinary Kubernetes API server.
    Single(ClusterName),
}

/// Everything a request needs; shared by all connections.
pub(crate) struct Front {
    pub(crate) layout: Layout,
    pub(crate) registry: Registry,
    pub(crate) authenticator: Authenticator,
    pub(crate) authorizer: Arc<dyn Authorizer>,
    pub(crate) health: Health,
    pub(crate) metrics: Metrics,
    pub(crate) documents: Documents,
    pub(crate) agents: Option<AgentService>,
    pub(crate) draining: CancellationToken,
    /// `host:port`, as clients should use it.
    pub(crate) address: String,
    pub(crate) homes: Option<Homes>,
    pub(crate) views: Vec<Arc<dyn View>>,
    pub(crate) answers: Vec<Arc<dyn Answers>>,
    pub(crate) overlays: Vec<(GroupResource, Overlay)>,
}

/// Finds, or makes, the caller's home workspace: kcp's `workspaces/~` in `root`. Answers its own refusals.
pub type Homes = Arc<
    dyn Fn(Arc<UserInfo>) -> BoxFuture<'static, Result<serde_json::Value, Status>> + Send + Sync,
>;

/// What a connection proved about its client, once for all its requests.
#[derive(Debug, Clone, Default)]
pub(crate) struct Peer {
    pub(crate) identity: Option<PeerIdentity>,
    /// The client certificate, unjudged; for the agents' endpoint.
    pub(crate) certificate: Option<Arc<[u8]>>,
}

/// A request, past authentication and authorization.
pub(crate) struct Context<'a> {
    pub(crate) user: Arc<UserInfo>,
    pub(crate) clusters: Clusters,
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) accept: &'a Accept,
    pub(crate) query: &'a Query,
}

/// What a request turned out to be, for the metrics.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    verb: &'static str,
    resource: Option<(String, String)>,
}

impl Seen {
    pub(crate) fn note(&mut self, verb: &'static str, resource: Option<&ResourceRef>) {
        self.verb = verb;
        self.resource =
            resource.map(|resource| (resource.group.clone(), resource.resource.clone()));
    }
}

impl Front {
    /// Answers one request.
    pub(crate) async fn handle<B>(&self, request: Request<B>, peer: &Peer) -> Reply
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<tonic::codegen::StdError> + std::fmt::Display,
    {
        if let Some(agents) = &self.agents
            && is_grpc(request.headers())
        {
            return agents.call(request, peer).await;
        }
        let began = Instant::now();
        let _running = self.metrics.request();
        let (parts, mut body) = request.into_parts();
        let accept = Accept::of(&parts.headers);
        let mut seen = Seen {
            verb: "other",
            resource: None,
        };
        let answer = self.answer(&parts, &mut body, peer, &accept, &mut seen);
        // A bug in one request must not take the connection, and with it everybody's watches, along.
        let answered = AssertUnwindSafe(answer).catch_unwind().await.unwrap_or_else(|_| {
            tracing::error!(path = parts.uri.path(), method = %parts.method, "panic while answering");
            Err(Status::internal("the server failed while answering this request; its log says where"))
        });
        let mut reply = answered.unwrap_or_else(|status| {
            if status.code >= 500 {
                tracing::warn!(
                    code = status.code,
                    path = parts.uri.path(),
                    "{}",
                    status.message
                );
            }
            answer::error(&status, accept.error())
        });
        // An answer to a body that nobody read would reset the stream under the client that is still sending.
        drain(&mut body).await;
        if parts.method == Method::HEAD {
            reply.body_mut().clear();
        }
        answer::compress(&mut reply, &parts.headers);
        reply
            .headers_mut()
            .insert("audit-id", audit_id(&parts.headers));
        let resource = seen
            .resource
            .as_ref()
            .map(|(group, plural)| (group.as_str(), plural.as_str()));
        self.metrics.answered(
            seen.verb,
            resource,
            reply.status().as_u16(),
            began.elapsed(),
        );
        reply
    }

    async fn answer<B>(
        &self,
        parts: &http::request::Parts,
        body: B,
        peer: &Peer,
        accept: &Accept,
        seen: &mut Seen,
    ) -> Result<Reply, Status>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin,
        B::Error: std::fmt::Display,
    {
        let query = Query::parse(parts.uri.query())?;
        let location = locate(parts.uri.path()).map_err(Status::bad_request)?;
        if let Some(reply) = self.open_to_all(&parts.method, &location, accept, &query)? {
            seen.verb = "get";
            return Ok(reply);
        }
        let user = match self
            .authenticator
            .authenticate(&parts.headers, peer.identity.as_ref())
            .await?
        {
            Identity::User(user) => user,
            Identity::Anonymous => return Err(Status::unauthorized()),
        };
        if let Place::Service(segments) = &location.place {
            return self
                .service(segments, (parts, body), user, accept, &query, seen)
                .await;
        }
        let clusters = self.clusters(&location, &user)?;
        let user = self.impersonate(&parts.headers, user, &clusters)?;
        let method = &parts.method;
        let context = Context {
            user,
            clusters,
            method,
            headers: &parts.headers,
            accept,
            query: &query,
        };
        match &location.target {
            Target::Resource(path) => {
                let watch = query.flag("watch");
                let verb = path
                    .verb(method, watch)
                    .ok_or_else(Status::method_not_allowed)?;
                seen.note(verb, Some(&path.resource));
                if let Some(homes) = self
                    .homes
                    .as_ref()
                    .filter(|_| verb == "get" && is_home(&context.clusters, path))
                {
                    let home = homes(context.user.clone()).await?;
                    return objects::value(StatusCode::OK, &home, &self.show(&context, None)?);
                }
                self.authorize_resource(&context, path, verb)?;
                self.resource(&context, path, verb, body).await
            }
            Target::NonResource(what) => {
                seen.verb = "get";
                self.authorize_path(&context, &location.path)?;
                self.non_resource(&context, what, &location, parts.uri.path())
            }
            Target::Nothing => {
                self.authorize_path(&context, &location.path)?;
                Err(Status::no_such_path())
            }
        }
    }

    /// Health and version: for anybody, credentials not looked at.
    fn open_to_all(
        &self,
        method: &Method,
        location: &Location,
        accept: &Accept,
        query: &Query,
    ) -> Result<Option<Reply>, Status> {
        let Target::NonResource(what) = &location.target else {
            return Ok(None);
        };
        if matches!(location.place, Place::Service(_))
            || !matches!(what, NonResource::Health(..) | NonResource::Version)
        {
            return Ok(None);
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Err(Status::method_not_allowed());
        }
        Ok(match what {
            NonResource::Health(endpoint, only) => {
                Some(self.health.answer(endpoint, only.as_deref(), query))
            }
            NonResource::Version => Some(answer::value(
                StatusCode::OK,
                accept.plain()?,
                &version::info(),
            )?),
            _ => None,
        })
    }

    /// The logical clusters that the URL means.
    fn clusters(&self, location: &Location, user: &Arc<UserInfo>) -> Result<Clusters, Status> {
        match (&self.layout, &location.place) {
            (Layout::Single(cluster), Place::Bare) => Ok(Clusters::One(cluster.clone())),
            (Layout::Single(_), _) => Err(Status::no_such_path()),
            (Layout::Workspaces, Place::Cluster(path)) => {
                match self.registry.resolver().resolve(path) {
                    Err(status)
                        if matches!(status.code, 403 | 404)
                            && !user.is_in(MASTERS)
                            && !self.authorizer.may_know(user, path) =>
                    {
                        Ok(Clusters::One(ClusterName::nowhere()))
                    }
                    found => found.map(Clusters::One),
                }
            }
            (Layout::Workspaces, Place::Everywhere) if user.is_in(MASTERS) => Ok(Clusters::All),
            (Layout::Workspaces, Place::Everywhere) => Err(Status::forbidden(
                &GroupResource::new("", ""),
                "",
                "only members of system:masters may read across all logical clusters",
            )),
            (Layout::Workspaces, Place::Bare)
                if location.target == Target::NonResource(NonResource::Metrics) =>
            {
                Ok(Clusters::One(ClusterName::new("")))
            }
            (Layout::Workspaces, Place::Service(_)) => Err(Status::no_such_path()),
            (Layout::Workspaces, Place::Bare) => Err(Status::forbidden(
                &GroupResource::new("", ""),
                "",
                format_args!(
                    "{} is not served without a logical cluster: use /clusters/<workspace path>{}",
                    location.path, location.path
                ),
            )),
        }
    }

    /// The caller, or the user that the headers ask to act as, when the caller may.
    pub(crate) fn impersonate(
        &self,
        headers: &HeaderMap,
        caller: Arc<UserInfo>,
        clusters: &Clusters,
    ) -> Result<Arc<UserInfo>, Status> {
        let Some(wish) = impersonation::requested(headers)? else {
            return Ok(caller);
        };
        for need in wish.checks() {
            let attributes = Attributes {
                user: caller.clone(),
                verb: "impersonate".to_owned(),
                clusters: clusters.clone(),
                group: need.group.to_owned(),
                version: "v1".to_owned(),
                resource: need.resource.to_owned(),
                subresource: need.subresource,
                namespace: need.namespace,
                name: Some(need.name),
                path: None,
            };
            self.authorize(&attributes)?;
        }
        let cluster = match self.layout {
            Layout::Workspaces => clusters.one().map(ClusterName::as_str),
            Layout::Single(_) => None,
        };
        wish.become_user(&caller, cluster).map(Arc::new)
    }

    fn authorize_path(&self, context: &Context<'_>, path: &str) -> Result<(), Status> {
        self.authorize(&Attributes {
            user: context.user.clone(),
            verb: context.method.as_str().to_ascii_lowercase(),
            clusters: context.clusters.clone(),
            group: String::new(),
            version: String::new(),
            resource: String::new(),
            subresource: None,
            namespace: None,
            name: None,
            path: Some(path.to_owned()),
        })
    }

    /// Lets the request go on, or says 403 in Kubernetes' words.
    pub(crate) fn authorize(&self, attributes: &Attributes) -> Result<(), Status> {
        let why = match self.authorizer.authorize(attributes) {
            Decision::Allow => return Ok(()),
            Decision::Deny(why) | Decision::NoOpinion(why) => why,
        };
        Err(refusal(attributes, &why))
    }

    fn non_resource(
        &self,
        context: &Context<'_>,
        what: &NonResource,
        location: &Location,
        path: &str,
    ) -> Result<Reply, Status> {
        if !matches!(*context.method, Method::GET | Method::HEAD) {
            return Err(Status::method_not_allowed());
        }
        if *what == NonResource::Metrics {
            return match location.place {
                Place::Bare => Ok(answer::bytes(
                    StatusCode::OK,
                    "application/openmetrics-text; version=1.0.0; charset=utf-8",
                    self.metrics.render(),
                )),
                _ => Err(not_per_cluster()),
            };
        }
        if *what == NonResource::Index {
            let paths = [
                "/api",
                "/apis",
                "/healthz",
                "/livez",
                "/openapi/v2",
                "/openapi/v3",
                "/readyz",
                "/version",
            ];
            return answer::value(
                StatusCode::OK,
                context.accept.plain()?,
                &serde_json::json!({ "paths": paths }),
            );
        }
        let surface = context
            .clusters
            .one()
            .map(|cluster| self.registry.surface(cluster))
            .transpose()?;
        let (id, definitions) = match &surface {
            Some(surface) => (surface.id(), surface.definitions()),
            // Across all logical clusters: what is built in anywhere.
            None => ("everywhere", builtin::definitions()),
        };
        let ask = discovery::Ask {
            id,
            definitions,
            accept: context.accept,
            query: context.query,
            headers: context.headers,
            path,
            address: &self.address,
        };
        discovery::answer(&self.documents, &ask, what)
            .unwrap_or_else(|| Err(Status::no_such_path()))
    }
}

impl Context<'_> {
    /// The client's name for itself.
    pub(crate) fn user_agent(&self) -> Arc<str> {
        let value = self
            .headers
            .get(USER_AGENT)
            .and_then(|value| value.to_str().ok());
        value.unwrap_or("unknown").into()
    }
}

/// Whether this is `workspaces/~` in `root`.
fn is_home(clusters: &Clusters, path: &ResourcePath) -> bool {
    let resource = &path.resource;
    path.name.as_deref() == Some("~")
        && resource.resource == "workspaces"
        && resource.group == "tenancy.kcp.io"
        && resource.subresource.is_none()
        && clusters
            .one()
            .is_some_and(|cluster| cluster.as_str() == "root")
}

fn not_per_cluster() -> Status {
    let mut status = Status::internal("metrics are served at the bare host only");
    status.code = StatusCode::NOT_IMPLEMENTED.as_u16();
    status.message = "metrics are served at the bare host only: use /metrics".into();
    status
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// The caller's audit id, or a new one.
fn audit_id(headers: &HeaderMap) -> HeaderValue {
    if let Some(given) = headers.get("audit-id").filter(|value| value.len() <= 64) {
        return given.clone();
    }
    let id = uuid::Uuid::new_v4().to_string();
    HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("unknown"))
}
