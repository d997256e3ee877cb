//! Too much goes wrong: pause, go back, or go on.
//!
//! Always true: a rollback is never rolled back, and a failure is never forgiven but by a person who resumes.

use super::Ordinal;
use super::engine::{Ctx, Policy};
use super::spec::OnFailure;
use super::state::{Cause, Pause, Phase};

impl Policy {
    /// Looks whether a stage, or the whole, failed too often.
    pub(super) fn check_failures(&mut self, cx: &mut Ctx<'_>) {
        let Some(run) = self.state.head.run.as_ref().filter(|run| run.active()) else {
            return;
        };
        if self.state.config.deleted.is_some() {
            return;
        }
        let mut failed = 0;
        let mut exceeded = None;
        for (stage, lane) in run.stages.iter().zip(&self.queue.lanes) {
            let here = lane.failed.len();
            failed += here;
            if let Some(limit) = lane.limits.failures {
                let allowed = limit.floor(lane.members.len()) + stage.forgiven;
                if here > allowed {
                    exceeded.get_or_insert_with(|| {
                        format!("{here} failed in stage {}, {allowed} may", stage.name)
                    });
                }
            }
        }
        let observed = run.succeeded + failed;
        let hopeless = self.state.spec.abort.filter(|abort| {
            observed >= u64::from(abort.min_observed)
                && failed * 100 >= observed * u64::from(abort.failure_share)
                && failed > 0
        });
        if hopeless.is_some() && !run.back {
            let why = format!("{failed} of {observed} failed");
            self.give_up(cx, &why);
            return;
        }
        let Some(why) = exceeded else { return };
        match self.state.spec.on_failure {
            OnFailure::Continue => {}
            OnFailure::Rollback if !run.back && self.earlier().is_some() => self.give_up(cx, &why),
            OnFailure::Pause | OnFailure::Rollback => {
                if self.state.head.paused.is_none() {
                    self.state.head.paused = Some(Pause {
                        asked: false,
                        why,
                        since: cx.t,
                    });
                }
            }
        }
    }

    /// Gives the revision in progress up: goes back if failures are to do that, stops for good otherwise.
    pub(super) fn give_up(&mut self, cx: &mut Ctx<'_>, why: &str) {
        let back = match self.state.spec.on_failure {
            OnFailure::Rollback => self.earlier(),
            OnFailure::Pause | OnFailure::Continue => None,
        };
        let Some(run) = self.state.head.run.as_ref().filter(|run| run.active()) else {
            return;
        };
        let back = back.filter(|_| !run.back);
        let phase = if back.is_some() {
            Phase::RolledBack
        } else {
            Phase::Aborted
        };
        self.end(cx, phase, why);
        if let Some(to) = back {
            self.go_back(cx, to);
        }
    }

    /// Ends the run for good.
    pub(super) fn end(&mut self, cx: &mut Ctx<'_>, phase: Phase, why: &str) {
        let Some(run) = self.state.head.run.as_mut() else {
            return;
        };
        run.phase = phase;
        let revision = run.revision;
        if let Some(info) = self.state.revision_mut(revision) {
            info.phase = phase;
            info.ended = Some(cx.t);
            info.message = Some(why.to_owned());
        }
        self.state.head.paused = None;
    }

    /// The last completed revision, if it is another than the one in progress.
    fn earlier(&self) -> Option<Ordinal> {
        let base = self.state.head.base?;
        let run = self.state.head.run.as_ref()?;
        let kept = self.state.revision(base)?;
        let now = self.state.revision(run.revision)?;
        (kept.content != now.content).then_some(base)
    }

    /// Cuts a revision with the content of an earlier one.
    pub(super) fn go_back(&mut self, cx: &mut Ctx<'_>, to: Ordinal) {
        let Some(content) = self.state.revision(to).map(|r| r.content.clone()) else {
            return;
        };
        // A person's pause was about the revision that is left.
        self.state.head.paused = None;
        self.cut(cx, content, Cause::Back(to));
    }
}
