//! ValidatingAdmissionPolicies: which of them are about a request, and what they and their bindings make of it.
//!
//! A [`Policy`] is compiled with its bindings. Its expressions are evaluated once for each parameter of each binding ([`evaluate`], pure).

mod check;
mod compile;
mod environment;
mod evaluate;

use atoll_cel::Program;
use atoll_kube::{Status, StatusCause, status::Reason};
use serde_json::Value;

use super::matching::Matcher;
use super::params;
use super::plan::Plan;
use super::request::Request;
pub(crate) use check::{check, conditions as check_conditions};
pub(crate) use compile::{conditions as compile_conditions, list, text};
pub(crate) use environment::Offers;
use evaluate::Denied;
pub(crate) use evaluate::{Inputs, conditions_hold};

/// What a policy's parameters are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ParamKind {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
}

impl ParamKind {
    pub(crate) fn unknown(&self) -> String {
        let Self {
            group,
            version,
            kind,
        } = self;
        let gv = if group.is_empty() {
            version.clone()
        } else {
            format!("{group}/{version}")
        };
        format!("failed to find resource referenced by paramKind: '{gv}, Kind={kind}'")
    }
}

/// An expression, or in upstream's words why it is none.
type Compiled = Result<Program, String>;

/// A condition that must hold for a policy to be about a request.
#[derive(Debug)]
pub(crate) struct Condition {
    source: String,
    program: Compiled,
}

#[derive(Debug)]
struct Validation {
    source: String,
    program: Compiled,
    message: String,
    message_expression: Option<Compiled>,
    reason: Option<Reason>,
}

#[derive(Debug)]
struct AuditAnnotation {
    source: String,
    program: Compiled,
}

/// A policy and its bindings.
#[derive(Debug)]
pub(crate) struct Policy {
    name: String,
    /// What goes wrong in evaluating denies the request; otherwise it is passed over.
    fails: bool,
    matcher: Matcher,
    param_kind: Option<ParamKind>,
    conditions: Vec<Condition>,
    variables: Vec<(String, Program)>,
    validations: Vec<Validation>,
    audit: Vec<AuditAnnotation>,
    bindings: Vec<Binding>,
}

#[derive(Debug)]
struct Binding {
    name: String,
    matcher: Option<Matcher>,
    param_ref: Option<Value>,
    deny: bool,
    warn: bool,
}

/// What one evaluation may spend before it is moved out of the way of others.
const AT_ONCE: u64 = 50_000;

/// Asks every policy of a plan that is about the request.
pub(crate) fn validate(
    plan: &Plan,
    request: &Request<'_>,
    warnings: &mut Vec<String>,
) -> Result<(), Status> {
    let mut first: Option<(&Policy, Option<&Binding>, Denied)> = None;
    for policy in &plan.validating {
        for (binding, denied) in policy.ask(request, warnings) {
            first.get_or_insert((policy, binding, denied));
        }
    }
    match first {
        None => Ok(()),
        Some((policy, binding, denied)) => Err(refusal(request, policy, binding, denied)),
    }
}

impl Policy {
    /// Who denies the request, and why; warnings are given on the way.
    fn ask(
        &self,
        request: &Request<'_>,
        warnings: &mut Vec<String>,
    ) -> Vec<(Option<&Binding>, Denied)> {
        let misconfigured = |binding: Option<&'static str>, why: String| {
            let what = binding.unwrap_or("policy");
            Denied::error(format!("failed to configure {what}: {why}"))
        };
        let mut denied = Vec::new();
        let version = match self.matcher.matches(request) {
            Ok(Some(version)) => version,
            Ok(None) => return denied,
            Err(why) => {
                if self.fails {
                    denied.push((None, misconfigured(None, why)));
                }
                return denied;
            }
        };
        if let Some(kind) = &self.param_kind
            && request
                .place
                .surface
                .kind(&kind.group, &kind.kind)
                .is_none()
        {
            if self.fails {
                denied.push((None, misconfigured(None, kind.unknown())));
            }
            return denied;
        }
        let inputs = Inputs::new(request, &version);
        for binding in &self.bindings {
            let about = match &binding.matcher {
                Some(matcher) => matcher.matches(request).map(|version| version.is_some()),
                None => Ok(true),
            };
            let params = match about {
                Ok(false) => continue,
                Ok(true) => params::collect(
                    request,
                    self.param_kind.as_ref(),
                    binding.param_ref.as_ref(),
                ),
                Err(why) => Err(why),
            };
            let params = match params {
                Ok(params) => params,
                Err(why) => {
                    if self.fails {
                        denied.push((Some(binding), misconfigured(Some("binding"), why)));
                    }
                    continue;
                }
            };
            for param in params {
                let judged = crate::aside::twice(AT_ONCE, evaluate::BUDGET, |budget| {
                    let judged = self.judge(&inputs, param.as_ref(), budget);
                    let exhausted = judged.exhausted;
                    (judged, exhausted)
                });
                for found in judged.denied {
                    if binding.warn {
                        warnings.push(format!(
                            "Validation failed for ValidatingAdmissionPolicy '{}' with binding '{}': {}",
                            self.name, binding.name, found.message
                        ));
                    }
                    if binding.deny {
                        denied.push((Some(binding), found));
                    }
                }
                denied.extend(
                    judged
                        .broken
                        .into_iter()
                        .map(|found| (Some(binding), found)),
                );
            }
        }
        denied
    }
}

fn refusal(
    request: &Request<'_>,
    policy: &Policy,
    binding: Option<&Binding>,
    denied: Denied,
) -> Status {
    let by = match binding {
        Some(binding) => format!("'{}' with binding '{}'", policy.name, binding.name),
        None => format!("'{}'", policy.name),
    };
    let why = format!(
        "ValidatingAdmissionPolicy {by} denied request: {}",
        denied.message
    );
    let resource = request.definition().group_resource();
    let mut status = Status::forbidden(&resource, request.name(), &why);
    let reason = denied.reason.unwrap_or(Reason::Invalid);
    status.code = match reason {
        Reason::Forbidden => 403,
        Reason::Unauthorized => 401,
        Reason::RequestEntityTooLarge => 413,
        _ => 422,
    };
    status.reason = reason;
    let cause = StatusCause {
        message: why,
        ..StatusCause::default()
    };
    if let Some(details) = &mut status.details {
        details.causes.push(cause);
    }
    status
}
