//! Changes as people read them: classes of destinations whose copies change the same way, with counts and a few names.

use atoll_placement::render::compare::{Change, Comparison};
use atoll_placement::{Destination, Destinations};
use serde_json::{Value, json};

use crate::model::World;

/// How many destinations of a class are named.
const MOST_NAMED: usize = 5;

/// Whether a class says for whom it is.
#[derive(Clone, Copy)]
pub(in crate::reading) enum Naming<'w> {
    /// How many, and some of them by name.
    Examples(&'w World),
    /// It is the same for everybody.
    Nobody,
}

/// How many destinations, and some of them by name.
pub(in crate::reading) fn whom(world: &World, set: &Destinations) -> Value {
    let examples: Vec<String> = set
        .iter()
        .take(MOST_NAMED)
        .map(|d| world.name_of(Destination(d)))
        .collect();
    json!({"count": set.len(), "examples": examples})
}

/// A change in words and fields.
pub(in crate::reading) fn change(change: &Change) -> Value {
    match change {
        Change::Removed => json!({"change": "Removed"}),
        Change::Added => json!({"change": "Added"}),
        Change::AddedFails(error) => {
            json!({"change": "AddedFails", "message": error.to_string()})
        }
        Change::Changed(differences) => {
            let read = |text: &Option<String>| -> Value {
                let text = text.as_deref();
                text.and_then(|t| serde_json::from_str(t).ok())
                    .unwrap_or_default()
            };
            let fields = differences.iter().map(|d| {
                let mut field = json!({"path": d.path});
                if d.old.is_some() {
                    field["old"] = read(&d.old);
                }
                if d.new.is_some() {
                    field["new"] = read(&d.new);
                }
                field
            });
            json!({"change": "Changed", "differences": fields.collect::<Vec<_>>()})
        }
        Change::Handling => json!({"change": "Handling"}),
        Change::Fails(error) => json!({"change": "Fails", "message": error.to_string()}),
        Change::Recovers => json!({"change": "Recovers"}),
        Change::StillFails(error) => {
            json!({"change": "StillFails", "message": error.to_string()})
        }
        Change::Same => json!({"change": "Same"}),
    }
}

/// The classes of a comparison in which anything changes.
pub(in crate::reading) fn show(found: &Comparison, naming: Naming<'_>) -> Vec<Value> {
    let changing = found.classes.iter().filter(|c| c.change != Change::Same);
    let mut shown: Vec<Value> = changing
        .map(|class| {
            let mut told = change(&class.change);
            if let Naming::Examples(world) = naming {
                told["destinations"] = whom(world, &class.destinations);
            }
            told
        })
        .collect();
    if !found.beyond.is_empty() {
        let mut told = json!({"change": "NotLookedAt", "message": "every copy is different, and not all were made"});
        if let Naming::Examples(world) = naming {
            told["destinations"] = whom(world, &found.beyond);
        }
        shown.push(told);
    }
    shown
}
