//! The server as a library: put together, bound, run, stopped.

use std::net::SocketAddr;
use std::sync::Arc;

use atoll_kube::ids::GroupResource;
use atoll_registry::{Authorizer, Registry};
use rustls_pki_types::CertificateDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::agents::AgentService;
use crate::answer::Documents;
use crate::answer::objects::Overlay;
use crate::answers::Answers;
use crate::authn::{Authenticator, ClientAuthority, TokenAuthenticator, Tokens};
use crate::front::{Front, Homes, Layout};
use crate::health::{Health, HealthCheck};
use crate::metrics::{Metrics, MetricsSource};
use crate::pki::Serving as ServingCertificate;
use crate::services::View;
use crate::{serve, tls};

/// Memory for discovery and OpenAPI documents, unless said otherwise.
const DOCUMENT_BUDGET: u64 = 64 << 20;

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be bound.
    #[error("cannot listen on {address} (--secure-port 0 takes a free port)")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The serving certificate or a client authority cannot be used.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
}

/// Binds the address a server will listen on; port 0 takes a free one.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| ServeError::Bind { address, source })
}

/// Puts a [`Server`] together.
pub struct ServerBuilder {
    layout: Layout,
    registry: Registry,
    authorizer: Arc<dyn Authorizer>,
    tokens: Tokens,
    more_tokens: Vec<Arc<dyn TokenAuthenticator>>,
    client_authorities: Vec<CertificateDer<'static>>,
    checks: Vec<HealthCheck>,
    metrics: Vec<MetricsSource>,
    agents: Option<AgentService>,
    documents: u64,
    homes: Option<Homes>,
    views: Vec<Arc<dyn View>>,
    answers: Vec<Arc<dyn Answers>>,
    overlays: Vec<(GroupResource, Overlay)>,
}

impl ServerBuilder {
    /// A server over `registry`, guarded by `authorizer`.
    pub fn new(layout: Layout, registry: Registry, authorizer: Arc<dyn Authorizer>) -> Self {
        Self {
            layout,
            registry,
            authorizer,
            tokens: Tokens::default(),
            more_tokens: Vec::new(),
            client_authorities: Vec::new(),
            checks: Vec::new(),
            metrics: Vec::new(),
            agents: None,
            documents: DOCUMENT_BUDGET,
            homes: None,
            views: Vec::new(),
            answers: Vec::new(),
            overlays: Vec::new(),
        }
    }

    /// The registry served.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Accepts these bearer tokens.
    #[must_use]
    pub fn tokens(mut self, tokens: Tokens) -> Self {
        self.tokens = tokens;
        self
    }

    /// Accepts the bearer tokens that `authenticator` knows, too.
    #[must_use]
    pub fn token_authenticator(mut self, authenticator: Arc<dyn TokenAuthenticator>) -> Self {
        self.more_tokens.push(authenticator);
        self
    }

    /// Accepts client certificates under these authorities.
    #[must_use]
    pub fn client_authorities(mut self, authorities: Vec<CertificateDer<'static>>) -> Self {
        self.client_authorities = authorities;
        self
    }

    /// Adds a health check.
    #[must_use]
    pub fn check(mut self, check: HealthCheck) -> Self {
        self.checks.push(check);
        self
    }

    /// Adds lines to `/metrics`.
    #[must_use]
    pub fn metrics(mut self, source: MetricsSource) -> Self {
        self.metrics.push(source);
        self
    }

    /// Serves agents (gRPC) on the same port.
    #[must_use]
    pub fn agents(mut self, service: AgentService) -> Self {
        self.agents = Some(service);
        self
    }

    /// Answers questions under `/services/<its name>/`.
    #[must_use]
    pub fn answers(mut self, answers: Arc<dyn Answers>) -> Self {
        self.answers.push(answers);
        self
    }

    /// Serves a read-only API under `/services/`.
    #[must_use]
    pub fn view(mut self, view: Arc<dyn View>) -> Self {
        self.views.push(view);
        self
    }

    /// Fills something in whenever objects of a resource are read.
    #[must_use]
    pub fn overlay(mut self, resource: GroupResource, overlay: Overlay) -> Self {
        self.overlays.push((resource, overlay));
        self
    }

    /// Serves home workspaces.
    #[must_use]
    pub fn homes(mut self, homes: Homes) -> Self {
        self.homes = Some(homes);
        self
    }

    /// Bounds the memory for discovery and OpenAPI documents, in bytes.
    #[must_use]
    pub fn document_budget(mut self, bytes: u64) -> Self {
        self.documents = bytes;
        self
    }

    /// Starts serving on `listener`. `address` is `host:port` as clients should use it.
    pub fn start(
        self,
        listener: TcpListener,
        certificate: &ServingCertificate,
        address: String,
    ) -> Result<Server, ServeError> {
        let local_address = listener
            .local_addr()
            .map_err(|error| ServeError::Tls(error.to_string()))?;
        let config = tls::server_config(certificate.chain.clone(), certificate.key.clone_key())
            .map_err(|error| ServeError::Tls(error.to_string()))?;
        let client_authority =
            ClientAuthority::new(self.client_authorities).map_err(ServeError::Tls)?;
        let draining = CancellationToken::new();
        let mut checks = self.checks;
        let stopping = draining.clone();
        checks.push(
            HealthCheck::new("shutdown", move || {
                if stopping.is_cancelled() {
                    Err("the server is stopping".to_owned())
                } else {
                    Ok(())
                }
            })
            .readiness_only(),
        );
        let front = Arc::new(Front {
            layout: self.layout,
            registry: self.registry,
            authenticator: Authenticator::new(self.tokens, self.more_tokens),
            authorizer: self.authorizer,
            health: Health::new(checks),
            metrics: Metrics::new(self.metrics),
            documents: Documents::new(self.documents),
            agents: self.agents,
            draining: draining.clone(),
            address,
            homes: self.homes,
            views: self.views,
            answers: self.answers,
            overlays: self.overlays,
        });
        let acceptor = TlsAcceptor::from(config);
        let serving = Arc::new(serve::Serving {
            front,
            acceptor,
            client_authority,
        });
        let accepting = tokio::spawn(serve::serve(listener, serving, draining.clone()));
        Ok(Server {
            local_address,
            draining,
            accepting,
        })
    }
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    local_address: SocketAddr,
    draining: CancellationToken,
    accepting: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Where it listens.
    pub fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// Ends all watches, lets requests under way finish, and returns when the last connection is gone or time is up.
    pub async fn stop(self) {
        self.draining.cancel();
        if let Err(error) = self.accepting.await {
            tracing::error!(%error, "the server did not stop cleanly");
        }
    }
}
