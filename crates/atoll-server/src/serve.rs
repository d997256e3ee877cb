//! Connections: accepted, unwrapped from TLS, served until they end or the server does.
//!
//! HTTP/2 is set up for very many open watches on few connections: many streams, small send buffers, pings that find
//! dead peers. A connection that does not finish its handshake, or sends no request, does not stay.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::authn::ClientAuthority;
use crate::front::{Front, Peer};

/// Streams a client may have open on one connection; client-go and agents multiplex everything over one.
const STREAMS: u32 = 10_000;
/// What one stream may have waiting to be sent. Bounds the memory of a watch whose client does not read.
const SEND_BUFFER: usize = 16 * 1024;
/// Windows for what clients send: bodies are small, agents' reports are not.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_WAIT: Duration = Duration::from_secs(20);
const HANDSHAKE: Duration = Duration::from_secs(10);
const HEADERS: Duration = Duration::from_secs(30);
/// How long connections get to finish what they are doing when the server stops.
const GRACE: Duration = Duration::from_secs(10);

/// What the connections share.
pub(crate) struct Serving {
    pub(crate) front: Arc<Front>,
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) client_authority: ClientAuthority,
}

/// Accepts until `draining`, then lets what is under way finish.
pub(crate) async fn serve(
    listener: TcpListener,
    serving: Arc<Serving>,
    draining: CancellationToken,
) {
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = draining.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                connections.spawn(connection(stream, serving.clone(), draining.clone()));
            }
            // Out of file descriptors, most likely: others have to end before more can begin.
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(GRACE, connections.wait())
        .await
        .is_err()
    {
        tracing::warn!(left = connections.len(), "connections did not end in time");
    }
}

async fn connection(stream: TcpStream, serving: Arc<Serving>, draining: CancellationToken) {
    let _open = serving.front.metrics.connection();
    // Answers are written whole; waiting to fill a packet only delays them. Where it cannot be set, it works all the same.
    let _ = stream.set_nodelay(true);
    let handshake = tokio::time::timeout(HANDSHAKE, serving.acceptor.accept(stream));
    let tls = match handshake.await {
        Ok(Ok(tls)) => tls,
        Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => return tracing::debug!("TLS handshake took too long"),
    };
    let peer = Arc::new(peer(
        &serving.client_authority,
        tls.get_ref().1.peer_certificates(),
    ));
    let front = serving.front.clone();
    let service = service_fn(move |request: http::Request<Incoming>| {
        let (front, peer) = (front.clone(), peer.clone());
        // Boxed: a stream's task keeps the room of what it was made with, and a watch lasts long after its answer began.
        Box::pin(async move { Ok::<_, Infallible>(front.handle(request, &peer).await) })
    });
    let builder = builder();
    let mut connection =
        std::pin::pin!(builder.serve_connection_with_upgrades(TokioIo::new(tls), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = draining.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended early");
    }
}

fn peer(
    authority: &ClientAuthority,
    chain: Option<&[rustls_pki_types::CertificateDer<'_>]>,
) -> Peer {
    let Some(chain) = chain.filter(|chain| !chain.is_empty()) else {
        return Peer::default();
    };
    Peer {
        identity: authority.identify(chain),
        certificate: Some(Arc::from(chain[0].as_ref())),
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_send_buf_size(SEND_BUFFER)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_WAIT);
    builder
}
