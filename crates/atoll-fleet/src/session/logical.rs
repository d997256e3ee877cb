//! One destination's session, as its stream remembers it: small, because a stream may carry very many.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use atoll_placement::bundle::RenderHash;
use atoll_placement::place::ObjectIndex;
use atoll_wire::Held;

use super::vector::Vector;

/// How a stream names a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Address {
    /// The stream's own, by its uid.
    Own,
    /// One that a hub carries.
    Handle(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Waiting for what the agent holds; `known`: its cursor is one of this log's.
    Listing { known: bool },
    /// Sending differences.
    Live,
    /// Sending only what is new to the agent, until a person says otherwise.
    Held,
}

/// What the agent has, or was sent.
#[derive(Debug)]
pub(super) enum Sent {
    /// All that these revisions ask for.
    All(Arc<Vector>),
    /// Just these copies.
    Copies(BTreeMap<ObjectIndex, RenderHash>),
}

/// What few destinations need.
#[derive(Debug, Default)]
pub(super) struct Rare {
    /// Copies that this session gave an agent whose past is not known here: they may go on changing.
    pub(super) introduced: BTreeSet<ObjectIndex>,
    /// Tombstones that were sent.
    pub(super) tombstoned: BTreeSet<ObjectIndex>,
    /// What the agent listed so far.
    pub(super) held: Vec<Held>,
    /// The agent's cursor, while a person has to say something about it.
    pub(super) cursor: String,
}

/// A destination's session.
#[derive(Debug)]
pub(super) struct Logical {
    pub(super) address: Address,
    pub(super) mode: Mode,
    pub(super) sent: Sent,
    /// [`super::vector::Own::mark`] of what was sent.
    pub(super) personal: u64,
    rare: Option<Box<Rare>>,
}

impl Logical {
    pub(super) fn new(address: Address, mode: Mode, sent: Sent) -> Self {
        Logical {
            address,
            mode,
            sent,
            personal: 0,
            rare: None,
        }
    }

    /// The parts that few need, made when they are.
    pub(super) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// The same, if there are any.
    pub(super) fn has_rare(&mut self) -> Option<&mut Rare> {
        self.rare.as_deref_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_small() {
        assert!(
            std::mem::size_of::<Logical>() <= 64,
            "{}",
            std::mem::size_of::<Logical>()
        );
    }
}
