//! Slots, budgets, removals and shared objects: one rule each, told as a short story.

use atoll_placement::rollout::event::{GateAt, GatePlace};
use atoll_placement::rollout::spec::DisruptionBudget;
use atoll_placement::rollout::{
    Action, BudgetId, Command, Effect, Event, Ordinal, Phase, PolicyEvent, Report, Waiting,
};
use serde_json::json;

use super::stage::{P, Q, Stage, assigned, removed};
use super::world::{content, down, selected, set, settings, up};

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
