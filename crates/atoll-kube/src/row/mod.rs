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

mod encode;

use serde_json::Value;

pub use encode::Row;
use encode::put_json_text;

/// The annotation that says which logical cluster an object was read from.
pub const CLUSTER_ANNOTATION: &str = "kcp.io/cluster";

const VERSION: u8 = 1;
const HAS_FINALIZERS: u8 = 1;
const DELETING: u8 = 2;
/// The body has `metadata.annotations` (with entries of its own).
const HAS_ANNOTATIONS: u8 = 4;

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
mod tests;
