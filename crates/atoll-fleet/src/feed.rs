//! What computed kinds changed lately: a bounded memory of (revision, what), and a bell.
//!
//! A watch of a computed kind from revision R replays what changed since; when that is no longer remembered, or R is from before this start, it answers 410 and the client lists again.

use std::collections::VecDeque;

use atoll_placement::place::ObjectIndex;
use atoll_placement::{Destination, Destinations};
use atoll_store::Revision;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::model::PolicyIndex;

/// How many changes are remembered at most.
const REMEMBERED: usize = 4096;
/// How much memory they may take: fewer are remembered when they concern very many destinations.
const REMEMBERED_BYTES: usize = 8 << 20;

/// One change.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// Copies of an object at some destinations: what should be there, or what was reported.
    Copies {
        object: ObjectIndex,
        destinations: Destinations,
    },
    /// A policy's binding.
    Policy(PolicyIndex),
    /// What collectors make of an object under a policy.
    Combined {
        object: ObjectIndex,
        policy: PolicyIndex,
    },
    /// An object that was born at a destination.
    Born { destination: Destination, id: u32 },
}

impl Change {
    /// About how much memory it takes.
    fn bytes(&self) -> usize {
        match self {
            Change::Copies { destinations, .. } => 64 + destinations.serialized_size(),
            Change::Policy(_) | Change::Combined { .. } | Change::Born { .. } => 64,
        }
    }
}

#[derive(Default)]
struct Log {
    changes: VecDeque<(u64, Revision, Change)>,
    next: u64,
    bytes: usize,
    /// Everything after this revision is remembered.
    complete_after: Revision,
}

/// The memory.
pub(crate) struct Feed {
    log: Mutex<Log>,
    bell: watch::Sender<u64>,
}

/// Changes since a position were forgotten.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Forgotten {
    pub(crate) oldest: Revision,
}

impl Feed {
    pub(crate) fn new() -> Self {
        Feed {
            log: Mutex::new(Log::default()),
            bell: watch::Sender::new(0),
        }
    }

    /// Called once, when the picture of the world is complete.
    pub(crate) fn begin(&self, at: Revision) {
        self.log.lock().complete_after = at;
    }

    pub(crate) fn copies(
        &self,
        object: ObjectIndex,
        destinations: &Destinations,
        revision: Revision,
    ) {
        if !destinations.is_empty() {
            self.push(
                Change::Copies {
                    object,
                    destinations: destinations.clone(),
                },
                revision,
            );
        }
    }

    pub(crate) fn policy(&self, policy: PolicyIndex, revision: Revision) {
        self.push(Change::Policy(policy), revision);
    }

    pub(crate) fn combined(&self, object: ObjectIndex, policy: PolicyIndex, revision: Revision) {
        self.push(Change::Combined { object, policy }, revision);
    }

    pub(crate) fn born(&self, destination: Destination, id: u32, revision: Revision) {
        self.push(Change::Born { destination, id }, revision);
    }

    fn push(&self, change: Change, revision: Revision) {
        let next = {
            let mut log = self.log.lock();
            let position = log.next;
            log.next += 1;
            log.bytes += change.bytes();
            log.changes.push_back((position, revision, change));
            while log.changes.len() > REMEMBERED
                || log.bytes > REMEMBERED_BYTES && log.changes.len() > 1
            {
                let Some((_, forgotten, change)) = log.changes.pop_front() else {
                    break;
                };
                log.bytes -= change.bytes();
                log.complete_after = log.complete_after.max(forgotten);
            }
            log.next
        };
        self.bell.send_replace(next);
    }

    /// The position behind everything that happened.
    pub(crate) fn position(&self) -> u64 {
        self.log.lock().next
    }

    /// The position from which everything after a revision is seen.
    pub(crate) fn position_after(&self, revision: Revision) -> Result<u64, Forgotten> {
        let log = self.log.lock();
        if revision < log.complete_after {
            return Err(Forgotten {
                oldest: log.complete_after,
            });
        }
        // What was entered at this very revision may be newer than what the client saw: it is told again.
        Ok(log
            .changes
            .iter()
            .find(|(_, r, _)| *r >= revision)
            .map_or(log.next, |(position, _, _)| *position))
    }

    /// What happened from a position on, and the position behind it.
    pub(crate) fn since(&self, position: u64) -> Result<(Vec<(Revision, Change)>, u64), Forgotten> {
        let log = self.log.lock();
        let first = log.next - log.changes.len() as u64;
        if position < first {
            return Err(Forgotten {
                oldest: log.complete_after,
            });
        }
        let skip = usize::try_from(position - first).unwrap_or(usize::MAX);
        Ok((
            log.changes
                .iter()
                .skip(skip)
                .map(|(_, r, c)| (*r, c.clone()))
                .collect(),
            log.next,
        ))
    }

    /// Rings when something happened.
    pub(crate) fn bell(&self) -> watch::Receiver<u64> {
        self.bell.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_sees_everything_after_its_revision_or_says_that_it_cannot() {
        let feed = Feed::new();
        feed.begin(Revision(10));
        assert!(feed.position_after(Revision(9)).is_err());
        feed.policy(PolicyIndex(1), Revision(12));
        feed.policy(PolicyIndex(2), Revision(14));
        let from = feed.position_after(Revision(13)).unwrap();
        assert_eq!(
            feed.position_after(Revision(14)).unwrap(),
            from,
            "told again rather than missed"
        );
        let (changes, next) = feed.since(from).unwrap();
        assert!(matches!(
            changes.as_slice(),
            [(Revision(14), Change::Policy(PolicyIndex(2)))]
        ));
        assert_eq!(feed.since(next).unwrap().0.len(), 0);
        for i in 0..5000 {
            feed.policy(PolicyIndex(i), Revision(20 + u64::from(i)));
        }
        assert!(feed.since(from).is_err());
        assert!(feed.position_after(Revision(14)).is_err());
    }
}
