//! Upsync: objects that were born at an edge and that a policy there names come to the center, are shown in the edge's mailbox view and, when asked for, become real objects in a
//! workspace.
//!
//! Always true: of an edge at most [`MOST_OBJECTS`] objects are kept, and only such as some policy that has the edge names; a record is durable before anything shows it; a real object is noted in its record
//! before it is made, so that it is found again when its original goes. The cost follows the objects that came up: an edge of which nothing is asked costs nothing.
//!
//! | module | |
//! |---|---|
//! | [`shelf`] | what came up, in memory and as rows |
//! | [`hear`] | what an agent tells |
//! | [`real`] | real objects in workspaces |

mod hear;
mod real;
mod shelf;

use std::sync::Arc;

use atoll_placement::Destination;
use atoll_placement::upsync::Upsync;
use atoll_wire::{Gather, GatherClause};

pub(crate) use hear::born;
pub(crate) use real::{body, run};
pub(crate) use shelf::{Shelf, load};

use crate::model::{PolicyIndex, World};

/// Objects of one edge.
pub(crate) const MOST_OBJECTS: usize = 1000;
/// Bytes of one object.
pub(crate) const MOST_BYTES: usize = 256 << 10;

/// As the wire says it.
fn clause(upsync: &Upsync) -> GatherClause {
    GatherClause {
        any_group: upsync.group.is_none(),
        group: upsync.group.clone().unwrap_or_default(),
        resources: upsync.resources.clone(),
        namespaces: upsync.namespaces.clone(),
        names: upsync.names.clone(),
    }
}

/// A clause that asks something of a destination.
#[derive(Debug, Clone)]
pub(crate) struct Asking {
    pub(crate) policy: PolicyIndex,
    /// The policy's workspace and name.
    pub(crate) of: (Arc<str>, Arc<str>),
    pub(crate) clause: GatherClause,
    /// Where it is to become a real object.
    pub(crate) workspace: Option<String>,
}

impl World {
    /// What is asked of a destination.
    pub(crate) fn asking(&self, destination: Destination) -> Vec<Asking> {
        let mut found = Vec::new();
        for index in &self.born.policies {
            let Some(policy) = self.policies.get(index) else {
                continue;
            };
            if policy.deleted || !policy.assigned.contains(destination.0) {
                continue;
            }
            found.extend(policy.spec.upsync.iter().map(|upsync| Asking {
                policy: *index,
                of: (policy.cluster.clone(), policy.name.clone()),
                clause: clause(upsync),
                workspace: upsync.workspace.clone(),
            }));
        }
        found
    }

    /// The same, for its agent.
    pub(crate) fn gather(&self, destination: Destination) -> Gather {
        let mut clauses: Vec<GatherClause> = self
            .asking(destination)
            .into_iter()
            .map(|asking| asking.clause)
            .collect();
        clauses.sort();
        clauses.dedup();
        Gather {
            clauses,
            most: u32::try_from(MOST_OBJECTS).unwrap_or(u32::MAX),
            most_bytes: u32::try_from(MOST_BYTES).unwrap_or(u32::MAX),
        }
    }

    /// Enters a policy among those that ask for something, or takes it out.
    pub(crate) fn note_upsync(&mut self, index: PolicyIndex) {
        let policy = self.policies.get(&index);
        let asks = policy.is_some_and(|p| !p.deleted && !p.spec.upsync.is_empty());
        match asks {
            true => drop(self.born.policies.insert(index)),
            false => drop(self.born.policies.remove(&index)),
        }
    }
}
