//! The store's secondary indexes. Each answers one question whose cost must follow its answer, not the population.
//!
//! | index | value | question |
//! |---|---|---|
//! | owner | cluster, owner uid | who depends on this object |
//! | deleting | group, resource, identity | which deletions are pending |
//! | phase | resource, phase | which workspaces are where in their lifecycle |
//!
//! Each part of a value ends in a zero byte. What a cluster holds, and how many of it, the store itself keeps
//! ([`atoll_store::FAMILIES`]).

use atoll_kube::row::RowRef;
use atoll_store::{IndexSpec, Keep, Key};

use crate::keys::{INTERNAL_GROUP, ObjectKey};

/// Index: (cluster, owner uid) -> dependents.
pub const INDEX_OWNER: &str = "owner";
/// Index: (group, resource, identity) -> objects with a deletion timestamp.
pub const INDEX_DELETING: &str = "deleting";
/// Index: (resource, phase) -> Workspaces and LogicalClusters.
pub const INDEX_PHASE: &str = "phase";

/// The indexes the store must keep for this crate and those above it.
pub fn indexes() -> Vec<IndexSpec> {
    vec![
        IndexSpec {
            name: INDEX_OWNER,
            version: 1,
            keep: Keep::Keys,
            extract: by_owner,
        },
        IndexSpec {
            name: INDEX_DELETING,
            version: 1,
            keep: Keep::Keys,
            extract: by_deletion,
        },
        IndexSpec {
            name: INDEX_PHASE,
            version: 1,
            keep: Keep::Keys,
            extract: by_phase,
        },
    ]
}

/// An index value made of parts, each ending in a zero byte so that a shorter value is a prefix of its extensions.
pub(crate) fn value(parts: &[&str]) -> Vec<u8> {
    let mut out = Vec::with_capacity(parts.iter().map(|p| p.len() + 1).sum());
    for part in parts {
        out.extend_from_slice(part.as_bytes());
        out.push(0);
    }
    out
}

fn by_owner(key: &Key, row: &[u8], emit: &mut dyn FnMut(&[u8])) {
    let Some((k, row)) = served(key, row) else {
        return;
    };
    for owner in row.owners() {
        emit(&value(&[k.cluster, owner]));
    }
}

fn by_deletion(key: &Key, row: &[u8], emit: &mut dyn FnMut(&[u8])) {
    let Some((k, row)) = served(key, row) else {
        return;
    };
    if row.is_deleting() {
        emit(&value(&[k.group, k.resource, k.identity]));
    }
}

fn by_phase(key: &Key, row: &[u8], emit: &mut dyn FnMut(&[u8])) {
    let Some((k, row)) = served(key, row) else {
        return;
    };
    let phased = matches!(
        (k.group, k.resource),
        ("tenancy.kcp.io", "workspaces") | ("core.kcp.io", "logicalclusters")
    );
    if !phased {
        return;
    }
    let object = row.value("", "", 0, None);
    let phase = object
        .pointer("/status/phase")
        .and_then(|p| p.as_str())
        .unwrap_or("");
    emit(&value(&[k.resource, phase]));
}

fn served<'a>(key: &'a Key, row: &'a [u8]) -> Option<(ObjectKey<'a>, RowRef<'a>)> {
    let k = ObjectKey::parse(key)?;
    if k.group == INTERNAL_GROUP {
        return None;
    }
    Some((k, RowRef::parse(row).ok()?))
}
