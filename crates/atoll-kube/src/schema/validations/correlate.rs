//! Which old value a new one grew out of, and whether it is still the same: what ratcheting forgives by.
//!
//! Correlated are fields of one name, entries of one key, and items of a list that is a map. What the schema does not describe has no past.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::values;

/// A new value, what it was, and the schema of both.
#[derive(Clone, Copy)]
pub(super) struct Pair<'a> {
    schema: &'a Value,
    new: &'a Value,
    old: &'a Value,
}

/// The place of a value in its object's past.
#[derive(Clone, Copy, Default)]
pub(super) struct Past<'a> {
    /// The value itself, where it can be found in the old object.
    current: Option<Pair<'a>>,
    /// The nearest value above it that can.
    above: Option<Pair<'a>>,
}

/// Whether values are what they were, each compared once.
#[derive(Default)]
pub(super) struct Comparisons {
    known: HashMap<*const Value, bool>,
}

impl<'a> Past<'a> {
    /// The past of a whole object; `None` when it is new.
    pub(super) fn of(schema: &'a Value, new: &'a Value, old: Option<&'a Value>) -> Self {
        Self {
            current: old.map(|old| Pair { schema, new, old }),
            above: None,
        }
    }

    /// The past of a field or entry.
    pub(super) fn key(self, name: &str) -> Self {
        match self.current {
            None => self,
            // Both are shown at one version: what they say of it says nothing.
            Some(_) if self.above.is_none() && matches!(name, "apiVersion" | "kind") => {
                Self::default()
            }
            Some(pair) => Self {
                current: pair.key(name),
                above: Some(pair),
            },
        }
    }

    /// The past of an item.
    pub(super) fn index(self, item: &'a Value) -> Self {
        match self.current {
            None => self,
            Some(pair) => Self {
                current: pair.item(item),
                above: Some(pair),
            },
        }
    }

    /// Whether a fault here was there before.
    pub(super) fn unchanged(self, comparisons: &mut Comparisons) -> bool {
        let pair = self.current.or(self.above);
        pair.is_some_and(|pair| comparisons.same(pair))
    }
}

impl<'a> Pair<'a> {
    fn key(self, name: &str) -> Option<Self> {
        let (new, old) = (
            self.new.as_object()?.get(name)?,
            self.old.as_object()?.get(name)?,
        );
        let properties = self.schema.get("properties").and_then(Value::as_object);
        let schema = properties
            .and_then(|p| p.get(name))
            .or_else(|| values(self.schema))?;
        Some(Self { schema, new, old })
    }

    fn item(self, new: &'a Value) -> Option<Self> {
        let keys = map_keys(self.schema)?;
        Some(Self {
            schema: self.schema.get("items")?,
            new,
            old: find(self.old, &keys, new)?,
        })
    }
}

/// The keys of a list that is a map.
fn map_keys(schema: &Value) -> Option<Vec<&str>> {
    let is_map = schema.get("x-kubernetes-list-type").and_then(Value::as_str) == Some("map");
    let keys = schema.get("x-kubernetes-list-map-keys")?.as_array()?;
    is_map.then(|| keys.iter().filter_map(Value::as_str).collect())
}

fn find<'a>(list: &'a Value, keys: &[&str], wanted: &Value) -> Option<&'a Value> {
    let wanted = wanted.as_object()?;
    let fits = |item: &Map<String, Value>| keys.iter().all(|k| item.get(*k) == wanted.get(*k));
    list.as_array()?
        .iter()
        .find(|item| item.as_object().is_some_and(fits))
}

/// The item of an old list that an item of the new one was.
pub(super) fn old_item<'a>(
    schema: &Value,
    old: Option<&'a Value>,
    new: &Value,
) -> Option<&'a Value> {
    find(old?, &map_keys(schema)?, new)
}

impl Comparisons {
    fn same(&mut self, pair: Pair<'_>) -> bool {
        let at = std::ptr::from_ref(pair.new);
        if let Some(known) = self.known.get(&at) {
            return *known;
        }
        let same = self.compare(pair);
        self.known.insert(at, same);
        same
    }

    fn compare(&mut self, pair: Pair<'_>) -> bool {
        match (pair.new, pair.old) {
            (Value::Array(new), Value::Array(old)) => {
                if map_keys(pair.schema).is_none() {
                    return new == old;
                }
                new.len() == old.len()
                    && new
                        .iter()
                        .all(|item| pair.item(item).is_some_and(|p| self.same(p)))
            }
            (Value::Object(new), Value::Object(old)) => {
                new.len() == old.len()
                    && new
                        .keys()
                        .all(|name| pair.key(name).is_some_and(|p| self.same(p)))
            }
            (new, old) => new == old,
        }
    }
}
