//! A center in this process: store, registry, workspaces, fleet and server, put together.
//!
//! `atoll start` runs one until it is told to stop; `atoll quickstart` runs one beside its sandbox edges.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use atoll_fleet::{Fleet, FleetCa, FleetDoors, FleetOptions};
use atoll_kube::ids::UserInfo;
use atoll_registry::controller::Driver;
use atoll_registry::{Builder, Registry, SystemClock, controllers, indexes};
use atoll_server::accounts::Accounts;
use atoll_server::authn::{MASTERS, Tokens};
use atoll_server::pki::{self, Contexts, RootDirectory, RootOptions};
use atoll_server::{HealthCheck, Layout, Server, ServerBuilder};
use atoll_store::Store;
use atoll_store::embedded::{self, EmbeddedStore};
use atoll_workspaces::{Options as WorkspaceOptions, TokenReviewer, Workspaces};

use crate::background::Background;
use crate::fleet::{FleetAnswers, MailboxView, agents, last_seen};

/// The group whose members are administrators of every workspace.
const ADMINS: &str = "system:kcp:admin";

/// How to run a center.
#[derive(Debug, Clone)]
pub(crate) struct CenterOptions {
    /// Where everything is kept.
    pub(crate) root_directory: PathBuf,
    /// Where to listen; port 0 takes a free one.
    pub(crate) address: SocketAddr,
    /// Where the admin kubeconfig goes, if not into the root directory.
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Where the token hash goes, if not into the root directory.
    pub(crate) token_store: Option<PathBuf>,
    /// Further bearer tokens.
    pub(crate) token_auth_file: Option<PathBuf>,
    /// Authorities of client certificates.
    pub(crate) client_ca_file: Option<PathBuf>,
    /// The URL that clients use, if it is not the address.
    pub(crate) external_url: Option<String>,
    /// Further names for the serving certificate.
    pub(crate) names: Vec<String>,
    /// Whether users get home workspaces.
    pub(crate) home_workspaces: bool,
    /// Which users do.
    pub(crate) home_creator_groups: Vec<String>,
    /// How long an agent's certificate is valid.
    pub(crate) agent_certificate_ttl: Duration,
    /// Added to each fsync of the log.
    pub(crate) sync_delay: Option<Duration>,
}

impl CenterOptions {
    /// The defaults, in this directory and at this address.
    pub(crate) fn new(root_directory: impl Into<PathBuf>, address: SocketAddr) -> Self {
        Self {
            root_directory: root_directory.into(),
            address,
            kubeconfig: None,
            token_store: None,
            token_auth_file: None,
            client_ca_file: None,
            external_url: None,
            names: Vec::new(),
            home_workspaces: true,
            home_creator_groups: vec!["system:authenticated".to_owned()],
            agent_certificate_ttl: atoll_fleet::ca::VALIDITY,
            sync_delay: None,
        }
    }
}

/// A running center.
pub(crate) struct Center {
    root: RootDirectory,
    server: Server,
    driver: tokio::task::JoinHandle<()>,
    background: Background,
    fleet: Arc<Fleet>,
    store: Arc<EmbeddedStore>,
}

impl Center {
    /// Starts everything, in the order in which each part needs the ones before.
    pub(crate) async fn start(options: CenterOptions) -> anyhow::Result<Self> {
        let listener = atoll_server::bind(options.address).await?;
        // The store first: its lock keeps a second center from changing anything in a directory that is in use.
        pki::create_directory(&options.root_directory)
            .context("cannot prepare the root directory")?;
        let directory = options.root_directory.join("store");
        let sync_delay = options.sync_delay;
        let store = tokio::task::spawn_blocking(move || {
            embedded::open(embedded::Options {
                indexes: indexes(),
                sync_delay,
                ..embedded::Options::new(directory)
            })
        })
        .await
        .context("opening the store was interrupted")?
        .context("cannot open the store")?;

        let root = RootDirectory::open(&RootOptions {
            directory: options.root_directory.clone(),
            kubeconfig: options.kubeconfig,
            token_store: options.token_store,
            address: listener
                .local_addr()
                .context("cannot tell which port was taken")?,
            external_url: options.external_url,
            names: options.names,
            contexts: Contexts::Workspaces,
        })
        .context("cannot prepare the root directory")?;
        let tokens = tokens(&root, options.token_auth_file.as_deref())?;
        let client_authorities = match &options.client_ca_file {
            Some(file) => {
                pki::read_certificates(file).context("--client-ca-file cannot be used")?
            }
            None => Vec::new(),
        };

        let known = tokens.clone();
        let accounts = Accounts::new(
            store.clone(),
            Arc::new(SystemClock),
            &root.service_account_key,
        )
        .map_err(|why| anyhow::anyhow!("sa.key cannot be used: {why}"))?;
        let accounts = Arc::new(accounts);
        let workspaces = Arc::new(Workspaces::new(
            store.clone(),
            WorkspaceOptions {
                external_url: root.base_url.clone(),
                home_workspaces: options.home_workspaces,
                home_creator_groups: options.home_creator_groups,
                authenticator: Some(Arc::new(KnownTokens {
                    tokens: known,
                    accounts: accounts.clone(),
                })),
            },
        ));
        let doors = FleetDoors::new(workspaces.access.clone());
        let background = Background::start().context("cannot start the background threads")?;
        let builder = Registry::builder(store.clone(), workspaces.tree.clone())
            .background(background.handle().clone())
            .authorizer(workspaces.access.clone())
            .caller(Arc::new(atoll_server::Webhooks::default()))
            .virtuals(accounts.clone())
            .hook(accounts.clone());
        let builder = workspaces.install(builder);
        let builder = doors.hooks().into_iter().fold(builder, Builder::hook);
        let registry = doors
            .computed()
            .into_iter()
            .fold(builder, Builder::computed)
            .build();
        workspaces
            .bootstrap(&registry)
            .await
            .context("cannot set up the root workspace")?;

        let driver = workspaces.controllers(Driver::new(registry.clone()));
        let driver = controllers::all(driver);
        let driver = background.handle().spawn(driver.run());

        let authority = root
            .authority("fleet-ca", "atoll fleet")
            .context("cannot prepare the fleet's certificate authority")?;
        let fleet = Fleet::start(FleetOptions {
            doors,
            registry: registry.clone(),
            ca: FleetCa::from_pem(&authority.certificate_pem, &authority.key_pem)
                .context("the fleet's certificate authority cannot be used")?
                .valid_for(options.agent_certificate_ttl),
            center_ca_pem: root.serving.authority_pem.clone(),
            grace: None,
        })
        .await
        .context("cannot start the fleet")?;
        let fleet = Arc::new(fleet);
        let figures = fleet.clone();
        let (managed_clusters, seen) = last_seen(fleet.clone());
        let mailbox = MailboxView {
            mailbox: fleet.mailbox(),
            resolver: workspaces.tree.clone(),
        };

        let answers = FleetAnswers {
            reading: fleet.reading(),
            resolver: workspaces.tree.clone(),
        };

        let health = store.clone();
        let server = ServerBuilder::new(
            Layout::Workspaces,
            registry.clone(),
            workspaces.access.clone(),
        )
        .tokens(tokens)
        .token_authenticator(accounts)
        .client_authorities(client_authorities)
        .check(HealthCheck::new("store", move || {
            health
                .snapshot(atoll_store::At::Latest)
                .map(drop)
                .map_err(|error| error.to_string())
        }))
        .metrics(store_metrics(store.clone()))
        .metrics(Arc::new(move |text| figures.metrics(text)))
        .agents(agents(&fleet))
        .overlay(managed_clusters, seen)
        .view(Arc::new(mailbox))
        .answers(Arc::new(answers))
        .homes(homes(workspaces, registry))
        .start(listener, &root.serving, address(&root.base_url))?;
        Ok(Self {
            root,
            server,
            driver,
            background,
            fleet,
            store,
        })
    }

    /// `https://host:port`.
    pub(crate) fn base_url(&self) -> &str {
        &self.root.base_url
    }

    /// The admin kubeconfig.
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.root.kubeconfig
    }

    /// Ends watches, lets requests finish, and closes the store.
    pub(crate) async fn stop(self) {
        self.server.stop().await;
        self.driver.abort();
        drop(self.background);
        drop(self.fleet);
        let store = self.store;
        if let Err(error) = tokio::task::spawn_blocking(move || store.close()).await {
            tracing::error!(%error, "the store was not closed; the next start replays what it left");
        }
    }
}

fn tokens(root: &RootDirectory, file: Option<&Path>) -> anyhow::Result<Tokens> {
    let mut tokens = Tokens::default();
    if let Some(file) = file {
        tokens.add_file(file)?;
    }
    // After the file: nothing in it can take an administrator's token away.
    tokens.add(&root.tokens.kcp_admin, UserInfo::new("kcp-admin", [ADMINS]));
    tokens.add(
        &root.tokens.shard_admin,
        UserInfo::new("shard-admin", [MASTERS]),
    );
    Ok(tokens)
}

/// Tells TokenReview whose token it is.
struct KnownTokens {
    tokens: Tokens,
    accounts: Arc<Accounts>,
}

#[async_trait::async_trait]
impl TokenReviewer for KnownTokens {
    async fn user(&self, token: &str, audiences: &[String]) -> Option<(UserInfo, Vec<String>)> {
        if let Some(user) = self.tokens.user(token) {
            // These are for whoever takes them.
            return Some(((*user).clone(), audiences.to_vec()));
        }
        let proven = self.accounts.prove(token, audiences)?;
        Some((proven.user, proven.audiences))
    }
}

fn homes(workspaces: Arc<Workspaces>, registry: Registry) -> atoll_server::Homes {
    Arc::new(move |user| {
        let (workspaces, registry) = (workspaces.clone(), registry.clone());
        Box::pin(async move { workspaces.home(&registry, &user).await })
    })
}

/// `host:port` of a base URL.
fn address(base_url: &str) -> String {
    base_url
        .trim_start_matches("https://")
        .split('/')
        .next()
        .unwrap_or_default()
        .to_owned()
}

fn store_metrics(store: Arc<EmbeddedStore>) -> atoll_server::MetricsSource {
    Arc::new(move |text| {
        let stats = store.stats();
        for (name, help, value) in [
            (
                "atoll_store_head_revision",
                "The newest revision",
                stats.head.0,
            ),
            (
                "atoll_store_oldest_revision",
                "The oldest revision that can be read",
                stats.oldest.0,
            ),
            (
                "atoll_store_log_bytes",
                "Bytes of all log segments",
                stats.log_bytes,
            ),
            (
                "atoll_store_replica_bytes",
                "Bytes of the replica's files",
                stats.replica_bytes,
            ),
            (
                "atoll_store_window_bytes",
                "Bytes of the window of recent events",
                stats.window_bytes,
            ),
            ("atoll_store_watches", "Open watches", stats.watches),
        ] {
            text.push_str(&format!(
                "# HELP {name} {help}.\n# TYPE {name} gauge\n{name} {value}\n"
            ));
        }
        for (name, help, value) in [
            (
                "atoll_store_appends",
                "Appends that were answered with a revision",
                stats.appends,
            ),
            (
                "atoll_store_commits",
                "Group commits, each with one fsync",
                stats.commits,
            ),
            (
                "atoll_store_watch_overflows",
                "Times a watch fell behind and caught up by itself",
                stats.watch_overflows,
            ),
        ] {
            text.push_str(&format!(
                "# HELP {name} {help}.\n# TYPE {name} counter\n{name}_total {value}\n"
            ));
        }
    })
}
