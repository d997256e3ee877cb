//! What must always hold of the algebra, as properties and counts.

mod collectors;
mod counts;
mod history;
mod shown;
mod speed;

use std::collections::BTreeMap;
use std::sync::Arc;

use atoll_kube::Timestamp;
use serde_json::{Value, json};

use super::inputs::{PlainRoster, Projections};
use super::*;
use crate::inventory::Labels;
use crate::{Destination, Destinations};

fn collector(spec: Value) -> Arc<Collector> {
    Arc::new(Collector::parse(&spec).unwrap_or_else(|errors| panic!("{spec}: {errors:?}")))
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// Plain columns: what a test's copies reported.
#[derive(Default)]
struct Plain {
    projections: Projections,
    reports: BTreeMap<(u32, u32), board::Report>,
}

impl Plain {
    /// Notes a report and returns what there was before.
    fn set(
        &mut self,
        object: u32,
        at: u32,
        status: Option<&Value>,
        time: Option<Timestamp>,
    ) -> Option<board::Report> {
        match status {
            None => self.reports.remove(&(object, at)),
            Some(status) => {
                let new = self.projections.intern(&status.to_string());
                self.reports.insert((object, at), (new, time))
            }
        }
    }
}

fn sample(report: &board::Report) -> Sample<'_> {
    Sample {
        projection: &report.0,
        at: report.1,
    }
}

impl board::Copies<u32> for Plain {
    fn reports(&self, object: u32) -> Vec<(board::Report, Destinations)> {
        let mut sets: BTreeMap<(u64, Option<Timestamp>), (board::Report, Destinations)> =
            BTreeMap::new();
        for ((_, at), report) in self.reports.range((object, 0)..=(object, u32::MAX)) {
            let entry = sets.entry((report.0.number(), report.1));
            let (_, set) = entry.or_insert_with(|| (report.clone(), Destinations::new()));
            set.insert(*at);
        }
        sets.into_values().collect()
    }

    fn report(&self, object: u32, destination: Destination) -> Option<board::Report> {
        self.reports.get(&(object, destination.0)).cloned()
    }
}

/// The plain JSON of a table's rows.
fn rows(table: &Table) -> Value {
    let row = |row: &Vec<Cell>| row.iter().map(Cell::plain).collect::<Vec<_>>();
    json!(table.rows.iter().map(row).collect::<Vec<_>>())
}

/// A copy: where, with which labels, and what it reports.
type Copied<'a> = (&'a str, &'a [(&'a str, &'a str)], Value);

/// A collector's table over copies.
fn table(spec: Value, object: Value, copies: &[Copied<'_>]) -> Table {
    let mut evaluator = Evaluator::new(collector(spec));
    let (mut roster, mut plain) = (PlainRoster::new(), Plain::default());
    let mut aggregate = Aggregate::new(&mut evaluator, Subject::new(object));
    for (i, (name, pairs, status)) in copies.iter().enumerate() {
        let destination = Destination(i as u32);
        roster.set(destination, name, labels(pairs));
        plain.set(0, destination.0, Some(status), None);
        let report = plain.reports[&(0, destination.0)].clone();
        aggregate.change_one(
            &mut evaluator,
            &roster,
            destination,
            None,
            Some(sample(&report)),
        );
    }
    aggregate.table(&mut evaluator, &roster, &|d| {
        board::Copies::report(&plain, 0, d)
    })
}
