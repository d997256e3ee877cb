//! The client against a small HTTPS server: identities, refusals, watches.

#![allow(clippy::unwrap_used)] // a test that cannot set itself up should end

use std::convert::Infallible;
use std::sync::Arc;

use atoll_client::{Auth, Client, Config, Kubeconfig, Patch};
use base64::Engine as _;
use bytes::Bytes;
use futures::StreamExt as _;
use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use rustls_pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

struct Server {
    url: String,
    ca: Vec<u8>,
}

/// Answers what it was asked; `/watch` streams lines cut at odd places, `/missing` and `/broken` refuse.
async fn start() -> Server {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_no_client_auth()
    .with_single_cert(vec![made.cert.der().clone()], key)
    .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "https://localhost:{}/clusters/root",
        listener.local_addr().unwrap().port()
    );
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(tls) = acceptor.accept(tcp).await else {
                    return;
                };
                let _ = Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(tls), service_fn(answer))
                    .await;
            });
        }
    });
    Server {
        url,
        ca: made.cert.pem().into_bytes(),
    }
}

async fn answer(
    request: http::Request<Incoming>,
) -> Result<http::Response<BoxBody<Bytes, Infallible>>, Infallible> {
    let header = |name: &str| {
        request
            .headers()
            .get(name)
            .and_then(|v| v.to_str().ok())
            .unwrap_or("")
            .to_owned()
    };
    let (authorization, content_type) = (header("authorization"), header("content-type"));
    let method = request.method().to_string();
    let path = request
        .uri()
        .path_and_query()
        .map(ToString::to_string)
        .unwrap_or_default();
    let body = request
        .into_body()
        .collect()
        .await
        .map(|b| b.to_bytes())
        .unwrap_or_default();
    let (code, pieces): (u16, Vec<String>) = match path.rsplit('/').next().unwrap_or("") {
        "missing" => (404, vec![json!({"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404,
            "message": "configmaps \"missing\" not found"}).to_string()]),
        "broken" => (503, vec!["upstream is away".to_owned()]),
        "watch" => (200, vec!["{\"n\":".into(), "1}\n\n{\"n\":2}\n{".into(), "\"n\":3}".into()]),
        _ => (200, vec![json!({"method": method, "path": path, "authorization": authorization, "type": content_type,
            "body": serde_json::from_slice::<Value>(&body).unwrap_or_default()}).to_string()]),
    };
    let frames = futures::stream::iter(pieces).map(|piece| Ok(Frame::data(Bytes::from(piece))));
    Ok(http::Response::builder()
        .status(code)
        .body(BodyExt::boxed(StreamBody::new(frames)))
        .unwrap())
}

fn config(server: &Server) -> Config {
    Config::with_token(&server.url, Some(server.ca.clone()), "secret")
}

#[tokio::test]
async fn requests_carry_path_credentials_and_type() {
    let server = start().await;
    let client = Client::new(&config(&server)).unwrap();
    let seen = client.get("/api/v1/x?limit=1").await.unwrap();
    assert_eq!(
        (&seen["method"], &seen["path"]),
        (&json!("GET"), &json!("/clusters/root/api/v1/x?limit=1"))
    );
    assert_eq!(seen["authorization"], "Bearer secret");
    let seen = client
        .at("/clusters/root:a/")
        .patch("/x", Patch::Apply, &json!({"a": 1}))
        .await
        .unwrap();
    assert_eq!(
        (&seen["path"], &seen["type"]),
        (
            &json!("/clusters/root:a/x"),
            &json!("application/apply-patch+yaml")
        )
    );
    assert_eq!(seen["body"], json!({"a": 1}));
    assert_eq!(client.delete("/x", None).await.unwrap()["method"], "DELETE");
    let mut basic = config(&server);
    basic.auth = Auth::Basic("u".into(), "p".into());
    assert_eq!(
        Client::new(&basic).unwrap().get("/x").await.unwrap()["authorization"],
        "Basic dTpw"
    );
}

#[tokio::test]
async fn refusals_are_statuses_whatever_the_server_sent() {
    let server = start().await;
    let client = Client::new(&config(&server)).unwrap();
    let missing = client.get("/missing").await.unwrap_err();
    assert!(missing.is_not_found());
    assert_eq!(missing.to_string(), "configmaps \"missing\" not found");
    assert_eq!(client.find("/missing").await.unwrap(), None);
    let broken = client.get("/broken").await.unwrap_err();
    assert!(
        broken.is_temporary() && broken.to_string().contains("upstream is away"),
        "{broken}"
    );
}

#[tokio::test]
async fn watches_are_lines_however_they_arrive() {
    let server = start().await;
    let client = Client::new(&config(&server)).unwrap();
    let mut lines = client.watch("/watch").await.unwrap();
    let mut seen = Vec::new();
    while let Some(value) = lines.next_value().await.unwrap() {
        seen.push(value["n"].as_u64().unwrap());
    }
    assert_eq!(seen, [1, 2, 3]);
    assert!(
        client
            .watch("/missing")
            .await
            .is_err_and(|error| error.is_not_found())
    );
}

#[tokio::test]
async fn only_the_named_authority_is_believed() {
    let server = start().await;
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let mut wrong = config(&server);
    wrong.tls.ca = Some(other.cert.pem().into_bytes());
    let refused = Client::new(&wrong).unwrap().get("/x").await.unwrap_err();
    assert!(
        refused.is_temporary() && refused.to_string().contains("certificate"),
        "{refused}"
    );
    wrong.tls.insecure = true;
    assert!(Client::new(&wrong).unwrap().get("/x").await.is_ok());
}

#[tokio::test]
async fn a_kubeconfig_says_it_all() {
    let server = start().await;
    let ca = base64::engine::general_purpose::STANDARD.encode(&server.ca);
    let text = format!(
        "current-context: c\nclusters: [{{name: k, cluster: {{server: '{}', certificate-authority-data: {ca}}}}}]\n\
         contexts: [{{name: c, context: {{cluster: k, user: u, namespace: ns}}}}]\n\
         users: [{{name: u, user: {{exec: {{apiVersion: client.authentication.k8s.io/v1, command: sh,\n\
         args: ['-c', 'echo ''{{\"status\":{{\"token\":\"printed\"}}}}'''] }}}}}}]\n",
        server.url
    );
    let config = Config::from_kubeconfig(&Kubeconfig::from_text(&text).unwrap(), None).unwrap();
    assert_eq!(config.namespace.as_deref(), Some("ns"));
    assert_eq!(
        Client::new(&config).unwrap().get("/x").await.unwrap()["authorization"],
        "Bearer printed"
    );
    let unknown =
        Config::from_kubeconfig(&Kubeconfig::from_text(&text).unwrap(), Some("nope")).unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "the kubeconfig has no context \"nope\"; it has c"
    );
}
