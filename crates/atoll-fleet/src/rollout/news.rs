//! What the engine is to hear that others find out: reports that became durable, removals that were confirmed, gates' answers.
//!
//! Nothing in it is lost by losing it: reports and removals are in the log and are looked at again at a start, gates are asked again.

use std::collections::{BTreeMap, HashMap};

use atoll_placement::place::ObjectIndex;
use atoll_placement::rollout::delta::SetId;
use atoll_placement::rollout::{Answer, Event, GateAt, PolicyEvent, PolicyId};
use atoll_placement::{Destination, Destinations};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::judge;
use crate::absorb::Pending;
use crate::decide::DecideError;
use crate::model::{PolicyIndex, World};
use crate::shared::Shared;

#[derive(Debug, Default)]
struct Inner {
    copies: HashMap<ObjectIndex, Destinations>,
    removed: Destinations,
    answers: Vec<(PolicyId, GateAt, Answer)>,
}

/// What the engine has not heard yet.
#[derive(Debug, Default)]
pub(crate) struct News {
    inner: Mutex<Inner>,
    bell: Notify,
}

impl News {
    /// Something was reported about an object's copies. Nothing is kept that concerns no policy under control.
    pub(crate) fn reported(&self, world: &World, object: ObjectIndex, who: &Destinations) {
        let policies = world.objects.get(&object).map(|o| &o.policies);
        let mut policies = policies
            .into_iter()
            .flatten()
            .filter_map(|p| world.policies.get(p));
        if policies.any(|p| p.control.is_some()) {
            *self.inner.lock().copies.entry(object).or_default() |= who;
            self.bell.notify_one();
        }
    }

    /// Removals were confirmed.
    pub(crate) fn removed(&self, world: &World, destinations: &Destinations) {
        if world.control.engine.policies().next().is_some() {
            self.inner.lock().removed |= destinations;
            self.bell.notify_one();
        }
    }

    /// A gate answered.
    pub(crate) fn answered(&self, policy: PolicyId, gate: GateAt, answer: Answer) {
        self.inner.lock().answers.push((policy, gate, answer));
        self.bell.notify_one();
    }

    /// Waits until there may be something.
    pub(crate) async fn wait(&self) {
        self.bell.notified().await;
    }
}

/// Tells the engine all that there is, and what follows from it.
pub(super) async fn listen(shared: &Shared, pending: &mut Pending) -> Result<(), DecideError> {
    loop {
        let inner = std::mem::take(&mut *shared.news.inner.lock());
        let assigned = std::mem::take(&mut pending.heard.assigned);
        let removing = std::mem::take(&mut pending.heard.removing);
        let events = {
            let world = shared.world.read();
            let mut events = removals(&world, removing, &inner.removed);
            events.extend(reports(&world, assigned, &inner.copies));
            events
        };
        let answers = inner.answers.into_iter();
        let answers = answers.map(|(id, gate, answer)| (id, PolicyEvent::Answered(gate, answer)));
        let mut any = false;
        for (id, event) in answers.chain(events) {
            any = true;
            super::step(shared, Event::Policy(id, event), pending).await?;
        }
        if !any && pending.heard.assigned.is_empty() && pending.heard.removing.is_empty() {
            return Ok(());
        }
    }
}

/// What was reported about the policies concerned.
fn reports(
    world: &World,
    mut who: BTreeMap<PolicyIndex, Destinations>,
    copies: &HashMap<ObjectIndex, Destinations>,
) -> Vec<(PolicyId, PolicyEvent)> {
    for (object, set) in copies {
        let policies = world.objects.get(object).map(|o| &o.policies);
        for index in policies.into_iter().flatten() {
            if world
                .policies
                .get(index)
                .is_some_and(|p| p.control.is_some())
            {
                *who.entry(*index).or_default() |= set;
            }
        }
    }
    let mut events = Vec::new();
    for (index, set) in who {
        let found = judge::judge(world, index, &set).into_iter();
        events.extend(found.map(|r| (PolicyId(index.0), PolicyEvent::Reported(r))));
    }
    events
}

/// Removals that nothing is waited for any more.
fn removals(
    world: &World,
    ordered: BTreeMap<PolicyIndex, Destinations>,
    confirmed: &Destinations,
) -> Vec<(PolicyId, PolicyEvent)> {
    let mut events = Vec::new();
    for id in world.control.engine.policies() {
        let index = PolicyIndex(id.0);
        let Some(policy) = world.policies.get(&index) else {
            continue;
        };
        let Some(state) = world.control.engine.state(id) else {
            continue;
        };
        let removing = state.sets.get(SetId::Removing);
        let mut asked = removing & confirmed;
        if let Some(ordered) = ordered.get(&index) {
            asked |= removing & ordered;
        }
        let done: Destinations = asked
            .iter()
            .filter(|d| {
                // Anything of the workspace that still goes there: the policy that it was of may be forgotten.
                let mut left = world.tombstones.at(Destination(*d));
                !left.any(|t| {
                    world
                        .objects
                        .get(&t.object)
                        .is_some_and(|o| *o.copy.cluster == *policy.cluster)
                })
            })
            .collect();
        if !done.is_empty() {
            events.push((id, PolicyEvent::Removed(done)));
        }
    }
    events
}
