//! Revisions, stages, gates, failures and what people ask for: one rule each, told as a short story.

use atoll_placement::rollout::event::{GateAt, GatePlace};
use atoll_placement::rollout::{
    Answer, Command, Counts, Effect, Event, Ordinal, Phase, PolicyEvent, Step, Waiting,
};
use serde_json::json;

use super::stage::{P, Stage, assigned};
use super::world::{content, down, selected, set, settings, up};

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
    let status = s.progress(2).status(&|d| d.to_string());
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
