//! Who gets what, and what came back: every decision of the fleet as a function from plain data to plain data.
//!
//! Nothing in here does I/O, spawns, or reads a clock; the same inputs always give the same answer (invariant 5).
//! Destinations are dense indexes and sets of them are compressed bitmaps, so that no type holds anything per object *and* destination.
//!
//! | module | its question |
//! |---|---|
//! | [`inventory`] | which destinations have these labels? |
//! | [`policy`], [`what`] | which objects does a BindingPolicy select, and which policies may an event concern? |
//! | [`choose`] | which destinations does a policy choose, beyond labels? |
//! | [`clean`], [`order`], [`bundle`] | what travels, when is it applied, and what is a revision's content? |
//! | [`render`] | what does a copy look like at one destination, and who has the same? |
//! | [`place`] | what may be added, what must be removed, what is held back as a probable accident? |
//! | [`rollout`] | when does each destination get a new revision? |
//! | [`assign`] | who is at which revision, and what does moving mean for each copy? |
//! | [`project`], [`health`], [`columns`], [`summary`] | what came back, is it well, and how many are? |
//! | [`combine`] | which status does the payload object show? |
//! | [`upsync`] | what comes up from edges? |
//! | [`algebra`] | what do StatusCollectors make of all copies' statuses? |

pub mod algebra;
pub mod assign;
pub mod bundle;
pub mod choose;
pub mod clean;
pub mod columns;
pub mod combine;
mod fields;
pub mod health;
pub mod inventory;
pub mod order;
pub mod paged;
pub mod path;
pub mod place;
pub mod policy;
pub mod project;
pub mod render;
pub mod rollout;
pub mod summary;
pub mod upsync;
pub mod what;

pub use roaring::RoaringBitmap;

/// A destination's dense index: small, never reused while anything refers to it, meaningless outside one store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Destination(pub u32);

/// A set of destinations.
pub type Destinations = RoaringBitmap;
