//! Taints of ManagedClusters and the tolerations of policies, with the meaning that Open Cluster Management gives them.
//!
//! `NoSelect` keeps away and takes out, `NoSelectIfNew` keeps away only what is not there yet, `PreferNoSelect` makes last choice. A toleration with seconds holds
//! so long from when the taint was added. Facts: the ManagedCluster API of open-cluster-management.io/api (`spec.taints`), its Placement API (`spec.tolerations`).

use std::collections::BTreeMap;
use std::time::Duration;

use atoll_kube::Timestamp;
use atoll_kube::status::FieldError;
use serde_json::Value;

use crate::{Destination, Destinations, fields};

/// What a taint does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// Not chosen, and taken out where it is.
    NoSelect,
    /// Not newly chosen.
    NoSelectIfNew,
    /// Chosen last.
    PreferNoSelect,
}

impl Effect {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "NoSelect" => Some(Effect::NoSelect),
            "NoSelectIfNew" => Some(Effect::NoSelectIfNew),
            "PreferNoSelect" => Some(Effect::PreferNoSelect),
            _ => None,
        }
    }

    /// As written.
    pub fn as_str(self) -> &'static str {
        match self {
            Effect::NoSelect => "NoSelect",
            Effect::NoSelectIfNew => "NoSelectIfNew",
            Effect::PreferNoSelect => "PreferNoSelect",
        }
    }
}

/// A taint, without since when.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Taint {
    /// Its key.
    pub key: String,
    /// Its value, often empty.
    pub value: String,
    /// What it does.
    pub effect: Effect,
}

/// The taints of a ManagedCluster's `spec`, each with when it was added (0 when that is not said: long ago). What cannot be read is left out: a taint that nobody understands keeps nobody away.
pub fn of_managed_cluster(spec: &Value) -> Vec<(Taint, Timestamp)> {
    let items = spec.get("taints").and_then(Value::as_array);
    items
        .into_iter()
        .flatten()
        .filter_map(|item| {
            let text = |field: &str| item.get(field).and_then(Value::as_str);
            let taint = Taint {
                key: text("key")?.to_owned(),
                value: text("value").unwrap_or_default().to_owned(),
                effect: Effect::parse(text("effect")?)?,
            };
            let since = text("timeAdded").and_then(Timestamp::parse);
            Some((taint, since.unwrap_or(Timestamp(0))))
        })
        .collect()
}

/// What a policy does not mind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Toleration {
    key: Option<String>,
    value: Option<String>,
    effect: Option<Effect>,
    seconds: Option<u64>,
}

impl Toleration {
    /// Parses one entry of `tolerations`.
    pub fn parse(item: &Value, path: &str, errors: &mut Vec<FieldError>) -> Option<Toleration> {
        let before = errors.len();
        let key = fields::text(item, "key", path, errors).filter(|k| !k.is_empty());
        let value = fields::text(item, "value", path, errors).unwrap_or_default();
        let operator = fields::text(item, "operator", path, errors).unwrap_or_default();
        let value = match operator.as_str() {
            "Exists" if value.is_empty() => None,
            "Exists" => {
                errors.push(FieldError::invalid(
                    format!("{path}.value"),
                    value,
                    "must be empty when operator is Exists",
                ));
                None
            }
            "" | "Equal" => Some(value),
            other => {
                errors.push(FieldError::not_supported(
                    format!("{path}.operator"),
                    other,
                    ["Equal", "Exists"],
                ));
                None
            }
        };
        if key.is_none() && value.is_some() {
            errors.push(FieldError::invalid(
                format!("{path}.operator"),
                operator,
                "must be Exists when key is empty, which tolerates every taint",
            ));
        }
        let effect = match fields::text(item, "effect", path, errors).as_deref() {
            None | Some("") => None,
            Some(text) => {
                let effect = Effect::parse(text);
                if effect.is_none() {
                    errors.push(FieldError::not_supported(
                        format!("{path}.effect"),
                        text,
                        ["NoSelect", "NoSelectIfNew", "PreferNoSelect"],
                    ));
                }
                effect
            }
        };
        let seconds = fields::count(item, "tolerationSeconds", path, errors);
        (errors.len() == before).then_some(Toleration {
            key,
            value,
            effect,
            seconds,
        })
    }

    fn covers(&self, taint: &Taint) -> bool {
        self.key.as_ref().is_none_or(|k| *k == taint.key)
            && self.value.as_ref().is_none_or(|v| *v == taint.value)
            && self.effect.is_none_or(|e| e == taint.effect)
    }
}

/// The taints of an inventory: taint -> destinations. Cost follows the tainted destinations, not all.
#[derive(Debug, Default)]
pub struct Taints {
    by_taint: BTreeMap<Taint, BTreeMap<u32, Timestamp>>,
    sets: BTreeMap<Taint, Destinations>,
    of: BTreeMap<u32, Vec<Taint>>,
}

/// Whom taints keep from a policy.
#[derive(Debug, Default, PartialEq)]
pub struct Obstacles {
    /// Not chosen at all.
    pub out: Destinations,
    /// Not newly chosen.
    pub not_new: Destinations,
    /// Chosen last.
    pub last: Destinations,
    /// When a toleration ends next.
    pub wake_at: Option<Timestamp>,
}

impl Taints {
    /// Says what taints a destination has now.
    pub fn set(&mut self, destination: Destination, taints: Vec<(Taint, Timestamp)>) {
        for old in self.of.remove(&destination.0).unwrap_or_default() {
            if let Some(set) = self.sets.get_mut(&old) {
                set.remove(destination.0);
                if set.is_empty() {
                    self.sets.remove(&old);
                }
            }
            if let Some(since) = self.by_taint.get_mut(&old) {
                since.remove(&destination.0);
                if since.is_empty() {
                    self.by_taint.remove(&old);
                }
            }
        }
        for (taint, since) in taints {
            self.sets
                .entry(taint.clone())
                .or_default()
                .insert(destination.0);
            self.by_taint
                .entry(taint.clone())
                .or_default()
                .insert(destination.0, since);
            self.of.entry(destination.0).or_default().push(taint);
        }
    }

    /// The taints of one destination.
    pub fn of(&self, destination: Destination) -> &[Taint] {
        self.of.get(&destination.0).map_or(&[], Vec::as_slice)
    }

    /// Whom they keep from a policy with these tolerations.
    pub fn judge(&self, tolerations: &[Toleration], now: Timestamp) -> Obstacles {
        let mut found = Obstacles::default();
        for (taint, set) in &self.sets {
            let covering: Vec<&Toleration> =
                tolerations.iter().filter(|t| t.covers(taint)).collect();
            let kept_away = if covering.iter().any(|t| t.seconds.is_none()) {
                continue;
            } else if let Some(seconds) = covering.iter().filter_map(|t| t.seconds).max() {
                self.expired(taint, Duration::from_secs(seconds), now, &mut found.wake_at)
            } else {
                set.clone()
            };
            match taint.effect {
                Effect::NoSelect => found.out |= kept_away,
                Effect::NoSelectIfNew => found.not_new |= kept_away,
                Effect::PreferNoSelect => found.last |= kept_away,
            }
        }
        found
    }

    fn expired(
        &self,
        taint: &Taint,
        tolerated: Duration,
        now: Timestamp,
        wake_at: &mut Option<Timestamp>,
    ) -> Destinations {
        let mut expired = Destinations::new();
        for (destination, since) in self.by_taint.get(taint).into_iter().flatten() {
            let end = since.plus(tolerated);
            if end <= now {
                expired.insert(*destination);
            } else {
                *wake_at = Some(wake_at.map_or(end, |at| at.min(end)));
            }
        }
        expired
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn toleration(item: Value) -> Toleration {
        let mut errors = Vec::new();
        let parsed = Toleration::parse(&item, "t", &mut errors);
        assert_eq!(errors, vec![]);
        parsed.expect("parsed")
    }

    #[test]
    fn a_taint_keeps_away_unless_it_is_tolerated() {
        let spec = json!({"taints": [
            {"key": "gpu", "value": "no", "effect": "NoSelect", "timeAdded": "1970-01-01T00:01:40Z"},
            {"key": "old", "effect": "NoSelectIfNew"},
            {"key": "slow", "effect": "PreferNoSelect"},
            {"key": "unheard-of", "effect": "Explode"},
        ]});
        let mut taints = Taints::default();
        taints.set(Destination(7), of_managed_cluster(&spec));
        let judge = |list: &[Value], seconds: i64| {
            let list: Vec<_> = list.iter().cloned().map(toleration).collect();
            let o = taints.judge(&list, Timestamp(seconds * 1000));
            (
                [!o.out.is_empty(), !o.not_new.is_empty(), !o.last.is_empty()],
                o.wake_at.map(|t| t.0 / 1000),
            )
        };
        let rows = [
            (vec![], 0, [true, true, true], None),
            (
                vec![json!({"key": "gpu", "value": "no"})],
                0,
                [false, true, true],
                None,
            ),
            (
                vec![json!({"key": "gpu", "value": "yes"})],
                0,
                [true, true, true],
                None,
            ),
            (
                vec![json!({"key": "gpu", "operator": "Exists"})],
                0,
                [false, true, true],
                None,
            ),
            (
                vec![json!({"operator": "Exists"})],
                0,
                [false, false, false],
                None,
            ),
            (
                vec![json!({"operator": "Exists", "effect": "PreferNoSelect"})],
                0,
                [true, true, false],
                None,
            ),
            (
                vec![json!({"key": "gpu", "operator": "Exists", "tolerationSeconds": 60})],
                120,
                [false, true, true],
                Some(160),
            ),
            (
                vec![json!({"key": "gpu", "operator": "Exists", "tolerationSeconds": 60})],
                160,
                [true, true, true],
                None,
            ),
        ];
        for (list, now, kept, wake) in rows {
            assert_eq!(judge(&list, now), (kept, wake), "{list:?} at {now}");
        }
    }

    #[test]
    fn taints_that_are_gone_keep_nobody_away() {
        let mut taints = Taints::default();
        let spec = json!({"taints": [{"key": "gpu", "effect": "NoSelect"}]});
        taints.set(Destination(1), of_managed_cluster(&spec));
        taints.set(Destination(2), of_managed_cluster(&spec));
        taints.set(Destination(1), Vec::new());
        let out = taints.judge(&[], Timestamp(0)).out;
        assert_eq!(out.iter().collect::<Vec<_>>(), [2]);
    }
}
