//! `data/rules.txt` as rules: read once, when the first object is checked. Its grammar is at its head.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::Value;

use super::checks::{self, Check};
use super::words::Form;
use crate::ids::GroupResource;
use crate::status::child;

const TEXT: &str = include_str!("../data/rules.txt");

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Field(String),
    /// `[*]`
    Each,
    /// `{*}`
    Entries,
}

/// What a rule demands of its field.
#[derive(Debug, Clone)]
pub(super) enum Demand {
    /// `required`: present and not empty.
    Required,
    /// `present`: not zero, which is as good as missing.
    Present,
    /// `at-least N`
    AtLeast(i64),
    /// `more-than N`; with words, less is as good as missing.
    MoreThan(i64),
    /// `between A B`
    Between(i64, i64),
    /// `shorter-than N`, in bytes.
    ShorterThan(usize),
    /// `one-of A B`: if it is set.
    OneOf(Vec<String>),
    /// `among A B`: set, to one of these.
    Among(Vec<String>),
    /// `absent`: not set, told as an invalid value.
    Absent,
    /// `forbidden`: not set, told as a forbidden one.
    Forbidden,
    /// `not-empty`: if it is there.
    NotEmpty,
    /// `is FORM`
    Is(Form),
    /// `keys FORM`: of the map whose entries these are.
    Keys(Form),
    /// `unique FIELD`: among the elements of the list, or of all the lists.
    Unique(String),
    /// `found-in PATH…`: one of the values there.
    FoundIn(Vec<Vec<Step>>),
    /// `single-of A B C`: at most one of these is set.
    SingleOf(Vec<String>),
    /// `selects PATH`: a label selector that matches the labels there.
    Selects(Vec<Step>),
    /// `check NAME`: see [`checks`].
    Check(Check),
    /// `shape NAME`: the rules of that shape.
    Shape(String),
    /// `fixed`: an update does not change it.
    Fixed,
    /// `fixed-but A B`: an update changes nothing of it but these fields.
    FixedBut(Vec<String>),
}

/// `if field`, `unless field=value`.
#[derive(Debug, Clone)]
pub(super) struct Condition {
    pub(super) field: String,
    pub(super) value: Option<String>,
    pub(super) wanted: bool,
}

/// One line.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) paths: Vec<Vec<Step>>,
    pub(super) demand: Demand,
    pub(super) conditions: Vec<Condition>,
    pub(super) words: String,
}

/// All lines.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// By resource, as `plural.group` or `plural`.
    pub(super) kinds: HashMap<String, Vec<Rule>>,
    pub(super) shapes: HashMap<String, Vec<Rule>>,
}

/// The table. A line that cannot be read is left out; a test sees to it that there is none.
pub(super) static TABLE: LazyLock<Table> = LazyLock::new(|| read(TEXT).0);

/// The rules about a resource.
pub(super) fn rules(resource: &GroupResource) -> &'static [Rule] {
    let found = match resource.group.as_str() {
        "" => TABLE.kinds.get(&resource.resource),
        group => TABLE.kinds.get(&format!("{}.{group}", resource.resource)),
    };
    found.map_or(&[], Vec::as_slice)
}

/// The rules of a shape.
pub(super) fn shape(name: &str) -> &'static [Rule] {
    TABLE.shapes.get(name).map_or(&[], Vec::as_slice)
}

/// Reads a table; gives also the lines that mean nothing.
pub(super) fn read(text: &str) -> (Table, Vec<&str>) {
    let mut table = Table::default();
    let mut bad = Vec::new();
    let mut heads: Vec<(bool, &str)> = Vec::new();
    for line in text.lines() {
        let plain = line.trim();
        if plain.is_empty() || plain.starts_with('#') {
            continue;
        }
        if let Some(names) = line.strip_prefix("kind ") {
            heads = names.split_whitespace().map(|name| (true, name)).collect();
        } else if let Some(name) = line.strip_prefix("shape ") {
            heads = vec![(false, name.trim())];
        } else if let Some(rule) = rule(plain) {
            for (kind, name) in &heads {
                let of = if *kind {
                    &mut table.kinds
                } else {
                    &mut table.shapes
                };
                of.entry((*name).to_owned()).or_default().push(rule.clone());
            }
        } else {
            bad.push(line);
        }
    }
    (table, bad)
}

fn rule(line: &str) -> Option<Rule> {
    let (line, words) = match line.split_once(" : ") {
        Some((line, words)) => (line, words.trim()),
        None => (line, ""),
    };
    let mut parts = line.split_whitespace();
    let paths = parts.next()?.split(',').map(path).collect();
    let name = parts.next()?;
    let (mut arguments, mut conditions) = (Vec::new(), Vec::new());
    while let Some(part) = parts.next() {
        match part {
            "if" | "unless" => {
                let asked = parts.next()?;
                let (field, value) = match asked.split_once('=') {
                    Some((field, value)) => (field, Some(value.to_owned())),
                    None => (asked, None),
                };
                conditions.push(Condition {
                    field: field.to_owned(),
                    value,
                    wanted: part == "if",
                });
            }
            argument => arguments.push(argument),
        }
    }
    Some(Rule {
        paths,
        demand: demand(name, &arguments)?,
        conditions,
        words: words.to_owned(),
    })
}

fn demand(name: &str, arguments: &[&str]) -> Option<Demand> {
    let all = || arguments.iter().map(|&a| a.to_owned()).collect();
    Some(match (name, arguments) {
        ("required", []) => Demand::Required,
        ("present", []) => Demand::Present,
        ("absent", []) => Demand::Absent,
        ("forbidden", []) => Demand::Forbidden,
        ("not-empty", []) => Demand::NotEmpty,
        ("fixed", []) => Demand::Fixed,
        ("at-least", [n]) => Demand::AtLeast(n.parse().ok()?),
        ("more-than", [n]) => Demand::MoreThan(n.parse().ok()?),
        ("between", [low, high]) => Demand::Between(low.parse().ok()?, high.parse().ok()?),
        ("shorter-than", [n]) => Demand::ShorterThan(n.parse().ok()?),
        ("is", [form]) => Demand::Is(Form::named(form)?),
        ("keys", [form]) => Demand::Keys(Form::named(form)?),
        ("unique", [field]) => Demand::Unique((*field).to_owned()),
        ("found-in", [_, ..]) => Demand::FoundIn(arguments.iter().map(|a| path(a)).collect()),
        ("selects", [labels]) => Demand::Selects(path(labels)),
        ("check", [name]) => Demand::Check(checks::named(name)?),
        ("shape", [name]) => Demand::Shape((*name).to_owned()),
        ("one-of", [_, ..]) => Demand::OneOf(all()),
        ("among", [_, ..]) => Demand::Among(all()),
        ("single-of", [_, ..]) => Demand::SingleOf(all()),
        ("fixed-but", [_, ..]) => Demand::FixedBut(all()),
        _ => return None,
    })
}

fn path(text: &str) -> Vec<Step> {
    if text == "@" {
        return Vec::new();
    }
    let mut steps = Vec::new();
    for part in text.split('.') {
        let name = part.trim_end_matches("[*]").trim_end_matches("{*}");
        steps.push(Step::Field(name.to_owned()));
        if part.ends_with("[*]") {
            steps.push(Step::Each);
        } else if part.ends_with("{*}") {
            steps.push(Step::Entries);
        }
    }
    steps
}

/// What is at a path of fields.
pub(super) fn at<'a>(object: &'a Value, path: &[Step]) -> Option<&'a Value> {
    let step = |value: &'a Value, step: &Step| match step {
        Step::Field(name) => value.get(name),
        Step::Each | Step::Entries => None,
    };
    path.iter()
        .try_fold(object, step)
        .filter(|value| !value.is_null())
}

/// A path of fields as text.
pub(super) fn text(path: &[Step]) -> String {
    path.iter().fold(String::new(), |at, step| match step {
        Step::Field(name) => child(&at, name),
        Step::Each => at + "[*]",
        Step::Entries => at + "{*}",
    })
}
