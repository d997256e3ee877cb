//! What is known of one policy's rollouts: everything that must survive, and nothing else.
//!
//! Always true: it equals what its deltas say. Recorded moments are *engine time*, which never goes back: when the clock does, the difference is remembered as skew, so that a soak or a
//! deadline neither starts over nor ends early. Sets of destinations are in [`Sets`]; the rest is small and written as JSON.

use std::collections::BTreeSet;
use std::time::Duration;

use atoll_kube::Timestamp;
use serde::{Deserialize, Serialize};

use super::delta::{Delta, SetId, Sets, Undecodable};
use super::event::{Answer, GatePlace};
use super::spec::{Limits, RolloutPolicy, Stage};
use super::{Ordinal, PolicyId};
use crate::Destinations;

/// Where a revision is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Cut, and nothing started yet.
    Pending,
    /// On its way.
    Progressing,
    /// Nothing more is started until somebody resumes.
    Paused,
    /// Every stage is complete.
    Completed,
    /// Given up: what has it keeps it.
    Aborted,
    /// A newer revision came before it was complete.
    Superseded,
    /// Given up, and gone back from.
    RolledBack,
}

/// Why a revision was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// The content changed.
    Change,
    /// Somebody, or a failure budget, goes back to this one.
    Back(Ordinal),
    /// The same content anew.
    Restart,
}

/// A revision that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionInfo {
    /// Its ordinal.
    pub ordinal: Ordinal,
    /// Its content hash.
    pub content: String,
    /// Why.
    pub cause: Cause,
    /// When.
    pub cut: Timestamp,
    /// Where it is.
    pub phase: Phase,
    /// When it got there, once it is over.
    pub ended: Option<Timestamp>,
    /// Why it ended as it did, in words.
    pub message: Option<String>,
}

/// How a policy is being deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion {
    /// Without asking budgets.
    pub at_once: bool,
}

/// What changes seldom.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The policy's uid.
    pub uid: String,
    /// The last good RolloutPolicy.spec; `None` for none.
    pub source: Option<serde_json::Value>,
    /// Nothing is started.
    pub suspended: bool,
    /// Policies that share objects.
    pub shares: BTreeSet<PolicyId>,
    /// Revisions, oldest first.
    pub revisions: Vec<RevisionInfo>,
    /// The latest ordinal.
    pub latest: u64,
    /// The content of the last change that became a revision.
    pub content: Option<String>,
    /// It is being deleted.
    pub deleted: Option<Deletion>,
}

/// Content that waits to become a revision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pending {
    /// Its hash.
    pub content: String,
    /// Since when it is what it is.
    pub since: Timestamp,
}

/// Why nothing is started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pause {
    /// Somebody asked for it (a new revision stays paused); otherwise failures did.
    pub asked: bool,
    /// In words.
    pub why: String,
    /// Since when.
    pub since: Timestamp,
}

/// What is known of a gate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateRun {
    /// Where it stands.
    pub place: GatePlace,
    /// Its name.
    pub name: String,
    /// When it was last asked.
    pub asked: Option<Timestamp>,
    /// What it said last.
    pub answer: Option<Answer>,
    /// Who approved.
    pub by: Option<String>,
    /// When it said so.
    pub at: Option<Timestamp>,
}

/// A stage of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageRun {
    /// Names its set of members.
    pub id: u32,
    /// Its name in the spec.
    pub name: String,
    /// When it began.
    pub began: Option<Timestamp>,
    /// When it was complete.
    pub completed: Option<Timestamp>,
    /// Later joiners with a stable number up to this belong to it, if it has a percentage.
    pub portion: Option<u64>,
    /// Failures that somebody forgave by resuming.
    pub forgiven: u64,
}

/// The pace.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RateRun {
    /// Thousandths of destinations in a minute.
    pub per_minute: u64,
    /// Thousandths of destinations that may be started.
    pub tokens: u64,
    /// When tokens were last counted.
    pub at: Timestamp,
    /// How many succeeded since the pace last grew.
    pub succeeded: u64,
}

/// A revision on its way through the stages, or the last one that was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Which.
    pub revision: Ordinal,
    /// It goes back: one stage, no gates, no pace.
    pub back: bool,
    /// It is over (complete or given up).
    pub phase: Phase,
    /// The stages, the implied last one included.
    pub stages: Vec<StageRun>,
    /// Gates that were asked or answered.
    pub gates: Vec<GateRun>,
    /// How many destinations finished well.
    pub succeeded: u64,
    /// The pace.
    pub rate: Option<RateRun>,
    /// How many finished in which minute, lately (minute, count).
    pub lately: Vec<(i64, u64)>,
}

impl Run {
    /// Whether it still goes on (or would, if not paused).
    pub fn active(&self) -> bool {
        matches!(self.phase, Phase::Pending | Phase::Progressing)
    }

    /// The stage that is not complete yet.
    pub fn current(&self) -> Option<usize> {
        self.stages.iter().position(|s| s.completed.is_none())
    }
}

/// What changes often.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// How much engine time is ahead of the clock.
    pub skew: i64,
    /// Engine time, when something was last recorded.
    pub last: Timestamp,
    /// Content that waits.
    pub pending: Option<Pending>,
    /// Somebody said that it may go (`release: Manual`).
    pub released: bool,
    /// The last completed revision.
    pub base: Option<Ordinal>,
    /// The latest run.
    pub run: Option<Run>,
    /// Nothing of the run is started.
    pub paused: Option<Pause>,
    /// New copies that became healthy and no old one was let go for.
    pub makes: u64,
    /// The next stage id.
    pub next_stage: u32,
}

/// One policy: durable facts, and the spec that they name.
#[derive(Debug, Clone, PartialEq)]
pub struct RolloutState {
    /// What changes seldom.
    pub config: Config,
    /// What changes often.
    pub head: Head,
    /// Sets of destinations.
    pub sets: Sets,
    /// The parsed `config.source`.
    pub spec: RolloutPolicy,
    recorded: (Vec<u8>, Vec<u8>),
}

impl Default for RolloutState {
    fn default() -> Self {
        Self {
            config: Config::default(),
            head: Head::default(),
            sets: Sets::default(),
            spec: RolloutPolicy::at_once(),
            recorded: (Vec::new(), Vec::new()),
        }
    }
}

impl RolloutState {
    /// Applies a recorded delta.
    pub fn apply(&mut self, delta: &Delta) -> Result<(), Undecodable> {
        if delta.whole {
            *self = Self::default();
        }
        if let Some(bytes) = &delta.config {
            self.config = serde_json::from_slice(bytes).map_err(|_| Undecodable)?;
            self.spec = match &self.config.source {
                None => RolloutPolicy::at_once(),
                // It was good when it was recorded; expressions are compiled by whoever evaluates them.
                Some(source) => {
                    RolloutPolicy::parse(source, &|_, _| Ok(())).map_err(|_| Undecodable)?
                }
            };
            self.recorded.0.clone_from(bytes);
        }
        if let Some(bytes) = &delta.head {
            self.head = serde_json::from_slice(bytes).map_err(|_| Undecodable)?;
            self.recorded.1.clone_from(bytes);
        }
        self.sets.apply(&delta.sets);
        Ok(())
    }

    /// What changed since it was last asked. `now` is engine time; it is remembered when something changed.
    pub fn record(&mut self, now: Timestamp) -> Delta {
        let sets = self.sets.changes();
        let mut delta = Delta {
            sets,
            ..Delta::default()
        };
        // Plain data: writing it does not fail.
        let config = serde_json::to_vec(&self.config).unwrap_or_default();
        if config != self.recorded.0 {
            self.recorded.0.clone_from(&config);
            delta.config = Some(config);
        }
        let head = serde_json::to_vec(&self.head).unwrap_or_default();
        if head != self.recorded.1 || !delta.is_empty() {
            self.head.last = self.head.last.max(now);
            let head = serde_json::to_vec(&self.head).unwrap_or_default();
            self.recorded.1.clone_from(&head);
            delta.head = Some(head);
        }
        delta
    }

    /// Everything, as a delta from nothing.
    pub fn whole(&self) -> Delta {
        Delta {
            config: serde_json::to_vec(&self.config).ok(),
            head: serde_json::to_vec(&self.head).ok(),
            sets: self.sets.whole(),
            whole: true,
        }
    }

    /// Engine time for a moment of the clock. It never goes back.
    pub fn time(&mut self, now: Timestamp) -> Timestamp {
        let engine = Timestamp(now.0.saturating_add(self.head.skew));
        if engine < self.head.last {
            self.head.skew = self.head.last.0.saturating_sub(now.0);
            return self.head.last;
        }
        engine
    }

    /// The clock's moment for an engine time.
    pub fn clock(&self, engine: Timestamp) -> Timestamp {
        Timestamp(engine.0.saturating_sub(self.head.skew))
    }

    /// The revision that a destination has, or may have been sent.
    pub fn revision_of(&self, destination: u32) -> Option<Ordinal> {
        self.assigned()
            .find(|(_, set)| set.contains(destination))
            .map(|(ordinal, _)| ordinal)
    }

    /// Revisions with who has them, or may have been sent them; oldest first.
    pub fn assigned(&self) -> impl DoubleEndedIterator<Item = (Ordinal, &Destinations)> {
        let all = SetId::Assigned(Ordinal(0))..=SetId::Assigned(Ordinal(u64::MAX));
        self.sets.range(all).filter_map(|(id, set)| match id {
            SetId::Assigned(ordinal) => Some((ordinal, set)),
            _ => None,
        })
    }

    /// A kept revision.
    pub fn revision(&self, ordinal: Ordinal) -> Option<&RevisionInfo> {
        self.config.revisions.iter().find(|r| r.ordinal == ordinal)
    }

    pub(super) fn revision_mut(&mut self, ordinal: Ordinal) -> Option<&mut RevisionInfo> {
        let mut all = self.config.revisions.iter_mut();
        all.find(|r| r.ordinal == ordinal)
    }

    /// A stage of the spec by name; `None` is the implied last one.
    pub fn stage_spec(&self, name: &str) -> Option<&Stage> {
        self.spec.stages.iter().find(|s| s.name == name)
    }

    /// The limits of a run's stage.
    pub fn limits(&self, stage: Option<&StageRun>) -> Limits {
        stage
            .and_then(|s| self.stage_spec(&s.name))
            .map_or(self.spec.rest, |s| s.limits)
    }

    /// The longest soak and the deadline that may hold anywhere: how finely clocks are kept follows from them.
    pub(super) fn quantum(duration: Duration) -> i64 {
        (duration.as_millis() as i64 / 64).max(1000)
    }
}

/// A moment rounded up to a multiple of a quantum: clocks kept by it run late by less than that, never early.
pub(super) fn round_up(at: Timestamp, quantum: i64) -> i64 {
    at.0.div_euclid(quantum) * quantum
        + if at.0.rem_euclid(quantum) == 0 {
            0
        } else {
            quantum
        }
}
