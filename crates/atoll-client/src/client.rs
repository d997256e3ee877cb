//! Requests and answers.
//!
//! A path given here is everything after the server's base URL, query included: `/api/v1/namespaces?limit=500`.
//! Requests that wait for one answer end after a minute; watches end when the server or the caller ends them,
//! and a silently dead connection is noticed by HTTP/2 pings.

use std::sync::Arc;
use std::time::Duration;

use atoll_kube::status::{Reason, Status};
use bytes::{Buf as _, Bytes, BytesMut};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls_pki_types::ServerName;
use serde_json::Value;

use crate::config::Config;
use crate::connect::Connector;
use crate::credentials::Credentials;
use crate::error::ClientError;
use crate::tls;

/// How long a request with one answer may take.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// A line of a watch longer than this is refused.
const LINE_LIMIT: usize = 64 * 1024 * 1024;

/// The four patch types by content type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patch {
    /// RFC 6902.
    Json,
    /// RFC 7386.
    Merge,
    /// Kubernetes' strategic merge.
    Strategic,
    /// Server-side apply; the path's query needs `fieldManager`.
    Apply,
}

impl Patch {
    /// The request's content type.
    pub fn content_type(self) -> &'static str {
        match self {
            Patch::Json => "application/json-patch+json",
            Patch::Merge => "application/merge-patch+json",
            Patch::Strategic => "application/strategic-merge-patch+json",
            Patch::Apply => "application/apply-patch+yaml",
        }
    }
}

/// A request, when the short forms on [`Client`] are not enough.
#[derive(Clone, Debug)]
pub struct Request {
    /// HTTP method.
    pub method: Method,
    /// Path below the base URL, with query.
    pub path: String,
    /// More headers; `Accept` and `Content-Type` given here win.
    pub headers: HeaderMap,
    /// Body; empty for none.
    pub body: Bytes,
    /// The most bytes of an answer that are read; more is an error.
    pub most: usize,
}

impl Request {
    /// A request without body or further headers.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Request {
            method,
            path: path.into(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            most: usize::MAX,
        }
    }

    /// With this body.
    pub fn body(mut self, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        self.headers
            .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        self.body = body.into();
        self
    }

    /// Reading no more than so many bytes of the answer: for servers that are not trusted.
    pub fn at_most(mut self, bytes: usize) -> Self {
        self.most = bytes;
        self
    }

    /// Asking for this form of the answer.
    pub fn accept(mut self, accept: &'static str) -> Self {
        self.headers
            .insert(ACCEPT, HeaderValue::from_static(accept));
        self
    }
}

/// A complete answer of any code.
#[derive(Debug)]
pub struct Response {
    /// HTTP code.
    pub code: StatusCode,
    /// Headers, `Warning` among them.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

/// A connection pool to one server, with a base URL and credentials.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    /// Scheme, host and port.
    origin: Arc<str>,
    /// Path put before every request's path; no slash at its end.
    base: Arc<str>,
}

struct Shared {
    pool: Pool<Connector, Full<Bytes>>,
    credentials: Credentials,
    user_agent: HeaderValue,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("origin", &self.origin)
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Prepares a client; nothing is sent yet.
    pub fn new(config: &Config) -> Result<Self, ClientError> {
        let server_name = match &config.tls.server_name {
            None => None,
            Some(name) => Some(ServerName::try_from(name.clone()).map_err(|error| {
                ClientError::Config(format!("tls-server-name {name:?}: {error}"))
            })?),
        };
        let connector = Connector {
            tls: Arc::new(tls::client_config(&config.tls)?),
            server_name,
        };
        let pool = Pool::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(90))
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .http2_keep_alive_interval(Duration::from_secs(30))
            .http2_keep_alive_timeout(Duration::from_secs(20))
            .build(connector);
        let (origin, base) = split(&config.server)?;
        let user_agent = HeaderValue::from_str(&config.user_agent)
            .map_err(|_| ClientError::Config("the user agent is not a header value".into()))?;
        let shared = Shared {
            pool,
            credentials: Credentials::new(config.auth.clone()),
            user_agent,
        };
        Ok(Client {
            shared: Arc::new(shared),
            origin: origin.into(),
            base: base.into(),
        })
    }

    /// The same connections and credentials below another path of the same server, such as `/clusters/root:a`.
    pub fn at(&self, base: &str) -> Self {
        Client {
            shared: self.shared.clone(),
            origin: self.origin.clone(),
            base: base.trim_end_matches('/').into(),
        }
    }

    /// Scheme, host and port, without the base path.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The base path.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// GET of an object, a list or anything else that is JSON.
    pub async fn get(&self, path: &str) -> Result<Value, ClientError> {
        self.value(Request::new(Method::GET, path)).await
    }

    /// GET that answers `None` when there is no such object.
    pub async fn find(&self, path: &str) -> Result<Option<Value>, ClientError> {
        match self.get(path).await {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// POST: create.
    pub async fn post(&self, path: &str, object: &Value) -> Result<Value, ClientError> {
        self.value(Request::new(Method::POST, path).body("application/json", object.to_string()))
            .await
    }

    /// PUT: replace.
    pub async fn put(&self, path: &str, object: &Value) -> Result<Value, ClientError> {
        self.value(Request::new(Method::PUT, path).body("application/json", object.to_string()))
            .await
    }

    /// PATCH of the given type. JSON is YAML, so a [`Value`] serves for apply too.
    pub async fn patch(
        &self,
        path: &str,
        kind: Patch,
        patch: &Value,
    ) -> Result<Value, ClientError> {
        self.value(Request::new(Method::PATCH, path).body(kind.content_type(), patch.to_string()))
            .await
    }

    /// DELETE, with DeleteOptions when given.
    pub async fn delete(&self, path: &str, options: Option<&Value>) -> Result<Value, ClientError> {
        let request = Request::new(Method::DELETE, path);
        self.value(match options {
            Some(options) => request.body("application/json", options.to_string()),
            None => request,
        })
        .await
    }

    /// Opens a watch (or any other endless answer) and hands out its lines. The path's query says `watch=true`.
    pub async fn watch(&self, path: &str) -> Result<Lines, ClientError> {
        self.lines(Request::new(Method::GET, path)).await
    }

    /// Sends a request whose answer has no end and hands out its lines.
    pub async fn lines(&self, request: Request) -> Result<Lines, ClientError> {
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, self.send(request))
            .await
            .map_err(|_| self.unreachable("no answer to a watch"))??;
        if !answer.status().is_success() {
            let response = self.collect(answer, usize::MAX).await?;
            return Err(self.refused(&response));
        }
        Ok(Lines {
            body: answer.into_body(),
            buffer: BytesMut::new(),
            scanned: 0,
            ended: false,
            origin: self.origin.clone(),
        })
    }

    /// Sends a request and parses the answer, which has to be good.
    pub async fn value(&self, request: Request) -> Result<Value, ClientError> {
        let response = self.request(request).await?;
        if !response.code.is_success() {
            return Err(self.refused(&response));
        }
        if response.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&response.body).map_err(|error| ClientError::Answer {
            server: self.origin.to_string(),
            why: error.to_string(),
        })
    }

    /// Sends a request and returns the whole answer, whatever its code.
    pub async fn request(&self, request: Request) -> Result<Response, ClientError> {
        let most = request.most;
        let exchange = async { self.collect(self.send(request).await?, most).await };
        tokio::time::timeout(ANSWER_TIMEOUT, exchange)
            .await
            .map_err(|_| self.unreachable("no answer within 60 s"))?
    }

    async fn send(&self, request: Request) -> Result<http::Response<Incoming>, ClientError> {
        let uri: Uri = format!("{}{}{}", self.origin, self.base, request.path)
            .parse()
            .map_err(|error| ClientError::Config(format!("path {:?}: {error}", request.path)))?;
        let mut message = http::Request::new(Full::new(request.body));
        *message.method_mut() = request.method;
        *message.uri_mut() = uri;
        *message.headers_mut() = request.headers;
        let headers = message.headers_mut();
        headers.insert(USER_AGENT, self.shared.user_agent.clone());
        if !headers.contains_key(ACCEPT) {
            headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        }
        if let Some(header) = self.shared.credentials.header().await? {
            headers.insert(AUTHORIZATION, header);
        }
        let answer = self
            .shared
            .pool
            .request(message)
            .await
            .map_err(|error| self.unreachable(&causes(&error)))?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            self.shared.credentials.forget();
        }
        Ok(answer)
    }

    async fn collect(
        &self,
        answer: http::Response<Incoming>,
        most: usize,
    ) -> Result<Response, ClientError> {
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, most)
            .collect()
            .await
            .map_err(|error| self.unreachable(&causes(&*error)))?
            .to_bytes();
        Ok(Response {
            code: head.status,
            headers: head.headers,
            body,
        })
    }

    /// The Status in a refusal; one is made up when the server sent something else.
    fn refused(&self, response: &Response) -> ClientError {
        let status = serde_json::from_slice::<Status>(&response.body)
            .ok()
            .filter(|status| status.code != 0);
        ClientError::Status(Box::new(status.unwrap_or_else(|| {
            let text = String::from_utf8_lossy(&response.body);
            let text = if text.trim().is_empty() {
                "no further explanation".into()
            } else {
                text
            };
            Status::new(
                response.code.as_u16(),
                reason(response.code),
                format!("the server answered {}: {}", response.code, text.trim()),
            )
        })))
    }

    fn unreachable(&self, why: &str) -> ClientError {
        ClientError::Unreachable {
            server: self.origin.to_string(),
            why: why.to_owned(),
        }
    }
}

/// The lines of an endless answer.
pub struct Lines {
    body: Incoming,
    buffer: BytesMut,
    /// Bytes at the buffer's start that are known to hold no line end.
    scanned: usize,
    ended: bool,
    origin: Arc<str>,
}

impl Lines {
    /// The next line without its end, or `None` after the last. Cancel safe.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            if let Some(end) = self.buffer[self.scanned..]
                .iter()
                .position(|&byte| byte == b'\n')
            {
                let line = self.buffer.split_to(self.scanned + end).freeze();
                self.buffer.advance(1);
                self.scanned = 0;
                if line.is_empty() {
                    continue;
                }
                return Ok(Some(line));
            }
            self.scanned = self.buffer.len();
            if self.ended {
                self.scanned = 0;
                let rest = self.buffer.split().freeze();
                return Ok((!rest.is_empty()).then_some(rest));
            }
            if self.scanned > LINE_LIMIT {
                return Err(ClientError::Answer {
                    server: self.origin.to_string(),
                    why: "a line has no end".into(),
                });
            }
            match self.body.frame().await {
                None => self.ended = true,
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => {
                    return Err(ClientError::Unreachable {
                        server: self.origin.to_string(),
                        why: causes(&error),
                    });
                }
            }
        }
    }

    /// The next line parsed.
    pub async fn next_value(&mut self) -> Result<Option<Value>, ClientError> {
        match self.next().await? {
            None => Ok(None),
            Some(line) => {
                serde_json::from_slice(&line)
                    .map(Some)
                    .map_err(|error| ClientError::Answer {
                        server: self.origin.to_string(),
                        why: error.to_string(),
                    })
            }
        }
    }
}

/// Splits a base URL into `https://host:port` and a path without slash at its end.
fn split(server: &str) -> Result<(String, String), ClientError> {
    let wrong = |why: &str| ClientError::Config(format!("server {server:?}: {why}"));
    let uri: Uri = server.parse().map_err(|_| wrong("not a URL"))?;
    if uri.scheme_str() != Some("https") {
        return Err(wrong("only https is spoken"));
    }
    let authority = uri.authority().ok_or_else(|| wrong("no host"))?;
    Ok((
        format!("https://{authority}"),
        uri.path().trim_end_matches('/').to_owned(),
    ))
}

/// The reason that goes with a code, for an answer that is no Status.
fn reason(code: StatusCode) -> Reason {
    match code.as_u16() {
        400 => Reason::BadRequest,
        401 => Reason::Unauthorized,
        403 => Reason::Forbidden,
        404 => Reason::NotFound,
        405 => Reason::MethodNotAllowed,
        409 => Reason::Conflict,
        410 => Reason::Gone,
        429 => Reason::TooManyRequests,
        500 => Reason::InternalError,
        503 => Reason::ServiceUnavailable,
        504 => Reason::Timeout,
        _ => Reason::Unknown,
    }
}

/// An error with its causes, since hyper's own text names none.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn base_urls_are_split_at_the_path() {
        let rows = [
            ("https://h:6443", Some(("https://h:6443", ""))),
            ("https://h:6443/", Some(("https://h:6443", ""))),
            (
                "https://[::1]:6443/clusters/root:a/",
                Some(("https://[::1]:6443", "/clusters/root:a")),
            ),
            ("http://h", None),
            ("h:6443", None),
            ("", None),
        ];
        for (server, expected) in rows {
            let got = split(server).ok();
            assert_eq!(
                got.as_ref().map(|(a, b)| (a.as_str(), b.as_str())),
                expected,
                "{server}"
            );
        }
    }
}
