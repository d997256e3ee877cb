//! Deciding one policy: plan, append, then let the picture change and wake the sessions concerned. In this order, always.
//!
//! Bodies are durable before the revision that names them, tombstones before the assignment that no longer has the copies, the assignment before a session can read it. A crash in
//! between leaves bodies that nothing names (they go at the next start) or tombstones for copies that are still placed: the placement wins, and the same decision is made again.

mod apply;
pub(crate) mod choose;
mod lookups;
mod part;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use atoll_kube::Timestamp;
use atoll_placement::assign::{self, Ordinal, Transition};
use atoll_placement::bundle::{self, BodyHash, CopyFlags};
use atoll_placement::choose::Affinity;
use atoll_placement::place::{self, Guard, Held, ObjectIndex, Placed, Plan, Wanted};
use atoll_placement::policy::DeletionPolicy;
use atoll_placement::{Destinations, RoaringBitmap};
use atoll_store::{AppendError, At, Revision, Snapshot, Write};
use bytes::Bytes;

pub(crate) use apply::forget_settled;
pub(crate) use write::{fit, tombstone_write};

use crate::absorb::{Absorb, Pending, Scope};
use crate::farewell;
use crate::model::{Cut, Entry, PolicyIndex, PolicyState, Tombstone, World};
use crate::rollout::{self, Aim, Deleted, Target};
use crate::rows;
use crate::shared::Shared;

/// Removals by change within this time add up for the guard.
const RECENT_MS: i64 = 60_000;
/// Revisions that are kept, beside those that somebody has.
const HISTORY: usize = 10;

/// Why a decision was not carried out. It is made again later.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecideError {
    #[error("reading: {0}")]
    Read(String),
    #[error("writing: {0}")]
    Append(#[from] AppendError),
}

/// A revision that is cut by a decision.
pub(crate) type NewRevision = (Ordinal, Arc<Cut>);

/// A decision, ready to be made durable.
pub(crate) struct Decision {
    /// New revisions.
    pub(crate) cuts: Vec<NewRevision>,
    /// Their bodies that the store does not have.
    pub(crate) bodies: Vec<(BodyHash, Bytes)>,
    /// Who moves.
    pub(crate) transitions: Vec<Transition>,
    /// Destinations that do not exist any more.
    pub(crate) gone: Destinations,
    /// Revisions that are kept no longer.
    pub(crate) forget: Vec<Ordinal>,
    tombstones: Vec<Tombstone>,
    /// Copies that are wanted again: their tombstones end.
    revived: Vec<(ObjectIndex, Destinations)>,
    held: Option<Held>,
    /// Copies and destinations removed by change.
    removed: (u64, u64),
    orphan: bool,
    /// The rollout engine decided it: who has what is in its records, and it forgets revisions itself.
    control: Option<Record>,
    /// Nothing of the policy is left: its rows go.
    pub(crate) last: bool,
    /// Destinations wait for consent. `None`: this was not looked at.
    refused: Option<bool>,
    /// What could not be had. `None`: this was not looked at.
    unsatisfied: Option<Vec<String>>,
    /// When it is to be decided again although nothing happens. `None`: this was not looked at.
    wake: Option<Option<Timestamp>>,
    now: i64,
}

/// What is written of a decision of the rollout engine.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// Its number and bytes; `None`: it says nothing about who has what.
    pub(crate) row: Option<(u64, Bytes)>,
    /// Numbers of records that go.
    pub(crate) obsolete: std::ops::Range<u64>,
    /// The policy comes under control: what said who has what until now goes.
    pub(crate) entered: bool,
}

impl Decision {
    /// One that leaves everything about a policy as it is.
    pub(crate) fn nothing(policy: &PolicyState, now: i64) -> Decision {
        Decision {
            cuts: Vec::new(),
            bodies: Vec::new(),
            transitions: Vec::new(),
            gone: Destinations::new(),
            forget: Vec::new(),
            tombstones: Vec::new(),
            revived: Vec::new(),
            held: policy.held.clone(),
            removed: (0, 0),
            orphan: policy.orphan,
            control: None,
            last: false,
            refused: None,
            unsatisfied: None,
            wake: None,
            now,
        }
    }

    /// One of the rollout engine, about a policy whose copies stay (or do not) as it says now.
    pub(crate) fn under_control(
        policy: &PolicyState,
        record: Record,
        orphan: bool,
        now: i64,
    ) -> Decision {
        Decision {
            control: Some(record),
            orphan,
            ..Decision::nothing(policy, now)
        }
    }

    /// What is known of a policy under control beside what the engine says: nobody moves. `again`: removals were counted before.
    pub(crate) fn unmoved(self, record: Record, again: bool) -> Decision {
        Decision {
            control: Some(record),
            last: false,
            removed: if again { (0, 0) } else { self.removed },
            ..self
        }
    }

    /// Everybody about whom anything changes.
    fn concerned(&self) -> Destinations {
        let moved = self.transitions.iter().map(|t| &t.destinations);
        moved.fold(self.gone.clone(), |all, set| all | set)
    }
}

/// What looking at a policy comes to: a decision, and (for a policy under control) what the rollout engine is told.
#[derive(Default)]
struct Prepared {
    decision: Option<Decision>,
    aim: Option<Aim>,
}

/// Decides a policy and carries the decision out.
pub(crate) async fn decide(
    shared: &Shared,
    index: PolicyIndex,
    scope: &Scope,
    pending: &mut Pending,
) -> Result<(), DecideError> {
    shared.figures.decisions.fetch_add(1, Ordering::Relaxed);
    let snapshot = shared
        .store
        .snapshot(At::Latest)
        .map_err(|e| DecideError::Read(e.to_string()))?;
    let prepared = {
        let mut world = shared.world.write();
        let part = match scope {
            Scope::Whole => None,
            Scope::Destinations(these) => {
                part::prepare(shared, snapshot.as_ref(), &mut world, index, these)
            }
        };
        match part {
            Some(prepared) => prepared,
            None => prepare(shared, snapshot.as_ref(), &mut world, index, pending)?,
        }
    };
    drop(snapshot);
    shared.policy_status.add(index);
    if let Some(decision) = prepared.decision {
        carry(shared, index, decision, pending).await?;
    }
    match prepared.aim {
        Some(aim) => rollout::follow(shared, index, aim, pending).await,
        None => Ok(()),
    }
}

/// Makes a decision durable, lets the picture be so, and wakes whom it concerns.
pub(crate) async fn carry(
    shared: &Shared,
    index: PolicyIndex,
    decision: Decision,
    pending: &mut Pending,
) -> Result<(), DecideError> {
    let revision = append(shared, index, &decision).await?;
    settle(shared, index, decision, revision, pending).await;
    Ok(())
}

/// Makes a decision durable. Doing it again does no harm.
pub(crate) async fn append(
    shared: &Shared,
    index: PolicyIndex,
    decision: &Decision,
) -> Result<Revision, AppendError> {
    let mut revision = Revision(0);
    let batches = write::batches(&shared.world.read(), index, decision);
    for writes in batches {
        revision = shared.append(Vec::new(), writes).await?;
    }
    Ok(revision)
}

/// What is durable becomes the picture, and whom it concerns is woken.
pub(crate) async fn settle(
    shared: &Shared,
    index: PolicyIndex,
    decision: Decision,
    revision: Revision,
    pending: &mut Pending,
) {
    if !decision.transitions.is_empty() {
        let tied = tied_to(&shared.world.read(), index);
        tied.into_iter().for_each(|other| pending.whole(other));
    }
    let (woken, free) = apply::apply(shared, index, decision, revision);
    shared.sessions.wake(&woken);
    collect(shared, free.iter().map(rows::body).collect()).await;
}

/// Policies that choose by where another one is placed.
fn tied_to(world: &World, index: PolicyIndex) -> Vec<PolicyIndex> {
    let Some(policy) = world.policies.get(&index) else {
        return Vec::new();
    };
    let names = |tie: &Affinity| *tie.policy == *policy.name;
    let tied = world.policies.iter().filter(|(_, other)| {
        let asked = &other.spec.asked;
        let mut ties = asked.affinity.iter().chain(&asked.anti_affinity);
        other.cluster == policy.cluster && ties.any(names)
    });
    tied.map(|(other, _)| *other).collect()
}

/// Deletes rows that nothing needs; one that stays is found at the next start.
pub(crate) async fn collect(shared: &Shared, keys: Vec<atoll_store::Key>) {
    let writes: Vec<Write> = keys.into_iter().map(|k| Write::Delete(k, None)).collect();
    for part in write::fit(writes) {
        if let Err(error) = shared.append(Vec::new(), part).await {
            tracing::warn!(%error, "rows that are not needed any more could not be deleted");
            return;
        }
    }
}

fn prepare(
    shared: &Shared,
    snapshot: &dyn Snapshot,
    world: &mut World,
    index: PolicyIndex,
    pending: &mut Pending,
) -> Result<Prepared, DecideError> {
    let now = shared.registry.now().0;
    let mut absorb = Absorb {
        registry: &shared.registry,
        snapshot,
        world,
        pending,
    };
    let deleted = absorb.world.policies.get(&index).is_none_or(|p| p.deleted);
    let mut trouble = Vec::new();
    if !deleted && let Err(why) = absorb.resolve_inventory(index) {
        trouble.push(format!("InventoryNotFound: {why}"));
    }
    let mut wanted = BTreeMap::new();
    if !deleted {
        let closure = absorb.closure(index);
        wanted = closure.map_err(|e| DecideError::Read(e.to_string()))?;
    }
    lookups::keep_unreadable(world, snapshot, index, &mut wanted)?;
    let control = rollout::under_control(world, index);
    if !deleted && let Err(why) = &control {
        trouble.push(why.clone());
    }
    let control = control.unwrap_or(false);
    let Some(policy) = world.policies.get_mut(&index) else {
        return Ok(Prepared::default());
    };
    policy.problems.retain(|p| {
        !p.starts_with("InventoryNotFound") && !p.starts_with(rollout::POLICY_NOT_FOUND)
    });
    let stays = !trouble.is_empty();
    policy.problems.extend(trouble);
    policy.forget_recent(now);
    let (world, Some(policy)) = (&*world, world.policies.get(&index)) else {
        return Ok(Prepared::default());
    };
    let mut aim = (policy.control.is_some() || control && !deleted).then(|| Aim {
        suspended: policy.spec.suspend,
        deleted: deleted.then(|| Deleted {
            orphan: policy.orphan_now() || farewell::keeps(snapshot, &policy.cluster),
            at_once: farewell::is_said(snapshot, &policy.cluster),
        }),
        target: None,
    });
    if !deleted && (!policy.parsed || policy.spec.suspend || stays || policy.inventory.is_none()) {
        // The last good state stays as it is.
        aim = aim.filter(|_| policy.control.is_some());
        return Ok(Prepared {
            decision: None,
            aim,
        });
    }
    if deleted && aim.is_some() {
        return Ok(Prepared {
            decision: None,
            aim,
        });
    }
    let holders = world.holders(policy);
    let consent = lookups::consent_of(shared, snapshot, policy);
    let orphan = policy.orphan_now() || farewell::keeps(snapshot, &policy.cluster);
    let gone = lookups::deleted_objects(world, snapshot, policy, &wanted)?;
    let state = policy
        .inventory
        .as_deref()
        .and_then(|i| world.inventories.get(i));
    let choice = state
        .filter(|_| !deleted)
        .map(|s| choose::choose(world, policy, s, None, Timestamp(now)))
        .unwrap_or_default();
    let selected = choice.chosen;
    let none = RoaringBitmap::new();
    let accepted = state.map_or(&none, |s| s.index.accepted());
    let refused = !consent && !((&selected & accepted) - holders).is_empty();
    let looked_at = selected.union_len(holders);
    shared
        .figures
        .looked_at
        .fetch_add(looked_at, Ordering::Relaxed);
    let Plan {
        next: target,
        held,
        removed_by_change: removed,
        ..
    } = place::plan(
        &Placed {
            objects: policy
                .newest()
                .map(|r| r.cut.objects.clone())
                .unwrap_or_default(),
            assigned: holders.clone(),
        },
        &Wanted {
            objects: wanted.keys().copied().collect(),
            deleted: gone,
            let_go: lookups::let_go(policy),
            selected,
            accepted,
            existing: &world.existing,
            purging: &world.purging,
            consent,
            policy_deleted: deleted,
        },
        &Guard {
            limit: policy.spec.max_removals,
            confirmed: policy.spec.confirm_removal.clone(),
            recent_copies: policy.recent.iter().map(|r| r.1).sum(),
            recent_destinations: policy.recent.iter().map(|r| r.2).sum(),
            elsewhere: 0,
        },
        &|object, within| world.covered(object, index, within),
        &|object| world.identity_of(object),
    );
    let content = (!deleted).then(|| candidate(world, policy, &wanted, &target, now));
    let decision = Decision {
        held,
        removed,
        orphan,
        last: deleted,
        refused: Some(refused),
        unsatisfied: Some(choice.unsatisfied),
        wake: Some(choice.wake_at),
        ..Decision::nothing(policy, now)
    };
    if let Some(mut aim) = aim {
        let joined = &target.assigned - holders;
        let left = holders - &target.assigned;
        aim.target = content.map(|content| Target {
            content: Some(content),
            joined,
            left,
        });
        let decision = rollout::without_moves(policy, decision, &aim);
        return Ok(Prepared {
            decision: Some(decision),
            aim: Some(aim),
        });
    }
    let content = content.filter(|c| {
        policy
            .newest()
            .is_none_or(|r| r.cut.content != c.cut.content)
    });
    let (cut, bodies) = match content {
        None => (None, Vec::new()),
        Some(Candidate { cut, mut bodies }) => {
            bodies.retain(|(hash, _)| !world.bodies.contains_key(hash));
            (Some((policy.ordinal() + 1, cut)), bodies)
        }
    };
    let ordinal = cut.as_ref().map_or(policy.ordinal(), |(o, _)| *o);
    let before = policy
        .in_use()
        .map(|(o, r)| (o, &r.assigned & &world.existing));
    let before: Vec<(Ordinal, Destinations)> = before.collect();
    let transitions = assign::transitions(
        before.iter().map(|(o, set)| (*o, set)),
        [(ordinal, &target.assigned)],
    );
    let decision = Decision {
        cuts: cut.into_iter().collect(),
        bodies,
        transitions,
        gone: &policy.assigned - &world.existing,
        ..decision
    };
    Ok(Prepared {
        decision: Some(finish(world, index, policy, decision)),
        aim: None,
    })
}

/// What a revision would be, cut now.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) cut: Arc<Cut>,
    /// Bodies at hand: all that the store does not have are among them.
    pub(crate) bodies: Vec<(BodyHash, Bytes)>,
}

/// What a policy would place, with the bodies at hand.
fn candidate(
    world: &World,
    policy: &PolicyState,
    wanted: &BTreeMap<ObjectIndex, CopyFlags>,
    target: &Placed,
    now: i64,
) -> Candidate {
    let mut bodies: BTreeMap<BodyHash, Bytes> = BTreeMap::new();
    let mut entries = BTreeMap::new();
    for object in &target.objects {
        let old = policy.entry(*object);
        let record = world.objects.get(object).filter(|o| o.live);
        let form = wanted
            .get(object)
            .and_then(|flags| Some((*flags, record?.form(*flags)?)));
        let entry = match (form, old) {
            (Some((flags, form)), _) => {
                if let Some(body) = &form.body {
                    bodies.insert(form.content.body, body.clone());
                }
                Entry::new(flags, form.content.clone())
            }
            // Held back, or not readable just now: as it was.
            (None, Some(old)) => old.clone(),
            (None, None) => continue,
        };
        entries.insert(*object, entry);
    }
    let identities: Vec<(String, [u8; 16])> = entries
        .iter()
        .filter_map(|(o, e)| Some((world.objects.get(o)?.identity(), e.render)))
        .collect();
    let content = bundle::content_hash(identities.iter().map(|(i, render)| (i.as_str(), *render)));
    let cut = Cut::new(entries, content, now).holding(policy.spec.rollout.is_some());
    Candidate {
        cut: Arc::new(cut),
        bodies: bodies.into_iter().collect(),
    }
}

/// What follows from who moves: what goes, what comes back, what need not be kept.
pub(crate) fn finish(
    world: &World,
    index: PolicyIndex,
    policy: &PolicyState,
    mut decision: Decision,
) -> Decision {
    let bundle = |ordinal: Ordinal| -> Option<&Arc<Cut>> {
        let mut new = decision.cuts.iter();
        let new = new.find(|(o, _)| *o == ordinal).map(|(_, cut)| cut);
        new.or_else(|| policy.revisions.get(&ordinal).map(|r| &r.cut))
    };
    let transitions = &decision.transitions;
    let tombstones = tombstones(world, index, policy, transitions, &bundle, decision.orphan);
    let mut revived: BTreeMap<ObjectIndex, Destinations> = BTreeMap::new();
    for transition in transitions {
        let objects = transition.to.and_then(bundle);
        for object in objects.iter().flat_map(|c| &c.objects) {
            if world.tombstones.contains_key(object) {
                *revived.entry(*object).or_default() |= &transition.destinations;
            }
        }
    }
    let ordinals = policy.revisions.keys().copied();
    let forget: Vec<Ordinal> = if decision.last {
        ordinals.collect()
    } else if decision.control.is_some() {
        std::mem::take(&mut decision.forget)
    } else if policy.revisions.len() + decision.cuts.len() > HISTORY {
        let all = ordinals.chain(decision.cuts.iter().map(|(o, _)| *o));
        let all = all.map(|o| (o, has_somebody(policy, &decision, o)));
        assign::forgettable(all.collect::<Vec<_>>(), HISTORY, &[])
    } else {
        Vec::new()
    };
    decision.tombstones = tombstones;
    decision.revived = revived.into_iter().collect();
    decision.forget = forget;
    decision
}

/// Whether somebody has a revision when the decision is carried out.
fn has_somebody(policy: &PolicyState, decision: &Decision, ordinal: Ordinal) -> bool {
    let transitions = &decision.transitions;
    if transitions.iter().any(|t| t.to == Some(ordinal)) {
        return true;
    }
    let Some(revision) = policy.revisions.get(&ordinal) else {
        return false;
    };
    let out = transitions.iter().filter(|t| t.from == Some(ordinal));
    let out: u64 = out.map(|t| t.destinations.len()).sum();
    revision.assigned.len() > out + revision.assigned.intersection_len(&decision.gone)
}

impl PolicyState {
    /// Whether its copies stay when it or its objects go: as its spec says, or said last.
    pub(crate) fn orphan_now(&self) -> bool {
        if self.deleted {
            self.orphan
        } else {
            self.spec.deletion == DeletionPolicy::Orphan
        }
    }

    /// What was removed long ago counts no more for the guard.
    fn forget_recent(&mut self, now: i64) {
        let old = |step: &(i64, u64, u64)| step.0 < now - RECENT_MS;
        while self.recent.front().is_some_and(old) {
            self.recent.pop_front();
        }
    }
}

/// The tombstones that transitions add to. What another policy still wants there gets none (invariant 10).
fn tombstones<'a>(
    world: &World,
    index: PolicyIndex,
    policy: &PolicyState,
    transitions: &[Transition],
    bundle: &dyn Fn(Ordinal) -> Option<&'a Arc<Cut>>,
    orphan: bool,
) -> Vec<Tombstone> {
    let mut found: BTreeMap<ObjectIndex, Tombstone> = BTreeMap::new();
    let empty = Default::default();
    for transition in transitions {
        let lost = assign::lost(std::slice::from_ref(transition), |ordinal| {
            bundle(ordinal).map_or(&empty, |c| &c.objects)
        });
        for (object, mut destinations) in lost {
            destinations -= world.covered(object, index, &destinations);
            if destinations.is_empty() {
                continue;
            }
            // What came along implicitly is let go, never removed.
            let implicit = transition
                .from
                .and_then(bundle)
                .and_then(|c| c.entries.get(&object))
                .is_some_and(|e| e.flags.implicit);
            let tombstone = found.entry(object).or_insert_with(|| {
                let known = world.tombstones.get(&object).cloned();
                known.unwrap_or_else(|| Tombstone {
                    object,
                    inventory: policy
                        .inventory
                        .clone()
                        .unwrap_or_else(|| policy.cluster.clone()),
                    remove: Destinations::new(),
                    orphan: Destinations::new(),
                })
            });
            if orphan || implicit {
                tombstone.remove -= &destinations;
                tombstone.orphan |= destinations;
            } else {
                tombstone.orphan -= &destinations;
                tombstone.remove |= destinations;
            }
        }
    }
    found.into_values().collect()
}
