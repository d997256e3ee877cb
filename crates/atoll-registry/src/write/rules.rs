//! The rules that a custom resource's schema states in CEL, asked when everything else about an object is right.
//!
//! An ordinary object is judged where it stands. One whose rules take long is judged by a thread of its own, so that nobody else's request waits for it.

use std::sync::Arc;

use atoll_kube::{
    FieldError, Status,
    definition::Definition,
    schema::validations::{Findings, OBJECT_BUDGET},
    status::FieldErrorKind,
};
use serde_json::Value;

use crate::Served;

/// What may be spent at once, about a millisecond's worth.
const AT_ONCE: u64 = 50_000;

/// Adds what the rules of the object's kind find; what they forgive becomes warnings.
pub(crate) async fn check(
    served: &Served,
    old: Option<&Value>,
    new: &Value,
    errors: &mut Vec<FieldError>,
    warnings: &mut Vec<String>,
) -> Result<(), Status> {
    let Some(rules) = &served.version().validations else {
        return Ok(());
    };
    if errors.iter().any(|error| blocks(error.kind)) {
        errors.push(FieldError::invalid(
            "<nil>",
            Value::Null,
            "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation",
        ));
        return Ok(());
    }
    let mut found = rules.evaluate(new, old, AT_ONCE);
    if found.exhausted {
        found = aside(served, old.cloned(), new.clone()).await?;
    }
    warnings.extend(found.forgiven.iter().map(ToString::to_string));
    errors.extend(found.errors);
    Ok(())
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

async fn aside(served: &Served, old: Option<Value>, new: Value) -> Result<Findings, Status> {
    let (definition, index): (Arc<Definition>, usize) = (served.definition.clone(), served.index);
    let judged = tokio::task::spawn_blocking(move || {
        let rules = definition.versions[index].validations.as_ref();
        rules.map_or_else(Findings::default, |rules| {
            rules.evaluate(&new, old.as_ref(), OBJECT_BUDGET)
        })
    });
    judged.await.map_err(|e| Status::internal(e.to_string()))
}
