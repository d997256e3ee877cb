//! RolloutPolicies and DisruptionBudgets in the picture, and the expressions that they are made of.
//!
//! Always true: what does not parse (it was stored by an older version) takes the place of nothing: a policy keeps the last spec that did.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use atoll_cel::{Environment, Program, Type};
use atoll_kube::meta;
use atoll_placement::choose::expression::Expression;
use atoll_placement::rollout::BudgetId;
use atoll_placement::rollout::spec::{DisruptionBudget, RolloutPolicy, Site};
use atoll_registry::{ObjectKey, ResourceId};
use parking_lot::Mutex;
use serde_json::Value;

use super::Control;
use crate::absorb::Absorb;
use crate::model::{PolicyIndex, PolicyState};
use crate::source::{self, SourceError};

pub(crate) const EDGE: &str = "edge.atoll.dev";
pub(crate) const VERSION: &str = "edge.atoll.dev/v1alpha1";

/// RolloutPolicies, in every payload workspace.
pub(crate) fn policies() -> ResourceId {
    ResourceId::builtin(EDGE, "rolloutpolicies")
}

/// DisruptionBudgets, in every inventory.
pub(crate) fn budgets() -> ResourceId {
    ResourceId::builtin(EDGE, "disruptionbudgets")
}

/// A RolloutPolicy.
#[derive(Debug)]
pub(crate) struct Spec {
    /// `spec`, as written.
    pub(crate) source: Value,
    /// `None`: it is not good, see `problem`.
    pub(crate) parsed: Option<RolloutPolicy>,
    pub(crate) problem: String,
}

/// A DisruptionBudget.
#[derive(Debug)]
pub(crate) struct Budget {
    pub(crate) inventory: Arc<str>,
    pub(crate) name: String,
    pub(crate) spec: DisruptionBudget,
}

/// Compiles an expression where it stands: what is wrong with it in words, or nothing.
pub(crate) fn check(site: Site, source: &str) -> Result<(), String> {
    match site {
        Site::Stage => Expression::compile(source).map(drop),
        Site::Gate => compile(gate_environment(), source).map(drop),
        Site::Healthy => compile(health_environment(), source).map(drop),
    }
}

fn compile(environment: &Environment, source: &str) -> Result<Program, String> {
    let program = Program::compile(environment, source).map_err(|e| e.to_string())?;
    match program.output() {
        Type::Bool | Type::Dyn => Ok(program),
        _ => Err("must be true or false".to_owned()),
    }
}

/// What a gate's expression reads: counts of its rollout, the inventory's signals, and the time.
fn gate_environment() -> &'static Environment {
    static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| {
        Environment::kubernetes()
            .variable("summary", Type::Dyn)
            .variable("signals", Type::map(Type::map(Type::Dyn)))
            .variable("now", Type::Timestamp)
    })
}

/// What a health rule reads: the copy's status as it was reported.
fn health_environment() -> &'static Environment {
    static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| Environment::kubernetes().variable("status", Type::Dyn))
}

/// Expressions compiled lately. What they say follows from their text alone.
#[derive(Debug, Default)]
pub(crate) struct Expressions {
    stages: Mutex<HashMap<String, Option<Arc<Expression>>>>,
    gates: Mutex<HashMap<String, Option<Arc<Program>>>>,
    health: Mutex<HashMap<String, Option<Arc<Program>>>>,
}

/// So many texts are kept compiled.
const MOST_KEPT: usize = 1024;

fn kept<T>(
    held: &Mutex<HashMap<String, Option<Arc<T>>>>,
    source: &str,
    make: impl FnOnce() -> Option<T>,
) -> Option<Arc<T>> {
    let mut held = held.lock();
    if let Some(found) = held.get(source) {
        return found.clone();
    }
    if held.len() >= MOST_KEPT {
        held.clear();
    }
    let made = make().map(Arc::new);
    held.insert(source.to_owned(), made.clone());
    made
}

impl Expressions {
    /// A stage's expression over the destination; `None` if it does not compile.
    pub(crate) fn stage(&self, source: &str) -> Option<Arc<Expression>> {
        kept(&self.stages, source, || Expression::compile(source).ok())
    }

    /// A gate's expression.
    pub(crate) fn gate(&self, source: &str) -> Option<Arc<Program>> {
        kept(&self.gates, source, || {
            compile(gate_environment(), source).ok()
        })
    }

    /// A health rule over a copy's status.
    pub(crate) fn health(&self, source: &str) -> Option<Arc<Program>> {
        kept(&self.health, source, || {
            compile(health_environment(), source).ok()
        })
    }
}

impl Control {
    /// The RolloutPolicy that a policy names, if there is one.
    pub(crate) fn spec_of(&self, policy: &PolicyState) -> Option<&Spec> {
        let name = policy.spec.rollout.as_deref()?;
        self.specs.get(&(policy.cluster.clone(), name.into()))
    }
}

impl Absorb<'_> {
    /// A RolloutPolicy changed.
    pub(crate) fn rollout_policy(
        &mut self,
        parts: &ObjectKey<'_>,
        row: Option<&[u8]>,
    ) -> Result<(), SourceError> {
        let id: (Arc<str>, Arc<str>) = (parts.cluster.into(), parts.name.into());
        match present(row, "RolloutPolicy")? {
            None => drop(self.world.control.specs.remove(&id)),
            Some(value) => {
                let source = value.get("spec").cloned().unwrap_or(Value::Null);
                let parsed = RolloutPolicy::parse(&source, &check);
                let problem = parsed.as_ref().err().map(|errors| {
                    let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
                    all.join("; ")
                });
                let spec = Spec {
                    source,
                    parsed: parsed.ok(),
                    problem: problem.unwrap_or_default(),
                };
                self.world.control.specs.insert(id.clone(), spec);
            }
        }
        let named =
            |p: &PolicyState| p.cluster == id.0 && p.spec.rollout.as_deref() == Some(&*id.1);
        let named = self.world.policies.iter().filter(|(_, p)| named(p));
        let named: Vec<PolicyIndex> = named.map(|(index, _)| *index).collect();
        named
            .into_iter()
            .for_each(|index| self.pending.whole(index));
        Ok(())
    }

    /// A DisruptionBudget changed.
    pub(crate) fn disruption_budget(
        &mut self,
        parts: &ObjectKey<'_>,
        row: Option<&[u8]>,
    ) -> Result<(), SourceError> {
        let value = present(row, "DisruptionBudget")?;
        let budgets = &mut self.world.control.budgets;
        let mut known = budgets.iter();
        let known = known.find(|(_, b)| &*b.inventory == parts.cluster && b.name == parts.name);
        let known = known.map(|(id, _)| *id);
        let spec = value
            .as_ref()
            .map(|v| v.get("spec").unwrap_or(&Value::Null));
        let parsed = match spec.map(DisruptionBudget::parse).transpose() {
            // The last good one stays in force.
            Err(_) => return Ok(()),
            Ok(parsed) => parsed,
        };
        let id = match known {
            Some(id) => id,
            None if parsed.is_none() => return Ok(()),
            None => BudgetId(budgets.last_key_value().map_or(0, |(id, _)| id.0 + 1)),
        };
        budgets.remove(&id);
        if let Some(spec) = parsed.clone() {
            let (inventory, name) = (parts.cluster.into(), parts.name.to_owned());
            budgets.insert(
                id,
                Budget {
                    inventory,
                    name,
                    spec,
                },
            );
        }
        self.pending.heard.budgets.insert(id, parsed);
        let inventory = self.world.inventories.get(parts.cluster);
        let policies = inventory.into_iter().flat_map(|i| &i.policies).copied();
        let policies: Vec<PolicyIndex> = policies.collect();
        policies
            .into_iter()
            .for_each(|index| self.pending.whole(index));
        Ok(())
    }
}

/// An object that is there and stays.
pub(super) fn present(row: Option<&[u8]>, kind: &str) -> Result<Option<Value>, SourceError> {
    let Some(row) = row else { return Ok(None) };
    let value = source::control_value(row, VERSION, kind)?;
    Ok((!meta::is_deleting(&value)).then_some(value))
}
