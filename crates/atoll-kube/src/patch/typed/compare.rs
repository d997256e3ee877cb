//! The difference of two objects as three sets of fields.
//!
//! On the path of every write. Nothing is allocated for parts that are equal, and sets are built from the bottom up, in
//! order, without searching.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::patch::fieldset::{Node, Set};
use crate::patch::order::same;
use crate::patch::path::PathElement;
use crate::patch::typing::{Atom, Type};

/// What differs between an old and a new object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Comparison {
    /// Fields only the old object has.
    pub(crate) removed: Set,
    /// Leaves both have with different values.
    pub(crate) modified: Set,
    /// Fields only the new object has.
    pub(crate) added: Set,
}

impl Comparison {
    /// Whether nothing differs.
    pub(crate) fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.modified.is_empty() && self.added.is_empty()
    }
}

/// Compares two objects of type `ty`. What is in `skip` is not looked at, with everything below it.
pub(crate) fn compare(ty: Type<'_>, old: &Value, new: &Value, skip: &Set) -> Comparison {
    let delta = both(ty, old, new, Some(skip));
    let set = |place: Place| Set::from_sorted(place.nodes);
    Comparison {
        removed: set(delta.removed),
        modified: set(delta.modified),
        added: set(delta.added),
    }
}

/// A place that may itself be in a set, with the parts of it that are.
#[derive(Default)]
struct Place {
    member: bool,
    nodes: Vec<Node>,
}

impl Place {
    const LEAF: Self = Self {
        member: true,
        nodes: Vec::new(),
    };

    fn is_empty(&self) -> bool {
        !self.member && self.nodes.is_empty()
    }

    fn push(&mut self, element: PathElement, below: Self) {
        self.nodes.push(Node {
            element,
            member: below.member,
            children: Set::from_sorted(below.nodes),
        });
    }

    fn sorted(mut self) -> Self {
        self.nodes = std::mem::take(Set::from_unsorted(self.nodes).nodes_mut());
        self
    }
}

#[derive(Default)]
struct Delta {
    removed: Place,
    modified: Place,
    added: Place,
}

impl Delta {
    /// Takes over what differs below one step. The step is only made when it is needed.
    fn push(&mut self, element: impl FnOnce() -> PathElement, below: Self) {
        let Self {
            removed,
            modified,
            added,
        } = below;
        match (removed.is_empty(), modified.is_empty(), added.is_empty()) {
            (true, true, true) => {}
            (true, true, false) => self.added.push(element(), added),
            (true, false, true) => self.modified.push(element(), modified),
            (false, true, true) => self.removed.push(element(), removed),
            _ => {
                let element = element();
                for (mine, place) in [
                    (&mut self.removed, removed),
                    (&mut self.modified, modified),
                    (&mut self.added, added),
                ] {
                    if !place.is_empty() {
                        mine.push(element.clone(), place);
                    }
                }
            }
        }
    }

    fn sorted(self) -> Self {
        Self {
            removed: self.removed.sorted(),
            modified: self.modified.sorted(),
            added: self.added.sorted(),
        }
    }

    fn added(place: Place) -> Self {
        Self {
            added: place,
            ..Self::default()
        }
    }

    fn removed(place: Place) -> Self {
        Self {
            removed: place,
            ..Self::default()
        }
    }

    fn leaf(old: &Value, new: &Value) -> Self {
        let mut delta = Self::default();
        delta.modified.member = !same(old, new);
        delta
    }
}

/// The part of `skip` below a field, or `Err` if the field itself is skipped.
fn below<'s>(skip: Option<&'s Set>, name: &str) -> Result<Option<&'s Set>, ()> {
    match skip.and_then(|s| s.get_field(name)) {
        Some(node) if node.member => Err(()),
        Some(node) => Ok(Some(&node.children)),
        None => Ok(None),
    }
}

fn both(ty: Type<'_>, old: &Value, new: &Value, skip: Option<&Set>) -> Delta {
    let (old_atom, new_atom) = (ty.atom(old), ty.atom(new));
    if old_atom == new_atom {
        return as_atom(new_atom, ty, old, new, skip);
    }
    // A place that changed its kind: what the old kind had is gone, what the new kind has is new.
    let mut delta = as_atom(old_atom, ty, old, new, skip);
    let second = as_atom(new_atom, ty, old, new, skip);
    for (first, second) in [
        (&mut delta.removed, second.removed),
        (&mut delta.modified, second.modified),
        (&mut delta.added, second.added),
    ] {
        first.member |= second.member;
        first.nodes.extend(second.nodes);
    }
    delta.sorted()
}

fn as_atom(atom: Atom, ty: Type<'_>, old: &Value, new: &Value, skip: Option<&Set>) -> Delta {
    match atom {
        Atom::Scalar => Delta::leaf(old, new),
        Atom::List => lists(ty, old, new),
        Atom::Map => maps(ty, old, new, skip),
    }
}

fn maps(ty: Type<'_>, old: &Value, new: &Value, skip: Option<&Set>) -> Delta {
    static NOTHING: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
    let old_map = old.as_object().unwrap_or_else(|| &NOTHING);
    let new_map = new.as_object().unwrap_or_else(|| &NOTHING);
    if ty.map_is_leaf() || (old_map.is_empty() && new_map.is_empty()) {
        return Delta::leaf(old, new);
    }
    let mut delta = Delta::default();
    let mut olds = old_map.iter().peekable();
    let mut news = new_map.iter().peekable();
    loop {
        let (name, old, new) = match (olds.peek(), news.peek()) {
            (None, None) => break,
            (Some(&(name, old)), None) => (name, Some(old), None),
            (None, Some(&(name, new))) => (name, None, Some(new)),
            (Some(&(o, old)), Some(&(n, new))) => match o.cmp(n) {
                Ordering::Less => (o, Some(old), None),
                Ordering::Equal => (o, Some(old), Some(new)),
                Ordering::Greater => (n, None, Some(new)),
            },
        };
        if old.is_some() {
            olds.next();
        }
        if new.is_some() {
            news.next();
        }
        let Ok(skip) = below(skip, name) else {
            continue;
        };
        let field = ty.field_or_deduced(name);
        let absent = || ty.when_absent(name);
        let difference = match (old.or_else(absent), new.or_else(absent)) {
            (Some(old), Some(new)) => both(field, old, new, skip),
            (None, Some(new)) => Delta::added(everything(field, new, skip)),
            (Some(old), None) => Delta::removed(everything(field, old, skip)),
            (None, None) => continue,
        };
        delta.push(|| PathElement::field(name), difference);
    }
    delta
}

/// The items that have one step: usually one, several where a list has duplicates.
#[derive(Default)]
struct Twins<'v> {
    old: Vec<&'v Value>,
    new: Vec<&'v Value>,
}

fn lists(ty: Type<'_>, old: &Value, new: &Value) -> Delta {
    let old_items = old.as_array().map_or(&[][..], Vec::as_slice);
    let new_items = new.as_array().map_or(&[][..], Vec::as_slice);
    if old_items.is_empty() && new_items.is_empty() {
        return Delta::leaf(old, new);
    }
    if old_items == new_items {
        return Delta::default();
    }
    let (Some(old_steps), Some(new_steps)) = (ty.steps(old_items), ty.steps(new_items)) else {
        return Delta::leaf(old, new);
    };
    let mut twins: BTreeMap<PathElement, Twins<'_>> = BTreeMap::new();
    for (step, item) in old_steps.into_iter().zip(old_items) {
        twins.entry(step).or_default().old.push(item);
    }
    for (step, item) in new_steps.into_iter().zip(new_items) {
        twins.entry(step).or_default().new.push(item);
    }
    let item = ty.item();
    let mut delta = Delta::default();
    for (step, Twins { old, new }) in twins {
        let difference = match (old.as_slice(), new.as_slice()) {
            ([], []) => continue,
            ([old], [new]) => both(item, old, new, None),
            ([], [new]) => Delta::added(everything(item, new, None)),
            ([old], []) => Delta::removed(everything(item, old, None)),
            // Duplicates are one leaf together: they cannot be told apart.
            ([], _) => Delta::added(Place::LEAF),
            (_, []) => Delta::removed(Place::LEAF),
            ([old], _) => {
                let mut delta = Delta::removed(everything(item, old, None));
                delta.added.member = true;
                delta
            }
            (_, [new]) => {
                let mut delta = Delta::added(everything(item, new, None));
                delta.removed.member = true;
                delta
            }
            (old, new) => {
                let equal = old.len() == new.len() && old.iter().zip(new).all(|(o, n)| same(o, n));
                let mut delta = Delta::default();
                delta.modified.member = !equal;
                delta
            }
        };
        delta.push(|| step, difference);
    }
    delta
}

/// Every place of a value that appeared or went as a whole, the places between root and leaves included.
fn everything(ty: Type<'_>, value: &Value, skip: Option<&Set>) -> Place {
    let mut place = Place::LEAF;
    match (ty.atom(value), value) {
        (Atom::Map, Value::Object(map)) if !ty.map_is_leaf() => {
            place.nodes.reserve_exact(map.len());
            for (name, value) in map {
                if let Ok(skip) = below(skip, name) {
                    place.push(
                        PathElement::field(name),
                        everything(ty.field_or_deduced(name), value, skip),
                    );
                }
            }
        }
        (Atom::List, Value::Array(items)) => {
            let Some(steps) = ty.steps(items) else {
                return place;
            };
            let item = ty.item();
            let mut places = BTreeMap::new();
            for (step, value) in steps.into_iter().zip(items) {
                // Items of one step are one leaf together: they cannot be told apart.
                places
                    .entry(step)
                    .and_modify(|value| *value = None)
                    .or_insert(Some(value));
            }
            place.nodes.reserve_exact(places.len());
            for (step, value) in places {
                let below = value.map_or(Place::LEAF, |value| everything(item, value, None));
                place.push(step, below);
            }
        }
        _ => {}
    }
    place
}
