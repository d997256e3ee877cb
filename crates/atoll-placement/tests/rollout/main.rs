//! The rollout engine against a simple model, destination by destination, over random histories.

mod history;
mod model;
mod specs;
mod stories;
mod world;
