//! How many copies are how: disjoint counts, and errors grouped with examples.
//!
//! Always true: `expected = current + outdated + failed + unreported`. Staleness (an edge that is away) is a flag beside, not a fifth state.

use std::collections::BTreeMap;

use crate::bundle::RenderHash;
use crate::columns::{Column, Reported, Values};
use crate::health::Health;
use crate::{Destination, Destinations};

/// How one copy is, compared with what is wanted there now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Standing {
    /// Nothing was reported.
    Unreported,
    /// Applied, but not as it should be now.
    Outdated,
    /// Not applied, for a reason that was reported; or it cannot even be made.
    Failed,
    /// Applied as it should be, and on its way.
    Progressing,
    /// Applied as it should be, and it will not get well by itself.
    Degraded,
    /// Applied as it should be, and well.
    Healthy,
}

/// Compares what a copy reported with the render that is wanted (a version, when copies `vary`).
pub fn judge(reported: Option<&Reported>, wanted: RenderHash, vary: bool) -> Standing {
    let Some(reported) = reported else {
        return Standing::Unreported;
    };
    match reported.health {
        _ if reported.error != 0 => Standing::Failed,
        _ if !reported.seen.is(wanted, vary) => Standing::Outdated,
        Health::Healthy => Standing::Healthy,
        Health::Progressing => Standing::Progressing,
        Health::Degraded => Standing::Degraded,
    }
}

/// Disjoint counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// How many there should be.
    pub expected: u64,
    /// Applied as they should be now.
    pub current: u64,
    /// Applied, but an older render.
    pub outdated: u64,
    /// Not applied, for a reason that was reported.
    pub failed: u64,
    /// Nothing was ever reported.
    pub unreported: u64,
    /// Of the current ones: healthy.
    pub healthy: u64,
    /// Of all: at a destination that is away. Not kept by [`Counts::add`].
    pub stale: u64,
}

impl Counts {
    /// Copies that stand so come in.
    pub fn add(&mut self, standing: Standing, copies: u64) {
        self.each(standing, |count| *count += copies);
    }

    /// Copies that stood so go out again.
    pub fn retract(&mut self, standing: Standing, copies: u64) {
        self.each(standing, |count| *count = count.saturating_sub(copies));
    }

    fn each(&mut self, standing: Standing, change: impl Fn(&mut u64)) {
        change(&mut self.expected);
        change(match standing {
            Standing::Unreported => &mut self.unreported,
            Standing::Outdated => &mut self.outdated,
            Standing::Failed => &mut self.failed,
            Standing::Progressing | Standing::Degraded | Standing::Healthy => &mut self.current,
        });
        if standing == Standing::Healthy {
            change(&mut self.healthy);
        }
    }
}

/// One kind of failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorGroup {
    /// The error's code (`atoll_wire::ErrorKind`).
    pub error: u8,
    /// In words.
    pub message: String,
    /// How many copies.
    pub count: u64,
    /// The lowest-numbered destinations that have it, at most three.
    pub examples: Vec<Destination>,
}

/// Groups failures by error and words.
#[derive(Debug, Default)]
pub struct ErrorGroups {
    groups: BTreeMap<(u8, String), (u64, Destinations)>,
}

impl ErrorGroups {
    /// Adds one object's failing copies. `subject` is put before the words, so that a person knows what failed.
    pub fn add(&mut self, subject: &str, column: &Column, values: &Values, within: &Destinations) {
        let failed = |id| values.get(id).is_some_and(|value| value.error != 0);
        for (id, set) in column.sets_of(failed) {
            let Some(value) = values.get(id) else {
                continue;
            };
            let set = set & within;
            if set.is_empty() {
                continue;
            }
            let message = describe(subject, value);
            let (count, destinations) = self.groups.entry((value.error, message)).or_default();
            *count += set.len();
            *destinations |= set.iter().take(3).collect::<Destinations>();
        }
    }

    /// The groups, most frequent first, at most `limit`.
    pub fn top(&self, limit: usize) -> Vec<ErrorGroup> {
        let mut groups: Vec<ErrorGroup> = self
            .groups
            .iter()
            .map(|((error, message), (count, destinations))| ErrorGroup {
                error: *error,
                message: message.clone(),
                count: *count,
                examples: destinations.iter().take(3).map(Destination).collect(),
            })
            .collect();
        groups.sort_by(|a, b| {
            b.count
                .cmp(&a.count)
                .then_with(|| a.message.cmp(&b.message))
        });
        groups.truncate(limit);
        groups
    }
}

fn describe(subject: &str, value: &Reported) -> String {
    if value.message.is_empty() {
        subject.to_owned()
    } else {
        format!("{subject}: {}", value.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::Seen;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn value(render: u8, error: u8, health: Health) -> Reported {
        Reported {
            seen: Seen::Shared([render; 16]),
            error,
            message: "why".into(),
            health,
            observed: None,
            status: "".into(),
        }
    }

    #[test]
    fn a_copy_is_judged_by_what_is_wanted_now() {
        for (reported, expected) in [
            (None, Standing::Unreported),
            (Some(value(1, 3, Health::Degraded)), Standing::Failed),
            (Some(value(2, 3, Health::Healthy)), Standing::Failed),
            (Some(value(2, 0, Health::Healthy)), Standing::Outdated),
            (
                Some(value(1, 0, Health::Progressing)),
                Standing::Progressing,
            ),
            (Some(value(1, 0, Health::Degraded)), Standing::Degraded),
            (Some(value(1, 0, Health::Healthy)), Standing::Healthy),
        ] {
            assert_eq!(judge(reported.as_ref(), [1; 16], false), expected);
        }
    }

    proptest! {
        /// Counts stay disjoint and complete, and what goes out leaves no trace.
        #[test]
        fn what_comes_in_and_goes_out_again_counts_nothing(steps in proptest::collection::vec((0u8..6, 1u64..9), 0..30)) {
            let of = |n: u8| [Standing::Unreported, Standing::Outdated, Standing::Failed, Standing::Progressing, Standing::Degraded, Standing::Healthy][usize::from(n)];
            let mut counts = Counts::default();
            for (standing, copies) in &steps {
                counts.add(of(*standing), *copies);
                prop_assert_eq!(counts.expected, counts.current + counts.outdated + counts.failed + counts.unreported);
                prop_assert!(counts.healthy <= counts.current);
            }
            for (standing, copies) in steps {
                counts.retract(of(standing), copies);
            }
            prop_assert_eq!(counts, Counts::default());
        }
    }

    #[test]
    fn errors_are_grouped_with_three_examples() {
        let mut values = Values::default();
        let mut column = Column::default();
        for d in 0..10 {
            column.set(
                &mut values,
                Destination(d),
                Some(&Arc::new(value(0, u8::from(d > 1), Health::Progressing))),
            );
        }
        let mut groups = ErrorGroups::default();
        groups.add("Deployment a/b", &column, &values, &(0..8).collect());
        let top = groups.top(5);
        assert_eq!(top.len(), 1);
        assert_eq!(
            (top[0].count, top[0].message.as_str()),
            (6, "Deployment a/b: why")
        );
        assert_eq!(
            top[0].examples,
            [Destination(2), Destination(3), Destination(4)]
        );
    }
}
