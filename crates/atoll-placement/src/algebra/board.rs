//! All aggregates of one center: which collectors look at which copies, and what has to happen when anything of that changes.
//!
//! The engine says what changed; the board knows which aggregates that concerns and which of them are shown differently now. Always true between two calls: every aggregate holds exactly
//! the copies of its object at the members of its policy's placement, as they were last told, except those that are still pending. What a new collector or placement makes
//! necessary is done in slices ([`Board::work`]), so that nobody's expression stalls the engine; reports of what is pending wait in the columns. Ids are the engine's own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use atoll_kube::Timestamp;

use super::aggregate::Aggregate;
use super::collector::Collector;
use super::inputs::{Projection, Roster, Sample, Subject};
use super::keep::Keep;
use super::memo::{Evaluator, EvaluatorStats};
use super::partial::Partial;
use super::table::Table;
use crate::inventory::Labels;
use crate::{Destination, Destinations};

/// What all evaluators together may remember, in bytes, by default.
const MEMORY: usize = 64 << 20;

/// How many steps of pending work are done between two looks at what changed.
const SLICE: u64 = 50_000;

/// What one copy reported: its projection, and when, if anyone asks.
pub type Report = (Arc<Projection>, Option<Timestamp>);

/// What the copies of objects reported so far: the engine's columns. Always as the board was last told.
pub trait Copies<O> {
    /// The distinct reports of an object's copies, each with where.
    fn reports(&self, object: O) -> Vec<(Report, Destinations)>;
    /// What one copy reported.
    fn report(&self, object: O, destination: Destination) -> Option<Report>;
}

/// One object under one policy, and the collectors that look at it.
#[derive(Debug, Clone)]
pub struct Entry<C> {
    /// The object.
    pub subject: Subject,
    /// Where the policy placed it; all objects of a policy share the set.
    pub members: Arc<Destinations>,
    /// Who looks at it, there or not.
    pub collectors: BTreeSet<C>,
}

#[derive(Debug)]
struct Held<C> {
    subject: Subject,
    members: Arc<Destinations>,
    /// `None`: there is no such collector.
    aggregates: BTreeMap<C, Option<Working>>,
}

/// An aggregate on its way to its members.
#[derive(Debug)]
struct Working {
    aggregate: Aggregate,
    /// Members that are not counted yet.
    pending: Destinations,
}

impl Working {
    fn new(evaluator: &mut Evaluator, subject: &Subject, members: &Destinations) -> Self {
        Working {
            aggregate: Aggregate::new(evaluator, subject.clone()),
            pending: members.clone(),
        }
    }
}

impl<C> Held<C> {
    fn is_pending(&self) -> bool {
        let mut working = self.aggregates.values().flatten();
        working.any(|working| !working.pending.is_empty())
    }
}

/// All aggregates. `O` names objects, `P` policies, `C` collectors.
#[derive(Debug)]
pub struct Board<O, P, C> {
    evaluators: BTreeMap<C, Evaluator>,
    entries: BTreeMap<(O, P), Held<C>>,
    dirty: BTreeSet<(O, P)>,
    /// Entries with something pending.
    unfinished: BTreeSet<(O, P)>,
    memory: usize,
}

impl<O, P, C> Default for Board<O, P, C> {
    fn default() -> Self {
        Board {
            evaluators: BTreeMap::new(),
            entries: BTreeMap::new(),
            dirty: BTreeSet::new(),
            unfinished: BTreeSet::new(),
            memory: MEMORY,
        }
    }
}

/// What the board needs to see beside a change.
#[derive(Clone, Copy)]
pub struct View<'a, O> {
    /// The destinations.
    pub roster: &'a dyn Roster,
    /// The columns.
    pub copies: &'a dyn Copies<O>,
}

impl<O: Ord + Copy, P: Ord + Copy, C: Ord + Clone> Board<O, P, C> {
    /// A board with nothing on it.
    pub fn new() -> Self {
        Self::default()
    }

    /// A board whose evaluators together remember no more than about so many bytes.
    pub fn with_memory(bytes: usize) -> Self {
        Board {
            memory: bytes,
            ..Self::default()
        }
    }

    /// A collector is new, edited, or (`None`) gone.
    pub fn set_collector(&mut self, id: C, collector: Option<Arc<Collector>>) {
        match &collector {
            None => {
                if self.evaluators.remove(&id).is_none() {
                    return;
                }
            }
            Some(collector) => {
                let known = self.evaluators.get(&id);
                if known.is_some_and(|known| known.collector().as_ref() == collector.as_ref()) {
                    return;
                }
                let evaluator = Evaluator::with_budget(collector.clone(), self.memory / 4);
                self.evaluators.insert(id.clone(), evaluator);
            }
        }
        for (key, held) in &mut self.entries {
            let Some(working) = held.aggregates.get_mut(&id) else {
                continue;
            };
            let evaluator = self.evaluators.get_mut(&id);
            *working = evaluator.map(|e| Working::new(e, &held.subject, &held.members));
            self.dirty.insert(*key);
            self.unfinished.insert(*key);
        }
    }

    /// An object under a policy is new, changed in any way, or (`None`) gone.
    pub fn set_entry(&mut self, view: View<'_, O>, object: O, policy: P, entry: Option<Entry<C>>) {
        let key = (object, policy);
        let Some(entry) = entry.filter(|entry| !entry.collectors.is_empty()) else {
            if self.entries.remove(&key).is_some() {
                self.dirty.insert(key);
            }
            return;
        };
        let held = self.entries.entry(key).or_insert_with(|| Held {
            subject: entry.subject.clone(),
            members: entry.members.clone(),
            aggregates: BTreeMap::new(),
        });
        held.aggregates
            .retain(|id, _| entry.collectors.contains(id));
        let (mut joined, mut left, mut moved) = Default::default();
        if !Arc::ptr_eq(&held.members, &entry.members) && held.members != entry.members {
            joined = entry.members.as_ref() - held.members.as_ref();
            left = held.members.as_ref() - entry.members.as_ref();
            if !left.is_empty() {
                moved = view.copies.reports(object);
            }
        }
        // To go through those who stay is less than to go through more that leave.
        let anew = left.len() * 2 > held.members.len();
        for (id, working) in &mut held.aggregates {
            let (Some(working), Some(evaluator)) = (working, self.evaluators.get_mut(id)) else {
                continue;
            };
            let retargeted = working.aggregate.retarget(evaluator, entry.subject.clone());
            if retargeted || anew {
                *working = Working::new(evaluator, &entry.subject, &entry.members);
                continue;
            }
            let counted = &left - &working.pending;
            for (report, set) in &moved {
                let (gone, old) = (set & &counted, Some(sample(report)));
                working
                    .aggregate
                    .change(evaluator, view.roster, &gone, old, None);
            }
            working.pending -= &left;
            working.pending |= &joined;
        }
        held.subject = entry.subject;
        held.members = entry.members;
        for id in entry.collectors {
            if held.aggregates.contains_key(&id) {
                continue;
            }
            let evaluator = self.evaluators.get_mut(&id);
            let working = evaluator.map(|e| Working::new(e, &held.subject, &held.members));
            held.aggregates.insert(id, working);
        }
        // Whatever changed: a selection may show the object itself, and rendering tells.
        self.dirty.insert(key);
        self.unfinished.insert(key);
    }

    /// Counts pending members, about so many (a step is one destination, or 64 that no expression tells apart by name). Returns whether there is more to do.
    pub fn work(&mut self, view: View<'_, O>, steps: u64) -> bool {
        let mut steps = steps;
        while let Some(&key) = self.unfinished.first() {
            let held = self.entries.get_mut(&key).filter(|held| held.is_pending());
            let Some(held) = held else {
                self.unfinished.remove(&key);
                continue;
            };
            if steps == 0 {
                return true;
            }
            let reports = view.copies.reports(key.0);
            for (id, working) in &mut held.aggregates {
                let (Some(working), Some(evaluator)) = (working, self.evaluators.get_mut(id))
                else {
                    continue;
                };
                let at_once = if evaluator.collector().inventory_reads().name {
                    1
                } else {
                    64
                };
                let most = steps.saturating_mul(at_once);
                let slice: Destinations = if working.pending.len() <= most {
                    std::mem::take(&mut working.pending)
                } else {
                    let slice = working.pending.iter().take(most as usize).collect();
                    working.pending -= &slice;
                    slice
                };
                for (report, set) in &reports {
                    let (here, new) = (set & &slice, Some(sample(report)));
                    working
                        .aggregate
                        .change(evaluator, view.roster, &here, None, new);
                }
                steps = steps.saturating_sub(slice.len().div_ceil(at_once));
            }
        }
        false
    }

    /// The copies of an object at these destinations reported `old` before and `new` now; `None` is nothing, or a copy without a status.
    pub fn report(
        &mut self,
        roster: &dyn Roster,
        object: O,
        set: &Destinations,
        old: Option<Sample<'_>>,
        new: Option<Sample<'_>>,
    ) where
        P: Bounded,
    {
        for (key, held) in self
            .entries
            .range_mut((object, P::LEAST)..=(object, P::GREATEST))
        {
            let here = set & held.members.as_ref();
            if here.is_empty() {
                continue;
            }
            let mut shown = old.is_some() != new.is_some();
            for (id, working) in &mut held.aggregates {
                let (Some(working), Some(evaluator)) = (working, self.evaluators.get_mut(id))
                else {
                    continue;
                };
                shown |= if working.pending.is_empty() {
                    working.aggregate.change(evaluator, roster, &here, old, new)
                } else {
                    let counted = &here - &working.pending;
                    working
                        .aggregate
                        .change(evaluator, roster, &counted, old, new)
                };
            }
            if shown {
                self.dirty.insert(*key);
            }
        }
    }

    /// A destination's labels changed.
    pub fn relabel(
        &mut self,
        view: View<'_, O>,
        destination: Destination,
        old: &Labels,
        new: &Labels,
    ) {
        let keys = || old.keys().chain(new.keys());
        let changed: BTreeSet<&str> = keys()
            .filter(|key| old.get(*key) != new.get(*key))
            .map(String::as_str)
            .collect();
        let concerned: BTreeSet<C> = self
            .evaluators
            .iter()
            .filter(|(_, e)| e.collector().reads_labels(changed.iter().copied()))
            .map(|(id, _)| id.clone())
            .collect();
        if concerned.is_empty() {
            return;
        }
        let name = view.roster.name(destination);
        for (key, held) in &mut self.entries {
            if !held.members.contains(destination.0)
                || held.aggregates.keys().all(|id| !concerned.contains(id))
            {
                continue;
            }
            let Some(report) = view.copies.report(key.0, destination) else {
                continue;
            };
            let sample = sample(&report);
            for (id, working) in &mut held.aggregates {
                if let (Some(working), Some(evaluator)) = (working, self.evaluators.get_mut(id))
                    && concerned.contains(id)
                    && !working.pending.contains(destination.0)
                    && working
                        .aggregate
                        .relabel(evaluator, &name, destination, sample, old, new)
                {
                    self.dirty.insert(*key);
                }
            }
        }
    }

    /// Something that is shown beside the tables changed: counts of expected, reported or stale copies.
    pub fn mark(&mut self, object: O, policy: P) {
        if self.entries.contains_key(&(object, policy)) {
            self.dirty.insert((object, policy));
        }
    }

    /// What may be shown differently since this was last asked, and is complete: works for a while on what is pending, and keeps back what still is.
    pub fn take_dirty(&mut self, view: View<'_, O>) -> BTreeSet<(O, P)> {
        for key in &self.dirty {
            let Some(held) = self.entries.get_mut(key) else {
                continue;
            };
            for (id, working) in &mut held.aggregates {
                if let (Some(working), Some(evaluator)) = (working, self.evaluators.get_mut(id))
                    && working.aggregate.wants_rebuild()
                {
                    *working = Working::new(evaluator, &held.subject, &held.members);
                    self.unfinished.insert(*key);
                }
            }
        }
        self.work(view, SLICE);
        self.tidy();
        let (later, now) = std::mem::take(&mut self.dirty)
            .into_iter()
            .partition(|key| self.is_pending(key.0, key.1));
        self.dirty = later;
        now
    }

    /// Whether some of an entry's members are not counted yet.
    pub fn is_pending(&self, object: O, policy: P) -> bool {
        let held = self.entries.get(&(object, policy));
        held.is_some_and(Held::is_pending)
    }

    /// Where a policy placed an object that is looked at.
    pub fn members(&self, object: O, policy: P) -> Option<&Arc<Destinations>> {
        self.entries
            .get(&(object, policy))
            .map(|held| &held.members)
    }

    /// All evaluators together remember no more than they may: those with the most begin anew.
    fn tidy(&mut self) {
        let mut bytes: usize = self.evaluators.values().map(|e| e.stats().bytes).sum();
        while bytes > self.memory {
            let most = self.evaluators.values_mut().max_by_key(|e| e.stats().bytes);
            let Some(most) = most.filter(|e| e.stats().bytes > 0) else {
                return;
            };
            bytes -= most.stats().bytes;
            most.forget();
        }
    }

    /// What is shown of an object under a policy, by collector; `None` when no collector looks at it. A collector that does not exist has no table.
    pub fn tables(&mut self, view: View<'_, O>, object: O, policy: P) -> Option<Vec<(C, Table)>> {
        self.each(object, policy, |aggregate, evaluator| {
            aggregate.table(evaluator, view.roster, &|d| view.copies.report(object, d))
        })
    }

    /// What is handed on of an object under a policy, by collector.
    pub fn partials(
        &mut self,
        view: View<'_, O>,
        object: O,
        policy: P,
    ) -> Option<Vec<(C, Partial)>> {
        self.each(object, policy, |aggregate, evaluator| {
            aggregate.partial(evaluator, view.roster, &|d| view.copies.report(object, d))
        })
    }

    fn each<T>(
        &mut self,
        object: O,
        policy: P,
        mut make: impl FnMut(&Aggregate, &mut Evaluator) -> T,
    ) -> Option<Vec<(C, T)>> {
        let held = self.entries.get(&(object, policy))?;
        let mut made = Vec::new();
        for (id, working) in &held.aggregates {
            if let (Some(working), Some(evaluator)) = (working, self.evaluators.get_mut(id)) {
                made.push((id.clone(), make(&working.aggregate, evaluator)));
            }
        }
        Some(made)
    }

    /// Collectors that an object under a policy names and that do not exist.
    pub fn missing(&self, object: O, policy: P) -> Vec<&C> {
        let held = self.entries.get(&(object, policy)).into_iter();
        held.flat_map(|held| &held.aggregates)
            .filter(|(_, working)| working.is_none())
            .map(|(id, _)| id)
            .collect()
    }

    /// What projections of an object's statuses have to keep for those who look at it.
    pub fn keep(&self, object: O) -> Keep
    where
        P: Bounded,
    {
        let entries = self
            .entries
            .range((object, P::LEAST)..=(object, P::GREATEST));
        let ids: BTreeSet<&C> = entries
            .flat_map(|(_, held)| held.aggregates.keys())
            .collect();
        let evaluators = ids.into_iter().filter_map(|id| self.evaluators.get(id));
        Keep::of(evaluators.map(|evaluator| evaluator.collector().as_ref()))
    }

    /// Which objects under which policies are looked at.
    pub fn entries(&self) -> impl Iterator<Item = (O, P)> + '_ {
        self.entries.keys().copied()
    }

    /// One aggregate.
    pub fn aggregate(&self, object: O, policy: P, collector: &C) -> Option<&Aggregate> {
        let held = self.entries.get(&(object, policy))?;
        let working = held.aggregates.get(collector)?.as_ref()?;
        Some(&working.aggregate)
    }

    /// What a collector has computed.
    pub fn stats(&self, collector: &C) -> Option<EvaluatorStats> {
        self.evaluators.get(collector).map(Evaluator::stats)
    }

    /// About how many bytes all of it keeps.
    pub fn bytes(&self) -> usize {
        let memos: usize = self.evaluators.values().map(|e| e.stats().bytes).sum();
        let kept = self
            .entries
            .values()
            .flat_map(|held| held.aggregates.values());
        let bytes = |w: &Working| w.aggregate.bytes() + w.pending.serialized_size();
        memos + kept.flatten().map(bytes).sum::<usize>()
    }
}

/// Ids with a least and a greatest one, so that everything of one object is a range.
pub trait Bounded {
    /// The least.
    const LEAST: Self;
    /// The greatest.
    const GREATEST: Self;
}

impl Bounded for u32 {
    const LEAST: u32 = u32::MIN;
    const GREATEST: u32 = u32::MAX;
}

impl Bounded for u64 {
    const LEAST: u64 = u64::MIN;
    const GREATEST: u64 = u64::MAX;
}

fn sample(report: &Report) -> Sample<'_> {
    Sample {
        projection: &report.0,
        at: report.1,
    }
}
