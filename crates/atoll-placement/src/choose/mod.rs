//! Who gets it: from an inventory of destinations to the set that a policy chooses, and why a destination is not in it.
//!
//! Two steps. [`candidates`] keeps, destination by destination, who *may* be chosen: label selectors, expressions, taints. [`pick`] takes as many of them as the
//! policy asks for, spread as it asks, best scores first. Always true: the same inputs, the previous choice included, give the same choice; a change moves
//! the fewest copies; whoever is away stays chosen; and an expression that fails for a destination neither adds nor removes it.
//!
//! | module | its question |
//! |---|---|
//! | [`spec`] | what does the policy ask for? |
//! | [`signal`] | which live values are there, and until when do they count? |
//! | [`taint`] | whom do taints keep away? |
//! | [`expression`] | for whom does an expression hold, asked once per distinct input? |
//! | [`candidates`] | who may be chosen? |
//! | [`pick`] | who is chosen? |
//! | [`why`] | why is one not? |

pub mod candidates;
pub mod expression;
pub mod pick;
pub mod signal;
pub mod spec;
pub mod taint;
pub mod why;

pub use candidates::{Candidates, Refusal};
pub use pick::{Choice, Field, pick};
pub use spec::{Affinity, Score, ScoreSource, Spread, Where};
