//! Request bodies: how large, of which type.

use std::time::Duration;

use atoll_kube::protobuf;
use atoll_kube::status::Status;
use atoll_registry::PatchType;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::BodyExt;

/// The largest body read, in bytes; Kubernetes' own limit.
const MAX_BODY: usize = 3 * 1024 * 1024;

/// How an object in a body is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContentType {
    Json,
    Yaml,
    /// What kubectl's typed commands and client-go's typed clients send for Kubernetes' own kinds.
    Protobuf,
}

const OBJECT_TYPES: [&str; 3] = ["application/json", "application/yaml", protobuf::MEDIA_TYPE];
const PATCH_TYPES: [&str; 4] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

fn media_type(headers: &HeaderMap) -> String {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}

/// The type of an object's body; JSON when the client does not say.
pub(crate) fn content_type(headers: &HeaderMap) -> Result<ContentType, Status> {
    match media_type(headers).as_str() {
        "" | "application/json" | "*/*" => Ok(ContentType::Json),
        "application/yaml" => Ok(ContentType::Yaml),
        protobuf::MEDIA_TYPE => Ok(ContentType::Protobuf),
        _ => Err(Status::unsupported_media_type(&OBJECT_TYPES)),
    }
}

/// The kind of patch a body is.
pub(crate) fn patch_type(headers: &HeaderMap) -> Result<PatchType, Status> {
    match media_type(headers).as_str() {
        "application/json-patch+json" => Ok(PatchType::Json),
        "application/merge-patch+json" => Ok(PatchType::Merge),
        "application/strategic-merge-patch+json" => Ok(PatchType::Strategic),
        "application/apply-patch+yaml" => Ok(PatchType::Apply),
        _ => Err(Status::unsupported_media_type(&PATCH_TYPES)),
    }
}

/// How much of a body that nobody wants is read nevertheless, so that its sender gets to see the answer.
const DRAIN_LIMIT: usize = 2 * MAX_BODY;
/// ... and for how long at most.
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// Reads what is left of a body, within limits, and drops it.
pub(crate) async fn drain<B>(body: &mut B)
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    let rest = async {
        let mut read = 0;
        while let Some(Ok(frame)) = body.frame().await {
            read += frame.data_ref().map_or(0, Bytes::len);
            if read > DRAIN_LIMIT {
                return;
            }
        }
    };
    // Past the limits the stream is reset: that is what it is for.
    let _ = tokio::time::timeout(DRAIN_TIME, rest).await;
}

/// Reads a body whole, or 413 as soon as it is known to be too large.
pub(crate) async fn read_body<B>(headers: &HeaderMap, mut body: B) -> Result<Bytes, Status>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > MAX_BODY as u64) {
        return Err(Status::request_entity_too_large(MAX_BODY));
    }
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|error| Status::bad_request(format!("the body could not be read: {error}")))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let so_far = first.as_ref().map_or(0, Bytes::len) + rest.len();
        if so_far + data.len() > MAX_BODY {
            return Err(Status::request_entity_too_large(MAX_BODY));
        }
        match &first {
            None => first = Some(data),
            Some(_) => rest.extend_from_slice(&data),
        }
    }
    Ok(match first {
        // The common case: one frame, no copy.
        Some(first) if rest.is_empty() => first,
        Some(first) => {
            let mut whole = BytesMut::with_capacity(first.len() + rest.len());
            whole.extend_from_slice(&first);
            whole.extend_from_slice(&rest);
            whole.freeze()
        }
        None => Bytes::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Full;

    #[tokio::test]
    async fn a_body_beyond_the_limit_is_refused() {
        let small = read_body(&HeaderMap::new(), Full::new(Bytes::from_static(b"{}"))).await;
        assert_eq!(small.unwrap(), "{}");
        let large = read_body(
            &HeaderMap::new(),
            Full::new(Bytes::from(vec![b' '; MAX_BODY + 1])),
        )
        .await;
        assert_eq!(large.unwrap_err().code, 413);
        let mut announced = HeaderMap::new();
        announced.insert(CONTENT_LENGTH, "9999999999".parse().unwrap());
        assert_eq!(
            read_body(&announced, Full::new(Bytes::new()))
                .await
                .unwrap_err()
                .code,
            413
        );
    }

    #[test]
    fn types() {
        let headers = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, value.parse().unwrap());
            headers
        };
        assert_eq!(content_type(&HeaderMap::new()).unwrap(), ContentType::Json);
        assert_eq!(
            content_type(&headers("application/json; charset=utf-8")).unwrap(),
            ContentType::Json
        );
        assert_eq!(
            content_type(&headers("application/yaml")).unwrap(),
            ContentType::Yaml
        );
        assert_eq!(
            content_type(&headers("application/vnd.kubernetes.protobuf")).unwrap(),
            ContentType::Protobuf
        );
        assert_eq!(content_type(&headers("text/plain")).unwrap_err().code, 415);
        assert_eq!(
            patch_type(&headers("application/apply-patch+yaml")).unwrap(),
            PatchType::Apply
        );
        assert_eq!(
            patch_type(&headers("application/json")).unwrap_err().code,
            415
        );
    }
}
