//! Validation: everything a schema says is wrong with a value, in Kubernetes' words and with field paths.
//!
//! Stops after [`MAX_ERRORS`] findings, so that a hostile object cannot make a larger answer than itself.

use serde_json::{Map, Number, Value};

use super::numbers::{as_integer, compare, is_multiple};
use super::unchanged::{old_item, unchanged};
use super::{JsonType, ListType, Rules, Schema, SchemaRef, formats};
use crate::builtin::QUANTITY;
use crate::quantity::Quantity;
use crate::status::{FieldError, child, index};

/// How many findings are reported at most.
const MAX_ERRORS: usize = 100;

/// Where Kubernetes says a finding is when it concerns alternatives, not a field.
const NO_FIELD: &str = "<nil>";

impl Schema {
    /// Everything that is wrong with `value`; paths start with `path` (empty for a whole object).
    pub fn validate(&self, value: &Value, path: &str) -> Vec<FieldError> {
        let mut found = Findings::default();
        node(self, value, None, path, &mut found);
        found.errors
    }

    /// What is wrong with an object that was `old` before, the faults of parts that did not change forgiven.
    pub fn validate_change(&self, value: &Value, old: &Value) -> Vec<FieldError> {
        let mut found = Findings::default();
        parts(self, value, Some(old), "", &mut found);
        found.errors
    }
}

#[derive(Default)]
struct Findings {
    errors: Vec<FieldError>,
}

impl Findings {
    fn add(&mut self, error: FieldError) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(error);
        }
    }

    fn full(&self) -> bool {
        self.errors.len() >= MAX_ERRORS
    }

    fn merge(&mut self, other: Self) {
        other.errors.into_iter().for_each(|e| self.add(e));
    }

    /// `path: Invalid value: value: path in body <rule>`
    fn breaks(&mut self, path: &str, value: impl Into<Value>, rule: impl std::fmt::Display) {
        self.add(FieldError::invalid(
            path,
            value,
            format!("{path} in body {rule}"),
        ));
    }
}

/// A value's type as messages name it.
fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if as_integer(n).is_some() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

impl JsonType {
    /// As schemas write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }

    fn fits(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Object, Value::Object(_))
            | (Self::Array, Value::Array(_))
            | (Self::String, Value::String(_))
            | (Self::Boolean, Value::Bool(_))
            | (Self::Number, Value::Number(_)) => true,
            (Self::Integer, Value::Number(n)) => as_integer(n).is_some(),
            _ => false,
        }
    }
}

/// The findings about one value and all below it; none if it is what it was.
fn node(schema: &Schema, value: &Value, old: Option<&Value>, path: &str, found: &mut Findings) {
    if found.full() {
        return;
    }
    let before = found.errors.len();
    parts(schema, value, old, path, found);
    if found.errors.len() > before && old.is_some_and(|old| unchanged(schema, value, old)) {
        found.errors.truncate(before);
    }
}

fn parts(schema: &Schema, value: &Value, old: Option<&Value>, path: &str, found: &mut Findings) {
    check_type(schema, value, path, found);
    if let Some(rules) = &schema.rules {
        alternatives(rules, value, path, found);
        if !rules.enumeration.is_empty() && !rules.enumeration.contains(value) {
            let allowed = rules.enumeration.iter().map(|v| match v {
                Value::String(s) => s.clone(),
                other => other.to_string(),
            });
            found.add(FieldError::not_supported(path, value.clone(), allowed));
        }
    }
    match value {
        Value::String(text) => check_text(schema, text, path, found),
        Value::Number(n) => check_number(schema, n, path, found),
        Value::Array(list) => check_list(schema, list, old, path, found),
        Value::Object(fields) => check_object(schema, fields, old, path, found),
        Value::Null | Value::Bool(_) => {}
    }
}

fn check_type(schema: &Schema, value: &Value, path: &str, found: &mut Findings) {
    if schema.format == QUANTITY {
        if let Err(why) = Quantity::from_value(value) {
            found.add(FieldError::type_invalid(path, value.clone(), why));
        }
        return;
    }
    let (fits, wanted) = if schema.int_or_string {
        let fits = JsonType::Integer.fits(value) || value.is_string();
        (fits, "integer,string")
    } else {
        match schema.ty {
            Some(ty) => (ty.fits(value), ty.as_str()),
            None => return,
        }
    };
    if fits || (value.is_null() && schema.nullable) {
        return;
    }
    let is = type_name(value);
    found.add(FieldError::type_invalid(
        path,
        is,
        format!("{path} in body must be of type {wanted}: \"{is}\""),
    ));
}

fn check_text(schema: &Schema, text: &str, path: &str, found: &mut Findings) {
    let string_typed = matches!(schema.ty, None | Some(JsonType::String));
    if let Some(rules) = &schema.rules {
        check_text_rules(rules, text, path, found);
    }
    if string_typed
        && !schema.format.is_empty()
        && !schema.int_or_string
        && !formats::check(&schema.format, text)
    {
        found.add(FieldError::type_invalid(
            path,
            text,
            format!(
                "{path} in body must be of type {}: {}",
                schema.format,
                crate::status::quote(text)
            ),
        ));
    }
}

/// Length, then pattern; the first that fails is the one reported.
fn check_text_rules(rules: &Rules, text: &str, path: &str, found: &mut Findings) {
    let bounded = rules.min_length.is_some() || rules.max_length.is_some();
    let length = if bounded {
        text.chars().count() as u64
    } else {
        0
    };
    if let Some(max) = rules.max_length.filter(|max| length > *max) {
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        found.add(FieldError::too_long(path, max));
    } else if let Some(min) = rules.min_length.filter(|min| length < *min) {
        found.breaks(
            path,
            text,
            format_args!("should be at least {min} chars long"),
        );
    } else if let Some(pattern) = rules.pattern.as_ref().filter(|p| !p.matches(text)) {
        found.breaks(
            path,
            text,
            format_args!("should match '{}'", pattern.source()),
        );
    }
}

fn check_number(schema: &Schema, n: &Number, path: &str, found: &mut Findings) {
    if schema.ty == Some(JsonType::Integer) || schema.int_or_string {
        let (low, high) = match schema.format.as_str() {
            "int32" | "int-or-string" => (i128::from(i32::MIN), i128::from(i32::MAX)),
            _ => (i128::from(i64::MIN), i128::from(i64::MAX)),
        };
        if as_integer(n).is_some_and(|i| i < low || i > high) {
            let format = if high > i128::from(i32::MAX) {
                "int64"
            } else {
                "int32"
            };
            found.add(FieldError::invalid(
                path,
                n.clone(),
                format!("Checked value must be of type integer with format {format} in {path}"),
            ));
        }
    }
    let Some(rules) = &schema.rules else { return };
    let rules = &rules.number;
    let value = || Value::Number(n.clone());
    if let Some(factor) = rules.multiple_of.as_ref().filter(|f| !is_multiple(n, f)) {
        found.breaks(
            path,
            value(),
            format_args!("should be a multiple of {factor}"),
        );
    }
    if let Some(max) = &rules.maximum
        && let Some(order) = compare(n, max)
    {
        if rules.exclusive_maximum && order.is_ge() {
            found.breaks(path, value(), format_args!("should be less than {max}"));
        } else if order.is_gt() {
            found.breaks(
                path,
                value(),
                format_args!("should be less than or equal to {max}"),
            );
        }
    }
    if let Some(min) = &rules.minimum
        && let Some(order) = compare(n, min)
    {
        if rules.exclusive_minimum && order.is_le() {
            found.breaks(path, value(), format_args!("should be greater than {min}"));
        } else if order.is_lt() {
            found.breaks(
                path,
                value(),
                format_args!("should be greater than or equal to {min}"),
            );
        }
    }
}

fn check_list(
    schema: &Schema,
    list: &[Value],
    old: Option<&Value>,
    path: &str,
    found: &mut Findings,
) {
    if let Some(items) = &schema.items {
        for (i, value) in list.iter().enumerate() {
            let old = old.and_then(|old| old_item(schema, old, value));
            node(items, value, old, &index(path, i), found);
            if found.full() {
                return;
            }
        }
    }
    if let Some(rules) = &schema.rules {
        if let Some(min) = rules.min_items.filter(|min| (list.len() as u64) < *min) {
            found.breaks(
                path,
                list.len(),
                format_args!("should have at least {min} items"),
            );
        }
        if let Some(max) = rules.max_items.filter(|max| list.len() as u64 > *max) {
            found.add(FieldError::too_many(
                path,
                list.len(),
                usize::try_from(max).unwrap_or(usize::MAX),
            ));
        }
        if rules.unique_items
            && repeated(list.iter().map(ToString::to_string))
                .next()
                .is_some()
        {
            found.breaks(path, list.to_vec(), "shouldn't contain duplicates");
        }
    }
    if schema.unique_entries {
        check_entries(&schema.list_type, list, path, found);
    }
}

/// The indexes of what occurred once before.
fn repeated(keys: impl Iterator<Item = String>) -> impl Iterator<Item = usize> {
    let mut seen = std::collections::HashMap::new();
    keys.enumerate().filter_map(move |(i, key)| {
        let times = seen.entry(key).or_insert(0);
        *times += 1;
        (*times == 2).then_some(i)
    })
}

fn check_entries(list_type: &ListType, list: &[Value], path: &str, found: &mut Findings) {
    match list_type {
        ListType::Atomic => {}
        ListType::Set => {
            for i in repeated(list.iter().map(ToString::to_string)) {
                found.add(FieldError::duplicate(index(path, i), list[i].clone()));
            }
        }
        ListType::Map(keys) => {
            if let Some(i) = list.iter().position(|v| !v.is_object() && !v.is_null()) {
                found.add(FieldError::invalid(
                    index(path, i),
                    list[i].clone(),
                    "must be an object for an array of list-type map",
                ));
                return;
            }
            let identity = |v: &Value| -> Value {
                let named = keys
                    .iter()
                    .filter_map(|k| Some((k.clone(), v.get(k)?.clone())));
                Value::Object(named.collect())
            };
            for i in repeated(list.iter().map(|v| identity(v).to_string())) {
                found.add(FieldError::duplicate(index(path, i), identity(&list[i])));
            }
        }
    }
}

fn check_object(
    schema: &Schema,
    fields: &Map<String, Value>,
    old: Option<&Value>,
    path: &str,
    found: &mut Findings,
) {
    if let Some(rules) = &schema.rules {
        if let Some(min) = rules
            .min_properties
            .filter(|min| (fields.len() as u64) < *min)
        {
            found.breaks(
                path,
                fields.len(),
                format_args!("should have at least {min} properties"),
            );
        }
        if let Some(max) = rules
            .max_properties
            .filter(|max| fields.len() as u64 > *max)
        {
            found.add(FieldError::too_many(
                path,
                fields.len(),
                usize::try_from(max).unwrap_or(usize::MAX),
            ));
        }
    }
    if !schema.properties.is_empty() || schema.additional.is_some() {
        for (name, value) in fields {
            if let Some(below) = schema.field(name) {
                let old = old.and_then(|old| old.get(name));
                node(below, value, old, &child(path, name), found);
                if found.full() {
                    return;
                }
            }
        }
    }
    for name in schema
        .required
        .iter()
        .filter(|name| !fields.contains_key(*name))
    {
        found.add(FieldError::required(child(path, name), ""));
    }
    if schema.embedded_resource {
        for name in ["apiVersion", "kind"] {
            match fields.get(name) {
                None => found.add(FieldError::required(child(path, name), "")),
                Some(Value::String(s)) if s.is_empty() => {
                    found.add(FieldError::invalid(
                        child(path, name),
                        "",
                        "must not be empty",
                    ));
                }
                Some(_) => {}
            }
        }
    }
}

fn try_one(schema: &SchemaRef, value: &Value, path: &str) -> Findings {
    let mut found = Findings::default();
    node(schema, value, None, path, &mut found);
    found
}

/// allOf, anyOf, oneOf, not. Of alternatives that all fail, the findings of the nearest one are shown too.
fn alternatives(rules: &Rules, value: &Value, path: &str, found: &mut Findings) {
    let about = |text: String| FieldError::invalid(NO_FIELD, "", format!("\"{path}\" {text}"));
    if !rules.any_of.is_empty() {
        let results = rules.any_of.iter().map(|s| try_one(s, value, path));
        if let Some(nearest) = nearest_failure(results) {
            found.add(about(
                "must validate at least one schema (anyOf)".to_owned(),
            ));
            found.merge(nearest);
        }
    }
    if !rules.one_of.is_empty() {
        let results: Vec<Findings> = rules
            .one_of
            .iter()
            .map(|s| try_one(s, value, path))
            .collect();
        let valid = results.iter().filter(|r| r.errors.is_empty()).count();
        match valid {
            1 => {}
            0 => {
                found.add(about(
                    "must validate one and only one schema (oneOf). Found none valid".to_owned(),
                ));
                if let Some(nearest) = nearest_failure(results.into_iter()) {
                    found.merge(nearest);
                }
            }
            n => found.add(about(format!(
                "must validate one and only one schema (oneOf). Found {n} valid alternatives"
            ))),
        }
    }
    if !rules.all_of.is_empty() {
        let results: Vec<Findings> = rules
            .all_of
            .iter()
            .map(|s| try_one(s, value, path))
            .collect();
        let valid = results.iter().filter(|r| r.errors.is_empty()).count();
        let all = results.len();
        results.into_iter().for_each(|r| found.merge(r));
        if valid < all {
            let none = if valid == 0 { ". None validated" } else { "" };
            found.add(about(format!(
                "must validate all the schemas (allOf){none}"
            )));
        }
    }
    if let Some(not) = &rules.not
        && try_one(not, value, path).errors.is_empty()
    {
        found.add(about("must not validate the schema (not)".to_owned()));
    }
}

/// `None` if one of them has no findings.
fn nearest_failure(results: impl Iterator<Item = Findings>) -> Option<Findings> {
    let mut nearest: Option<Findings> = None;
    for result in results {
        if result.errors.is_empty() {
            return None;
        }
        if nearest
            .as_ref()
            .is_none_or(|n| result.errors.len() < n.errors.len())
        {
            nearest = Some(result);
        }
    }
    nearest
}

#[cfg(test)]
mod tests;
