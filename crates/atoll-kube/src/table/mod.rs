//! Tables: what `kubectl get` shows.
use crate::definition::{Definition, VersionDef};
use crate::time::Timestamp;
use serde_json::Value;
/// What a row carries besides its cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IncludeObject {
    /// Nothing.
    None,
    /// PartialObjectMetadata.
    #[default]
    Metadata,
    /// All of it.
    Object,
}
/// Computes a cell of a built-in kind by its function's name.
pub type NamedCell = fn(name: &str, object: &Value, now: Timestamp) -> Value;
/// How to make a table.
#[derive(Debug, Clone, Copy)]
pub struct TableOptions {
    /// `meta.k8s.io` version asked for: `v1` or `v1beta1`.
    pub version: &'static str,
    /// What rows carry.
    pub include: IncludeObject,
    /// Leave out columnDefinitions (later events of a watch).
    pub no_headers: bool,
    /// The reader's clock, for ages.
    pub now: Timestamp,
    /// Cells of built-in kinds.
    pub named: NamedCell,
}
/// The Table of `objects` (at `version` of `definition`); `list_metadata` is the list's metadata (resourceVersion, continue, ...).
pub fn render(
    _definition: &Definition,
    _version: &VersionDef,
    _objects: &[Value],
    _list_metadata: Value,
    _options: &TableOptions,
) -> Value {
    todo!()
}
/// PartialObjectMetadata of one object.
pub fn partial(_object: &Value, _version: &str) -> Value {
    todo!()
}
/// PartialObjectMetadataList.
pub fn partial_list(_objects: &[Value], _list_metadata: Value, _version: &str) -> Value {
    todo!()
}
