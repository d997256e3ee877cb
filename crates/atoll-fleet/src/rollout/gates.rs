//! Asking gates: expressions here and now, webhooks by HTTP with a time-out. An answer is heard by the engine like any other news; a gate that hangs or lies is one that cannot be asked.

use atoll_cel::{Bindings, Budget};
use atoll_client::{Client, Config, Request};
use atoll_kube::Timestamp;
use atoll_placement::rollout::spec::{GateKind, Webhook};
use atoll_placement::rollout::{Answer, GateAt, GatePlace, PolicyId, Question};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Map, Value, json};

use super::objects;
use super::specs::VERSION;
use crate::model::{PolicyIndex, World};
use crate::shared::Shared;

/// The most bytes of a webhook's answer that are read.
const MOST_BYTES: usize = 64 << 10;
/// The most characters of its message that are kept.
const LONGEST: usize = 500;
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
            GateKind::Webhook(hook) => {
                let (news, gate) = (shared.news.clone(), question.gate);
                let (hook, body) = (hook.clone(), body(&world, id, &gate, now));
                tokio::spawn(async move {
                    let answer = match tokio::time::timeout(hook.timeout, call(&hook, body)).await {
                        Ok(answer) => answer.unwrap_or_else(Answer::Failed),
                        Err(_) => Answer::Failed(format!(
                            "no answer from {} within {} s",
                            hook.url,
                            hook.timeout.as_secs()
                        )),
                    };
                    news.answered(id, gate, answer);
                });
            }
            // The engine answers these itself.
            GateKind::Approval { .. } | GateKind::Window(_) => {}
        }
    }
}

/// What a webhook is told.
fn body(world: &World, id: PolicyId, gate: &GateAt, now: Timestamp) -> Value {
    let policy = world.policies.get(&PolicyIndex(id.0));
    let stage = match &gate.place {
        GatePlace::Rollout => "",
        GatePlace::Before(stage) | GatePlace::After(stage) => stage,
    };
    json!({
        "apiVersion": VERSION,
        "kind": "GateReview",
        "policy": policy.map_or("", |p| &p.name),
        "revision": gate.revision.0,
        "stage": stage,
        "gate": gate.name,
        "summary": summary(world, id, now),
    })
}

/// Asks a webhook; the error says why that failed, in words.
async fn call(hook: &Webhook, body: Value) -> Result<Answer, String> {
    let after_scheme = hook.url.find("://").map_or(0, |at| at + 3);
    let slash = hook.url[after_scheme..].find('/');
    let (origin, path) = hook
        .url
        .split_at(slash.map_or(hook.url.len(), |at| at + after_scheme));
    let mut config = Config::new(origin);
    if let Some(bundle) = &hook.ca_bundle {
        let pem = STANDARD
            .decode(bundle)
            .map_err(|e| format!("caBundle: {e}"))?;
        config.tls.ca = Some(pem);
    }
    let client = Client::new(&config).map_err(|e| e.to_string())?;
    let path = if path.is_empty() { "/" } else { path };
    let request = Request::new(Method::POST, path)
        .body("application/json", body.to_string())
        .at_most(MOST_BYTES);
    let answer = client.request(request).await.map_err(|e| e.to_string())?;
    if !answer.code.is_success() {
        return Err(format!("{} answered {}", hook.url, answer.code));
    }
    read(&answer.body).ok_or_else(|| {
        format!(
            "{} did not answer {{\"answer\": \"go\" | \"wait\" | \"abort\"}}",
            hook.url
        )
    })
}

/// What a webhook said; `None` when that is no answer.
fn read(body: &[u8]) -> Option<Answer> {
    let said: Value = serde_json::from_slice(body).ok()?;
    let message = said.get("message").and_then(Value::as_str);
    let message: String = message
        .unwrap_or("the webhook says so")
        .chars()
        .take(LONGEST)
        .collect();
    match said.get("answer")?.as_str()?.to_ascii_lowercase().as_str() {
        "go" => Some(Answer::Go),
        "wait" => Some(Answer::Wait(message)),
        "abort" => Some(Answer::Abort(message)),
        _ => None,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_webhook_may_say() {
        for (body, expected) in [
            (r#"{"answer": "go"}"#, Some(Answer::Go)),
            (
                r#"{"answer": "Wait", "message": "not yet"}"#,
                Some(Answer::Wait("not yet".into())),
            ),
            (
                r#"{"answer": "ABORT", "message": 3}"#,
                Some(Answer::Abort("the webhook says so".into())),
            ),
            (r#"{"answer": true}"#, None),
            (r#"{"answer": "yes"}"#, None),
            ("<html>", None),
            ("", None),
        ] {
            assert_eq!(read(body.as_bytes()), expected, "{body}");
        }
    }
}
