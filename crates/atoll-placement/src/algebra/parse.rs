//! Reads a StatusCollector's spec: every fault by its field, bad expressions with line and column.

use std::collections::BTreeSet;
use std::sync::Arc;

use atoll_cel::{Program, Type};
use atoll_kube::status::FieldError;
use serde_json::Value;

use super::collector::{
    AccumulatorSpec, Aggregation, Column, DEFAULT_LIMIT, Field, MOST_ROWS, Shape, environment,
};

/// The most columns of each sort.
const MOST_COLUMNS: usize = 64;
/// The most values that TOP shows.
const MOST_TOP: u64 = 100;

/// What a spec says.
pub(super) struct Parsed {
    /// The expressions, each once.
    pub(super) programs: Vec<Program>,
    /// The filter, among them.
    pub(super) filter: Option<usize>,
    /// What is made of the copies that pass it.
    pub(super) shape: Shape,
    /// How many rows are shown.
    pub(super) limit: u64,
}

/// Reads a spec.
pub(super) fn spec(spec: &Value) -> Result<Parsed, Vec<FieldError>> {
    let mut parser = Parser::default();
    let filter = parser.filter(spec);
    let select = parser.columns(spec, "select");
    let group_by = parser.columns(spec, "groupBy");
    let (fields, accumulators) = parser.fields(spec);
    let limit = parser.limit(spec);
    if !select.is_empty() && !fields.is_empty() {
        parser.errors.push(FieldError::forbidden(
            "spec.select",
            "a collector either selects or combines: leave out select or combinedFields",
        ));
    }
    if !group_by.is_empty() && fields.is_empty() {
        parser.errors.push(FieldError::forbidden(
            "spec.groupBy",
            "groups are for combinedFields, of which there are none",
        ));
    }
    if !parser.errors.is_empty() {
        return Err(parser.errors);
    }
    let shape = if select.is_empty() {
        Shape::Aggregate {
            group_by,
            fields,
            accumulators,
        }
    } else {
        Shape::Select(select)
    };
    Ok(Parsed {
        programs: parser.programs,
        filter,
        shape,
        limit,
    })
}

#[derive(Default)]
struct Parser {
    programs: Vec<Program>,
    names: BTreeSet<String>,
    errors: Vec<FieldError>,
}

impl Parser {
    fn filter(&mut self, spec: &Value) -> Option<usize> {
        let source = self.text(spec, "filter", "spec.filter")?;
        let program = self.compile(&source, "spec.filter")?;
        self.expect(program, "spec.filter", "true or false", |t| {
            matches!(t, Type::Bool)
        });
        Some(program)
    }

    fn columns(&mut self, spec: &Value, field: &str) -> Vec<Column> {
        let mut found = Vec::new();
        for (path, item) in self.items(spec, field) {
            let name = self.name(&item, &path);
            let def = format!("{path}.def");
            let program = match self.text(&item, "def", &def) {
                Some(source) => self.compile(&source, &def),
                None => {
                    self.errors.push(FieldError::required(def, "an expression"));
                    None
                }
            };
            if let (Some(name), Some(program)) = (name, program) {
                found.push(Column { name, program });
            }
        }
        found
    }

    fn fields(&mut self, spec: &Value) -> (Vec<Field>, Vec<AccumulatorSpec>) {
        let (mut fields, mut accumulators) = (Vec::new(), Vec::<AccumulatorSpec>::new());
        for (path, item) in self.items(spec, "combinedFields") {
            let name = self.name(&item, &path);
            let aggregation = self.aggregation(&item, &path);
            let subject = format!("{path}.subject");
            let program = match (self.text(&item, "subject", &subject), aggregation) {
                (Some(source), aggregation) => {
                    let program = self.compile(&source, &subject);
                    if let (Some(program), Some(true)) =
                        (program, aggregation.map(Aggregation::needs_numbers))
                    {
                        self.expect(program, &subject, "a number", |t| {
                            matches!(t, Type::Int | Type::Uint | Type::Double | Type::String)
                        });
                    }
                    program
                }
                (None, None | Some(Aggregation::Count)) => None,
                (None, Some(_)) => {
                    self.errors.push(FieldError::required(
                        subject,
                        "only COUNT can do without a subject",
                    ));
                    None
                }
            };
            let (Some(name), Some(aggregation)) = (name, aggregation) else {
                continue;
            };
            let keeps = aggregation.keeps();
            let accumulator = program.map(|program| {
                let same = |a: &AccumulatorSpec| a.program == program && a.keeps == keeps;
                accumulators.iter().position(same).unwrap_or_else(|| {
                    accumulators.push(AccumulatorSpec {
                        keeps,
                        program,
                        column: name.clone(),
                    });
                    accumulators.len() - 1
                })
            });
            fields.push(Field {
                name,
                aggregation,
                accumulator,
            });
        }
        (fields, accumulators)
    }

    fn aggregation(&mut self, item: &Value, path: &str) -> Option<Aggregation> {
        let at = format!("{path}.type");
        let Some(word) = self.text(item, "type", &at) else {
            self.errors.push(FieldError::required(at, ""));
            return None;
        };
        match word.as_str() {
            "COUNT" => Some(Aggregation::Count),
            "SUM" => Some(Aggregation::Sum),
            "AVG" => Some(Aggregation::Avg),
            "MIN" => Some(Aggregation::Min),
            "MAX" => Some(Aggregation::Max),
            "TOP" => Some(Aggregation::Top(self.top(item, path))),
            "APPROX_COUNT_DISTINCT" => Some(Aggregation::ApproxCountDistinct),
            "APPROX_QUANTILE" => self.quantile(item, path).map(Aggregation::ApproxQuantile),
            _ => {
                let known = [
                    "COUNT",
                    "SUM",
                    "AVG",
                    "MIN",
                    "MAX",
                    "TOP",
                    "APPROX_COUNT_DISTINCT",
                    "APPROX_QUANTILE",
                ];
                self.errors.push(FieldError::not_supported(at, word, known));
                None
            }
        }
    }

    fn top(&mut self, item: &Value, path: &str) -> u64 {
        match item.get("k") {
            None | Some(Value::Null) => 5,
            Some(value) => match value.as_u64() {
                Some(k) if (1..=MOST_TOP).contains(&k) => k,
                _ => {
                    self.errors.push(FieldError::invalid(
                        format!("{path}.k"),
                        value.clone(),
                        format!("must be between 1 and {MOST_TOP}"),
                    ));
                    1
                }
            },
        }
    }

    fn quantile(&mut self, item: &Value, path: &str) -> Option<f64> {
        let at = format!("{path}.quantile");
        match item.get("quantile") {
            None | Some(Value::Null) => {
                self.errors.push(FieldError::required(
                    at,
                    "which one, between 0 and 1: 0.5 is the median",
                ));
                None
            }
            Some(value) => {
                let share = value.as_f64().filter(|q| (0.0..=1.0).contains(q));
                if share.is_none() {
                    self.errors.push(FieldError::invalid(
                        at,
                        value.clone(),
                        "must be a number between 0 and 1",
                    ));
                }
                share
            }
        }
    }

    fn limit(&mut self, spec: &Value) -> u64 {
        match spec.get("limit") {
            // Typed clients write 0 for what was left out.
            None | Some(Value::Null) => DEFAULT_LIMIT,
            Some(value) => match value.as_i64() {
                Some(0) => DEFAULT_LIMIT,
                Some(limit) if limit > 0 => limit.unsigned_abs().min(MOST_ROWS),
                _ => {
                    self.errors.push(FieldError::invalid(
                        "spec.limit",
                        value.clone(),
                        "must be a number of rows",
                    ));
                    DEFAULT_LIMIT
                }
            },
        }
    }

    /// The items of a list, with their paths.
    fn items(&mut self, spec: &Value, field: &str) -> Vec<(String, Value)> {
        let path = format!("spec.{field}");
        let items = match spec.get(field) {
            None | Some(Value::Null) => return Vec::new(),
            Some(Value::Array(items)) => items,
            Some(other) => {
                self.errors.push(FieldError::type_invalid(
                    path,
                    other.clone(),
                    "must be a list",
                ));
                return Vec::new();
            }
        };
        if items.len() > MOST_COLUMNS {
            self.errors
                .push(FieldError::too_many(path, items.len(), MOST_COLUMNS));
            return Vec::new();
        }
        items
            .iter()
            .enumerate()
            .map(|(i, item)| (format!("{path}[{i}]"), item.clone()))
            .collect()
    }

    fn name(&mut self, item: &Value, path: &str) -> Option<Arc<str>> {
        let path = format!("{path}.name");
        let Some(name) = self.text(item, "name", &path) else {
            self.errors.push(FieldError::required(path, ""));
            return None;
        };
        if !self.names.insert(name.clone()) {
            self.errors.push(FieldError::duplicate(path, name));
            return None;
        }
        Some(name.into())
    }

    /// A text that is there and not empty.
    fn text(&mut self, value: &Value, field: &str, path: &str) -> Option<String> {
        match value.get(field) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => (!text.is_empty()).then(|| text.clone()),
            Some(other) => {
                self.errors.push(FieldError::type_invalid(
                    path,
                    other.clone(),
                    "must be a string",
                ));
                None
            }
        }
    }

    /// Compiles an expression, once for equal ones.
    fn compile(&mut self, source: &str, path: &str) -> Option<usize> {
        if let Some(known) = self.programs.iter().position(|p| p.source() == source) {
            return Some(known);
        }
        match Program::compile(environment(), source) {
            Ok(program) => {
                self.programs.push(program);
                Some(self.programs.len() - 1)
            }
            Err(error) => {
                self.errors.push(FieldError::invalid(
                    path,
                    source,
                    format!(
                        "line {}, column {}: {}",
                        error.line, error.column, error.message
                    ),
                ));
                None
            }
        }
    }

    /// Refuses an expression whose type is known and of no use here.
    fn expect(&mut self, program: usize, path: &str, what: &str, fits: fn(&Type) -> bool) {
        let Some(program) = self.programs.get(program) else {
            return;
        };
        let output = match program.output().plain() {
            Type::Optional(inner) => inner.plain(),
            plain => plain,
        };
        if !fits(output) && !matches!(output, Type::Dyn | Type::Null) {
            let detail = format!("must give {what}, but gives {output}");
            let source = program.source().to_owned();
            self.errors.push(FieldError::invalid(path, source, detail));
        }
    }
}
