//! The one outbound connection: enrols, renews, keeps a session open and carries its messages. Knows nothing of what they say.

use std::{path::PathBuf, sync::Arc, time::Duration};

use atoll_wire::{
    AgentClient, Certificates, EnrolRequest, PING_EVERY, Ping, RefusedReason, RenewRequest,
    SILENCE_LIMIT, ToAgent, ToCenter, join::JoinFile, to_agent,
};
use base64::Engine as _;
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::{net::TcpStream, sync::mpsc, time::Instant};
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};

use crate::{
    edge::Edge,
    identity::{Identity, IdentityError},
};

/// How many messages wait in each direction before the sender does.
const WINDOW: usize = 64;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// How long one question waits for its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// What the connection tells the agent.
#[derive(Debug)]
pub(crate) enum News {
    /// A stream is open; what is sent here goes to the center. A Hello comes first.
    Connected(mpsc::Sender<ToCenter>),
    /// The center said this.
    Said(Box<to_agent::Message>),
    /// The stream is gone.
    Disconnected,
    /// The center does not know this destination (any more).
    Unknown,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum CenterError {
    /// The join file does not say where to go.
    #[error("the join file is not usable: {0}")]
    Join(String),
    /// The center refused to enrol this agent; trying again does not help.
    #[error("the center refused this agent: {0}")]
    Refused(String),
    /// The center does not know this destination (any more).
    #[error("the center refused this agent: {0}")]
    Unknown(String),
    /// The center refused, for now.
    #[error("the center refused this session: {message}")]
    NotNow {
        /// In its words.
        message: String,
        /// When to try again.
        pause: Duration,
    },
    /// No connection, or it broke.
    #[error("cannot reach the center: {0}")]
    Unreachable(String),
    /// Keys and files.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

impl From<tonic::Status> for CenterError {
    fn from(status: tonic::Status) -> Self {
        match status.code() {
            Code::Unauthenticated
            | Code::PermissionDenied
            | Code::InvalidArgument
            | Code::FailedPrecondition => CenterError::Refused(status.message().to_owned()),
            Code::NotFound => CenterError::Unknown(status.message().to_owned()),
            _ => CenterError::Unreachable(format!("{}: {}", status.code(), status.message())),
        }
    }
}

/// The way to the center.
pub(crate) struct Center {
    join: JoinFile,
    host: String,
    port: u16,
    directory: PathBuf,
    identity: Identity,
    edge: Edge,
}

impl Center {
    /// Reads where to go out of the join file.
    pub(crate) fn new(
        join: JoinFile,
        identity: Identity,
        directory: PathBuf,
        edge: Edge,
    ) -> Result<Self, CenterError> {
        let wrong = || CenterError::Join(format!("server {:?} is no https URL", join.server));
        let uri: Uri = join.server.parse().map_err(|_| wrong())?;
        let host = uri
            .host()
            .ok_or_else(wrong)?
            .trim_matches(['[', ']'])
            .to_owned();
        let port = uri.port_u16().unwrap_or(443);
        Ok(Center {
            join,
            host,
            port,
            directory,
            identity,
            edge,
        })
    }

    /// Keeps a session open for ever. Returns only when the center refused an agent that never was enrolled, or when nobody listens.
    pub(crate) async fn run(mut self, tell: mpsc::Sender<News>) -> Result<(), CenterError> {
        let mut pause = FIRST_PAUSE;
        loop {
            let began = Instant::now();
            let ended = self.session(&tell).await;
            if tell.send(News::Disconnected).await.is_err() {
                return Ok(());
            }
            if began.elapsed() > LONGEST_PAUSE {
                pause = FIRST_PAUSE;
            }
            let wait = match ended {
                Ok(()) => {
                    pause = FIRST_PAUSE;
                    continue;
                }
                Err(error @ (CenterError::Refused(_) | CenterError::Unknown(_)))
                    if !self.identity.is_enrolled() =>
                {
                    return Err(error);
                }
                Err(error @ (CenterError::Join(_) | CenterError::Identity(_))) => {
                    return Err(error);
                }
                Err(error) => {
                    tracing::warn!(%error, again_in = ?pause, "no session with the center; the edge goes on with what it last heard");
                    match error {
                        CenterError::NotNow { pause, .. } => pause,
                        _ => pause,
                    }
                }
            };
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn session(&mut self, tell: &mpsc::Sender<News>) -> Result<(), CenterError> {
        if !self.identity.is_enrolled() {
            self.enrol().await?;
        } else if self.identity.wants_renewal() {
            let renewed = self.renew().await;
            if let Err(CenterError::Unknown(_)) = &renewed {
                let _ = tell.send(News::Unknown).await;
            }
            renewed?;
        }
        let (up, messages) = mpsc::channel(WINDOW);
        let mut client = AgentClient::new(self.channel(true).await?);
        // The Hello has to be on its way before the center answers the call.
        if tell.send(News::Connected(up.clone())).await.is_err() {
            return Ok(());
        }
        let answer = client.session(ReceiverStream::new(messages));
        let mut down = match in_time(ANSWER_TIMEOUT, answer).await? {
            Ok(answer) => answer.into_inner(),
            Err(status) => {
                if status.code() == Code::Unauthenticated {
                    // Whatever our clock says: the center takes the certificate for expired.
                    self.identity.renew_after = 0;
                }
                return Err(status.into());
            }
        };
        let renew_at = Instant::now() + self.identity.until_renewal();
        let mut heard = Instant::now();
        let mut ping = heard + PING_EVERY;
        loop {
            tokio::select! {
                message = down.message() => match message? {
                    None => return Err(CenterError::Unreachable("the center ended the session".into())),
                    Some(ToAgent { message, .. }) => {
                        heard = Instant::now();
                        ping = heard + PING_EVERY;
                        match message {
                            None | Some(to_agent::Message::Pong(_)) => {}
                            Some(to_agent::Message::Refused(refused)) => {
                                if refused.reason() == RefusedReason::Unknown {
                                    let _ = tell.send(News::Unknown).await;
                                }
                                let pause = Duration::from_secs(u64::from(refused.retry_after_seconds)).max(FIRST_PAUSE).min(Duration::from_secs(60));
                                let pause = if refused.retry_after_seconds == 0 { Duration::from_secs(30) } else { pause };
                                return Err(CenterError::NotNow { message: refused.message, pause });
                            }
                            Some(message) => {
                                if tell.send(News::Said(Box::new(message))).await.is_err() {
                                    return Ok(());
                                }
                            }
                        }
                    }
                },
                () = tokio::time::sleep_until(ping) => {
                    let message = ToCenter::new("", Ping {});
                    // When there is no room, something else is on its way already.
                    let _ = up.try_send(message);
                    ping = Instant::now() + PING_EVERY;
                }
                () = tokio::time::sleep_until(heard + SILENCE_LIMIT) => return Err(CenterError::Unreachable("nothing heard for too long".into())),
                () = tokio::time::sleep_until(renew_at) => return Ok(()),
            }
        }
    }

    async fn enrol(&mut self) -> Result<(), CenterError> {
        let request = EnrolRequest {
            inventory: self.join.inventory.clone(),
            destination: self.join.destination.clone(),
            token: self.join.token.clone(),
            csr_der: self.identity.signing_request()?,
        };
        let mut client = AgentClient::new(self.channel(false).await?);
        let answer = in_time(ANSWER_TIMEOUT, client.enrol(request)).await??;
        tracing::info!(edge = %self.join.name, "enrolled: the join file has done its work");
        self.accept(answer.into_inner()).await
    }

    async fn renew(&mut self) -> Result<(), CenterError> {
        let request = RenewRequest {
            csr_der: self.identity.signing_request()?,
        };
        let mut client = AgentClient::new(self.channel(true).await?);
        let answer = in_time(ANSWER_TIMEOUT, client.renew(request)).await??;
        tracing::info!("the certificate is renewed");
        self.accept(answer.into_inner()).await
    }

    async fn accept(&mut self, certificates: Certificates) -> Result<(), CenterError> {
        self.identity.accept(certificates);
        self.identity.save(&self.directory)?;
        if let Err(error) = self.edge.keep_identity(&self.identity).await {
            tracing::warn!(%error, "the identity could not be kept at the edge; it stands in the state directory");
        }
        Ok(())
    }

    /// A connection to the center, with or without our certificate.
    async fn channel(&self, with_certificate: bool) -> Result<Channel, CenterError> {
        let connector = TlsConnector::from(Arc::new(self.tls(with_certificate)?));
        let (host, port) = (self.host.clone(), self.port);
        let name =
            ServerName::try_from(host.clone()).map_err(|e| CenterError::Join(e.to_string()))?;
        let connect = tower::service_fn(move |_: Uri| {
            let (connector, host, name) = (connector.clone(), host.clone(), name.clone());
            async move {
                let tcp = TcpStream::connect((host.as_str(), port)).await?;
                tcp.set_nodelay(true)?;
                Ok::<_, std::io::Error>(TokioIo::new(connector.connect(name, tcp).await?))
            }
        });
        // TLS is the connector's, so the address is plain.
        let endpoint =
            Endpoint::from_shared(format!("http://{}:{}", uri_host(&self.host), self.port))
                .map_err(|e| CenterError::Join(e.to_string()))?;
        let connecting = endpoint.connect_with_connector(connect);
        let channel = in_time(CONNECT_TIMEOUT, connecting).await?;
        channel.map_err(|error| CenterError::Unreachable(causes(&error)))
    }

    fn tls(&self, with_certificate: bool) -> Result<ClientConfig, CenterError> {
        let wrong =
            |what: &str, why: &dyn std::fmt::Display| CenterError::Join(format!("{what}: {why}"));
        let given = base64::engine::general_purpose::STANDARD
            .decode(&self.join.certificate_authority_data)
            .map_err(|e| wrong("certificateAuthorityData", &e))?;
        let mut roots = RootCertStore::empty();
        // Both: the center may have been given a new authority since the join file was made, or since the last renewal.
        for pem in [given.as_slice(), self.identity.center_ca.as_bytes()] {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                roots
                    .add(certificate.map_err(|e| wrong("certificate authority", &e))?)
                    .map_err(|e| wrong("certificate authority", &e))?;
            }
        }
        let builder =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(|e| wrong("TLS", &e))?
                .with_root_certificates(roots);
        let mut config = if with_certificate {
            let chain: Result<Vec<_>, _> =
                CertificateDer::pem_slice_iter(self.identity.chain.as_bytes()).collect();
            let chain = chain.map_err(|e| wrong("own certificate", &e))?;
            let key = PrivateKeyDer::from_pem_slice(self.identity.key.as_bytes())
                .map_err(|e| wrong("own key", &e))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|e| wrong("own certificate", &e))?
        } else {
            builder.with_no_client_auth()
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

/// Nothing is waited for for ever: a connection may die without a word at any moment.
async fn in_time<T>(
    limit: Duration,
    waited_for: impl Future<Output = T>,
) -> Result<T, CenterError> {
    tokio::time::timeout(limit, waited_for)
        .await
        .map_err(|_| CenterError::Unreachable("no answer in time".into()))
}

fn uri_host(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

/// An error with what caused it: the outermost text of a transport error says nothing.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = cause.to_string();
        next = cause.source();
    }
    text
}
