//! What is wrong with a policy or binding as it is written: its expressions must compile, its parts be there.

use atoll_cel::Type;
use atoll_kube::{
    FieldError, GroupResource, meta,
    names::is_qualified_name,
    status::{child, index},
};
use serde_json::Value;

use super::compile::{self, Known, list, text};
use super::environment::{Offers, environment};
use crate::admission::{GROUP, webhook};

const REASONS: [&str; 3] = ["Forbidden", "Invalid", "RequestEntityTooLarge"];

/// What is wrong with an object that configures admission, beyond its schema; nothing for every other kind.
pub(crate) fn check(resource: &GroupResource, object: &Value) -> Vec<FieldError> {
    if resource.group != GROUP {
        return Vec::new();
    }
    let mut errors = Vec::new();
    let spec = object.get("spec").unwrap_or(&Value::Null);
    match resource.resource.as_str() {
        "validatingadmissionpolicies" => policy(meta::name(object), spec, &mut errors),
        "validatingadmissionpolicybindings" => binding(spec, &mut errors),
        "validatingwebhookconfigurations" | "mutatingwebhookconfigurations" => {
            webhook::check::check(object, &mut errors);
        }
        _ => {}
    }
    errors
}

fn policy(name: &str, spec: &Value, errors: &mut Vec<FieldError>) {
    let kind = compile::param_kind(spec);
    if let Some(kind) = &kind {
        for (field, value) in [("apiVersion", &kind.version), ("kind", &kind.kind)] {
            if value.is_empty() {
                errors.push(FieldError::required(format!("spec.paramKind.{field}"), ""));
            }
        }
    }
    constraints(spec, errors);
    let offers = Offers {
        params: kind.is_some(),
        authorizer: true,
    };
    conditions(
        list(spec, "matchConditions"),
        "spec.matchConditions",
        offers,
        errors,
    );
    let mut known = Known::default();
    for (i, variable) in list(spec, "variables").iter().enumerate() {
        let at = index("spec.variables", i);
        let name = text(variable, "name");
        let is_identifier = atoll_cel::escape(name).is_some_and(|escaped| escaped == name);
        if name.trim().is_empty() {
            errors.push(FieldError::required(
                child(&at, "name"),
                "name is not specified",
            ));
        } else if !is_identifier {
            errors.push(FieldError::invalid(
                child(&at, "name"),
                name,
                "must be a valid CEL identifier",
            ));
        }
        let environment = known.extend(environment(offers));
        let of = expression(&environment, variable, "expression", &at, &[], errors);
        known.add(name, of.unwrap_or(Type::Dyn));
    }
    let (validations, audit) = (list(spec, "validations"), list(spec, "auditAnnotations"));
    if validations.is_empty() && audit.is_empty() {
        for field in ["spec.validations", "spec.auditAnnotations"] {
            errors.push(FieldError::required(
                field,
                "validations or auditAnnotations must contain at least one item",
            ));
        }
    }
    let all = known.extend(environment(offers));
    let saying = known.extend(environment(Offers {
        authorizer: false,
        ..offers
    }));
    for (i, validation) in validations.iter().enumerate() {
        let at = index("spec.validations", i);
        expression(&all, validation, "expression", &at, &[Type::Bool], errors);
        message(validation, &at, errors);
        if !text(validation, "messageExpression").is_empty() {
            expression(
                &saying,
                validation,
                "messageExpression",
                &at,
                &[Type::String],
                errors,
            );
        }
        if let Some(reason) = validation.get("reason").and_then(Value::as_str)
            && !REASONS.contains(&reason)
        {
            errors.push(FieldError::not_supported(
                child(&at, "reason"),
                reason,
                REASONS,
            ));
        }
    }
    for (i, annotation) in audit.iter().enumerate() {
        let at = index("spec.auditAnnotations", i);
        audit_key(name, audit, i, &child(&at, "key"), errors);
        let types = [Type::String, Type::Null];
        expression(&all, annotation, "valueExpression", &at, &types, errors);
    }
}

/// The key of an audit annotation, which together with the policy's name is a qualified name, and distinct.
fn audit_key(policy: &str, all: &[Value], i: usize, at: &str, errors: &mut Vec<FieldError>) {
    let key = text(&all[i], "key");
    let whole = format!("{policy}/{key}");
    if key.is_empty() {
        errors.push(FieldError::required(at, "key is not specified"));
    } else if let Err(why) = is_qualified_name(&whole) {
        errors.push(FieldError::invalid(at, whole, why));
    }
    if all[..i].iter().any(|other| text(other, "key") == key) {
        errors.push(FieldError::duplicate(at, key));
    }
}

fn constraints(spec: &Value, errors: &mut Vec<FieldError>) {
    match spec.get("matchConstraints").filter(|m| !m.is_null()) {
        None => errors.push(FieldError::required("spec.matchConstraints", "")),
        Some(constraints) if list(constraints, "resourceRules").is_empty() => {
            errors.push(FieldError::required(
                "spec.matchConstraints.resourceRules",
                "",
            ));
        }
        Some(_) => {}
    }
}

/// Match conditions of policies and webhooks: named, distinct, and boolean.
pub(crate) fn conditions(
    written: &[Value],
    path: &str,
    offers: Offers,
    errors: &mut Vec<FieldError>,
) {
    let environment = environment(offers);
    let mut names = Vec::new();
    if written.len() > 64 {
        errors.push(FieldError::too_many(path, written.len(), 64));
    }
    for (i, condition) in written.iter().enumerate() {
        let at = index(path, i);
        if text(condition, "expression").trim().is_empty() {
            errors.push(FieldError::required(child(&at, "expression"), ""));
        } else {
            expression(
                &environment,
                condition,
                "expression",
                &at,
                &[Type::Bool],
                errors,
            );
        }
        let name = text(condition, "name");
        if name.is_empty() {
            errors.push(FieldError::required(child(&at, "name"), ""));
        } else if let Err(why) = is_qualified_name(name) {
            errors.push(FieldError::invalid(child(&at, "name"), name, why));
        } else if names.contains(&name) {
            errors.push(FieldError::duplicate(child(&at, "name"), name));
        }
        names.push(name);
    }
}

/// Checks an expression and gives its type.
fn expression(
    environment: &atoll_cel::Environment,
    written: &Value,
    field: &str,
    at: &str,
    types: &[Type],
    errors: &mut Vec<FieldError>,
) -> Option<Type> {
    let source = text(written, field);
    let at = child(at, field);
    if source.trim().is_empty() {
        errors.push(FieldError::required(
            at,
            format!("{field} is not specified"),
        ));
        return None;
    }
    match compile::expression(environment, source, types) {
        Ok(program) => Some(program.output().clone()),
        Err(why) => {
            errors.push(FieldError::invalid(at, source, why));
            None
        }
    }
}

fn message(validation: &Value, at: &str, errors: &mut Vec<FieldError>) {
    let breaks = |text: &str| text.contains(['\n', '\r']);
    let message = text(validation, "message");
    let at = child(at, "message");
    if !message.is_empty() && message.trim().is_empty() {
        errors.push(FieldError::invalid(
            at,
            message,
            "must be non-empty if specified",
        ));
    } else if breaks(message.trim()) {
        errors.push(FieldError::invalid(
            at,
            message,
            "must not contain line breaks",
        ));
    }
}

fn binding(spec: &Value, errors: &mut Vec<FieldError>) {
    if text(spec, "policyName").is_empty() {
        errors.push(FieldError::required("spec.policyName", ""));
    }
    if let Some(reference) = spec.get("paramRef").filter(|r| !r.is_null()) {
        let selects = reference.get("selector").is_some_and(|s| !s.is_null());
        match (text(reference, "name").is_empty(), selects) {
            (true, false) => errors.push(FieldError::required(
                "spec.paramRef",
                "one of name or selector must be specified",
            )),
            (false, true) => {
                for field in ["name", "selector"] {
                    let at = child("spec.paramRef", field);
                    let why = "name and selector are mutually exclusive";
                    errors.push(FieldError::forbidden(at, why));
                }
            }
            _ => {}
        }
        if text(reference, "parameterNotFoundAction").is_empty() {
            errors.push(FieldError::required(
                "spec.paramRef.parameterNotFoundAction",
                "",
            ));
        }
    }
    let actions = list(spec, "validationActions");
    if actions.is_empty() {
        errors.push(FieldError::required(
            "spec.validationActions",
            "at least one validation action is required",
        ));
    }
    for (i, action) in actions.iter().enumerate() {
        if actions[..i].contains(action) {
            let at = index("spec.validationActions", i);
            errors.push(FieldError::duplicate(at, action.clone()));
        }
    }
    let has = |action: &str| actions.iter().any(|a| a == action);
    if has("Deny") && has("Warn") {
        errors.push(FieldError::invalid(
            "spec.validationActions",
            actions.to_vec(),
            "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)",
        ));
    }
}
