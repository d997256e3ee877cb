//! A policy comes under control, and what the engine is told of it: its settings, whom it shares objects with, what it would place and whom it selects.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use atoll_placement::bundle::BodyHash;
use atoll_placement::place::ObjectIndex;
use atoll_placement::rollout::delta::SetId;
use atoll_placement::rollout::spec::RolloutPolicy;
use atoll_placement::rollout::state::{Cause, Config};
use atoll_placement::rollout::{
    Event, Ordinal, Phase, PolicyEvent, PolicyId, RevisionInfo, RolloutState,
};
use atoll_store::Key;
use bytes::Bytes;

use super::{Controlled, Held, Target, carry};
use crate::absorb::Pending;
use crate::decide::{Candidate, DecideError, Decision, Record};
use crate::model::{Copies, PolicyIndex, PolicyState, World};
use crate::rows;
use crate::shared::Shared;
use atoll_kube::Timestamp;

/// The engine is told what a policy has placed so far, once: its first record.
pub(super) async fn enter(
    shared: &Shared,
    index: PolicyIndex,
    pending: &mut Pending,
) -> Result<(), DecideError> {
    let now = shared.registry.now();
    let decision = {
        let mut world = shared.world.write();
        let Some(policy) = world.policies.get(&index).filter(|p| p.control.is_none()) else {
            return Ok(());
        };
        let whole = seed(policy).whole();
        let record = Record {
            row: Some((0, Bytes::from(whole.encode()))),
            entered: true,
            ..Record::default()
        };
        let decision = Decision::under_control(policy, record, policy.orphan_now(), now.0);
        let id = PolicyId(index.0);
        // Our own bytes: nothing else was ever there.
        if let Err(error) = world.control.engine.load(id, &whole) {
            tracing::error!(%error, policy = ?index, "a policy could not be put under control");
        }
        if let Some(policy) = world.policies.get_mut(&index) {
            policy.control = Some(Box::new(Controlled::new(id, 0, 1)));
            let placed = policy.assigned.clone();
            pending.heard.assigned.insert(index, placed);
        }
        decision
    };
    carry::persist(shared, index, decision, pending).await
}

/// What a policy has placed without the engine, as the engine's state: everything is complete.
fn seed(policy: &PolicyState) -> RolloutState {
    let mut state = RolloutState::default();
    state.config = Config {
        uid: policy.uid.to_string(),
        latest: policy.ordinal(),
        content: policy.newest().map(|r| r.cut.content.clone()),
        ..Config::default()
    };
    for (ordinal, revision) in &policy.revisions {
        let at = Timestamp(revision.cut.at);
        state.config.revisions.push(RevisionInfo {
            ordinal: Ordinal(*ordinal),
            content: revision.cut.content.clone(),
            cause: Cause::Change,
            cut: at,
            phase: Phase::Completed,
            ended: Some(at),
            message: None,
        });
        let assigned = SetId::Assigned(Ordinal(*ordinal));
        state.sets.add(assigned, &revision.assigned);
    }
    state.sets.add(SetId::Selected, &policy.assigned);
    state.head.base = policy.newest().map(|_| Ordinal(policy.ordinal()));
    state
}

impl Controlled {
    pub(super) fn new(id: PolicyId, oldest: u64, next: u64) -> Self {
        Controlled {
            id,
            next,
            oldest,
            candidate: None,
            introduced: false,
            refused: None,
        }
    }
}

/// What a policy's spec says to the engine, where the engine knows otherwise.
pub(super) fn settings(world: &mut World, index: PolicyIndex, events: &mut Vec<Event>) {
    let id = PolicyId(index.0);
    let Some(policy) = world.policies.get(&index) else {
        return;
    };
    let Some(state) = world.control.engine.state(id) else {
        return;
    };
    let good = world
        .control
        .spec_of(policy)
        .and_then(|s| Some((s, s.parsed.as_ref()?)));
    let wanted = match (&policy.spec.rollout, good) {
        (None, _) => Some((None, RolloutPolicy::at_once())),
        (Some(_), Some((spec, parsed))) => Some((Some(spec.source.clone()), parsed.clone())),
        // The last good one stays in force.
        (Some(_), None) => None,
    };
    // The engine makes its queues with the settings: they are said at least once.
    let introduced = policy.control.as_ref().is_none_or(|c| c.introduced);
    if let Some((source, spec)) = wanted
        && (!introduced || source != state.config.source)
        && !policy.deleted
    {
        let uid = policy.uid.to_string();
        let spec = Box::new(spec);
        let event = PolicyEvent::Settings { uid, spec, source };
        events.push(Event::Policy(id, event));
    }
    let holds = policy.spec.rollout.is_some();
    if policy.newest().is_some_and(|r| r.cut.holds != holds) {
        world.hold_back(index, holds);
    }
    let policy = world.policies.get_mut(&index);
    if let Some(control) = policy.and_then(|p| p.control.as_mut()) {
        control.introduced = true;
    }
}

impl World {
    /// A policy has a RolloutPolicy now, or has none any more: its copies hold back those of others, or not.
    fn hold_back(&mut self, index: PolicyIndex, holds: bool) {
        let mut copies = Copies::new();
        let policy = self.policies.get(&index);
        for (_, revision) in policy.into_iter().flat_map(PolicyState::in_use) {
            for object in &revision.cut.objects {
                *copies.entry(*object).or_default() |= &revision.assigned;
            }
        }
        self.recounted(&copies, |world| {
            let policy = world.policies.get_mut(&index);
            for revision in policy.into_iter().flat_map(|p| p.revisions.values_mut()) {
                revision.cut = Arc::new(revision.cut.holding(holds));
            }
        });
    }

    /// What a policy places, or would place, by its own wish: what merely came along is shared by everybody and holds back nobody.
    fn own_objects(&self, policy: &PolicyState) -> BTreeSet<ObjectIndex> {
        let candidate = policy.control.as_ref().and_then(|c| c.candidate.as_ref());
        let cuts = policy.newest().map(|r| &r.cut).into_iter();
        let cuts = cuts.chain(candidate.map(|c| &c.candidate.cut));
        let own = cuts
            .flat_map(|cut| &cut.entries)
            .filter(|(_, e)| !e.flags.implicit);
        own.map(|(object, _)| *object).collect()
    }

    /// The policies under control that share an object with this one.
    pub(super) fn sharing(&self, index: PolicyIndex) -> BTreeSet<PolicyId> {
        let Some(policy) = self.policies.get(&index) else {
            return BTreeSet::new();
        };
        let mut found = BTreeSet::new();
        let mut others: BTreeMap<PolicyIndex, BTreeSet<ObjectIndex>> = BTreeMap::new();
        for object in self.own_objects(policy) {
            let policies = self.objects.get(&object).map(|o| &o.policies);
            for other in policies.into_iter().flatten().filter(|o| **o != index) {
                let Some(state) = self.policies.get(other).filter(|p| p.control.is_some()) else {
                    continue;
                };
                let own = others
                    .entry(*other)
                    .or_insert_with(|| self.own_objects(state));
                if own.contains(&object) {
                    found.insert(PolicyId(other.0));
                }
            }
        }
        found
    }
}

/// What a policy should come to, as events. Returns rows of bodies that nothing needs any more.
pub(super) fn aim(
    world: &mut World,
    index: PolicyIndex,
    target: Target,
    events: &mut Vec<Event>,
) -> Vec<Key> {
    let id = PolicyId(index.0);
    let Target {
        content,
        joined,
        left,
    } = target;
    let mut free = Vec::new();
    let mut hash = None;
    if let Some(candidate) = content {
        hash = Some(candidate.cut.content.clone());
        free = world.consider(index, Some(candidate));
    }
    shares(world, index, events);
    let known = world.control.engine.state(id);
    let pending = known.and_then(|s| s.head.pending.as_ref());
    let wanted = pending.map(|p| &p.content);
    let wanted = wanted.or(known.and_then(|s| s.config.content.as_ref()));
    // Before the content: a first revision is for those that are selected, stage by stage.
    if !joined.is_empty() || !left.is_empty() {
        let event = PolicyEvent::Selected {
            joined,
            left,
            released: Default::default(),
        };
        events.push(Event::Policy(id, event));
    }
    if hash.is_some()
        && hash.as_ref() != wanted
        && let Some(hash) = hash
    {
        events.push(Event::Policy(id, PolicyEvent::Content(hash)));
    }
    free.iter().map(rows::body).collect()
}

/// Both sides are told who shares objects with whom.
fn shares(world: &World, index: PolicyIndex, events: &mut Vec<Event>) {
    let id = PolicyId(index.0);
    let engine = &world.control.engine;
    let Some(state) = engine.state(id) else {
        return;
    };
    let now = world.sharing(index);
    let before = &state.config.shares;
    if now == *before {
        return;
    }
    for other in now.symmetric_difference(before) {
        let Some(theirs) = engine.state(*other) else {
            continue;
        };
        let mut theirs = theirs.config.shares.clone();
        match now.contains(other) {
            true => theirs.insert(id),
            false => theirs.remove(&id),
        };
        events.push(Event::Policy(*other, PolicyEvent::Shares(theirs)));
    }
    events.push(Event::Policy(id, PolicyEvent::Shares(now)));
}

impl World {
    /// Keeps what a policy's next revision would be, with its bodies. Returns those that nothing names any more.
    pub(super) fn consider(
        &mut self,
        index: PolicyIndex,
        candidate: Option<Candidate>,
    ) -> Vec<BodyHash> {
        let newest = |policy: &PolicyState| policy.newest().map(|r| r.cut.content.clone());
        let Some(policy) = self.policies.get_mut(&index) else {
            return Vec::new();
        };
        let newest = newest(policy);
        let Some(control) = policy.control.as_mut() else {
            return Vec::new();
        };
        let old = control.candidate.take();
        let new = candidate.filter(|c| newest.as_ref() != Some(&c.cut.content));
        if let Some(candidate) = new {
            // What the store has stays there as long as it may be needed.
            let mut bodies = Vec::new();
            for entry in candidate.cut.entries.values() {
                if let Some(count) = self.bodies.get_mut(&entry.content.body) {
                    *count += 1;
                    bodies.push(entry.content.body);
                }
            }
            control.candidate = Some(Held { candidate, bodies });
        }
        self.let_bodies(old.into_iter().flat_map(|h| h.bodies))
    }

    /// A candidate that became a revision is one no longer.
    pub(super) fn reconsider(&mut self, index: PolicyIndex) -> Vec<BodyHash> {
        let policy = self.policies.get_mut(&index);
        let control = policy.and_then(|p| p.control.as_mut());
        let Some(held) = control.and_then(|c| c.candidate.take()) else {
            return Vec::new();
        };
        self.consider(index, Some(held.candidate));
        self.let_bodies(held.bodies.into_iter())
    }
}
