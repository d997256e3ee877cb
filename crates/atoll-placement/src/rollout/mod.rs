//! Rollouts: how a new revision reaches destinations, as a state machine over plain data.
//!
//! The one idea: [`Rollouts::step`] takes what happened and answers what is to be recorded ([`Delta`]) and what is then to be done ([`Effect`]). The caller
//! appends the deltas to the log and carries out the effects only when they are durable. Reading the deltas back in order gives the same state, so a process that was killed
//! goes on where it was: nothing that a decision depends on is anywhere else.
//!
//! Always true (invariant 6): no effect starts work at a destination when the limits of its stage, a disruption budget, the rate, a gate, a window, a pause or another policy of the
//! same object forbid it; and a destination holds its slot from then on until it was healthy for the soak time or counts as failed. Being away frees nothing.
//!
//! Sets of destinations are bitmaps and counts are kept as they change: a step costs what it concerns, at a thousand destinations and at a million. What is done once per
//! revision or stage (its members, the queues) is done with whole bitmaps.
//!
//! | module | its idea |
//! |---|---|
//! | [`spec`] | RolloutPolicy and DisruptionBudget, parsed and checked |
//! | [`event`] | what happens, what is to be done, and what the engine asks of its caller |
//! | [`delta`] | durable sets and their changes, encoded |
//! | [`state`] | what is known of one policy |
//! | [`ground`] | what policies share: who is away, who is disrupted, groups and budgets |
//! | [`queue`] | who waits for what: derived, rebuilt after a restart |
//! | [`engine`] | the door: from events to the parts below |
//! | [`stages`], [`gates`], [`dispatch`], [`reports`], [`failure`], [`command`], [`rate`] | the parts |
//! | [`combine`] | several policies on one object |
//! | [`explain`], [`progress`] | answers for people, and the Rollout object's status |

pub mod combine;
pub mod command;
pub mod delta;
pub mod dispatch;
pub mod engine;
pub mod event;
pub mod explain;
pub mod failure;
pub mod gates;
pub mod ground;
pub mod progress;
pub mod queue;
pub mod rate;
pub mod reports;
pub mod spec;
pub mod stages;
pub mod state;

pub use delta::Delta;
pub use engine::Rollouts;
pub use event::{
    Action, Answer, Assignment, Command, Effect, Event, Facts, GateAt, GatePlace, PolicyEvent,
    Question, Report, Step,
};
pub use explain::{Explanation, Waiting};
pub use progress::{Counts, Progress, StageProgress};
pub use state::{Phase, RevisionInfo, RolloutState};

use serde::{Deserialize, Serialize};

/// A policy's dense index, given by the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PolicyId(pub u32);

/// A revision's ordinal within its policy: 1, 2, 3, …; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ordinal(pub u64);

/// A DisruptionBudget object, by an index that the caller gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BudgetId(pub u32);
