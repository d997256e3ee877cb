//! How tables write ages, lists, selectors and absent things.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::time::Timestamp;

pub(super) const NONE: &str = "<none>";
pub(super) const UNSET: &str = "<unset>";
pub(super) const UNKNOWN: &str = "<unknown>";

/// The time since a timestamp: `5d3h`.
pub(super) fn age(timestamp: &Value, now: Timestamp) -> String {
    match timestamp.as_str().and_then(Timestamp::parse) {
        Some(then) => duration(now.0 - then.0),
        None => UNKNOWN.to_owned(),
    }
}

/// A duration with at most two units, the finer the shorter it is.
pub(super) fn duration(millis: i64) -> String {
    // Clocks that differ a little must not show "invalid" right after a write.
    let seconds = millis.div_euclid(1000);
    if seconds < -1 {
        return "<invalid>".to_owned();
    }
    let seconds = seconds.max(0);
    let two = |n: i64, unit: &str, rest: i64, fine: &str| match rest {
        0 => format!("{n}{unit}"),
        _ => format!("{n}{unit}{rest}{fine}"),
    };
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => two(minutes, "m", seconds % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => two(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => two(days, "d", hours % 24, "h"),
        691_200..63_072_000 => format!("{days}d"),
        63_072_000..252_288_000 => two(days / 365, "y", days % 365, "d"),
        _ => format!("{}y", days / 365),
    }
}

/// A string field, empty when it is absent.
pub(super) fn string<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// A string field, or what stands for an absent one.
pub(super) fn string_or(object: &Value, pointer: &str, absent: &str) -> Value {
    let found = string(object, pointer);
    if found.is_empty() {
        absent.into()
    } else {
        found.into()
    }
}

/// An integer field, 0 when it is absent.
pub(super) fn integer(object: &Value, pointer: &str) -> i64 {
    object
        .pointer(pointer)
        .and_then(Value::as_i64)
        .unwrap_or_default()
}

/// An integer cell.
pub(super) fn number(object: &Value, pointer: &str) -> Value {
    integer(object, pointer).into()
}

/// A boolean field, false when it is absent.
pub(super) fn flag(object: &Value, pointer: &str) -> bool {
    object.pointer(pointer).and_then(Value::as_bool) == Some(true)
}

/// A list field, empty when it is absent.
pub(super) fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    let found = object.pointer(pointer).and_then(Value::as_array);
    found.map_or(&[], Vec::as_slice)
}

/// The number of entries of a list or map.
pub(super) fn count(object: &Value, pointer: &str) -> usize {
    match object.pointer(pointer) {
        Some(Value::Array(all)) => all.len(),
        Some(Value::Object(all)) => all.len(),
        _ => 0,
    }
}

/// The strings of a list field, joined by commas.
pub(super) fn joined(object: &Value, pointer: &str) -> String {
    let all = list(object, pointer).iter().filter_map(Value::as_str);
    all.collect::<Vec<_>>().join(",")
}

/// `value`, or `absent` when it is empty.
pub(super) fn or(value: String, absent: &str) -> Value {
    if value.is_empty() {
        absent.into()
    } else {
        value.into()
    }
}

/// Labels as `a=b,c=d`.
pub(super) fn labels(value: Option<&Value>) -> String {
    let all = value.and_then(Value::as_object).into_iter().flatten();
    let all: Vec<String> = all
        .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
        .collect();
    all.join(",")
}

/// A LabelSelector as a query: `app=web,tier in (a,b),zz`, sorted by key. An empty one selects everything.
pub(super) fn selector(value: Option<&Value>) -> Value {
    let Some(value) = value.filter(|v| !v.is_null()) else {
        return NONE.into();
    };
    let mut parts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (k, v) in value["matchLabels"].as_object().into_iter().flatten() {
        let part = format!("{k}={}", v.as_str().unwrap_or_default());
        parts.entry(k.clone()).or_default().push(part);
    }
    for e in list(value, "/matchExpressions") {
        let key = string(e, "/key");
        let mut values: Vec<&str> = list(e, "/values")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        values.sort_unstable();
        let values = values.join(",");
        let part = match string(e, "/operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            _ => format!("!{key}"),
        };
        parts.entry(key.to_owned()).or_default().push(part);
    }
    let parts: Vec<String> = parts.into_values().flatten().collect();
    or(parts.join(","), NONE)
}

/// Names and images of a pod template's containers, comma separated.
pub(super) fn containers(spec: Option<&Value>, field: &str) -> Value {
    let all = spec.map_or(&[][..], |s| list(s, "/containers")).iter();
    let all = all.map(|c| c[field].as_str().unwrap_or_default());
    json!(all.collect::<Vec<_>>().join(","))
}

/// The status of a condition, empty when there is none.
pub(super) fn condition<'a>(object: &'a Value, ty: &str) -> &'a str {
    let found = list(object, "/status/conditions").iter();
    let mut found = found.filter(|c| c["type"] == ty);
    found.next().map_or("", |c| string(c, "/status"))
}

/// `True` or `False`, as a string cell writes it.
pub(super) fn title(b: bool) -> Value {
    if b { "True".into() } else { "False".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_get_coarser_as_they_grow() {
        const SECOND: i64 = 1000;
        const MINUTE: i64 = 60 * SECOND;
        const HOUR: i64 = 60 * MINUTE;
        const DAY: i64 = 24 * HOUR;
        let rows = [
            (-2500, "<invalid>"),
            (-900, "0s"),
            (0, "0s"),
            (119 * SECOND, "119s"),
            (120 * SECOND, "2m"),
            (125 * SECOND, "2m5s"),
            (10 * MINUTE + SECOND, "10m"),
            (3 * HOUR + MINUTE, "3h1m"),
            (9 * HOUR + MINUTE, "9h"),
            (47 * HOUR, "47h"),
            (2 * DAY, "2d"),
            (2 * DAY + HOUR, "2d1h"),
            (8 * DAY + HOUR, "8d"),
            (400 * DAY, "400d"),
            (731 * DAY, "2y1d"),
            (9 * 365 * DAY, "9y"),
        ];
        for (millis, expected) in rows {
            assert_eq!(duration(millis), expected, "{millis}");
        }
    }

    #[test]
    fn selectors_are_sorted_by_key() {
        let value = json!({"matchLabels": {"b": "1"}, "matchExpressions": [
            {"key": "a", "operator": "NotIn", "values": ["y", "x"]}, {"key": "c", "operator": "DoesNotExist"}]});
        assert_eq!(selector(Some(&value)), "a notin (x,y),b=1,!c");
        assert_eq!(selector(Some(&json!({}))), "<none>");
    }
}
