//! One rule: its texts, and the programs they compile to.

use atoll_cel::{CompileError, Environment, Program, Type};
use serde_json::Value;

use super::place;
use crate::status::FieldErrorKind;

/// One compiled rule.
#[derive(Debug)]
pub(super) struct Rule {
    /// The rule's text.
    pub(super) source: String,
    /// The fixed message, empty where none is given.
    pub(super) message: String,
    pub(super) program: Compiled,
    pub(super) message_expression: Option<Compiled>,
    pub(super) reason: FieldErrorKind,
    /// Where findings are reported, below the node.
    pub(super) field_path: Option<String>,
    /// `oldSelf` is optional, and the rule is evaluated without one, too.
    pub(super) optional_old_self: bool,
    /// The rule is about a change.
    pub(super) uses_old_self: bool,
}

/// A program, or in upstream's words why there is none.
pub(super) type Compiled = Result<Program, String>;

impl Rule {
    /// Compiles a rule as it is written at a node of the schema, whose values are `of`.
    pub(super) fn compile(written: &Value, schema: &Value, of: &Type) -> Self {
        let text = |name: &str| {
            let found = written.get(name).and_then(Value::as_str);
            found.unwrap_or_default().to_owned()
        };
        let optional_old_self = written.get("optionalOldSelf") == Some(&Value::Bool(true));
        let old = if optional_old_self {
            of.clone().optional()
        } else {
            of.clone()
        };
        let environment = Environment::kubernetes()
            .variable("self", of.clone())
            .variable("oldSelf", old);
        let source = text("rule");
        let program = compile(&environment, &source, &Type::Bool);
        let message_expression = text("messageExpression");
        let path = text("fieldPath");
        Self {
            uses_old_self: program.as_ref().is_ok_and(|p| p.uses("oldSelf")),
            program,
            message_expression: (!message_expression.is_empty())
                .then(|| compile(&environment, &message_expression, &Type::String)),
            message: text("message"),
            reason: match text("reason").as_str() {
                "FieldValueForbidden" => FieldErrorKind::Forbidden,
                "FieldValueRequired" => FieldErrorKind::Required,
                "FieldValueDuplicate" => FieldErrorKind::Duplicate,
                _ => FieldErrorKind::Invalid,
            },
            field_path: place::normalize(&path, schema).filter(|p| !p.is_empty()),
            optional_old_self,
            source,
        }
    }

    /// What stands for the rule in messages.
    pub(super) fn words(&self) -> &str {
        if self.message.is_empty() {
            self.source.trim()
        } else {
            self.message.trim()
        }
    }

    /// What is said when the rule does not hold and no expression says it better.
    pub(super) fn fixed_message(&self) -> String {
        if self.message.is_empty() {
            format!("failed rule: {}", self.words())
        } else {
            self.words().to_owned()
        }
    }
}

fn compile(environment: &Environment, source: &str, wanted: &Type) -> Compiled {
    let (is_message, name) = (*wanted == Type::String, "messageExpression");
    let failed = |error: CompileError| {
        let what = error.render(source);
        if is_message {
            format!("{name} compilation failed: {what}")
        } else {
            format!("compilation failed: {what}")
        }
    };
    let program = Program::compile(environment, source).map_err(failed)?;
    if program.output() == wanted {
        Ok(program)
    } else if is_message {
        Err(format!("{name} must evaluate to a string"))
    } else {
        Err("cel expression must evaluate to a bool".to_owned())
    }
}
