//! Whether an applied configuration can be taken apart by its schema: server-side apply refuses what it cannot own.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::patch::order::go_format;
use crate::patch::path::PathElement;
use crate::patch::typing::{Atom, Items, Scalar, Type};

/// What does not fit, in Kubernetes' words: one message, or a list of them. `Ok` if everything does.
pub(crate) fn validate(ty: Type<'_>, value: &Value) -> Result<(), String> {
    let mut walk = Walk::default();
    walk.visit(ty, value);
    match walk.faults.as_slice() {
        [] => Ok(()),
        [one] => Err(one.clone()),
        many => Err(format!("errors:\n  {}", many.join("\n  "))),
    }
}

#[derive(Default)]
struct Walk {
    path: Vec<PathElement>,
    faults: Vec<String>,
}

impl Walk {
    fn fault(&mut self, what: &str) {
        let path: String = self.path.iter().map(ToString::to_string).collect();
        self.faults.push(if path.is_empty() {
            what.to_owned()
        } else {
            format!("{path}: {what}")
        });
    }

    fn visit(&mut self, ty: Type<'_>, value: &Value) {
        match (ty.atom(value), value) {
            (_, Value::Null) => {}
            (Atom::Scalar, _) => {
                if let Some(what) = ty.scalar().and_then(|allowed| mismatch(allowed, value)) {
                    self.fault(&what);
                }
            }
            (Atom::Map, Value::Object(map)) => {
                for (name, value) in map {
                    self.path.push(PathElement::field(name));
                    match ty.field(name) {
                        Some(field) => self.visit(field, value),
                        None => self.fault("field not declared in schema"),
                    }
                    self.path.pop();
                }
            }
            (Atom::List, Value::Array(items)) => self.visit_items(ty, items),
            (Atom::Map, other) => {
                self.fault(&format!("expected map, got &{{{}}}", go_format(other)))
            }
            (Atom::List, other) => {
                self.fault(&format!("expected list, got &{{{}}}", go_format(other)))
            }
        }
    }

    fn visit_items(&mut self, ty: Type<'_>, items: &[Value]) {
        let atomic = matches!(ty.items(), Items::Atomic);
        let mut seen = BTreeSet::new();
        for (index, item) in items.iter().enumerate() {
            let step = if atomic {
                PathElement::Index(i64::try_from(index).unwrap_or(i64::MAX))
            } else {
                match ty.step_to(item) {
                    Ok(step) => step,
                    Err(why) => {
                        self.fault(&format!("element {index}: {why}"));
                        return;
                    }
                }
            };
            if !atomic && !seen.insert(step.clone()) {
                self.fault(&format!("duplicate entries for key {step}"));
            }
            self.path.push(step);
            self.visit(ty.item(), item);
            self.path.pop();
        }
    }
}

fn mismatch(allowed: Scalar, value: &Value) -> Option<String> {
    let shown = || go_format(value);
    match (allowed, value) {
        (Scalar::Number, Value::Number(_))
        | (Scalar::String, Value::String(_))
        | (Scalar::Boolean, Value::Bool(_))
        | (Scalar::Any, Value::Number(_) | Value::String(_) | Value::Bool(_)) => None,
        (Scalar::Number, _) => Some(format!(
            "expected numeric (int or float), got {}",
            go_type(value)
        )),
        (Scalar::String, Value::Number(_) | Value::Bool(_)) => Some(format!(
            "expected string, got &value.valueUnstructured{{Value:{}}}",
            shown()
        )),
        (Scalar::String, _) => Some(format!("expected string, got &{{{}}}", shown())),
        (Scalar::Boolean, _) => Some(format!("expected boolean, got &{{{}}}", shown())),
        (Scalar::Any, _) => Some(format!("expected any scalar, got &{{{}}}", shown())),
    }
}

/// The name Go gives a decoded JSON value's type.
fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(n) if n.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}
