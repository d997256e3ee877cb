//! The whole, driven from outside: the real binary, stock clients, a genuine Kubernetes as an edge. One module for each thing a person can do.

#![allow(clippy::expect_used, clippy::unwrap_used)] // what goes wrong in a helper fails the test
#![allow(unreachable_pub)] // one test binary: every module is seen by all others

mod harness;

mod accounts;
mod backup;
mod center;
mod copies;
mod docs;
mod edges;
mod informers;
mod isolation;
mod kill;
mod kubectl;
mod plugins;
mod quickstart;
mod rollouts;
mod rules;
mod simulate;
mod workspaces;
