//! What can go wrong: when a text is compiled, and when a program is evaluated.

use std::fmt;

/// Why a text is not a program. `line` and `column` count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileError {
    /// Line of the offence, from 1.
    pub line: u32,
    /// Column of the offence in characters, from 1.
    pub column: u32,
    /// What is wrong, in words.
    pub message: String,
    /// What else is wrong, further on in the text.
    pub also: Vec<CompileError>,
}

impl CompileError {
    /// All that is wrong, with the lines it is about, as upstream shows it.
    pub fn render(&self, source: &str) -> String {
        let all: Vec<String> = [self]
            .into_iter()
            .chain(&self.also)
            .map(|error| error.render_one(source))
            .collect();
        all.join("\n")
    }

    fn render_one(&self, source: &str) -> String {
        let line = source
            .lines()
            .nth(self.line as usize - 1)
            .unwrap_or_default()
            .replace('\t', " ");
        // Under a wide character stands a wide sign.
        let wide = |c: char| c.len_utf8() > 1;
        let before = self.column as usize - 1;
        let dots: String = line
            .chars()
            .take(before)
            .map(|c| if wide(c) { '．' } else { '.' })
            .collect();
        let here = if line.chars().nth(before).is_some_and(wide) {
            '＾'
        } else {
            '^'
        };
        format!(
            "ERROR: <input>:{}:{}: {}\n | {line}\n | {dots}{here}",
            self.line, self.column, self.message
        )
    }
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

impl std::error::Error for CompileError {}

/// What a caller may want to tell apart when an evaluation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvalErrorKind {
    /// The expression itself failed on these values: no such key, division by zero, a bad conversion.
    Expression,
    /// The evaluation was stopped: it would have spent more than its [`crate::Budget`].
    BudgetExceeded,
    /// A variable that the expression reads was not bound.
    Unbound,
}

/// Why an evaluation has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvalError {
    /// The sort of failure.
    pub kind: EvalErrorKind,
    /// What failed, in upstream's words where upstream has some.
    pub message: String,
}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for EvalError {}
