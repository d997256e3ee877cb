//! Label selectors, from a query string (`a=b,c in (d,e),!f`) or from `{matchLabels, matchExpressions}`.

use std::fmt;

use serde_json::Value;

use crate::names::{is_label_value, is_qualified_name};
use crate::status::{FieldError, child, index, key};

/// How a requirement compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Operator {
    Equals,
    DoubleEquals,
    NotEquals,
    In,
    NotIn,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

/// One condition on one label.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Requirement {
    /// The label.
    pub key: String,
    /// How it compares.
    pub operator: Operator,
    /// With what; sorted, each once.
    pub values: Vec<String>,
}

/// A conjunction of requirements, or nothing at all.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct LabelSelector {
    /// All must hold. Sorted by key.
    pub requirements: Vec<Requirement>,
    /// Selects no object whatever the requirements.
    pub nothing: bool,
}

impl Requirement {
    /// A requirement that makes sense; the error is Kubernetes' text.
    pub fn new(key_: &str, operator: Operator, values: Vec<String>) -> Result<Self, String> {
        use Operator::{
            DoesNotExist, DoubleEquals, Equals, Exists, GreaterThan, In, LessThan, NotEquals, NotIn,
        };
        let mut errors = Vec::new();
        if let Err(why) = is_qualified_name(key_) {
            errors.push(FieldError::invalid("key", key_, why));
        }
        let mut refuse =
            |why: &str| errors.push(FieldError::invalid("values", values.clone(), why));
        match operator {
            In | NotIn if values.is_empty() => {
                refuse("for 'in', 'notin' operators, values set can't be empty")
            }
            Equals | DoubleEquals | NotEquals if values.len() != 1 => {
                refuse("exact-match compatibility requires one single value");
            }
            Exists | DoesNotExist if !values.is_empty() => {
                refuse("values set must be empty for exists and does not exist")
            }
            GreaterThan | LessThan => {
                if values.len() != 1 {
                    refuse("for 'Gt', 'Lt' operators, exactly one value is required");
                }
                for (i, value) in values.iter().enumerate() {
                    if value.parse::<i64>().is_err() {
                        errors.push(FieldError::invalid(
                            index("values", i),
                            value.as_str(),
                            "for 'Gt', 'Lt' operators, the value must be an integer",
                        ));
                    }
                }
            }
            _ => {}
        }
        for (i, value) in values.iter().enumerate() {
            if let Err(why) = is_label_value(value) {
                errors.push(FieldError::invalid(
                    key(&index("values", i), key_),
                    value.as_str(),
                    why,
                ));
            }
        }
        if !errors.is_empty() {
            return Err(crate::status::aggregate(&errors));
        }
        let mut values = values;
        values.sort_unstable();
        values.dedup();
        Ok(Self {
            key: key_.to_owned(),
            operator,
            values,
        })
    }

    /// Whether a label with this value (or its absence) satisfies the requirement.
    pub fn accepts(&self, value: Option<&str>) -> bool {
        let has = |v: &str| self.values.iter().any(|x| x == v);
        match self.operator {
            Operator::In | Operator::Equals | Operator::DoubleEquals => value.is_some_and(has),
            Operator::NotIn | Operator::NotEquals => !value.is_some_and(has),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan | Operator::LessThan => {
                let bound = self.values.first().and_then(|v| v.parse::<i64>().ok());
                match (value.and_then(|v| v.parse::<i64>().ok()), bound) {
                    (Some(v), Some(b)) if self.operator == Operator::GreaterThan => v > b,
                    (Some(v), Some(b)) => v < b,
                    _ => false,
                }
            }
        }
    }
}

impl LabelSelector {
    /// Selects every object.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Selects no object.
    pub fn nothing() -> Self {
        Self {
            nothing: true,
            ..Self::default()
        }
    }

    /// Parses `a=b,c in (d,e),!f`; the error is Kubernetes' text.
    pub fn parse_query(query: &str) -> Result<Self, String> {
        super::parse::requirements(query).map(Self::of)
    }

    fn of(mut requirements: Vec<Requirement>) -> Self {
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Self {
            requirements,
            nothing: false,
        }
    }

    /// From `{matchLabels, matchExpressions}`; null selects nothing, `{}` everything. Errors carry paths below `path`.
    pub fn from_value(selector: &Value, path: &str) -> Result<Self, Vec<FieldError>> {
        if selector.is_null() {
            return Ok(Self::nothing());
        }
        let mut requirements = Vec::new();
        let mut errors = Vec::new();
        let labels_path = child(path, "matchLabels");
        if let Some(labels) = selector.get("matchLabels").and_then(Value::as_object) {
            errors.extend(crate::meta::validate_labels(labels, &labels_path));
            for (k, v) in labels {
                requirements.push(Requirement {
                    key: k.clone(),
                    operator: Operator::Equals,
                    values: vec![v.as_str().unwrap_or_default().to_owned()],
                });
            }
        }
        let expressions = selector.get("matchExpressions").and_then(Value::as_array);
        for (i, expression) in expressions.into_iter().flatten().enumerate() {
            let at = index(&child(path, "matchExpressions"), i);
            match from_expression(expression, &at) {
                Ok(requirement) => requirements.push(requirement),
                Err(more) => errors.extend(more),
            }
        }
        if errors.is_empty() {
            Ok(Self::of(requirements))
        } else {
            Err(errors)
        }
    }

    /// Whether it selects an object whose labels are looked up by `label`.
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        !self.nothing && self.requirements.iter().all(|r| r.accepts(label(&r.key)))
    }

    /// Whether it selects `object` by its metadata.labels.
    pub fn matches_object(&self, object: &Value) -> bool {
        self.matches(|key| crate::meta::label(object, key))
    }

    /// Whether it selects every object.
    pub fn is_everything(&self) -> bool {
        !self.nothing && self.requirements.is_empty()
    }
}

fn from_expression(expression: &Value, path: &str) -> Result<Requirement, Vec<FieldError>> {
    let mut errors = Vec::new();
    let text = |field: &str| {
        expression
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let values: Vec<String> = expression
        .get("values")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|v| v.as_str().unwrap_or_default().to_owned())
        .collect();
    let operator = match text("operator") {
        "In" => Some(Operator::In),
        "NotIn" => Some(Operator::NotIn),
        "Exists" => Some(Operator::Exists),
        "DoesNotExist" => Some(Operator::DoesNotExist),
        other => {
            errors.push(FieldError::invalid(
                child(path, "operator"),
                other,
                "not a valid selector operator",
            ));
            None
        }
    };
    match operator {
        Some(Operator::In | Operator::NotIn) if values.is_empty() => {
            errors.push(FieldError::required(
                child(path, "values"),
                "must be specified when `operator` is 'In' or 'NotIn'",
            ))
        }
        Some(Operator::Exists | Operator::DoesNotExist) if !values.is_empty() => {
            errors.push(FieldError::forbidden(
                child(path, "values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            ))
        }
        _ => {}
    }
    if let Err(why) = is_qualified_name(text("key")) {
        errors.push(FieldError::invalid(child(path, "key"), text("key"), why));
    }
    for (i, value) in values.iter().enumerate() {
        if let Err(why) = is_label_value(value) {
            errors.push(FieldError::invalid(
                index(&child(path, "values"), i),
                value.as_str(),
                why,
            ));
        }
    }
    match operator {
        Some(operator) if errors.is_empty() => Requirement::new(text("key"), operator, values)
            .map_err(|why| vec![FieldError::internal(path, why)]),
        _ => Err(errors),
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = self.values.join(",");
        let key = &self.key;
        match self.operator {
            Operator::Exists => f.write_str(key),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::Equals => write!(f, "{key}={values}"),
            Operator::DoubleEquals => write!(f, "{key}=={values}"),
            Operator::NotEquals => write!(f, "{key}!={values}"),
            Operator::In => write!(f, "{key} in ({values})"),
            Operator::NotIn => write!(f, "{key} notin ({values})"),
            Operator::GreaterThan => write!(f, "{key}>{values}"),
            Operator::LessThan => write!(f, "{key}<{values}"),
        }
    }
}

/// The query string that parses to this selector.
impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, r) in self.requirements.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            r.fmt(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn requirements_match_as_kubernetes_says() {
        let check = |query: &str, label: Option<&str>, expected: bool| {
            let selector = LabelSelector::parse_query(query).unwrap();
            assert_eq!(
                selector.matches(|_| label),
                expected,
                "{query} on {label:?}"
            );
        };
        check("a=b", Some("b"), true);
        check("a=b", None, false);
        check("a!=b", None, true);
        check("a!=b", Some("c"), true);
        check("a in (b,c)", Some("c"), true);
        check("a in (b,c)", None, false);
        check("a notin (b,c)", None, true);
        check("a notin (b,c)", Some("b"), false);
        check("a", Some(""), true);
        check("!a", Some(""), false);
        check("!a", None, true);
        check("a>3", Some("10"), true);
        check("a>3", Some("x"), false);
        check("a<3", Some("2"), true);
        check("a=", Some(""), true);
        check("", None, true);
        assert!(!LabelSelector::nothing().matches(|_| Some("b")));
    }

    #[test]
    fn selectors_in_objects() {
        let check = |value: Value, expected: Result<&str, &str>| {
            let found = LabelSelector::from_value(&value, "spec.selector");
            match (found, expected) {
                (Ok(s), Ok(text)) => assert_eq!(s.to_string(), text),
                (Err(e), Err(text)) => assert_eq!(crate::status::aggregate(&e), text),
                (found, _) => panic!("{found:?}"),
            }
        };
        check(json!({}), Ok(""));
        check(
            json!({"matchLabels": {"b": "x"}, "matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["z", "y"]}]}),
            Ok("a notin (y,z),b=x"),
        );
        check(
            json!({"matchExpressions": [{"key": "a", "operator": "In"}]}),
            Err(
                "spec.selector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
            ),
        );
        check(
            json!({"matchExpressions": [{"key": "a", "operator": "Like"}]}),
            Err(
                "spec.selector.matchExpressions[0].operator: Invalid value: \"Like\": not a valid selector operator",
            ),
        );
        assert!(LabelSelector::from_value(&Value::Null, "").unwrap().nothing);
    }
}
