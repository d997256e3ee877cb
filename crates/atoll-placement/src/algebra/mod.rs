//! The status algebra: any reduction over all copies of an object, exact and live at a million destinations.
//!
//! A [`Collector`] is what a StatusCollector asks. Its [`Evaluator`] runs each expression once for each distinct set of values it reads. An [`Aggregate`] is its state over the copies of
//! one object that one policy placed: a report takes the old outcome out and puts the new one in, so that the state always equals a recomputation (invariant 7). It shows a
//! [`Table`], and hands on a [`Partial`] that a center above merges with those of its other hubs. [`combined_status`] writes all tables of an object as KubeStellar's CombinedStatus.
//!
//! ```text
//! report: (object, old projection -> new projection, destinations)
//!    -> Evaluator: old outcome, new outcome (remembered)
//!    -> Aggregate: groups -> multisets, sums, sketches          -> Table   -> CombinedStatus
//!                  selection -> bitmap; errors -> bitmaps       -> Partial -> merged above
//! ```
//!
//! | module | its question |
//! |---|---|
//! | [`collector`], `parse` | what is asked, and is it well formed? |
//! | [`keep`] | which parts of a status must a projection keep, that it would leave out? |
//! | [`inputs`] | what goes in: projections, objects, the roster of destinations |
//! | [`memo`] | what does a collector make of one copy? |
//! | [`aggregate`] | what does it make of all, after this change? |
//! | [`board`] | which aggregates does a change concern? |
//! | [`accumulate`], [`number`], [`sketch`] | what is kept of a group: exact numbers, and estimates |
//! | [`select`] | which rows come first? |
//! | [`partial`], `wire` | what is handed on, and as which bytes? |
//! | [`table`], [`combined`], [`cell`] | what is shown? |

pub mod accumulate;
pub mod aggregate;
pub mod board;
pub mod cell;
pub mod collector;
pub mod combined;
pub mod inputs;
pub mod keep;
pub mod memo;
pub mod number;
mod parse;
pub mod partial;
pub mod select;
pub mod sketch;
pub mod table;
mod wire;

#[cfg(test)]
mod tests;

pub use aggregate::{Aggregate, Limits, Reported};
pub use board::{Board, Copies, Entry, View};
pub use cell::Cell;
pub use collector::Collector;
pub use combined::{About, combined_status};
pub use inputs::{PlainRoster, Projection, Projections, Roster, Sample, Subject};
pub use keep::Keep;
pub use memo::{Evaluator, EvaluatorStats};
pub use partial::{Coverage, Partial};
pub use table::Table;
