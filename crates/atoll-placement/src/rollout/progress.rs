//! How far a rollout is: numbers for people, and the Rollout object's status.

use atoll_kube::Timestamp;

use super::Ordinal;
use super::state::{Cause, Phase};

/// Disjoint counts: expected = current + outdated + failed + unreported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Destinations that should have the revision.
    pub expected: u64,
    /// Have it, and reported it healthy.
    pub current: u64,
    /// Do not have it yet.
    pub outdated: u64,
    /// Have it and failed.
    pub failed: u64,
    /// Have it, or may have been sent it, and did not report it healthy yet.
    pub unreported: u64,
}

/// One stage.
#[derive(Debug, Clone, PartialEq)]
pub struct StageProgress {
    /// Its name.
    pub name: String,
    /// When it began.
    pub began: Option<Timestamp>,
    /// When it was complete.
    pub completed: Option<Timestamp>,
    /// Its members; `None` before it begins.
    pub counts: Option<Counts>,
    /// Hold a slot.
    pub slots: u64,
    /// How many may.
    pub limit: Option<u64>,
    /// Not finished, and away.
    pub away: u64,
    /// Some that failed.
    pub failed: Vec<u32>,
    /// What the stage waits for, in words.
    pub waiting: Vec<String>,
}

/// A revision's progress.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Which.
    pub revision: Ordinal,
    /// Its content hash.
    pub content: String,
    /// Why it was cut.
    pub cause: Cause,
    /// When.
    pub cut: Timestamp,
    /// Where it is.
    pub phase: Phase,
    /// The stage that is not complete.
    pub stage: Option<String>,
    /// Why it is paused, or ended as it did.
    pub message: Option<String>,
    /// All destinations.
    pub counts: Counts,
    /// Each stage.
    pub stages: Vec<StageProgress>,
    /// Destinations that finished in a minute, lately.
    pub per_minute: Option<f64>,
    /// When it is done at this pace.
    pub expected_end: Option<Timestamp>,
}
