//! Why a destination has what it has, and what it waits for: the same tests that the engine makes, said in words.

use atoll_kube::Timestamp;

use super::delta::SetId;
use super::engine::{Policy, Rollouts};
use super::event::Facts;
use super::ground::{BookId, Ground, Key};
use super::queue::{Class, Lane, OUTSIDE, class_of};
use super::state::Phase;
use super::{Ordinal, PolicyId};

/// What a destination waits for.
#[derive(Debug, Clone, PartialEq)]
pub enum Waiting {
    /// Nothing: it has what it should have, healthy (or not reported as anything else).
    Nothing,
    /// The policy does not select it, and it has nothing of it.
    NotSelected,
    /// The policy is suspended.
    Suspended,
    /// It is away; it will queue when it returns.
    Away,
    /// There is content that waits to become a revision: until then, or (`None`) until somebody releases it.
    Release(Option<Timestamp>),
    /// No revision was completed yet and its stage has not begun; the current one is named.
    Stage {
        /// Its own stage, as far as it is known before it begins.
        own: Option<String>,
        /// The stage that must be complete first.
        current: String,
    },
    /// The rollout is paused.
    Paused(String),
    /// The rollout was given up.
    Aborted(String),
    /// A gate is closed.
    Gate {
        /// Its name.
        name: String,
        /// What it says.
        why: String,
        /// When it opens, if that is known.
        opens: Option<Timestamp>,
    },
    /// All slots of its stage are taken.
    Slots {
        /// In use.
        used: u64,
        /// The stage's limit.
        limit: u64,
    },
    /// The pace.
    Rate {
        /// Destinations in a minute, now.
        per_minute: f64,
    },
    /// A budget of the policy: so many of its group are unavailable.
    Budget {
        /// The group's label values.
        group: String,
        /// Unavailable.
        unavailable: u32,
        /// Allowed.
        allowed: u64,
    },
    /// A budget of the inventory: by whom it is used is not said.
    InventoryBudget {
        /// Its windows are closed until then.
        opens: Option<Timestamp>,
    },
    /// Another policy of the same objects holds it back.
    HeldBy(PolicyId),
    /// Nothing that lasts: it goes with the next step.
    Turn,
    /// It was sent, and is not healthy yet; it counts as failed then.
    Health {
        /// The progress deadline.
        deadline: Option<Timestamp>,
    },
    /// It is healthy and must stay so until then.
    Soak(Timestamp),
    /// It failed at what it has.
    Failed,
    /// It is to be emptied and waits for a slot.
    Leaving,
    /// It is to be emptied once a replacement is healthy.
    Retiring,
    /// Its removal is under way.
    Removing,
}

/// Why a destination has what it has.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The policy selects it.
    pub selected: bool,
    /// What it has, or may have been sent.
    pub assigned: Option<Ordinal>,
    /// What it should have as far as stages have got.
    pub target: Option<Ordinal>,
    /// Its stage, if that has begun.
    pub stage: Option<String>,
    /// Since when it holds its slot, or is as it is.
    pub since: Option<Timestamp>,
    /// What it waits for.
    pub waiting: Waiting,
}

impl Waiting {
    /// In words. `name` names other policies, as far as the reader may know them.
    pub fn words(&self, name: &dyn Fn(PolicyId) -> String) -> String {
        let until = |at: &Option<Timestamp>, word: &str| {
            at.map_or(String::new(), |at| format!(", {word} {}", at.rfc3339()))
        };
        match self {
            Waiting::Nothing => "up to date".into(),
            Waiting::NotSelected => "the policy does not select it".into(),
            Waiting::Suspended => "the policy is suspended".into(),
            Waiting::Away => "it is away; it goes on when it returns".into(),
            Waiting::Release(None) => "a change waits to be released".into(),
            Waiting::Release(Some(at)) => {
                format!("a change settles until {}", at.rfc3339())
            }
            Waiting::Stage { own, current } => match own {
                Some(own) => format!("its stage {own:?} has not begun; {current:?} is in progress"),
                None => format!("its stage has not begun; {current:?} is in progress"),
            },
            Waiting::Paused(why) => format!("the rollout is paused: {why}"),
            Waiting::Aborted(why) => format!("the rollout was given up: {why}"),
            Waiting::Gate { name, why, opens } => {
                format!("gate {name:?}: {why}{}", until(opens, "opens"))
            }
            Waiting::Slots { used, limit } => {
                format!("a slot of its stage ({used} of {limit} are taken)")
            }
            Waiting::Rate { per_minute } => {
                format!("the pace of the rollout ({per_minute} a minute)")
            }
            Waiting::Budget {
                group,
                unavailable,
                allowed,
            } => format!(
                "the policy's disruption budget ({unavailable} of group {group:?} are unavailable, {allowed} may be)"
            ),
            Waiting::InventoryBudget { opens } => {
                format!("inventory budget{}", until(opens, "its window opens"))
            }
            Waiting::HeldBy(policy) => {
                format!("policy {} of the same objects holds it back", name(*policy))
            }
            Waiting::Turn => "its turn".into(),
            Waiting::Health { deadline } => format!(
                "sent, not healthy yet{}",
                until(deadline, "counts as failed at")
            ),
            Waiting::Soak(at) => format!("healthy, and must stay so until {}", at.rfc3339()),
            Waiting::Failed => "failed".into(),
            Waiting::Leaving => "to be removed, waits for a slot".into(),
            Waiting::Retiring => "to be removed once a replacement is healthy".into(),
            Waiting::Removing => "its removal is under way".into(),
        }
    }
}

impl Rollouts {
    /// Why a destination has what it has of a policy.
    pub fn explain(
        &self,
        policy: PolicyId,
        destination: u32,
        facts: &dyn Facts,
        now: Timestamp,
    ) -> Option<Explanation> {
        let policy = self.policies.get(&policy)?;
        let state = &policy.state;
        let lane = &policy
            .queue
            .lanes
            .get(policy.queue.lane_of(state, destination))?;
        let selected = state.sets.get(SetId::Selected).contains(destination);
        let assigned = state.revision_of(destination);
        let target = match lane.target {
            _ if !selected => None,
            Some(base) if lane.stage == OUTSIDE => assigned.max(Some(base)),
            target => target.or(assigned),
        };
        let run = state.head.run.as_ref();
        let stage = run.and_then(|r| r.stages.iter().find(|s| s.id == lane.stage));
        let clock = policy.clock_of(destination);
        Some(Explanation {
            selected,
            assigned,
            target,
            stage: stage.map(|s| s.name.clone()),
            since: clock.map(|(at, _)| state.clock(at)),
            waiting: policy.waits(destination, lane, &self.ground, facts, now),
        })
    }
}

impl Policy {
    /// Since when a destination holds its slot, and whether it is healthy in it.
    fn clock_of(&self, destination: u32) -> Option<(Timestamp, bool)> {
        if !self.queue.slots.contains(destination) {
            return None;
        }
        let sets = &self.state.sets;
        let started = sets.range(SetId::Started(i64::MIN)..=SetId::Started(i64::MAX));
        let soaking = sets.range(SetId::Soaking(i64::MIN)..=SetId::Soaking(i64::MAX));
        let mut found = started
            .chain(soaking)
            .filter(|(_, set)| set.contains(destination));
        match found.next()? {
            (SetId::Started(at), _) => Some((Timestamp(at), false)),
            (SetId::Soaking(at), _) => Some((Timestamp(at), true)),
            _ => None,
        }
    }

    fn waits(
        &self,
        destination: u32,
        lane: &Lane,
        ground: &Ground,
        facts: &dyn Facts,
        now: Timestamp,
    ) -> Waiting {
        let state = &self.state;
        let has = |id| state.sets.get(id).contains(destination);
        let away = !ground.available().contains(destination);
        if has(SetId::Removing) {
            return Waiting::Removing;
        }
        if has(SetId::Retiring) {
            return Waiting::Retiring;
        }
        let class = class_of(state, lane, destination);
        if let Some(class) = class {
            if let Some(waiting) = self.held(destination, lane, class, ground, now) {
                return waiting;
            }
            if class == Class::Leave {
                return Waiting::Leaving;
            }
            return Waiting::Turn;
        }
        if !has(SetId::Selected) {
            return Waiting::NotSelected;
        }
        match self.clock_of(destination) {
            Some((_, true)) if away => return Waiting::Away,
            Some((at, true)) => {
                return Waiting::Soak(state.clock(at.plus(lane.limits.soak)));
            }
            Some((at, false)) => {
                let deadline = lane.limits.deadline;
                return Waiting::Health {
                    deadline: deadline.map(|d| state.clock(at.plus(d))),
                };
            }
            None => {}
        }
        if has(SetId::Failed) {
            return Waiting::Failed;
        }
        let run = state.head.run.as_ref().filter(|run| run.active());
        if let Some(run) = run
            && lane.stage == OUTSIDE
            && let Some(at) = run.current()
        {
            return Waiting::Stage {
                own: self.future_stage(facts, destination),
                current: run.stages[at].name.clone(),
            };
        }
        if state.head.pending.is_some() {
            return Waiting::Release(self.settles().map(|at| state.clock(at)));
        }
        Waiting::Nothing
    }

    /// What holds back something that is to be started.
    fn held(
        &self,
        destination: u32,
        lane: &Lane,
        class: Class,
        ground: &Ground,
        now: Timestamp,
    ) -> Option<Waiting> {
        let state = &self.state;
        if state.config.suspended {
            return Some(Waiting::Suspended);
        }
        if !ground.available().contains(destination) {
            return Some(Waiting::Away);
        }
        let changes = matches!(class, Class::Install | Class::Update);
        if changes
            && lane.stage != OUTSIDE
            && let Some(waiting) = self.stopped(lane.stage, now)
        {
            return Some(waiting);
        }
        let parked = self.queue.parked.iter();
        let key = parked
            .filter(|(_, set)| set.contains(destination))
            .map(|(key, _)| *key)
            .next();
        match key {
            Some(Key::Group(book @ BookId::Policy(..), group)) => {
                let (group, unavailable, allowed) = ground.group(book, group);
                return Some(Waiting::Budget {
                    group,
                    unavailable,
                    allowed,
                });
            }
            Some(Key::Group(BookId::Inventory(_), _)) => {
                return Some(Waiting::InventoryBudget { opens: None });
            }
            Some(Key::Window(book)) => {
                return Some(Waiting::InventoryBudget {
                    opens: ground.opens(book),
                });
            }
            Some(Key::Lane(other, _) | Key::Closed(other)) => return Some(Waiting::HeldBy(other)),
            None => {}
        }
        if lane.room() == 0 && !self.queue.slots.contains(destination) {
            return Some(Waiting::Slots {
                used: lane.used(),
                limit: lane.limit().unwrap_or(0),
            });
        }
        let run = state.head.run.as_ref().filter(|run| run.active());
        let rate = run.and_then(|run| run.rate)?;
        (changes && lane.stage != OUTSIDE && rate.tokens < 1000).then(|| Waiting::Rate {
            per_minute: rate.per_minute as f64 / 1000.0,
        })
    }

    /// What stops a stage of the run from starting anything new.
    pub(super) fn stopped(&self, stage: u32, now: Timestamp) -> Option<Waiting> {
        let state = &self.state;
        let run = state.head.run.as_ref()?;
        match run.phase {
            Phase::Completed => return None,
            Phase::Pending | Phase::Progressing => {}
            _ => {
                let info = state.revision(run.revision);
                let why = info.and_then(|i| i.message.clone()).unwrap_or_default();
                return Some(Waiting::Aborted(why));
            }
        }
        if let Some(pause) = &state.head.paused {
            return Some(Waiting::Paused(pause.why.clone()));
        }
        let stage = run.stages.iter().find(|s| s.id == stage)?;
        let (name, why, opens) = state.brake(&stage.name, now)?;
        Some(Waiting::Gate { name, why, opens })
    }
}
