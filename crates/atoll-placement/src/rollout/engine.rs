//! The door: every policy's rollouts of one center, and the step that an event makes them take.

use std::collections::BTreeMap;

use atoll_kube::Timestamp;

use super::delta::{Delta, Undecodable};
use super::event::{Event, Facts, Step};
use super::state::RolloutState;
use super::{Ordinal, PolicyId};
use crate::Destinations;

/// All rollouts, and what they share.
#[derive(Default)]
pub struct Rollouts {
    pub(super) policies: BTreeMap<PolicyId, RolloutState>,
}

impl Rollouts {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads back a recorded delta, in the order of the log. When all are read, [`Rollouts::resume`] goes on.
    pub fn load(&mut self, policy: PolicyId, delta: &Delta) -> Result<(), Undecodable> {
        self.policies.entry(policy).or_default().apply(delta)
    }

    /// Goes on after a restart. `available` is who was here by the log, `known` who exists; budgets are told again as events, before. The effects are those that may have been lost.
    pub fn resume(
        &mut self,
        known: &Destinations,
        available: &Destinations,
        facts: &dyn Facts,
        now: Timestamp,
    ) -> Step {
        let _ = (known, available, facts, now);
        Step::default()
    }

    /// One step. Deterministic: the same history gives the same deltas and effects.
    pub fn step(&mut self, event: Event, facts: &dyn Facts, now: Timestamp) -> Step {
        let _ = (event, facts, now);
        Step::default()
    }

    /// One policy's whole state as a delta from nothing: a snapshot that replaces all deltas before it.
    pub fn snapshot(&self, policy: PolicyId) -> Option<Delta> {
        self.policies.get(&policy).map(RolloutState::whole)
    }

    /// What is known of a policy.
    pub fn state(&self, policy: PolicyId) -> Option<&RolloutState> {
        self.policies.get(&policy)
    }

    /// The revision that a destination is to have of a policy, now.
    pub fn revision_of(&self, policy: PolicyId, destination: u32) -> Option<Ordinal> {
        self.state(policy)?.revision_of(destination)
    }
}
