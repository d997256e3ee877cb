//! Properties where labels are in the inventory's index already: they are not held twice.
//!
//! The table beside it holds names, ConfigMaps, annotations and claims ([`Given::without_labels`](super::Given::without_labels)).
//! It says exactly what one table with everything would say.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::inventory::Inventory;
use crate::{Destination, Destinations};

use super::properties::{CLUSTER_NAME, Groups, Properties, Read, Source};
use super::table::PropertyTable;

/// More values than this are not grouped.
const MOST_VALUES: usize = 4096;

/// An inventory's index and the properties beside its labels.
#[derive(Debug, Clone, Copy)]
pub struct Beside<'a> {
    /// The labels.
    pub inventory: &'a Inventory,
    /// The rest.
    pub others: &'a PropertyTable,
}

impl<'a> Beside<'a> {
    /// What of `others` is to be indexed so that destinations can be grouped by these reads.
    pub fn indexes(reads: &[Read]) -> Vec<Read> {
        let mut wanted = Vec::new();
        for read in reads {
            let Some(name) = &read.name else { continue };
            match read.source {
                Source::Any => wanted.extend(
                    [Source::ConfigMap, Source::Annotation, Source::Claim]
                        .map(|source| Read::of(source, name)),
                ),
                Source::Label | Source::Name => {}
                source => wanted.push(Read::of(source, name)),
            }
        }
        wanted.sort_unstable();
        wanted.dedup();
        wanted
    }

    fn labels(&self, name: &str) -> Option<Groups<'a>> {
        if self.inventory.values(name) > MOST_VALUES {
            return None;
        }
        let parts = self.inventory.split(name, self.inventory.all());
        Some(
            parts
                .into_iter()
                .filter_map(|(value, set)| Some((Cow::Borrowed(value?), Cow::Owned(set))))
                .collect(),
        )
    }
}

impl Properties for Beside<'_> {
    fn get(&self, destination: Destination, source: Source, name: &str) -> Option<Cow<'_, str>> {
        let label = || self.inventory.label(destination, name).map(Cow::Borrowed);
        let other = |source| self.others.get(destination, source, name);
        match source {
            Source::Label => label(),
            Source::Any => other(Source::ConfigMap)
                .or_else(|| other(Source::Annotation))
                .or_else(label)
                .or_else(|| other(Source::Name))
                .or_else(|| other(Source::Claim)),
            source => other(source),
        }
    }

    fn all(&self, destination: Destination, source: Source) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
        let labels = || {
            let labels = self.inventory.labels(destination);
            labels.map(|(name, value)| (Cow::Borrowed(name), Cow::Borrowed(value)))
        };
        let mut found: Vec<(Cow<'_, str>, Cow<'_, str>)> = match source {
            Source::Label => labels().collect(),
            Source::Any => {
                let mut found = self.others.all(destination, Source::ConfigMap);
                found.extend(self.others.all(destination, Source::Annotation));
                found.extend(labels());
                found.extend(self.others.all(destination, Source::Name));
                found.extend(self.others.all(destination, Source::Claim));
                found
            }
            source => return self.others.all(destination, source),
        };
        // Stable, so that of equal names the one of higher precedence stays.
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found.dedup_by(|later, first| later.0 == first.0);
        found
    }

    fn groups(&self, source: Source, name: &str) -> Option<Groups<'_>> {
        match source {
            Source::Label => self.labels(name),
            Source::Any if name == CLUSTER_NAME => None,
            Source::Any => {
                let mut taken = Destinations::new();
                let mut groups: BTreeMap<Cow<'_, str>, Cow<'_, Destinations>> = BTreeMap::new();
                for layer in [
                    self.others.groups(Source::ConfigMap, name)?,
                    self.others.groups(Source::Annotation, name)?,
                    self.labels(name)?,
                    self.others.groups(Source::Claim, name)?,
                ] {
                    let mut these = Destinations::new();
                    for (value, set) in layer {
                        let left = if taken.is_empty() {
                            set
                        } else {
                            Cow::Owned(set.as_ref() - &taken)
                        };
                        these |= left.as_ref();
                        if left.is_empty() {
                            continue;
                        }
                        match groups.entry(value) {
                            Entry::Occupied(mut known) => {
                                *known.get_mut().to_mut() |= left.as_ref()
                            }
                            Entry::Vacant(place) => {
                                place.insert(left);
                            }
                        }
                    }
                    taken |= these;
                }
                Some(groups.into_iter().collect())
            }
            source => self.others.groups(source, name),
        }
    }
}
