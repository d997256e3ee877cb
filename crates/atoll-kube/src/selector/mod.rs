//! Selectors: which objects a request, a policy or a controller means.
//!
//! Parsed once at the border; matching allocates nothing.

mod field;
mod label;
mod parse;

pub use field::{FieldRequirement, FieldSelector};
pub use label::{LabelSelector, Operator, Requirement};
