//! The way to the center for whoever has (or wants) a certificate: TLS, enrolment, renewal. Knows nothing of sessions.

use std::{sync::Arc, time::Duration};

use atoll_wire::{AgentClient, EnrolRequest, RenewRequest, join::JoinFile};
use base64::Engine as _;
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

use crate::center::CenterError;
pub use crate::identity::Identity;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// How long one question waits for its answer.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Where a join file leads.
#[derive(Debug)]
pub struct Uplink {
    join: JoinFile,
    host: String,
    port: u16,
}

impl Uplink {
    /// Reads where to go out of a join file.
    ///
    /// # Errors
    /// When it names no https URL.
    pub fn new(join: JoinFile) -> Result<Self, CenterError> {
        let wrong = || CenterError::Join(format!("server {:?} is no https URL", join.server));
        let uri: Uri = join.server.parse().map_err(|_| wrong())?;
        let host = uri
            .host()
            .ok_or_else(wrong)?
            .trim_matches(['[', ']'])
            .to_owned();
        let port = uri.port_u16().unwrap_or(443);
        Ok(Uplink { join, host, port })
    }

    /// Gets the first certificate for an identity's key.
    ///
    /// # Errors
    /// When the center refuses or cannot be reached.
    pub async fn enrol(&self, identity: &mut Identity) -> Result<(), CenterError> {
        let request = EnrolRequest {
            inventory: self.join.inventory.clone(),
            destination: self.join.destination.clone(),
            token: self.join.token.clone(),
            csr_der: identity.signing_request()?,
        };
        let mut client = AgentClient::new(self.channel(None).await?);
        let answer = in_time(ANSWER_TIMEOUT, client.enrol(request)).await??;
        identity.accept(answer.into_inner());
        Ok(())
    }

    /// Gets the next certificate for an identity's key.
    ///
    /// # Errors
    /// When the center refuses or cannot be reached.
    pub async fn renew(&self, identity: &mut Identity) -> Result<(), CenterError> {
        let request = RenewRequest {
            csr_der: identity.signing_request()?,
        };
        let mut client = AgentClient::new(self.channel(Some(identity)).await?);
        let answer = in_time(ANSWER_TIMEOUT, client.renew(request)).await??;
        identity.accept(answer.into_inner());
        Ok(())
    }

    /// A connection to the center, with or without a certificate.
    ///
    /// # Errors
    /// When there is none in time.
    pub async fn channel(&self, identity: Option<&Identity>) -> Result<Channel, CenterError> {
        let connector = TlsConnector::from(Arc::new(self.tls(identity)?));
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

    fn tls(&self, identity: Option<&Identity>) -> Result<ClientConfig, CenterError> {
        let wrong =
            |what: &str, why: &dyn std::fmt::Display| CenterError::Join(format!("{what}: {why}"));
        let given = base64::engine::general_purpose::STANDARD
            .decode(&self.join.certificate_authority_data)
            .map_err(|e| wrong("certificateAuthorityData", &e))?;
        let renewed = identity.map(|i| i.center_ca.as_bytes()).unwrap_or_default();
        let mut roots = RootCertStore::empty();
        // Both: the center may have been given a new authority since the join file was made, or since the last renewal.
        for pem in [given.as_slice(), renewed] {
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
        let mut config = match identity {
            Some(identity) => {
                let chain: Result<Vec<_>, _> =
                    CertificateDer::pem_slice_iter(identity.chain.as_bytes()).collect();
                let chain = chain.map_err(|e| wrong("own certificate", &e))?;
                let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes())
                    .map_err(|e| wrong("own key", &e))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|e| wrong("own certificate", &e))?
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

/// Nothing is waited for for ever: a connection may die without a word at any moment.
pub(crate) async fn in_time<T>(
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
