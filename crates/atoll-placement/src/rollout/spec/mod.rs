//! RolloutPolicy.spec and DisruptionBudget.spec, parsed once and checked whole.
//!
//! Parsing is total: all that is wrong is said at once, each with the path of its field. What parses can be run: every limit lets something happen, every stage can have members,
//! every window opens some day. Expressions are checked by the caller's compiler, so that this module knows no CEL.

pub mod budget;
pub mod cron;
pub mod parse;
mod read;

use std::time::Duration;

use atoll_kube::selector::LabelSelector;

pub use cron::{Window, WindowState};

/// So many, or a share of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// So many.
    Count(u32),
    /// So many percent.
    Percent(u8),
}

impl Amount {
    /// Of `total`, a share rounded up: 10 % of 3 is 1. For what may be worked on at a time: a share is never nothing.
    pub fn ceil(self, total: u64) -> u64 {
        match self {
            Amount::Count(count) => u64::from(count),
            Amount::Percent(percent) => (total * u64::from(percent)).div_ceil(100),
        }
    }

    /// Of `total`, a share rounded down: 10 % of 3 is 0. For what may go wrong.
    pub fn floor(self, total: u64) -> u64 {
        match self {
            Amount::Count(count) => u64::from(count),
            Amount::Percent(percent) => total * u64::from(percent) / 100,
        }
    }
}

/// How fast, how sure, and how much may go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// How many destinations may hold a slot at a time; `None` is all.
    pub concurrency: Option<Amount>,
    /// How long a destination must be healthy before its slot is free.
    pub soak: Duration,
    /// How long a destination may take to become healthy before it counts as failed.
    pub deadline: Option<Duration>,
    /// How many may count as failed.
    pub failures: Option<Amount>,
}

/// The part of a stage's members that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Portion {
    /// All that match.
    All,
    /// Until this share of those that match has been reached, members of earlier stages included: 10 and then 50 means half of all after the second.
    Percent(u8),
    /// So many of those that match and belong to no earlier stage.
    Count(u32),
}

/// Which destinations match a stage. Both must hold; without either, all match.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StageSelector {
    /// By labels.
    pub labels: Option<LabelSelector>,
    /// By a CEL expression over the destination.
    pub expression: Option<String>,
}

impl StageSelector {
    /// Whether every destination matches.
    pub fn is_everything(&self) -> bool {
        self.expression.is_none()
            && self
                .labels
                .as_ref()
                .is_none_or(LabelSelector::is_everything)
    }
}

/// A step of a rollout.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// Who matches.
    pub selector: StageSelector,
    /// How many of them.
    pub portion: Portion,
    /// Its limits, defaults filled in.
    pub limits: Limits,
    /// What must open before it begins.
    pub before: Vec<Gate>,
    /// What must open before the next one begins.
    pub after: Vec<Gate>,
}

/// How a gate is asked.
#[derive(Debug, Clone, PartialEq)]
pub enum GateKind {
    /// A person says yes.
    Approval {
        /// Who may; empty is whoever may update the Rollout.
        groups: Vec<String>,
    },
    /// An expression over live summaries, signals and the clock is true.
    Expression {
        /// CEL.
        source: String,
        /// How often it is asked.
        every: Duration,
    },
    /// Somebody else's service says yes.
    Webhook(Webhook),
    /// The time is right.
    Window(Window),
}

/// A gate that is asked by HTTP.
#[derive(Debug, Clone, PartialEq)]
pub struct Webhook {
    /// Where.
    pub url: String,
    /// Whom to believe, as PEM in base64.
    pub ca_bundle: Option<String>,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How often it is asked until it says go.
    pub every: Duration,
    /// Stop the rollout when it cannot be asked, instead of asking again.
    pub abort_on_failure: bool,
}

/// Something that must be open.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// Its name, unique where it stands.
    pub name: String,
    /// How it is asked.
    pub kind: GateKind,
}

/// No more than so many unavailable at a time among those with equal values of some labels.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupBudget {
    /// The labels; none is one group of all.
    pub group_by: Vec<String>,
    /// How many; a share is of the group, rounded up.
    pub max_unavailable: Amount,
}

/// A pace that grows with success.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Destinations started in a minute, at first.
    pub base_per_minute: u32,
    /// By what the pace is multiplied each time as many succeeded as one minute's pace.
    pub factor: f64,
    /// The fastest.
    pub max: Option<u32>,
}

/// When a rollout is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abort {
    /// This many percent of those that finished failed.
    pub failure_share: u8,
    /// And at least so many finished.
    pub min_observed: u32,
}

/// What is done when more failed than a stage allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// Start nothing more until somebody resumes.
    #[default]
    Pause,
    /// Go back to the last completed revision.
    Rollback,
    /// Go on.
    Continue,
}

/// What a stage does about destinations that are away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Offline {
    /// It is complete without them; they catch up when they return.
    #[default]
    Skip,
    /// It is complete only when they returned and were updated.
    Wait,
}

/// When a revision is cut.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Release {
    /// When the selected objects have been quiet.
    #[default]
    Automatic,
    /// When somebody says so: each new value of `releaseRevision` says it.
    Manual(Option<String>),
}

/// A health rule: CEL over a copy's status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthRule {
    /// API group; `None` is any.
    pub group: Option<String>,
    /// Plural name; `None` is any.
    pub resource: Option<String>,
    /// CEL.
    pub expression: String,
}

/// A parsed RolloutPolicy.spec.
#[derive(Debug, Clone, PartialEq)]
pub struct RolloutPolicy {
    /// The stages that were written.
    pub stages: Vec<Stage>,
    /// The limits of all that is in no written stage: the implied last one.
    pub rest: Limits,
    /// Disruption budgets of this policy.
    pub budgets: Vec<GroupBudget>,
    /// Pace.
    pub rate: Option<Rate>,
    /// When to give up.
    pub abort: Option<Abort>,
    /// What must be open before and while a revision is rolled out.
    pub gates: Vec<Gate>,
    /// Health rules beyond the built-in ones.
    pub healthy: Vec<HealthRule>,
    /// Too many failures.
    pub on_failure: OnFailure,
    /// Destinations that are away.
    pub offline: Offline,
    /// How long the selected objects must be quiet.
    pub settle: Duration,
    /// When a revision is cut.
    pub release: Release,
    /// New copies first, then the old ones go.
    pub make_before_break: bool,
    /// How many earlier revisions are kept.
    pub history: usize,
}

impl RolloutPolicy {
    /// What holds for a policy without a RolloutPolicy: every change at once, everywhere, whatever comes of it.
    pub fn at_once() -> Self {
        Self {
            stages: Vec::new(),
            rest: Limits::default(),
            budgets: Vec::new(),
            rate: None,
            abort: None,
            gates: Vec::new(),
            healthy: Vec::new(),
            on_failure: OnFailure::Continue,
            offline: Offline::Skip,
            settle: Duration::ZERO,
            release: Release::Automatic,
            make_before_break: false,
            history: DEFAULT_HISTORY,
        }
    }

    /// Whether it holds anything back: if not, it also holds back no other policy of the same object.
    pub fn is_at_once(&self) -> bool {
        *self == Self::at_once()
    }
}

/// A parsed DisruptionBudget.spec.
#[derive(Debug, Clone, PartialEq)]
pub struct DisruptionBudget {
    /// Who is covered.
    pub selector: LabelSelector,
    /// How many of each group.
    pub budget: GroupBudget,
    /// Only then; always when empty.
    pub windows: Vec<Window>,
}

/// Revisions kept.
pub const DEFAULT_HISTORY: usize = 10;
/// How long the selected objects must be quiet.
pub const DEFAULT_SETTLE: Duration = Duration::from_secs(2);
/// How often gates are asked.
pub const DEFAULT_EVERY: Duration = Duration::from_secs(30);
/// How long a webhook may take.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// The name of the implied last stage.
pub const REST: &str = "rest";

/// Where an expression stands: what it can read differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Site {
    /// `stages[].expression`: over the destination; a boolean.
    Stage,
    /// `gates[].expression`: over summaries, signals and the clock; a boolean.
    Gate,
    /// `healthy[]`: over a copy's status; a boolean.
    Healthy,
}

/// Compiles an expression: what is wrong with it, in words with its position, or nothing.
pub type CheckExpression<'a> = &'a dyn Fn(Site, &str) -> Result<(), String>;
