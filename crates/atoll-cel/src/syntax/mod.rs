//! From text to a tree: tokens, the grammar of the language, and its macros.
//!
//! Macros (`has`, `all`, `map`, `cel.bind`, …) are nodes of their own ([`ast::Fold`], [`ast::Kind::Bind`]) rather than loops over an accumulator, so
//! that an evaluation builds its answer in place. Trees are at most [`MAX_DEPTH`] deep, whatever the text: everything after may recurse.

pub(crate) mod ast;
mod lexer;
mod literal;
mod macros;
mod parser;

pub(crate) use parser::parse;

/// The deepest tree, as upstream's limit of recursion.
pub(crate) const MAX_DEPTH: u16 = 250;

/// The longest text, in characters.
pub(crate) const MAX_CHARACTERS: usize = 100_000;

/// What is wrong with a text, and at which byte of it.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) at: u32,
    pub(crate) message: String,
}

impl Fault {
    pub(crate) fn new(at: u32, message: impl Into<String>) -> Fault {
        Fault {
            at,
            message: message.into(),
        }
    }
}
