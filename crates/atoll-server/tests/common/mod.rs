//! A server over a store in a temporary directory, and a client of its HTTPS port.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)] // test support
#![allow(dead_code)] // each test file uses its own part

use std::net::SocketAddr;
use std::sync::Arc;

use atoll_kube::{Status, UserInfo};
use atoll_registry::{
    Attributes, Authorizer, ClusterKind, ClusterName, ClusterResolver, Decision, Registry, indexes,
};
use atoll_server::authn::Tokens;
use atoll_server::pki::{Authority, Serving};
use atoll_server::{Layout, Server, ServerBuilder, bind, tls};
use atoll_store::embedded;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;

/// The token of `ann`, who may do everything but impersonate.
pub const ANN: &str = "ann-token";
/// The token of `root`, a master.
pub const ROOT: &str = "root-token";

struct OneCluster;

impl ClusterResolver for OneCluster {
    fn resolve(&self, path: &str) -> Result<ClusterName, Status> {
        match path {
            "one" => Ok(ClusterName::new("one")),
            other => Err(Status::not_found(
                &atoll_kube::GroupResource::new("tenancy.kcp.io", "workspaces"),
                other,
            )),
        }
    }

    fn kind(&self, _cluster: &ClusterName) -> Result<ClusterKind, Status> {
        Ok(ClusterKind::Kubernetes)
    }
}

struct AnnAndMasters;

impl Authorizer for AnnAndMasters {
    fn authorize(&self, asked: &Attributes) -> Decision {
        let user = &asked.user;
        if user.is_in("system:masters") || user.username == "ann" && asked.verb != "impersonate" {
            return Decision::Allow;
        }
        Decision::NoOpinion(String::new())
    }

    fn may_know(&self, user: &Arc<UserInfo>, _: &str) -> bool {
        user.username == "ann"
    }
}

/// A running server and all it stands on.
pub struct Center {
    pub address: SocketAddr,
    pub serving_authority: CertificateDer<'static>,
    pub client_authority: Authority,
    pub registry: Registry,
    pub server: Option<Server>,
}

pub async fn start(layout: Layout) -> Center {
    start_with(layout, |builder| builder).await
}

/// Starts a server, after `more` has had its way with the builder.
pub async fn start_with(
    layout: Layout,
    more: impl FnOnce(ServerBuilder) -> ServerBuilder,
) -> Center {
    // Not removed at the end: the store of a test goes on for a moment after it, and ends the process when its files vanish.
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .unwrap()
        .keep();
    let store = embedded::open(embedded::Options {
        indexes: indexes(),
        ..embedded::Options::new(directory.join("store"))
    })
    .unwrap();
    let registry = Registry::builder(store, Arc::new(OneCluster)).build();
    let mut tokens = Tokens::default();
    tokens.add(ANN, UserInfo::new("ann", ["devs"]));
    tokens.add(ROOT, UserInfo::new("root", ["system:masters"]));
    let serving = Serving::ephemeral(&["localhost".to_owned()]).unwrap();
    let client_authority = Authority::make("clients").unwrap();
    let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    let builder = ServerBuilder::new(layout, registry.clone(), Arc::new(AnnAndMasters))
        .tokens(tokens)
        .client_authorities(vec![client_authority.certificate().unwrap()]);
    let server = more(builder)
        .start(listener, &serving, address.to_string())
        .unwrap();
    Center {
        address,
        serving_authority: serving.chain.last().unwrap().clone(),
        client_authority,
        registry,
        server: Some(server),
    }
}

pub fn single() -> Layout {
    Layout::Single(ClusterName::new("one"))
}

impl Center {
    /// A connection without client certificate.
    pub async fn connect(&self) -> Client {
        self.connect_as(None).await
    }

    pub async fn connect_as(
        &self,
        identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    ) -> Client {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.serving_authority.clone()).unwrap();
        let config = rustls::ClientConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match identity {
            Some((chain, key)) => config.with_client_auth_cert(chain, key).unwrap(),
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let tcp = tokio::net::TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let tls = tokio_rustls::TlsConnector::from(Arc::new(config))
            .connect(name, tcp)
            .await
            .unwrap();
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tls))
                .await
                .unwrap();
        tokio::spawn(connection);
        Client {
            sender,
            token: None,
        }
    }

    pub async fn client(&self, token: &str) -> Client {
        Client {
            token: Some(token.to_owned()),
            ..self.connect().await
        }
    }
}

#[derive(Clone)]
pub struct Client {
    sender: hyper::client::conn::http2::SendRequest<Full<Bytes>>,
    pub token: Option<String>,
}

pub struct Got {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Got {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {:?}", String::from_utf8_lossy(&self.body)))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

impl Client {
    pub async fn open(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> http::Response<Incoming> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("https://localhost{path}"));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        self.sender.clone().send_request(request).await.unwrap()
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Got {
        let (parts, body) = self.open(method, path, headers, body).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Got {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    pub async fn get(&self, path: &str) -> Got {
        self.send(Method::GET, path, &[], "").await
    }

    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Got {
        self.send(Method::GET, path, headers, "").await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Got {
        self.send(
            Method::POST,
            path,
            &[("content-type", "application/json")],
            body.to_string(),
        )
        .await
    }

    /// Opens a watch.
    pub async fn watch(&self, path: &str, headers: &[(&str, &str)]) -> Frames {
        let response = self.open(Method::GET, path, headers, "").await;
        assert_eq!(response.status(), StatusCode::OK);
        Frames {
            body: response.into_body(),
            rest: Vec::new(),
        }
    }
}

/// The frames of a watch.
pub struct Frames {
    body: Incoming,
    rest: Vec<u8>,
}

impl Frames {
    /// The next frame; `None` when the watch has ended.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = self.body.frame().await?.unwrap();
            if let Ok(data) = frame.into_data() {
                self.rest.extend_from_slice(&data);
            }
        }
    }
}
