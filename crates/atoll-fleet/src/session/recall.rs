//! What a destination has, told by the digest of all of it: what it should have, or what it should have had a little earlier.
//!
//! A destination that missed the last change, because it or the center was away, need not list what it holds: it is sent the difference from then. Only the last few revisions are
//! tried; who missed more lists.

use std::sync::Arc;

use atoll_placement::Destination;
use atoll_wire::digest::SetDigest;

use super::vector::Vector;
use crate::model::World;
use crate::shared::Shared;

/// What a destination has.
pub(super) enum Has {
    /// All that these revisions ask for, and its [`super::vector::Own::mark`].
    All(Arc<Vector>, u64),
    Nothing,
    /// Something else.
    Unknown,
}

/// Compares a digest with what a destination should have and, if `earlier`, with what it should have had.
pub(super) fn recall(
    shared: &Shared,
    world: &World,
    destination: Destination,
    held: SetDigest,
    earlier: bool,
) -> (Has, bool) {
    let vectors = &shared.vectors;
    let matches = |vector: &Arc<Vector>| {
        let wanted = vectors.wanted(world, vector);
        let own = wanted.own(world, destination);
        (wanted.digest(world, &own) == held).then_some(own.mark)
    };
    let current = vectors.of(world, destination);
    if let Some(mark) = matches(&current) {
        return (Has::All(current, mark), true);
    }
    if held == SetDigest::EMPTY {
        return (Has::Nothing, false);
    }
    let candidates = match earlier {
        true => world.earlier_cuts(destination),
        false => Vec::new(),
    };
    for cuts in candidates {
        let vector = vectors.of_cuts(cuts);
        if let Some(mark) = matches(&vector) {
            return (Has::All(vector, mark), false);
        }
    }
    (Has::Unknown, false)
}
