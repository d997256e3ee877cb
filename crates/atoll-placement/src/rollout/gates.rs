//! Gates: what must be open before, while and after.
//!
//! Always true: an answer counts for the gate, place and revision that were asked and for no other; a gate that was not answered is closed. At the whole rollout's place, windows and expressions
//! must stay open all the time; before a stage, a window binds all that is started in it; everything else is passed once.

use atoll_kube::Timestamp;

use super::engine::{Ctx, Policy};
use super::event::{Answer, Effect, GateAt, GatePlace, Question};
use super::spec::{Gate, GateKind, WindowState};
use super::state::{GateRun, RolloutState};

/// What the gates at a place say together.
pub(super) enum Pass {
    Open,
    Closed,
    Abort(String),
}

impl RolloutState {
    /// The gates that stand at a place.
    pub fn gates_at(&self, place: &GatePlace) -> &[Gate] {
        match place {
            GatePlace::Rollout => &self.spec.gates,
            GatePlace::Before(stage) => self.stage_spec(stage).map_or(&[], |s| &s.before),
            GatePlace::After(stage) => self.stage_spec(stage).map_or(&[], |s| &s.after),
        }
    }

    /// What is known of a gate.
    pub fn gate_run(&self, place: &GatePlace, name: &str) -> Option<&GateRun> {
        let run = self.head.run.as_ref()?;
        run.gates
            .iter()
            .find(|g| g.place == *place && g.name == name)
    }

    /// Why a gate is closed, and when it opens if that is known.
    pub fn closed(
        &self,
        place: &GatePlace,
        gate: &Gate,
        now: Timestamp,
    ) -> Option<(String, Option<Timestamp>)> {
        if let GateKind::Window(window) = &gate.kind {
            return match window.state(now) {
                WindowState::Open(_) => None,
                WindowState::Closed(next) => Some(("outside its window".into(), next)),
            };
        }
        let known = self.gate_run(place, &gate.name);
        match known.and_then(|g| g.answer.as_ref()) {
            Some(Answer::Go) => None,
            Some(Answer::Wait(why) | Answer::Abort(why)) => Some((why.clone(), None)),
            Some(Answer::Failed(why)) => Some((format!("cannot be asked: {why}"), None)),
            None => {
                let why = match gate.kind {
                    GateKind::Approval { .. } => "waits for approval",
                    _ => "not answered yet",
                };
                Some((why.into(), None))
            }
        }
    }

    /// The first gate that keeps anything from being started in a stage of the run, with why and until when.
    pub fn brake(
        &self,
        stage: &str,
        now: Timestamp,
    ) -> Option<(String, String, Option<Timestamp>)> {
        if self.head.run.as_ref().is_none_or(|run| run.back) {
            return None;
        }
        let whole = GatePlace::Rollout;
        for gate in &self.spec.gates {
            if let Some((why, opens)) = self.closed(&whole, gate, now) {
                return Some((gate.name.clone(), why, opens));
            }
        }
        let before = GatePlace::Before(stage.to_owned());
        for gate in self.gates_at(&before) {
            if matches!(gate.kind, GateKind::Window(_))
                && let Some((why, opens)) = self.closed(&before, gate, now)
            {
                return Some((gate.name.clone(), why, opens));
            }
        }
        None
    }

    /// When a gate that was asked must be asked again, in engine time; `None` if it need not.
    fn asks(&self, place: &GatePlace, gate: &Gate) -> Option<Timestamp> {
        let (every, patience) = match &gate.kind {
            GateKind::Approval { .. } | GateKind::Window(_) => return None,
            GateKind::Expression { every, .. } => (*every, *every),
            GateKind::Webhook(hook) => (hook.every, hook.every.max(hook.timeout * 2)),
        };
        let Some(known) = self.gate_run(place, &gate.name) else {
            return Some(Timestamp(i64::MIN));
        };
        let asked = known.asked.unwrap_or(Timestamp(i64::MIN));
        let live = *place == GatePlace::Rollout && matches!(gate.kind, GateKind::Expression { .. });
        match &known.answer {
            Some(Answer::Go) if !live => None,
            Some(Answer::Abort(_)) => None,
            Some(_) if known.at >= known.asked => Some(asked.plus(every)),
            _ => Some(asked.plus(patience)),
        }
    }
}

impl Policy {
    /// Asks what must be asked at a place, and says what its gates say.
    pub(super) fn gates(&mut self, cx: &mut Ctx<'_>, place: &GatePlace) -> Pass {
        let Some(run) = self.state.head.run.as_ref() else {
            return Pass::Closed;
        };
        if run.back {
            return Pass::Open;
        }
        let revision = run.revision;
        let mut pass = Pass::Open;
        let mut questions = Vec::new();
        for gate in self.state.gates_at(place) {
            if self.state.asks(place, gate).is_some_and(|at| at <= cx.t) {
                questions.push(gate.clone());
            }
            if let Some(Answer::Abort(why)) = self
                .state
                .gate_run(place, &gate.name)
                .and_then(|g| g.answer.as_ref())
            {
                return Pass::Abort(format!("gate {}: {why}", gate.name));
            }
            if self.state.closed(place, gate, cx.now).is_some() {
                pass = Pass::Closed;
            }
        }
        for gate in questions {
            self.gate_mut(place, &gate.name).asked = Some(cx.t);
            cx.out.list.push(Effect::Ask(
                cx.id,
                Question {
                    gate: GateAt {
                        revision,
                        place: place.clone(),
                        name: gate.name,
                    },
                    kind: gate.kind,
                },
            ));
        }
        pass
    }

    fn gate_mut(&mut self, place: &GatePlace, name: &str) -> &mut GateRun {
        // Called only while there is a run; a run of its own otherwise, which nobody sees.
        let gates = match self.state.head.run.as_mut() {
            Some(run) => &mut run.gates,
            None => &mut self.nowhere,
        };
        let found = gates
            .iter()
            .position(|g| g.place == *place && g.name == name);
        let at = found.unwrap_or_else(|| {
            gates.push(GateRun {
                place: place.clone(),
                name: name.to_owned(),
                asked: None,
                answer: None,
                by: None,
                at: None,
            });
            gates.len() - 1
        });
        &mut gates[at]
    }

    /// Takes in an answer. What was not asked, or not of this revision, is no answer.
    pub(super) fn answer(&mut self, cx: &mut Ctx<'_>, at: &GateAt, answer: Answer) {
        let asked = |state: &RolloutState| {
            let run = state.head.run.as_ref()?;
            let known = state.gate_run(&at.place, &at.name)?;
            (run.active() && run.revision == at.revision && known.asked.is_some()).then_some(())
        };
        let gate = self.state.gates_at(&at.place);
        let Some(gate) = gate.iter().find(|g| g.name == at.name) else {
            return;
        };
        if asked(&self.state).is_none() {
            return;
        }
        let answer = match (answer, &gate.kind) {
            (Answer::Failed(why), GateKind::Webhook(hook)) if hook.abort_on_failure => {
                Answer::Abort(format!("cannot be asked: {why}"))
            }
            (_, GateKind::Approval { .. } | GateKind::Window(_)) => return,
            (answer, _) => answer,
        };
        let known = self.gate_mut(&at.place, &at.name);
        known.answer = Some(answer);
        known.at = Some(cx.t);
    }

    /// Approves a gate.
    pub(super) fn approve(
        &mut self,
        cx: &mut Ctx<'_>,
        at: &GateAt,
        by: String,
    ) -> Result<(), String> {
        let run = self.state.head.run.as_ref().filter(|run| run.active());
        let Some(run) = run else {
            return Err("no rollout is in progress".into());
        };
        if run.revision != at.revision {
            return Err(format!(
                "revision {} is in progress, not revision {}",
                run.revision.0, at.revision.0
            ));
        }
        let gates = self.state.gates_at(&at.place);
        let found = gates.iter().find(|g| g.name == at.name);
        if !found.is_some_and(|g| matches!(g.kind, GateKind::Approval { .. })) {
            return Err(format!("there is no approval gate {:?} there", at.name));
        }
        let known = self.gate_mut(&at.place, &at.name);
        if known.answer != Some(Answer::Go) {
            known.answer = Some(Answer::Go);
            known.by = Some(by);
            known.at = Some(cx.t);
        }
        Ok(())
    }

    /// The places whose gates matter now.
    pub(super) fn places(&self) -> Vec<GatePlace> {
        let mut places = vec![GatePlace::Rollout];
        if let Some(run) = &self.state.head.run {
            if let Some(at) = run.current() {
                let stage = &run.stages[at];
                places.push(match stage.began {
                    None => GatePlace::Before(stage.name.clone()),
                    Some(_) => GatePlace::After(stage.name.clone()),
                });
            }
            let begun = run.stages.iter().filter(|s| s.began.is_some());
            places.extend(begun.map(|s| GatePlace::Before(s.name.clone())));
        }
        places
    }

    /// When gates are to be looked at again: in engine time, and by the clock.
    pub(super) fn gates_wake(&self, now: Timestamp) -> (Option<Timestamp>, Option<Timestamp>) {
        let (mut engine, mut clock) = (None, None);
        let sooner = |to: &mut Option<Timestamp>, at: Timestamp| {
            *to = Some(to.map_or(at, |t: Timestamp| t.min(at)));
        };
        let active = self
            .state
            .head
            .run
            .as_ref()
            .is_some_and(|run| run.active() && !run.back && self.state.head.paused.is_none());
        if !active || self.state.config.suspended {
            return (None, None);
        }
        let finished = |place: &GatePlace| match (place, &self.state.head.run) {
            // After a stage nothing is asked before its members are through.
            (GatePlace::After(name), Some(run)) => run
                .stages
                .iter()
                .position(|s| s.name == *name)
                .is_some_and(|at| self.queue.lanes[at].here.is_empty()),
            _ => true,
        };
        for place in self.places().into_iter().filter(|p| finished(p)) {
            let begun = matches!(&place, GatePlace::Before(name) if self.state.head.run.as_ref()
                .is_some_and(|run| run.stages.iter().any(|s| s.name == *name && s.began.is_some())));
            for gate in self.state.gates_at(&place) {
                if let GateKind::Window(window) = &gate.kind {
                    if let WindowState::Closed(Some(next)) = window.state(now) {
                        sooner(&mut clock, next);
                    }
                } else if !begun && let Some(at) = self.state.asks(&place, gate) {
                    sooner(&mut engine, at);
                }
            }
        }
        (engine, clock)
    }
}
