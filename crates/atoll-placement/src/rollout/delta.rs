//! Durable sets of destinations under small names, and the changes to them as bytes.
//!
//! Always true: applying a state's deltas in order, to nothing, gives the state; a whole state is a delta from nothing. A delta holds what was put in and what was taken
//! out, never the whole set, and the small head only when it changed.

use std::collections::BTreeMap;

use super::Ordinal;
use crate::Destinations;

/// The name of a durable set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SetId {
    /// Who the policy selects.
    Selected,
    /// Who has, or may have been sent, this revision.
    Assigned(Ordinal),
    /// Who holds a slot since this moment (milliseconds, rounded up): the clock of the progress deadline.
    Started(i64),
    /// Who holds a slot for a first installation.
    Installing,
    /// Whose last report of the assigned render was good.
    Healthy,
    /// Who is healthy in its slot since this moment (rounded up): the clock of the soak time.
    Soaking(i64),
    /// Who counts as failed at the assigned render.
    Failed,
    /// Whose copies would render differently now.
    Stale,
    /// Who belongs to this begun stage of the latest run.
    Stage(u32),
    /// Who is no longer selected and waits to be emptied.
    Leaving,
    /// Who is no longer selected and stays until a replacement is healthy.
    Retiring,
    /// Whose removal is under way and not confirmed.
    Removing,
}

impl SetId {
    fn code(self) -> (u8, u64) {
        match self {
            SetId::Selected => (0, 0),
            SetId::Assigned(ordinal) => (1, ordinal.0),
            SetId::Started(at) => (2, at as u64),
            SetId::Installing => (3, 0),
            SetId::Healthy => (4, 0),
            SetId::Soaking(at) => (5, at as u64),
            SetId::Failed => (6, 0),
            SetId::Stale => (7, 0),
            SetId::Stage(id) => (8, u64::from(id)),
            SetId::Leaving => (9, 0),
            SetId::Retiring => (10, 0),
            SetId::Removing => (11, 0),
        }
    }

    fn from_code(tag: u8, value: u64) -> Option<SetId> {
        Some(match tag {
            0 => SetId::Selected,
            1 => SetId::Assigned(Ordinal(value)),
            2 => SetId::Started(value as i64),
            3 => SetId::Installing,
            4 => SetId::Healthy,
            5 => SetId::Soaking(value as i64),
            6 => SetId::Failed,
            7 => SetId::Stale,
            8 => SetId::Stage(u32::try_from(value).ok()?),
            9 => SetId::Leaving,
            10 => SetId::Retiring,
            11 => SetId::Removing,
            _ => return None,
        })
    }
}

/// What was put into a set and what was taken out of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SetChange {
    /// Put in.
    pub added: Destinations,
    /// Taken out.
    pub removed: Destinations,
}

/// What changed in one policy's state.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Delta {
    /// The settings and the list of revisions, when they changed (JSON).
    pub config: Option<Vec<u8>>,
    /// The run and its clocks, when they changed (JSON).
    pub head: Option<Vec<u8>>,
    /// Changed sets.
    pub sets: BTreeMap<SetId, SetChange>,
    /// Everything that was there before is gone: this is a whole state.
    pub whole: bool,
}

/// Bytes that are no delta of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Undecodable;

impl std::fmt::Display for Undecodable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not a rollout delta, or of an unknown version")
    }
}

impl std::error::Error for Undecodable {}

const VERSION: u8 = 1;
/// From this many on a set is written with runs.
const LARGE: u64 = 4096;

impl Delta {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.config.is_none() && self.head.is_none() && self.sets.is_empty() && !self.whole
    }

    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, u8::from(self.whole)];
        for part in [&self.config, &self.head] {
            match part {
                None => out.extend(u32::MAX.to_le_bytes()),
                Some(bytes) => {
                    out.extend((bytes.len() as u32).to_le_bytes());
                    out.extend(bytes);
                }
            }
        }
        out.extend((self.sets.len() as u32).to_le_bytes());
        for (id, change) in &self.sets {
            let (tag, value) = id.code();
            out.push(tag);
            out.extend(value.to_le_bytes());
            for set in [&change.added, &change.removed] {
                put(&mut out, set);
            }
        }
        out
    }

    /// Reads [`Delta::encode`].
    pub fn decode(bytes: &[u8]) -> Result<Delta, Undecodable> {
        let mut rest = bytes;
        if take(&mut rest, 1)? != [VERSION] {
            return Err(Undecodable);
        }
        let whole = take(&mut rest, 1)? == [1];
        let mut parts = [None, None];
        for part in &mut parts {
            let length = number(&mut rest)?;
            if length != u32::MAX {
                *part = Some(take(&mut rest, length as usize)?.to_vec());
            }
        }
        let [config, head] = parts;
        let mut sets = BTreeMap::new();
        for _ in 0..number(&mut rest)? {
            let tag = take(&mut rest, 1)?[0];
            let value = take(&mut rest, 8)?.try_into().map_err(|_| Undecodable)?;
            let id = SetId::from_code(tag, u64::from_le_bytes(value)).ok_or(Undecodable)?;
            let added = set(&mut rest)?;
            let removed = set(&mut rest)?;
            sets.insert(id, SetChange { added, removed });
        }
        if !rest.is_empty() {
            return Err(Undecodable);
        }
        Ok(Delta {
            config,
            head,
            sets,
            whole,
        })
    }
}

fn put(out: &mut Vec<u8>, set: &Destinations) {
    let at = out.len();
    out.extend(0u32.to_le_bytes());
    // Writing to memory does not fail.
    if set.len() > LARGE {
        // A million in a row are a few bytes.
        let mut set = set.clone();
        set.optimize();
        let _ = set.serialize_into(&mut *out);
    } else if !set.is_empty() {
        let _ = set.serialize_into(&mut *out);
    }
    let length = (out.len() - at - 4) as u32;
    out[at..at + 4].copy_from_slice(&length.to_le_bytes());
}

fn set(rest: &mut &[u8]) -> Result<Destinations, Undecodable> {
    let length = number(rest)? as usize;
    if length == 0 {
        return Ok(Destinations::new());
    }
    let mut set = Destinations::deserialize_from(take(rest, length)?).map_err(|_| Undecodable)?;
    set.remove_run_compression();
    Ok(set)
}

fn number(rest: &mut &[u8]) -> Result<u32, Undecodable> {
    let bytes = take(rest, 4)?.try_into().map_err(|_| Undecodable)?;
    Ok(u32::from_le_bytes(bytes))
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], Undecodable> {
    let (taken, left) = rest.split_at_checked(length).ok_or(Undecodable)?;
    *rest = left;
    Ok(taken)
}

/// The durable sets, each change remembered until it is [taken](Sets::changes).
#[derive(Debug, Clone, Default)]
pub struct Sets {
    sets: BTreeMap<SetId, Destinations>,
    changes: BTreeMap<SetId, SetChange>,
}

static EMPTY: std::sync::LazyLock<Destinations> = std::sync::LazyLock::new(Destinations::new);

impl PartialEq for Sets {
    fn eq(&self, other: &Self) -> bool {
        self.sets == other.sets
    }
}

impl Sets {
    /// A set; an empty one if it was never written.
    pub fn get(&self, id: SetId) -> &Destinations {
        self.sets.get(&id).unwrap_or(&EMPTY)
    }

    /// The sets whose names lie in a range, in order.
    pub fn range(
        &self,
        range: impl std::ops::RangeBounds<SetId>,
    ) -> impl DoubleEndedIterator<Item = (SetId, &Destinations)> {
        self.sets.range(range).map(|(id, set)| (*id, set))
    }

    /// Puts destinations in. Answers those that were not there.
    pub fn add(&mut self, id: SetId, items: &Destinations) -> Destinations {
        let new = match self.sets.get(&id) {
            Some(present) if !present.is_empty() => outside(items, present),
            _ => items.clone(),
        };
        if new.is_empty() {
            return new;
        }
        *self.sets.entry(id).or_default() |= &new;
        let change = self.changes.entry(id).or_default();
        if change.removed.is_empty() {
            change.added |= &new;
        } else {
            let back = &new & &change.removed;
            change.removed -= &back;
            change.added |= &new - &back;
        }
        new
    }

    /// Takes destinations out. Answers those that were there.
    pub fn remove(&mut self, id: SetId, items: &Destinations) -> Destinations {
        let Some(present) = self.sets.get_mut(&id) else {
            return Destinations::new();
        };
        let old = &*present & items;
        if old.is_empty() {
            return old;
        }
        *present -= &old;
        if present.is_empty() {
            self.sets.remove(&id);
        }
        let change = self.changes.entry(id).or_default();
        if change.added.is_empty() {
            change.removed |= &old;
        } else {
            let back = &old & &change.added;
            change.added -= &back;
            change.removed |= &old - &back;
        }
        old
    }

    /// Takes a whole set out.
    pub fn clear(&mut self, id: SetId) {
        if let Some(set) = self.sets.get(&id).cloned() {
            self.remove(id, &set);
        }
    }

    /// Takes what changed since it was last asked.
    pub fn changes(&mut self) -> BTreeMap<SetId, SetChange> {
        let mut changes = std::mem::take(&mut self.changes);
        changes.retain(|_, change| !change.added.is_empty() || !change.removed.is_empty());
        changes
    }

    /// All sets as a change from nothing.
    pub fn whole(&self) -> BTreeMap<SetId, SetChange> {
        let change = |set: &Destinations| SetChange {
            added: set.clone(),
            removed: Destinations::new(),
        };
        self.sets
            .iter()
            .map(|(id, set)| (*id, change(set)))
            .collect()
    }

    /// Carries out recorded changes.
    pub fn apply(&mut self, changes: &BTreeMap<SetId, SetChange>) {
        for (id, change) in changes {
            let set = self.sets.entry(*id).or_default();
            *set -= &change.removed;
            *set |= &change.added;
            if set.is_empty() {
                self.sets.remove(id);
            }
        }
    }
}

/// `items` without `present`, at the cost of `items` alone.
pub(crate) fn outside(items: &Destinations, present: &Destinations) -> Destinations {
    let mut new = items.clone();
    new -= present;
    new
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(n: u8) -> SetId {
        [
            SetId::Healthy,
            SetId::Assigned(Ordinal(7)),
            SetId::Soaking(-5),
            SetId::Stage(3),
        ][usize::from(n % 4)]
    }

    proptest! {
        /// Whatever is done to sets, the deltas of all steps, encoded and read back, give the same sets.
        #[test]
        fn deltas_replay(history in proptest::collection::vec(
            proptest::collection::vec((any::<u8>(), any::<bool>(), proptest::collection::vec(0u32..50, 0..6)), 0..6), 0..12)
        ) {
            let mut live = Sets::default();
            let mut replayed = Sets::default();
            for step in history {
                for (set, add, items) in step {
                    let items: Destinations = items.into_iter().collect();
                    if add { live.add(id(set), &items); } else { live.remove(id(set), &items); }
                }
                let delta = Delta { sets: live.changes(), ..Delta::default() };
                let read = Delta::decode(&delta.encode()).unwrap();
                prop_assert_eq!(&read, &delta);
                replayed.apply(&read.sets);
            }
            prop_assert_eq!(&live, &replayed);
            let mut whole = Sets::default();
            whole.apply(&live.whole());
            prop_assert_eq!(&live, &whole);
        }

        /// Large sets are small when they have a shape.
        #[test]
        fn large_sets_are_read_back(from in 0u32..100_000, length in 5_000u32..200_000, hole in 0u32..300_000) {
            let mut set: Destinations = (from..from + length).collect();
            set.remove(hole);
            let change = SetChange { added: set, removed: Destinations::new() };
            let delta = Delta { sets: [(SetId::Selected, change)].into_iter().collect(), ..Delta::default() };
            let bytes = delta.encode();
            prop_assert!(bytes.len() < 200);
            prop_assert_eq!(Delta::decode(&bytes), Ok(delta));
        }

        /// No bytes make the decoder panic.
        #[test]
        fn any_bytes_decode_or_not(mut bytes in proptest::collection::vec(any::<u8>(), 0..80), good in any::<bool>()) {
            if good && !bytes.is_empty() { bytes[0] = VERSION; }
            let _ = Delta::decode(&bytes);
        }
    }
}
