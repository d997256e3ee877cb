//! The kinds that Atoll knows without being told: Kubernetes' own, kcp's, the fleet's.
//!
//! They are data: facts derived from a running Kubernetes (`facts`), and a few files we wrote (`written`). Definitions
//! hold names, columns and verbs; schemas are compiled when a kind is first used. What cannot be said as data is one of
//! the named [`hooks`], a conversion ([`convert`]), a default that depends on its neighbours ([`defaults`]), a rule between
//! fields ([`rules`]) or a table cell ([`cells`]). Which kinds a logical cluster has by birth is a [`SurfaceSet`].
//!
//! `testdata/` holds what a genuine server answered; tests compare.

pub mod cells;
mod compile;
pub mod convert;
pub mod defaults;
mod definitions;
mod descriptions;
mod facts;
pub mod hooks;
pub mod normalize;
pub mod rules;
mod surfaces;
mod written;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use serde_json::Value;

use crate::definition::Definition;
use crate::ids::GroupResource;
use crate::lazy::Lazy;
use crate::schema::Schema;

pub use compile::QUANTITY;
pub use surfaces::{SurfaceSet, set};

pub(crate) use compile::closure;
pub(crate) use descriptions::describe;
pub(crate) use facts::{
    API_RESOURCE_LIST, DELETE_OPTIONS, LIST_META, OBJECT_META, PATCH, REF_PREFIX, SCALE, STATUS,
};

static DEFINITIONS: LazyLock<Vec<Arc<Definition>>> = LazyLock::new(definitions::all);

static BY_RESOURCE: LazyLock<HashMap<GroupResource, &'static Arc<Definition>>> =
    LazyLock::new(|| {
        let all = DEFINITIONS.iter();
        all.map(|d| (d.group_resource(), d)).collect()
    });

/// Every built-in definition, whatever surface it belongs to.
pub fn definitions() -> &'static [Arc<Definition>] {
    &DEFINITIONS
}

/// The built-in definition of a resource, whatever surface it belongs to.
pub fn lookup(resource: &GroupResource) -> Option<&'static Arc<Definition>> {
    BY_RESOURCE.get(resource).copied()
}

/// The schema of any kind of Kubernetes, including bodies of subresources (`Scale`, `Eviction`, `TokenRequest`).
pub fn kind_schema(group: &str, version: &str, kind: &str) -> Option<Lazy<Schema>> {
    let component = definitions::component_of(group, version, kind)?;
    Some(Lazy::new(move || (*compile::schema(component)).clone()))
}

/// The component of a kind in OpenAPI documents, if Kubernetes has the kind.
pub(crate) fn component_of(group: &str, version: &str, kind: &str) -> Option<&'static str> {
    definitions::component_of(group, version, kind)
}

/// A component's schema in the facts' shorthand.
pub(crate) fn component_schema(component: &str) -> Option<Value> {
    facts::component(component)
}

/// A component's protobuf fields: `1:metadata 2:spec! 3:replicas* 4:+<component>`.
pub(crate) fn component_wire(component: &str) -> Option<&'static str> {
    facts::wire(component)
}

/// A component's package (with its last dot) and its own name.
pub(crate) fn component_package(component: &str) -> (&str, &str) {
    component.split_at(component.rfind('.').map_or(0, |dot| dot + 1))
}

/// Where `group` stands among Kubernetes' own groups, which discovery lists first.
pub(crate) fn group_rank(group: &str) -> Option<usize> {
    facts::resources().iter().position(|r| r.group == group)
}

/// Whether objects of this kind are kept at all: reviews and bindings are only answered.
pub fn is_persisted(definition: &Definition) -> bool {
    use crate::definition::Verb;
    definition.allows(Verb::Get) && definition.names.plural != "componentstatuses"
}
