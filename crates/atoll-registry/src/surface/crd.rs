//! CustomResourceDefinitions.
use crate::ResourceId;

/// The family of CustomResourceDefinitions.
pub(crate) fn resource() -> ResourceId {
    ResourceId::builtin("apiextensions.k8s.io", "customresourcedefinitions")
}
