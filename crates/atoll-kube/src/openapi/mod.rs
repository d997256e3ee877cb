//! OpenAPI documents of an API, made on demand from a list of definitions.
//!
//! Both versions are rendered from one description: `operations` say what can be done with each kind, `components` what
//! its objects look like. Nothing is kept here; the caller caches documents under [`hash`]. Prose is left out: field names,
//! types and the extensions that kubectl reads are what matters.

mod components;
mod crd;
mod gnostic;
mod operations;
mod v2;
mod v3;

use std::sync::Arc;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::definition::Definition;
use crate::discovery::groups;

pub use gnostic::v2_protobuf;
pub use v2::v2_document;
pub use v3::v3_document;

/// Another release may make other documents of the same definitions: clients then fetch them anew.
const GENERATION: &str = concat!("atoll openapi ", env!("CARGO_PKG_VERSION"));

/// `/openapi/v3`: every document's address, with the hash of what it is made from.
///
/// The addresses are rooted at `/openapi/v3`, to which clients prepend the path of their workspace.
pub fn v3_index(definitions: &[Arc<Definition>]) -> Value {
    let mut paths = Map::new();
    for group in groups(definitions) {
        for version in &group.versions {
            let path = document_path(group.name, version.name);
            let all = version.resources.iter().map(|(definition, _)| *definition);
            let hash = hash_of(group.name, version.name, all);
            let url = format!("/openapi/v3/{path}?hash={hash}");
            paths.insert(path, json!({ "serverRelativeURL": url }));
        }
    }
    json!({ "paths": paths })
}

/// What the document of a group version is made from, as upper case hexadecimal: for the index and for an ETag.
pub fn hash(group: &str, version: &str, definitions: &[Arc<Definition>]) -> String {
    let all = definitions.iter().map(|d| &**d);
    let here = all.filter(|d| d.group == group && d.served_versions().any(|v| v.name == version));
    hash_of(group, version, here)
}

/// The same for the one document of version 2.
pub fn v2_hash(definitions: &[Arc<Definition>]) -> String {
    hash_of("", "", definitions.iter().map(|d| &**d))
}

fn hash_of<'a>(group: &str, version: &str, all: impl Iterator<Item = &'a Definition>) -> String {
    let mut ids: Vec<_> = all.map(|d| d.id).collect();
    ids.sort_unstable();
    let mut hasher = Sha256::new_with_prefix(GENERATION);
    hasher.update(format!("\0{group}\0{version}\0"));
    for id in ids {
        hasher.update(id.0);
    }
    let digest = hasher.finalize();
    digest.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// `api/v1`, `apis/apps/v1`.
fn document_path(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("api/{version}")
    } else {
        format!("apis/{group}/{version}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::{SurfaceSet, set};

    #[test]
    fn the_index_names_every_group_version_once() {
        let index = v3_index(set(SurfaceSet::Universal));
        let paths = index["paths"].as_object().unwrap();
        assert_eq!(paths.len(), 14);
        let url = paths["apis/rbac.authorization.k8s.io/v1"]["serverRelativeURL"]
            .as_str()
            .unwrap();
        let hash = hash(
            "rbac.authorization.k8s.io",
            "v1",
            set(SurfaceSet::Universal),
        );
        assert_eq!(
            url,
            format!("/openapi/v3/apis/rbac.authorization.k8s.io/v1?hash={hash}")
        );
    }

    #[test]
    fn a_hash_follows_the_definitions_of_its_own_group_version() {
        let (universal, root) = (set(SurfaceSet::Universal), set(SurfaceSet::Root));
        let of = |group: &str, version: &str, all| hash(group, version, all);
        assert_eq!(of("", "v1", universal), of("", "v1", root));
        assert_ne!(
            of("core.kcp.io", "v1alpha1", universal),
            of("core.kcp.io", "v1alpha1", root)
        );
        assert_ne!(
            of("apis.kcp.io", "v1alpha1", root),
            of("apis.kcp.io", "v1alpha2", root)
        );
    }
}
