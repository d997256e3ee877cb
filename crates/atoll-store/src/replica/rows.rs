//! How rows, indexes, counters and notes lie in the replica's one ordered space.
//!
//! The first byte says what a row is: `d`ata, `i`ndex entry, `c`ounter, `m`eta note. Every value begins with whether the
//! row exists and the revision that wrote it; a deletion is written as a value that says so, because the compaction
//! [rule](super::gc) has to see it.

use bytes::{Buf, BufMut, Bytes};

use crate::{Key, Prefix, Revision, Version};

const DATA: u8 = b'd';
const INDEX: u8 = b'i';
const COUNTER: u8 = b'c';
const META: u8 = b'm';

const GONE: u8 = 0;
const LIVE: u8 = 1;
/// Marker and revision, before every value.
const STAMP_BYTES: usize = 9;

/// The number that an index's rows carry instead of its name. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct IndexId(pub(crate) u32);

// Keys.

pub(crate) fn data_key(key: &Key) -> Vec<u8> {
    tagged(DATA, key.as_bytes())
}

pub(crate) fn data_prefix(prefix: &Prefix) -> Vec<u8> {
    tagged(DATA, prefix.as_bytes())
}

/// The key of a data row.
pub(crate) fn key_of_data(row: &[u8]) -> Option<Key> {
    Key::from_bytes(Bytes::copy_from_slice(row.get(1..)?)).ok()
}

pub(crate) fn index_key(id: IndexId, value: &[u8], key: &Key) -> Vec<u8> {
    let mut out = index_prefix(id, value);
    out.extend_from_slice(key.as_bytes());
    out
}

/// Where the entries of one value are. Zero bytes in a value are escaped so that no value is a prefix of another's entries.
pub(crate) fn index_prefix(id: IndexId, value: &[u8]) -> Vec<u8> {
    let mut out = index_from(id, value);
    out.extend_from_slice(&[0, 1]);
    out
}

/// Where the entries of the values from `value` on begin.
pub(crate) fn index_from(id: IndexId, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() + 128);
    out.push(INDEX);
    out.put_u32(id.0);
    for byte in value {
        out.push(*byte);
        if *byte == 0 {
            out.push(0xff);
        }
    }
    out
}

/// The value and the key of an index entry.
pub(crate) fn split_index_key(row: &[u8]) -> Option<(Vec<u8>, Key)> {
    let mut rest = row.get(5..)?;
    let mut value = Vec::new();
    loop {
        match rest {
            [0, 1, key @ ..] => {
                return Some((value, Key::from_bytes(Bytes::copy_from_slice(key)).ok()?));
            }
            [0, 0xff, more @ ..] => {
                value.push(0);
                rest = more;
            }
            [byte, more @ ..] => {
                value.push(*byte);
                rest = more;
            }
            [] => return None,
        }
    }
}

pub(crate) fn counter_key(id: IndexId, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(5 + value.len());
    out.push(COUNTER);
    out.put_u32(id.0);
    out.extend_from_slice(value);
    out
}

/// The value that a counter counts.
pub(crate) fn value_of_counter(row: &[u8]) -> &[u8] {
    row.get(5..).unwrap_or_default()
}

/// Everything that belongs to an index, as two prefixes.
pub(crate) fn index_ranges(id: IndexId) -> [Vec<u8>; 2] {
    [index_from(id, b""), counter_key(id, b"")]
}

pub(crate) fn meta_key(name: &str) -> Vec<u8> {
    tagged(META, name.as_bytes())
}

pub(crate) fn name_of_meta(row: &[u8]) -> Option<&str> {
    std::str::from_utf8(row.get(1..)?).ok()
}

fn tagged(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + bytes.len());
    out.push(tag);
    out.extend_from_slice(bytes);
    out
}

/// The smallest byte string behind everything that begins with `prefix`; `None` when there is none.
pub(crate) fn end_of_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

// Values.

/// The value of a row that does not exist from `modified` on.
pub(crate) fn gone(modified: Revision) -> Vec<u8> {
    stamped(GONE, modified, 0)
}

/// The value of a row with this content.
pub(crate) fn live(modified: Revision, content: &[u8]) -> Vec<u8> {
    let mut out = stamped(LIVE, modified, content.len());
    out.extend_from_slice(content);
    out
}

/// The value of a data row.
pub(crate) fn data_value(created: Revision, modified: Revision, row: &[u8]) -> Vec<u8> {
    let mut out = stamped(LIVE, modified, 8 + row.len());
    out.put_u64(created.0);
    out.extend_from_slice(row);
    out
}

fn stamped(marker: u8, modified: Revision, more: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(STAMP_BYTES + more);
    out.push(marker);
    out.put_u64(modified.0);
    out
}

/// What a value begins with: whether the row exists, and who wrote it.
pub(crate) fn stamp(value: &[u8]) -> Option<(bool, Revision)> {
    let mut rest = value;
    let marker = rest.try_get_u8().ok()?;
    let modified = Revision(rest.try_get_u64().ok()?);
    (marker <= LIVE).then_some((marker == LIVE, modified))
}

/// The content of a value, if its row exists.
pub(crate) fn content(value: &[u8]) -> Option<&[u8]> {
    (value.first() == Some(&LIVE))
        .then(|| value.get(STAMP_BYTES..))
        .flatten()
}

/// The version that a data row's value holds, if the row exists.
pub(crate) fn version(value: &[u8]) -> Option<Version> {
    let (_, modified) = stamp(value)?;
    let mut content = content(value)?;
    let created = Revision(content.try_get_u64().ok()?);
    Some(Version {
        created,
        modified,
        row: Bytes::copy_from_slice(content),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_entries_sort_by_value_then_key() {
        let key = |name: &str| Key::new(["", "pods", "", name]);
        let values: [&[u8]; 5] = [b"", b"\0", b"\0\x01", b"a", b"a\0b"];
        let mut rows = Vec::new();
        for value in values {
            for name in ["a", "b"] {
                rows.push(index_key(IndexId(3), value, &key(name)));
                assert_eq!(
                    split_index_key(rows.last().unwrap()),
                    Some((value.to_vec(), key(name)))
                );
            }
        }
        assert!(rows.is_sorted());
        for value in values {
            let prefix = index_prefix(IndexId(3), value);
            assert_eq!(
                rows.iter().filter(|row| row.starts_with(&prefix)).count(),
                2,
                "{value:?}"
            );
        }
    }

    #[test]
    fn values_keep_their_stamp() {
        let value = data_value(Revision(3), Revision(9), b"row");
        assert_eq!(stamp(&value), Some((true, Revision(9))));
        assert_eq!(
            version(&value),
            Some(Version {
                created: Revision(3),
                modified: Revision(9),
                row: Bytes::from_static(b"row")
            })
        );
        assert_eq!(stamp(&gone(Revision(4))), Some((false, Revision(4))));
        assert_eq!(version(&gone(Revision(4))), None);
        assert_eq!(stamp(b"\x01\0"), None);
    }

    #[test]
    fn the_end_of_a_prefix_is_behind_all_of_it() {
        assert_eq!(end_of_prefix(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(end_of_prefix(b"a\xff"), Some(b"b".to_vec()));
        assert_eq!(end_of_prefix(b"\xff"), None);
    }
}
