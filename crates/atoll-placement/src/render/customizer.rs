//! Customizer: a structural change of some objects' copies at some destinations.
//!
//! Several that concern one copy act one after the other, lowest `priority` first, by name where it is equal: so what the
//! highest says stands. Faults are all found when it is written, each with its field.

use std::sync::Arc;

use atoll_kube::status::FieldError;
use serde_json::Value;

use crate::fields::list;
use crate::policy::{self, Candidate, ObjectTest};

use super::layer::{Layer, Layers};

/// A parsed Customizer.
#[derive(Debug, Clone)]
pub struct Customizer {
    /// Its place among others: the highest acts last.
    pub priority: i64,
    /// Which objects: any of them.
    pub targets: Vec<ObjectTest>,
    /// For which destinations, and what it changes.
    pub layer: Arc<Layer>,
}

impl Customizer {
    /// Parses `spec`; all that is wrong is said, each with its path.
    pub fn parse(name: &str, spec: &Value, layers: &mut Layers) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        let priority = match spec.get("priority") {
            None | Some(Value::Null) => 0,
            Some(value) => value.as_i64().unwrap_or_else(|| {
                errors.push(FieldError::type_invalid(
                    "spec.priority",
                    value.clone(),
                    "must be a whole number",
                ));
                0
            }),
        };
        let items = list(spec, "targets", "spec", &mut errors);
        if items.is_empty() {
            errors.push(FieldError::required(
                "spec.targets",
                "say which objects, with the tests of a BindingPolicy's downsync",
            ));
        }
        let mut targets = Vec::new();
        for (i, item) in items.iter().enumerate() {
            targets.push(policy::parse_test(
                item,
                &format!("spec.targets[{i}]"),
                &mut errors,
            ));
        }
        match Layer::parse(name, spec) {
            Ok(layer) if errors.is_empty() => Ok(Customizer {
                priority,
                targets,
                layer: layers.share(layer),
            }),
            Ok(_) => Err(errors),
            Err(more) => {
                errors.extend(more);
                Err(errors)
            }
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.layer.name()
    }

    /// Whether it concerns an object.
    pub fn concerns(&self, candidate: &Candidate<'_>) -> bool {
        self.targets.iter().any(|test| test.holds(candidate))
    }

    /// Whether a change of a Namespace's labels can change which objects it concerns.
    pub fn reads_namespace_labels(&self) -> bool {
        self.targets
            .iter()
            .any(|t| t.namespace_selectors.iter().any(|s| !s.is_everything()))
    }

    /// The order in which they act.
    pub(super) fn rank(&self) -> (i64, &str) {
        (self.priority, self.name())
    }
}
