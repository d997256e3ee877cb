//! Answers: bytes, types and headers.
//!
//! Everything that leaves the server is a [`Reply`]. An error is always a Status; what the client did not ask for
//! (compression of small answers, YAML of errors it cannot read) it does not get.

mod document;
mod gzip;
pub(crate) mod objects;
mod reply_body;
pub(crate) mod watch;

use atoll_kube::status::Status;
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER, VARY, WARNING,
};
use http::{HeaderMap, Response, StatusCode};
use serde::Serialize;

pub(crate) use document::{Documents, Fresh, document};
pub(crate) use gzip::wants_gzip;
pub(crate) use reply_body::{BoxError, ReplyBody};

use crate::request::Encoding;

/// A whole answer.
pub(crate) type Reply = Response<ReplyBody>;

/// An answer of these bytes.
pub(crate) fn bytes(code: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(ReplyBody::from(body.into()));
    *reply.status_mut() = code;
    reply
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

/// Plain text, as the health endpoints speak it.
pub(crate) fn text(code: StatusCode, body: impl Into<Bytes>) -> Reply {
    let mut reply = bytes(code, "text/plain; charset=utf-8", body);
    reply.headers_mut().insert(
        "x-content-type-options",
        HeaderValue::from_static("nosniff"),
    );
    reply
}

/// A value in the encoding the client asked for.
pub(crate) fn value<T: Serialize>(
    code: StatusCode,
    encoding: Encoding,
    value: &T,
) -> Result<Reply, Status> {
    Ok(encoded(code, encoding, to_json(value)?))
}

/// JSON bytes, turned into the encoding the client asked for.
pub(crate) fn encoded(code: StatusCode, encoding: Encoding, json: Bytes) -> Reply {
    let (body, encoding) = match encoding {
        Encoding::Json => (json, Encoding::Json),
        Encoding::Yaml => match to_yaml(&json) {
            Some(yaml) => (yaml, Encoding::Yaml),
            None => (json, Encoding::Json),
        },
    };
    let mut reply = bytes(code, encoding.content_type(), body);
    reply
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    reply
}

/// An error.
pub(crate) fn error(status: &Status, encoding: Encoding) -> Reply {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut reply = encoded(code, encoding, status.to_json().into());
    let wait = status
        .details
        .as_ref()
        .map_or(0, |details| details.retry_after_seconds);
    if wait > 0 {
        reply
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(wait));
    }
    reply
}

/// Adds the `Warning:` headers of Kubernetes: code 299, a quoted text.
pub(crate) fn add_warnings(reply: &mut Reply, warnings: &[String]) {
    /// Beyond this, clients and proxies begin to refuse the headers.
    const MOST: usize = 4096;
    let mut total = 0;
    for warning in warnings {
        let mut text = String::with_capacity(warning.len() + 8);
        text.push_str("299 - \"");
        for letter in warning.chars() {
            match letter {
                '"' | '\\' => text.extend(['\\', letter]),
                letter if letter.is_control() => text.push(' '),
                letter => text.push(letter),
            }
        }
        text.push('"');
        total += text.len();
        if total > MOST {
            return;
        }
        if let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) {
            reply.headers_mut().append(WARNING, value);
        }
    }
}

/// Compresses a large answer for a client that asked for it, as Kubernetes does.
pub(crate) fn compress(reply: &mut Reply, request: &HeaderMap) {
    if !wants_gzip(request) || reply.headers().contains_key(CONTENT_ENCODING) {
        return;
    }
    if reply.body_mut().compress() {
        reply
            .headers_mut()
            .insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        reply
            .headers_mut()
            .append(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}

fn to_json<T: Serialize>(value: &T) -> Result<Bytes, Status> {
    serde_json::to_vec(value)
        .map(Bytes::from)
        .map_err(|error| Status::internal(error.to_string()))
}

fn to_yaml(json: &[u8]) -> Option<Bytes> {
    let value: serde_json::Value = serde_json::from_slice(json).ok()?;
    serde_saphyr::to_string(&value).ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_quoted_and_bounded() {
        let mut reply = text(StatusCode::OK, "");
        add_warnings(
            &mut reply,
            &[
                "say \"hi\"\nthere".to_owned(),
                "x".repeat(5000),
                "never".to_owned(),
            ],
        );
        let values: Vec<_> = reply.headers().get_all(WARNING).iter().collect();
        assert_eq!(values, ["299 - \"say \\\"hi\\\" there\""]);
    }

    #[test]
    fn an_error_says_when_to_come_back() {
        let reply = error(&Status::too_many_requests("busy", 3), Encoding::Json);
        assert_eq!(
            (
                reply.status().as_u16(),
                reply.headers()[RETRY_AFTER].as_bytes()
            ),
            (429, &b"3"[..])
        );
    }
}
