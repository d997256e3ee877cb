//! Who owns which field after a write: the rules of server-side apply, on parsed entries.
//!
//! A plain update takes what it changes from everybody. An apply owns exactly what it names, may not change what others
//! own (unless forced), and removes what it named before and nobody owns now.

use serde_json::Value;

use super::conflict::Conflicts;
use super::entries::{Entries, Entry};
use super::fieldset::Set;
use super::typed::{
    Comparison, Hollow, collapse_atomics, compare, fields, merge_into, remove, with_named_parents,
};
use super::typing::Type;

/// What a kind's fields are, and which of them the write at hand does not touch.
#[derive(Clone, Copy)]
pub(crate) struct Rules<'a> {
    pub(crate) ty: Type<'a>,
    /// Not compared, with everything below: what the write resets, and what nobody owns.
    pub(crate) skip: &'a Set,
    /// What the write resets.
    pub(crate) resets: &'a Set,
    /// Fields that nobody owns.
    pub(crate) untracked: &'a Set,
}

/// Records a plain update: `who` now owns what changed, nobody else does.
///
/// `who` says the manager, and the time it gets if it changed anything.
pub(crate) fn record_update(
    entries: &mut Entries,
    changes: Comparison,
    who: Entry,
    rules: Rules<'_>,
) {
    adapt(entries, rules.ty);
    let Comparison {
        removed,
        modified,
        added,
    } = changes;
    let mut changed = modified.union(added);
    for entry in &mut entries.0 {
        entry.fields.subtract(&changed);
        entry.fields.subtract(&removed);
    }
    changed.subtract(rules.untracked);
    if !changed.is_empty() {
        let before = entries.take(&who).map(|e| e.fields).unwrap_or_default();
        entries.0.push(Entry {
            fields: changed.union(before),
            ..who
        });
    }
    entries.0.retain(|e| !e.fields.is_empty());
    entries.cap();
}

/// What an apply leads to.
pub(crate) struct Applied {
    pub(crate) object: Value,
    pub(crate) entries: Entries,
}

/// Applies `config` to `live` as `who`, whose time it gets if the object changed.
pub(crate) fn apply(
    live: &Value,
    config: &Value,
    mut entries: Entries,
    who: &Entry,
    force: bool,
    rules: Rules<'_>,
) -> Result<Applied, Conflicts> {
    let ty = rules.ty;
    adapt(&mut entries, ty);
    let mut object = live.clone();
    merge_into(ty, &mut object, config);

    let mut mine = fields(ty, config);
    mine.subtract_recursively(rules.resets);
    let last = entries.take(who);
    if let Some(last) = &last {
        prune(
            ty,
            &mut object,
            &last.fields,
            &mine,
            &entries,
            rules.untracked,
        );
    }

    let Comparison {
        removed,
        modified,
        added,
    } = compare(ty, live, &object, rules.skip);
    let changed = modified.union(added);
    if !force {
        let conflicts = entries.0.iter().filter(|e| e.fields.intersects(&changed));
        let conflicts: Vec<_> = conflicts
            .map(|e| (e.clone(), e.fields.intersection(&changed)))
            .collect();
        if !conflicts.is_empty() {
            return Err(Conflicts(conflicts));
        }
    }
    for entry in &mut entries.0 {
        entry.fields.subtract(&changed);
        entry.fields.subtract(&removed);
    }
    mine.subtract(rules.untracked);
    let time = if *live == object {
        last.and_then(|e| e.time)
    } else {
        who.time.clone()
    };
    entries.0.push(Entry {
        fields: mine,
        time,
        ..who.clone()
    });
    entries.0.retain(|e| !e.fields.is_empty());
    if ty.is_native() {
        drop_nulls(&mut object);
    }
    Ok(Applied { object, entries })
}

/// Adapts recorded sets to the schema as it is now.
fn adapt(entries: &mut Entries, ty: Type<'_>) {
    for entry in &mut entries.0 {
        collapse_atomics(&mut entry.fields, ty);
    }
}

/// Removes from `merged` what the applier named last time (`last`) and nobody owns now.
///
/// Three steps, because a removed list item or struct takes along what is below it: everything named last time is taken
/// out; what somebody owns comes back; what nobody ever owned but stood below something that went comes back unless its
/// own place was named last time.
fn prune(
    ty: Type<'_>,
    merged: &mut Value,
    last: &Set,
    mine: &Set,
    others: &Entries,
    untracked: &Set,
) {
    let owned = others
        .0
        .iter()
        .fold(mine.clone(), |set, e| set.union(e.fields.clone()));
    let mut lost = last.clone();
    lost.subtract(&owned);
    if lost.is_empty() {
        return;
    }
    let present = |value: &Value| with_named_parents(fields(ty, value), ty);
    let last = with_named_parents(last.clone(), ty);
    let owned = with_named_parents(owned, ty).union(untracked.clone());
    let all = present(merged);

    let mut pruned = merged.clone();
    remove(ty, &mut pruned, &last, Hollow::Null);
    let mut unowned = all.clone();
    unowned.subtract(&present(&pruned));
    unowned.subtract(&owned);

    let mut pruned = merged.clone();
    remove(ty, &mut pruned, &unowned, Hollow::Null);
    let mut gone = all;
    gone.subtract(&present(&pruned));
    // Objects of built-in kinds have no nulls: what became empty goes when they are written.
    let hollow = if ty.is_native() {
        Hollow::Null
    } else {
        Hollow::Empty
    };
    remove(ty, merged, &gone.intersection(&last), hollow);
}

/// Removes the fields that are null.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}
