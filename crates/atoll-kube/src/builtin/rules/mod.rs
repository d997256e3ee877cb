//! What must hold between the fields of Kubernetes' own kinds, beyond what a schema can say: a selector that matches the
//! template's labels, names that refer to something, ports that are given once, fields that stay as they are.
//!
//! The rules are data (`data/rules.txt`, read by [`table`]); messages are upstream's. A rule about a field that is not
//! there holds, except `required`: what Kubernetes would default is not missing where objects are kept as written. What
//! no line can say is one of the named [`checks`]. Nothing here knows a workspace.

mod checks;
mod cron;
mod table;
#[cfg(test)]
mod tests;
mod words;

use serde_json::Value;

use crate::ids::GroupResource;
use crate::selector::LabelSelector;
use crate::status::{FieldError, child, index, key};
use table::{Condition, Demand, Rule, Step};

/// What is wrong with an object, by itself.
pub fn check(resource: &GroupResource, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for rule in table::rules(resource) {
        apply(rule, object, "", &mut errors);
    }
    errors
}

/// What a change of an object changes although it may not.
pub fn check_change(resource: &GroupResource, old: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for rule in table::rules(resource) {
        for path in &rule.paths {
            match &rule.demand {
                Demand::Fixed => fixed(rule, path, old, new, &mut errors),
                Demand::FixedBut(free) => fixed_but(rule, path, free, old, new, &mut errors),
                _ => {}
            }
        }
    }
    errors
}

/// A field that an update may not change. One that was never set may be set once, where objects are kept as written.
fn fixed(rule: &Rule, path: &[Step], old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let marked = !rule.conditions.is_empty();
    let (before, after) = (table::at(old, path), table::at(new, path));
    if before == after || !rule.holds(old) || before.is_none() && !marked {
        return;
    }
    let field = table::text(path);
    errors.push(if marked {
        FieldError::forbidden(field, &*rule.words)
    } else {
        let words = match rule.words.as_str() {
            "" => "field is immutable",
            words => words,
        };
        FieldError::invalid(field, after.cloned().unwrap_or_default(), words)
    });
}

fn fixed_but(
    rule: &Rule,
    path: &[Step],
    free: &[String],
    old: &Value,
    new: &Value,
    errors: &mut Vec<FieldError>,
) {
    let rest = |object: &Value| {
        let mut rest = table::at(object, path).cloned().unwrap_or_default();
        if let Some(fields) = rest.as_object_mut() {
            fields.retain(|name, _| !free.contains(name));
        }
        rest
    };
    if rest(old) != rest(new) {
        errors.push(FieldError::forbidden(table::text(path), &*rule.words));
    }
}

/// One place that a rule is about.
struct Place<'a> {
    /// Where the rules' root is: the object, or where a shape is used.
    root: &'a Value,
    root_path: &'a str,
    value: Option<&'a Value>,
    path: String,
}

/// Applies one rule below `root`, which is at `at`.
fn apply(rule: &Rule, root: &Value, at: &str, errors: &mut Vec<FieldError>) {
    if let Demand::Unique(field) = &rule.demand {
        return unique(rule, field, root, at, errors);
    }
    for path in &rule.paths {
        walk(
            root,
            root,
            at.to_owned(),
            path,
            &mut |parent, value, path| {
                let place = Place {
                    root,
                    root_path: at,
                    value,
                    path,
                };
                if rule.holds(parent) {
                    demand(rule, &place, errors);
                }
            },
        );
    }
}

/// Visits every place below `value` that a path leads to: the last field also where it is absent, but not where what
/// should have it is.
fn walk<'a>(
    parent: &'a Value,
    value: &'a Value,
    at: String,
    path: &[Step],
    visit: &mut dyn FnMut(&'a Value, Option<&'a Value>, String),
) {
    let Some((step, rest)) = path.split_first() else {
        return visit(parent, Some(value), at);
    };
    match step {
        Step::Field(name) => {
            let at = child(&at, name);
            match value.get(name).filter(|v| !v.is_null()) {
                Some(inner) => walk(value, inner, at, rest, visit),
                None if rest.is_empty() && value.is_object() => visit(value, None, at),
                None => {}
            }
        }
        Step::Each => {
            for (i, item) in value.as_array().into_iter().flatten().enumerate() {
                walk(item, item, index(&at, i), rest, visit);
            }
        }
        Step::Entries => {
            for (name, item) in value.as_object().into_iter().flatten() {
                walk(value, item, key(&at, name), rest, visit);
            }
        }
    }
}

fn is_empty(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Array(list)) => list.is_empty(),
        Some(Value::Object(map)) => map.is_empty(),
        Some(_) => false,
    }
}

fn demand(rule: &Rule, place: &Place<'_>, errors: &mut Vec<FieldError>) {
    let path = place.path.as_str();
    let words = rule.words.as_str();
    // These are about absent fields too.
    match &rule.demand {
        Demand::Required if is_empty(place.value) => {
            return errors.push(FieldError::required(path, words));
        }
        Demand::Among(allowed) => {
            let named = place.value.and_then(Value::as_str);
            if !named.is_some_and(|named| allowed.iter().any(|a| a == named)) {
                errors.push(FieldError::required(path, words));
            }
            return;
        }
        _ => {}
    }
    let Some(value) = place.value else { return };
    let number = value.as_i64();
    match &rule.demand {
        Demand::Present if number == Some(0) => {
            errors.push(FieldError::required(path, words));
        }
        Demand::AtLeast(least) if number.is_some_and(|n| n < *least) => {
            let words = format!("must be greater than or equal to {least}");
            errors.push(FieldError::invalid(path, value.clone(), words));
        }
        Demand::MoreThan(bound) if number.is_some_and(|n| n <= *bound) => {
            errors.push(if words.is_empty() {
                let words = format!("must be greater than {bound}");
                FieldError::invalid(path, value.clone(), words)
            } else {
                FieldError::required(path, words)
            });
        }
        Demand::Between(low, high) if number.is_some_and(|n| n < *low || n > *high) => {
            let words = format!("must be between {low} and {high}, inclusive");
            errors.push(FieldError::invalid(path, value.clone(), words));
        }
        Demand::ShorterThan(length) if value.as_str().is_some_and(|t| t.len() >= *length) => {
            let words = format!("must be no more than {} characters", length - 1);
            errors.push(FieldError::invalid(path, value.clone(), words));
        }
        Demand::OneOf(allowed) => {
            let named = value.as_str().filter(|named| !named.is_empty());
            if named.is_some_and(|named| !allowed.iter().any(|a| a == named)) {
                errors.push(FieldError::not_supported(path, value.clone(), allowed));
            }
        }
        Demand::Absent if !is_empty(Some(value)) => {
            errors.push(FieldError::invalid(path, "", words));
        }
        Demand::Forbidden if !is_empty(Some(value)) => {
            errors.push(FieldError::forbidden(path, words));
        }
        Demand::NotEmpty if is_empty(Some(value)) => {
            errors.push(FieldError::invalid(path, value.clone(), words));
        }
        Demand::Is(form) => form.check(path, value, errors),
        Demand::Keys(form) => {
            let name = path.strip_suffix(']').and_then(|p| p.split_once('['));
            if let Some((_, name)) = name {
                form.check(path, &Value::from(name), errors);
            }
        }
        Demand::FoundIn(places) => {
            let mut found = is_empty(Some(value));
            for steps in places {
                walk(
                    place.root,
                    place.root,
                    String::new(),
                    steps,
                    &mut |_, v, _| {
                        found |= v == Some(value);
                    },
                );
            }
            if !found {
                errors.push(FieldError::not_found(path, value.clone()));
            }
        }
        Demand::SingleOf(fields) => {
            let mut set = fields.iter().filter(|field| !is_null(value, field));
            set.next();
            for field in set {
                errors.push(FieldError::forbidden(child(path, field), words));
            }
        }
        Demand::Selects(labels) => selects(place, value, labels, errors),
        Demand::Check(check) => check(path, value, errors),
        Demand::Shape(name) => {
            for rule in table::shape(name) {
                apply(rule, value, path, errors);
            }
        }
        _ => {}
    }
}

fn is_null(object: &Value, field: &str) -> bool {
    object.get(field).is_none_or(Value::is_null)
}

/// A selector must select what is made from the template beside it.
fn selects(place: &Place<'_>, selector: &Value, labels: &[Step], errors: &mut Vec<FieldError>) {
    // ReplicationControllers select by a plain map.
    let plain = is_null(selector, "matchLabels") && is_null(selector, "matchExpressions");
    let whole = serde_json::json!({ "matchLabels": selector });
    let Ok(parsed) = LabelSelector::from_value(if plain { &whole } else { selector }, "") else {
        return; // another rule's business
    };
    let found = table::at(place.root, labels);
    let label = |name: &str| found.and_then(|l| l.get(name)).and_then(Value::as_str);
    if !is_empty(Some(selector)) && !parsed.matches(label) {
        let field = [place.root_path, &table::text(labels)];
        let field: Vec<&str> = field.into_iter().filter(|part| !part.is_empty()).collect();
        errors.push(FieldError::invalid(
            field.join("."),
            found.cloned().unwrap_or_default(),
            "`selector` does not match template `labels`",
        ));
    }
}

/// A field that differs between the elements of a list, or of several lists taken together.
fn unique(rule: &Rule, field: &str, root: &Value, at: &str, errors: &mut Vec<FieldError>) {
    let mut seen: Vec<&Value> = Vec::new();
    for path in &rule.paths {
        walk(root, root, at.to_owned(), path, &mut |_, list, path| {
            let items = list.and_then(Value::as_array).into_iter().flatten();
            for (i, item) in items.enumerate() {
                let Some(value) = item.get(field).filter(|v| !is_empty(Some(v))) else {
                    continue;
                };
                if !seen.contains(&value) {
                    seen.push(value);
                    continue;
                }
                let path = child(&index(&path, i), field);
                errors.push(if rule.words.is_empty() {
                    FieldError::duplicate(path, value.clone())
                } else {
                    FieldError::invalid(path, value.clone(), &*rule.words)
                });
            }
        });
        // Lists that several elements have are each for themselves.
        if rule.paths.len() == 1 {
            seen.clear();
        }
    }
}

impl Rule {
    /// Whether the rule's conditions are met by the object that has the field.
    fn holds(&self, neighbours: &Value) -> bool {
        self.conditions.iter().all(|condition| {
            let Condition {
                field,
                value,
                wanted,
            } = condition;
            let found = neighbours.get(field);
            let met = match value {
                None => !is_empty(found),
                Some(value) => match found {
                    Some(Value::String(text)) => text == value,
                    Some(Value::Number(n)) => Some(n) == value.parse().ok().as_ref(),
                    Some(Value::Bool(b)) => Some(*b) == value.parse().ok(),
                    Some(_) => false,
                    None => false,
                },
            };
            met == *wanted
        })
    }
}
