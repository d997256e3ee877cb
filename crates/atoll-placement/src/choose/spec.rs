//! What a policy asks for beyond label selectors: `clusterExpressions`, `numberOfClusters`, `spread`, `scores`, `tolerations`, `affinity`, `antiAffinity`.
//!
//! Parsing is total and says everything that is wrong, contradictions included, so that whoever writes it learns it at once and not from a choice that never comes.

use std::collections::BTreeSet;
use std::sync::Arc;

use atoll_kube::status::FieldError;
use serde_json::Value;

use super::expression::Expression;
use super::taint::Toleration;
use crate::fields;

/// The most destinations groups of one spread key that a choice looks at: a key with a value per destination spreads nothing.
pub const MOST_GROUPS: usize = 10_000;

/// How many destinations of each group of a label's values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spread {
    /// The label whose values are the groups. A destination without it is in none, and is not chosen.
    pub label_key: String,
    /// At least so many groups.
    pub min_groups: u64,
    /// At most so many groups.
    pub max_groups: Option<u64>,
    /// At least so many in each group that has any.
    pub min_per_group: u64,
    /// At most so many in each group.
    pub max_per_group: Option<u64>,
}

/// Where a score's value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ScoreSource {
    /// A [`super::signal::Signal`] of the inventory.
    Signal(String),
    /// A cluster claim with a number (a Kubernetes quantity counts).
    Claim(String),
    /// A label with a number.
    Label(String),
}

/// One summand of a destination's score.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// The value.
    pub source: ScoreSource,
    /// Multiplied with it; negative prefers low values.
    pub weight: f64,
}

/// A tie to where another policy of the same workspace is placed. It decides where something new goes; what is there stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Affinity {
    /// The other policy's name.
    pub policy: String,
    /// Only a preference: such destinations come first (or last).
    pub preferred: bool,
}

/// Everything a policy asks of its destinations, label selectors aside.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Where {
    /// All must hold.
    pub expressions: Vec<Arc<Expression>>,
    /// So many of the candidates; all without it.
    pub number: Option<u64>,
    /// All must hold.
    pub spread: Vec<Spread>,
    /// Summed.
    pub scores: Vec<Score>,
    /// A destination is replaced only by one whose score is better by more than this.
    pub hysteresis: f64,
    /// Taints that are no obstacle.
    pub tolerations: Vec<Toleration>,
    /// Where these are placed.
    pub affinity: Vec<Affinity>,
    /// Where these are not.
    pub anti_affinity: Vec<Affinity>,
}

impl Where {
    /// Parses these fields of a BindingPolicy's spec.
    pub fn parse(spec: &Value, errors: &mut Vec<FieldError>) -> Where {
        let mut asked = Where::default();
        for (i, item) in fields::list(spec, "clusterExpressions", "spec", errors)
            .iter()
            .enumerate()
        {
            let path = format!("spec.clusterExpressions[{i}]");
            match item
                .as_str()
                .or_else(|| item.get("expression").and_then(Value::as_str))
            {
                Some(source) => match Expression::compile(source) {
                    Ok(expression) => asked.expressions.push(Arc::new(expression)),
                    Err(why) => errors.push(FieldError::invalid(path, source, why)),
                },
                None => errors.push(FieldError::type_invalid(
                    path,
                    item.clone(),
                    "must be a CEL expression",
                )),
            }
        }
        asked.number = fields::count(spec, "numberOfClusters", "spec", errors);
        if asked.number == Some(0) {
            errors.push(FieldError::invalid(
                "spec.numberOfClusters",
                0,
                "must be at least 1; to place nothing for a while, use suspend",
            ));
        }
        for (i, item) in fields::list(spec, "spread", "spec", errors)
            .iter()
            .enumerate()
        {
            let parsed = spread(item, &format!("spec.spread[{i}]"), asked.number, errors);
            if asked.spread.iter().any(|s| s.label_key == parsed.label_key) {
                errors.push(FieldError::duplicate(
                    format!("spec.spread[{i}].labelKey"),
                    parsed.label_key.clone(),
                ));
            }
            asked.spread.push(parsed);
        }
        for (i, item) in fields::list(spec, "scores", "spec", errors)
            .iter()
            .enumerate()
        {
            asked
                .scores
                .extend(score(item, &format!("spec.scores[{i}]"), errors));
        }
        asked.hysteresis = number(spec, "scoreHysteresis", "spec", errors).unwrap_or(0.0);
        if asked.hysteresis < 0.0 {
            errors.push(FieldError::invalid(
                "spec.scoreHysteresis",
                asked.hysteresis,
                "must not be negative",
            ));
        }
        if asked.number.is_none() && asked.spread.is_empty() && !asked.scores.is_empty() {
            errors.push(FieldError::required("spec.numberOfClusters", "scores choose among destinations; without a number (or a spread) all are taken and scores mean nothing"));
        }
        for (i, item) in fields::list(spec, "tolerations", "spec", errors)
            .iter()
            .enumerate()
        {
            asked.tolerations.extend(Toleration::parse(
                item,
                &format!("spec.tolerations[{i}]"),
                errors,
            ));
        }
        asked.affinity = affinities(spec, "affinity", errors);
        asked.anti_affinity = affinities(spec, "antiAffinity", errors);
        for tie in asked.affinity.iter().filter(|t| !t.preferred) {
            if asked
                .anti_affinity
                .iter()
                .any(|a| a.policy == tie.policy && !a.preferred)
            {
                errors.push(FieldError::invalid(
                    "spec.antiAffinity",
                    tie.policy.clone(),
                    "is required by affinity: no destination can satisfy both",
                ));
            }
        }
        asked
    }

    /// Whether all candidates are taken, so that nothing has to be picked.
    pub fn takes_all(&self) -> bool {
        self.number.is_none() && self.spread.is_empty()
    }

    /// The signals that are named.
    pub fn signals(&self) -> BTreeSet<String> {
        let scored = self.scores.iter().filter_map(|s| match &s.source {
            ScoreSource::Signal(name) => Some(name),
            ScoreSource::Claim(_) | ScoreSource::Label(_) => None,
        });
        let read = self.expressions.iter().flat_map(|e| e.signals());
        scored.chain(read).cloned().collect()
    }

    /// Whether a signal can change the choice.
    pub fn reads_signal(&self, name: &str) -> bool {
        self.expressions.iter().any(|e| e.reads_signal(name))
            || self
                .scores
                .iter()
                .any(|s| matches!(&s.source, ScoreSource::Signal(named) if named == name))
    }
}

fn spread(item: &Value, path: &str, total: Option<u64>, errors: &mut Vec<FieldError>) -> Spread {
    let label_key = fields::text(item, "labelKey", path, errors).unwrap_or_default();
    if label_key.is_empty() {
        errors.push(FieldError::required(
            format!("{path}.labelKey"),
            "names the label whose values are the groups",
        ));
    } else if let Err(why) = atoll_kube::names::is_qualified_name(&label_key) {
        errors.push(FieldError::invalid(
            format!("{path}.labelKey"),
            label_key.clone(),
            why,
        ));
    }
    let spread = Spread {
        label_key,
        min_groups: fields::count(item, "minGroups", path, errors).unwrap_or(0),
        max_groups: fields::count(item, "maxGroups", path, errors),
        min_per_group: fields::count(item, "minPerGroup", path, errors).unwrap_or(0),
        max_per_group: fields::count(item, "maxPerGroup", path, errors),
    };
    let mut wrong = |field: &str, value: u64, why: String| {
        errors.push(FieldError::invalid(format!("{path}.{field}"), value, why))
    };
    match (spread.max_groups, spread.max_per_group) {
        (Some(0), _) => wrong("maxGroups", 0, "must be at least 1".to_owned()),
        (_, Some(0)) => wrong("maxPerGroup", 0, "must be at least 1".to_owned()),
        (groups, per_group) => {
            if let Some(groups) = groups.filter(|g| *g < spread.min_groups) {
                wrong(
                    "maxGroups",
                    groups,
                    format!("must not be less than minGroups ({})", spread.min_groups),
                );
            }
            if let Some(per_group) = per_group.filter(|p| *p < spread.min_per_group) {
                wrong(
                    "maxPerGroup",
                    per_group,
                    format!(
                        "must not be less than minPerGroup ({})",
                        spread.min_per_group
                    ),
                );
            }
            if let (Some(groups), Some(per_group), Some(total)) = (groups, per_group, total)
                && groups.saturating_mul(per_group) < total
            {
                wrong(
                    "maxPerGroup",
                    per_group,
                    format!(
                        "{groups} groups of at most {per_group} cannot hold numberOfClusters ({total})"
                    ),
                );
            }
        }
    }
    if let Some(total) = total {
        let least = spread
            .min_groups
            .saturating_mul(spread.min_per_group.max(1));
        if least > total {
            wrong(
                "minGroups",
                spread.min_groups,
                format!("needs {least} destinations, but numberOfClusters is {total}"),
            );
        }
    }
    spread
}

fn score(item: &Value, path: &str, errors: &mut Vec<FieldError>) -> Option<Score> {
    let sources: Vec<ScoreSource> = [
        fields::text(item, "signal", path, errors).map(ScoreSource::Signal),
        fields::text(item, "claim", path, errors).map(ScoreSource::Claim),
        fields::text(item, "labelKey", path, errors).map(ScoreSource::Label),
    ]
    .into_iter()
    .flatten()
    .collect();
    let weight = number(item, "weight", path, errors).unwrap_or(1.0);
    let [source] = sources.as_slice() else {
        errors.push(FieldError::invalid(
            path,
            item.clone(),
            "needs exactly one of signal, claim and labelKey",
        ));
        return None;
    };
    if weight == 0.0 {
        errors.push(FieldError::invalid(
            format!("{path}.weight"),
            0,
            "must not be 0: the score would count for nothing",
        ));
    }
    Some(Score {
        source: source.clone(),
        weight,
    })
}

fn number(value: &Value, field: &str, path: &str, errors: &mut Vec<FieldError>) -> Option<f64> {
    match value.get(field) {
        None | Some(Value::Null) => None,
        Some(found) => {
            let number = found.as_f64().filter(|n| n.is_finite());
            if number.is_none() {
                errors.push(FieldError::type_invalid(
                    format!("{path}.{field}"),
                    found.clone(),
                    "must be a number",
                ));
            }
            number
        }
    }
}

fn affinities(spec: &Value, field: &str, errors: &mut Vec<FieldError>) -> Vec<Affinity> {
    let mut found = Vec::new();
    for (i, item) in fields::list(spec, field, "spec", errors).iter().enumerate() {
        let path = format!("spec.{field}[{i}]");
        match fields::text(item, "policy", &path, errors) {
            Some(policy) if !policy.is_empty() => found.push(Affinity {
                policy,
                preferred: fields::flag(item, "preferred", &path, errors),
            }),
            _ => errors.push(FieldError::required(
                format!("{path}.policy"),
                "names a BindingPolicy of this workspace",
            )),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wrong(spec: Value) -> Vec<String> {
        let mut errors = Vec::new();
        Where::parse(&spec, &mut errors);
        errors.iter().map(|e| e.field.clone()).collect()
    }

    #[test]
    fn contradictions_are_refused_where_they_are_written() {
        let rows = [
            (
                json!({"numberOfClusters": 0}),
                vec!["spec.numberOfClusters"],
            ),
            (
                json!({"numberOfClusters": "3"}),
                vec!["spec.numberOfClusters"],
            ),
            (
                json!({"numberOfClusters": 2, "spread": [{"labelKey": "region", "minGroups": 3}]}),
                vec!["spec.spread[0].minGroups"],
            ),
            (
                json!({"numberOfClusters": 2, "spread": [{"labelKey": "region", "minGroups": 3, "maxGroups": 2}]}),
                vec!["spec.spread[0].maxGroups", "spec.spread[0].minGroups"],
            ),
            (
                json!({"numberOfClusters": 9, "spread": [{"labelKey": "region", "maxGroups": 2, "maxPerGroup": 4}]}),
                vec!["spec.spread[0].maxPerGroup"],
            ),
            (
                json!({"spread": [{"labelKey": "region"}, {"labelKey": "region"}]}),
                vec!["spec.spread[1].labelKey"],
            ),
            (
                json!({"spread": [{"labelKey": "no good!"}]}),
                vec!["spec.spread[0].labelKey"],
            ),
            (json!({"spread": [{}]}), vec!["spec.spread[0].labelKey"]),
            (
                json!({"scores": [{"signal": "carbon"}]}),
                vec!["spec.numberOfClusters"],
            ),
            (
                json!({"numberOfClusters": 1, "scores": [{"signal": "carbon", "claim": "x"}]}),
                vec!["spec.scores[0]"],
            ),
            (
                json!({"numberOfClusters": 1, "scores": [{"signal": "carbon", "weight": 0}]}),
                vec!["spec.scores[0].weight"],
            ),
            (
                json!({"affinity": [{"policy": "a"}], "antiAffinity": [{"policy": "a"}]}),
                vec!["spec.antiAffinity"],
            ),
            (
                json!({"clusterExpressions": ["cluster.labels["]}),
                vec!["spec.clusterExpressions[0]"],
            ),
            (
                json!({"clusterExpressions": ["cluster.name"]}),
                vec!["spec.clusterExpressions[0]"],
            ),
            (
                json!({"clusterExpressions": "true"}),
                vec!["spec.clusterExpressions"],
            ),
            (json!({}), vec![]),
        ];
        for (spec, expected) in rows {
            assert_eq!(wrong(spec.clone()), expected, "{spec}");
        }
    }
}
