//! Why a destination has what it has, and what it waits for: the same tests that the engine makes, said in words.

use atoll_kube::Timestamp;

use super::{Ordinal, PolicyId};

/// What a destination waits for.
#[derive(Debug, Clone, PartialEq)]
pub enum Waiting {
    /// Nothing: it has what it should have, healthy (or not reported as anything else).
    Nothing,
    /// The policy does not select it, and it has nothing of it.
    NotSelected,
    /// The policy is suspended.
    Suspended,
    /// It is away; it will queue when it returns.
    Away,
    /// There is content that waits to become a revision: until then, or (`None`) until somebody releases it.
    Release(Option<Timestamp>),
    /// No revision was completed yet and its stage has not begun; the current one is named.
    Stage {
        /// Its own stage, as far as it is known before it begins.
        own: Option<String>,
        /// The stage that must be complete first.
        current: String,
    },
    /// The rollout is paused.
    Paused(String),
    /// The rollout was given up.
    Aborted(String),
    /// A gate is closed.
    Gate {
        /// Its name.
        name: String,
        /// What it says.
        why: String,
        /// When it opens, if that is known.
        opens: Option<Timestamp>,
    },
    /// All slots of its stage are taken.
    Slots {
        /// In use.
        used: u64,
        /// The stage's limit.
        limit: u64,
    },
    /// The pace.
    Rate {
        /// Destinations in a minute, now.
        per_minute: f64,
    },
    /// A budget of the policy: so many of its group are unavailable.
    Budget {
        /// The group's label values.
        group: String,
        /// Unavailable.
        unavailable: u32,
        /// Allowed.
        allowed: u64,
    },
    /// A budget of the inventory: by whom it is used is not said.
    InventoryBudget {
        /// Its windows are closed until then.
        opens: Option<Timestamp>,
    },
    /// Another policy of the same objects holds it back.
    HeldBy(PolicyId),
    /// Its turn comes in this very step's successor: nothing holds it.
    Turn,
    /// It was sent, and is not healthy yet; it counts as failed then.
    Health {
        /// The progress deadline.
        deadline: Option<Timestamp>,
    },
    /// It is healthy and must stay so until then.
    Soak(Timestamp),
    /// It failed at what it has.
    Failed,
    /// It is to be emptied and waits for a slot.
    Leaving,
    /// It is to be emptied once a replacement is healthy.
    Retiring,
    /// Its removal is under way.
    Removing,
}

/// Why a destination has what it has.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The policy selects it.
    pub selected: bool,
    /// What it has, or may have been sent.
    pub assigned: Option<Ordinal>,
    /// What it should have as far as stages have got.
    pub target: Option<Ordinal>,
    /// Its stage, if that has begun.
    pub stage: Option<String>,
    /// Since when it holds its slot, or is as it is.
    pub since: Option<Timestamp>,
    /// What it waits for.
    pub waiting: Waiting,
}
