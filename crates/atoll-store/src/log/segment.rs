//! Segment files: their names and their headers.

use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::{Revision, StoreId};

/// The bytes before the first frame.
pub(crate) const HEADER_BYTES: usize = 64;

const MAGIC: [u8; 8] = *b"AtollLog";
const FORMAT: u32 = 1;
const EXTENSION: &str = "log";

/// The beginning of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) store: StoreId,
    /// Seeds the checksums of this segment's frames.
    pub(crate) salt: u32,
    /// No earlier revision is in it.
    pub(crate) base: Revision,
    /// The last revision of the segment before it; a segment that is missing in between is noticed by it.
    pub(crate) before: Revision,
    /// When it was begun, in milliseconds since 1970.
    pub(crate) time: u64,
}

/// Why a header cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderError {
    /// Shorter than a header, or not one.
    Damaged,
    /// Written by another version of the format.
    Format(u32),
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..8].copy_from_slice(&MAGIC);
        out[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        out[12..16].copy_from_slice(&self.salt.to_le_bytes());
        out[16..32].copy_from_slice(self.store.0.as_bytes());
        out[32..40].copy_from_slice(&self.base.0.to_le_bytes());
        out[40..48].copy_from_slice(&self.before.0.to_le_bytes());
        out[48..56].copy_from_slice(&self.time.to_le_bytes());
        let sum = crc32c::crc32c(&out[..60]);
        out[60..].copy_from_slice(&sum.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Header, HeaderError> {
        let bytes: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(HeaderError::Damaged)?;
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        if bytes[..8] != MAGIC || crc32c::crc32c(&bytes[..60]) != word(60) {
            return Err(HeaderError::Damaged);
        }
        if word(8) != FORMAT {
            return Err(HeaderError::Format(word(8)));
        }
        let mut store = [0; 16];
        store.copy_from_slice(&bytes[16..32]);
        Ok(Header {
            store: StoreId(Uuid::from_bytes(store)),
            salt: word(12),
            base: Revision(long(32)),
            before: Revision(long(40)),
            time: long(48),
        })
    }
}

/// The file of the segment that begins at `base`.
pub(crate) fn path(directory: &Path, base: Revision) -> PathBuf {
    directory.join(format!("{:020}.{EXTENSION}", base.0))
}

/// The segment files of a directory, oldest first. Other files are none of the log's business.
pub(crate) fn list(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let is_number = |stem: &str| stem.len() == 20 && stem.bytes().all(|b| b.is_ascii_digit());
        let named = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .is_some_and(is_number);
        if named
            && path
                .extension()
                .is_some_and(|extension| extension == EXTENSION)
        {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_survive_and_damage_is_noticed() {
        let header = Header {
            store: StoreId(Uuid::from_u128(9)),
            salt: 5,
            base: Revision(77),
            before: Revision(76),
            time: 1_790_000_000_000,
        };
        let bytes = header.encode();
        assert_eq!(Header::decode(&bytes), Ok(header));
        for at in 0..HEADER_BYTES {
            let mut changed = bytes;
            changed[at] ^= 1;
            assert_eq!(
                Header::decode(&changed),
                Err(HeaderError::Damaged),
                "byte {at}"
            );
        }
        assert_eq!(Header::decode(&bytes[..40]), Err(HeaderError::Damaged));
    }
}
