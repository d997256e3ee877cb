//! Requests as a client library sends them, one at a time: for clients that cannot be had here and for what kubectl cannot say.

use std::path::Path;

use atoll_client::{Client, Config, Kubeconfig, Request};
use serde_json::Value;

/// A client of one server, seen from its bare address: paths begin with `/clusters/` or `/services/`.
pub struct Http {
    runtime: tokio::runtime::Runtime,
    client: Client,
}

/// An answer of any code. A body that is no JSON reads as null.
#[derive(Debug)]
pub struct Reply {
    pub code: u16,
    pub content_type: String,
    pub body: Value,
}

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
        let kubeconfig = Kubeconfig::load(&[kubeconfig]).expect("a kubeconfig");
        let config = Config::from_kubeconfig(&kubeconfig, Some(context)).expect("a context");
        Http {
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime"),
            client: Client::new(&config).expect("a client"),
        }
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
        let content_type = answer.headers.get("content-type");
        Reply {
            code: answer.code.as_u16(),
            content_type: content_type
                .and_then(|v| v.to_str().ok())
                .unwrap_or_default()
                .to_owned(),
            body: serde_json::from_slice(&answer.body).unwrap_or_default(),
        }
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
