//! What a frame carries: the records of one group commit, each with its revision.

use bytes::{Buf, BufMut, Bytes};

use crate::{Incarnation, Key, Revision};

/// One write as the log keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LoggedWrite {
    pub(crate) key: Key,
    /// When the key (or what was deleted) came into being.
    pub(crate) created: Revision,
    pub(crate) change: Change,
}

/// What happened to the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Put(Bytes),
    /// With the final row to show, if the writer gave one.
    Delete(Option<Bytes>),
}

/// One entry of the log; each has a revision of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// A client's append.
    Append(Vec<LoggedWrite>),
    /// The store started.
    Start(Incarnation),
    /// Nothing up to this revision can be read or watched from any more.
    Floor(Revision),
}

/// The records of one group commit. The first has revision `first`, the others follow without a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) first: Revision,
    /// When it was written, in milliseconds since 1970.
    pub(crate) time: u64,
    pub(crate) records: Vec<Record>,
}

const APPEND: u8 = 1;
const START: u8 = 2;
const FLOOR: u8 = 3;
const PUT: u8 = 1;
const DELETE: u8 = 2;
const DELETE_WITH_ROW: u8 = 3;

impl Batch {
    /// The revision of the last record.
    pub(crate) fn last(&self) -> Revision {
        Revision(self.first.0 + (self.records.len() as u64).saturating_sub(1))
    }

    /// The records with their revisions.
    pub(crate) fn numbered(&self) -> impl Iterator<Item = (Revision, &Record)> {
        (self.first.0..).map(Revision).zip(&self.records)
    }

    /// Appends the encoding to `out`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64_le(self.first.0);
        out.put_u64_le(self.time);
        put_varint(out, self.records.len() as u64);
        for (revision, record) in self.numbered() {
            match record {
                Record::Append(writes) => {
                    out.put_u8(APPEND);
                    put_varint(out, writes.len() as u64);
                    for write in writes {
                        encode_write(out, revision, write);
                    }
                }
                Record::Start(incarnation) => {
                    out.put_u8(START);
                    out.put_slice(incarnation.0.as_bytes());
                }
                Record::Floor(floor) => {
                    out.put_u8(FLOOR);
                    out.put_u64_le(floor.0);
                }
            }
        }
    }

    /// The batch that [`Batch::encode`] wrote; `None` for anything else. The rows share the payload's memory.
    pub(crate) fn decode(mut payload: Bytes) -> Option<Batch> {
        let first = Revision(payload.try_get_u64_le().ok()?);
        let time = payload.try_get_u64_le().ok()?;
        let count = take_varint(&mut payload)?;
        let mut records = Vec::with_capacity(usize::try_from(count).ok()?.min(4096));
        for at in 0..count {
            let revision = Revision(first.0.checked_add(at)?);
            records.push(match payload.try_get_u8().ok()? {
                APPEND => {
                    let writes = take_varint(&mut payload)?;
                    let mut out = Vec::with_capacity(usize::try_from(writes).ok()?.min(64));
                    for _ in 0..writes {
                        out.push(decode_write(&mut payload, revision)?);
                    }
                    Record::Append(out)
                }
                START => {
                    let mut id = [0; 16];
                    payload.try_copy_to_slice(&mut id).ok()?;
                    Record::Start(Incarnation(uuid::Uuid::from_bytes(id)))
                }
                FLOOR => Record::Floor(Revision(payload.try_get_u64_le().ok()?)),
                _ => return None,
            });
        }
        (payload.is_empty() && count > 0).then_some(Batch {
            first,
            time,
            records,
        })
    }
}

fn encode_write(out: &mut Vec<u8>, revision: Revision, write: &LoggedWrite) {
    let (kind, row) = match &write.change {
        Change::Put(row) => (PUT, Some(row)),
        Change::Delete(None) => (DELETE, None),
        Change::Delete(Some(row)) => (DELETE_WITH_ROW, Some(row)),
    };
    out.put_u8(kind);
    put_varint(out, revision.0.saturating_sub(write.created.0));
    put_varint(out, write.key.as_bytes().len() as u64);
    out.put_slice(write.key.as_bytes());
    if let Some(row) = row {
        put_varint(out, row.len() as u64);
        out.put_slice(row);
    }
}

fn decode_write(payload: &mut Bytes, revision: Revision) -> Option<LoggedWrite> {
    let kind = payload.try_get_u8().ok()?;
    let created = Revision(revision.0.checked_sub(take_varint(payload)?)?);
    let key = Key::from_bytes(take_bytes(payload)?).ok()?;
    let change = match kind {
        PUT => Change::Put(take_bytes(payload)?),
        DELETE => Change::Delete(None),
        DELETE_WITH_ROW => Change::Delete(Some(take_bytes(payload)?)),
        _ => return None,
    };
    Some(LoggedWrite {
        key,
        created,
        change,
    })
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn take_varint(from: &mut impl Buf) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = from.try_get_u8().ok()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn take_bytes(from: &mut Bytes) -> Option<Bytes> {
    let len = usize::try_from(take_varint(from)?).ok()?;
    (len <= from.len()).then(|| from.split_to(len))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Batch {
        let write = |name: &str, created, change| LoggedWrite {
            key: Key::new(["", "configmaps", "", name]),
            created: Revision(created),
            change,
        };
        Batch {
            first: Revision(300),
            time: 1_790_000_000_000,
            records: vec![
                Record::Append(vec![write(
                    "a",
                    300,
                    Change::Put(Bytes::from_static(b"row")),
                )]),
                Record::Start(Incarnation(uuid::Uuid::from_u128(7))),
                Record::Append(vec![
                    write("b", 2, Change::Delete(None)),
                    write("c", 299, Change::Delete(Some(Bytes::from(vec![1; 300])))),
                ]),
                Record::Append(vec![]),
                Record::Floor(Revision(12)),
            ],
        }
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let batch = example();
        let mut bytes = Vec::new();
        batch.encode(&mut bytes);
        assert_eq!(batch.last(), Revision(304));
        assert_eq!(Batch::decode(Bytes::from(bytes)), Some(batch));
    }

    #[test]
    fn no_shortened_or_lengthened_payload_decodes() {
        let mut bytes = Vec::new();
        example().encode(&mut bytes);
        for len in 0..bytes.len() {
            assert_eq!(
                Batch::decode(Bytes::copy_from_slice(&bytes[..len])),
                None,
                "{len} bytes"
            );
        }
        bytes.push(0);
        assert_eq!(Batch::decode(Bytes::from(bytes)), None);
    }
}
