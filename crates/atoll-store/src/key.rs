//! Keys are lists of components, ordered component by component.
//!
//! Each component is stored with a 0x00 behind it. That makes byte order equal to component order, makes every list of
//! leading components a byte prefix, and makes it impossible for the prefix `["a"]` to match the key `["ab"]`.

use std::fmt;

use bytes::Bytes;

/// The byte that ends a component, and so cannot occur inside one.
const END: u8 = 0x00;

/// How many leading components name the family of a key: the unit of which an append may write at most one key.
pub const FAMILY_COMPONENTS: usize = 3;

/// The name of one row: an ordered list of components.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Bytes);

/// Zero or more whole leading components; the empty prefix covers every key.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(Bytes);

/// A key or prefix that cannot exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The last component's terminator is missing.
    #[error("the bytes do not end with a component terminator")]
    Unterminated,
    /// A key has at least one component.
    #[error("a key needs at least one component")]
    Empty,
}

fn encode<I, C>(components: I) -> Bytes
where
    I: IntoIterator<Item = C>,
    C: AsRef<[u8]>,
{
    let mut out = Vec::with_capacity(96);
    for component in components {
        let component = component.as_ref();
        debug_assert!(
            !component.contains(&END),
            "a key component contains a zero byte"
        );
        // A zero byte would forge a component boundary; whoever lets one through gets a key of its own, never another's.
        out.extend(component.iter().map(|b| if *b == END { 0x01 } else { *b }));
        out.push(END);
    }
    Bytes::from(out)
}

/// The offset just behind the `n`th component, if there are that many.
fn end_of(bytes: &[u8], n: usize) -> Option<usize> {
    if n == 0 {
        return Some(0);
    }
    bytes
        .iter()
        .enumerate()
        .filter(|(_, b)| **b == END)
        .nth(n - 1)
        .map(|(at, _)| at + 1)
}

fn components(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    // The terminator of the last component would give one empty piece too many.
    bytes
        .strip_suffix(&[END])
        .into_iter()
        .flat_map(|inner| inner.split(|b| *b == END))
}

impl Key {
    /// The key of these components. Components hold no zero byte (names that reach the store are validated before).
    pub fn new<I, C>(components: I) -> Key
    where
        I: IntoIterator<Item = C>,
        C: AsRef<[u8]>,
    {
        let bytes = encode(components);
        debug_assert!(!bytes.is_empty(), "a key needs at least one component");
        Key(bytes)
    }

    /// The key that [`Key::as_bytes`] came from.
    pub fn from_bytes(bytes: Bytes) -> Result<Key, KeyError> {
        match bytes.last() {
            None => Err(KeyError::Empty),
            Some(&END) => Ok(Key(bytes)),
            Some(_) => Err(KeyError::Unterminated),
        }
    }

    /// The ordered encoding.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The components in order.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        components(&self.0)
    }

    /// The `n`th component, counted from zero.
    pub fn component(&self, n: usize) -> Option<&[u8]> {
        self.components().nth(n)
    }

    /// The first `n` components, if the key has that many.
    pub fn prefix(&self, n: usize) -> Option<Prefix> {
        end_of(&self.0, n).map(|end| Prefix(self.0.slice(..end)))
    }

    /// The family: what an append may write only one key of. A key with fewer components is a family of its own.
    pub fn family(&self) -> Prefix {
        self.prefix(FAMILY_COMPONENTS)
            .unwrap_or_else(|| Prefix(self.0.clone()))
    }

    /// Whether the key lies under the prefix.
    pub fn starts_with(&self, prefix: &Prefix) -> bool {
        self.0.starts_with(&prefix.0)
    }

    /// The same key in memory of its own.
    pub(crate) fn detached(&self) -> Key {
        Key(Bytes::copy_from_slice(&self.0))
    }

    /// The ends of all prefixes of the key, shortest (the empty one) first.
    pub(crate) fn prefix_ends(&self) -> impl Iterator<Item = usize> {
        std::iter::once(0).chain(
            self.0
                .iter()
                .enumerate()
                .filter(|(_, b)| **b == END)
                .map(|(at, _)| at + 1),
        )
    }
}

impl Prefix {
    /// The prefix of these whole components; none at all covers every key.
    pub fn new<I, C>(components: I) -> Prefix
    where
        I: IntoIterator<Item = C>,
        C: AsRef<[u8]>,
    {
        Prefix(encode(components))
    }

    /// The prefix that covers every key.
    pub fn all() -> Prefix {
        Prefix::default()
    }

    /// The prefix that [`Prefix::as_bytes`] came from.
    pub fn from_bytes(bytes: Bytes) -> Result<Prefix, KeyError> {
        match bytes.last() {
            None | Some(&END) => Ok(Prefix(bytes)),
            Some(_) => Err(KeyError::Unterminated),
        }
    }

    /// The ordered encoding.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The components in order.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        components(&self.0)
    }

    pub(crate) fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// How many components the prefix has.
    pub fn depth(&self) -> usize {
        self.0.iter().filter(|b| **b == END).count()
    }
}

impl From<&Key> for Prefix {
    /// The prefix that covers exactly this key (and keys that continue it, which nobody makes).
    fn from(key: &Key) -> Prefix {
        Prefix(key.0.clone())
    }
}

fn show(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for component in components(bytes) {
        write!(f, "{}/", component.escape_ascii())?;
    }
    Ok(())
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(&self.0, f)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(&self.0, f)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prefix({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_order_is_component_order() {
        let mut keys = [
            Key::new(["a", "b"]),
            Key::new(["a", ""]),
            Key::new(["a-b", "a"]),
            Key::new(["a", "b", "c"]),
            Key::new(["a!", "z"]),
        ];
        keys.sort();
        let shown: Vec<String> = keys.iter().map(|k| k.to_string()).collect();
        assert_eq!(shown, ["a//", "a/b/", "a/b/c/", "a!/z/", "a-b/a/"]);
    }

    #[test]
    fn a_prefix_matches_whole_components_only() {
        let key = Key::new(["apps", "deployments", "", "root"]);
        for (prefix, expected) in [
            (Prefix::all(), true),
            (Prefix::new(["apps"]), true),
            (Prefix::new(["app"]), false),
            (Prefix::new(["apps", "deployments", ""]), true),
            (Prefix::new(["apps", "deployments", "", "roo"]), false),
        ] {
            assert_eq!(key.starts_with(&prefix), expected, "{prefix}");
        }
    }

    #[test]
    fn components_survive_the_encoding() {
        let key = Key::new(["", "configmaps", "", "root", "default", "a"]);
        assert_eq!(key.components().count(), 6);
        assert_eq!(key.component(5), Some(&b"a"[..]));
        assert_eq!(key.component(6), None);
        assert_eq!(key.prefix(0), Some(Prefix::all()));
        assert_eq!(key.prefix(2), Some(Prefix::new(["", "configmaps"])));
        assert_eq!(key.prefix(7), None);
        assert_eq!(key.family(), Prefix::new(["", "configmaps", ""]));
        assert_eq!(key.prefix_ends().count(), 7);
        assert_eq!(Prefix::all().components().count(), 0);
    }
}
