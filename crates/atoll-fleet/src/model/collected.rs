//! The board of status collectors, and the picture as it sees it.
//!
//! Always true while nobody changes the picture: the board was told everything that columns hold, at the members it knows. What a policy places is told a little later
//! ([`crate::collect::sync`]): until then reports from destinations that are no members yet wait in the columns.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use atoll_placement::algebra::board::Report;
use atoll_placement::algebra::{self, Keep, Projection, Roster, Sample, Subject, View};
use atoll_placement::columns::ValueId;
use atoll_placement::inventory::Labels;
use atoll_placement::place::ObjectIndex;
use atoll_placement::project;
use atoll_placement::{Destination, Destinations};
use atoll_store::Revision;
use serde_json::Value;

use super::{PolicyIndex, World};

/// A StatusCollector: its workspace and name.
pub(crate) type CollectorId = (Arc<str>, Arc<str>);

/// All aggregates.
pub(crate) type Board = algebra::Board<ObjectIndex, u32, CollectorId>;

/// What is collected, and what of it is shown.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    pub(crate) board: Board,
    /// Payload objects as expressions see them, and when they were written.
    pub(crate) subjects: HashMap<ObjectIndex, (Revision, Subject)>,
    /// What of an object's statuses is kept for collectors beyond what always is.
    pub(crate) keeps: HashMap<ObjectIndex, Keep>,
    /// Policies whose objects, or who has them, may be others than the board knows.
    pub(crate) policies: std::collections::BTreeSet<PolicyIndex>,
    /// CombinedStatus objects.
    pub(crate) shown: BTreeMap<(ObjectIndex, PolicyIndex), Shown>,
}

/// A CombinedStatus.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    pub(crate) value: Value,
    pub(crate) revision: Revision,
    /// Collectors that are named and do not exist.
    pub(crate) missing: Vec<Arc<str>>,
}

impl Collected {
    /// Whether nobody collects anything.
    pub(crate) fn is_idle(&self) -> bool {
        self.board.entries().next().is_none() && self.policies.is_empty() && self.shown.is_empty()
    }

    /// Whether an object is looked at.
    fn looks_at(&self, object: ObjectIndex) -> bool {
        self.keeps.contains_key(&object)
    }

    /// What has to be kept of whose statuses, after collectors or entries changed.
    pub(crate) fn keep_anew(&mut self) {
        let objects: std::collections::BTreeSet<_> =
            self.board.entries().map(|(object, _)| object).collect();
        self.keeps = objects.iter().map(|o| (*o, self.board.keep(*o))).collect();
        self.subjects.retain(|object, _| objects.contains(object));
    }
}

/// What an object's copies reported before something changes: projections, and where.
pub(super) type Before = Vec<(Option<Arc<Projection>>, Destinations)>;

impl World {
    /// The projection of a status, with what is kept of it for collectors.
    pub(crate) fn project(&self, object: ObjectIndex, status: &Value) -> Value {
        let reference = self.objects.get(&object).map(|o| &o.reference);
        let (group, resource) = reference.map_or(("", ""), |r| (&*r.group, &*r.resource));
        match self.collected.keeps.get(&object) {
            Some(keep) => project::project_keeping(group, resource, status, keep),
            None => project::project(group, resource, status),
        }
    }

    /// Lets the board work: nothing else of the picture changes meanwhile.
    pub(crate) fn with_board<T>(
        &mut self,
        work: impl FnOnce(&mut Board, View<'_, ObjectIndex>, &World) -> T,
    ) -> T {
        let mut board = std::mem::take(&mut self.collected.board);
        let view = View {
            roster: &*self,
            copies: &*self,
        };
        let done = work(&mut board, view, self);
        self.collected.board = board;
        done
    }

    /// What the board has to be told when copies have changed; `None`: nobody looks.
    pub(super) fn before_report(
        &self,
        object: ObjectIndex,
        destinations: &Destinations,
    ) -> Option<Before> {
        if !self.collected.looks_at(object) {
            return None;
        }
        let column = self.columns.get(&object)?;
        let sets = column.sets_within(destinations).into_iter();
        Some(sets.map(|(id, set)| (self.projection(id), set)).collect())
    }

    fn projection(&self, id: ValueId) -> Option<Arc<Projection>> {
        self.values.projection(id).cloned()
    }

    /// Tells the board what some copies reported before, and report now.
    pub(super) fn after_report(
        &mut self,
        object: ObjectIndex,
        destinations: &Destinations,
        before: Option<Before>,
    ) {
        if !self.collected.looks_at(object) {
            return;
        }
        let mut before = before.unwrap_or_default();
        let known = before.iter().map(|(_, set)| set);
        let known = known.fold(Destinations::new(), |all, set| all | set);
        before.push((None, destinations - &known));
        let mut after = self.before_report(object, destinations).unwrap_or_default();
        let known = after.iter().map(|(_, set)| set);
        let known = known.fold(Destinations::new(), |all, set| all | set);
        after.push((None, destinations - &known));
        self.with_board(|board, view, _| {
            for (old, had) in &before {
                for (new, have) in &after {
                    let both = had & have;
                    let same = match (old, new) {
                        (Some(old), Some(new)) => Arc::ptr_eq(old, new),
                        (old, new) => old.is_none() && new.is_none(),
                    };
                    if !same && !both.is_empty() {
                        let (old, new) = (old.as_deref(), new.as_deref());
                        let (old, new) = (old.map(Sample::of), new.map(Sample::of));
                        board.report(view.roster, object, &both, old, new);
                    }
                }
            }
        });
    }

    /// Tells the board that a destination's labels were others.
    pub(crate) fn relabelled(&mut self, destination: Destination, old: &Labels) {
        if self.collected.keeps.is_empty() {
            return;
        }
        let new = self.labels(destination);
        self.with_board(|board, view, _| board.relabel(view, destination, old, &new));
    }

    /// A destination's labels.
    pub(crate) fn labels_of(&self, destination: Destination) -> Labels {
        let state = self.destinations.get(&destination);
        let inventory = state.and_then(|d| self.inventories.get(&d.inventory));
        let labels = inventory
            .into_iter()
            .flat_map(|i| i.index.labels(destination));
        labels.map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    }
}

impl algebra::Copies<ObjectIndex> for World {
    fn reports(&self, object: ObjectIndex) -> Vec<(Report, Destinations)> {
        let column = self.columns.get(&object).into_iter();
        let sets = column.flat_map(|column| column.sets());
        sets.filter_map(|(id, set)| Some(((self.projection(id)?, None), set)))
            .collect()
    }

    fn report(&self, object: ObjectIndex, destination: Destination) -> Option<Report> {
        let id = self.columns.get(&object)?.get(destination)?;
        Some((self.projection(id)?, None))
    }
}

impl Roster for World {
    fn name(&self, destination: Destination) -> Cow<'_, str> {
        let state = self.destinations.get(&destination);
        state.map_or(Cow::Borrowed(""), |state| Cow::Borrowed(&*state.name))
    }

    fn label(&self, destination: Destination, key: &str) -> Option<Cow<'_, str>> {
        let state = self.destinations.get(&destination)?;
        let inventory = self.inventories.get(&state.inventory)?;
        inventory.index.label(destination, key).map(Cow::Borrowed)
    }

    fn labels(&self, destination: Destination) -> Labels {
        self.labels_of(destination)
    }

    fn len(&self) -> usize {
        self.destinations.len()
    }

    fn by_name(&self) -> Box<dyn Iterator<Item = Destination> + '_> {
        let order = self.destinations.in_name_order();
        Box::new((0..order.len()).filter_map(move |at| order.get(at).copied().map(Destination)))
    }

    fn divide(
        &self,
        set: &Destinations,
        key: &str,
    ) -> Option<Vec<(Option<Arc<str>>, Destinations)>> {
        let first = self.destinations.get(&Destination(set.min()?))?;
        let inventory = self.inventories.get(&first.inventory)?;
        // A policy's destinations are those of one inventory.
        let all_here = set.is_subset(inventory.index.all());
        all_here.then(|| inventory.index.divide(set, key)).flatten()
    }
}
