//! Calls to webhooks over a real connection: whom to believe, how long to wait, how much to read.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use atoll_registry::{Caller as _, Endpoint, EndpointPlace};
use atoll_server::Webhooks;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::PrivatePkcs8KeyDer;

/// What the server answers: by path, an echo, an endless answer, or none.
async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let body = request
        .into_body()
        .collect()
        .await
        .map_err(std::io::Error::other)?
        .to_bytes();
    Ok(Response::new(Full::new(match path.as_str() {
        "/huge" => vec![b'x'; 5 << 20].into(),
        "/never" => std::future::pending().await,
        _ => [query.as_bytes(), b" ", &body].concat().into(),
    })))
}

/// A server with a certificate of its own for 127.0.0.1; its address and that certificate.
async fn serve() -> (String, Vec<u8>) {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(["127.0.0.1".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(connection) = acceptor.accept(connection).await else {
                    return;
                };
                let http = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let _ = http
                    .serve_connection(TokioIo::new(connection), service_fn(answer))
                    .await;
            });
        }
    });
    (format!("https://{address}"), certificate.pem().into_bytes())
}

#[tokio::test]
async fn a_webhook_is_believed_by_its_bundle_waited_for_and_read_within_limits() {
    let (address, pem) = serve().await;
    let webhooks = Webhooks::default();
    let call = async |path: &str, ca: Option<Vec<u8>>| {
        let place = EndpointPlace::Url(format!("{address}{path}"));
        let endpoint = Endpoint { place, ca };
        webhooks
            .call(&endpoint, Bytes::from_static(b"{}"), Duration::from_secs(1))
            .await
    };
    let (code, body) = call("/ok", Some(pem.clone())).await.unwrap();
    assert_eq!((code, &body[..]), (200, &b"timeout=1s {}"[..]));
    let stranger = rcgen::KeyPair::generate().unwrap();
    let stranger = rcgen::CertificateParams::default()
        .self_signed(&stranger)
        .unwrap();
    let refused = call("/ok", Some(stranger.pem().into_bytes()))
        .await
        .unwrap_err();
    assert!(refused.contains("certificate"), "{refused}");
    let refused = call("/huge", Some(pem.clone())).await.unwrap_err();
    assert!(refused.contains("limit"), "{refused}");
    let refused = call("/never", Some(pem)).await.unwrap_err();
    assert_eq!(
        refused,
        format!("Post \"{address}/never?timeout=1s\": context deadline exceeded")
    );
    let service = EndpointPlace::Service {
        name: "s".into(),
        namespace: "n".into(),
        port: 443,
        path: "/p".into(),
    };
    let refused = webhooks
        .call(
            &Endpoint {
                place: service,
                ca: None,
            },
            Bytes::new(),
            Duration::from_secs(1),
        )
        .await;
    assert_eq!(
        refused.unwrap_err(),
        "Post \"https://s.n.svc:443/p?timeout=1s\": service \"s\" not found"
    );
}
