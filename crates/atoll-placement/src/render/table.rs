//! All destinations' properties, held compactly: about the bytes of the values themselves.
//!
//! A row is one block of bytes (source, interned name, value), in order of precedence, so that looking up is a short scan.
//! Names that templates read can be indexed: then destinations are grouped by value without asking each one. An index
//! whose values are nearly all different is given up: it would cost more than it saves.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::inventory::Members;
use crate::{Destination, Destinations};

use super::properties::{CLUSTER_NAME, Given, Groups, Properties, Read, Source};

/// So many different values are always indexed.
const ALWAYS: usize = 256;
/// Beyond that, there must be at least so many destinations for each value.
const SHARED_BY: usize = 4;

/// The tag of the built-in `clusterName`: after what the inventory's owner says, before claims.
const NAME_TAG: u8 = 4;

/// Properties of one inventory's destinations.
#[derive(Debug, Default)]
pub struct PropertyTable {
    names: Names,
    rows: Vec<Option<Box<[u8]>>>,
    indexes: HashMap<(Source, Box<str>), Index>,
}

#[derive(Debug, Default)]
struct Index {
    values: HashMap<Box<str>, Members>,
    members: usize,
    given_up: bool,
}

impl Index {
    fn add(&mut self, destination: u32, value: &str) {
        if self.given_up {
            return;
        }
        self.members += 1;
        match self.values.get_mut(value) {
            Some(members) => members.insert(destination),
            None => {
                let mut members = Members::default();
                members.insert(destination);
                self.values.insert(value.into(), members);
            }
        }
        let different = self.values.len();
        if different > ALWAYS && different.saturating_mul(SHARED_BY) > self.members.max(ALWAYS * 8)
        {
            *self = Index {
                given_up: true,
                ..Index::default()
            };
        }
    }

    fn remove(&mut self, destination: u32, value: &str) {
        if let Some(members) = self.values.get_mut(value) {
            members.remove(destination);
            self.members = self.members.saturating_sub(1);
            if members.is_empty() {
                self.values.remove(value);
            }
        }
    }
}

/// Interned names, counted, so that names that come and go leave nothing behind.
#[derive(Debug, Default)]
struct Names {
    ids: HashMap<Box<str>, u32>,
    names: Vec<(Box<str>, u32)>,
    free: Vec<u32>,
}

impl Names {
    fn take(&mut self, name: &str) -> u32 {
        let id = match self.ids.get(name) {
            Some(id) => *id,
            None => {
                let id = match self.free.pop() {
                    Some(id) => id,
                    None => {
                        self.names.push((Box::default(), 0));
                        u32::try_from(self.names.len() - 1).unwrap_or(u32::MAX)
                    }
                };
                self.ids.insert(name.into(), id);
                if let Some(entry) = self.names.get_mut(id as usize) {
                    *entry = (name.into(), 0);
                }
                id
            }
        };
        if let Some(entry) = self.names.get_mut(id as usize) {
            entry.1 += 1;
        }
        id
    }

    fn release(&mut self, id: u32) {
        if let Some((name, count)) = self.names.get_mut(id as usize) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.ids.remove(name);
                *name = Box::default();
                self.free.push(id);
            }
        }
    }

    fn name(&self, id: u32) -> &str {
        self.names.get(id as usize).map_or("", |(name, _)| name)
    }
}

struct Entry<'a> {
    tag: u8,
    name: u32,
    value: &'a str,
}

fn tag_of(source: Source) -> u8 {
    match source {
        Source::Any | Source::ConfigMap => 1,
        Source::Annotation => 2,
        Source::Label => 3,
        Source::Name => NAME_TAG,
        Source::Claim => NAME_TAG + 1,
    }
}

fn put(row: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        row.push((number as u8 & 0x7f) | 0x80);
        number >>= 7;
    }
    row.push(number as u8);
}

fn take(row: &[u8], at: &mut usize) -> Option<u32> {
    let mut number = 0u32;
    for shift in (0..32).step_by(7) {
        let byte = *row.get(*at)?;
        *at += 1;
        number |= u32::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

fn entries(row: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let tag = *row.get(at)?;
        at += 1;
        let name = take(row, &mut at)?;
        let len = take(row, &mut at)? as usize;
        let value = std::str::from_utf8(row.get(at..at + len)?).ok()?;
        at += len;
        Some(Entry { tag, name, value })
    })
}

impl PropertyTable {
    /// A table without destinations.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what is known of a destination; returns what changed, each as one name of one source. Whatever has a [`Read`] that one of them concerns must be looked at again.
    pub fn set(&mut self, destination: Destination, given: &Given) -> Vec<Read> {
        let changed = self.changes(destination, given);
        if changed.is_empty() && self.row(destination).is_some() {
            return changed;
        }
        self.unindex_row(destination);
        let mut row = Vec::new();
        for source in Source::HOLDING {
            if source == Source::Claim {
                row.push(NAME_TAG);
                put(&mut row, 0);
                put_text(&mut row, &given.name);
            }
            for (name, value) in given.source(source).into_iter().flatten() {
                row.push(tag_of(source));
                put(&mut row, self.names.take(name));
                put_text(&mut row, value);
            }
        }
        let old = self.replace(destination, Some(row.into_boxed_slice()));
        self.release(old.as_deref());
        self.index_row(destination);
        changed
    }

    /// Forgets a destination.
    pub fn remove(&mut self, destination: Destination) {
        self.unindex_row(destination);
        let old = self.replace(destination, None);
        self.release(old.as_deref());
    }

    /// Sees to it that destinations can be grouped by these reads. Cheap when they are indexed already.
    pub fn index<'r>(&mut self, reads: impl IntoIterator<Item = &'r Read>) {
        for read in reads {
            let Some(name) = &read.name else { continue };
            let key = (read.source, name.clone());
            if self.indexes.contains_key(&key) {
                continue;
            }
            let mut index = Index::default();
            for at in 0..self.rows.len() {
                let destination = Destination(u32::try_from(at).unwrap_or(u32::MAX));
                if let Some(value) = self.find(destination, read.source, name) {
                    index.add(destination.0, value);
                }
            }
            self.indexes.insert(key, index);
        }
    }

    /// Drops the indexes that none of these reads needs.
    pub fn keep_indexes(&mut self, reads: &[Read]) {
        self.indexes.retain(|(source, name), _| {
            reads
                .iter()
                .any(|r| r.source == *source && r.name.as_ref() == Some(name))
        });
    }

    /// Bytes held for the destinations' values, for reports.
    pub fn bytes(&self) -> usize {
        self.rows.len() * std::mem::size_of::<Option<Box<[u8]>>>()
            + self.rows.iter().flatten().map(|r| r.len()).sum::<usize>()
    }

    fn row(&self, destination: Destination) -> Option<&[u8]> {
        self.rows.get(destination.0 as usize)?.as_deref()
    }

    fn replace(&mut self, destination: Destination, row: Option<Box<[u8]>>) -> Option<Box<[u8]>> {
        let at = destination.0 as usize;
        if at >= self.rows.len() {
            row.as_ref()?;
            self.rows.resize(at + 1, None);
        }
        std::mem::replace(self.rows.get_mut(at)?, row)
    }

    fn release(&mut self, row: Option<&[u8]>) {
        for entry in row.into_iter().flat_map(entries) {
            if entry.tag != NAME_TAG {
                self.names.release(entry.name);
            }
        }
    }

    fn changes(&self, destination: Destination, given: &Given) -> Vec<Read> {
        let mut changed = Vec::new();
        let mut seen: HashMap<(u8, &str), &str> = HashMap::new();
        let mut own_name = None;
        for entry in self.row(destination).into_iter().flat_map(entries) {
            if entry.tag == NAME_TAG {
                own_name = Some(entry.value);
            } else {
                seen.insert((entry.tag, self.names.name(entry.name)), entry.value);
            }
        }
        for source in Source::HOLDING {
            for (name, value) in given.source(source).into_iter().flatten() {
                if seen.remove(&(tag_of(source), name.as_str())) != Some(value.as_str()) {
                    changed.push(Read::of(source, name));
                }
            }
        }
        for (tag, name) in seen.into_keys() {
            if let Some(source) = Source::HOLDING.into_iter().find(|s| tag_of(*s) == tag) {
                changed.push(Read::of(source, name));
            }
        }
        if own_name != Some(given.name.as_str()) {
            changed.push(Read::of(Source::Name, CLUSTER_NAME));
        }
        changed.sort_unstable();
        changed
    }

    fn find(&self, destination: Destination, source: Source, name: &str) -> Option<&str> {
        let id = self.names.ids.get(name).copied();
        let own = matches!(source, Source::Any | Source::Name) && name == CLUSTER_NAME;
        let tag = tag_of(source);
        entries(self.row(destination)?)
            .find(|entry| match (entry.tag, source) {
                (NAME_TAG, _) => own,
                (_, Source::Any) => Some(entry.name) == id,
                (t, _) => t == tag && Some(entry.name) == id,
            })
            .map(|entry| entry.value)
    }

    fn index_row(&mut self, destination: Destination) {
        let mut indexes = std::mem::take(&mut self.indexes);
        for ((source, name), index) in &mut indexes {
            if let Some(value) = self.find(destination, *source, name) {
                index.add(destination.0, value);
            }
        }
        self.indexes = indexes;
    }

    fn unindex_row(&mut self, destination: Destination) {
        let mut indexes = std::mem::take(&mut self.indexes);
        for ((source, name), index) in &mut indexes {
            if let Some(value) = self.find(destination, *source, name) {
                index.remove(destination.0, value);
            }
        }
        self.indexes = indexes;
    }
}

fn put_text(row: &mut Vec<u8>, text: &str) {
    put(row, u32::try_from(text.len()).unwrap_or(u32::MAX));
    row.extend_from_slice(text.as_bytes());
}

impl Properties for PropertyTable {
    fn get(&self, destination: Destination, source: Source, name: &str) -> Option<Cow<'_, str>> {
        self.find(destination, source, name).map(Cow::Borrowed)
    }

    fn all(&self, destination: Destination, source: Source) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
        let mut found: Vec<(&str, &str)> = Vec::new();
        for entry in self.row(destination).into_iter().flat_map(entries) {
            let of_source = entry.tag == tag_of(source) && source != Source::Any;
            match (entry.tag, source) {
                (NAME_TAG, Source::Any | Source::Name) => found.push((CLUSTER_NAME, entry.value)),
                (NAME_TAG, _) => {}
                (_, Source::Any) => found.push((self.names.name(entry.name), entry.value)),
                _ if of_source => found.push((self.names.name(entry.name), entry.value)),
                _ => {}
            }
        }
        // Stable, so that of equal names the one of higher precedence stays.
        found.sort_by_key(|(name, _)| *name);
        found.dedup_by_key(|(name, _)| *name);
        found
            .into_iter()
            .map(|(n, v)| (n.into(), v.into()))
            .collect()
    }

    fn groups(&self, source: Source, name: &str) -> Option<Groups<'_>> {
        let Some(index) = self.indexes.get(&(source, Box::from(name))) else {
            // What nobody has needs no index.
            let held = self.names.ids.contains_key(name) || name == CLUSTER_NAME;
            return (!held).then(Vec::new);
        };
        if index.given_up {
            return None;
        }
        let mut groups: Groups<'_> = index
            .values
            .iter()
            .map(|(value, members)| {
                let destinations = match members.many() {
                    Some(many) => Cow::Borrowed(many),
                    None => {
                        let mut one = Destinations::new();
                        members.add_to(&mut one);
                        Cow::Owned(one)
                    }
                };
                (Cow::Borrowed(value.as_ref()), destinations)
            })
            .collect();
        groups.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Some(groups)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const NAMES: [&str; 4] = ["zone", "location-group", "host", CLUSTER_NAME];

    fn map() -> impl Strategy<Value = BTreeMap<String, String>> {
        proptest::collection::btree_map(
            proptest::sample::select(NAMES.to_vec()).prop_map(str::to_owned),
            "[ab]{0,1}",
            0..3,
        )
    }

    fn given() -> impl Strategy<Value = Given> {
        (map(), map(), map(), map(), "[xyz]").prop_map(
            |(config, annotations, labels, claims, name)| Given {
                name,
                config,
                annotations,
                labels,
                claims,
            },
        )
    }

    fn reads() -> Vec<Read> {
        let sources = Source::HOLDING
            .into_iter()
            .chain([Source::Any, Source::Name]);
        sources
            .flat_map(|s| NAMES.map(|n| Read::of(s, n)))
            .collect()
    }

    proptest! {
        /// After any history the table says of each destination what its sources say, its groups are those that asking
        /// each one would make, and what it says has changed is what has.
        #[test]
        fn the_table_says_what_the_sources_say(
            history in proptest::collection::vec((0u32..6, proptest::option::of(given())), 0..24),
            indexed_after in 0usize..24,
        ) {
            let mut table = PropertyTable::new();
            let mut model: BTreeMap<u32, Given> = BTreeMap::new();
            for (step, (at, given)) in history.into_iter().enumerate() {
                if step == indexed_after {
                    table.index(&reads());
                }
                match given {
                    Some(given) => {
                        let before = model.get(&at).cloned().unwrap_or_default();
                        let known = model.contains_key(&at);
                        let changed = table.set(Destination(at), &given);
                        for read in reads() {
                            let name = read.name.as_deref().unwrap_or_default();
                            let differs = known && before.get(read.source, name) != given.get(read.source, name);
                            prop_assert!(!differs || changed.iter().any(|c| read.concerns(c)), "{read} changed unnoticed");
                        }
                        model.insert(at, given);
                    }
                    None => { table.remove(Destination(at)); model.remove(&at); }
                }
            }
            table.index(&reads());
            for read in reads() {
                let name = read.name.as_deref().unwrap_or_default();
                let mut naive: BTreeMap<String, Destinations> = BTreeMap::new();
                for (at, given) in &model {
                    let expected = given.get(read.source, name);
                    let found = Properties::get(&table, Destination(*at), read.source, name);
                    prop_assert_eq!(found.as_deref(), expected);
                    let (all, expected_all) = (
                        Properties::all(&table, Destination(*at), read.source),
                        Properties::all(given, Destination(*at), read.source),
                    );
                    prop_assert_eq!(all, expected_all);
                    if let Some(value) = expected {
                        naive.entry(value.to_owned()).or_default().insert(*at);
                    }
                }
                let groups: BTreeMap<String, Destinations> = table.groups(read.source, name).unwrap()
                    .into_iter().map(|(v, d)| (v.into_owned(), d.into_owned())).collect();
                prop_assert_eq!(groups, naive);
            }
        }
    }

    #[test]
    fn an_index_of_unique_values_is_given_up() {
        let mut table = PropertyTable::new();
        let read = Read::property(CLUSTER_NAME);
        table.index([&read]);
        for at in 0..5_000u32 {
            let name = format!("edge-{at}");
            table.set(
                Destination(at),
                &Given {
                    name,
                    ..Given::default()
                },
            );
        }
        assert!(table.groups(Source::Any, CLUSTER_NAME).is_none());
        assert_eq!(
            Properties::get(&table, Destination(77), Source::Any, CLUSTER_NAME).as_deref(),
            Some("edge-77")
        );
        assert!(table.bytes() < 5_000 * 32);
    }

    #[test]
    fn names_that_are_gone_leave_nothing() {
        let mut table = PropertyTable::new();
        for round in 0..100 {
            let labels = [(format!("key-{round}"), "v".to_owned())].into();
            table.set(
                Destination(0),
                &Given {
                    labels,
                    ..Given::default()
                },
            );
        }
        assert!(table.names.names.len() <= 2, "{:?}", table.names);
        assert!(table.groups(Source::Label, "key-99").is_none());
        table.remove(Destination(0));
        assert!(table.names.ids.is_empty());
        assert!(
            table
                .groups(Source::Label, "key-99")
                .is_some_and(|g| g.is_empty())
        );
    }
}
