//! The status that a payload object shows, out of the statuses its copies reported.
//!
//! | wantSingleton | wantMultiWEC | qualified destinations | the object's `.status` |
//! |---|---|---|---|
//! | yes | any | 1 | the copy's |
//! | no | yes | 1 | the copy's |
//! | any | yes | more | combined, by the rules here |
//! | yes | no | 0 or more than 1 | cleared |
//! | no | no | any | left alone |
//!
//! Always true: nothing combined claims to be ready before every qualified destination has reported. The rules depend only on how often each
//! distinct projection occurs, never on the order.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// What to do with an object's `.status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// Nobody asked: it is not ours.
    Untouched,
    /// Remove what we wrote.
    Cleared,
    /// The only copy's status.
    Single,
    /// A combination.
    Combined,
}

/// The table above.
pub fn show(want_singleton: bool, want_multi: bool, qualified: u64) -> Show {
    match (want_singleton, want_multi, qualified) {
        (false, false, _) => Show::Untouched,
        (_, _, 1) => Show::Single,
        (_, true, 2..) => Show::Combined,
        _ => Show::Cleared,
    }
}

/// Whether the status of a kind is ever returned: a Namespace's and a CRD's are those of the workspace itself.
pub fn returns_status(group: &str, resource: &str) -> bool {
    !matches!(
        (group, resource),
        ("", "namespaces") | ("apiextensions.k8s.io", "customresourcedefinitions")
    )
}

/// How one field of several statuses becomes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// The least; a destination that has not reported counts as zero.
    Least,
    /// The most.
    Most,
    /// All together.
    Sum,
}

/// Numbers by name, for the well-known workloads; the least is the default.
const FIELDS: &[(&str, Rule)] = &[
    ("unavailableReplicas", Rule::Most),
    ("numberUnavailable", Rule::Most),
    ("numberMisscheduled", Rule::Most),
    ("terminatingReplicas", Rule::Most),
    ("failed", Rule::Sum),
    ("disruptionsAllowed", Rule::Least),
];

/// Conditions that say something bad: true somewhere is true.
const BAD: &[&str] = &[
    "Failed",
    "FailureTarget",
    "ReplicaFailure",
    "Stalled",
    "Suspended",
    "Degraded",
];

/// Combines projected statuses, each with how many copies have it, into one. `missing` destinations have not reported.
pub fn combine(statuses: &[(Value, u64)], missing: u64) -> Value {
    let maps: Vec<&Map<String, Value>> = statuses
        .iter()
        .filter(|(_, count)| *count > 0)
        .filter_map(|(status, _)| status.as_object())
        .collect();
    // A copy whose kind has a status but that reported none yet is as good as missing.
    let silent = missing
        + statuses
            .iter()
            .filter(|(status, _)| !status.is_object())
            .map(|(_, count)| count)
            .sum::<u64>();
    let counts: Vec<u64> = statuses
        .iter()
        .filter(|(s, count)| *count > 0 && s.is_object())
        .map(|(_, count)| *count)
        .collect();
    let mut names: Vec<&String> = maps.iter().flat_map(|map| map.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let mut combined = Map::new();
    for name in names {
        if name == "conditions" {
            let conditions = conditions(&maps, silent);
            if !conditions.is_empty() {
                combined.insert(name.clone(), Value::Array(conditions));
            }
            continue;
        }
        let values: Vec<Option<&Value>> = maps.iter().map(|map| map.get(name)).collect();
        if let Some(value) = field(name, &values, &counts, silent) {
            combined.insert(name.clone(), value);
        }
    }
    Value::Object(combined)
}

fn field(name: &str, values: &[Option<&Value>], counts: &[u64], silent: u64) -> Option<Value> {
    let present: Vec<&Value> = values.iter().copied().flatten().collect();
    if present.iter().all(|v| v.is_i64() || v.is_u64()) {
        let numbers = values
            .iter()
            .map(|v| v.and_then(Value::as_i64).unwrap_or(0));
        let rule = FIELDS
            .iter()
            .find(|(field, _)| *field == name)
            .map_or(Rule::Least, |(_, rule)| *rule);
        return match rule {
            Rule::Least if silent > 0 => Some(json!(0)),
            Rule::Least => numbers.min().map(|n| json!(n)),
            Rule::Most => numbers.max().map(|n| json!(n)),
            Rule::Sum => {
                let sum: i64 = numbers
                    .zip(counts)
                    .map(|(n, count)| n.saturating_mul(i64::try_from(*count).unwrap_or(i64::MAX)))
                    .fold(0, i64::saturating_add);
                Some(json!(sum))
            }
        };
    }
    if present.iter().all(|v| v.is_boolean()) {
        let all = silent == 0
            && values
                .iter()
                .all(|v| v.and_then(Value::as_bool) == Some(true));
        return Some(json!(all));
    }
    // Words and structures: shown only when every destination says the same.
    let same = silent == 0 && values.iter().all(|v| *v == values[0]);
    if same { values[0].cloned() } else { None }
}

fn conditions(maps: &[&Map<String, Value>], silent: u64) -> Vec<Value> {
    let text = |c: &Value, field: &str| {
        c.get(field)
            .and_then(Value::as_str)
            .unwrap_or("")
            .to_owned()
    };
    let mut kinds: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for map in maps {
        for condition in map
            .get("conditions")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            kinds
                .entry(text(condition, "type"))
                .or_default()
                .push((text(condition, "status"), text(condition, "reason")));
        }
    }
    kinds
        .into_iter()
        .filter(|(kind, _)| !kind.is_empty())
        .map(|(kind, mut found)| {
            found.sort_unstable();
            found.dedup();
            let bad = BAD.contains(&kind.as_str());
            let absent = silent > 0 || maps.iter().any(|map| !has(map, &kind));
            // The worst that was said: of good conditions False, of bad ones True.
            let worst = if bad { "True" } else { "False" };
            let (status, reason) =
                if let Some((status, reason)) = found.iter().find(|(status, _)| status == worst) {
                    (status.clone(), reason.clone())
                } else if absent && !bad {
                    ("Unknown".to_owned(), "NotAllReported".to_owned())
                } else if let [(status, reason)] = found.as_slice() {
                    (status.clone(), reason.clone())
                } else if found.iter().all(|(status, _)| *status == found[0].0) {
                    (found[0].0.clone(), "Mixed".to_owned())
                } else {
                    ("Unknown".to_owned(), "Mixed".to_owned())
                };
            json!({"type": kind, "status": status, "reason": reason})
        })
        .collect()
}

fn has(map: &Map<String, Value>, kind: &str) -> bool {
    map.get("conditions")
        .and_then(Value::as_array)
        .is_some_and(|list| {
            list.iter()
                .any(|c| c.get("type").and_then(Value::as_str) == Some(kind))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table() {
        for (singleton, multi, qualified, expected) in [
            (true, false, 1, Show::Single),
            (true, true, 1, Show::Single),
            (false, true, 1, Show::Single),
            (true, true, 2, Show::Combined),
            (false, true, 5, Show::Combined),
            (true, false, 0, Show::Cleared),
            (true, false, 2, Show::Cleared),
            (false, true, 0, Show::Cleared),
            (false, false, 1, Show::Untouched),
            (false, false, 9, Show::Untouched),
        ] {
            assert_eq!(
                show(singleton, multi, qualified),
                expected,
                "{singleton} {multi} {qualified}"
            );
        }
    }

    fn deployment(ready: i64, unavailable: i64, available: &str) -> Value {
        json!({"replicas": 3, "readyReplicas": ready, "unavailableReplicas": unavailable,
            "conditions": [{"type": "Available", "status": available, "reason": "R"}]})
    }

    #[test]
    fn the_least_ready_and_the_most_unavailable_count() {
        let combined = combine(
            &[
                (deployment(3, 0, "True"), 98),
                (deployment(1, 2, "False"), 2),
            ],
            0,
        );
        assert_eq!(
            combined,
            json!({"replicas": 3, "readyReplicas": 1, "unavailableReplicas": 2,
            "conditions": [{"type": "Available", "status": "False", "reason": "R"}]})
        );
    }

    #[test]
    fn nothing_is_ready_before_all_have_reported() {
        for combined in [
            combine(&[(deployment(3, 0, "True"), 2)], 98),
            combine(&[(deployment(3, 0, "True"), 2), (Value::Null, 1)], 0),
        ] {
            assert_eq!(combined["readyReplicas"], 0);
            assert_eq!(combined["conditions"][0]["status"], "Unknown");
        }
        let all = combine(&[(deployment(3, 0, "True"), 100)], 0);
        assert_eq!(
            (&all["readyReplicas"], &all["conditions"][0]["status"]),
            (&json!(3), &json!("True"))
        );
    }

    #[test]
    fn words_are_shown_only_when_equal_and_failures_add_up() {
        let combined = combine(
            &[
                (json!({"phase": "Bound", "zone": "a", "failed": 2}), 3),
                (json!({"phase": "Bound", "zone": "b", "failed": 1}), 1),
            ],
            0,
        );
        assert_eq!(combined, json!({"phase": "Bound", "failed": 7}));
        let bad = combine(
            &[
                (
                    json!({"conditions": [{"type": "Failed", "status": "True", "reason": "X"}]}),
                    1,
                ),
                (json!({}), 5),
            ],
            4,
        );
        assert_eq!(bad["conditions"][0]["status"], "True");
    }
}
