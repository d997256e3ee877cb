//! What a copy looks like at one destination: pure, deterministic, and made once for all destinations that read the same.
//!
//! An object goes through these steps: it is cleaned ([`crate::clean`]), CustomTransforms of its resource remove fields; then,
//! per destination, its templates are expanded and the Customizers that choose the destination change it, lowest priority
//! first. What shapes copies, the destinations aside, is a [`Recipe`]: a revision is made of recipes. A [`Renderer`] is a
//! recipe compiled; it makes the copy for an [`Input`], and groups destinations into classes of equal input.
//!
//! | module | its idea |
//! |---|---|
//! | [`properties`], [`table`], [`beside`] | what is known of destinations, and which of it a render reads |
//! | [`template`], [`leaves`] | Go templates inside texts, and where an object has them |
//! | [`query`] | JSONPath, for removing and for setting |
//! | [`transform`], [`customizer`], [`layer`], `protect` | what the two kinds say, and what they may not touch |
//! | [`recipe`] | all that shapes an object's copies, as data |
//! | [`partition`], [`renderer`], `skeleton` | classes of equal input, and one render for each, quickly |
//! | [`compare`] | what would change, in classes of equal difference |

pub mod beside;
pub mod compare;
pub mod customizer;
pub mod layer;
pub mod leaves;
pub mod partition;
pub mod properties;
mod protect;
pub mod query;
pub mod recipe;
pub mod renderer;
mod skeleton;
pub mod table;
pub mod template;
pub mod transform;

#[cfg(test)]
mod tests;

pub use beside::Beside;
pub use customizer::Customizer;
pub use layer::{Layer, LayerId, Layers};
pub use leaves::check_templates;
pub use partition::Answer;
pub use properties::{Given, Properties, Read, Source};
pub use recipe::{Object, Recipe};
pub use renderer::{Around, Class, Input, Places, RenderError, RenderKey, RenderStep, Renderer};
pub use table::PropertyTable;
pub use transform::CustomTransform;
