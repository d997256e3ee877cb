//! A StatusCollector, parsed and compiled once: what is asked of the copies of an object.
//!
//! Always true of a [`Collector`]: its expressions compile, its columns have distinct names, and it either selects or aggregates. Equal expressions are kept (and run) once. What is
//! wrong with a spec is reported by field, with line and column of a bad expression.
//!
//! | variable | is |
//! |---|---|
//! | `inventory.name`, `inventory.labels` | the destination's name and labels |
//! | `obj` | the payload object, without status |
//! | `returned.status` | what the copy reported, projected (see [`super::keep`]) |
//! | `propagation.lastReturnedUpdateTimestamp` | when that was; null when it is not known |

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use atoll_cel::{Environment, ObjectType, Program, Read, Step, Type};
use atoll_kube::status::FieldError;
use serde_json::Value;

use super::parse::Parsed;

/// How many rows are shown when nothing is said.
pub const DEFAULT_LIMIT: u64 = 20;
/// The most rows that are ever shown: a larger `limit` is taken as this.
pub const MOST_ROWS: u64 = 1000;

/// The variable of reported state.
pub(crate) const RETURNED: &str = "returned";
/// The variable of the payload object.
pub(crate) const OBJ: &str = "obj";
/// The variable of the destination.
pub(crate) const INVENTORY: &str = "inventory";
/// The variable of the report itself.
pub(crate) const PROPAGATION: &str = "propagation";
/// The only field of `propagation`.
pub(crate) const RETURNED_AT: &str = "lastReturnedUpdateTimestamp";

static ENVIRONMENT: LazyLock<Environment> = LazyLock::new(|| {
    Environment::kubernetes()
        .variable(OBJ, Type::Dyn)
        .variable(
            RETURNED,
            Type::from(ObjectType::new("returned").nullable("status", Type::Dyn)),
        )
        .variable(
            INVENTORY,
            Type::from(
                ObjectType::new("inventory")
                    .field("name", Type::String)
                    .field("labels", Type::map(Type::String)),
            ),
        )
        .variable(
            PROPAGATION,
            Type::from(ObjectType::new("propagation").nullable(RETURNED_AT, Type::Timestamp)),
        )
});

/// The types of the variables that a collector's expressions can use.
pub fn environment() -> &'static Environment {
    &ENVIRONMENT
}

/// What a column of `combinedFields` is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Aggregation {
    /// How many copies; with a subject, how many whose subject is not null.
    Count,
    /// The exact sum.
    Sum,
    /// The exact sum, divided.
    Avg,
    /// The least.
    Min,
    /// The most.
    Max,
    /// The most frequent values, so many, each with its count.
    Top(u64),
    /// About how many distinct values.
    ApproxCountDistinct,
    /// About the value below which this share lies.
    ApproxQuantile(f64),
}

impl Aggregation {
    /// Whether its result is an estimate.
    pub fn is_approximate(self) -> bool {
        matches!(
            self,
            Aggregation::ApproxCountDistinct | Aggregation::ApproxQuantile(_)
        )
    }

    /// Whether it adds up or compares numbers.
    pub(super) fn needs_numbers(self) -> bool {
        matches!(
            self,
            Aggregation::Sum
                | Aggregation::Avg
                | Aggregation::Min
                | Aggregation::Max
                | Aggregation::ApproxQuantile(_)
        )
    }

    /// What has to be kept for it.
    pub(super) fn keeps(self) -> Keeps {
        match self {
            Aggregation::Count => Keeps::Presence,
            Aggregation::Sum | Aggregation::Avg => Keeps::Sum,
            Aggregation::Min | Aggregation::Max => Keeps::Order,
            Aggregation::Top(_) => Keeps::Frequencies,
            Aggregation::ApproxCountDistinct => Keeps::Distinct,
            Aggregation::ApproxQuantile(_) => Keeps::Quantiles,
        }
    }
}

/// What is kept of the values of one subject in one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeps {
    /// How many there are.
    Presence,
    /// Their exact sum.
    Sum,
    /// How often each number occurs.
    Order,
    /// How often each value occurs.
    Frequencies,
    /// A sketch of how many differ.
    Distinct,
    /// A sketch of their distribution.
    Quantiles,
}

/// A column: an expression by its index among the collector's programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: Arc<str>,
    /// Its expression.
    pub program: usize,
}

/// A column of `combinedFields`.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: Arc<str>,
    /// What is computed.
    pub aggregation: Aggregation,
    /// Which of the collector's accumulators it is read from; `None` counts copies.
    pub accumulator: Option<usize>,
}

/// What several columns share: one subject, kept in one way.
#[derive(Debug, Clone, PartialEq)]
pub struct AccumulatorSpec {
    /// What is kept.
    pub keeps: Keeps,
    /// The subject's expression.
    pub program: usize,
    /// The first column that reads it, to name it in errors.
    pub column: Arc<str>,
}

/// What a collector makes of the copies that pass its filter.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// A row of these columns per copy.
    Select(Vec<Column>),
    /// A row per group.
    Aggregate {
        /// What copies of one group have in common.
        group_by: Vec<Column>,
        /// What is computed of each group.
        fields: Vec<Field>,
        /// What is kept of each group.
        accumulators: Vec<AccumulatorSpec>,
    },
}

/// What the expressions read of a destination.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InventoryReads {
    /// Its name.
    pub name: bool,
    /// All of its labels.
    pub all_labels: bool,
    /// These labels.
    pub labels: BTreeSet<String>,
}

/// A parsed StatusCollector. Immutable; share it by `Arc`.
#[derive(Debug)]
pub struct Collector {
    pub(crate) programs: Vec<Program>,
    pub(crate) filter: Option<usize>,
    pub(crate) shape: Shape,
    limit: u64,
    pub(crate) inventory: InventoryReads,
    pub(crate) reads_time: bool,
    pub(crate) status_reads: Vec<Read>,
    pub(crate) object_reads: Vec<Read>,
}

impl PartialEq for Collector {
    /// Whether the same is asked.
    fn eq(&self, other: &Self) -> bool {
        self.filter == other.filter
            && self.shape == other.shape
            && self.limit == other.limit
            && self.programs.len() == other.programs.len()
            && self
                .programs
                .iter()
                .zip(&other.programs)
                .all(|(a, b)| a.source() == b.source())
    }
}

impl Collector {
    /// Parses and compiles a StatusCollector's `spec`.
    pub fn parse(spec: &Value) -> Result<Collector, Vec<FieldError>> {
        let parsed = super::parse::spec(spec)?;
        Ok(Collector::compiled(parsed))
    }

    fn compiled(parsed: Parsed) -> Collector {
        let Parsed {
            programs,
            filter,
            shape,
            limit,
        } = parsed;
        let mut collector = Collector {
            programs,
            filter,
            shape,
            limit,
            inventory: InventoryReads::default(),
            reads_time: false,
            status_reads: Vec::new(),
            object_reads: Vec::new(),
        };
        // What only the shown rows of a selection read is no input of what is kept.
        let kept: Vec<usize> = match &collector.shape {
            Shape::Select(_) => collector.filter.into_iter().collect(),
            Shape::Aggregate { .. } => (0..collector.programs.len()).collect(),
        };
        let reads: BTreeSet<Read> = kept
            .iter()
            .filter_map(|i| collector.programs.get(*i))
            .flat_map(|program| program.reads().iter().cloned())
            .collect();
        for read in reads {
            match read.variable.as_str() {
                RETURNED => collector.status_reads.push(read),
                OBJ => collector.object_reads.push(read),
                PROPAGATION => collector.reads_time = true,
                INVENTORY => collector.inventory.note(&read.path),
                _ => {}
            }
        }
        collector
    }

    /// How many rows are shown at most.
    pub fn limit(&self) -> usize {
        self.limit as usize
    }

    /// What it makes of the copies.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The names of the columns, in order.
    pub fn column_names(&self) -> Vec<Arc<str>> {
        match &self.shape {
            Shape::Select(columns) => columns.iter().map(|c| c.name.clone()).collect(),
            Shape::Aggregate {
                group_by, fields, ..
            } => {
                let groups = group_by.iter().map(|c| c.name.clone());
                groups
                    .chain(fields.iter().map(|f| f.name.clone()))
                    .collect()
            }
        }
    }

    /// What its state depends on of a destination. A change of another label concerns it only where rows are shown.
    pub fn inventory_reads(&self) -> &InventoryReads {
        &self.inventory
    }

    /// Whether a change of these labels can change what is kept or shown.
    pub fn reads_labels<'a>(&self, changed: impl Iterator<Item = &'a str>) -> bool {
        let mut all = InventoryReads::default();
        let reads = self.programs.iter().flat_map(Program::reads);
        for read in reads.filter(|read| read.variable == INVENTORY) {
            all.note(&read.path);
        }
        all.concern(changed)
    }

    /// Everything its expressions can read of reported state, the shown rows' included: what has to be kept in projections.
    pub fn status_paths(&self) -> impl Iterator<Item = &[Step]> {
        self.programs
            .iter()
            .flat_map(Program::reads)
            .filter(|read| read.variable == RETURNED)
            .filter_map(|read| match read.path.split_first() {
                Some((Step::Field(name), rest)) if name == "status" => Some(rest),
                None => Some(&[][..]),
                _ => None,
            })
    }

    /// Whether any expression reads when a copy reported.
    pub fn reads_report_time(&self) -> bool {
        self.programs
            .iter()
            .flat_map(Program::reads)
            .any(|read| read.variable == PROPAGATION)
    }
}

impl InventoryReads {
    fn note(&mut self, path: &[Step]) {
        match path {
            [Step::Field(field), ..] if field == "name" => self.name = true,
            [Step::Field(field), Step::Field(key), ..] if field == "labels" => {
                self.labels.insert(key.clone());
            }
            [Step::Field(field), ..] if field == "labels" => self.all_labels = true,
            _ => {
                self.name = true;
                self.all_labels = true;
            }
        }
    }

    /// Whether nothing of a destination is read.
    pub fn is_empty(&self) -> bool {
        !self.name && !self.all_labels && self.labels.is_empty()
    }

    /// Whether a change of these labels can matter.
    pub fn concern<'a>(&self, mut changed: impl Iterator<Item = &'a str>) -> bool {
        changed.any(|key| self.all_labels || self.labels.contains(key))
    }
}
