//! What an expression may speak of: its variables and its functions.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::types::Type;

/// The variables and limits that a text is compiled with. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Environment {
    variables: Arc<BTreeMap<String, Type>>,
    cost_limit: Option<u64>,
}

impl Environment {
    /// Kubernetes 1.36: its functions, no variables, no limit on the estimated cost.
    pub fn kubernetes() -> Environment {
        Environment {
            variables: Arc::default(),
            cost_limit: None,
        }
    }

    /// Adds (or replaces) a variable.
    #[must_use]
    pub fn variable(mut self, name: impl Into<String>, value: Type) -> Environment {
        Arc::make_mut(&mut self.variables).insert(name.into(), value);
        self
    }

    /// Refuses texts whose estimated cost is above this.
    #[must_use]
    pub fn cost_limit(mut self, limit: u64) -> Environment {
        self.cost_limit = Some(limit);
        self
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Type> {
        self.variables.get(name)
    }

    pub(crate) fn limit(&self) -> Option<u64> {
        self.cost_limit
    }
}
