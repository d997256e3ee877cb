//! Schemas, compiled once and shared: what fields an object has, how they are checked, completed, pruned and merged.
//!
//! A [`Schema`] is one node of an immutable tree (for the few built-in types that contain themselves, a graph). It is
//! compiled from OpenAPI v3 by [`compile`]; equal parts may be shared between kinds. It knows nothing about a kind's name
//! or storage. Rules in CEL are compiled apart from it, in [`validations`].

pub mod compile;
pub mod decode;
mod default;
mod formats;
mod mismatch;
mod numbers;
pub mod object_meta;
mod openapi_rules;
mod pattern;
mod prune;
pub mod structural;
mod unchanged;
mod validate;
pub mod validations;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, LazyLock, OnceLock};

use serde_json::Value;

use crate::status::FieldError;

pub use pattern::Pattern;

/// A shared link to a schema node. Dereferences to it; cloning is cheap.
///
/// A link may be made before its node (that is how a type can contain itself); until [`SchemaRef::set`] it stands for
/// "anything goes".
#[derive(Clone, Default)]
pub struct SchemaRef(Arc<OnceLock<Schema>>);

impl SchemaRef {
    /// A link to `schema`.
    pub fn new(schema: Schema) -> Self {
        Self(Arc::new(OnceLock::from(schema)))
    }

    /// Gives a forward link its node; the first one stays.
    pub fn set(&self, schema: Schema) {
        let _ = self.0.set(schema);
    }
}

impl Deref for SchemaRef {
    type Target = Schema;
    fn deref(&self) -> &Schema {
        static ANYTHING: LazyLock<Schema> = LazyLock::new(|| Schema {
            preserve_unknown: true,
            nullable: true,
            ..Schema::default()
        });
        self.0.get().unwrap_or(&ANYTHING)
    }
}

impl AsRef<Schema> for SchemaRef {
    fn as_ref(&self) -> &Schema {
        self
    }
}

impl From<Schema> for SchemaRef {
    fn from(schema: Schema) -> Self {
        Self::new(schema)
    }
}

impl fmt::Debug for SchemaRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SchemaRef").field(&self.ty).finish() // one level: the graph may have cycles
    }
}

/// A JSON type as schemas name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum JsonType {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

/// How server-side apply and uniqueness checks see a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ListType {
    /// Replaced as a whole.
    #[default]
    Atomic,
    /// Scalars, each at most once, owned one by one.
    Set,
    /// Objects told apart by these keys, owned one by one.
    Map(Vec<String>),
}

/// How server-side apply sees an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MapType {
    /// Each field is owned by itself.
    #[default]
    Granular,
    /// Replaced as a whole.
    Atomic,
}

/// How strategic merge patch treats a field (`x-kubernetes-patch-strategy`, `-merge-key`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PatchStrategy {
    /// The strategy `merge`: lists are merged, by `merge_key` or as sets.
    pub merge: bool,
    /// The strategy `retainKeys`: keys that the patch does not name are cleared.
    pub retain_keys: bool,
    /// The strategy `replace`.
    pub replace: bool,
    /// What tells the objects of a list apart.
    pub merge_key: Option<String>,
}

/// Bounds of a number.
#[derive(Debug, Clone, PartialEq, Default)]
#[allow(missing_docs)]
pub struct NumberRules {
    pub minimum: Option<serde_json::Number>,
    pub exclusive_minimum: bool,
    pub maximum: Option<serde_json::Number>,
    pub exclusive_maximum: bool,
    pub multiple_of: Option<serde_json::Number>,
}

/// The rules that most nodes do not have; boxed to keep a node small.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs)]
pub struct Rules {
    pub enumeration: Vec<Value>,
    pub number: NumberRules,
    pub min_length: Option<u64>,
    pub max_length: Option<u64>,
    pub pattern: Option<Pattern>,
    pub min_items: Option<u64>,
    pub max_items: Option<u64>,
    pub unique_items: bool,
    pub min_properties: Option<u64>,
    pub max_properties: Option<u64>,
    pub all_of: Vec<SchemaRef>,
    pub any_of: Vec<SchemaRef>,
    pub one_of: Vec<SchemaRef>,
    pub not: Option<SchemaRef>,
}

/// One node of a compiled schema.
#[derive(Debug, Clone, Default)]
pub struct Schema {
    /// The type a value must have; `None` where the schema does not say.
    pub ty: Option<JsonType>,
    /// `null` is a value here.
    pub nullable: bool,
    /// `x-kubernetes-int-or-string`.
    pub int_or_string: bool,
    /// `x-kubernetes-preserve-unknown-fields`: fields not named here are kept.
    pub preserve_unknown: bool,
    /// `x-kubernetes-embedded-resource`: a complete object with apiVersion, kind and metadata.
    pub embedded_resource: bool,
    /// Fields by name.
    pub properties: BTreeMap<String, SchemaRef>,
    /// The schema of every entry not in `properties` (a map's values).
    pub additional: Option<SchemaRef>,
    /// The schema of a list's entries.
    pub items: Option<SchemaRef>,
    /// Names that must be present.
    pub required: Vec<String>,
    /// What an absent field becomes.
    pub default: Option<Value>,
    /// A part of its parent that is never absent, only empty: a struct of a built-in kind.
    pub always_there: bool,
    /// `format`, empty when there is none.
    pub format: String,
    /// How the list is told apart and owned.
    pub list_type: ListType,
    /// How the object is owned.
    pub map_type: MapType,
    /// Strategic merge patch.
    pub patch: PatchStrategy,
    /// Everything rarer.
    pub rules: Option<Box<Rules>>,
    /// Repeated entries of a set or map list are refused (custom resources; built-in kinds have their own rules).
    pub unique_entries: bool,
    /// This node or one below it has a default: defaulting must look here.
    pub has_defaults: bool,
}

impl Schema {
    /// Compiles one self-contained OpenAPI v3 schema. With `structural` it is the schema of a whole custom resource:
    /// Kubernetes' rules for such schemas are checked, and the fields every object has are added.
    pub fn from_openapi(openapi: &Value, structural: bool) -> Result<Arc<Self>, Vec<FieldError>> {
        if !structural {
            return compile::schema(openapi).map(Arc::new);
        }
        let errors = structural::check(openapi, "");
        if errors.is_empty() {
            compile::resource(openapi).map(Arc::new)
        } else {
            Err(errors)
        }
    }

    /// The schema of the field or map entry `name`.
    pub fn field(&self, name: &str) -> Option<&Self> {
        self.properties
            .get(name)
            .or(self.additional.as_ref())
            .map(|s| &**s)
    }

    /// Whether this is a map from any key to values of one schema.
    pub fn is_map(&self) -> bool {
        self.additional.is_some()
    }
}
