//! Evaluating the rules of a schema over an object.

use atoll_cel::{Bindings, Budget, EvalErrorKind, Program};
use serde_json::Value;

use super::correlate::{Comparisons, Past, old_item};
use super::rule::Rule;
use super::{Node, Validations, values};
use crate::status::{FieldError, FieldErrorKind, child, index, key, quote};

/// What the rules of one object may spend together, as upstream has it.
pub const OBJECT_BUDGET: u64 = 10_000_000;

/// What one evaluation may spend.
const CALL_BUDGET: u64 = 1_000_000;

/// The longest message that an expression may make.
const LONGEST_MESSAGE: usize = 5 * 1024;

/// How many findings are reported at most.
const MOST: usize = 100;

/// Where upstream says a finding about a whole object is.
const WHOLE: &str = "<nil>";

/// What the rules found.
#[derive(Debug, Default, PartialEq)]
pub struct Findings {
    /// What is wrong.
    pub errors: Vec<FieldError>,
    /// What was wrong before and did not change: forgiven, and said in warnings.
    pub forgiven: Vec<FieldError>,
    /// The budget did not suffice: rules were left out.
    pub exhausted: bool,
    /// What was spent.
    pub cost: u64,
}

impl Validations {
    /// Evaluates all rules over an object, and over its change from `old` when it was there before. `budget` is [`OBJECT_BUDGET`], or less for
    /// a first try.
    pub fn evaluate(&self, object: &Value, old: Option<&Value>, budget: u64) -> Findings {
        self.evaluate_at(object, old, budget, "")
    }

    /// The same for a part of an object that is at `path`.
    pub(super) fn evaluate_at(
        &self,
        object: &Value,
        old: Option<&Value>,
        budget: u64,
        path: &str,
    ) -> Findings {
        let mut walk = Walk {
            found: Findings::default(),
            comparisons: Comparisons::default(),
            left: budget,
            stopped: false,
        };
        let place = Place {
            path: path.to_owned(),
            schema: &self.openapi,
            value: object,
            old,
            past: Past::of(&self.openapi, object, old),
        };
        walk.node(&self.root, &place);
        walk.found.cost = budget - walk.left;
        walk.found
    }
}

/// One value on the way through an object.
struct Place<'a> {
    path: String,
    schema: &'a Value,
    value: &'a Value,
    /// What transition rules compare with.
    old: Option<&'a Value>,
    /// What ratcheting compares with.
    past: Past<'a>,
}

struct Walk {
    found: Findings,
    comparisons: Comparisons,
    left: u64,
    stopped: bool,
}

impl Walk {
    fn node(&mut self, node: &Node, place: &Place<'_>) {
        if self.stopped || place.value.is_null() {
            return;
        }
        self.rules(node, place);
        match place.value {
            Value::Array(list) => self.items(node, place, list),
            Value::Object(fields) => self.fields(node, place, fields),
            _ => {}
        }
    }

    fn items(&mut self, node: &Node, place: &Place<'_>, list: &[Value]) {
        let (Some(items), Some(schema)) = (&node.items, place.schema.get("items")) else {
            return;
        };
        for (i, value) in list.iter().enumerate() {
            let below = Place {
                path: index(&place.path, i),
                schema,
                value,
                old: old_item(place.schema, place.old, value),
                past: place.past.index(value),
            };
            self.node(items, &below);
        }
    }

    fn fields(&mut self, node: &Node, place: &Place<'_>, fields: &serde_json::Map<String, Value>) {
        let past = |name: &str| place.past.key(name);
        let old = |name: &str| place.old.and_then(|old| old.as_object()?.get(name));
        if let (Some(node), Some(schema)) = (&node.additional, values(place.schema)) {
            for (name, value) in fields {
                let below = Place {
                    path: key(&place.path, name),
                    schema,
                    value,
                    old: old(name),
                    past: past(name),
                };
                self.node(node, &below);
            }
        }
        for (name, node) in &node.properties {
            let schema = place.schema.get("properties").and_then(|p| p.get(name));
            if let (Some(value), Some(schema)) = (fields.get(name), schema) {
                let below = Place {
                    path: child(&place.path, name),
                    schema,
                    value,
                    old: old(name),
                    past: past(name),
                };
                self.node(node, &below);
            }
        }
    }

    fn rules(&mut self, node: &Node, place: &Place<'_>) {
        if node.rules.is_empty() {
            return;
        }
        let old = place.old.filter(|old| !old.is_null());
        for rule in &node.rules {
            if self.stopped {
                return;
            }
            self.rule(rule, node, place, old);
        }
    }

    fn rule(&mut self, rule: &Rule, node: &Node, place: &Place<'_>, old: Option<&Value>) {
        let about =
            |detail: String| FieldError::invalid(shown(&place.path), node.kind.as_str(), detail);
        if self.left == 0 {
            return self.exhaust(about(OUT_OF_BUDGET.to_owned()));
        }
        let program = match &rule.program {
            Ok(program) => program,
            Err(why) => return self.add(about(format!("rule compile error: {why}"))),
        };
        if rule.uses_old_self && old.is_none() && !rule.optional_old_self {
            return;
        }
        let bindings = bind(rule, place.value, old);
        let holds = match self.spend(program, &bindings) {
            Spent::Over => return self.exhaust(about(OUT_OF_BUDGET.to_owned())),
            Spent::Value(value) => value,
        };
        match holds {
            Ok(value) if value.as_bool() == Some(true) => return,
            Ok(_) => {}
            Err(error) if error.kind == EvalErrorKind::BudgetExceeded => {
                return self.exhaust(about(format!(
                    "'{error}': no further validation rules will be run due to call cost exceeds limit for rule: {}",
                    rule.words()
                )));
            }
            Err(error) if error.message.starts_with("no such overload") => {
                return self.add(about(format!(
                    "'{error}': call arguments did not match a supported operator, function or macro signature for rule: {}",
                    rule.words()
                )));
            }
            Err(error) => {
                return self.add(about(format!("{error} evaluating rule: {}", rule.words())));
            }
        }
        let path = match &rule.field_path {
            Some(below) => child(&place.path, below),
            None => place.path.clone(),
        };
        let detail = match self.message(rule, &bindings) {
            Message::Is(detail) => detail,
            Message::Stop(detail) => {
                let error = FieldError::invalid(shown(&path), node.kind.as_str(), detail);
                self.add_or_forgive(error, rule, place);
                self.found.exhausted = true;
                self.stopped = true;
                return;
            }
        };
        let omitted = matches!(node.kind.as_str(), "object" | "array");
        let shows = matches!(
            rule.reason,
            FieldErrorKind::Invalid | FieldErrorKind::Duplicate
        );
        let error = FieldError {
            kind: rule.reason,
            field: shown(&path),
            value: (shows && !omitted).then(|| place.value.clone()),
            detail: if rule.reason == FieldErrorKind::Duplicate {
                String::new()
            } else {
                detail
            },
        };
        self.add_or_forgive(error, rule, place);
    }

    /// What is said when a rule does not hold. An expression that fails gives way to the fixed message.
    fn message(&mut self, rule: &Rule, bindings: &Bindings<'_>) -> Message {
        let Some(Ok(program)) = &rule.message_expression else {
            return Message::Is(rule.fixed_message());
        };
        let made = match self.spend(program, bindings) {
            Spent::Over => {
                return Message::Stop(
                    "messageExpression evaluation failed due to running out of cost budget, no further validation rules will be run".to_owned(),
                );
            }
            Spent::Value(Err(error)) if error.kind == EvalErrorKind::BudgetExceeded => {
                return Message::Stop(format!(
                    "no further validation rules will be run due to call cost exceeds limit for messageExpression: {}",
                    quote(program.source())
                ));
            }
            Spent::Value(made) => made.ok(),
        };
        let text = made.as_ref().and_then(|m| m.as_str()).map_or("", str::trim);
        if text.is_empty() || text.len() > LONGEST_MESSAGE || text.contains('\n') {
            return Message::Is(rule.fixed_message());
        }
        Message::Is(text.to_owned())
    }

    fn spend(&mut self, program: &Program, bindings: &Bindings<'_>) -> Spent {
        // No more than shows that too much was spent.
        let limit = CALL_BUDGET.min(self.left.saturating_add(1));
        let mut budget = Budget { cost: limit };
        let result = program.spend(bindings, &mut budget);
        let stopped = matches!(&result, Err(e) if e.kind == EvalErrorKind::BudgetExceeded);
        match self.left.checked_sub(limit - budget.cost) {
            Some(left) if !stopped || limit == CALL_BUDGET => {
                self.left = left;
                Spent::Value(result)
            }
            _ => Spent::Over,
        }
    }

    fn exhaust(&mut self, error: FieldError) {
        self.found.errors.push(error);
        self.found.exhausted = true;
        self.stopped = true;
    }

    fn add(&mut self, error: FieldError) {
        self.found.errors.push(error);
        self.stopped |= self.found.errors.len() >= MOST;
    }

    fn add_or_forgive(&mut self, error: FieldError, rule: &Rule, place: &Place<'_>) {
        if rule.uses_old_self || !place.past.unchanged(&mut self.comparisons) {
            self.add(error);
        } else if self.found.forgiven.len() < MOST {
            self.found.forgiven.push(error);
        }
    }
}

const OUT_OF_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

enum Message {
    Is(String),
    Stop(String),
}

enum Spent {
    Value(Result<atoll_cel::Value, atoll_cel::EvalError>),
    /// More than the object had left.
    Over,
}

fn shown(path: &str) -> String {
    if path.is_empty() { WHOLE } else { path }.to_owned()
}

fn bind<'a>(rule: &Rule, value: &'a Value, old: Option<&'a Value>) -> Bindings<'a> {
    let bindings = Bindings::new().json("self", value);
    match old {
        _ if rule.optional_old_self => bindings.optional_json("oldSelf", old),
        Some(old) => bindings.json("oldSelf", old),
        None => bindings,
    }
}
