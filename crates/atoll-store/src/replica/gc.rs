//! The compaction rule: which versions of a row nobody can read any more.
//!
//! A version may go when a newer version of the same key is at or below the floor: whoever may still read reads at the
//! floor or later and finds the newer one. The engine's own rule (drop what is older than a watermark as soon as
//! *anything* newer exists) would break reads between the two, so it is switched off and this one is installed instead.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lsm_tree::compaction::filter::{CompactionFilter, Context, Factory, ItemAccessor, Verdict};

use super::rows;
use crate::Revision;

/// The revision below which history may be forgotten. Raised by the maintenance, read when a compaction begins.
#[derive(Debug, Default)]
pub(crate) struct Watermark(AtomicU64);

impl Watermark {
    pub(crate) fn raise(&self, to: Revision) {
        self.0.fetch_max(to.0, Ordering::AcqRel);
    }

    pub(crate) fn get(&self) -> Revision {
        Revision(self.0.load(Ordering::Acquire))
    }
}

/// Makes the filter of each compaction.
#[derive(Debug)]
pub(crate) struct Rule(pub(crate) Arc<Watermark>);

impl Factory for Rule {
    fn name(&self) -> &str {
        "atoll-history"
    }

    fn make_filter(&self, _: &Context) -> Box<dyn CompactionFilter> {
        Box::new(Forget {
            watermark: self.0.get(),
            key: Vec::new(),
            covered: false,
        })
    }
}

/// Walks rows in key order, newest version first.
struct Forget {
    watermark: Revision,
    key: Vec<u8>,
    /// A version of `key` at or below the watermark has passed.
    covered: bool,
}

impl Forget {
    /// Whether the version may be dropped.
    fn forgets(&mut self, key: &[u8], value: &[u8], last_level: bool) -> bool {
        let Some((exists, modified)) = rows::stamp(value) else {
            return false;
        };
        if self.key != key {
            self.key.clear();
            self.key.extend_from_slice(key);
            self.covered = false;
        }
        if self.covered {
            return true;
        }
        self.covered = modified <= self.watermark;
        // In the last level nothing older lies beneath: a deletion below the floor has nothing left to hide.
        self.covered && !exists && last_level
    }
}

impl CompactionFilter for Forget {
    fn filter_item(&mut self, item: ItemAccessor<'_>, ctx: &Context) -> lsm_tree::Result<Verdict> {
        let value = item.value()?;
        Ok(if self.forgets(item.key(), &value, ctx.is_last_level) {
            Verdict::Destroy
        } else {
            Verdict::Keep
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Versions as (key, revision, exists), in compaction order.
    fn kept(
        watermark: u64,
        last_level: bool,
        versions: &[(&str, u64, bool)],
    ) -> Vec<(String, u64)> {
        let mut filter = Forget {
            watermark: Revision(watermark),
            key: Vec::new(),
            covered: false,
        };
        versions
            .iter()
            .filter(|(key, revision, exists)| {
                let revision = Revision(*revision);
                let value = if *exists {
                    rows::live(revision, b"")
                } else {
                    rows::gone(revision)
                };
                !filter.forgets(key.as_bytes(), &value, last_level)
            })
            .map(|(key, revision, _)| ((*key).to_owned(), *revision))
            .collect()
    }

    fn names(kept: &[(&str, u64)]) -> Vec<(String, u64)> {
        kept.iter()
            .map(|(key, revision)| ((*key).to_owned(), *revision))
            .collect()
    }

    #[test]
    fn what_is_read_at_the_floor_stays() {
        let versions = [
            ("a", 100, true),
            ("a", 40, true),
            ("a", 30, true),
            ("b", 20, true),
        ];
        assert_eq!(
            kept(50, false, &versions),
            names(&[("a", 100), ("a", 40), ("b", 20)])
        );
        assert_eq!(kept(100, false, &versions), names(&[("a", 100), ("b", 20)]));
        assert_eq!(kept(10, false, &versions).len(), 4);
    }

    #[test]
    fn a_deletion_goes_only_from_the_last_level_and_below_the_floor() {
        let versions = [("a", 40, false), ("a", 30, true)];
        assert_eq!(kept(50, false, &versions), names(&[("a", 40)]));
        assert_eq!(kept(50, true, &versions), names(&[]));
        assert_eq!(kept(35, true, &versions), names(&[("a", 40), ("a", 30)]));
    }
}
