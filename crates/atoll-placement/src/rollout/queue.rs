//! Who waits for what in one policy: lanes, one for each stage of the run and one for all that is in none, and in each the queues of those that could be started.
//!
//! Derived from [`RolloutState`] and who is here. Always true: after [`Queue::refresh`] of the destinations that changed, it is what [`Queue::rebuild`] would make. Both are the same code, over few
//! or over all; nothing here looks at a destination that did not change.

use std::collections::{BTreeMap, BTreeSet};

use super::delta::{SetId, outside};
use super::ground::{Ground, Key, Layers};
use super::spec::Limits;
use super::state::RolloutState;
use super::{Ordinal, PolicyId};
use crate::Destinations;

/// The lane of destinations that belong to no begun stage.
pub const OUTSIDE: u32 = u32::MAX;

/// What could be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// A removal.
    Leave,
    /// The same revision with other properties.
    Rerender,
    /// A first installation: no budget but the lane's.
    Install,
    /// Another revision.
    Update,
}

/// All classes, in the order in which they are served.
pub const CLASSES: [Class; 4] = [Class::Leave, Class::Rerender, Class::Install, Class::Update];

/// A stage's work.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Lane {
    /// The stage's id, or [`OUTSIDE`].
    pub stage: u32,
    /// The stage has begun (the outside always has).
    pub begun: bool,
    /// Its limits.
    pub limits: Limits,
    /// What its members are to have.
    pub target: Option<Ordinal>,
    /// Selected members.
    pub members: Destinations,
    /// Members (selected or leaving) that hold a slot.
    pub slots: Destinations,
    /// Members that are disrupted by another policy of the same objects and hold no slot of this one.
    pub guests: Destinations,
    /// Members that failed at the target.
    pub failed: Destinations,
    /// Not finished, and here or holding a slot.
    pub here: Destinations,
    /// Not finished, away, and holding no slot.
    pub away: Destinations,
    /// Could be started, by class.
    pub ready: [Destinations; 4],
}

impl Lane {
    /// How many slots there are; `None` is all.
    pub fn limit(&self) -> Option<u64> {
        self.limits
            .concurrency
            .map(|c| c.ceil(self.members.len()).max(1))
    }

    /// How many are taken.
    pub fn used(&self) -> u64 {
        self.slots.len() + self.guests.len()
    }

    /// How many are free.
    pub fn room(&self) -> u64 {
        self.limit()
            .map_or(u64::MAX, |limit| limit.saturating_sub(self.used()))
    }

    fn forget(&mut self, destinations: &Destinations) {
        for set in [
            &mut self.members,
            &mut self.slots,
            &mut self.guests,
            &mut self.failed,
            &mut self.here,
            &mut self.away,
        ] {
            *set -= destinations;
        }
        for set in &mut self.ready {
            *set -= destinations;
        }
    }
}

/// Who waits for what.
#[derive(Debug, Default)]
pub struct Queue {
    /// The run's stages in order, and the outside last.
    pub lanes: Vec<Lane>,
    /// Hold a slot and could be started anew in it: they take no more than they have.
    pub swap: Destinations,
    /// Hold a slot.
    pub slots: Destinations,
    /// Hold a slot and are healthy.
    pub soaking: Destinations,
    /// Counted as disrupted by this policy.
    pub counted: Destinations,
    /// Selected, and nothing is assigned.
    pub bare: Destinations,
    /// Disrupted by other policies of the same objects.
    pub guests: Layers,
    /// Could be started, but for a key.
    pub parked: BTreeMap<Key, Destinations>,
    /// All parked.
    pub parked_any: Destinations,
    /// Keys that were freed and not looked at since.
    pub hot: BTreeSet<Key>,
    /// Slots taken and freed since the policies of the same objects were told.
    pub taken: Destinations,
    /// See `taken`.
    pub freed: Destinations,
}

impl Queue {
    /// Makes everything anew from the state.
    pub fn rebuild(&mut self, id: PolicyId, state: &RolloutState, ground: &mut Ground) {
        self.lanes = lanes(state);
        self.swap.clear();
        self.bare.clear();
        self.parked.clear();
        self.parked_any.clear();
        self.hot.clear();
        let (mut slots, mut soaking) = (Destinations::new(), Destinations::new());
        for (_, set) in state
            .sets
            .range(SetId::Started(i64::MIN)..=SetId::Started(i64::MAX))
        {
            slots |= set;
        }
        for (_, set) in state
            .sets
            .range(SetId::Soaking(i64::MIN)..=SetId::Soaking(i64::MAX))
        {
            soaking |= set;
        }
        slots |= &soaking;
        self.slots = slots;
        self.soaking = soaking;
        let mut all = state.sets.get(SetId::Selected) | &self.slots;
        all |= state.sets.get(SetId::Leaving);
        all |= state.sets.get(SetId::Failed);
        all |= &self.counted;
        if let Some(guests) = self.guests.any() {
            all |= guests;
        }
        self.refresh(id, state, ground, &all);
        ground.free_lanes(id);
    }

    /// Reads the state of these destinations again.
    pub fn refresh(
        &mut self,
        id: PolicyId,
        state: &RolloutState,
        ground: &mut Ground,
        changed: &Destinations,
    ) {
        if changed.is_empty() {
            return;
        }
        let rooms: Vec<u64> = self.lanes.iter().map(Lane::room).collect();
        self.unpark(ground, changed);
        for lane in &mut self.lanes {
            lane.forget(changed);
        }
        self.swap -= changed;
        let sets = &state.sets;
        let selected = changed & sets.get(SetId::Selected);
        let removing = sets.get(SetId::Removing);
        let installing = sets.get(SetId::Installing);
        let mut assigned = Destinations::new();
        for (_, set) in state.assigned() {
            assigned |= changed & set;
        }
        self.bare -= changed;
        self.bare |= &selected - &assigned;
        let in_slot = changed & &self.slots;
        let guests = match self.guests.any() {
            Some(guests) => outside(&(changed & guests), &in_slot),
            None => Destinations::new(),
        };
        let here = changed & ground.available();
        let leaving = changed & sets.get(SetId::Leaving);
        let mut rest = changed.clone();
        for lane in &mut self.lanes {
            let part = if lane.stage == OUTSIDE {
                std::mem::take(&mut rest)
            } else {
                let part = &rest & sets.get(SetId::Stage(lane.stage));
                rest -= &part;
                part
            };
            if part.is_empty() {
                continue;
            }
            lane.slots |= &part & &in_slot;
            lane.guests |= &part & &guests;
            let members = &part & &selected;
            let has = match lane.target {
                // The outside keeps what is newer than the last completed revision.
                Some(target) if lane.stage == OUTSIDE => {
                    let mut has = Destinations::new();
                    for (_, set) in state.assigned().filter(|(r, _)| *r >= target) {
                        has |= &members & set;
                    }
                    has
                }
                Some(target) => &members & sets.get(SetId::Assigned(target)),
                None => members.clone(),
            };
            if lane.stage != OUTSIDE {
                lane.failed |= &has & sets.get(SetId::Failed);
            }
            let lacking = outside(&members, &has);
            let pending = outside(&lacking, removing);
            let busy = &members & &in_slot;
            let unfinished = &lacking | &busy;
            let near = (&unfinished & &here) | &busy;
            lane.away |= &unfinished - &near;
            lane.here |= near;
            let stale = &has & sets.get(SetId::Stale);
            let go = &part & &leaving;
            self.swap |= ((&(&pending | &stale) | &go) & &in_slot) & &here;
            let queued = outside(&(&pending & &here), &in_slot);
            let first = outside(&queued, &assigned) | (&queued & installing);
            lane.ready[Class::Update as usize] |= &queued - &first;
            lane.ready[Class::Install as usize] |= first;
            lane.ready[Class::Rerender as usize] |= outside(&(&stale & &here), &in_slot);
            lane.ready[Class::Leave as usize] |= outside(&(&go & &here), &in_slot);
            lane.members |= members;
        }
        let mut counted = in_slot | (changed & sets.get(SetId::Failed));
        counted -= installing;
        let had = changed & &self.counted;
        let more = &counted - &had;
        let less = &had - &counted;
        self.counted |= &more;
        self.counted -= &less;
        ground.raise(&more);
        ground.lower(&less);
        for (lane, room) in self.lanes.iter().zip(rooms) {
            if lane.room() > room {
                ground.free(Key::Lane(id, lane.stage));
            }
        }
    }

    /// Takes destinations out of where they are parked.
    pub fn unpark(&mut self, ground: &Ground, destinations: &Destinations) {
        let parked = destinations & &self.parked_any;
        if parked.is_empty() {
            return;
        }
        self.parked_any -= &parked;
        let mut left = parked.clone();
        if parked.len() < 64 {
            // Few: look where they can be, not everywhere.
            let others: Vec<Key> = self
                .parked
                .range(Key::FIRST_OF_NO_GROUP..)
                .map(|(k, _)| *k)
                .collect();
            for destination in &parked {
                let mut keys = ground.groups_of(destination);
                keys.extend(&others);
                for key in keys {
                    if self
                        .parked
                        .get_mut(&key)
                        .is_some_and(|set| set.remove(destination))
                    {
                        left.remove(destination);
                    }
                }
            }
        }
        if !left.is_empty() {
            for set in self.parked.values_mut() {
                *set -= &left;
            }
        }
        self.parked.retain(|_, set| !set.is_empty());
    }

    /// Everybody who is parked could be started as far as is known now.
    pub fn unpark_all(&mut self, state: &RolloutState) {
        self.parked.clear();
        let all = std::mem::take(&mut self.parked_any);
        self.ready_again(state, &all);
    }

    /// Parks a destination at a key.
    pub fn park(&mut self, key: Key, destination: u32) {
        self.parked.entry(key).or_default().insert(destination);
        self.parked_any.insert(destination);
    }

    /// The lane of a destination.
    pub fn lane_of(&self, state: &RolloutState, destination: u32) -> usize {
        let last = self.lanes.len().saturating_sub(1);
        self.lanes[..last]
            .iter()
            .position(|l| state.sets.get(SetId::Stage(l.stage)).contains(destination))
            .unwrap_or(last)
    }

    /// Puts destinations that were parked back where they could be started.
    pub fn ready_again(&mut self, state: &RolloutState, destinations: &Destinations) {
        self.parked_any -= destinations;
        for destination in destinations {
            let lane = self.lane_of(state, destination);
            if let Some(class) = class_of(state, &self.lanes[lane], destination) {
                self.lanes[lane].ready[class as usize].insert(destination);
            }
        }
    }

    /// Whether anything of a class could be started.
    pub fn any_ready(&self) -> bool {
        !self.swap.is_empty()
            || self
                .lanes
                .iter()
                .any(|l| l.ready.iter().any(|set| !set.is_empty()))
    }
}

/// What a destination waits to be started for.
pub fn class_of(state: &RolloutState, lane: &Lane, destination: u32) -> Option<Class> {
    let sets = &state.sets;
    if sets.get(SetId::Leaving).contains(destination) {
        return Some(Class::Leave);
    }
    if !sets.get(SetId::Selected).contains(destination)
        || sets.get(SetId::Removing).contains(destination)
    {
        return None;
    }
    let has = state.revision_of(destination);
    let fine = match (lane.target, has) {
        (None, _) => true,
        (Some(target), Some(has)) if lane.stage == OUTSIDE => has >= target,
        (Some(target), has) => has == Some(target),
    };
    if fine {
        let stale = has.is_some() && sets.get(SetId::Stale).contains(destination);
        return stale.then_some(Class::Rerender);
    }
    let first = has.is_none() || sets.get(SetId::Installing).contains(destination);
    Some(if first { Class::Install } else { Class::Update })
}

fn lanes(state: &RolloutState) -> Vec<Lane> {
    let mut lanes = Vec::new();
    if let Some(run) = &state.head.run {
        for stage in &run.stages {
            lanes.push(Lane {
                stage: stage.id,
                begun: stage.began.is_some(),
                limits: state.limits(Some(stage)),
                target: Some(run.revision),
                ..Lane::default()
            });
        }
    }
    lanes.push(Lane {
        stage: OUTSIDE,
        begun: true,
        limits: state.limits(None),
        target: state.head.base,
        ..Lane::default()
    });
    lanes
}
