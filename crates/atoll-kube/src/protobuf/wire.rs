//! Protobuf's wire format: numbered fields that are varints, eight or four bytes, or blocks.

/// How deep messages may nest before a body is refused.
pub(super) const MAX_DEPTH: usize = 64;

/// A field's content.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Payload<'a> {
    Varint(u64),
    Fixed64(u64),
    Block(&'a [u8]),
}

/// Reads the fields of one message.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(n)?;
        self.rest = rest;
        Some(taken)
    }

    pub(super) fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.take(1)?.first()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    fn field(&mut self) -> Option<(u64, Payload<'a>)> {
        let key = self.varint()?;
        let payload = match key & 7 {
            0 => Payload::Varint(self.varint()?),
            1 => Payload::Fixed64(u64::from_le_bytes(self.take(8)?.try_into().ok()?)),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Payload::Block(self.take(length)?)
            }
            5 => {
                let bytes: [u8; 4] = self.take(4)?.try_into().ok()?;
                Payload::Fixed64(u64::from(u32::from_le_bytes(bytes)))
            }
            _ => return None,
        };
        Some((key >> 3, payload))
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<(u64, Payload<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.rest = &[];
        }
        Some(field.ok_or_else(|| "the protobuf message ends in the middle of a field".to_owned()))
    }
}

/// Text, which must be UTF-8.
pub(super) fn text(bytes: &[u8]) -> Result<String, String> {
    let text = std::str::from_utf8(bytes);
    text.map(str::to_owned)
        .map_err(|_| "a protobuf string is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_and_truncation_is_refused() {
        let bytes = b"\x08\xac\x02\x12\x02hi\x19\0\0\0\0\0\0\xf0\x3f";
        let fields: Result<Vec<_>, _> = Reader::new(bytes).collect();
        let expected = vec![
            (1, Payload::Varint(300)),
            (2, Payload::Block(b"hi")),
            (3, Payload::Fixed64(1f64.to_bits())),
        ];
        assert_eq!(fields, Ok(expected));
        for end in 1..bytes.len() {
            let whole = [3, 7].contains(&end);
            let fields: Result<Vec<_>, _> = Reader::new(&bytes[..end]).collect();
            assert_eq!(fields.is_ok(), whole, "{end}");
        }
    }
}
