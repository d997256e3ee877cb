//! Revisions and their stages: a revision is cut, its run begins one stage after the other, and is complete when the last one is.
//!
//! Always true: stages begin in their order; who belongs to a begun stage stays in it as long as the run lasts; a destination is in one stage at most. A revision that goes back has a single
//! stage of everybody.

use atoll_kube::Timestamp;
use sha2::{Digest, Sha256};

use super::Ordinal;
use super::delta::{SetId, outside};
use super::engine::{Ctx, Policy};
use super::event::{Effect, GatePlace};
use super::gates::Pass;
use super::spec::{Offline, Portion, REST, Release, StageSelector};
use super::state::{Cause, Pending, Phase, RateRun, RevisionInfo, Run, StageRun};
use crate::Destinations;

impl Policy {
    /// The selected content has this hash now.
    pub(super) fn content(&mut self, cx: &mut Ctx<'_>, hash: String) {
        if self.state.config.content.as_deref() == Some(&hash) {
            self.state.head.pending = None;
            return;
        }
        let head = &mut self.state.head;
        if head.pending.as_ref().is_none_or(|p| p.content != hash) {
            head.pending = Some(Pending {
                content: hash,
                since: cx.t,
            });
        }
    }

    /// When the content that waits becomes a revision, in engine time; `None` if nothing waits or somebody must say so.
    pub(super) fn settles(&self) -> Option<Timestamp> {
        let pending = self.state.head.pending.as_ref()?;
        match self.state.spec.release {
            Release::Manual(_) if !self.state.head.released => None,
            Release::Manual(_) => Some(pending.since),
            Release::Automatic => Some(pending.since.plus(self.state.spec.settle)),
        }
    }

    /// Cuts a revision of the content that waits, if it is time.
    fn settle(&mut self, cx: &mut Ctx<'_>) {
        if self.settles().is_none_or(|at| cx.t < at) {
            return;
        }
        self.state.head.released = false;
        let Some(pending) = self.state.head.pending.take() else {
            return;
        };
        self.state.config.content = Some(pending.content.clone());
        self.cut(cx, pending.content, Cause::Change);
    }

    /// Cuts a revision and begins its run.
    ///
    /// Stages of the run before end with it: a destination that soaked in one is healthy at a revision that nobody else will get, so its slot is free by the soak time of the rest. It takes another
    /// one for the new revision; no budget is exceeded, because nothing about it is disrupted in between.
    pub(super) fn cut(&mut self, cx: &mut Ctx<'_>, content: String, cause: Cause) -> Ordinal {
        let state = &mut self.state;
        state.config.latest += 1;
        let ordinal = Ordinal(state.config.latest);
        if let Some(run) = state.head.run.as_mut()
            && run.active()
        {
            run.phase = Phase::Superseded;
            let old = run.revision;
            if let Some(info) = state.revision_mut(old) {
                info.phase = Phase::Superseded;
                info.ended = Some(cx.t);
                info.message = Some(format!(
                    "revision {} came before it was complete",
                    ordinal.0
                ));
            }
        }
        if state.head.paused.as_ref().is_some_and(|p| !p.asked) {
            state.head.paused = None;
        }
        state.config.revisions.push(RevisionInfo {
            ordinal,
            content,
            cause,
            cut: cx.t,
            phase: Phase::Pending,
            ended: None,
            message: None,
        });
        let old: Vec<SetId> = state
            .sets
            .range(SetId::Stage(0)..=SetId::Stage(u32::MAX))
            .map(|(id, _)| id)
            .collect();
        for id in old {
            state.sets.clear(id);
        }
        let back = matches!(cause, Cause::Back(_));
        let mut names: Vec<String> = Vec::new();
        if !back {
            names.extend(state.spec.stages.iter().map(|s| s.name.clone()));
        }
        names.push(REST.to_owned());
        let stages = names.into_iter().map(|name| {
            state.head.next_stage += 1;
            fresh(state.head.next_stage, name)
        });
        let stages = stages.collect();
        let rate = state.spec.rate.filter(|_| !back);
        state.head.run = Some(Run {
            revision: ordinal,
            back,
            phase: Phase::Pending,
            stages,
            gates: Vec::new(),
            succeeded: 0,
            rate: rate.map(|rate| RateRun::new(&rate, cx.t)),
            lately: Vec::new(),
        });
        let of = match cause {
            Cause::Back(of) => Some(of),
            Cause::Change | Cause::Restart => None,
        };
        cx.out.list.push(Effect::Cut {
            policy: cx.id,
            revision: ordinal,
            of,
            restart: cause == Cause::Restart,
        });
        let all = self.state.sets.get(SetId::Selected).clone();
        self.rename(&all);
        self.rebuild(cx);
        ordinal
    }

    /// Who has the content of the revision in progress already has that revision: nothing is to be done there. (A restart has a content of its own.)
    fn rename(&mut self, who: &Destinations) {
        let state = &mut self.state;
        let Some(revision) = state.head.run.as_ref().map(|run| run.revision) else {
            return;
        };
        let content = |r: Ordinal| state.revision(r).map(|r| &r.content);
        let now = content(revision);
        let same = state.assigned().map(|(r, _)| r);
        let same: Vec<Ordinal> = same
            .filter(|r| *r != revision && content(*r) == now)
            .collect();
        for old in same {
            let moved = state.sets.remove(SetId::Assigned(old), who);
            state.sets.add(SetId::Assigned(revision), &moved);
        }
    }

    /// Goes as far as stages, gates and destinations allow.
    pub(super) fn advance(&mut self, cx: &mut Ctx<'_>) {
        if self.state.config.suspended || self.state.config.deleted.is_some() {
            return;
        }
        self.settle(cx);
        loop {
            let Some(run) = self.state.head.run.as_ref() else {
                return;
            };
            if !run.active() || self.state.head.paused.is_some() {
                return;
            }
            if !self.pass(cx, &GatePlace::Rollout) {
                return;
            }
            let Some(run) = self.state.head.run.as_ref() else {
                return;
            };
            let Some(at) = run.current() else {
                self.complete(cx);
                return;
            };
            let stage = &run.stages[at];
            let name = stage.name.clone();
            if stage.began.is_none() {
                if !self.pass(cx, &GatePlace::Before(name)) {
                    return;
                }
                self.begin(cx, at);
                continue;
            }
            let lane = &self.queue.lanes[at];
            let wait = self.state.spec.offline == Offline::Wait;
            if !lane.here.is_empty() || (wait && !lane.away.is_empty()) {
                return;
            }
            if !self.pass(cx, &GatePlace::After(name)) {
                return;
            }
            if let Some(run) = self.state.head.run.as_mut() {
                run.stages[at].completed = Some(cx.t);
            }
        }
    }

    /// Whether the gates at a place let the run go on; asks those that must be asked, and gives up if one says so.
    fn pass(&mut self, cx: &mut Ctx<'_>, place: &GatePlace) -> bool {
        match self.gates(cx, place) {
            Pass::Open => true,
            Pass::Closed => false,
            Pass::Abort(why) => {
                self.give_up(cx, &why);
                false
            }
        }
    }

    fn complete(&mut self, cx: &mut Ctx<'_>) {
        let Some(run) = self.state.head.run.as_mut() else {
            return;
        };
        run.phase = Phase::Completed;
        let revision = run.revision;
        self.state.head.base = Some(revision);
        if let Some(info) = self.state.revision_mut(revision) {
            info.phase = Phase::Completed;
            info.ended = Some(cx.t);
        }
        self.rebuild(cx);
    }

    fn begin(&mut self, cx: &mut Ctx<'_>, at: usize) {
        let Some(run) = self.state.head.run.as_ref() else {
            return;
        };
        let (id, name) = (run.stages[at].id, run.stages[at].name.clone());
        let selected = self.state.sets.get(SetId::Selected);
        let mut begun = Destinations::new();
        for stage in &run.stages {
            begun |= selected & self.state.sets.get(SetId::Stage(stage.id));
        }
        let spec = self.state.stage_spec(&name);
        let (selector, portion) = match spec {
            Some(spec) => (spec.selector.clone(), spec.portion),
            None => (StageSelector::default(), Portion::All),
        };
        let matched = if selector.is_everything() {
            selected.clone()
        } else {
            cx.facts.choose(&selector, selected) & selected
        };
        let free = &matched - &begun;
        let (members, up_to) = match portion {
            Portion::All => (free, None),
            Portion::Count(count) => (self.lowest(cx, &free, u64::from(count)).0, None),
            Portion::Percent(percent) => {
                let goal = (matched.len() * u64::from(percent)).div_ceil(100);
                let had = matched.intersection_len(&begun);
                let (members, up_to) = self.lowest(cx, &free, goal.saturating_sub(had));
                (members, up_to)
            }
        };
        self.state.sets.add(SetId::Stage(id), &members);
        self.rename(&members);
        if let Some(run) = self.state.head.run.as_mut() {
            run.phase = Phase::Progressing;
            run.stages[at].began = Some(cx.t);
            run.stages[at].portion = up_to;
            let revision = run.revision;
            if let Some(info) = self.state.revision_mut(revision) {
                info.phase = Phase::Progressing;
            }
        }
        self.rebuild(cx);
    }

    /// The `count` of these with the lowest numbers for this policy, and the highest number among them.
    fn lowest(
        &self,
        cx: &Ctx<'_>,
        among: &Destinations,
        count: u64,
    ) -> (Destinations, Option<u64>) {
        if count == 0 {
            return (Destinations::new(), None);
        }
        let seed = seed(&self.state.config.uid);
        let mut numbered: Vec<(u64, u32)> = among
            .iter()
            .map(|d| (mix(seed, cx.facts.stable(d)), d))
            .collect();
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count < numbered.len() {
            numbered.select_nth_unstable(count - 1);
            numbered.truncate(count);
        }
        let highest = numbered.iter().map(|(number, _)| *number).max();
        (numbered.into_iter().map(|(_, d)| d).collect(), highest)
    }

    /// Puts destinations that belong to no stage into the begun stage that is theirs, if there is one.
    pub(super) fn place(&mut self, cx: &mut Ctx<'_>, joined: &Destinations) {
        // Whoever joins after a revision was given up gets the last completed one.
        let going = |run: &&Run| run.active() || run.phase == Phase::Completed;
        let Some(run) = self.state.head.run.as_ref().filter(going) else {
            return;
        };
        let mut rest = joined & self.state.sets.get(SetId::Selected);
        for stage in &run.stages {
            rest -= self.state.sets.get(SetId::Stage(stage.id));
        }
        let mut joins = Vec::new();
        for stage in run.stages.iter().filter(|s| s.began.is_some()) {
            if rest.is_empty() {
                break;
            }
            let spec = self.state.stage_spec(&stage.name);
            let mut matched = match spec {
                None if stage.name == REST => rest.clone(),
                // The spec no longer has it: nobody new joins it.
                None => continue,
                Some(spec) if spec.selector.is_everything() => rest.clone(),
                Some(spec) => cx.facts.choose(&spec.selector, &rest) & &rest,
            };
            match spec.map(|s| s.portion) {
                None | Some(Portion::All) => {}
                Some(Portion::Count(_)) => continue,
                Some(Portion::Percent(_)) => {
                    let Some(up_to) = stage.portion else { continue };
                    let seed = seed(&self.state.config.uid);
                    matched = matched
                        .iter()
                        .filter(|d| mix(seed, cx.facts.stable(*d)) <= up_to)
                        .collect();
                }
            }
            rest -= &matched;
            joins.push((stage.id, matched));
        }
        for (id, members) in joins {
            self.state.sets.add(SetId::Stage(id), &members);
            self.rename(&members);
        }
    }

    /// The stage that a destination will be in, as far as labels say, before it begins.
    pub(super) fn future_stage(
        &self,
        facts: &dyn super::Facts,
        destination: u32,
    ) -> Option<String> {
        let one: Destinations = [destination].into_iter().collect();
        let run = self.state.head.run.as_ref()?;
        for stage in run.stages.iter().filter(|s| s.began.is_none()) {
            match self.state.stage_spec(&stage.name) {
                None => return Some(stage.name.clone()),
                // Who is taken is decided when it begins.
                Some(spec) if spec.portion != Portion::All => return None,
                Some(spec)
                    if spec.selector.is_everything()
                        || !facts.choose(&spec.selector, &one).is_empty() =>
                {
                    return Some(stage.name.clone());
                }
                Some(_) => {}
            }
        }
        None
    }

    /// The spec has other stages: begun ones keep their members, by name.
    pub(super) fn restage(&mut self) {
        let state = &mut self.state;
        let Some(run) = state
            .head
            .run
            .as_mut()
            .filter(|run| run.active() && !run.back)
        else {
            return;
        };
        let mut old = std::mem::take(&mut run.stages);
        let mut names: Vec<String> = state.spec.stages.iter().map(|s| s.name.clone()).collect();
        names.push(REST.to_owned());
        let mut stages: Vec<StageRun> = Vec::new();
        // What has begun and is no longer in the spec comes first: it is not taken back.
        let gone = |s: &StageRun| s.began.is_some() && !names.contains(&s.name);
        stages.extend(old.iter().filter(|s| gone(s)).cloned());
        old.retain(|s| !gone(s));
        for name in names {
            match old.iter().position(|s| s.name == name) {
                Some(found) => stages.push(old.remove(found)),
                None => {
                    state.head.next_stage += 1;
                    stages.push(fresh(state.head.next_stage, name));
                }
            }
        }
        run.stages = stages;
    }

    /// Revisions that nobody has and history no longer keeps.
    pub(super) fn forget(&mut self, cx: &mut Ctx<'_>) {
        let keep = self.state.spec.history + 1;
        let count = self.state.config.revisions.len();
        if count <= keep {
            return;
        }
        let state = &mut self.state;
        let run = state.head.run.as_ref().map(|r| r.revision);
        let base = state.head.base;
        let sets = &state.sets;
        let mut spare = count - keep;
        let id = cx.id;
        state.config.revisions.retain(|info| {
            let needed = Some(info.ordinal) == run
                || Some(info.ordinal) == base
                || !sets.get(SetId::Assigned(info.ordinal)).is_empty();
            if spare == 0 || needed {
                return true;
            }
            spare -= 1;
            cx.out.list.push(Effect::Forget(id, info.ordinal));
            false
        });
    }

    /// Who is selected changed.
    pub(super) fn selected(
        &mut self,
        cx: &mut Ctx<'_>,
        joined: &Destinations,
        left: &Destinations,
        released: &Destinations,
    ) {
        cx.ground.know(joined, cx.facts);
        let sets = &mut self.state.sets;
        let new = sets.add(SetId::Selected, joined);
        sets.remove(SetId::Leaving, joined);
        sets.remove(SetId::Retiring, joined);
        let mut old = sets.remove(SetId::Selected, &outside(left, joined));
        let let_go = sets.remove(SetId::Selected, &outside(released, joined));
        self.place(cx, joined);
        for book in cx.ground.books_of(cx.id) {
            cx.ground.join(book, &new, cx.facts);
            cx.ground.leave(book, &old);
            cx.ground.leave(book, &let_go);
        }
        self.drop_copies(&let_go);
        // Who has nothing has nothing to lose.
        let mut have = Destinations::new();
        for (_, set) in self.state.assigned() {
            have |= &old & set;
        }
        let mut changed = joined | &old;
        changed |= &let_go;
        old = have;
        let to = if self.state.spec.make_before_break && self.state.config.deleted.is_none() {
            SetId::Retiring
        } else {
            SetId::Leaving
        };
        self.state.sets.add(to, &old);
        self.refresh(cx, &changed);
    }

    /// Nothing more is known or wanted of what these have.
    pub(super) fn drop_copies(&mut self, destinations: &Destinations) {
        if destinations.is_empty() {
            return;
        }
        self.free_slots(destinations);
        let assigned: Vec<Ordinal> = self.state.assigned().map(|(r, _)| r).collect();
        let sets = &mut self.state.sets;
        for revision in assigned {
            sets.remove(SetId::Assigned(revision), destinations);
        }
        for id in [
            SetId::Installing,
            SetId::Healthy,
            SetId::Failed,
            SetId::Stale,
            SetId::Leaving,
            SetId::Retiring,
            SetId::Removing,
        ] {
            sets.remove(id, destinations);
        }
    }

    /// Destinations no longer exist.
    pub(super) fn gone(&mut self, cx: &mut Ctx<'_>, destinations: &Destinations) {
        let mut changed = destinations & self.state.sets.get(SetId::Selected);
        changed |= destinations & &self.queue.slots;
        changed |= destinations & self.state.sets.get(SetId::Leaving);
        changed |= destinations & self.state.sets.get(SetId::Retiring);
        changed |= destinations & self.state.sets.get(SetId::Removing);
        for (_, set) in self.state.assigned() {
            changed |= destinations & set;
        }
        if changed.is_empty() {
            return;
        }
        self.drop_copies(&changed);
        self.state.sets.remove(SetId::Selected, &changed);
        let stages = SetId::Stage(0)..=SetId::Stage(u32::MAX);
        let stages: Vec<SetId> = self.state.sets.range(stages).map(|(id, _)| id).collect();
        for stage in stages {
            self.state.sets.remove(stage, &changed);
        }
        for book in cx.ground.books_of(cx.id) {
            cx.ground.leave(book, &changed);
        }
        self.refresh(cx, &changed);
    }
}

fn fresh(id: u32, name: String) -> StageRun {
    StageRun {
        id,
        name,
        began: None,
        completed: None,
        portion: None,
        forgiven: 0,
    }
}

/// A policy's share of the stable hash.
fn seed(uid: &str) -> u64 {
    let digest: [u8; 32] = Sha256::digest(uid.as_bytes()).into();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_le_bytes(first)
}

/// A number for a destination and a policy: all destinations in another order for each policy.
fn mix(seed: u64, stable: u64) -> u64 {
    let mut z = seed ^ stable.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
