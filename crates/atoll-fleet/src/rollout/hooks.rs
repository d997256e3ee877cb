//! What is refused when it is written: specs that cannot be run, and approvals by people who may not give them.

use async_trait::async_trait;
use atoll_kube::{GroupKind, GroupResource, Status};
use atoll_placement::rollout::PolicyId;
use atoll_placement::rollout::spec::{DisruptionBudget, GateKind, RolloutPolicy};
use atoll_registry::{Hook, Operation, Registry, Review};
use serde_json::Value;

use super::specs::{self, EDGE};
use super::wishes;
use crate::Seat;

/// Refuses RolloutPolicies and DisruptionBudgets that cannot be understood, or that would let nothing happen.
pub(crate) struct SpecHook;

#[async_trait]
impl Hook for SpecHook {
    fn resources(&self) -> Vec<GroupResource> {
        vec![
            GroupResource::new(EDGE, "rolloutpolicies"),
            GroupResource::new(EDGE, "disruptionbudgets"),
        ]
    }

    async fn admit(&self, _: &Registry, review: &mut Review<'_>) -> Result<(), Status> {
        let written = matches!(review.operation, Operation::Create | Operation::Update);
        if !written || review.subresource.is_some() {
            return Ok(());
        }
        let spec = review.object.get("spec").unwrap_or(&Value::Null);
        let kind = &review.definition.names.kind;
        let parsed = match kind.as_str() {
            "RolloutPolicy" => RolloutPolicy::parse(spec, &specs::check).map(drop),
            _ => DisruptionBudget::parse(spec).map(drop),
        };
        parsed
            .map_err(|errors| Status::invalid(&GroupKind::new(EDGE, kind), review.name(), &errors))
    }
}

/// Says who approved, and refuses approvals of those who may not.
pub(crate) struct RolloutHook(pub(crate) Seat);

impl RolloutHook {
    /// The groups of whom one must be in to open a gate; empty is anybody who may write the Rollout.
    fn groups(&self, review: &Review<'_>, approval: &wishes::Approval) -> Vec<String> {
        let shared = self.0.get().and_then(std::sync::Weak::upgrade);
        let Some(shared) = shared else {
            return Vec::new();
        };
        let world = shared.world.read();
        let policy = review
            .object
            .pointer("/spec/policy")
            .and_then(Value::as_str);
        let id = (
            review.cluster.as_str().into(),
            policy.unwrap_or_default().into(),
        );
        let index = world.by_policy.get(&id);
        let state = index.and_then(|i| world.control.engine.state(PolicyId(i.0)));
        let Some(state) = state else {
            return Vec::new();
        };
        let place = wishes::place(state, approval);
        let mut gates = state.gates_at(&place).iter();
        match gates.find(|g| g.name == approval.gate).map(|g| &g.kind) {
            Some(GateKind::Approval { groups }) => groups.clone(),
            _ => Vec::new(),
        }
    }
}

#[async_trait]
impl Hook for RolloutHook {
    fn resources(&self) -> Vec<GroupResource> {
        vec![GroupResource::new(EDGE, "rollouts")]
    }

    async fn admit(&self, _: &Registry, review: &mut Review<'_>) -> Result<(), Status> {
        let written = matches!(review.operation, Operation::Create | Operation::Update);
        if !written || review.subresource.is_some() {
            return Ok(());
        }
        let resource = GroupResource::new(EDGE, "rollouts");
        let refuse = |name: &str, why: String| Err(Status::forbidden(&resource, name, why));
        for field in ["/spec/policy", "/spec/revision"] {
            let before = review.old.map(|old| old.pointer(field));
            if before.is_some_and(|old| old != review.object.pointer(field)) {
                return refuse(
                    review.name(),
                    format!(
                        "{} says whose rollout this is and does not change",
                        &field[1..].replace('/', ".")
                    ),
                );
            }
        }
        let none = Value::Null;
        let old = review.old.and_then(|old| old.get("spec")).unwrap_or(&none);
        let given = wishes::approvals(old);
        let now = wishes::approvals(review.object.get("spec").unwrap_or(&none));
        let user = review.call.user.clone();
        for (at, approval) in now.iter().enumerate() {
            let same =
                |a: &&wishes::Approval| (&a.stage, &a.gate) == (&approval.stage, &approval.gate);
            let by = match given.iter().find(same) {
                Some(before) => before.by.clone(),
                None => {
                    let groups = self.groups(review, approval);
                    let may = groups.is_empty() || groups.iter().any(|g| user.is_in(g));
                    if !may {
                        let why = format!(
                            "gate {:?} is opened by members of {}",
                            approval.gate,
                            groups.join(", ")
                        );
                        return refuse(review.name(), why);
                    }
                    user.username.clone()
                }
            };
            if let Some(entry) = review.object.pointer_mut(&format!("/spec/approvals/{at}")) {
                entry["by"] = by.into();
                if entry.get("at").is_none() {
                    entry["at"] = review.call.now.rfc3339().into();
                }
            }
        }
        Ok(())
    }
}
