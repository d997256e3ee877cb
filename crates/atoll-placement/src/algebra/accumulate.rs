//! What is kept of one subject in one group, and what is read from it.
//!
//! Always true: an [`Accumulator`] depends on which values it holds how often and on nothing else; what it hands on ([`Part`]) can be merged in any order with the same result.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::cell::Cell;
use super::collector::{Aggregation, Keeps};
use super::memo::Contribution;
use super::number::{ExactSum, Number};
use super::sketch::{Distinct, Quantiles, Registers, count};

/// What is kept, to be changed by adding and taking back.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Accumulator {
    Presence(u64),
    Sum(ExactSum),
    Order(BTreeMap<Number, u64>),
    Frequencies(BTreeMap<Cell, u64>),
    Distinct(Distinct),
    Quantiles(Quantiles),
}

/// What is handed on: enough to merge and to read, not to take back.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// How many there are.
    Presence(u64),
    /// Their exact sum.
    Sum(ExactSum),
    /// The least and the greatest.
    Order(Option<(Number, Number)>),
    /// How often each value occurs.
    Frequencies(BTreeMap<Cell, u64>),
    /// A sketch of how many differ.
    Distinct(Registers),
    /// A sketch of their distribution.
    Quantiles(Quantiles),
}

impl Accumulator {
    pub(crate) fn new(keeps: Keeps) -> Self {
        match keeps {
            Keeps::Presence => Accumulator::Presence(0),
            Keeps::Sum => Accumulator::Sum(ExactSum::default()),
            Keeps::Order => Accumulator::Order(BTreeMap::new()),
            Keeps::Frequencies => Accumulator::Frequencies(BTreeMap::new()),
            Keeps::Distinct => Accumulator::Distinct(Distinct::default()),
            Keeps::Quantiles => Accumulator::Quantiles(Quantiles::default()),
        }
    }

    /// Adds (or takes back) what so many equal copies contribute. Returns the change in how many entries are kept.
    pub(crate) fn change(&mut self, contribution: &Contribution, times: u64, back: bool) -> isize {
        match (self, contribution) {
            (_, Contribution::Nothing) => 0,
            (Accumulator::Presence(n), _) => {
                *n = if back {
                    n.saturating_sub(times)
                } else {
                    n.saturating_add(times)
                };
                0
            }
            (Accumulator::Sum(sum), Contribution::Number(number)) => {
                if back {
                    sum.retract(*number, times);
                } else {
                    sum.add(*number, times);
                }
                0
            }
            // NaN is neither the least nor the greatest of anything.
            (Accumulator::Order(_), Contribution::Number(number)) if number.is_nan() => 0,
            (Accumulator::Order(map), Contribution::Number(number)) => {
                count(map, *number, times, back)
            }
            (Accumulator::Quantiles(sketch), Contribution::Number(number)) => {
                sketch.change(*number, times, back)
            }
            (Accumulator::Frequencies(map), Contribution::Cell(cell)) => {
                count(map, cell.clone(), times, back)
            }
            (Accumulator::Distinct(sketch), Contribution::Cell(cell)) => {
                sketch.change(cell.hash(), times, back)
            }
            // A contribution is made for its accumulator: the rest does not arise.
            _ => 0,
        }
    }

    /// What is handed on.
    pub(crate) fn part(&self) -> Part {
        match self {
            Accumulator::Presence(n) => Part::Presence(*n),
            Accumulator::Sum(sum) => Part::Sum(sum.clone()),
            Accumulator::Order(map) => Part::Order(
                map.first_key_value()
                    .zip(map.last_key_value())
                    .map(|((least, _), (greatest, _))| (*least, *greatest)),
            ),
            Accumulator::Frequencies(map) => Part::Frequencies(map.clone()),
            Accumulator::Distinct(sketch) => Part::Distinct(sketch.registers()),
            Accumulator::Quantiles(sketch) => Part::Quantiles(sketch.clone()),
        }
    }

    /// What a column shows.
    pub(crate) fn read(&self, aggregation: Aggregation) -> Cell {
        match (self, aggregation) {
            (Accumulator::Frequencies(map), Aggregation::Top(k)) => top(map, k),
            _ => self.part().read(aggregation),
        }
    }

    /// About how many bytes it keeps.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Accumulator::Presence(_) => 0,
                Accumulator::Sum(sum) => sum.heap(),
                Accumulator::Order(map) => map.len() * 56,
                Accumulator::Frequencies(map) => map.keys().map(|cell| 56 + cell.heap()).sum(),
                Accumulator::Distinct(sketch) => sketch.len() * 16,
                Accumulator::Quantiles(sketch) => sketch.len() * 18,
            }
    }

    /// How many entries it has.
    #[cfg(test)]
    pub(crate) fn entries(&self) -> usize {
        match self {
            Accumulator::Presence(_) | Accumulator::Sum(_) => 0,
            Accumulator::Order(map) => map.len(),
            Accumulator::Frequencies(map) => map.len(),
            Accumulator::Distinct(sketch) => sketch.len(),
            Accumulator::Quantiles(sketch) => sketch.len(),
        }
    }
}

impl Part {
    /// The part of nothing.
    pub(crate) fn empty(keeps: Keeps) -> Part {
        Accumulator::new(keeps).part()
    }

    /// Whether this is what such an accumulator hands on.
    pub(crate) fn is_of(&self, keeps: Keeps) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(&Part::empty(keeps))
    }

    /// Puts another part of the same sort in; one of another sort changes nothing.
    pub fn merge(&mut self, other: &Part) {
        match (self, other) {
            (Part::Presence(mine), Part::Presence(theirs)) => *mine = mine.saturating_add(*theirs),
            (Part::Sum(mine), Part::Sum(theirs)) => mine.merge(theirs),
            (Part::Order(mine), Part::Order(Some((least, greatest)))) => {
                *mine = Some(match mine {
                    None => (*least, *greatest),
                    Some((low, high)) => ((*low).min(*least), (*high).max(*greatest)),
                });
            }
            (Part::Frequencies(mine), Part::Frequencies(theirs)) => {
                for (cell, times) in theirs {
                    count(mine, cell.clone(), *times, false);
                }
            }
            (Part::Distinct(mine), Part::Distinct(theirs)) => mine.merge(theirs),
            (Part::Quantiles(mine), Part::Quantiles(theirs)) => mine.merge(theirs),
            _ => {}
        }
    }

    /// What a column shows. Of nothing: 0, NaN for a mean and a quantile, and the infinities for MIN and MAX, as KubeStellar has it.
    pub fn read(&self, aggregation: Aggregation) -> Cell {
        let number = match (self, aggregation) {
            (Part::Frequencies(map), Aggregation::Top(k)) => return top(map, k),
            (Part::Presence(n), _) => Number::Int(i128::from(*n)),
            (Part::Sum(sum), Aggregation::Avg) => sum.mean(),
            (Part::Sum(sum), _) => sum.total(),
            (Part::Order(found), Aggregation::Max) => {
                found.map_or(Number::Double(f64::NEG_INFINITY), |(_, greatest)| greatest)
            }
            (Part::Order(found), _) => {
                found.map_or(Number::Double(f64::INFINITY), |(least, _)| least)
            }
            (Part::Distinct(sketch), _) => Number::Int(i128::from(sketch.estimate())),
            (Part::Quantiles(sketch), Aggregation::ApproxQuantile(share)) => {
                sketch.quantile(share).unwrap_or(Number::Double(f64::NAN))
            }
            _ => return Cell::Null,
        };
        Cell::Number(number)
    }
}

/// The most frequent values with their counts; of equally frequent ones, the first in order.
fn top(map: &BTreeMap<Cell, u64>, k: u64) -> Cell {
    let k = k as usize;
    let mut best: Vec<(&Cell, u64)> = Vec::with_capacity(k.min(map.len()) + 1);
    for (cell, times) in map {
        let at = best.partition_point(|(_, held)| held >= times);
        if at < k {
            best.insert(at, (cell, *times));
            best.truncate(k);
        }
    }
    let list: Vec<Value> = best
        .into_iter()
        .map(|(cell, times)| json!({"count": times, "value": cell.plain()}))
        .collect();
    Cell::from_json(&Value::Array(list))
}
