//! The model: what each destination has and holds, told only by what happened and by the engine's effects. It frees slots as early as the rules allow, so that whatever exceeds a limit in its eyes
//! does so in everybody's.

use std::collections::{BTreeMap, BTreeSet};

use atoll_kube::Timestamp;
use atoll_placement::rollout::delta::SetId;
use atoll_placement::rollout::event::GatePlace;
use atoll_placement::rollout::spec::{Amount, Offline, OnFailure};
use atoll_placement::rollout::{
    Action, Answer, Effect, Event, Facts, Ordinal, Phase, PolicyEvent, PolicyId, RolloutState,
    Rollouts, Step,
};

use super::world::World;

#[derive(Clone, Default, Debug)]
pub(crate) struct Copy {
    pub(crate) selected: bool,
    pub(crate) has: Option<Ordinal>,
    pub(crate) held: bool,
    pub(crate) installing: bool,
    pub(crate) failed: bool,
    pub(crate) removing: bool,
    /// Its deadline passed by the model's clock; the engine says so a little later.
    late: bool,
    started: i64,
    healthy: Option<i64>,
}

#[derive(Default)]
pub(crate) struct Model {
    pub(crate) world: World,
    /// Time that only goes forward.
    pub(crate) time: i64,
    clock: i64,
    pub(crate) up: BTreeSet<u32>,
    pub(crate) known: BTreeSet<u32>,
    pub(crate) copies: BTreeMap<(PolicyId, u32), Copy>,
    /// Inventory budget: at most so many of a site.
    pub(crate) site_budget: Option<u32>,
    pub(crate) suspended: BTreeSet<PolicyId>,
    pub(crate) approved: BTreeSet<(PolicyId, Ordinal, String)>,
    pub(crate) live: BTreeMap<(PolicyId, Ordinal), bool>,
    members: BTreeMap<(PolicyId, u32), BTreeSet<u32>>,
    begun: BTreeSet<(PolicyId, u32)>,
    complete: BTreeSet<(PolicyId, u32)>,
    shares: bool,
}

impl Model {
    pub(crate) fn sharing(mut self, shares: bool) -> Self {
        self.shares = shares;
        self
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp(self.clock)
    }

    pub(crate) fn advance(&mut self, seconds: i64) {
        self.clock += seconds * 1000;
        if seconds > 0 {
            self.time += seconds * 1000;
        }
    }

    pub(crate) fn copy(&mut self, policy: PolicyId, destination: u32) -> &mut Copy {
        self.copies.entry((policy, destination)).or_default()
    }

    /// What an event says, before the engine acts on it.
    pub(crate) fn hear(&mut self, event: &Event, state: &dyn Fn(PolicyId) -> Option<RolloutState>) {
        let time = self.time;
        match event {
            Event::Availability { up, down } => {
                for d in up {
                    self.known.insert(d);
                    if self.up.insert(d) {
                        // A soak starts over.
                        for ((_, at), copy) in &mut self.copies {
                            if *at == d && copy.healthy.is_some() {
                                copy.healthy = Some(time);
                            }
                        }
                    }
                }
                for d in down {
                    self.known.insert(d);
                    self.up.remove(&d);
                }
            }
            Event::Gone(gone) => {
                self.copies.retain(|(_, d), _| !gone.contains(*d));
                for d in gone {
                    self.up.remove(&d);
                    self.known.remove(&d);
                    for members in self.members.values_mut() {
                        members.remove(&d);
                    }
                }
            }
            Event::Policy(policy, PolicyEvent::Suspended(on)) => {
                if *on {
                    self.suspended.insert(*policy);
                } else {
                    self.suspended.remove(policy);
                }
            }
            Event::Policy(policy, PolicyEvent::Selected { joined, left, .. }) => {
                for d in left {
                    self.copy(*policy, d).selected = false;
                }
                for d in joined {
                    self.known.insert(d);
                    self.copy(*policy, d).selected = true;
                }
            }
            Event::Policy(policy, PolicyEvent::Removed(who)) => {
                for d in who {
                    let copy = self.copy(*policy, d);
                    if std::mem::take(&mut copy.removing) {
                        copy.installing = false;
                        copy.held = false;
                    }
                }
            }
            Event::Policy(policy, PolicyEvent::Reported(report)) => {
                let said = [
                    (&report.healthy, 0),
                    (&report.progressing, 1),
                    (&report.failed, 2),
                ];
                for (set, what) in said {
                    for d in set {
                        let copy = self.copy(*policy, d);
                        if copy.has != report.revision || copy.removing {
                            continue;
                        }
                        match what {
                            0 => {
                                copy.failed = false;
                                copy.late = false;
                                copy.healthy.get_or_insert(time);
                            }
                            1 => copy.healthy = None,
                            _ => {
                                copy.healthy = None;
                                copy.failed = true;
                                copy.held = false;
                            }
                        }
                    }
                }
            }
            Event::Policy(policy, PolicyEvent::Answered(gate, answer))
                if gate.place == GatePlace::Rollout =>
            {
                let open = *answer == Answer::Go;
                self.live.insert((*policy, gate.revision), open);
            }
            _ => {}
        }
        self.pass_time(state);
    }

    /// Frees what time freed, at the earliest.
    fn pass_time(&mut self, state: &dyn Fn(PolicyId) -> Option<RolloutState>) {
        let mut states = BTreeMap::new();
        for ((policy, d), copy) in &mut self.copies {
            if !copy.held {
                continue;
            }
            let state = states.entry(*policy).or_insert_with(|| state(*policy));
            let Some(state) = state else { continue };
            let stage = state.head.run.iter().flat_map(|r| &r.stages);
            let stage = stage
                .into_iter()
                .find(|s| state.sets.get(SetId::Stage(s.id)).contains(*d));
            let limits = state.limits(stage);
            if let Some(since) = copy.healthy
                && self.time - since >= limits.soak.as_millis() as i64
                && self.up.contains(d)
            {
                copy.held = false;
            } else if let Some(deadline) = limits.deadline
                && copy.healthy.is_none()
                && self.time - copy.started >= deadline.as_millis() as i64
            {
                copy.held = false;
                copy.late = !copy.removing;
            }
        }
    }

    fn down(&self, d: u32) -> bool {
        !self.up.contains(&d)
            || self.copies.iter().any(|((_, at), copy)| {
                *at == d && (copy.held || copy.failed || copy.late) && !copy.installing
            })
    }

    /// Checks what the engine did, and believes it.
    pub(crate) fn check(
        &mut self,
        before: &BTreeMap<PolicyId, RolloutState>,
        engine: &Rollouts,
        step: &Step,
        resumed: bool,
    ) {
        let time = self.time;
        // Limits may be others by now.
        self.pass_time(&|policy| engine.state(policy).cloned());
        let was_down: BTreeSet<u32> = self
            .known
            .iter()
            .copied()
            .filter(|d| self.down(*d))
            .collect();
        let was_held: BTreeSet<(PolicyId, u32)> = self
            .copies
            .iter()
            .filter(|(_, c)| c.held)
            .map(|(key, _)| *key)
            .collect();
        for policy in engine_policies(engine) {
            self.check_stages(policy, before.get(&policy), engine);
        }
        let mut disrupted: BTreeMap<u32, BTreeSet<PolicyId>> = BTreeMap::new();
        let mut starts: Vec<(PolicyId, u32, bool)> = Vec::new();
        for effect in &step.effects {
            match effect {
                Effect::Assign(policy, assignment) => {
                    let state = engine.state(*policy).expect("a known policy");
                    for d in &assignment.destinations {
                        let copy = self.copy(*policy, d).clone();
                        if resumed
                            && copy.has == Some(assignment.revision)
                            && engine.slots(*policy).contains(d)
                        {
                            continue;
                        }
                        assert!(
                            self.up.contains(&d),
                            "{d} is away and was assigned something"
                        );
                        assert!(copy.selected, "{d} is not selected");
                        assert!(!copy.removing, "{d} is being emptied");
                        assert!(!self.suspended.contains(policy), "{policy:?} is suspended");
                        self.check_open(state, *policy, d, assignment.revision, assignment.action);
                        let copy = self.copy(*policy, d);
                        // It was healthy just before. Between two runs no stage asks how long, so the soak may not have ended.
                        if !state.sets.get(SetId::Installing).contains(d) && copy.healthy.is_some()
                        {
                            copy.installing = false;
                        }
                        copy.installing |= copy.has.is_none();
                        assert_eq!(
                            assignment.action == Action::Rerender,
                            copy.has == Some(assignment.revision)
                        );
                        copy.has = Some(assignment.revision);
                        copy.failed = false;
                        copy.late = false;
                        copy.held = true;
                        copy.started = time;
                        copy.healthy = None;
                        let installing = copy.installing;
                        starts.push((*policy, d, false));
                        if !installing {
                            disrupted.entry(d).or_default().insert(*policy);
                        }
                    }
                }
                Effect::Remove(policy, who) => {
                    let state = engine.state(*policy).expect("a known policy");
                    for d in who {
                        if resumed && self.copy(*policy, d).removing {
                            continue;
                        }
                        assert!(!self.suspended.contains(policy), "{policy:?} is suspended");
                        let copy = self.copy(*policy, d);
                        assert!(!copy.selected, "{d} is selected and was emptied");
                        let old = std::mem::take(copy);
                        assert!(old.has.is_some());
                        copy.removing = true;
                        copy.installing =
                            old.installing && state.sets.get(SetId::Installing).contains(d);
                        copy.held = true;
                        copy.started = time;
                        let installing = copy.installing;
                        starts.push((*policy, d, true));
                        if !installing {
                            disrupted.entry(d).or_default().insert(*policy);
                        }
                    }
                }
                _ => {}
            }
        }
        // Concurrency: in each lane, unless everybody that was started held a slot before.
        for (policy, d, _) in &starts {
            if was_held.contains(&(*policy, *d)) {
                continue;
            }
            let state = engine.state(*policy).expect("a known policy");
            self.check_lane(state, *policy, *d);
        }
        // Groups.
        for (d, acting) in &disrupted {
            if was_down.contains(d) {
                continue;
            }
            self.check_groups(engine, *d, acting);
        }
        // A first installation is over when the copy was healthy, not before.
        for ((policy, d), copy) in &mut self.copies {
            let Some(state) = engine.state(*policy) else {
                continue;
            };
            let installing = state.sets.get(SetId::Installing).contains(*d);
            if copy.installing != installing {
                assert!(
                    copy.installing && copy.healthy.is_some() && !copy.held,
                    "{d}: {copy:?}"
                );
                copy.installing = false;
            }
        }
        // Being away, or anything else, frees no slot.
        for ((policy, d), copy) in &self.copies {
            if copy.held && engine.state(*policy).is_some() {
                assert!(
                    engine.slots(*policy).contains(*d),
                    "{policy:?} {d} holds a slot in the model only: {copy:?} at {time}"
                );
            }
        }
    }

    fn check_open(
        &self,
        state: &RolloutState,
        policy: PolicyId,
        d: u32,
        revision: Ordinal,
        action: Action,
    ) {
        let run = state.head.run.as_ref().expect("something was cut");
        if revision != run.revision || run.phase == Phase::Completed || action == Action::Rerender {
            if action != Action::Rerender && revision != run.revision {
                assert_eq!(Some(revision), state.head.base, "neither new nor completed");
            }
            return;
        }
        assert!(state.head.paused.is_none(), "started while paused");
        assert!(matches!(run.phase, Phase::Progressing), "{:?}", run.phase);
        let stage = run
            .stages
            .iter()
            .find(|s| state.sets.get(SetId::Stage(s.id)).contains(d));
        let stage = stage.expect("its stage has begun");
        assert!(stage.began.is_some());
        if run.back {
            return;
        }
        for gate in state.gates_at(&GatePlace::Before(stage.name.clone())) {
            assert!(
                self.approved
                    .contains(&(policy, revision, gate.name.clone())),
                "not approved"
            );
        }
        if !state.spec.gates.is_empty() {
            assert_eq!(
                self.live.get(&(policy, revision)),
                Some(&true),
                "the gate is closed"
            );
        }
        if state.spec.on_failure == OnFailure::Pause {
            let members = self.lane(state, d);
            let failed = members.iter().filter(|m| {
                self.copies
                    .get(&(policy, **m))
                    .is_some_and(|c| c.selected && c.failed && c.has == Some(revision))
            });
            let selected = members
                .iter()
                .filter(|m| self.copies.get(&(policy, **m)).is_some_and(|c| c.selected));
            let limits = state.limits(Some(stage));
            let allowed = limits
                .failures
                .map_or(u64::MAX, |f| f.floor(selected.count() as u64));
            assert!(
                failed.count() as u64 <= allowed + stage.forgiven,
                "started after too many failures"
            );
        }
    }

    fn lane(&self, state: &RolloutState, d: u32) -> BTreeSet<u32> {
        let run = state.head.run.as_ref();
        let mut outside = self.known.clone();
        for stage in run.iter().flat_map(|r| &r.stages) {
            let members = state.sets.get(SetId::Stage(stage.id));
            if members.contains(d) {
                return members.iter().collect();
            }
            outside.retain(|m| !members.contains(*m));
        }
        outside
    }

    fn check_lane(&self, state: &RolloutState, policy: PolicyId, d: u32) {
        let members = self.lane(state, d);
        let stage = state
            .head
            .run
            .iter()
            .flat_map(|r| &r.stages)
            .find(|s| state.sets.get(SetId::Stage(s.id)).contains(d));
        let Some(concurrency) = state.limits(stage).concurrency else {
            return;
        };
        let copy = |m: &u32| self.copies.get(&(policy, *m));
        let selected = members
            .iter()
            .filter(|m| copy(m).is_some_and(|c| c.selected))
            .count() as u64;
        let held = members.iter().filter(|m| {
            copy(m).is_some_and(|c| c.held)
                || (self.shares
                    && copy(m).is_some_and(|c| c.selected)
                    && self.copies.iter().any(|((_, at), c)| at == *m && c.held))
        });
        let limit = concurrency.ceil(selected).max(1);
        assert!(
            held.count() as u64 <= limit,
            "more than {limit} slots in {:?}",
            stage.map(|s| &s.name)
        );
    }

    fn check_groups(&self, engine: &Rollouts, d: u32, acting: &BTreeSet<PolicyId>) {
        let site = |d: u32| self.world.group(&["site".to_owned()], d);
        let mine = site(d);
        let count = |members: &mut dyn Iterator<Item = u32>| {
            let group: Vec<u32> = members.filter(|m| site(*m) == mine).collect();
            let down = group.iter().filter(|m| self.down(**m)).count() as u64;
            (group.len() as u64, down)
        };
        if let Some(max) = self.site_budget {
            let (_, down) = count(&mut self.known.iter().copied());
            assert!(
                down <= u64::from(max),
                "inventory budget: {down} of {mine} are down, {max} may"
            );
        }
        for policy in acting {
            let state = engine.state(*policy).expect("a known policy");
            if !self.copies.get(&(*policy, d)).is_some_and(|c| c.selected) {
                continue;
            }
            for budget in &state.spec.budgets {
                let mut members = self
                    .copies
                    .iter()
                    .filter(|((p, _), c)| p == policy && c.selected)
                    .map(|((_, d), _)| *d);
                let (total, down) = count(&mut members);
                let max: Amount = budget.max_unavailable;
                assert!(
                    down <= max.ceil(total),
                    "policy budget: {down} of {mine} are down, {} may",
                    max.ceil(total)
                );
            }
        }
    }

    /// Stages begin in order, when those before are through; who is in one stays in it.
    fn check_stages(&mut self, policy: PolicyId, before: Option<&RolloutState>, engine: &Rollouts) {
        let state = engine.state(policy).expect("a known policy");
        let Some(run) = &state.head.run else { return };
        let same = before
            .and_then(|b| b.head.run.as_ref())
            .is_some_and(|r| r.revision == run.revision);
        let mut seen: BTreeSet<u32> = BTreeSet::new();
        for (i, stage) in run.stages.iter().enumerate() {
            let members: BTreeSet<u32> = state.sets.get(SetId::Stage(stage.id)).iter().collect();
            assert!(members.is_disjoint(&seen), "in two stages");
            seen.extend(&members);
            let old = self.members.insert((policy, stage.id), members.clone());
            if same && let Some(old) = old {
                assert!(old.is_subset(&members), "a begun stage lost members");
            }
            if stage.began.is_none() {
                assert!(members.is_empty());
                continue;
            }
            for earlier in &run.stages[..i] {
                let begun = self.begun.contains(&(policy, stage.id));
                assert!(
                    begun || earlier.completed.is_some(),
                    "a stage began before an earlier one was complete"
                );
            }
            self.begun.insert((policy, stage.id));
            // It is complete when all members that matter are through. (Who returns later catches up.)
            if stage.completed.is_some() && self.complete.insert((policy, stage.id)) {
                for m in state.sets.get(SetId::Stage(stage.id)) {
                    let Some(copy) = self.copies.get(&(policy, m)) else {
                        continue;
                    };
                    let matters = copy.selected
                        && (self.up.contains(&m) || state.spec.offline == Offline::Wait);
                    // What has the same content has the revision.
                    let has = copy.has.is_some() && state.revision_of(m) == Some(run.revision);
                    assert!(
                        !matters || (has && !copy.held),
                        "{m} of {} is not through: {copy:?}",
                        stage.name
                    );
                }
            }
        }
        // Content that is the same needs no action: the model takes over the new name.
        for ((p, d), copy) in &mut self.copies {
            if *p == policy && copy.has.is_some() {
                let named = state.revision_of(*d);
                let content = |r: Option<Ordinal>| {
                    let kept = r.and_then(|r| {
                        state
                            .revision(r)
                            .or_else(|| before.and_then(|b| b.revision(r)))
                    });
                    kept.map(|r| r.content.clone())
                };
                if named != copy.has && named.is_some() && content(named) == content(copy.has) {
                    copy.has = named;
                }
            }
        }
    }
}

fn engine_policies(engine: &Rollouts) -> Vec<PolicyId> {
    (0..4)
        .map(PolicyId)
        .filter(|p| engine.state(*p).is_some())
        .collect()
}
