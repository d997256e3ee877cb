//! Objects and lists of them, in the form the client asked for.
//!
//! On the path of every read. Whole objects in JSON are spliced from stored bytes, never parsed; a long list is made
//! piece by piece while the client takes it, so its size does not cost memory. Tables and YAML are parsed.

use std::sync::Arc;

use atoll_kube::builtin::cells;
use atoll_kube::status::Status;
use atoll_kube::table::{self, IncludeObject, TableOptions};
use atoll_kube::time::Timestamp;
use atoll_registry::{List, Object, Served};
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{BoxError, Reply, ReplyBody};
use crate::request::{Encoding, Form, Meta};

/// A list is handed over in pieces of about this size.
const PIECE: usize = 256 * 1024;

/// Fills in what is known only when an object is read, such as an age. Changes nothing that is stored.
pub type Overlay = Arc<dyn Fn(&Object, &mut Value) + Send + Sync>;

/// How objects are to be shown.
#[derive(Clone)]
pub(crate) struct Show {
    pub(crate) encoding: Encoding,
    pub(crate) form: Form,
    /// What the rows of a Table carry.
    pub(crate) include: IncludeObject,
    pub(crate) now: Timestamp,
    /// What is filled in; hardly any resource has it.
    pub(crate) overlay: Option<Overlay>,
}

impl Show {
    fn value(&self, object: &Object) -> Result<Value, Status> {
        let mut value = object.value()?;
        if let Some(overlay) = &self.overlay {
            overlay(object, &mut value);
        }
        Ok(value)
    }
}

/// `includeObject` of a request for a Table.
pub(crate) fn include_object(parameter: Option<&str>) -> Result<IncludeObject, Status> {
    match parameter {
        None | Some("" | "Metadata") => Ok(IncludeObject::Metadata),
        Some("None") => Ok(IncludeObject::None),
        Some("Object") => Ok(IncludeObject::Object),
        Some(other) => Err(Status::bad_request(format!(
            "unrecognized includeObject value: {other:?}; it may be None, Metadata or Object"
        ))),
    }
}

/// One object.
pub(crate) fn object(code: StatusCode, object: &Object, show: &Show) -> Result<Reply, Status> {
    Ok(super::encoded(
        code,
        show.encoding,
        object_json(object, show)?,
    ))
}

/// One object as JSON, in its form.
pub(crate) fn object_json(object: &Object, show: &Show) -> Result<Bytes, Status> {
    match show.form {
        Form::Object if show.overlay.is_some() => super::to_json(&show.value(object)?),
        Form::Object => object.json(),
        Form::Partial(meta) => {
            super::to_json(&table::partial(&show.value(object)?, meta.version()))
        }
        Form::Table(meta) => {
            let revision = json!({ "resourceVersion": object.revision.0.to_string() });
            let value = show.value(object)?;
            super::to_json(&render(
                &object.served,
                std::slice::from_ref(&value),
                revision,
                meta,
                show,
            ))
        }
    }
}

/// A value that is no stored object (a Scale, a review) in its form; only metadata can be asked of it besides all.
pub(crate) fn value(code: StatusCode, value: &Value, show: &Show) -> Result<Reply, Status> {
    match show.form {
        Form::Partial(meta) => {
            super::value(code, show.encoding, &table::partial(value, meta.version()))
        }
        Form::Object | Form::Table(_) => super::value(code, show.encoding, value),
    }
}

/// A page of a list.
pub(crate) fn list(list: List, show: &Show) -> Result<Reply, Status> {
    match (show.form, show.encoding) {
        (Form::Object, Encoding::Json) => whole_objects(list, show),
        (Form::Object, Encoding::Yaml) => {
            let mut json = Vec::new();
            for piece in Pieces::new(list, show) {
                json.extend_from_slice(&piece?);
            }
            Ok(super::encoded(StatusCode::OK, Encoding::Yaml, json.into()))
        }
        (Form::Partial(meta), encoding) => {
            let values = values(&list, show)?;
            let shown = table::partial_list(&values, metadata(&list), meta.version());
            super::value(StatusCode::OK, encoding, &shown)
        }
        (Form::Table(meta), encoding) => {
            let values = values(&list, show)?;
            let shown = render(&list.served, &values, metadata(&list), meta, show);
            super::value(StatusCode::OK, encoding, &shown)
        }
    }
}

fn render(served: &Served, objects: &[Value], metadata: Value, meta: Meta, show: &Show) -> Value {
    let options = TableOptions {
        version: meta.version(),
        include: show.include,
        no_headers: false,
        now: show.now,
        named: cells::cell,
    };
    table::render(
        &served.definition,
        served.version(),
        objects,
        metadata,
        &options,
    )
}

fn values(list: &List, show: &Show) -> Result<Vec<Value>, Status> {
    list.objects
        .iter()
        .map(|object| show.value(object))
        .collect()
}

fn metadata(list: &List) -> Value {
    let mut metadata = Map::new();
    metadata.insert(
        "resourceVersion".to_owned(),
        list.revision.0.to_string().into(),
    );
    if let Some(token) = &list.continue_token {
        metadata.insert("continue".to_owned(), token.as_str().into());
    }
    if let Some(remaining) = list.remaining {
        metadata.insert("remainingItemCount".to_owned(), remaining.into());
    }
    Value::Object(metadata)
}

fn whole_objects(list: List, show: &Show) -> Result<Reply, Status> {
    let mut pieces = Pieces::new(list, show);
    let first = pieces.next().transpose()?.unwrap_or_default();
    if pieces.state == State::Done {
        return Ok(super::encoded(StatusCode::OK, Encoding::Json, first));
    }
    let rest = std::iter::once(Ok(first))
        .chain(pieces)
        .map(|piece| piece.map_err(|status| -> BoxError { status.into() }));
    let mut reply = super::encoded(StatusCode::OK, Encoding::Json, Bytes::new());
    *reply.body_mut() = ReplyBody::pieces(rest);
    Ok(reply)
}

/// The JSON of a list, piece by piece.
struct Pieces {
    head: Vec<u8>,
    objects: std::vec::IntoIter<Object>,
    state: State,
    show: Show,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Begun,
    Items,
    Done,
}

impl Pieces {
    fn new(list: List, show: &Show) -> Self {
        let mut head = Vec::with_capacity(256);
        head.extend_from_slice(b"{\"kind\":\"");
        head.extend_from_slice(list.served.definition.names.list_kind.as_bytes());
        head.extend_from_slice(b"\",\"apiVersion\":\"");
        head.extend_from_slice(list.served.api_version().as_bytes());
        head.extend_from_slice(b"\",\"metadata\":");
        head.extend_from_slice(metadata(&list).to_string().as_bytes());
        head.extend_from_slice(b",\"items\":[");
        Self {
            head,
            objects: list.objects.into_iter(),
            state: State::Begun,
            show: show.clone(),
        }
    }
}

impl Iterator for Pieces {
    type Item = Result<Bytes, Status>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.state == State::Done {
            return None;
        }
        let mut piece = std::mem::take(&mut self.head);
        while piece.len() < PIECE {
            let Some(object) = self.objects.next() else {
                piece.extend_from_slice(b"]}\n");
                self.state = State::Done;
                return Some(Ok(piece.into()));
            };
            if self.state == State::Items {
                piece.push(b',');
            }
            self.state = State::Items;
            let written = match self.show.overlay {
                None => object.write_json(&mut piece),
                Some(_) => {
                    object_json(&object, &self.show).map(|json| piece.extend_from_slice(&json))
                }
            };
            if let Err(status) = written {
                self.state = State::Done;
                return Some(Err(status));
            }
        }
        Some(Ok(piece.into()))
    }
}
