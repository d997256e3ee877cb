//! A BindingPolicy: what it says, its revisions, and who has which.
//!
//! Always true: a destination is at one revision of a policy at most; a revision never changes once it is cut; what a revision names can be served, because its bodies
//! were durable before it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use atoll_kube::Timestamp;
use atoll_placement::assign::{Ordinal, Transition};
use atoll_placement::bundle::{CopyFlags, RenderHash};
use atoll_placement::place::{Held, ObjectIndex};
use atoll_placement::policy::{Modulation, Policy};
use atoll_placement::render::Layer;
use atoll_placement::summary::Counts;
use atoll_placement::{Destination, Destinations};
use atoll_store::Revision;
use serde_json::Value;

use super::Content;
use crate::rollout::Controlled;

/// A policy's dense index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PolicyIndex(pub(crate) u32);

/// One object of a revision.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) flags: CopyFlags,
    pub(crate) content: Arc<Content>,
    /// Of flags and content together.
    pub(crate) render: RenderHash,
}

impl Entry {
    pub(crate) fn new(flags: CopyFlags, content: Arc<Content>) -> Self {
        let render = content.render(flags);
        Entry {
            flags,
            content,
            render,
        }
    }
}

/// Equal entries make equal copies, whenever they were read.
impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.flags == other.flags && self.render == other.render
    }
}

/// What a policy selected at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cut {
    pub(crate) entries: BTreeMap<ObjectIndex, Entry>,
    /// The keys of `entries`.
    pub(crate) objects: BTreeSet<ObjectIndex>,
    /// Some copies are not the same everywhere.
    pub(crate) varies: bool,
    /// The policy has a RolloutPolicy: what another policy wants newer of the same objects waits for this one.
    pub(crate) holds: bool,
    /// [`atoll_placement::bundle::content_hash`].
    pub(crate) content: String,
    /// When, in milliseconds.
    pub(crate) at: i64,
}

impl Cut {
    pub(crate) fn new(entries: BTreeMap<ObjectIndex, Entry>, content: String, at: i64) -> Self {
        Cut {
            objects: entries.keys().copied().collect(),
            varies: entries.values().any(|e| e.content.vary.is_some()),
            holds: false,
            entries,
            content,
            at,
        }
    }
}

impl Cut {
    /// The objects whose copies are not the same everywhere.
    pub(crate) fn varying(&self) -> impl Iterator<Item = ObjectIndex> {
        let varying = |(object, entry): (&ObjectIndex, &Entry)| {
            entry.content.vary.is_some().then_some(*object)
        };
        self.entries.iter().filter_map(varying)
    }

    /// The same revision of a policy that holds others back, or does not.
    pub(crate) fn holding(&self, holds: bool) -> Cut {
        Cut {
            holds,
            ..self.clone()
        }
    }

    /// The layers that shape its copies.
    pub(crate) fn layers(&self) -> Vec<Arc<Layer>> {
        let renderers = self
            .entries
            .values()
            .filter_map(|e| e.content.vary.as_ref());
        let layers = renderers.flat_map(|r| r.recipe().layers());
        layers.cloned().collect()
    }
}

/// A retained revision.
#[derive(Debug, Clone, Default)]
pub(crate) struct RevisionState {
    pub(crate) cut: Arc<Cut>,
    /// Who has it, or may have been sent it.
    pub(crate) assigned: Destinations,
}

/// A BindingPolicy.
#[derive(Debug, Clone)]
pub(crate) struct PolicyState {
    pub(crate) cluster: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) uid: Arc<str>,
    pub(crate) generation: i64,
    /// `metadata.creationTimestamp`.
    pub(crate) created: Value,
    /// Its spec, the last one that could be parsed.
    pub(crate) spec: Arc<Policy>,
    /// `spec` was read since the start: before that, nothing may be concluded from what it does not select.
    pub(crate) parsed: bool,
    /// What is wrong with the present spec or its surroundings.
    pub(crate) problems: Vec<String>,
    /// The inventory's logical cluster.
    pub(crate) inventory: Option<Arc<str>>,
    /// As its row has it.
    pub(crate) stored_inventory: Option<Arc<str>>,
    /// The object is gone; its copies are being removed.
    pub(crate) deleted: bool,
    /// What it selects now, with the joined modulation.
    pub(crate) selected: BTreeMap<ObjectIndex, Modulation>,
    /// Durable: the retained revisions.
    pub(crate) revisions: BTreeMap<Ordinal, RevisionState>,
    /// Everybody who has some revision.
    pub(crate) assigned: Destinations,
    /// Copies are kept when the policy goes: remembered, because a deleted policy cannot be asked.
    pub(crate) orphan: bool,
    pub(crate) held: Option<Held>,
    /// New placements wait for the inventory's consent.
    pub(crate) refused: bool,
    /// What it asks of destinations and cannot have.
    pub(crate) unsatisfied: Vec<String>,
    /// When it is to be decided again although nothing happens.
    pub(crate) wake: Option<Timestamp>,
    /// (when, copies, destinations) removed by change a short time ago.
    pub(crate) recent: VecDeque<(i64, u64, u64)>,
    /// How its copies stand, kept by [`super::World::recounted`].
    pub(crate) counts: Counts,
    /// The revision of the last change that anything computed from it can show.
    pub(crate) changed: Revision,
    /// The rollout engine says who has what; `None`: everybody has the newest revision at once.
    pub(crate) control: Option<Box<Controlled>>,
}

impl PolicyState {
    /// One that has placed nothing.
    pub(crate) fn new(id: (Arc<str>, Arc<str>), uid: &str, changed: Revision) -> Self {
        PolicyState {
            cluster: id.0,
            name: id.1,
            uid: uid.into(),
            // Not yet looked at: any generation is news.
            generation: -1,
            created: Value::Null,
            spec: Arc::default(),
            parsed: false,
            problems: Vec::new(),
            inventory: None,
            stored_inventory: None,
            deleted: false,
            selected: BTreeMap::new(),
            revisions: BTreeMap::new(),
            assigned: Destinations::new(),
            orphan: false,
            held: None,
            refused: false,
            unsatisfied: Vec::new(),
            wake: None,
            recent: VecDeque::new(),
            counts: Counts::default(),
            changed,
            control: None,
        }
    }

    /// The newest revision's ordinal; 0 before the first.
    pub(crate) fn ordinal(&self) -> Ordinal {
        self.revisions.keys().next_back().copied().unwrap_or(0)
    }

    /// The newest revision.
    pub(crate) fn newest(&self) -> Option<&RevisionState> {
        self.revisions.values().next_back()
    }

    /// The newest revision's entries.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&ObjectIndex, &Entry)> {
        self.newest().into_iter().flat_map(|r| r.cut.entries.iter())
    }

    /// The newest revision's entry for an object.
    pub(crate) fn entry(&self, object: ObjectIndex) -> Option<&Entry> {
        self.newest()?.cut.entries.get(&object)
    }

    /// Revisions that somebody has.
    pub(crate) fn in_use(&self) -> impl Iterator<Item = (Ordinal, &RevisionState)> {
        self.revisions
            .iter()
            .filter(|(_, r)| !r.assigned.is_empty())
            .map(|(ordinal, r)| (*ordinal, r))
    }

    /// The revision that a destination has.
    pub(crate) fn at(&self, destination: Destination) -> Option<(Ordinal, &RevisionState)> {
        if !self.assigned.contains(destination.0) {
            return None;
        }
        self.in_use()
            .find(|(_, r)| r.assigned.contains(destination.0))
    }

    /// Who has an object of this policy, at whatever revision.
    pub(crate) fn placed(&self, object: ObjectIndex) -> Destinations {
        let mut placed = Destinations::new();
        for (_, revision) in self.in_use() {
            if revision.cut.objects.contains(&object) {
                placed |= &revision.assigned;
            }
        }
        placed
    }

    /// How many of some destinations have an object of this policy, at whatever revision.
    pub(crate) fn placed_of(&self, object: ObjectIndex, within: &Destinations) -> u64 {
        self.in_use()
            .filter(|(_, r)| r.cut.objects.contains(&object))
            .map(|(_, r)| r.assigned.intersection_len(within))
            .sum()
    }

    /// How many of its copies are at some destinations.
    pub(crate) fn copies_at(&self, within: &Destinations) -> u64 {
        self.in_use()
            .map(|(_, r)| r.cut.objects.len() as u64 * r.assigned.intersection_len(within))
            .sum()
    }

    /// Objects of the newest revision and of those that somebody has.
    pub(crate) fn objects(&self) -> BTreeSet<ObjectIndex> {
        let mut objects: BTreeSet<ObjectIndex> = self
            .newest()
            .map(|r| r.cut.objects.clone())
            .unwrap_or_default();
        for (_, revision) in self.in_use() {
            objects.extend(&revision.cut.objects);
        }
        objects
    }

    /// Whether some retained revision names an object.
    pub(crate) fn names(&self, object: ObjectIndex) -> bool {
        self.revisions
            .values()
            .any(|r| r.cut.objects.contains(&object))
    }

    /// How many copies it has.
    pub(crate) fn copies(&self) -> u64 {
        self.in_use()
            .map(|(_, r)| r.cut.objects.len() as u64 * r.assigned.len())
            .sum()
    }

    /// Destinations go from one revision to another.
    pub(crate) fn move_to(&mut self, transition: &Transition) {
        let moved = &transition.destinations;
        let revisions = &mut self.revisions;
        if let Some(from) = transition.from.and_then(|o| revisions.get_mut(&o)) {
            from.assigned -= moved;
        }
        if let Some(to) = transition.to.and_then(|o| revisions.get_mut(&o)) {
            to.assigned |= moved;
        }
        match transition.to {
            Some(_) => self.assigned |= moved,
            None => self.assigned -= moved,
        }
    }

    /// Destinations do not exist any more.
    pub(crate) fn detach(&mut self, gone: &Destinations) {
        if gone.is_empty() {
            return;
        }
        self.assigned -= gone;
        for revision in self.revisions.values_mut() {
            revision.assigned -= gone;
        }
    }
}
