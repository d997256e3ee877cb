//! A lean HTTP/2 client: no object model, no retries, as little work as possible beside the server that is measured.

use std::{future::Future, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use atoll_client::{Auth, Config};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Method, Request, Uri,
    body::Incoming,
    client::conn::http2::{self, SendRequest},
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Longest wait for any one answer.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server as one user sees it.
#[derive(Clone)]
pub(crate) struct Target {
    authority: String,
    connector: TlsConnector,
    name: ServerName<'static>,
    authorization: Option<HeaderValue>,
}

impl Target {
    /// The server and user of a kubeconfig's context.
    pub(crate) fn new(config: &Config) -> anyhow::Result<Self> {
        let uri: Uri = config.server.parse().context("the server's URL")?;
        let authority = uri.authority().context("the server's URL names no host")?;
        let mut roots = RootCertStore::empty();
        let bundle = config
            .tls
            .ca
            .as_deref()
            .context("the kubeconfig has no certificate authority")?;
        for certificate in CertificateDer::pem_slice_iter(bundle) {
            roots.add(certificate.context("the certificate authority")?)?;
        }
        let builder =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()?
                .with_root_certificates(roots);
        let mut tls = match &config.tls.identity {
            Some((certificate, key)) => {
                let chain =
                    CertificateDer::pem_slice_iter(certificate).collect::<Result<Vec<_>, _>>()?;
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key)?)?
            }
            None => builder.with_no_client_auth(),
        };
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let authorization = match &config.auth {
            Auth::Token(token) => Some(bearer(token)?),
            _ => None,
        };
        Ok(Target {
            authority: authority.to_string(),
            name: ServerName::try_from(authority.host().to_owned())?,
            connector: TlsConnector::from(Arc::new(tls)),
            authorization,
        })
    }

    /// The same server for the owner of this token.
    pub(crate) fn as_user(&self, token: &str) -> anyhow::Result<Self> {
        Ok(Target {
            authorization: Some(bearer(token)?),
            ..self.clone()
        })
    }

    /// Opens a connection.
    pub(crate) async fn connect(&self) -> anyhow::Result<Connection> {
        let tcp = TcpStream::connect(&self.authority)
            .await
            .context("cannot connect")?;
        tcp.set_nodelay(true)?;
        let stream = self
            .connector
            .connect(self.name.clone(), tcp)
            .await
            .context("TLS")?;
        let mut builder = http2::Builder::new(TokioExecutor::new());
        // So large that this side never holds the server back.
        builder
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(64 << 20);
        let (sender, connection) = builder
            .handshake(TokioIo::new(stream))
            .await
            .context("HTTP/2")?;
        tokio::spawn(connection);
        Ok(Connection {
            target: Arc::new(self.clone()),
            sender,
        })
    }

    /// Opens several connections.
    pub(crate) async fn connections(&self, count: usize) -> anyhow::Result<Vec<Connection>> {
        let mut all = Vec::with_capacity(count);
        for _ in 0..count {
            all.push(self.connect().await?);
        }
        Ok(all)
    }
}

fn bearer(token: &str) -> anyhow::Result<HeaderValue> {
    HeaderValue::from_str(&format!("Bearer {token}")).context("the token")
}

/// One HTTP/2 connection; clones share it.
#[derive(Clone)]
pub(crate) struct Connection {
    target: Arc<Target>,
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    /// Sends a request and returns the body of a 2xx answer as it comes; anything else is an error with the server's words.
    async fn open(
        &self,
        method: Method,
        path: &str,
        content_type: &'static str,
        body: Bytes,
    ) -> anyhow::Result<Incoming> {
        let uri = Uri::builder()
            .scheme("https")
            .authority(self.target.authority.as_str())
            .path_and_query(path)
            .build()?;
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, "atoll-bench");
        if let Some(authorization) = &self.target.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, content_type);
        }
        let answer = self
            .sender
            .clone()
            .send_request(request.body(Full::new(body))?)
            .await?;
        let status = answer.status();
        let body = answer.into_body();
        if status.is_success() {
            return Ok(body);
        }
        let words = body.collect().await?.to_bytes();
        bail!("{path}: {status} {}", String::from_utf8_lossy(&words))
    }

    /// A request whose answer matters only by having come, whole.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &'static str,
        body: Bytes,
    ) -> anyhow::Result<()> {
        patiently(async {
            let mut body = self.open(method, path, content_type, body).await?;
            while let Some(frame) = body.frame().await {
                frame?;
            }
            Ok(())
        })
        .await
    }

    /// POST of JSON.
    pub(crate) async fn post(&self, path: &str, body: impl Into<Bytes>) -> anyhow::Result<()> {
        self.send(Method::POST, path, "application/json", body.into())
            .await
    }

    /// The answer to a GET.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Bytes> {
        patiently(async {
            let body = self.open(Method::GET, path, "", Bytes::new()).await?;
            Ok(body.collect().await?.to_bytes())
        })
        .await
    }

    /// The answer to a GET, as JSON.
    pub(crate) async fn json(&self, path: &str) -> anyhow::Result<serde_json::Value> {
        Ok(serde_json::from_slice(&self.get(path).await?)?)
    }

    /// The newest revision, as a list of this collection tells it.
    pub(crate) async fn revision(&self, collection: &str) -> anyhow::Result<String> {
        let list = self.json(&format!("{collection}?limit=1")).await?;
        let revision = list
            .pointer("/metadata/resourceVersion")
            .and_then(|value| value.as_str());
        Ok(revision.context("the list has no revision")?.to_owned())
    }

    /// A watch, open once this returns.
    pub(crate) async fn watch(&self, path: &str) -> anyhow::Result<Watch> {
        let body = patiently(self.open(Method::GET, path, "", Bytes::new())).await?;
        Ok(Watch {
            body,
            rest: Vec::new(),
            at: 0,
        })
    }
}

async fn patiently<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::time::timeout(PATIENCE, work)
        .await
        .unwrap_or_else(|_| bail!("no answer within {PATIENCE:?}"))
}

/// An open watch: its events as lines.
pub(crate) struct Watch {
    body: Incoming,
    rest: Vec<u8>,
    at: usize,
}

impl Watch {
    /// The next event's bytes; an error when the server ends the stream.
    pub(crate) async fn next(&mut self) -> anyhow::Result<&[u8]> {
        loop {
            if let Some(length) = self.rest[self.at..].iter().position(|byte| *byte == b'\n') {
                let start = self.at;
                self.at += length + 1;
                return Ok(&self.rest[start..start + length]);
            }
            self.rest.drain(..self.at);
            self.at = 0;
            // Most watches are idle most of the time: hold nothing for them.
            if self.rest.is_empty() {
                self.rest = Vec::new();
            }
            let frame = self
                .body
                .frame()
                .await
                .context("the server ended a watch")??;
            if let Some(data) = frame.data_ref() {
                self.rest.extend_from_slice(data);
            }
        }
    }
}
