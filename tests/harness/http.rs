//! Requests as a client library sends them, one at a time: for clients that cannot be had here and for what kubectl cannot say.

use std::path::Path;

use atoll_client::{Auth, Client, Config, Kubeconfig, Request, Response};
use serde_json::Value;

/// A client of one server, seen from its bare address: paths begin with `/clusters/` or `/services/`.
pub struct Http {
    runtime: tokio::runtime::Runtime,
    client: Client,
}

/// An answer of any code. A body that is no JSON reads as null.
#[derive(Clone, Debug)]
pub struct Reply {
    pub code: u16,
    pub content_type: String,
    /// All headers but those that differ from one answer to the next.
    pub headers: Vec<String>,
    pub text: String,
    pub body: Value,
}

/// A request to be sent with others.
#[derive(Clone, Debug)]
pub struct Ask {
    method: &'static str,
    path: String,
    accept: &'static str,
    headers: Vec<(String, String)>,
    body: String,
}

impl Ask {
    pub fn new(method: &'static str, path: &str) -> Self {
        Ask {
            method,
            path: path.to_owned(),
            accept: "application/json",
            headers: Vec::new(),
            body: String::new(),
        }
    }

    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    pub fn accept(mut self, accept: &'static str) -> Self {
        self.accept = accept;
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn body(mut self, kind: &str, body: &Value) -> Self {
        self.body = body.to_string();
        self.header("content-type", kind)
    }

    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body)
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    /// The same below another path.
    pub fn below(&self, place: &str) -> Self {
        Ask {
            path: format!("{place}{}", self.path),
            ..self.clone()
        }
    }
}

/// Requests on their way.
pub struct Begun(Vec<tokio::task::JoinHandle<Reply>>);

impl Reply {
    /// The body of an answer of this code; panics with the whole answer when it is another.
    #[track_caller]
    pub fn expect(self, code: u16) -> Value {
        assert_eq!(self.code, code, "{}", self.body);
        self.body
    }
}

impl Http {
    /// With the credentials of a context whose server is the bare address: `base` (the admin) or `shard-base` (a master, whose
    /// token outlives a restart).
    pub fn new(kubeconfig: &Path, context: &str) -> Self {
        Self::of(&Self::config(kubeconfig, context))
    }

    /// With the server of a context and a bearer token.
    pub fn with_token(kubeconfig: &Path, context: &str, token: &str) -> Self {
        let mut config = Self::config(kubeconfig, context);
        config.auth = Auth::Token(token.to_owned());
        config.tls.identity = None;
        Self::of(&config)
    }

    fn config(kubeconfig: &Path, context: &str) -> Config {
        let kubeconfig = Kubeconfig::load(&[kubeconfig]).expect("a kubeconfig");
        Config::from_kubeconfig(&kubeconfig, Some(context)).expect("a context")
    }

    fn of(config: &Config) -> Self {
        Http {
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .expect("a runtime"),
            client: Client::new(config).expect("a client"),
        }
    }

    /// Sends all of them, many at once; the answers in the same order.
    #[track_caller]
    pub fn send_all(&self, asks: &[Ask]) -> Vec<Reply> {
        const AT_ONCE: usize = 64;
        let chunks = asks.chunks(AT_ONCE);
        chunks
            .flat_map(|chunk| self.finish(self.begin_all(chunk)))
            .collect()
    }

    /// Sends all of them at once, and does not wait.
    pub fn begin_all(&self, asks: &[Ask]) -> Begun {
        let begin = |ask: &Ask| {
            let (client, ask) = (self.client.clone(), ask.clone());
            self.runtime.spawn(async move {
                let mut request = Request::new(ask.method.parse().expect("a method"), &ask.path)
                    .accept(ask.accept);
                request.body = ask.body.into();
                for (name, value) in &ask.headers {
                    let name: ::http::HeaderName = name.parse().expect("a header's name");
                    let value = ::http::HeaderValue::from_str(value).expect("a header's value");
                    request.headers.insert(name, value);
                }
                let answer = client.request(request).await;
                reply(answer.unwrap_or_else(|e| panic!("{} {}: {e}", ask.method, ask.path)))
            })
        };
        Begun(asks.iter().map(begin).collect())
    }

    /// Waits for the answers.
    #[track_caller]
    pub fn finish(&self, begun: Begun) -> Vec<Reply> {
        let all = async {
            let mut replies = Vec::with_capacity(begun.0.len());
            for task in begun.0 {
                replies.push(task.await.expect("an answer"));
            }
            replies
        };
        self.runtime.block_on(all)
    }

    /// Sends a request and waits for the answer; panics when there is none.
    #[track_caller]
    pub fn send(&self, method: &str, path: &str, accept: &'static str, body: &Value) -> Reply {
        let mut request = Request::new(method.parse().expect("a method"), path).accept(accept);
        if !body.is_null() {
            let kind = match method {
                "PATCH" => "application/merge-patch+json",
                _ => "application/json",
            };
            request = request.body(kind, body.to_string());
        }
        let answer = self
            .runtime
            .block_on(self.client.request(request))
            .unwrap_or_else(|e| panic!("{method} {path}: {e}"));
        reply(answer)
    }

    /// GET, for JSON.
    #[track_caller]
    pub fn get(&self, path: &str) -> Reply {
        self.send("GET", path, "application/json, */*", &Value::Null)
    }

    /// POST of JSON.
    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Reply {
        self.send("POST", path, "application/json, */*", body)
    }
}

fn reply(answer: Response) -> Reply {
    let header = |name: &str| {
        let value = answer.headers.get(name);
        value.and_then(|v| v.to_str().ok()).unwrap_or_default()
    };
    let same = answer
        .headers
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "date" | "audit-id" | "content-length"));
    Reply {
        code: answer.code.as_u16(),
        content_type: header("content-type").to_owned(),
        headers: same.map(|(n, v)| format!("{n}: {v:?}")).collect(),
        text: String::from_utf8_lossy(&answer.body).into_owned(),
        body: serde_json::from_slice(&answer.body).unwrap_or_default(),
    }
}
