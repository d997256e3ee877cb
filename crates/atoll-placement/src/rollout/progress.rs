//! How far a rollout is: numbers for people, and the Rollout object's status.

use atoll_kube::Timestamp;
use serde_json::{Value, json};

use super::delta::SetId;
use super::engine::{Policy, Rollouts};
use super::event::GatePlace;
use super::ground::{BookId, Key};
use super::queue::Lane;
use super::state::{Cause, Phase, StageRun};
use super::{Ordinal, PolicyId};
use crate::Destinations;

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

/// Failed destinations that are named.
const EXAMPLES: usize = 5;

impl Rollouts {
    /// How far the kept revisions are, the latest first. `name` names other policies, as far as the reader may know them.
    pub fn progress(
        &self,
        policy: PolicyId,
        name: &dyn Fn(PolicyId) -> String,
        now: Timestamp,
    ) -> Vec<Progress> {
        let Some(policy) = self.policies.get(&policy) else {
            return Vec::new();
        };
        let revisions = policy.state.config.revisions.iter().rev();
        revisions
            .map(|info| policy.progress(info.ordinal, name, now))
            .collect()
    }
}

impl Policy {
    fn counts(&self, members: &Destinations, revision: Ordinal) -> Counts {
        let sets = &self.state.sets;
        let have = members & sets.get(SetId::Assigned(revision));
        let failed = have.intersection_len(sets.get(SetId::Failed));
        let current = have.intersection_len(sets.get(SetId::Healthy));
        let expected = members.len();
        Counts {
            expected,
            current,
            outdated: expected - have.len(),
            failed,
            unreported: have.len() - failed - current,
        }
    }

    fn progress(
        &self,
        revision: Ordinal,
        name: &dyn Fn(PolicyId) -> String,
        now: Timestamp,
    ) -> Progress {
        let state = &self.state;
        let run = state.head.run.as_ref().filter(|r| r.revision == revision);
        let selected = state.sets.get(SetId::Selected);
        // Of a revision that is over, only who still has it counts.
        let whom = match run {
            Some(_) => selected.clone(),
            None => selected & state.sets.get(SetId::Assigned(revision)),
        };
        let counts = self.counts(&whom, revision);
        let mut progress = Progress {
            revision,
            content: String::new(),
            cause: Cause::Change,
            cut: Timestamp(0),
            phase: Phase::Pending,
            stage: None,
            message: None,
            counts,
            stages: Vec::new(),
            per_minute: None,
            expected_end: None,
        };
        if let Some(info) = state.revision(revision) {
            progress.content.clone_from(&info.content);
            progress.cause = info.cause;
            progress.cut = state.clock(info.cut);
            progress.phase = info.phase;
            progress.message.clone_from(&info.message);
        }
        let Some(run) = run else {
            return progress;
        };
        if run.active() {
            if let Some(pause) = &state.head.paused {
                progress.phase = Phase::Paused;
                progress.message = Some(pause.why.clone());
            }
            progress.stage = run.current().map(|at| run.stages[at].name.clone());
        }
        for (i, stage) in run.stages.iter().enumerate() {
            let current = run.active() && run.current() == Some(i);
            let lane = &self.queue.lanes[i];
            progress
                .stages
                .push(self.stage(stage, lane, current, revision, name, now));
        }
        let left = counts.outdated + counts.unreported;
        if run.active() && left > 0 && !run.lately.is_empty() {
            let minute = now.0.saturating_add(state.head.skew).div_euclid(60_000);
            let first = run.lately[0].0;
            let done: u64 = run.lately.iter().map(|(_, n)| n).sum();
            let pace = done as f64 / ((minute - first).max(0) + 1) as f64;
            progress.per_minute = Some(pace);
            let millis = (left as f64 / pace * 60_000.0) as i64;
            progress.expected_end = Some(Timestamp(now.0.saturating_add(millis)));
        }
        progress
    }

    fn stage(
        &self,
        stage: &StageRun,
        lane: &Lane,
        current: bool,
        revision: Ordinal,
        name: &dyn Fn(PolicyId) -> String,
        now: Timestamp,
    ) -> StageProgress {
        let state = &self.state;
        let begun = stage.began.is_some();
        let mut waiting = Vec::new();
        if current {
            let place = match begun {
                false => GatePlace::Before(stage.name.clone()),
                true => GatePlace::After(stage.name.clone()),
            };
            let stopped = self.stopped(stage.id, now);
            waiting.extend(stopped.map(|w| w.words(name)));
            let through = begun && !lane.here.is_empty();
            let back = state.head.run.as_ref().is_some_and(|r| r.back);
            for gate in state.gates_at(&place).iter().filter(|_| !through && !back) {
                if let Some((why, opens)) = state.closed(&place, gate, now) {
                    let opens =
                        opens.map_or(String::new(), |at| format!(", opens {}", at.rfc3339()));
                    let words = format!("gate {:?}: {why}{opens}", gate.name);
                    if !waiting.contains(&words) {
                        waiting.push(words);
                    }
                }
            }
        }
        if begun && stage.completed.is_none() {
            self.queues(lane, name, &mut waiting);
        }
        let failed = lane.failed.iter().take(EXAMPLES).collect();
        StageProgress {
            name: stage.name.clone(),
            began: stage.began.map(|at| state.clock(at)),
            completed: stage.completed.map(|at| state.clock(at)),
            counts: begun.then(|| self.counts(&lane.members, revision)),
            slots: lane.slots.len(),
            limit: lane.limit(),
            away: lane.away.len(),
            failed,
            waiting,
        }
    }

    /// What the members of a stage wait for, most of all.
    fn queues(&self, lane: &Lane, name: &dyn Fn(PolicyId) -> String, waiting: &mut Vec<String>) {
        let mut say = |count: u64, what: String| {
            if count > 0 {
                waiting.push(format!("{count} {what}"));
            }
        };
        let healthy = lane.slots.intersection_len(&self.queue.soaking);
        say(lane.slots.len() - healthy, "to become healthy".into());
        say(healthy, "healthy, in their soak time".into());
        let ready: u64 = lane.ready.iter().map(Destinations::len).sum();
        say(ready, "for a slot or the pace".into());
        let (mut own, mut inventory) = (0, 0);
        let mut others = std::collections::BTreeMap::new();
        for (key, set) in &self.queue.parked {
            let count = set.intersection_len(&lane.members);
            match key {
                Key::Group(BookId::Policy(..), _) | Key::Window(BookId::Policy(..)) => own += count,
                Key::Group(..) | Key::Window(_) => inventory += count,
                Key::Lane(other, _) | Key::Closed(other) => {
                    *others.entry(*other).or_insert(0) += count;
                }
            }
        }
        say(own, "for the policy's disruption budget".into());
        say(inventory, "for the inventory budget".into());
        for (other, count) in others {
            say(count, format!("held back by policy {}", name(other)));
        }
        say(lane.away.len(), "away".into());
    }
}

impl Phase {
    /// As the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Pending => "Pending",
            Phase::Progressing => "Progressing",
            Phase::Paused => "Paused",
            Phase::Completed => "Completed",
            Phase::Aborted => "Aborted",
            Phase::Superseded => "Superseded",
            Phase::RolledBack => "RolledBack",
        }
    }
}

impl Counts {
    /// As the API writes them. `stale` is counted by whoever knows ages.
    pub fn to_json(&self) -> Value {
        json!({
            "expected": self.expected,
            "current": self.current,
            "outdated": self.outdated,
            "failed": self.failed,
            "unreported": self.unreported,
        })
    }
}

impl Progress {
    /// The Rollout object's status, without `observedGeneration`. `named` names destinations.
    pub fn status(&self, named: &dyn Fn(u32) -> String) -> Value {
        let time = |at: Option<Timestamp>| at.map(Timestamp::rfc3339);
        let stages = self.stages.iter().map(|stage| {
            let phase = match (stage.began, stage.completed) {
                (_, Some(_)) => "Completed",
                (Some(_), None) => "Progressing",
                (None, None) => "Pending",
            };
            let mut value = json!({ "name": stage.name, "phase": phase });
            let fields = [
                ("startedAt", time(stage.began).map(Value::from)),
                ("completedAt", time(stage.completed).map(Value::from)),
                ("counts", stage.counts.map(|c| c.to_json())),
                ("slots", stage.limit.map(|_| stage.slots.into())),
                ("maxSlots", stage.limit.map(Value::from)),
            ];
            for (field, found) in fields {
                if let Some(found) = found {
                    value[field] = found;
                }
            }
            if !stage.waiting.is_empty() {
                value["waitingFor"] = json!(stage.waiting);
            }
            if !stage.failed.is_empty() {
                let named: Vec<String> = stage.failed.iter().map(|d| named(*d)).collect();
                value["failing"] = json!(named);
            }
            value
        });
        let mut status = json!({
            "phase": self.phase.as_str(),
            "counts": self.counts.to_json(),
            "stages": stages.collect::<Vec<_>>(),
        });
        if let Some(stage) = &self.stage {
            status["stage"] = json!(stage);
        }
        if let Some(message) = &self.message {
            status["message"] = json!(message);
        }
        if let Some(pace) = self.per_minute {
            status["perMinute"] = json!(pace.round() as u64);
        }
        status
    }
}
