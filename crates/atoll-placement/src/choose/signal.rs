//! Signals: live values keyed by a label's value (carbon by region, threat by site), written by whoever measures them.
//!
//! A [`Signal`] object holds `spec {labelKey, values, ttlSeconds, hysteresis}`. What counts is `status`, which admission writes with the spec: the *effective*
//! values (a number follows only when it moved by more than the hysteresis) and when they were written. So what a decision read is in the log, and the same after a restart.
//! A signal that is older than its time to live is unknown, which is not the same as zero.

use std::collections::BTreeMap;
use std::time::Duration;

use atoll_kube::Timestamp;
use atoll_kube::status::FieldError;
use serde_json::{Value, json};

use crate::fields;

/// The most values of one signal.
const MOST_VALUES: usize = 10_000;

/// A signal as it counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Signal {
    /// The label whose value picks a destination's value.
    pub label_key: String,
    /// The values that count: numbers or strings.
    pub values: BTreeMap<String, Value>,
    /// From then on they are unknown.
    pub valid_until: Option<Timestamp>,
}

/// What is wrong with a Signal's spec.
pub fn validate(spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    match fields::text(spec, "labelKey", "spec", &mut errors) {
        Some(key) => {
            if let Err(why) = atoll_kube::names::is_qualified_name(&key) {
                errors.push(FieldError::invalid("spec.labelKey", key, why));
            }
        }
        None => errors.push(FieldError::required(
            "spec.labelKey",
            "names the label whose value picks the signal's value",
        )),
    }
    match spec.get("values") {
        Some(Value::Object(values)) => {
            if values.len() > MOST_VALUES {
                errors.push(FieldError::too_many(
                    "spec.values",
                    values.len(),
                    MOST_VALUES,
                ));
            }
            for (key, value) in values {
                if !value.is_number() && !value.is_string() {
                    errors.push(FieldError::type_invalid(
                        format!("spec.values[{key}]"),
                        value.clone(),
                        "must be a number or a string",
                    ));
                }
            }
        }
        None | Some(Value::Null) => {}
        Some(other) => errors.push(FieldError::type_invalid(
            "spec.values",
            other.clone(),
            "must be a map",
        )),
    }
    if fields::count(spec, "ttlSeconds", "spec", &mut errors) == Some(0) {
        errors.push(FieldError::invalid(
            "spec.ttlSeconds",
            0,
            "must be at least 1: with 0 no value would ever count",
        ));
    }
    if let Some(value) = spec.get("hysteresis").filter(|v| !v.is_null())
        && value.as_f64().is_none_or(|n| n < 0.0)
    {
        errors.push(FieldError::invalid(
            "spec.hysteresis",
            value.clone(),
            "must be a number, not negative",
        ));
    }
    errors
}

/// The status to store with a spec that is written now; `before` is the status it had.
pub fn status(spec: &Value, before: Option<&Value>, now: Timestamp) -> Value {
    let hysteresis = spec
        .get("hysteresis")
        .and_then(Value::as_f64)
        .unwrap_or(0.0);
    let held = before
        .and_then(|s| s.get("values"))
        .and_then(Value::as_object);
    let mut values = serde_json::Map::new();
    for (key, value) in spec
        .get("values")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let old = held.and_then(|h| h.get(key));
        let stays = match (old.and_then(Value::as_f64), value.as_f64()) {
            (Some(old), Some(new)) => (new - old).abs() <= hysteresis,
            _ => false,
        };
        let counts = if stays { old.unwrap_or(value) } else { value };
        values.insert(key.clone(), counts.clone());
    }
    let mut status = json!({"values": values, "lastUpdated": now.rfc3339()});
    if let Some(ttl) = spec.get("ttlSeconds").and_then(Value::as_u64) {
        status["validUntil"] = now.plus(Duration::from_secs(ttl)).rfc3339().into();
    }
    status
}

impl Signal {
    /// Reads a stored Signal; `None` when it is not one that counts.
    pub fn of(object: &Value) -> Option<Signal> {
        let status = object.get("status")?;
        Some(Signal {
            label_key: object.pointer("/spec/labelKey")?.as_str()?.to_owned(),
            values: status
                .get("values")?
                .as_object()?
                .clone()
                .into_iter()
                .collect(),
            valid_until: match status.get("validUntil") {
                Some(at) => Some(Timestamp::parse(at.as_str()?)?),
                None => None,
            },
        })
    }

    /// The value for a label's value, if it is known now.
    pub fn value(&self, label: &str, now: Timestamp) -> Option<&Value> {
        if self.valid_until.is_some_and(|end| end <= now) {
            return None;
        }
        self.values.get(label)
    }
}

/// An inventory's signals by name.
pub type Signals = BTreeMap<String, Signal>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_until_its_time_and_moves_by_more_than_the_hysteresis() {
        let mut object = json!({"spec": {"labelKey": "region", "values": {"eu": 100, "site": "red"}, "ttlSeconds": 60, "hysteresis": 10}});
        assert_eq!(validate(&object["spec"]), vec![]);
        object["status"] = status(&object["spec"], None, Timestamp(0));
        let mut expect = |new: i64, counts: i64| {
            object["spec"]["values"]["eu"] = new.into();
            object["status"] = status(&object["spec"], object.get("status"), Timestamp(1000));
            let signal = Signal::of(&object).expect("a signal");
            assert_eq!(
                signal.value("eu", Timestamp(60_999)),
                Some(&json!(counts)),
                "{new}"
            );
            assert_eq!(signal.value("eu", Timestamp(61_000)), None, "too old");
            assert_eq!(signal.value("us", Timestamp(1000)), None);
        };
        expect(110, 100);
        expect(111, 111);
        expect(101, 111);
        expect(100, 100);
    }

    #[test]
    fn faults_are_named() {
        let rows = [
            (json!({}), "spec.labelKey"),
            (json!({"labelKey": "a b"}), "spec.labelKey"),
            (
                json!({"labelKey": "a", "values": {"x": {}}}),
                "spec.values[x]",
            ),
            (json!({"labelKey": "a", "values": []}), "spec.values"),
            (json!({"labelKey": "a", "ttlSeconds": 0}), "spec.ttlSeconds"),
            (
                json!({"labelKey": "a", "hysteresis": -1}),
                "spec.hysteresis",
            ),
        ];
        for (spec, field) in rows {
            assert_eq!(
                validate(&spec).first().map(|e| e.field.as_str()),
                Some(field),
                "{spec}"
            );
        }
    }
}
