//! Templates inside string values, as KubeStellar expands them: Go's `text/template`, the part that makes values.
//!
//! A template is compiled once. What it reads of a destination is known then ([`Template::reads`]), so it is a pure function
//! of those values. Anything outside the subset is refused when it is written, with its position. Running is total and
//! bounded: a [`Meter`] counts steps and bytes over all templates of an object.
//!
//! Properties are text, and dot is the set of them: `.name` must be there; `index . "any-name"` may be absent, which is
//! empty where it is tested or given a default, and an error where it would be printed. Dot as a whole can not be used,
//! so that what is read is always known.

mod eval;
mod format;
mod functions;
mod lex;
mod parse;
mod strings;
mod tree;
mod value;

#[cfg(test)]
mod tests;

pub use functions::NAMES as FUNCTIONS;

use super::properties::Read;

/// The most steps that all templates of one object may take at one destination.
pub const MAX_STEPS: u64 = 1_000_000;
/// The most bytes that they may print.
pub const MAX_OUTPUT: usize = 3 * 1024 * 1024;
/// The longest template.
pub const MAX_SOURCE: usize = 1024 * 1024;
/// How deep parentheses and blocks may nest.
const MAX_DEPTH: usize = 64;

/// Where in a template's text: both counted from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

impl Position {
    fn of(source: &str, offset: usize) -> Self {
        let before = source.get(..offset).unwrap_or(source);
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).saturating_add(1);
        Position {
            line: count(before.matches('\n').count()),
            column: count(before[line_start..].chars().count()),
        }
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// What is wrong with a template, or went wrong while it ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError {
    /// Where.
    pub position: Position,
    /// What, for a person.
    pub message: String,
    /// The property that a destination does not have, if that is it.
    pub property: Option<String>,
}

impl std::fmt::Display for TemplateError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "template at {}: {}", self.position, self.message)
    }
}

/// Something wrong at a byte offset; becomes a [`TemplateError`] where the source is known.
#[derive(Debug)]
struct Fault {
    at: usize,
    message: String,
    property: Option<String>,
}

impl Fault {
    fn new(at: usize, message: impl Into<String>) -> Self {
        Fault {
            at,
            message: message.into(),
            property: None,
        }
    }

    fn absent(at: usize, name: &str) -> Self {
        Fault {
            at,
            message: format!("the destination has no property {name:?}"),
            property: Some(name.to_owned()),
        }
    }

    fn of(self, source: &str) -> TemplateError {
        TemplateError {
            position: Position::of(source, self.at),
            message: self.message,
            property: self.property,
        }
    }
}

/// How much may still be done for one object at one destination.
#[derive(Debug, Clone)]
pub struct Meter {
    steps: u64,
    output: usize,
}

impl Default for Meter {
    fn default() -> Self {
        Meter {
            steps: MAX_STEPS,
            output: MAX_OUTPUT,
        }
    }
}

impl Meter {
    /// Takes a step that handles so many bytes.
    fn step(&mut self, bytes: usize) -> Result<(), String> {
        let cost = 1 + (bytes / 64) as u64;
        self.steps = self
            .steps
            .checked_sub(cost)
            .ok_or_else(|| format!("the object's templates take more than {MAX_STEPS} steps"))?;
        Ok(())
    }

    fn print(&mut self, bytes: usize) -> Result<(), String> {
        self.output = self
            .output
            .checked_sub(bytes)
            .ok_or_else(|| format!("the object's templates make more than {MAX_OUTPUT} bytes"))?;
        self.step(bytes)
    }
}

/// A compiled template.
#[derive(Debug)]
pub struct Template {
    source: Box<str>,
    nodes: Vec<tree::Node>,
    variables: usize,
    reads: Vec<Read>,
}

impl Template {
    /// Whether a text is a template at all: only such texts are compiled.
    pub fn is_one(text: &str) -> bool {
        text.contains("{{")
    }

    /// Compiles a template.
    pub fn compile(source: &str) -> Result<Self, TemplateError> {
        let parsed = parse::parse(source).map_err(|fault| fault.of(source))?;
        Ok(Template {
            source: source.into(),
            nodes: parsed.nodes,
            variables: parsed.variables,
            reads: parsed
                .reads
                .into_iter()
                .map(|n| Read::property(&n))
                .collect(),
        })
    }

    /// The properties it may read, sorted, each once.
    pub fn reads(&self) -> &[Read] {
        &self.reads
    }

    /// Runs it. `property` gives a property's value, and is asked for nothing that is not in [`Template::reads`].
    pub fn run<'a>(
        &'a self,
        property: &dyn Fn(&str) -> Option<&'a str>,
        meter: &mut Meter,
    ) -> Result<String, TemplateError> {
        eval::run(&self.nodes, self.variables, property, meter).map_err(|f| f.of(&self.source))
    }
}
