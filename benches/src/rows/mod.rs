//! The rows of the table: each measures one promise, on a system of its own.

mod deletion;
mod edge;
mod objects;
mod start;
mod watches;
mod workspaces;

use std::time::Duration;

use crate::{system::Bench, table::Figure};

/// How much of everything.
#[derive(Debug, Clone)]
pub(crate) struct Sizes {
    /// How long a process is left alone before its memory is read.
    pub(crate) settle: Duration,
    pub(crate) workspaces: usize,
    pub(crate) million: usize,
    pub(crate) creates: usize,
    pub(crate) gets: usize,
    pub(crate) watchers: usize,
    /// Events to all watchers.
    pub(crate) events: usize,
    pub(crate) watches: usize,
    pub(crate) applies: usize,
    pub(crate) idle: Duration,
}

/// A row, or a few that share their preparation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Row {
    Start,
    Workspaces,
    Deletion,
    Million,
    Objects,
    SlowDisk,
    Watchers,
    Watches,
    Edge,
    Agent,
}

impl Row {
    pub(crate) const ALL: [Row; 10] = [
        Row::Start,
        Row::Workspaces,
        Row::Deletion,
        Row::Million,
        Row::Objects,
        Row::SlowDisk,
        Row::Watchers,
        Row::Watches,
        Row::Edge,
        Row::Agent,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Row::Start => "start",
            Row::Workspaces => "workspaces",
            Row::Deletion => "deletion",
            Row::Million => "million",
            Row::Objects => "objects",
            Row::SlowDisk => "slow-disk",
            Row::Watchers => "watchers",
            Row::Watches => "watches",
            Row::Edge => "edge",
            Row::Agent => "agent",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Row> {
        Row::ALL.into_iter().find(|row| row.name() == name)
    }

    pub(crate) async fn measure(self, bench: &Bench) -> anyhow::Result<Vec<Figure>> {
        match self {
            Row::Start => start::measure(bench).await,
            Row::Workspaces => workspaces::ten_thousand(bench).await,
            Row::Deletion => deletion::measure(bench).await,
            Row::Million => workspaces::million(bench).await,
            Row::Objects => objects::measure(bench).await,
            Row::SlowDisk => objects::slow_disk(bench).await,
            Row::Watchers => watches::one_event(bench).await,
            Row::Watches => watches::many(bench).await,
            Row::Edge => edge::latency(bench).await,
            Row::Agent => edge::agent(bench).await,
        }
    }
}
