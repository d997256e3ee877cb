//! Rows: objects at rest.
use bytes::Bytes;
use serde_json::Value;
/// Owned row bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row(Bytes);
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
impl Row {
    /// Encodes an object; apiVersion, kind, resourceVersion and the cluster annotation are left out.
    pub fn encode(_object: &Value) -> Bytes {
        todo!()
    }
}
/// A parsed header and a body, borrowed.
#[derive(Debug, Clone, Copy)]
pub struct RowRef<'a> {
    body: &'a [u8],
}
impl<'a> RowRef<'a> {
    /// Reads the header.
    pub fn parse(_bytes: &'a [u8]) -> Result<Self, RowError> {
        todo!()
    }
    /// metadata.uid
    pub fn uid(&self) -> &'a str {
        todo!()
    }
    /// One label.
    pub fn label(&self, _key: &str) -> Option<&'a str> {
        todo!()
    }
    /// All labels, sorted.
    pub fn labels(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        std::iter::empty()
    }
    /// UIDs of the owners.
    pub fn owners(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        std::iter::empty()
    }
    /// metadata.generation, 0 if absent.
    pub fn generation(&self) -> i64 {
        todo!()
    }
    /// Whether metadata.finalizers is not empty.
    pub fn has_finalizers(&self) -> bool {
        todo!()
    }
    /// Whether metadata.deletionTimestamp is set.
    pub fn is_deleting(&self) -> bool {
        todo!()
    }
    /// The stored JSON, without the spliced parts.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }
    /// Appends the object's JSON.
    pub fn write_json(
        &self,
        _out: &mut Vec<u8>,
        _api_version: &str,
        _kind: &str,
        _revision: u64,
        _cluster: Option<&str>,
    ) {
        todo!()
    }
    /// The object.
    pub fn value(
        &self,
        _api_version: &str,
        _kind: &str,
        _revision: u64,
        _cluster: Option<&str>,
    ) -> Value {
        todo!()
    }
}
