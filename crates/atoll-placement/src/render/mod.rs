//! What a copy looks like at one destination: pure, deterministic, and made once for all destinations that read the same.
//!
//! An object goes through these steps: it is cleaned ([`crate::clean`]), CustomTransforms of its resource remove fields, then,
//! per destination, its templates are expanded and Customizers that choose the destination change it, lowest priority first.
//! What shapes copies, except the destinations themselves, is a [`Recipe`]: a revision is made of recipes.
//!
//! | module | its idea |
//! |---|---|
//! | [`properties`], [`table`] | what is known of destinations, and which of it a render reads |
//! | [`template`] | Go templates inside string values |
//! | [`query`] | JSONPath, for removing and for setting |

pub mod properties;
pub mod query;
pub mod table;
pub mod template;

pub use properties::{Given, Properties, Read, Source};
pub use table::PropertyTable;
