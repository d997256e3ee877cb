//! Starting work: the one place where anything is sent or removed, and so the one where every limit is tested.
//!
//! Always true (invariant 6): what is started here has room in its lane, in the groups of all budgets that bind, in the pace, and behind every gate and pause; and so it has in every other policy of
//! the same objects, which then start it together or count it as their guest. A destination that is disrupted already adds nothing to a budget; one that holds a slot takes no other.

use atoll_kube::Timestamp;

use super::delta::SetId;
use super::engine::{Ctx, Policy, Rollouts};
use super::event::{Action, Facts};
use super::ground::Key;
use super::queue::{CLASSES, Class, OUTSIDE, class_of};
use super::state::{Phase, RolloutState};
use super::{Ordinal, PolicyId};
use crate::Destinations;

impl Policy {
    /// Whether stage, pause, gates and windows let a lane's new revision be started.
    pub(super) fn moves(&self, lane: usize, now: Timestamp) -> bool {
        if self.queue.lanes[lane].stage == OUTSIDE {
            return true;
        }
        let Some(run) = &self.state.head.run else {
            return false;
        };
        match run.phase {
            Phase::Completed => true,
            Phase::Pending | Phase::Progressing => {
                self.state.head.paused.is_none()
                    && run.stages.get(lane).is_some_and(|s| {
                        s.began.is_some() && self.state.brake(&s.name, now).is_none()
                    })
            }
            _ => false,
        }
    }

    fn serves(&self, class: Class, moves: bool) -> bool {
        if self.state.config.suspended {
            return false;
        }
        match class {
            Class::Leave => true,
            Class::Rerender => self.state.config.deleted.is_none(),
            Class::Install | Class::Update => self.state.config.deleted.is_none() && moves,
        }
    }

    /// How many the pace lets start; `None` if it does not bind.
    fn pace(&mut self, t: Timestamp) -> Option<u64> {
        self.state.spec.rate?;
        let run = self.state.head.run.as_mut().filter(|run| run.active())?;
        Some(run.rate.as_mut()?.refill(t))
    }

    /// When the pace lets the next one start, if one waits for it.
    pub(super) fn pace_wake(&self, now: Timestamp) -> Option<Timestamp> {
        let run = self.state.head.run.as_ref().filter(|run| run.active())?;
        let rate = run.rate.filter(|_| self.state.spec.rate.is_some())?;
        let waits = self.queue.lanes.iter().enumerate().any(|(i, lane)| {
            let ready = |class: Class| !lane.ready[class as usize].is_empty();
            lane.stage != OUTSIDE
                && (ready(Class::Install) || ready(Class::Update))
                && lane.room() > 0
                && self.serves(Class::Update, self.moves(i, now))
        });
        waits.then(|| rate.next())
    }

    /// What other policies of the same objects see: whether, and how far, it goes on.
    pub(super) fn shown(&self, now: Timestamp) -> String {
        let run = self.state.head.run.as_ref();
        let begun = run.map_or(0, |r| r.stages.iter().filter(|s| s.began.is_some()).count());
        let moves: Vec<bool> = (0..self.queue.lanes.len())
            .map(|i| self.moves(i, now))
            .collect();
        format!(
            "{:?} {:?} {begun} {moves:?} {} {} {}",
            run.map(|r| (r.revision, r.phase)),
            self.state.config.deleted,
            self.state.config.suspended,
            self.state.head.pending.is_some(),
            self.state.spec.is_at_once(),
        )
    }

    /// Starts work at destinations, all of one lane and class, or all in slots.
    pub(super) fn start(
        &mut self,
        cx: &mut Ctx<'_>,
        who: &Destinations,
        class: Class,
        target: Option<Ordinal>,
    ) {
        if who.is_empty() {
            return;
        }
        if class == Class::Leave {
            self.remove(cx, who, true);
            return;
        }
        let sets = &mut self.state.sets;
        for id in [SetId::Stale, SetId::Healthy, SetId::Failed] {
            sets.remove(id, who);
        }
        let assigned: Vec<Ordinal> = self.state.assigned().map(|(r, _)| r).collect();
        if class == Class::Rerender {
            for revision in assigned {
                let part = who & self.state.sets.get(SetId::Assigned(revision));
                if !part.is_empty() {
                    let key = (cx.id, revision, Action::Rerender);
                    *cx.out.assign.entry(key).or_default() |= part;
                }
            }
        } else if let Some(target) = target {
            let sets = &mut self.state.sets;
            for revision in assigned.into_iter().filter(|r| *r != target) {
                sets.remove(SetId::Assigned(revision), who);
            }
            sets.add(SetId::Assigned(target), who);
            let action = if class == Class::Install {
                sets.add(SetId::Installing, who);
                Action::Install
            } else {
                Action::Update
            };
            let key = (cx.id, target, action);
            *cx.out.assign.entry(key).or_default() |= who;
            if let Some(run) = self.state.head.run.as_mut()
                && run.active()
                && run.revision == target
                && let Some(rate) = run.rate.as_mut()
            {
                rate.spend(who.len());
            }
        }
        self.take_slots(who, cx.t);
        self.refresh(cx, who);
    }

    /// Orders removals: they hold slots until they are confirmed, unless nobody asks for slots.
    pub(super) fn remove(&mut self, cx: &mut Ctx<'_>, who: &Destinations, slots: bool) {
        let removing = self.state.sets.get(SetId::Removing).clone();
        self.drop_sets_for_removal(who);
        self.state.sets.add(SetId::Removing, &(who - &removing));
        *cx.out.remove.entry(cx.id).or_default() |= who;
        if slots {
            self.take_slots(who, cx.t);
        } else {
            self.free_slots(who);
        }
        self.refresh(cx, who);
    }

    fn drop_sets_for_removal(&mut self, who: &Destinations) {
        let assigned: Vec<Ordinal> = self.state.assigned().map(|(r, _)| r).collect();
        for revision in assigned {
            self.state.sets.remove(SetId::Assigned(revision), who);
        }
        // What was being installed for the first time stays marked so until it is gone: removing it disrupts nothing.
        for id in [
            SetId::Healthy,
            SetId::Failed,
            SetId::Stale,
            SetId::Leaving,
            SetId::Retiring,
        ] {
            self.state.sets.remove(id, who);
        }
    }
}

/// What another policy of the same objects does when one is started.
enum Joint {
    /// It starts its own new revision there, too.
    Start(Class, Option<Ordinal>),
    /// It counts it as a guest, or holds a slot there already.
    Guest,
}

impl Rollouts {
    /// Starts what may be started of one policy, which is held out of the map.
    pub(super) fn dispatch(
        &mut self,
        id: PolicyId,
        policy: &mut Policy,
        facts: &dyn Facts,
        now: Timestamp,
    ) {
        let t = policy.state.time(now);
        if policy.pace(t).is_some_and(|n| n > 0) {
            self.ground.free(Key::Closed(id));
        }
        let moves: Vec<bool> = (0..policy.queue.lanes.len())
            .map(|lane| policy.moves(lane, now))
            .collect();
        self.swap(id, policy, &moves, facts, now);
        // Keys whose turn it is, but whose destinations' lanes are full.
        let mut later: Vec<Key> = Vec::new();
        loop {
            for (lane, moves) in moves.iter().enumerate() {
                for class in CLASSES {
                    let waiting = &policy.queue.lanes[lane].ready[class as usize];
                    if !waiting.is_empty() && policy.serves(class, *moves) {
                        self.serve(id, policy, lane, class, facts, now);
                    }
                }
            }
            if policy.state.config.suspended
                || !policy.queue.lanes.iter().any(|l| l.begun && l.room() > 0)
            {
                break;
            }
            let Some((key, chunk)) = self.pull(id, policy) else {
                break;
            };
            if policy.queue.parked.contains_key(&key) {
                // More wait for the same: now, unless these could not go anyway.
                let stuck = chunk.iter().any(|d| {
                    let lane = &policy.queue.lanes[policy.queue.lane_of(&policy.state, d)];
                    lane.room() == 0 && !policy.queue.slots.contains(d)
                });
                if stuck {
                    later.push(key);
                } else {
                    policy.queue.hot.insert(key);
                }
            }
        }
        policy.queue.hot.extend(later);
    }

    /// Those that hold a slot and should have something else: no limit of slots, no budget, only stages, gates and the other policies.
    fn swap(
        &mut self,
        id: PolicyId,
        policy: &mut Policy,
        moves: &[bool],
        facts: &dyn Facts,
        now: Timestamp,
    ) {
        let leaving_or_stale = !policy.state.sets.get(SetId::Leaving).is_empty()
            || !policy.state.sets.get(SetId::Stale).is_empty();
        let moving = policy.queue.lanes.iter().zip(moves);
        let moving = moving
            .into_iter()
            .any(|(l, moves)| *moves && !l.slots.is_empty());
        if policy.queue.swap.is_empty() || !(leaving_or_stale || moving) {
            return;
        }
        let t = policy.state.time(now);
        let mut batches: std::collections::BTreeMap<(Class, Option<Ordinal>), Destinations> =
            std::collections::BTreeMap::new();
        let mut pace = policy.pace(t);
        for destination in &policy.queue.swap {
            let lane = policy.queue.lane_of(&policy.state, destination);
            let Some(class) = class_of(&policy.state, &policy.queue.lanes[lane], destination)
            else {
                continue;
            };
            if !policy.serves(class, moves[lane]) {
                continue;
            }
            if matches!(class, Class::Install | Class::Update) {
                if policy.queue.lanes[lane].stage != OUTSIDE
                    && let Some(left) = pace.as_mut()
                {
                    if *left == 0 {
                        continue;
                    }
                    *left -= 1;
                }
                let joint = self.joint(policy, class, destination, now);
                let allowed = joint.and_then(|j| self.budgets(id, class, &j, destination));
                if allowed.is_err() {
                    continue;
                }
            }
            let target = policy.queue.lanes[lane].target;
            batches
                .entry((class, target))
                .or_default()
                .insert(destination);
        }
        for ((class, target), who) in batches {
            for destination in &who {
                self.start_others(id, policy, destination, class, facts, now);
            }
            let mut cx = Ctx {
                id,
                ground: &mut self.ground,
                out: &mut self.out,
                facts,
                now,
                t,
            };
            policy.start(&mut cx, &who, class, target);
        }
    }

    /// Serves one class of one lane as far as there is room.
    fn serve(
        &mut self,
        id: PolicyId,
        policy: &mut Policy,
        lane: usize,
        class: Class,
        facts: &dyn Facts,
        now: Timestamp,
    ) {
        let t = policy.state.time(now);
        let changes = matches!(class, Class::Install | Class::Update);
        let mut room = policy.queue.lanes[lane].room();
        if changes
            && policy.queue.lanes[lane].stage != OUTSIDE
            && let Some(pace) = policy.pace(t)
        {
            room = room.min(pace);
        }
        if room == 0 {
            return;
        }
        let target = policy.queue.lanes[lane].target;
        let shared = changes && !policy.state.config.shares.is_empty();
        let bound = class != Class::Install && self.ground.binds(id);
        let mut waiting = std::mem::take(&mut policy.queue.lanes[lane].ready[class as usize]);
        let mut start = Destinations::new();
        if !shared && !bound {
            if waiting.len() <= room {
                start = std::mem::take(&mut waiting);
            } else {
                start = waiting.iter().take(room as usize).collect();
                waiting.remove_smallest(room);
            }
        } else {
            let mut last = None;
            for destination in &waiting {
                if room == 0 {
                    break;
                }
                last = Some(destination);
                let joint = if shared {
                    self.joint(policy, class, destination, now)
                } else {
                    Ok(Vec::new())
                };
                let blocked = joint.and_then(|joint| self.budgets(id, class, &joint, destination));
                if let Err(key) = blocked {
                    policy.queue.park(key, destination);
                    self.ground.wait(key, id);
                    continue;
                }
                room -= 1;
                start.insert(destination);
                if shared {
                    // Its neighbours' lanes fill as it goes: one at a time.
                    self.start_others(id, policy, destination, class, facts, now);
                    let one: Destinations = [destination].into_iter().collect();
                    let mut cx = Ctx {
                        id,
                        ground: &mut self.ground,
                        out: &mut self.out,
                        facts,
                        now,
                        t,
                    };
                    policy.start(&mut cx, &one, class, target);
                    self.tell_of(policy);
                } else if policy.queue.counted.insert(destination) {
                    // Counted at once, so that the next one sees it.
                    self.ground.raise(&[destination].into_iter().collect());
                }
            }
            if let Some(last) = last {
                waiting.remove_range(..=last);
            }
            if shared {
                start.clear();
            }
        }
        policy.queue.lanes[lane].ready[class as usize] |= waiting;
        let mut cx = Ctx {
            id,
            ground: &mut self.ground,
            out: &mut self.out,
            facts,
            now,
            t,
        };
        policy.start(&mut cx, &start, class, target);
    }

    /// What the budgets say to starting a destination, for all policies that then act there.
    fn budgets(
        &self,
        id: PolicyId,
        class: Class,
        joint: &[(PolicyId, Joint)],
        destination: u32,
    ) -> Result<(), Key> {
        let update = |c: &Class| *c != Class::Install;
        let mut acting = Vec::new();
        if update(&class) {
            acting.push(id);
        }
        for (other, what) in joint {
            match what {
                Joint::Start(class, _) if !update(class) => {}
                Joint::Start(..) | Joint::Guest => acting.push(*other),
            }
        }
        if acting.is_empty() {
            return Ok(());
        }
        match self.ground.blocked(&acting, destination) {
            Some(key) => Err(key),
            None => Ok(()),
        }
    }

    /// What the other policies of the same objects would do if a destination got a new revision now, or what keeps them from it.
    fn joint(
        &mut self,
        policy: &Policy,
        class: Class,
        destination: u32,
        now: Timestamp,
    ) -> Result<Vec<(PolicyId, Joint)>, Key> {
        let mut joint = Vec::new();
        for other in &policy.state.config.shares {
            let Some(neighbour) = self.policies.get_mut(other) else {
                continue;
            };
            match neighbour.joins(*other, destination, now) {
                Ok(Some(what)) if class == Class::Update => joint.push((*other, what)),
                // A first installation changes nothing that is there: what they share stays at the version that the other one allows ([`super::combine`]).
                Err(key @ Key::Lane(..)) => return Err(key),
                Err(key) if class == Class::Update => return Err(key),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(joint)
    }

    /// Starts what the other policies of the same objects start together with this one.
    fn start_others(
        &mut self,
        id: PolicyId,
        policy: &mut Policy,
        destination: u32,
        class: Class,
        facts: &dyn Facts,
        now: Timestamp,
    ) {
        if !matches!(class, Class::Install | Class::Update) {
            return;
        }
        let Ok(joint) = self.joint(policy, class, destination, now) else {
            return;
        };
        let one: Destinations = [destination].into_iter().collect();
        for (other, what) in joint {
            let Joint::Start(class, target) = what else {
                continue;
            };
            self.with(other, facts, now, |neighbour, cx| {
                neighbour.start(cx, &one, class, target);
            });
            self.tell(other, Some((id, policy)));
        }
    }

    /// Tells others of the slots of a policy that is held out of the map.
    fn tell_of(&mut self, policy: &mut Policy) {
        let taken = std::mem::take(&mut policy.queue.taken);
        let freed = std::mem::take(&mut policy.queue.freed);
        for other in &policy.state.config.shares {
            if let Some(neighbour) = self.policies.get_mut(other) {
                neighbour.visited(*other, &mut self.ground, &taken, &freed);
            }
        }
    }

    /// Lets some of those go on that wait for something that was freed.
    fn pull(&mut self, id: PolicyId, policy: &mut Policy) -> Option<(Key, Destinations)> {
        while let Some(key) = policy.queue.hot.pop_first() {
            let Some(parked) = policy.queue.parked.get_mut(&key) else {
                continue;
            };
            let room = match key {
                Key::Lane(other, stage) => self.policies.get(&other).map_or(u64::MAX, |p| {
                    let lane = p.queue.lanes.iter().find(|l| l.stage == stage);
                    lane.map_or(u64::MAX, super::queue::Lane::room)
                }),
                key => self.ground.room(key),
            };
            if room == 0 {
                self.ground.wait(key, id);
                continue;
            }
            let chunk = if parked.len() <= room {
                policy.queue.parked.remove(&key).unwrap_or_default()
            } else {
                let chunk: Destinations = parked.iter().take(room as usize).collect();
                parked.remove_smallest(room);
                chunk
            };
            policy.queue.ready_again(&policy.state, &chunk);
            return Some((key, chunk));
        }
        None
    }
}

impl Policy {
    /// What this policy does when another one of the same objects gives a destination something new: nothing if it does not select it or holds nothing back.
    fn joins(
        &mut self,
        id: PolicyId,
        destination: u32,
        now: Timestamp,
    ) -> Result<Option<Joint>, Key> {
        if self.state.spec.is_at_once() && !self.state.config.suspended
            || self.state.config.deleted.is_some()
            || !self.state.sets.get(SetId::Selected).contains(destination)
        {
            return Ok(None);
        }
        let at = self.queue.lane_of(&self.state, destination);
        let lane = &self.queue.lanes[at];
        let counted = self.queue.slots.contains(destination) || lane.guests.contains(destination);
        // Room first: it binds whatever is started there.
        if !counted && lane.room() == 0 {
            return Err(Key::Lane(id, lane.stage));
        }
        let closed = Err(Key::Closed(id));
        if self.state.config.suspended || self.state.head.pending.is_some() {
            return closed;
        }
        let in_progress = self
            .state
            .head
            .run
            .as_ref()
            .is_some_and(|run| run.phase != Phase::Completed);
        // It has something newer, and this destination's turn has not come.
        if lane.stage == OUTSIDE && in_progress {
            return closed;
        }
        let class = class_of(&self.state, lane, destination);
        match class {
            Some(class @ (Class::Install | Class::Update)) => {
                if !self.moves(at, now) {
                    return closed;
                }
                let target = lane.target;
                let paced = lane.stage != OUTSIDE;
                let t = self.state.time(now);
                if paced && self.pace(t) == Some(0) {
                    return closed;
                }
                Ok(Some(Joint::Start(class, target)))
            }
            _ => Ok(Some(Joint::Guest)),
        }
    }
}

impl RolloutState {
    /// Whether anything is under way or waits.
    pub fn idle(&self) -> bool {
        self.head.pending.is_none() && self.head.run.as_ref().is_none_or(|run| !run.active())
    }
}
