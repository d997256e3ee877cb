//! A definition: everything the machinery knows about one resource, built-in or from a CustomResourceDefinition.
//!
//! Immutable and shared by `Arc`. Its [`DefinitionId`] is a hash of what it means, so the same CRD in a thousand
//! workspaces is one definition. It does not know which workspace it serves.

mod crd;

mod status;
mod validate;
mod version_rules;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::{GroupKind, GroupResource, GroupVersionKind, api_version};
use crate::jsonpath::JsonPath;
use crate::lazy::Lazy;
use crate::schema::{Schema, validations::Validations};

pub use crd::{CrdErrors, age_column, default_crd, name_column};

pub use status::{NamesAccepted, crd_status};
pub use validate::{validate_crd, validate_crd_update};

/// The hash of a definition's normalized content.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DefinitionId(pub [u8; 32]);

impl DefinitionId {
    /// The hash of normalized content.
    pub fn of(content: &[u8]) -> Self {
        use sha2::Digest;
        Self(sha2::Sha256::digest(content).into())
    }
}

impl fmt::Display for DefinitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for DefinitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The names a resource goes by.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Names {
    /// `deployments`
    pub plural: String,
    /// `deployment`
    pub singular: String,
    /// `Deployment`
    pub kind: String,
    /// `DeploymentList`
    pub list_kind: String,
    /// `deploy`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub short_names: Vec<String>,
    /// `all`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
}

/// Whether objects live in namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// In a namespace.
    Namespaced,
    /// In none.
    Cluster,
}

/// Where a definition comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Source {
    /// Part of this program.
    Builtin,
    /// A CustomResourceDefinition.
    Crd,
}

/// How versions become each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Conversion {
    /// Only apiVersion changes.
    #[default]
    None,
    /// By a hook of this program, for built-in kinds whose versions differ.
    Builtin,
}

/// What a request may do to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Verb {
    Create,
    Delete,
    DeleteCollection,
    Get,
    List,
    Patch,
    Update,
    Watch,
}

impl Verb {
    /// Every verb, in the order discovery lists them.
    pub const ALL: [Self; 8] = [
        Self::Delete,
        Self::DeleteCollection,
        Self::Get,
        Self::List,
        Self::Patch,
        Self::Create,
        Self::Update,
        Self::Watch,
    ];

    /// As discovery and RBAC write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
            Self::Get => "get",
            Self::List => "list",
            Self::Patch => "patch",
            Self::Update => "update",
            Self::Watch => "watch",
        }
    }
}

/// Where the scale subresource finds its numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScalePaths {
    /// `.spec.replicas`
    pub spec_replicas: JsonPath,
    /// `.status.replicas`
    pub status_replicas: JsonPath,
    /// `.status.selector`, a string or a LabelSelector.
    pub label_selector: Option<JsonPath>,
}

/// A subresource other than status and scale: `pods/eviction`, `serviceaccounts/token`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExtraSubresource {
    /// `eviction`
    pub name: String,
    /// What its bodies are.
    pub group: String,
    /// What its bodies are.
    pub version: String,
    /// What its bodies are.
    pub kind: String,
    /// Which verbs it takes.
    pub verbs: Vec<Verb>,
}

/// What hangs below an object's path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subresources {
    /// `/status`: status and the rest are written apart.
    pub status: bool,
    /// `/scale`
    pub scale: Option<ScalePaths>,
    /// Any other.
    pub others: Vec<ExtraSubresource>,
}

/// Where a table cell comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// A place in the object.
    Path(JsonPath),
    /// A function of the built-in kinds' table, by name.
    Named(String),
}

/// One column of a kind's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Heading.
    pub name: String,
    /// OpenAPI type of the cells: string, integer, number, boolean, date.
    pub ty: String,
    /// OpenAPI format of the cells; `name` marks the primary column.
    pub format: String,
    /// For `explain`-minded people.
    pub description: String,
    /// Zero is always shown; more only when wide.
    pub priority: i32,
    /// Where the cell comes from.
    pub cell: Cell,
}

/// One version of a definition.
#[derive(Debug, Clone)]
pub struct VersionDef {
    /// `v1`
    pub name: String,
    /// Answers requests.
    pub served: bool,
    /// Objects are stored in it.
    pub storage: bool,
    /// A warning goes with every answer.
    pub deprecated: bool,
    /// The text of that warning, when it is not the usual one.
    pub deprecation_warning: Option<String>,
    /// Compiled, when first used.
    pub schema: Lazy<Schema>,
    /// The rules in CEL that objects are held to, where the schema has some; compiled when first used.
    pub validations: Option<Lazy<Validations>>,
    /// As published (OpenAPI v3; for CRDs as in the CRD, for built-in kinds a `$ref` to their component).
    pub openapi: Lazy<Value>,
    /// What hangs below an object.
    pub subresources: Subresources,
    /// The table's columns.
    pub columns: Vec<Column>,
    /// Fields that field selectors may use besides metadata.name and metadata.namespace.
    pub selectable_fields: Vec<JsonPath>,
}

/// Everything known about one resource.
#[derive(Debug, Clone)]
pub struct Definition {
    /// Hash of the normalized content.
    pub id: DefinitionId,
    /// API group, empty for core.
    pub group: String,
    /// Names.
    pub names: Names,
    /// Whether objects live in namespaces.
    pub scope: Scope,
    /// Versions, the preferred one first.
    pub versions: Vec<VersionDef>,
    /// Index of the storage version.
    pub storage: usize,
    /// Where this comes from.
    pub source: Source,
    /// What may be done.
    pub verbs: Vec<Verb>,
    /// How versions become each other.
    pub conversion: Conversion,
}

impl Definition {
    /// `deployments.apps`
    pub fn group_resource(&self) -> GroupResource {
        GroupResource::new(self.group.clone(), self.names.plural.clone())
    }

    /// `Deployment.apps`
    pub fn group_kind(&self) -> GroupKind {
        GroupKind::new(self.group.clone(), self.names.kind.clone())
    }

    /// The kind at `version`.
    pub fn gvk(&self, version: &str) -> GroupVersionKind {
        GroupVersionKind::new(self.group.clone(), version, self.names.kind.clone())
    }

    /// What objects at `version` carry as `apiVersion`.
    pub fn api_version(&self, version: &str) -> String {
        api_version(&self.group, version)
    }

    /// Whether objects live in namespaces.
    pub fn namespaced(&self) -> bool {
        self.scope == Scope::Namespaced
    }

    /// The version of this name, served or not.
    pub fn version(&self, name: &str) -> Option<&VersionDef> {
        self.versions.iter().find(|v| v.name == name)
    }

    /// The version objects are stored in.
    pub fn storage_version(&self) -> &VersionDef {
        &self.versions[self.storage]
    }

    /// The versions that answer requests, preferred first.
    pub fn served_versions(&self) -> impl Iterator<Item = &VersionDef> {
        self.versions.iter().filter(|v| v.served)
    }

    /// Whether `verb` may be tried at all.
    pub fn allows(&self, verb: Verb) -> bool {
        self.verbs.contains(&verb)
    }
}
