//! Calls to webhooks: HTTPS, a deadline, and no more of an answer than is of use.
//!
//! Connections are kept per address and authority, and few of them: what is not used goes.

use std::time::Duration;

use async_trait::async_trait;
use atoll_client::{Client, ClientError, Config, Request};
use atoll_registry::{Caller, Endpoint, EndpointPlace};
use bytes::Bytes;
use http::Method;
use quick_cache::sync::Cache;

/// Servers that connections are kept to.
const SERVERS: usize = 256;

/// The largest answer that is read: a patch may be as large as an object.
const LARGEST: usize = 4 << 20;

/// Makes the calls.
pub struct Webhooks {
    clients: Cache<(String, Option<Vec<u8>>), Client>,
}

impl Default for Webhooks {
    fn default() -> Self {
        Self {
            clients: Cache::new(SERVERS),
        }
    }
}

impl Webhooks {
    fn client(&self, origin: &str, ca: Option<&Vec<u8>>) -> Result<Client, ClientError> {
        let key = (origin.to_owned(), ca.cloned());
        if let Some(client) = self.clients.get(&key) {
            return Ok(client);
        }
        let mut config = Config::new(origin);
        config.tls.ca = ca.cloned();
        "kube-apiserver-admission".clone_into(&mut config.user_agent);
        let client = Client::new(&config)?;
        self.clients.insert(key, client.clone());
        Ok(client)
    }
}

/// Scheme, host and port of an URL, and its path.
fn split(url: &str) -> (&str, &str) {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find('/').map_or(url.len(), |at| host + at);
    url.split_at(end)
}

#[async_trait]
impl Caller for Webhooks {
    async fn call(
        &self,
        endpoint: &Endpoint,
        body: Bytes,
        timeout: Duration,
    ) -> Result<(u16, Bytes), String> {
        let query = format!("timeout={}s", timeout.as_secs());
        let url = match &endpoint.place {
            EndpointPlace::Url(url) => url,
            // There is no network of Services here.
            EndpointPlace::Service {
                name,
                namespace,
                port,
                path,
            } => {
                return Err(format!(
                    "Post \"https://{name}.{namespace}.svc:{port}{path}?{query}\": service \"{name}\" not found"
                ));
            }
        };
        let (origin, path) = split(url);
        let wrong = |why: String| format!("Post \"{url}?{query}\": {why}");
        let client = self
            .client(origin, endpoint.ca.as_ref())
            .map_err(|e| wrong(e.to_string()))?;
        let path = if path.is_empty() { "/" } else { path };
        let request = Request::new(Method::POST, format!("{path}?{query}"))
            .body("application/json", body)
            .at_most(LARGEST);
        let answer = tokio::time::timeout(timeout, client.request(request)).await;
        match answer {
            Ok(Ok(answer)) => Ok((answer.code.as_u16(), answer.body)),
            Ok(Err(ClientError::Unreachable { why, .. })) => Err(wrong(why)),
            Ok(Err(error)) => Err(wrong(error.to_string())),
            Err(_) => Err(wrong("context deadline exceeded".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn urls_are_split_at_their_path() {
        for (url, parts) in [
            ("https://a.b/c/d", ("https://a.b", "/c/d")),
            ("https://a.b:8443", ("https://a.b:8443", "")),
            ("https://[::1]:1/", ("https://[::1]:1", "/")),
        ] {
            assert_eq!(split(url), parts);
        }
    }
}
