//! The indexes that are kept: their ids, and what a write changes in them.

use std::collections::BTreeMap;

use super::rows::IndexId;
use crate::index::family_value;
use crate::{FAMILIES, IndexSpec, Keep, Key, Prefix, Revision};

/// Counts keys by family, so that counting all of a resource is one lookup.
pub(super) const KINDS: &str = "kinds";

fn extract_family(key: &Key, _: &[u8], emit: &mut dyn FnMut(&[u8])) {
    let mut value = Vec::with_capacity(64);
    if family_value(key, &mut value) {
        emit(&value);
    }
}

fn extract_kind(key: &Key, _: &[u8], emit: &mut dyn FnMut(&[u8])) {
    emit(key.family().as_bytes());
}

/// The indexes every store has.
pub(super) fn built_in() -> [IndexSpec; 2] {
    [
        IndexSpec {
            name: FAMILIES,
            version: 2,
            keep: Keep::Counts,
            extract: extract_family,
        },
        IndexSpec {
            name: KINDS,
            version: 2,
            keep: Keep::Counts,
            extract: extract_kind,
        },
    ]
}

/// An index in use.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    pub(crate) id: IndexId,
    pub(crate) spec: IndexSpec,
    /// Nothing about earlier revisions is in it.
    pub(crate) built: Revision,
}

/// What a write does to one index value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Added,
    Removed,
    /// The row changed and the value did not; only the counters of families and kinds take note.
    Kept,
}

/// The value under which all keys of a prefix of at least three components are counted.
pub(super) fn counted_as(prefix: &Prefix) -> Option<Vec<u8>> {
    let key = Key::from_bytes(prefix.bytes().clone()).ok()?;
    let mut value = key.family().as_bytes().to_vec();
    if prefix.depth() > 3 {
        family_value(&key, &mut value);
    }
    Some(value)
}

impl Index {
    /// Whether its values depend on the key alone.
    fn is_built_in(&self) -> bool {
        self.spec.name == FAMILIES || self.spec.name == KINDS
    }

    fn values(&self, key: &Key, row: Option<&[u8]>) -> Vec<Vec<u8>> {
        let mut values = Vec::new();
        if let Some(row) = row {
            (self.spec.extract)(key, row, &mut |value| values.push(value.to_vec()));
        }
        values.sort_unstable();
        values.dedup();
        values
    }

    /// The values that a key gains and loses when its row changes.
    pub(crate) fn difference(
        &self,
        key: &Key,
        old: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Vec<(Vec<u8>, Turn)> {
        if old.is_some() && new.is_some() && self.is_built_in() {
            let kept = self.values(key, new).into_iter();
            return kept.map(|value| (value, Turn::Kept)).collect();
        }
        let (old, new) = (self.values(key, old), self.values(key, new));
        let lost = old
            .iter()
            .filter(|value| new.binary_search(value).is_err())
            .map(|value| (value.clone(), Turn::Removed));
        let won = new
            .iter()
            .filter(|value| old.binary_search(value).is_err())
            .map(|value| (value.clone(), Turn::Added));
        lost.chain(won).collect()
    }
}

/// A note about an index that the replica keeps: `id | version | keep | built`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) id: IndexId,
    pub(super) version: u32,
    pub(super) keep: Keep,
    pub(super) built: Revision,
}

impl Note {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(17);
        out.extend_from_slice(&self.id.0.to_be_bytes());
        out.extend_from_slice(&self.version.to_be_bytes());
        out.push(u8::from(self.keep == Keep::Counts));
        out.extend_from_slice(&self.built.0.to_be_bytes());
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Note> {
        let bytes: &[u8; 17] = bytes.try_into().ok()?;
        let word = |at: usize| {
            u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Some(Note {
            id: IndexId(word(0)),
            version: word(4),
            keep: if bytes[8] == 0 {
                Keep::Keys
            } else {
                Keep::Counts
            },
            built: Revision(u64::from(word(9)) << 32 | u64::from(word(13))),
        })
    }

    pub(super) fn describes(&self, spec: &IndexSpec) -> bool {
        self.version == spec.version && self.keep == spec.keep
    }
}

/// The specs of a store, by name; ours first, so that nobody takes their names.
pub(super) fn all_specs(given: &[IndexSpec]) -> BTreeMap<&'static str, IndexSpec> {
    let given = given.iter().map(|spec| (spec.name, *spec));
    let ours = built_in().map(|spec| (spec.name, spec));
    given.chain(ours).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_survive() {
        let note = Note {
            id: IndexId(7),
            version: 3,
            keep: Keep::Counts,
            built: Revision(1 << 40 | 5),
        };
        assert_eq!(Note::decode(&note.encode()), Some(note));
        assert_eq!(Note::decode(b"short"), None);
    }

    #[test]
    fn only_differences_are_written() {
        fn words(_: &Key, row: &[u8], emit: &mut dyn FnMut(&[u8])) {
            row.split(|b| *b == b' ')
                .filter(|word| !word.is_empty())
                .for_each(emit);
        }
        let spec = IndexSpec {
            name: "words",
            version: 1,
            keep: Keep::Keys,
            extract: words,
        };
        let index = Index {
            id: IndexId(1),
            spec,
            built: Revision(1),
        };
        let key = Key::new(["a"]);
        let check = |old: Option<&str>, new: Option<&str>, expected: &[(&str, Turn)]| {
            let found = index.difference(&key, old.map(str::as_bytes), new.map(str::as_bytes));
            let expected: Vec<(Vec<u8>, Turn)> = expected
                .iter()
                .map(|(value, turn)| (value.as_bytes().to_vec(), *turn))
                .collect();
            assert_eq!(found, expected);
        };
        check(
            None,
            Some("b a a"),
            &[("a", Turn::Added), ("b", Turn::Added)],
        );
        check(
            Some("a b"),
            Some("b c"),
            &[("a", Turn::Removed), ("c", Turn::Added)],
        );
        check(Some("a"), Some("a"), &[]);
        check(Some("a"), None, &[("a", Turn::Removed)]);
    }
}
