//! Rollouts in the fleet: policies under control of the rollout engine ([`atoll_placement::rollout`]), and what joins the two.
//!
//! There are two ways from a change to destinations, and they meet in [`crate::decide`]: who is selected and what would be placed is found the same way for both. A policy that nothing holds
//! back then gives everybody its newest revision in the same decision. A policy *under control* tells the engine instead ([`follow`]), and what the engine answers becomes decisions of the same kind
//! ([`carry`]). A policy comes under control when it names a RolloutPolicy or its inventory has a DisruptionBudget, at any time: the engine is then told what is where ([`enter`]). It stays
//! there until it is deleted; without a RolloutPolicy it has [`RolloutPolicy::at_once`].
//!
//! Always true: the engine's records ([`crate::rows::rollout`]) are durable before the picture follows, and the picture's assignments are the engine's. What the engine hears is durable, too:
//! who is here, what was reported, what people wrote into Rollouts. So a restart goes on where the records end.
//!
//! | module | its idea |
//! |---|---|
//! | [`specs`] | RolloutPolicies and DisruptionBudgets in the picture, their expressions compiled |
//! | [`sight`] | what the engine asks of the inventory |
//! | [`enter`] | a policy comes under control, and what it shares with others |
//! | [`carry`] | a step of the engine becomes decisions, durable before they act |
//! | [`judge`] | from reported columns to healthy, progressing, failed |
//! | [`wishes`] | what people write into Rollout objects, as commands |
//! | [`objects`], [`budgets`] | Rollout objects and statuses of DisruptionBudgets, written |
//! | [`news`], [`resume`] | what the engine hears that others find out; a start |
//! | [`gates`] | asking gates |
//! | [`hooks`] | what is refused when it is written |

pub(crate) mod budgets;
mod carry;
mod enter;
pub(crate) mod gates;
pub(crate) mod hooks;
mod judge;
pub(crate) mod news;
pub(crate) mod objects;
mod resume;
mod sight;
pub(crate) mod specs;
mod wishes;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use atoll_kube::Timestamp;
use atoll_placement::bundle::BodyHash;
use atoll_placement::rollout::delta::SetId;
use atoll_placement::rollout::{
    BudgetId, Event, Explanation, PolicyEvent, PolicyId, Rollouts, Step,
};
use atoll_placement::{Destination, Destinations};

use crate::absorb::Pending;
use crate::decide::{Candidate, DecideError, Decision, Record};
use crate::model::{PolicyIndex, PolicyState, World};
use crate::shared::Shared;

pub(crate) use resume::{Records, load, named, resume};
use specs::{Budget, Expressions, Spec};
use wishes::Wish;

/// Begins what a policy's condition says when its RolloutPolicy is not there.
pub(crate) const POLICY_NOT_FOUND: &str = "RolloutPolicyNotFound";

/// What the picture knows of rollouts.
#[derive(Debug, Default)]
pub(crate) struct Control {
    /// Who has what of the policies under control.
    pub(crate) engine: Rollouts,
    /// RolloutPolicies by workspace and name.
    specs: HashMap<(Arc<str>, Arc<str>), Spec>,
    /// DisruptionBudgets.
    budgets: BTreeMap<BudgetId, Budget>,
    /// What is written in Rollout objects, by workspace and name.
    wishes: BTreeMap<(Arc<str>, Arc<str>), Wish>,
    /// Compiled expressions.
    expressions: Expressions,
    /// When the engine is to be asked again although nothing happens.
    pub(crate) wake: Option<Timestamp>,
}

/// What is known of a policy because it is under control.
#[derive(Debug, Clone)]
pub(crate) struct Controlled {
    id: PolicyId,
    /// The number of its next record.
    next: u64,
    /// The oldest record that is kept: a whole state.
    oldest: u64,
    /// What the next revision would be.
    candidate: Option<Held>,
    /// The engine was told its settings since this start, or knew them.
    introduced: bool,
    /// Why the last command was refused.
    pub(crate) refused: Option<String>,
}

/// A candidate, and the bodies of the store that are kept for it.
#[derive(Debug, Clone)]
struct Held {
    candidate: Candidate,
    bodies: Vec<BodyHash>,
}

/// What the rollout engine is told of a policy that was looked at.
#[derive(Debug)]
pub(crate) struct Aim {
    /// `spec.suspend`.
    pub(crate) suspended: bool,
    /// It is deleted.
    pub(crate) deleted: Option<Deleted>,
    /// What it should come to; `None`: as it was.
    pub(crate) target: Option<Target>,
}

/// How a policy is deleted.
#[derive(Debug)]
pub(crate) struct Deleted {
    /// Copies stay.
    pub(crate) orphan: bool,
    /// Its workspace goes: nothing is waited for.
    pub(crate) at_once: bool,
}

/// What a policy should come to.
#[derive(Debug)]
pub(crate) struct Target {
    /// What it would place; `None`: as it was.
    pub(crate) content: Option<Candidate>,
    /// Who is newly selected.
    pub(crate) joined: Destinations,
    /// Who is no longer.
    pub(crate) left: Destinations,
}

impl World {
    /// Who a policy selects, as far as that was decided: what choices are sticky about and the guard counts.
    pub(crate) fn holders<'a>(&'a self, policy: &'a PolicyState) -> &'a Destinations {
        let control = policy.control.as_ref();
        let state = control.and_then(|c| self.control.engine.state(c.id));
        state.map_or(&policy.assigned, |s| s.sets.get(SetId::Selected))
    }

    /// Why a destination has what it has of a policy; `None` for one that is not under control.
    pub(crate) fn waits_for(
        &self,
        index: PolicyIndex,
        destination: Destination,
        now: Timestamp,
    ) -> Option<Explanation> {
        let facts = sight::Inventories { world: self, now };
        let engine = &self.control.engine;
        engine.explain(PolicyId(index.0), destination.0, &facts, now)
    }

    /// Tells the engine that something happened.
    fn step(&mut self, event: Event, now: Timestamp) -> Step {
        let mut engine = std::mem::take(&mut self.control.engine);
        let step = engine.step(event, &sight::Inventories { world: self, now }, now);
        self.control.engine = engine;
        self.control.wake = step.wake;
        step
    }
}

/// Whether a policy is under control, or comes under it now; the error is for its condition: it names a RolloutPolicy that is not there (one that was there before stays in force).
pub(crate) fn under_control(world: &World, index: PolicyIndex) -> Result<bool, String> {
    let Some(policy) = world.policies.get(&index) else {
        return Ok(false);
    };
    if let Some(name) = &policy.spec.rollout {
        match world.control.spec_of(policy) {
            Some(spec) if spec.parsed.is_some() => return Ok(true),
            Some(spec) => {
                return Err(format!(
                    "{POLICY_NOT_FOUND}: RolloutPolicy {name:?}: {}",
                    spec.problem
                ));
            }
            None => {
                return Err(format!(
                    "{POLICY_NOT_FOUND}: there is no RolloutPolicy {name:?} in this workspace; until there is, nothing is changed"
                ));
            }
        }
    }
    let bound = policy.inventory.as_deref().is_some_and(|inventory| {
        let mut budgets = world.control.budgets.values();
        budgets.any(|b| &*b.inventory == inventory)
    });
    Ok(bound || policy.control.is_some())
}

/// A decision that moves nobody: what is known of a policy under control beside what the engine says.
pub(crate) fn without_moves(policy: &PolicyState, decision: Decision, aim: &Aim) -> Decision {
    let content = aim
        .target
        .as_ref()
        .and_then(|t| Some(&t.content.as_ref()?.cut.content));
    let held = policy.control.as_ref().and_then(|c| c.candidate.as_ref());
    let known = held.is_some() && held.map(|h| &h.candidate.cut.content) == content;
    let moves = aim.target.as_ref().is_some_and(|t| !t.left.is_empty());
    decision.unmoved(Record::default(), known && !moves)
}

/// The policies under control whose copies at a destination are not as everywhere: they are rendered anew when the engine says so.
pub(crate) fn rendering(world: &World, destination: Destination) -> Vec<PolicyIndex> {
    let state = world.destinations.get(&destination);
    let inventory = state.and_then(|s| world.inventories.get(&s.inventory));
    let policies = inventory.into_iter().flat_map(|i| &i.policies).copied();
    let varies = |index: &PolicyIndex| {
        let policy = world.policies.get(index).filter(|p| p.control.is_some());
        policy
            .and_then(|p| p.at(destination))
            .is_some_and(|(_, r)| r.cut.varies)
    };
    policies.filter(varies).collect()
}

/// Tells the engine what a policy should come to, and carries out what it answers.
pub(crate) async fn follow(
    shared: &Shared,
    index: PolicyIndex,
    aim: Aim,
    pending: &mut Pending,
) -> Result<(), DecideError> {
    enter::enter(shared, index, pending).await?;
    let id = PolicyId(index.0);
    let mut events = Vec::new();
    let free = {
        let mut world = shared.world.write();
        enter::settings(&mut world, index, &mut events);
        if let Some(Deleted { orphan, at_once }) = aim.deleted {
            let known = world.control.engine.state(id);
            if known.is_some_and(|s| s.config.deleted.is_none()) {
                let event = PolicyEvent::Deleted { orphan, at_once };
                events.push(Event::Policy(id, event));
            }
            Vec::new()
        } else {
            let state = world.control.engine.state(id);
            if state.is_some_and(|s| s.config.suspended != aim.suspended) {
                events.push(Event::Policy(id, PolicyEvent::Suspended(aim.suspended)));
            }
            match aim.target {
                Some(target) => enter::aim(&mut world, index, target, &mut events),
                None => Vec::new(),
            }
        }
    };
    crate::decide::collect(shared, free).await;
    for event in events {
        step(shared, event, pending).await?;
    }
    Ok(())
}

/// One event: what the engine answers is durable and done when this returns.
pub(crate) async fn step(
    shared: &Shared,
    event: Event,
    pending: &mut Pending,
) -> Result<(), DecideError> {
    let step = shared.world.write().step(event, shared.registry.now());
    carry::carry(shared, step, pending).await
}

/// What the engine hears beside policies: destinations that came, went, changed or are gone, budgets, what was reported, gates' answers, and the time. False: the store has stopped.
pub(crate) async fn hear(shared: &Shared, pending: &mut Pending) -> Result<(), DecideError> {
    let mut heard = std::mem::take(&mut pending.heard);
    // These are for the end, when all else is said.
    pending.heard.assigned = std::mem::take(&mut heard.assigned);
    pending.heard.removing = std::mem::take(&mut heard.removing);
    if !heard.gone.is_empty() {
        step(shared, Event::Gone(heard.gone), pending).await?;
    }
    for (id, budget) in heard.budgets {
        step(shared, Event::Budget(id, budget), pending).await?;
    }
    if !heard.relabeled.is_empty() {
        step(shared, Event::Relabeled(heard.relabeled), pending).await?;
    }
    if !heard.up.is_empty() || !heard.down.is_empty() {
        let (up, down) = (heard.up, heard.down);
        step(shared, Event::Availability { up, down }, pending).await?;
    }
    for (index, who) in heard.rerender {
        let event = PolicyEvent::Rerender(who);
        step(shared, Event::Policy(PolicyId(index.0), event), pending).await?;
    }
    for key in heard.wishes {
        let events = wishes::commands(&shared.world.read(), &key);
        for event in events {
            wishes::command(shared, event, pending).await?;
        }
    }
    let now = shared.registry.now();
    if shared.world.read().control.wake.is_some_and(|at| at <= now) {
        step(shared, Event::Tick, pending).await?;
    }
    news::listen(shared, pending).await
}

/// What the engine has not heard yet.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) up: Destinations,
    pub(crate) down: Destinations,
    pub(crate) gone: Destinations,
    pub(crate) relabeled: Destinations,
    pub(crate) rerender: BTreeMap<PolicyIndex, Destinations>,
    budgets: BTreeMap<BudgetId, Option<atoll_placement::rollout::spec::DisruptionBudget>>,
    wishes: std::collections::BTreeSet<(Arc<str>, Arc<str>)>,
    /// Destinations that were assigned something, or something else: what is known of that already counts.
    assigned: BTreeMap<PolicyIndex, Destinations>,
    /// Destinations whose removal was ordered: some have nothing to confirm.
    removing: BTreeMap<PolicyIndex, Destinations>,
}

impl Heard {
    /// A destination came or went.
    pub(crate) fn available(&mut self, destination: u32, available: bool) {
        let (to, from) = match available {
            true => (&mut self.up, &mut self.down),
            false => (&mut self.down, &mut self.up),
        };
        to.insert(destination);
        from.remove(destination);
    }
}
