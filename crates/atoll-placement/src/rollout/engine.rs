//! The door: every policy's rollouts of one center, and the step that an event makes them take.
//!
//! Always true: after a step every policy that it concerned has gone as far as it may, and all of what changed is in the step's deltas. A policy is looked at only when an event, a moment that is
//! due, or something that was freed concerns it.

use std::collections::{BTreeMap, BTreeSet};

use atoll_kube::Timestamp;

use super::delta::{Delta, SetId, Undecodable};
use super::event::{Action, Assignment, Effect, Event, Facts, PolicyEvent, Step};
use super::ground::{BookId, Ground, Key};
use super::queue::Queue;
use super::spec::{DisruptionBudget, Release};
use super::state::{Deletion, GateRun, RolloutState};
use super::{BudgetId, Ordinal, PolicyId};
use crate::Destinations;

/// What is to be done after a step, gathered.
#[derive(Default)]
pub(super) struct Out {
    pub(super) list: Vec<Effect>,
    pub(super) assign: BTreeMap<(PolicyId, Ordinal, Action), Destinations>,
    pub(super) remove: BTreeMap<PolicyId, Destinations>,
    pub(super) refused: Option<String>,
}

/// What a policy's parts need besides the policy.
pub(super) struct Ctx<'a> {
    pub(super) id: PolicyId,
    pub(super) ground: &'a mut Ground,
    pub(super) out: &'a mut Out,
    pub(super) facts: &'a dyn Facts,
    /// The clock.
    pub(super) now: Timestamp,
    /// The policy's engine time.
    pub(super) t: Timestamp,
}

/// One policy: what is durable, and what is derived.
#[derive(Default)]
pub(super) struct Policy {
    pub(super) state: RolloutState,
    pub(super) queue: Queue,
    /// What other policies of the same objects see of it: when it changes, they look again.
    pub(super) seen: String,
    pub(super) nowhere: Vec<GateRun>,
}

impl Policy {
    pub(super) fn rebuild(&mut self, cx: &mut Ctx<'_>) {
        self.queue.rebuild(cx.id, &self.state, cx.ground);
    }

    pub(super) fn refresh(&mut self, cx: &mut Ctx<'_>, changed: &Destinations) {
        self.queue.refresh(cx.id, &self.state, cx.ground, changed);
    }

    fn open_books(&mut self, cx: &mut Ctx<'_>) {
        for book in cx.ground.books_of(cx.id) {
            cx.ground.close_book(book);
        }
        let selected = self.state.sets.get(SetId::Selected);
        for (i, budget) in self.state.spec.budgets.iter().enumerate() {
            let id = BookId::Policy(cx.id, i as u32);
            cx.ground.open_book(id, budget, &[], selected, cx.facts);
        }
    }

    /// Whether it is deleted and nothing of it is left.
    fn finished(&self) -> bool {
        let none = |id| self.state.sets.get(id).is_empty();
        self.state.config.deleted.is_some()
            && self.state.assigned().next().is_none()
            && none(SetId::Removing)
            && none(SetId::Leaving)
            && none(SetId::Retiring)
    }
}

/// All rollouts, and what they share.
#[derive(Default)]
pub struct Rollouts {
    pub(super) policies: BTreeMap<PolicyId, Box<Policy>>,
    pub(super) ground: Ground,
    pub(super) out: Out,
    /// To be looked at in this step.
    pub(super) dirty: BTreeSet<PolicyId>,
    /// Changed in this step.
    pub(super) touched: BTreeSet<PolicyId>,
    /// The clock, when it was last seen.
    clock: Option<Timestamp>,
    wakes: BTreeSet<(Timestamp, PolicyId)>,
    wake_of: BTreeMap<PolicyId, Timestamp>,
}

impl std::fmt::Debug for Rollouts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.policies.keys()).finish()
    }
}

impl Rollouts {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads back a recorded delta, in the order of the log. When all are read, [`Rollouts::resume`] goes on.
    pub fn load(&mut self, policy: PolicyId, delta: &Delta) -> Result<(), Undecodable> {
        self.policies.entry(policy).or_default().state.apply(delta)
    }

    /// Between loading and resuming, for every loaded policy: which policies share objects with it by the caller's numbers of this start, and that content which waited to become a
    /// revision is said anew (it may be another one now).
    pub fn introduce(&mut self, policy: PolicyId, shares: BTreeSet<PolicyId>) {
        if let Some(policy) = self.policies.get_mut(&policy) {
            policy.state.config.shares = shares;
            policy.state.head.pending = None;
        }
    }

    /// The policies that it knows.
    pub fn policies(&self) -> impl Iterator<Item = PolicyId> + '_ {
        self.policies.keys().copied()
    }

    /// Goes on after a restart, when all deltas are loaded: `known` are the destinations that exist, `available` those that were here by the log, `budgets` the inventories'. The effects are
    /// those that may have been lost: what may have been sent is assigned again, removals under way are ordered again, gates are asked again.
    pub fn resume(
        &mut self,
        known: &Destinations,
        available: &Destinations,
        budgets: &[(BudgetId, DisruptionBudget)],
        facts: &dyn Facts,
        now: Timestamp,
    ) -> Step {
        self.clock = Some(now);
        self.ground.know(known, facts);
        for (id, budget) in budgets {
            self.ground.open_inventory_book(*id, budget, facts);
        }
        self.ground
            .availability(available, &Destinations::new(), facts);
        self.ground.look(now);
        let ids: Vec<PolicyId> = self.policies.keys().copied().collect();
        for id in ids {
            self.with(id, facts, now, |policy, cx| {
                cx.ground
                    .know(policy.state.sets.get(SetId::Selected), cx.facts);
                policy.open_books(cx);
                policy.rebuild(cx);
                let slots = policy.queue.slots.clone();
                for (revision, set) in policy.state.assigned() {
                    let sent = set & &slots;
                    if !sent.is_empty() {
                        let key = (cx.id, revision, Action::Update);
                        cx.out.assign.insert(key, sent);
                    }
                }
                let removing = policy.state.sets.get(SetId::Removing).clone();
                if !removing.is_empty() {
                    cx.out.remove.insert(cx.id, removing);
                }
                if let Some(run) = policy.state.head.run.as_mut() {
                    for gate in run.gates.iter_mut().filter(|g| g.at < g.asked) {
                        gate.asked = None;
                    }
                }
                policy.queue.taken = slots;
            });
            self.tell(id, None);
        }
        self.finish(facts, now)
    }

    /// One step. Deterministic: the same history gives the same deltas and effects.
    pub fn step(&mut self, event: Event, facts: &dyn Facts, now: Timestamp) -> Step {
        self.ground.look(now);
        self.look_at_clock(now);
        match event {
            Event::Tick => {}
            Event::Availability { up, down } => {
                let (came, went) = self.ground.availability(&up, &down, facts);
                let both = &came | &went;
                self.each(&both, facts, now, |policy, cx| {
                    policy.availability(cx, &came, &went);
                });
            }
            Event::Relabeled(changed) => {
                // Who is parked at a group may belong to another one now.
                for policy in self.policies.values_mut() {
                    let parked = &changed & &policy.queue.parked_any;
                    policy.queue.unpark(&self.ground, &parked);
                    policy.queue.ready_again(&policy.state, &parked);
                }
                self.ground.relabel(&changed, facts);
                self.each(&changed, facts, now, |policy, cx| {
                    policy.place(cx, &changed);
                    policy.refresh(cx, &changed);
                });
            }
            Event::Gone(gone) => {
                self.each(&gone, facts, now, |policy, cx| policy.gone(cx, &gone));
                self.ground.gone(&gone);
            }
            Event::Budget(id, budget) => {
                match budget {
                    None => self.ground.close_book(BookId::Inventory(id)),
                    Some(budget) => self.ground.open_inventory_book(id, &budget, facts),
                }
                self.ground.look(now);
                for (id, policy) in &mut self.policies {
                    policy.queue.unpark_all(&policy.state);
                    self.dirty.insert(*id);
                }
            }
            Event::Policy(id, event) => self.policy_event(id, event, facts, now),
        }
        self.finish(facts, now)
    }

    /// When the clock went back, every moment that was set by it is set anew.
    fn look_at_clock(&mut self, now: Timestamp) {
        if let Some(before) = self.clock.replace(now).filter(|before| now < *before) {
            for (id, policy) in &mut self.policies {
                let head = &mut policy.state.head;
                head.last = head.last.max(Timestamp(before.0.saturating_add(head.skew)));
                policy.state.time(now);
                self.dirty.insert(*id);
            }
        }
    }

    fn policy_event(
        &mut self,
        id: PolicyId,
        event: PolicyEvent,
        facts: &dyn Facts,
        now: Timestamp,
    ) {
        match event {
            PolicyEvent::Settings { .. } => {
                self.policies.entry(id).or_default();
            }
            _ if !self.policies.contains_key(&id) => return,
            _ => {}
        }
        // Slots that are held for the policies of old are given back in their eyes, and taken in those of new ones.
        if let PolicyEvent::Shares(shares) = &event {
            let mut shares = shares.clone();
            shares.remove(&id);
            self.share(id, shares);
        }
        self.with(id, facts, now, |policy, cx| match event {
            PolicyEvent::Settings { uid, spec, source } => {
                let config = &mut policy.state.config;
                config.uid = uid;
                config.source = source;
                if let Release::Manual(Some(_)) = &spec.release
                    && spec.release != policy.state.spec.release
                    && policy.state.head.pending.is_some()
                {
                    policy.state.head.released = true;
                }
                policy.state.spec = *spec;
                policy.restage();
                policy.open_books(cx);
                policy.rebuild(cx);
            }
            PolicyEvent::Suspended(suspended) => policy.state.config.suspended = suspended,
            PolicyEvent::Content(hash) => policy.content(cx, hash),
            PolicyEvent::Selected {
                joined,
                left,
                released,
            } => policy.selected(cx, &joined, &left, &released),
            PolicyEvent::Rerender(who) => {
                let mut have = Destinations::new();
                for (_, set) in policy.state.assigned() {
                    have |= &who & set;
                }
                policy.state.sets.add(SetId::Stale, &have);
                policy.refresh(cx, &have);
            }
            PolicyEvent::Reported(report) => policy.report(cx, &report),
            PolicyEvent::Removed(confirmed) => policy.removed(cx, &confirmed),
            PolicyEvent::Answered(gate, answer) => policy.answer(cx, &gate, answer),
            PolicyEvent::Command(command) => {
                if let Err(why) = policy.command(cx, command) {
                    cx.out.refused = Some(why);
                }
            }
            PolicyEvent::Shares(_) => {}
            PolicyEvent::Deleted { orphan, at_once } => policy.delete(cx, orphan, at_once),
        });
    }

    /// Changes a policy, and looks at it afterwards.
    pub(super) fn with(
        &mut self,
        id: PolicyId,
        facts: &dyn Facts,
        now: Timestamp,
        change: impl FnOnce(&mut Policy, &mut Ctx<'_>),
    ) {
        let Some(policy) = self.policies.get_mut(&id) else {
            return;
        };
        let t = policy.state.time(now);
        let mut cx = Ctx {
            id,
            ground: &mut self.ground,
            out: &mut self.out,
            facts,
            now,
            t,
        };
        change(policy, &mut cx);
        self.dirty.insert(id);
        self.touched.insert(id);
    }

    /// Changes every policy that has anything to do with some destinations.
    fn each(
        &mut self,
        destinations: &Destinations,
        facts: &dyn Facts,
        now: Timestamp,
        mut change: impl FnMut(&mut Policy, &mut Ctx<'_>),
    ) {
        if destinations.is_empty() {
            return;
        }
        let concerned = |policy: &Policy| {
            let sets = &policy.state.sets;
            !sets.get(SetId::Selected).is_disjoint(destinations)
                || !policy.queue.slots.is_disjoint(destinations)
                || !sets.get(SetId::Leaving).is_disjoint(destinations)
                || !sets.get(SetId::Retiring).is_disjoint(destinations)
                || !sets.get(SetId::Removing).is_disjoint(destinations)
        };
        let ids = self.policies.iter().filter(|(_, p)| concerned(p));
        let ids: Vec<PolicyId> = ids.map(|(id, _)| *id).collect();
        for id in ids {
            self.with(id, facts, now, &mut change);
        }
    }

    /// Lets everything that something happened to go as far as it may.
    fn finish(&mut self, facts: &dyn Facts, now: Timestamp) -> Step {
        while let Some((at, id)) = self.wakes.first().copied()
            && at <= now
        {
            self.wakes.pop_first();
            self.wake_of.remove(&id);
            self.dirty.insert(id);
        }
        loop {
            for (key, waiting) in self.ground.freed() {
                for id in waiting {
                    if let Some(policy) = self.policies.get_mut(&id) {
                        policy.queue.hot.insert(key);
                        self.dirty.insert(id);
                    }
                }
            }
            let Some(id) = self.dirty.pop_first() else {
                break;
            };
            self.look_at(id, facts, now);
        }
        self.gather(now)
    }

    fn look_at(&mut self, id: PolicyId, facts: &dyn Facts, now: Timestamp) {
        let Some(mut policy) = self.policies.remove(&id) else {
            return;
        };
        self.touched.insert(id);
        let t = policy.state.time(now);
        let mut cx = Ctx {
            id,
            ground: &mut self.ground,
            out: &mut self.out,
            facts,
            now,
            t,
        };
        policy.due(&mut cx);
        policy.check_failures(&mut cx);
        policy.advance(&mut cx);
        policy.retire(&mut cx);
        let seen = policy.shown(now);
        if seen != policy.seen {
            policy.seen = seen;
            self.ground.free(Key::Closed(id));
        }
        self.dispatch(id, &mut policy, facts, now);
        let mut cx = Ctx {
            id,
            ground: &mut self.ground,
            out: &mut self.out,
            facts,
            now,
            t,
        };
        policy.forget(&mut cx);
        self.policies.insert(id, policy);
        self.tell(id, None);
    }

    /// Tells the policies of the same objects which slots were taken and freed. One of them may be held out of the map.
    pub(super) fn tell(&mut self, id: PolicyId, mut held: Option<(PolicyId, &mut Policy)>) {
        let Some(policy) = self.policies.get_mut(&id) else {
            return;
        };
        let taken = std::mem::take(&mut policy.queue.taken);
        let freed = std::mem::take(&mut policy.queue.freed);
        if taken.is_empty() && freed.is_empty() {
            return;
        }
        for other in policy.state.config.shares.clone() {
            let neighbour: &mut Policy = match &mut held {
                Some((held_id, held)) if *held_id == other => held,
                _ => match self.policies.get_mut(&other) {
                    Some(policy) => policy,
                    None => continue,
                },
            };
            neighbour.visited(other, &mut self.ground, &taken, &freed);
        }
    }

    /// The policies that share objects with one changed.
    fn share(&mut self, id: PolicyId, shares: BTreeSet<PolicyId>) {
        let Some(policy) = self.policies.get_mut(&id) else {
            return;
        };
        let slots = policy.queue.slots.clone();
        let old = std::mem::replace(&mut policy.state.config.shares, shares.clone());
        let none = Destinations::new();
        for (others, taken, freed) in [
            (old.difference(&shares), &none, &slots),
            (shares.difference(&old), &slots, &none),
        ] {
            for other in others {
                if let Some(neighbour) = self.policies.get_mut(other) {
                    neighbour.visited(*other, &mut self.ground, taken, freed);
                    self.dirty.insert(*other);
                }
            }
        }
        // What is parked because of another one may go on now.
        if let Some(policy) = self.policies.get_mut(&id) {
            policy.queue.unpark_all(&policy.state);
        }
    }

    /// Deltas, effects and the next moment.
    fn gather(&mut self, now: Timestamp) -> Step {
        let mut step = Step::default();
        for id in std::mem::take(&mut self.touched) {
            let Some(policy) = self.policies.get_mut(&id) else {
                continue;
            };
            let t = policy.state.time(now);
            if policy.finished() {
                step.effects.push(Effect::Finished(id));
                self.drop_policy(id);
                continue;
            }
            let delta = policy.state.record(t);
            if !delta.is_empty() {
                step.deltas.push((id, delta));
                step.effects.push(Effect::Changed(id));
            }
            let wake = policy.wake(now, t);
            if let Some(old) = self.wake_of.remove(&id) {
                self.wakes.remove(&(old, id));
            }
            if let Some(at) = wake {
                self.wake_of.insert(id, at);
                self.wakes.insert((at, id));
            }
        }
        let out = std::mem::take(&mut self.out);
        let mut effects = out.list;
        effects.extend(
            out.remove
                .into_iter()
                .map(|(id, destinations)| Effect::Remove(id, destinations)),
        );
        for ((id, revision, action), destinations) in out.assign {
            let assignment = Assignment {
                revision,
                destinations,
                action,
            };
            effects.push(Effect::Assign(id, assignment));
        }
        effects.append(&mut step.effects);
        step.effects = effects;
        step.refused = out.refused;
        let soonest = self.wakes.first().map(|(at, _)| *at);
        step.wake = [soonest, self.ground.wake()].into_iter().flatten().min();
        step
    }

    fn drop_policy(&mut self, id: PolicyId) {
        self.share(id, BTreeSet::new());
        for book in self.ground.books_of(id) {
            self.ground.close_book(book);
        }
        if let Some(policy) = self.policies.remove(&id) {
            self.ground.lower(&policy.queue.counted);
        }
        if let Some(at) = self.wake_of.remove(&id) {
            self.wakes.remove(&(at, id));
        }
    }

    /// One policy's whole state as a delta from nothing: a snapshot that replaces all deltas before it.
    pub fn snapshot(&self, policy: PolicyId) -> Option<Delta> {
        self.policies.get(&policy).map(|p| p.state.whole())
    }

    /// What is known of a policy.
    pub fn state(&self, policy: PolicyId) -> Option<&RolloutState> {
        self.policies.get(&policy).map(|p| &p.state)
    }

    /// The revision that a destination is to have of a policy, now.
    pub fn revision_of(&self, policy: PolicyId, destination: u32) -> Option<Ordinal> {
        self.state(policy)?.revision_of(destination)
    }

    /// The groups of an inventory's budget: name, unavailable, allowed. For its status.
    pub fn budget_groups(&self, budget: BudgetId) -> Vec<(String, u32, u64)> {
        self.ground.groups(budget)
    }

    /// Who holds a slot of a policy.
    pub fn slots(&self, policy: PolicyId) -> Destinations {
        self.policies
            .get(&policy)
            .map_or_else(Destinations::new, |p| p.queue.slots.clone())
    }
}

impl Policy {
    /// Another policy of the same objects took and freed slots.
    pub(super) fn visited(
        &mut self,
        id: PolicyId,
        ground: &mut Ground,
        taken: &Destinations,
        freed: &Destinations,
    ) {
        self.queue.guests.add(taken);
        self.queue.guests.remove(freed);
        let mut changed = taken | freed;
        let mine =
            (&changed & self.state.sets.get(SetId::Selected)) | (&changed & &self.queue.slots);
        changed &= mine;
        self.queue.refresh(id, &self.state, ground, &changed);
    }

    fn delete(&mut self, cx: &mut Ctx<'_>, orphan: bool, at_once: bool) {
        self.state.config.deleted = Some(Deletion { at_once });
        self.state.head.pending = None;
        self.state.config.suspended = false;
        let selected = self.state.sets.get(SetId::Selected).clone();
        let none = Destinations::new();
        if orphan {
            let mut all = selected;
            for (_, set) in self.state.assigned() {
                all |= set;
            }
            for id in [SetId::Leaving, SetId::Retiring] {
                all |= self.state.sets.get(id);
            }
            self.selected(cx, &none, &none, &all);
            self.drop_copies(&all);
            self.refresh(cx, &all);
            return;
        }
        self.selected(cx, &none, &selected, &none);
        let retiring = self.state.sets.get(SetId::Retiring).clone();
        self.state.sets.remove(SetId::Retiring, &retiring);
        self.state.sets.add(SetId::Leaving, &retiring);
        self.refresh(cx, &retiring);
        if at_once {
            let all = self.state.sets.get(SetId::Leaving).clone();
            self.remove(cx, &all, false);
        }
    }

    /// When it is to be looked at again, by the clock.
    fn wake(&self, now: Timestamp, t: Timestamp) -> Option<Timestamp> {
        let mut engine = self.next_due(t);
        let mut sooner = |at: Option<Timestamp>| {
            engine = [engine, at].into_iter().flatten().min();
        };
        if !self.state.config.suspended && self.state.config.deleted.is_none() {
            sooner(self.settles());
        }
        let (asks, windows) = self.gates_wake(now);
        sooner(asks);
        sooner(self.pace_wake(now));
        let engine = engine.map(|at| self.state.clock(at));
        // What is due was done in this very step: look again soon, not at once.
        let engine = engine.map(|at| at.max(Timestamp(now.0 + 1)));
        [engine, windows].into_iter().flatten().min()
    }
}
