//! The rows that a person sees of one collector, with what went wrong on the way.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::cell::Cell;
use super::collector::{Collector, Field, Shape};
use super::memo::Place;
use super::partial::Fault;

/// A column of a shown row that has no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowError {
    /// The destination's name.
    pub destination: Arc<str>,
    /// The column's name.
    pub column: Arc<str>,
    /// Why.
    pub message: Arc<str>,
}

/// An error of an expression, counted over all copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// `filter`, `groupBy` or `combinedFields`.
    pub clause: &'static str,
    /// The column's name; empty for the filter.
    pub column: Arc<str>,
    /// What went wrong.
    pub message: Arc<str>,
    /// For how many copies.
    pub count: u64,
    /// At these destinations, among others.
    pub examples: Vec<Arc<str>>,
}

/// What is shown of one collector.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    /// The names of the columns.
    pub columns: Vec<Arc<str>>,
    /// Those that are estimates.
    pub approximate: Vec<Arc<str>>,
    /// The first rows.
    pub rows: Vec<Vec<Cell>>,
    /// How many rows there are.
    pub total: u64,
    /// What the shown rows lack, and why.
    pub row_errors: Vec<RowError>,
    /// What went wrong, most frequent first.
    pub problems: Vec<Problem>,
    /// There were more groups or values than can be kept: no rows.
    pub too_many: bool,
}

/// How many problems are shown.
const MOST_PROBLEMS: usize = 20;

impl Table {
    /// The table without its rows.
    pub(crate) fn of(collector: &Collector, faults: &BTreeMap<(Place, Arc<str>), Fault>) -> Self {
        let approximate = match collector.shape() {
            Shape::Select(_) => Vec::new(),
            Shape::Aggregate { fields, .. } => fields
                .iter()
                .filter(|field| field.aggregation.is_approximate())
                .map(|field| field.name.clone())
                .collect(),
        };
        let mut problems: Vec<Problem> = faults
            .iter()
            .map(|((place, message), fault)| {
                let (clause, column) = collector.clause(*place);
                Problem {
                    clause,
                    column,
                    message: message.clone(),
                    count: fault.count,
                    examples: fault.examples.iter().cloned().collect(),
                }
            })
            .collect();
        // Stable: equally frequent ones stay in the order of places and words.
        problems.sort_by_key(|problem| std::cmp::Reverse(problem.count));
        problems.truncate(MOST_PROBLEMS);
        Table {
            columns: collector.column_names(),
            approximate,
            problems,
            ..Table::default()
        }
    }
}

impl Collector {
    /// The clause and column of a place.
    fn clause(&self, place: Place) -> (&'static str, Arc<str>) {
        match (place, self.shape()) {
            (Place::Group(i), Shape::Aggregate { group_by, .. }) => {
                let column = group_by.get(usize::from(i));
                (
                    "groupBy",
                    column.map_or_else(|| "".into(), |c| c.name.clone()),
                )
            }
            (Place::Subject(i), Shape::Aggregate { accumulators, .. }) => {
                let spec = accumulators.get(usize::from(i));
                let column = spec.map_or_else(|| "".into(), |s| s.column.clone());
                ("combinedFields", column)
            }
            _ => ("filter", "".into()),
        }
    }
}

/// A group's row: what its copies have in common, then the columns.
pub(crate) fn group_row(
    key: &[Cell],
    fields: &[Field],
    copies: u64,
    read: impl Fn(&Field, usize) -> Cell,
) -> Vec<Cell> {
    let columns = fields.iter().map(|field| match field.accumulator {
        None => Cell::Number(super::number::Number::Int(i128::from(copies))),
        Some(i) => read(field, i),
    });
    key.iter().cloned().chain(columns).collect()
}
