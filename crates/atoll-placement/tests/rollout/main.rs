//! The rollout engine against a simple model, destination by destination, over random histories.

#![allow(clippy::expect_used, reason = "a test may fail by it")]

mod history;
mod model;
mod slots;
mod specs;
mod stage;
mod stories;
mod world;
