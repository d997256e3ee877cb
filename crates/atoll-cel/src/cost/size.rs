//! Ranges of costs and sizes that never overflow: what is too large is the largest.

/// From the least to the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) min: u64,
    pub(crate) max: u64,
}

/// Anything.
pub(crate) const UNKNOWN: Range = Range {
    min: 0,
    max: u64::MAX,
};

impl Range {
    pub(crate) const ZERO: Range = Range { min: 0, max: 0 };

    pub(crate) fn new(min: u64, max: u64) -> Range {
        Range { min, max }
    }

    pub(crate) fn exactly(size: u64) -> Range {
        Range {
            min: size,
            max: size,
        }
    }

    /// What a union starts with: of no items zero, otherwise nothing yet.
    pub(crate) fn nothing(empty: bool) -> Range {
        Range {
            min: if empty { 0 } else { u64::MAX },
            max: 0,
        }
    }

    pub(crate) fn add(self, other: Range) -> Range {
        Range {
            min: self.min.saturating_add(other.min),
            max: self.max.saturating_add(other.max),
        }
    }

    pub(crate) fn times(self, other: Range) -> Range {
        Range {
            min: self.min.saturating_mul(other.min),
            max: self.max.saturating_mul(other.max),
        }
    }

    pub(crate) fn union(self, other: Range) -> Range {
        Range {
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        }
    }

    /// Each end times a factor, rounded up.
    pub(crate) fn factor(self, factor: f64) -> Range {
        Range {
            min: scaled(self.min, factor),
            max: scaled(self.max, factor),
        }
    }
}

fn scaled(size: u64, factor: f64) -> u64 {
    // The conversion saturates.
    (size as f64 * factor).ceil() as u64
}
