//! Destinations by their dense index, and found by uid and by name. Compact: there may be a million.
//!
//! What most have is in the slot; what few have (a token to resume with) is beside it; labels are in the inventory's index, which stores each once.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use atoll_kube::Timestamp;
use atoll_placement::Destination;
use atoll_placement::choose::taint::Taint;
use atoll_placement::inventory::Labels;
use atoll_placement::paged::Paged;
use atoll_placement::render::Given;
use hashbrown::HashTable;
use parking_lot::Mutex;

/// A ManagedCluster as it was read.
#[derive(Debug, Clone)]
pub(crate) struct Registration {
    pub(crate) state: DestinationState,
    pub(crate) labels: Labels,
    /// The annotation that lets a held session go on.
    pub(crate) resume: Option<String>,
    /// What renders may read of it.
    pub(crate) given: Given,
    pub(crate) taints: Vec<(Taint, Timestamp)>,
}

/// A uid: sixteen bytes as we make them, or what somebody else made.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Uid {
    Ours([u8; 16]),
    Other(Box<str>),
}

impl From<&str> for Uid {
    fn from(text: &str) -> Self {
        match uuid::Uuid::try_parse(text) {
            // Only what is written back as it was.
            Ok(uuid) if uuid.to_string() == text => Uid::Ours(uuid.into_bytes()),
            _ => Uid::Other(text.into()),
        }
    }
}

impl std::fmt::Display for Uid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Uid::Ours(bytes) => uuid::Uuid::from_bytes(*bytes).fmt(f),
            Uid::Other(text) => f.write_str(text),
        }
    }
}

/// A ManagedCluster.
#[derive(Debug, Clone)]
pub(crate) struct DestinationState {
    pub(crate) inventory: Arc<str>,
    pub(crate) name: Box<str>,
    pub(crate) uid: Uid,
    pub(crate) accepted: bool,
    /// The condition `ManagedClusterConditionAvailable` as stored is True.
    pub(crate) available: bool,
    /// It is to be emptied before it is taken out.
    pub(crate) purge: bool,
    /// The ManagedCluster whose stream may carry it.
    pub(crate) hub: Option<Arc<str>>,
    /// When the agent was last heard of, in milliseconds; 0: not since this start.
    pub(crate) last_seen: i64,
}

/// All destinations.
#[derive(Debug, Default)]
pub(crate) struct DestinationTable {
    slots: Paged<DestinationState>,
    by_uid: HashTable<u32>,
    by_name: HashTable<u32>,
    hasher: RandomState,
    /// Names of inventories and hubs, each once.
    names: HashSet<Arc<str>>,
    /// Annotations that let held sessions go on.
    resume: HashMap<Destination, String>,
    /// All in the order of their names, since somebody asked and none came or went.
    ordered: Mutex<Option<Arc<Vec<u32>>>>,
}

impl DestinationTable {
    pub(crate) fn get(&self, destination: &Destination) -> Option<&DestinationState> {
        self.slots.get(destination.0)
    }

    /// To change anything but inventory, name and uid.
    pub(crate) fn get_mut(&mut self, destination: &Destination) -> Option<&mut DestinationState> {
        self.slots.get_mut(destination.0)
    }

    pub(crate) fn contains_key(&self, destination: &Destination) -> bool {
        self.get(destination).is_some()
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Destination, &DestinationState)> {
        self.slots.iter().map(|(i, state)| (Destination(i), state))
    }

    /// All in the order of their names.
    pub(crate) fn in_name_order(&self) -> Arc<Vec<u32>> {
        let mut ordered = self.ordered.lock();
        let make = || {
            let mut all: Vec<(&str, u32)> = self.iter().map(|(d, s)| (&*s.name, d.0)).collect();
            all.sort_unstable();
            Arc::new(all.into_iter().map(|(_, index)| index).collect())
        };
        ordered.get_or_insert_with(make).clone()
    }

    pub(crate) fn by_uid(&self, uid: &str) -> Option<Destination> {
        let uid = Uid::from(uid);
        let same = |at: &u32| self.slots.get(*at).is_some_and(|d| d.uid == uid);
        let hash = self.hasher.hash_one(&uid);
        self.by_uid.find(hash, same).copied().map(Destination)
    }

    pub(crate) fn by_name(&self, inventory: &str, name: &str) -> Option<Destination> {
        let slots = &self.slots;
        let same = |at: &u32| {
            let slot = slots.get(*at);
            slot.is_some_and(|d| &*d.name == name && &*d.inventory == inventory)
        };
        let hash = self.hasher.hash_one((inventory, name));
        self.by_name.find(hash, same).copied().map(Destination)
    }

    /// Enters one that is new.
    pub(crate) fn insert(&mut self, destination: Destination, mut state: DestinationState) {
        self.remove(&destination);
        *self.ordered.get_mut() = None;
        self.share_names(&mut state);
        let by_uid = self.hasher.hash_one(&state.uid);
        let by_name = self.hasher.hash_one((&*state.inventory, &*state.name));
        self.slots.insert(destination.0, state);
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.by_uid.insert_unique(by_uid, destination.0, |at| {
            slots.get(*at).map_or(0, |d| hasher.hash_one(&d.uid))
        });
        self.by_name.insert_unique(by_name, destination.0, |at| {
            let slot = slots.get(*at);
            slot.map_or(0, |d| hasher.hash_one((&*d.inventory, &*d.name)))
        });
    }

    /// The same destination, read anew: inventory, name and uid are as they were.
    pub(crate) fn replace(&mut self, destination: Destination, mut state: DestinationState) {
        self.share_names(&mut state);
        if let Some(held) = self.get_mut(&destination) {
            *held = state;
        }
    }

    fn share_names(&mut self, state: &mut DestinationState) {
        state.inventory = self.shared_name(&state.inventory);
        let hub = state.hub.take();
        state.hub = hub.map(|hub| self.shared_name(&hub));
    }

    fn shared_name(&mut self, name: &Arc<str>) -> Arc<str> {
        match self.names.get(name) {
            Some(known) => known.clone(),
            None => {
                self.names.insert(name.clone());
                name.clone()
            }
        }
    }

    pub(crate) fn remove(&mut self, destination: &Destination) -> Option<DestinationState> {
        let state = self.slots.remove(destination.0)?;
        self.resume.remove(destination);
        let by_uid = self.hasher.hash_one(&state.uid);
        let by_name = self.hasher.hash_one((&*state.inventory, &*state.name));
        for (table, hash) in [(&mut self.by_uid, by_uid), (&mut self.by_name, by_name)] {
            if let Ok(found) = table.find_entry(hash, |at| *at == destination.0) {
                found.remove();
            }
        }
        Some(state)
    }

    /// The annotation that lets a held session go on.
    pub(crate) fn resume(&self, destination: &Destination) -> Option<&String> {
        self.resume.get(destination)
    }

    pub(crate) fn set_resume(&mut self, destination: Destination, token: Option<String>) {
        match token {
            Some(token) => drop(self.resume.insert(destination, token)),
            None => drop(self.resume.remove(&destination)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn state(name: &str, uid: &str) -> DestinationState {
        DestinationState {
            inventory: "i".into(),
            name: name.into(),
            uid: uid.into(),
            accepted: true,
            available: false,
            purge: false,
            hub: Some("hub-7".into()),
            last_seen: 0,
        }
    }

    proptest! {
        #[test]
        fn found_by_everything_it_is_known_by(history in proptest::collection::vec((0u32..3000, any::<bool>()), 0..200)) {
            let (mut table, mut model) = (DestinationTable::default(), BTreeMap::new());
            for (index, there) in history {
                let uid = uuid::Uuid::from_u128(u128::from(index)).to_string();
                if there {
                    table.insert(Destination(index), state(&format!("d{index}"), &uid));
                    model.insert(index, uid);
                } else {
                    table.remove(&Destination(index));
                    model.remove(&index);
                }
            }
            prop_assert_eq!(table.len(), model.len());
            for index in 0..3000u32 {
                let expected = model.contains_key(&index).then_some(Destination(index));
                prop_assert_eq!(table.by_name("i", &format!("d{index}")), expected);
                let uid = uuid::Uuid::from_u128(u128::from(index)).to_string();
                prop_assert_eq!(table.by_uid(&uid), expected);
                prop_assert_eq!(table.by_name("j", &format!("d{index}")), None);
            }
        }
    }

    /// `cargo test -p atoll-fleet --release -- --ignored --nocapture a_destination_is_small`
    #[test]
    #[ignore = "measures the process: run it alone"]
    fn a_destination_is_small() {
        const MANY: u32 = 1_000_000;
        let resident = || -> usize {
            let status = std::fs::read_to_string("/proc/self/statm").unwrap();
            let pages: usize = status.split(' ').nth(1).unwrap().parse().unwrap();
            pages * 4096
        };
        let before = resident();
        let (mut table, mut index) = (
            DestinationTable::default(),
            atoll_placement::inventory::Inventory::new(),
        );
        for i in 0..MANY {
            let name = format!("edge-{i:07}");
            let mut labels: Labels = (0..9)
                .map(|k| {
                    (
                        format!("example.com/key-{k}"),
                        format!("value-{}", i % (k + 7)),
                    )
                })
                .collect();
            labels.insert("host".to_owned(), name.clone());
            let uid = uuid::Uuid::from_u128(u128::from(i)).to_string();
            table.insert(Destination(i), state(&name, &uid));
            index.set(Destination(i), &labels, true);
        }
        let each = (resident() - before) / MANY as usize;
        println!("{each} bytes per destination");
        assert!(each <= 400, "{each}");
    }

    #[test]
    fn uids_are_written_as_they_were_read() {
        for text in [
            "9c5b94b1-35ad-49bb-b118-8e8fc24abf80",
            "9C5B94B1-35AD-49BB-B118-8E8FC24ABF80",
            "9c5b94b135ad49bbb1188e8fc24abf80",
            "no-uuid",
            "",
        ] {
            assert_eq!(Uid::from(text).to_string(), text);
        }
    }
}
