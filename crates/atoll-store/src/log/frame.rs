//! Frames: how a payload lies in a segment, so that damage is noticed and told from a torn end.
//!
//! `magic u32 | length u32 | crc32c u32 | payload`, little-endian. The checksum begins with the segment's random salt, so
//! bytes of an older log that a row happens to contain are never taken for a frame of this one.

/// The bytes before the payload.
pub(crate) const OVERHEAD: usize = 12;

/// The longest payload that is believed: a full group of the largest appends stays far below it.
pub(crate) const MAX_PAYLOAD: usize = 1 << 28;

const MAGIC: [u8; 4] = *b"\xa7oll";

/// What lies at an offset.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A valid frame; its payload is this range of the bytes looked at.
    Frame(std::ops::Range<usize>),
    /// The bytes end here, at a boundary.
    End,
    /// Neither.
    Damage(&'static str),
}

fn checksum(salt: u32, length: u32, payload: &[u8]) -> u32 {
    let seed = crc32c::crc32c_append(salt, &length.to_le_bytes());
    crc32c::crc32c_append(seed, payload)
}

/// Frames whatever `fill` appends to `out`.
pub(crate) fn encode(out: &mut Vec<u8>, salt: u32, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; OVERHEAD]);
    fill(out);
    let length = u32::try_from(out.len() - start - OVERHEAD).unwrap_or(u32::MAX);
    let sum = checksum(salt, length, &out[start + OVERHEAD..]);
    out[start..start + 4].copy_from_slice(&MAGIC);
    out[start + 4..start + 8].copy_from_slice(&length.to_le_bytes());
    out[start + 8..start + 12].copy_from_slice(&sum.to_le_bytes());
}

/// Reads a frame's header: payload length and checksum.
pub(crate) fn header(bytes: &[u8; OVERHEAD]) -> Option<(usize, u32)> {
    let word =
        |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let length = word(4) as usize;
    (bytes[..4] == MAGIC && length <= MAX_PAYLOAD).then(|| (length, word(8)))
}

/// Whether the payload is what was written under this checksum.
pub(crate) fn verify(salt: u32, payload: &[u8], sum: u32) -> bool {
    checksum(
        salt,
        u32::try_from(payload.len()).unwrap_or(u32::MAX),
        payload,
    ) == sum
}

/// What lies at `offset`.
pub(crate) fn at(bytes: &[u8], salt: u32, offset: usize) -> Found {
    let rest = bytes.get(offset..).unwrap_or_default();
    if rest.is_empty() {
        return Found::End;
    }
    let Some(head) = rest.first_chunk::<OVERHEAD>() else {
        return Found::Damage("a frame's header is cut off");
    };
    let Some((length, sum)) = header(head) else {
        return Found::Damage("no frame begins here");
    };
    let Some(payload) = rest.get(OVERHEAD..OVERHEAD + length) else {
        return Found::Damage("a frame is cut off");
    };
    if !verify(salt, payload, sum) {
        return Found::Damage("a frame's checksum does not match its content");
    }
    Found::Frame(offset + OVERHEAD..offset + OVERHEAD + length)
}

/// Whether any valid frame begins at `offset` or later.
pub(crate) fn any_from(bytes: &[u8], salt: u32, offset: usize) -> Option<usize> {
    let rest = bytes.get(offset..).unwrap_or_default();
    rest.windows(MAGIC.len())
        .enumerate()
        .filter(|(_, window)| *window == MAGIC)
        .map(|(at, _)| offset + at)
        .find(|candidate| matches!(at(bytes, salt, *candidate), Found::Frame(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_frames() -> (Vec<u8>, usize) {
        let mut bytes = Vec::new();
        encode(&mut bytes, 7, |out| out.extend_from_slice(b"first"));
        let second = bytes.len();
        encode(&mut bytes, 7, |out| out.extend_from_slice(b"second"));
        (bytes, second)
    }

    #[test]
    fn frames_are_found_in_order() {
        let (bytes, second) = two_frames();
        assert_eq!(at(&bytes, 7, 0), Found::Frame(OVERHEAD..second));
        assert_eq!(
            at(&bytes, 7, second),
            Found::Frame(second + OVERHEAD..bytes.len())
        );
        assert_eq!(at(&bytes, 7, bytes.len()), Found::End);
    }

    #[test]
    fn every_changed_byte_is_damage() {
        let (bytes, second) = two_frames();
        for at_byte in 0..second {
            let mut changed = bytes.clone();
            changed[at_byte] ^= 0x10;
            assert!(
                matches!(at(&changed, 7, 0), Found::Damage(_)),
                "byte {at_byte}"
            );
            assert_eq!(any_from(&changed, 7, 1), Some(second), "byte {at_byte}");
        }
    }

    #[test]
    fn a_frame_of_another_segment_is_none_of_ours() {
        let (bytes, _) = two_frames();
        assert!(matches!(at(&bytes, 8, 0), Found::Damage(_)));
        assert_eq!(any_from(&bytes, 8, 0), None);
    }
}
