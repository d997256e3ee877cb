//! RolloutPolicy.spec, from JSON.

use std::collections::BTreeSet;
use std::time::Duration;

use atoll_kube::names;
use atoll_kube::selector::LabelSelector;
use atoll_kube::status::FieldError;
use serde_json::Value;

use super::budget::{group_budget, window};
use super::read::{At, Errors};
use super::{
    Abort, CheckExpression, DEFAULT_EVERY, DEFAULT_HISTORY, DEFAULT_SETTLE, DEFAULT_TIMEOUT, Gate,
    GateKind, HealthRule, Limits, Offline, OnFailure, Portion, REST, Rate, Release, RolloutPolicy,
    Site, Stage, StageSelector, Webhook,
};

const STUCK: &str = "0 would let nothing happen, ever";
const SECOND: Duration = Duration::from_secs(1);

impl RolloutPolicy {
    /// Parses `spec`. All that is wrong is reported, each with its path.
    pub fn parse(spec: &Value, check: CheckExpression<'_>) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        let mut policy = RolloutPolicy {
            settle: DEFAULT_SETTLE,
            on_failure: OnFailure::Pause,
            ..RolloutPolicy::at_once()
        };
        if spec.is_null() {
            policy.rest.failures = Some(super::Amount::Count(0));
            return Ok(policy);
        }
        let spec = At::new(spec, "spec");
        if !spec.object(&mut errors) {
            return Err(errors);
        }
        let errors_of = &mut errors;
        let words = [
            ("pause", OnFailure::Pause),
            ("rollback", OnFailure::Rollback),
            ("continue", OnFailure::Continue),
        ];
        policy.on_failure = spec
            .word("onFailure", &words, errors_of)
            .unwrap_or_default();
        let words = [("skip", Offline::Skip), ("wait", Offline::Wait)];
        policy.offline = spec.word("offline", &words, errors_of).unwrap_or_default();
        if let Some(settle) = spec.duration("settle", Duration::ZERO, errors_of) {
            policy.settle = settle;
        }
        policy.release = release(&spec, errors_of);
        policy.gates = gates(&spec, "gates", check, errors_of);
        stages(&spec, &mut policy, check, errors_of);
        for item in spec.items("disruptionBudgets", errors_of) {
            policy.budgets.extend(group_budget(&item, errors_of));
        }
        policy.rate = spec.field("rate").and_then(|at| rate(&at, errors_of));
        policy.abort = spec.field("abort").and_then(|at| abort(&at, errors_of));
        for item in spec.items("healthy", errors_of) {
            policy.healthy.extend(health(&item, check, errors_of));
        }
        if let Some(at) = spec.field("move")
            && at.object(errors_of)
        {
            policy.make_before_break = at.flag("make-before-break", errors_of);
        }
        policy.history = spec
            .count("historyLimit", 1..=100, "must be 1 to 100", errors_of)
            .map_or(DEFAULT_HISTORY, |n| n as usize);
        if errors.is_empty() {
            Ok(policy)
        } else {
            Err(errors)
        }
    }
}

/// Limits where they are written: `None` where they are not.
#[derive(Clone, Copy)]
struct Written {
    concurrency: Option<super::Amount>,
    soak: Option<Duration>,
    deadline: Option<Duration>,
    failures: Option<super::Amount>,
}

impl Written {
    fn read(at: &At<'_>, on_failure: OnFailure, errors: &mut Errors) -> Self {
        let failures = at.amount("maxFailures", None, errors);
        if failures.is_some() && on_failure == OnFailure::Continue {
            errors.push(FieldError::forbidden(
                format!("{}.maxFailures", at.path),
                "has no effect with onFailure: continue; leave out one of them",
            ));
        }
        Self {
            concurrency: at.amount("maxConcurrency", Some(STUCK), errors),
            soak: at.duration("minSuccessTime", Duration::ZERO, errors),
            deadline: at.duration("progressDeadline", SECOND, errors),
            failures,
        }
    }

    fn or(self, other: Written) -> Written {
        Written {
            concurrency: self.concurrency.or(other.concurrency),
            soak: self.soak.or(other.soak),
            deadline: self.deadline.or(other.deadline),
            failures: self.failures.or(other.failures),
        }
    }

    fn finish(self, on_failure: OnFailure) -> Limits {
        let none = (on_failure != OnFailure::Continue).then_some(super::Amount::Count(0));
        Limits {
            concurrency: self.concurrency,
            soak: self.soak.unwrap_or_default(),
            deadline: self.deadline,
            failures: self.failures.or(none),
        }
    }
}

fn stages(
    spec: &At<'_>,
    policy: &mut RolloutPolicy,
    check: CheckExpression<'_>,
    errors: &mut Errors,
) {
    let on_failure = policy.on_failure;
    let common = Written::read(spec, on_failure, errors);
    let mut last = common;
    let mut seen: BTreeSet<String> = BTreeSet::new();
    // A stage that takes all leaves nothing to those after it.
    let mut exhausted: Option<String> = None;
    for at in spec.items("stages", errors) {
        if !at.object(errors) {
            continue;
        }
        let name = at.text("name", errors).unwrap_or_default();
        let name_path = format!("{}.name", at.path);
        if name.is_empty() {
            errors.push(FieldError::required(name_path, "a stage needs a name"));
        } else if name == REST {
            errors.push(FieldError::invalid(
                name_path,
                name.clone(),
                "is the name of the implied last stage; choose another",
            ));
        } else if let Err(why) = names::is_dns1123_label(&name) {
            errors.push(FieldError::invalid(
                name_path,
                name.clone(),
                format!("{why:?}"),
            ));
        } else if !seen.insert(name.clone()) {
            errors.push(FieldError::duplicate(name_path, name.clone()));
        }
        if let Some(before) = &exhausted {
            at.wrong(errors, format!("can never have members: stage {before:?} before it takes every destination that is left"));
        }
        let selector = selector(&at, check, errors);
        let faults = errors.len();
        let portion = match portion(&at, errors) {
            // A fault makes no others: a count says nothing about the stages after it.
            _ if faults < errors.len() => Portion::Count(1),
            sound => sound,
        };
        if let Portion::Percent(percent) = portion
            && let Some(earlier) = policy.stages.iter().find(|s| {
                s.selector == selector && matches!(s.portion, Portion::Percent(p) if p >= percent)
            })
        {
            at.wrong(errors, format!("can never have members: stage {:?} already reaches this percentage of the same destinations (percentages count from the first stage on)", earlier.name));
        } else if let Some(earlier) = policy
            .stages
            .iter()
            .find(|s| s.selector == selector && s.portion == Portion::All)
            && exhausted.is_none()
        {
            at.wrong(
                errors,
                format!(
                    "can never have members: stage {:?} takes every destination that it matches",
                    earlier.name
                ),
            );
        }
        if selector.is_everything() && matches!(portion, Portion::All | Portion::Percent(100)) {
            exhausted.get_or_insert_with(|| name.clone());
        }
        let written = Written::read(&at, on_failure, errors);
        last = written.or(common);
        let (mut before, mut after) = (Vec::new(), Vec::new());
        if let Some(at) = at.field("gates")
            && at.object(errors)
        {
            before = gates(&at, "before", check, errors);
            after = gates(&at, "after", check, errors);
        }
        policy.stages.push(Stage {
            name,
            selector,
            portion,
            limits: last.finish(on_failure),
            before,
            after,
        });
    }
    // What the last written stage says holds for the rest, unless the whole says otherwise.
    policy.rest = common.or(last).finish(on_failure);
}

fn selector(at: &At<'_>, check: CheckExpression<'_>, errors: &mut Errors) -> StageSelector {
    let labels =
        at.field("selector")
            .and_then(|at| match LabelSelector::from_value(at.value, &at.path) {
                Ok(selector) if selector.nothing => {
                    at.wrong(
                        errors,
                        "selects nothing: the stage could never have members",
                    );
                    None
                }
                Ok(selector) => Some(selector),
                Err(wrong) => {
                    errors.extend(wrong);
                    None
                }
            });
    let expression = expression(at, "expression", Site::Stage, check, errors);
    StageSelector { labels, expression }
}

fn portion(at: &At<'_>, errors: &mut Errors) -> Portion {
    let percent = at.count("percentage", 1..=100, "must be 1 to 100", errors);
    let count = at.count(
        "count",
        1..=u32::MAX,
        "must be at least 1: a stage of none does nothing",
        errors,
    );
    match (percent, count) {
        (Some(_), Some(_)) => {
            errors.push(FieldError::forbidden(
                format!("{}.count", at.path),
                "a stage has a percentage or a count, not both",
            ));
            Portion::All
        }
        (Some(percent), None) => Portion::Percent(percent as u8),
        (None, Some(count)) => Portion::Count(count),
        (None, None) => Portion::All,
    }
}

fn release(spec: &At<'_>, errors: &mut Errors) -> Release {
    let revision = spec.text("releaseRevision", errors);
    let words = [("Automatic", false), ("Manual", true)];
    if spec.word("release", &words, errors) == Some(true) {
        return Release::Manual(revision.filter(|r| !r.is_empty()));
    }
    if revision.is_some_and(|r| !r.is_empty()) {
        errors.push(FieldError::forbidden(
            format!("{}.releaseRevision", spec.path),
            "has a meaning only with release: Manual",
        ));
    }
    Release::Automatic
}

fn expression(
    at: &At<'_>,
    field: &str,
    site: Site,
    check: CheckExpression<'_>,
    errors: &mut Errors,
) -> Option<String> {
    let source = at.text(field, errors)?;
    match check(site, &source) {
        Ok(()) => Some(source),
        Err(why) => {
            errors.push(FieldError::invalid(
                format!("{}.{field}", at.path),
                source,
                why,
            ));
            None
        }
    }
}

fn gates(at: &At<'_>, field: &str, check: CheckExpression<'_>, errors: &mut Errors) -> Vec<Gate> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for at in at.items(field, errors) {
        if !at.object(errors) {
            continue;
        }
        let name = at.text("name", errors).unwrap_or_default();
        if name.is_empty() {
            errors.push(FieldError::required(
                format!("{}.name", at.path),
                "a gate needs a name",
            ));
        } else if !seen.insert(name.clone()) {
            errors.push(FieldError::duplicate(
                format!("{}.name", at.path),
                name.clone(),
            ));
        }
        if let Some(kind) = gate_kind(&at, check, errors) {
            found.push(Gate { name, kind });
        }
    }
    found
}

fn gate_kind(at: &At<'_>, check: CheckExpression<'_>, errors: &mut Errors) -> Option<GateKind> {
    let kinds = ["approval", "expression", "webhook", "window"];
    let present: Vec<At<'_>> = kinds.iter().filter_map(|kind| at.field(kind)).collect();
    let [gate] = &present[..] else {
        at.wrong(
            errors,
            "must have exactly one of approval, expression, webhook and window",
        );
        return None;
    };
    if !gate.object(errors) {
        return None;
    }
    match gate.path.rsplit('.').next() {
        Some("approval") => Some(GateKind::Approval {
            groups: gate.texts("groups", errors),
        }),
        Some("expression") => {
            let every = gate.duration("every", SECOND, errors);
            if gate.field("expression").is_none() {
                let path = format!("{}.expression", gate.path);
                errors.push(FieldError::required(path, "what must be true"));
            }
            let source = expression(gate, "expression", Site::Gate, check, errors)?;
            Some(GateKind::Expression {
                source,
                every: every.unwrap_or(DEFAULT_EVERY),
            })
        }
        Some("webhook") => webhook(gate, errors),
        _ => window(gate, errors).map(GateKind::Window),
    }
}

fn webhook(at: &At<'_>, errors: &mut Errors) -> Option<GateKind> {
    let url = at.text("url", errors).unwrap_or_default();
    let host = url.strip_prefix("https://");
    if host.is_none_or(|rest| {
        rest.is_empty() || rest.starts_with('/') || rest.contains(char::is_whitespace)
    }) {
        errors.push(FieldError::invalid(
            format!("{}.url", at.path),
            url.clone(),
            "must be an https URL",
        ));
    }
    let timeout = at.count("timeoutSeconds", 1..=30, "must be 1 to 30", errors);
    let every = at.duration("every", SECOND, errors);
    let words = [("Wait", false), ("Abort", true)];
    let abort_on_failure = at.word("failurePolicy", &words, errors).unwrap_or(false);
    Some(GateKind::Webhook(Webhook {
        url,
        ca_bundle: at.text("caBundle", errors),
        timeout: timeout.map_or(DEFAULT_TIMEOUT, |s| Duration::from_secs(u64::from(s))),
        every: every.unwrap_or(DEFAULT_EVERY),
        abort_on_failure,
    }))
}

fn rate(at: &At<'_>, errors: &mut Errors) -> Option<Rate> {
    if !at.object(errors) {
        return None;
    }
    let base = at.count("basePerMinute", 1..=u32::MAX, STUCK, errors);
    if at.field("basePerMinute").is_none() {
        let path = format!("{}.basePerMinute", at.path);
        errors.push(FieldError::required(path, "the pace at the start"));
    }
    let max = at.count("max", 1..=u32::MAX, STUCK, errors);
    let mut factor = 1.0;
    if let Some(field) = at.field("incrementFactor") {
        match field.value.as_f64() {
            Some(f) if (1.0..=10.0).contains(&f) => factor = f,
            _ => field.wrong(errors, "must be 1 to 10"),
        }
    }
    if let (Some(base), Some(max)) = (base, max)
        && max < base
    {
        errors.push(FieldError::invalid(
            format!("{}.max", at.path),
            max,
            "must not be less than basePerMinute",
        ));
    }
    Some(Rate {
        base_per_minute: base?,
        factor,
        max,
    })
}

fn abort(at: &At<'_>, errors: &mut Errors) -> Option<Abort> {
    if !at.object(errors) {
        return None;
    }
    let why = "must be 1 to 100: with 0 every rollout would be given up";
    let share = at.count("failureShare", 1..=100, why, errors);
    if at.field("failureShare").is_none() {
        let path = format!("{}.failureShare", at.path);
        errors.push(FieldError::required(
            path,
            "the percentage of failures at which to give up",
        ));
    }
    let min = at.count("minObserved", 0..=u32::MAX, "must not be negative", errors);
    Some(Abort {
        failure_share: share? as u8,
        min_observed: min.unwrap_or(0).max(1),
    })
}

fn health(at: &At<'_>, check: CheckExpression<'_>, errors: &mut Errors) -> Option<HealthRule> {
    if !at.object(errors) {
        return None;
    }
    if at.field("expression").is_none() {
        let path = format!("{}.expression", at.path);
        errors.push(FieldError::required(
            path,
            "what must be true of a healthy copy",
        ));
    }
    Some(HealthRule {
        group: at.text("group", errors),
        resource: at.text("resource", errors),
        expression: expression(at, "expression", Site::Healthy, check, errors)?,
    })
}
