//! What a step costs does not grow with destinations that it does not concern: bytes allocated and bytes recorded by the same events, at a thousand and at a million destinations. Nothing is timed.

#![allow(clippy::expect_used, reason = "a test may fail by it")]

use std::alloc::System;

use atoll_kube::Timestamp;
use atoll_placement::Destinations;
use atoll_placement::rollout::spec::{RolloutPolicy, StageSelector};
use atoll_placement::rollout::{
    BudgetId, Effect, Event, Facts, PolicyEvent, PolicyId, Report, Rollouts, Step,
};
use serde_json::json;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Sites of ten destinations.
struct Sites;

impl Facts for Sites {
    fn choose(&self, _: &StageSelector, among: &Destinations) -> Destinations {
        among.clone()
    }
    fn group(&self, _: &[String], destination: u32) -> String {
        (destination / 10).to_string()
    }
    fn covered(&self, _: BudgetId, among: &Destinations) -> Destinations {
        among.clone()
    }
    fn stable(&self, destination: u32) -> u64 {
        u64::from(destination)
    }
}

const P: PolicyId = PolicyId(0);

struct Fleet {
    engine: Rollouts,
    now: i64,
}

impl Fleet {
    fn step(&mut self, event: Event) -> Step {
        self.now += 1000;
        self.engine.step(event, &Sites, Timestamp(self.now))
    }

    fn policy(&mut self, event: PolicyEvent) -> Step {
        self.step(Event::Policy(P, event))
    }

    fn settings(&mut self, source: serde_json::Value) {
        let spec = RolloutPolicy::parse(&source, &|_, _| Ok(())).expect("a good spec");
        self.policy(PolicyEvent::Settings {
            uid: "uid".into(),
            spec: Box::new(spec),
            source: Some(source),
        });
    }

    fn report(&mut self, healthy: Destinations) -> Step {
        let revision = healthy.min().and_then(|d| self.engine.revision_of(P, d));
        self.policy(PolicyEvent::Reported(Report {
            revision,
            healthy,
            ..Report::default()
        }))
    }

    /// All selected and current, then a new revision in progress: a stage of half of all with slots, groups with a budget, some away and some failed.
    fn new(n: u32) -> Fleet {
        let mut fleet = Fleet {
            engine: Rollouts::new(),
            now: 0,
        };
        let all: Destinations = (0..n).collect();
        fleet.step(Event::Availability {
            up: all.clone(),
            down: Destinations::new(),
        });
        fleet.settings(json!({"settle": "0s"}));
        fleet.policy(PolicyEvent::Selected {
            joined: all.clone(),
            left: Destinations::new(),
            released: Destinations::new(),
        });
        let step = fleet.policy(PolicyEvent::Content("one".into()));
        assert_eq!(
            assigned(&step).len(),
            u64::from(n),
            "all at once, in one step"
        );
        fleet.report(all);
        fleet.settings(json!({
            "settle": "0s", "onFailure": "continue", "minSuccessTime": "5s",
            "stages": [{"name": "half", "percentage": 50, "maxConcurrency": 40}],
            "disruptionBudgets": [{"groupBy": ["site"], "maxUnavailable": 1}],
        }));
        fleet.step(Event::Availability {
            up: Destinations::new(),
            down: (0..n).filter(|d| d % 50 == 7).collect(),
        });
        fleet.policy(PolicyEvent::Content("two".into()));
        fleet
    }
}

fn assigned(step: &Step) -> Destinations {
    let mut all = Destinations::new();
    for effect in &step.effects {
        if let Effect::Assign(_, assignment) = effect {
            all |= &assignment.destinations;
        }
    }
    all
}

/// What each of some small events costs: bytes allocated, bytes recorded.
fn costs(n: u32) -> Vec<(&'static str, usize, usize)> {
    let mut fleet = Fleet::new(n);
    let mut found = Vec::new();
    let mut cost = |fleet: &mut Fleet, name, event: Event| {
        let region = Region::new(ALLOCATOR);
        let step = fleet.step(event);
        let allocated = region.change().bytes_allocated;
        let recorded = step.deltas.iter().map(|(_, d)| d.encode().len()).sum();
        found.push((name, allocated, recorded));
        step
    };
    // The first of each kind may build something once; the tenth must not.
    for round in 0..10 {
        let state = fleet.engine.state(P).expect("a policy");
        let revision = state.head.run.as_ref().map(|run| run.revision);
        let updated = state
            .assigned()
            .last()
            .map(|(_, set)| set & fleet.engine.slots(P));
        let busy: Destinations = updated.iter().flatten().take(10).collect();
        assert!(round > 3 || busy.len() == 10);
        let report = Report {
            revision,
            healthy: busy,
            ..Report::default()
        };
        cost(
            &mut fleet,
            "report",
            Event::Policy(P, PolicyEvent::Reported(report)),
        );
        cost(&mut fleet, "tick", Event::Tick);
        let ten: Destinations = (100 + round * 10..110 + round * 10).collect();
        let (up, down) = (Destinations::new(), ten.clone());
        cost(&mut fleet, "down", Event::Availability { up, down });
        let (up, down) = (ten.clone(), Destinations::new());
        cost(&mut fleet, "up", Event::Availability { up, down });
        cost(
            &mut fleet,
            "rerender",
            Event::Policy(P, PolicyEvent::Rerender(ten.clone())),
        );
        cost(&mut fleet, "relabel", Event::Relabeled(ten.clone()));
        let (joined, left, released) = (Destinations::new(), ten.clone(), Destinations::new());
        cost(
            &mut fleet,
            "left",
            Event::Policy(
                P,
                PolicyEvent::Selected {
                    joined,
                    left,
                    released,
                },
            ),
        );
        cost(
            &mut fleet,
            "removed",
            Event::Policy(P, PolicyEvent::Removed(ten.clone())),
        );
        let (joined, left, released) = (ten, Destinations::new(), Destinations::new());
        cost(
            &mut fleet,
            "joined",
            Event::Policy(
                P,
                PolicyEvent::Selected {
                    joined,
                    left,
                    released,
                },
            ),
        );
    }
    let mut worst: Vec<(&'static str, usize, usize)> = Vec::new();
    // The better half: maps grow now and then.
    for name in [
        "report", "tick", "down", "up", "rerender", "relabel", "left", "removed", "joined",
    ] {
        let mut of: Vec<_> = found.iter().filter(|(n, ..)| *n == name).collect();
        of.sort_by_key(|(_, allocated, _)| *allocated);
        let middle = of[of.len() / 2];
        let recorded = of.iter().map(|(_, _, r)| *r).max().unwrap_or(0);
        worst.push((name, middle.1, recorded));
    }
    worst
}

#[test]
fn an_event_of_ten_costs_the_same_in_a_thousand_and_in_a_million() {
    let small = costs(1_000);
    let large = costs(1_000_000);
    for ((name, few, recorded_few), (_, many, recorded_many)) in small.iter().zip(&large) {
        println!(
            "{name}: {few} and {many} bytes allocated, {recorded_few} and {recorded_many} recorded"
        );
        assert!(
            *many <= few * 2 + 20_000,
            "{name}: {few} bytes, then {many}"
        );
        assert!(
            *recorded_many <= recorded_few * 2 + 4_000,
            "{name} records {recorded_few}, then {recorded_many}"
        );
    }
}
