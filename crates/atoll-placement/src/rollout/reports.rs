//! What destinations say, and what time says: who is healthy, who soaked long enough, who failed.
//!
//! Always true: a slot is in exactly one clock, `Started` until its render is healthy and `Soaking` after. A soak ends only for a destination that is here, so going away frees nothing; on return
//! it starts over. Clocks are kept in steps (a 64th of the time, at least a second), rounded up: nothing ends early.

use std::time::Duration;

use atoll_kube::Timestamp;

use super::delta::{SetId, outside};
use super::engine::{Ctx, Policy};
use super::event::Report;
use super::state::{RolloutState, round_up};
use crate::Destinations;

/// Steps of clocks that nothing is due by: only for showing since when.
const UNHURRIED: i64 = 600_000;

impl Policy {
    /// Takes in a report.
    pub(super) fn report(&mut self, cx: &mut Ctx<'_>, report: &Report) {
        let valid = |set: &Destinations| match report.revision {
            Some(revision) => set & self.state.sets.get(SetId::Assigned(revision)),
            None => Destinations::new(),
        };
        let failed = valid(&report.failed);
        let progressing = outside(&valid(&report.progressing), &failed);
        let mut healthy = outside(&valid(&report.healthy), &failed);
        healthy -= &progressing;
        let sets = &mut self.state.sets;
        sets.add(SetId::Healthy, &healthy);
        sets.remove(SetId::Healthy, &progressing);
        sets.remove(SetId::Healthy, &failed);
        // Who got well again after it counted as failed.
        let well = sets.remove(SetId::Failed, &(&healthy - &self.queue.slots));
        self.succeed(cx, &well);
        let fresh = &healthy & &self.queue.slots;
        let fresh = outside(&fresh, &self.queue.soaking);
        self.clock(&fresh, cx.t, true);
        let again = &progressing & &self.queue.soaking;
        self.clock(&again, cx.t, false);
        let news = outside(&failed, self.state.sets.get(SetId::Failed));
        self.fail(cx, &news);
        let mut changed = fresh;
        changed |= well;
        changed |= again;
        self.refresh(cx, &changed);
        self.due(cx);
    }

    /// Starts a clock of slots anew: `soaking`, or waiting to become healthy.
    pub(super) fn clock(&mut self, slots: &Destinations, now: Timestamp, soaking: bool) {
        if slots.is_empty() {
            return;
        }
        self.stop_clocks(slots);
        let mut rest = slots.clone();
        for lane in 0..self.queue.lanes.len() {
            let (stage, limits) = (self.queue.lanes[lane].stage, self.queue.lanes[lane].limits);
            let part = if stage == super::queue::OUTSIDE {
                std::mem::take(&mut rest)
            } else {
                let part = &rest & self.state.sets.get(SetId::Stage(stage));
                rest -= &part;
                part
            };
            let length = if soaking {
                Some(limits.soak)
            } else {
                limits.deadline
            };
            let quantum = match length {
                // Nothing to wait for: due at this very moment.
                Some(Duration::ZERO) => 1,
                Some(length) => RolloutState::quantum(length),
                None => UNHURRIED,
            };
            let at = round_up(now, quantum);
            let id = if soaking {
                SetId::Soaking(at)
            } else {
                SetId::Started(at)
            };
            self.state.sets.add(id, &part);
        }
        if soaking {
            self.queue.soaking |= slots;
        } else {
            self.queue.soaking -= slots;
        }
    }

    fn stop_clocks(&mut self, slots: &Destinations) {
        let held = slots & &self.queue.slots;
        if held.is_empty() {
            return;
        }
        let clocks: Vec<SetId> = self
            .state
            .sets
            .range(SetId::Started(i64::MIN)..=SetId::Started(i64::MAX))
            .chain(
                self.state
                    .sets
                    .range(SetId::Soaking(i64::MIN)..=SetId::Soaking(i64::MAX)),
            )
            .map(|(id, _)| id)
            .collect();
        for id in clocks {
            self.state.sets.remove(id, &held);
        }
    }

    /// Takes slots: the clock runs from now.
    pub(super) fn take_slots(&mut self, slots: &Destinations, now: Timestamp) {
        self.clock(slots, now, false);
        let new = outside(slots, &self.queue.slots);
        self.queue.slots |= &new;
        // Freed and taken again before anybody was told: nothing happened.
        let again = &new & &self.queue.freed;
        self.queue.freed -= &again;
        self.queue.taken |= new - again;
    }

    /// Gives slots back.
    pub(super) fn free_slots(&mut self, slots: &Destinations) {
        let held = slots & &self.queue.slots;
        self.stop_clocks(&held);
        self.queue.slots -= &held;
        self.queue.soaking -= &held;
        let told = &held & &self.queue.taken;
        self.queue.taken -= &told;
        self.queue.freed |= held - told;
    }

    /// These count as failed at what they are assigned.
    pub(super) fn fail(&mut self, cx: &mut Ctx<'_>, failed: &Destinations) {
        if failed.is_empty() {
            return;
        }
        self.free_slots(failed);
        self.state.sets.remove(SetId::Healthy, failed);
        self.state.sets.add(SetId::Failed, failed);
        self.refresh(cx, failed);
    }

    /// These finished well.
    fn finish(&mut self, cx: &mut Ctx<'_>, done: &Destinations) {
        if done.is_empty() {
            return;
        }
        self.free_slots(done);
        self.succeed(cx, done);
        self.refresh(cx, done);
    }

    fn succeed(&mut self, cx: &mut Ctx<'_>, well: &Destinations) {
        if well.is_empty() {
            return;
        }
        let made = self.state.sets.remove(SetId::Installing, well);
        if !self.state.sets.get(SetId::Retiring).is_empty() {
            self.state.head.makes += made.len();
        }
        let rate = self.state.spec.rate;
        let Some(run) = self.state.head.run.as_mut().filter(|run| run.active()) else {
            return;
        };
        let news = well.intersection_len(self.state.sets.get(SetId::Assigned(run.revision)));
        if news == 0 {
            return;
        }
        run.succeeded += news;
        let minute = cx.t.0.div_euclid(60_000);
        match run.lately.last_mut() {
            Some((at, count)) if *at == minute => *count += news,
            _ => run.lately.push((minute, news)),
        }
        if run.lately.len() > 10 {
            run.lately.remove(0);
        }
        if let (Some(rate), Some(pace)) = (rate, run.rate.as_mut()) {
            pace.grow(&rate, news);
        }
    }

    /// What time brought: soaks that ended, deadlines that passed.
    pub(super) fn due(&mut self, cx: &mut Ctx<'_>) {
        let (mut done, mut late) = (Destinations::new(), Destinations::new());
        for lane in self
            .queue
            .lanes
            .iter()
            .filter(|lane| !lane.slots.is_empty())
        {
            let until = |length: Duration| cx.t.0.saturating_sub(length.as_millis() as i64);
            let ended = SetId::Soaking(i64::MIN)..=SetId::Soaking(until(lane.limits.soak));
            for (_, set) in self.state.sets.range(ended) {
                done |= (set & &lane.slots) & cx.ground.available();
            }
            if let Some(deadline) = lane.limits.deadline {
                let passed = SetId::Started(i64::MIN)..=SetId::Started(until(deadline));
                for (_, set) in self.state.sets.range(passed) {
                    late |= set & &lane.slots;
                }
            }
        }
        self.finish(cx, &done);
        // A removal that is late does not fail a revision: it only gives its slot back.
        let removals = &late & self.state.sets.get(SetId::Removing);
        late -= &removals;
        self.free_slots(&removals);
        self.refresh(cx, &removals);
        self.fail(cx, &late);
    }

    /// When the next soak or deadline ends, in engine time.
    pub(super) fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let mut next: Option<i64> = None;
        for lane in self
            .queue
            .lanes
            .iter()
            .filter(|lane| !lane.slots.is_empty())
        {
            let mut look = |length: Duration, id: fn(i64) -> SetId| {
                let length = length.as_millis() as i64;
                // What is due already waits for its destination, not for time.
                let first = now.0.saturating_sub(length).saturating_add(1);
                for (set_id, set) in self.state.sets.range(id(first)..=id(i64::MAX)) {
                    let (SetId::Started(at) | SetId::Soaking(at)) = set_id else {
                        continue;
                    };
                    if !set.is_disjoint(&lane.slots) {
                        let at = at.saturating_add(length);
                        next = Some(next.map_or(at, |n| n.min(at)));
                        break;
                    }
                }
            };
            look(lane.limits.soak, SetId::Soaking);
            if let Some(deadline) = lane.limits.deadline {
                look(deadline, SetId::Started);
            }
        }
        next.map(Timestamp)
    }

    /// Destinations came or went.
    pub(super) fn availability(
        &mut self,
        cx: &mut Ctx<'_>,
        came: &Destinations,
        went: &Destinations,
    ) {
        let soaking = came & &self.queue.soaking;
        self.clock(&soaking, cx.t, true);
        let sets = &self.state.sets;
        let mut changed = came | went;
        let known = (&changed & sets.get(SetId::Selected))
            | (&changed & sets.get(SetId::Leaving))
            | (&changed & &self.queue.slots);
        changed &= known;
        self.refresh(cx, &changed);
    }

    /// Removals were confirmed.
    pub(super) fn removed(&mut self, cx: &mut Ctx<'_>, confirmed: &Destinations) {
        let removed = self.state.sets.remove(SetId::Removing, confirmed);
        self.state.sets.remove(SetId::Installing, &removed);
        self.free_slots(&removed);
        self.refresh(cx, &removed);
    }

    /// Who may go of those that stay until their replacement is healthy.
    pub(super) fn retire(&mut self, cx: &mut Ctx<'_>) {
        let retiring = self.state.sets.get(SetId::Retiring).len();
        if retiring == 0 {
            self.state.head.makes = 0;
            return;
        }
        // Once every selected destination has a healthy copy, nothing more will be made.
        let sets = &self.state.sets;
        let complete = self.queue.bare.is_empty()
            && sets
                .get(SetId::Installing)
                .is_subset(sets.get(SetId::Removing));
        let count = if complete {
            retiring
        } else {
            self.state.head.makes.min(retiring)
        };
        if count == 0 {
            return;
        }
        self.state.head.makes = self.state.head.makes.saturating_sub(count);
        let go: Destinations = self
            .state
            .sets
            .get(SetId::Retiring)
            .iter()
            .take(count as usize)
            .collect();
        self.state.sets.remove(SetId::Retiring, &go);
        self.state.sets.add(SetId::Leaving, &go);
        self.refresh(cx, &go);
    }
}
