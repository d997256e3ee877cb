//! Runs a collector's expressions, each once for each distinct set of values that it reads.
//!
//! Hot path: a status change asks twice for an [`Outcome`] (the old one's and the new one's), each of which is three lookups when its inputs have been seen. Always true: what an
//! outcome is depends only on the inputs, so forgetting it (all of it, when the byte budget is spent) costs another evaluation and changes nothing.

use std::collections::HashMap;
use std::sync::Arc;

use atoll_cel::{Bindings, Budget, Program, Value as Answer};
use atoll_kube::Timestamp;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::cell::{Cell, GroupKey};
use super::collector::{
    Collector, INVENTORY, Keeps, OBJ, PROPAGATION, RETURNED, RETURNED_AT, Shape,
};
use super::inputs::{Roster, Sample, Subject};
use super::number::Number;
use crate::Destination;
use crate::inventory::Labels;

/// What remembering may cost, by default.
const DEFAULT_BYTES: usize = 8 << 20;
/// What one evaluation may cost. Every copy of a million may need one.
const EVALUATION: Budget = Budget { cost: 100_000 };
/// The most of an error's words that is kept.
const LONGEST_MESSAGE: usize = 300;

/// Where an expression failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// In the filter.
    Filter,
    /// In this column of groupBy.
    Group(u16),
    /// In the subject of this accumulator.
    Subject(u16),
}

/// What one copy adds to an accumulator.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Contribution {
    /// Its subject is null.
    Nothing,
    /// A number.
    Number(Number),
    /// A value.
    Cell(Cell),
}

/// What a collector makes of one copy.
#[derive(Debug, PartialEq)]
pub(crate) struct Outcome {
    /// Whether it counts, and for what.
    pub(crate) verdict: Verdict,
    /// What went wrong.
    pub(crate) faults: Box<[(Place, Arc<str>)]>,
}

/// Whether and for what a copy counts.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    /// Filtered out, or not to be grouped.
    Out,
    /// A row.
    Selected,
    /// A member of a group.
    Grouped {
        /// Which.
        key: GroupKey,
        /// What it adds to each accumulator.
        contributions: Box<[Contribution]>,
    },
}

/// Distinct byte strings, numbered.
#[derive(Debug, Default)]
struct Classes(HashMap<Box<[u8]>, u32>);

impl Classes {
    fn class(&mut self, bytes: &[u8], spent: &mut usize) -> u32 {
        if let Some(&class) = self.0.get(bytes) {
            return class;
        }
        let class = self.0.len() as u32;
        self.0.insert(bytes.into(), class);
        *spent += bytes.len() + 48;
        class
    }
}

/// What a collector reads of one destination, as bytes: equal bytes, equal reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PlaceClass(u32);

/// What a collector reads of one payload object: a hash, because objects come and go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SubjectClass([u8; 16]);

/// How much was computed, and what it costs to remember.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EvaluatorStats {
    /// Expressions run for what is kept.
    pub evaluations: u64,
    /// Expressions run for rows that were shown.
    pub row_evaluations: u64,
    /// How often everything was forgotten because the budget was spent.
    pub forgotten: u64,
    /// Bytes in use, about.
    pub bytes: usize,
}

/// An expression's answers, by what it read.
type Answers = HashMap<Box<[u8]>, Result<Answer, Arc<str>>>;

/// A collector with what it remembers. One per collector, shared by all objects and policies it is used for.
#[derive(Debug)]
pub struct Evaluator {
    collector: Arc<Collector>,
    statuses: Classes,
    places: Classes,
    projections: HashMap<u64, u32>,
    outcomes: HashMap<(SubjectClass, u32, PlaceClass), Arc<Outcome>>,
    /// One per expression.
    answers: Vec<Answers>,
    budget: usize,
    stats: EvaluatorStats,
    buffer: Vec<u8>,
}

impl Evaluator {
    /// An evaluator that remembers within the default budget.
    pub fn new(collector: Arc<Collector>) -> Self {
        Self::with_budget(collector, DEFAULT_BYTES)
    }

    /// An evaluator that remembers within about so many bytes.
    pub fn with_budget(collector: Arc<Collector>, bytes: usize) -> Self {
        let answers = collector.programs.iter().map(|_| HashMap::new()).collect();
        Evaluator {
            collector,
            statuses: Classes::default(),
            places: Classes::default(),
            projections: HashMap::new(),
            outcomes: HashMap::new(),
            answers,
            budget: bytes,
            stats: EvaluatorStats::default(),
            buffer: Vec::new(),
        }
    }

    /// What is asked.
    pub fn collector(&self) -> &Arc<Collector> {
        &self.collector
    }

    /// What was computed so far.
    pub fn stats(&self) -> EvaluatorStats {
        self.stats
    }

    /// The class of an object: when an edit leaves it the same, nothing has to be computed anew.
    pub(crate) fn subject_class(&mut self, subject: &Subject) -> SubjectClass {
        self.buffer.clear();
        for read in &self.collector.object_reads {
            read.encode(Some(&subject.object), &mut self.buffer);
        }
        let hash: [u8; 32] = Sha256::digest(&self.buffer).into();
        let mut class = [0; 16];
        class.copy_from_slice(&hash[..16]);
        SubjectClass(class)
    }

    /// Whether copies at different destinations always differ for this collector, so that there is no use in remembering.
    pub(crate) fn tells_every_copy_apart(&self) -> bool {
        self.collector.inventory.name || self.collector.reads_time
    }

    /// The class of a destination in the roster.
    pub(crate) fn place(&mut self, roster: &dyn Roster, destination: Destination) -> PlaceClass {
        let reads = &self.collector.inventory;
        if reads.labels.is_empty() && !reads.all_labels {
            return self.place_of(|_| None, None);
        }
        if reads.all_labels {
            let labels = roster.labels(destination);
            return self.place_of_labels(&labels);
        }
        self.buffer.clear();
        for key in &reads.labels {
            put_label(&mut self.buffer, roster.label(destination, key).as_deref());
        }
        PlaceClass(self.places.class(&self.buffer, &mut self.stats.bytes))
    }

    /// The class of a destination that has these labels.
    pub(crate) fn place_of_labels(&mut self, labels: &Labels) -> PlaceClass {
        self.place_of(|key| labels.get(key).map(String::as_str), Some(labels))
    }

    /// The class of destinations that have these values of the labels that are read, in order.
    pub(crate) fn place_of_values(&mut self, values: &[Option<Arc<str>>]) -> PlaceClass {
        self.buffer.clear();
        for value in values {
            put_label(&mut self.buffer, value.as_deref());
        }
        PlaceClass(self.places.class(&self.buffer, &mut self.stats.bytes))
    }

    fn place_of<'a>(
        &mut self,
        label: impl Fn(&str) -> Option<&'a str>,
        all: Option<&Labels>,
    ) -> PlaceClass {
        self.buffer.clear();
        if self.collector.inventory.all_labels {
            for (key, value) in all.into_iter().flatten() {
                put_label(&mut self.buffer, Some(key));
                put_label(&mut self.buffer, Some(value));
            }
        } else {
            for key in &self.collector.inventory.labels {
                put_label(&mut self.buffer, label(key));
            }
        }
        PlaceClass(self.places.class(&self.buffer, &mut self.stats.bytes))
    }

    /// What the collector makes of a copy. `inventory` gives the destination as JSON, and is asked only when something has to be computed.
    pub(crate) fn outcome(
        &mut self,
        subject: &Subject,
        class: SubjectClass,
        sample: Sample<'_>,
        place: PlaceClass,
        inventory: &dyn Fn() -> Value,
    ) -> Arc<Outcome> {
        let number = sample.projection.number();
        let known = self.projections.get(&number).copied();
        if self.tells_every_copy_apart() {
            let returned = returned(sample);
            return Arc::new(self.compute(subject, &returned, sample.at, &inventory()));
        }
        if let Some(status) = known
            && let Some(outcome) = self.outcomes.get(&(class, status, place))
        {
            return outcome.clone();
        }
        let returned = returned(sample);
        let status = known.unwrap_or_else(|| {
            let mut bytes = std::mem::take(&mut self.buffer);
            bytes.clear();
            for read in &self.collector.status_reads {
                read.encode(Some(&returned), &mut bytes);
            }
            let status = self.statuses.class(&bytes, &mut self.stats.bytes);
            self.buffer = bytes;
            self.projections.insert(number, status);
            self.stats.bytes += 24;
            status
        });
        // Another projection of the same class may have been here before.
        if let Some(outcome) = self.outcomes.get(&(class, status, place)) {
            return outcome.clone();
        }
        let outcome = Arc::new(self.compute(subject, &returned, sample.at, &inventory()));
        self.stats.bytes += 160 + outcome.heap();
        self.outcomes
            .insert((class, status, place), outcome.clone());
        outcome
    }

    /// Forgets everything when the budget is spent. Called between changes, because classes are numbered anew.
    pub(crate) fn tidy(&mut self) {
        if self.stats.bytes > self.budget {
            self.forget();
        }
    }

    /// Forgets everything that was computed.
    pub fn forget(&mut self) {
        self.statuses = Classes::default();
        self.places = Classes::default();
        self.projections = HashMap::new();
        self.outcomes = HashMap::new();
        for answers in &mut self.answers {
            *answers = HashMap::new();
        }
        self.stats.bytes = 0;
        self.stats.forgotten += 1;
    }

    fn compute(
        &mut self,
        subject: &Subject,
        returned: &Value,
        at: Option<Timestamp>,
        inventory: &Value,
    ) -> Outcome {
        let collector = self.collector.clone();
        let propagation = propagation(at);
        let inputs = Inputs {
            obj: &subject.object,
            returned,
            inventory,
            propagation: &propagation,
        };
        let mut faults = Vec::new();
        if let Some(filter) = collector.filter {
            let answer = self.answer(filter, &inputs).map(|answer| match answer {
                Answer::Optional(Some(inner)) => Answer::clone(&inner),
                plain => plain,
            });
            match answer {
                Ok(Answer::Bool(true)) => {}
                Ok(Answer::Bool(false) | Answer::Null | Answer::Optional(None)) => {
                    return Outcome::out(faults);
                }
                Ok(other) => {
                    let words = format!("gives {}, not true or false", other.type_name());
                    faults.push((Place::Filter, words.into()));
                    return Outcome::out(faults);
                }
                Err(message) => {
                    faults.push((Place::Filter, message));
                    return Outcome::out(faults);
                }
            }
        }
        let Shape::Aggregate {
            group_by,
            accumulators,
            ..
        } = &collector.shape
        else {
            return Outcome {
                verdict: Verdict::Selected,
                faults: faults.into(),
            };
        };
        let mut key = Vec::with_capacity(group_by.len());
        for (i, column) in group_by.iter().enumerate() {
            match self.answer(column.program, &inputs) {
                Ok(answer) => key.push(Cell::from_value(&answer)),
                Err(message) => {
                    faults.push((Place::Group(i as u16), message));
                    return Outcome::out(faults);
                }
            }
        }
        let mut contributions = Vec::with_capacity(accumulators.len());
        for (i, accumulator) in accumulators.iter().enumerate() {
            let (contribution, fault) =
                contribution(accumulator.keeps, self.answer(accumulator.program, &inputs));
            faults.extend(fault.map(|words| (Place::Subject(i as u16), words)));
            contributions.push(contribution);
        }
        Outcome {
            verdict: Verdict::Grouped {
                key: key.into(),
                contributions: contributions.into(),
            },
            faults: faults.into(),
        }
    }

    /// An expression's answer, remembered by what it reads.
    fn answer(&mut self, index: usize, inputs: &Inputs<'_>) -> Result<Answer, Arc<str>> {
        let collector = self.collector.clone();
        let Some(program) = collector.programs.get(index) else {
            return Err("no such expression".into());
        };
        let unique = program.reads().iter().any(|read| {
            read.variable == PROPAGATION || read.variable == INVENTORY && !is_labels(&read.path)
        });
        if unique {
            self.stats.evaluations += 1;
            return run(program, inputs);
        }
        let mut bytes = Vec::new();
        for read in program.reads() {
            read.encode(inputs.get(&read.variable), &mut bytes);
        }
        if let Some(known) = self.answers.get(index).and_then(|a| a.get(&*bytes)) {
            return known.clone();
        }
        self.stats.evaluations += 1;
        let answer = run(program, inputs);
        self.stats.bytes += 96 + bytes.len();
        if let Some(answers) = self.answers.get_mut(index) {
            answers.insert(bytes.into(), answer.clone());
        }
        answer
    }

    /// The cells of one row of a selection; `Err` is why a column has none.
    pub(crate) fn row(
        &mut self,
        subject: &Subject,
        sample: Sample<'_>,
        inventory: &Value,
    ) -> Vec<Result<Cell, Arc<str>>> {
        let Shape::Select(columns) = &self.collector.shape else {
            return Vec::new();
        };
        let (returned, propagation) = (returned(sample), propagation(sample.at));
        let inputs = Inputs {
            obj: &subject.object,
            returned: &returned,
            inventory,
            propagation: &propagation,
        };
        let cells = columns.iter().map(|column| {
            let program = self.collector.programs.get(column.program);
            let program = program.ok_or_else(|| Arc::from("no such expression"))?;
            run(program, &inputs).map(|answer| Cell::from_value(&answer))
        });
        let cells: Vec<_> = cells.collect();
        self.stats.row_evaluations += cells.len() as u64;
        cells
    }
}

impl Outcome {
    fn out(faults: Vec<(Place, Arc<str>)>) -> Self {
        Outcome {
            verdict: Verdict::Out,
            faults: faults.into(),
        }
    }

    fn heap(&self) -> usize {
        let faults: usize = self.faults.iter().map(|(_, words)| words.len() + 32).sum();
        faults
            + match &self.verdict {
                Verdict::Grouped { key, contributions } => {
                    key.iter().map(|c| c.heap() + 48).sum::<usize>() + contributions.len() * 48
                }
                _ => 0,
            }
    }
}

/// The variables of one evaluation.
struct Inputs<'a> {
    obj: &'a Value,
    returned: &'a Value,
    inventory: &'a Value,
    propagation: &'a Value,
}

impl<'a> Inputs<'a> {
    fn get(&self, variable: &str) -> Option<&'a Value> {
        match variable {
            OBJ => Some(self.obj),
            RETURNED => Some(self.returned),
            INVENTORY => Some(self.inventory),
            PROPAGATION => Some(self.propagation),
            _ => None,
        }
    }
}

fn run(program: &Program, inputs: &Inputs<'_>) -> Result<Answer, Arc<str>> {
    let bindings = Bindings::new()
        .json(OBJ, inputs.obj)
        .json(RETURNED, inputs.returned)
        .json(INVENTORY, inputs.inventory)
        .json(PROPAGATION, inputs.propagation);
    program
        .evaluate(&bindings, EVALUATION)
        .map_err(|error| shortened(&error.message))
}

/// What a subject's answer adds. As KubeStellar documents it: text that spells a number is one; anything else counts as 0 and is an error. Null adds nothing.
fn contribution(
    keeps: Keeps,
    answer: Result<Answer, Arc<str>>,
) -> (Contribution, Option<Arc<str>>) {
    let numeric = matches!(keeps, Keeps::Sum | Keeps::Order | Keeps::Quantiles);
    let zero = Contribution::Number(Number::Int(0));
    match answer.map(|answer| Cell::from_value(&answer)) {
        Ok(Cell::Null) => (Contribution::Nothing, None),
        Ok(cell) if !numeric => (Contribution::Cell(cell), None),
        Ok(cell) => match cell.as_number() {
            Some(number) => (Contribution::Number(number), None),
            None => {
                let words = match &cell {
                    Cell::Text(text) => shortened(&format!("{text:?} is not a number")),
                    Cell::Bool(_) => "a bool is not a number".into(),
                    Cell::List(_) => "a list is not a number".into(),
                    _ => "a map is not a number".into(),
                };
                (zero, Some(words))
            }
        },
        Err(message) if numeric => (zero, Some(message)),
        Err(message) => (Contribution::Nothing, Some(message)),
    }
}

/// The destination as expressions see it.
pub(crate) fn inventory_json(
    name: &str,
    labels: impl IntoIterator<Item = (String, String)>,
) -> Value {
    let labels: Map<String, Value> = labels
        .into_iter()
        .map(|(key, value)| (key, Value::String(value)))
        .collect();
    json!({"name": name, "labels": labels})
}

fn returned(sample: Sample<'_>) -> Value {
    match sample.projection.value() {
        Some(status) if !status.is_null() => json!({"status": status}),
        _ => json!({}),
    }
}

fn propagation(at: Option<Timestamp>) -> Value {
    json!({RETURNED_AT: at.map(Timestamp::rfc3339_micro)})
}

fn is_labels(path: &[atoll_cel::Step]) -> bool {
    matches!(path.first(), Some(atoll_cel::Step::Field(field)) if field == "labels")
}

fn put_label(buffer: &mut Vec<u8>, value: Option<&str>) {
    match value {
        None => buffer.push(0),
        Some(value) => {
            buffer.push(1);
            buffer.extend_from_slice(&(value.len() as u32).to_le_bytes());
            buffer.extend_from_slice(value.as_bytes());
        }
    }
}

fn shortened(message: &str) -> Arc<str> {
    if message.len() <= LONGEST_MESSAGE {
        return message.into();
    }
    let mut end = LONGEST_MESSAGE;
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &message[..end]).into()
}
