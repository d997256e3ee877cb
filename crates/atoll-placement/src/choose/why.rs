//! Why a destination is not chosen: the tests of [`super::candidates`] and [`super::pick`], made for one destination and said in words.
//!
//! Always true: where this names an obstacle, choosing meets the same one. For one of many that could be chosen (N of M) it tells what counted against it, because
//! which of them it is follows from all of them.

use atoll_kube::selector::LabelSelector;

use super::candidates::{Candidates, Refusal, Sight};
use super::pick::{Field, number};
use super::spec::{ScoreSource, Where};
use super::taint::{Effect, Taint};
use crate::Destination;

/// What keeps a destination from being chosen.
#[derive(Debug, Clone, PartialEq)]
pub enum PassedOver {
    /// It is no candidate.
    Refused(Refusal),
    /// Its `spec.hubAcceptsClient` is false.
    NotAccepted,
    /// It is tainted, and that is not tolerated.
    Tainted(Taint),
    /// Affinity: another policy is not placed there (or there is no such policy).
    WithoutOther(String),
    /// Anti-affinity: another policy is placed there.
    WithOther(String),
    /// It has no value of a label that `spread` divides by.
    NoGroup(String),
    /// Others were chosen.
    Others {
        /// It is away: others come first.
        away: bool,
        /// Its score: `None` when there are none, or when a value is unknown.
        score: Option<f64>,
    },
}

/// Why a destination is not chosen newly. `None`: nothing is known that keeps it away.
pub fn passed_over(
    destination: Destination,
    selectors: &[LabelSelector],
    asked: &Where,
    field: &Field<'_>,
    sight: &Sight<'_>,
) -> Option<PassedOver> {
    if let Some(refusal) = Candidates::refusal(destination, selectors, asked, sight) {
        return Some(PassedOver::Refused(refusal));
    }
    if !field.accepted.contains(destination.0) {
        return Some(PassedOver::NotAccepted);
    }
    let obstacles = field.taints.judge(&asked.tolerations, sight.now);
    let barred = |effect: Effect| match effect {
        Effect::NoSelect => obstacles.out.contains(destination.0),
        Effect::NoSelectIfNew => obstacles.not_new.contains(destination.0),
        Effect::PreferNoSelect => false,
    };
    let taints = field.taints.of(destination).iter();
    if let Some(taint) = taints.filter(|t| barred(t.effect)).min() {
        return Some(PassedOver::Tainted(taint.clone()));
    }
    let placed_by = |name: &str| {
        let placed = (field.placed_by)(name);
        placed.is_some_and(|set| set.contains(destination.0))
    };
    let mut ties = asked.affinity.iter().filter(|t| !t.preferred);
    if let Some(tie) = ties.find(|t| !placed_by(&t.policy)) {
        return Some(PassedOver::WithoutOther(tie.policy.clone()));
    }
    let mut ties = asked.anti_affinity.iter().filter(|t| !t.preferred);
    if let Some(tie) = ties.find(|t| placed_by(&t.policy)) {
        return Some(PassedOver::WithOther(tie.policy.clone()));
    }
    if asked.takes_all() {
        return None;
    }
    let label = |key: &str| sight.facts.label(destination, key);
    if let Some(spread) = asked.spread.iter().find(|s| label(&s.label_key).is_none()) {
        return Some(PassedOver::NoGroup(spread.label_key.clone()));
    }
    Some(PassedOver::Others {
        away: !field.available.contains(destination.0),
        score: score(destination, asked, sight),
    })
}

/// A destination's score; `None` without scores, and when a summand is unknown.
fn score(destination: Destination, asked: &Where, sight: &Sight<'_>) -> Option<f64> {
    if asked.scores.is_empty() {
        return None;
    }
    let label = |key: &str| sight.facts.label(destination, key);
    let value = |source: &ScoreSource| match source {
        ScoreSource::Label(key) => label(key).and_then(number),
        ScoreSource::Claim(name) => {
            let claim = sight.facts.claim(destination, name);
            claim.as_deref().and_then(number)
        }
        ScoreSource::Signal(name) => {
            let signal = sight.signals.get(name)?;
            signal.value(label(&signal.label_key)?, sight.now)?.as_f64()
        }
    };
    let parts = asked.scores.iter();
    parts.map(|s| Some(value(&s.source)? * s.weight)).sum()
}

impl PassedOver {
    /// A word for programs.
    pub fn reason(&self) -> &'static str {
        match self {
            PassedOver::Refused(Refusal::Labels) => "LabelsDoNotMatch",
            PassedOver::Refused(Refusal::Expression(_)) => "ExpressionIsFalse",
            PassedOver::Refused(Refusal::Failed(..)) => "ExpressionFailed",
            PassedOver::NotAccepted => "NotAccepted",
            PassedOver::Tainted(_) => "Tainted",
            PassedOver::WithoutOther(_) => "Affinity",
            PassedOver::WithOther(_) => "AntiAffinity",
            PassedOver::NoGroup(_) => "NoSpreadLabel",
            PassedOver::Others { .. } => "OthersChosen",
        }
    }

    /// In words, for whoever wrote the policy.
    pub fn words(&self, asked: &Where) -> String {
        let source = |i: usize| asked.expressions.get(i).map_or("", |e| e.source());
        match self {
            PassedOver::Refused(Refusal::Labels) => {
                "none of spec.clusterSelectors matches its labels".to_owned()
            }
            PassedOver::Refused(Refusal::Expression(i)) => {
                format!(
                    "spec.clusterExpressions[{i}] is false for it: {}",
                    source(*i)
                )
            }
            PassedOver::Refused(Refusal::Failed(i, why)) => format!(
                "spec.clusterExpressions[{i}] cannot be evaluated for it ({why}): {}. What is there stays, and nothing new comes",
                source(*i)
            ),
            PassedOver::NotAccepted => "its spec.hubAcceptsClient is false".to_owned(),
            PassedOver::Tainted(taint) => {
                let value = match taint.value.as_str() {
                    "" => String::new(),
                    value => format!("={value}"),
                };
                let effect = taint.effect.as_str();
                format!("its taint {}{value}:{effect} is not tolerated", taint.key)
            }
            PassedOver::WithoutOther(policy) => {
                format!("spec.affinity: BindingPolicy {policy:?} is not placed there")
            }
            PassedOver::WithOther(policy) => {
                format!("spec.antiAffinity: BindingPolicy {policy:?} is placed there")
            }
            PassedOver::NoGroup(key) => {
                format!("it has no label {key:?}, and spec.spread divides by it")
            }
            PassedOver::Others { away, score } => {
                let number = match asked.number {
                    Some(n) => format!("{n} are asked for and others were chosen"),
                    None => "spec.spread has no room for it".to_owned(),
                };
                let score = match (asked.scores.is_empty(), score) {
                    (true, _) => String::new(),
                    (false, Some(score)) => format!("; its score is {score}"),
                    (false, None) => "; its score is unknown, which comes last".to_owned(),
                };
                let away = if *away {
                    "; it is away, which comes last"
                } else {
                    ""
                };
                format!("{number}{score}{away}")
            }
        }
    }
}
