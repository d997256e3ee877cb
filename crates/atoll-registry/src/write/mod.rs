//! The writing half.
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod patch;
pub(crate) mod scale;
pub(crate) mod seed;
pub(crate) mod update;
