//! What people ask for, with `kubectl rollout`'s habits: what cannot be done is refused in words, and changes nothing.

use super::Ordinal;
use super::engine::{Ctx, Policy};
use super::event::Command;
use super::state::{Cause, Pause, Phase};

impl Policy {
    /// Carries out a command, or says why not.
    pub(super) fn command(&mut self, cx: &mut Ctx<'_>, command: Command) -> Result<(), String> {
        if self.state.config.deleted.is_some() {
            return Err("the policy is being deleted".into());
        }
        let active = self.state.head.run.as_ref().is_some_and(|run| run.active());
        match command {
            Command::Pause => {
                if self.state.head.paused.as_ref().is_some_and(|p| p.asked) {
                    return Err("it is paused already".into());
                }
                self.state.head.paused = Some(Pause {
                    asked: true,
                    why: "paused by request".into(),
                    since: cx.t,
                });
                Ok(())
            }
            Command::Resume => {
                if self.state.head.paused.take().is_none() {
                    return Err("it is not paused".into());
                }
                // What failed so far was seen by whoever resumes.
                if let Some(run) = self.state.head.run.as_mut() {
                    for (stage, lane) in run.stages.iter_mut().zip(&self.queue.lanes) {
                        stage.forgiven = lane.failed.len();
                    }
                }
                Ok(())
            }
            Command::Undo(to) => {
                let to = self.undo_target(to)?;
                if active {
                    self.end(cx, Phase::RolledBack, "undone by request");
                }
                self.go_back(cx, to);
                Ok(())
            }
            Command::Restart => {
                let latest = self.state.head.run.as_ref().map(|run| run.revision);
                let Some(content) = latest
                    .and_then(|r| self.state.revision(r))
                    .map(|r| r.content.clone())
                else {
                    return Err("there is nothing to restart".into());
                };
                // The content as such, without the marks of earlier restarts.
                let plain = content.split('+').next().unwrap_or_default();
                let next = self.state.config.latest + 1;
                self.cut(cx, format!("{plain}+{next}"), Cause::Restart);
                Ok(())
            }
            Command::Approve { gate, by } => self.approve(cx, &gate, by),
            Command::Abort if active => {
                self.end(cx, Phase::Aborted, "aborted by request");
                Ok(())
            }
            Command::Abort => Err("no rollout is in progress".into()),
            Command::Release => {
                if self.state.head.pending.is_none() {
                    return Err("there is nothing to release".into());
                }
                self.state.head.released = true;
                Ok(())
            }
        }
    }

    fn undo_target(&self, to: Option<Ordinal>) -> Result<Ordinal, String> {
        let now = self.state.head.run.as_ref().map(|run| run.revision);
        let now = now.and_then(|r| self.state.revision(r));
        let Some(now) = now else {
            return Err("there is no revision to go back from".into());
        };
        if let Some(to) = to {
            let Some(kept) = self.state.revision(to) else {
                return Err(format!("revision {} is not kept", to.0));
            };
            if kept.content == now.content {
                return Err(format!("revision {} is what is wanted already", to.0));
            }
            return Ok(to);
        }
        let earlier = self.state.config.revisions.iter().rev().find(|r| {
            r.ordinal < now.ordinal && r.phase == Phase::Completed && r.content != now.content
        });
        let Some(earlier) = earlier else {
            return Err("no earlier revision was completed".into());
        };
        Ok(earlier.ordinal)
    }
}
