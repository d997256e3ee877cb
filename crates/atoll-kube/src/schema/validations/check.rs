//! What the rules in a schema must be like before a definition with them is accepted: well-formed, typed, and cheap enough at worst.

use atoll_cel::{Program, Type};
use serde_json::{Map, Value};

use super::rule::{Compiled, Rule};
use super::{Validations, WORD, embedded, place, values, written};
use crate::status::{FieldError, child, index, key};

/// The most that one expression may be estimated to cost for one object.
const EXPRESSION_LIMIT: u64 = 10_000_000;

/// The most that all expressions of a schema may be estimated to cost for one object.
const SCHEMA_LIMIT: u64 = 100_000_000;

const REASONS: [&str; 4] = [
    "FieldValueDuplicate",
    "FieldValueForbidden",
    "FieldValueInvalid",
    "FieldValueRequired",
];

/// The shape of the rules at one node.
pub(crate) fn shape(schema: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    let rules = schema.get(WORD).and_then(Value::as_array);
    for (i, rule) in rules.into_iter().flatten().enumerate() {
        let at = index(&child(path, WORD), i);
        let part = |name: &str| rule.get(name).and_then(Value::as_str);
        let breaks = |t: &str| t.contains(['\n', '\r']);
        let source = part("rule").unwrap_or_default().trim();
        let message = part("message").unwrap_or_default();
        let invalid =
            |name: &str, value: &str, why: &str| FieldError::invalid(child(&at, name), value, why);
        if source.is_empty() {
            errors.push(FieldError::required(
                child(&at, "rule"),
                "rule is not specified",
            ));
        } else if !message.is_empty() && message.trim().is_empty() {
            errors.push(invalid(
                "message",
                message,
                "must be non-empty if specified",
            ));
        } else if breaks(message.trim()) {
            errors.push(invalid("message", message, "must not contain line breaks"));
        } else if breaks(source) && message.trim().is_empty() {
            errors.push(FieldError::required(
                child(&at, "message"),
                "message must be specified if rule contains line breaks",
            ));
        }
        if part("messageExpression").is_some_and(|e| !e.is_empty() && e.trim().is_empty()) {
            errors.push(FieldError::required(
                child(&at, "messageExpression"),
                "messageExpression must be non-empty if specified",
            ));
        }
        if let Some(reason) = part("reason").filter(|r| !REASONS.contains(r)) {
            errors.push(FieldError::not_supported(
                child(&at, "reason"),
                reason,
                REASONS,
            ));
        }
        let Some(place) = part("fieldPath").filter(|p| !p.is_empty()) else {
            continue;
        };
        if place.trim().is_empty() {
            errors.push(invalid(
                "fieldPath",
                place,
                "must be non-empty if specified",
            ));
        }
        if breaks(place) {
            errors.push(invalid("fieldPath", place, "must not contain line breaks"));
        }
        if place::normalize(place, &Value::Object(schema.clone())).is_none() {
            errors.push(invalid("fieldPath", place, "must be a valid path"));
        }
    }
}

/// Compiles and judges all rules of a structural schema; `errors` has what is wrong with the schema itself already. `known`: the schema was
/// accepted once, so a single dear expression is no reason to refuse it again.
pub(crate) fn check(schema: &Value, path: &str, known: bool, errors: &mut Vec<FieldError>) {
    let mut check = Check {
        known,
        faulty: errors.iter().map(|e| e.field.clone()).collect(),
        found: Vec::new(),
        total: 0,
        dearest: Vec::new(),
    };
    check.node(
        schema,
        &Level {
            path: path.to_owned(),
            root: true,
            uncorrelatable: None,
            most: Some(1),
        },
    );
    if check.total > SCHEMA_LIMIT {
        for (at, _) in &check.dearest {
            check.found.push(FieldError::forbidden(
                at,
                "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema",
            ));
        }
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        let words = too_dear(what, check.total, SCHEMA_LIMIT);
        check.found.push(FieldError::forbidden(path, words));
    }
    errors.extend(check.found);
}

/// What the rules say of a default: where it was already, and where it comes newly. What that costs is taken out of the budget.
pub(crate) fn default(
    schema: &Value,
    default: &Value,
    path: &str,
    budget: &mut u64,
) -> Vec<FieldError> {
    let Some(rules) = Validations::compile(schema, false) else {
        return Vec::new();
    };
    let mut found = rules.evaluate_at(default, Some(default), *budget, path);
    let mut spent = found.cost;
    if found.errors.is_empty() {
        found = rules.evaluate_at(default, None, *budget, path);
        spent = spent.max(found.cost);
    }
    *budget = if found.exhausted { 0 } else { *budget - spent };
    found.errors
}

struct Level {
    path: String,
    root: bool,
    /// The list above whose items have no past.
    uncorrelatable: Option<String>,
    /// How many values there can be here in one object, where the schema bounds it.
    most: Option<u64>,
}

struct Check {
    known: bool,
    faulty: Vec<String>,
    found: Vec<FieldError>,
    total: u64,
    dearest: Vec<(String, u64)>,
}

impl Check {
    fn node(&mut self, schema: &Value, level: &Level) {
        let below = |path: String| Level {
            path,
            root: false,
            uncorrelatable: level.uncorrelatable.clone(),
            most: level
                .most
                .and_then(|most| Some(most.saturating_mul(most_below(schema)?))),
        };
        if let Some(values) = values(schema) {
            self.node(values, &below(child(&level.path, "additionalProperties")));
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        for (name, of) in properties.into_iter().flatten() {
            self.node(of, &below(key(&child(&level.path, "properties"), name)));
        }
        if let Some(items) = schema.get("items") {
            let mut below = below(child(&level.path, "items"));
            let is_map =
                schema.get("x-kubernetes-list-type").and_then(Value::as_str) == Some("map");
            if !is_map && below.uncorrelatable.is_none() {
                below.uncorrelatable = Some(level.path.clone());
            }
            self.node(items, &below);
        }
        if !written(schema).is_empty() && !self.is_faulty(&level.path) {
            self.rules(schema, level);
        }
    }

    /// Whether the schema itself is wrong here or below: then messages about expressions would mislead.
    fn is_faulty(&self, path: &str) -> bool {
        self.faulty.iter().any(|field| {
            let rest = field.strip_prefix(path);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
    }

    fn rules(&mut self, schema: &Value, level: &Level) {
        let all = child(&level.path, WORD);
        let whole = level.root || embedded(schema);
        let Some(of) = Type::of_schema(schema, whole) else {
            self.found.push(FieldError::internal(
                all,
                "internal error: failed to construct type information for x-kubernetes-validations rules: unable to convert structural schema to CEL declarations",
            ));
            return;
        };
        let times = level
            .most
            .unwrap_or_else(|| Type::most_in_a_request(schema, whole));
        for (i, written) in written(schema).iter().enumerate() {
            let at = index(&all, i);
            let rule = Rule::compile(written, schema, &of);
            self.expression(
                &rule.program,
                written,
                child(&at, "rule"),
                "estimated rule cost",
                times,
            );
            if let (Ok(_), Some(message)) = (&rule.program, &rule.message_expression) {
                let at = child(&at, "messageExpression");
                self.expression(message, written, at, "estimated messageExpression cost", 1);
            }
            let optional = written.get("optionalOldSelf").filter(|o| !o.is_null());
            if rule.uses_old_self {
                if let Some(list) = &level.uncorrelatable {
                    self.found.push(FieldError::invalid(
                        child(&at, "rule"),
                        rule.source.as_str(),
                        format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {list}"),
                    ));
                }
            } else if let Some(set) = optional {
                self.found.push(FieldError::invalid(
                    child(&at, "optionalOldSelf"),
                    set.clone(),
                    "may not be set if oldSelf is not used in rule",
                ));
            }
        }
    }

    fn expression(
        &mut self,
        compiled: &Compiled,
        written: &Value,
        at: String,
        what: &str,
        times: u64,
    ) {
        let estimate = |program: &Program| program.estimated_cost().saturating_mul(times);
        match compiled {
            Err(why) => {
                // The value shown is the whole rule, in the words of the server's own types.
                let mut error = FieldError::invalid(at, "", format!("{}: {why}", in_go(written)));
                error.value = None;
                self.found.push(error);
            }
            Ok(program) => {
                let cost = estimate(program);
                if cost > EXPRESSION_LIMIT && !self.known {
                    let words = too_dear(what, cost, EXPRESSION_LIMIT);
                    self.found.push(FieldError::forbidden(&at, words));
                }
                self.total = self.total.saturating_add(cost);
                if cost >= SCHEMA_LIMIT / 100 {
                    self.dearest.push((at, cost));
                    self.dearest
                        .sort_by_key(|(_, cost)| std::cmp::Reverse(*cost));
                    self.dearest.truncate(4);
                }
            }
        }
    }
}

/// How many values a value of this schema can have directly below it; `None` where there is no bound.
fn most_below(schema: &Value) -> Option<u64> {
    let bound = |name: &str| {
        let found = schema.get(name)?.as_i64()?;
        Some(u64::try_from(found).unwrap_or(0))
    };
    match schema.get("type").and_then(Value::as_str) {
        Some("object") if schema.get("additionalProperties").is_some() => bound("maxProperties"),
        Some("array") => bound("maxItems"),
        _ => Some(1),
    }
}

fn too_dear(what: &str, cost: u64, limit: u64) -> String {
    let factor = cost as f64 / limit as f64;
    let factor = if factor > 100.0 {
        "more than 100x".to_owned()
    } else if factor < 1.5 {
        format!("{factor:.6}x")
    } else {
        format!("{factor:.1}x")
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}

/// A rule as Go encodes the type that upstream keeps it in.
fn in_go(written: &Value) -> String {
    let text = |name: &str| {
        let text = written
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default();
        escaped(text)
    };
    let optional = |name: &str| match written.get(name) {
        Some(Value::String(text)) => escaped(text),
        Some(other) => other.to_string(),
        None => "null".to_owned(),
    };
    format!(
        r#"{{"Rule":{},"Message":{},"MessageExpression":{},"Reason":{},"FieldPath":{},"OptionalOldSelf":{}}}"#,
        text("rule"),
        text("message"),
        text("messageExpression"),
        optional("reason"),
        text("fieldPath"),
        optional("optionalOldSelf"),
    )
}

/// A text as Go writes it in JSON: safe in a web page, too.
fn escaped(text: &str) -> String {
    let mut out = Value::from(text).to_string();
    for (c, code) in [
        ("<", "\\u003c"),
        (">", "\\u003e"),
        ("&", "\\u0026"),
        ("\u{2028}", "\\u2028"),
        ("\u{2029}", "\\u2029"),
    ] {
        out = out.replace(c, code);
    }
    out
}
