//! `/services/<name>/<address>/…`: read-only Kubernetes APIs that are no logical cluster, such as an edge's mailbox.
//!
//! A [`View`] says how many segments its address has, who may look, and what is there; verbs, forms, discovery and
//! OpenAPI are the server's, the same as everywhere.

use std::sync::Arc;

use async_trait::async_trait;
use atoll_kube::Definition;
use atoll_kube::ids::UserInfo;
use atoll_kube::status::Status;
use atoll_registry::{
    Attributes, Call, Clusters, GetOptions, List, ListOptions, Object, WatchOptions, WatchStream,
};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use sha2::{Digest, Sha256};

use crate::answer::{Reply, objects, watch};
use crate::discovery;
use crate::front::{Context, Front, Seen};
use crate::request::{Accept, Query, ResourcePath, Target, target};

/// A read-only API under `/services/<name>/<address>/`.
#[async_trait]
pub trait View: Send + Sync {
    /// The segment after `/services/`.
    fn name(&self) -> &'static str;

    /// How many segments its address has.
    fn address_length(&self) -> usize;

    /// What a user has to be allowed in order to use `verb` here. The user may yet be replaced by one acted as.
    fn attributes(
        &self,
        address: &[String],
        user: Arc<UserInfo>,
        verb: &str,
    ) -> Result<Attributes, Status>;

    /// The kinds that are there.
    async fn definitions(&self, address: &[String]) -> Result<Vec<Arc<Definition>>, Status>;

    /// One object.
    async fn get(
        &self,
        address: &[String],
        call: &Call,
        options: &GetOptions,
    ) -> Result<Object, Status>;

    /// The objects of a kind.
    async fn list(
        &self,
        address: &[String],
        call: &Call,
        options: &ListOptions,
    ) -> Result<List, Status>;

    /// What changes, from a revision on.
    async fn watch(
        &self,
        address: &[String],
        call: &Call,
        options: &WatchOptions,
    ) -> Result<WatchStream, Status>;
}

impl Front {
    /// Answers a request under `/services/`.
    pub(crate) async fn service<B>(
        &self,
        segments: &[String],
        request: (&http::request::Parts, B),
        user: Arc<UserInfo>,
        accept: &Accept,
        query: &Query,
        seen: &mut Seen,
    ) -> Result<Reply, Status>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
        B::Error: std::fmt::Display,
    {
        let (name, rest) = segments.split_first().ok_or_else(Status::no_such_path)?;
        if let Some(answers) = self.answers.iter().find(|answers| answers.name() == name) {
            return self
                .question((answers.as_ref(), rest), request, user, accept, query, seen)
                .await;
        }
        let (parts, _) = request;
        let view = self
            .views
            .iter()
            .find(|view| view.name() == name)
            .ok_or_else(Status::no_such_path)?;
        if rest.len() < view.address_length() {
            return Err(Status::no_such_path());
        }
        let (address, rest) = rest.split_at(view.address_length());
        match target(rest) {
            Target::Resource(path) => {
                let verb = path
                    .verb(&parts.method, query.flag("watch"))
                    .filter(|verb| matches!(*verb, "get" | "list" | "watch"))
                    .ok_or_else(Status::method_not_allowed)?;
                seen.note(verb, Some(&path.resource));
                let user = self.admit(view.as_ref(), address, &parts.headers, user, verb)?;
                let context = Context {
                    user,
                    clusters: Clusters::All,
                    method: &parts.method,
                    headers: &parts.headers,
                    accept,
                    query,
                };
                self.view(view.as_ref(), address, &context, &path, verb)
                    .await
            }
            Target::NonResource(what) => {
                seen.note("get", None);
                if !matches!(parts.method, http::Method::GET | http::Method::HEAD) {
                    return Err(Status::method_not_allowed());
                }
                self.admit(view.as_ref(), address, &parts.headers, user, "get")?;
                let definitions = view.definitions(address).await?;
                let ask = discovery::Ask {
                    id: &identity(&definitions),
                    definitions: &definitions,
                    accept,
                    query,
                    headers: &parts.headers,
                    path: parts.uri.path(),
                    address: &self.address,
                };
                let answered = discovery::answer(&self.documents, &ask, &what);
                answered.unwrap_or_else(|| Err(Status::no_such_path()))
            }
            Target::Nothing => Err(Status::no_such_path()),
        }
    }

    /// The user who looks, or the one acted as, when they may.
    fn admit(
        &self,
        view: &dyn View,
        address: &[String],
        headers: &HeaderMap,
        user: Arc<UserInfo>,
        verb: &str,
    ) -> Result<Arc<UserInfo>, Status> {
        let mut attributes = view.attributes(address, user.clone(), verb)?;
        attributes.user = self.impersonate(headers, user, &attributes.clusters)?;
        self.authorize(&attributes)?;
        Ok(attributes.user)
    }

    async fn view(
        &self,
        view: &dyn View,
        address: &[String],
        context: &Context<'_>,
        path: &ResourcePath,
        verb: &str,
    ) -> Result<Reply, Status> {
        let show = self.show(context, None)?;
        let call = self.call(context, path);
        match verb {
            "get" => {
                let object = view
                    .get(address, &call, &context.query.get_options())
                    .await?;
                objects::object(StatusCode::OK, &object, &show)
            }
            "list" => objects::list(
                view.list(address, &call, &context.query.list_options()?)
                    .await?,
                &show,
            ),
            _ => {
                let options = context.query.watch_options()?;
                let timeout = context.query.timeout_seconds()?;
                let running = self.metrics.watch();
                let stream = view.watch(address, &call, &options).await?;
                Ok(watch::reply(
                    stream,
                    show,
                    timeout,
                    self.draining.clone(),
                    running,
                ))
            }
        }
    }
}

/// The same for equal sets of definitions.
fn identity(definitions: &[Arc<Definition>]) -> String {
    let mut ids: Vec<[u8; 32]> = definitions
        .iter()
        .map(|definition| definition.id.0)
        .collect();
    ids.sort_unstable();
    let hash = ids
        .iter()
        .fold(Sha256::new(), |hash, id| hash.chain_update(id))
        .finalize();
    format!("view {}", hex::encode(hash))
}
