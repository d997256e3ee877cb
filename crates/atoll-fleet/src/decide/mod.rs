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
type NewRevision = (Ordinal, Arc<Cut>);

/// A decision, ready to be made durable.
struct Decision {
    /// A new revision.
    cut: Option<NewRevision>,
    /// Its bodies that the store does not have.
    bodies: Vec<(BodyHash, Bytes)>,
    /// Who moves.
    transitions: Vec<Transition>,
    /// Destinations that do not exist any more.
    gone: Destinations,
    /// Revisions that are kept no longer.
    forget: Vec<Ordinal>,
    tombstones: Vec<Tombstone>,
    /// Copies that are wanted again: their tombstones end.
    revived: Vec<(ObjectIndex, Destinations)>,
    held: Option<Held>,
    /// Copies and destinations removed by change.
    removed: (u64, u64),
    orphan: bool,
    /// Destinations wait for consent. `None`: this was not looked at.
    refused: Option<bool>,
    /// What could not be had. `None`: this was not looked at.
    unsatisfied: Option<Vec<String>>,
    /// When it is to be decided again although nothing happens. `None`: this was not looked at.
    wake: Option<Option<Timestamp>>,
    now: i64,
}

impl Decision {
    /// Everybody about whom anything changes.
    fn concerned(&self) -> Destinations {
        let moved = self.transitions.iter().map(|t| &t.destinations);
        moved.fold(self.gone.clone(), |all, set| all | set)
    }
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
    let decision = {
        let mut world = shared.world.write();
        let part = match scope {
            Scope::Whole => None,
            Scope::Destinations(these) => {
                part::prepare(shared, snapshot.as_ref(), &mut world, index, these)
            }
        };
        match part {
            Some(decision) => Some(decision),
            None => prepare(shared, snapshot.as_ref(), &mut world, index, pending)?,
        }
    };
    drop(snapshot);
    shared.policy_status.add(index);
    let Some(decision) = decision else {
        return Ok(());
    };
    let mut revision = Revision(0);
    let batches = write::batches(&shared.world.read(), index, &decision);
    for writes in batches {
        revision = shared.append(Vec::new(), writes).await?;
    }
    if !decision.transitions.is_empty() {
        let tied = tied_to(&shared.world.read(), index);
        tied.into_iter().for_each(|other| pending.whole(other));
    }
    let (woken, free) = apply::apply(shared, index, decision, revision);
    shared.sessions.wake(&woken);
    collect(shared, free.iter().map(rows::body).collect()).await;
    Ok(())
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
) -> Result<Option<Decision>, DecideError> {
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
    let Some(policy) = world.policies.get_mut(&index) else {
        return Ok(None);
    };
    policy
        .problems
        .retain(|p| !p.starts_with("InventoryNotFound"));
    let stays = !trouble.is_empty();
    policy.problems.extend(trouble);
    policy.forget_recent(now);
    let (world, Some(policy)) = (&*world, world.policies.get(&index)) else {
        return Ok(None);
    };
    if !deleted && (!policy.parsed || policy.spec.suspend || stays || policy.inventory.is_none()) {
        // The last good state stays as it is.
        return Ok(None);
    }
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
    let refused = !consent && !((&selected & accepted) - &policy.assigned).is_empty();
    let looked_at = selected.union_len(&policy.assigned);
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
            assigned: policy.assigned.clone(),
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
    let (cut, bodies) = if deleted {
        (None, Vec::new())
    } else {
        cut(world, policy, &wanted, &target, now)
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
        cut,
        bodies,
        transitions,
        gone: &policy.assigned - &world.existing,
        forget: Vec::new(),
        tombstones: Vec::new(),
        revived: Vec::new(),
        held,
        removed,
        orphan,
        refused: Some(refused),
        unsatisfied: Some(choice.unsatisfied),
        wake: Some(choice.wake_at),
        now,
    };
    Ok(Some(finish(world, index, policy, decision)))
}

/// A new revision, if what should be placed differs from the newest; with its bodies that the store does not have.
fn cut(
    world: &World,
    policy: &PolicyState,
    wanted: &BTreeMap<ObjectIndex, CopyFlags>,
    target: &Placed,
    now: i64,
) -> (Option<NewRevision>, Vec<(BodyHash, Bytes)>) {
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
    if policy.newest().is_some_and(|r| r.cut.content == content) {
        return (None, Vec::new());
    }
    bodies.retain(|hash, _| !world.bodies.contains_key(hash));
    let cut = Cut::new(entries, content, now);
    let next = Some((policy.ordinal() + 1, Arc::new(cut)));
    (next, bodies.into_iter().collect())
}

/// What follows from who moves: what goes, what comes back, what need not be kept.
fn finish(
    world: &World,
    index: PolicyIndex,
    policy: &PolicyState,
    mut decision: Decision,
) -> Decision {
    let new = decision.cut.as_ref().map(|(ordinal, cut)| (*ordinal, cut));
    let bundle = |ordinal: Ordinal| -> Option<&Arc<Cut>> {
        match new {
            Some((o, cut)) if o == ordinal => Some(cut),
            _ => policy.revisions.get(&ordinal).map(|r| &r.cut),
        }
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
    let forget: Vec<Ordinal> = if policy.deleted {
        ordinals.collect()
    } else if policy.revisions.len() + usize::from(new.is_some()) > HISTORY {
        let all = ordinals.chain(new.map(|(o, _)| o));
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
    fn orphan_now(&self) -> bool {
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
