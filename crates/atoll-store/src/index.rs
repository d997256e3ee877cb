//! Secondary indexes: what they are, not how they are kept.

use crate::Key;

/// What an index keeps for each value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Every key that has the value. [`crate::Snapshot::index`] lists them; counting walks them.
    Keys,
    /// Only how many keys have the value: one small row per distinct value, whatever the number of keys.
    Counts,
}

/// A secondary index over all rows: a function from a row to the values under which it is found.
///
/// The function must depend on its arguments alone. When it changes, so must `version`: the index is then rebuilt at the next start.
#[derive(Clone, Copy, Debug)]
pub struct IndexSpec {
    /// The name it is asked by.
    pub name: &'static str,
    /// Which revision of `extract` this is.
    pub version: u32,
    /// Keys or counts.
    pub keep: Keep,
    /// Calls back with each value of the row (any bytes). Most rows have none in most indexes.
    pub extract: Extract,
}

/// Calls back with each index value of a row.
pub type Extract = fn(&Key, &[u8], &mut dyn FnMut(&[u8]));

/// The index every store has: how many keys there are in each (fourth component, family).
///
/// Its values are `component(3)`, then components 0 to 2, each with its terminator; with Kubernetes' keys that is the
/// inventory of a logical cluster. Use [`families_of`] as the `from` of [`crate::Snapshot::index_values`].
pub const FAMILIES: &str = "families";

/// The beginning of all values of [`FAMILIES`] that belong to the fourth component `scope`.
pub fn families_of(scope: &[u8]) -> Vec<u8> {
    let mut from = scope.to_vec();
    from.push(0);
    from
}

/// The value of a key in [`FAMILIES`]; keys of fewer than four components have none.
pub(crate) fn family_value(key: &Key, out: &mut Vec<u8>) -> bool {
    let mut ends = key.prefix_ends().skip(3);
    let (Some(family), Some(scope)) = (ends.next(), ends.next()) else {
        return false;
    };
    let bytes = key.as_bytes();
    out.clear();
    out.extend_from_slice(&bytes[family..scope]);
    out.extend_from_slice(&bytes[..family]);
    true
}
