//! The agents' endpoint: gRPC on the server's own port.
//!
//! The service comes from the fleet. The server only hands it the requests and the connection's client certificate,
//! unjudged: whether it is one of the fleet's, still valid, or good for nothing but its own renewal, the fleet decides.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt};

use crate::answer::{Reply, ReplyBody};
use crate::front::Peer;

type Inner =
    BoxCloneSyncService<Request<tonic::body::Body>, Response<tonic::body::Body>, Infallible>;

/// Puts a client certificate (DER) where the service looks for it.
type Attach = Arc<dyn Fn(&mut http::Extensions, Arc<[u8]>) + Send + Sync>;

/// A mounted gRPC service.
#[derive(Clone)]
pub struct AgentService {
    inner: Inner,
    attach: Attach,
}

impl AgentService {
    /// Mounts `service`; `attach` puts a client certificate (DER) where the service looks for it.
    pub fn new<S>(
        service: S,
        attach: impl Fn(&mut http::Extensions, Arc<[u8]>) + Send + Sync + 'static,
    ) -> Self
    where
        S: Service<
                Request<tonic::body::Body>,
                Response = Response<tonic::body::Body>,
                Error = Infallible,
            > + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        Self {
            inner: BoxCloneSyncService::new(service),
            attach: Arc::new(attach),
        }
    }

    pub(crate) async fn call<B>(&self, request: Request<B>, peer: &Peer) -> Reply
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<tonic::codegen::StdError>,
    {
        let mut request = request.map(tonic::body::Body::new);
        if let Some(certificate) = &peer.certificate {
            (self.attach)(request.extensions_mut(), certificate.clone());
        }
        match self.inner.clone().oneshot(request).await {
            Ok(response) => response.map(ReplyBody::from),
            Err(never) => match never {},
        }
    }
}

impl std::fmt::Debug for AgentService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AgentService")
    }
}
