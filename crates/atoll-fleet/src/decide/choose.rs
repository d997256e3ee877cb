//! Whom a policy chooses: label selectors, expressions, taints, and so many of them.

use atoll_kube::Timestamp;
use atoll_placement::Destinations;
use atoll_placement::choose::candidates::{Candidates, Sight};
use atoll_placement::choose::pick::{Choice, Field, pick};
use sha2::{Digest, Sha256};

use crate::model::{InventoryState, PolicyState, World};
use crate::signals;

/// Chooses among all destinations, or looks at `these` only, which does for a policy that takes all that it may.
pub(crate) fn choose(
    world: &World,
    policy: &PolicyState,
    state: &InventoryState,
    these: Option<&Destinations>,
    now: Timestamp,
) -> Choice {
    look(world, policy, state, these, now, |field, sight| {
        let asked = &policy.spec.asked;
        let mut choice = pick(asked, field, sight);
        let missing = signals::missing(asked, state, now);
        choice.unsatisfied.extend(missing);
        for (why, set) in &field.candidates.failed {
            let example = set.min().map(atoll_placement::Destination);
            let example = example.map(|d| world.name_of(d)).unwrap_or_default();
            choice
                .unsatisfied
                .push(format!("{why} (at {}, for example {example})", set.len()));
        }
        choice
    })
}

/// All that a choice is made from.
pub(crate) fn look<T>(
    world: &World,
    policy: &PolicyState,
    state: &InventoryState,
    these: Option<&Destinations>,
    now: Timestamp,
    then: impl FnOnce(&Field<'_>, &Sight<'_>) -> T,
) -> T {
    let facts = world.known_of(state);
    let sight = Sight {
        inventory: &state.index,
        facts: &facts,
        signals: &state.signals,
        now,
    };
    let (selectors, asked) = (&policy.spec.clusters, &policy.spec.asked);
    let candidates = match these {
        None => Candidates::all(selectors, asked, &sight),
        Some(these) => {
            let mut candidates = Candidates::default();
            candidates.reconsider(these, selectors, asked, &sight);
            candidates
        }
    };
    let among = |set: &Destinations| match these {
        None => set - &world.purging,
        Some(these) => (set & these) - &world.purging,
    };
    let placed_by = |name: &str| {
        let id = (policy.cluster.clone(), name.into());
        let other = world.policies.get(world.by_policy.get(&id)?)?;
        Some(other.assigned.clone())
    };
    let field = Field {
        candidates: &candidates,
        incumbents: &among(world.holders(policy)),
        accepted: &among(state.index.accepted()),
        available: &world.available,
        taints: &state.taints,
        placed_by: &placed_by,
        seed: seed(&policy.uid),
    };
    then(&field, &sight)
}

/// Fixes the pick among equals for the life of a policy.
fn seed(uid: &str) -> u64 {
    let hash: [u8; 32] = Sha256::digest(uid.as_bytes()).into();
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    u64::from_be_bytes(first)
}
