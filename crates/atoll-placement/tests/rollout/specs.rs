//! What is refused of a RolloutPolicy and a DisruptionBudget: each fault by the path of its field.

use std::time::Duration;

use atoll_placement::rollout::spec::{
    Amount, DisruptionBudget, OnFailure, Portion, Release, RolloutPolicy, Site,
};
use serde_json::{Value, json};

fn parse(spec: Value) -> Result<RolloutPolicy, Vec<String>> {
    let check = |_: Site, source: &str| match source.contains('?') {
        true => Err("1:1: syntax error".to_owned()),
        false => Ok(()),
    };
    RolloutPolicy::parse(&spec, &check)
        .map_err(|errors| errors.into_iter().map(|e| e.field).collect())
}

fn wrong(spec: Value, fields: &[&str]) {
    assert_eq!(
        parse(spec.clone()).err().unwrap_or_default(),
        fields,
        "{spec}"
    );
}

#[test]
fn budgets_of_zero() {
    wrong(json!({"maxConcurrency": 0}), &["spec.maxConcurrency"]);
    wrong(json!({"maxConcurrency": "0%"}), &["spec.maxConcurrency"]);
    wrong(
        json!({"stages": [{"name": "a", "maxConcurrency": "101%"}]}),
        &["spec.stages[0].maxConcurrency"],
    );
    wrong(
        json!({"disruptionBudgets": [{"maxUnavailable": 0}]}),
        &["spec.disruptionBudgets[0].maxUnavailable"],
    );
    wrong(
        json!({"disruptionBudgets": [{"groupBy": ["a b", "x", "x"]}]}),
        &[
            "spec.disruptionBudgets[0].groupBy[0]",
            "spec.disruptionBudgets[0].groupBy[2]",
            "spec.disruptionBudgets[0].maxUnavailable",
        ],
    );
    wrong(
        json!({"rate": {"basePerMinute": 0}}),
        &["spec.rate.basePerMinute"],
    );
    wrong(
        json!({"rate": {"incrementFactor": 0.5}}),
        &["spec.rate.basePerMinute", "spec.rate.incrementFactor"],
    );
    wrong(
        json!({"rate": {"basePerMinute": 10, "max": 5}}),
        &["spec.rate.max"],
    );
    wrong(
        json!({"abort": {"failureShare": 0}}),
        &["spec.abort.failureShare"],
    );
    wrong(json!({"historyLimit": 0}), &["spec.historyLimit"]);
    // None may fail: that is a wish.
    assert!(parse(json!({"maxFailures": 0})).is_ok());
}

#[test]
fn stages_that_can_never_have_members() {
    let stages = |stages: Value, fields: &[&str]| wrong(json!({ "stages": stages }), fields);
    stages(
        json!([{"name": "a"}, {"name": "b", "count": 1}]),
        &["spec.stages[1]"],
    );
    stages(
        json!([{"name": "a", "percentage": 50}, {"name": "b", "percentage": 50}]),
        &["spec.stages[1]"],
    );
    stages(
        json!([{"name": "a", "percentage": 100}, {"name": "b", "percentage": 20}]),
        &["spec.stages[1]", "spec.stages[1]"],
    );
    stages(
        json!([{"name": "a", "selector": {"matchLabels": {"x": "y"}}}, {"name": "b", "selector": {"matchLabels": {"x": "y"}}, "count": 2}]),
        &["spec.stages[1]"],
    );
    stages(
        json!([{"name": "a", "percentage": 0}, {"name": "b", "count": 0}]),
        &["spec.stages[0].percentage", "spec.stages[1].count"],
    );
    stages(
        json!([{"name": "a", "percentage": 5, "count": 5}]),
        &["spec.stages[0].count"],
    );
    stages(
        json!([{}, {"name": "rest", "count": 1}, {"name": "A b", "count": 1}]),
        &[
            "spec.stages[0].name",
            "spec.stages[1].name",
            "spec.stages[1]",
            "spec.stages[2].name",
            "spec.stages[2]",
        ],
    );
    stages(
        json!([{"name": "a", "count": 1}, {"name": "a", "count": 1}]),
        &["spec.stages[1].name"],
    );
    stages(
        json!([{"name": "a", "selector": {"matchExpressions": [{"key": "x", "operator": "Huh"}]}}]),
        &["spec.stages[0].selector.matchExpressions[0].operator"],
    );
    stages(
        json!([{"name": "a", "expression": "?"}]),
        &["spec.stages[0].expression"],
    );
    stages(json!({}), &["spec.stages"]);
}

#[test]
fn settings_that_contradict_each_other() {
    wrong(
        json!({"onFailure": "continue", "maxFailures": 3}),
        &["spec.maxFailures"],
    );
    wrong(json!({"onFailure": "explode"}), &["spec.onFailure"]);
    wrong(json!({"releaseRevision": "v1"}), &["spec.releaseRevision"]);
    wrong(
        json!({"settle": "soon", "offline": "maybe"}),
        &["spec.offline", "spec.settle"],
    );
    wrong(
        json!({"progressDeadline": "0s"}),
        &["spec.progressDeadline"],
    );
    wrong(json!("x"), &["spec"]);
}

#[test]
fn gates_that_are_none() {
    let gates = |gate: Value, fields: &[&str]| {
        let fields: Vec<String> = fields.iter().map(|f| format!("spec.gates[0]{f}")).collect();
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        wrong(json!({ "gates": [gate] }), &fields);
    };
    gates(json!({"name": "a"}), &[""]);
    gates(json!({"name": "a", "approval": {}, "window": {}}), &[""]);
    gates(json!({"approval": {}}), &[".name"]);
    gates(
        json!({"name": "a", "expression": {}}),
        &[".expression.expression"],
    );
    gates(
        json!({"name": "a", "expression": {"expression": "?", "every": "0s"}}),
        &[".expression.every", ".expression.expression"],
    );
    gates(
        json!({"name": "a", "webhook": {"url": "ftp://x", "timeoutSeconds": 90, "failurePolicy": "Shrug"}}),
        &[
            ".webhook.url",
            ".webhook.timeoutSeconds",
            ".webhook.failurePolicy",
        ],
    );
    gates(
        json!({"name": "a", "window": {}}),
        &[".window.schedule", ".window.duration"],
    );
    gates(
        json!({"name": "a", "window": {"schedule": "0 0 30 2 *", "duration": "1h"}}),
        &[".window.schedule"],
    );
    gates(
        json!({"name": "a", "window": {"schedule": "99 * * * *", "duration": "1h"}}),
        &[".window.schedule"],
    );
    gates(
        json!({"name": "a", "window": {"schedule": "0 0 * * *", "duration": "40d"}}),
        &[".window.duration"],
    );
    gates(
        json!({"name": "a", "window": {"schedule": "0 0 * * *", "duration": "1h", "timeZone": "Mars/Base"}}),
        &[".window.timeZone"],
    );
}

#[test]
fn limits_are_inherited() {
    let spec = parse(json!({
        "minSuccessTime": "1m", "onFailure": "rollback", "maxFailures": "10%",
        "stages": [
            {"name": "a", "count": 1, "maxConcurrency": 1, "minSuccessTime": "1h"},
            {"name": "b", "percentage": 10, "maxConcurrency": "25%"},
        ],
    }))
    .expect("good");
    assert_eq!(spec.stages[0].limits.soak, Duration::from_secs(3600));
    assert_eq!(spec.stages[1].limits.soak, Duration::from_secs(60));
    assert_eq!(spec.stages[1].portion, Portion::Percent(10));
    assert_eq!(
        spec.rest.concurrency,
        Some(Amount::Percent(25)),
        "the last stage's"
    );
    assert_eq!(spec.rest.failures, Some(Amount::Percent(10)));
    assert_eq!(
        (spec.on_failure, spec.release),
        (OnFailure::Rollback, Release::Automatic)
    );
    // Nothing said: any failure pauses.
    let spec = parse(json!({})).expect("good");
    assert_eq!(
        (spec.on_failure, spec.rest.failures),
        (OnFailure::Pause, Some(Amount::Count(0)))
    );
    assert!(!spec.is_at_once() && RolloutPolicy::at_once().is_at_once());
}

#[test]
fn shares_are_rounded_towards_going_on_and_away_from_failing() {
    for (share, total, ceil, floor) in [(10, 3, 1, 0), (50, 3, 2, 1), (100, 3, 3, 3), (1, 0, 0, 0)]
    {
        assert_eq!(Amount::Percent(share).ceil(total), ceil);
        assert_eq!(Amount::Percent(share).floor(total), floor);
    }
}

#[test]
fn disruption_budgets() {
    let wrong = |spec: Value, fields: &[&str]| {
        let errors = DisruptionBudget::parse(&spec).err().unwrap_or_default();
        let found: Vec<String> = errors.into_iter().map(|e| e.field).collect();
        assert_eq!(found, fields, "{spec}");
    };
    wrong(
        json!({"maxUnavailable": "10%", "groupBy": ["site"], "selector": {"matchLabels": {"a": "b"}}, "windows": [{"schedule": "0 2 * * sat", "duration": "6h", "timeZone": "Europe/Berlin"}]}),
        &[],
    );
    wrong(json!({}), &["spec.maxUnavailable"]);
    wrong(json!({"maxUnavailable": 0}), &["spec.maxUnavailable"]);
    wrong(json!({"maxUnavailable": -1}), &["spec.maxUnavailable"]);
    wrong(
        json!({"maxUnavailable": 1, "windows": [{"schedule": "x", "duration": "1h"}]}),
        &["spec.windows[0].schedule"],
    );
    wrong(json!(null), &["spec"]);
}
