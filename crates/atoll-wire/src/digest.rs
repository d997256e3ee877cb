//! The two hashes that center and edge must compute alike: of a body, and of a set of recorded copies.
//!
//! A [`SetDigest`] is a sum of per-copy hashes, so adding and removing a copy are O(1) and the order does not matter.

use sha2::{Digest, Sha256};

use crate::CopyId;

/// The hash that names a body: SHA-256 of its bytes.
pub fn body_hash(body: &[u8]) -> [u8; 32] {
    Sha256::digest(body).into()
}

/// An order-free digest of (copy, render hash) pairs, with their count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SetDigest {
    sum: u128,
    count: u64,
}

impl SetDigest {
    /// The digest of nothing: what an agent without state sends.
    pub const EMPTY: SetDigest = SetDigest { sum: 0, count: 0 };

    /// What one pair contributes. Callers that keep it may add and remove it without hashing again.
    pub fn entry(cluster: &str, object_uid: &str, render_hash: &[u8]) -> u128 {
        let mut hasher = Sha256::new();
        hasher.update(cluster.as_bytes());
        hasher.update([0]);
        hasher.update(object_uid.as_bytes());
        hasher.update([0]);
        hasher.update(render_hash);
        let full: [u8; 32] = hasher.finalize().into();
        let mut half = [0; 16];
        half.copy_from_slice(&full[..16]);
        u128::from_be_bytes(half)
    }

    /// Adds an entry made by [`SetDigest::entry`].
    pub fn add_entry(&mut self, entry: u128) {
        self.sum = self.sum.wrapping_add(entry);
        self.count += 1;
    }

    /// Takes out an entry added before.
    pub fn remove_entry(&mut self, entry: u128) {
        self.sum = self.sum.wrapping_sub(entry);
        self.count = self.count.saturating_sub(1);
    }

    /// Adds one recorded copy.
    pub fn add(&mut self, copy: &CopyId, render_hash: &[u8]) {
        self.add_entry(Self::entry(&copy.cluster, &copy.uid, render_hash));
    }

    /// Takes one recorded copy out.
    pub fn remove(&mut self, copy: &CopyId, render_hash: &[u8]) {
        self.remove_entry(Self::entry(&copy.cluster, &copy.uid, render_hash));
    }

    /// How many copies it covers.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The form sent on the wire: 16 bytes of sum, 8 bytes of count.
    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = self.sum.to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.count.to_be_bytes());
        bytes
    }

    /// Reads the wire form; anything malformed equals no set at all.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let sum = u128::from_be_bytes(bytes.get(..16)?.try_into().ok()?);
        let count = u64::from_be_bytes(bytes.get(16..24)?.try_into().ok()?);
        (bytes.len() == 24).then_some(SetDigest { sum, count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(uid: &str) -> CopyId {
        CopyId {
            cluster: "c1".into(),
            uid: uid.into(),
        }
    }

    #[test]
    fn order_does_not_matter_and_removal_undoes_addition() {
        let mut one = SetDigest::EMPTY;
        one.add(&copy("a"), b"1");
        one.add(&copy("b"), b"2");
        let mut two = SetDigest::EMPTY;
        two.add(&copy("x"), b"9");
        two.add(&copy("b"), b"2");
        two.add(&copy("a"), b"1");
        two.remove(&copy("x"), b"9");
        assert_eq!(one, two);
        assert_eq!(SetDigest::from_bytes(&one.to_bytes()), Some(one));
    }

    #[test]
    fn render_hash_and_identity_both_count() {
        let of = |uid: &str, hash: &[u8]| {
            let mut digest = SetDigest::EMPTY;
            digest.add(&copy(uid), hash);
            digest
        };
        assert_ne!(of("a", b"1"), of("a", b"2"));
        assert_ne!(of("a", b"1"), of("b", b"1"));
        assert_eq!(SetDigest::from_bytes(b"short"), None);
    }
}
