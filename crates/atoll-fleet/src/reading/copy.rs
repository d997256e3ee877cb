//! How one copy is: the state that counts in summaries, for one object at one destination, with the reason.

use atoll_kube::Timestamp;
use atoll_placement::Destination;
use atoll_placement::health::Health;
use atoll_placement::place::ObjectIndex;
use atoll_placement::summary::Standing;
use atoll_wire::ErrorKind;
use serde_json::{Map, Value, json};

use crate::model::{DesiredCopy, World};

/// How a copy is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum State {
    /// Applied as it should be.
    Current(Health),
    /// Something older is applied.
    Outdated,
    /// Not applied: why, in the edge's words.
    Failed(ErrorKind, String),
    /// It cannot be made for this destination.
    RenderFailed(String),
    /// Nothing was reported about it.
    Unreported,
    /// It is to be removed, which the edge has not confirmed; what prevents it, if anything does.
    BeingRemoved(Option<String>),
    /// It is to be let go, which the edge has not confirmed.
    BeingReleased,
    /// It is not there, and should not be.
    Absent,
}

impl State {
    /// How one copy is now.
    pub(super) fn of(
        world: &World,
        object: ObjectIndex,
        destination: Destination,
        desired: Option<&DesiredCopy>,
    ) -> State {
        let Some(desired) = desired else {
            return match world.tombstones.get(&object) {
                Some(t) if t.remove.contains(destination.0) => {
                    let blocked = world.blocked.get(&destination);
                    State::BeingRemoved(blocked.and_then(|b| b.get(&object)).cloned())
                }
                Some(t) if t.orphan.contains(destination.0) => State::BeingReleased,
                _ => State::Absent,
            };
        };
        if let Some(Err(error)) = world.rendered_at(destination, desired) {
            return State::RenderFailed(error.to_string());
        }
        let reported = world.reported_at(object, destination).map(AsRef::as_ref);
        match (desired.judge(reported), reported) {
            (Standing::Unreported, _) => State::Unreported,
            (Standing::Outdated, _) => State::Outdated,
            (Standing::Failed, Some(value)) => {
                let kind = ErrorKind::try_from(i32::from(value.error)).unwrap_or(ErrorKind::Other);
                State::Failed(kind, value.message.to_string())
            }
            (Standing::Failed, None) => State::Unreported,
            (Standing::Progressing, _) => State::Current(Health::Progressing),
            (Standing::Degraded, _) => State::Current(Health::Degraded),
            (Standing::Healthy, _) => State::Current(Health::Healthy),
        }
    }

    /// The word that summaries count by.
    pub(super) fn word(&self) -> &'static str {
        match self {
            State::Current(_) => "Current",
            State::Outdated => "Outdated",
            State::Failed(..) | State::RenderFailed(_) => "Failed",
            State::Unreported => "Unreported",
            State::BeingRemoved(_) => "BeingRemoved",
            State::BeingReleased => "BeingReleased",
            State::Absent => "Absent",
        }
    }

    /// Writes itself into an answer.
    pub(super) fn show(&self, into: &mut Map<String, Value>) {
        into.insert("state".into(), self.word().into());
        match self {
            State::Current(health) => {
                into.insert("health".into(), json!(format!("{health:?}")));
            }
            State::Failed(kind, message) => {
                into.insert("error".into(), kind.to_string().into());
                into.insert("message".into(), message.clone().into());
            }
            State::RenderFailed(message) => {
                into.insert("error".into(), "RenderFailed".into());
                into.insert("message".into(), message.clone().into());
            }
            State::BeingRemoved(Some(why)) => {
                into.insert("message".into(), why.clone().into());
            }
            _ => {}
        }
    }

    /// What is awaited, in words; `None` when nothing is.
    pub(super) fn awaited(&self, world: &World, destination: Destination) -> Option<String> {
        let away = !world.connected.contains(destination.0);
        let present = match self {
            State::Current(Health::Healthy) | State::Absent => return None,
            State::Current(Health::Progressing) => "it is applied, and to become healthy",
            State::Current(Health::Degraded) => {
                "it is applied and does not get well by itself: see its status"
            }
            State::Outdated => "the edge has to apply the newest render",
            State::Failed(ErrorKind::Immutable, _) => {
                "a field that cannot change was changed: annotate the object with edge.atoll.dev/replace: \"true\" to have the copy made anew"
            }
            State::Failed(..) => "the edge tries again; the message says what it answered",
            State::RenderFailed(_) => {
                "what cannot be made is not sent: the last good copy stays until it can"
            }
            State::Unreported => "the edge has not reported it yet",
            State::BeingRemoved(Some(_)) => "something at the edge prevents its removal",
            State::BeingRemoved(None) => "the edge has to confirm its removal",
            State::BeingReleased => "the edge has to confirm that it let it go",
        };
        if !away || matches!(self, State::Current(_) | State::RenderFailed(_)) {
            return Some(present.to_owned());
        }
        let state = world.destinations.get(&destination);
        let seen = state.map(|d| d.last_seen).filter(|at| *at > 0);
        let seen = seen.map_or(String::new(), |at| {
            format!(", last heard of at {}", Timestamp(at).rfc3339())
        });
        Some(format!("the edge is away{seen}: {present} when it returns"))
    }
}
