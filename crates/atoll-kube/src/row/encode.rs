//! From an object's tree to a row.

use bytes::Bytes;
use serde_json::{Map, Value};

use super::{
    CLUSTER_ANNOTATION, Comma, DELETING, HAS_ANNOTATIONS, HAS_FINALIZERS, Splice, VERSION,
};
use crate::meta;

/// Encoder of rows.
#[derive(Debug, Clone, Copy)]
pub struct Row;

impl Row {
    /// Encodes an object. What is spliced in on read is left out; empty annotations count as none.
    pub fn encode(object: &Value) -> Bytes {
        let mut body = Vec::with_capacity(512);
        let (splices, has_annotations) = write_body(object, &mut body);
        let mut row = Vec::with_capacity(body.len() + 192);
        row.push(VERSION);
        let mut flags = 0;
        if meta::finalizers(object).next().is_some() {
            flags |= HAS_FINALIZERS;
        }
        if meta::is_deleting(object) {
            flags |= DELETING;
        }
        if has_annotations {
            flags |= HAS_ANNOTATIONS;
        }
        row.push(flags);
        put_number(
            &mut row,
            u64::try_from(meta::generation(object)).unwrap_or(0),
        );
        put_text(&mut row, meta::uid(object));
        put_count(&mut row, meta::labels(object).count());
        for (key, value) in meta::labels(object) {
            put_text(&mut row, key);
            put_text(&mut row, value);
        }
        put_count(&mut row, meta::owner_references(object).count());
        for owner in meta::owner_references(object) {
            put_text(&mut row, owner.uid);
        }
        for splice in splices {
            put_number(&mut row, (splice.at as u64) << 2 | splice.comma as u64);
        }
        row.extend_from_slice(&body);
        row.into()
    }
}

/// Writes the body and returns the places of apiVersion, kind, cluster annotation, resourceVersion, and whether the body
/// has annotations.
fn write_body(object: &Value, out: &mut Vec<u8>) -> ([Splice; 4], bool) {
    let empty = Map::new();
    let object = object.as_object().unwrap_or(&empty);
    // `metadata` is always written, so apiVersion and kind always have a follower.
    let metadata = meta_of(object);
    let mut members = Members::start(out);
    let mut api_version = None;
    let mut kind = None;
    let mut inner = None;
    let mut fields: Vec<&str> = object
        .keys()
        .map(String::as_str)
        .filter(|k| !is_spliced(k))
        .collect();
    if !object.contains_key("metadata") {
        let at = fields.partition_point(|k| *k < "metadata");
        fields.insert(at, "metadata");
    }
    for field in fields {
        if field > "apiVersion" && api_version.is_none() {
            api_version = Some(members.place());
        }
        if field > "kind" && kind.is_none() {
            kind = Some(members.place());
        }
        members.key(field);
        if field == "metadata" {
            inner = Some(write_metadata(metadata, members.out));
        } else if let Some(value) = object.get(field) {
            put_json(members.out, value);
        }
    }
    members.end();
    let after = |at: Option<usize>| Splice {
        at: at.unwrap_or(1),
        comma: Comma::After,
    };
    let (cluster, version, has_annotations) = inner.unwrap_or((after(None), after(None), false));
    (
        [after(api_version), after(kind), cluster, version],
        has_annotations,
    )
}

fn meta_of(object: &Map<String, Value>) -> Option<&Map<String, Value>> {
    object.get("metadata").and_then(Value::as_object)
}

fn is_spliced(field: &str) -> bool {
    matches!(field, "apiVersion" | "kind")
}

fn write_metadata(
    metadata: Option<&Map<String, Value>>,
    out: &mut Vec<u8>,
) -> (Splice, Splice, bool) {
    let annotations = metadata
        .and_then(|m| m.get("annotations"))
        .and_then(Value::as_object);
    let has_annotations = annotations.is_some_and(|a| a.keys().any(|k| k != CLUSTER_ANNOTATION));
    let mut cluster = None;
    let mut version = None;
    let mut members = Members::start(out);
    for (field, value) in metadata.into_iter().flatten() {
        match field.as_str() {
            "resourceVersion" => continue,
            "annotations" if !has_annotations && (value.is_object() || value.is_null()) => continue,
            _ => {}
        }
        if field.as_str() >= "annotations" && cluster.is_none() {
            cluster = Some(Splice {
                at: members.place(),
                comma: Comma::After,
            });
        }
        if field.as_str() > "resourceVersion" && version.is_none() {
            version = Some(Splice {
                at: members.place(),
                comma: Comma::After,
            });
        }
        members.key(field);
        if let (true, "annotations", Some(annotations)) =
            (has_annotations, field.as_str(), annotations)
        {
            cluster = Some(write_annotations(annotations, members.out));
        } else {
            put_json(members.out, value);
        }
    }
    // A cluster annotation where metadata has no field after it is still followed by resourceVersion, unless only
    // smaller fields come before, which makes both last.
    let last = members.splice_at_end();
    let cluster = cluster.unwrap_or(match last.comma {
        Comma::None => Splice {
            comma: Comma::After,
            ..last
        },
        _ => last,
    });
    members.end();
    (cluster, version.unwrap_or(last), has_annotations)
}

fn write_annotations(annotations: &Map<String, Value>, out: &mut Vec<u8>) -> Splice {
    let mut place = None;
    let mut members = Members::start(out);
    for (key, value) in annotations.iter().filter(|(k, _)| *k != CLUSTER_ANNOTATION) {
        if key.as_str() > CLUSTER_ANNOTATION && place.is_none() {
            place = Some(Splice {
                at: members.place(),
                comma: Comma::After,
            });
        }
        members.key(key);
        put_json(members.out, value);
    }
    let last = members.splice_at_end();
    members.end();
    place.unwrap_or(last)
}

/// Writes the members of one JSON object.
struct Members<'a> {
    out: &'a mut Vec<u8>,
    any: bool,
}

impl<'a> Members<'a> {
    fn start(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, any: false }
    }

    /// Where the next member starts, behind the comma that comes before it.
    fn place(&mut self) -> usize {
        self.out.len() + usize::from(self.any)
    }

    fn key(&mut self, key: &str) {
        if self.any {
            self.out.push(b',');
        }
        self.any = true;
        put_json_text(self.out, key);
        self.out.push(b':');
    }

    fn splice_at_end(&self) -> Splice {
        Splice {
            at: self.out.len(),
            comma: if self.any { Comma::Before } else { Comma::None },
        }
    }

    fn end(self) {
        self.out.push(b'}');
    }
}

fn put_json(out: &mut Vec<u8>, value: &Value) {
    // Writing a tree to memory cannot fail.
    let _ = serde_json::to_writer(out, value);
}

pub(super) fn put_json_text(out: &mut Vec<u8>, text: &str) {
    if text.bytes().all(|c| c >= 0x20 && c != b'"' && c != b'\\') {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        let _ = serde_json::to_writer(out, text);
    }
}

fn put_count(out: &mut Vec<u8>, n: usize) {
    put_number(out, n as u64);
}

fn put_number(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_count(out, text.len());
    out.extend_from_slice(text.as_bytes());
}
