//! What destinations should have and were not sent: found together for those that go the same way, then sent.
//!
//! Hot path. Two destinations that had the same and should have the same are sent one list of items, made once. Tombstones come before items, and only the last part of what is sent
//! completes what its cursor says.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use atoll_placement::Destination;
use atoll_placement::place::ObjectIndex;
use atoll_wire::{Cursor, Desired, Item, RemovalMode, Tombstone};
use bytes::Bytes;

use super::logical::{Address, Logical, Mode, Sent};
use super::vector::{Own, Vector, Wanted};
use super::{End, Stream};
use crate::model::{DesiredCopy, Made, World};
use crate::shared::Shared;

/// Destinations that are looked at under one lock, and sent to before the hub is heard again.
const LOOK_AT: usize = 256;
/// Items in one message.
const ITEMS_PER_MESSAGE: usize = 256;

/// What is to be sent to some destinations.
#[derive(Default)]
struct Difference {
    tombstones: Vec<(Tombstone, Vec<Address>)>,
    /// The flag: with these, the destination has everything up to the cursor.
    items: Vec<(Arc<[Item]>, bool, Vec<Address>)>,
    cursor: Cursor,
}

/// From which vector (0: nothing) to which, by their addresses; and whether that is all.
type Way = (usize, usize, bool);

/// One destination, and what is its own there.
#[derive(Clone, Copy)]
struct At<'a> {
    destination: Destination,
    own: &'a Own,
}

/// What was found for a look at several destinations.
struct Finder<'a> {
    shared: &'a Shared,
    world: &'a World,
    /// Where each way stands in what was found.
    ways: HashMap<Way, usize>,
    /// Where the ways begin and end: kept, so that no address comes again.
    kept: Vec<Arc<Vector>>,
    by_tombstone: HashMap<(ObjectIndex, bool), usize>,
    found: Difference,
    /// What came of making copies that are not the same everywhere.
    made: RefCell<Vec<Made>>,
}

impl Stream {
    /// These may lack something: their turn comes.
    pub(super) fn owe(&mut self, destinations: impl IntoIterator<Item = Destination>) {
        self.owed.extend(destinations.into_iter().map(|d| d.0));
    }

    /// Sends to some of those that may lack something what is different from what they were sent. Not to all at once: what the hub says meanwhile is heard in between.
    pub(super) async fn push(&mut self) -> Result<(), End> {
        let part: Vec<Destination> = self.owed.iter().take(LOOK_AT).map(Destination).collect();
        if let Some(last) = part.last() {
            self.owed.remove_range(..=last.0);
        }
        for destination in &part {
            self.resume(*destination).await?;
        }
        let difference = self.difference(&part);
        self.send(difference).await?;
        self.gather(&part).await
    }

    /// Tells those of which something else is asked than they were told.
    async fn gather(&mut self, destinations: &[Destination]) -> Result<(), End> {
        let mut news = Vec::new();
        {
            let world = self.shared.world.read();
            if world.born.policies.is_empty() && self.gathering.is_empty() {
                return Ok(());
            }
            for destination in destinations {
                let gather = world.gather(*destination);
                let mut hasher = std::hash::DefaultHasher::new();
                gather.clauses.hash(&mut hasher);
                let mark = (!gather.clauses.is_empty()).then(|| hasher.finish());
                if mark != self.gathering.get(destination).copied()
                    && let Some(logical) = self.carried.get(destination)
                {
                    news.push((*destination, mark, logical.address, gather));
                }
            }
        }
        for (destination, mark, address, gather) in news {
            match mark {
                Some(mark) => drop(self.gathering.insert(destination, mark)),
                None => drop(self.gathering.remove(&destination)),
            }
            self.say(address, gather).await?;
        }
        Ok(())
    }

    fn difference(&mut self, destinations: &[Destination]) -> Difference {
        let shared = self.shared.clone();
        let world = shared.world.read();
        let mut finder = Finder::new(&shared, &world);
        for destination in destinations {
            if let Some(logical) = self.carried.get_mut(destination) {
                finder.look(*destination, logical);
            }
        }
        let (found, made) = (finder.found, finder.made.into_inner());
        let looks = world.looks;
        drop(world);
        shared.note_made(made, looks);
        found
    }

    async fn send(&self, difference: Difference) -> Result<(), End> {
        let Difference {
            mut tombstones,
            items,
            cursor,
        } = difference;
        let count = |n: usize, figure: &std::sync::atomic::AtomicU64| {
            figure.fetch_add(n as u64, Ordering::Relaxed);
        };
        tombstones.sort_by(|(a, _), (b, _)| (b.order, &b.object).cmp(&(a.order, &a.object)));
        for (tombstone, addresses) in tombstones {
            count(addresses.len(), &self.shared.figures.tombstones_sent);
            self.say_all(&addresses, tombstone).await?;
        }
        for (items, completes, addresses) in items {
            count(
                items.len() * addresses.len(),
                &self.shared.figures.items_sent,
            );
            let mut parts = items.chunks(ITEMS_PER_MESSAGE).peekable();
            while let Some(part) = parts.next() {
                let done = parts.peek().is_none() && completes;
                let desired = Desired {
                    cursor: done.then(|| cursor.clone()),
                    items: part.to_vec(),
                };
                self.say_all(&addresses, desired).await?;
            }
        }
        Ok(())
    }
}

impl<'a> Finder<'a> {
    fn new(shared: &'a Shared, world: &'a World) -> Self {
        Finder {
            shared,
            world,
            ways: HashMap::new(),
            kept: Vec::new(),
            by_tombstone: HashMap::new(),
            found: Difference {
                cursor: shared.cursor(world.applied),
                ..Difference::default()
            },
            made: RefCell::default(),
        }
    }

    fn look(&mut self, destination: Destination, logical: &mut Logical) {
        match logical.mode {
            Mode::Listing { .. } => {}
            Mode::Held => self.introduce(destination, logical),
            Mode::Live => {
                let vector = self.shared.vectors.of(self.world, destination);
                let wanted = self.shared.vectors.wanted(self.world, &vector);
                self.bury(destination, logical, &wanted);
                self.follow(destination, logical, vector, &wanted);
            }
        }
    }

    /// Tombstones that were not sent yet.
    fn bury(&mut self, destination: Destination, logical: &mut Logical, wanted: &Wanted) {
        if let Some(rare) = logical.has_rare() {
            rare.tombstoned
                .retain(|index| !wanted.copies.contains_key(index));
        }
        for tombstone in self.world.tombstones.at(destination) {
            let index = &tombstone.object;
            let orphan = tombstone.orphan.contains(destination.0);
            if wanted.copies.contains_key(index) || !logical.rare().tombstoned.insert(*index) {
                continue;
            }
            let Some(object) = self.world.objects.get(index) else {
                continue;
            };
            let place = *self
                .by_tombstone
                .entry((*index, orphan))
                .or_insert_with(|| {
                    let mode = if orphan {
                        RemovalMode::Orphan
                    } else {
                        RemovalMode::Remove
                    };
                    let tombstone = Tombstone {
                        copy: Some(object.copy.clone()),
                        object: Some(object.reference.clone()),
                        mode: mode as i32,
                        order: u32::from(object.order.0),
                        cursor: None,
                    };
                    self.found.tombstones.push((tombstone, Vec::new()));
                    self.found.tombstones.len() - 1
                });
            self.found.tombstones[place].1.push(logical.address);
        }
    }

    /// From what was sent to what should be there.
    fn follow(
        &mut self,
        destination: Destination,
        logical: &mut Logical,
        to: Arc<Vector>,
        wanted: &Wanted,
    ) {
        let own = wanted.own(self.world, destination);
        let at = At {
            destination,
            own: &own,
        };
        let from = match &logical.sent {
            Sent::All(from) if Arc::ptr_eq(from, &to) && logical.personal == own.mark => return,
            Sent::All(from) => Some(from.clone()),
            Sent::Copies(sent) if sent.is_empty() => None,
            Sent::Copies(sent) => {
                let items = self.items(&wanted.copies, Some(at), |index, copy| {
                    sent.get(index) != Some(&own.render(*index, copy))
                });
                self.found.items.push((items, true, vec![logical.address]));
                logical.sent = Sent::All(to);
                logical.personal = own.mark;
                return;
            }
        };
        let items = self.own_items(logical, wanted, from.as_ref(), at);
        if from.as_ref().is_none_or(|from| !Arc::ptr_eq(from, &to)) {
            self.go(from, &to, wanted, logical.address, items.is_empty());
        }
        if !items.is_empty() {
            self.found.items.push((items, true, vec![logical.address]));
        }
        logical.sent = Sent::All(to);
        logical.personal = own.mark;
    }

    /// The items of a destination's own copies that are different from what it was sent of a vector (`None`: nothing).
    fn own_items(
        &self,
        logical: &Logical,
        wanted: &Wanted,
        from: Option<&Arc<Vector>>,
        at: At<'_>,
    ) -> Arc<[Item]> {
        if at.own.mark == logical.personal {
            return Arc::default();
        }
        let had = from.map(|from| self.shared.vectors.wanted(self.world, from));
        // While nothing that they depend on changed, what was sent is known by its version.
        let had = had.filter(|had| had.own(self.world, at.destination).mark == logical.personal);
        self.items(&wanted.copies, Some(at), |index, copy| {
            let had = had.as_ref().and_then(|had| had.copies.get(index));
            copy.content.vary.is_some() && had.map(|had| had.render) != Some(copy.render)
        })
    }

    /// The way from one vector to another, the same for all who go it; what varies is not in it.
    fn go(
        &mut self,
        from: Option<Arc<Vector>>,
        to: &Arc<Vector>,
        wanted: &Wanted,
        address: Address,
        completes: bool,
    ) {
        let begin = from.as_ref().map_or(0, |from| Arc::as_ptr(from).addr());
        let way = (begin, Arc::as_ptr(to).addr(), completes);
        let place = match self.ways.get(&way) {
            Some(place) => *place,
            None => {
                let had = from
                    .as_ref()
                    .map(|from| self.shared.vectors.wanted(self.world, from));
                let items = self.items(&wanted.copies, None, |index, copy| {
                    let had = had.as_ref().and_then(|had| had.copies.get(index));
                    had.map(|c| c.render) != Some(copy.render)
                });
                self.found.items.push((items, completes, Vec::new()));
                self.kept.extend(from);
                self.kept.push(to.clone());
                self.ways.insert(way, self.found.items.len() - 1);
                self.found.items.len() - 1
            }
        };
        self.found.items[place].2.push(address);
    }

    /// What is new to an agent whose past is not known here; what it has stays as it is.
    fn introduce(&mut self, destination: Destination, logical: &mut Logical) {
        let vector = self.shared.vectors.of(self.world, destination);
        let wanted = self.shared.vectors.wanted(self.world, &vector);
        let own = wanted.own(self.world, destination);
        let at = At {
            destination,
            own: &own,
        };
        let introduced = std::mem::take(&mut logical.rare().introduced);
        let mut sent = match &mut logical.sent {
            Sent::Copies(sent) => std::mem::take(sent),
            Sent::All(_) => BTreeMap::new(),
        };
        let items = self.items(&wanted.copies, Some(at), |index, copy| {
            match sent.get(index) {
                None => true,
                Some(render) => introduced.contains(index) && *render != own.render(*index, copy),
            }
        });
        let rare = logical.rare();
        rare.introduced = introduced;
        for item in items.iter() {
            let index = item.copy.as_ref().and_then(|c| self.world.by_copy.get(c));
            if let Some((index, copy)) = index.and_then(|i| wanted.copies.get_key_value(i)) {
                rare.introduced.insert(*index);
                sent.insert(*index, own.render(*index, copy));
            }
        }
        logical.sent = Sent::Copies(sent);
        self.found.items.push((items, false, vec![logical.address]));
    }

    /// The items of those copies that are news, in apply order; those that vary only for one destination. What cannot be rendered is left out: what is there stays.
    fn items(
        &self,
        copies: &BTreeMap<ObjectIndex, DesiredCopy>,
        at: Option<At<'_>>,
        news: impl Fn(&ObjectIndex, &DesiredCopy) -> bool,
    ) -> Arc<[Item]> {
        let mut items: Vec<Item> = copies
            .iter()
            .filter(|(index, copy)| news(index, copy))
            .filter_map(|(index, copy)| self.item(*index, copy, at))
            .collect();
        items.sort_by(|a, b| (a.order, &a.object).cmp(&(b.order, &b.object)));
        items.into()
    }

    fn item(&self, index: ObjectIndex, copy: &DesiredCopy, at: Option<At<'_>>) -> Option<Item> {
        let object = self.world.objects.get(&index)?;
        let content = &copy.content;
        let mut item = Item {
            copy: Some(object.copy.clone()),
            object: Some(object.reference.clone()),
            order: u32::from(object.order.0),
            render_hash: Bytes::copy_from_slice(&copy.render),
            body_hash: Bytes::copy_from_slice(&content.body),
            body_size: content.size,
            create_only: copy.flags.create_only,
            adopt: copy.flags.adopt,
            replace: content.replace,
            implicit: copy.flags.implicit,
            edge_owned: content.edge_owned.clone(),
            initial_only: content.initial_only.clone(),
            body: Bytes::new(),
        };
        if content.vary.is_some() {
            let At { destination, own } = at?;
            let rendered = self.world.rendered_at(destination, copy)?;
            self.made.borrow_mut().push(Made {
                object: index,
                version: copy.render,
                destination,
                fault: rendered.as_ref().err().cloned(),
            });
            let rendered = rendered.ok()?;
            item.render_hash = Bytes::copy_from_slice(&own.render(index, copy));
            item.body_hash = Bytes::copy_from_slice(&rendered.body_hash);
            item.body_size = u32::try_from(rendered.body.len()).unwrap_or(u32::MAX);
            item.replace = rendered.replace;
            item.edge_owned = rendered.edge_owned;
            item.initial_only = rendered.initial_only;
            item.body = rendered.body.into();
        }
        Some(item)
    }
}
