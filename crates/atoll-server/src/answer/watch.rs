//! A watch on the wire: one JSON frame a line, for as long as the client listens.
//!
//! On the path of every event. A frame is made once per (event, version, form, kind of change) and shared by all its
//! watchers through the event's memo; an idle watch holds its registry stream, a timer and a place in the server's
//! drain, nothing else.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use atoll_kube::status::Status;
use atoll_kube::table::IncludeObject;
use atoll_registry::{EventKind, Object, WatchItem, WatchStream};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::objects::{Show, object_json};
use super::{Reply, ReplyBody};
use crate::metrics::Running;
use crate::request::Form;

/// A watch without `timeoutSeconds` lasts this long, and up to as long again: so that they do not all end together.
const SHORTEST: Duration = Duration::from_secs(30 * 60);

/// The answer that carries a watch until it ends by itself, by its time, or with the server.
pub(crate) fn reply(
    stream: WatchStream,
    show: Show,
    timeout_seconds: Option<u64>,
    draining: CancellationToken,
    running: Running,
) -> Reply {
    let lasts = timeout_seconds.map_or_else(
        || SHORTEST + SHORTEST.mul_f64(rand::random_range(0.0..1.0)),
        Duration::from_secs,
    );
    let watching = Watching {
        stream,
        show,
        until: Instant::now() + lasts,
        draining,
        over: false,
        _running: running,
    };
    let frames = futures::stream::unfold(watching, |mut watching| async move {
        let frame = watching.next().await?;
        Some((Ok(frame), watching))
    });
    let mut reply = Response::new(ReplyBody::stream(frames));
    *reply.status_mut() = StatusCode::OK;
    reply
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    reply
}

struct Watching {
    stream: WatchStream,
    show: Show,
    until: Instant,
    draining: CancellationToken,
    over: bool,
    _running: Running,
}

impl Watching {
    /// The next frame; `None` when the watch is over.
    async fn next(&mut self) -> Option<Bytes> {
        if self.over {
            return None;
        }
        let item = tokio::select! {
            // The ends first: a watch that always has an event waiting ends too.
            biased;
            () = self.draining.cancelled() => return None,
            () = tokio::time::sleep_until(self.until) => return None,
            item = self.stream.next() => item?,
        };
        let frame = match item {
            WatchItem::Event {
                kind,
                object,
                event,
            } => match event {
                Some(event) if self.show.overlay.is_none() => self.shared(kind, &object, &event),
                _ => frame(kind, &object, &self.fresh()),
            },
            WatchItem::Bookmark {
                revision,
                initial_end,
                served,
            } => {
                let mut metadata =
                    json!({ "creationTimestamp": null, "resourceVersion": revision.0.to_string() });
                if initial_end {
                    metadata["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
                }
                let (api_version, kind) = match self.show.form {
                    Form::Partial(meta) => (
                        format!("meta.k8s.io/{}", meta.version()),
                        "PartialObjectMetadata",
                    ),
                    Form::Object | Form::Table(_) => (served.api_version(), served.kind()),
                };
                let object =
                    json!({ "kind": kind, "apiVersion": api_version, "metadata": metadata });
                Ok(wrap("BOOKMARK", object.to_string().as_bytes()))
            }
            WatchItem::Error(status) => Err(status),
        };
        Some(frame.unwrap_or_else(|status| {
            self.over = true;
            wrap("ERROR", &status.to_json())
        }))
    }

    /// Cells that show an age are reckoned from now, not from when the watch began.
    fn fresh(&self) -> Show {
        Show {
            now: crate::now(),
            ..self.show.clone()
        }
    }

    fn shared(
        &self,
        kind: EventKind,
        object: &Object,
        event: &atoll_store::Event,
    ) -> Result<Bytes, Status> {
        let mut form = DefaultHasher::new();
        kind.hash(&mut form);
        self.show.form.hash(&mut form);
        matches!(self.show.include, IncludeObject::Object).hash(&mut form);
        matches!(self.show.include, IncludeObject::None).hash(&mut form);
        // Definitions change, and differ from cluster to cluster; their ids do too.
        object.served.definition.id.0.hash(&mut form);
        object.served.definition.group.hash(&mut form);
        object.served.version().name.hash(&mut form);
        object.revision.hash(&mut form);
        // A watcher whose selector ceased to match sees the row before; rows are shared, so their place tells them apart.
        object.row.as_ptr().addr().hash(&mut form);
        let mut failed = None;
        let bytes = event.memo.get_or_insert(form.finish(), || {
            frame(kind, object, &self.fresh()).unwrap_or_else(|status| {
                failed = Some(status);
                Bytes::new()
            })
        });
        match failed {
            Some(status) => Err(status),
            None if bytes.is_empty() => frame(kind, object, &self.fresh()),
            None => Ok(bytes),
        }
    }
}

fn frame(kind: EventKind, object: &Object, show: &Show) -> Result<Bytes, Status> {
    Ok(wrap(kind.as_str(), &object_json(object, show)?))
}

fn wrap(kind: &str, object: &[u8]) -> Bytes {
    let mut frame = Vec::with_capacity(object.len() + 40);
    frame.extend_from_slice(b"{\"type\":\"");
    frame.extend_from_slice(kind.as_bytes());
    frame.extend_from_slice(b"\",\"object\":");
    frame.extend_from_slice(object);
    frame.extend_from_slice(b"}\n");
    frame.into()
}
