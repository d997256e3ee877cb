//! What would change: two states of one object's copies, as classes of destinations whose copies change the same way.
//!
//! Classes of equal input are rendered once on each side. Copies that differ everywhere, but change in the same places, are
//! one class. The result is exact as far as it goes: destinations beyond the limit of renders are counted apart, not guessed.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::Destinations;
use crate::bundle::Rendered;

use super::renderer::{Around, RenderError, Renderer};

/// One side of a comparison: who has copies, or would, and how they look.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    /// The renderer.
    pub renderer: &'a Renderer,
    /// What it looks at.
    pub around: Around<'a>,
    /// Who has copies.
    pub at: &'a Destinations,
}

/// A field that differs; `None` where it is not there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// The field.
    pub path: String,
    /// What was there, as JSON.
    pub old: Option<String>,
    /// What would be.
    pub new: Option<String>,
}

/// How copies change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// They go.
    Removed,
    /// They come.
    Added,
    /// They come, but can not be made.
    AddedFails(RenderError),
    /// These fields change.
    Changed(Vec<Difference>),
    /// Only how they are applied changes (what is the edge's, what may be replaced).
    Handling,
    /// They could be made and no longer can: the last good copy stays.
    Fails(RenderError),
    /// They could not be made and now can.
    Recovers,
    /// They could not be made, and can not.
    StillFails(RenderError),
    /// Nothing.
    Same,
}

/// Destinations whose copies change the same way.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeClass {
    /// How.
    pub change: Change,
    /// Who.
    pub destinations: Destinations,
}

/// All changes of one object's copies.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Comparison {
    /// Disjoint, in the order of [`Change`].
    pub classes: Vec<ChangeClass>,
    /// Who was not looked at, because everybody is different and the limit of renders was reached.
    pub beyond: Destinations,
}

/// The most differences named in one class; whether there are more is seen from the last, whose path is `…`.
const MAX_DIFFERENCES: usize = 100;

/// Compares two states of an object's copies, with at most about `limit` renders on each side.
pub fn compare(old: Option<Side<'_>>, new: Option<Side<'_>>, limit: usize) -> Comparison {
    let nobody = Destinations::new();
    let (before, after) = (
        old.map_or(&nobody, |side| side.at),
        new.map_or(&nobody, |side| side.at),
    );
    let mut changes = Changes::default();
    changes.add(Change::Removed, before - after);
    if let Some(new) = new {
        let (classes, beyond) = new
            .renderer
            .classes_up_to(&(after - before), new.around, limit);
        changes.beyond |= beyond;
        for class in classes {
            let change = match new.renderer.render(&class.input) {
                Ok(_) => Change::Added,
                Err(error) => Change::AddedFails(error),
            };
            changes.add(change, class.destinations);
        }
    }
    if let (Some(old), Some(new)) = (old, new) {
        changes.both(old, new, &(before & after), limit);
    }
    changes.done()
}

#[derive(Default)]
struct Changes {
    classes: BTreeMap<Change, Destinations>,
    beyond: Destinations,
}

impl Changes {
    fn add(&mut self, change: Change, destinations: Destinations) {
        if !destinations.is_empty() {
            *self.classes.entry(change).or_default() |= destinations;
        }
    }

    fn both(&mut self, old: Side<'_>, new: Side<'_>, at: &Destinations, limit: usize) {
        if let (Some(a), Some(b)) = (old.renderer.uniform(), new.renderer.uniform()) {
            self.add(
                difference(&Ok(a.as_ref().clone()), &Ok(b.as_ref().clone())),
                at.clone(),
            );
            return;
        }
        let (classes, beyond) = old.renderer.classes_up_to(at, old.around, limit);
        self.beyond |= beyond;
        let mut left = limit;
        for class in classes {
            let was = old.renderer.render(&class.input);
            let (inner, beyond) = new
                .renderer
                .classes_up_to(&class.destinations, new.around, left);
            self.beyond |= beyond;
            left -= inner.len().min(left);
            for part in inner {
                let is = new.renderer.render(&part.input);
                self.add(difference(&was, &is), part.destinations);
            }
        }
    }

    fn done(self) -> Comparison {
        Comparison {
            classes: self
                .classes
                .into_iter()
                .map(|(change, destinations)| ChangeClass {
                    change,
                    destinations,
                })
                .collect(),
            beyond: self.beyond,
        }
    }
}

fn difference(old: &Result<Rendered, RenderError>, new: &Result<Rendered, RenderError>) -> Change {
    match (old, new) {
        (Ok(a), Ok(b)) if a == b => Change::Same,
        (Ok(a), Ok(b)) if a.body == b.body => Change::Handling,
        (Ok(a), Ok(b)) => {
            let read = |r: &Rendered| serde_json::from_slice::<Value>(&r.body).unwrap_or_default();
            Change::Changed(differences(&read(a), &read(b)))
        }
        (Ok(_), Err(error)) => Change::Fails(error.clone()),
        (Err(_), Ok(_)) => Change::Recovers,
        (Err(_), Err(error)) => Change::StillFails(error.clone()),
    }
}

/// The fields in which two objects differ. Items of lists that have distinct names are matched by name.
pub fn differences(old: &Value, new: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    walk("", Some(old), Some(new), &mut found);
    if found.len() > MAX_DIFFERENCES {
        found.truncate(MAX_DIFFERENCES);
        found.push(Difference {
            path: "…".to_owned(),
            old: None,
            new: None,
        });
    }
    found
}

fn walk(path: &str, old: Option<&Value>, new: Option<&Value>, found: &mut Vec<Difference>) {
    if old == new || found.len() > MAX_DIFFERENCES {
        return;
    }
    match (old, new) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let names: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for name in names {
                let path = if name.contains(['.', '/', '[']) {
                    atoll_kube::status::key(path, name)
                } else {
                    atoll_kube::status::child(path, name)
                };
                walk(&path, a.get(name), b.get(name), found);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => match (by_name(a), by_name(b)) {
            (Some(a), Some(b)) if a.keys().eq(b.keys()) || !a.is_empty() && !b.is_empty() => {
                let names: std::collections::BTreeSet<&&str> = a.keys().chain(b.keys()).collect();
                for name in names {
                    let path = format!("{path}[name={name}]");
                    walk(&path, a.get(*name).copied(), b.get(*name).copied(), found);
                }
                // Only the order may differ.
                if found.is_empty() {
                    push(path, old, new, found);
                }
            }
            _ => {
                for at in 0..a.len().max(b.len()) {
                    let path = atoll_kube::status::index(path, at);
                    walk(&path, a.get(at), b.get(at), found);
                }
            }
        },
        _ => push(path, old, new, found),
    }
}

fn push(path: &str, old: Option<&Value>, new: Option<&Value>, found: &mut Vec<Difference>) {
    found.push(Difference {
        path: path.to_owned(),
        old: old.map(Value::to_string),
        new: new.map(Value::to_string),
    });
}

fn by_name(items: &[Value]) -> Option<BTreeMap<&str, &Value>> {
    let mut found = BTreeMap::new();
    for item in items {
        let name = item.get("name").and_then(Value::as_str)?;
        if found.insert(name, item).is_some() {
            return None;
        }
    }
    Some(found)
}
