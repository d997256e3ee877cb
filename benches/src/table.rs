//! Figures and the table they are printed as.
//!
//! A goal is data and is compared here; "ok" is never typed by hand.

use std::fmt;

/// What a figure should be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
    /// Nothing was promised; measured to be known.
    None,
}

/// One line of the table.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    pub(crate) what: String,
    pub(crate) goal: Goal,
    /// `None`: not measured, `note` says why.
    pub(crate) measured: Option<f64>,
    pub(crate) unit: &'static str,
    /// What the others need, as measured with the same tool on the same kind of machine.
    pub(crate) others: &'static str,
    /// What else is worth knowing about how it was measured.
    pub(crate) note: String,
}

impl Figure {
    pub(crate) fn new(
        what: impl Into<String>,
        goal: Goal,
        measured: f64,
        unit: &'static str,
    ) -> Self {
        Figure {
            what: what.into(),
            goal,
            measured: Some(measured),
            unit,
            others: "",
            note: String::new(),
        }
    }

    pub(crate) fn others(mut self, others: &'static str) -> Self {
        self.others = others;
        self
    }

    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    pub(crate) fn failed(what: &str, error: &anyhow::Error) -> Self {
        Figure {
            what: what.to_owned(),
            goal: Goal::None,
            measured: None,
            unit: "",
            others: "",
            note: format!("{error:#}").replace(['\n', '|'], " "),
        }
    }

    fn verdict(&self) -> &'static str {
        match (self.measured, self.goal) {
            (None, _) => "not measured",
            (Some(_), Goal::None) => "",
            (Some(value), Goal::AtMost(goal)) if value <= goal => "ok",
            (Some(value), Goal::AtLeast(goal)) if value >= goal => "ok",
            _ => "missed",
        }
    }

    fn goal_text(&self) -> String {
        match self.goal {
            Goal::AtMost(goal) => format!("≤ {} {}", number(goal), self.unit),
            Goal::AtLeast(goal) => format!("≥ {} {}", number(goal), self.unit),
            Goal::None => "–".to_owned(),
        }
    }

    fn measured_text(&self) -> String {
        self.measured.map_or_else(
            || "–".to_owned(),
            |value| format!("{} {}", number(value), self.unit),
        )
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} (goal {}) {} {}",
            self.what,
            self.measured_text(),
            self.goal_text(),
            self.verdict(),
            self.note
        )
    }
}

/// Three significant digits, thousands apart.
fn number(value: f64) -> String {
    if value.abs() >= 100.0 {
        let digits = format!("{value:.0}");
        let mut text = String::new();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        return text;
    }
    let decimals = if value.abs() >= 10.0 {
        1
    } else if value.abs() >= 1.0 {
        2
    } else {
        3
    };
    let text = format!("{value:.decimals$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The figures as a Markdown table.
pub(crate) fn render(figures: &[Figure]) -> String {
    let mut text =
        String::from("| what | goal | measured | | others | notes |\n|---|---|---|---|---|---|\n");
    for figure in figures {
        text.push_str(&format!(
            "| {} | {} | {} | {} | {} | {} |\n",
            figure.what,
            figure.goal_text(),
            figure.measured_text(),
            figure.verdict(),
            if figure.others.is_empty() {
                "–"
            } else {
                figure.others
            },
            figure.note,
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_follow_from_goal_and_measurement() {
        for (goal, measured, verdict) in [
            (Goal::AtMost(2.0), 2.0, "ok"),
            (Goal::AtMost(2.0), 2.1, "missed"),
            (Goal::AtLeast(2.0), 2.0, "ok"),
            (Goal::AtLeast(2.0), 1.9, "missed"),
            (Goal::AtLeast(2.0), f64::NAN, "missed"),
            (Goal::None, 1.0, ""),
        ] {
            assert_eq!(
                Figure::new("x", goal, measured, "s").verdict(),
                verdict,
                "{goal:?} {measured}"
            );
        }
    }

    #[test]
    fn numbers() {
        for (value, text) in [
            (0.1234, "0.123"),
            (2.0, "2"),
            (5.678, "5.68"),
            (12.34, "12.3"),
            (1234567.8, "1,234,568"),
            (999.0, "999"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
