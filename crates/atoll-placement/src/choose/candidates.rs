//! Who may be chosen: kept per policy, and corrected for the destinations that an event concerns.
//!
//! Always true: [`Candidates::wanted`] and [`Candidates::unsure`] are disjoint, and equal to what a look at every destination would give. Taints, acceptance and
//! affinity are not in it: they belong to the moment of choosing ([`super::pick`]).

use atoll_kube::Timestamp;
use atoll_kube::selector::LabelSelector;

use super::expression::Facts;
use super::signal::Signals;
use super::spec::Where;
use crate::inventory::Inventory;
use crate::{Destination, Destinations};

/// What destinations are looked at with.
pub struct Sight<'a> {
    /// Their index.
    pub inventory: &'a Inventory,
    /// What is known of each.
    pub facts: &'a dyn Facts,
    /// The inventory's signals.
    pub signals: &'a Signals,
    /// Now, as recorded.
    pub now: Timestamp,
}

/// Who may be chosen, as far as labels and expressions say.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Candidates {
    /// Selected, and every expression holds.
    pub wanted: Destinations,
    /// Selected, but an expression could not be evaluated: why, and who. They stay if they are there and do not come if they are not.
    pub failed: Vec<(String, Destinations)>,
}

/// Why a destination is not a candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// No label selector selects it.
    Labels,
    /// The expression of this index is false for it.
    Expression(usize),
    /// The expression of this index failed: why.
    Failed(usize, String),
}

impl Candidates {
    /// Looks at every destination.
    pub fn all(selectors: &[LabelSelector], asked: &Where, sight: &Sight<'_>) -> Candidates {
        let selected = if selectors.is_empty() && !asked.expressions.is_empty() {
            sight.inventory.all().clone()
        } else {
            sight.inventory.select_any(selectors)
        };
        Self::among(selected, asked, sight)
    }

    /// Looks again at some destinations: their labels, claims or annotations changed, they came or went.
    pub fn reconsider(
        &mut self,
        these: &Destinations,
        selectors: &[LabelSelector],
        asked: &Where,
        sight: &Sight<'_>,
    ) {
        let by_expression_alone = selectors.is_empty() && !asked.expressions.is_empty();
        let selected: Destinations = these
            .iter()
            .filter(|d| sight.inventory.all().contains(*d))
            .filter(|d| {
                by_expression_alone
                    || selectors
                        .iter()
                        .any(|s| s.matches(|key| sight.facts.label(Destination(*d), key)))
            })
            .collect();
        let fresh = Self::among(selected, asked, sight);
        self.wanted -= these;
        self.wanted |= fresh.wanted;
        for (_, set) in &mut self.failed {
            *set -= these;
        }
        for (why, set) in fresh.failed {
            note(&mut self.failed, why, set);
        }
        self.failed.retain(|(_, set)| !set.is_empty());
    }

    fn among(selected: Destinations, asked: &Where, sight: &Sight<'_>) -> Candidates {
        let mut found = Candidates {
            wanted: selected,
            failed: Vec::new(),
        };
        for (index, expression) in asked.expressions.iter().enumerate() {
            // Who failed an earlier one may still be refused by this one: false wins over unknown.
            let looked_at = &found.wanted | &found.unsure();
            let verdicts = expression.judge(
                &looked_at,
                sight.inventory,
                sight.facts,
                sight.signals,
                sight.now,
            );
            let mut maybe = verdicts.yes.clone();
            for (_, set) in &verdicts.failed {
                maybe |= set;
            }
            found.wanted &= &verdicts.yes;
            for (_, set) in &mut found.failed {
                *set &= &maybe;
            }
            let known = found.unsure();
            for (why, set) in verdicts.failed {
                note(
                    &mut found.failed,
                    expression.said(index, &why),
                    set - &known,
                );
            }
        }
        found.failed.retain(|(_, set)| !set.is_empty());
        found
    }

    /// All for whom some expression failed.
    pub fn unsure(&self) -> Destinations {
        let mut unsure = Destinations::new();
        for (_, set) in &self.failed {
            unsure |= set;
        }
        unsure
    }

    /// Why one destination is not a candidate; `None` when it is.
    pub fn refusal(
        destination: Destination,
        selectors: &[LabelSelector],
        asked: &Where,
        sight: &Sight<'_>,
    ) -> Option<Refusal> {
        let by_expression_alone = selectors.is_empty() && !asked.expressions.is_empty();
        let selected = by_expression_alone
            || selectors
                .iter()
                .any(|s| s.matches(|key| sight.facts.label(destination, key)));
        if !selected {
            return Some(Refusal::Labels);
        }
        let one: Destinations = [destination.0].into_iter().collect();
        let mut failed = None;
        for (i, expression) in asked.expressions.iter().enumerate() {
            let verdicts =
                expression.judge(&one, sight.inventory, sight.facts, sight.signals, sight.now);
            match verdicts.failed.into_iter().next() {
                Some((why, _)) => failed = failed.or(Some(Refusal::Failed(i, why))),
                None if verdicts.yes.is_empty() => return Some(Refusal::Expression(i)),
                None => {}
            }
        }
        failed
    }
}

fn note(failed: &mut Vec<(String, Destinations)>, why: String, set: Destinations) {
    match failed.iter_mut().find(|(w, _)| *w == why) {
        Some((_, all)) => *all |= set,
        None => failed.push((why, set)),
    }
}
