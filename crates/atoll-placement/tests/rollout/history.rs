//! Random histories: everything that can happen, in any order, with kills of the center in between. At the end all is well and time passes, and everybody must have what is wanted.

use std::collections::BTreeMap;

use atoll_placement::rollout::delta::Delta;
use atoll_placement::rollout::event::{GateAt, GatePlace};
use atoll_placement::rollout::spec::{DisruptionBudget, GateKind};
use atoll_placement::rollout::{
    Answer, BudgetId, Command, Effect, Event, Ordinal, Phase, PolicyEvent, PolicyId, Report,
    RolloutState, Rollouts, Step,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::model::Model;
use super::world::{content, down, selected, set, settings, up};

const DESTINATIONS: u32 = 12;

#[derive(Debug, Clone)]
enum Op {
    Join(u8, u32),
    Leave(u8, u32),
    Up(u32),
    Down(u32),
    Gone(u32),
    Relabel(u32, u8, u8),
    Content(u8, u8),
    /// 0 healthy, 1 progressing, 2 failed; of all in slots or of one.
    Report(u8, Option<u32>, u8),
    /// About the revision before.
    Late(u8, u32, u8),
    Rerender(u8, u32),
    Confirm(u8),
    Pause(u8),
    Resume(u8),
    Undo(u8),
    Restart(u8),
    Abort(u8),
    Suspend(u8, bool),
    Approve(u8),
    Answer(u8, u8),
    Settings(u8, u8),
    Time(i64),
    Kill,
}

fn op() -> impl Strategy<Value = Op> {
    let policy = 0..2u8;
    let d = 0..DESTINATIONS;
    prop_oneof![
        6 => (policy.clone(), d.clone()).prop_map(|(p, d)| Op::Join(p, d)),
        2 => (policy.clone(), d.clone()).prop_map(|(p, d)| Op::Leave(p, d)),
        3 => d.clone().prop_map(Op::Up),
        3 => d.clone().prop_map(Op::Down),
        1 => d.clone().prop_map(Op::Gone),
        2 => (d.clone(), 0..3u8, 0..2u8).prop_map(|(d, s, t)| Op::Relabel(d, s, t)),
        5 => (policy.clone(), 0..4u8).prop_map(|(p, c)| Op::Content(p, c)),
        12 => (policy.clone(), proptest::option::of(d.clone()), prop_oneof![5 => Just(0u8), 1 => Just(1u8), 1 => Just(2u8)]).prop_map(|(p, d, w)| Op::Report(p, d, w)),
        2 => (policy.clone(), d.clone(), 0..3u8).prop_map(|(p, d, w)| Op::Late(p, d, w)),
        2 => (policy.clone(), d).prop_map(|(p, d)| Op::Rerender(p, d)),
        3 => policy.clone().prop_map(Op::Confirm),
        1 => policy.clone().prop_map(Op::Pause),
        2 => policy.clone().prop_map(Op::Resume),
        1 => policy.clone().prop_map(Op::Undo),
        1 => policy.clone().prop_map(Op::Restart),
        1 => policy.clone().prop_map(Op::Abort),
        1 => (policy.clone(), any::<bool>()).prop_map(|(p, s)| Op::Suspend(p, s)),
        2 => policy.clone().prop_map(Op::Approve),
        3 => (policy.clone(), 0..3u8).prop_map(|(p, a)| Op::Answer(p, a)),
        1 => (policy, 0..6u8).prop_map(|(p, s)| Op::Settings(p, s)),
        8 => prop_oneof![Just(1i64), Just(12), Just(70), Just(4000)].prop_map(Op::Time),
        1 => prop_oneof![Just(-5i64), Just(-100_000), Just(1_000_000)].prop_map(Op::Time),
        2 => Just(Op::Kill),
    ]
}

/// Specs of all sorts.
fn spec(n: u8) -> Option<Value> {
    Some(match n {
        0 => return None,
        1 => super::world::staged(),
        2 => json!({
            "settle": "5s", "onFailure": "rollback", "maxConcurrency": 2, "progressDeadline": "60s",
            "stages": [{"name": "tier", "selector": {"matchLabels": {"tier": "0"}}, "minSuccessTime": "30s"}],
            "disruptionBudgets": [{"groupBy": ["site"], "maxUnavailable": 1}],
        }),
        3 => json!({
            "settle": "0s", "onFailure": "continue",
            "stages": [
                {"name": "first", "percentage": 20, "gates": {"before": [{"name": "ok", "approval": {}}]}},
                {"name": "second", "percentage": 60, "maxConcurrency": "25%"},
            ],
            "move": {"make-before-break": true},
        }),
        4 => json!({
            "settle": "0s", "maxFailures": "50%", "offline": "wait",
            "rate": {"basePerMinute": 2, "incrementFactor": 2, "max": 10},
            "gates": [{"name": "live", "expression": {"expression": "true", "every": "10s"}}],
            "disruptionBudgets": [{"groupBy": ["site"], "maxUnavailable": "50%"}],
        }),
        _ => json!({
            "settle": "0s", "abort": {"failureShare": 50, "minObserved": 2}, "onFailure": "continue",
            "stages": [{"name": "a", "count": 2, "maxConcurrency": 1, "progressDeadline": "20s", "minSuccessTime": "5s"}],
        }),
    })
}

struct Runner {
    engine: Rollouts,
    model: Model,
    log: Vec<(PolicyId, Vec<u8>)>,
    steps: Vec<Step>,
    budget: Option<DisruptionBudget>,
    asked: BTreeMap<(PolicyId, GateAt), ()>,
}

const POLICIES: [PolicyId; 2] = [PolicyId(0), PolicyId(1)];

impl Runner {
    fn new(specs: [u8; 2], shared: bool, site_budget: Option<u32>) -> Self {
        let budget = site_budget.map(|n| {
            DisruptionBudget::parse(&json!({"groupBy": ["site"], "maxUnavailable": n}))
                .expect("a good budget")
        });
        let mut runner = Runner {
            engine: Rollouts::new(),
            model: Model::default().sharing(shared),
            log: Vec::new(),
            steps: Vec::new(),
            budget,
            asked: BTreeMap::new(),
        };
        runner.model.site_budget = site_budget;
        runner.model.advance(1_000_000);
        for d in 0..DESTINATIONS {
            runner.model.world.label(d, "site", &format!("{}", d % 3));
            runner.model.world.label(d, "tier", &format!("{}", d % 2));
        }
        if let Some(budget) = runner.budget.clone() {
            runner.event(Event::Budget(BudgetId(0), Some(budget)));
        }
        for (policy, n) in POLICIES.into_iter().zip(specs) {
            runner.event(settings(policy, spec(n)));
        }
        if shared {
            for (policy, other) in [(POLICIES[0], POLICIES[1]), (POLICIES[1], POLICIES[0])] {
                runner.event(Event::Policy(
                    policy,
                    PolicyEvent::Shares([other].into_iter().collect()),
                ));
            }
        }
        runner
    }

    fn states(&self) -> BTreeMap<PolicyId, RolloutState> {
        POLICIES
            .into_iter()
            .filter_map(|p| Some((p, self.engine.state(p)?.clone())))
            .collect()
    }

    fn event(&mut self, event: Event) {
        let before = self.states();
        self.model.hear(&event, &|p| before.get(&p).cloned());
        let step = self.engine.step(event, &self.model.world, self.model.now());
        self.took(&before, step, false);
    }

    fn took(&mut self, before: &BTreeMap<PolicyId, RolloutState>, step: Step, resumed: bool) {
        for (policy, delta) in &step.deltas {
            self.log.push((*policy, delta.encode()));
        }
        for effect in &step.effects {
            if let Effect::Ask(policy, question) = effect {
                assert!(matches!(
                    question.kind,
                    GateKind::Expression { .. } | GateKind::Webhook(_)
                ));
                self.asked.insert((*policy, question.gate.clone()), ());
            }
        }
        if let Some(wake) = step.wake {
            assert!(wake > self.model.now(), "woken at once, again and again");
        }
        self.model.check(before, &self.engine, &step, resumed);
        self.steps.push(step);
    }

    fn kill(&mut self) {
        let mut engine = Rollouts::new();
        for (policy, bytes) in &self.log {
            let delta = Delta::decode(bytes).expect("our own bytes");
            engine.load(*policy, &delta).expect("our own delta");
        }
        for policy in POLICIES {
            let (live, read) = (self.engine.state(policy), engine.state(policy));
            let parts = |s: &RolloutState| {
                (
                    s.config.clone(),
                    s.head.clone(),
                    s.sets.clone(),
                    s.spec.clone(),
                )
            };
            assert_eq!(
                live.map(parts),
                read.map(parts),
                "what was recorded is what was"
            );
        }
        let before = self.states();
        self.engine = engine;
        let budgets: Vec<(BudgetId, DisruptionBudget)> = self
            .budget
            .iter()
            .map(|b| (BudgetId(0), b.clone()))
            .collect();
        let known = self.model.known.iter().copied().collect();
        let available = self.model.up.iter().copied().collect();
        let now = self.model.now();
        let step = self
            .engine
            .resume(&known, &available, &budgets, &self.model.world, now);
        self.took(&before, step, true);
    }

    fn command(&mut self, policy: PolicyId, command: Command) {
        self.event(Event::Policy(policy, PolicyEvent::Command(command)));
    }

    fn report(&mut self, policy: PolicyId, who: Vec<u32>, what: u8, age: u64) {
        let mut by: BTreeMap<Ordinal, Report> = BTreeMap::new();
        for d in who {
            let Some(has) = self.engine.revision_of(policy, d) else {
                continue;
            };
            let named = Ordinal(has.0.saturating_sub(age));
            let report = by.entry(named).or_default();
            report.revision = Some(named);
            match what {
                0 => report.healthy.insert(d),
                1 => report.progressing.insert(d),
                _ => report.failed.insert(d),
            };
        }
        for report in by.into_values() {
            self.event(Event::Policy(policy, PolicyEvent::Reported(report)));
        }
    }

    fn approve(&mut self, policy: PolicyId) {
        let Some(state) = self.engine.state(policy) else {
            return;
        };
        let Some(run) = &state.head.run else { return };
        let revision = run.revision;
        let names: Vec<String> = run.stages.iter().map(|s| s.name.clone()).collect();
        for name in names {
            let gate = GateAt {
                revision,
                place: GatePlace::Before(name),
                name: "ok".into(),
            };
            self.model.approved.insert((policy, revision, "ok".into()));
            self.command(
                policy,
                Command::Approve {
                    gate,
                    by: "me".into(),
                },
            );
        }
    }

    fn answer(&mut self, policy: PolicyId, what: u8) {
        let asked = self.asked.keys().rfind(|(p, _)| *p == policy).cloned();
        let Some((_, gate)) = asked else { return };
        let answer = match what {
            0 => Answer::Go,
            1 => Answer::Wait("not now".into()),
            _ => Answer::Failed("no".into()),
        };
        self.event(Event::Policy(policy, PolicyEvent::Answered(gate, answer)));
    }

    fn run(&mut self, op: Op) {
        let p = |n: u8| POLICIES[usize::from(n % 2)];
        match op {
            Op::Join(n, d) => self.event(selected(p(n), set([d]), set([]))),
            Op::Leave(n, d) => self.event(selected(p(n), set([]), set([d]))),
            Op::Up(d) => self.event(up(set([d]))),
            Op::Down(d) => self.event(down(set([d]))),
            Op::Gone(d) => self.event(Event::Gone(set([d]))),
            Op::Relabel(d, site, tier) => {
                self.model.world.label(d, "site", &site.to_string());
                self.model.world.label(d, "tier", &tier.to_string());
                self.event(Event::Relabeled(set([d])));
            }
            Op::Content(n, c) => self.event(content(p(n), &format!("c{c}"))),
            Op::Report(n, one, what) => {
                let who = match one {
                    Some(d) => vec![d],
                    None => self.engine.slots(p(n)).iter().collect(),
                };
                self.report(p(n), who, what, 0);
            }
            Op::Late(n, d, what) => self.report(p(n), vec![d], what, 1),
            Op::Rerender(n, d) => self.event(Event::Policy(p(n), PolicyEvent::Rerender(set([d])))),
            Op::Confirm(n) => {
                let who = (0..DESTINATIONS).filter(|d| self.model.copy(p(n), *d).removing);
                let who = set(who.collect::<Vec<_>>());
                self.event(Event::Policy(p(n), PolicyEvent::Removed(who)));
            }
            Op::Pause(n) => self.command(p(n), Command::Pause),
            Op::Resume(n) => self.command(p(n), Command::Resume),
            Op::Undo(n) => self.command(p(n), Command::Undo(None)),
            Op::Restart(n) => self.command(p(n), Command::Restart),
            Op::Abort(n) => self.command(p(n), Command::Abort),
            Op::Suspend(n, on) => self.event(Event::Policy(p(n), PolicyEvent::Suspended(on))),
            Op::Approve(n) => self.approve(p(n)),
            Op::Answer(n, what) => self.answer(p(n), what),
            Op::Settings(n, which) => self.event(settings(p(n), spec(which))),
            Op::Time(seconds) => {
                self.model.advance(seconds);
                self.event(Event::Tick);
            }
            Op::Kill => self.kill(),
        }
    }

    /// All is well and time passes: everybody gets what is wanted.
    fn converge(&mut self) {
        let known: Vec<u32> = self.model.known.iter().copied().collect();
        self.event(up(set(known)));
        for (i, policy) in POLICIES.into_iter().enumerate() {
            self.event(Event::Policy(policy, PolicyEvent::Suspended(false)));
            self.command(policy, Command::Resume);
            self.event(content(policy, &format!("last{i}")));
        }
        for round in 0..600 {
            self.model.advance(7);
            self.event(Event::Tick);
            for (n, policy) in POLICIES.into_iter().enumerate() {
                self.approve(policy);
                self.answer(policy, 0);
                self.run(Op::Confirm(n as u8));
                self.report(policy, (0..DESTINATIONS).collect(), 0, 0);
                self.command(policy, Command::Resume);
            }
            let done = POLICIES.iter().all(|p| self.reached(*p).is_ok());
            if done && round > 2 {
                return;
            }
        }
        for policy in POLICIES {
            let reached = self.reached(policy);
            let state = self.engine.state(policy).expect("a policy");
            assert_eq!(
                reached,
                Ok(()),
                "{policy:?} did not converge: {:#?}",
                state.head
            );
        }
    }

    fn reached(&self, policy: PolicyId) -> Result<(), String> {
        let state = self.engine.state(policy).ok_or("unknown")?;
        let run = state.head.run.as_ref().ok_or("nothing was cut")?;
        if run.phase != Phase::Completed {
            return Err(format!("{:?}", run.phase));
        }
        for ((p, d), copy) in &self.model.copies {
            if *p != policy {
                continue;
            }
            let wanted = copy.selected.then_some(run.revision);
            if copy.has != wanted || copy.removing || self.engine.slots(policy).contains(*d) {
                return Err(format!("{d} wants {wanted:?}: {copy:?}"));
            }
        }
        Ok(())
    }
}

fn play(ops: &[Op], specs: [u8; 2], shared: bool, budget: Option<u32>) -> Vec<Step> {
    let mut runner = Runner::new(specs, shared, budget);
    for op in ops {
        runner.run(op.clone());
    }
    runner.converge();
    runner.steps
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, max_shrink_iters: 400, ..ProptestConfig::default() })]

    /// Whatever happens, no action of ours starts beyond a limit, stages keep their order, slots are held, what is recorded is what is; and when all is well everybody gets what is wanted.
    #[test]
    fn any_history_keeps_every_limit_and_converges(
        ops in proptest::collection::vec(op(), 0..70),
        specs in [0..6u8, 0..6u8],
        budget in proptest::option::of(1..3u32),
    ) {
        play(&ops, specs, false, budget);
    }

    /// The same with two policies on the same objects: each counts what the other does.
    #[test]
    fn any_history_of_policies_that_share_objects(
        ops in proptest::collection::vec(op(), 0..50),
        specs in [0..6u8, 0..6u8],
        budget in proptest::option::of(1..3u32),
    ) {
        play(&ops, specs, true, budget);
    }

    /// The same inputs give the same effects.
    #[test]
    fn the_same_history_gives_the_same_steps(
        ops in proptest::collection::vec(op(), 0..50),
        specs in [0..6u8, 0..6u8],
        shared in any::<bool>(),
        budget in proptest::option::of(1..3u32),
    ) {
        prop_assert_eq!(play(&ops, specs, shared, budget), play(&ops, specs, shared, budget));
    }
}

/// Found by the histories above: a restart while a first installation soaks.
#[test]
fn a_restart_while_the_first_installation_soaks() {
    let ops = [
        Op::Join(1, 2),
        Op::Content(1, 0),
        Op::Up(2),
        Op::Report(1, None, 0),
        Op::Restart(1),
    ];
    play(&ops, [0, 1], false, None);
}
