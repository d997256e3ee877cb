//! What an API says it serves: `/api`, `/apis` and what lies below, plain and aggregated, from a list of definitions.
//!
//! A function of the definitions alone, in a stable order, so that equal surfaces give equal bytes and a hash of an answer
//! serves as its ETag. Kubernetes' own groups come first, in Kubernetes' order; others follow by name. Within a group the
//! most stable and newest version is preferred.

mod aggregated;
mod plain;
mod versions;

use std::sync::Arc;

use crate::builtin::group_rank;
use crate::definition::{Definition, VersionDef};

pub use aggregated::{Root, aggregated_v2, aggregated_v2beta1};
pub use plain::{api_group, api_group_list, api_resource_list, api_versions};
pub use versions::compare_versions;

/// A group with all that is served in it.
pub(crate) struct Group<'a> {
    pub(crate) name: &'a str,
    /// Preferred first.
    pub(crate) versions: Vec<GroupVersion<'a>>,
}

/// One version of a group.
pub(crate) struct GroupVersion<'a> {
    pub(crate) name: &'a str,
    /// By plural.
    pub(crate) resources: Vec<(&'a Definition, &'a VersionDef)>,
}

/// Sorts what `definitions` serve into groups and versions.
pub(crate) fn groups(definitions: &[Arc<Definition>]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for definition in definitions {
        for version in definition.served_versions() {
            let at = groups.iter().position(|g| g.name == definition.group);
            let at = at.unwrap_or_else(|| {
                groups.push(Group {
                    name: &definition.group,
                    versions: Vec::new(),
                });
                groups.len() - 1
            });
            let versions = &mut groups[at].versions;
            let at = versions.iter().position(|v| v.name == version.name);
            let at = at.unwrap_or_else(|| {
                versions.push(GroupVersion {
                    name: &version.name,
                    resources: Vec::new(),
                });
                versions.len() - 1
            });
            versions[at].resources.push((definition, version));
        }
    }
    groups.sort_by_cached_key(|g| (group_rank(g.name).unwrap_or(usize::MAX), g.name));
    for group in &mut groups {
        group
            .versions
            .sort_by(|a, b| compare_versions(a.name, b.name));
        for version in &mut group.versions {
            version
                .resources
                .sort_by(|(a, _), (b, _)| a.names.plural.cmp(&b.names.plural));
        }
    }
    groups
}

/// A subresource as both forms of discovery list it.
pub(crate) struct Sub<'a> {
    pub(crate) name: &'a str,
    pub(crate) group: &'a str,
    pub(crate) version: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) verbs: Vec<&'static str>,
}

/// The subresources of one version of a definition, by name.
pub(crate) fn subresources<'a>(
    definition: &'a Definition,
    version: &'a VersionDef,
) -> Vec<Sub<'a>> {
    let get_patch_update = || vec!["get", "patch", "update"];
    let mut all: Vec<Sub<'a>> = Vec::new();
    for extra in &version.subresources.others {
        all.push(Sub {
            name: &extra.name,
            group: &extra.group,
            version: &extra.version,
            kind: &extra.kind,
            verbs: extra.verbs.iter().map(|v| v.as_str()).collect(),
        });
    }
    if version.subresources.scale.is_some() {
        all.push(Sub {
            name: "scale",
            group: "autoscaling",
            version: "v1",
            kind: "Scale",
            verbs: get_patch_update(),
        });
    }
    if version.subresources.status {
        all.push(Sub {
            name: "status",
            group: &definition.group,
            version: &version.name,
            kind: &definition.names.kind,
            verbs: get_patch_update(),
        });
    }
    all.sort_by_key(|s| s.name);
    all
}
