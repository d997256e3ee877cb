//! An engine with its world and its clock, as the stories use it.

use atoll_kube::Timestamp;
use atoll_placement::Destinations;
use atoll_placement::rollout::{
    Command, Effect, Event, Ordinal, Phase, PolicyEvent, PolicyId, Progress, Report, Rollouts,
    Step, Waiting,
};
use serde_json::Value;

use super::world::{World, content, selected, set, settings, up};

pub(crate) const P: PolicyId = PolicyId(0);
pub(crate) const Q: PolicyId = PolicyId(1);

/// An engine, its world and its clock.
pub(crate) struct Stage {
    pub(crate) engine: Rollouts,
    pub(crate) world: World,
    pub(crate) now: i64,
}

impl Stage {
    /// Destinations `0..n`, here, at sites of ten, all selected by `P`, which has had revision 1 everywhere.
    pub(crate) fn new(n: u32, spec: Value) -> Self {
        let mut stage = Self::empty(n);
        stage.event(settings(P, None));
        stage.event(selected(P, set(0..n), set([])));
        stage.event(content(P, "one"));
        stage.healthy(P, 0..n);
        stage.event(settings(P, Some(spec)));
        stage
    }

    pub(crate) fn empty(n: u32) -> Self {
        let mut world = World::default();
        for d in 0..n {
            world.label(d, "site", &(d / 10).to_string());
        }
        let mut stage = Stage {
            engine: Rollouts::new(),
            world,
            now: 1_795_233_600_000,
        };
        stage.event(up(set(0..n)));
        stage
    }

    pub(crate) fn event(&mut self, event: Event) -> Step {
        self.engine.step(event, &self.world, Timestamp(self.now))
    }

    pub(crate) fn policy(&mut self, policy: PolicyId, event: PolicyEvent) -> Step {
        self.event(Event::Policy(policy, event))
    }

    pub(crate) fn after(&mut self, seconds: i64) -> Step {
        self.now += seconds * 1000;
        self.event(Event::Tick)
    }

    pub(crate) fn report(
        &mut self,
        policy: PolicyId,
        who: Destinations,
        fill: impl Fn(&mut Report, u32),
    ) -> Step {
        let mut by = std::collections::BTreeMap::<Ordinal, Report>::new();
        for d in who {
            let Some(revision) = self.engine.revision_of(policy, d) else {
                continue;
            };
            let report = by.entry(revision).or_default();
            report.revision = Some(revision);
            fill(report, d);
        }
        let mut last = Step::default();
        for report in by.into_values() {
            let step = self.policy(policy, PolicyEvent::Reported(report));
            last.effects.extend(step.effects);
        }
        last
    }

    pub(crate) fn healthy(&mut self, policy: PolicyId, who: impl IntoIterator<Item = u32>) -> Step {
        self.report(policy, set(who), |r, d| {
            r.healthy.insert(d);
        })
    }

    pub(crate) fn failed(&mut self, policy: PolicyId, who: impl IntoIterator<Item = u32>) -> Step {
        self.report(policy, set(who), |r, d| {
            r.failed.insert(d);
        })
    }

    pub(crate) fn command(&mut self, command: Command) -> Step {
        self.policy(P, PolicyEvent::Command(command))
    }

    pub(crate) fn slots(&self) -> Destinations {
        self.engine.slots(P)
    }

    pub(crate) fn has(&self, revision: u64) -> Destinations {
        let state = self.engine.state(P).expect("a policy");
        let found = state.assigned().find(|(r, _)| r.0 == revision);
        found.map_or_else(Destinations::new, |(_, s)| s.clone())
    }

    pub(crate) fn phase(&self, revision: u64) -> Phase {
        self.progress(revision).phase
    }

    pub(crate) fn progress(&self, revision: u64) -> Progress {
        let all = self
            .engine
            .progress(P, &|p| p.0.to_string(), Timestamp(self.now));
        all.into_iter()
            .find(|p| p.revision.0 == revision)
            .expect("a kept revision")
    }

    pub(crate) fn waits(&self, d: u32) -> Waiting {
        let found = self.engine.explain(P, d, &self.world, Timestamp(self.now));
        found.expect("a policy").waiting
    }
}

pub(crate) fn assigned(step: &Step, policy: PolicyId) -> Destinations {
    let mut all = Destinations::new();
    for effect in &step.effects {
        if let Effect::Assign(p, a) = effect
            && *p == policy
        {
            all |= &a.destinations;
        }
    }
    all
}

pub(crate) fn removed(step: &Step) -> Destinations {
    let mut all = Destinations::new();
    for effect in &step.effects {
        if let Effect::Remove(_, who) = effect {
            all |= who;
        }
    }
    all
}
