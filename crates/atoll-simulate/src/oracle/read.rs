//! Which destinations a policy or a Customizer means: label selectors, and of CEL the two forms that the load writes.

use std::collections::BTreeMap;

use serde_json::Value;

pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

pub(super) fn strings(value: Option<&Value>) -> BTreeMap<String, String> {
    let entries = value.and_then(Value::as_object).into_iter().flatten();
    entries
        .filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())))
        .collect()
}

/// Whether a label selector selects these labels.
pub(super) fn selects(selector: &Value, labels: &BTreeMap<String, String>) -> bool {
    let exact = strings(selector.get("matchLabels"));
    let all_equal = exact.iter().all(|(k, v)| labels.get(k) == Some(v));
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    all_equal
        && expressions.into_iter().flatten().all(|e| {
            let value = labels.get(text(e, "/key"));
            let listed = e
                .get("values")
                .and_then(Value::as_array)
                .is_some_and(|values| {
                    values
                        .iter()
                        .any(|v| v.as_str() == value.map(String::as_str) && value.is_some())
                });
            match text(e, "/operator") {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}

/// Which destinations are meant: any of the selectors, and all of the expressions.
#[derive(Debug)]
pub(super) struct Chosen {
    selectors: Vec<Value>,
    tests: Vec<Test>,
}

/// An expression of the load.
#[derive(Debug, PartialEq, Eq)]
enum Test {
    /// `cluster.labels['KEY'] in ['A', 'B']`
    OneOf { key: String, values: Vec<String> },
    /// `int(cluster.labels['KEY'].substring(FROM)) % MODULUS in [1, 2]`
    Remainder {
        key: String,
        from: usize,
        modulus: u64,
        values: Vec<u64>,
    },
    /// Nothing that is known here.
    Unknown,
}

impl Chosen {
    /// Reads `clusterSelectors` and `clusterExpressions` of a spec.
    pub(super) fn of(spec: &Value) -> Self {
        let list = |field: &str| {
            spec.get(field)
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
        };
        Chosen {
            selectors: list("clusterSelectors").cloned().collect(),
            tests: list("clusterExpressions")
                .filter_map(Value::as_str)
                .map(Test::of)
                .collect(),
        }
    }

    pub(super) fn has(&self, labels: &BTreeMap<String, String>) -> bool {
        self.selectors.iter().any(|s| selects(s, labels))
            && self.tests.iter().all(|t| t.holds(labels))
    }
}

impl Test {
    fn of(source: &str) -> Self {
        Self::one_of(source)
            .or_else(|| Self::remainder(source))
            .unwrap_or(Test::Unknown)
    }

    fn one_of(source: &str) -> Option<Self> {
        let (key, values) = source
            .strip_prefix("cluster.labels['")?
            .split_once("'] in [")?;
        let values = values.strip_suffix(']')?.split(", ");
        Some(Test::OneOf {
            key: key.to_owned(),
            values: values.map(|v| v.trim_matches('\'').to_owned()).collect(),
        })
    }

    fn remainder(source: &str) -> Option<Self> {
        let (key, rest) = source
            .strip_prefix("int(cluster.labels['")?
            .split_once("'].substring(")?;
        let (from, rest) = rest.split_once(")) % ")?;
        let (modulus, values) = rest.split_once(" in [")?;
        let values = values.strip_suffix(']')?.split(", ").map(str::parse);
        Some(Test::Remainder {
            key: key.to_owned(),
            from: from.parse().ok()?,
            modulus: modulus.parse().ok()?,
            values: values.collect::<Result<_, _>>().ok()?,
        })
    }

    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Test::OneOf { key, values } => labels.get(key).is_some_and(|v| values.contains(v)),
            Test::Remainder {
                key,
                from,
                modulus,
                values,
            } => {
                let number = labels
                    .get(key)
                    .and_then(|v| v.get(*from..)?.parse::<u64>().ok());
                number.is_some_and(|n| values.contains(&(n % modulus)))
            }
            Test::Unknown => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_forms_are_read() {
        let labels = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect()
        };
        let chosen = Chosen::of(&json!({
            "clusterSelectors": [{"matchLabels": {"fleet": "f"}}],
            "clusterExpressions": ["cluster.labels['bucket'] in ['1', '7']", "int(cluster.labels['site'].substring(5)) % 10 in [3, 4]"],
        }));
        assert!(chosen.has(&labels(&[
            ("fleet", "f"),
            ("bucket", "7"),
            ("site", "site-0000013")
        ])));
        assert!(!chosen.has(&labels(&[
            ("fleet", "f"),
            ("bucket", "2"),
            ("site", "site-0000013")
        ])));
        assert!(!chosen.has(&labels(&[
            ("fleet", "f"),
            ("bucket", "7"),
            ("site", "site-0000015")
        ])));
        assert!(!chosen.has(&labels(&[("bucket", "7"), ("site", "site-0000013")])));
    }
}
