//! Merging an applied configuration into the live object: maps field by field, told-apart lists item by item in the
//! order of both, everything else replaced.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::patch::path::PathElement;
use crate::patch::typing::{Atom, Type};

/// Merges `config` into `live`. Where both have a leaf, the configuration's stands.
pub(crate) fn merge_into(ty: Type<'_>, live: &mut Value, config: &Value) {
    let atom = ty.atom(config);
    if atom != ty.atom(live) {
        *live = config.clone();
        return;
    }
    match (atom, live, config) {
        (Atom::Map, Value::Object(live), Value::Object(config)) if !ty.map_is_leaf() => {
            for (name, value) in config {
                match live.get_mut(name) {
                    Some(live) => merge_into(ty.field_or_deduced(name), live, value),
                    None => {
                        live.insert(name.clone(), value.clone());
                    }
                }
            }
        }
        (Atom::Map, Value::Object(live), Value::Null) if !ty.map_is_leaf() && !live.is_empty() => {}
        (Atom::List, live @ Value::Array(_), Value::Array(config)) => {
            let merged = match &*live {
                Value::Array(items) if !config.is_empty() => merge_lists(ty, items, config),
                Value::Array(items) if ty.steps(items).is_some() && !items.is_empty() => return,
                _ => None,
            };
            *live = Value::Array(merged.unwrap_or_else(|| config.clone()));
        }
        (Atom::List, Value::Array(live), Value::Null)
            if ty.steps(live).is_some() && !live.is_empty() => {}
        (_, live, config) => *live = config.clone(),
    }
}

/// Merges two lists of told-apart items, or `None` if they are one leaf.
///
/// Items of both keep the configuration's order; an item only the live list has stays before the next shared item that
/// it stood before.
fn merge_lists(ty: Type<'_>, live: &[Value], config: &[Value]) -> Option<Vec<Value>> {
    let (live_steps, config_steps) = (ty.steps(live)?, ty.steps(config)?);
    // Duplicates in the live list cannot be merged with anything: the configuration's item replaces them all.
    let mut in_live: BTreeMap<&PathElement, Option<&Value>> = BTreeMap::new();
    for (step, item) in live_steps.iter().zip(live) {
        in_live
            .entry(step)
            .and_modify(|v| *v = None)
            .or_insert(Some(item));
    }
    let in_config: BTreeSet<&PathElement> = config_steps.iter().collect();
    let mut shared = config_steps
        .iter()
        .filter(|step| in_live.contains_key(step));
    let mut next_shared = shared.next();

    let item = ty.item();
    let merge = |step: &PathElement, applied: &Value| match in_live.get(step).copied().flatten() {
        Some(live) => {
            let mut merged = live.clone();
            merge_into(item, &mut merged, applied);
            merged
        }
        None => applied.clone(),
    };
    let mut out = Vec::with_capacity(live.len().max(config.len()));
    let mut done: BTreeSet<&PathElement> = BTreeSet::new();
    let (mut l, mut c) = (0, 0);
    while l < live.len() || c < config.len() {
        if let (Some(step), Some(applied)) = (live_steps.get(l), config_steps.get(c)) {
            if step == applied {
                out.push(merge(step, &config[c]));
                done.insert(step);
                (l, c) = (l + 1, c + 1);
                next_shared = shared.next();
                continue;
            }
            if in_config.contains(step) && next_shared.is_some_and(|next| next != step) {
                l += 1; // comes later, where the configuration has it
                continue;
            }
        }
        if let Some(step) = live_steps.get(l) {
            if !in_config.contains(step) {
                out.push(live[l].clone());
                l += 1;
                continue;
            }
            if done.contains(step) {
                l += 1;
            }
        }
        if let Some(step) = config_steps.get(c) {
            out.push(merge(step, &config[c]));
            done.insert(step);
            c += 1;
            if next_shared == Some(step) {
                next_shared = shared.next();
            }
        }
    }
    Some(out)
}
