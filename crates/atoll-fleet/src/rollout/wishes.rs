//! What people write into Rollout objects, as commands to the engine.
//!
//! Level-triggered: what is written is compared with what is, whenever either may have changed, so that nothing written is lost by a kill and nothing happens twice. Only what is written in the
//! Rollout of the latest revision counts. `spec.paused` pauses as long as it is true; a pause that failures made ends with a `spec.resumedAt` that is not before `status.pausedAt`.

use std::sync::Arc;

use atoll_kube::{Timestamp, meta};
use atoll_placement::rollout::{
    Answer, Command, Event, GateAt, GatePlace, Ordinal, PolicyEvent, PolicyId, RolloutState,
};
use atoll_registry::ObjectKey;
use serde_json::Value;

use super::{carry, specs};
use crate::absorb::{Absorb, Pending};
use crate::decide::DecideError;
use crate::model::{PolicyIndex, World};
use crate::shared::Shared;
use crate::source::SourceError;

/// A Rollout's spec.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Wish {
    pub(crate) policy: String,
    pub(crate) revision: u64,
    pub(crate) generation: i64,
    paused: bool,
    abort: bool,
    resumed_at: Option<Timestamp>,
    rollback_to: Option<u64>,
    approvals: Vec<Approval>,
}

/// One approval.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Approval {
    pub(crate) stage: String,
    pub(crate) gate: String,
    pub(crate) by: String,
}

/// The approvals in a Rollout's spec.
pub(crate) fn approvals(spec: &Value) -> Vec<Approval> {
    let list = spec.get("approvals").and_then(Value::as_array);
    let text = |value: &Value, field: &str| {
        value
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let all = list.into_iter().flatten().map(|a| Approval {
        stage: text(a, "stage"),
        gate: text(a, "gate"),
        by: text(a, "by"),
    });
    all.collect()
}

/// The place of a gate by the stage's name: nothing (or `-`) is the whole rollout, and a gate before a stage comes before one after it.
pub(crate) fn place(state: &RolloutState, approval: &Approval) -> GatePlace {
    let before = GatePlace::Before(approval.stage.clone());
    let there = |place: &GatePlace| {
        state
            .gates_at(place)
            .iter()
            .any(|g| g.name == approval.gate)
    };
    match approval.stage.as_str() {
        "" | "-" => GatePlace::Rollout,
        _ if there(&before) => before,
        stage => GatePlace::After(stage.to_owned()),
    }
}

impl Wish {
    fn of(value: &Value) -> Wish {
        let spec = value.get("spec").unwrap_or(&Value::Null);
        let flag = |field: &str| spec.get(field).and_then(Value::as_bool).unwrap_or(false);
        let text = |field: &str| spec.get(field).and_then(Value::as_str);
        let to = spec.pointer("/rollbackTo");
        Wish {
            policy: text("policy").unwrap_or_default().to_owned(),
            revision: spec.get("revision").and_then(Value::as_u64).unwrap_or(0),
            generation: meta::generation(value),
            paused: flag("paused"),
            abort: flag("abort"),
            resumed_at: text("resumedAt").and_then(Timestamp::parse),
            rollback_to: to.map(|t| t.get("revision").and_then(Value::as_u64).unwrap_or(0)),
            approvals: approvals(spec),
        }
    }
}

impl Absorb<'_> {
    /// A Rollout changed.
    pub(crate) fn rollout(
        &mut self,
        parts: &ObjectKey<'_>,
        row: Option<&[u8]>,
    ) -> Result<(), SourceError> {
        let id: (Arc<str>, Arc<str>) = (parts.cluster.into(), parts.name.into());
        let wishes = &mut self.world.control.wishes;
        match specs::present(row, "Rollout")? {
            Some(value) => {
                let wish = Wish::of(&value);
                if wishes.get(&id) != Some(&wish) {
                    wishes.insert(id.clone(), wish);
                    self.pending.heard.wishes.insert(id);
                }
            }
            None => drop(wishes.remove(&id)),
        }
        Ok(())
    }
}

/// What a Rollout asks for that is not so yet.
pub(super) fn commands(world: &World, id: &(Arc<str>, Arc<str>)) -> Vec<(PolicyIndex, Command)> {
    let none = Vec::new();
    let Some(wish) = world.control.wishes.get(id) else {
        return none;
    };
    let policy = (id.0.clone(), Arc::from(wish.policy.as_str()));
    let Some(index) = world.by_policy.get(&policy).copied() else {
        return none;
    };
    let Some(state) = world.control.engine.state(PolicyId(index.0)) else {
        return none;
    };
    let current = state
        .head
        .run
        .as_ref()
        .filter(|r| r.revision == Ordinal(wish.revision));
    let Some(run) = current else { return none };
    let mut found = Vec::new();
    let pause = state.head.paused.as_ref();
    let asked = pause.is_some_and(|p| p.asked);
    match (wish.paused, asked) {
        (true, false) => found.push(Command::Pause),
        (false, true) => found.push(Command::Resume),
        _ => {}
    }
    if let Some(pause) = pause.filter(|p| !p.asked) {
        let since = state.clock(pause.since).0.div_euclid(1000);
        if wish
            .resumed_at
            .is_some_and(|at| at.0.div_euclid(1000) >= since)
        {
            found.push(Command::Resume);
        }
    }
    if wish.abort && run.active() {
        found.push(Command::Abort);
    }
    for approval in &wish.approvals {
        let place = place(state, approval);
        let known = state.gate_run(&place, &approval.gate);
        if known.is_some_and(|g| g.answer == Some(Answer::Go)) || !run.active() {
            continue;
        }
        let gate = GateAt {
            revision: run.revision,
            place,
            name: approval.gate.clone(),
        };
        let by = approval.by.clone();
        found.push(Command::Approve { gate, by });
    }
    if let Some(to) = wish.rollback_to {
        found.push(Command::Undo((to != 0).then_some(Ordinal(to))));
    }
    found.into_iter().map(|command| (index, command)).collect()
}

/// Carries a command out; why it cannot be is in the Rollout's status.
pub(super) async fn command(
    shared: &Shared,
    (index, command): (PolicyIndex, Command),
    pending: &mut Pending,
) -> Result<(), DecideError> {
    let event = Event::Policy(PolicyId(index.0), PolicyEvent::Command(command));
    let step = {
        let mut world = shared.world.write();
        let step = world.step(event, shared.registry.now());
        if let Some(policy) = world.policies.get_mut(&index) {
            if let Some(control) = policy.control.as_mut() {
                control.refused.clone_from(&step.refused);
            }
            let id = (policy.cluster.clone(), policy.name.clone());
            shared.rollouts.add(id);
        }
        step
    };
    carry::carry(shared, step, pending).await
}
