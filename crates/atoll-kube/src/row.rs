//! Rows: objects at rest, and their way back to a client without being parsed.
//!
//! HOT PATH: every read and every event goes through here. Not allowed in [`RowRef`]: JSON trees, allocation
//! (besides growing the caller's buffer), formatting machinery.
//!
//! A row is a small header (what controllers and selectors ask for without parsing) and the object's JSON, compact with
//! sorted keys, *without* the four things that depend on where and how it is read: `apiVersion`, `kind`,
//! `metadata.resourceVersion` and the annotation `kcp.io/cluster`. The header says where each of them goes.
//!
//! ```text
//! version:1 | flags:1 | generation | uid | labels | owners | splices | body
//! ```
//! Numbers are LEB128, texts are length and bytes, lists are count and entries; a splice is offset * 4 + comma.

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::meta;

/// The annotation that says which logical cluster an object was read from.
pub const CLUSTER_ANNOTATION: &str = "kcp.io/cluster";

const VERSION: u8 = 1;
const HAS_FINALIZERS: u8 = 1;
const DELETING: u8 = 2;
/// The body has `metadata.annotations` (with entries of its own).
const HAS_ANNOTATIONS: u8 = 4;

/// Encoder of rows.
#[derive(Debug, Clone, Copy)]
pub struct Row;

/// Why bytes are no row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// Not written by us, or damaged.
    #[error("a stored row is damaged: {0}")]
    Damaged(&'static str),
    /// Written by a newer program.
    #[error("a stored row has format version {0}, which this program does not know")]
    Unknown(u8),
}

/// What separates a spliced member from its neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comma {
    /// It is alone.
    None,
    /// It is the last of several.
    Before,
    /// Something follows.
    After,
}

/// Where something is inserted into the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Splice {
    at: usize,
    comma: Comma,
}

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

fn put_json_text(out: &mut Vec<u8>, text: &str) {
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

/// Reads what the `put_` functions wrote.
#[derive(Clone, Copy)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u64> {
        let mut n = 0;
        for shift in (0..63).step_by(7) {
            let b = self.byte()?;
            n |= u64::from(b & 0x7f) << shift;
            if b < 0x80 {
                return Some(n);
            }
        }
        None
    }

    fn size(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }

    fn text(&mut self) -> Option<&'a str> {
        let size = self.size()?;
        let (text, rest) = self.0.split_at_checked(size)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }

    fn splice(&mut self) -> Option<Splice> {
        let n = self.size()?;
        let comma = match n & 3 {
            0 => Comma::None,
            1 => Comma::Before,
            _ => Comma::After,
        };
        Some(Splice { at: n >> 2, comma })
    }
}

/// A row's header and body, borrowed.
#[derive(Clone, Copy)]
pub struct RowRef<'a> {
    flags: u8,
    generation: i64,
    uid: &'a str,
    labels: &'a [u8],
    label_count: usize,
    owners: &'a [u8],
    owner_count: usize,
    splices: [Splice; 4],
    body: &'a [u8],
}

impl<'a> RowRef<'a> {
    /// Reads the header; the body is taken as it is.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RowError> {
        match bytes.first() {
            Some(&VERSION) => {
                Self::read(Reader(&bytes[1..])).ok_or(RowError::Damaged("its header is cut short"))
            }
            Some(other) => Err(RowError::Unknown(*other)),
            None => Err(RowError::Damaged("it is empty")),
        }
    }

    fn read(mut r: Reader<'a>) -> Option<Self> {
        let flags = r.byte()?;
        let generation = i64::try_from(r.number()?).ok()?;
        let uid = r.text()?;
        let label_count = r.size()?;
        let labels = r.0;
        for _ in 0..label_count {
            r.text()?;
            r.text()?;
        }
        let owner_count = r.size()?;
        let owners = r.0;
        for _ in 0..owner_count {
            r.text()?;
        }
        let splices = [r.splice()?, r.splice()?, r.splice()?, r.splice()?];
        let body = r.0;
        let ordered = splices.is_sorted_by_key(|s| s.at);
        // Between the cluster annotation and resourceVersion the order holds too: annotations sort before it.
        (ordered && splices[3].at < body.len()).then_some(Self {
            flags,
            generation,
            uid,
            labels,
            label_count,
            owners,
            owner_count,
            splices,
            body,
        })
    }

    /// metadata.uid
    pub fn uid(&self) -> &'a str {
        self.uid
    }

    /// One label.
    pub fn label(&self, key: &str) -> Option<&'a str> {
        self.labels().find(|(k, _)| *k == key).map(|(_, v)| v)
    }

    /// All labels, sorted by key.
    pub fn labels(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let mut r = Reader(self.labels);
        (0..self.label_count).map_while(move |_| Some((r.text()?, r.text()?)))
    }

    /// UIDs of the owners.
    pub fn owners(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let mut r = Reader(self.owners);
        (0..self.owner_count).map_while(move |_| r.text())
    }

    /// metadata.generation, 0 if absent.
    pub fn generation(&self) -> i64 {
        self.generation
    }

    /// Whether metadata.finalizers is not empty.
    pub fn has_finalizers(&self) -> bool {
        self.flags & HAS_FINALIZERS != 0
    }

    /// Whether metadata.deletionTimestamp is set.
    pub fn is_deleting(&self) -> bool {
        self.flags & DELETING != 0
    }

    /// The stored JSON, without the spliced parts.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// How many bytes [`RowRef::write_json`] appends at most.
    pub fn json_size_hint(&self, api_version: &str, kind: &str, cluster: Option<&str>) -> usize {
        self.body.len() + api_version.len() + kind.len() + cluster.map_or(0, |c| c.len() + 36) + 70
    }

    /// Appends the object's JSON, as it is at `api_version` and `revision` in `cluster`.
    pub fn write_json(
        &self,
        out: &mut Vec<u8>,
        api_version: &str,
        kind: &str,
        revision: u64,
        cluster: Option<&str>,
    ) {
        out.reserve(self.json_size_hint(api_version, kind, cluster));
        let [at_api_version, at_kind, at_cluster, at_version] = self.splices;
        let mut from = 0;
        from = self.splice(out, from, at_api_version, |out| {
            put_member(out, "apiVersion", api_version)
        });
        from = self.splice(out, from, at_kind, |out| put_member(out, "kind", kind));
        if let Some(cluster) = cluster {
            from = self.splice(out, from, at_cluster, |out| {
                if self.flags & HAS_ANNOTATIONS != 0 {
                    put_member(out, CLUSTER_ANNOTATION, cluster);
                } else {
                    out.extend_from_slice(b"\"annotations\":{");
                    put_member(out, CLUSTER_ANNOTATION, cluster);
                    out.push(b'}');
                }
            });
        }
        from = self.splice(out, from, at_version, |out| {
            out.extend_from_slice(b"\"resourceVersion\":\"");
            put_decimal(out, revision);
            out.push(b'"');
        });
        out.extend_from_slice(&self.body[from..]);
    }

    /// Copies the body up to `place` and inserts there; returns where the body goes on.
    fn splice(
        &self,
        out: &mut Vec<u8>,
        from: usize,
        place: Splice,
        insert: impl FnOnce(&mut Vec<u8>),
    ) -> usize {
        out.extend_from_slice(&self.body[from..place.at]);
        if place.comma == Comma::Before {
            out.push(b',');
        }
        insert(out);
        if place.comma == Comma::After {
            out.push(b',');
        }
        place.at
    }

    /// The object as a tree. Not for the read path.
    pub fn value(
        &self,
        api_version: &str,
        kind: &str,
        revision: u64,
        cluster: Option<&str>,
    ) -> Value {
        let mut json = Vec::new();
        self.write_json(&mut json, api_version, kind, revision, cluster);
        serde_json::from_slice(&json).unwrap_or(Value::Null)
    }
}

impl std::fmt::Debug for RowRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowRef")
            .field("uid", &self.uid)
            .field("generation", &self.generation)
            .field("body", &String::from_utf8_lossy(self.body))
            .finish_non_exhaustive()
    }
}

fn put_member(out: &mut Vec<u8>, key: &str, value: &str) {
    put_json_text(out, key);
    out.push(b':');
    put_json_text(out, value);
}

fn put_decimal(out: &mut Vec<u8>, n: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut n = n;
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    /// The object as it should be read back.
    fn expected(object: &Value, revision: u64, cluster: Option<&str>) -> Value {
        let mut o = object.clone();
        o["apiVersion"] = json!("apps/v1");
        o["kind"] = json!("Deployment");
        if !o["metadata"].is_object() {
            o["metadata"] = json!({});
        }
        meta::remove(&mut o, "resourceVersion");
        meta::remove_annotation(&mut o, CLUSTER_ANNOTATION);
        if o["metadata"]["annotations"] == json!({}) || o["metadata"]["annotations"].is_null() {
            meta::remove(&mut o, "annotations");
        }
        if let Some(c) = cluster {
            meta::set_annotation(&mut o, CLUSTER_ANNOTATION, c);
        }
        meta::set(&mut o, "resourceVersion", revision.to_string());
        o
    }

    #[track_caller]
    fn check(object: &Value) {
        let row = Row::encode(object);
        let parsed = RowRef::parse(&row).unwrap();
        for (revision, cluster) in [(0, None), (18, Some("2x9kd")), (u64::MAX, Some("\"q\""))] {
            let mut json = Vec::new();
            parsed.write_json(&mut json, "apps/v1", "Deployment", revision, cluster);
            let want = expected(object, revision, cluster);
            assert_eq!(
                String::from_utf8(json.clone()).unwrap(),
                want.to_string(),
                "sorted and compact"
            );
            assert_eq!(
                parsed.value("apps/v1", "Deployment", revision, cluster),
                want
            );
            assert!(json.len() <= parsed.json_size_hint("apps/v1", "Deployment", cluster));
        }
    }

    #[test]
    fn rows_give_back_what_was_put_in() {
        check(&json!({}));
        check(&json!({"metadata": {}}));
        check(&json!({"metadata": null}));
        check(&json!({"metadata": {"annotations": {}}}));
        check(
            &json!({"metadata": {"annotations": {"kcp.io/cluster": "other"}, "resourceVersion": "4"}}),
        );
        check(
            &json!({"metadata": {"annotations": {"a": "b", "kcp.io/cluster": "other", "z": "y"}}}),
        );
        check(&json!({"metadata": {"annotations": {"z": "y"}, "uid": "u"}}));
        check(&json!({"metadata": {"annotations": {"a": "y"}, "name": "n"}}));
        check(&json!({"metadata": {"aaa": 1}}));
        check(&json!({"metadata": {"name": "n"}, "data": {"x": "\u{1}é\""}, "aa": 1, "zz": null}));
        check(
            &json!({"apiVersion": "v1", "kind": "X", "binaryData": {}, "immutable": true, "metadata": {"name": "a", "resourceVersion": "9", "uid": "u"}, "spec": [1, 2.5, {"a": null}]}),
        );
    }

    #[test]
    fn headers_answer_without_parsing() {
        let row = Row::encode(&json!({"metadata": {
            "uid": "u1", "generation": 7, "labels": {"b": "2", "a": "1"}, "finalizers": ["x/y"],
            "deletionTimestamp": "2026-11-21T04:00:00Z", "ownerReferences": [{"uid": "o1"}, {"uid": "o2"}]}}));
        let row = RowRef::parse(&row).unwrap();
        assert_eq!((row.uid(), row.generation()), ("u1", 7));
        assert_eq!(row.labels().collect::<Vec<_>>(), [("a", "1"), ("b", "2")]);
        assert_eq!((row.label("b"), row.label("c")), (Some("2"), None));
        assert_eq!(row.owners().collect::<Vec<_>>(), ["o1", "o2"]);
        assert!(row.has_finalizers() && row.is_deleting());
        let plain = Row::encode(&json!({"metadata": {"finalizers": []}}));
        let plain = RowRef::parse(&plain).unwrap();
        assert!(!plain.has_finalizers() && !plain.is_deleting());
    }

    #[test]
    fn damaged_rows_are_refused() {
        let row = Row::encode(&json!({"metadata": {"uid": "u1", "labels": {"a": "b"}}}));
        assert_eq!(
            RowRef::parse(&[]).unwrap_err(),
            RowError::Damaged("it is empty")
        );
        assert_eq!(RowRef::parse(&[9, 9]).unwrap_err(), RowError::Unknown(9));
        for end in 1..12 {
            assert!(RowRef::parse(&row[..end]).is_err(), "{end}");
        }
    }

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-z]{0,4}", inner, 0..4)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    fn keyed(keys: &'static [&'static str]) -> impl Strategy<Value = Value> {
        prop::collection::btree_map(prop::sample::select(keys), json_value(), 0..keys.len())
            .prop_map(|m| Value::Object(m.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()))
    }

    proptest! {
        #[test]
        fn any_object_survives(
            mut object in keyed(&["apiVersion", "aa", "data", "kind", "spec", "status", "zz"]),
            mut metadata in keyed(&["aa", "generateName", "name", "ownerReferences", "resourceVersion", "uid", "zz"]),
            annotations in prop::option::of(prop::collection::btree_map(prop_oneof!["[a-z]{1,3}", Just(CLUSTER_ANNOTATION.to_owned())], "[a-z]{0,3}", 0..3)),
        ) {
            if let Some(annotations) = annotations {
                metadata["annotations"] = json!(annotations);
            }
            object["metadata"] = metadata;
            check(&object);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut row = vec![VERSION];
            row.extend(bytes);
            if let Ok(parsed) = RowRef::parse(&row) {
                let _ = parsed.value("v1", "X", 1, Some("c"));
                parsed.labels().for_each(drop);
            }
        }
    }
}
