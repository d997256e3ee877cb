//! The state of one collector over the copies of one object that one policy placed: kept by taking the old outcome out and putting the new one in.
//!
//! Hot path: every status change passes here, once for each collector of its object. What a change costs depends on how many destinations it names, never on how many there are; a set
//! of destinations with equal inputs is one step. Always true: the state is a function of which copies reported what, so it equals a recomputation bit by bit. Nothing is kept
//! per destination but bits: a selection's members, and who an error concerns.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use atoll_kube::Timestamp;
use serde_json::Value;

use super::accumulate::Accumulator;
use super::cell::{Cell, GroupKey};
use super::collector::{AccumulatorSpec, Shape};
use super::inputs::{Projection, Roster, Sample, Subject};
use super::memo::{Evaluator, Outcome, Place, PlaceClass, SubjectClass, Verdict, inventory_json};
use super::partial::{Examples, Fault, Partial, PartialGroup, PartialRows};
use super::select::first_by_name;
use super::table::{Table, group_row};
use crate::inventory::Labels;
use crate::{Destination, Destinations};

/// How much one aggregate may keep. Beyond, it says so and keeps only a count, until it is computed anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Groups and distinct errors.
    pub groups: usize,
    /// Entries of multisets and sketches, over all groups.
    pub values: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            groups: 65_536,
            values: 1 << 20,
        }
    }
}

/// Copies that have the same values of groupBy.
#[derive(Debug, Clone, PartialEq)]
struct Group {
    copies: u64,
    accumulators: Box<[Accumulator]>,
}

#[derive(Debug, Clone, PartialEq)]
enum Rows {
    /// Who passes the filter.
    Selected(Destinations),
    /// The groups of those who pass.
    Grouped(BTreeMap<GroupKey, Group>),
    /// There was too much to keep.
    TooMany,
}

/// One collector's state over one object's copies.
#[derive(Debug, Clone)]
pub struct Aggregate {
    subject: Subject,
    class: SubjectClass,
    copies: u64,
    rows: Rows,
    faults: BTreeMap<(Place, Arc<str>), Destinations>,
    values: usize,
    limits: Limits,
}

impl PartialEq for Aggregate {
    /// Whether both hold the same: what two histories with one outcome have.
    fn eq(&self, other: &Self) -> bool {
        self.copies == other.copies
            && self.rows == other.rows
            && self.faults == other.faults
            && self.values == other.values
    }
}

/// What a destination's copy reported last; asked for each row that a selection shows.
pub type Reported<'a> = &'a dyn Fn(Destination) -> Option<(Arc<Projection>, Option<Timestamp>)>;

impl Aggregate {
    /// The state before anything was reported.
    pub fn new(evaluator: &mut Evaluator, subject: Subject) -> Self {
        Self::with_limits(evaluator, subject, Limits::default())
    }

    /// The state before anything was reported, with other limits.
    pub fn with_limits(evaluator: &mut Evaluator, subject: Subject, limits: Limits) -> Self {
        let class = evaluator.subject_class(&subject);
        let rows = match evaluator.collector().shape() {
            Shape::Select(_) => Rows::Selected(Destinations::new()),
            Shape::Aggregate { .. } => Rows::Grouped(BTreeMap::new()),
        };
        Aggregate {
            subject,
            class,
            copies: 0,
            rows,
            faults: BTreeMap::new(),
            values: 0,
            limits,
        }
    }

    /// The state of these copies: after an edit of the collector or of what it reads of the object, and to come out of [`Self::wants_rebuild`].
    pub fn build<'a>(
        evaluator: &mut Evaluator,
        roster: &dyn Roster,
        subject: Subject,
        copies: impl IntoIterator<Item = (Sample<'a>, &'a Destinations)>,
    ) -> Self {
        let mut aggregate = Self::new(evaluator, subject);
        for (sample, set) in copies {
            aggregate.change(evaluator, roster, set, None, Some(sample));
        }
        aggregate
    }

    /// Takes an edited object. True: what the collector reads of it changed, so the state has to be built anew ([`Self::build`]).
    #[must_use]
    pub fn retarget(&mut self, evaluator: &mut Evaluator, subject: Subject) -> bool {
        let class = evaluator.subject_class(&subject);
        if class != self.class {
            return true;
        }
        self.subject = subject;
        false
    }

    /// The copies at these destinations reported `old` before and `new` now; `None` is nothing, or a copy that is not (or no longer) counted here. The roster has the labels
    /// that were last told. Returns whether anything shown can have changed.
    pub fn change(
        &mut self,
        evaluator: &mut Evaluator,
        roster: &dyn Roster,
        set: &Destinations,
        old: Option<Sample<'_>>,
        new: Option<Sample<'_>>,
    ) -> bool {
        if set.is_empty() || !self.count(set.len(), old.is_some(), new.is_some()) {
            return false;
        }
        if self.is_too_many() {
            return true;
        }
        evaluator.tidy();
        let mut changed = false;
        for (place, members) in classes(evaluator, roster, set) {
            let Some(example) = members.min().map(Destination) else {
                continue;
            };
            let inventory = || inventory_of(roster, example);
            let mut outcome = |sample: Option<Sample<'_>>| {
                sample.map(|s| evaluator.outcome(&self.subject, self.class, s, place, &inventory))
            };
            let (old, new) = (outcome(old), outcome(new));
            changed |= self.replace(evaluator, &members, old.as_deref(), new.as_deref());
        }
        changed
    }

    /// [`Self::change`] for one destination.
    pub fn change_one(
        &mut self,
        evaluator: &mut Evaluator,
        roster: &dyn Roster,
        destination: Destination,
        old: Option<Sample<'_>>,
        new: Option<Sample<'_>>,
    ) -> bool {
        let set = Destinations::from_iter([destination.0]);
        self.change(evaluator, roster, &set, old, new)
    }

    /// A destination's labels changed while its copy reports `sample`. Returns whether anything shown can have changed.
    pub fn relabel(
        &mut self,
        evaluator: &mut Evaluator,
        name: &str,
        destination: Destination,
        sample: Sample<'_>,
        old: &Labels,
        new: &Labels,
    ) -> bool {
        if self.is_too_many() {
            return false;
        }
        evaluator.tidy();
        let mut outcome = |labels: &Labels| {
            let place = evaluator.place_of_labels(labels);
            let inventory = || inventory_json(name, labels.clone());
            evaluator.outcome(&self.subject, self.class, sample, place, &inventory)
        };
        let (old, new) = (outcome(old), outcome(new));
        let set = Destinations::from_iter([destination.0]);
        self.replace(evaluator, &set, Some(&old), Some(&new))
    }

    /// Keeps the number of copies. False when nothing is to be done.
    fn count(&mut self, members: u64, old: bool, new: bool) -> bool {
        match (old, new) {
            (false, false) => return false,
            (false, true) => self.copies = self.copies.saturating_add(members),
            (true, false) => self.copies = self.copies.saturating_sub(members),
            (true, true) => {}
        }
        true
    }

    fn replace(
        &mut self,
        evaluator: &Evaluator,
        members: &Destinations,
        old: Option<&Outcome>,
        new: Option<&Outcome>,
    ) -> bool {
        let same = match (old, new) {
            (Some(old), Some(new)) => std::ptr::eq(old, new) || old == new,
            _ => false,
        };
        if same {
            // The shown rows of a selection may have changed although the filter says the same.
            return old.is_some_and(|outcome| outcome.verdict == Verdict::Selected);
        }
        if self.is_too_many() {
            // This change was one too many.
            return true;
        }
        let specs = match &evaluator.collector().shape {
            Shape::Aggregate { accumulators, .. } => accumulators.as_slice(),
            Shape::Select(_) => &[],
        };
        if let Some(old) = old {
            self.put(specs, members, old, true);
        }
        if let Some(new) = new {
            self.put(specs, members, new, false);
        }
        let groups = match &self.rows {
            Rows::Grouped(groups) => groups.len(),
            _ => 0,
        };
        if groups + self.faults.len() > self.limits.groups || self.values > self.limits.values {
            self.rows = Rows::TooMany;
            self.faults = BTreeMap::new();
            self.values = 0;
        }
        true
    }

    fn put(
        &mut self,
        specs: &[AccumulatorSpec],
        members: &Destinations,
        outcome: &Outcome,
        back: bool,
    ) {
        for fault in &outcome.faults {
            if !back {
                *self.faults.entry(fault.clone()).or_default() |= members;
            } else if let Some(held) = self.faults.get_mut(fault) {
                *held -= members;
                if held.is_empty() {
                    self.faults.remove(fault);
                }
            }
        }
        match (&mut self.rows, &outcome.verdict) {
            (Rows::Selected(selected), Verdict::Selected) if back => *selected -= members,
            (Rows::Selected(selected), Verdict::Selected) => *selected |= members,
            (Rows::Grouped(groups), Verdict::Grouped { key, contributions }) => {
                let times = members.len();
                let group = if back {
                    let Some(group) = groups.get_mut(key) else {
                        return;
                    };
                    group
                } else {
                    groups.entry(key.clone()).or_insert_with(|| Group {
                        copies: 0,
                        accumulators: specs.iter().map(|s| Accumulator::new(s.keeps)).collect(),
                    })
                };
                for (accumulator, contribution) in group.accumulators.iter_mut().zip(contributions)
                {
                    let more = accumulator.change(contribution, times, back);
                    self.values = self.values.saturating_add_signed(more);
                }
                if back {
                    group.copies = group.copies.saturating_sub(times);
                    if group.copies == 0 {
                        groups.remove(key);
                    }
                } else {
                    group.copies += times;
                }
            }
            _ => {}
        }
    }

    /// How many copies have reported here.
    pub fn copies(&self) -> u64 {
        self.copies
    }

    /// How many copies pass the filter.
    pub fn passing(&self) -> u64 {
        match &self.rows {
            Rows::Selected(selected) => selected.len(),
            Rows::Grouped(groups) => groups.values().map(|group| group.copies).sum(),
            Rows::TooMany => 0,
        }
    }

    /// Whether there were too many groups or values to keep.
    pub fn is_too_many(&self) -> bool {
        matches!(self.rows, Rows::TooMany)
    }

    /// Whether there were too many groups, but there are so few copies by now that building it anew is sure to help.
    pub fn wants_rebuild(&self) -> bool {
        self.is_too_many() && self.copies <= (self.limits.groups / 2) as u64
    }

    /// About how many bytes it keeps.
    pub fn bytes(&self) -> usize {
        let faults = self.faults.iter();
        let faults: usize = faults
            .map(|((_, words), set)| words.len() + 64 + set.serialized_size())
            .sum();
        faults
            + match &self.rows {
                Rows::Selected(selected) => selected.serialized_size(),
                Rows::TooMany => 0,
                Rows::Grouped(groups) => groups
                    .iter()
                    .map(|(key, group)| {
                        let key: usize = key.iter().map(|cell| 48 + cell.heap()).sum();
                        let kept = group.accumulators.iter().map(Accumulator::bytes);
                        64 + key + kept.sum::<usize>()
                    })
                    .sum(),
            }
    }

    /// What is shown: the first rows by the limit, computed from what is kept.
    pub fn table(
        &self,
        evaluator: &mut Evaluator,
        roster: &dyn Roster,
        reported: Reported<'_>,
    ) -> Table {
        let collector = evaluator.collector().clone();
        match (&self.rows, collector.shape()) {
            (Rows::Grouped(groups), Shape::Aggregate { fields, .. }) if !groups.is_empty() => {
                let mut table = Table::of(&collector, &self.faults(roster));
                table.total = groups.len() as u64;
                table.rows = groups
                    .iter()
                    .take(collector.limit())
                    .map(|(key, group)| {
                        group_row(key, fields, group.copies, |field, i| {
                            let kept = group.accumulators.get(i);
                            kept.map_or(Cell::Null, |kept| kept.read(field.aggregation))
                        })
                    })
                    .collect();
                table
            }
            _ => self.partial(evaluator, roster, reported).table(&collector),
        }
    }

    /// What is handed on to a center above: it can be merged with other parts of the fleet, and shown.
    pub fn partial(
        &self,
        evaluator: &mut Evaluator,
        roster: &dyn Roster,
        reported: Reported<'_>,
    ) -> Partial {
        let rows = match &self.rows {
            Rows::TooMany => PartialRows::TooMany,
            Rows::Grouped(groups) => PartialRows::Grouped(
                groups
                    .iter()
                    .map(|(key, group)| {
                        let parts = group.accumulators.iter().map(Accumulator::part).collect();
                        let group = PartialGroup {
                            copies: group.copies,
                            parts,
                        };
                        (key.clone(), group)
                    })
                    .collect(),
            ),
            Rows::Selected(selected) => {
                let limit = evaluator.collector().limit();
                let mut first = BTreeMap::new();
                for destination in first_by_name(selected, limit, roster) {
                    let name: Arc<str> = roster.name(destination).into();
                    let Some((projection, at)) = reported(destination) else {
                        continue;
                    };
                    let sample = Sample {
                        projection: &projection,
                        at,
                    };
                    let inventory = inventory_of(roster, destination);
                    first.insert(name, evaluator.row(&self.subject, sample, &inventory));
                }
                PartialRows::Selected {
                    total: selected.len(),
                    first,
                }
            }
        };
        Partial {
            limit: evaluator.collector().limit(),
            groups: self.limits.groups,
            rows,
            faults: self.faults(roster),
        }
    }

    fn faults(&self, roster: &dyn Roster) -> BTreeMap<(Place, Arc<str>), Fault> {
        let fault = |set: &Destinations| Fault {
            count: set.len(),
            examples: first_by_name(set, Examples::MOST, roster)
                .into_iter()
                .map(|destination| Arc::from(&*roster.name(destination)))
                .collect(),
        };
        self.faults
            .iter()
            .map(|(key, set)| (key.clone(), fault(set)))
            .collect()
    }

    /// Whether the entries that are counted are the entries that there are.
    #[cfg(test)]
    pub(crate) fn is_consistent(&self) -> bool {
        let Rows::Grouped(groups) = &self.rows else {
            return self.values == 0;
        };
        let kept = groups.values().flat_map(|group| group.accumulators.iter());
        kept.map(Accumulator::entries).sum::<usize>() == self.values
    }
}

fn inventory_of(roster: &dyn Roster, destination: Destination) -> Value {
    inventory_json(&roster.name(destination), roster.labels(destination))
}

/// Divides a set into classes of destinations that are the same to the collector.
fn classes(
    evaluator: &mut Evaluator,
    roster: &dyn Roster,
    set: &Destinations,
) -> Vec<(PlaceClass, Destinations)> {
    let collector = evaluator.collector().clone();
    let reads = collector.inventory_reads();
    if reads.is_empty() {
        let place = evaluator.place_of_values(&[]);
        return vec![(place, set.clone())];
    }
    if reads.name {
        // Each differs from each; what is remembered is remembered per expression.
        let place = evaluator.place_of_values(&[]);
        let alone = |index| (place, Destinations::from_iter([index]));
        return set.iter().map(alone).collect();
    }
    if let (1, Some(index)) = (set.len(), set.min()) {
        return vec![(evaluator.place(roster, Destination(index)), set.clone())];
    }
    if set.len() >= 64
        && !reads.all_labels
        && let Some(divided) = divided(evaluator, roster, set, &reads.labels)
    {
        return divided;
    }
    let mut found: HashMap<PlaceClass, usize> = HashMap::new();
    let mut classes: Vec<(PlaceClass, Destinations)> = Vec::new();
    for index in set {
        let place = evaluator.place(roster, Destination(index));
        let at = *found.entry(place).or_insert_with(|| {
            classes.push((place, Destinations::new()));
            classes.len() - 1
        });
        classes[at].1.insert(index);
    }
    classes
}

/// The same, by the inventory's index: a few operations on whole bitmaps.
fn divided<'a>(
    evaluator: &mut Evaluator,
    roster: &dyn Roster,
    set: &Destinations,
    keys: impl IntoIterator<Item = &'a String>,
) -> Option<Vec<(PlaceClass, Destinations)>> {
    let mut parts: Vec<(Vec<Option<Arc<str>>>, Destinations)> = vec![(Vec::new(), set.clone())];
    for key in keys {
        let mut finer = Vec::new();
        for (values, part) in parts {
            for (value, members) in roster.divide(&part, key)? {
                let mut values = values.clone();
                values.push(value);
                finer.push((values, members));
            }
        }
        parts = finer;
    }
    let classes = parts.into_iter();
    Some(
        classes
            .map(|(values, members)| (evaluator.place_of_values(&values), members))
            .collect(),
    )
}
