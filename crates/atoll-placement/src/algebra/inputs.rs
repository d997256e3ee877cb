//! What goes in: projections of reported state, payload objects, and a view of the destinations.
//!
//! Always true: a projection's number is never given to other content, so that whatever was computed for it stays right for ever.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

use atoll_kube::Timestamp;
use serde_json::Value;

use crate::inventory::{Inventory, Labels};
use crate::{Destination, Destinations};

/// A projected status, interned: copies that report the same share it.
#[derive(Debug, PartialEq, Eq)]
pub struct Projection {
    number: u64,
    text: Arc<str>,
}

impl Projection {
    /// What tells it from every other one that this process has had.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The projected status as JSON; empty when the copy reported none.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn value(&self) -> Option<Value> {
        serde_json::from_str(&self.text).ok()
    }
}

/// The projections in use.
#[derive(Debug, Default)]
pub struct Projections {
    known: HashMap<Arc<str>, Weak<Projection>>,
    next: u64,
    sweep_at: usize,
}

impl Projections {
    /// None in use.
    pub fn new() -> Self {
        Self::default()
    }

    /// The projection with this text.
    pub fn intern(&mut self, text: &str) -> Arc<Projection> {
        if let Some(known) = self.known.get(text).and_then(Weak::upgrade) {
            return known;
        }
        if self.known.len() >= self.sweep_at {
            self.known
                .retain(|_, projection| projection.strong_count() > 0);
            self.sweep_at = (self.known.len() * 2).max(1024);
        }
        let text: Arc<str> = text.into();
        let projection = Arc::new(Projection {
            number: self.next,
            text: text.clone(),
        });
        self.next += 1;
        self.known.insert(text, Arc::downgrade(&projection));
        projection
    }

    /// How many are in use.
    pub fn len(&self) -> usize {
        self.known.values().filter(|p| p.strong_count() > 0).count()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What one copy, or many equal ones, reported.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample<'a> {
    /// The projected status.
    pub projection: &'a Projection,
    /// When it was reported, if that is known. Read only by collectors that ask for it.
    pub at: Option<Timestamp>,
}

impl<'a> Sample<'a> {
    /// A sample whose time nobody asks for.
    pub fn of(projection: &'a Projection) -> Self {
        Sample {
            projection,
            at: None,
        }
    }
}

/// What collectors may ask about destinations.
pub trait Roster {
    /// Its name.
    fn name(&self, destination: Destination) -> Cow<'_, str>;
    /// One of its labels.
    fn label(&self, destination: Destination, key: &str) -> Option<Cow<'_, str>>;
    /// All of its labels.
    fn labels(&self, destination: Destination) -> Labels;
    /// How many destinations there are.
    fn len(&self) -> usize;
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Every destination, in the order of names.
    fn by_name(&self) -> Box<dyn Iterator<Item = Destination> + '_>;
    /// A set divided by the value of a label, when that is cheaper than asking for each (see [`Inventory::divide`]).
    fn divide(
        &self,
        set: &Destinations,
        key: &str,
    ) -> Option<Vec<(Option<Arc<str>>, Destinations)>> {
        let _ = (set, key);
        None
    }
}

/// A payload object as expressions see it: without its status.
#[derive(Debug, Clone)]
pub struct Subject {
    pub(crate) object: Arc<Value>,
}

impl Subject {
    /// An object; its status is left out.
    pub fn new(mut object: Value) -> Self {
        if let Value::Object(map) = &mut object {
            map.remove("status");
        }
        Subject {
            object: Arc::new(object),
        }
    }
}

/// A roster that is plain data.
#[derive(Debug, Default)]
pub struct PlainRoster {
    entries: HashMap<u32, (String, Labels)>,
    order: std::collections::BTreeSet<(String, u32)>,
    index: Inventory,
}

impl PlainRoster {
    /// Nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a destination, or changes its labels; its labels before are returned.
    pub fn set(&mut self, destination: Destination, name: &str, labels: Labels) -> Option<Labels> {
        let old = self.remove(destination);
        self.index.set(destination, &labels, true);
        self.order.insert((name.to_owned(), destination.0));
        self.entries
            .insert(destination.0, (name.to_owned(), labels));
        old
    }

    /// Takes a destination out.
    pub fn remove(&mut self, destination: Destination) -> Option<Labels> {
        let (name, labels) = self.entries.remove(&destination.0)?;
        self.index.remove(destination);
        self.order.remove(&(name, destination.0));
        Some(labels)
    }
}

impl Roster for PlainRoster {
    fn name(&self, destination: Destination) -> Cow<'_, str> {
        let entry = self.entries.get(&destination.0);
        entry.map_or(Cow::Borrowed(""), |(name, _)| Cow::Borrowed(name))
    }

    fn label(&self, destination: Destination, key: &str) -> Option<Cow<'_, str>> {
        let (_, labels) = self.entries.get(&destination.0)?;
        labels.get(key).map(|value| Cow::Borrowed(value.as_str()))
    }

    fn labels(&self, destination: Destination) -> Labels {
        let entry = self.entries.get(&destination.0);
        entry.map(|(_, labels)| labels.clone()).unwrap_or_default()
    }

    fn len(&self) -> usize {
        self.entries.len()
    }

    fn by_name(&self) -> Box<dyn Iterator<Item = Destination> + '_> {
        Box::new(self.order.iter().map(|(_, index)| Destination(*index)))
    }

    fn divide(
        &self,
        set: &Destinations,
        key: &str,
    ) -> Option<Vec<(Option<Arc<str>>, Destinations)>> {
        self.index.divide(set, key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_one_projection_and_numbers_are_not_reused() {
        let mut projections = Projections::new();
        let one = projections.intern("{}");
        assert!(Arc::ptr_eq(&one, &projections.intern("{}")));
        let number = one.number();
        drop(one);
        assert!(projections.is_empty());
        for i in 0..5000 {
            projections.intern(&i.to_string());
        }
        assert!(projections.known.len() < 3000, "what is not used goes");
        assert!(projections.intern("{}").number() > number);
    }
}
