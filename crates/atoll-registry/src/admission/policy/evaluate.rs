//! What a policy makes of one request with one parameter. Pure but for the authorizer that expressions may ask.

use std::sync::Arc;

use atoll_cel::{Bindings, Budget, EvalErrorKind, Program, Question, Value as Cel, Variables};
use atoll_kube::status::Reason;
use serde_json::Value;

use super::{Condition, Policy};
use crate::admission::{door::Door, request::Request};

/// What the expressions of a policy may spend on one parameter.
pub(super) const BUDGET: u64 = 10_000_000;

/// What one expression may spend.
const CALL_BUDGET: u64 = 1_000_000;

/// What match conditions may spend.
const CONDITIONS_BUDGET: u64 = 2_500_000;

const LONGEST_MESSAGE: usize = 5 * 1024;

const OUT_OF_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

/// A validation that does not hold, or could not be evaluated.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Denied {
    pub(super) message: String,
    /// What the policy says the reason is; `None` for errors.
    pub(super) reason: Option<Reason>,
}

impl Denied {
    pub(super) fn error(message: String) -> Self {
        Self {
            message,
            reason: None,
        }
    }
}

/// What came out of one evaluation.
#[derive(Debug, Default)]
pub(super) struct Judged {
    /// For the binding's actions to act on.
    pub(super) denied: Vec<Denied>,
    /// Faults of audit annotations, which deny whatever the binding says.
    pub(super) broken: Vec<Denied>,
    pub(super) exhausted: bool,
}

/// The values that expressions read.
pub(crate) struct Inputs {
    object: Value,
    old: Value,
    request: Value,
    namespace: Value,
    door: Arc<dyn atoll_cel::Authorizer>,
    question: Question,
}

impl Inputs {
    pub(crate) fn new(request: &Request<'_>, version: &str) -> Self {
        let shown =
            |object: Option<&Value>| object.map_or(Value::Null, |o| request.at_version(o, version));
        let namespace = request.namespace_object().ok().flatten();
        Self {
            object: shown(request.object),
            old: shown(request.old),
            request: request.describe(version),
            namespace: namespace.cloned().unwrap_or(Value::Null),
            door: Door::of(request),
            question: Question {
                group: request.definition().group.clone(),
                resource: request.resource().to_owned(),
                subresource: request.subresource.unwrap_or_default().to_owned(),
                namespace: request.namespace().to_owned(),
                name: request.name().to_owned(),
                ..Question::default()
            },
        }
    }

    pub(crate) fn bindings<'a>(&'a self, params: Option<&'a Value>) -> Bindings<'a> {
        static NULL: Value = Value::Null;
        Bindings::new()
            .json("object", &self.object)
            .json("oldObject", &self.old)
            .json("request", &self.request)
            .json("namespaceObject", &self.namespace)
            .json("params", params.unwrap_or(&NULL))
            .authorizer("authorizer", &self.door)
            .resource_check(
                "authorizer.requestResource",
                &self.door,
                self.question.clone(),
            )
    }
}

/// Whether all conditions hold. An error of one counts only when no other is false.
pub(crate) fn conditions_hold(
    conditions: &[Condition],
    bindings: &Bindings<'_>,
    most: u64,
) -> Result<bool, Failure> {
    let mut budget = Budget {
        cost: CONDITIONS_BUDGET.min(most),
    };
    let mut errors = Vec::new();
    for condition in conditions {
        match run(&condition.program, &condition.source, bindings, &mut budget) {
            Ok(value) if value.as_bool() == Some(false) => return Ok(false),
            Ok(_) => {}
            Err(Failure::Error(why)) => errors.push(why),
            Err(Failure::Budget) => return Err(Failure::Budget),
        }
    }
    match &errors[..] {
        [] => Ok(true),
        [one] => Err(Failure::Error(one.clone())),
        many => Err(Failure::Error(format!("[{}]", many.join(", ")))),
    }
}

/// Why an expression has no value.
pub(crate) enum Failure {
    Error(String),
    Budget,
}

impl Failure {
    pub(crate) fn is_budget(&self) -> bool {
        matches!(self, Self::Budget)
    }

    pub(crate) fn words(self) -> String {
        match self {
            Self::Error(why) => why,
            Self::Budget => OUT_OF_BUDGET.to_owned(),
        }
    }
}

/// Evaluates an expression under a budget shared with others.
pub(crate) fn run(
    program: &Result<Program, String>,
    source: &str,
    bindings: &Bindings<'_>,
    budget: &mut Budget,
) -> Result<Cel, Failure> {
    let program = match program {
        Ok(program) => program,
        Err(why) => return Err(Failure::Error(format!("compilation error: {why}"))),
    };
    // No more than shows that too much was spent.
    let limit = CALL_BUDGET.min(budget.cost.saturating_add(1));
    let mut call = Budget { cost: limit };
    let result = program.spend(bindings, &mut call);
    let stopped = matches!(&result, Err(e) if e.kind == EvalErrorKind::BudgetExceeded);
    match budget.cost.checked_sub(limit - call.cost) {
        Some(left) if !stopped || limit == CALL_BUDGET => budget.cost = left,
        _ => return Err(Failure::Budget),
    }
    result.map_err(|e| Failure::Error(format!("expression '{source}' resulted in error: {e}")))
}

impl Policy {
    /// Evaluates everything over one parameter.
    pub(super) fn judge(&self, inputs: &Inputs, params: Option<&Value>, most: u64) -> Judged {
        let mut judged = Judged::default();
        let bindings = inputs.bindings(params);
        match conditions_hold(&self.conditions, &bindings, most) {
            Ok(true) => {}
            Ok(false) => return judged,
            Err(failure) => {
                self.fail(failure, &mut judged);
                return judged;
            }
        }
        let variables = Variables::new(&self.variables);
        let bindings = bindings.variables("variables", &variables);
        let mut budget = Budget { cost: most };
        for validation in &self.validations {
            match run(
                &validation.program,
                &validation.source,
                &bindings,
                &mut budget,
            ) {
                Ok(value) if value.as_bool() == Some(true) => {}
                Ok(_) => match self.message(validation, &bindings, &mut budget) {
                    Ok(message) => judged.denied.push(Denied {
                        message,
                        reason: Some(validation.reason.clone().unwrap_or(Reason::Invalid)),
                    }),
                    Err(failure) => {
                        judged.exhausted = true;
                        let why = format!("failed messageExpression: {}", failure.words());
                        self.error(why, &mut judged);
                    }
                },
                Err(Failure::Budget) => {
                    // It alone is said: what was found before does not count.
                    judged.denied.clear();
                    self.fail(Failure::Budget, &mut judged);
                    return judged;
                }
                Err(Failure::Error(why)) => self.error(why, &mut judged),
            }
        }
        let mut budget = Budget { cost: most };
        for annotation in &self.audit {
            match run(
                &annotation.program,
                &annotation.source,
                &bindings,
                &mut budget,
            ) {
                Ok(_) => {}
                Err(Failure::Budget) => {
                    judged.denied.clear();
                    self.fail(Failure::Budget, &mut judged);
                    return judged;
                }
                Err(Failure::Error(why)) if self.fails => judged.broken.push(Denied::error(why)),
                Err(Failure::Error(_)) => {}
            }
        }
        judged
    }

    fn fail(&self, failure: Failure, judged: &mut Judged) {
        judged.exhausted |= matches!(failure, Failure::Budget);
        self.error(failure.words(), judged);
    }

    fn error(&self, why: String, judged: &mut Judged) {
        if self.fails {
            judged.denied.push(Denied::error(why));
        }
    }

    fn message(
        &self,
        validation: &super::Validation,
        bindings: &Bindings<'_>,
        budget: &mut Budget,
    ) -> Result<String, Failure> {
        let made = match &validation.message_expression {
            None => None,
            Some(program) => match run(program, "", bindings, budget) {
                Ok(value) => value.as_str().map(|text| text.trim().to_owned()),
                Err(Failure::Budget) => return Err(Failure::Budget),
                Err(Failure::Error(_)) => None,
            },
        };
        let fits = |text: &String| {
            !text.is_empty() && text.len() <= LONGEST_MESSAGE && !text.contains('\n')
        };
        Ok(made.filter(fits).unwrap_or_else(|| {
            if validation.message.is_empty() {
                format!("failed expression: {}", validation.source.trim())
            } else {
                validation.message.clone()
            }
        }))
    }
}
