//! How objects change: the four kinds of patch, and who owns which field afterwards.
//!
//! [`json`], [`merge()`] and [`strategic`] turn an object and a patch into a new object. Server-side apply and the record
//! of every write are in [`managed`]: [`managed::on_create`], [`managed::on_update`] and [`managed::on_apply`] keep
//! `metadata.managedFields` as Kubernetes does. All of it is pure: objects are JSON values, time is an argument, and a
//! refusal is a Status. Version conversion is not done here: a field set is taken to mean the same at every version of
//! a kind, only its `apiVersion` is kept.

mod conflict;
pub mod entries;
pub mod fieldset;
mod json;
pub mod managed;
mod merge;
mod order;
mod ownership;
pub mod path;
pub mod scale;
mod strategic;
mod typed;
mod typing;

#[cfg(test)]
mod tests;

pub use json::{MAX_COPIED, MAX_OPERATIONS, json};
pub use merge::merge;
pub use strategic::strategic;
