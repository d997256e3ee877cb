//! DisruptionBudget.spec, and the parts that it shares with RolloutPolicy.spec.

use std::time::Duration;

use atoll_kube::names;
use atoll_kube::selector::LabelSelector;
use atoll_kube::status::FieldError;
use serde_json::Value;

use super::read::{At, Errors};
use super::{DisruptionBudget, GroupBudget, Window};

impl DisruptionBudget {
    /// Parses `spec`. All that is wrong is reported, each with its path.
    pub fn parse(spec: &Value) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        let spec = At::new(spec, "spec");
        if !spec.object(&mut errors) {
            return Err(errors);
        }
        let selector = match spec.field("selector") {
            None => LabelSelector::everything(),
            Some(at) => match LabelSelector::from_value(at.value, &at.path) {
                Ok(selector) => selector,
                Err(wrong) => {
                    errors.extend(wrong);
                    LabelSelector::everything()
                }
            },
        };
        let budget = group_budget(&spec, &mut errors);
        let mut windows = Vec::new();
        for item in spec.items("windows", &mut errors) {
            if item.object(&mut errors) {
                windows.extend(window(&item, &mut errors));
            }
        }
        match budget {
            Some(budget) if errors.is_empty() => Ok(Self {
                selector,
                budget,
                windows,
            }),
            _ => Err(errors),
        }
    }
}

pub(super) fn group_budget(at: &At<'_>, errors: &mut Errors) -> Option<GroupBudget> {
    if !at.object(errors) {
        return None;
    }
    let group_by = at.texts("groupBy", errors);
    for (i, key) in group_by.iter().enumerate() {
        let path = format!("{}.groupBy[{i}]", at.path);
        if names::is_qualified_name(key).is_err() {
            errors.push(FieldError::invalid(
                path,
                key.clone(),
                "must be a label's key",
            ));
        } else if group_by[..i].contains(key) {
            errors.push(FieldError::duplicate(path, key.clone()));
        }
    }
    if at.field("maxUnavailable").is_none() {
        errors.push(FieldError::required(
            format!("{}.maxUnavailable", at.path),
            "how many of a group may be unavailable at a time",
        ));
    }
    let why = "0 would let nothing change, ever; to allow changes at some times only, use windows";
    Some(GroupBudget {
        group_by,
        max_unavailable: at.amount("maxUnavailable", Some(why), errors)?,
    })
}

pub(super) fn window(at: &At<'_>, errors: &mut Errors) -> Option<Window> {
    let schedule = at.text("schedule", errors);
    let duration = at.duration("duration", Duration::from_secs(60), errors);
    let zone = at.text("timeZone", errors);
    for (field, what) in [
        ("schedule", "when it opens, as cron writes it"),
        ("duration", "how long it is open"),
    ] {
        if at.field(field).is_none() {
            errors.push(FieldError::required(format!("{}.{field}", at.path), what));
        }
    }
    match Window::new(&schedule?, duration?, zone.as_deref()) {
        Ok(window) => Some(window),
        Err((field, why)) => {
            let value = at.value.get(field).cloned().unwrap_or_default();
            errors.push(FieldError::invalid(
                format!("{}.{field}", at.path),
                value,
                why,
            ));
            None
        }
    }
}
