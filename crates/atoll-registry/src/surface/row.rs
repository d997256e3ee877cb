//! The stored form of a surface: text, a line with the surface's id, then one sorted line per custom definition:
//! `<definition id> <- or T for terminating> <CRD name>`. The id comes first so that a cached surface is found by
//! looking at 64 bytes.

use atoll_kube::{DefinitionId, Status};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

const ID_LENGTH: usize = 64;

/// One custom definition of a surface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RowEntry {
    pub(crate) definition: DefinitionId,
    pub(crate) crd: String,
    pub(crate) terminating: bool,
}

/// A surface row, parsed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SurfaceRow {
    pub(crate) entries: Vec<RowEntry>,
}

fn damaged() -> Status {
    Status::internal("a stored surface row is damaged")
}

/// The id of the surface in a row.
pub(crate) fn id(row: &[u8]) -> Result<&str, Status> {
    row.get(..ID_LENGTH)
        .and_then(|id| std::str::from_utf8(id).ok())
        .ok_or_else(damaged)
}

impl SurfaceRow {
    pub(crate) fn parse(row: &[u8]) -> Result<Self, Status> {
        let text = std::str::from_utf8(row).map_err(|_| damaged())?;
        let mut entries = Vec::new();
        for line in text.lines().skip(1) {
            let mut parts = line.splitn(3, ' ');
            let (Some(hex), Some(flag), Some(crd)) = (parts.next(), parts.next(), parts.next())
            else {
                return Err(damaged());
            };
            let mut id = [0u8; 32];
            hex::decode_to_slice(hex, &mut id).map_err(|_| damaged())?;
            entries.push(RowEntry {
                definition: DefinitionId(id),
                crd: crd.to_owned(),
                terminating: flag == "T",
            });
        }
        Ok(Self { entries })
    }

    /// The same surface with `entry` in place of what it had for that CRD; `None` takes the CRD out.
    pub(crate) fn with(mut self, crd: &str, entry: Option<RowEntry>) -> Self {
        self.entries.retain(|e| e.crd != crd);
        self.entries.extend(entry);
        self.entries.sort();
        self
    }

    pub(crate) fn encode(&self) -> Bytes {
        use std::fmt::Write as _;
        let mut lines = String::new();
        for e in &self.entries {
            let flag = if e.terminating { 'T' } else { '-' };
            // Writing to a String cannot fail.
            let _ = writeln!(lines, "{} {flag} {}", e.definition, e.crd);
        }
        let id = hex::encode(Sha256::digest(lines.as_bytes()));
        format!("{id}\n{lines}").into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_round_trip_and_equal_content_has_equal_ids() {
        let entry = |n: u8, crd: &str| RowEntry {
            definition: DefinitionId([n; 32]),
            crd: crd.into(),
            terminating: n == 2,
        };
        let a = SurfaceRow::default()
            .with("x.g", Some(entry(1, "x.g")))
            .with("y.g", Some(entry(2, "y.g")));
        let b = SurfaceRow::default()
            .with("y.g", Some(entry(2, "y.g")))
            .with("x.g", Some(entry(1, "x.g")));
        assert_eq!(a.encode(), b.encode());
        assert_eq!(SurfaceRow::parse(&a.encode()).unwrap(), a);
        assert_eq!(id(&a.encode()).unwrap().len(), ID_LENGTH);
        let c = a.clone().with("x.g", None);
        assert_ne!(id(&a.encode()).unwrap(), id(&c.encode()).unwrap());
        assert_eq!(c.entries.len(), 1);
    }
}
