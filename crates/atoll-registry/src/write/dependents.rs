//! What writes leave for the garbage collector: a row for every owner that is gone while something still names it.
//!
//! Such a row is made in the same append that removes the owner (or that names an owner which does not exist), so the
//! collector's pending work is durable and its cost follows the work, never the number of objects. A dependent that is
//! stored between an owner's last look around and the owner's end is found by one more look behind the append.

use atoll_kube::{Status, meta};
use atoll_store::{Append, At, Check, Key, Write};
use bytes::Bytes;
use serde_json::Value;

use super::attempt::Attempt;
use crate::{INDEX_OWNER, INTERNAL_GROUP, Registry, indexes, read::read_error};

/// The resource of these rows.
pub(crate) const GARBAGE: &str = "garbage";

/// The row that says: `owner` is gone from `cluster`, look at its dependents.
pub(crate) fn garbage_key(cluster: &str, owner: &str) -> Key {
    Key::new([INTERNAL_GROUP, GARBAGE, "", cluster, "", owner])
}

/// For an object that goes: a garbage row when it has dependents.
pub(super) fn note_removal(attempt: &mut Attempt<'_>, object: &Value) -> Result<(), Status> {
    let (uid, cluster) = (meta::uid(object), attempt.place.cluster.as_str());
    if !attempt.place.kind.collects_garbage() || uid.is_empty() {
        return Ok(());
    }
    let owned = indexes::value(&[cluster, uid]);
    let mut dependents = attempt.snapshot.index(INDEX_OWNER, &owned, None);
    let any = dependents.next().transpose().map_err(read_error)?.is_some();
    drop(dependents);
    let key = garbage_key(cluster, uid);
    if any {
        attempt.writes.push(Write::Put(key, Bytes::new()));
    } else {
        attempt.removes = Some((owned, key));
    }
    Ok(())
}

/// After an object is gone that had no dependents when its removal was decided: a garbage row when it has some by now.
/// None can come later: they would have found their owner gone.
pub(super) async fn look_again(
    registry: &Registry,
    owned: &[u8],
    garbage: Key,
) -> Result<(), Status> {
    let store = &registry.inner.store;
    let found = {
        let snapshot = store.snapshot(At::Latest).map_err(read_error)?;
        let mut dependents = snapshot.index(INDEX_OWNER, owned, None);
        dependents.next().transpose().map_err(read_error)?.is_some()
    };
    if found {
        let append = Append {
            checks: Vec::new(),
            writes: vec![Write::Put(garbage, Bytes::new())],
        };
        store.append(append).await.map_err(Status::internal)?;
    }
    Ok(())
}

/// For an object with owners: owners that exist must still do so when the object is stored; the first one that does
/// not gets a garbage row.
pub(super) fn note_owners(attempt: &mut Attempt<'_>, object: &Value) -> Result<(), Status> {
    let mut absent = None;
    for owner in meta::owner_references(object) {
        let (group, _) = atoll_kube::ids::split_api_version(owner.api_version);
        let Some(entry) = attempt.place.surface.kind(group, owner.kind) else {
            continue;
        };
        let namespace = entry
            .definition
            .namespaced()
            .then(|| meta::namespace(object));
        let key = entry
            .id()
            .key(attempt.place.cluster.as_str(), namespace, owner.name);
        let found = attempt.snapshot.get(&key).map_err(read_error)?;
        match found {
            Some(version) if crate::read::row(&version.row)?.uid() == owner.uid => {
                attempt.checks.push(Check::Exists(key));
            }
            _ => absent = absent.or(Some(owner.uid)),
        }
    }
    if let Some(uid) = absent.filter(|uid| !uid.is_empty()) {
        attempt.writes.push(Write::Put(
            garbage_key(attempt.place.cluster.as_str(), uid),
            Bytes::new(),
        ));
    }
    Ok(())
}
