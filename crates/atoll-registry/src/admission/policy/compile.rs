//! From policies and bindings as they are written to [`Policy`].

use atoll_cel::{Environment, ObjectType, Program, Type};
use atoll_kube::{ids::split_api_version, meta, status::Reason};
use serde_json::Value;

use super::environment::{Offers, environment};
use super::{AuditAnnotation, Binding, Compiled, Condition, ParamKind, Policy, Validation};
use crate::admission::matching::Matcher;

/// A text field, empty where there is none.
pub(crate) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A list, empty where there is none.
pub(crate) fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    let list = value.get(name).and_then(Value::as_array);
    list.map_or(&[], Vec::as_slice)
}

/// Compiles an expression that must be of one of some types. Errors are upstream's words.
pub(crate) fn expression(environment: &Environment, source: &str, types: &[Type]) -> Compiled {
    let program = Program::compile(environment, source)
        .map_err(|e| format!("compilation failed: {}", e.render(source)))?;
    let output = program.output();
    if types.is_empty() || types.contains(output) {
        return Ok(program);
    }
    let name = |of: &Type| match of {
        Type::Null => "null_type".to_owned(),
        other => other.to_string(),
    };
    let wanted: Vec<String> = types.iter().map(name).collect();
    Err(match &wanted[..] {
        [one] => format!("must evaluate to {one} but got {output}"),
        many => format!(
            "must evaluate to one of [{}] but got {output}",
            many.join(" ")
        ),
    })
}

/// The names of a policy's variables as the type of `variables`.
#[derive(Debug, Default)]
pub(crate) struct Known {
    fields: Vec<(String, Type)>,
}

impl Known {
    pub(crate) fn add(&mut self, name: &str, of: Type) {
        self.fields.push((name.to_owned(), of));
    }

    /// An environment with the variables known so far.
    pub(crate) fn extend(&self, environment: Environment) -> Environment {
        let object = ObjectType::new("kubernetes.variables");
        let add =
            |object: ObjectType, (name, of): &(String, Type)| object.unescaped(name, of.clone());
        environment.variable("variables", self.fields.iter().fold(object, add).into())
    }
}

pub(crate) fn conditions(written: &[Value], offers: Offers) -> Vec<Condition> {
    let environment = environment(offers);
    let compile = |condition: &Value| {
        let source = text(condition, "expression").to_owned();
        let program = expression(&environment, &source, &[Type::Bool]);
        Condition { source, program }
    };
    written.iter().map(compile).collect()
}

/// What a policy's parameters are, where it says so.
pub(crate) fn param_kind(spec: &Value) -> Option<ParamKind> {
    let kind = spec.get("paramKind").filter(|k| !k.is_null())?;
    let (group, version) = split_api_version(text(kind, "apiVersion"));
    Some(ParamKind {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: text(kind, "kind").to_owned(),
    })
}

impl Policy {
    /// Compiles policies that have bindings.
    pub(crate) fn compile_all(policies: &[Value], bindings: &[Value]) -> Vec<Self> {
        let bound = |policy: &Value| -> Vec<Binding> {
            let of = |b: &&Value| {
                b.pointer("/spec/policyName").and_then(Value::as_str) == Some(meta::name(policy))
            };
            bindings.iter().filter(of).map(Binding::compile).collect()
        };
        let bound = policies.iter().map(|policy| (policy, bound(policy)));
        bound
            .filter(|(_, bindings)| !bindings.is_empty())
            .map(|(policy, bindings)| Self::compile(policy, bindings))
            .collect()
    }

    fn compile(policy: &Value, bindings: Vec<Binding>) -> Self {
        let spec = &policy["spec"];
        let param_kind = param_kind(spec);
        let offers = Offers {
            params: param_kind.is_some(),
            authorizer: true,
        };
        let mut known = Known::default();
        let mut variables = Vec::new();
        for variable in list(spec, "variables") {
            let name = text(variable, "name");
            let environment = known.extend(environment(offers));
            if let Ok(program) = expression(&environment, text(variable, "expression"), &[]) {
                known.add(name, program.output().clone());
                variables.push((name.to_owned(), program));
            }
        }
        let all = known.extend(environment(offers));
        let saying = known.extend(environment(Offers {
            authorizer: false,
            ..offers
        }));
        let validation = |written: &Value| {
            let source = text(written, "expression").to_owned();
            let message = text(written, "messageExpression");
            Validation {
                program: expression(&all, &source, &[Type::Bool]),
                source,
                message: text(written, "message").trim().to_owned(),
                message_expression: (!message.is_empty())
                    .then(|| expression(&saying, message, &[Type::String])),
                reason: reason(text(written, "reason")),
            }
        };
        let annotation = |written: &Value| {
            let source = text(written, "valueExpression").to_owned();
            let program = expression(&all, &source, &[Type::String, Type::Null]);
            AuditAnnotation { source, program }
        };
        Self {
            name: meta::name(policy).to_owned(),
            fails: text(spec, "failurePolicy") != "Ignore",
            matcher: Matcher::of_policy(&spec["matchConstraints"]),
            conditions: conditions(list(spec, "matchConditions"), offers),
            validations: list(spec, "validations").iter().map(validation).collect(),
            audit: list(spec, "auditAnnotations")
                .iter()
                .map(annotation)
                .collect(),
            param_kind,
            variables,
            bindings,
        }
    }
}

fn reason(name: &str) -> Option<Reason> {
    Some(match name {
        "Unauthorized" => Reason::Unauthorized,
        "Forbidden" => Reason::Forbidden,
        "Invalid" => Reason::Invalid,
        "RequestEntityTooLarge" => Reason::RequestEntityTooLarge,
        _ => return None,
    })
}

impl Binding {
    fn compile(binding: &Value) -> Self {
        let spec = &binding["spec"];
        let does = |action: &str| list(spec, "validationActions").iter().any(|a| a == action);
        let given = |name: &str| spec.get(name).filter(|v| !v.is_null());
        Self {
            name: meta::name(binding).to_owned(),
            matcher: given("matchResources").map(Matcher::of_policy),
            param_ref: given("paramRef").cloned(),
            deny: does("Deny"),
            warn: does("Warn"),
        }
    }
}
