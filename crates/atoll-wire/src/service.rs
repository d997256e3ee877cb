//! The gRPC service `atoll.agent.v1.Agent`: a client and a server in the shape tonic's generator gives them, written by hand so that
//! no build needs protoc.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use tonic::body::Body as GrpcBody;
use tonic::client::GrpcService;
use tonic::codegen::{
    Body, BoxFuture, Bytes, GrpcMethod, Service, StdError, async_trait, http, tokio_stream::Stream,
};
use tonic::{IntoRequest, IntoStreamingRequest, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::{Certificates, EnrolRequest, MAX_MESSAGE, RenewRequest, ToAgent, ToCenter};

/// The service's name: all its paths start with `/` and this.
pub const SERVICE_NAME: &str = "atoll.agent.v1.Agent";
/// The path of `Enrol`, the only call that needs no client certificate.
pub const ENROL_PATH: &str = "/atoll.agent.v1.Agent/Enrol";
/// The path of `Renew`, the only call that an expired certificate opens.
pub const RENEW_PATH: &str = "/atoll.agent.v1.Agent/Renew";
/// The path of `Session`.
pub const SESSION_PATH: &str = "/atoll.agent.v1.Agent/Session";

/// The agent's side.
#[derive(Debug, Clone)]
pub struct AgentClient<T> {
    inner: tonic::client::Grpc<T>,
}

impl<T> AgentClient<T>
where
    T: GrpcService<GrpcBody>,
    T::Error: Into<StdError>,
    T::ResponseBody: Body<Data = Bytes> + Send + 'static,
    <T::ResponseBody as Body>::Error: Into<StdError> + Send,
{
    /// Over a channel, or over anything that carries requests.
    pub fn new(channel: T) -> Self {
        let inner = tonic::client::Grpc::new(channel)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE);
        AgentClient { inner }
    }

    /// Over a channel, with the center's `https://host:port` (for transports that need an absolute URI).
    pub fn with_origin(channel: T, origin: http::Uri) -> Self {
        let inner = tonic::client::Grpc::with_origin(channel, origin)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE);
        AgentClient { inner }
    }

    async fn ready(&mut self) -> Result<(), Status> {
        self.inner
            .ready()
            .await
            .map_err(|e| Status::unavailable(format!("the connection is not usable: {}", e.into())))
    }

    /// Asks for the first certificate.
    pub async fn enrol(
        &mut self,
        request: impl IntoRequest<EnrolRequest>,
    ) -> Result<Response<Certificates>, Status> {
        self.ready().await?;
        let mut request = request.into_request();
        request
            .extensions_mut()
            .insert(GrpcMethod::new(SERVICE_NAME, "Enrol"));
        self.inner
            .unary(
                request,
                http::uri::PathAndQuery::from_static(ENROL_PATH),
                ProstCodec::<EnrolRequest, Certificates>::default(),
            )
            .await
    }

    /// Asks for the next certificate.
    pub async fn renew(
        &mut self,
        request: impl IntoRequest<RenewRequest>,
    ) -> Result<Response<Certificates>, Status> {
        self.ready().await?;
        let mut request = request.into_request();
        request
            .extensions_mut()
            .insert(GrpcMethod::new(SERVICE_NAME, "Renew"));
        self.inner
            .unary(
                request,
                http::uri::PathAndQuery::from_static(RENEW_PATH),
                ProstCodec::<RenewRequest, Certificates>::default(),
            )
            .await
    }

    /// Opens the session stream.
    pub async fn session(
        &mut self,
        request: impl IntoStreamingRequest<Message = ToCenter>,
    ) -> Result<Response<Streaming<ToAgent>>, Status> {
        self.ready().await?;
        let mut request = request.into_streaming_request();
        request
            .extensions_mut()
            .insert(GrpcMethod::new(SERVICE_NAME, "Session"));
        self.inner
            .streaming(
                request,
                http::uri::PathAndQuery::from_static(SESSION_PATH),
                ProstCodec::<ToCenter, ToAgent>::default(),
            )
            .await
    }
}

/// The center's side. The caller's certificate is found in the request's extensions, put there by the TLS front.
#[async_trait]
pub trait Agent: Send + Sync + 'static {
    /// Signs a new agent's first certificate.
    async fn enrol(&self, request: Request<EnrolRequest>)
    -> Result<Response<Certificates>, Status>;
    /// Signs an agent's next certificate.
    async fn renew(&self, request: Request<RenewRequest>)
    -> Result<Response<Certificates>, Status>;
    /// What the center sends in a session.
    type SessionStream: Stream<Item = Result<ToAgent, Status>> + Send + 'static;
    /// Holds a session.
    async fn session(
        &self,
        request: Request<Streaming<ToCenter>>,
    ) -> Result<Response<Self::SessionStream>, Status>;
}

/// Serves an [`Agent`] as a `tower` service over HTTP/2 requests.
#[derive(Debug)]
pub struct AgentServer<T> {
    inner: Arc<T>,
}

impl<T> AgentServer<T> {
    /// A server that shares its agent with others.
    pub fn new(inner: Arc<T>) -> Self {
        AgentServer { inner }
    }
}

impl<T> Clone for AgentServer<T> {
    fn clone(&self) -> Self {
        AgentServer {
            inner: self.inner.clone(),
        }
    }
}

impl<T> tonic::server::NamedService for AgentServer<T> {
    const NAME: &'static str = SERVICE_NAME;
}

fn grpc<Req, Resp>() -> tonic::server::Grpc<ProstCodec<Resp, Req>>
where
    Req: prost::Message + Default + Send + 'static,
    Resp: prost::Message + Send + 'static,
{
    tonic::server::Grpc::new(ProstCodec::default())
        .apply_max_message_size_config(Some(MAX_MESSAGE), Some(MAX_MESSAGE))
}

struct Enrol<T>(Arc<T>);
impl<T: Agent> tonic::server::UnaryService<EnrolRequest> for Enrol<T> {
    type Response = Certificates;
    type Future = BoxFuture<Response<Certificates>, Status>;
    fn call(&mut self, request: Request<EnrolRequest>) -> Self::Future {
        let agent = self.0.clone();
        Box::pin(async move { agent.enrol(request).await })
    }
}

struct Renew<T>(Arc<T>);
impl<T: Agent> tonic::server::UnaryService<RenewRequest> for Renew<T> {
    type Response = Certificates;
    type Future = BoxFuture<Response<Certificates>, Status>;
    fn call(&mut self, request: Request<RenewRequest>) -> Self::Future {
        let agent = self.0.clone();
        Box::pin(async move { agent.renew(request).await })
    }
}

struct Session<T>(Arc<T>);
impl<T: Agent> tonic::server::StreamingService<ToCenter> for Session<T> {
    type Response = ToAgent;
    type ResponseStream = T::SessionStream;
    type Future = BoxFuture<Response<T::SessionStream>, Status>;
    fn call(&mut self, request: Request<Streaming<ToCenter>>) -> Self::Future {
        let agent = self.0.clone();
        Box::pin(async move { agent.session(request).await })
    }
}

impl<T, B> Service<http::Request<B>> for AgentServer<T>
where
    T: Agent,
    B: Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<GrpcBody>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let agent = self.inner.clone();
        match request.uri().path() {
            ENROL_PATH => Box::pin(async move { Ok(grpc().unary(Enrol(agent), request).await) }),
            RENEW_PATH => Box::pin(async move { Ok(grpc().unary(Renew(agent), request).await) }),
            SESSION_PATH => {
                Box::pin(async move { Ok(grpc().streaming(Session(agent), request).await) })
            }
            _ => Box::pin(async move { Ok(Status::unimplemented("no such method").into_http()) }),
        }
    }
}
