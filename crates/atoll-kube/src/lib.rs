//! What a Kubernetes object *is*: metadata, names, selectors, quantities, structural schemas, definitions, the patch types, tables.
//!
//! Pure: nothing here does I/O, spawns, or reads a clock; time is an argument. Objects are [`serde_json::Value`] trees
//! while they are being written and [`row`] bytes at rest. Every refusal that reaches a client is a [`Status`].

pub mod builtin;
pub mod definition;
pub mod discovery;
pub mod ids;
pub mod jsonpath;
pub mod lazy;
pub mod meta;
pub mod names;
pub mod openapi;
pub mod patch;
pub mod protobuf;
pub mod quantity;
pub mod row;
pub mod schema;
pub mod selector;
pub mod status;
pub mod table;
pub mod time;
pub mod yaml;

pub use definition::{Definition, DefinitionId, VersionDef};
pub use ids::{GroupKind, GroupResource, GroupVersionKind, GroupVersionResource, UserInfo};
pub use lazy::Lazy;
pub use row::{Row, RowRef};
pub use schema::Schema;
pub use selector::{FieldSelector, LabelSelector};
pub use status::{FieldError, FieldErrorKind, Reason, Status, StatusCause, StatusDetails};
pub use time::Timestamp;
