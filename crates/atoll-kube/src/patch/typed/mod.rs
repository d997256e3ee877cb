//! Objects seen through their schema, field by field: which fields an object has, how two objects differ, how one is
//! merged into another, how fields are taken out, and whether an object fits its schema.
//!
//! All walks are total: a list whose items cannot be told apart is one leaf, a value of a wrong kind is compared as it
//! is. Only [`validate`] complains, in Kubernetes' words, and only server-side apply asks it.

mod compare;
mod fields;
mod merge;
mod remove;
mod validate;

pub(crate) use compare::{Comparison, compare};
pub(crate) use fields::{collapse_atomics, fields, with_named_parents};
pub(crate) use merge::merge_into;
pub(crate) use remove::{Hollow, remove};
pub(crate) use validate::validate;
