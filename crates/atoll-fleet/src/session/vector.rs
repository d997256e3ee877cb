//! Which revisions a destination has: one value shared by all destinations that have the same, and what follows from it.
//!
//! Hot path. A million destinations have few distinct vectors, so a session remembers what it sent by one pointer, and what is different between two vectors is found once for
//! all that go from one to the other. A vector keeps its revisions alive, so that a difference can be made also from one that the center has forgotten.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Weak};

use atoll_placement::Destination;
use atoll_placement::bundle::RenderHash;
use atoll_placement::place::ObjectIndex;
use atoll_wire::digest::SetDigest;
use parking_lot::Mutex;

use crate::model::{Cut, DesiredCopy, World, joined};

/// Memory for what vectors ask for.
const WANTED_BYTES: u64 = 64 << 20;

/// The revisions that a destination has, in the order of their policies.
#[derive(Debug)]
pub(crate) struct Vector(Box<[Arc<Cut>]>);

/// What a vector asks for.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) copies: BTreeMap<ObjectIndex, DesiredCopy>,
    /// Of the copies that are the same everywhere.
    digest: SetDigest,
    /// Copies that are not.
    varying: Vec<ObjectIndex>,
}

/// What a vector asks for at one destination, where that is not the same everywhere.
#[derive(Debug)]
pub(crate) struct Own {
    /// In the order of objects.
    renders: Vec<(ObjectIndex, RenderHash)>,
    /// Tells these copies of one destination from what they were before; 0 when there are none.
    pub(crate) mark: u64,
}

impl Own {
    /// A copy's render there: its own, or the one that is the same everywhere.
    pub(crate) fn render(&self, index: ObjectIndex, copy: &DesiredCopy) -> RenderHash {
        let own = self
            .renders
            .binary_search_by_key(&index, |(index, _)| *index);
        own.map_or(copy.render, |at| self.renders[at].1)
    }
}

/// A vector by its identity: equal vectors are one.
#[derive(Clone)]
struct Same(Arc<Vector>);

impl PartialEq for Same {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
impl Eq for Same {}
impl Hash for Same {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

#[derive(Clone)]
struct ByCopies;

impl quick_cache::Weighter<Same, Arc<Wanted>> for ByCopies {
    fn weight(&self, _: &Same, wanted: &Arc<Wanted>) -> u64 {
        wanted.copies.len() as u64 * 96 + 128
    }
}

#[derive(Default)]
struct Known {
    by_cuts: HashMap<Box<[usize]>, Weak<Vector>>,
    /// Dead entries are looked for when there are so many.
    sweep_at: usize,
}

/// All vectors in use.
pub(crate) struct Vectors {
    known: Mutex<Known>,
    wanted: quick_cache::sync::Cache<Same, Arc<Wanted>, ByCopies>,
}

impl Vectors {
    pub(crate) fn new() -> Self {
        Vectors {
            known: Mutex::default(),
            wanted: quick_cache::sync::Cache::with_weighter(1024, WANTED_BYTES, ByCopies),
        }
    }

    /// What a destination has now.
    pub(crate) fn of(&self, world: &World, destination: Destination) -> Arc<Vector> {
        self.of_cuts(world.cuts(destination))
    }

    /// The vector of these revisions, in the order of their policies.
    pub(crate) fn of_cuts(&self, cuts: Vec<Arc<Cut>>) -> Arc<Vector> {
        let key: Box<[usize]> = cuts.iter().map(|cut| Arc::as_ptr(cut).addr()).collect();
        let mut known = self.known.lock();
        // A live vector keeps its cuts, so no other cut can have their addresses.
        if let Some(vector) = known.by_cuts.get(&key).and_then(Weak::upgrade) {
            return vector;
        }
        let vector = Arc::new(Vector(cuts.into()));
        known.by_cuts.insert(key, Arc::downgrade(&vector));
        if known.by_cuts.len() > known.sweep_at {
            known.by_cuts.retain(|_, v| v.strong_count() > 0);
            known.sweep_at = known.by_cuts.len() * 2 + 1024;
        }
        vector
    }

    /// What a vector asks for.
    pub(crate) fn wanted(&self, world: &World, vector: &Arc<Vector>) -> Arc<Wanted> {
        let key = Same(vector.clone());
        if let Some(wanted) = self.wanted.get(&key) {
            return wanted;
        }
        let copies = joined(&vector.0);
        let varies = |(index, copy): (&ObjectIndex, &DesiredCopy)| {
            copy.content.vary.is_some().then_some(*index)
        };
        let same = copies
            .iter()
            .filter(|(_, copy)| copy.content.vary.is_none());
        let same = same.map(|(index, copy)| (*index, copy.render));
        let wanted = Arc::new(Wanted {
            digest: digest(world, SetDigest::EMPTY, same),
            varying: copies.iter().filter_map(varies).collect(),
            copies,
        });
        self.wanted.insert(key, wanted.clone());
        wanted
    }
}

impl Wanted {
    /// What of it is one destination's own.
    pub(crate) fn own(&self, world: &World, destination: Destination) -> Own {
        let render = |index: &ObjectIndex| {
            let copy = self.copies.get(index)?;
            Some((*index, world.render_at(destination, copy)))
        };
        let renders: Vec<_> = self.varying.iter().filter_map(render).collect();
        let mark = match renders.is_empty() {
            true => 0,
            false => {
                let mut hasher = DefaultHasher::new();
                renders.hash(&mut hasher);
                hasher.finish().max(1)
            }
        };
        Own { renders, mark }
    }

    /// The digest of all of it.
    pub(crate) fn digest(&self, world: &World, own: &Own) -> SetDigest {
        digest(world, self.digest, own.renders.iter().copied())
    }
}

fn digest(
    world: &World,
    mut digest: SetDigest,
    renders: impl Iterator<Item = (ObjectIndex, RenderHash)>,
) -> SetDigest {
    for (index, render) in renders {
        if let Some(object) = world.objects.get(&index) {
            digest.add(&object.copy, &render);
        }
    }
    digest
}
