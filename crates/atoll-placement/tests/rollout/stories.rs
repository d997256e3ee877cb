//! One rule each, told as a short story.

use atoll_kube::Timestamp;
use atoll_placement::Destinations;
use atoll_placement::rollout::event::{GateAt, GatePlace};
use atoll_placement::rollout::spec::DisruptionBudget;
use atoll_placement::rollout::{
    Action, Answer, BudgetId, Command, Counts, Effect, Event, Ordinal, Phase, PolicyEvent,
    PolicyId, Report, Rollouts, Step, Waiting,
};
use serde_json::{Value, json};

use super::world::{World, content, down, selected, set, settings, up};

const P: PolicyId = PolicyId(0);
const Q: PolicyId = PolicyId(1);

/// An engine, its world and its clock.
struct Stage {
    engine: Rollouts,
    world: World,
    now: i64,
}

impl Stage {
    /// Destinations `0..n`, here, at sites of ten, all selected by `P`, which has had revision 1 everywhere.
    fn new(n: u32, spec: Value) -> Self {
        let mut stage = Self::empty(n);
        stage.event(settings(P, None));
        stage.event(selected(P, set(0..n), set([])));
        stage.event(content(P, "one"));
        stage.healthy(P, 0..n);
        stage.event(settings(P, Some(spec)));
        stage
    }

    fn empty(n: u32) -> Self {
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

    fn event(&mut self, event: Event) -> Step {
        self.engine.step(event, &self.world, Timestamp(self.now))
    }

    fn policy(&mut self, policy: PolicyId, event: PolicyEvent) -> Step {
        self.event(Event::Policy(policy, event))
    }

    fn after(&mut self, seconds: i64) -> Step {
        self.now += seconds * 1000;
        self.event(Event::Tick)
    }

    fn report(
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

    fn healthy(&mut self, policy: PolicyId, who: impl IntoIterator<Item = u32>) -> Step {
        self.report(policy, set(who), |r, d| {
            r.healthy.insert(d);
        })
    }

    fn failed(&mut self, policy: PolicyId, who: impl IntoIterator<Item = u32>) -> Step {
        self.report(policy, set(who), |r, d| {
            r.failed.insert(d);
        })
    }

    fn command(&mut self, command: Command) -> Step {
        self.policy(P, PolicyEvent::Command(command))
    }

    fn slots(&self) -> Destinations {
        self.engine.slots(P)
    }

    fn has(&self, revision: u64) -> Destinations {
        let state = self.engine.state(P).expect("a policy");
        let found = state.assigned().find(|(r, _)| r.0 == revision);
        found.map_or_else(Destinations::new, |(_, s)| s.clone())
    }

    fn phase(&self, revision: u64) -> Phase {
        self.progress(revision).phase
    }

    fn progress(&self, revision: u64) -> atoll_placement::rollout::Progress {
        let all = self
            .engine
            .progress(P, &|p| p.0.to_string(), Timestamp(self.now));
        all.into_iter()
            .find(|p| p.revision.0 == revision)
            .expect("a kept revision")
    }

    fn waits(&self, d: u32) -> Waiting {
        let found = self.engine.explain(P, d, &self.world, Timestamp(self.now));
        found.expect("a policy").waiting
    }
}

fn assigned(step: &Step, policy: PolicyId) -> Destinations {
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

fn removed(step: &Step) -> Destinations {
    let mut all = Destinations::new();
    for effect in &step.effects {
        if let Effect::Remove(_, who) = effect {
            all |= who;
        }
    }
    all
}

#[test]
fn going_away_frees_no_slot_and_returning_restarts_the_soak() {
    let mut s = Stage::new(
        10,
        json!({"settle": "0s", "maxConcurrency": 2, "minSuccessTime": "60s"}),
    );
    assert_eq!(assigned(&s.event(content(P, "two")), P), set([0, 1]));
    s.event(down(set([0])));
    s.healthy(P, [1]);
    s.after(62);
    assert_eq!(s.slots(), set([0, 2]));
    s.event(up(set([0])));
    s.healthy(P, [0]);
    s.after(30);
    s.event(down(set([0])));
    s.after(3600);
    assert!(s.slots().contains(0));
    s.event(up(set([0])));
    s.after(59);
    assert!(s.slots().contains(0));
    s.after(3);
    assert!(!s.slots().contains(0));
}

#[test]
fn a_clock_that_goes_back_neither_ends_nor_prolongs_a_soak() {
    let mut s = Stage::new(
        3,
        json!({"settle": "0s", "maxConcurrency": 1, "minSuccessTime": "60s"}),
    );
    s.event(content(P, "two"));
    s.healthy(P, [0]);
    s.after(-86_400);
    assert_eq!(s.slots(), set([0]));
    s.after(58);
    assert_eq!(s.slots(), set([0]));
    s.after(4);
    assert_eq!(s.slots(), set([1]));
}

#[test]
fn an_old_report_is_no_report() {
    let mut s = Stage::new(3, json!({"settle": "0s", "maxConcurrency": 1}));
    s.event(content(P, "two"));
    let report = Report {
        revision: Some(Ordinal(1)),
        healthy: set([0]),
        ..Report::default()
    };
    s.policy(P, PolicyEvent::Reported(report));
    assert_eq!(s.slots(), set([0]));
}

#[test]
fn a_first_installation_counts_against_concurrency_only() {
    let mut s = Stage::empty(10);
    let spec = json!({"settle": "0s", "maxConcurrency": 4, "disruptionBudgets": [{"groupBy": ["site"], "maxUnavailable": 1}]});
    s.event(settings(P, Some(spec)));
    s.event(selected(P, set(0..10), set([])));
    let step = s.event(content(P, "one"));
    assert_eq!(assigned(&step, P), set(0..4));
    assert!(
        matches!(step.effects.iter().find(|e| matches!(e, Effect::Assign(..))), Some(Effect::Assign(_, a)) if a.action == Action::Install)
    );
    for _ in 0..3 {
        s.healthy(P, 0..10);
    }
    assert_eq!(s.phase(1), Phase::Completed);
    // An update does count: one of the only site.
    assert_eq!(assigned(&s.event(content(P, "two")), P), set([0]));
    assert!(matches!(
        s.waits(5),
        Waiting::Budget {
            unavailable: 1,
            allowed: 1,
            ..
        }
    ));
}

#[test]
fn who_is_away_counts_against_a_group_and_who_is_broken_may_be_repaired() {
    let mut s = Stage::new(
        20,
        json!({"settle": "0s", "onFailure": "continue", "disruptionBudgets": [{"groupBy": ["site"], "maxUnavailable": 1}]}),
    );
    s.event(down(set([3])));
    // Site 0 has nobody left, site 1 has one.
    assert_eq!(assigned(&s.event(content(P, "two")), P), set([10]));
    s.event(up(set([3])));
    assert_eq!(s.slots(), set([3, 10]));
    s.failed(P, [10]);
    assert!(!s.slots().contains(11), "the broken one is unavailable");
    // The next revision may go there although its site is full.
    let step = s.event(content(P, "three"));
    assert!(assigned(&step, P).contains(10));
}

#[test]
fn stages_go_in_order_and_joiners_get_the_last_completed_revision() {
    let spec = json!({"settle": "0s", "stages": [
        {"name": "canary", "selector": {"matchLabels": {"site": "0"}}, "maxConcurrency": 5},
        {"name": "next", "percentage": 50, "gates": {"before": [{"name": "ok", "approval": {}}]}},
    ], "maxConcurrency": 100});
    let mut s = Stage::new(40, spec);
    assert_eq!(assigned(&s.event(content(P, "two")), P), set(0..5));
    s.healthy(P, 0..5);
    assert_eq!(s.slots(), set(5..10));
    // A joiner of a later stage gets what was completed; one of the begun stage gets what that gets.
    for (d, site) in [(100, "9"), (101, "0")] {
        s.world.label(d, "site", site);
        s.event(up(set([d])));
        s.event(selected(P, set([d]), set([])));
    }
    assert!(s.has(1).contains(100));
    s.healthy(P, 0..200);
    assert!(s.has(2).contains(101));
    s.healthy(P, 0..200);
    assert_eq!(s.progress(2).stage.as_deref(), Some("next"));
    assert_eq!(
        s.progress(2).stages[1].waiting,
        ["gate \"ok\": waits for approval"]
    );
    let gate = GateAt {
        revision: Ordinal(2),
        place: GatePlace::Before("next".into()),
        name: "ok".into(),
    };
    let wrong = GateAt {
        revision: Ordinal(1),
        ..gate.clone()
    };
    assert!(
        s.command(Command::Approve {
            gate: wrong,
            by: "me".into()
        })
        .refused
        .is_some()
    );
    s.command(Command::Approve {
        gate,
        by: "me".into(),
    });
    // Half of 42, the canaries included.
    assert_eq!(s.has(2).len(), 21);
    assert!(matches!(
        s.waits(s.has(1).min().expect("somebody")),
        Waiting::Stage { own: Some(_), .. }
    ));
    for _ in 0..3 {
        s.healthy(P, 0..200);
    }
    assert_eq!(s.phase(2), Phase::Completed);
    assert_eq!(s.has(2).len(), 42);
    s.event(selected(P, set([30]), set([30])));
    assert_eq!(s.waits(30), Waiting::Nothing);
}

#[test]
fn who_changes_labels_stays_in_a_begun_stage() {
    let spec = json!({"settle": "0s", "stages": [{"name": "canary", "selector": {"matchLabels": {"site": "0"}}, "maxConcurrency": 1}]});
    let mut s = Stage::new(20, spec);
    s.event(content(P, "two"));
    s.world.label(5, "site", "1");
    s.world.label(15, "site", "0");
    s.event(Event::Relabeled(set([5, 15])));
    let members = s.progress(2).stages[0].counts.expect("begun").expected;
    assert_eq!(members, 11);
}

#[test]
fn too_many_failures_pause_and_a_person_forgives() {
    let mut s = Stage::new(
        10,
        json!({"settle": "0s", "maxConcurrency": 2, "maxFailures": 1}),
    );
    s.event(content(P, "two"));
    s.failed(P, [0]);
    assert_eq!(s.slots(), set([1, 2]));
    s.failed(P, [1]);
    assert_eq!(s.phase(2), Phase::Paused);
    s.healthy(P, [2]);
    assert!(s.slots().is_empty());
    assert!(matches!(s.waits(5), Waiting::Paused(_)));
    s.command(Command::Resume);
    assert_eq!(s.slots(), set([3, 4]));
    s.failed(P, [3]);
    assert_eq!(s.phase(2), Phase::Progressing, "one more may fail");
    s.failed(P, [4]);
    assert_eq!(s.phase(2), Phase::Paused);
    assert_eq!(
        s.progress(2).counts,
        Counts {
            expected: 10,
            current: 1,
            outdated: 4,
            failed: 4,
            unreported: 1
        }
    );
    assert!(s.command(Command::Pause).refused.is_none());
    assert!(s.command(Command::Pause).refused.is_some());
}

#[test]
fn failures_roll_back_and_only_who_has_the_bad_revision_is_touched() {
    let spec = json!({"settle": "0s", "onFailure": "rollback", "stages": [{"name": "canary", "count": 3}]});
    let mut s = Stage::new(10, spec);
    let canaries = assigned(&s.event(content(P, "two")), P);
    assert_eq!(canaries.len(), 3);
    let step = s.failed(P, canaries.min());
    assert!(step.effects.contains(&Effect::Cut {
        policy: P,
        revision: Ordinal(3),
        of: Some(Ordinal(1)),
        restart: false
    }));
    assert_eq!(assigned(&step, P), canaries);
    assert_eq!(
        (s.phase(2), s.phase(3)),
        (Phase::RolledBack, Phase::Progressing)
    );
    s.healthy(P, 0..10);
    assert_eq!(s.phase(3), Phase::Completed);
    assert_eq!(s.has(3).len(), 10);
    // The change that is still selected makes no new revision by being seen again; another one does.
    assert!(s.event(content(P, "two")).deltas.is_empty());
    assert_eq!(assigned(&s.event(content(P, "three")), P).len(), 3);
    // A person can go back too, and to what is kept only.
    assert!(
        s.command(Command::Undo(Some(Ordinal(77))))
            .refused
            .is_some()
    );
    assert!(s.command(Command::Undo(None)).refused.is_none());
    assert_eq!(s.phase(4), Phase::RolledBack);
}

#[test]
fn the_share_of_failures_gives_a_rollout_up() {
    let mut s = Stage::new(
        10,
        json!({"settle": "0s", "onFailure": "continue", "maxConcurrency": 4, "abort": {"failureShare": 50, "minObserved": 4}}),
    );
    s.event(content(P, "two"));
    s.failed(P, [0, 1]);
    s.healthy(P, [2]);
    assert_eq!(s.phase(2), Phase::Progressing);
    s.healthy(P, [3]);
    assert_eq!(s.phase(2), Phase::Aborted);
    assert_eq!(s.has(2).len(), 4 + 3, "what was under way stays");
    s.after(3600);
    assert_eq!(s.has(2).len(), 7);
    assert!(s.command(Command::Resume).refused.is_some());
    s.event(content(P, "three"));
    assert_eq!(s.phase(3), Phase::Progressing);
}

#[test]
fn a_deadline_fails_who_does_not_become_healthy_here_or_away() {
    let mut s = Stage::new(
        4,
        json!({"settle": "0s", "maxConcurrency": 2, "maxFailures": 4, "progressDeadline": "5m"}),
    );
    s.event(content(P, "two"));
    s.event(down(set([1])));
    s.after(299);
    assert_eq!(s.slots(), set([0, 1]));
    s.after(7);
    assert_eq!(s.slots(), set([2, 3]));
    assert_eq!(s.waits(0), Waiting::Failed);
    s.healthy(P, [0]);
    assert_eq!(s.waits(0), Waiting::Nothing);
}

#[test]
fn a_newer_revision_supersedes_and_stages_start_over() {
    let spec =
        json!({"settle": "0s", "stages": [{"name": "canary", "count": 1}], "maxConcurrency": 2});
    let mut s = Stage::new(10, spec);
    let canary = assigned(&s.event(content(P, "two")), P);
    s.healthy(P, canary.iter());
    assert_eq!(s.slots().len(), 2);
    let busy = s.slots();
    let step = s.event(content(P, "three"));
    assert_eq!(s.phase(2), Phase::Superseded);
    // The same canary; those under way keep their slots and what they were sent.
    assert_eq!(assigned(&step, P), canary);
    assert_eq!(s.slots(), &busy | &canary);
    s.healthy(P, canary.iter());
    assert!(s.slots().len() <= 2);
    for _ in 0..6 {
        s.healthy(P, 0..10);
    }
    assert_eq!(s.phase(3), Phase::Completed);
}

#[test]
fn going_back_to_content_that_is_there_touches_nobody() {
    let mut s = Stage::new(10, json!({"settle": "5s", "maxConcurrency": 1}));
    s.event(content(P, "two"));
    assert!(s.slots().is_empty(), "not quiet long enough");
    assert!(matches!(s.waits(0), Waiting::Release(Some(_))));
    s.event(content(P, "one"));
    s.after(10);
    assert_eq!(s.engine.state(P).expect("a policy").config.latest, 1);
    s.event(content(P, "two"));
    s.after(6);
    assert_eq!(s.slots(), set([0]));
    s.event(content(P, "one"));
    s.after(6);
    assert_eq!(
        (s.has(3).len(), s.slots()),
        (10, set([0])),
        "but who was under way"
    );
}

#[test]
fn a_manual_release_waits_for_its_word() {
    let mut s = Stage::new(3, json!({"release": "Manual"}));
    s.event(content(P, "two"));
    s.after(3600);
    assert!(s.slots().is_empty());
    assert_eq!(s.waits(0), Waiting::Release(None));
    s.command(Command::Release);
    assert_eq!(s.slots().len(), 3);
    s.healthy(P, 0..3);
    s.event(content(P, "three"));
    s.event(settings(
        P,
        Some(json!({"release": "Manual", "releaseRevision": "v3"})),
    ));
    assert_eq!(s.has(3).len(), 3);
}

#[test]
fn gates_are_asked_answered_and_lied_about() {
    let spec = json!({"settle": "0s", "maxConcurrency": 1, "gates": [{"name": "live", "expression": {"expression": "x", "every": "30s"}}],
        "stages": [{"name": "a", "count": 1, "gates": {"after": [{"name": "hook", "webhook": {"url": "https://x/y", "failurePolicy": "Abort"}}]}}]});
    let mut s = Stage::new(5, spec);
    let asks = |step: &Step| {
        step.effects
            .iter()
            .filter_map(|e| match e {
                Effect::Ask(_, q) => Some(q.gate.clone()),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    let step = s.event(content(P, "two"));
    let live = asks(&step).pop().expect("asked");
    assert!(s.slots().is_empty());
    let answer = |s: &mut Stage, gate: &GateAt, answer| {
        s.policy(P, PolicyEvent::Answered(gate.clone(), answer))
    };
    // Nobody asked that.
    let hook = GateAt {
        revision: Ordinal(2),
        place: GatePlace::After("a".into()),
        name: "hook".into(),
    };
    answer(&mut s, &hook, Answer::Go);
    answer(
        &mut s,
        &GateAt {
            revision: Ordinal(1),
            ..live.clone()
        },
        Answer::Go,
    );
    assert!(s.slots().is_empty());
    answer(&mut s, &live, Answer::Go);
    assert_eq!(s.slots().len(), 1);
    let canary = s.slots();
    let step = s.healthy(P, canary.iter());
    assert_eq!(asks(&step), std::slice::from_ref(&hook));
    answer(&mut s, &hook, Answer::Wait("not yet".into()));
    assert_eq!(asks(&s.after(29)), []);
    assert_eq!(asks(&s.after(1)).len(), 2, "both are asked again");
    answer(&mut s, &hook, Answer::Go);
    assert_eq!(s.slots().len(), 1);
    // A brake that is pulled stops what comes next.
    answer(&mut s, &live, Answer::Wait("storm".into()));
    let busy = s.slots();
    s.healthy(P, busy.iter());
    assert!(s.slots().is_empty());
    let next = s.has(1).min().expect("somebody");
    assert!(matches!(s.waits(next), Waiting::Gate { why, .. } if why == "storm"));
    answer(&mut s, &live, Answer::Abort("enough".into()));
    assert_eq!(s.phase(2), Phase::Aborted);
}

#[test]
fn windows_bind_all_that_is_started() {
    // The story starts at 04:00 UTC.
    let spec = json!({"settle": "0s", "maxConcurrency": 1, "gates": [{"name": "night", "window": {"schedule": "0 2 * * *", "duration": "2h1m"}}]});
    let mut s = Stage::new(3, spec);
    let step = s.event(content(P, "two"));
    assert_eq!(assigned(&step, P), set([0]));
    s.now += 60_000;
    s.healthy(P, [0]);
    assert!(s.slots().is_empty());
    let wake = s.after(1).wake.expect("until it opens");
    assert_eq!(wake.rfc3339(), "2026-11-22T02:00:00Z");
    s.now = wake.0;
    s.event(Event::Tick);
    assert_eq!(s.slots(), set([1]));
}

#[test]
fn an_inventory_budget_binds_every_policy_and_says_not_by_whom() {
    let mut s = Stage::new(10, json!({"settle": "0s"}));
    s.event(settings(Q, None));
    s.event(selected(Q, set(0..10), set([])));
    s.event(content(Q, "one"));
    s.healthy(Q, 0..10);
    let budget =
        DisruptionBudget::parse(&json!({"maxUnavailable": 2, "groupBy": ["site"]})).expect("good");
    s.event(Event::Budget(BudgetId(7), Some(budget)));
    assert_eq!(assigned(&s.event(content(P, "two")), P), set([0, 1]));
    // Where it is disrupted already, another one may act too.
    assert_eq!(assigned(&s.event(content(Q, "two")), Q), set([0, 1]));
    assert_eq!(s.waits(5), Waiting::InventoryBudget { opens: None });
    assert_eq!(
        s.engine.budget_groups(BudgetId(7)),
        [("0".to_owned(), 2, 2)]
    );
    s.healthy(P, [0, 1]);
    assert_eq!(s.slots(), set([]));
    s.healthy(Q, [0]);
    assert_eq!(s.slots(), set([2]), "freed by the other one");
    s.event(Event::Budget(BudgetId(7), None));
    assert_eq!(s.slots(), set(2..10));
}

#[test]
fn an_inventory_budgets_window() {
    let mut s = Stage::new(3, json!({"settle": "0s"}));
    let budget = DisruptionBudget::parse(
        &json!({"maxUnavailable": 1, "windows": [{"schedule": "0 6 * * *", "duration": "1h"}]}),
    )
    .expect("good");
    s.event(Event::Budget(BudgetId(0), Some(budget)));
    let step = s.event(content(P, "two"));
    assert!(s.slots().is_empty());
    let wake = step.wake.expect("the window");
    assert_eq!(s.waits(1), Waiting::InventoryBudget { opens: Some(wake) });
    s.now = wake.0;
    s.event(Event::Tick);
    assert_eq!(s.slots(), set([0]));
}

#[test]
fn properties_change_through_the_same_budgets() {
    let mut s = Stage::new(10, json!({"settle": "0s", "maxConcurrency": 3}));
    let step = s.policy(P, PolicyEvent::Rerender(set(0..10)));
    assert_eq!(assigned(&step, P), set(0..3));
    assert!(
        matches!(step.effects.iter().find(|e| matches!(e, Effect::Assign(..))), Some(Effect::Assign(_, a)) if a.action == Action::Rerender && a.revision == Ordinal(1))
    );
    s.healthy(P, 0..3);
    assert_eq!(s.slots(), set(3..6));
}

#[test]
fn removals_take_slots_until_they_are_confirmed() {
    let mut s = Stage::new(10, json!({"settle": "0s", "maxConcurrency": 2}));
    let step = s.event(selected(P, set([]), set(0..5)));
    assert_eq!(removed(&step), set([0, 1]));
    assert_eq!(s.waits(3), Waiting::Slots { used: 2, limit: 2 });
    // One that comes back before its turn keeps what it has.
    s.event(selected(P, set([4]), set([])));
    let step = s.policy(P, PolicyEvent::Removed(set([0, 1])));
    assert_eq!(removed(&step), set([2, 3]));
    // One that comes back too late is installed anew, afterwards.
    s.event(selected(P, set([2]), set([])));
    assert!(s.engine.revision_of(P, 2).is_none());
    let step = s.policy(P, PolicyEvent::Removed(set([2, 3])));
    assert_eq!(assigned(&step, P), set([2]));
    assert!(s.engine.revision_of(P, 4).is_some());
}

#[test]
fn a_move_makes_before_it_breaks() {
    let mut s = Stage::new(
        4,
        json!({"settle": "0s", "move": {"make-before-break": true}}),
    );
    s.event(selected(P, set([]), set([2, 3])));
    assert!(s.slots().contains(2), "nothing is made: they go at once");
    s.policy(P, PolicyEvent::Removed(set([2, 3])));
    s.event(selected(P, set([2, 3]), set([0, 1])));
    assert_eq!(s.slots(), set([2, 3]));
    assert_eq!(s.waits(0), Waiting::Retiring);
    s.after(86_400);
    assert_eq!(s.slots(), set([2, 3]), "never by time");
    s.failed(P, [2]);
    let step = s.healthy(P, [3]);
    assert_eq!(removed(&step), set([0]));
    assert_eq!(s.waits(1), Waiting::Retiring);
    let step = s.healthy(P, [2]);
    assert_eq!(removed(&step), set([1]));
}

#[test]
fn two_policies_of_one_object_go_together_or_not_at_all() {
    let mut s = Stage::new(6, json!({"settle": "0s", "maxConcurrency": 2}));
    s.event(settings(Q, None));
    s.event(selected(Q, set(0..4), set([])));
    s.event(content(Q, "one"));
    s.healthy(Q, 0..4);
    let gate = json!({"settle": "0s", "maxConcurrency": 1, "stages": [{"name": "a", "selector": {}, "gates": {"before": [{"name": "ok", "approval": {}}]}}]});
    s.event(settings(Q, Some(gate)));
    for (p, o) in [(P, Q), (Q, P)] {
        s.policy(p, PolicyEvent::Shares([o].into_iter().collect()));
    }
    s.event(content(Q, "two"));
    // P may go on where Q does not select.
    assert_eq!(assigned(&s.event(content(P, "two")), P), set([4, 5]));
    assert_eq!(s.waits(0), Waiting::HeldBy(Q));
    s.healthy(P, [4, 5]);
    assert!(s.slots().is_empty());
    let gate = GateAt {
        revision: Ordinal(2),
        place: GatePlace::Before("a".into()),
        name: "ok".into(),
    };
    let step = s.policy(
        Q,
        PolicyEvent::Command(Command::Approve {
            gate,
            by: "me".into(),
        }),
    );
    assert_eq!(
        (assigned(&step, P), assigned(&step, Q)),
        (set([0]), set([0])),
        "as many as the stricter allows"
    );
    s.healthy(P, [0]);
    assert_eq!(s.slots(), set([]));
    s.healthy(Q, [0]);
    assert_eq!(s.slots(), set([1]));
}

#[test]
fn a_deleted_policy_empties_through_the_budgets_or_at_once_or_not() {
    let spec = json!({"settle": "0s", "maxConcurrency": 2});
    let mut s = Stage::new(5, spec.clone());
    let step = s.policy(
        P,
        PolicyEvent::Deleted {
            orphan: false,
            at_once: false,
        },
    );
    assert_eq!(removed(&step), set([0, 1]));
    s.event(down(set([4])));
    for pair in [[0, 1], [2, 3]] {
        s.policy(P, PolicyEvent::Removed(set(pair)));
    }
    assert!(s.engine.state(P).is_some(), "one is away");
    s.event(up(set([4])));
    let step = s.policy(P, PolicyEvent::Removed(set([4])));
    assert!(step.effects.contains(&Effect::Finished(P)) && s.engine.state(P).is_none());

    let mut s = Stage::new(5, spec.clone());
    s.event(down(set([4])));
    let step = s.policy(
        P,
        PolicyEvent::Deleted {
            orphan: false,
            at_once: true,
        },
    );
    assert_eq!(removed(&step), set(0..5));

    let mut s = Stage::new(5, spec);
    let step = s.policy(
        P,
        PolicyEvent::Deleted {
            orphan: true,
            at_once: false,
        },
    );
    assert!(removed(&step).is_empty() && step.effects.contains(&Effect::Finished(P)));
}

#[test]
fn a_suspended_policy_does_nothing() {
    let mut s = Stage::new(5, json!({"settle": "0s"}));
    s.policy(P, PolicyEvent::Suspended(true));
    s.event(content(P, "two"));
    s.event(selected(P, set([]), set([0])));
    s.policy(P, PolicyEvent::Rerender(set([1])));
    assert!(s.slots().is_empty());
    assert_eq!(s.waits(1), Waiting::Suspended);
    s.policy(P, PolicyEvent::Suspended(false));
    assert_eq!(s.slots(), set(0..5));
}

#[test]
fn a_restart_is_a_revision_of_its_own_in_stages() {
    let mut s = Stage::new(5, json!({"settle": "0s", "maxConcurrency": 2}));
    let step = s.command(Command::Restart);
    assert!(step.effects.contains(&Effect::Cut {
        policy: P,
        revision: Ordinal(2),
        of: None,
        restart: true
    }));
    assert_eq!(assigned(&step, P), set([0, 1]));
}

#[test]
fn history_is_kept_and_forgotten() {
    let mut s = Stage::new(2, json!({"settle": "0s", "historyLimit": 2}));
    let mut forgotten = Vec::new();
    for i in 0..6 {
        let mut effects = s.event(content(P, &format!("c{i}"))).effects;
        effects.extend(s.healthy(P, 0..2).effects);
        forgotten.extend(effects.into_iter().filter_map(|e| match e {
            Effect::Forget(_, r) => Some(r.0),
            _ => None,
        }));
    }
    assert_eq!(forgotten, [1, 2, 3, 4]);
    assert_eq!(
        s.engine.state(P).expect("a policy").config.revisions.len(),
        3
    );
}

#[test]
fn the_status_of_a_rollout() {
    let mut s = Stage::new(
        10,
        json!({"settle": "0s", "stages": [{"name": "canary", "count": 2}], "maxConcurrency": 3}),
    );
    let canaries = assigned(&s.event(content(P, "two")), P);
    s.healthy(P, canaries.iter());
    s.event(down(s.has(1)));
    let status = s.progress(2).status();
    assert_eq!(status["phase"], "Progressing");
    assert_eq!(status["stage"], "rest");
    assert_eq!(
        status["counts"],
        json!({"expected": 10, "current": 2, "outdated": 5, "failed": 0, "unreported": 3})
    );
    assert_eq!(status["stages"][0]["phase"], "Completed");
    assert_eq!(
        status["stages"][1]["waitingFor"],
        json!(["3 to become healthy", "5 away"])
    );
}
