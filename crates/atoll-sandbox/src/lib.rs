//! Pretend edges: the server with the whole Kubernetes surface, plus controllers that only pretend.
//!
//! A [`Sandbox`] is Atoll's own API server over a store of its own, with one logical cluster at the bare host, so that it looks like any Kubernetes cluster.
//! Defaults are applied as Kubernetes applies them. What the scheduler, the kubelets and the workload controllers would bring about is
//! only pretended ([`pretend`], [`services`]): nothing runs. It is for trying things out and for tests.

mod cluster;
mod controller;
pub mod pretend;
mod services;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use atoll_kube::{Status, UserInfo};
use atoll_registry::{Registry, controller::Driver, controllers};
use atoll_server::{
    Layout, ServeError, Server, ServerBuilder,
    authn::Tokens,
    pki::{self, PkiError, RootDirectory, RootOptions},
};
use atoll_store::{
    Store,
    embedded::{self, EmbeddedStore, OpenError},
};
use tokio::task::JoinHandle;

use cluster::{OneCluster, OnlyMasters};
use controller::Pretender;

/// Why a sandbox cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The address or TLS.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// Certificates, tokens, kubeconfig.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The store.
    #[error("the sandbox's store: {0}")]
    Store(#[from] OpenError),
    /// The first objects could not be made.
    #[error("cannot prepare the sandbox: {0}")]
    Bootstrap(#[from] Status),
}

/// A running sandbox.
pub struct Sandbox {
    server: Server,
    store: Arc<EmbeddedStore>,
    controllers: JoinHandle<()>,
    base_url: String,
    kubeconfig: PathBuf,
}

impl Sandbox {
    /// Starts a sandbox in `directory`, going on from what is there.
    ///
    /// # Errors
    /// When the address is taken, or the directory is not usable.
    pub async fn start(directory: &Path, address: SocketAddr) -> Result<Self, SandboxError> {
        let listener = atoll_server::bind(address).await?;
        let address = listener.local_addr().unwrap_or(address);
        // The store first: its lock keeps a second sandbox from changing anything in a directory that is in use.
        pki::create_directory(directory)?;
        let mut options = embedded::Options::new(directory.join("store"));
        options.indexes = atoll_registry::indexes();
        let store = embedded::open(options)?;
        let root = RootDirectory::open(&RootOptions::single(directory, address))?;
        let registry = Registry::builder(store.clone() as Arc<dyn Store>, Arc::new(OneCluster))
            .caller(Arc::new(atoll_server::Webhooks::default()))
            .hook(Arc::new(services::Addresses))
            .build();
        cluster::bootstrap(&registry).await?;
        let driver = controllers::all(Driver::new(registry.clone()));
        let driver = pretend::Workload::ALL
            .into_iter()
            .fold(driver, |driver, workload| {
                driver.with(Arc::new(Pretender(workload)))
            });
        let controllers = tokio::spawn(driver.run());
        let mut tokens = Tokens::default();
        tokens.add(&root.tokens.shard_admin, administrator());
        let host = root.base_url.trim_start_matches("https://").to_owned();
        let server = ServerBuilder::new(
            Layout::Single(cluster::name()),
            registry,
            Arc::new(OnlyMasters),
        )
        .tokens(tokens)
        .start(listener, &root.serving, host)?;
        Ok(Sandbox {
            server,
            store,
            controllers,
            base_url: root.base_url,
            kubeconfig: root.kubeconfig,
        })
    }

    /// `https://host:port`.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Stops serving and closes the store.
    pub async fn stop(self) {
        self.server.stop().await;
        self.controllers.abort();
        self.store.close();
    }
}

fn administrator() -> UserInfo {
    UserInfo {
        username: "admin".into(),
        groups: vec!["system:masters".into()],
        ..UserInfo::default()
    }
}
