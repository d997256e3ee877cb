//! Quantities: `100m`, `1.5Gi`, `2e3`.
use std::cmp::Ordering;
use std::fmt;
/// A parsed quantity. Compares by value; Display is the canonical form.
#[derive(Debug, Clone)]
pub struct Quantity {
    text: String,
}
impl Quantity {
    /// Parses; the error is Kubernetes' text.
    pub fn parse(text: &str) -> Result<Self, String> {
        Ok(Self {
            text: text.to_owned(),
        })
    }
    /// In thousandths, rounded up.
    pub fn milli(&self) -> i64 {
        todo!()
    }
    /// In units, rounded up.
    pub fn value(&self) -> i64 {
        todo!()
    }
}
impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Quantity {}
impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Quantity {
    fn cmp(&self, _other: &Self) -> Ordering {
        todo!()
    }
}
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
