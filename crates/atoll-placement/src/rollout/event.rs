//! The engine's doors: what happens, what is to be done about it, and what it must be able to ask.

use std::collections::BTreeSet;

use atoll_kube::Timestamp;

use super::delta::Delta;
use super::spec::{DisruptionBudget, GateKind, RolloutPolicy, StageSelector};
use super::{BudgetId, Ordinal, PolicyId};
use crate::Destinations;

/// What the engine asks of its caller, who has the inventory. Answers are functions of the log, so that the same history gives the same decisions.
pub trait Facts {
    /// Those of `among` that a stage's labels and expression choose (its percentage or count is the engine's own affair). A destination for which the expression fails is not chosen.
    fn choose(&self, selector: &StageSelector, among: &Destinations) -> Destinations;

    /// A destination's group by the values of some labels, such as `"eu-west/site-7"`. A label that it lacks is an empty value.
    fn group(&self, keys: &[String], destination: u32) -> String;

    /// Those of `among` that a DisruptionBudget covers: of its inventory, by its selector.
    fn covered(&self, budget: BudgetId, among: &Destinations) -> Destinations;

    /// A number that stays with a destination for life (from its uid): percentages are taken by it.
    fn stable(&self, destination: u32) -> u64;
}

/// What happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// Time passed. Whatever is due is done.
    Tick,
    /// Destinations are back, or away (after the grace). A destination that was never said to be here is away.
    Availability {
        /// Who is here.
        up: Destinations,
        /// Who is away.
        down: Destinations,
    },
    /// Labels, claims or annotations changed: groups, budgets and stages are read again for these. (That their copies render differently is said by
    /// [`PolicyEvent::Rerender`], that a policy selects them or not by [`PolicyEvent::Selected`].)
    Relabeled(Destinations),
    /// Destinations no longer exist: nothing of them is waited for.
    Gone(Destinations),
    /// An inventory's budget is new, changed, or (`None`) deleted.
    Budget(BudgetId, Option<DisruptionBudget>),
    /// Something about one policy.
    Policy(PolicyId, PolicyEvent),
}

/// What happened to one policy.
#[derive(Debug, Clone)]
pub enum PolicyEvent {
    /// The policy is new, or its settings changed. `source` is the RolloutPolicy's spec as JSON, kept so that a restart reads the same; `None` for none: every change at once.
    /// A spec that does not parse is never sent: the last good one stays.
    Settings {
        /// The policy's uid: percentages are taken by it.
        uid: String,
        /// Parsed.
        spec: Box<RolloutPolicy>,
        /// As written.
        source: Option<serde_json::Value>,
    },
    /// `spec.suspend` of the BindingPolicy: nothing is started while true.
    Suspended(bool),
    /// The selected content has this hash now (whatever it was). After `settle`, or when released, a revision is cut of it, unless it is the latest revision's.
    Content(String),
    /// The destinations that the policy selects changed: in one event, so that make-before-break sees a move whole.
    Selected {
        /// Who is new.
        joined: Destinations,
        /// Who left: their copies are to be removed, through the budgets.
        left: Destinations,
        /// Who left and keeps what it has: nothing is done there any more.
        released: Destinations,
    },
    /// The copies at these destinations would render differently now, at the same revision.
    Rerender(Destinations),
    /// What destinations say about the render that they are assigned.
    Reported(Report),
    /// Removals that these destinations confirmed.
    Removed(Destinations),
    /// A gate's answer.
    Answered(GateAt, Answer),
    /// Somebody wants something.
    Command(Command),
    /// The policies that share a payload object with this one (both ways: the caller tells both).
    Shares(BTreeSet<PolicyId>),
    /// The policy was deleted: its copies are removed through the budgets, or (`at_once`) without asking them, or left where they are.
    Deleted {
        /// Copies stay and stop being ours.
        orphan: bool,
        /// The workspace goes: no waiting for slots.
        at_once: bool,
    },
}

/// What destinations say about what they have. Only what names the render that the destination is assigned *now* belongs here (the caller compares render hashes; an
/// older report is no report). As a second lock, destinations that are assigned another revision are ignored.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The revision that was reported.
    pub revision: Option<Ordinal>,
    /// Every object of the bundle applied and observed, and all healthy.
    pub healthy: Destinations,
    /// Applied or on its way, not healthy yet (or no longer).
    pub progressing: Destinations,
    /// Failed: refused, not renderable, or degraded.
    pub failed: Destinations,
}

/// What a person (or a controller for them) asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Start nothing more of the revision in progress.
    Pause,
    /// Go on; failures up to now are forgiven.
    Resume,
    /// Go back to an earlier revision, by default the last completed one before the latest.
    Undo(Option<Ordinal>),
    /// Apply the same content anew everywhere, in stages.
    Restart,
    /// Answer an approval gate.
    Approve {
        /// Which.
        gate: GateAt,
        /// Who.
        by: String,
    },
    /// Stop the revision in progress for good: what has it keeps it.
    Abort,
    /// Cut the revision that `release: Manual` holds.
    Release,
}

/// Where in a rollout a gate stands.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub enum GatePlace {
    /// Before everything, and as long as it runs.
    Rollout,
    /// Before the stage of this name.
    Before(String),
    /// After the stage of this name.
    After(String),
}

/// One gate of one revision.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct GateAt {
    /// Of which revision.
    pub revision: Ordinal,
    /// Where.
    pub place: GatePlace,
    /// Its name there.
    pub name: String,
}

/// What a gate answers.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Answer {
    /// Open.
    Go,
    /// Not yet, because.
    Wait(String),
    /// Never: stop the rollout, because.
    Abort(String),
    /// It could not be asked (time-out, refused, an expression that fails): its failure policy decides.
    Failed(String),
}

/// What is asked of a gate.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// Which gate: the answer names it.
    pub gate: GateAt,
    /// How it is asked.
    pub kind: GateKind,
}

/// Why something is assigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// The first copies there.
    Install,
    /// Another revision.
    Update,
    /// The same revision, rendered with other properties.
    Rerender,
}

/// Destinations that may be sent a revision from now on.
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    /// Which.
    pub revision: Ordinal,
    /// Who.
    pub destinations: Destinations,
    /// Why.
    pub action: Action,
}

/// What is to be done once the step's deltas are durable. Doing it twice does no harm: after a restart [`super::Rollouts::resume`] says again what may have been lost.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Let these destinations have this.
    Assign(PolicyId, Assignment),
    /// Order the removal of the policy's copies there (a tombstone; not what other policies still cover), and say [`PolicyEvent::Removed`] when each confirmed.
    Remove(PolicyId, Destinations),
    /// A revision was cut: keep what is selected now (or, for one that goes back, what `of` had) under this ordinal. This one is carried out in the very append that holds the deltas: a
    /// revision without content would be lost.
    Cut {
        /// Whose.
        policy: PolicyId,
        /// The new ordinal.
        revision: Ordinal,
        /// Whose content it has, when it goes back.
        of: Option<Ordinal>,
        /// Give it content of its own although it is the same (a restart).
        restart: bool,
    },
    /// A revision that nobody has and history no longer keeps.
    Forget(PolicyId, Ordinal),
    /// Ask a gate and say [`PolicyEvent::Answered`].
    Ask(PolicyId, Question),
    /// The policy's rollouts read differently (phase, stage, what is waited for): write their status.
    Changed(PolicyId),
    /// The policy is deleted and nothing of it is left: drop its state.
    Finished(PolicyId),
}

/// The answer to an event.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Step {
    /// To be appended to the log, in one append, before any effect.
    pub deltas: Vec<(PolicyId, Delta)>,
    /// To be done then.
    pub effects: Vec<Effect>,
    /// When to send [`Event::Tick`] at the latest, if nothing happens before.
    pub wake: Option<Timestamp>,
    /// Why a command was not carried out, for whoever gave it.
    pub refused: Option<String>,
}
