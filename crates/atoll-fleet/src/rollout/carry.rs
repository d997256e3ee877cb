//! A step of the engine becomes decisions: durable, then in the picture, then done. One policy after the other, because what one lets go another may cover.
//!
//! The engine has changed its memory when a step returns, so an append that fails is made again until it succeeds or the store has stopped. Records are deltas; every now and then one is
//! a whole state, and what is before it goes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use atoll_placement::Destinations;
use atoll_placement::assign::Transition;
use atoll_placement::rollout::delta::{Delta, SetId};
use atoll_placement::rollout::{Action, Effect, Ordinal, PolicyId, Step};
use atoll_store::AppendError;
use bytes::Bytes;

use super::gates;
use crate::absorb::Pending;
use crate::decide::{self, Candidate, DecideError, Decision, Record};
use crate::model::{Cut, PolicyIndex, PolicyState, World};
use crate::rows;
use crate::shared::Shared;

/// So many deltas, and a whole state is written.
const WHOLE_EVERY: u64 = 64;
/// How long a failed append waits.
const RETRY: Duration = Duration::from_millis(500);

/// What a step says of one policy.
#[derive(Default)]
struct Part {
    delta: Option<Delta>,
    /// Ordinals, and whose content they have.
    cuts: Vec<(Ordinal, Option<Ordinal>)>,
    forget: Vec<Ordinal>,
    finished: bool,
    changed: bool,
}

/// Carries out a step.
pub(super) async fn carry(
    shared: &Shared,
    step: Step,
    pending: &mut Pending,
) -> Result<(), DecideError> {
    let mut parts: BTreeMap<PolicyId, Part> = BTreeMap::new();
    let mut questions = Vec::new();
    let mut rerender = Destinations::new();
    for (id, delta) in step.deltas {
        parts.entry(id).or_default().delta = Some(delta);
    }
    for effect in step.effects {
        match effect {
            Effect::Cut {
                policy,
                revision,
                of,
                ..
            } => parts.entry(policy).or_default().cuts.push((revision, of)),
            Effect::Forget(id, ordinal) => parts.entry(id).or_default().forget.push(ordinal),
            Effect::Finished(id) => parts.entry(id).or_default().finished = true,
            Effect::Changed(id) => parts.entry(id).or_default().changed = true,
            Effect::Ask(id, question) => questions.push((id, question)),
            Effect::Assign(id, assignment) => {
                if assignment.action == Action::Rerender {
                    rerender |= &assignment.destinations;
                }
                let assigned = pending.heard.assigned.entry(PolicyIndex(id.0)).or_default();
                *assigned |= assignment.destinations;
            }
            Effect::Remove(id, who) => {
                *pending.heard.removing.entry(PolicyIndex(id.0)).or_default() |= who;
            }
        }
    }
    {
        // Who is here, and who is worked on, is what budgets show.
        let world = shared.world.read();
        world
            .control
            .budgets
            .keys()
            .for_each(|id| shared.budgets.add(*id));
    }
    for (id, part) in parts {
        let index = PolicyIndex(id.0);
        let (finished, changed) = (part.finished, part.changed);
        let cut = !part.cuts.is_empty();
        let decision = prepare(
            &mut shared.world.write(),
            index,
            part,
            shared.registry.now().0,
        );
        if let Some(decision) = decision {
            persist(shared, index, decision, pending).await?;
        }
        if cut {
            // It is a revision now: its bodies are held by that.
            let free = shared.world.write().reconsider(index);
            decide::collect(shared, free.iter().map(rows::body).collect()).await;
        }
        if changed || finished {
            shared.policy_status.add(index);
            let world = shared.world.read();
            if let Some(policy) = world.policies.get(&index) {
                let id = (policy.cluster.clone(), policy.name.clone());
                shared.rollouts.add(id);
            }
        }
    }
    if !rerender.is_empty() {
        shared.sessions.wake(&rerender);
    }
    gates::ask(shared, questions);
    Ok(())
}

/// Makes a decision of the engine durable, however often it takes, and lets it act.
pub(super) async fn persist(
    shared: &Shared,
    index: PolicyIndex,
    decision: Decision,
    pending: &mut Pending,
) -> Result<(), DecideError> {
    let revision = loop {
        match decide::append(shared, index, &decision).await {
            Ok(revision) => break revision,
            Err(AppendError::Stopped) => return Err(AppendError::Stopped.into()),
            Err(error) => {
                tracing::error!(%error, policy = ?index, "a rollout's step could not be written; it is tried again");
                tokio::time::sleep(RETRY).await;
            }
        }
    };
    decide::settle(shared, index, decision, revision, pending).await;
    Ok(())
}

/// What a step says of one policy, as a decision.
fn prepare(world: &mut World, index: PolicyIndex, part: Part, now: i64) -> Option<Decision> {
    let id = PolicyId(index.0);
    let snapshot = {
        let control = world.policies.get(&index)?.control.as_ref()?;
        let due = control.next - control.oldest >= WHOLE_EVERY;
        due.then(|| world.control.engine.snapshot(id)).flatten()
    };
    let policy = world.policies.get_mut(&index)?;
    let control = policy.control.as_mut()?;
    let mut record = Record::default();
    if part.finished {
        record.obsolete = control.oldest..control.next;
    } else if let Some(delta) = &part.delta {
        let number = control.next;
        control.next += 1;
        record.row = Some((
            number,
            Bytes::from(match &snapshot {
                Some(whole) => whole.encode(),
                None => delta.encode(),
            }),
        ));
        if snapshot.is_some() {
            record.obsolete = control.oldest..number;
            control.oldest = number;
        }
    }
    let (world, policy) = (&*world, world.policies.get(&index)?);
    let mut decision = Decision::under_control(policy, record, policy.orphan_now(), now);
    for (ordinal, of) in part.cuts {
        let (cut, bodies) = cut_of(world, policy, id, ordinal, of);
        decision.bodies.extend(bodies);
        decision.cuts.push((ordinal.0, cut));
    }
    decision
        .bodies
        .retain(|(hash, _)| !world.bodies.contains_key(hash));
    decision.forget = part.forget.iter().map(|o| o.0).collect();
    let moved = if part.finished {
        // The engine has let go of everything, whatever its last words were.
        decision.last = true;
        let all = policy.in_use().map(|(ordinal, r)| Transition {
            from: Some(ordinal),
            to: None,
            destinations: r.assigned.clone(),
        });
        all.collect()
    } else {
        part.delta
            .as_ref()
            .map(|d| transitions(policy, d))
            .unwrap_or_default()
    };
    for mut transition in moved {
        let gone = &transition.destinations - &world.existing;
        transition.destinations -= &gone;
        decision.gone |= gone;
        if !transition.destinations.is_empty() {
            decision.transitions.push(transition);
        }
    }
    Some(decide::finish(world, index, policy, decision))
}

/// What a revision that is cut consists of, with the bodies at hand.
fn cut_of(
    world: &World,
    policy: &PolicyState,
    id: PolicyId,
    ordinal: Ordinal,
    of: Option<Ordinal>,
) -> (Arc<Cut>, Vec<(atoll_placement::bundle::BodyHash, Bytes)>) {
    let kept = |ordinal: Ordinal| policy.revisions.get(&ordinal.0).map(|r| r.cut.clone());
    if let Some(cut) = of.and_then(kept) {
        return (cut, Vec::new());
    }
    let state = world.control.engine.state(id);
    let content = state.and_then(|s| Some(&s.revision(ordinal)?.content));
    let candidate = policy.control.as_ref().and_then(|c| c.candidate.as_ref());
    if let Some(held) = candidate.filter(|h| Some(&h.candidate.cut.content) == content) {
        let Candidate { cut, bodies } = &held.candidate;
        return (cut.clone(), bodies.clone());
    }
    let mut revisions = policy.revisions.values().rev();
    let same = revisions.find(|r| Some(&r.cut.content) == content);
    if same.is_none() {
        // It is cut of what was said last; the newest is the nearest to that which is there.
        tracing::error!(policy = %policy.name, ordinal = ordinal.0, "a revision's content is not at hand");
    }
    let cut = same.or_else(|| policy.newest()).map(|r| r.cut.clone());
    (cut.unwrap_or_default(), Vec::new())
}

/// Who goes from which revision to which, by the engine's own record. What the picture has is what the records before it said.
fn transitions(policy: &PolicyState, delta: &Delta) -> Vec<Transition> {
    let assigned = || {
        let all = SetId::Assigned(Ordinal(0))..=SetId::Assigned(Ordinal(u64::MAX));
        delta.sets.range(all).filter_map(|(id, change)| match id {
            SetId::Assigned(ordinal) => Some((ordinal.0, change)),
            _ => None,
        })
    };
    let mut found = Vec::new();
    let mut add = |from, to, destinations: Destinations| {
        if !destinations.is_empty() {
            found.push(Transition {
                from,
                to,
                destinations,
            });
        }
    };
    let mut fresh: BTreeMap<u64, Destinations> = assigned()
        .map(|(ordinal, change)| (ordinal, change.added.clone()))
        .collect();
    for (from, change) in assigned() {
        let had = policy
            .revisions
            .get(&from)
            .map(|r| &r.assigned & &change.removed);
        let mut rest = had.unwrap_or_default();
        for (to, added) in &mut fresh {
            let both = &rest & &*added;
            rest -= &both;
            *added -= &both;
            add(Some(from), Some(*to), both);
        }
        add(Some(from), None, rest);
    }
    for (to, added) in fresh {
        add(None, Some(to), added);
    }
    found
}
