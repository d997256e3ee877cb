//! Ownership across the scale subresource: the one field `spec.replicas` of a Scale is some field of its parent.
//!
//! Before a write through `scale`, the parent's record is turned into that of the Scale; afterwards what became of it is
//! turned back. Whoever took the replicas through `scale` takes them from the parent's managers too.

use super::entries::{Entries, Entry};
use super::fieldset::Set;
use super::path::Path;

/// The version of Scale objects.
pub const SCALE_VERSION: &str = "autoscaling/v1";

fn replicas() -> Set {
    Set::of([Path::fields(["spec", "replicas"])])
}

/// The record of the Scale of an object whose replicas are at `path`.
pub fn to_scale(parent: &Entries, path: &Path) -> Entries {
    let owners = parent.0.iter().filter(|e| e.fields.has(&path.0));
    let entries = owners.map(|e| Entry {
        api_version: SCALE_VERSION.to_owned(),
        fields: replicas(),
        ..e.clone()
    });
    Entries(entries.collect())
}

/// The record of the parent after its Scale was written: `scale` is the Scale's record then, `api_version` the
/// parent's.
pub fn to_parent(parent: Entries, scale: Entries, path: &Path, api_version: &str) -> Entries {
    let at_path = Set::of([path.clone()]);
    let at_scale = |e: &Entry| Entry {
        api_version: SCALE_VERSION.to_owned(),
        ..e.clone()
    };
    let mut scale: Vec<Entry> = scale
        .0
        .into_iter()
        .filter(|e| !e.fields.is_empty())
        .collect();
    let mut entries = Vec::with_capacity(parent.0.len() + 1);
    for mut entry in parent.0 {
        if entry.fields.has(&path.0) {
            match scale.iter().position(|e| e.is_same(&at_scale(&entry))) {
                Some(kept) => {
                    scale.swap_remove(kept);
                }
                None => entry.fields.subtract(&at_path),
            }
        }
        if !entry.fields.is_empty() {
            entries.push(entry);
        }
    }
    for entry in scale {
        entries.push(Entry {
            api_version: api_version.to_owned(),
            fields: at_path.clone(),
            ..entry
        });
    }
    Entries(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(manager: &str, subresource: &str, version: &str, fields: Set) -> Entry {
        Entry {
            fields,
            ..Entry::update(manager, version, subresource)
        }
    }

    #[test]
    fn replicas_taken_through_scale_are_lost_by_the_parents_owner() {
        let path = Path::fields(["spec", "replicas"]);
        let image = Path::fields(["spec", "image"]);
        let parent = Entries(vec![owner(
            "creator",
            "",
            "apps/v1",
            Set::of([path.clone(), image.clone()]),
        )]);
        let scale = to_scale(&parent, &path);
        assert_eq!(scale.0, [owner("creator", "", SCALE_VERSION, replicas())]);

        let kept = to_parent(parent.clone(), scale, &path, "apps/v1");
        assert_eq!(kept, parent);

        let taken = Entries(vec![owner("scaler", "scale", SCALE_VERSION, replicas())]);
        let after = to_parent(parent, taken, &path, "apps/v1");
        assert_eq!(
            after.0,
            [
                owner("creator", "", "apps/v1", Set::of([image])),
                owner("scaler", "scale", "apps/v1", Set::of([path])),
            ]
        );
    }
}
