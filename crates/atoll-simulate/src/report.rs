//! What came of a run: figures for people and machines, and whether everything was exact.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Map, Value, json};

/// One figure.
#[derive(Debug, Clone)]
struct Figure {
    what: String,
    value: f64,
    unit: &'static str,
}

/// The report of a run.
#[derive(Debug, Default)]
pub struct Report {
    parameters: Vec<(String, String)>,
    figures: Vec<Figure>,
    faults: Vec<String>,
}

impl Report {
    pub(crate) fn parameter(&mut self, name: &str, value: impl ToString) {
        self.parameters.push((name.to_owned(), value.to_string()));
    }

    pub(crate) fn figure(&mut self, what: impl Into<String>, value: f64, unit: &'static str) {
        self.figures.push(Figure {
            what: what.into(),
            value,
            unit,
        });
    }

    /// So many things in so long: the time and the rate.
    pub(crate) fn rate(&mut self, what: &str, count: f64, took: Duration, unit: &'static str) {
        self.figure(format!("{what}: time"), took.as_secs_f64(), "s");
        self.figure(
            format!("{what}: rate"),
            count / took.as_secs_f64().max(1e-9),
            unit,
        );
    }

    /// Something is not as it has to be.
    pub(crate) fn fault(&mut self, what: impl Into<String>) {
        self.faults.push(what.into());
    }

    /// Whether everything was as it has to be.
    pub fn is_exact(&self) -> bool {
        self.faults.is_empty()
    }

    /// For machines.
    pub fn to_json(&self) -> Value {
        let parameters: Map<String, Value> = self
            .parameters
            .iter()
            .map(|(k, v)| (k.clone(), v.clone().into()))
            .collect();
        let figures: Vec<Value> = self
            .figures
            .iter()
            .map(|f| json!({"what": f.what, "value": f.value, "unit": f.unit}))
            .collect();
        json!({"parameters": parameters, "figures": figures, "faults": self.faults, "exact": self.is_exact()})
    }

    /// For people.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        // Writing into a string does not fail.
        for (name, value) in &self.parameters {
            let _ = writeln!(text, "{name:44} {value:>16}");
        }
        text.push('\n');
        for figure in &self.figures {
            let _ = writeln!(
                text,
                "{:44} {:>16} {}",
                figure.what,
                show(figure.value),
                figure.unit
            );
        }
        text.push('\n');
        if self.is_exact() {
            text.push_str("Exact: every connected destination holds what the oracle expects, and every policy's counts and every collector's groups equal a recount.\n");
        }
        for fault in &self.faults {
            let _ = writeln!(text, "NOT EXACT: {fault}");
        }
        text
    }
}

fn show(value: f64) -> String {
    match value.abs() {
        v if v >= 1000.0 => {
            let digits = format!("{value:.0}");
            let mut grouped = String::new();
            for (i, digit) in digits.chars().enumerate() {
                if i > 0 && (digits.len() - i) % 3 == 0 && digit.is_ascii_digit() {
                    grouped.push(',');
                }
                grouped.push(digit);
            }
            grouped
        }
        v if v >= 10.0 || v == 0.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}
