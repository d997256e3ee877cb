//! The writing half. Every write goes the same way: decode, resolve, prune and default, admission, validation, the
//! record of who wrote what, one append. What lost a race starts over from a fresh snapshot.

pub(crate) mod attempt;
pub(crate) mod body;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod dependents;
pub(crate) mod modify;
mod part;
pub(crate) mod patch;
mod rules;
pub(crate) mod scale;
pub(crate) mod seed;
pub(crate) mod strategy;
pub(crate) mod update;
mod warnings;
