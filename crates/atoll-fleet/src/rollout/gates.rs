//! Asking gates: expressions here and now, webhooks by HTTP with a time-out. An answer is heard by the engine like any other news; a gate that hangs or lies is one that cannot be asked.

use atoll_cel::{Bindings, Budget};
use atoll_kube::Timestamp;
use atoll_placement::rollout::spec::GateKind;
use atoll_placement::rollout::{Answer, PolicyId, Question};
use serde_json::{Map, Value, json};

use super::objects;
use crate::model::{PolicyIndex, World};
use crate::shared::Shared;

/// What one evaluation may cost.
const BUDGET: Budget = Budget { cost: 1_000_000 };

/// Asks gates; each answer comes as news.
pub(super) fn ask(shared: &Shared, questions: Vec<(PolicyId, Question)>) {
    if questions.is_empty() {
        return;
    }
    let world = shared.world.read();
    let now = shared.registry.now();
    for (id, question) in questions {
        match &question.kind {
            GateKind::Expression { source, .. } => {
                let answer = evaluate(&world, id, source, now);
                shared.news.answered(id, question.gate, answer);
            }
            GateKind::Webhook(_) => {
                let why = "webhooks are not called by this version".to_owned();
                shared.news.answered(id, question.gate, Answer::Failed(why));
            }
            // The engine answers these itself.
            GateKind::Approval { .. } | GateKind::Window(_) => {}
        }
    }
}

fn evaluate(world: &World, id: PolicyId, source: &str, now: Timestamp) -> Answer {
    let Some(program) = world.control.expressions.gate(source) else {
        return Answer::Failed("the expression does not compile".to_owned());
    };
    let (summary, signals) = (summary(world, id, now), signals(world, id, now));
    let time = atoll_cel::Timestamp::from_millis(now.0).map(atoll_cel::Value::Timestamp);
    let bindings = Bindings::new()
        .json("summary", &summary)
        .json("signals", &signals)
        .value("now", time.unwrap_or(atoll_cel::Value::Null));
    match program.evaluate(&bindings, BUDGET) {
        Ok(atoll_cel::Value::Bool(true)) => Answer::Go,
        Ok(atoll_cel::Value::Bool(false)) => Answer::Wait(format!("{source} is false")),
        Ok(_) => Answer::Failed("the answer is neither true nor false".to_owned()),
        Err(error) => Answer::Failed(error.message),
    }
}

/// What a gate is told of the rollout: counts of all destinations and of each begun stage.
pub(super) fn summary(world: &World, id: PolicyId, now: Timestamp) -> Value {
    let Some(progress) = objects::progress(world, id, now).into_iter().next() else {
        return json!({});
    };
    let mut stages = Map::new();
    for stage in &progress.stages {
        let mut value = stage.counts.unwrap_or_default().to_json();
        value["slots"] = stage.slots.into();
        value["away"] = stage.away.into();
        stages.insert(stage.name.clone(), value);
    }
    let mut summary = progress.counts.to_json();
    summary["revision"] = progress.revision.0.into();
    summary["stage"] = progress.stage.clone().unwrap_or_default().into();
    summary["stages"] = Value::Object(stages);
    summary
}

/// The inventory's signals: what is known now of each label value.
fn signals(world: &World, id: PolicyId, now: Timestamp) -> Value {
    let policy = world.policies.get(&PolicyIndex(id.0));
    let inventory = policy.and_then(|p| world.inventories.get(p.inventory.as_ref()?));
    let mut known = Map::new();
    for (name, signal) in inventory.into_iter().flat_map(|i| &i.signals) {
        let values = signal.values.keys();
        let values = values.filter_map(|k| Some((k.clone(), signal.value(k, now)?.clone())));
        known.insert(name.clone(), Value::Object(values.collect()));
    }
    Value::Object(known)
}
