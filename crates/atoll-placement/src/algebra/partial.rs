//! What one part of a fleet hands on about one collector and one object: mergeable in any order and grouping, so that hubs reduce on the way up.
//!
//! A part that has changed replaces the one before; nothing is ever taken back from a merged one. Always true: merging the parts of any division of a fleet gives what the whole
//! fleet's aggregate hands on, bit by bit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::accumulate::Part;
use super::aggregate::Limits;
use super::cell::{Cell, GroupKey};
use super::collector::{AccumulatorSpec, Collector, Shape};
use super::memo::Place;
use super::table::{RowError, Table, group_row};
use crate::Destinations;

/// How many destinations are expected to have a copy, how many have reported, and how many of those expected are away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Where a copy should be.
    pub expected: u64,
    /// Where one has reported.
    pub reported: u64,
    /// Where one should be, at destinations that are away: what they reported may be old.
    pub stale: u64,
}

impl Coverage {
    /// The counts of these sets.
    pub fn of(expected: &Destinations, reported: &Destinations, away: &Destinations) -> Self {
        Coverage {
            expected: expected.len(),
            reported: expected.intersection_len(reported),
            stale: expected.intersection_len(away),
        }
    }

    /// Adds another part of the fleet.
    pub fn merge(&mut self, other: Coverage) {
        self.expected = self.expected.saturating_add(other.expected);
        self.reported = self.reported.saturating_add(other.reported);
        self.stale = self.stale.saturating_add(other.stale);
    }
}

/// The names of destinations that are shown for an error.
pub struct Examples;

impl Examples {
    /// How many.
    pub const MOST: usize = 3;
}

/// One error, and whom it concerns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fault {
    /// How many copies.
    pub count: u64,
    /// The first destinations by name.
    pub examples: BTreeSet<Arc<str>>,
}

/// A group of one part of the fleet.
#[derive(Debug, Clone, PartialEq)]
pub struct PartialGroup {
    /// How many copies.
    pub copies: u64,
    /// One part per accumulator of the collector.
    pub parts: Vec<Part>,
}

/// The columns of a row, in order; `Err` is why one has no value.
pub type SelectedRow = Vec<Result<Cell, Arc<str>>>;

/// The rows of one part of the fleet.
#[derive(Debug, Clone, PartialEq)]
pub enum PartialRows {
    /// A selection.
    Selected {
        /// How many rows there are.
        total: u64,
        /// The first ones, by the names of destinations.
        first: BTreeMap<Arc<str>, SelectedRow>,
    },
    /// Groups.
    Grouped(BTreeMap<GroupKey, PartialGroup>),
    /// There were too many groups or values.
    TooMany,
}

/// What is handed on.
#[derive(Debug, Clone, PartialEq)]
pub struct Partial {
    /// How many rows are shown at most.
    pub(crate) limit: usize,
    /// How many groups are kept at most.
    pub(crate) groups: usize,
    /// The rows.
    pub rows: PartialRows,
    /// The errors.
    pub faults: BTreeMap<(Place, Arc<str>), Fault>,
}

impl Partial {
    /// The part of a fleet without copies: where merging begins.
    pub fn empty(collector: &Collector) -> Self {
        let rows = match collector.shape() {
            Shape::Select(_) => PartialRows::Selected {
                total: 0,
                first: BTreeMap::new(),
            },
            Shape::Aggregate { .. } => PartialRows::Grouped(BTreeMap::new()),
        };
        Partial {
            limit: collector.limit(),
            groups: Limits::default().groups,
            rows,
            faults: BTreeMap::new(),
        }
    }

    /// Whether this is a part for this collector: what came from elsewhere may be for an older version of it.
    pub fn fits(&self, collector: &Collector) -> bool {
        self.limit == collector.limit()
            && match (&self.rows, collector.shape()) {
                (PartialRows::TooMany, _) => true,
                (PartialRows::Selected { first, .. }, Shape::Select(columns)) => {
                    first.values().all(|row| row.len() == columns.len())
                }
                (
                    PartialRows::Grouped(groups),
                    Shape::Aggregate {
                        group_by,
                        accumulators,
                        ..
                    },
                ) => groups.iter().all(|(key, group)| {
                    let same = |(part, spec): (&Part, &AccumulatorSpec)| part.is_of(spec.keeps);
                    key.len() == group_by.len()
                        && group.parts.len() == accumulators.len()
                        && group.parts.iter().zip(accumulators).all(same)
                }),
                _ => false,
            }
    }

    /// Puts another part of the fleet in; both are of the same collector and object.
    pub fn merge(&mut self, other: &Partial) {
        for (key, theirs) in &other.faults {
            let mine = self.faults.entry(key.clone()).or_default();
            mine.count = mine.count.saturating_add(theirs.count);
            mine.examples.extend(theirs.examples.iter().cloned());
            while mine.examples.len() > Examples::MOST {
                mine.examples.pop_last();
            }
        }
        match (&mut self.rows, &other.rows) {
            (PartialRows::TooMany, _) => {}
            (rows, PartialRows::TooMany) => *rows = PartialRows::TooMany,
            (
                PartialRows::Selected { total, first },
                PartialRows::Selected {
                    total: more,
                    first: others,
                },
            ) => {
                *total = total.saturating_add(*more);
                for (name, row) in others {
                    first.insert(name.clone(), row.clone());
                }
                while first.len() > self.limit {
                    first.pop_last();
                }
            }
            (PartialRows::Grouped(groups), PartialRows::Grouped(others)) => {
                for (key, theirs) in others {
                    match groups.get_mut(key) {
                        None => {
                            groups.insert(key.clone(), theirs.clone());
                        }
                        Some(mine) => {
                            mine.copies = mine.copies.saturating_add(theirs.copies);
                            for (part, other) in mine.parts.iter_mut().zip(&theirs.parts) {
                                part.merge(other);
                            }
                        }
                    }
                }
                if groups.len() > self.groups {
                    self.rows = PartialRows::TooMany;
                }
            }
            // Not of the same collector: what is here stays.
            _ => {}
        }
    }

    /// What is shown.
    pub fn table(&self, collector: &Collector) -> Table {
        let mut table = Table::of(collector, &self.faults);
        match (&self.rows, collector.shape()) {
            (PartialRows::Selected { total, first }, Shape::Select(columns)) => {
                table.total = *total;
                for (name, row) in first.iter().take(collector.limit()) {
                    let mut cells = Vec::with_capacity(row.len());
                    for (cell, column) in row.iter().zip(columns) {
                        match cell {
                            Ok(cell) => cells.push(cell.clone()),
                            Err(message) => {
                                cells.push(Cell::Null);
                                table.row_errors.push(RowError {
                                    destination: name.clone(),
                                    column: column.name.clone(),
                                    message: message.clone(),
                                });
                            }
                        }
                    }
                    table.rows.push(cells);
                }
            }
            (
                PartialRows::Grouped(groups),
                Shape::Aggregate {
                    group_by,
                    fields,
                    accumulators,
                },
            ) => {
                let row = |key: &[Cell], copies, parts: &[Part]| {
                    group_row(key, fields, copies, |field, i| {
                        let part = parts.get(i);
                        part.map_or(Cell::Null, |part| part.read(field.aggregation))
                    })
                };
                table.total = groups.len() as u64;
                table.rows = groups
                    .iter()
                    .take(collector.limit())
                    .map(|(key, group)| row(key, group.copies, &group.parts))
                    .collect();
                // Without groupBy there is one group, also of nothing.
                if groups.is_empty() && group_by.is_empty() && !fields.is_empty() {
                    let empty: Vec<Part> =
                        accumulators.iter().map(|a| Part::empty(a.keeps)).collect();
                    table.rows.push(row(&[], 0, &empty));
                    table.total = 1;
                }
            }
            _ => table.too_many = true,
        }
        table
    }
}
