//! The rules that a custom resource's schema states in CEL, asked when everything else about an object is right.
//!
//! An ordinary object is judged where it stands. One whose rules take long is judged out of the way of others.

use atoll_kube::{FieldError, schema::validations::OBJECT_BUDGET, status::FieldErrorKind};
use serde_json::Value;

use crate::{Served, aside};

/// What may be spent at once, about a millisecond's worth.
const AT_ONCE: u64 = 50_000;

/// Adds what the rules of the object's kind find; what they forgive becomes warnings.
pub(crate) fn check(
    served: &Served,
    old: Option<&Value>,
    new: &Value,
    errors: &mut Vec<FieldError>,
    warnings: &mut Vec<String>,
) {
    let Some(rules) = &served.version().validations else {
        return;
    };
    if errors.iter().any(|error| blocks(error.kind)) {
        errors.push(FieldError::invalid(
            "<nil>",
            Value::Null,
            "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation",
        ));
        return;
    }
    let found = aside::twice(AT_ONCE, OBJECT_BUDGET, |budget| {
        let found = rules.evaluate(new, old, budget);
        let exhausted = found.exhausted;
        (found, exhausted)
    });
    warnings.extend(found.forgiven.iter().map(ToString::to_string));
    errors.extend(found.errors);
}

/// Whether an object with such a fault is too wrong for rules.
fn blocks(kind: FieldErrorKind) -> bool {
    matches!(
        kind,
        FieldErrorKind::NotSupported
            | FieldErrorKind::Required
            | FieldErrorKind::TooLong
            | FieldErrorKind::TooMany
            | FieldErrorKind::TypeInvalid
    )
}
