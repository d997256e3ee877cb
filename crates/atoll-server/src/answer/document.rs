//! Documents that are the same for all who share a surface: discovery and OpenAPI.
//!
//! A document is made once per surface and form and kept within a byte budget. Its ETag is the hash of its bytes, so a
//! client that has it already is told so.

use std::sync::Arc;

use atoll_kube::status::Status;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH, VARY};
use http::{HeaderMap, Response, StatusCode};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};

use super::{Reply, ReplyBody};

/// A made document.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    pub(crate) bytes: Bytes,
    /// Hash of the bytes, in upper-case hex as Kubernetes shows it.
    pub(crate) hash: Arc<str>,
}

impl Document {
    pub(crate) fn new(bytes: Bytes) -> Self {
        let hash = hex::encode_upper(Sha256::digest(&bytes)).into();
        Self { bytes, hash }
    }
}

/// The documents of the surfaces in use, within a byte budget.
pub(crate) struct Documents {
    cache: Cache<String, Document, ByBytes>,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<String, Document> for ByBytes {
    fn weight(&self, key: &String, document: &Document) -> u64 {
        (key.len() + document.bytes.len() + 128) as u64
    }
}

impl Documents {
    pub(crate) fn new(budget: u64) -> Self {
        Self {
            cache: Cache::with_weighter(256, budget, ByBytes),
        }
    }

    /// The document of this surface and form, made when it is not there.
    pub(crate) fn get(
        &self,
        surface: &str,
        form: &str,
        make: impl FnOnce() -> Result<Bytes, Status>,
    ) -> Result<Document, Status> {
        let key = format!("{surface} {form}");
        if let Some(document) = self.cache.get(&key) {
            return Ok(document);
        }
        let document = Document::new(make()?);
        self.cache.insert(key, document.clone());
        Ok(document)
    }
}

/// How long a client may go on using a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fresh {
    /// It has to ask again each time.
    AskAgain,
    /// Its URL names its content.
    Forever,
}

/// The answer that carries a document, or 304 when the client has it.
pub(crate) fn document(
    document: &Document,
    content_type: &'static str,
    fresh: Fresh,
    request: &HeaderMap,
) -> Reply {
    let etag = format!("\"{}\"", document.hash);
    let known = request
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|tag| tag.trim().trim_start_matches("W/"))
        .any(|tag| tag == etag || tag == "*");
    let mut reply = Response::new(ReplyBody::from(if known {
        Bytes::new()
    } else {
        document.bytes.clone()
    }));
    let headers = reply.headers_mut();
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        headers.insert(ETAG, etag);
    }
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    let cache = match fresh {
        Fresh::AskAgain => "public",
        Fresh::Forever => "public, immutable, max-age=31536000",
    };
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    if known {
        *reply.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_document_is_not_sent_again() {
        let made = Document::new(Bytes::from_static(b"{}"));
        let mut request = HeaderMap::new();
        let first = document(&made, "application/json", Fresh::AskAgain, &request);
        assert_eq!(first.status(), StatusCode::OK);
        request.insert(IF_NONE_MATCH, first.headers()[ETAG].clone());
        assert_eq!(
            document(&made, "application/json", Fresh::AskAgain, &request).status(),
            StatusCode::NOT_MODIFIED
        );
        let other = Document::new(Bytes::from_static(b"{\"a\":1}"));
        assert_eq!(
            document(&other, "application/json", Fresh::AskAgain, &request).status(),
            StatusCode::OK
        );
    }

    #[test]
    fn documents_are_made_once_per_surface_and_form() {
        let documents = Documents::new(1 << 20);
        let made = std::cell::Cell::new(0);
        let make = || {
            made.set(made.get() + 1);
            Ok(Bytes::from_static(b"{}"))
        };
        documents.get("a", "api", make).unwrap();
        documents.get("a", "api", make).unwrap();
        documents.get("a", "apis", make).unwrap();
        documents.get("b", "api", make).unwrap();
        assert_eq!(made.get(), 3);
    }
}
