//! The whole, driven from outside: the real binary, stock clients, a genuine Kubernetes as an edge. One module for each thing a person can do.

mod harness;

mod center;
mod edges;
mod kill;
mod kubectl;
mod quickstart;
mod workspaces;
